"""Run the API until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import threading
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import uvicorn

from api.access.layer import Access
from api.application import create_app, status
from api.context import ApiContext
from api.shortcut import Shortcut
from api.store import Store
from api.wire import WireProtocol
from redpanda.errors import ConfigError
from tables.clickhouse.client import connect
from tables.status import write_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.settings import ApiSettings
    from redpanda.settings import BrokerSettings
    from tables.clickhouse.settings import StoreSettings

__all__ = ["listen", "make_server", "run", "serve"]

log = logging.getLogger("tickcast.api")

SEND_BUFFER_BYTES = 262_144
"""A kernel buffer without a cap would hide a slow client behind megabytes of old prices."""
SILENT_PEER_MS = 20_000
STOP_S = 2
SPARE_FILES = 256
"""Open files beside the WebSocket connections: HTTP, broker, store."""


def run(settings: ApiSettings, broker: BrokerSettings, store: StoreSettings) -> None:
    """Serve until SIGTERM or SIGINT; ConfigError where the port is taken."""
    # A request waits for a few seconds at most, and a stop must not wait for a thread that hangs.
    impatient = store.model_copy(update={"store_connect_timeout_s": 0.1, "store_request_timeout_s": 3})
    serve(ApiContext(settings, broker.broker_url, Store(lambda: connect(impatient))))


def serve(context: ApiContext) -> None:
    """Serve one context until a signal, then tell the board."""
    _allow_files(context.settings.ws_connections_max + SPARE_FILES)
    with _quiet_signals(), listen(context.settings) as listener:
        make_server(context, listener).run(sockets=[listener])
    last = status(context)
    last.state = "stopping"
    try:
        write_status(context.settings.home, last)
    except OSError as error:
        log.warning("cannot write the status file (TICKCAST_HOME): %s", error)


def make_server(context: ApiContext, listener: socket.socket) -> uvicorn.Server:
    """Make the server of one context for a socket that is bound."""
    host, port = listener.getsockname()[:2]
    context.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    log.info("the API listens on %s", context.url)
    return uvicorn.Server(_config(context))


def listen(settings: ApiSettings) -> socket.socket:
    """Take the port before anything else is started."""
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_PEER_MS)
        listener.bind((settings.api_host, settings.api_port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {settings.api_host}:{settings.api_port} ({error.strerror}): stop what uses it "
            "or set TICKCAST_API_PORT (or TICKCAST_API_HOST)"
        ) from error
    return listener


def _config(context: ApiContext) -> uvicorn.Config:
    app = Access(Shortcut(create_app(context), context), context.settings)

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        context.requests += 1
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            # Only uvicorn's stop cancels a request, and it would log that with a traceback.
            log.warning("gave up %s at stop: it still waited for its answer", scope["path"])
            with contextlib.suppress(RuntimeError):  # an answer that has begun cannot become another
                await send({"type": "http.response.start", "status": HTTPStatus.SERVICE_UNAVAILABLE, "headers": []})
                await send({"type": "http.response.body", "body": b""})

    return uvicorn.Config(
        counted,
        log_config=None,
        # Below that it would log addresses with their query, and headers of WebSockets: there may be keys in them.
        log_level="warning",
        access_log=False,
        # api/access alone decides which proxy is believed: uvicorn would believe every one on the loopback.
        proxy_headers=False,
        lifespan="on",
        loop="uvloop",
        ws=WireProtocol,
        # The protocol's own cap only bounds memory: below it the API closes with a named reason.
        ws_max_size=16 * context.settings.ws_message_max_bytes,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=STOP_S,
        server_header=False,
    )


def _allow_files(wanted: int) -> None:
    """Raise the soft limit of open files (often 1,024) as far as it must and may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < wanted:
        log.warning(
            "%d open files allowed, %d wanted for TICKCAST_WS_CONNECTIONS_MAX: raise `ulimit -Hn`", hard, wanted
        )


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Stop with exit code 0: after its own clean end uvicorn raises the signal once more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
