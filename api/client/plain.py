"""The feed for programs without asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from api.client.feed import FeedClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from api.client.events import Event
    from api.views import Channel

__all__ = ["events"]


def events(
    url: str, channels: Mapping[Channel, Iterable[str]], key: str | None = None, **options: Any
) -> Iterator[Event]:
    """Iterate over the events of these channels and pairs; raises as `FeedClient` does.

    The connection lives only while the next event is asked for: who takes long between two is disconnected by the
    server, and resumes at the next. `options` are those of `FeedClient`.
    """
    with asyncio.Runner() as runner:
        feed = FeedClient(url, key, **options)
        runner.run(feed.__aenter__())
        try:
            for channel, pairs in channels.items():
                runner.run(feed.subscribe(channel, pairs))
            while True:
                yield runner.run(feed.__anext__())
        finally:
            runner.run(feed.__aexit__(None, None, None))
