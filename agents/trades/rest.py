"""Kraken's public REST API: one budget for all calls, patience with throttling, pages of trades."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Final

import aiohttp

from agents.trades.pages import MAX_PAGE_BYTES, Page, decode_asset_pairs, decode_page
from redpanda.errors import BadInputError, UnreachableError

__all__ = ["PAGE_ROWS", "Backoff", "KrakenRest"]

log = logging.getLogger("tickcast.trades")

PAGE_ROWS: Final = 1_000
"""Most rows of a page; a page with fewer is the newest one."""
CALL_TIMEOUT_S: Final = 20.0
ASSET_PAIRS_BYTES: Final = 16 << 20


class Backoff:
    """Waits that double up to a cap, each drawn at random from its upper half."""

    def __init__(self, base_s: float, cap_s: float) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self.attempts = 0

    def next_s(self) -> float:
        """Length of the next wait."""
        ceiling = min(self._cap_s, self._base_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311  # spreads clients, hides nothing

    def reset(self) -> None:
        """Start small again."""
        self.attempts = 0


class KrakenRest:
    """Pages of history, at most `calls_per_s` requests a second over all pairs."""

    def __init__(self, base_url: str, calls_per_s: float, source: str) -> None:
        self._base_url = base_url
        self._gap_s = 1.0 / calls_per_s
        self._next_call_s = 0.0
        self._source = source
        self._session: aiohttp.ClientSession | None = None
        self._names: dict[str, str] = {}

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
            body, error = await self._get("/0/public/AssetPairs", {}, ASSET_PAIRS_BYTES)
            if not error:
                self._names, error = decode_asset_pairs(body)
            if self._names and not error:
                return {pair: self._names[pair] for pair in pairs if pair in self._names}
            log.warning("AssetPairs of %s: %s; trying again", self._base_url, error or "an empty list")
            await asyncio.sleep(backoff.next_s())
        raise UnreachableError(
            f"no list of pairs from {self._base_url} (TICKCAST_KRAKEN_REST_URL): {error}; "
            "check the network and the URL, or use --source sim"
        )

    async def page(self, pair: str, since_ns: int, *, patience: int = 1_000_000) -> Page:
        """Trades of `pair` at or after `since_ns`; a throttled call is repeated up to `patience` times.

        Raises
        ------
        BadInputError
            The exchange refuses the request itself.
        """
        query = {"pair": self._names.get(pair, pair), "since": str(since_ns), "count": str(PAGE_ROWS)}
        backoff = Backoff(self._gap_s, 60.0)
        while True:
            body, error = await self._get("/0/public/Trades", query, MAX_PAGE_BYTES)
            page = Page(error=error, retriable=True) if error else self._decode(body, pair)
            if not page.error:
                return page
            if not page.retriable:
                raise BadInputError(f"{self._base_url} refuses trades of {pair}: {page.error}; check TICKCAST_PAIRS")
            if backoff.attempts >= patience:
                return page
            wait_s = backoff.next_s()
            log.warning("trades of %s: %s; again in %.1f s", pair, page.error, wait_s)
            await asyncio.sleep(wait_s)

    def _decode(self, body: bytes, pair: str) -> Page:
        return decode_page(body, pair, time.time_ns(), self._source)

    async def _turn(self) -> None:
        """Wait for this call's turn in the budget."""
        now_s = time.monotonic()
        start_s = max(now_s, self._next_call_s)
        self._next_call_s = start_s + self._gap_s
        if start_s > now_s:
            await asyncio.sleep(start_s - now_s)

    async def _get(self, path: str, query: dict[str, str], limit: int) -> tuple[bytes, str]:
        """Body, or what went wrong; 5xx and network errors are texts here because all are retried."""
        await self._turn()
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
            # A proxy of the environment is for the outside; the simulator is on loopback.
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=self._source == "kraken")
        try:
            async with self._session.get(self._base_url + path, params=query) as response:
                parts: list[bytes] = []
                size = 0
                async for part in response.content.iter_chunked(1 << 16):
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        return b"", f"a body of more than {limit} bytes"
                if response.status != 200:  # noqa: PLR2004  # HTTP's own word
                    return b"", f"HTTP status {response.status}"
                return b"".join(parts), ""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return b"", f"{type(error).__name__}: {error}"
