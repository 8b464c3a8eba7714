from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.client import Event, FeedClient, FeedRequestError, Gap, Snapshot, State, Update, events
from tests.api.stack import Api, Topics
from tests.support.samples import candle, forecast, forecast_error
from tests.support.waiting import wait_for

pytestmark = pytest.mark.component
WAIT_S = 60.0
ROOT = Path(__file__).parents[3]
QUICK: dict[str, Any] = {"proxy": None, "backoff_min_s": 0.05, "backoff_max_s": 0.3, "answer_s": WAIT_S}


async def take(feed: FeedClient, *kinds: type[Event], count: int = 1) -> list[Any]:
    """Give the next events of these kinds."""
    found: list[Any] = []
    async with asyncio.timeout(WAIT_S):
        async for event in feed:
            if isinstance(event, kinds):
                found.append(event)
            if len(found) == count:
                return found
    raise AssertionError("the client has ended")


def test_snapshot_then_updates_with_typed_records(api: Api, topics: Topics) -> None:
    pair = "TYPED/USD"
    topics.put("forecast-errors", [forecast_error(0, pair), forecast_error(0, pair, 300)])
    wait_for(lambda: api.context.view.position("errors", pair)[0] == 2)

    async def talk() -> None:
        async with FeedClient(api.context.url, **QUICK) as feed:
            assert await feed.subscribe("errors", [pair]) == [pair]
            (snapshot,) = await take(feed, Snapshot)
            assert snapshot.records == [forecast_error(0, pair), forecast_error(0, pair, 300)]
            assert snapshot.simulated
            await asyncio.to_thread(topics.put, "forecast-errors", [forecast_error(1, pair)])
            (update,) = await take(feed, Update)
            assert (update.seq, update.record) == (3, forecast_error(1, pair))
            assert feed.cursors == {("errors", pair): update.cursor}
            with pytest.raises(FeedRequestError, match="unknown-pair") as refused:
                await feed.subscribe("errors", ["NO/SUCH"])
            assert refused.value.code == "unknown-pair"
            assert pair in await feed.subscribe("candles", ["*"])
            await feed.unsubscribe("errors", [pair])
            assert ("errors", pair) not in feed.cursors

    asyncio.run(talk())


def test_another_process_goes_on_where_the_last_one_stopped(api: Api, topics: Topics) -> None:
    pair = "MOVE/USD"
    topics.put("candles", [candle(0, pair)])
    wait_for(lambda: pair in api.context.view.pairs())

    async def talk() -> None:
        async with FeedClient(api.context.url, **QUICK) as feed:
            # Without a snapshot there is a cursor all the same.
            await feed.subscribe("candles", [pair], snapshot=False)
            (_, pair_of), cursor = next(iter(feed.cursors.items()))
        topics.put("candles", [candle(number, pair) for number in (1, 2, 3)])
        async with FeedClient(api.context.url, **QUICK) as feed:
            await feed.subscribe("candles", [pair_of], resume={pair: cursor})
            assert [update.record for update in await take(feed, Update, count=3)] == [
                candle(number, pair) for number in (1, 2, 3)
            ]
        async with FeedClient(api.context.url, **QUICK) as feed:
            await feed.subscribe("candles", [pair], resume={pair: cursor + 10**9})
            assert [type(event) for event in await take(feed, Gap, Snapshot, count=2)] == [Gap, Snapshot]

    asyncio.run(talk())


def test_plain_iterator_gives_the_same_events(api: Api, topics: Topics) -> None:
    pair = "PLAIN/USD"
    topics.put("candles", [candle(0, pair)])
    wait_for(lambda: pair in api.context.view.pairs())
    kinds = []
    for event in events(api.context.url, {"candles": [pair]}, **QUICK):
        kinds.append(type(event))
        if isinstance(event, Snapshot):
            topics.put("candles", [candle(1, pair)])
        if isinstance(event, Update):
            break
    assert kinds == [State, Snapshot, Update]


def test_the_example_of_the_docs_runs(api: Api, topics: Topics, tmp_path: Path) -> None:
    found = re.search(r"```python\n(.+?)```", (ROOT / "docs/feed.md").read_text(), re.DOTALL)
    assert found
    script = tmp_path / "example.py"
    script.write_text(found[1].replace("http://127.0.0.1:18000", api.context.url))
    topics.put("forecasts", [forecast(0)])
    wait_for(lambda: "BTC/USD" in api.context.view.pairs())
    environment = {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    with subprocess.Popen(
        [sys.executable, script], env=os.environ | environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            wait_for(lambda: api.context.hub._by_topic.get(("forecasts", "BTC/USD")), WAIT_S)
            topics.put("forecasts", [forecast(1)])
            assert process.stdout.readline() == "BTC/USD 60 100.1\n"
        finally:
            process.terminate()
