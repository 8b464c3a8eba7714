"""Walk-forward: train on the past, calibrate on the next block, test once on the one behind it, move on.

Purged: a label that reaches beyond the end of its block is dropped. No training block lies behind a test block, and
features look back only, so that nothing needs an embargo beyond that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from ml.dataset import Samples, every_hth
from ml.leaderboard import FoldSpan
from ml.zoo.candidate import Blocks, Candidate
from redpanda.errors import BadInputError, MissingToolError
from tables.records import DAY_MS, MINUTE_MS

__all__ = ["Fold", "Plan", "Tested", "blocks_before", "check_sizes", "fold_edges", "folds", "run"]

MIN_BLOCK: Final = 200
"""Rows of a block below which nothing is fitted or judged (count)."""
Progress = Callable[[str, int, int], None]


class Plan(msgspec.Struct, frozen=True):
    """How a history is cut."""

    test_share: float = 0.5
    """Of the time span: the newest part is tested on."""
    folds: int = 6
    train_days: float = 240.0
    """Longest training block, sliding (days)."""
    calibration_days: float = 14.0
    """Longest calibration block (days); never more than a sixth of what lies before the test block."""
    threads: int = 2
    seed: int = 20_180_513


class Fold(NamedTuple):
    """Rows of one fold."""

    train: Samples
    """Every h-th label."""
    calibration: Samples
    test: Samples
    span: FoldSpan


class Tested(NamedTuple):
    """What all folds came to, test rows in time order; every model on the same rows."""

    spans: list[FoldSpan]
    rows: Samples
    fold: npt.NDArray[np.int32]
    """Number of the fold of each row [n]."""
    quantiles: dict[str, npt.NDArray[np.float64]]
    """Log-return quantiles [n, 5] by model."""
    missing: dict[str, str]
    """Models that could not be fitted, and why."""


def fold_edges(first_ms: int, last_ms: int, plan: Plan) -> npt.NDArray[np.int64]:
    """Give the starts of the test blocks and the end of the last one (ms), whole minutes."""
    end_ms = last_ms + MINUTE_MS
    start_ms = end_ms - (end_ms - first_ms) * plan.test_share
    edges = np.linspace(start_ms, end_ms, plan.folds + 1).astype(np.int64)
    return np.asarray(edges // MINUTE_MS * MINUTE_MS, dtype=np.int64)


def blocks_before(
    rows: Samples, horizon_s: int, first_ms: int, test_from_ms: int, plan: Plan
) -> tuple[int, Samples, Samples]:
    """Give what a model may learn from that serves from `test_from_ms` on: no label of it is known later.

    Parameters
    ----------
    rows
        Labelled rows; those of later than `test_from_ms` are not looked at.
    first_ms
        Start of the history.

    Returns
    -------
    Start of the training block (ms), every h-th label of it, and the calibration block behind it.
    """
    known_ms = rows.open_ms + MINUTE_MS + horizon_s * 1_000  # when the target's close is known
    before_ms = test_from_ms - first_ms
    calibrate_from = test_from_ms - int(min(plan.calibration_days * DAY_MS, before_ms / 6))
    train_from = max(first_ms, calibrate_from - int(plan.train_days * DAY_MS))
    train = every_hth(rows.take((rows.open_ms >= train_from) & (known_ms <= calibrate_from)), horizon_s)
    return train_from, train, rows.take((rows.open_ms >= calibrate_from) & (known_ms <= test_from_ms))


def check_sizes(number: int, plan: Plan, **sizes: int) -> None:
    """Refuse a fold with a block that is too small to fit or judge anything.

    Raises
    ------
    BadInputError
        It says what to do.
    """
    if min(sizes.values()) < MIN_BLOCK:
        raise BadInputError(
            f"too few rows in fold {number + 1} of {plan.folds}: {sizes}, needed are {MIN_BLOCK} in each block; "
            "give a longer history or fewer folds"
        )


def folds(rows: Samples, horizon_s: int, plan: Plan, edges: npt.NDArray[np.int64], first_ms: int) -> Iterator[Fold]:
    """Cut labelled rows into folds by time, whatever their number.

    Raises
    ------
    BadInputError
        Too few rows for one of the blocks.
    """
    for number, (test_from, test_to) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        train_from, train, calibration = blocks_before(rows, horizon_s, first_ms, test_from, plan)
        test = rows.take((rows.open_ms >= test_from) & (rows.open_ms < test_to))
        check_sizes(number, plan, train=len(train), calibration=len(calibration), test=len(test))
        span = FoldSpan(train_from, len(train), len(calibration), test_from, test_to, len(test))
        yield Fold(train, calibration, test, span)


def run(
    rows: Samples,
    horizon_s: int,
    candidates: Sequence[Candidate],
    plan: Plan,
    span_ms: tuple[int, int],
    progress: Progress,
) -> Tested:
    """Fit every candidate in every fold and forecast its test block.

    Parameters
    ----------
    span_ms
        Open times of the first and the last candle of the history.
    progress
        Called with what is being done, fits done, and all of them.
    """
    spans: list[FoldSpan] = []
    tests: list[Samples] = []
    made: dict[str, list[npt.NDArray[np.float64]]] = {one.name: [] for one in candidates}
    missing: dict[str, str] = {}
    total = plan.folds * len(candidates)
    edges = fold_edges(*span_ms, plan)
    for number, fold in enumerate(folds(rows, horizon_s, plan, edges, span_ms[0])):
        blocks = Blocks(horizon_s, fold.train, fold.calibration, plan.threads, plan.seed)
        for at, one in enumerate(candidates):
            progress(f"fold {number + 1} of {plan.folds}: {one.name}", number * len(candidates) + at, total)
            if one.name in missing:
                continue
            try:
                made[one.name].append(one.fit(blocks)(fold.test))
            except MissingToolError as error:
                missing[one.name] = str(error)
        spans.append(fold.span)
        tests.append(fold.test)
    progress("done", total, total)
    sizes = [len(test) for test in tests]
    return Tested(
        spans,
        _join(tests),
        np.repeat(np.arange(len(tests), dtype=np.int32), sizes),
        {name: np.concatenate(parts) for name, parts in made.items() if name not in missing},
        missing,
    )


def _join(parts: list[Samples]) -> Samples:
    return Samples(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("pair", "open_ms", "close", "sigma", "x", "ret", "y")
        )
    )
