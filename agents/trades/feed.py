"""One WebSocket to an exchange for many pairs: subscribe, watch for silence, reconnect."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from agents.trades.pacing import Backoff
from agents.trades.rest import on_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.trades.exchange import Decoded, Exchange
    from agents.trades.settings import IngestSettings

    Socket = aiohttp.ClientWebSocketResponse[bool]

__all__ = ["SOCKET_FRAME_BYTES", "Feed", "proxy_of"]

log = logging.getLogger("tickcast.trades")

SOCKET_FRAME_BYTES: Final = 2 << 20
"""Frames above 1 MiB are refused one by one; above this, unpacked, the connection goes."""
OPEN_S: Final = 10.0
CLOSE_S: Final = 1.0
"""Patience with a handshake, and with the answer to a goodbye."""
PING_S: Final = 5.0
ACK_S: Final = 10.0
DATA: Final = frozenset((aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY))
LOOKS: Final = 8
"""How often the silence watch is wound up in `silence_s`: one timer a frame costs more than reading the frame."""
LOOK_S: Final = 1.0
"""At most between two looks while frames come."""


def proxy_of(url: str) -> str | None:
    """Proxy of the environment for `url`; aiohttp itself would look for one of `wss` alone, and few set that."""
    parts = urlsplit(url)
    if on_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("https" if parts.scheme == "wss" else "http")


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
        self._started_s = 0.0
        self._pinged_s = 0.0
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
                await self._connection(backoff)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = str(error) or type(error).__name__
            self._acked.clear()
            self.reconnects += 1
            wait_s = backoff.next_s()
            lived_s = time.monotonic() - since_s
            log.warning("feed lost after %.1f s: %s; again in %.1f s", lived_s, reason, wait_s)
            await asyncio.sleep(wait_s)

    async def _connection(self, backoff: Backoff) -> NoReturn:
        """Connect and serve the connection; always ends with an exception.

        aiohttp's reader is in C and stops reading the socket while about 128 kB wait; its own ping is off: the
        exchange's ping and the silence watch decide.
        """
        timeout = aiohttp.ClientTimeout(total=OPEN_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.ws_connect(
                self._url,
                max_msg_size=SOCKET_FRAME_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                proxy=proxy_of(self._url),
            ) as websocket,
        ):
            silence_s = self._settings.silence_s
            try:
                async with asyncio.timeout(None) as watch:
                    await self._session(websocket, backoff, watch)
            except TimeoutError:
                if watch.expired():
                    raise TimeoutError(f"no frame for {silence_s:g} s") from None
                raise

    async def _session(self, websocket: Socket, backoff: Backoff, watch: asyncio.Timeout) -> NoReturn:
        """Serve one connection; always ends with an exception."""
        self.refused.clear()
        self._req_id += 1
        self._subscribe_id = self._req_id
        look_s = min(self._settings.silence_s / LOOKS, LOOK_S)
        # Wound up at looks alone, the watch is a look longer: silence is never told before `silence_s` have passed.
        watch_s = self._settings.silence_s + look_s
        clock_s = asyncio.get_running_loop().time
        self._started_s = self._pinged_s = looked_s = clock_s()
        watch.reschedule(looked_s + watch_s)
        for message in self._exchange.subscribe(self._pairs, self._subscribe_id):
            await websocket.send_str(message)
        while True:
            if not self.room.is_set():
                watch.reschedule(None)  # the silence is ours: nobody reads
                await self.room.wait()
                watch.reschedule(clock_s() + watch_s)
            frame = await websocket.receive()
            if frame.type not in DATA:
                raise ConnectionError(_goodbye(websocket, frame.data))
            decoded = self._exchange.decode(frame.data, self._known, time.time_ns())
            if decoded.kind != "trades":
                self._follow(decoded)
            self._on_frame(decoded)
            now_s = clock_s()
            if now_s - looked_s >= look_s:
                looked_s = now_s
                watch.reschedule(now_s + watch_s)
                await self._look(websocket, backoff, decoded, now_s)

    async def _look(self, websocket: Socket, backoff: Backoff, decoded: Decoded, now_s: float) -> None:
        """Do what need not be done at every frame: acks in time, back-off, ping."""
        age_s = now_s - self._started_s
        if not self.subscribed and age_s > ACK_S:
            raise TimeoutError(f"subscription not acknowledged within {ACK_S:g} s")
        if decoded.kind in ("trades", "heartbeat") and age_s >= self._settings.stable_s:
            backoff.reset()
        if now_s - self._pinged_s > PING_S:
            self._pinged_s = now_s
            self._req_id += 1
            if ping := self._exchange.ping(self._req_id):
                await websocket.send_str(ping)

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


def _goodbye(websocket: Socket, told: object) -> str:
    """Say why a connection ended."""
    return f"connection closed with code {websocket.close_code}" + (f": {told}" if told else "")
