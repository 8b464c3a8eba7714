"""Data quality: holes in the ids, late trades, minutes without trades, and corrections."""

from __future__ import annotations

from typing import Final

from k8s.grafana.market import BLUE, GREEN, GREY, ORANGE, RED
from k8s.grafana.panel import Dashboard, Kind, Panel, Section, Style
from k8s.grafana.pipeline import CHOSEN, PAIRS

__all__ = ["QUALITY"]

MINUTES: Final = f"timeframe = '1m' AND {CHOSEN} AND $__timeFilter(open_time)"
FOUND: Final = f"{CHOSEN} AND $__timeFilter(found_at)"

HOLES: Final = f"""SELECT
    $__timeInterval(found_at) AS time,
    state,
    count() AS Value
FROM holes FINAL
WHERE {FOUND}
GROUP BY time, state
ORDER BY time, state"""

WORST_HOLES: Final = f"""SELECT found_at, pair, state, first_id, last_id, last_id - first_id + 1 AS ids, tries, at
FROM holes FINAL
WHERE {FOUND}
ORDER BY state = 'repaired', found_at DESC
LIMIT 50"""

# Ids rise by one, so what is missing is what lies between the first and the last one. Other sources number otherwise.
MISSING: Final = f"""SELECT
    $__timeInterval(open_time) AS time,
    pair,
    sum(lost) AS Value
FROM
(
    SELECT
        pair,
        open_time,
        greatest(0, last_trade_id - previous - toInt64(trades)) AS lost
    FROM
    (
        SELECT
            pair,
            open_time,
            last_trade_id,
            trades,
            lagInFrame(last_trade_id, 1, first_trade_id - 1)
                OVER (PARTITION BY pair, source ORDER BY open_time) AS previous
        FROM candles FINAL
        WHERE {MINUTES} AND trades > 0
    )
)
GROUP BY time, pair
ORDER BY time, pair"""


def share(expression: str) -> str:
    """Give a share of the minutes of each pair in each point."""
    return f"""SELECT
    $__timeInterval(open_time) AS time,
    pair,
    {expression} AS Value
FROM candles FINAL
WHERE {MINUTES}
GROUP BY time, pair
ORDER BY time, pair"""


LATE: Final = f"""SELECT
    $__timeInterval(l.time) AS time,
    pair,
    count() AS Value
FROM late_trades AS l FINAL
WHERE {CHOSEN} AND $__timeFilter(l.time)
GROUP BY time, pair
ORDER BY time, pair"""

ABSENT: Final = f"""SELECT
    $__timeInterval(open_time) AS time,
    pair,
    countIf(dateDiff('minute', previous, open_time) > 1) AS Value
FROM
(
    SELECT pair, open_time, lagInFrame(open_time, 1, open_time) OVER (PARTITION BY pair ORDER BY open_time) AS previous
    FROM candles FINAL
    WHERE {MINUTES}
)
GROUP BY time, pair
ORDER BY time, pair"""

BY_PAIR: Final = f"""SELECT
    pair,
    source,
    count() AS minutes,
    dateDiff('minute', min(open_time), max(open_time)) + 1 - count() AS absent,
    countIf(synthetic) / count() AS without_trades,
    countIf(revision > 0) / count() AS revised,
    max(revision) AS most_revisions,
    countIf(closed_by = 'timer') / count() AS closed_by_timer,
    min(open_time) AS first_minute,
    max(open_time) AS last_minute
FROM candles FINAL
WHERE {MINUTES}
GROUP BY pair, source
ORDER BY pair, source"""

REVISED: Final = f"""SELECT open_time, pair, timeframe, revision, trades, close, as_of
FROM candles FINAL
WHERE revision > 0 AND {CHOSEN} AND $__timeFilter(open_time)
ORDER BY open_time DESC, pair, timeframe
LIMIT 50"""


def stat(title: str, description: str, unit: str, sql: str, marks: tuple[tuple[float, str], ...]) -> Panel:
    """Give one figure."""
    return Panel(title, description, unit, Kind.STAT, (sql,), width=6, height=4, marks=marks, decimals=2)


