"""The newest forecasts as bytes: encoded once for each change of the view, not for each request."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from litestar import MediaType, Response

from api.answers import CHANGING, SOURCE_HEADER, VARY, matches, weak_tag
from api.formats import GZIP_FROM_BYTES, GZIP_LEVEL, takes_gzip
from api.messages import SIMULATED
from api.rows import forecast_row
from api.schemas import LatestForecasts
from api.times import now_ms, rfc3339

if TYPE_CHECKING:
    from api.views import MarketView

__all__ = ["Answer", "Latest"]

FRESH_MS: Final = 100
"""For so long `as_of` may stand while nothing changes (ms); a change shows at once."""
KEPT_MAX: Final = 1_000
"""Answers kept: one for each pair and horizon that is asked for (count)."""
_OF_LITESTAR: Final = (b"content-type", b"content-length")
_Asked = tuple[str | None, int | None]
Sent = tuple[int, list[tuple[bytes, bytes]], bytes]


@dataclass(frozen=True)
class Answer:
    """One answer, ready to be sent."""

    version: int
    """Of the view that it was made of."""
    stale: bool
    at_ms: int
    rows: int
    body: bytes
    headers: dict[str, str]

    @cached_property
    def gzipped(self) -> bytes:
        """The body as gzip, made when first asked for."""
        return gzip.compress(self.body, GZIP_LEVEL)

    @cached_property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The headers as they are sent, without those of a body."""
        return [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]

    def sent(self, accept_encoding: bytes | None, if_none_match: bytes | None) -> Sent:
        """Give status, headers and body for one client."""
        if if_none_match is not None and matches(if_none_match.decode("latin-1"), self.headers["ETag"]):
            return HTTPStatus.NOT_MODIFIED, self.fields, b""
        body, fields = self.body, [*self.fields, (b"content-type", b"application/json")]
        if accept_encoding and len(body) >= GZIP_FROM_BYTES and takes_gzip(accept_encoding.decode("latin-1")):
            body = self.gzipped
            fields.append((b"content-encoding", b"gzip"))
        fields.append((b"content-length", str(len(body)).encode()))
        return HTTPStatus.OK, fields, body

    def response(self, accept_encoding: str | None, if_none_match: str | None) -> Response[bytes]:
        """Give it to one client of Litestar."""
        status, fields, body = self.sent(
            None if accept_encoding is None else accept_encoding.encode("latin-1"),
            None if if_none_match is None else if_none_match.encode("latin-1"),
        )
        headers = {name.decode(): value.decode() for name, value in fields if name not in _OF_LITESTAR}
        return Response(body, status_code=status, headers=headers, media_type=MediaType.JSON)


class Latest:
    """Answers of one view."""

    def __init__(self, view: MarketView, label: str, clock: Callable[[], int] = now_ms) -> None:
        self._view = view
        self._label = label
        self._clock = clock
        self._kept: dict[_Asked, Answer] = {}

    def of(self, pair: str | None, horizon_s: int | None, *, stale: bool) -> Answer:
        """Give the newest forecasts, of one pair or horizon where they are named."""
        at_ms = self._clock()
        known = self._kept.get((pair, horizon_s))
        if (
            known is not None
            and known.version == self._view.version
            and known.stale == stale
            and 0 <= at_ms - known.at_ms < FRESH_MS
        ):
            return known
        made = self._make(pair, horizon_s, stale, at_ms)
        if made.rows:  # what does not exist can be asked for in endless ways
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            self._kept[pair, horizon_s] = made
        return made

    def _make(self, pair: str | None, horizon_s: int | None, stale: bool, at_ms: int) -> Answer:
        rows = [forecast_row(row) for row in self._view.latest_forecasts(pair, horizon_s)]
        labels: Sequence[str] = sorted({row.source for row in rows}) or [self._label]
        label = ",".join(labels)
        body = LatestForecasts(label, SIMULATED in labels, stale, at_ms, rfc3339(at_ms), rows)
        headers = {
            SOURCE_HEADER: label,
            "Cache-Control": CHANGING,
            "ETag": weak_tag(label, str(stale), msgspec.json.encode(rows)),
            "Vary": VARY,
        }
        return Answer(self._view.version, stale, at_ms, len(rows), msgspec.json.encode(body), headers)
