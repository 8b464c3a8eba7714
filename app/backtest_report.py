"""A backtest from the command line to its figures: JSON for programs, a page and a table for people."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from app.backtest import Backtest
from ml import dataset
from ml.candle_file import History, histories_of, read_candles
from ml.inputs import INPUT_SET
from ml.leaderboard import Leaderboard
from ml.report.tables import minute, probability
from ml.report.walk import WalkContent, render_walk
from ml.revision import code_revision
from ml.standings import figures, leaderboard
from ml.walkforward import Plan, Progress, Tested
from ml.walkforward import run as walk
from ml.zoo import naive, points, trees
from redpanda.errors import BadInputError
from tables.clickhouse import queries
from tables.clickhouse.client import connect
from tables.clickhouse.settings import StoreSettings
from tables.features import FEATURE_SET
from tables.records import DAY_MS, MINUTE_MS

__all__ = ["Ran", "run_backtest", "write_report"]

_OTHERS: Final = (*naive.CANDIDATES[1:], *points.CANDIDATES, *trees.CANDIDATES[1:])
_STORED_DAYS: Final = 400


class Ran(msgspec.Struct):
    """A backtest that has been run."""

    source: str
    """File, or `store`."""
    histories: list[History]
    plan: Plan
    boards: list[Leaderboard]
    live_skill: dict[int, float]
    """By horizon (s), as the scorer tells it (share)."""
    forecasts: dict[int, int]
    """Made, by horizon (s)."""
    missing: dict[str, str]
    seconds: float

    def lines(self, board: Leaderboard) -> list[tuple[str, ...]]:
        """Give the table of one horizon, best first."""
        found: list[tuple[str, ...]] = []
        for one in board.standings:
            if one.fold is None and not one.pair:
                of = figures(board, one.model)
                low, high = of["coverage90_lowest_fold"], of["coverage90_highest_fold"]
                found.append(
                    (
                        one.model,
                        f"{one.metrics.pinball_bps:.4f}",
                        f"{of['pinball_skill_pct']:+.3f}",
                        probability(one.dm_p) or "-",
                        f"{of['folds_positive']} of {of['folds']}",
                        f"{one.metrics.coverage50:.4f}",
                        f"{one.metrics.coverage90:.4f}",
                        f"{low:.3f}-{high:.3f}",
                        f"{of['mae_skill_pct']:+.3f}",
                        f"{one.metrics.direction:.4f}",
                    )
                )
        return found

    def told(self) -> list[str]:
        """Give the lines below the tables."""
        of = self.boards[0]
        count = sum(one.found.rows for one in self.histories)
        span = f"{minute(of.folds[0].test_from_ms)} to {minute(of.folds[-1].test_to_ms)} UTC"
        about = f"{count:,} candles, tested {span}, {self.plan.folds} trainings a horizon, {self.seconds:.0f} s"
        lines = [f"{about}; skill is over the EWMA-volatility baseline fitted on the same past"]
        for one in self.histories:
            found = one.found
            odd = {
                "broken rows left out": found.broken,
                "repeated minutes": found.repeated,
                "silent minutes filled": found.filled,
                "silences too long to fill": found.gaps,
            }
            if any(odd.values()) or found.unsorted:
                told = [f"{number:,} {what}" for what, number in odd.items() if number]
                lines.append(f"{one.pair}: {', '.join(told + ['rows were not in order of time'] * found.unsorted)}")
        return lines


def run_backtest(
    file: Path | None, minutes: Sequence[int], pair: str, plan: Plan, *, zoo: bool, progress: Progress
) -> Ran:
    """Run a backtest of a file, or of what the store holds.

    Parameters
    ----------
    minutes
        Horizons.
    zoo
        Whether all other models are fitted on the same folds, too.

    Raises
    ------
    BadInputError
        The file or the store holds nothing that can be tested on.
    UnreachableError
        The store does not answer.
    """
    started_s = time.monotonic()
    progress("reading candles", 0, 1)
    histories = read_candles(file, pair) if file is not None else _stored(pair)
    progress("reading candles", 0, 0)
    backtest = Backtest(histories, [60 * one for one in minutes], plan, progress)
    outcomes = backtest.run()
    table, missing = backtest.table(), dict[str, str]()
    boards = []
    for horizon_s, outcome in outcomes.items():
        tested = outcome.tested
        if zoo:
            rows = dataset.samples(table, horizon_s)
            others = walk(rows, horizon_s, _OTHERS, plan, backtest.span_ms, progress)
            tested = _beside(tested, others)
            missing |= others.missing
        progress(f"comparing, {horizon_s // 60} min", 0, 1)
        boards.append(leaderboard(tested, horizon_s, table.pairs))
    return Ran(
        source=str(file) if file is not None else "store",
        histories=histories,
        plan=plan,
        boards=boards,
        live_skill={horizon_s: one.live_skill for horizon_s, one in outcomes.items()},
        forecasts={horizon_s: one.forecasts for horizon_s, one in outcomes.items()},
        missing=missing,
        seconds=time.monotonic() - started_s,
    )


def _beside(tested: Tested, others: Tested) -> Tested:
    if not np.array_equal(tested.rows.open_ms, others.rows.open_ms):
        raise RuntimeError("the zoo was tested on other rows than the served model")
    return tested._replace(quantiles=others.quantiles | tested.quantiles)


def _stored(pair: str) -> list[History]:
    client = connect(StoreSettings())
    try:
        infos = [one for one in queries.pairs(client) if pair in ("", one.pair)]
        if not infos:
            raise BadInputError(
                f"the store has no candles{f' of {pair}' if pair else ''}: run a worker, or give a file"
            )
        to_ms = max(one.last_ms for one in infos) + MINUTE_MS
        names = [one.pair for one in infos]
        columns = queries.feature_table(client, "1m", names, to_ms - _STORED_DAYS * DAY_MS, to_ms)
    finally:
        client.close()
    return histories_of(columns, pair, "the store")


def as_json(ran: Ran) -> dict[str, Any]:
    """Give what programs read; figures by minutes, as `make bench NAME=walkforward` has them."""
    return {
        "name": "backtest",
        "source": ran.source,
        "pairs": [one.pair for one in ran.histories],
        "data": {one.pair: msgspec.to_builtins(one.found) for one in ran.histories},
        "plan": msgspec.to_builtins(ran.plan),
        "code": code_revision(),
        "feature_set": FEATURE_SET,
        "input_set": INPUT_SET,
        "seconds": round(ran.seconds, 1),
        "served": trees.SERVED,
        "figures": {
            str(board.horizon_s // 60): {
                **figures(board, trees.SERVED),
                "live_skill_pct": round(100 * ran.live_skill[board.horizon_s], 4),
                "forecasts": ran.forecasts[board.horizon_s],
            }
            for board in ran.boards
        },
        "leaderboards": {str(board.horizon_s // 60): msgspec.to_builtins(board) for board in ran.boards},
        "missing": ran.missing,
    }


def as_page(ran: Ran) -> str:
    """Give the page for people."""
    rows = sum(one.found.rows for one in ran.histories)
    notes = [
        ("source", ran.source),
        ("candles", f"{rows:,}"),
        *((f"{one.pair}, {name}", f"{value:,}") for one in ran.histories for name, value in _counts(one)),
        ("feature set, input set", f"{FEATURE_SET}, {INPUT_SET}"),
        *(
            (f"skill as the scorer tells it, {horizon_s // 60} min (baseline with rolling intervals)", f"{skill:+.2%}")
            for horizon_s, skill in ran.live_skill.items()
        ),
    ]
    content = WalkContent(
        title=f"tickcast backtest: {', '.join(one.pair for one in ran.histories)}",
        about=f"{Path(ran.source).name}, {ran.plan.folds} trainings a horizon, code {code_revision()}",
        boards=ran.boards,
        served=trees.SERVED,
        missing=ran.missing,
        notes=notes,
    )
    return render_walk(content)


def _counts(one: History) -> list[tuple[str, int]]:
    return [(name, int(getattr(one.found, name))) for name in one.found.__struct_fields__]


def write_report(ran: Ran, file: Path) -> list[Path]:
    """Write JSON and HTML under one name; gives both paths."""
    page = file.with_suffix(".html")
    figures_file = file if file.suffix not in {".html", ""} else file.with_suffix(".json")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figures_file.write_text(json.dumps(as_json(ran), indent=2) + "\n")
        page.write_text(as_page(ran))
    except OSError as error:
        raise BadInputError(f"--report {file}: cannot be written ({error})") from error
    return [figures_file, page]
