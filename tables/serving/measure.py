"""Collect what `parity` compares from the running parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redpanda.errors import BadInputError
from tables.clickhouse import queries
from tables.features import FEATURE_SET
from tables.records import MINUTE_MS
from tables.serving.latest import step_ms
from tables.serving.parity import TOLERANCE, Parity, compare, recompute, values_of
from tables.serving.places import StorePlace, newest_of, topic_rows

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

    from redpanda.settings import BrokerSettings
    from tables.records import Candle, Features

__all__ = ["measure"]

_MARGIN_BARS: Final = 60
"""So many bars before the window end the search in the topic (count); a few old ones may be repeats."""


def measure(
    broker: BrokerSettings,
    client: Client,
    pair: str,
    timeframe: str,
    minutes: int,
    until_ms: int,
) -> Parity:
    """Compare the newest `minutes` of topic `features` with the store and with a recompute of its candles.

    Parameters
    ----------
    until_ms
        Records that were appended later are left out: the sink may still be at them (ms since the epoch).

    Raises
    ------
    BadInputError
        The topic has no row of the pair and timeframe.
    UnreachableError
        Broker or store does not answer.
    """
    step = step_ms(timeframe)
    online = newest_of(_topic(broker, pair, timeframe, minutes * MINUTE_MS, until_ms))
    if not online:
        raise BadInputError(f"topic features has no row of {pair} {timeframe}: see `tickcast features latest {pair}`")
    last_ms = max(online)
    first_ms = max(min(online), last_ms - minutes * MINUTE_MS + step)
    newest = online[last_ms]
    topic = {open_ms: values_of(row) for open_ms, row in online.items() if open_ms >= first_ms}
    stored = StorePlace(lambda: client).rows(pair, timeframe, first_ms, queries.MAX_LIMIT)
    offline = {row.open_ms: values_of(row) for row in stored if row.open_ms <= last_ms}
    computed, note = recompute(_candles(client, newest, step), newest, step)
    notes = [note] if note else []
    behind = (last_ms - max((row.open_ms for row in stored), default=first_ms - step)) // step
    if behind > 0:
        notes.append(f"the store lacks the newest {behind} bars: its sink is behind or stopped, see the worker's log")
    if newest.feature_set != FEATURE_SET:
        notes.append(f"the worker computes feature set {newest.feature_set} and this program {FEATURE_SET}")
    recomputed = {open_ms: row for open_ms, row in computed.items() if open_ms >= first_ms}
    return Parity(
        pair=pair,
        timeframe=timeframe,
        from_ms=first_ms,
        to_ms=last_ms,
        bars=len(topic),
        store=compare(topic, offline, tolerance=0.0),
        recomputed=compare(topic, recomputed, tolerance=TOLERANCE),
        notes=notes,
    )


def _topic(broker: BrokerSettings, pair: str, timeframe: str, span_ms: int, until_ms: int) -> list[Features]:
    newest_ms = 0
    older: set[int] = set()

    def enough(row: Features) -> bool:
        nonlocal newest_ms
        newest_ms = max(newest_ms, row.open_ms)  # the end of the log is read first
        if row.open_ms < newest_ms - span_ms:
            older.add(row.open_ms)
        return len(older) > _MARGIN_BARS

    return topic_rows(broker, pair, timeframe, enough=enough, until_ms=until_ms)


def _candles(client: Client, newest: Features, step: int) -> list[Candle]:
    """Read the candles that the newest row was made of, in time order; fewer where the store has fewer."""
    found: list[Candle] = []
    to_ms = newest.open_ms + step
    while len(found) < newest.bars:
        limit = min(newest.bars - len(found), queries.MAX_LIMIT)
        page = queries.candles(client, newest.pair, newest.timeframe, 0, to_ms, limit)
        found += page
        if len(page) < limit:
            break
        to_ms = page[-1].open_ms
    return found[::-1]
