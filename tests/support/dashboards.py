"""A store as a month of running leaves it, made inside the engine, and the dashboards' queries against it."""

# ruff: noqa: S608  (what is put into the SQL are constants of this file)

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from k8s.grafana.boards import BOARDS
from k8s.grafana.macros import Choice, Range, expand, points_s
from k8s.grafana.panel import Dashboard, Panel
from tables.features import FEATURE_NAMES, FEATURE_SET

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["END_S", "PAIRS", "Asked", "ask", "chosen", "queries", "seed", "supersede"]

END_S = 1_720_008_000
"""2024-07-03T12:00:00Z: the month lies in two partitions."""
PAIRS = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD")
EVERYTHING: Mapping[str, Sequence[str]] = {"pair": PAIRS}

# Minutes of each pair: a price that wanders, one silent minute in 50, one in 40 corrected,
# one in 30 closed by the timer.
_MINUTES = """
SELECT
    pair,
    toDateTime64({end_s} - 60 * ({minutes} - number), 3, 'UTC') AS open_time,
    number AS n,
    [60000., 3000., 150., 0.5][indexOf({pairs}, pair)] AS base,
    cityHash64(pair, number) AS dice,
    base * exp(0.02 * sin(n / 700) + 0.004 * sin(n / 37) + 0.0004 * (dice % 1000 / 500 - 1)) AS close,
    base * exp(0.02 * sin((n - 1) / 700) + 0.004 * sin((n - 1) / 37)
        + 0.0004 * (cityHash64(pair, n - 1) % 1000 / 500 - 1)) AS open,
    greatest(open, close) * 1.0002 AS high,
    least(open, close) * 0.9998 AS low,
    dice % 50 = 0 AS synthetic,
    if(synthetic, 0, 1 + dice % 30) AS trades,
    trades * 0.1 AS volume,
    volume * (dice % 100) / 100 AS buy_volume,
    toUInt32(dice % 40 = 0) AS revision,
    if(dice % 30 = 0, 'timer', 'watermark') AS closed_by
FROM numbers({minutes}) AS t ARRAY JOIN {pairs} AS pair
"""

_CANDLES = """
INSERT INTO candles (pair, timeframe, open_time, open, high, low, close, volume, quote_volume, buy_volume, trades, vwap,
    first_trade_id, last_trade_id, closed, revision, synthetic, closed_by, source, as_of)
SELECT pair, '1m', open_time, open, high, low, close, volume, volume * close, buy_volume, trades, close,
    if(synthetic, -1, last - trades + 1), if(synthetic, -1, last), true, revision, synthetic, closed_by, 'sim',
    open_time + INTERVAL 62 SECOND
FROM (SELECT *, sum(trades) OVER (PARTITION BY pair ORDER BY n) AS last FROM ({minutes_of}))
"""

_ROLL = """
INSERT INTO candles (pair, timeframe, open_time, open, high, low, close, volume, quote_volume, buy_volume, trades, vwap,
    first_trade_id, last_trade_id, closed, revision, synthetic, closed_by, source, as_of)
SELECT pair, '{timeframe}', toStartOfInterval(c.open_time, INTERVAL {length}, 'UTC') AS start,
    argMin(open, c.open_time), max(high), min(low), argMax(close, c.open_time), sum(volume),
    sum(quote_volume), sum(buy_volume), sum(trades),
    argMax(close, c.open_time), min(first_trade_id), max(last_trade_id), true, max(revision), min(synthetic),
    'watermark', 'sim', max(as_of)
FROM candles AS c WHERE timeframe = '1m' GROUP BY pair, start
"""

_FEATURES = """
INSERT INTO features (pair, timeframe, open_time, open, high, low, close, volume, quote_volume, buy_volume, trades,
    vwap, revision, synthetic, source, feature_set, bars, as_of, {names})
SELECT pair, '1m', open_time, open, high, low, close, volume, volume * close, buy_volume, trades, close, revision,
    synthetic, 'sim', '{feature_set}', n + 1, open_time + INTERVAL 62 SECOND, {values}
FROM ({minutes_of})
"""

