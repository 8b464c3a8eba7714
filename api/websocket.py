"""The WebSocket side of the feed: one reader for each connection; the hub writes."""

import asyncio
import contextlib
import logging
import time
from typing import Any, cast

from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect

from api.caller import caller_of
from api.context import ApiContext
from api.conversation import Conversation
from api.hub import POLICY, TRY_AGAIN, Subscriber
from api.messages import Failure, Problem, encode
from api.pace import Pace
from api.wire import Wire, wire_of

__all__ = ["feed_socket"]

log = logging.getLogger("tickcast.api")

CLOSE_S = 3.0
"""How long a dropped client may take to read its close frame, s."""
TOO_BIG = 1009
NO_TEXT = encode(Failure(None, None, Problem("bad-json", "a message is one text frame")))

Socket = WebSocket[Any, Any, Any]
_GONE = (OSError, WebSocketDisconnect)
"""uvicorn raises an OSError, Litestar its own, when the peer has left."""


@websocket("/v1/feed")
async def feed_socket(socket: Socket, context: NamedDependency[ApiContext]) -> None:
    """Talk to one client until either side closes."""
    await socket.accept()
    with contextlib.suppress(*_GONE):
        if not context.feed.ready:
            await socket.close(TRY_AGAIN, "catching-up")
            return
        scope = cast("dict[str, Any]", socket.scope)
        wire = wire_of(scope)
        joined = context.hub.join(wire, caller_of(scope))
        if not isinstance(joined, Subscriber):
            await socket.close(*joined)
            return
        try:
            await _converse(socket, context, joined, wire)
        finally:
            context.hub.leave(joined)


async def _converse(socket: Socket, context: ApiContext, subscriber: Subscriber, wire: Wire) -> None:
    conversation = Conversation(subscriber, context.hub, context.view, context.settings, context.session)
    subscriber.answer((conversation.hello(),))
    tasks = [
        asyncio.create_task(_read(socket, context, subscriber, conversation)),
        asyncio.create_task(subscriber.closed.wait()),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, _GONE):
            raise result
    if subscriber.closing is not None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await socket.close(*subscriber.closing)
        except TimeoutError:
            # uvicorn sends nothing, not even a close, while the peer does not read.
            wire.abort()


async def _read(socket: Socket, context: ApiContext, subscriber: Subscriber, conversation: Conversation) -> None:
    settings = context.settings
    pace = Pace(settings.ws_messages_per_s, settings.ws_messages_burst, time.monotonic())
    while True:
        # One request at a time, and none while answers wait: uvicorn then stops to read, and so does the client's TCP.
        await subscriber.drained()
        event = await socket.receive()
        if event["type"] != "websocket.receive":
            return
        now_s = time.monotonic()
        if subscriber.has_subscribed:
            subscriber.spoke_at_s = now_s
        if not pace.allows(now_s):
            context.hub.drop(subscriber, POLICY, "too-many-messages")
            return
        text = event.get("text")
        size = len(event.get("bytes") or b"") if text is None else len(text.encode())
        if size > settings.ws_message_max_bytes:
            context.hub.drop(subscriber, TOO_BIG, "message-too-big")
            return
        if text is None:
            subscriber.answer((NO_TEXT,))
        else:
            await _caught_up(context, conversation, text)
            subscriber.answer(conversation.answer(text))


async def _caught_up(context: ApiContext, conversation: Conversation, text: str) -> None:
    """Wait a little for what the client has already seen: from another process that was further than this one."""
    deadline_s = time.monotonic() + 2 * context.settings.feed_probe_s
    while conversation.is_ahead(text) and time.monotonic() < deadline_s:  # noqa: ASYNC110  # rare: no event for it
        await asyncio.sleep(context.settings.feed_probe_s / 20)
