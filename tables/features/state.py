"""How the state of one pair and timeframe lies in the table: one row of under 4 kB, floats as they are.

A row begins with its format, the hash of the features and a hash of the layout. One with another beginning is not
read: the fold starts over (docs/adr/0008-features.md). Then follows one MessagePack array, the fields of `State`;
floats take eight bytes each. A silent bar, flat at the close before it, takes five bytes in the ring.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec

from tables.features.catalog import Catalog
from tables.records import Candle

__all__ = ["State", "pack_bar", "pack_state", "unpack_bar", "unpack_state"]

_FORMAT: Final = 3
_SILENT, _SYNTHETIC = 1, 2
_encoder: Final = msgspec.msgpack.Encoder()
_floats: Final = Struct("<8d")


class State(NamedTuple):
    """What a row holds."""

    bars: int
    """Bars before the ring since the first one of all (count)."""
    base_ms: int
    """open_ms of the newest bar before the ring, -1 where there is none."""
    base_source: str
    """Its source."""
    base_as_of_ms: int
    """Its as_of_ms."""
    snapshot: bytes
    """State of the recurrences before the ring."""
    columns: bytes
    """End of each stored column before the ring, see `Window.packed`."""
    ring: list[Any]
    """Bars that may still be corrected, as `pack_bar` gives them; decoded, they go to `unpack_bar`."""


_decoder: Final = msgspec.msgpack.Decoder(State)


@cache
def head(catalog: Catalog) -> bytes:
    """Give the first 11 bytes of every row of this format, these features and this layout."""
    layout = hashlib.sha256(repr((catalog.state_size, catalog.stored)).encode()).digest()[:4]
    return bytes([_FORMAT]) + bytes.fromhex(catalog.feature_set) + layout


def pack_state(catalog: Catalog, state: State) -> bytes:
    """Encode a row; `unpack_state` gives back the same bits."""
    return head(catalog) + _encoder.encode(state)


def unpack_state(catalog: Catalog, row: bytes) -> State | None:
    """Decode a row; None for a row of another format, other features or another layout.

    Raises
    ------
    msgspec.DecodeError
        The row is damaged.

    """
    start = head(catalog)
    if not row.startswith(start):
        return None
    return _decoder.decode(memoryview(row)[len(start) :])


def pack_bar(bar: Candle, last: Candle, step_ms: int) -> bytes:
    """Encode a bar of the ring by what it has new against the one before: `unpack_bar` takes it back."""
    close, delta_ms = last.close, bar.open_ms - last.open_ms
    steps, rest = divmod(delta_ms, step_ms)
    moved = -delta_ms if rest else steps
    kind, newer_ms = bar.synthetic * _SYNTHETIC, bar.as_of_ms - last.as_of_ms
    numbers = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume, bar.buy_volume, bar.vwap)
    if numbers == (close, close, close, close, 0.0, 0.0, 0.0, close) and not bar.trades and bar.source == last.source:
        return _encoder.encode((kind + _SILENT, moved, bar.revision, newer_ms))
    named = None if bar.source == last.source else bar.source
    return _encoder.encode((kind, moved, bar.revision, newer_ms, bar.trades, _floats.pack(*numbers), named))


def unpack_bar(fields: Sequence[Any], last: Candle, step_ms: int) -> Candle:
    """Take back the decoded fields of `pack_bar`, behind `last`. What features do not need is not there."""
    kind, moved, revision, newer_ms, *rest = fields
    trades, numbers, named = rest or (0, None, None)
    close = last.close
    opened, high, low, close, volume, quote, buy, vwap = (
        (close, close, close, close, 0.0, 0.0, 0.0, close) if numbers is None else _floats.unpack(numbers)
    )
    return Candle(
        last.pair,
        last.timeframe,
        last.open_ms + (moved * step_ms if moved > 0 else -moved),
        opened,
        high,
        low,
        close,
        volume,
        quote,
        buy,
        trades,
        vwap,
        first_trade_id=-1,
        last_trade_id=-1,
        closed=True,
        revision=revision,
        synthetic=bool(kind & _SYNTHETIC),
        closed_by="",
        source=last.source if named is None else named,
        as_of_ms=last.as_of_ms + newer_ms,
    )
