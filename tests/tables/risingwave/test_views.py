"""Every view on PostgreSQL, against plain Python and against ClickHouse, from the same log of repeats and corrections.

tests/support/risingwave.py says what is rewritten. RisingWave's own execution is not tested here: there is none to run.
"""

# ruff: noqa: S608  (the SQL of these tests is put together from constants)

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from statistics import correlation
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from redpanda.settings import BrokerSettings
from tables.clickhouse import migrate, rows
from tables.clickhouse.client import connect
from tables.clickhouse.settings import StoreSettings
from tables.records import MINUTE_MS
from tables.risingwave.script import pieces, values
from tables.risingwave.settings import RisingWaveSettings
from tests.support.rising_rows import DAY_MS, HOUR_MS, NOW, NOW_MS, PAIRS, World
from tests.support.risingwave import to_postgres

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

    from tests.support.store import StoreProcess

pytestmark = pytest.mark.component
Rows = dict[Any, tuple[Any, ...]]
_C1M = f"""(
SELECT * FROM candles FINAL
WHERE timeframe = '1m' AND open_time > toDateTime64({NOW_MS / 1000}, 3, 'UTC') - INTERVAL 8 DAY)"""
_RETURNS = f"""(
SELECT c.pair AS pair, toUnixTimestamp64Milli(c.open_time) AS open_ms, c.close AS close, c.synthetic AS synthetic,
       log(c.close / p.close) AS r
FROM {_C1M} AS c JOIN {_C1M} AS p ON p.pair = c.pair AND p.open_time = c.open_time - INTERVAL 1 MINUTE)"""


@pytest.fixture(scope="module")
def world() -> World:
    return World(7)


@pytest.fixture(scope="module")
def views(module_database: Any, world: World) -> Any:
    """PostgreSQL with all views over the world's log."""
    wanted = pieces(values(RisingWaveSettings(), BrokerSettings(), StoreSettings()))
    logs: dict[str, Sequence[Any]] = {
        "candles_log": world.candle_log,
        "trades_log": world.trade_log,
        "forecast_errors_log": world.error_log,
        "holes_log": world.hole_log,
        "late_trades_log": world.late_log,
        "features_log": world.feature_log,
        "forecasts_log": world.forecast_log,
    }
    for piece in wanted:
        if not (sql := to_postgres(piece, NOW)):
            continue
        module_database.execute(sql)
        log = logs.get(piece.name, ())
        records = [msgspec.to_builtins(record) | {"log_offset": str(at)} for at, record in enumerate(log)]
        if records:
            module_database.execute(
                f"INSERT INTO {piece.name} SELECT * FROM json_populate_recordset(NULL::{piece.name}, %s::json)",
                [msgspec.json.encode(records).decode()],
            )
        module_database.execute(f"ANALYZE {piece.name}")
    return module_database


@pytest.fixture(scope="module")
def columns(store: StoreProcess, world: World) -> Iterator[Client]:
    """ClickHouse with the same log."""
    client = connect(store.settings("test_risingwave"))
    migrate.apply(client)
    rows.insert_candles(client, world.candle_log, "a")
    rows.insert_errors(client, world.error_log, "a")
    rows.insert_holes(client, world.hole_log, "a")
    rows.insert_trades(client, world.trade_log, "a")
    yield client
    client.command(f"DROP DATABASE `{client.database}`", use_database=False)
    client.close()


def plain(value: Any) -> Any:
    """Times as ms."""
    return round(value.timestamp() * 1_000) if isinstance(value, datetime) else value


def keyed(found: Sequence[Sequence[Any]], keys: int) -> Rows:
    """Rows by their first columns."""
    made = {tuple(map(plain, row[:keys])): tuple(map(plain, row[keys:])) for row in found}
    assert len(made) == len(found)
    return made


def assert_equal(found: Rows, expected: Rows, *, rel: float = 1e-9, floor: float = 1e-12) -> None:
    assert found.keys() == expected.keys()
    assert found
    for key, wanted in expected.items():
        pairs = zip(found[key], wanted, strict=True)
        # pytest.approx takes ten times as long, and no None.
        same = [a == b or (None not in {a, b} and math.isclose(a, b, rel_tol=rel, abs_tol=floor)) for a, b in pairs]
        assert all(same), (key, found[key], wanted)


