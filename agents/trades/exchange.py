"""What an exchange must tell the live source: its words, its pages, its names. One exchange is one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from agents.trades.refusals import Refusal
    from tables.records import Trade

__all__ = [
    "MAX_FRAME_BYTES",
    "MAX_FRAME_ROWS",
    "MAX_PAGE_BYTES",
    "Answer",
    "Cursor",
    "Decoded",
    "Exchange",
    "Page",
    "Request",
]

MAX_FRAME_BYTES: Final = 1 << 20
MAX_FRAME_ROWS: Final = MAX_FRAME_BYTES // 64
"""No trade is shorter; a frame with more rows holds none, and each would be a refusal."""
MAX_PAGE_BYTES: Final = 1 << 20
"""A page of 1,000 trades has about 0.15 MB."""


class Decoded(msgspec.Struct):
    """What one frame said."""

    kind: str
    """`trades`, `ack`, `refused`, `status`, `heartbeat`, `pong`, `error`, `other`, `malformed`."""
    trades: list[Trade] = []
    refusals: list[Refusal] = []
    snapshot: bool = False
    pairs: list[str] = []
    """Of an ack or a refusal; a refusal without any speaks of the whole request."""
    req_id: int | None = None
    text: str = ""
    """The error of a refusal, the state that a status names, the channel of anything else."""
    newest_ids: dict[str, int] = {}
    """Newest trade id of a pair where the frame tells it: what the socket did not give below it is missing."""


class Cursor(msgspec.Struct, frozen=True):
    """Where a page of history starts. An exchange uses what it pages by; the other part is a hint."""

    first_id: int
    """First id that is wanted; 0 where it is not known."""
    since_ns: int
    """At or before the time of that trade, ns since the epoch."""


class Request(msgspec.Struct, frozen=True):
    """One GET of the public REST API."""

    path: str
    query: dict[str, str] = {}


class Answer(msgspec.Struct, frozen=True):
    """What came back for a request."""

    body: bytes
    status: int = 200


class Page(msgspec.Struct):
    """One page of history."""

    trades: list[Trade] = []
    refusals: list[Refusal] = []
    rows: int = 0
    """Rows the page held, refused ones included."""
    first_id: int = 0
    last_id: int = 0
    """The page tells of every id between the two, inclusive: one that it lacks, the history lacks. 0, 0: of none."""
    next: Cursor | None = None
    """Where the next newer page starts; None where this one reaches the present."""
    error: str = ""
    """Not empty: the exchange gave no page, and why."""
    retriable: bool = False


class Exchange(Protocol):
    """The part of a live source that differs between exchanges. Pure: no I/O, no clock, no exceptions on input."""

    source: str
    """What `Trade.source` says."""
    ws_url: str
    rest_url: str
    """Without a trailing slash."""
    calls_per_s: float
    """REST calls that the exchange allows an IP address (1/s), with room."""
    by_time: bool
    """Whether a page is found by `Cursor.since_ns`; else by `Cursor.first_id`, and a time is found by bisection."""

    def subscribe(self, pairs: tuple[str, ...], req_id: int) -> list[str]:
        """Give the messages that ask for live trades of `pairs`."""

    def ping(self, req_id: int) -> str:
        """Give the message that asks for a sign of life; empty where the exchange has none."""

    def decode(self, raw: str | bytes, pairs: frozenset[str], received_ns: int) -> Decoded:
        """Read one frame."""

    def listing(self) -> Request:
        """Ask for all pairs."""

    def decode_listing(self, answer: Answer) -> tuple[dict[str, str], str]:
        """Map our names (`BTC/USD`) to the ones of REST; the text is an error where there is one."""

    def page_request(self, name: str, cursor: Cursor) -> Request:
        """Ask for trades from `cursor` on, oldest wanted first; `name` is the one of REST."""

    def decode_page(self, answer: Answer, pair: str, cursor: Cursor, received_ns: int) -> Page:
        """Read the answer to `page_request`."""
