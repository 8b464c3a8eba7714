"""The client: one connection at a time, kept up until the block ends."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from api.client.errors import FeedClientError, FeedRefusedError, FeedRequestError
from api.client.events import Event, State
from api.client.positions import Positions, SequenceHoleError, Topic, decode_message
from api.client.talk import Head, decode_head, feed_url, refusal, request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from websockets.asyncio.client import ClientConnection

    from api.views import Channel

__all__ = ["FeedClient"]

log = logging.getLogger("tickcast.client")

REFUSALS: Final = frozenset((400, 401, 403, 404, 421))
"""HTTP answers to the handshake that another try does not change."""
CONNECT_S: Final = 10.0
MESSAGE_MAX_BYTES: Final = 1 << 20
PAIRS_AT_ONCE: Final = 40
"""Pairs of one request with their cursors: well below the server's least limit that is in use (4,096 bytes)."""


class _LostError(Exception):
    """The connection is of no more use."""


class _Asked(msgspec.Struct, frozen=True):
    """A request that is not answered yet."""

    params: dict[str, Any]
    answer: asyncio.Future[Head] | None
    """None: the client's own, after a reconnect."""


class FeedClient:
    """Follow channels and pairs of one server; iterate over it for the events.

    A lost connection is made again with growing, jittered waits, and resumed: each update comes once and in order, or
    a `Gap` says where some may be missing. Memory is bounded: who does not take the events stops the reading, and the
    server then ends the connection (`slow-consumer`), which is resumed too.

    Parameters
    ----------
    url
        `http(s)://` or `ws(s)://` and the host; `/v1/feed` is added where there is no path.
    key
        API key with the scope `feed`, sent as bearer token; None: anonymous.
    silence_s
        Without any message (the server sends a heartbeat each second) for so long the connection counts as dead (s).
    answer_s
        How long a request may wait for its answer, reconnects included (s).
    queue_max
        Events that wait to be taken (count).
    proxy
        As `websockets.connect` takes it: True for that of the environment.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        silence_s: float = 5.0,
        answer_s: float = 30.0,
        backoff_min_s: float = 0.2,
        backoff_max_s: float = 10.0,
        queue_max: int = 1_000,
        proxy: str | Literal[True] | None = True,
    ) -> None:
        self._url = feed_url(url)
        self._options: dict[str, Any] = {
            "additional_headers": {} if key is None else {"Authorization": f"Bearer {key}"},
            "proxy": proxy,
        }
        self._silence_s, self._answer_s = silence_s, answer_s
        self._backoff_min_s, self._backoff_max_s = backoff_min_s, backoff_max_s
        self._delay_s = backoff_min_s
        self._positions = Positions()
        self._events: deque[Event] = deque()
        self._queue_max = queue_max
        self._more, self._room, self._up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._asked: dict[int | str | None, _Asked] = {}
        self._requests = 0
        self._socket: ClientConnection | None = None
        self._state = State(connected=False, stale=False, reason="not yet connected")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="tickcast-feed-client")
        self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def cursors(self) -> dict[Topic, int]:
        """Channel and pair to the cursor of the last update read; events that wait to be taken are counted in."""
        return self._positions.cursors()

    async def subscribe(
        self,
        channel: Channel,
        pairs: Iterable[str],
        *,
        snapshot: bool = True,
        resume: Mapping[str, int] | None = None,
    ) -> list[str]:
        """Follow a channel of these pairs; gives the pairs (`"*"` stands for every one that is known now).

        Parameters
        ----------
        resume
            Pair to the cursor after which updates are wanted instead of a snapshot.

        Raises
        ------
        FeedRequestError
            Where the server refuses it or does not answer.
        FeedRefusedError
            Where the server does not let this client in.
        """
        params = {"channel": channel, "pairs": list(pairs), "snapshot": snapshot, "resume": dict(resume or {})}
        found: list[str] = (await self._ask("subscribe", params)).result["pairs"]
        return found

    async def unsubscribe(self, channel: Channel, pairs: Iterable[str]) -> None:
        """Follow them no longer; raises as `subscribe` does."""
        names = list(pairs)
        for pair in names:
            self._positions.drop((channel, pair))
        try:
            await self._ask("unsubscribe", {"channel": channel, "pairs": names})
        except FeedRequestError as error:
            # A connection that was made anew in between has not subscribed to them any more.
            if error.code != "not-subscribed":
                raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Give the next event; FeedRefusedError where the server does not let this client in."""
        while not self._events:
            self._check()
            self._more.clear()
            await self._more.wait()
        self._room.set()
        return self._events.popleft()

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self._more.set()
        self._up.set()

    def _check(self) -> None:
        if self._task is None or self._task.cancelled():
            raise FeedClientError("the client is not open: use it within `async with`")
        if self._task.done():
            self._task.result()

    async def _ask(self, method: str, params: dict[str, Any]) -> Head:
        answer: Head | None = None
        try:
            async with asyncio.timeout(self._answer_s):
                while answer is None:
                    self._check()
                    await self._up.wait()
                    answer = await self._ask_once(method, params)
        except TimeoutError:
            raise FeedRequestError("no-answer", f"none within {self._answer_s:g} s: {self._state.reason}") from None
        if not answer.success:
            raise FeedRequestError(answer.error.get("code", ""), answer.error.get("message", ""))
        return answer

    async def _ask_once(self, method: str, params: dict[str, Any]) -> Head | None:
        """Give the answer, None where the connection was lost before it came."""
        socket = self._socket
        if socket is None:
            await asyncio.sleep(0)
            return None
        future: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        req_id = self._note(params, future)
        try:
            await socket.send(request(method, params, req_id))
            return await future
        except (ConnectionClosed, _LostError):
            return None
        finally:
            self._asked.pop(req_id, None)

    def _note(self, params: dict[str, Any], answer: asyncio.Future[Head] | None) -> int:
        self._requests += 1
        self._asked[self._requests] = _Asked(params, answer)
        return self._requests

    async def _run(self) -> None:
        while True:
            try:
                async with connect(
                    self._url,
                    compression=None,
                    max_size=MESSAGE_MAX_BYTES,
                    open_timeout=CONNECT_S,
                    close_timeout=1,
                    ping_interval=None,  # the server pings, and its heartbeats are watched
                    **self._options,
                ) as socket:
                    await self._follow(socket)
            except InvalidURI as error:
                raise FeedRefusedError(f"{self._url} is no address of a feed: {error}") from error
            except InvalidStatus as error:
                if error.response.status_code in REFUSALS:
                    raise FeedRefusedError(refusal(error)) from error
                reason = refusal(error)
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, _LostError, SequenceHoleError) as error:
                reason = str(error) or type(error).__name__
                if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.reason == "feed-reset":
                    await self._tell(*self._positions.reset())
            except msgspec.MsgspecError as error:
                reason = f"not a message of the feed: {error}"
            self._down(reason)
            await self._tell(self._state)
            # Jitter keeps many clients from knocking at the same moment.
            await asyncio.sleep(self._delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            self._delay_s = min(self._delay_s * 2, self._backoff_max_s)

    def _down(self, reason: str) -> None:
        self._up.clear()
        self._socket = None
        self._state = State(connected=False, stale=False, reason=reason)
        for asked in self._asked.values():
            if asked.answer is not None and not asked.answer.done():
                asked.answer.set_exception(_LostError(reason))
        self._asked.clear()

    async def _follow(self, socket: ClientConnection) -> None:
        hello = decode_head(await self._hear(socket))
        if hello.type != "hello":
            raise _LostError("the server does not begin with a hello")
        self._positions.connected(hello.session)
        for (channel, snapshot), pairs in self._positions.wanted().items():
            for start in range(0, len(pairs), PAIRS_AT_ONCE):
                await self._subscribe_again(socket, channel, pairs[start : start + PAIRS_AT_ONCE], snapshot=snapshot)
        self._socket = socket
        self._state = State(connected=True, stale=False, reason="")
        await self._tell(self._state)
        self._up.set()
        while True:
            await self._take(await self._hear(socket))

    async def _subscribe_again(
        self, socket: ClientConnection, channel: Channel, pairs: list[str], *, snapshot: bool
    ) -> None:
        told = self._positions.cursors()
        resume = {pair: told[channel, pair] for pair in pairs if (channel, pair) in told}
        params = {"channel": channel, "pairs": pairs, "snapshot": snapshot, "resume": resume}
        await socket.send(request("subscribe", params, self._note(params, None)))

    async def _hear(self, socket: ClientConnection) -> bytes:
        try:
            async with asyncio.timeout(self._silence_s):
                return await socket.recv(decode=False)
        except TimeoutError:
            raise _LostError(f"silence for {self._silence_s:g} s") from None

    async def _take(self, text: bytes) -> None:
        head = decode_head(text)
        if head.type == "heartbeat":
            # Not before: a server that accepts and closes at once must not be asked ten times a second.
            self._delay_s = self._backoff_min_s
            if head.stale != self._state.stale:
                self._state = State(connected=True, stale=head.stale, reason="")
                await self._tell(self._state)
        elif head.channel:
            event = self._positions.take(decode_message(text))
            if event is not None:
                await self._tell(event)
        elif head.success is not None:
            await self._answered(head)

    async def _answered(self, head: Head) -> None:
        asked = self._asked.pop(head.req_id, None)
        if asked is None:
            return
        if head.success and "resume" in asked.params:
            await self._subscribed(head, asked.params)
        if asked.answer is None:
            if not head.success:
                raise _LostError(f"subscribing again: {head.error.get('message')}")
        elif not asked.answer.done():
            asked.answer.set_result(head)

    async def _subscribed(self, head: Head, params: dict[str, Any]) -> None:
        channel = params["channel"]
        told = head.result.get("cursors", {}) | params["resume"]
        for pair in head.result["pairs"]:
            self._positions.want((channel, pair), told.get(pair), snapshot=params["snapshot"])
        await self._tell(*self._positions.missed(channel, head.result.get("gaps", ())))

    async def _tell(self, *events: Event) -> None:
        for event in events:
            while len(self._events) >= self._queue_max:
                self._room.clear()
                await self._room.wait()
            self._events.append(event)
            self._more.set()
