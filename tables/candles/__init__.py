"""The candle fold: envelopes of trades in, candles of six timeframes out; pure, without clock or I/O."""

from tables.candles.fold import FoldOutput, PairCandles
from tables.candles.rules import CandleRules

__all__ = ["CandleRules", "FoldOutput", "PairCandles"]
