"""One reader of the output topics per process: no group, a bounded look-back, through broker outages."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from api.views import RECORD_OF
from redpanda.errors import BadInputError, UnreachableError
from redpanda.topics import CANDLES, CANDLES_LIVE, FORECAST_ERRORS, FORECASTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import ConsumerRecord

    from api.settings import ApiSettings
    from api.views import Channel, MarketView, Record, Update

__all__ = ["Feed"]

log = logging.getLogger("tickcast.api")

CHANNEL_OF: Final[dict[str, Channel]] = {
    FORECASTS: "forecasts",
    CANDLES: "candles",
    CANDLES_LIVE: "candles-live",
    FORECAST_ERRORS: "errors",
}
BACKOFF_MIN_S: Final = 0.1
BATCH: Final = 100
"""Records folded before the sockets get their turn."""
SENDS: Final = 2_000
"""Frames given to sockets before they, and everybody else, get their turn."""
STOP_S: Final = 2.0
LOGGED: Final = 10
"""Bad records named one by one; after that every thousandth."""
_DECODERS: Final = {channel: msgspec.json.Decoder(record) for channel, record in RECORD_OF.items()}


class Feed:
    """Keep the views in step with the broker.

    Parameters
    ----------
    publish
        Told every update once the feed has caught up for the first time; gives how many it was sent to.
    on_reset
        Called when records between the last read one and the next are gone: sequences begin anew.
    """

    def __init__(
        self,
        settings: ApiSettings,
        broker_url: str,
        view: MarketView,
        publish: Callable[[Update], int],
        on_reset: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._broker_url = broker_url
        self._view = view
        self._publish = publish
        self._on_reset = on_reset
        self._first: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self._delay_s = BACKOFF_MIN_S
        self.ready = False
        """Caught up once with the end offsets seen at start; an outage keeps it, a reset does not."""
        self.stale = True
        """Not in touch with the broker, or behind it after an outage."""
        self.reason = f"connecting to the broker at {broker_url}"
        self.records = 0
        self.bad_records = 0
        self.outages = 0
        self.behind = -1
        """Records between the last read one and the end of the topics; -1 until known."""

    async def run(self) -> None:
        """Follow the topics until cancelled."""
        while True:
            try:
                await self._connect()
            except (KafkaError, UnreachableError, OSError, TimeoutError) as error:
                self._lost(error)
            # Jitter keeps several processes from knocking at the same moment.
            await asyncio.sleep(self._delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            self._delay_s = min(self._delay_s * 2, self._settings.feed_backoff_max_s)

    def _lost(self, error: Exception) -> None:
        if not self.stale:
            self.outages += 1
        self.stale = True
        self.reason = str(error) or f"the broker at {self._broker_url} does not answer (TICKCAST_BROKER_URL)"
        log.warning("the feed lost the broker: %s", self.reason)

    async def _connect(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._broker_url,
            client_id="tickcast-api",
            enable_auto_commit=False,
            auto_offset_reset="none",
            request_timeout_ms=5_000,
            metadata_max_age_ms=30_000,
        )
        try:
            async with asyncio.timeout(10):
                await consumer.start()
                targets = await self._assign(consumer)
            await self._follow(consumer, targets)
        finally:
            await _stop(consumer)

    async def _assign(self, consumer: Any) -> dict[TopicPartition, int]:
        missing = CHANNEL_OF.keys() - await consumer.topics()
        if missing:
            raise UnreachableError(f"no topic {', '.join(sorted(missing))}: run `tickcast topics apply`")
        # Without a subscription aiokafka loads the metadata of all topics at the first question.
        await consumer.end_offsets([TopicPartition(topic, 0) for topic in CHANNEL_OF])
        partitions = _partitions(consumer)
        begin = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        if self._next and not _continuous(self._next, begin, end):
            log.warning("the log no longer holds what follows the last record read: starting anew")
            self.ready = False
            self._next.clear()
            self._view.clear()
            self._on_reset()
        if not self._next:
            self._first = {p: max(begin[p], end[p] - self._settings.feed_lookback) for p in partitions}
            self._next = dict(self._first)
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, self._next[partition])
        return dict(end)

    async def _follow(self, consumer: Any, targets: dict[TopicPartition, int]) -> None:
        loop = asyncio.get_running_loop()
        probed_s = loop.time()
        caught_up = False
        sent = 0
        while True:
            batches = await consumer.getmany(timeout_ms=int(self._settings.feed_probe_s * 500), max_records=BATCH)
            for partition, records in batches.items():
                for record in records:
                    sent += self._take(record, partition)
                    self._next[partition] = record.offset + 1
                    if sent >= SENDS:
                        sent = 0
                        await asyncio.sleep(0)
            for partition in self._next:
                # The position also passes offsets that hold no record (compacted, control batches).
                self._next[partition] = await consumer.position(partition)
            if not caught_up and all(self._next[p] >= target for p, target in targets.items()):
                caught_up = True
                self._caught_up()
            if batches:
                await asyncio.sleep(0)
            if loop.time() - probed_s >= self._settings.feed_probe_s:
                await self._probe(consumer)
                probed_s = loop.time()

    def _caught_up(self) -> None:
        self.ready = True
        self.stale = False
        self.reason = ""
        self._delay_s = BACKOFF_MIN_S
        log.info("the feed has caught up: %d records, %d bad", self.records, self.bad_records)

    async def _probe(self, consumer: Any) -> None:
        """Ask for the end offsets: aiokafka itself only retries in silence when the broker is away."""
        async with asyncio.timeout(self._settings.feed_probe_s * 3):
            end = await consumer.end_offsets(list(self._next))
        if set(_partitions(consumer)) != self._next.keys():
            raise UnreachableError("the topics have got more partitions: pairs may have moved")
        if any(end[partition] < offset for partition, offset in self._next.items()):
            raise UnreachableError("a topic is shorter than what was read of it: it was created anew")
        self.behind = sum(end[partition] - offset for partition, offset in self._next.items())

    def _take(self, record: ConsumerRecord[Any, Any], partition: TopicPartition) -> int:
        """Fold one record; gives the number of connections that were told."""
        channel = CHANNEL_OF[partition.topic]
        try:
            update = self._view.apply(channel, _decode(channel, record.value), record.offset, self._first[partition])
        except (msgspec.DecodeError, BadInputError) as error:
            self.bad_records += 1
            if self.bad_records <= LOGGED or self.bad_records % 1_000 == 0:
                log.warning("skipped %s/%d@%d: %s", *partition, record.offset, error)
            return 0
        self.records += 1
        return self._publish(update) if update is not None and self.ready else 0


def _partitions(consumer: Any) -> list[TopicPartition]:
    return [
        TopicPartition(topic, number)
        for topic in CHANNEL_OF
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]


async def _stop(consumer: Any) -> None:
    """Stop in a task of its own: aiokafka may raise its own CancelledError here, which is not ours."""
    task = asyncio.ensure_future(consumer.stop())
    done, _ = await asyncio.wait({task}, timeout=STOP_S)
    if not done:
        task.cancel()
    elif not task.cancelled() and task.exception() is not None:
        log.debug("stopping the consumer: %r", task.exception())


def _decode(channel: Channel, value: bytes | None) -> Record:
    if value is None:
        raise BadInputError("the record has no value")
    return _DECODERS[channel].decode(value)


def _continuous(
    position: dict[TopicPartition, int], begin: dict[TopicPartition, int], end: dict[TopicPartition, int]
) -> bool:
    return position.keys() == begin.keys() and all(begin[p] <= offset <= end[p] for p, offset in position.items())
