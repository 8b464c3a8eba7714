"""What a client may say on the feed, and what it is answered. No I/O: text in, texts out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from api.messages import SIMULATED, Ack, Data, Failure, Hello, Params, Pong, Problem, Subscribed, encode
from api.times import now_ms
from api.views import CHANNELS, Channel, MarketView, Update

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.hub import Hub, Subscriber
    from api.settings import ApiSettings

    Handler = Callable[[object, int | str | None], list[bytes | Update]]

__all__ = ["ALL_PAIRS", "HEARTBEAT_S", "Conversation"]

HEARTBEAT_S = 1.0
ALL_PAIRS = "*"
"""Stands for every pair known at that moment."""
_CHANNELS: dict[str, Channel] = {channel: channel for channel in CHANNELS}


class _RefusedError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(code, message)


class Conversation:
    """One connection's requests."""

    def __init__(
        self,
        subscriber: Subscriber,
        hub: Hub,
        view: MarketView,
        settings: ApiSettings,
        session: str,
    ) -> None:
        self._subscriber = subscriber
        self._hub = hub
        self._view = view
        self._settings = settings
        self._session = session
        self._methods: dict[str, Handler] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "ping": self._ping,
        }

    def hello(self) -> bytes:
        """Make the first message."""
        label = self._settings.label
        return encode(
            Hello(
                "v1",
                self._session,
                HEARTBEAT_S,
                self._settings.ws_message_max_bytes,
                self._settings.ws_subscriptions_max,
                label,
                label == SIMULATED,
                now_ms(),
            )
        )

    def answer(self, text: str) -> list[bytes | Update]:
        """Carry out one request; a refused one changes nothing."""
        method: str | None = None
        req_id: int | str | None = None
        try:
            request = _parse(text)
            req_id = _req_id(request)
            method = _method(request)
            return self._handler(method)(request.get("params"), req_id)
        except _RefusedError as refused:
            return [encode(Failure(method, req_id, refused.problem))]

    def is_ahead(self, text: str) -> bool:
        """Whether the request resumes from beyond what was read here: then it may be answered better a little later."""
        if '"resume"' not in text:
            return False
        try:
            params, channel = self._params(_parse(text).get("params"))
        except _RefusedError:
            return False
        return any(self._view.is_ahead(channel, pair, cursor) for pair, cursor in params.resume.items())

    def _handler(self, method: str) -> Handler:
        handler = self._methods.get(method)
        if handler is None:
            raise _RefusedError("unknown-method", f"`method` must be one of {', '.join(self._methods)}")
        return handler

    def _subscribe(self, raw: object, req_id: int | str | None) -> list[bytes | Update]:
        params, channel = self._params(raw)
        known = self._view.pairs().union(self._settings.pairs)
        pairs = sorted(known) if ALL_PAIRS in params.pairs else list(dict.fromkeys(params.pairs))
        topics: list[tuple[Channel, str]] = [(channel, pair) for pair in pairs]
        unknown = [pair for pair in pairs if pair not in known]
        if unknown:
            raise _RefusedError("unknown-pair", f"no such pair: {', '.join(unknown)[:200]}")
        limit = self._settings.ws_subscriptions_max
        if len(self._subscriber.topics.union(topics)) > limit:
            raise _RefusedError(
                "too-many-subscriptions", f"one connection may hold {limit} channel and pair combinations"
            )
        data: list[bytes | Update] = []
        gaps: list[str] = []
        cursors: dict[str, int] = {}
        for topic in topics:
            pair = topic[1]
            missed = self._view.since(*topic, params.resume[pair]) if pair in params.resume else None
            if missed is not None:
                data += missed
            elif pair in params.resume:
                gaps.append(pair)
                data.append(self._snapshot(*topic))
            elif params.snapshot:
                data.append(self._snapshot(*topic))
            else:
                cursors[pair] = self._view.position(*topic)[1]
            self._hub.subscribe(self._subscriber, topic)
        result = Subscribed(channel, pairs, gaps, cursors)
        return [encode(Ack("subscribe", req_id, result)), *data]

    def _unsubscribe(self, raw: object, req_id: int | str | None) -> list[bytes | Update]:
        params, channel = self._params(raw)
        mine = sorted(pair for subscribed, pair in self._subscriber.topics if subscribed == channel)
        pairs = mine if ALL_PAIRS in params.pairs else list(dict.fromkeys(params.pairs))
        topics: list[tuple[Channel, str]] = [(channel, pair) for pair in pairs]
        missing = [topic[1] for topic in topics if topic not in self._subscriber.topics]
        if missing:
            raise _RefusedError("not-subscribed", f"not subscribed to {channel} of {', '.join(missing)[:200]}")
        for topic in topics:
            self._hub.unsubscribe(self._subscriber, topic)
        return [encode(Ack("unsubscribe", req_id, Subscribed(channel, pairs)))]

    def _ping(self, _raw: object, req_id: int | str | None) -> list[bytes | Update]:
        return [encode(Pong(req_id, now_ms()))]

    def _params(self, raw: object) -> tuple[Params, Channel]:
        try:
            params = msgspec.convert(raw, Params)
        except msgspec.ValidationError as error:
            raise _RefusedError("bad-params", f"`params`: {error}") from None
        channel = _CHANNELS.get(params.channel)
        if channel is None:
            raise _RefusedError("unknown-channel", f"`channel` must be one of {', '.join(CHANNELS)}")
        if not params.pairs:
            raise _RefusedError("bad-params", "`params`: `pairs` names at least one pair")
        return params, channel

    def _snapshot(self, channel: Channel, pair: str) -> bytes:
        seq, cursor = self._view.position(channel, pair)
        records = self._view.snapshot(channel, pair)
        source = records[-1].source if records else self._settings.label
        return encode(Data(channel, "snapshot", pair, seq, cursor, source, source == SIMULATED, records))


def _parse(text: str) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise _RefusedError("bad-json", "a message is one JSON object") from None
    if not isinstance(request, dict):
        raise _RefusedError("bad-json", "a message is one JSON object")
    return request


def _method(request: dict[str, Any]) -> str:
    method = request.get("method")
    if not isinstance(method, str):
        raise _RefusedError("bad-request", "`method` must be a string")
    return method[:40]


def _req_id(request: dict[str, Any]) -> int | str | None:
    req_id = request.get("req_id")
    if req_id is not None and (isinstance(req_id, bool) or not isinstance(req_id, int | str)):
        raise _RefusedError("bad-request", "`req_id` must be an integer or a string")
    return req_id
