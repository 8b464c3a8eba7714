"""The trades of a benchmark: a recorded file, repeated with shifted times and continued ids, cut into envelopes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from operator import attrgetter
from pathlib import Path

import msgspec

from agents.trades.replay import read_trades
from agents.trades.settings import IngestSettings
from app.recompute import STEPS_MS, Bars, batch_bars
from app.recorded import Row
from redpanda.errors import BadInputError
from tables.records import DAY_MS, Candle, Trade

__all__ = ["Recording", "bars_of", "candles_of", "envelopes", "load"]

DAY_NS = DAY_MS * 1_000_000
CLOSER_NS = 10_000_000_000
"""The closing trade comes this long after midnight: beyond the lateness of any candle."""


class Recording(msgspec.Struct):
    """All trades in the order in which they are published."""

    trades: list[Trade]
    repeats: int
    closers: dict[str, Trade]
    """Last trade of each pair: one more on the day after, so that the watermark closes every candle before it."""

    @property
    def pairs(self) -> list[str]:
        return list(self.closers)


def load(file: Path, repeats: int, limit: int | None = None, squeeze: int = 1) -> Recording:
    """Read the file, all pairs, and repeat each pair's trades behind themselves, shifted by whole days.

    `squeeze`: so many seconds of the recording become one, as in a market that is so much busier.

    Raises
    ------
    BadInputError
        A row of the file is broken.
    """
    by_pair: dict[str, list[Trade]] = {}
    for at, trade in enumerate(read_trades(IngestSettings(source=f"replay:{file}", pairs=()))):
        if not isinstance(trade, Trade):
            raise BadInputError(f"{file}: {trade.detail}")
        if limit is not None and at >= limit:
            break
        by_pair.setdefault(trade.pair, []).append(trade)
    if squeeze > 1:
        start_ns = min(trades[0].ts_ns for trades in by_pair.values()) // DAY_NS * DAY_NS
        by_pair = {pair: [_squeezed(trade, start_ns, squeeze) for trade in part] for pair, part in by_pair.items()}
    found: list[Trade] = []
    closers: dict[str, Trade] = {}
    for pair, trades in by_pair.items():
        first_ns, last_ns = trades[0].ts_ns, max(trade.ts_ns for trade in trades)
        span_ns = (last_ns // DAY_NS - first_ns // DAY_NS + 1) * DAY_NS
        for repeat in range(repeats):
            found += _shifted(trades, repeat * len(trades), repeat * span_ns)
        end_ns = (last_ns // DAY_NS + 1) * DAY_NS + (repeats - 1) * span_ns
        closers[pair] = msgspec.structs.replace(
            trades[-1], trade_id=trades[-1].trade_id + (repeats - 1) * len(trades) + 1, ts_ns=end_ns + CLOSER_NS
        )
    found += closers.values()
    found.sort(key=attrgetter("ts_ns"))  # stable: a pair's trades keep their order
    return Recording(found, repeats, closers)


def _squeezed(trade: Trade, start_ns: int, squeeze: int) -> Trade:
    return msgspec.structs.replace(trade, ts_ns=start_ns + (trade.ts_ns - start_ns) // squeeze)


def _shifted(trades: list[Trade], ids: int, span_ns: int) -> list[Trade]:
    if not span_ns:
        return trades
    replace = msgspec.structs.replace
    return [replace(trade, trade_id=trade.trade_id + ids, ts_ns=trade.ts_ns + span_ns) for trade in trades]


def envelopes(recording: Recording, size: int) -> Iterator[tuple[str, list[Trade]]]:
    """Fill one envelope of `size` trades a pair and give each when it is full, the rests at the end."""
    waiting: dict[str, list[Trade]] = {pair: [] for pair in recording.pairs}
    for trade in recording.trades:
        envelope = waiting[trade.pair]
        envelope.append(trade)
        if len(envelope) == size:
            yield trade.pair, envelope
            waiting[trade.pair] = []
    for pair, envelope in waiting.items():
        if envelope:
            yield pair, envelope


def bars_of(recording: Recording, pair: str) -> Bars:
    """Recompute the closed candles of one pair in exact decimals, by the judge's code and not by the fold's."""
    rows = [
        Row(trade.ts_ns, trade.trade_id, Decimal(repr(trade.price)), Decimal(repr(trade.qty)), trade.side)
        for trade in recording.trades
        if trade.pair == pair
    ]
    bars = batch_bars(rows)
    closed_at_ms = recording.closers[pair].ts_ns // 1_000_000
    for timeframe, step_ms in STEPS_MS.items():
        del bars[timeframe, closed_at_ms - closed_at_ms % step_ms]  # still open when the topic ends
    return bars


def candles_of(pair: str, bars: Bars) -> list[Candle]:
    """Turn recomputed bars into candles, to be compared inside the store."""
    return [
        Candle(
            pair,
            timeframe,
            open_ms,
            bar.open,
            bar.high,
            bar.low,
            bar.close,
            bar.volume,
            bar.quote_volume,
            bar.buy_volume,
            bar.trades,
            bar.vwap,
            bar.first_trade_id,
            bar.last_trade_id,
            closed=True,
            revision=0,
            synthetic=bar.synthetic,
            closed_by="watermark",
            source="replay",
        )
        for (timeframe, open_ms), bar in bars.items()
    ]
