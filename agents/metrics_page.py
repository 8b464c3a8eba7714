"""`/metrics` alone, on an address of its own: for a Prometheus that cannot reach the loopback, as in Kubernetes.

The pages of health stay on the loopback: they name files and faults.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from redpanda.errors import ConfigError

__all__ = ["MetricsSettings", "metrics_page"]

SETTING: Final = "TICKCAST_METRICS_ADDRESS"


class MetricsSettings(BaseSettings):
    """Where a worker and an ingest tell their figures beside the loopback."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    metrics_address: str = Field(default="", pattern=r"^$|^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}$")
    """IP address and port of a second `/metrics`, for example `0.0.0.0:9464`; empty: only the one on the loopback.
    One process an address; `tickcast demo` opens none. It asks for no key: whoever reaches it reads names of pairs and
    models, counts and times."""


@asynccontextmanager
async def metrics_page(exposition: Callable[[], bytes], settings: MetricsSettings | None = None) -> AsyncIterator[None]:
    """Serve `/metrics`, and nothing else, on the address of the settings while the block runs; nowhere by default.

    Parameters
    ----------
    exposition
        Writes Prometheus' text.

    Raises
    ------
    ConfigError
        The address cannot be listened on.
    """
    address = (settings or MetricsSettings()).metrics_address
    if not address:
        yield
        return

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", figures)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    host, _, port = address.rpartition(":")
    try:
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except (OSError, OverflowError) as error:
            raise ConfigError(f"{SETTING}={address} cannot be listened on ({error}): choose another one") from error
        yield
    finally:
        await runner.cleanup()
