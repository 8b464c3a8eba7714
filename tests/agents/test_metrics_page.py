"""The second `/metrics`: nothing beside it, and nowhere unless it is asked for."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from pydantic import ValidationError

from agents.metrics_page import MetricsSettings, metrics_page
from redpanda.errors import ConfigError
from redpanda.local.checks import free_port


def test_only_the_figures_are_served_and_only_while_the_block_runs() -> None:
    asyncio.run(_ask(f"127.0.0.1:{free_port()}"))


async def _ask(address: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with metrics_page(lambda: b"tickcast_x 1\n", MetricsSettings(metrics_address=address)):
            async with session.get(f"http://{address}/metrics") as answer:
                assert (answer.status, await answer.read()) == (200, b"tickcast_x 1\n")
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
            for path in ("/", "/health/live", "/metrics/x"):
                async with session.get(f"http://{address}{path}") as answer:
                    assert answer.status == 404
            async with session.post(f"http://{address}/metrics") as answer:
                assert answer.status == 405
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://{address}/metrics")


async def _open(settings: MetricsSettings | None = None) -> None:
    async with metrics_page(lambda: b"", settings):
        pass


def test_nothing_listens_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.metrics_page.web.AppRunner", None)
    asyncio.run(_open())


def test_an_address_that_is_taken_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = MetricsSettings(metrics_address=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match="TICKCAST_METRICS_ADDRESS=127"):
            asyncio.run(_open(settings))


@pytest.mark.parametrize("address", ["9464", "localhost:9464", "10.0.0.1", "10.0.0.1:x", "host:1;rm"])
def test_an_address_is_an_ip_address_and_a_port(address: str) -> None:
    with pytest.raises(ValidationError):
        MetricsSettings(metrics_address=address)
