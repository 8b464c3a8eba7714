"""`/health`, `/ready` and `/metrics` of the ingest service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from agents.trades.metrics import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from tables.status import Status

__all__ = ["health_app"]

READY_STATES = frozenset(("backfill", "live", "done"))


def health_app(status: Callable[[], Status], ready: Callable[[], str], metrics: Callable[[], bytes]) -> web.Application:
    """Serve the status; `ready` tells what is amiss, or nothing; `metrics` writes Prometheus' text."""

    async def health(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(status()), content_type="application/json")

    async def readiness(_: web.Request) -> web.Response:
        amiss = ready()
        return web.json_response({"ready": not amiss, "why": amiss}, status=503 if amiss else 200)

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_get("/ready", readiness)
    app.router.add_get("/metrics", figures)
    return app
