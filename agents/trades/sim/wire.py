"""Kraken's texts for simulated trades: exact decimals from whole ticks and lots."""

from __future__ import annotations

import numpy as np

from agents.trades.sim.market import LOTS, Block

__all__ = ["asset_pair", "rest_rows", "socket_rows", "v1_names"]

_V1 = {"BTC": "XBT", "DOGE": "XDG"}
_X_ASSETS = frozenset(("XBT", "XDG", "ETH", "XRP", "LTC"))
_Z_QUOTES = frozenset(("USD", "EUR", "GBP", "JPY", "CAD"))


def v1_names(pair: str) -> tuple[str, str, str]:
    """Give internal name, altname and wsname of a v2 symbol: `XXBTZUSD`, `XBTUSD`, `XBT/USD`."""
    base, quote = (_V1.get(part, part) for part in pair.split("/"))
    legacy = base in _X_ASSETS and quote in _Z_QUOTES
    internal = f"X{base}Z{quote}" if legacy else base + quote
    return internal, base + quote, f"{base}/{quote}"


def asset_pair(pair: str, decimals: int) -> dict[str, object]:
    """Make one entry of AssetPairs."""
    _, altname, wsname = v1_names(pair)
    base, quote = wsname.split("/")
    return {
        "altname": altname,
        "wsname": wsname,
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": quote,
        "pair_decimals": decimals,
        "lot_decimals": 8,
        "status": "online",
    }


def _columns(block: Block, start: int, end: int, decimals: int) -> tuple[list[str], list[str]]:
    unit = 10**decimals
    prices = [f"{tick // unit}.{tick % unit:0{decimals}d}" for tick in block.ticks[start:end].tolist()]
    lots = [f"{lot // LOTS}.{lot % LOTS:08d}" for lot in block.lots[start:end].tolist()]
    return prices, lots


def rest_rows(block: Block, start: int, end: int, decimals: int) -> list[str]:
    """Rows of a REST `Trades` page."""
    prices, lots = _columns(block, start, end, decimals)
    micros = (block.ts_ns[start:end] // 1_000).tolist()
    sides = np.where(block.buy[start:end], "b", "s").tolist()
    kinds = np.where(block.market[start:end], "m", "l").tolist()
    first = block.first_id + start
    return [
        f'["{price}","{lot}",{us // 1_000_000}.{us % 1_000_000:06d},"{side}","{kind}","",{first + row}]'
        for row, (price, lot, us, side, kind) in enumerate(zip(prices, lots, micros, sides, kinds, strict=True))
    ]


def socket_rows(pair: str, block: Block, start: int, end: int, decimals: int) -> list[str]:
    """Trades of a WebSocket `trade` frame."""
    prices, lots = _columns(block, start, end, decimals)
    stamps = np.datetime_as_string(block.ts_ns[start:end].astype("datetime64[ns]"), unit="us").tolist()
    sides = np.where(block.buy[start:end], "buy", "sell").tolist()
    kinds = np.where(block.market[start:end], "market", "limit").tolist()
    first = block.first_id + start
    return [
        f'{{"symbol":"{pair}","side":"{side}","price":{price},"qty":{lot},"ord_type":"{kind}",'
        f'"trade_id":{first + row},"timestamp":"{stamp}Z"}}'
        for row, (price, lot, stamp, side, kind) in enumerate(zip(prices, lots, stamps, sides, kinds, strict=True))
    ]
