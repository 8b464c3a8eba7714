"""The rolling conformal state of one pair: what the predictor has learned from its scored forecasts, by horizon.

A new version of a champion starts anew: it has been calibrated on a block of its own, and the offsets of the model
before it would correct faults that it does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ml.rolling import START, Rolling, learn

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml.model import ForecastModel
    from tables.records import ForecastError

__all__ = ["PairCorrections", "corrections_key"]

_FORMAT: Final = b"\x01"


class Learned(msgspec.Struct, frozen=True, array_like=True):
    """Of one horizon."""

    model: str
    model_version: str
    newest_ms: int
    """feature_open_ms of the newest forecast that was learned from; an older one, or a correction, changes nothing."""
    rolling: Rolling
    drifting: bool = False
    """Whether the scorer had a standing alarm on the model after the newest outcome."""


_decoder: Final = msgspec.msgpack.Decoder(dict[int, Learned])
_encoder: Final = msgspec.msgpack.Encoder()


def corrections_key(pair: str) -> bytes:
    """Key of a pair's row."""
    return pair.encode()


class PairCorrections:
    """The fold of one pair. A row of another format is not read: the offsets then start anew."""

    def __init__(self, pair: str, load: Callable[[bytes], Any]) -> None:
        row = load(corrections_key(pair))
        self._by_horizon = _decoder.decode(row[1:]) if row is not None and row[:1] == _FORMAT else {}

    def pack(self) -> bytes:
        """Give the row of the table."""
        return _FORMAT + _encoder.encode(self._by_horizon)

    def take(self, error: ForecastError) -> None:
        """Learn from one scored forecast. Nothing traded at its target: nothing is learned."""
        known = self._by_horizon.get(error.horizon_s)
        if error.synthetic or (known is not None and error.feature_open_ms <= known.newest_ms):
            return
        made_by = (error.model, error.model_version)
        is_same = known is not None and (known.model, known.model_version) == made_by
        rolling = known.rolling if known is not None and is_same else START
        learned = Learned(*made_by, error.feature_open_ms, learn(rolling, error.below), error.drifting)
        self._by_horizon[error.horizon_s] = learned

    def of(self, model: ForecastModel) -> Rolling | None:
        """Give what was learned of a model; None while that is nothing."""
        known = self._known(model)
        return None if known is None else known.rolling

    def is_drifting(self, model: ForecastModel) -> bool:
        """Say whether the scorer has a standing alarm on a model."""
        known = self._known(model)
        return known is not None and known.drifting

    def _known(self, model: ForecastModel) -> Learned | None:
        known = self._by_horizon.get(model.horizon_s)
        if known is None or (known.model, known.model_version) != (model.name, model.version):
            return None
        return known
