"""Query parameters that several routes share, and what every route may answer."""

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from api.problems import BAD_REQUEST, EVERYWHERE, NOT_ACCEPTABLE, NOT_FOUND, UNAVAILABLE
from api.tokens import HORIZON_MAX_S, TOKEN_MAX
from tables.records import Timeframe

__all__ = [
    "PAIR_MAX",
    "WINDOW_MS",
    "Cursor",
    "From",
    "Horizon",
    "Limit",
    "OptionalPair",
    "PairName",
    "TimeframeName",
    "To",
    "WindowName",
    "history_answers",
    "json_answers",
]

PAIR_MAX: Final = 40
"""Longest name of a pair that is asked for (characters)."""
_PAIR: Final = QueryParameter(
    name="pair",
    min_length=1,
    max_length=PAIR_MAX,
    description="Pair as Kraken's v2 API writes it; `/` may stand as it is or as `%2F`.",
    examples=[Example(value="BTC/USD")],
)
PairName = Annotated[str, _PAIR]
OptionalPair = Annotated[str | None, _PAIR]
TimeframeName = Annotated[
    Timeframe,
    QueryParameter(name="timeframe", description="Length of a candle.", examples=[Example(value="1m")]),
]
Horizon = Annotated[
    int | None,
    QueryParameter(
        name="horizon_s",
        ge=1,
        le=HORIZON_MAX_S,
        description="Horizon of the forecast, s. Default: all.",
        examples=[Example(value=300)],
    ),
]
From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="First time, included: epoch ms or RFC 3339 with offset. Default: the beginning.",
        examples=[Example(value="2026-11-25T12:00:00Z"), Example(value="1795608000000")],
    ),
]
To = Annotated[
    str | None,
    QueryParameter(
        name="to",
        description="Last time, not included: epoch ms or RFC 3339 with offset. Default: no end.",
        examples=[Example(value="2026-11-25T13:00:00+00:00")],
    ),
]
Limit = Annotated[
    int,
    QueryParameter(name="limit", ge=1, description="Rows at most; the newest are kept.", examples=[Example(value=100)]),
]
Cursor = Annotated[
    str | None,
    QueryParameter(
        name="cursor",
        min_length=1,
        max_length=TOKEN_MAX,
        description="`next` of the page before; all other parameters but `limit` as they were.",
    ),
]
WindowName = Annotated[
    Literal["1h", "24h", "7d", "30d"],
    QueryParameter(name="window", description="How far to look back.", examples=[Example(value="24h")]),
]
WINDOW_MS: Final = {"1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000}


def json_answers(body: type[msgspec.Struct], description: str, *more: tuple[int, ResponseSpec]) -> dict[int, Any]:
    """Document what a route answers that speaks JSON alone."""
    return {
        200: ResponseSpec(body, generate_examples=False, description=description),
        400: BAD_REQUEST,
        **EVERYWHERE,
        503: UNAVAILABLE,
        **dict(more),
    }


def history_answers(body: type[msgspec.Struct]) -> dict[int, Any]:
    """Document what a route answers that reads a history in pages and in three formats."""
    return json_answers(body, "One page, newest first.", (404, NOT_FOUND), (406, NOT_ACCEPTABLE))