def test_rolling_returns_and_volatility(views: Any, columns: Client, world: World) -> None:
    found = keyed(
        views.execute(
            "SELECT pair, open_time, close, return_1h, return_24h, volatility_1h, volatility_24h, minutes_1h, "
            "minutes_24h, as_of_ms FROM market_rolling"
        ).fetchall(),
        2,
    )
    expected = {}
    assert found.keys() == world.returns.keys()
    for pair, open_ms in [key for key in found if key[1] % (10 * MINUTE_MS) == 0]:
        row = world.candles[pair, open_ms]
        hour, day = (world.candles.get((pair, open_ms - span)) for span in (HOUR_MS, DAY_MS))
        spans = [[world.returns.get((pair, open_ms - at * MINUTE_MS)) for at in range(count)] for count in (60, 1_440)]
        known = [[value for value in span if value is not None] for span in spans]
        within = [world.candles.get((pair, open_ms - at * MINUTE_MS)) for at in range(1_441)]
        expected[pair, open_ms] = (
            row.close,
            math.log(row.close / hour.close) if hour else None,
            math.log(row.close / day.close) if day else None,
            *(math.sqrt(math.fsum(value * value for value in span)) for span in known),
            *(len(span) for span in known),
            max(one.as_of_ms for one in within if one),
        )
    assert_equal({key: found[key] for key in expected}, expected)
    assert {row[6] for row in found.values()} > {1_440, 1_438}  # the missing candle takes two returns along
    frame = "OVER (PARTITION BY pair ORDER BY open_ms RANGE BETWEEN {} PRECEDING AND CURRENT ROW)"
    stored = columns.query(
        f"SELECT r.pair, r.open_ms, r.close, if(h.close = 0, NULL, log(r.close / h.close)), "
        f"if(d.close = 0, NULL, log(r.close / d.close)), v1, v24, n1, n24 FROM (SELECT pair, open_ms, close, "
        f"sqrt(sum(r * r) {frame.format(3_540_000)}) AS v1, sqrt(sum(r * r) {frame.format(86_340_000)}) AS v24, "
        f"count() {frame.format(3_540_000)} AS n1, count() {frame.format(86_340_000)} AS n24 FROM {_RETURNS}) AS r "
        f"LEFT JOIN {_C1M} AS h ON h.pair = r.pair AND toUnixTimestamp64Milli(h.open_time) = r.open_ms - 3600000 "
        f"LEFT JOIN {_C1M} AS d ON d.pair = r.pair AND toUnixTimestamp64Milli(d.open_time) = r.open_ms - 86400000"
    ).result_rows
    assert_equal({key: row[:-1] for key, row in found.items()}, keyed(stored, 2))
    latest = keyed(views.execute("SELECT pair, open_ms, return_24h, as_of_ms FROM market_latest").fetchall(), 1)
    last_ms = {pair: max(open_ms for other, open_ms in found if other == pair) for pair in PAIRS}
    assert latest == {(p,): (last_ms[p], found[p, last_ms[p]][2], found[p, last_ms[p]][7]) for p in PAIRS}


def test_stored_rolling_row_is_the_one_that_accounts_for_most(views: Any, columns: Client) -> None:
    """The sink appends: rows of before a correction come before or, after a restart, behind the corrected ones."""
    made = views.execute("SELECT * FROM market_rolling ORDER BY pair, open_time LIMIT 3000").fetchall()
    before = [(*row[:2], 1.0, *row[3:9], row[9] - 1) for row in made]
    for rows_ in (before[:2_000], made, before[1_000:]):
        columns.insert("market_rolling", rows_)
    stored = columns.query("SELECT * FROM market_rolling FINAL ORDER BY pair, open_time").result_rows
    assert_equal(keyed(stored, 2), keyed(made, 2), rel=0, floor=0)


def test_correlation_of_pairs_that_both_traded(views: Any, columns: Client, world: World) -> None:
    query = "SELECT pair, other, window_start, minutes, correlation FROM correlation_24h"
    found = keyed(views.execute(query).fetchall(), 3)
    sides: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for pair, open_ms in world.returns:
        for other in PAIRS:
            both = pair < other and (other, open_ms) in world.returns
            if both and not world.candles[pair, open_ms].synthetic and not world.candles[other, open_ms].synthetic:
                for back in range(24):
                    start_ms = open_ms - open_ms % HOUR_MS - back * HOUR_MS
                    sides[pair, other, start_ms].append((world.returns[pair, open_ms], world.returns[other, open_ms]))
    expected = {key: (len(xy), correlation(*zip(*xy, strict=True))) for key, xy in sides.items()}
    assert_equal(found, expected, rel=1e-7)
    stored = columns.query(
        f"SELECT a.pair, b.pair, (intDiv(a.open_ms, 3600000) - back) * 3600000 AS start, count(), corr(a.r, b.r) "
        f"FROM {_RETURNS} AS a JOIN {_RETURNS} AS b ON a.open_ms = b.open_ms ARRAY JOIN range(24) AS back "
        f"WHERE a.pair < b.pair AND NOT a.synthetic AND NOT b.synthetic GROUP BY a.pair, b.pair, start"
    ).result_rows
    assert_equal(found, keyed(stored, 3), rel=1e-7)
    assert all(0.4 < value < 1 for minutes, value in found.values() if minutes > 500)


