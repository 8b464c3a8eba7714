"""Proof that nothing reads the future: features and inputs on both paths, labels, and the blocks of a split.

What a row holds may depend on the rows up to it. So it must be the same, bit by bit, when the history ends with it, and
when all that follows is another market.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from ml import dataset
from ml.candle_file import Columns
from ml.checks.history import (
    Matrix,
    Progress,
    bulk,
    candles,
    differing,
    fold_of,
    overwritten,
    spread,
    values_of,
)
from ml.inputs import INPUT_NAMES, inputs, raw_matrix
from tables.features.catalog import CATALOG, FEATURE_NAMES, Catalog
from tables.records import MINUTE_MS, Features

__all__ = ["Leak", "Lookahead", "feature_leaks", "label_leaks", "prove", "split_leaks", "table_of"]

CUTS: Final = 6
_KEPT: Final = 64  # rows before a cut that are looked at again once the whole history is folded
_BEYOND: Final = 240  # bars of another market that the live fold is given behind a cut
_LABELS: Final = 500
_SEED: Final = 20_180_513
Inputs = Callable[[Matrix], npt.NDArray[np.float32]]
Labels = Callable[[dataset.Table, int], dataset.Samples]


class Leak(msgspec.Struct, frozen=True):
    """A value that depends on what comes after its row."""

    kind: str
    """`feature`, `input`, `label`, `split`."""
    name: str
    where: str
    """The path or the block that leaks."""
    row_ms: int
    """open_ms of the first offending row."""
    told: str
    """What was changed, and what should not have followed from it."""


class Lookahead(msgspec.Struct, frozen=True):
    """What the proof came to over one pair."""

    rows: int
    first_ms: int
    last_ms: int
    cuts: int
    labels: dict[str, int]
    """Labels that were looked at, by horizon (count)."""
    splits: dict[str, dict[str, int]]
    """Rows of the blocks, by horizon; an empty block proves nothing."""
    leaks: list[Leak]


def prove(columns: Columns, horizons_s: Sequence[int], tell: Progress, cuts: int = CUTS) -> Lookahead:
    """Prove features, inputs, labels and splits over one pair's history.

    Raises
    ------
    BadInputError
        Too few candles.
    """
    leaks = feature_leaks(columns, tell, cuts=cuts)
    table = table_of(columns)
    labels, splits = {}, {}
    for number, horizon_s in enumerate(horizons_s):
        tell("labels and splits", number, len(horizons_s))
        name = f"{horizon_s // 60} min"
        labels[name], found = label_leaks(table, horizon_s)
        blocks = dataset.split(dataset.samples(dataset.prepare(table), horizon_s), horizon_s)
        splits[name] = {one: len(getattr(blocks, one)) for one in ("train", "calibration", "test")}
        leaks += [*found, *split_leaks(blocks, horizon_s)]
    tell("labels and splits", len(horizons_s), len(horizons_s))
    open_ms = columns["open_ms"]
    return Lookahead(len(open_ms), int(open_ms[0]), int(open_ms[-1]), cuts, labels, splits, leaks)


def feature_leaks(
    columns: Columns,
    tell: Progress,
    catalog: Catalog = CATALOG,
    cuts: int = CUTS,
    model_inputs: Inputs = inputs,
) -> list[Leak]:
    """Compare features and model inputs of a history with those of its beginnings.

    Parameters
    ----------
    columns
        Of one pair, as `ml.candle_file` gives them; n rows.
    cuts
        Places drawn (count), the same ones for the same history.

    Returns
    -------
    The first offending row of each feature or input, path and way of changing the future; empty where nothing leaks.
    """
    rows = len(columns["open_ms"])
    places = spread(rows, cuts, min(200, rows // 2), _SEED)
    proof = _Proof(columns, catalog, model_inputs)
    work = rows + sum(places) + _BEYOND * len(places)
    done = 0

    def step(more: int) -> None:
        nonlocal done
        done += more
        tell("folding", done, work)

    whole = {"live": _live_whole(columns, catalog, places, step), "bulk": bulk(columns, catalog)}
    for number, at in enumerate(places):
        future = np.arange(rows) > at
        other = overwritten(columns, future, _SEED + number)
        ended = {name: column[: at + 1] for name, column in columns.items()}
        # Before the live fold gets the other market, and after it.
        at_cut, beyond = _live_cut(columns, other, at, catalog, step)
        found = {
            ("live", "ends"): at_cut,
            ("live", "goes on otherwise"): beyond,
            ("bulk", "ends"): bulk(ended, catalog),
            ("bulk", "goes on otherwise"): bulk(other, catalog),
        }
        for (path, how), matrix in found.items():
            source = ended if how == "ends" else other
            proof.compare(whole[path], matrix, source, at, path, how)
    return list(proof.leaks.values())


class _Proof:
    """Collects the first leak of each name, path and way."""

    def __init__(self, columns: Columns, catalog: Catalog, model_inputs: Inputs) -> None:
        self.leaks: dict[tuple[str, str, str, str], Leak] = {}
        self._columns, self._catalog, self._inputs = columns, catalog, model_inputs
        self._with_inputs = set(FEATURE_NAMES) <= set(catalog.names)
        self._whole: dict[str, npt.NDArray[np.float32]] = {}

    def compare(self, whole: Matrix, found: Matrix, source: Columns, at: int, path: str, how: str) -> None:
        """Compare the rows up to `at`; `found` may have more behind it, which belong to the other market."""
        self._note(differing(whole[: at + 1], found[: at + 1]), self._catalog.names, "feature", path, how, at)
        if not self._with_inputs:
            return
        if path not in self._whole:
            self._whole[path] = self._inputs_of(whole, self._columns)
        got = self._inputs_of(found, {name: column[: len(found)] for name, column in source.items()})
        self._note(differing(self._whole[path][: at + 1], got[: at + 1]), INPUT_NAMES, "input", path, how, at)

    def _inputs_of(self, matrix: Matrix, columns: Columns) -> npt.NDArray[np.float32]:
        return self._inputs(raw_matrix(columns | dict(zip(self._catalog.names, matrix.T, strict=True))))

    def _note(
        self, differs: npt.NDArray[np.bool_], names: tuple[str, ...], kind: str, path: str, how: str, at: int
    ) -> None:
        for place in np.flatnonzero(differs.any(axis=0)).tolist():
            row = int(np.argmax(differs[:, place]))
            row_ms = int(self._columns["open_ms"][row])
            told = f"changes when the history {how} {at - row} rows after it"
            key = (kind, names[place], path, how)
            if key not in self.leaks or row_ms < self.leaks[key].row_ms:
                self.leaks[key] = Leak(kind, names[place], path, row_ms, told)


def _live_whole(columns: Columns, catalog: Catalog, places: Any, step: Callable[[int], None]) -> Matrix:
    """Fold everything; rows before the places are read again at the end: a row that was given must not change."""
    fold = fold_of(catalog)
    watched = {row for at in places for row in range(max(0, at - _KEPT), at + 1)}
    kept: dict[int, Features] = {}
    matrix = np.empty((len(columns["open_ms"]), len(catalog.names)))
    for at, candle in enumerate(candles(columns)):
        (row,) = fold.apply(candle)
        matrix[at] = values_of(row)
        if at in watched:
            kept[at] = row
        if at % 1_000 == 0:
            step(1_000 if at else 0)
    for at, row in kept.items():
        matrix[at] = values_of(row)
    return matrix


def _live_cut(
    columns: Columns, other: Columns, at: int, catalog: Catalog, step: Callable[[int], None]
) -> tuple[Matrix, Matrix]:
    """Fold up to a place, then bars of another market; give the rows up to the place as they were and as they are."""
    fold = fold_of(catalog)
    kept: deque[Features] = deque(maxlen=_KEPT)
    matrix = np.empty((at + 1, len(catalog.names)))
    for place, candle in enumerate(candles(columns, 0, at + 1)):
        (row,) = fold.apply(candle)
        matrix[place] = values_of(row)
        kept.append(row)
        if place % 1_000 == 0:
            step(1_000 if place else 0)
    for candle in candles(other, at + 1, min(at + 1 + _BEYOND, len(other["open_ms"]))):
        fold.apply(candle)
    step(_BEYOND)
    later = matrix.copy()
    later[at + 1 - len(kept) :] = [values_of(row) for row in kept]
    return matrix, later


def table_of(columns: Columns, pair: str = "CHECKED") -> Columns:
    """Give one pair's history as the trainer would read it from the store, with the features of the bulk path."""
    rows = len(columns["open_ms"])
    values = dict(zip(CATALOG.names, bulk(columns, CATALOG).T, strict=True))
    return {**columns, "pair": np.full(rows, pair), "bars": np.arange(1, rows + 1), **values}


