"""A day and a bit of three pairs as the topics carry it: repeats, corrections, stale copies, a gap, silence.

`*_log` are the records in the order of the log; the properties give what counts of them, by plain Python.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, TypeVar

import msgspec

from tables.records import MINUTE_MS, Candle, Features, Forecast, ForecastError, Hole, LateTrade, Trade
from tests.support import samples

__all__ = ["DAY_MS", "HOUR_MS", "NOW", "NOW_MS", "PAIRS", "START_MS", "World", "newest"]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
START_MS: Final = 1_767_571_200_000
"""2026-01-05T00:00:00Z."""
NOW_MS: Final = START_MS + 26 * HOUR_MS
NOW: Final = datetime.fromtimestamp(NOW_MS / 1_000, UTC).isoformat()
PAIRS: Final = ("ADA/USD", "BTC/USD", "ETH/USD")
MINUTES: Final = 26 * 60 - 1
Record = TypeVar("Record")


def newest(log: list[Record], key: Callable[[Record], Hashable], version: Callable[[Record], Any]) -> list[Record]:
    """Give one record of each key: of the highest version, and of equal ones the later."""
    found: dict[Hashable, Record] = {}
    for record in log:
        name = key(record)
        if name not in found or version(record) >= version(found[name]):
            found[name] = record
    return list(found.values())


class World:
    """Everything from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.candle_log = self._again(self._candles())
        self.trade_log = self._again(self._trades())
        self.error_log = self._again(self._errors())
        self.hole_log = self._again(self._holes())
        self.late_log = self._again(self._late())
        self.feature_log = self._again(self._features())
        self.forecast_log = self._again(self._forecasts())

    def _again(self, records: list[Record]) -> list[Record]:
        """Repeat a stretch as a restarted worker does, and some single records."""
        repeated = []
        for at, record in enumerate(records):
            repeated.append(record)
            if self._random.random() < 0.05:
                repeated.append(record)
            if at == len(records) // 2:
                repeated += records[max(0, at - 50) : at + 1]
        return repeated

    def _candles(self) -> list[Candle]:
        rows = []
        closes = dict.fromkeys(PAIRS, 100.0)
        for minute in range(MINUTES):
            common = self._random.gauss(0, 5e-4)
            for pair in PAIRS:
                quiet = self._random.random() < 0.1
                move = 0.0 if quiet else common + self._random.gauss(0, 3e-4)
                closes[pair] *= math.exp(move)
                candle = samples.candle(
                    pair=pair,
                    open_ms=START_MS + minute * MINUTE_MS,
                    close=closes[pair],
                    synthetic=quiet,
                    closed_by=self._random.choice(("watermark", "timer")),
                    as_of_ms=START_MS + (minute + 1) * MINUTE_MS + 500,
                )
                if pair == "ADA/USD" and minute == 51:
                    continue  # a candle that never came
                rows.append(candle)
                if self._random.random() < 0.02:
                    late_ms = candle.as_of_ms + 3 * MINUTE_MS
                    rows.append(
                        msgspec.structs.replace(candle, close=candle.close * 1.001, revision=1, as_of_ms=late_ms)
                    )
                    rows.append(candle)  # a worker that lost its partition says what it knew
                if self._random.random() < 0.02:
                    rows.append(
                        msgspec.structs.replace(candle, close=candle.close * 0.999)
                    )  # rebuilt: the later counts
                if minute % 5 == 4:
                    rows.append(msgspec.structs.replace(candle, timeframe="5m", close=1.0))
        old = samples.candle(pair="BTC/USD", open_ms=START_MS - 9 * DAY_MS, close=1.0)  # beyond the history
        # Corrected a day late: what was computed since and has it in its window is of that time, too.
        late = next(row for row in rows if row.pair == "ADA/USD" and row.open_ms == START_MS + 50 * MINUTE_MS)
        return [old, *rows, msgspec.structs.replace(late, close=late.close * 1.0005, revision=9, as_of_ms=NOW_MS)]

    def _trades(self) -> list[Trade]:
        begin_ms = NOW_MS - 30 * MINUTE_MS
        sides: list[Any] = ["buy", "sell", ""]
        return [
            Trade(
                pair=pair,
                trade_id=number,
                ts_ns=(begin_ms + number * 3_700) * 1_000_000,
                price=100.0,
                qty=round(self._random.uniform(0.01, 2.0), 8),
                side=self._random.choices(sides, (6, 5, 1))[0] if number % 40 > 5 else "",
            )
            for number in range(400)
            for pair in PAIRS
        ]

    def _errors(self) -> list[ForecastError]:
        rows = []
        for minute in range(0, MINUTES, 3):
            for pair in PAIRS:
                below = sorted(self._random.random() < 0.4 for _ in range(5))
                row = ForecastError(
                    pair=pair,
                    horizon_s=self._random.choice((60, 300)),
                    feature_open_ms=START_MS + minute * MINUTE_MS,
                    target_ms=START_MS + (minute + 2) * MINUTE_MS,
                    model=self._random.choice(("ewma", "catboost")),
                    model_version="1",
                    trusted=True,
                    source="sim",
                    base_price=100.0,
                    outcome_price=100.1,
                    outcome_revision=0,
                    synthetic=self._random.random() < 0.1,
                    return_bps=1.0,
                    error_bps=self._random.gauss(0, 5),
                    pinball_bps=self._random.uniform(0.1, 3),
                    baseline_pinball_bps=self._random.uniform(0.1, 3),
                    below=(below[0], below[1], below[2], below[3], below[4]),
                    scored_at_ms=NOW_MS,
                )
                corrected = msgspec.structs.replace(
                    row, outcome_revision=1, error_bps=row.error_bps + 1, pinball_bps=9.0
                )
                rows.append(row)
                if self._random.random() < 0.1:
                    rows += [corrected, row]  # the older outcome comes once more
        return rows

    def _holes(self) -> list[Hole]:
        rows = []
        for number in range(60):
            at_ms = START_MS + number * 20 * MINUTE_MS
            hole = samples.hole(
                number * 20, pair=self._random.choice(PAIRS), found_at_ms=at_ms, at_ms=at_ms, last_id=number * 20 + 4
            )
            state = self._random.choice(("repaired", "unrepairable", ""))
            after = [msgspec.structs.replace(hole, state=state, at_ms=at_ms + 5)] if state else []
            rows += [hole, *after, *([hole] if number % 7 == 0 else [])]
        return rows

    def _late(self) -> list[LateTrade]:
        return [
            LateTrade(
                Trade(pair, 10_000 + number, (START_MS + number * 25 * MINUTE_MS) * 1_000_000, 1.0, 1.0, "buy"),
                "late",
                0,
            )
            for number in range(60)
            for pair in PAIRS[:2]
        ]

    def _features(self) -> list[Features]:
        rows = []
        for at in range(20):
            for pair in PAIRS:
                row = samples.features(at, self._random.random(), pair=pair, as_of_ms=1_000 + at)
                corrected = msgspec.structs.replace(
                    row, revision=1, as_of_ms=2_000, values={**row.values, "sma_7": None}
                )
                rows += [row, corrected, row] if at == 19 and pair == "BTC/USD" else [row]
        return rows

    def _forecasts(self) -> list[Forecast]:
        rows = []
        for at in range(10):
            for pair in PAIRS:
                row = samples.forecast(at, pair)
                rows += [row, msgspec.structs.replace(row, made_at_ms=row.made_at_ms + 7_000, q50=1.0)]
        return rows

    @cached_property
    def candles(self) -> dict[tuple[str, int], Candle]:
        """1m candles within the history by pair and open_ms."""
        rows = newest(self.candle_log, lambda row: (row.pair, row.timeframe, row.open_ms), lambda row: row.as_of_ms)
        return {
            (row.pair, row.open_ms): row for row in rows if row.timeframe == "1m" and row.open_ms > NOW_MS - 8 * DAY_MS
        }

    @cached_property
    def returns(self) -> dict[tuple[str, int], float]:
        """Log returns of the minutes whose minute before is there."""
        return {
            (pair, open_ms): math.log(row.close / self.candles[pair, open_ms - MINUTE_MS].close)
            for (pair, open_ms), row in self.candles.items()
            if (pair, open_ms - MINUTE_MS) in self.candles
        }

    @cached_property
    def trades(self) -> list[Trade]:
        return newest(self.trade_log, lambda row: (row.pair, row.trade_id), lambda _: 0)

    @cached_property
    def errors(self) -> list[ForecastError]:
        """What counts in a score."""
        rows = newest(
            self.error_log,
            lambda row: (row.pair, row.horizon_s, row.model, row.model_version, row.feature_open_ms),
            lambda row: row.outcome_revision,
        )
        return [row for row in rows if not row.synthetic]

    @cached_property
    def holes(self) -> list[Hole]:
        return newest(self.hole_log, lambda row: (row.pair, row.first_id), lambda row: row.at_ms)
