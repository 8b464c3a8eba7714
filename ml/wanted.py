"""What the trainers of one broker tell each other, and what is to be trained next. Pure: no Kafka, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from ml.inputs import INPUT_SET
from tables.status import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tables.records import TrainRequest

__all__ = ["Told", "Wanted", "decode", "due", "encode"]

_MAX_CHARS: Final = 4_000
"""Kafka keeps 4,096 characters beside a committed offset (`offset.metadata.max.bytes`)."""
_TEXT_CHARS: Final = 300
_VERDICT_CHARS: Final = 120
_VERDICTS: Final = 12


class Told(msgspec.Struct, frozen=True):
    """What the trainer that holds the lease has told last; kept beside the offset that its group has committed."""

    holder: str = ""
    """`HOST:PID`."""
    state: str = ""
    """As in its status file; `released` when it has given the lease back."""
    error: str = ""
    progress: Progress | None = None
    reason: str = ""
    """What the training that runs, or the last one, was for."""
    full_ms: int = 0
    """End of the last training of all horizons (ms, wall clock of its trainer); 0: never."""
    inputs: str = ""
    """What that one was trained on: after an update that changes it, nothing was trained yet."""
    verdicts: dict[str, str] = {}
    """Horizon (s) to the verdict of the last training."""


class Wanted(NamedTuple):
    """A training that is due."""

    horizons_s: tuple[int, ...]
    """Empty: all."""
    reason: str
    """`schedule`, the reasons of the requests, or both."""
    upto: int
    """Offset behind the last request that it answers."""
    tenure: int = 0
    """Count of the times that this trainer was given the lease."""


def due(
    told: Told, requests: Sequence[TrainRequest], upto: int, now_ms: int, interval_s: float, inputs: str = INPUT_SET
) -> Wanted | None:
    """Say what is to be trained now, if anything.

    Parameters
    ----------
    requests
        Those that no training has answered, all from before `upto`. However many they are, they lead to one training.
    now_ms
        Wall clock. A last training that is further away than the interval, in the past or (clocks) in the future,
        is too old.
    """
    reasons = {one.reason for one in requests}
    horizons_s = {one.horizon_s for one in requests}
    if told.full_ms == 0 or told.inputs != inputs or abs(now_ms - told.full_ms) >= interval_s * 1_000:
        return Wanted((), ", ".join(["schedule", *sorted(reasons)]), upto)
    if not requests:
        return None
    return Wanted(() if 0 in horizons_s else tuple(sorted(horizons_s)), ", ".join(sorted(reasons)), upto)


def encode(told: Told) -> str:
    """Write it within what the broker keeps; long texts are cut."""
    verdicts = {horizon: text[:_VERDICT_CHARS] for horizon, text in [*told.verdicts.items()][:_VERDICTS]}
    cut = msgspec.structs.replace(
        told,
        holder=told.holder[:_TEXT_CHARS],
        error=told.error[:_TEXT_CHARS],
        reason=told.reason[:_TEXT_CHARS],
        verdicts=verdicts,
    )
    text = msgspec.json.encode(cut).decode()
    if len(text) <= _MAX_CHARS:
        return text
    bare = Told(state=told.state, full_ms=told.full_ms, inputs=told.inputs)  # signs that JSON writes with six others
    return msgspec.json.encode(bare).decode()


def decode(text: str | None) -> Told:
    """Read it; what another program has committed is as good as nothing told."""
    try:
        return msgspec.json.decode(text or "", type=Told)
    except msgspec.DecodeError:
        return Told()