def label_leaks(columns: Columns, horizon_s: int, label: Labels = dataset.samples) -> tuple[int, list[Leak]]:
    """Prove that a label is made of the close of its row and of the one candle that ends at its target.

    Parameters
    ----------
    columns
        What `table_of` gives.

    Returns
    -------
    How many labels were looked at, and the first of each fault.
    """
    before = label(dataset.prepare(columns), horizon_s)
    chosen = _apart(before.open_ms, 2 * horizon_s * 1_000 + MINUTE_MS)
    base_ms = before.open_ms[chosen]
    target_ms = base_ms + horizon_s * 1_000
    name, where = f"label {horizon_s // 60} min", "ml.dataset.samples"
    is_base, is_target = np.isin(columns["open_ms"], base_ms), np.isin(columns["open_ms"], target_ms)
    noise = overwritten(columns, ~is_base & ~is_target, _SEED)
    leaks: list[Leak] = []
    kept = _labels_at(label(dataset.prepare(noise), horizon_s), base_ms)
    was = np.column_stack([before.ret[chosen], before.y[chosen]])
    other = np.asarray(differing(was, kept).any(axis=1))
    leaks += _first(other, base_ms, name, where, "changes with a candle that is not its target")
    close = np.where(is_target, columns["close"] * 1.01, columns["close"])
    moved = {**columns, "close": close, "high": np.maximum(columns["high"], close)}
    expected = np.log(close[is_target] / columns["close"][is_base])
    got = _labels_at(label(dataset.prepare(moved), horizon_s), base_ms)[:, 0]
    wrong = ~np.isclose(got, expected, rtol=1e-12, atol=1e-15)
    leaks += _first(wrong, base_ms, name, where, "is not the log return to the candle that ends at its target")
    return len(chosen), leaks


