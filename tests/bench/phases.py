"""One phase of the freshness benchmark: what was produced at one rate, and when its effects were seen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from redpanda.topics import CANDLES_LIVE, FORECASTS
from tables.records import Candle, Features, Forecast, Trade
from tests.bench.latency import Live, closings, live_latencies
from tests.bench.probe import Seen

if TYPE_CHECKING:
    import numpy.typing as npt

    from redpanda.tail import Tail

__all__ = [
    "Appended",
    "Produced",
    "SeenForecasts",
    "SeenLive",
    "forecasts_of",
    "forecasts_seen",
    "live_of",
    "live_seen",
    "one_each",
    "produced",
]

_candle = msgspec.json.Decoder(Candle).decode
_forecast = msgspec.json.Decoder(Forecast).decode
_features = msgspec.json.Decoder(Features).decode
_trades = msgspec.json.Decoder(list[Trade]).decode
Key = tuple[str, int]


class Produced(msgspec.Struct, frozen=True):
    """The trades of one pair in one phase, in the order of time [trades]."""

    pair: str
    trade_id: npt.NDArray[np.int64]
    ts_ns: npt.NDArray[np.int64]
    produced_ns: npt.NDArray[np.int64]


class SeenLive(msgspec.Struct, frozen=True):
    """The live candles of one pair, in the order of the log [records]."""

    last_trade_id: npt.NDArray[np.int64]
    appended_ms: npt.NDArray[np.int64]
    seen_ns: npt.NDArray[np.int64]


class SeenForecasts(msgspec.Struct, frozen=True):
    """When the last of a candle's forecasts was in the log and seen, and how many there were."""

    appended_ms: int
    seen_ns: int
    horizons: int


class Appended(msgspec.Struct, frozen=True):
    """The broker's append times on the way (ms): of trades by (pair, id), the others by (pair, open_ms)."""

    trades: dict[Key, int]
    candles: dict[Key, int]
    features: dict[Key, int]

    @classmethod
    def of(cls, trades: Iterable[Tail], candles: Iterable[Tail], features: Iterable[Tail]) -> Appended:
        """Decode what lies in the three topics; of a candle and its features the first record counts."""
        times: dict[Key, int] = {}
        for row in trades:
            for trade in _trades(row.value or b"[]"):
                times[trade.pair, trade.trade_id] = row.timestamp_ms
        return cls(times, _first_of(candles, _candle), _first_of(features, _features))


def _first_of(rows: Iterable[Tail], decode: Any) -> dict[Key, int]:
    times: dict[Key, int] = {}
    for row in rows:
        one = decode(row.value)
        if one.timeframe == "1m":
            times.setdefault((one.pair, one.open_ms), row.timestamp_ms)
    return times


def produced(file: Path, pairs: list[str]) -> tuple[list[Produced], float]:
    """Read what the pacer wrote: the trades of each pair, and how far it was behind its plan at p99 (ms)."""
    with np.load(file) as found:
        which = found["pair"]
        columns = {name: found[name] for name in ("trade_id", "ts_ns", "produced_ns")}
        behind_ms = float(np.percentile(found["behind_ms"], 99))
    parts = [(pair, which == at) for at, pair in enumerate(pairs)]
    return [
        Produced(pair, *(columns[name][mine] for name in ("trade_id", "ts_ns", "produced_ns")))
        for pair, mine in parts
        if mine.any()
    ], round(behind_ms, 2)


def live_seen(seen: Iterable[Seen]) -> dict[str, SeenLive]:
    """Sort the records of `candles-live` by pair."""
    rows: dict[str, list[tuple[int, int, int]]] = {}
    for one in seen:
        if one.topic == CANDLES_LIVE:
            candle = _candle(one.value)
            rows.setdefault(candle.pair, []).append((candle.last_trade_id, one.appended_ms, one.seen_ns))
    return {pair: SeenLive(*np.array(found, dtype=np.int64).T) for pair, found in rows.items()}


def forecasts_seen(seen: Iterable[Seen]) -> dict[Key, SeenForecasts]:
    """Give the forecasts of each candle by (pair, feature_open_ms); corrections and repeats do not count."""
    first: dict[Key, dict[int, Seen]] = {}
    for one in seen:
        if one.topic == FORECASTS:
            made = _forecast(one.value)
            first.setdefault((made.pair, made.feature_open_ms), {}).setdefault(made.horizon_s, one)
    return {
        key: SeenForecasts(max(o.appended_ms for o in by.values()), max(o.seen_ns for o in by.values()), len(by))
        for key, by in first.items()
    }


def live_of(trades: list[Produced], seen: dict[str, SeenLive], throttle_ms: float) -> Live:
    """Match all pairs' trades with their live candles. Raises ValueError where a trade was never seen."""
    found = []
    for one in trades:
        if one.pair not in seen:
            raise ValueError(f"{one.pair} has no live candle")
        rows = seen[one.pair]
        found.append(
            live_latencies(
                one.trade_id, one.produced_ns, rows.last_trade_id, rows.appended_ms, rows.seen_ns, throttle_ms
            )
        )
    return Live(
        np.concatenate([one.total_ms for one in found]),
        np.concatenate([one.above_throttle_ms for one in found]),
        np.concatenate([one.unheld for one in found]),
    )


def forecasts_of(
    trades: list[Produced], seen: dict[Key, SeenForecasts], lateness_ms: int, horizons: int, appended: Appended
) -> tuple[npt.NDArray[np.float64], dict[str, npt.NDArray[np.float64]]]:
    """Time from the trade that took the watermark past a candle's end to its last forecast seen (ms) [candles].

    Returns
    -------
    The latencies, and the same cut at the broker's append times: ingest, candles, features, predictor, reader.

    Raises
    ------
    ValueError
        A closed candle has no forecast, or not one for each horizon.
    """
    rows: list[tuple[float, ...]] = []
    for one in trades:
        for open_ms, at in zip(*closings(one.ts_ns, lateness_ms), strict=True):
            key = (one.pair, int(open_ms))
            made = seen.get(key)
            if made is None or made.horizons != horizons:
                raise ValueError(f"{one.pair} {open_ms} has {made.horizons if made else 0} of {horizons} forecasts")
            rows.append(
                (
                    one.produced_ns[at] / 1e6,
                    appended.trades[one.pair, int(one.trade_id[at])],
                    appended.candles[key],
                    appended.features[key],
                    made.appended_ms,
                    made.seen_ns / 1e6,
                )
            )
    times = np.array(rows, dtype=np.float64).reshape(-1, 6)
    hops = np.diff(times, axis=1).T
    names = ("ingest", "candles", "features", "predictor", "reader")
    return times[:, -1] - times[:, 0], dict(zip(names, hops, strict=True))


def one_each(trades: list[Produced], seen: Iterable[Seen], skip: dict[str, int]) -> npt.NDArray[np.float64]:
    """Match a peer that answers every trade with one record, in order: the n-th record of a key is of its n-th trade.

    `skip`: records of each pair that were seen for the trades of earlier phases (count).
    """
    times: dict[str, list[int]] = {}
    for one in seen:
        times.setdefault(one.key.decode(), []).append(one.seen_ns)
    return np.concatenate(
        [
            (np.array(times[one.pair][skip.get(one.pair, 0) :][: len(one.trade_id)]) - one.produced_ns) / 1e6
            for one in trades
        ]
    )
