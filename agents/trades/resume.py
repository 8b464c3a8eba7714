"""Where to go on: the last trade of each pair in topic `trades`. There is no other state."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from agents.trades.source import Resume
from redpanda.errors import ConfigError
from redpanda.tail import last_by_key
from redpanda.topics import TRADES
from tables.records import Trade

if TYPE_CHECKING:
    from redpanda.settings import BrokerSettings
    from redpanda.tail import Tail

__all__ = ["check_source", "last_trades"]

log = logging.getLogger("tickcast.trades")


def last_trades(broker: BrokerSettings, pairs: tuple[str, ...], scan: int) -> dict[str, Resume]:
    """Last published trade of each pair, at most `scan` records back in its partition.

    A record that is no envelope of its pair does not count: the worker refuses it too. No pairs: those
    that the scan finds.

    Raises
    ------
    ConfigError
        The topic does not exist.
    UnreachableError
        The broker does not answer.
    """
    keys = [pair.encode() for pair in pairs] or None
    rows = last_by_key(broker, TRADES, keys, scan, accept=lambda row: _last_trade(row) is not None)
    return {trade.pair: Resume(trade) for row in rows.values() if (trade := _last_trade(row)) is not None}


def _last_trade(row: Tail) -> Trade | None:
    try:
        trade = msgspec.json.decode(row.value or b"", type=list[Trade])[-1]
    except (msgspec.MsgspecError, ValueError, RecursionError, IndexError) as error:
        log.warning("skipped %s/%d@%d: no envelope of trades (%s)", TRADES, row.partition, row.offset, error)
        return None
    if trade.pair.encode("utf-8", "replace") != row.key:
        log.warning("skipped %s/%d@%d: its trades are not of its key", TRADES, row.partition, row.offset)
        return None
    return trade


def check_source(resume: dict[str, Resume], kind: str) -> None:
    """Refuse to mix markets in one topic: their ids would collide.

    Raises
    ------
    ConfigError
        The topic holds a pair from another source.
    """
    for pair, last in resume.items():
        if last.trade.source != kind:
            raise ConfigError(
                f"topic trades holds {pair} from source {last.trade.source}, TICKCAST_SOURCE says {kind}: "
                "keep the source, or use another TICKCAST_HOME"
            )
