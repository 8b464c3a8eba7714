"""Fast recovery of tables: whole polls of a changelog become one RocksDB batch each.

Faust 0.15.3 makes an event of every changelog record and takes it through two queues, 12,000 to 13,000 a second. Here
the consumer hands the records of a poll over as they are (`agents/chunks.py`), the last one of each key is kept, and
rows and the offset that they reach are written in one batch. When to recover, to which offset, and what follows is
Faust's: pause, seek, generations, standbys. Closed are these holes:

* what a changelog has lost is noticed before anything is filled from it (`agents/changelogs.py`);
* the end is where the consumer's position says, because the last records may be compacted away;
* recovery that does not move ends the worker.

See docs/adr/0012-recovery.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Container, Sequence
from typing import Any, Final, cast

from aiokafka import TopicPartition
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.types import TP
from mode import Service

from agents.changelogs import Facts, LostStateError, Place, Verdict, is_plain, judge
from agents.state_store import StateStore, StateTable
from redpanda.errors import TickcastError
from redpanda.topics import EXPENDABLE

__all__ = ["BatchRecovery", "RecoveryStalledError", "StateTables"]

logger = logging.getLogger("tickcast.recovery")

WATCH_EVERY_S: Final = 1.0
ASLEEP_S: Final = 5.0
"""A watch that comes this late was not running: the process was stopped, and recovery with it."""


class RecoveryStalledError(TickcastError):
    """Recovery has not moved for the time that it is given."""


class BatchRecovery(Recovery):
    """Faust's recovery, fed with polls instead of events."""

    tables: StateTables

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pending = False
        """From an assignment until its recovery is complete."""
        self._reading = False
        """The changelogs are being read, from where they were sought to: what comes now is applied."""
        self._asking = False
        self._seen: object = None
        self._moved_at_s = self._watched_at_s = time.monotonic()

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Begin: the loop of Faust wakes up and leaves a recovery of the generation before."""
        self.pending, self._reading = True, False
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    def take(self, tp: TP, records: Sequence[Any]) -> None:
        """Apply what one poll brought of a changelog partition, in one batch."""
        last = None
        if tp in self.active_tps and self._reading:
            offsets, last = self.active_offsets, self.active_highwaters[tp]
        elif tp in self.standby_tps:
            offsets = self.standby_offsets
        else:
            return
        seen = offsets[tp]
        if records[0].offset <= seen or (last is not None and records[-1].offset > last):
            records = [one for one in records if one.offset > seen and (last is None or one.offset <= last)]
            if not records:
                return
        changes: dict[bytes, bytes | None] = {record.key: record.value for record in records}
        reached = records[-1].offset
        self._store(tp).apply(tp.partition, changes, reached)
        offsets[tp] = reached

    async def fetch_again(self, tps: set[TP]) -> None:
        """Go back to the place of these partitions, where recovery has been at it already."""
        places = {tp: self.active_offsets[tp] + 1 for tp in tps if self._reading and tp in self.active_tps}
        places |= {tp: self.standby_offsets[tp] + 1 for tp in tps if not self.pending and tp in self.standby_tps}
        if places:
            await self.app.consumer.seek_wait(places)

    async def after_poll(self, delivered: Container[TP], generation: int) -> None:
        """End recovery once nothing is left; a partition whose last records are gone ends at the reader's position."""
        if generation != self._generation_id:
            return
        if self._reading:
            await self._pass_over_ends(delivered, generation)
        if self._reading and not self.need_recovery():
            self._reading = False
            self._set_recovery_ended()
            self.signal_recovery_end.set()
        if not self.tables.standbys_ready and not self.standby_remaining_total():
            self.tables.on_standbys_ready()

    async def _pass_over_ends(self, delivered: Container[TP], generation: int) -> None:
        for tp, left in self.active_remaining().items():
            if left <= 0 or tp in delivered:
                continue
            position = await self.app.consumer._thread.position(tp)  # type: ignore[attr-defined]  # noqa: SLF001  # no public way
            if self.app.consumer_generation_id != generation or not self._reading:
                return
            if position is not None and position > self.active_highwaters[tp]:
                self.active_offsets[tp] = self.active_highwaters[tp]

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Let the streams go. Faust comes here, too, when a rebalance or a crash has broken recovery off."""
        if self.should_stop:
            raise ServiceStopped
        if self.app.consumer_generation_id != generation_id or self.need_recovery():
            raise RebalanceAgain
        for tp in self.active_tps:
            self._store(tp).complete(tp.partition, self.active_highwaters[tp])
        await super().on_recovery_completed(generation_id)
        self._completed(generation_id)

    async def _resume_streams(self, generation_id: int = 0) -> None:
        await super()._resume_streams(generation_id)
        self._completed(generation_id)

    def _completed(self, generation_id: int) -> None:
        if self.app.consumer_generation_id == generation_id and self.completed.is_set():
            self.pending = False

    def _store(self, tp: TP) -> StateStore:
        return cast(StateStore, cast(StateTable, self.tp_to_table[tp]).data)

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Counter[TP], title: str) -> None:
        await self._judge(consumer, tps, destination, title == "standby")
        await super()._build_offsets(consumer, tps, destination, title)

    async def _judge(self, consumer: Any, tps: set[TP], offsets: Counter[TP], standby: bool) -> None:
        """Look whether each changelog holds what its folder lacks."""
        first = await consumer.earliest_offsets(*tps)
        ends = await consumer.highwaters(*tps)
        for tp in sorted(tps):
            table = cast(StateTable, self.tp_to_table[tp])
            store = self._store(tp)
            place = Place(store.persisted_offset(tp), first[tp] or 0, ends[tp] or 0, mark=store.mark(tp.partition))
            if is_plain(place):
                continue
            committed = await _committed(consumer, TopicPartition(table.source, tp.partition))
            verdict, reason = await self._judge_closer(tp, table, place._replace(committed=committed))
            if verdict is Verdict.START_OVER or (standby and verdict is Verdict.LOST and place.first == 0):
                logger.warning("Changelog %s: %s. The local folder is wiped and filled again", tp, reason)
                self._store(tp).wipe_partition(tp.partition)
                offsets[tp] = None  # type: ignore[assignment]  # Faust's word for: from the start
            elif verdict is Verdict.LOST and standby:
                logger.warning("Changelog %s: %s. No standby is kept of it", tp, reason)
                tps.discard(tp)
            elif verdict is Verdict.LOST:
                raise LostStateError(
                    f"the changelog {tp.topic} has lost rows of partition {tp.partition} ({reason}): "
                    "compute them again from `trades` with `tickcast rebuild`; see docs/runbooks/state.md"
                )

    async def _judge_closer(self, tp: TP, table: StateTable, place: Place) -> tuple[Verdict, str]:
        expendable = table.name in EXPENDABLE
        found = judge(place, mark=None, whole=False, has_outputs=True, expendable=expendable)
        if found[0] is not Verdict.LOST:
            return found
        self._asking = True
        try:
            facts = self.tables.facts
            tally = await asyncio.to_thread(facts.tally, tp.topic, tp.partition)
            has_outputs = await asyncio.to_thread(facts.has_records, table.outputs, tp.partition)
        finally:
            self._asking = False
        return judge(place, mark=tally.mark, whole=tally.is_whole, has_outputs=has_outputs, expendable=expendable)

    async def _seek_offsets(self, consumer: Any, tps: set[TP], offsets: Counter[TP], title: str) -> None:
        # Faust seeks to the record that it has already.
        await consumer.seek_wait({tp: offsets[tp] + 1 for tp in tps})
        if title == "active":
            self.signal_recovery_end.clear()
            self._reading = self._generation_id == self.app.consumer_generation_id

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """End the worker when recovery stands still. Faust reads its single events under this name."""
        while not self.should_stop:
            await self.sleep(WATCH_EVERY_S)
            now_s = time.monotonic()
            woken, self._watched_at_s = now_s - self._watched_at_s > ASLEEP_S, now_s
            seen = (self._generation_id, sum(offset or 0 for offset in self.active_offsets.values()))
            if not self.pending or self._asking or woken or seen != self._seen:
                self._seen, self._moved_at_s = seen, now_s
            elif now_s - self._moved_at_s > self.tables.deadline_s:
                raise RecoveryStalledError(self._describe_stall())

    def _describe_stall(self) -> str:
        left = [(tp, count) for tp, count in self.active_remaining().items() if count > 0]
        where = "before the first record"
        if left:
            tp, count = min(left)
            where = f"{tp.topic} partition {tp.partition} at {self.active_offsets[tp]}, {count} records before its end"
        return (
            f"recovery has not moved for {self.tables.deadline_s:g} s (TICKCAST_RECOVERY_DEADLINE_S): {where}. "
            "Look at the broker; if it is well, fill the folder with `tickcast state rebuild`, which says what is wrong"
        )


async def _committed(consumer: Any, place: TopicPartition) -> int | None:
    thread = consumer._thread  # noqa: SLF001  # no public way
    found: int | None = await thread.call_thread(thread._ensure_consumer().committed, place)  # noqa: SLF001  # likewise
    return found


class StateTables(TableManager):
    """Faust's table manager with the fast recovery."""

    facts: Facts
    deadline_s: float = 120.0
    """TICKCAST_RECOVERY_DEADLINE_S."""

    @property
    def recovery(self) -> BatchRecovery:
        """The one recovery service of the app."""
        if self._recovery is None:
            self._recovery = BatchRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return cast(BatchRecovery, self._recovery)
