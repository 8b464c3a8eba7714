"""Do the inputs of a model still look like those that it was trained on? Counts by bin, one row of state a pair.

The reference is kept in the artefact of a model: by pair, deciles of each input of the training rows, and the share of
rows in each bin. Of the rows that come the same bins are counted, an older one weighing less, and compared:

- PSI, the population stability index: sum over bins of (now - then) * ln(now / then). Usual reading: below 0.1
  nothing, above 0.25 moved (Siddiqi 2006, "Credit risk scorecards").
- KS, the largest distance of the two distribution functions, at the edges of the bins only: the binned KS is never
  above the KS of the rows themselves, and below it by at most the share of one bin.

One input that has moved is no alarm: those that remember a day or a week are seldom where they were on the average of
a month. The share of inputs that have moved is what counts. Inputs that are only the clock are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
import numpy as np

from ml.inputs import CLOCK_INPUTS, INPUT_NAMES
from ml.model import WARM_UP_BARS
from ml.row_inputs import row_inputs
from tables.records import MINUTE_MS, Alert, Features, TrainRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from ml.dataset import Samples
    from ml.drift import Told
    from ml.model import ForecastModel
    from ml.settings import DriftSettings

__all__ = ["WATCHED", "PairInputs", "Reference", "distances", "inputs_key", "references"]

WATCHED: Final = tuple(name for name in INPUT_NAMES if name not in CLOCK_INPUTS)
"""Inputs that are compared, in order."""
_COLUMNS: Final = np.array([INPUT_NAMES.index(name) for name in WATCHED])
_DECILES: Final = np.linspace(0.1, 0.9, 9)
_BINS: Final = len(_DECILES) + 2
"""Of each input: ten by value, and one for what is missing."""
_LEAST: Final = 1e-4
"""Share of an empty bin: the logarithm needs one."""
_LEAST_ROWS: Final = 1_000
"""Rows of a pair below which their deciles say nothing of the next ones (count)."""
_JUDGE_EVERY: Final = 60
"""Rows from one comparison to the next (count)."""
_NAMED: Final = 3
"""Inputs that an alert names (count)."""
_FORMAT: Final = b"\x01"


class Reference(msgspec.Struct, frozen=True):
    """The training rows of one pair, by input of `WATCHED`."""

    edges: list[list[float]]
    """Deciles, ascending; equal ones once."""
    shares: list[list[float]]
    """Of rows, by bin, the last bin for missing values [len(WATCHED), 11]."""

    @classmethod
    def of(cls, x: npt.NDArray[np.float32]) -> Self:
        """Look at training rows [n, len(INPUT_NAMES)]."""
        edges = []
        for column in x[:, _COLUMNS].T.astype(np.float64):
            known = column[np.isfinite(column)]
            deciles = np.quantile(known, _DECILES).tolist() if len(known) else []
            edges.append(sorted({float(f"{edge:.6g}") for edge in deciles}))  # short in the artefact
        bins = _bins(x, _padded(edges))
        counts = np.stack([np.bincount(column, minlength=_BINS) for column in bins.T])
        return cls(edges, np.round(counts / max(1, len(x)), 6).tolist())


def references(train: Samples, pairs: Sequence[str]) -> dict[str, Reference]:
    """Look at the training rows of each pair that has enough of them; `pairs` by code."""
    every = [(name, train.x[train.pair == code]) for code, name in enumerate(pairs)]
    return {name: Reference.of(x) for name, x in every if len(x) >= _LEAST_ROWS}


def _padded(edges: list[list[float]]) -> npt.NDArray[np.float64]:
    out = np.full((len(WATCHED), len(_DECILES)), np.inf)
    for at, some in enumerate(edges):
        out[at, : len(some)] = some
    return out


def _bins(x: npt.NDArray[np.float32], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Give the bin of each input of each row [n, len(WATCHED)]."""
    values = x[:, _COLUMNS].astype(np.float64)
    found = (values[:, :, None] >= edges).sum(axis=2)
    return np.where(np.isfinite(values), found, _BINS - 1)


