"""Pipeline: rates, lag, freshness, recovery, and what was refused."""

from __future__ import annotations

from typing import Final

from k8s.grafana.market import BLUE, GREEN, GREY, ORANGE, RED
from k8s.grafana.panel import Dashboard, Kind, Metric, Panel, Section, Style, Variable

__all__ = ["CHOSEN", "NOW", "PAIRS", "PIPELINE"]

CHOSEN: Final = "$__conditionalAll(pair IN (${pair:singlequote}), $pair)"
NOW: Final = "least(now(), $__toTime)"
"""The end of the range, and never later than the store's clock."""

PAIRS: Final = Variable(
    "pair",
    "Pair",
    "Pairs with candles in the range",
    "SELECT DISTINCT pair FROM candles WHERE timeframe = '1m' AND $__timeFilter(open_time) ORDER BY pair",
    multi=True,
)

TRADES: Final = f"""SELECT
    $__timeInterval(open_time) AS time,
    pair,
    sum(trades) / $__interval_s AS Value
FROM candles FINAL
WHERE timeframe = '1m' AND {CHOSEN} AND $__timeFilter(open_time)
GROUP BY time, pair
ORDER BY time, pair"""


def per_minute(table: str, time: str, series: str, more: str = "") -> str:
    """Count rows of a table in each point, scaled to a minute."""
    return f"""SELECT
    $__timeInterval({time}) AS time,
    {series} AS series,
    count() * 60 / $__interval_s AS Value
FROM {table} FINAL
WHERE {CHOSEN} AND $__timeFilter({time}){more}
GROUP BY time, series
ORDER BY time, series"""


FRESH: Final = f"""SELECT
    $__timeInterval(made_at) AS time,
    quantile(0.5)(late_s) AS p50,
    quantile(0.99)(late_s) AS p99
FROM
(
    SELECT made_at, dateDiff('millisecond', feature_open + INTERVAL 1 MINUTE, made_at) / 1000 AS late_s
    FROM forecasts FINAL
    WHERE {CHOSEN} AND $__timeFilter(made_at)
)
GROUP BY time
ORDER BY time"""

SCORED: Final = f"""SELECT
    $__timeInterval(scored_at) AS time,
    quantile(0.5)(late_s) AS p50,
    quantile(0.99)(late_s) AS p99
FROM
(
    SELECT scored_at, dateDiff('millisecond', target_time, scored_at) / 1000 AS late_s
    FROM scored_forecasts
    WHERE {CHOSEN} AND $__timeFilter(scored_at)
)
GROUP BY time
ORDER BY time"""

WEEK: Final = "BETWEEN $__toTime - INTERVAL 7 DAY AND $__toTime"

AGES: Final = f"""SELECT
    pair,
    max(candle) AS newest_candle,
    max(feature) AS newest_features,
    max(forecast) AS newest_forecast,
    max(outcome) AS newest_outcome
FROM
(
    SELECT pair, toNullable(dateDiff('second', max(open_time) + INTERVAL 1 MINUTE, {NOW})) AS candle, NULL AS feature,
        NULL AS forecast, NULL AS outcome
    FROM candles WHERE timeframe = '1m' AND {CHOSEN} AND open_time {WEEK} GROUP BY pair
    UNION ALL
    SELECT pair, NULL, toNullable(dateDiff('second', max(open_time) + INTERVAL 1 MINUTE, {NOW})), NULL, NULL
    FROM features WHERE timeframe = '1m' AND {CHOSEN} AND open_time {WEEK} GROUP BY pair
    UNION ALL
    SELECT pair, NULL, NULL, toNullable(dateDiff('second', max(feature_open) + INTERVAL 1 MINUTE, {NOW})), NULL
    FROM forecasts WHERE {CHOSEN} AND feature_open {WEEK} GROUP BY pair
    UNION ALL
    SELECT pair, NULL, NULL, NULL, toNullable(dateDiff('second', max(target_time), {NOW}))
    FROM forecast_errors WHERE {CHOSEN} AND feature_open {WEEK} GROUP BY pair
)
GROUP BY pair
ORDER BY pair"""

LETTERS: Final = """SELECT
    $__timeInterval(at) AS time,
    concat(stage, ': ', reason) AS series,
    count() AS Value
FROM dead_letters FINAL
WHERE $__timeFilter(at)
GROUP BY time, series
ORDER BY time, series"""

LAST_LETTERS: Final = """SELECT at, stage, reason, pair, detail, topic, partition, offset
FROM dead_letters FINAL
WHERE $__timeFilter(at)
ORDER BY at DESC
LIMIT 50"""

STANDING: Final = f"""SELECT since, pair, name, horizon_s, value, bound, text
FROM standing_alerts
WHERE {CHOSEN}
ORDER BY since DESC"""


def prom(title: str, description: str, unit: str, *metrics: Metric, **more: object) -> Panel:
    """Give a panel of the worker's or the ingest's /metrics."""
    return Panel(title, description, unit, Kind.LINES, metrics=metrics, width=8, low=0, **more)  # type: ignore[arg-type]  # fields of Panel


BEHIND: Final = f"""SELECT max(age) AS behind
FROM
(
    SELECT dateDiff('second', max(open_time) + INTERVAL 1 MINUTE, {NOW}) AS age
    FROM candles
    WHERE timeframe = '1m' AND {CHOSEN} AND open_time {WEEK}
    GROUP BY pair
)"""

