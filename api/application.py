"""The Litestar application, put together from its parts."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.config.compression import CompressionConfig
from litestar.di import Provide

from api.access.reference import document_access
from api.answers import UNCOMPRESSED
from api.asyncapi import FEED_PAGES
from api.context import ApiContext
from api.conversation import HEARTBEAT_S
from api.health import HEALTH
from api.openapi import complete
from api.page.routes import PAGE
from api.problems import problem_plugin, unexpected
from api.reference import openapi_config
from api.routes import ROUTES
from api.websocket import feed_socket
from tables.status import Status, write_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["create_app", "status"]

log = logging.getLogger("tickcast.api")


def create_app(context: ApiContext) -> Litestar:
    """Routes, feed, documentation and background tasks of one process."""

    @asynccontextmanager
    async def background(_app: Litestar) -> AsyncGenerator[None, None]:
        context.tasks = [
            asyncio.create_task(context.feed.run(), name="feed"),
            asyncio.create_task(_beat(context), name="heartbeat"),
        ]
        try:
            yield
        finally:
            await _cancel(context.tasks)
            context.store.close()

    def provide_context() -> ApiContext:
        return context

    app = Litestar(
        route_handlers=[*ROUTES, *HEALTH, *FEED_PAGES, *PAGE, feed_socket],
        dependencies={"context": Provide(provide_context, sync_to_thread=False)},
        lifespan=[background],
        plugins=[problem_plugin()],
        exception_handlers={Exception: unexpected},
        openapi_config=openapi_config(),
        compression_config=CompressionConfig(backend="gzip", gzip_compress_level=5, exclude_opt_key=UNCOMPRESSED),
        logging_config=None,
        # Names for the handlers' annotations, which Litestar reads at run time.
        signature_types=[ApiContext],
    )
    complete(app.openapi_schema, context.settings.api_page_max)
    return document_access(app)


def status(context: ApiContext) -> Status:
    """Tell what the board shows of this process."""
    feed, hub = context.feed, context.hub
    return Status(
        "api",
        "live" if feed.ready else "starting",
        counters={
            "requests": context.requests,
            "ws_clients": len(hub),
            "ws_sent": hub.sent,
            "ws_dropped": sum(hub.dropped.values()),
            "records": feed.records,
            "bad_records": feed.bad_records,
            "outages": feed.outages,
        },
        detail={
            "ready": feed.ready,
            "stale": feed.stale,
            "reason": feed.reason,
            "behind": feed.behind,
            "dropped": dict(hub.dropped),
            "source": context.settings.label,
            "url": context.url,
        },
    )


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    """End the tasks within two seconds; asked twice, as Python 3.11's `wait_for` may swallow a cancellation."""
    for _ in range(2):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1)


async def _beat(context: ApiContext) -> None:
    """Once a second: heartbeat to the clients, status to the board."""
    while True:
        context.hub.beat(stale=context.feed.stale)
        try:
            await asyncio.to_thread(write_status, context.settings.home, status(context))
        except OSError as error:
            log.warning("cannot write the status file under %s (TICKCAST_HOME): %s", context.settings.home, error)
        await asyncio.sleep(HEARTBEAT_S)
