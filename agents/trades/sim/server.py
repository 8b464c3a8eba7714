"""The simulated exchange: Kraken's WebSocket v2 and REST on one loopback port, with faults on request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from agents.trades.process import listen, run_until_signal, tell
from agents.trades.sim.connection import Connection
from agents.trades.sim.market import Market, profile_of
from agents.trades.sim.wire import asset_pair, rest_rows, v1_names
from tables.status import Status

if TYPE_CHECKING:
    from agents.trades.settings import SimSettings

__all__ = ["SimServer", "run"]

log = logging.getLogger("tickcast.sim")

MAX_ROWS: Final = 1_000


class SimServer:
    """Serves one market to any number of clients."""

    def __init__(self, settings: SimSettings) -> None:
        self.settings = settings
        self.market = Market(settings.seed, settings.trades_per_min)
        self.port = settings.port
        self.rest_calls = 0
        self.connections = 0
        self._open: set[Connection] = set()
        self._rest_faults = list(settings.faults.rest_errors)
        self._by_name = {name: pair for pair in settings.pairs for name in (*v1_names(pair), pair)}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; `port` then holds the real one.

        Raises
        ------
        ConfigError
            The port is busy.
        """
        app = web.Application()
        app.router.add_get("/v2", self._socket)
        app.router.add_get("/0/public/Trades", self._trades)
        app.router.add_get("/0/public/AssetPairs", self._asset_pairs)
        app.router.add_get("/0/public/Time", self._time)
        self._runner, self.port = await listen(app, self.settings.port, "TICKCAST_SIM_PORT")

    async def stop(self) -> None:
        """Drop every connection and close the port."""
        for connection in list(self._open):
            connection.abort()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def status(self, state: str) -> Status:
        """Give what the board shows."""
        counters = {
            "connections": self.connections,
            "open": len(self._open),
            "rest_calls": self.rest_calls,
            "sent": sum(connection.sent for connection in self._open),
        }
        detail: dict[str, object] = {
            "pairs": list(self.settings.pairs),
            "seed": self.settings.seed,
            "port": self.port,
            "simulated": True,
        }
        return Status("sim", state, counters=counters, detail=detail)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(max_msg_size=1 << 16, autoping=True, compress=False)
        await websocket.prepare(request)
        self.connections += 1
        connection = Connection(self.settings, self.market, websocket, request.transport, self.connections)
        self._open.add(connection)
        try:
            await connection.serve()
        finally:
            self._open.discard(connection)
        return websocket

    async def _trades(self, request: web.Request) -> web.Response:
        self.rest_calls += 1
        if self._rest_faults:
            return _fault(self._rest_faults.pop(0))
        pair = self._by_name.get(request.query.get("pair", ""))
        if pair is None:
            return _error("EQuery:Unknown asset pair")
        try:
            count = min(max(int(request.query.get("count", MAX_ROWS)), 1), MAX_ROWS)
            since_ns = _since_ns(request.query.get("since"))
        except ValueError:
            return _error("EGeneral:Invalid arguments")
        end = self.market.first_id_at(pair, self.settings.now_ns() + 1)
        first = max(end - count, 1) if since_ns is None else self.market.first_id_at(pair, since_ns)
        rows: list[str] = []
        last_ns = since_ns or 0
        for block, start, stop in self.market.slices(pair, first, min(end, first + count)):
            rows += rest_rows(block, start, stop, profile_of(pair).decimals)
            last_ns = int(block.ts_ns[stop - 1])
        name = v1_names(pair)[0]
        body = f'{{"error":[],"result":{{"{name}":[{",".join(rows)}],"last":"{last_ns}"}}}}'
        return web.Response(text=body, content_type="application/json")

    async def _asset_pairs(self, _: web.Request) -> web.Response:
        result = {v1_names(pair)[0]: asset_pair(pair, profile_of(pair).decimals) for pair in self.settings.pairs}
        return web.json_response({"error": [], "result": result})

    async def _time(self, _: web.Request) -> web.Response:
        now = datetime.now(UTC)
        result = {"unixtime": int(now.timestamp()), "rfc1123": format_datetime(now, usegmt=True)}
        return web.json_response({"error": [], "result": result})


def _since_ns(text: str | None) -> int | None:
    """Kraken takes ns, and seconds where the number is short."""
    if not text:
        return None
    if len(text.partition(".")[0]) >= 16:  # noqa: PLR2004  # digits of a ns time
        return int(text)
    return int(float(text) * 1e9)


def _error(text: str) -> web.Response:
    """Answer as Kraken does: an error is an HTTP 200."""
    return web.json_response({"error": [text]})


def _fault(kind: str) -> web.Response:
    if kind == "html":
        return web.Response(text="<html><body>502 Bad Gateway</body></html>", content_type="text/html")
    if kind == "http-503":
        return web.Response(status=503, text=json.dumps({"error": ["EService:Unavailable"]}))
    return _error("EGeneral:Too many requests" if kind == "throttle" else "EService:Unavailable")


async def _serve(settings: SimSettings, stop: asyncio.Event) -> None:
    server = SimServer(settings)
    await server.start()
    log.info("simulated market on 127.0.0.1:%d, seed %d: no real trades", server.port, settings.seed)
    try:
        while not stop.is_set():
            tell(settings.home, server.status("live"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await stop.wait()
    finally:
        await server.stop()
        tell(settings.home, server.status("stopping"))


def run(settings: SimSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    run_until_signal(lambda stop: _serve(settings, stop))
