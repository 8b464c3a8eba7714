"""Bounded latest-value and history views of the output topics. Pure: no I/O, no clock."""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from redpanda.errors import BadInputError
from tables.records import TIMEFRAMES, Candle, Forecast, ForecastError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["CHANNELS", "RECORD_OF", "Channel", "MarketView", "Record", "Update"]

Channel = Literal["forecasts", "candles", "candles-live", "errors"]
Record = Candle | Forecast | ForecastError
CHANNELS: Final[tuple[Channel, ...]] = ("forecasts", "candles", "candles-live", "errors")
RECORD_OF: Final[dict[Channel, type[Record]]] = {
    "forecasts": Forecast,
    "candles": Candle,
    "candles-live": Candle,
    "errors": ForecastError,
}
KINDS_MAX: Final = 64
"""Horizons of a pair, or of its models: more are bad input, or memory would grow with them."""


class Update(msgspec.Struct, frozen=True, gc=False):
    """One change that subscribers are told."""

    channel: Channel
    pair: str
    seq: int
    """Per channel and pair: 1, 2, 3, ... within one run of the process."""
    cursor: int
    """Offset in the topic's partition: grows with every update and outlives the process."""
    record: Record


class _Stream:
    """Sequence number and ring of one channel and pair."""

    __slots__ = ("cursor", "floor", "read", "ring", "seq")

    def __init__(self, ring: int, floor: int) -> None:
        self.seq = 0
        self.cursor = floor
        """Of the last update."""
        self.floor = floor
        """All updates after it are in the ring."""
        self.read = floor
        """Offset of the last record, also of one that told nothing new."""
        self.ring: deque[Update] = deque(maxlen=ring)

    def push(self, channel: Channel, record: Record, cursor: int) -> Update:
        if len(self.ring) == self.ring.maxlen:
            self.floor = self.ring[0].cursor
        self.seq += 1
        self.cursor = cursor
        update = Update(channel, record.pair, self.seq, cursor, record)
        self.ring.append(update)
        return update


class _Series:
    """The newest candles of one pair and timeframe, one per window."""

    __slots__ = ("_limit", "_opens", "_rows")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._opens: list[int] = []
        self._rows: dict[int, Candle] = {}

    def put(self, candle: Candle) -> bool:
        """Take the candle unless this window is already known as well or better."""
        known = self._rows.get(candle.open_ms)
        if known is not None:
            if candle.age < known.age or candle == known:
                return False
        else:
            insort(self._opens, candle.open_ms)
        self._rows[candle.open_ms] = candle
        if len(self._opens) > self._limit:
            del self._rows[self._opens.pop(0)]
        return True

    def newest(self) -> Iterator[Candle]:
        return (self._rows[open_ms] for open_ms in reversed(self._opens))