def test_taker_imbalance_counts_every_trade_once(views: Any, columns: Client, world: World) -> None:
    query = "SELECT pair, window_start, trades, buy_volume, sell_volume, imbalance FROM taker_imbalance"
    found = keyed(views.execute(query).fetchall(), 2)
    windows: dict[Any, list[Any]] = defaultdict(list)
    for trade in world.trades:
        last_ms = trade.ts_ns // 1_000_000 // 10_000 * 10_000
        for back in range(6):
            windows[trade.pair, last_ms - back * 10_000].append(trade)
    expected: Rows = {}
    for key, inside in windows.items():
        buy, sell = (math.fsum(row.qty for row in inside if row.side == side) for side in ("buy", "sell"))
        expected[key] = (len(inside), buy, sell, (buy - sell) / (buy + sell) if buy + sell else None)
    assert_equal(found, expected)
    assert None in {row[3] for row in found.values()}  # nothing known of either side
    stored = columns.query(
        "SELECT pair, intDiv(toUnixTimestamp64Milli(time), 10000) * 10000 - back * 10000 AS start, count(), "
        "sumIf(qty, side = 'buy') AS b, "
        "sumIf(qty, side = 'sell') AS s, if(b + s > 0, (b - s) / (b + s), NULL) FROM trades FINAL "
        "ARRAY JOIN range(6) AS back GROUP BY pair, start"
    ).result_rows
    assert_equal(found, keyed(stored, 2))


_SCORE = "scored, pinball_bps, baseline_pinball_bps, skill, coverage50, coverage90, mae_bps"


def scores(inside: Sequence[Any]) -> tuple[Any, ...]:
    count = len(inside)
    pinball, baseline = (
        math.fsum(getattr(row, name) for row in inside) for name in ("pinball_bps", "baseline_pinball_bps")
    )
    covered = (sum(row.inside50 for row in inside), sum(row.inside90 for row in inside))
    mae = math.fsum(abs(row.error_bps) for row in inside) / count
    return (count, pinball / count, baseline / count, 1 - pinball / baseline, *(part / count for part in covered), mae)


