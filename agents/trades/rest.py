"""An exchange's public REST API: one budget for all calls, patience with throttling, pages of trades."""

from __future__ import annotations

import asyncio
import logging
import time
from operator import attrgetter
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from agents.trades.exchange import MAX_PAGE_BYTES, Answer, Cursor, Exchange, Page, Request
from agents.trades.pacing import Backoff, Budget
from redpanda.errors import BadInputError, UnreachableError

__all__ = ["Rest", "on_loopback"]

log = logging.getLogger("tickcast.trades")

CALL_TIMEOUT_S: Final = 20.0
LISTING_BYTES: Final = 16 << 20
SERVER_ERROR: Final = 500
THROTTLED: Final = 429


def on_loopback(url: str) -> bool:
    """Whether `url` stays on this machine: a proxy of the environment is for the outside."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


class Rest:
    """Pages of history, at most `calls_per_s` requests a second over all pairs."""

    def __init__(self, exchange: Exchange, base_url: str, calls_per_s: float) -> None:
        self._exchange = exchange
        self._base_url = base_url
        self._budget = Budget(calls_per_s)
        self._backoff = Backoff(self._budget.gap_s, 60.0)
        self._session: aiohttp.ClientSession | None = None
        self._names: dict[str, str] = {}
        self.calls = 0
        """Requests sent, failed ones included (count)."""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def names(self, pairs: tuple[str, ...], tries: int = 6) -> dict[str, str]:
        """REST names of those of `pairs` that the exchange lists.

        Raises
        ------
        UnreachableError
            No sensible answer after `tries` attempts.
        """
        backoff = Backoff(0.25, 10.0)
        for _ in range(tries):
            answer, error = await self._get(self._exchange.listing(), LISTING_BYTES, urgent=True)
            if not error:
                self._names, error = self._exchange.decode_listing(answer)
            if self._names and not error:
                return {pair: self._names[pair] for pair in pairs if pair in self._names}
            log.warning("list of pairs of %s: %s; trying again", self._base_url, error or "it is empty")
            await asyncio.sleep(backoff.next_s())
        raise UnreachableError(
            f"no list of pairs from {self._base_url} (TICKCAST_EXCHANGE_REST_URL): {error}; "
            "check the network and the URL, or use --source sim"
        )

    async def page(self, pair: str, cursor: Cursor, *, urgent: bool) -> Page:
        """Trades of `pair` from `cursor` on, oldest first. One call.

        An urgent call goes before the others. Whatever passes (throttling, 5xx, a broken body) is a page with
        `error`, and the next call, whoever makes it, waits longer.

        Raises
        ------
        BadInputError
            The exchange refuses the request itself.
        """
        request = self._exchange.page_request(self._names.get(pair, pair), cursor)
        answer, error = await self._get(request, MAX_PAGE_BYTES, urgent=urgent)
        if error:
            page = Page(error=error, retriable=True)
        else:
            page = self._exchange.decode_page(answer, pair, cursor, time.time_ns())
            page.trades.sort(key=attrgetter("trade_id"))
        if not page.error:
            self._backoff.reset()
            return page
        if not page.retriable:
            raise BadInputError(f"{self._base_url} refuses trades of {pair}: {page.error}; check TICKCAST_PAIRS")
        wait_s = self._backoff.next_s()
        self._budget.hold(wait_s)
        log.warning("trades of %s: %s; next call in %.1f s", pair, page.error, wait_s)
        return page

    async def patient_page(self, pair: str, cursor: Cursor) -> Page:
        """Ask until there is a page: history has no other source."""
        while True:
            page = await self.page(pair, cursor, urgent=False)
            if not page.error:
                return page

    async def cursor_at(self, pair: str, since_ns: int) -> Cursor:
        """Place of the first trade at or after `since_ns`, or a little before it.

        Where the exchange pages by id, the time is found by going back from the newest page in steps that double,
        then by halving: about 2 log2(ids / 1,000) calls.
        """
        if self._exchange.by_time:
            return Cursor(0, since_ns)
        newest = await self.patient_page(pair, Cursor(0, since_ns))
        if not newest.trades:
            return Cursor(0, since_ns)
        first = newest.trades[0]
        early, late = first.trade_id, first.trade_id
        step = max(len(newest.trades), 1)
        at_ns = first.ts_ns
        while at_ns >= since_ns and early > 1:
            late, early = early, max(early - step, 1)
            step *= 2
            at_ns = await self._time_at(pair, early)
        while late - early > len(newest.trades):
            middle = (early + late) // 2
            if await self._time_at(pair, middle) >= since_ns:
                late = middle
            else:
                early = middle
        return Cursor(early, since_ns)

    async def _time_at(self, pair: str, trade_id: int) -> int:
        """Time of the first trade from `trade_id` on (ns); 0 where the exchange has none."""
        page = await self.patient_page(pair, Cursor(trade_id, 0))
        return next((trade.ts_ns for trade in page.trades if trade.trade_id >= trade_id), 0)

    async def _get(self, request: Request, limit: int, *, urgent: bool) -> tuple[Answer, str]:
        """Answer, or what went wrong; 429, 5xx and network errors are texts here because all are retried."""
        await self._budget.turn(urgent=urgent)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=not on_loopback(self._base_url))
        self.calls += 1
        try:
            async with self._session.get(self._base_url + request.path, params=request.query) as response:
                parts: list[bytes] = []
                size = 0
                async for part in response.content.iter_chunked(1 << 16):
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        return Answer(b""), f"a body of more than {limit} bytes"
                if response.status >= SERVER_ERROR or response.status == THROTTLED:
                    return Answer(b""), f"HTTP status {response.status}"
                return Answer(b"".join(parts), response.status), ""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Answer(b""), f"{type(error).__name__}: {error}"