class MarketView:
    """What the output topics say now, with enough history for a client to resume.

    Parameters
    ----------
    history
        Candles kept for each pair and timeframe.
    ring
        Updates kept for each channel and pair.
    pairs_max
        Pairs taken before a new one is refused as bad input.
    """

    def __init__(self, *, history: int, ring: int, pairs_max: int = 2_000) -> None:
        self._history = history
        self._ring = ring
        self._pairs_max = pairs_max
        self.version = 0
        """Grows whenever the latest forecasts change."""
        self.clear()

    def clear(self) -> None:
        """Forget everything: the log it was folded from is no longer continuous."""
        self._pairs: set[str] = set()
        self._streams: dict[tuple[Channel, str], _Stream] = {}
        self._forecasts: dict[str, dict[int, Forecast]] = {}
        self.version += 1
        self._series: dict[tuple[str, str], _Series] = {}
        self._live: dict[str, Candle] = {}
        self._errors: dict[str, dict[tuple[int, str], ForecastError]] = {}

    def apply(self, channel: Channel, record: Record, cursor: int, first_cursor: int = 0) -> Update | None:
        """Fold one record.

        Parameters
        ----------
        cursor
            Offset of the record.
        first_cursor
            Offset at which reading its partition began; what lies before it is unknown here.

        Returns
        -------
        Update | None
            None where the record tells nothing new: a repeat, or an older revision.
        """
        if record.pair not in self._pairs:
            if len(self._pairs) >= self._pairs_max:
                raise BadInputError(f"pair {record.pair!r} is one more than the {self._pairs_max} that the API keeps")
            self._pairs.add(record.pair)
        is_news = self._fold(channel, record)
        stream = self._streams.get((channel, record.pair))
        if stream is None:
            stream = self._streams[channel, record.pair] = _Stream(self._ring, first_cursor - 1)
        stream.read = cursor
        return stream.push(channel, record, cursor) if is_news else None

    def _fold(self, channel: Channel, record: Record) -> bool:
        if isinstance(record, Forecast):
            return self._fold_forecast(record)
        if isinstance(record, ForecastError):
            return self._fold_error(record)
        if record.timeframe not in TIMEFRAMES:
            raise BadInputError(f"no such timeframe: {record.timeframe!r}")
        return self._fold_live(record) if channel == "candles-live" else self._fold_closed(record)

    def _fold_forecast(self, forecast: Forecast) -> bool:
        latest = self._forecasts.setdefault(forecast.pair, {})
        known = latest.get(forecast.horizon_s)
        _room_for(forecast.horizon_s, latest)
        if known == forecast:
            return False
        if known is None or _age(forecast) >= _age(known):
            latest[forecast.horizon_s] = forecast
            self.version += 1
        return True  # an older one is still news to a subscriber, it only never becomes the latest

    def _fold_error(self, error: ForecastError) -> bool:
        latest = self._errors.setdefault(error.pair, {})
        kind = (error.horizon_s, error.model)
        known = latest.get(kind)
        _room_for(kind, latest)
        if known == error:
            return False
        if known is None or _score_age(error) >= _score_age(known):
            latest[kind] = error
        return True

    def _fold_closed(self, candle: Candle) -> bool:
        key = (candle.pair, candle.timeframe)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(self._history)
        live = self._live.get(candle.pair)
        if live is not None and live.timeframe == candle.timeframe and live.open_ms <= candle.open_ms:
            del self._live[candle.pair]
        return series.put(candle)

    def _fold_live(self, candle: Candle) -> bool:
        known = self._live.get(candle.pair)
        if known is not None and (candle == known or candle.open_ms < known.open_ms):
            return False
        closed = next(self.candles(candle.pair, candle.timeframe), None)
        if closed is not None and closed.open_ms >= candle.open_ms:
            return False
        self._live[candle.pair] = candle
        return True

    def pairs(self) -> frozenset[str]:
        """Every pair seen."""
        return frozenset(self._pairs)

    def latest_forecasts(self, pair: str | None = None, horizon_s: int | None = None) -> list[Forecast]:
        """Give the newest forecast of each pair and horizon, ordered by both."""
        pairs = sorted(self._forecasts) if pair is None else [pair]
        return [
            forecast
            for name in pairs
            for horizon, forecast in sorted(self._forecasts.get(name, {}).items())
            if horizon_s is None or horizon == horizon_s
        ]

    def candles(self, pair: str, timeframe: str) -> Iterator[Candle]:
        """Candles kept of one pair and timeframe, newest first."""
        series = self._series.get((pair, timeframe))
        return iter(()) if series is None else series.newest()

    def snapshot(self, channel: Channel, pair: str) -> list[Record]:
        """Give what a new subscriber starts from: the latest of each horizon (and model), or timeframe."""
        if channel == "forecasts":
            return [*self.latest_forecasts(pair)]
        if channel == "errors":
            return [error for _, error in sorted(self._errors.get(pair, {}).items())]
        if channel == "candles-live":
            live = self._live.get(pair)
            return [] if live is None else [live]
        newest = (next(self.candles(pair, timeframe), None) for timeframe in TIMEFRAMES)
        return [candle for candle in newest if candle is not None]

    def position(self, channel: Channel, pair: str) -> tuple[int, int]:
        """Sequence number and cursor of the last update; (0, -1) before the first."""
        stream = self._streams.get((channel, pair))
        return (0, -1) if stream is None else (stream.seq, stream.cursor)

    def since(self, channel: Channel, pair: str, cursor: int) -> list[Update] | None:
        """Give the updates after `cursor`, or None where some of them may be gone."""
        stream = self._streams.get((channel, pair))
        if stream is None or not stream.floor <= cursor <= stream.read:
            return None
        return [update for update in stream.ring if update.cursor > cursor]

    def is_ahead(self, channel: Channel, pair: str, cursor: int) -> bool:
        """Whether `cursor` lies beyond the last record read of this channel and pair."""
        stream = self._streams.get((channel, pair))
        return stream is not None and cursor > stream.read


def _age(forecast: Forecast) -> tuple[int, int, int]:
    return forecast.feature_open_ms, forecast.revision, forecast.made_at_ms


def _score_age(error: ForecastError) -> tuple[int, int, int]:
    return error.target_ms, error.outcome_revision, error.scored_at_ms


def _room_for(kind: object, latest: Mapping[Any, object]) -> None:
    if kind not in latest and len(latest) >= KINDS_MAX:
        raise BadInputError(f"{kind!r} is one more than the {KINDS_MAX} horizons that the API keeps of a pair")