LIVE: Final = (
    Panel(
        "Oldest newest candle",
        "Time since the last closed minute of the pair that is furthest behind. More than two minutes: something "
        "stands.",
        "s",
        Kind.STAT,
        (BEHIND,),
        width=6,
        height=4,
        marks=((0, GREEN), (120, ORANGE), (300, RED)),
    ),
    Panel(
        "Dead letters",
        "Records refused in the range.",
        "short",
        Kind.STAT,
        ("SELECT count() AS letters FROM dead_letters FINAL\nWHERE $__timeFilter(at)",),
        width=6,
        height=4,
        marks=((0, GREEN), (1, ORANGE)),
    ),
    Panel(
        "Standing alerts",
        "What the scorer has raised and not taken back.",
        "short",
        Kind.STAT,
        (f"SELECT count() AS standing FROM standing_alerts\nWHERE {CHOSEN}",),
        width=6,
        height=4,
        marks=((0, GREEN), (1, ORANGE)),
    ),
    Panel(
        "Worker lag",
        "Records that the workers have not done yet, all topics together.",
        "short",
        Kind.STAT,
        metrics=(Metric("sum(tickcast_worker_lag_records)", "records"),),
        width=6,
        height=4,
        marks=((0, GREEN), (10_000, ORANGE), (100_000, RED)),
    ),
)

PIPELINE: Final = Dashboard(
    uid="tickcast-pipeline",
    title="tickcast Pipeline",
    description="From the exchange to the forecast: how much, how late, and what was refused. Lag and recovery are "
    "read "
    "from the /metrics pages of ingest and worker, by Prometheus; all else from the store.",
    variables=(PAIRS,),
    items=(
        *LIVE,
        Section("Rates"),
        Panel(
            "Trades per second",
            "Trades in closed minutes.",
            "ops",
            Kind.LINES,
            (TRADES,),
            low=0,
            min_interval="5m",
        ),
        Panel(
            "Candles per minute",
            "Closed minutes in the store by pair: one a minute for each, so the pile is as high as there are pairs.",
            "short",
            Kind.BARS,
            (per_minute("candles", "open_time", "pair", " AND timeframe = '1m'"),),
            stacked=True,
            min_interval="5m",
        ),
        Panel(
            "Forecasts per minute",
            "Forecasts in the store by horizon (s): one a minute for each pair.",
            "short",
            Kind.BARS,
            (per_minute("forecasts", "made_at", "concat(toString(horizon_s), ' s')"),),
            stacked=True,
            min_interval="5m",
        ),
        Panel(
            "Outcomes per minute",
            "Scored forecasts in the store by horizon (s).",
            "short",
            Kind.BARS,
            (per_minute("forecast_errors", "scored_at", "concat(toString(horizon_s), ' s')"),),
            stacked=True,
            min_interval="5m",
        ),
        Section("Freshness"),
        Panel(
            "Close to forecast",
            "From the end of a minute to the forecast made of it; two seconds of it wait for late trades.",
            "s",
            Kind.LINES,
            (FRESH,),
            low=0,
            decimals=2,
            styles={"p50": Style(BLUE), "p99": Style(ORANGE)},
        ),
        Panel(
            "Target to score",
            "From the time that was forecast to its score.",
            "s",
            Kind.LINES,
            (SCORED,),
            low=0,
            decimals=2,
            styles={"p50": Style(BLUE), "p99": Style(ORANGE)},
        ),
        Panel(
            "Age of the newest",
            "Time since the end of the newest minute in each table, and since the newest target with an outcome. A "
            "pair that has been "
            "silent for a week is not listed.",
            "s",
            Kind.TABLE,
            (AGES,),
            width=24,
            height=7,
        ),
        Section("Lag and recovery (Prometheus)"),
        prom(
            "Lag by topic",
            "Records of each topic that the workers have not done yet.",
            "short",
            Metric("sum by (topic) (tickcast_worker_lag_records)", "{{topic}}"),
        ),
        prom(
            "Recovery",
            "Changelog records that workers have to read before they go on; 0 while all are live.",
            "short",
            Metric("sum by (instance) (tickcast_worker_recovery_records_left)", "{{instance}}"),
        ),
        prom(
            "Workers by phase",
            "Number of workers that are starting, recovering, live or failed.",
            "short",
            Metric("sum by (phase) (tickcast_worker_phase)", "{{phase}}"),
            styles={
                "live": Style(GREEN),
                "recovery": Style(ORANGE),
                "starting": Style(GREY),
                "failed": Style(RED),
            },
        ),
        prom(
            "Ingest: trades per second",
            "Trades read from the exchange, and those that the broker has acknowledged.",
            "ops",
            Metric("sum(rate(tickcast_ingest_read_trades_total[$__rate_interval]))", "read"),
            Metric("sum(rate(tickcast_ingest_published_trades_total[$__rate_interval]))", "published"),
        ),
        prom(
            "Ingest: age of the newest trade",
            "Of the newest trade that the broker has acknowledged. Quiet pairs make it grow.",
            "s",
            Metric("max(tickcast_ingest_newest_trade_lag_seconds)", "newest"),
        ),
        prom(
            "Ingest: connections and requests",
            "Connections lost, and requests to the exchange's REST API, by the hour.",
            "short",
            Metric("sum(increase(tickcast_ingest_reconnects_total[1h]))", "lost connections"),
            Metric("sum(increase(tickcast_ingest_rest_calls_total[1h]))", "requests"),
        ),
        Section("Refused"),
        Panel(
            "Dead letters",
            "Refused records by stage and reason.",
            "short",
            Kind.BARS,
            (LETTERS,),
            stacked=True,
        ),
        Panel(
            "Standing alerts",
            "What the scorer has raised and not taken back.",
            "short",
            Kind.TABLE,
            (STANDING,),
        ),
        Panel(
            "Last dead letters",
            "The fifty newest in the range.",
            "short",
            Kind.TABLE,
            (LAST_LETTERS,),
            width=24,
        ),
    ),
)
