"""Where to go on: the last trade of each pair in topic `trades`, and its open holes in topic `holes`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from agents.trades.gaps import without
from agents.trades.source import Resume
from redpanda.errors import ConfigError
from redpanda.tail import last_by_key, last_records
from redpanda.topics import HOLES, TRADES
from tables.records import Hole, Trade

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redpanda.settings import BrokerSettings
    from redpanda.tail import Tail

__all__ = ["check_source", "last_trades", "resume_points", "still_open"]

log = logging.getLogger("tickcast.trades")


def resume_points(broker: BrokerSettings, pairs: tuple[str, ...], scan: int) -> dict[str, Resume]:
    """Last published trade of each pair, and its holes that nobody has closed; raises as `last_trades`.

    At most `scan` records of a partition are looked through, from the end, in either topic.
    """
    found = last_trades(broker, pairs, scan)
    rows = [row for part in last_records(broker, HOLES, scan).values() for row in part] if found else []
    holes = still_open(hole for row in rows if (hole := _hole(row)) is not None)
    return {
        pair: Resume(last.trade, [hole for hole in holes.get(pair, []) if hole.source == last.trade.source])
        for pair, last in found.items()
    }


def still_open(records: Iterable[Hole]) -> dict[str, list[Hole]]:
    """Fold records of holes, in the order of the log, to what is still missing: by pair, lowest first."""
    left: dict[str, list[Hole]] = {}
    for record in records:
        parts = [part for hole in left.get(record.pair, []) for part in without(hole, record)]
        if record.state == "open":
            parts.append(record)
        left[record.pair] = sorted(parts, key=lambda hole: hole.first_id)
    return {pair: holes for pair, holes in left.items() if holes}


def _hole(row: Tail) -> Hole | None:
    try:
        hole = msgspec.json.decode(row.value or b"", type=Hole)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        log.warning("skipped %s/%d@%d: no record of a hole (%s)", HOLES, row.partition, row.offset, error)
        return None
    return hole if 0 < hole.first_id <= hole.last_id else None


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
