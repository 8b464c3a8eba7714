from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import Callable

import pytest
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st
from kafka.record import default_records
from kafka.record._crc32c import crc as plain_crc32c

from redpanda.clients import connect, producer
from redpanda.errors import UnreachableError
from redpanda.settings import BrokerSettings


def test_the_checksum_is_crc_32c_and_no_more_the_slow_one() -> None:
    assert default_records.calc_crc32c is calc_crc32c
    assert default_records.calc_crc32c(memoryview(b"123456789")) == 0xE3069283


@given(st.binary(max_size=300), st.integers(0, 40))
def test_the_fast_checksum_is_that_of_kafka_python(data: bytes, start: int) -> None:
    view = memoryview(bytearray(data))[start:]
    assert default_records.calc_crc32c(view) == plain_crc32c(view)


@pytest.mark.parametrize("open_one", [connect, producer])
def test_connections_that_fail_leave_no_socket_open(open_one: Callable[[BrokerSettings, float], object]) -> None:
    """A process that waits for its broker would collect one with each try."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]

    def leave_after_the_first() -> None:
        with server:
            server.accept()[0].close()

    leaving = threading.Thread(target=leave_after_the_first)
    leaving.start()
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(UnreachableError):
            open_one(BrokerSettings(broker_url=f"127.0.0.1:{port}"), 1.0)
        gc.collect()
    leaving.join()
    assert [str(one.message) for one in caught if one.category is ResourceWarning] == []