def distances(
    then: npt.NDArray[np.float64], now: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give PSI and binned KS of shares [inputs, bins]."""
    a, b = np.maximum(then, _LEAST), np.maximum(now, _LEAST)
    psi = ((b - a) * np.log(b / a)).sum(axis=1)
    ks = np.abs(np.cumsum(now - then, axis=1)).max(axis=1)
    return psi, ks


class Counted(msgspec.Struct, array_like=True):
    """Of one horizon."""

    model: str = ""
    model_version: str = ""
    rows: int = 0
    """Counted for this version (count)."""
    counts: bytes = b""
    """float32 [len(WATCHED), 11]."""
    share: float = 0.0
    """Of inputs that had moved when it was last looked at (0..1)."""
    standing: bool = False
    asked_ms: int = 0


class Row(msgspec.Struct, array_like=True):
    """The row of a pair."""

    newest_ms: int = 0
    """open_ms of the newest candle that was counted; an older one changes nothing."""
    horizons: dict[int, Counted] = {}
    """By horizon (s)."""


_decoder: Final = msgspec.msgpack.Decoder(Row)
_encoder: Final = msgspec.msgpack.Encoder()


def inputs_key(pair: str) -> bytes:
    """Key of a pair's row: beside the one of its scores, in the same table."""
    return b"inputs:" + pair.encode()


class PairInputs:
    """The fold of one pair. A row of another format is not read: counting then starts anew."""

    def __init__(self, pair: str, load: Callable[[bytes], Any]) -> None:
        self.pair = pair
        row = load(inputs_key(pair))
        self.row = _decoder.decode(row[1:]) if row is not None and row[:1] == _FORMAT else Row()
        self._bins: dict[tuple[int, str, str], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = {}
        """Edges and shares by version; the newest of each horizon."""

    def pack(self) -> bytes:
        """Give the row of the table."""
        return _FORMAT + _encoder.encode(self.row)

    def take(self, row: Features, models: Mapping[int, ForecastModel], rules: DriftSettings, told: Told) -> None:
        """Count the features of one closed 1m candle for every model that has a reference."""
        if row.open_ms <= self.row.newest_ms or row.synthetic or row.bars < WARM_UP_BARS:
            return
        judged = [model for model in models.values() if self._reference(model) and model.feature_set == row.feature_set]
        if not judged:
            return
        self.row.newest_ms = row.open_ms
        x = row_inputs(row)
        for model in judged:
            self._count(x, model, row.open_ms + MINUTE_MS, rules, told)

    def _count(
        self, x: npt.NDArray[np.float32], model: ForecastModel, at_ms: int, rules: DriftSettings, told: Told
    ) -> None:
        known = self.row.horizons.setdefault(model.horizon_s, Counted())
        if (known.model, known.model_version) != (model.name, model.version):
            if known.standing:
                known.share, known.standing = 0.0, False
                self._say(known, model, at_ms, rules, "its inputs are compared with its own training rows", told)
            asked_ms = known.asked_ms
            known = self.row.horizons[model.horizon_s] = Counted(model.name, model.version, asked_ms=asked_ms)
        edges, shares = self._of(model)
        counts = np.frombuffer(known.counts, np.float32) if known.counts else np.zeros(len(WATCHED) * _BINS, np.float32)
        counts = (counts * np.float32(1.0 - 1.0 / rules.drift_input_rows)).reshape(len(WATCHED), _BINS)
        counts[np.arange(len(WATCHED)), _bins(x, edges)[0]] += np.float32(1.0)
        known.counts = counts.tobytes()
        known.rows += 1
        if known.rows >= rules.drift_input_rows and known.rows % _JUDGE_EVERY == 0:
            self._judge(known, model, counts.astype(np.float64), shares, at_ms, rules, told)

    def _judge(
        self,
        known: Counted,
        model: ForecastModel,
        counts: npt.NDArray[np.float64],
        shares: npt.NDArray[np.float64],
        at_ms: int,
        rules: DriftSettings,
        told: Told,
    ) -> None:
        psi, ks = distances(shares, counts / counts.sum(axis=1, keepdims=True))
        moved = (psi > rules.drift_psi) & (ks > rules.drift_ks)
        known.share = float(moved.mean())
        least = rules.drift_input_share
        standing = known.share >= (least / 2.0 if known.standing else least)
        changed, known.standing = standing != known.standing, standing
        if not changed and not (standing and at_ms - known.asked_ms >= rules.drift_ask_again_s * 1_000):
            return
        most = ", ".join(f"{WATCHED[at]} {psi[at]:.2f}" for at in np.argsort(-psi)[:_NAMED])
        what = f"{known.share:.0%} of its inputs have moved from its training rows; largest PSI: {most}"
        if changed:
            self._say(known, model, at_ms, rules, what, told)
        if standing and at_ms - known.asked_ms >= rules.drift_cool_down_s * 1_000:
            known.asked_ms = at_ms
            text = f"{_subject(model, self.pair)}: {what}"
            told.requests.append(TrainRequest(model.horizon_s, "drift", text, self.pair, at_ms))

    def _say(
        self, known: Counted, model: ForecastModel, at_ms: int, rules: DriftSettings, what: str, told: Told
    ) -> None:
        head = "" if known.standing else "over: "
        told.alerts.append(
            Alert(
                pair=self.pair,
                name="feature-drift",
                horizon_s=model.horizon_s,
                raised=known.standing,
                value=known.share,
                bound=rules.drift_input_share,
                text=f"{head}{_subject(model, self.pair)}: {what}",
                at_ms=at_ms,
            )
        )

    def _of(self, model: ForecastModel) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        key = (model.horizon_s, model.name, model.version)
        if key not in self._bins:
            reference = self._reference(model)
            assert reference is not None  # noqa: S101  # for the type checker: asked before
            self._bins = {one: some for one, some in self._bins.items() if one[0] != model.horizon_s}
            self._bins[key] = _padded(reference.edges), np.array(reference.shares)
        return self._bins[key]

    def _reference(self, model: ForecastModel) -> Reference | None:
        found = model.origin.references.get(self.pair)
        return found if found is not None and len(found.edges) == len(found.shares) == len(WATCHED) else None

    def figures(self) -> dict[int, dict[str, float | int | str]]:
        """Give by horizon (s) the version, the share of its inputs that have moved, and whether its alarm stands."""
        return {
            horizon_s: {
                "model": one.model,
                "model_version": one.model_version,
                "rows": one.rows,
                "moved": one.share,
                "alarm": one.standing,
            }
            for horizon_s, one in self.row.horizons.items()
        }


def _subject(model: ForecastModel, pair: str) -> str:
    return f"{model.name} v{model.version} for {pair} at {model.horizon_s} s"
