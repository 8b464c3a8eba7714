"""One client of the simulated exchange: its subscriptions, its cursors, and the faults it is due."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

from agents.trades.sim.market import Market, profile_of
from agents.trades.sim.wire import socket_rows

if TYPE_CHECKING:
    from agents.trades.settings import SimSettings

__all__ = ["Connection"]

SNAPSHOT_TRADES: Final = 50
UPDATE_TRADES: Final = 1_000
HEARTBEAT_S: Final = 1.0
MALFORMED: Final = '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side"'


class _HangUpError(Exception):
    """The script says to drop the connection here."""


class Connection:
    """Answers requests and pushes trades as their time comes."""

    def __init__(
        self,
        settings: SimSettings,
        market: Market,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        number: int,
    ) -> None:
        self._settings = settings
        self._faults = settings.faults
        self._market = market
        self._websocket = websocket
        self._transport = transport
        self._number = number
        self._cursors: dict[str, int] = {}
        self._updates = 0
        self._maintenance_s = 0.0
        self.sent = 0
        """Trades that went out (count)."""

    def abort(self) -> None:
        """Cut the line without a closing handshake: the client sees 1006."""
        if self._transport is not None:
            self._transport.abort()

    async def serve(self) -> None:
        """Serve until the client goes or the script drops it."""
        await self._system("online")
        pusher = asyncio.create_task(self._push())
        try:
            async for message in self._websocket:
                if message.type is WSMsgType.TEXT:
                    await self._answer(message.data)
        finally:
            pusher.cancel()
            # The client may be gone in the middle of a push: nobody is left to tell.
            with contextlib.suppress(asyncio.CancelledError, _HangUpError, ConnectionError, RuntimeError):
                await pusher

    async def _send(self, message: dict[str, object]) -> None:
        if not self._half_open:
            await self._websocket.send_str(json.dumps(message, separators=(",", ":")))

    async def _system(self, system: str) -> None:
        status = {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": self._number}
        await self._send({"channel": "status", "type": "update", "data": [status]})

    async def _answer(self, text: str) -> None:
        arrived = _stamp()
        try:
            request = json.loads(text)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            await self._send({"error": "Malformed request", "success": False})
            return
        method = request.get("method")
        extra: dict[str, object] = {"req_id": request["req_id"]} if "req_id" in request else {}
        if method == "ping":
            await self._send({"method": "pong", **extra, "time_in": arrived, "time_out": _stamp()})
        elif method == "subscribe" and isinstance(request.get("params"), dict):
            await self._subscribe(request["params"], extra, arrived)
        else:
            error = {"error": "Unsupported event", "method": method, "success": False}
            await self._send({**error, **extra, "time_in": arrived, "time_out": _stamp()})

    async def _subscribe(self, params: dict[str, Any], extra: dict[str, object], arrived: str) -> None:
        snapshot = bool(params.get("snapshot", True))
        symbols = params.get("symbol")
        for symbol in symbols if isinstance(symbols, list) else []:
            error = ""
            if symbol not in self._settings.pairs or symbol in self._faults.refuse:
                error = f"Currency pair not supported {symbol}"
            elif symbol in self._cursors:
                error = "Already subscribed"
            times = {"time_in": arrived, "time_out": _stamp()}
            if error:
                refusal = {"error": error, "method": "subscribe", **extra, "success": False, "symbol": symbol}
                await self._send({**refusal, **times})
                continue
            result = {"channel": "trade", "snapshot": snapshot, "symbol": symbol}
            await self._send({"method": "subscribe", **extra, "result": result, "success": True, **times})
            end = self._end(symbol)
            if snapshot:
                await self._trades(symbol, "snapshot", max(end - SNAPSHOT_TRADES, 1), end)
            self._cursors[symbol] = end

    def _end(self, symbol: str) -> int:
        """Id after the newest trade, by the exchange's own clock."""
        return self._market.first_id_at(symbol, self._settings.now_ns() + 1)

    async def _push(self) -> None:
        """Send trades whose time has come, and a heartbeat each second."""
        beat_s = time.monotonic() + HEARTBEAT_S
        while True:
            await asyncio.sleep(self._settings.tick_ms / 1_000)
            if self._silent:
                continue
            try:
                if not await self._closed_for_maintenance():
                    for symbol in list(self._cursors):
                        await self._advance(symbol)
            except _HangUpError:
                self.abort()
                raise
            if time.monotonic() >= beat_s:
                beat_s += HEARTBEAT_S
                await self._send({"channel": "heartbeat"})

    @property
    def _silent(self) -> bool:
        return self._half_open or self._due(self._faults.silent_after)

    @property
    def _half_open(self) -> bool:
        return self._due(self._faults.half_open_after)

    def _due(self, after: int) -> bool:
        return bool(after) and self._number == 1 and self._updates >= after

    async def _closed_for_maintenance(self) -> bool:
        """Say when maintenance begins and ends; tell whether it lasts."""
        now_s = time.monotonic()
        if not self._maintenance_s and self._due(self._faults.maintenance_after):
            self._maintenance_s = now_s + self._faults.maintenance_ms / 1_000
            await self._system("maintenance")
        elif 0 < self._maintenance_s <= now_s:
            self._maintenance_s = float("inf")
            await self._system("online")
        return now_s < self._maintenance_s < float("inf")

    async def _advance(self, symbol: str) -> None:
        end = self._end(symbol)
        while (first := self._cursors[symbol]) < end and not self._silent:
            stop = min(end, first + UPDATE_TRADES)
            every = self._faults.malformed_every
            if every and (self._updates + 1) % every == 0:
                await self._websocket.send_str(MALFORMED)
            every = self._faults.snapshot_every
            if every and (self._updates + 1) % every == 0:
                await self._trades(symbol, "snapshot", max(first - SNAPSHOT_TRADES, 1), first)
            await self._trades(symbol, "update", first, stop)
            self._cursors[symbol] = stop
            self._updates += 1
            if self._faults.disconnect_after and self._updates >= self._faults.disconnect_after:
                raise _HangUpError

    async def _trades(self, symbol: str, kind: str, first: int, end: int) -> None:
        rows: list[str] = []
        decimals = profile_of(symbol).decimals
        for block, start, stop in self._market.slices(symbol, first, end):
            rows += socket_rows(symbol, block, start, stop, decimals)
        if kind == "update":
            rows = self._spoil(first, rows)
        self.sent += len(rows)
        if rows or kind == "snapshot":
            body = ",".join(rows)
            text = f'{{"channel":"trade","type":"{kind}","data":[{body}]}}'
            if kind == "update":
                await asyncio.sleep(self._faults.slow_ms / 1_000)
            await self._websocket.send_str(text)

    def _spoil(self, first: int, rows: list[str]) -> list[str]:
        """Commit the scripted faults on the trades of one update."""
        faults = self._faults
        spoiled: list[str] = []
        for trade_id, row in enumerate(rows, first):
            if faults.drop_every and trade_id % faults.drop_every < faults.drop_run:
                continue
            bad = faults.bad_trade_every and trade_id % faults.bad_trade_every == 0
            spoiled.append(row.replace('"price":', '"price":-') if bad else row)
            if faults.duplicate_every and trade_id % faults.duplicate_every == 0:
                spoiled.append(row)
        return spoiled[::-1] if faults.reorder else spoiled


def _stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
