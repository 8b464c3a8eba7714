"""What the handlers of one process share."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from api.feed import Feed
from api.hub import Hub, Limits
from api.latest import Latest
from api.views import MarketView

if TYPE_CHECKING:
    import asyncio

    from api.settings import ApiSettings
    from api.store import Store

__all__ = ["ApiContext"]


class ApiContext:
    """Views, feed, hub and store of one process."""

    def __init__(self, settings: ApiSettings, broker_url: str, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.view = MarketView(
            history=settings.feed_history, ring=settings.feed_ring, pairs_max=settings.feed_pairs_max
        )
        self.latest = Latest(self.view, settings.label)
        self.hub = Hub(Limits.of(settings))
        self.feed = Feed(settings, broker_url, self.view, self.hub.publish, self._reset)
        self.session = secrets.token_hex(8)
        self.requests = 0
        self.url = f"http://{settings.api_host}:{settings.api_port}"
        self.tasks: list[asyncio.Task[None]] = []

    def _reset(self) -> None:
        self.session = secrets.token_hex(8)
        self.hub.drop_all(1012, "feed-reset")

    def dead_tasks(self) -> list[str]:
        """Names of the background tasks that ended although nobody stopped them."""
        return [task.get_name() for task in self.tasks if task.done()]
