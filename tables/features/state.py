"""How the state of one pair and timeframe lies in the table: one row of under 4 kB, floats as they are.

A row begins with its format, the hash of the features and a hash of the layout. One with another beginning is not
read: the fold starts over (docs/adr/0008-features.md). Then follows one MessagePack array, the fields of `State`;
floats take eight bytes each. A silent bar, flat at the close before it, takes one to three bytes in the ring.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from tables.features.catalog import Catalog
from tables.records import Candle

__all__ = ["State", "pack_bar", "pack_ring", "pack_state", "unpack_ring", "unpack_state"]

_FORMAT: Final = 3
_ARRAY: Final = b"\xdc"
"""MessagePack's mark of an array whose length takes two bytes."""
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
    ring: Any
    """Bars that may still be corrected: what `pack_ring` gives and `unpack_ring` takes."""


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


def pack_ring(bars: Sequence[bytes]) -> msgspec.Raw:
    """Put what `pack_bar` gave into one array; of equal neighbours one, with their number before it."""
    parts: Sequence[bytes] = bars
    if len(set(bars)) < len(bars):
        runs = [(bar, sum(1 for _ in run)) for bar, run in groupby(bars)]
        parts = [part for bar, count in runs for part in ([bar] if count == 1 else [_encoder.encode(count), bar])]
    return msgspec.Raw(_ARRAY + len(parts).to_bytes(2, "big") + b"".join(parts))


def unpack_ring(parts: Sequence[Any], last: Candle, step_ms: int) -> Iterator[Candle]:
    """Give the bars of a decoded ring, the first one behind `last`."""
    count = 1
    for part in parts:
        if isinstance(part, int) and part > 0:
            count = part
            continue
        for _ in range(count):
            last = _silent_bar(part, last, step_ms) if isinstance(part, int) else _bar(part, last, step_ms)
            yield last
        count = 1


def pack_bar(bar: Candle, last: Candle, step_ms: int) -> bytes:
    """Encode a bar of the ring by what it has new against the one before.

    A silent bar is one negative number: of its revision and of whether it is synthetic.
    """
    close, delta_ms = last.close, bar.open_ms - last.open_ms
    numbers = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume, bar.buy_volume, bar.vwap)
    is_flat = numbers == (close, close, close, close, 0.0, 0.0, 0.0, close) and not bar.trades
    newer_ms = bar.as_of_ms - last.as_of_ms
    if is_flat and delta_ms == step_ms and not newer_ms and bar.source == last.source:
        return _encoder.encode(-1 - 2 * bar.revision - bar.synthetic)
    steps, rest = divmod(delta_ms, step_ms)
    named = None if bar.source == last.source else bar.source
    moved, packed = -delta_ms if rest else steps, _floats.pack(*numbers)
    return _encoder.encode((moved, newer_ms, bar.revision, bar.synthetic, bar.trades, packed, named))


def _silent_bar(code: int, last: Candle, step_ms: int) -> Candle:
    revision, synthetic = divmod(-1 - code, 2)
    return replace(
        last,
        **dict.fromkeys(("open", "high", "low", "vwap"), last.close),
        **dict.fromkeys(("volume", "quote_volume", "buy_volume"), 0.0),
        open_ms=last.open_ms + step_ms,
        trades=0,
        revision=revision,
        synthetic=bool(synthetic),
    )


def _bar(fields: Sequence[Any], last: Candle, step_ms: int) -> Candle:
    moved, newer_ms, revision, synthetic, trades, numbers, named = fields
    *values, vwap = _floats.unpack(numbers)
    names = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume")
    return replace(
        last,
        **dict(zip(names, values, strict=True)),
        open_ms=last.open_ms + (moved * step_ms if moved > 0 else -moved),
        trades=trades,
        vwap=vwap,
        revision=revision,
        synthetic=synthetic,
        source=last.source if named is None else named,
        as_of_ms=last.as_of_ms + newer_ms,
    )
