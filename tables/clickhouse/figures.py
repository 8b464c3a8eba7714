"""Figures of a window: how good the forecasts were, and how whole the data is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tables.clickhouse.client import store_errors
from tables.clickhouse.reading import clamped, select_rows, within
from tables.records import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["Accuracy", "PairQuality", "accuracy", "no_data", "quality"]

HORIZON_MAX_MS: Final = 8 * DAY_MS
"""A forecast scored within a window was made at most so long before it: the longest horizon is a week (ms)."""


class Accuracy(msgspec.Struct, frozen=True):
    """How one version of a model did on one pair and horizon within the window."""

    pair: str
    horizon_s: int
    model: str
    model_version: str
    scored: int
    """Forecasts with an outcome, minutes without a trade left out (count)."""
    pinball_bps: float
    """Mean pinball loss over the five levels."""
    baseline_pinball_bps: float
    """The same of the EWMA-volatility baseline."""
    skill: float | None
    """One minus the ratio of the two (share); null where the baseline lost nothing."""
    coverage50: float
    """Share of outcomes within q25 to q75; 0.5 is right."""
    coverage90: float
    """Share of outcomes within q05 to q95; 0.9 is right."""
    mae_bps: float
    """Mean absolute log return from the median to the outcome."""
    direction: float | None
    """Share of outcomes on the median's side of the base price, of those that moved and whose median had a side; null
    where there are none, as with the baseline, whose median is the base price."""
    first_target_ms: int
    last_target_ms: int
    """First and last `target_ms` among them."""


class PairQuality(msgspec.Struct, frozen=True):
    """How whole the data of one pair is."""

    pair: str
    last_candle_open_ms: int | None
    """Newest 1m candle in the store, of all times; null where there is none."""
    candle_lag_ms: int | None
    """Time since that candle ended; grows while nothing comes."""
    candles: int
    """1m candles within the window (count)."""
    synthetic: int
    """Of these, minutes in which nothing traded (count)."""
    revised: int
    """Of these, corrected by late trades after they had closed (count)."""
    late_trades: int
    """Trades executed within the window that came too late for any candle (count)."""
    holes_open: int
    holes_repaired: int
    holes_unrepairable: int
    """Holes in the trade ids found within the window, by what became of them (count)."""
    ids_missing: int
    """Trade ids in the open and the unrepairable ones (count)."""


# A difference of two logarithms that ought to be zero is not always: below a millionth of a bps nothing has moved.
_ACCURACY: Final = """
SELECT
    pair, horizon_s, model, model_version, count(),
    avg(e.pinball_bps), avg(e.baseline_pinball_bps),
    if(sum(e.baseline_pinball_bps) > 0, 1 - sum(e.pinball_bps) / sum(e.baseline_pinball_bps), NULL),
    avg(below[4] AND NOT below[2]), avg(below[5] AND NOT below[1]), avg(abs(error_bps)),
    if(countIf(said != 0 AND return_bps != 0) > 0,
       avgIf(sign(return_bps) = sign(round(return_bps - error_bps, 6) AS said), said != 0 AND return_bps != 0),
       NULL),
    toUnixTimestamp64Milli(min(target_time)), toUnixTimestamp64Milli(max(target_time))
FROM forecast_errors AS e FINAL
WHERE NOT synthetic AND {within}
    AND feature_open >= fromUnixTimestamp64Milli({{made_from_ms:Int64}}, 'UTC') {conditions}
