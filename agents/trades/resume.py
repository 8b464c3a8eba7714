"""Where to go on: the last trade of each pair in topic `trades`, and its open holes in topic `holes`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec

from agents.trades.gaps import without
from agents.trades.source import Resume
from redpanda.errors import ConfigError
from redpanda.tail import last_by_key, last_records, records_since
from redpanda.topics import HOLES, TRADES
from tables.records import Hole, Trade

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redpanda.settings import BrokerSettings
    from redpanda.tail import Tail

__all__ = ["check_source", "last_trades", "resume_points", "still_open"]

log = logging.getLogger("tickcast.trades")

TOGETHER_MS: Final = 10_000
"""A hole and what fills it go to two topics at once: either may be there first, by less than this."""


class _Id(msgspec.Struct):
    """As much of a trade as this needs."""

    trade_id: int


def resume_points(broker: BrokerSettings, pairs: tuple[str, ...], scan: int) -> dict[str, Resume]:
    """Last published trade of each pair, and its holes that nobody has closed; raises as `last_trades`.

    At most `scan` records of a partition are looked through, from the end, in either topic.
    """
    found = last_trades(broker, pairs, scan)
    rows = [row for part in last_records(broker, HOLES, scan).values() for row in part] if found else []
    told = [(row.timestamp_ms, hole) for row in rows if (hole := _hole(row)) is not None]
    left = still_open(hole for _, hole in told)
    holes = {pair: [one for one in left.get(pair, []) if one.source == found[pair].trade.source] for pair in found}
    open_ones = {(one.pair, one.found_at_ms) for parts in holes.values() for one in parts}
    since_ms = min((at_ms for at_ms, hole in told if (hole.pair, hole.found_at_ms) in open_ones), default=None)
    published = _published(broker, holes, since_ms - TOGETHER_MS, scan) if since_ms is not None else {}
    return {pair: Resume(last.trade, holes[pair], frozenset(published.get(pair, ()))) for pair, last in found.items()}


def _published(broker: BrokerSettings, holes: dict[str, list[Hole]], since_ms: int, scan: int) -> dict[str, set[int]]:
    """Ids of the holes of each pair that topic `trades` got at `since_ms` (ms since the epoch) or later.

    A process has them acknowledged before it says that a hole is closed, and may die in between.
    """
    pairs = {pair.encode(): pair for pair, left in holes.items() if left}
    ids: dict[str, set[int]] = {pair: set() for pair in pairs.values()}
    for row in records_since(broker, TRADES, since_ms, scan):
        if (pair := pairs.get(row.key or b"")) is not None:
            came = _ids(row)
            for hole in holes[pair]:
                ids[pair].update(one for one in came if hole.first_id <= one <= hole.last_id)
    return ids


def _ids(row: Tail) -> list[int]:
    try:
        return [one.trade_id for one in msgspec.json.decode(row.value or b"", type=list[_Id])]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []  # the worker refuses it, too


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
    newest: dict[str, Trade] = {}

    def is_newest(row: Tail) -> bool:
        """Refuse what is older than one before it: a hole that was filled late may lie last, below all the others."""
        trade = _last_trade(row)
        if trade is None:
            return False
        before = newest.get(trade.pair, trade)
        if trade.source == before.source and trade.trade_id < before.trade_id:
            return False
        newest[trade.pair] = trade
        return True

    last_by_key(broker, TRADES, keys, scan, accept=is_newest)
    return {pair: Resume(trade) for pair, trade in newest.items()}


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
