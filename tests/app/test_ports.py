from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from app.ports import HOST, Ports
from redpanda.errors import ConfigError
from redpanda.local.checks import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ports() -> Iterator[Ports]:
    chosen = Ports()
    yield chosen
    chosen.close()


def test_stacks_that_start_at_the_same_moment_never_choose_the_same_port(ports: Ports) -> None:
    default, other = free_port(), Ports()
    mine = [ports.choose("TICKCAST_X_PORT", default) for _ in range(2)]
    theirs = other.choose("TICKCAST_X_PORT", default)
    other.close()
    assert len({*mine, theirs}) == 3
    assert ports.choose("TICKCAST_X_PORT", default) == theirs, "it was let go of"


def test_port_that_was_named_twice_is_refused(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    for name in ("TICKCAST_X_PORT", "TICKCAST_Y_PORT"):
        monkeypatch.setenv(name, str(port))
    assert ports.choose("TICKCAST_X_PORT", port) == port
    with pytest.raises(ConfigError, match=f"TICKCAST_Y_PORT: port {port} is busy"):
        ports.choose("TICKCAST_Y_PORT", port)


def test_port_in_use_is_passed_over(ports: Ports) -> None:
    with socket.socket() as busy:
        busy.bind((HOST, 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert not ports.take(port)