GROUP BY pair, horizon_s, model, model_version
ORDER BY pair, horizon_s, model, max(target_time) DESC, model_version
"""
_WANTED: Final = {"pair": "String", "horizon_s": "UInt32", "model": "String"}


def accuracy(
    client: Client,
    from_ms: int,
    to_ms: int,
    pair: str | None = None,
    horizon_s: int | None = None,
    model: str | None = None,
) -> list[Accuracy]:
    """Score the forecasts whose `target_ms` lies in [from_ms, to_ms) by pair, horizon and version of a model.

    Parameters
    ----------
    pair, horizon_s, model
        Only these; None for all.
    """
    wanted = {"pair": pair, "horizon_s": horizon_s, "model": model}
    asked: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    conditions = "".join(f"AND {name} = {{{name}:{_WANTED[name]}}} " for name in asked)
    rows = select_rows(
        client,
        _ACCURACY.format(within=within("target_time"), conditions=conditions),
        made_from_ms=clamped(from_ms - HORIZON_MAX_MS),
        **_bounds(from_ms, to_ms),
        **asked,
    )
    return [Accuracy(*row) for row in rows]


_NEWEST: Final = (
    "SELECT pair, toUnixTimestamp64Milli(max(open_time)) FROM candles WHERE timeframe = '1m' {pair} GROUP BY pair"
)
_COUNTS: Final = (
    "SELECT pair, count(), countIf(synthetic), countIf(revision > 0) FROM candles FINAL "
    "WHERE timeframe = '1m' AND {within} {pair} GROUP BY pair"
)
_HOLES: Final = (
    "SELECT pair, countIf(state = 'open'), countIf(state = 'repaired'), countIf(state = 'unrepairable'), "
    "sumIf(last_id - first_id + 1, state != 'repaired') FROM holes FINAL WHERE {within} {pair} GROUP BY pair"
)
_LATE: Final = "SELECT pair, count() FROM late_trades FINAL WHERE {within} {pair} GROUP BY pair"


def quality(client: Client, pair: str | None, from_ms: int, to_ms: int, now_ms: int) -> list[PairQuality]:
    """Count candles opened, holes found and late trades executed in [from_ms, to_ms), by pair.

    Parameters
    ----------
    pair
        Only this one; None for all that the store has anything of.
    now_ms
        What the lag is counted to.
    """
    one = "" if pair is None else "AND pair = {pair:String}"
    parameters: dict[str, Any] = {} if pair is None else {"pair": pair}
    newest = {row[0]: row[1] for row in select_rows(client, _NEWEST.format(pair=one), **parameters)}
    parameters |= _bounds(from_ms, to_ms)
    counts = {
        row[0]: row[1:]
        for row in select_rows(client, _COUNTS.format(within=within("open_time"), pair=one), **parameters)
    }
    late = {row[0]: row[1] for row in select_rows(client, _LATE.format(within=within("time"), pair=one), **parameters)}
    with store_errors("reading holes"):  # not as the others: a hole may lie in two partitions
        found = client.query(_HOLES.format(within=within("found_at"), pair=one), parameters=parameters).result_rows
    holes = {row[0]: row[1:] for row in found}
    return [
        _quality(
            name,
            newest.get(name),
            counts.get(name, (0, 0, 0)),
            holes.get(name, (0, 0, 0, 0)),
            late.get(name, 0),
            now_ms,
        )
        for name in sorted({*newest, *holes, *late})
    ]


def no_data(pair: str) -> PairQuality:
    """Give the figures of a pair of which the store has nothing."""
    return _quality(pair, None, (0, 0, 0), (0, 0, 0, 0), 0, 0)


def _quality(pair: str, last_ms: int | None, counts: Any, holes: Any, late: int, now_ms: int) -> PairQuality:
    candles, synthetic, revised = counts
    still_open, repaired, unrepairable, missing = holes
    return PairQuality(
        pair=pair,
        last_candle_open_ms=last_ms,
        candle_lag_ms=None if last_ms is None else max(now_ms - last_ms - MINUTE_MS, 0),
        candles=candles,
        synthetic=synthetic,
        revised=revised,
        late_trades=late,
        holes_open=still_open,
        holes_repaired=repaired,
        holes_unrepairable=unrepairable,
        ids_missing=missing,
    )


def _bounds(from_ms: int, to_ms: int) -> dict[str, int]:
    return {"from_ms": clamped(from_ms), "to_ms": clamped(to_ms)}
