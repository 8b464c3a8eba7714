"""The AsyncAPI 3.0 document of the feed, made from the structs that are sent, and a page of it without scripts."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any, Final, Literal, cast

import msgspec
from litestar import MediaType, Request, get

from api import messages
from api.conversation import HEARTBEAT_S
from api.reference import STYLE
from api.views import CHANNELS, RECORD_OF, Channel, Record

__all__ = ["FEED_PAGES", "document"]

REFS: Final = "#/components/schemas/{name}"
DESCRIPTION: Final = f"""Forecasts, candles and what became of the forecasts, as they are made.

One text frame is one JSON object. Ignore message types and fields that you do not know. After `hello` subscribe to a
channel and pairs: a snapshot comes, then updates. `seq` counts per channel and pair within one session; `cursor`
outlives it: resume from it after a lost connection. A heartbeat comes every {HEARTBEAT_S:g} s. docs/feed.md tells all
of it, `api.client` is a client."""
_ASKED: Final[dict[str, tuple[type[msgspec.Struct], tuple[str, ...]]]] = {
    "subscribe": (messages.Subscribe, ("ack", "failure")),
    "unsubscribe": (messages.Unsubscribe, ("ack", "failure")),
    "ping": (messages.Ping, ("pong", "failure")),
}
_TOLD: Final[dict[str, type[msgspec.Struct]]] = {
    "hello": messages.Hello,
    "heartbeat": messages.Heartbeat,
    "ack": messages.Ack,
    "pong": messages.Pong,
    "failure": messages.Failure,
}


def _data_of(channel: Channel, record: type[Record]) -> type[msgspec.Struct]:
    """Make `Data` of one channel: there all channels share one struct, which no schema can tell apart."""
    narrower: dict[str, Any] = {"channel": Literal[channel], "data": list[record]}  # type: ignore[valid-type]  # both are known at run time only
    fields = [(field.name, narrower.get(field.name, field.type)) for field in msgspec.structs.fields(messages.Data)]
    name = "".join(word.title() for word in channel.split("-"))
    about = {"__doc__": f"Records of `{channel}`."}
    made: Any = msgspec.defstruct(f"{name}Data", fields, frozen=True, namespace=about)
    return cast("type[msgspec.Struct]", made)


@cache
def _structs() -> dict[str, type[msgspec.Struct]]:
    data: dict[str, type[msgspec.Struct]] = {
        f"data-{channel}": _data_of(channel, RECORD_OF[channel]) for channel in CHANNELS
    }
    return {**{name: struct for name, (struct, _) in _ASKED.items()}, **_TOLD, **data}


def document(host: str) -> dict[str, Any]:
    """Make the document for the server at `host` (name and port)."""
    structs = _structs()
    refs, schemas = msgspec.json.schema_components(structs.values(), ref_template=REFS)
    payloads = dict(zip(structs, refs, strict=True))
    told = [*_TOLD, *(f"data-{channel}" for channel in CHANNELS)]
    replies = {reply for _, some in _ASKED.values() for reply in some}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "tickcast feed", "version": "1.0", "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {
            "this": {"host": host, "protocol": "ws", "security": [{"$ref": "#/components/securitySchemes/key"}]}
        },
        "channels": {
            "feed": {
                "address": "/v1/feed",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in structs},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            **{name: _asked(name, some) for name, (_, some) in _ASKED.items()},
            "tell": {
                "action": "send",
                "channel": {"$ref": "#/channels/feed"},
                "messages": [_message(name) for name in told if name not in replies],
            },
        },
        "components": {
            "messages": {name: _described(name, structs[name], payloads[name]) for name in structs},
            "schemas": schemas,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key with the scope `feed`; not needed where anonymous reading is allowed.",
                }
            },
        },
    }


def _asked(name: str, replies: tuple[str, ...]) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": "#/channels/feed"},
        "messages": [_message(name)],
        "reply": {"channel": {"$ref": "#/channels/feed"}, "messages": [_message(reply) for reply in replies]},
    }


def _message(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/feed/messages/{name}"}


def _described(name: str, struct: type[msgspec.Struct], payload: Any) -> dict[str, Any]:
    about = (struct.__doc__ or "").strip().partition("\n")[0]
    return {"name": name, "title": name, "summary": about, "payload": payload}


@get("/schema/asyncapi.json", media_type=MediaType.JSON, include_in_schema=False, sync_to_thread=False)
def asyncapi_json(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Give the document."""
    return document(request.base_url.netloc)


@get("/schema/asyncapi", media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def asyncapi_page(request: Request[Any, Any, Any]) -> str:
    """Show it."""
    found = document(request.base_url.netloc)
    title = escape(found["info"]["title"])
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in found["info"]["description"].split("\n\n"))
    parts = "".join(_operation(name, operation, found) for name, operation in found["operations"].items())
    schemas = "".join(_schema(name, schema) for name, schema in sorted(found["components"]["schemas"].items()))
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>{STYLE}</head><body>"
        f"<h1>{title}</h1><p><code>ws://{escape(request.base_url.netloc)}/v1/feed</code> · "
        f"<a href='/schema/asyncapi.json'>asyncapi.json</a> · <a href='/schema'>REST</a></p>{paragraphs}"
        f"{parts}{schemas}</body></html>"
    )


def _operation(name: str, operation: dict[str, Any], found: dict[str, Any]) -> str:
    who = "client" if operation["action"] == "receive" else "server"
    rows = "".join(_row(message, found) for message in operation["messages"])
    reply = operation.get("reply", {}).get("messages", ())
    answers = "".join(_row(message, found) for message in reply)
    more = f"<p>answered by</p><table>{answers}</table>" if answers else ""
    return f"<h2>{who}: <code>{escape(name)}</code></h2><table>{rows}</table>{more}"


def _row(message: dict[str, str], found: dict[str, Any]) -> str:
    one = found["components"]["messages"][message["$ref"].rpartition("/")[2]]
    schema = one["payload"]["$ref"].rpartition("/")[2]
    return (
        f"<tr><td><code>{escape(one['name'])}</code></td><td><a href='#{schema}'>{schema}</a></td>"
        f"<td>{escape(one['summary'])}</td></tr>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{_type(what)}</td></tr>"
        for field, what in schema.get("properties", {}).items()
    )
    return f"<h3 id='{escape(name)}'><code>{escape(name)}</code></h3><table>{rows}</table>"


def _type(what: dict[str, Any]) -> str:
    if "$ref" in what:
        name = escape(what["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    if "enum" in what:
        return escape(" | ".join(map(str, what["enum"])))
    if "anyOf" in what:
        return " | ".join(_type(one) for one in what["anyOf"])
    if what.get("type") == "array" and isinstance(what.get("items"), dict):
        return f"array of {_type(what['items'])}"
    return escape(str(what.get("type", "any")))


FEED_PAGES: Final = [asyncapi_json, asyncapi_page]