_FORECASTS = """
INSERT INTO forecasts (pair, horizon_s, made_at, feature_open, target_time, base_price, q05, q25, q50, q75, q95, p_up,
    sigma_bps, model, model_version, model_alias, feature_set, trusted, reasons, expires_at, revision, source)
SELECT pair, horizon_s, open_time + INTERVAL 62500 + dice % 800 MILLISECOND, open_time,
    open_time + INTERVAL 60 + horizon_s SECOND, close, close * (1 - 2 * wide), close * (1 - wide), close,
    close * (1 + wide), close * (1 + 2 * wide), 0.4 + (dice % 200) / 1000, wide * 1e4,
    'catboost', if(n < {minutes} / 2, '3', '4'), 'champion', '{feature_set}', dice % 20 > 0,
    if(dice % 20 > 0, [], ['stale', 'drift']), open_time + INTERVAL 180 SECOND, 0, 'sim'
FROM (SELECT *, horizon_s, 0.0002 * sqrt(horizon_s / 60) AS wide FROM ({minutes_of})
    ARRAY JOIN [60, 300, 900] AS horizon_s)
"""

_ERRORS = """
INSERT INTO forecast_errors (pair, horizon_s, feature_open, target_time, model, model_version, trusted, source,
    base_price, outcome_price, outcome_revision, synthetic, return_bps, error_bps, pinball_bps,
    baseline_pinball_bps, below, scored_at)
SELECT pair, horizon_s, open_time, open_time + INTERVAL 60 + horizon_s SECOND, 'catboost',
    if(n < {minutes} / 2, '3', '4'), true, 'sim', close, close, 1, synthetic, u * 10 - 5, u * 10 - 5, 1 + u, 1.02 + u,
    [u < 0.05, u < 0.25, u < 0.5, u < 0.75, u < 0.95], open_time + INTERVAL 62700 + 1000 * horizon_s MILLISECOND
FROM (SELECT *, horizon_s, cityHash64(dice, horizon_s) % 10000 / 10000 AS u FROM ({minutes_of})
    ARRAY JOIN [60, 300, 900] AS horizon_s)
WHERE open_time + INTERVAL 60 + horizon_s SECOND <= toDateTime({end_s})
"""

_REST = (
    """INSERT INTO holes SELECT pair, 1000 * number, 1000 * number + number % 7, open_time,
    ['repaired', 'repaired', 'open', 'unrepairable'][1 + number % 4], 1, open_time, open_time + INTERVAL 1 MINUTE, 'sim'
FROM (SELECT *, pair, toDateTime64({end_s} - 60 * {minutes} / 40 * number - 60, 3, 'UTC') AS open_time FROM numbers(40)
    ARRAY JOIN {pairs} AS pair)""",
    """INSERT INTO late_trades SELECT pair, toDateTime64({end_s} - 60 * {minutes} / 30 * number - 90, 9, 'UTC'), number,
    1, 1, 'buy', 'sim', 'window-left-state', toDateTime64({end_s}, 3, 'UTC')
FROM numbers(30) ARRAY JOIN {pairs} AS pair""",
    """INSERT INTO models SELECT horizon_s, 'catboost', ['3', '4'][1 + number], 'champion', '{feature_set}', 'sim',
    toDateTime64({end_s} - 60 * {minutes} + 30 * {minutes} * number, 3, 'UTC') AS data_to,
    data_to + INTERVAL 30 DAY, 'host:1', data_to + INTERVAL 5 MINUTE
FROM numbers(2) ARRAY JOIN [60, 300, 900] AS horizon_s""",
    """INSERT INTO alerts SELECT pair, ['error-drift', 'coverage'][1 + number % 2], 300, number < 3 OR pair = 'XRP/USD',
    0.2, 0.1, 'outer band too narrow', toDateTime64({end_s} - 6000 + 600 * number, 3, 'UTC')
FROM numbers(8) ARRAY JOIN {pairs} AS pair""",
    """INSERT INTO dead_letters SELECT toDateTime64({end_s} - {minutes} / 50 * number * 60 - 60, 3, 'UTC'), 'candles',
    ['price-not-positive', 'malformed-record'][1 + number % 2], 'price is -1', '{{}}', 'trades', 2, number, 'BTC/USD'
FROM numbers(50)""",
)


class Asked(NamedTuple):
    """One query of a panel as Grafana would send it."""

    board: Dashboard
    panel: Panel
    number: int
    sql: str

    @property
    def name(self) -> str:
        number = self.board.panels.index(self.panel)  # titles repeat
        return f"{self.board.uid.removeprefix('tickcast-')} {number}: {self.panel.title} {'ABCDEF'[self.number]}"


