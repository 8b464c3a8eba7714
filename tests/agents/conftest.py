"""What the tests of chunk delivery share: members of a group that run inside the test's process."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect a member that has ended within its own test.

    A member that ends in the middle of a rebalance may leave aiokafka's connections open on a loop that is closed.
    In a worker they end with the process; here the collector would find them in any later test and blame that.
    """
    gc.disable()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.enable()
