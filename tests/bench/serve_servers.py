"""The servers of the benchmark `serve`, each a process on one core: `python -m tests.bench.serve_servers PLAN.json`.

Both hold the same rows in memory, run on uvicorn with uvloop and the same HTTP parser, and write with msgspec.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from api.context import ApiContext
from api.server import listen, make_server
from api.settings import ApiSettings
from api.store import Store
from redpanda.errors import UnreachableError
from tests.support.samples import forecast

__all__ = ["PATH", "Plan"]

PATH = "/v1/forecasts/latest?pair=BTC/USD"
PAIRS = ("BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD")
HORIZONS_S = (60, 300, 900)


class Plan(msgspec.Struct, frozen=True):
    """What to serve."""

    server: str
    """`tickcast` or `fastapi`."""
    home: str
    port: int
    core: int | None
    """To stay on; None: any."""
    body: str = ""
    """For the peer: an answer of ours for all pairs, whose rows it serves."""


def main(file: Path) -> None:
    plan = msgspec.json.decode(file.read_bytes(), type=Plan)
    if plan.core is not None:
        os.sched_setaffinity(0, {plan.core})
    if plan.server == "tickcast":
        _ours(plan)
    else:
        _peer(plan)


def _ours(plan: Plan) -> None:
    """Run the API as it is, but for its broker and store: the latest values are in memory."""
    settings = ApiSettings(home=Path(plan.home), api_port=plan.port, source="sim", pairs=PAIRS)
    context = ApiContext(settings, "127.0.0.1:9", Store(_no_store))
    for number, pair in enumerate(PAIRS):
        for horizon_s in HORIZONS_S:
            context.view.apply("forecasts", forecast(number, pair, horizon_s), number)
    context.feed.run = _idle  # type: ignore[method-assign]  # no broker is part of what is measured
    context.feed.ready, context.feed.stale = True, False
    with listen(settings) as listener:
        make_server(context, listener).run(sockets=[listener])


async def _idle() -> None:
    await asyncio.Event().wait()


def _no_store() -> Any:
    raise UnreachableError("no store is part of what is measured")


def _peer(plan: Plan) -> None:
    from tests.bench.serve_peer import make_peer  # noqa: PLC0415  # only the peer's process needs FastAPI

    app = make_peer(plan.body)
    uvicorn.run(app, host="127.0.0.1", port=plan.port, loop="uvloop", log_level="warning", access_log=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
