"""Walk-forward: the served model against the EWMA-volatility baseline at 1, 5 and 15 minutes, on a recorded year.

One backtest of the file: six trainings a horizon over the second half of its time, each tested once on what came after
it, candle by candle through the live code. The peer is the baseline, fitted on the same past; rows are the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from app.backtest_report import as_json, run_backtest, write_report
from ml.report.tables import probability
from ml.standings import figures
from ml.walkforward import Plan
from ml.zoo.naive import BASELINE
from tests.bench import machine, result
from tests.bench.command import SHARED, finish
from tests.bench.stack import BenchError

FILE: Final = SHARED / "candles/binance_btcusdt_1m_2023-12_2024-11.parquet"
MINUTES: Final = (1, 5, 15)


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the backtest and make the JSON result; the keys are those of DESIGN 10."""
    if not asked.file.exists():
        raise BenchError(f"{asked.file} is missing: give --file, or set TICKCAST_SHARED_DATA")
    with console.status("walk-forward") as status:
        ran = run_backtest(
            asked.file,
            asked.horizon or MINUTES,
            "",
            Plan(folds=asked.folds),
            zoo=asked.zoo,
            progress=lambda what, done, total: status.update(f"{what}: {done:,} of {total:,}"),
        )
    if asked.report is not None:
        write_report(ran, asked.report)
    found = as_json(ran)
    return {
        "name": "walkforward",
        "machine": machine.describe(),
        "figures": found["figures"],
        "peer": {
            "name": "EWMA-volatility baseline, fitted on the same past",
            **{str(board.horizon_s // 60): figures(board, BASELINE.name) for board in ran.boards},
        },
        "ratio": None,
        "file": Path(ran.source).name,
        "seconds": found["seconds"],
        "code": found["code"],
        "runs": [
            {
                key: one[key]
                for key in ("model", "fold", "metrics", "pinball_skill", "mae_skill", "dm", "dm_p", "mae_dm")
            }
            | {"minutes": minutes}
            for minutes, board in found["leaderboards"].items()
            for one in board["standings"]
        ],
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    table = Table(title=f"walk-forward: {found['file']}", title_justify="left")
    for name in ("ahead", "rows", "skill %", "p", "folds", "in 90 %", "of folds", "MAE skill %", "direction"):
        table.add_column(name, justify="right", no_wrap=True)
    for minutes, of in found["figures"].items():
        table.add_row(
            f"{minutes} min",
            f"{of['rows']:,}",
            f"{of['pinball_skill_pct']:+.3f}",
            probability(of["dm_p"]) or "-",
            f"{of['folds_positive']} of {of['folds']}",
            f"{of['coverage90']:.4f}",
            f"{of['coverage90_lowest_fold']:.3f}-{of['coverage90_highest_fold']:.3f}",
            f"{of['mae_skill_pct']:+.3f}",
            f"{of['direction']:.4f}",
        )
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}; {found['seconds']:.0f} s[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=walkforward", description=__doc__.partition("\n")[0])
    parser.add_argument("--horizon", type=int, action="append", help="minutes ahead; may be given again (1, 5, 15)")
    parser.add_argument("--folds", type=int, default=6, help="trainings a horizon (6)")
    parser.add_argument("--zoo", action="store_true", help="all models of the zoo, too (much longer)")
    parser.add_argument("--file", type=Path, default=FILE, help="1m candles as Parquet")
    parser.add_argument("--report", type=Path, help="write the page of the backtest, too")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "walkforward.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
