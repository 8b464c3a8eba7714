"""What a run left behind, read from the outside: topics, changelogs, RocksDB folders, ClickHouse."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeGuard

from clickhouse_connect.driver import Client
from rocksdict import AccessType, Options, Rdict

from redpanda.admin import last_records
from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLES, DEAD_LETTERS, FEATURES, TRADES, TRADES_LATE
from tables.clickhouse.client import connect
from tables.clickhouse.settings import StoreSettings
from tables.features import FEATURE_NAMES

__all__ = ["CHANGELOGS", "EVERYTHING", "Evidence", "StoredRow", "collect"]

CHANGELOGS: Final = {
    "candle-state": "tickcast-candle-state-changelog",
    "feature-state": "tickcast-feature-state-changelog",
}
"""Topic by table."""
EVERYTHING: Final = 1 << 60
NO_ROWS: Final = (b"__faust\0", b"__tickcast\0")
"""How the keys begin that Faust and `tickcast rebuild` keep for themselves."""
PRICES: Final = "open, high, low, close, volume, quote_volume, buy_volume, trades, vwap"
AT: Final = "toUnixTimestamp64Milli(open_time)"
WANTED: Final = {
    "candles": f"{PRICES}, first_trade_id, last_trade_id, synthetic, closed",
    "features": f"{PRICES}, synthetic, bars, {', '.join(FEATURE_NAMES)}",
}

StoredRow = tuple[Any, ...]
"""Pair, timeframe, open_ms, and the columns of `WANTED`."""


@dataclass
class Evidence:
    """Plain data for the judge."""

    trades: list[bytes] = field(default_factory=list)
    """Envelopes; those of one pair in the order of the log."""
    candles: list[bytes] = field(default_factory=list)
    features: list[bytes] = field(default_factory=list)
    late: list[bytes] = field(default_factory=list)
    dead: list[bytes] = field(default_factory=list)
    changelogs: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    """By table: the last value of each key."""
    tables: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    """By table: what lies in RocksDB."""
    broken: list[str] = field(default_factory=list)
    """Databases that cannot be opened."""
    stored_candles: list[StoredRow] = field(default_factory=list)
    stored_features: list[StoredRow] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    """By pair: the broker has confirmed the trades 1 to this one."""


def collect(broker: BrokerSettings, store: StoreSettings, databases: Path, acknowledged: dict[str, int]) -> Evidence:
    """Read everything once, after the workers have ended; `databases`: RocksDB folder of the last worker."""
    found = Evidence(acknowledged=dict(acknowledged))
    found.trades = _values(broker, TRADES)
    found.candles = _values(broker, CANDLES)
    found.features = _values(broker, FEATURES)
    found.late = _values(broker, TRADES_LATE)
    found.dead = _values(broker, DEAD_LETTERS)
    for table, topic in CHANGELOGS.items():
        found.changelogs[table] = {}
        for rows in last_records(broker, topic, EVERYTHING).values():
            found.changelogs[table] |= {row.key: row.value for row in rows if row.value and _is_row(row.key)}
        found.tables[table] = _rocksdb(databases, table, found.broken)
    client = connect(store)
    try:
        found.stored_candles = _stored(client, "candles")
        found.stored_features = _stored(client, "features")
    finally:
        client.close()
    return found


def _is_row(key: bytes | None) -> TypeGuard[bytes]:
    return key is not None and not key.startswith(NO_ROWS)


def _values(broker: BrokerSettings, topic: str) -> list[bytes]:
    rows = last_records(broker, topic, EVERYTHING)
    return [row.value for partition in sorted(rows) for row in rows[partition] if row.value is not None]


def _stored(client: Client, table: str) -> list[StoredRow]:
    sql = f"SELECT pair, timeframe, {AT}, {WANTED[table]} FROM {table} FINAL"  # noqa: S608  # our own constants
    return [tuple(row) for row in client.query(sql).result_rows]


def _rocksdb(databases: Path, table: str, broken: list[str]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for folder in sorted(databases.glob(f"{table}-*.db")):
        try:
            opened = Rdict(str(folder), Options(raw_mode=True), access_type=AccessType.read_only())
        except Exception as error:  # noqa: BLE001  # rocksdict has no class of its own; the judge counts it
            broken.append(f"{folder}: {error}")
            continue
        rows: Any = opened.items()  # bytes in raw mode
        found |= {key: value for key, value in rows if _is_row(key)}
        opened.close()
    return found
