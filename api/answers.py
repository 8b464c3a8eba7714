"""From rows to an HTTP answer: format, validators, cache rules, the way to the next page."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from litestar import Request, Response

from api.formats import CSV, GZIP_FROM_BYTES, GZIP_LEVEL, JSON, Format, encode, negotiated, takes_gzip
from api.messages import SIMULATED
from api.problems import bad_parameter, not_acceptable, unknown_pair
from api.store import in_thread
from api.times import MAX_MS, now_ms, parse_ms, rfc3339
from api.tokens import BadTokenError, cursor, read_cursor
from tables.clickhouse import queries

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

    from api.context import ApiContext

__all__ = [
    "CHANGING",
    "NEXT_HEADER",
    "SOURCE_HEADER",
    "UNCOMPRESSED",
    "VARY",
    "History",
    "Window",
    "after",
    "answer",
    "history",
    "known",
    "matches",
    "past",
    "sources",
    "weak_tag",
    "window_of",
]

SOURCE_HEADER: Final = "X-Tickcast-Source"
NEXT_HEADER: Final = "X-Next-Cursor"
AS_OF_HEADER: Final = "X-Tickcast-As-Of"
UNCOMPRESSED: Final = "no_compression"
"""Key of the routes that compress for themselves, which Litestar leaves alone."""
VARY: Final = "Accept, Accept-Encoding"
CHANGING: Final = "private, no-cache"
"""Keep it, but ask each time whether it still holds. `private`: what a key may see is not for shared caches."""
SETTLED: Final = "private, max-age=300"
SETTLED_AFTER_MS: Final = 3_600_000
"""Late trades and repaired holes hardly ever correct what is older (ms)."""

AnyRequest = Request[Any, Any, Any]
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Window:
    """Times [from_ms, to_ms) and rows at most."""

    from_ms: int
    to_ms: int
    limit: int


@dataclass(frozen=True, slots=True)
class History:
    """One page of one history."""

    name: str
    """Of the list in the JSON body."""
    struct: type[msgspec.Struct]
    """Of its rows."""
    pair: str
    question: tuple[object, ...]
    """What a cursor is bound to: all that decides which rows there are, and their order."""
    window: Window
    read: Callable[[Client, int], Sequence[Any]]
    """Reads at most so many rows, in the order of their keys."""
    key: Callable[[Any], Sequence[int | str]]
    to_ms: int
    """End of what is left of the window on this page (ms)."""
    settles_ms: int = 0
    """How long after a row's time it is still to come (ms)."""


@dataclass(frozen=True, slots=True)
class _Page:
    rows: bytes
    sources: list[str]
    next: str | None


def sources(context: ApiContext, found: Iterable[str]) -> list[str]:
    """Take the sources from the records; the setting answers only where there are none."""
    return sorted(set(found)) or [context.settings.label]


def window_of(context: ApiContext, from_: str | None, to: str | None, limit: int = 1) -> Window:
    """Read the bounds; a Problem names the one that is wrong."""
    if limit > context.settings.api_page_max:
        raise bad_parameter("limit", f"at most {context.settings.api_page_max}")
    from_ms = 0 if from_ is None else _time("from", from_)
    to_ms = MAX_MS if to is None else _time("to", to)
    if from_ms >= to_ms:
        raise bad_parameter("from", "must lie before `to`")
    return Window(from_ms, to_ms, limit)


def _time(field: str, text: str) -> int:
    try:
        return parse_ms(text)
    except ValueError as error:
        raise bad_parameter(field, str(error)) from None


def past(length_ms: int, to: str | None) -> tuple[int, int]:
    """Give the bounds of a window that ends at `to`, or now with what this millisecond brings."""
    to_ms = now_ms() + 1 if to is None else _time("to", to)
    return max(to_ms - length_ms, 0), to_ms


def after(text: str | None, question: tuple[object, ...], key: type[Key]) -> Key | None:
    """Read a cursor; a Problem says what is wrong with it."""
    if text is None:
        return None
    try:
        return read_cursor(text, question, key)
    except BadTokenError as error:
        raise bad_parameter("cursor", str(error)) from None


