from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.asyncapi import document
from api.caller import Caller
from api.conversation import Conversation
from api.hub import Hub, Limits, Subscriber
from api.messages import Heartbeat, encode, update_message
from api.settings import ApiSettings
from api.views import CHANNELS, MarketView, Record, Update
from tests.api.pipe import Pipe
from tests.api.stack import Api
from tests.support.samples import candle, forecast, forecast_error

OFFICIAL = Path(__file__).parent / "data/asyncapi-3.0.0.schema.json.gz"
"""`schemas/3.0.0-without-$id.json` of the npm package @asyncapi/specs 6.11.1 (Apache-2.0)."""
RECORDS: dict[str, Record] = {
    "forecasts": forecast(),
    "candles": candle(),
    "candles-live": candle(closed=False),
    "errors": forecast_error(),
}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(found: dict[str, Any], reference: str) -> Any:
    node: Any = found
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def check(found: dict[str, Any], name: str, text: bytes) -> None:
    """Hold a text against the schema of one message."""
    schema = {**found, **found["components"]["messages"][name]["payload"]}
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def test_document_is_valid_asyncapi_3() -> None:
    found = document("127.0.0.1:18000")
    official = json.loads(gzip.decompress(OFFICIAL.read_bytes()))
    problems = list(jsonschema.Draft7Validator(official).iter_errors(found))
    assert [f"{list(one.absolute_path)}: {one.message[:200]}" for one in problems] == []
    for reference in set(references(found)):
        assert resolve(found, reference)


def test_every_message_is_as_the_document_says() -> None:
    found = document("127.0.0.1:18000")
    settings, view, hub = ApiSettings(source="sim"), MarketView(history=5, ring=5), Hub(Limits.of(ApiSettings()))
    subscriber = hub.join(Pipe(), Caller("192.0.2.1"))
    assert isinstance(subscriber, Subscriber)
    conversation = Conversation(subscriber, hub, view, settings, "session")
    check(found, "hello", conversation.hello())
    check(found, "heartbeat", encode(Heartbeat(1, 2, stale=False)))
    for channel in CHANNELS:
        view.apply(channel, RECORDS[channel], 7)
        check(found, f"data-{channel}", update_message(Update(channel, "BTC/USD", 1, 7, RECORDS[channel])))
        params = {"channel": channel, "pairs": ["BTC/USD"], "resume": {"BTC/USD": 999}}
        for method, answers in (("subscribe", ["ack", f"data-{channel}"]), ("unsubscribe", ["ack"])):
            asked = json.dumps({"method": method, "params": params, "req_id": 1})
            check(found, method, asked.encode())
            for name, text in zip(answers, conversation.answer(asked), strict=True):
                assert isinstance(text, bytes)
                check(found, name, text)
    for asked, answer in (('{"method":"ping"}', "pong"), ('{"method":"shout"}', "failure"), ("{", "failure")):
        (text,) = conversation.answer(asked)
        assert isinstance(text, bytes)
        check(found, answer, text)
    with pytest.raises(jsonschema.ValidationError):
        check(found, "data-errors", update_message(Update("candles", "BTC/USD", 1, 7, candle())))


@pytest.mark.component
def test_document_and_page_are_served(api: Api) -> None:
    found = api.get("/schema/asyncapi.json").json()
    assert found == document(api.http.base_url.netloc.decode())
    page = api.get("/schema/asyncapi")
    assert page.headers["Content-Type"].startswith("text/html")
    assert all(f"<code>data-{channel}</code>" in page.text for channel in CHANNELS)
    assert "/schema/asyncapi" in api.get("/schema").text
