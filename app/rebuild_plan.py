"""What `tickcast rebuild` has to do: which pairs, from when, and from where in `trades`. Reads only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from redpanda.errors import BadInputError, ConfigError
from redpanda.groups import committed_offsets, member_count
from redpanda.scan import Bounds, bounds, scan
from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLES, GROUP, TRADES
from tables.candles import CandleRules
from tables.records import DAY_MS, MINUTE_MS

__all__ = ["PairPlan", "Plan", "Tell", "make_plan", "time_text"]

Tell = Callable[[str, int, int], None]
"""Takes what is being read, how far, and how much there is."""


class PairPlan(msgspec.Struct):
    """One pair of the plan."""

    pair: str
    partition: int
    from_ms: int
    """Candles that open from here on are computed again (ms, midnight UTC); 0 for all."""
    first_ms: int
    """Time of the pair's first trade in the log (ms); others may be a little older."""
    offset: int
    """Record of `trades` with which it begins: the last one before `from_ms`, so that silent minutes have a price."""


class Plan(msgspec.Struct):
    """All of it."""

    pairs: list[PairPlan]
    offsets: dict[int, int]
    """By partition: where the group goes on with `trades`."""
    skips: dict[int, int]
    """By partition: where it goes on with `candles`; what lies before is computed again."""
    replayed: int
    """Records of `trades` that the workers will read again (count)."""
    as_of_ms: int
    """Version of what is computed again: above all that was published before (ms)."""
    partitions: int
    """Partitions of every topic (count)."""
    complete: bool
    """All pairs of the log are in it: their rows do not depend on what the changelogs held."""


class _Trade(msgspec.Struct):
    trade_id: int
    ts_ns: int


