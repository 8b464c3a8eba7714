"""Connections of kafka-python: bounded in time, and every failure one line that names the setting."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from aiokafka.record.util import calc_crc32c
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.record import default_records

from redpanda.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpanda.settings import BrokerSettings

__all__ = ["CONNECT_TIMEOUT_S", "connect", "consumer", "drop", "end", "member", "producer", "reaching"]

# kafka-python has the checksum of a batch in Python: 166 us for each kB, most of what it costs to publish. aiokafka's
# is in C (0.7 us).
default_records.calc_crc32c = calc_crc32c

_sock_connect = KafkaNetSocket.sock_connect


async def _sock_connect_or_close(
    self: KafkaNetSocket, net: Any, sock: socket.socket, address: Any, timeout_at: float | None = None
) -> socket.socket:
    """Close the socket of a connection that fails: kafka-python 3.0.12 leaves it to the collector."""
    try:
        connected: socket.socket = await _sock_connect(self, net, sock, address, timeout_at)
    except BaseException:  # a client that is closed ends this with GeneratorExit
        sock.close()
        raise
    return connected


KafkaNetSocket.sock_connect = _sock_connect_or_close

CONNECT_TIMEOUT_S: Final = 5.0

_NEXT: Final = "start one with `tickcast demo`, or set TICKCAST_BROKER_URL to a running broker"


@contextmanager
def reaching(settings: BrokerSettings) -> Iterator[None]:
    """Turn the Kafka client's failures into UnreachableError and keep its log lines of them back."""
    library = logging.getLogger("kafka")
    level = library.level
    library.setLevel(logging.CRITICAL)
    try:
        yield
    except KafkaError as error:
        what = str(error) or type(error).__name__
        raise UnreachableError(
            f"the broker at {settings.broker_url} (TICKCAST_BROKER_URL) failed: {what[:300]}; {_NEXT}"
        ) from error
    finally:
        library.setLevel(level)


def connect(settings: BrokerSettings, timeout_s: float = CONNECT_TIMEOUT_S) -> KafkaAdminClient:
    """Open an admin client; the caller closes it.

    Raises
    ------
    UnreachableError
        Nobody listens, or whoever does gives no Kafka metadata within `timeout_s`.
    """
    return _open(KafkaAdminClient, settings, timeout_s, client_id="tickcast-admin")


def consumer(settings: BrokerSettings) -> KafkaConsumer:
    """Open a consumer without a group; the caller closes it. Raises as `connect`."""
    options = {"client_id": "tickcast-reader", "enable_auto_commit": False, "allow_auto_create_topics": False}
    return _open(KafkaConsumer, settings, CONNECT_TIMEOUT_S, **options)


def member(settings: BrokerSettings, group: str, session_s: float) -> KafkaConsumer:
    """Open a member of a group that keeps its partitions while others come and go. Raises as `connect`."""
    options = {
        "client_id": group,
        "group_id": group,
        "session_timeout_ms": int(session_s * 1_000),
        "heartbeat_interval_ms": int(session_s * 1_000 / 4),
        "partition_assignment_strategy": (StickyPartitionAssignor,),
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
    }
    return _open(KafkaConsumer, settings, CONNECT_TIMEOUT_S, **options)


def producer(settings: BrokerSettings, timeout_s: float = CONNECT_TIMEOUT_S, **options: Any) -> KafkaProducer:
    """Open a producer, of a few records unless `options` of kafka-python say otherwise. Raises as `connect`."""
    usual = {"client_id": "tickcast-writer", "acks": "all", "max_block_ms": 10_000, "allow_auto_create_topics": False}
    return _open(KafkaProducer, settings, timeout_s, **(usual | options))


def end(producer: KafkaProducer, timeout_s: float) -> None:
    """Give a producer this long to send what waits and then end it; what is left is dropped.

    Raises
    ------
    KafkaError
        Records were left. kafka-python's own `close` stops at that and leaves the thread: it would go on trying, and
        send them one day.
    """
    try:
        producer.close(timeout=timeout_s)
    except KafkaError:
        drop(producer, timeout_s)
        raise


def drop(producer: KafkaProducer, timeout_s: float) -> None:
    """End a producer's thread, with what waits in it, for at most this long."""
    sender: Any = producer._sender  # noqa: SLF001  # no public way
    sender.force_close()
    sender.join(timeout_s)


def _open(kind: type[Any], settings: BrokerSettings, timeout_s: float, **options: Any) -> Any:
    """Construct one of kafka-python's clients within the time."""
    opened: list[KafkaNetClient] = []

    def remembered(**config: Any) -> KafkaNetClient:
        opened.append(KafkaNetClient(**config))
        return opened[-1]

    deadline = time.monotonic() + timeout_s
    with reaching(settings):
        servers = _listening(settings, timeout_s)
        try:
            return kind(
                bootstrap_servers=servers,
                bootstrap_timeout_ms=max(100, int((deadline - time.monotonic()) * 1000)),
                kafka_client=remembered,
                **options,
            )
        except BaseException:
            for net_client in opened:
                net_client.close()  # the constructor has started its I/O thread and nobody else can stop it
            raise


def _listening(settings: BrokerSettings, timeout_s: float) -> list[str]:
    """Give the bootstrap servers in order once one of them takes a TCP connection.

    kafka-python retries a refused connection until its deadline; a wrong port should be told at once.
    """
    servers = settings.broker_url.split(",")
    reasons: list[str] = []
    for server in servers:
        host, port = server.rsplit(":", 1)
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout_s / len(servers)).close()
        except (OSError, OverflowError) as error:
            reasons.append(f"{server}: {error}")
        else:
            return servers
    raise UnreachableError(f"no broker answers at TICKCAST_BROKER_URL ({'; '.join(reasons)}): {_NEXT}")
