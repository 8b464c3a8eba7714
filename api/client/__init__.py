"""A small typed client of the feed: reconnects, resumes, and says where something may be missing (docs/feed.md)."""

from api.client.errors import FeedClientError, FeedRefusedError, FeedRequestError
from api.client.events import Event, Gap, Snapshot, State, Update
from api.client.feed import FeedClient
from api.client.plain import events

__all__ = [
    "Event",
    "FeedClient",
    "FeedClientError",
    "FeedRefusedError",
    "FeedRequestError",
    "Gap",
    "Snapshot",
    "State",
    "Update",
    "events",
]