QUALITY: Final = Dashboard(
    uid="tickcast-quality",
    title="tickcast Data quality",
    description="What is missing, what came late, and what was corrected.",
    variables=(PAIRS,),
    items=(
        stat(
            "Open holes",
            "Holes found in the range that are neither filled nor given up.",
            "short",
            f"SELECT countIf(state = 'open') AS holes FROM holes FINAL\nWHERE {FOUND}",
            ((0, GREEN), (1, ORANGE)),
        ),
        stat(
            "Ids given up",
            "Trade ids in holes found in the range that the exchange does not give.",
            "short",
            f"SELECT sumIf(last_id - first_id + 1, state = 'unrepairable') AS ids FROM holes FINAL\nWHERE {FOUND}",
            ((0, GREEN), (1, RED)),
        ),
        stat(
            "Minutes without trades",
            "Share of synthetic candles in the range. Usual for quiet pairs; for all pairs at once it is an outage.",
            "percentunit",
            f"SELECT countIf(synthetic) / count() AS share FROM candles FINAL\nWHERE {MINUTES}",
            ((0, GREEN), (0.2, ORANGE), (0.8, RED)),
        ),
        stat(
            "Corrected minutes",
            "Share of minutes that a late trade has corrected.",
            "percentunit",
            f"SELECT countIf(revision > 0) / count() AS share FROM candles FINAL\nWHERE {MINUTES}",
            ((0, GREEN), (0.05, ORANGE)),
        ),
        Section("Holes"),
        Panel(
            "Holes found",
            "Trade ids that the feed passed over, by what has become of them since.",
            "short",
            Kind.BARS,
            (HOLES,),
            stacked=True,
            styles={"open": Style(ORANGE), "repaired": Style(GREEN), "unrepairable": Style(RED)},
        ),
        Panel(
            "Trade ids missing",
            "Ids between the first and the last one of the minutes in the store that no candle accounts for.",
            "short",
            Kind.LINES,
            (MISSING,),
            low=0,
            min_interval="5m",
        ),
        Panel(
            "Holes",
            "The fifty newest of the range, those that are not repaired first.",
            "short",
            Kind.TABLE,
            (WORST_HOLES,),
            width=24,
        ),
        Section("Late and corrected"),
        Panel(
            "Corrected minutes",
            "Share of minutes that late trades have corrected: they were accepted.",
            "percentunit",
            Kind.LINES,
            (share("countIf(revision > 0) / count()"),),
            min_interval="15m",
            low=0,
            decimals=1,
        ),
        Panel(
            "Too late for any candle",
            "Trades whose minute had left the state when they came, by when they were executed.",
            "short",
            Kind.BARS,
            (LATE,),
            stacked=True,
            min_interval="15m",
        ),
        Panel(
            "Newest corrections",
            "Candles of any length whose revision is not 0.",
            "short",
            Kind.TABLE,
            (REVISED,),
            width=24,
        ),
        Section("Minutes"),
        Panel(
            "Minutes without trades",
            "Share of synthetic candles.",
            "percentunit",
            Kind.LINES,
            (share("countIf(synthetic) / count()"),),
            min_interval="15m",
            low=0,
            high=1,
            decimals=0,
        ),
        Panel(
            "Closed by the timer",
            "Share of minutes that no later trade has closed: the pair or the feed was silent.",
            "percentunit",
            Kind.LINES,
            (share("countIf(closed_by = 'timer') / count()"),),
            min_interval="15m",
            low=0,
            high=1,
            decimals=0,
        ),
        Panel(
            "Gaps in the minutes",
            "Places where a minute is absent altogether: neither trades nor a synthetic candle.",
            "short",
            Kind.LINES,
            (ABSENT,),
            low=0,
            min_interval="5m",
        ),
        Panel(
            "Minutes by source",
            "Share of minutes by where their trades came from; sim and replay are no market.",
            "percentunit",
            Kind.BARS,
            (
                f"""SELECT
    $__timeInterval(open_time) AS time,
    source,
    count() / sum(count()) OVER (PARTITION BY time) AS Value
FROM candles FINAL
WHERE {MINUTES}
GROUP BY time, source
ORDER BY time, source""",
            ),
            stacked=True,
            low=0,
            high=1,
            min_interval="15m",
            styles={"kraken": Style(GREEN), "sim": Style(GREY), "replay": Style(BLUE)},
        ),
        Panel(
            "By pair",
            "Minutes in the range by pair and source.",
            "short",
            Kind.TABLE,
            (BY_PAIR,),
            width=24,
            styles={
                name: Style(unit="percentunit", decimals=1) for name in ("without_trades", "revised", "closed_by_timer")
            },
        ),
    ),
)
