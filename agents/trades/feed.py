"""One WebSocket to an exchange for many pairs: subscribe, watch for silence, reconnect."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from agents.trades.pacing import Backoff
from agents.trades.rest import on_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.trades.exchange import Decoded, Exchange
    from agents.trades.settings import IngestSettings

__all__ = ["SOCKET_FRAMES", "SOCKET_FRAME_BYTES", "Feed"]

log = logging.getLogger("tickcast.trades")

SOCKET_FRAME_BYTES: Final = 2 << 20
"""Frames above 1 MiB are refused one by one; above this, unpacked, the connection goes."""
SOCKET_FRAMES: Final = 32
"""Frames that the socket holds before it stops reading: at most 64 MiB whatever the exchange sends."""
PING_S: Final = 5.0
ACK_S: Final = 10.0


class Feed:
    """Keeps the live feed up. Every decoded frame goes to `on_frame`."""

    def __init__(
        self,
        exchange: Exchange,
        settings: IngestSettings,
        pairs: tuple[str, ...],
        on_frame: Callable[[Decoded], None],
    ) -> None:
        self._exchange = exchange
        self._settings = settings
        self._url = settings.ws_url or exchange.ws_url
        self._pairs = pairs
        self._known = frozenset(pairs)
        self._on_frame = on_frame
        self._req_id = 0
        self._subscribe_id = 0
        self._acked: set[str] = set()
        self.refused: dict[str, str] = {}
        """Why a pair's subscription was refused."""
        self.system = ""
        """What the exchange calls its own state."""
        self.reconnects = 0
        self.room = asyncio.Event()
        """Cleared by the owner when it cannot take more: reading stops, and TCP tells the exchange."""
        self.room.set()

    @property
    def subscribed(self) -> bool:
        """Whether every pair was either acknowledged or refused on this connection."""
        return self._known <= self._acked | self.refused.keys()

    async def run(self) -> None:
        """Connect, read and connect again until cancelled."""
        backoff = Backoff(0.5, self._settings.backoff_max_s)
        while True:
            since_s = time.monotonic()
            try:
                async with connect(
                    self._url,
                    max_size=SOCKET_FRAME_BYTES,
                    max_queue=SOCKET_FRAMES,
                    ping_interval=None,  # the exchange's own ping below; the silence watch decides
                    close_timeout=1.0,
                    open_timeout=10.0,
                    proxy=None if on_loopback(self._url) else True,
                ) as websocket:
                    await self._session(websocket, backoff)
            except (ConnectionClosed, InvalidHandshake, InvalidURI, TimeoutError, OSError) as error:
                reason = str(error) or type(error).__name__
            self._acked.clear()
            self.reconnects += 1
            wait_s = backoff.next_s()
            lived_s = time.monotonic() - since_s
            log.warning("feed lost after %.1f s: %s; again in %.1f s", lived_s, reason, wait_s)
            await asyncio.sleep(wait_s)

    async def _session(self, websocket: ClientConnection, backoff: Backoff) -> None:
        """Serve one connection; always ends with an exception."""
        self.refused.clear()
        self._req_id += 1
        self._subscribe_id = self._req_id
        for message in self._exchange.subscribe(self._pairs, self._subscribe_id):
            await websocket.send(message)
        started_s = last_ping_s = time.monotonic()
        while True:
            await self.room.wait()
            quiet_s = self._settings.silence_s
            try:
                async with asyncio.timeout(quiet_s):
                    raw = await websocket.recv()
            except TimeoutError:
                raise TimeoutError(f"no frame for {quiet_s:g} s") from None
            decoded = self._exchange.decode(raw, self._known, time.time_ns())
            self._follow(decoded)
            self._on_frame(decoded)
            now_s = time.monotonic()
            if not self.subscribed and now_s - started_s > ACK_S:
                raise TimeoutError(f"subscription not acknowledged within {ACK_S:g} s")
            if decoded.kind in ("trades", "heartbeat") and now_s - started_s >= self._settings.stable_s:
                backoff.reset()
            if now_s - last_ping_s > PING_S:
                last_ping_s = now_s
                self._req_id += 1
                if ping := self._exchange.ping(self._req_id):
                    await websocket.send(ping)

    def _follow(self, decoded: Decoded) -> None:
        """Keep the connection's own state: acks, refusals, the exchange's status."""
        ours = decoded.req_id in (None, self._subscribe_id)
        if decoded.kind == "ack" and ours:
            self._acked.update(decoded.pairs)
        elif decoded.kind == "refused" and ours:
            if not decoded.pairs:  # it speaks of the whole request: too many, too fast
                raise ConnectionError(f"subscription refused: {decoded.text}")
            for pair in decoded.pairs:
                self.refused[pair] = decoded.text
                log.error("the exchange refuses %s: %s; check TICKCAST_PAIRS", pair, decoded.text)
        elif decoded.kind == "error":
            log.error("the exchange says: %s", decoded.text)
        elif decoded.kind == "status" and decoded.text and decoded.text != self.system:
            self.system = decoded.text
            level = logging.INFO if decoded.text == "online" else logging.WARNING
            log.log(level, "the exchange is %s", decoded.text)
