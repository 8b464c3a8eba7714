"""The tables' RocksDB under Faust: closed in time, wiped when it is broken, written in batches by recovery."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, cast

import faust
from faust.stores import rocksdb
from faust.streams import current_event
from faust.types import TP
from faust.types.tables import CollectionT

from agents.changelogs import mark_key, rows_header
from tables import rocks

__all__ = ["StateStore", "StateTable"]

logger = logging.getLogger("tickcast.state")


class StateStore(rocksdb.Store):
    """Faust's RocksDB store with `tables.rocks` below it.

    `reached` of a partition is the changelog offset up to which its folder is filled. It moves with recovery, and with
    each own record that follows it without a gap: a record of another worker in between must be read, not skipped.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reached: dict[int, int | None] = {}
        self._keys: dict[int, set[bytes]] = {}
        """Keys of the partitions that are being written to."""

    def persisted_offset(self, tp: TP) -> int | None:
        """Give the last changelog offset in the folder; None for an empty one."""
        self._db_for_partition(tp.partition)
        reached = self._reached[tp.partition]
        return reached if reached is not None and reached >= 0 else None

    def mark(self, partition: int) -> bytes | None:
        """Give the mark of the last rebuild that the folder has seen."""
        with _Damage(self, partition):
            found: bytes | None = self._db_for_partition(partition).get(mark_key(partition))
        return found

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Note that the broker has an own record; the row has been in the folder since it was sent."""
        partition = tp.partition
        # The acknowledgement may come after the partition has gone to another worker.
        if partition in self._dbs and offset - 1 == self._reached[partition]:
            self._write(partition, {}, offset)

    def apply(self, partition: int, changes: Mapping[bytes, bytes | None], offset: int) -> None:
        """Put rows of the changelog, and the offset that they reach, all or nothing."""
        self._write(partition, changes, offset)

    def complete(self, partition: int, last: int) -> None:
        """Note that the folder is filled to the end of the changelog, whose last record may be compacted away."""
        if self._reached.get(partition) == last:
            return
        if last >= 0:
            self._write(partition, {}, last)
        self._reached[partition] = last

    def _write(self, partition: int, changes: Mapping[bytes, bytes | None], offset: int) -> None:
        if changes:
            self._keys.pop(partition, None)
        with _Damage(self, partition):
            rocks.write(self._db_for_partition(partition), changes, offset)
        self._reached[partition] = offset

    def count_with(self, partition: int, key: bytes, *, present: bool) -> int:
        """Count the rows that the partition has once this one is written, or deleted."""
        keys = self._keys.get(partition)
        if keys is None:
            with _Damage(self, partition):
                keys = {known for known, _ in rocks.rows(self._db_for_partition(partition))}
            self._keys[partition] = keys
        if present:
            keys.add(key)
        else:
            keys.discard(key)
        return len(keys)

    def wipe_partition(self, partition: int) -> None:
        """Delete the folder of a partition; it is made again, empty, at the next use."""
        self._close(partition)
        rocks.wipe(self.partition_path(partition))

    def _open_for_partition(self, partition: int) -> Any:
        path = self.partition_path(partition)
        db, wrong = rocks.open_or_wipe(path)
        if wrong:
            logger.warning("%s was damaged (%s): wiped, it is filled again from its changelog", path, wrong)
        with _Damage(self, partition):
            self._reached[partition] = rocks.offset_of(db)
        return db

    def _get(self, key: bytes) -> bytes | None:
        event = current_event()
        if event is None:
            return super()._get(key)
        partition = event.message.partition
        with _Damage(self, partition):
            value: bytes | None = self._db_for_partition(partition).get(key)
        return value

    def _set(self, key: bytes, value: bytes | None) -> None:
        event = current_event()
        if event is None:
            raise TypeError("a table is written by the handler of a chunk")
        partition = event.message.partition
        with _Damage(self, partition):
            self._db_for_partition(partition).put(key, value)

    def _visible_keys(self, db: Any) -> Iterator[bytes]:
        for key, _ in self._visible_items(db):
            yield key

    def _visible_items(self, db: Any) -> Iterator[tuple[bytes, bytes]]:
        partition = next(number for number, opened in self._dbs.items() if opened is db)
        with _Damage(self, partition):
            yield from rocks.rows(db)

    def _close(self, partition: int) -> None:
        db = self._dbs.pop(partition, None)
        self._reached.pop(partition, None)
        self._keys.pop(partition, None)
        if db is not None:
            db.close()

    def revoke_partitions(self, table: CollectionT, tps: set[TP]) -> None:
        """Close what another worker takes over: Faust leaves that to the garbage collector."""
        for tp in tps:
            if tp.topic in table.changelog_topic.topics:
                self._close(tp.partition)

    async def stop(self) -> None:
        """Close everything."""
        for partition in list(self._dbs):
            self._close(partition)


class _Damage:
    """Turns what RocksDB says of broken files into an error that tells what to do, and marks the folder."""

    def __init__(self, store: StateStore, partition: int) -> None:
        self._store = store
        self._partition = partition

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        if error is not None and rocks.is_damage(error):
            raise rocks.mark_damaged(self._store.partition_path(self._partition), error) from error


class StateTable(faust.Table[bytes, bytes]):
    """A table of bytes whose partitions follow those of one source topic."""

    def __init__(self, app: Any, *, source: str = "", outputs: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.source = source
        """Topic whose committed offsets the rows go with."""
        self.outputs = outputs
        """Topics that the stage of this table sends to, same partition: proof that there were rows."""

    def send_changelog(
        self, partition: int | None, key: Any, value: Any, key_serializer: Any = None, value_serializer: Any = None
    ) -> Any:
        """Send a change as Faust does, and with it how many rows there are: see agents/changelogs.py."""
        if partition is None:
            raise TypeError("a row lies in the partition of the chunk that it comes from")
        rows = cast(StateStore, self.data).count_with(partition, key, present=value is not None)
        return self.changelog_topic.send_soon(
            key=key,
            value=value,
            partition=partition,
            headers=rows_header(rows),
            key_serializer=key_serializer or self.key_serializer,
            value_serializer=value_serializer or self.value_serializer,
            callback=self._on_changelog_sent,
            eager_partitioning=True,
        )

    def _new_store_by_url(self, url: Any) -> Any:
        return StateStore(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            loop=self.loop,
            options={},
        )