def test_accuracy_is_of_the_newest_outcome(views: Any, columns: Client, world: World) -> None:
    query = f"SELECT pair, horizon_s, model, model_version, hour, {_SCORE} FROM "
    found = keyed(views.execute(query + "accuracy_hourly").fetchall(), 5)
    hours: dict[Any, list[Any]] = defaultdict(list)
    day: dict[Any, list[Any]] = defaultdict(list)
    for row in world.errors:
        key = (row.pair, row.horizon_s, row.model, row.model_version)
        hours[*key, row.target_ms // HOUR_MS * HOUR_MS].append(row)
        if row.target_ms > NOW_MS - DAY_MS:
            day[key].append(row)
    assert any(row.outcome_revision for row in world.errors)
    assert_equal(found, {key: scores(inside) for key, inside in hours.items()})
    stored = columns.query(query + "forecast_accuracy").result_rows
    assert_equal(found, {(*key[:4], key[4]): row for key, row in keyed(stored, 5).items()})
    rolling = views.execute(f"SELECT pair, horizon_s, model, model_version, {_SCORE}, last_target FROM accuracy_24h")
    assert_equal(
        keyed(rolling.fetchall(), 4),
        {key: (*scores(inside), max(row.target_ms for row in inside)) for key, inside in day.items()},
    )
    stored = columns.query(
        "SELECT pair, horizon_s, model, model_version, count(), avg(pinball_bps), avg(baseline_pinball_bps), "
        "1 - sum(pinball_bps) / sum(baseline_pinball_bps), avg(below[4] AND NOT below[2]), "
        "avg(below[5] AND NOT below[1]), avg(abs(error_bps)), max(target_time) FROM forecast_errors FINAL "
        f"WHERE NOT synthetic AND target_time > toDateTime64({(NOW_MS - DAY_MS) / 1000}, 3, 'UTC') "
        "GROUP BY pair, horizon_s, model, model_version"
    ).result_rows
    rolling = views.execute(f"SELECT pair, horizon_s, model, model_version, {_SCORE}, last_target FROM accuracy_24h")
    assert_equal(keyed(rolling.fetchall(), 4), keyed(stored, 4))


_QUALITY = ("candles", "synthetic", "by_timer", "revised", "late_trades", "open", "repaired", "unrepairable", "ids")


def test_feed_quality_counts_states_and_not_messages(views: Any, columns: Client, world: World) -> None:
    found = keyed(views.execute("SELECT * FROM feed_quality").fetchall(), 2)
    hours: dict[Any, Counter[str]] = defaultdict(Counter)
    for row in world.candles.values():
        counted = {"candles": 1, "synthetic": row.synthetic, "by_timer": row.closed_by == "timer"}
        hours[row.pair, row.open_ms // HOUR_MS * HOUR_MS].update(counted | {"revised": row.revision > 0})
    for trade in {(row.trade.pair, row.trade.trade_id): row.trade for row in world.late_log}.values():
        hours[trade.pair, trade.ts_ns // 1_000_000 // HOUR_MS * HOUR_MS].update({"late_trades": 1})
    for hole in world.holes:
        ids = 0 if hole.state == "repaired" else hole.last_id - hole.first_id + 1
        hours[hole.pair, hole.found_at_ms // HOUR_MS * HOUR_MS].update({hole.state: 1, "ids": ids})
    assert_equal(found, {key: tuple(count[name] for name in _QUALITY) for key, count in hours.items()})
    stored = columns.query(
        "SELECT pair, hour, open, repaired, unrepairable, open_ids + unrepairable_ids FROM hole_hours"
    ).result_rows
    assert_equal({key: row[5:] for key, row in found.items() if any(row[5:8])}, keyed(stored, 2))
    stored = columns.query(
        "SELECT pair, toStartOfHour(open_time), count(), countIf(synthetic), countIf(closed_by = 'timer'), "
        f"countIf(revision > 0) FROM {_C1M} GROUP BY 1, 2"
    ).result_rows
    assert_equal({key: row[:4] for key, row in found.items() if row[0]}, keyed(stored, 2))


def test_latest_features_and_forecasts(views: Any, columns: Client, world: World) -> None:
    query = 'SELECT pair, timeframe, open_ms, revision, as_of_ms, bars, "values" FROM features_latest'
    rows.insert_features(columns, world.feature_log, "a")
    expected: Rows = {}
    for row in world.feature_log:
        before = expected.get((row.pair, row.timeframe))
        if before is None or (row.open_ms, row.as_of_ms) >= (before[0], before[2]):
            expected[row.pair, row.timeframe] = (row.open_ms, row.revision, row.as_of_ms, row.bars, row.values)
    found = keyed(views.execute(query).fetchall(), 2)
    assert found == expected
    assert found["BTC/USD", "1m"][1] == 1
    stored = columns.query(
        "SELECT pair, timeframe, toUnixTimestamp64Milli(open_time), revision, toUnixTimestamp64Milli(as_of), bars, "
        "rsi_14 FROM features FINAL ORDER BY open_time DESC LIMIT 1 BY pair, timeframe"
    ).result_rows
    assert {key: (*row[:4], row[4]["rsi_14"]) for key, row in found.items()} == keyed(stored, 2)
    rows.insert_forecasts(columns, world.forecast_log, "a")
    forecasts = views.execute("SELECT pair, horizon_s, feature_open_ms, made_at_ms, q50 FROM forecasts_latest")
    stored = columns.query(
        "SELECT pair, horizon_s, toUnixTimestamp64Milli(feature_open), toUnixTimestamp64Milli(made_at), q50 "
        "FROM forecasts FINAL ORDER BY feature_open DESC LIMIT 1 BY pair, horizon_s"
    ).result_rows
    first = {(row.pair, row.horizon_s): row for row in reversed(world.forecast_log) if row.q50 != 1.0}
    made = {key: (row.feature_open_ms, row.made_at_ms, row.q50) for key, row in first.items()}
    newest_bar = max(row.feature_open_ms for row in world.forecast_log)
    assert {row[0] for row in keyed(stored, 2).values()} == {newest_bar}
    assert keyed(forecasts.fetchall(), 2) == keyed(stored, 2)
    assert {row[2] for row in keyed(stored, 2).values()} == {made[next(iter(made))][2]}
