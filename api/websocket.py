"""The WebSocket side of the feed: one reader and one writer for each connection."""

import asyncio
import contextlib
import logging
import time
from typing import Any

from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect

from api.context import ApiContext
from api.conversation import Conversation
from api.hub import Hub, Subscriber
from api.messages import Failure, Problem, encode

__all__ = ["feed_socket"]

log = logging.getLogger("tickcast.api")

CLOSE_S = 3.0
"""How long a dropped client may take to read its close frame, s."""
TRY_AGAIN = 1013
TOO_BIG = 1009
POLICY = 1008

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
        subscriber = context.hub.join()
        if subscriber is None:
            await socket.close(TRY_AGAIN, "too-many-connections")
            return
        conversation = Conversation(subscriber, context.hub, context.view, context.settings, context.session)
        subscriber.put((conversation.hello(),))
        try:
            await _converse(socket, context, subscriber, conversation)
        finally:
            context.hub.leave(subscriber)


async def _converse(socket: Socket, context: ApiContext, subscriber: Subscriber, conversation: Conversation) -> None:
    tasks = [
        asyncio.create_task(_read(socket, context, subscriber, conversation)),
        asyncio.create_task(_write(socket, context.hub, subscriber)),
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
        # uvicorn sends nothing, not even a close, while the peer does not read: then give up without it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await socket.close(*subscriber.closing)


async def _write(socket: Socket, hub: Hub, subscriber: Subscriber) -> None:
    while True:
        frame = await subscriber.next()
        subscriber.sending_since_s = time.monotonic()
        await socket.send_text(frame)
        subscriber.sending_since_s = None
        hub.sent += 1


async def _read(socket: Socket, context: ApiContext, subscriber: Subscriber, conversation: Conversation) -> None:
    limit = context.settings.ws_message_max_bytes
    while True:
        event = await socket.receive()
        if event["type"] != "websocket.receive":
            return
        text = event.get("text")
        size = len(event.get("bytes") or b"") if text is None else len(text.encode())
        if size > limit:
            context.hub.drop(subscriber, TOO_BIG, "message-too-big")
            return
        if subscriber.full:
            context.hub.drop(subscriber, POLICY, "slow-consumer")
            return
        if text is None:
            subscriber.put((encode(Failure(None, None, Problem("bad-json", "a message is one text frame"))),))
        else:
            subscriber.put(conversation.answer(text))
