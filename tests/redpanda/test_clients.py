from __future__ import annotations

from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st
from kafka.record import default_records
from kafka.record._crc32c import crc as plain_crc32c

import redpanda.clients  # noqa: F401  # it exchanges the checksum


def test_the_checksum_is_crc_32c_and_no_more_the_slow_one() -> None:
    assert default_records.calc_crc32c is calc_crc32c
    assert default_records.calc_crc32c(memoryview(b"123456789")) == 0xE3069283


@given(st.binary(max_size=300), st.integers(0, 40))
def test_the_fast_checksum_is_that_of_kafka_python(data: bytes, start: int) -> None:
    view = memoryview(bytearray(data))[start:]
    assert default_records.calc_crc32c(view) == plain_crc32c(view)