async def known(context: ApiContext, pair: str) -> None:
    """Refuse a pair of which nothing is known."""
    if pair in context.settings.pairs or pair in context.view.pairs():
        return
    if all(info.pair != pair for info in await context.store.call(queries.pairs)):
        raise unknown_pair(pair)


async def history(request: AnyRequest, context: ApiContext, asked: History) -> Response[bytes]:
    """Answer with one page in the format that the client likes best."""
    kind = negotiated(request.headers.get("accept", ""))
    if kind is None:
        raise not_acceptable()
    page = await context.store.call(_read_page, asked, kind)
    if not page.sources:
        await known(context, asked.pair)
    settled = asked.to_ms + asked.settles_ms <= now_ms() - SETTLED_AFTER_MS
    labels = sources(context, page.sources)
    headers = {"Cache-Control": SETTLED if settled else CHANGING}
    if page.next is not None:
        again = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        query = urlencode([*again, ("cursor", page.next)], quote_via=quote, safe="/")
        headers |= {NEXT_HEADER: page.next, "Link": f'<{request.scope["path"]}?{query}>; rel="next"'}

    def finished() -> Response[bytes]:
        if kind == JSON:
            return answer(request, {asked.name: msgspec.Raw(page.rows), "next": page.next}, labels, headers)
        tag = weak_tag(kind, *labels, page.next or "", page.rows)
        return _sent(request, page.rows, kind, tag, {SOURCE_HEADER: ",".join(labels), **headers})

    return await in_thread(finished)  # zlib works without the GIL: megabytes must not hold up the others


def _read_page(client: Client, asked: History, kind: Format) -> _Page:
    """Read one row more than is asked for: it tells whether there is a next page. Blocking."""
    rows = asked.read(client, asked.window.limit + 1)
    page = rows[: asked.window.limit]
    following = cursor(asked.question, asked.key(page[-1])) if len(rows) > len(page) else None
    return _Page(encode(kind, page, asked.struct), sorted({row.source for row in page}), following)


def answer(
    request: AnyRequest, parts: dict[str, Any], labels: Sequence[str], headers: dict[str, str] | None = None
) -> Response[bytes]:
    """Answer in JSON: source and time, then `parts`. The ETag is of everything but the time."""
    label = ",".join(labels)
    encoded = msgspec.json.encode(parts)
    at_ms = now_ms()
    head = {"source": label, "simulated": SIMULATED in labels, "as_of_ms": at_ms, "as_of": rfc3339(at_ms)}
    body = msgspec.json.encode({**head, **parts})
    headers = {SOURCE_HEADER: label, "Cache-Control": CHANGING, **(headers or {})}
    return _sent(request, body, JSON, weak_tag(JSON, label, encoded), headers)


def _sent(request: AnyRequest, body: bytes, kind: Format, tag: str, headers: dict[str, str]) -> Response[bytes]:
    headers = {**headers, "ETag": tag, "Vary": VARY}
    if kind != JSON:
        headers[AS_OF_HEADER] = rfc3339(now_ms())
    if matches(request.headers.get("if-none-match"), tag):
        return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers, media_type=kind)
    if takes_gzip(request.headers.get("accept-encoding")) and len(body) >= GZIP_FROM_BYTES:
        body = gzip.compress(body, GZIP_LEVEL)
        headers["Content-Encoding"] = "gzip"
    # Litestar adds the charset to any text.
    return Response(body, headers=headers, media_type=f"{CSV}; header=present" if kind == CSV else kind)


def weak_tag(*parts: str | bytes) -> str:
    """Make a weak ETag: `as_of` may differ between two answers that it calls the same."""
    digest = blake2b(digest_size=12)
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return f'W/"{digest.hexdigest()}"'


def matches(header: str | None, tag: str) -> bool:
    """Compare weakly with `If-None-Match` (RFC 9110, 13.1.2)."""
    if header is None:
        return False
    asked = {part.strip().removeprefix("W/") for part in header.split(",")}
    return "*" in asked or tag.removeprefix("W/") in asked
