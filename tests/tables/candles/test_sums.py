"""Amounts add up exactly, whatever their size."""

from __future__ import annotations

from tables.candles import PairCandles
from tests.support.candle_fold import FOREVER_NS, PAIR, RULES, Candles, Table, check, finish, trade


def test_quantity_with_more_than_eight_decimals_counts_in_full() -> None:
    history = [trade(1, 0, 13.4567891234, 7.0975855899999996), trade(2, 1, 1.2e-7, 3.3), trade(3, 2, 64_000.1, 1e-8)]
    table = Table()
    candles: Candles = {}
    fold = PairCandles(PAIR, RULES, table.get)
    fold.apply(history, FOREVER_NS)
    finish(fold, candles, table)
    check(history, candles)


def test_amounts_beyond_eight_exact_decimals_add_up_to_the_last_bit() -> None:
    """Coins that cost next to nothing trade in amounts where a float no longer tells eight decimals apart."""
    amounts = [130643329.58688834, 154786370.35075772, 155966182.18847865]
    history = [trade(number, number, 1e-7, qty) for number, qty in enumerate(amounts, 1)]
    table = Table()
    candles: Candles = {}
    fold = PairCandles(PAIR, RULES, table.get)
    fold.apply(history, FOREVER_NS)
    finish(fold, candles, table)
    check(history, candles)
