"""Draw docs/dashboards/*.png: `python -m docs.draw_dashboards CANDLES.parquet`.

Market and Forecasts show recorded candles: they go through the live features, predictor and scorer (`app.backtest`)
and by the sinks' inserts into a local store. Pipeline and Data quality show made-up days: a recording has no faults.
Needs the extras `local` and `ml`, the group `previews`, and Chromium (`CHROMIUM=/path`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec.structs import replace
from PIL import Image
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # ships no types

from app.backtest import Backtest
from k8s.grafana.draw import Answer, page, size
from k8s.grafana.forecasts import FORECASTS
from k8s.grafana.macros import Choice, Range, expand, points_s
from k8s.grafana.market import MARKET
from k8s.grafana.panel import Dashboard, Panel
from k8s.grafana.pipeline import PIPELINE
from k8s.grafana.quality import QUALITY
from ml.candle_file import History, read_candles
from ml.settings import MlSettings
from ml.walkforward import Plan
from tables.clickhouse import migrate, rows
from tables.clickhouse.client import connect
from tables.records import MINUTE_MS, Candle, Features, Forecast, ForecastError, ModelInService
from tests.support.dashboards import END_S, PAIRS, ask, seed
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

FOLDER: Final = Path(__file__).parent / "dashboards"
PAIR: Final = "BTC/USDT"
MODEL: Final = "catboost-multiquantile"
DAYS: Final = 40
HOUR_S: Final = 3_600
BATCH: Final = 20_000

# Beside what the tests put in: ids that no candle accounts for, and minutes that are absent.
FAULTS: Final = (
    f"""INSERT INTO candles SELECT * REPLACE (first_trade_id + 30 AS first_trade_id,
        last_trade_id + 30 AS last_trade_id, as_of + INTERVAL 1 SECOND AS as_of)
    FROM candles
    WHERE pair = 'SOL/USD' AND timeframe = '1m' AND trades > 0 AND open_time > toDateTime({END_S - 9 * HOUR_S})""",
    f"""ALTER TABLE candles DELETE WHERE pair = 'XRP/USD' AND timeframe = '1m'
    AND open_time BETWEEN toDateTime({END_S - 6 * HOUR_S}) AND toDateTime({END_S - 6 * HOUR_S + 1_500})""",
)

T = TypeVar("T")


class Recorder(Backtest):
    """A backtest that keeps every record a worker would publish."""

    def __init__(self, histories: Sequence[History], horizons_s: Sequence[int], plan: Plan) -> None:
        super().__init__(histories, horizons_s, plan, lambda *_: None)
        self.candles: list[Candle] = []
        self.features: list[Features] = []
        self.forecasts: list[Forecast] = []
        self.errors: list[ForecastError] = []
        self.models: list[ModelInService] = []

    def _train(self, fold: int) -> None:
        from agents.service_log import in_service  # noqa: PLC0415  # only here

        super()._train(fold)
        at_ms, life_ms = self._edges[fold], MlSettings().model_life_ms
        for made in self._made.values():
            told = in_service(made.folds[-1].model, life_ms, "worker-0:1", at_ms)
            self.models.append(replace(told, data_to_ms=at_ms - MINUTE_MS, expires_at_ms=at_ms + life_ms))

    def _serve(self, at: int, row: Features, candle: Candle, folds: Any) -> None:
        from agents.predictor import forecast  # noqa: PLC0415  # only here

        self.candles.append(candle)
        self.features.append(row)
        now_ms = row.open_ms + MINUTE_MS
        errors: list[ForecastError] = []
        for made in self._made.values():
            one = forecast(row, made.folds[-1].model, now_ms + 2_300, folds.corrections.of(made.folds[-1].model))
            if one is not None:
                made.take(at, one)
                self.forecasts.append(one)
                errors += folds.scores.forecast(one, now_ms)
        for error in errors + folds.scores.candle(candle, now_ms + 2_400):
            folds.corrections.take(error)
            self.errors.append(error)


def last_days(history: History) -> History:
    """Keep the newest `DAYS`."""
    columns = {name: values[-DAYS * 1_440 :] for name, values in history.columns.items()}
    return History(history.pair, columns, history.found)


def insert(client: Client, insert_rows: Callable[[Client, Sequence[T], str], int], records: Sequence[T]) -> None:
    """Insert in batches, as the sinks do."""
    for at in range(0, len(records), BATCH):
        insert_rows(client, records[at : at + BATCH], f"preview-{at}-{insert_rows.__name__}")


def record(client: Client, file: Path) -> int:
    """Fill a store from recorded candles; gives the end (s)."""
    run = Recorder([last_days(one) for one in read_candles(file, PAIR)], (60, 300, 900), Plan(folds=2, test_share=0.25))
    run.run()
    insert(client, rows.insert_candles, run.candles)
    insert(client, rows.insert_features, run.features)
    insert(client, rows.insert_forecasts, run.forecasts)
    insert(client, rows.insert_errors, run.errors)
    insert(client, rows.insert_models, run.models)
    return (run.candles[-1].open_ms + MINUTE_MS) // 1_000


def answers(
    client: Client, board: Dashboard, from_s: int, end_s: int, chosen: dict[str, Choice]
) -> dict[str, list[Answer]]:
    """Ask every query of a dashboard."""
    found = {}
    for at, item in enumerate(board.items):
        if isinstance(item, Panel) and item.sql:
            when = Range(from_s, end_s, points_s(from_s, end_s, item.least_s))
            asked = [ask(client, expand(sql, when, chosen, {"pair": PAIRS})) for sql in item.sql]
            found[str(at)] = [Answer(names, answer) for names, _, answer in asked]
    return found


def draw(client: Client, board: Dashboard, hours: int, end_s: int, chosen: dict[str, Choice], about: str) -> None:
    """Write one picture."""
    from_s = end_s - hours * HOUR_S
    shown = {name: "All" if value == "$__all" else str(value) for name, value in chosen.items()}
    first, last = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") for at in (from_s, end_s))
    text = page(
        board,
        answers(client, board, from_s, end_s, chosen),
        shown | {"UTC": f"{first} to {last}"},
        about,
        get_plotlyjs(),
    )
    FOLDER.mkdir(exist_ok=True)
    width, height = size(board)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(text)
        target = FOLDER / f"{board.uid.removeprefix('tickcast-')}.png"
        subprocess.run(  # noqa: S603  # our own page
            [
                os.environ.get("CHROMIUM", "/usr/bin/chromium"),
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000"),
                f"--user-data-dir={folder}/profile",
                f"--window-size={width},{height}",
                f"--screenshot={target}",
                source.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    # Few colours are enough for lines on a dark ground: a third of the bytes.
    Image.open(target).convert("RGB").quantize(96).save(target, optimize=True)


def main(arguments: list[str]) -> int:
    """Fill a store of its own and draw all four."""
    with tempfile.TemporaryDirectory() as folder:
        store = StoreProcess(Path(folder))
        store.start()
        try:
            recorded, made_up = (connect(store.settings(name)) for name in ("recorded", "made_up"))
            for client in (recorded, made_up):
                migrate.apply(client)
            end_s = record(recorded, Path(arguments[0]))
            about = "recorded: Binance BTC/USDT 1m candles, through the live features, predictor and scorer"
            draw(recorded, MARKET, 6, end_s, {"pair": PAIR, "timeframe": "1m", "period": "14"}, about)
            draw(recorded, FORECASTS, 12, end_s, {"pair": PAIR, "horizon": "300", "model": MODEL}, about)
            seed(made_up, 2 * 1_440)
            for statement in FAULTS:
                made_up.command(statement)
            about = "made up: what the tests put into the store, two days of four pairs with every kind of fault"
            draw(made_up, PIPELINE, 24, END_S, {"pair": "$__all"}, about)
            draw(made_up, QUALITY, 24, END_S, {"pair": "$__all"}, about)
        finally:
            store.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
