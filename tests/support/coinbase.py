"""A scripted Coinbase Exchange on loopback: its documented frames and pages, with trades of the simulated market."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from aiohttp import WSMsgType, web

from agents.trades.process import listen
from agents.trades.sim.market import LOTS, Market, profile_of

if TYPE_CHECKING:
    from agents.trades.settings import SimSettings

__all__ = ["CoinbaseServer"]

PAGE_ROWS: Final = 1_000
HEARTBEAT_S: Final = 1.0
MALFORMED: Final = '{"type":"match","trade_id":10,"product_id":"BTC-USD","si'


class CoinbaseServer:
    """Serves one market in Coinbase's words, with the faults of the simulator that make sense here."""

    def __init__(self, settings: SimSettings) -> None:
        self.settings = settings
        self.faults = settings.faults
        self.market = Market(settings.seed, settings.trades_per_min)
        self.port = 0
        self.rest_calls = 0
        self.connections = 0
        self._rest_faults = list(settings.faults.rest_errors)
        self._transports: set[asyncio.Transport] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/", self._socket)
        app.router.add_get("/products", self._products)
        app.router.add_get("/products/{product}/trades", self._trades)
        self._runner, self.port = await listen(app, 0, "")

    async def stop(self) -> None:
        for transport in self._transports:
            transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    def end(self, pair: str) -> int:
        """Give the id after the newest trade."""
        return self.market.first_id_at(pair, time.time_ns() + 1)

    def rows(self, pair: str, first: int, end: int) -> list[dict[str, Any]]:
        """Trades as REST shows them, oldest first; `side` is the maker's."""
        rows: list[dict[str, Any]] = []
        decimals = profile_of(pair).decimals
        for block, start, stop in self.market.slices(pair, first, end):
            stamps = np.datetime_as_string(block.ts_ns[start:stop].astype("datetime64[ns]"), unit="us").tolist()
            for row, stamp in enumerate(stamps, start):
                tick, lot = int(block.ticks[row]), int(block.lots[row])
                rows.append(
                    {
                        "time": f"{stamp}Z",
                        "trade_id": block.first_id + row,
                        "price": f"{tick // 10**decimals}.{tick % 10**decimals:0{decimals}d}",
                        "size": f"{lot // LOTS}.{lot % LOTS:08d}",
                        "side": "sell" if block.buy[row] else "buy",
                    }
                )
        return rows

    async def _products(self, _: web.Request) -> web.Response:
        names = [pair.split("/") for pair in self.settings.pairs]
        return web.json_response(
            [{"id": f"{base}-{quote}", "base_currency": base, "quote_currency": quote} for base, quote in names]
        )

    async def _trades(self, request: web.Request) -> web.Response:
        self.rest_calls += 1
        if self._rest_faults:
            fault = self._rest_faults.pop(0)
            if fault == "html":
                return web.Response(text="<html><body>502 Bad Gateway</body></html>", content_type="text/html")
            status, text = (429, "Too Many Requests") if fault == "throttle" else (503, "ServiceUnavailable")
            return web.json_response({"message": text}, status=status)
        pair = request.match_info["product"].replace("-", "/")
        if pair not in self.settings.pairs:
            return web.json_response({"message": "NotFound"}, status=404)
        end = min(self.end(pair), int(request.query.get("after", 1 << 62)))
        rows = self.rows(pair, max(end - int(request.query.get("limit", PAGE_ROWS)), 1), end)[::-1]
        cursors = {"CB-BEFORE": str(rows[0]["trade_id"]), "CB-AFTER": str(rows[-1]["trade_id"])} if rows else {}
        return web.json_response(rows, headers=cursors)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(max_msg_size=1 << 16)
        await websocket.prepare(request)
        assert request.transport is not None
        self.connections += 1
        self._transports.add(request.transport)
        cursors: dict[str, int] = {}
        pusher = asyncio.create_task(self._push(websocket, request.transport, cursors, self.connections))
        try:
            async for message in websocket:
                if message.type is WSMsgType.TEXT:
                    await self._subscribe(websocket, json.loads(message.data), cursors)
        finally:
            pusher.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError, RuntimeError):
                await pusher
        return websocket

    async def _subscribe(
        self, websocket: web.WebSocketResponse, request: dict[str, Any], cursors: dict[str, int]
    ) -> None:
        """Answer as the overview says: all channels of the connection so far, or an error."""
        for product in request["product_ids"]:
            pair = product.replace("-", "/")
            if pair not in self.settings.pairs or pair in self.faults.refuse:
                reason = f"{product} is not a valid product"
                await websocket.send_json({"type": "error", "message": "Failed to subscribe", "reason": reason})
                continue
            end = self.end(pair)
            products = [name.replace("/", "-") for name in (*cursors, pair)]
            channels = [{"name": name, "product_ids": products} for name in ("matches", "heartbeat")]
            await websocket.send_json({"type": "subscriptions", "channels": channels})
            await websocket.send_json(self._match(pair, self.rows(pair, end - 1, end)[0], "last_match"))
            cursors[pair] = end

    def _match(self, pair: str, row: dict[str, Any], kind: str = "match") -> dict[str, Any]:
        orders = {"maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8", "sequence": row["trade_id"] * 3}
        return {"type": kind, "product_id": pair.replace("/", "-"), **orders, **row}

    async def _push(
        self, websocket: web.WebSocketResponse, transport: asyncio.Transport, cursors: dict[str, int], number: int
    ) -> None:
        """Send trades whose time has come, one frame each, and a heartbeat a second for each product."""
        faults = self.faults
        beat_s = time.monotonic() + HEARTBEAT_S
        updates = 0
        while True:
            await asyncio.sleep(self.settings.tick_ms / 1_000)
            if faults.silent_after and number == 1 and updates >= faults.silent_after:
                continue
            for pair, first in list(cursors.items()):
                end = self.end(pair)
                if end > first:
                    updates += 1
                    await self._update(websocket, pair, first, end, updates)
                    cursors[pair] = end
                if faults.disconnect_after and updates >= faults.disconnect_after:
                    transport.abort()
                    return
            if time.monotonic() >= beat_s:
                beat_s += HEARTBEAT_S
                for pair, end in cursors.items():
                    await websocket.send_json(
                        {
                            "type": "heartbeat",
                            "sequence": end * 3,
                            "last_trade_id": end - 1,
                            "product_id": pair.replace("/", "-"),
                            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
                        }
                    )

    async def _update(self, websocket: web.WebSocketResponse, pair: str, first: int, end: int, number: int) -> None:
        faults = self.faults
        if faults.malformed_every and number % faults.malformed_every == 0:
            await websocket.send_str(MALFORMED)
        rows = self.rows(pair, first, end)
        for row in rows[::-1] if faults.reorder else rows:
            trade_id = row["trade_id"]
            if faults.drop_every and trade_id % faults.drop_every < faults.drop_run:
                continue
            match = self._match(pair, row)
            if faults.bad_trade_every and trade_id % faults.bad_trade_every == 0:
                match["price"] = f"-{match['price']}"
            for _ in range(1 + bool(faults.duplicate_every and trade_id % faults.duplicate_every == 0)):
                await websocket.send_json(match)