class _Reading:
    """Finds in one pass where each pair has to begin."""

    def __init__(
        self,
        pairs: frozenset[str] | None,
        from_ms: int | None,
        margin_ms: int,
        whole: dict[int, bool],
        stored_ms: Mapping[str, int],
    ) -> None:
        self._pairs = pairs
        self._stored_ms = stored_ms
        self._from_ms = from_ms
        self.asked_from = from_ms is not None
        self._margin_ms = margin_ms
        self._whole = whole
        self._decode = msgspec.json.Decoder(list[_Trade]).decode
        self.found: dict[str, PairPlan] = {}
        self._begun: set[str] = set()
        self.others: dict[int, set[str]] = {}
        """Pairs that are not asked for, by partition."""
        self.newest_append_ms = 0

    def take(self, partition: int, records: Sequence[Any]) -> None:
        for record in records:
            pair = (record.key or b"").decode("utf-8", "replace")
            self.newest_append_ms = max(self.newest_append_ms, record.timestamp)
            if self._pairs is not None and pair not in self._pairs:
                self.others.setdefault(partition, set()).add(pair)
                continue
            if pair in self._begun or not record.value:
                continue
            try:
                trades = self._decode(record.value)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # the worker made a dead letter of it, and will again
            if trades:
                self._note(pair, partition, record.offset, [trade.ts_ns // 1_000_000 for trade in trades])

    def _note(self, pair: str, partition: int, offset: int, times_ms: list[int]) -> None:
        one = self.found.get(pair)
        if one is None:
            first_ms = min(times_ms)
            from_ms = self._from_ms
            if from_ms is None:
                from_ms = 0 if self._has_all(pair, partition, first_ms) else (first_ms // DAY_MS + 1) * DAY_MS
            one = self.found[pair] = PairPlan(pair, partition, from_ms, first_ms, offset)
        if max(times_ms) < one.from_ms - self._margin_ms:
            one.offset = offset
        else:
            self._begun.add(pair)

    def _has_all(self, pair: str, partition: int, first_ms: int) -> bool:
        """Tell whether the log has every trade of the pair that a candle was made of; they may be in disorder."""
        return self._whole[partition] and self._stored_ms.get(pair, first_ms) >= first_ms - self._margin_ms


def make_plan(
    broker: BrokerSettings,
    rules: CandleRules,
    pairs: Sequence[str] | None,
    from_ms: int | None,
    stored_ms: Mapping[str, int],
    tell: Tell,
) -> Plan:
    """Read `trades` and plan.

    Parameters
    ----------
    pairs
        None for all.
    from_ms
        Moved back to midnight UTC, where all timeframes begin; None for all that the log has of each pair.
    stored_ms
        Time of the first candle of each pair in the store (ms): it may have history that the log never had.

    Raises
    ------
    ConfigError
        Workers run, candles wait that would be passed over, or the log does not go back that far.
    BadInputError
        A pair is not in the log.
    UnreachableError
        The broker does not answer.

    """
    committed = _committed(broker)
    if from_ms is not None:
        from_ms -= from_ms % DAY_MS
    numbers = range(broker.partitions)
    whole = {partition: first == 0 for partition, (first, _) in bounds(broker, TRADES, numbers).items()}
    asked = None if pairs is None else frozenset(pairs)
    margin_ms = rules.retention_ms + rules.lateness_ms + MINUTE_MS
    reading = _Reading(asked, from_ms, margin_ms, whole, stored_ms)
    limits = scan(broker, TRADES, numbers, reading.take, lambda done, total: tell("trades", done, total))
    if missing := sorted((asked or frozenset()) - reading.found.keys()):
        raise BadInputError(f"--pairs: there are no trades of {', '.join(missing)} in the log; pairs are like BTC/USD")
    if not reading.found:
        raise ConfigError("there are no trades in the log: nothing can be computed again")
    for one in reading.found.values():
        if not whole[one.partition] and one.from_ms <= one.first_ms:
            earliest = time_text((one.first_ms // DAY_MS + 1) * DAY_MS)
            raise ConfigError(
                f"--from: the log of {one.pair} begins at {time_text(one.first_ms)}, so that whole days can be "
                f"computed from {earliest} on: use that or later"
            )
    return _put_together(broker, reading, limits, committed)


def _put_together(
    broker: BrokerSettings, reading: _Reading, limits: Bounds, committed: dict[tuple[str, int], int]
) -> Plan:
    plans = sorted(reading.found.values(), key=lambda one: one.pair)
    partitions = {one.partition for one in plans}
    offsets = {}
    for partition in partitions:
        start = min(one.offset for one in plans if one.partition == partition)
        offsets[partition] = min(start, committed.get((TRADES, partition), start))
    return Plan(
        plans,
        offsets,
        _skips(broker, reading, partitions, committed),
        sum(limits[partition][1] - offset for partition, offset in offsets.items()),
        max(time.time_ns() // 1_000_000, reading.newest_append_ms + 1),
        broker.partitions,
        not reading.others,
    )


def _skips(
    broker: BrokerSettings, reading: _Reading, partitions: set[int], committed: dict[tuple[str, int], int]
) -> dict[int, int]:
    """Give where to go on with `candles`; what waits there must be among what is computed again."""
    skips = {}
    for partition, (_, end) in bounds(broker, CANDLES, partitions).items():
        waiting = end - committed.get((CANDLES, partition), 0)
        if waiting <= 0:
            continue
        if reading.asked_from or reading.others.get(partition):
            raise ConfigError(
                f"{waiting} candles of partition {partition} wait for the workers: let these run until they have "
                "drained, or leave out --from and --pairs"
            )
        skips[partition] = end
    return skips


def _committed(broker: BrokerSettings) -> dict[tuple[str, int], int]:
    """Give the group's offsets by topic and partition; it must have no member."""
    if number := member_count(broker, GROUP):
        raise ConfigError(
            f"{number} workers of group {GROUP} run on {broker.broker_url}: stop them all, and start them again after "
            "the rebuild (one that was killed counts for TICKCAST_SESSION_TIMEOUT_S)"
        )
    return committed_offsets(broker, GROUP)


def time_text(at_ms: int) -> str:
    """Write a time as `--from` takes it."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
