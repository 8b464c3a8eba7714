"""What the access layer costs a request: around an app that does nothing, on the caller's core."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

from api.access import keyfile
from api.access.keys import SCOPES, new_key
from api.access.layer import Access
from api.settings import ApiSettings

__all__ = ["access_us"]

CALLS: Final = 5_000
ROUNDS: Final = 7
_HEADERS: Final = [
    (b"host", b"127.0.0.1:18000"),
    (b"user-agent", b"bench"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, br"),
    (b"connection", b"keep-alive"),
]


async def access_us() -> dict[str, float]:
    """Give the median cost by kind of caller (us): without a key, with one and its rate, without one by a proxy."""
    with tempfile.TemporaryDirectory(prefix="tickcast-bench-") as name:
        home = Path(name)
        local = ApiSettings(home=home)
        key, token = new_key(0, SCOPES, rate_per_s=1e6)
        keyfile.add(local.keys_file, key)
        behind = ApiSettings(
            home=home, api_trusted_proxies=("127.0.0.1",), api_anonymous="always", api_rate_anonymous=1e6
        )
        cases = {
            "anonymous": (Access(_app, local), []),
            "keyed": (Access(_app, local), [(b"authorization", f"Bearer {token}".encode())]),
            "proxied": (Access(_app, behind), [(b"x-forwarded-for", b"1.2.3.4, 127.0.0.1")]),
        }
        bare = min([await _mean_us(_app, []) for _ in range(ROUNDS)])
        return {
            who: round(median([await _mean_us(app, headers) for _ in range(ROUNDS)]) - bare, 1)
            for who, (app, headers) in cases.items()
        }


async def _mean_us(app: Any, headers: list[tuple[bytes, bytes]]) -> float:
    asked = [*_HEADERS, *headers]
    started_s = time.perf_counter()
    for _ in range(CALLS):
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/forecasts/latest",
            "query_string": b"pair=BTC/USD",
            "headers": asked,
            "client": ("127.0.0.1", 5),
        }
        await app(scope, _nothing, _nowhere)
    return (time.perf_counter() - started_s) / CALLS * 1e6


async def _app(_scope: Any, _receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


async def _nothing() -> Any:
    return {"type": "http.request"}


async def _nowhere(_message: Any) -> None:
    return