def _apart(open_ms: npt.NDArray[np.int64], least_ms: int) -> list[int]:
    """Choose rows of which none is near another, spread over the history."""
    chosen: list[int] = []
    for at, time_ms in enumerate(open_ms.tolist()):
        if not chosen or time_ms >= open_ms[chosen[-1]] + least_ms:
            chosen.append(at)
    return chosen[:: max(1, len(chosen) // _LABELS)]


def _labels_at(rows: dataset.Samples, base_ms: npt.NDArray[np.int64]) -> Matrix:
    """Give return and scaled target of the rows that open then [n, 2]; NaN where there is no label."""
    found = np.full((len(base_ms), 2), np.nan)
    at = np.minimum(np.searchsorted(rows.open_ms, base_ms), max(len(rows) - 1, 0))
    there = rows.open_ms[at] == base_ms if len(rows) else np.zeros(len(base_ms), dtype=bool)
    found[there, 0], found[there, 1] = rows.ret[at[there]], rows.y[at[there]]
    return found


def _first(
    wrong: npt.NDArray[np.bool_], open_ms: npt.NDArray[np.int64], name: str, where: str, told: str
) -> Iterator[Leak]:
    if wrong.any():
        yield Leak("label", name, where, int(open_ms[int(np.argmax(wrong))]), told)


def split_leaks(blocks: dataset.Split, horizon_s: int) -> list[Leak]:
    """Prove purge and embargo: the last target of a block ends a horizon before the next block begins."""
    reach = horizon_s * 1_000
    name = f"split {horizon_s // 60} min"
    parts = {"train": blocks.train, "calibration": blocks.calibration, "test": blocks.test}
    leaks = []
    for one, other in (("train", "calibration"), ("calibration", "test"), ("train", "test")):
        before, after = parts[one], parts[other]
        if not len(before) or not len(after):
            continue
        begin_ms = int(after.open_ms.min())
        end_ms = before.open_ms + MINUTE_MS + reach
        for limit_ms, told in (
            (begin_ms, f"its target reaches into the {other} block"),
            (begin_ms - reach, f"its target ends less than a horizon before the {other} block"),
        ):
            wrong = end_ms > limit_ms
            if wrong.any():
                leaks.append(Leak("split", name, one, int(before.open_ms[wrong].min()), told))
                break
    fitted = dataset.every_hth(blocks.train, horizon_s)
    close = np.flatnonzero((np.diff(fitted.pair) == 0) & (np.diff(fitted.open_ms) < reach))
    if len(close):
        told = "its label overlaps the one before it"
        leaks.append(Leak("split", name, "train", int(fitted.open_ms[close[0] + 1]), told))
    return leaks