def seed(client: Client, minutes: int, pairs: Sequence[str] = PAIRS) -> None:
    """Fill every table with `minutes` minutes that end at `END_S`."""
    common = {"end_s": END_S, "minutes": minutes, "pairs": list(pairs), "feature_set": FEATURE_SET}
    common["minutes_of"] = _MINUTES.format(**common)
    client.command(_CANDLES.format(**common))
    for timeframe, length in (
        ("5m", "5 MINUTE"),
        ("15m", "15 MINUTE"),
        ("1h", "1 HOUR"),
        ("4h", "4 HOUR"),
        ("1d", "1 DAY"),
    ):
        client.command(_ROLL.format(timeframe=timeframe, length=length))
    values = (f"50 + 20 * sin(n / {7 + at}) + dice % {11 + at} AS v{at}" for at in range(len(FEATURE_NAMES)))
    client.command(_FEATURES.format(names=", ".join(FEATURE_NAMES), values=", ".join(values), **common))
    for statement in (_FORECASTS, _ERRORS, *_REST):
        client.command(statement.format(**common))


# Older versions of three rows in seven, as a replay after a crash writes them; copies where a table has no versions.
_SUPERSEDED = {
    "candles": "* REPLACE (close * 2 AS close, high * 2 AS high, trades + 50 AS trades, volume * 3 AS volume, "
    "buy_volume * 2 AS buy_volume, NOT synthetic AS synthetic, revision + 3 AS revision, 'timer' AS closed_by, "
    "last_trade_id + 9 AS last_trade_id, as_of - INTERVAL 5 SECOND AS as_of)",
    "features": "* REPLACE ({features}, as_of - INTERVAL 5 SECOND AS as_of)",
    "forecasts": "* REPLACE (q05 / 2 AS q05, q50 * 3 AS q50, q95 * 2 AS q95, p_up + 0.1 AS p_up, "
    "sigma_bps * 4 AS sigma_bps, NOT trusted AS trusted, ['stale'] AS reasons, made_at + INTERVAL 1 HOUR AS made_at)",
    "forecast_errors": "* REPLACE (0 AS outcome_revision, pinball_bps * 5 AS pinball_bps, error_bps - 90 AS error_bps, "
    "[true, true, true, true, true] AS below, NOT synthetic AS synthetic, scored_at - INTERVAL 40 SECOND AS scored_at)",
    "holes": "* REPLACE ('open' AS state, last_id + 5 AS last_id, at - INTERVAL 30 SECOND AS at)",
    "late_trades": "*",
    "models": "*",
    "alerts": "*",
    "dead_letters": "*",
}


def supersede(client: Client) -> None:
    """Insert what newer rows have replaced."""
    features = ", ".join(f"{name} * 2 AS {name}" for name in FEATURE_NAMES)
    for table, columns in _SUPERSEDED.items():
        row = {
            "candles": "open_time",
            "features": "open_time",
            "holes": "first_id",
            "alerts": "at",
            "dead_letters": "at",
            "late_trades": "trade_id",
            "models": "at",
        }.get(table, "feature_open")
        chosen_rows = f"cityHash64({row}) % 7 < 3"
        client.command(
            f"INSERT INTO {table} SELECT {columns.format(features=features)} FROM {table} FINAL WHERE {chosen_rows}"
        )


def chosen(board: Dashboard) -> dict[str, Choice]:
    """What a person has chosen who has just opened the dashboard."""
    known = {"model": "catboost"}
    return {one.name: "$__all" if one.multi else one.default or known[one.name] for one in board.variables}


def queries(days: float) -> Iterator[Asked]:
    """Give every panel query over the last days before `END_S`, as a panel a thousand points wide asks it."""
    from_s = END_S - int(days * 86_400)
    for board in BOARDS:
        for panel in board.panels:
            when = Range(from_s, END_S, points_s(from_s, END_S, panel.least_s))
            for number, sql in enumerate(panel.sql):
                yield Asked(board, panel, number, expand(sql, when, chosen(board), EVERYTHING))


def ask(client: Client, sql: str) -> tuple[tuple[str, ...], tuple[str, ...], list[tuple[Any, ...]]]:
    """Give names, types and rows, asked as somebody who may only read."""
    answer = client.query(sql, settings={"readonly": 2})
    return (
        tuple(answer.column_names),
        tuple(kind.name for kind in answer.column_types),
        [tuple(row) for row in answer.result_rows],
    )
