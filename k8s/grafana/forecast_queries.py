"""The SQL of dashboard Forecasts."""

from __future__ import annotations

from typing import Final

__all__ = [
    "AGE",
    "ANY_MODEL",
    "CALIBRATION",
    "COVERAGE",
    "ENOUGH",
    "FAN",
    "HOURLY",
    "LEAGUE",
    "LOSS",
    "MADE",
    "ONE",
    "OUTCOME",
    "SKILL",
    "SWAPS",
    "TRUST",
    "WHERE_IT_FELL",
    "WIDTH",
]

ONE: Final = "pair = ${pair:singlequote} AND horizon_s = ${horizon} AND model = ${model:singlequote}"
ANY_MODEL: Final = "pair = ${pair:singlequote} AND horizon_s = ${horizon}"
# The bound on feature_open lets the store skip whole months; no horizon is as long as a day.
MADE: Final = "feature_open BETWEEN $__fromTime - INTERVAL 1 DAY AND $__toTime AND $__timeFilter(target_time)"
HOURLY: Final = "toStartOfInterval(toDateTime(target_time), INTERVAL greatest($__interval_s, 3600) SECOND) AS time"
ENOUGH: Final = 10
"""Outcomes below which an hour is not drawn: the one that has just begun (count)."""

FAN: Final = f"""SELECT time, fan.1 AS q05, fan.2 AS q25, fan.3 AS q50, fan.4 AS q75, fan.5 AS q95
FROM
(
    SELECT
        $__timeInterval(target_time) AS time,
        argMax((q05, q25, q50, q75, q95), (target_time, -toInt64(revision))) AS fan
    FROM forecasts FINAL
    WHERE {ONE} AND {MADE}
    GROUP BY time
)
ORDER BY time"""

OUTCOME: Final = """SELECT
    toStartOfInterval(toDateTime(open_time + INTERVAL 1 MINUTE), INTERVAL $__interval_s SECOND) AS time,
    argMax(close, open_time) AS price
FROM candles FINAL
WHERE pair = ${pair:singlequote} AND timeframe = '1m' AND $__timeFilter(open_time)
GROUP BY time
ORDER BY time"""

SKILL: Final = f"""SELECT
    {HOURLY},
    concat(model, ' ', model_version) AS name,
    1 - sum(pinball_bps) / nullIf(sum(baseline_pinball_bps), 0) AS Value
FROM scored_forecasts
WHERE {ANY_MODEL} AND {MADE}
GROUP BY time, name
HAVING count() >= {ENOUGH}
ORDER BY time, name"""

COVERAGE: Final = f"""SELECT
    {HOURLY},
    avg(inside50) AS inside_50,
    avg(inside90) AS inside_90
FROM scored_forecasts
WHERE {ONE} AND {MADE}
GROUP BY time
HAVING count() >= {ENOUGH}
ORDER BY time"""

CALIBRATION: Final = f"""SELECT
    concat('q', leftPad(toString(toUInt8(level.1 * 100)), 2, '0')) AS quantile,
    any(level.1) AS promised,
    avg(level.2) AS seen
FROM
(
    SELECT arrayJoin(arrayZip([0.05, 0.25, 0.5, 0.75, 0.95], below)) AS level
    FROM scored_forecasts
    WHERE {ONE} AND {MADE}
)
GROUP BY quantile
ORDER BY quantile"""

WHERE_IT_FELL: Final = f"""SELECT
    ['below q05', 'q05 to q25', 'q25 to q50', 'q50 to q75', 'q75 to q95', 'above q95'][bin + 1] AS place,
    [0.05, 0.2, 0.25, 0.25, 0.2, 0.05][bin + 1] AS promised,
    count() / sum(count()) OVER () AS seen
FROM
(
    SELECT toUInt8(5 - arrayCount(x -> x, below)) AS bin
    FROM scored_forecasts
    WHERE {ONE} AND {MADE}
)
GROUP BY bin
ORDER BY bin"""

LOSS: Final = f"""SELECT
    {HOURLY},
    avg(s.pinball_bps) AS model_loss,
    avg(s.baseline_pinball_bps) AS baseline_loss
FROM scored_forecasts AS s
WHERE {ONE} AND {MADE}
GROUP BY time
HAVING count() >= {ENOUGH}
ORDER BY time"""

WIDTH: Final = f"""SELECT
    $__timeInterval(target_time) AS time,
    avg(1e4 * log(q95 / q05)) AS inner_90,
    avg(1e4 * log(q75 / q25)) AS inner_50,
    avg(f.sigma_bps) AS sigma
FROM forecasts AS f FINAL
WHERE {ONE} AND {MADE}
GROUP BY time
ORDER BY time"""

TRUST: Final = f"""SELECT
    $__timeInterval(target_time) AS time,
    arrayJoin(if(trusted, ['trusted'], if(empty(reasons), ['unknown'], arrayMap(x -> toString(x), reasons)))) AS reason,
    count() AS Value
FROM forecasts FINAL
WHERE {ANY_MODEL} AND {MADE}
GROUP BY time, reason
ORDER BY time, reason"""

AGE: Final = f"""SELECT
    $__timeInterval(feature_open) AS time,
    concat(model, ' ', model_version) AS name,
    max(dateDiff('second', learned_to, feature_open)) AS Value
FROM forecasts
INNER JOIN
(
    SELECT horizon_s, model, model_version, max(data_to) AS learned_to
    FROM models
    GROUP BY horizon_s, model, model_version
    HAVING learned_to IS NOT NULL
) AS learned USING (horizon_s, model, model_version)
WHERE {ANY_MODEL} AND $__timeFilter(feature_open)
GROUP BY time, name
ORDER BY time, name"""

SWAPS: Final = """SELECT at, horizon_s, model, model_version AS version, model_alias AS alias, source, data_to, worker
FROM models FINAL
WHERE horizon_s = ${horizon} AND at <= $__toTime
ORDER BY at DESC, worker
LIMIT 50"""

LEAGUE: Final = f"""SELECT
    pair,
    horizon_s,
    model,
    model_version AS version,
    count() AS scored,
    1 - sum(s.pinball_bps) / nullIf(sum(s.baseline_pinball_bps), 0) AS skill,
    avg(inside50) AS inside_50,
    avg(inside90) AS inside_90,
    avg(s.pinball_bps) AS loss,
    avg(abs(error_bps)) AS mae
FROM scored_forecasts AS s
WHERE pair = ${{pair:singlequote}} AND {MADE}
GROUP BY pair, horizon_s, model, model_version
ORDER BY pair, horizon_s, skill DESC"""
