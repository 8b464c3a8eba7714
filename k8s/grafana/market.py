"""Market: candles, volume, and the indicators of the feature catalogue."""

from __future__ import annotations

from typing import Final

from k8s.grafana.panel import Dashboard, Kind, Panel, Section, Style, Variable
from tables.features.catalog import PERIODS
from tables.records import TIMEFRAMES

__all__ = ["MARKET"]

GREEN, RED, BLUE, ORANGE, PURPLE, GREY = "#73BF69", "#F2495C", "#5794F2", "#FF9830", "#B877D9", "#9FA7B3"

BARS: Final = "pair = ${pair:singlequote} AND timeframe = ${timeframe:singlequote} AND $__timeFilter(open_time)"


def indicator(columns: str) -> str:
    """Read indicators: of several bars in one point the last one's."""
    chosen = ",\n    ".join(
        f"argMax({name}, open_time) AS {alias}" for name, alias in (word.split("=") for word in columns.split())
    )
    return f"""SELECT
    $__timeInterval(open_time) AS time,
    {chosen}
FROM features FINAL
WHERE {BARS}
GROUP BY time
ORDER BY time"""


def stat(title: str, description: str, unit: str, expression: str, decimals: int | None = None) -> Panel:
    """Give one figure of the bars in the range."""
    sql = f"SELECT {expression}\nFROM candles FINAL\nWHERE {BARS}"
    return Panel(title, description, unit, Kind.STAT, (sql,), width=6, height=4, decimals=decimals)


PRICE: Final = f"""SELECT
    $__timeInterval(open_time) AS time,
    argMin(c.open, open_time) AS open,
    max(c.high) AS high,
    min(c.low) AS low,
    argMax(c.close, open_time) AS close
FROM candles AS c FINAL
WHERE {BARS}
GROUP BY time
ORDER BY time"""

VOLUME: Final = f"""SELECT
    $__timeInterval(open_time) AS time,
    sum(buy_volume) AS taker_buys,
    sum(volume - buy_volume) AS taker_sells
FROM candles FINAL
WHERE {BARS}
GROUP BY time
ORDER BY time"""

TRADES: Final = f"""SELECT
    $__timeInterval(open_time) AS time,
    sum(c.trades) / $__interval_s AS trades_per_s
FROM candles AS c FINAL
WHERE {BARS}
GROUP BY time
ORDER BY time"""

OBV: Final = f"""SELECT
    $__timeInterval(open_time) AS time,
    argMax(running, open_time) AS obv
FROM
(
    SELECT open_time, sum(signed) OVER (ORDER BY open_time) AS running
    FROM
    (
        SELECT
            open_time,
            volume * sign(close - lagInFrame(close, 1, close) OVER (ORDER BY open_time)) AS signed
        FROM candles FINAL
        WHERE {BARS}
    )
)
GROUP BY time
ORDER BY time"""

MARKET: Final = Dashboard(
    uid="tickcast-market",
    title="tickcast Market",
    description="Candles made of trades, and the indicators that the forecasts are made of. Times are UTC.",
    variables=(
        Variable(
            "pair",
            "Pair",
            "Pairs with candles in the range",
            "SELECT DISTINCT pair FROM candles WHERE timeframe = '1m' AND $__timeFilter(open_time) ORDER BY pair",
            default="BTC/USD",
        ),
        Variable("timeframe", "Bars", "Length of a bar", values=TIMEFRAMES, default="1m"),
        Variable("period", "Period", "Period of the indicators (bars)", values=tuple(map(str, PERIODS)), default="14"),
    ),
    items=(
        stat("Close", "Close of the newest bar in the range.", "short", "argMaxOrNull(close, open_time) AS close", 2),
        stat(
            "Change",
            "Close of the newest bar against the open of the first one in the range.",
            "percentunit",
            "argMaxOrNull(close, open_time) / argMinOrNull(open, open_time) - 1 AS change",
            2,
        ),
        stat("Volume", "Base currency traded in the range.", "short", "sum(volume) AS traded", 1),
        stat("Trades", "Trades in the range.", "short", "sum(trades) AS traded", 0),
        Panel(
            "Price",
            "Candles of the chosen length; where a point holds several, they are put together. With the simple and the "
            "exponential mean of the close over the chosen period, and the Bollinger bands over 20 bars.",
            "short",
            Kind.CANDLES,
            (PRICE, indicator("sma_${period}=sma ema_${period}=ema bb_lower_20=bb_lower bb_upper_20=bb_upper")),
            width=24,
            height=13,
            styles={
                "sma": Style(ORANGE),
                "ema": Style(BLUE),
                "bb_lower": Style(GREY, dashed=True),
                "bb_upper": Style(GREY, dashed=True),
            },
        ),
        Panel(
            "Volume",
            "Base currency in each point, by the side of the taker.",
            "short",
            Kind.BARS,
            (VOLUME,),
            width=24,
            height=6,
            stacked=True,
            styles={"taker_buys": Style(GREEN), "taker_sells": Style(RED)},
        ),
        Section("Indicators"),
        Panel(
            "RSI",
            "Relative strength index over the chosen period. Above 70 is called overbought, below 30 oversold.",
            "none",
            Kind.LINES,
            (indicator("rsi_${period}=rsi"),),
            low=0,
            high=100,
            decimals=0,
            marks=((30, GREY), (70, GREY)),
            styles={"rsi": Style(PURPLE)},
        ),
        Panel(
            "MACD",
            "MACD line, its signal line, and their difference as bars, of the family of the chosen period; quote "
            "currency.",
            "short",
            Kind.LINES,
            (indicator("macd_${period}=macd macd_signal_${period}=signal macd_hist_${period}=histogram"),),
            styles={"macd": Style(BLUE), "signal": Style(ORANGE), "histogram": Style(GREY, bars=True)},
        ),
        Panel(
            "OBV",
            "On-balance volume: base currency of rising bars minus that of falling ones, added up from the start "
            "of the range.",
            "short",
            Kind.LINES,
            (OBV,),
            styles={"obv": Style(BLUE)},
        ),
        Panel(
            "ADX",
            "Average directional index over the chosen period: how strong a trend is, whichever way. Above 25 "
            "counts as one.",
            "none",
            Kind.LINES,
            (indicator("adx_${period}=adx"),),
            low=0,
            decimals=0,
            marks=((25, GREY),),
            styles={"adx": Style(ORANGE)},
        ),
        Panel(
            "Volatility",
            "Log return of one bar (standard deviation): exponentially weighted over 15 bars, realised over 60.",
            "percentunit",
            Kind.LINES,
            (indicator("ewma_vol_15=ewma_15 rv_60=realised_60"),),
            low=0,
            decimals=3,
            styles={"ewma_15": Style(ORANGE), "realised_60": Style(BLUE)},
        ),
        Panel(
            "Taker imbalance",
            "Taker buys minus sells over the volume of 15 bars: 1 when all bought, -1 when all sold.",
            "none",
            Kind.LINES,
            (indicator("taker_imbalance_15=imbalance"),),
            low=-1,
            high=1,
            decimals=2,
            marks=((0, GREY),),
            styles={"imbalance": Style(GREEN)},
        ),
        Panel(
            "Trades per second",
            "Mean over each point.",
            "ops",
            Kind.LINES,
            (TRADES,),
            width=24,
            height=6,
            low=0,
            styles={"trades_per_s": Style(BLUE)},
        ),
    ),
)
