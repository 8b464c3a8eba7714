"""The judge of `tickcast replay` against the fold that it judges: the same candles, by two ways."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.recompute import Bar, Bars, batch_bars, compare
from app.recorded import Row
from tables.candles import CandleRules, PairCandles
from tables.records import Trade

PAIR: Final = "BTC/USD"
START_NS: Final = 1_526_187_600_000_000_000
DAY_NS: Final = 86_400_000_000_000
FOREVER_NS: Final = 1 << 62
ENDED_MS: Final = START_NS // 1_000_000 + 4_000 * 86_400_000


def folded(rows: list[Row], rules: CandleRules) -> Bars:
    """What the worker makes of a recording that is over."""
    fold = PairCandles(PAIR, rules, lambda _: None)
    bars: Bars = {}
    for row in rows:
        trade = Trade(PAIR, row.trade_id, row.ts_ns, float(row.price), float(row.qty), "buy", "", "replay")
        fold.apply([trade], FOREVER_NS)
        keep(fold, bars)
    keep(fold, bars, ENDED_MS)
    return bars


def keep(fold: PairCandles, bars: Bars, now_ms: int | None = None) -> None:
    for candle in fold.settle(now_ms).candles:
        fields = (getattr(candle, name) for name in Bar._fields)
        bars[str(candle.timeframe), candle.open_ms] = Bar(*fields)


def row(after_ns: int, number: int, price: str = "10") -> Row:
    return Row(START_NS + after_ns, number, Decimal(price), Decimal("0.5"), "buy")


@pytest.mark.parametrize("days", [6.99, 7, 7.0007, 9])
def test_of_a_silence_of_days_both_fill_the_same_minutes(days: float) -> None:
    rows = [row(0, 1), row(int(days * DAY_NS), 2, "11"), row(int(days * DAY_NS) + 1, 3, "12")]
    expected = batch_bars(rows)
    assert compare(PAIR, expected, folded(rows, CandleRules())).examples == []
    filled = sum(bar.synthetic for (timeframe, _), bar in expected.items() if timeframe == "1m")
    assert filled == min(int(days * 1_440) - 1, 7 * 1_440)


silences = st.lists(st.integers(0, 4 * 60_000_000_000), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(silences, st.integers(0, 200_000), st.sampled_from((0, 2_000, 70_000)))
def test_any_limit_of_filling_is_read_the_same_way(silences_ns: list[int], gap_max_ms: int, lateness_ms: int) -> None:
    rows, at_ns = [], 0
    for number, silence_ns in enumerate(silences_ns, start=1):
        at_ns += silence_ns
        rows.append(row(at_ns, number, str(10 + number % 3)))
    rules = CandleRules(synthetic_gap_max_ms=gap_max_ms, lateness_ms=lateness_ms)
    assert compare(PAIR, batch_bars(rows, gap_max_ms), folded(rows, rules)).examples == []
