"""An hour of one seeded market: candles, forecasts of each minute, and what the page should make of them."""

from __future__ import annotations

import math
import random

import msgspec

from api.times import now_ms
from tables.records import MINUTE_MS, Candle, Forecast
from tests.support.samples import candle, forecast

HORIZONS_S = (60, 300)
LEVELS = {"q05": -1.645, "q25": -0.674, "q50": 0.0, "q75": 0.674, "q95": 1.645}
SIGMA_BPS = 8.0


class Hour:
    """Random-walk minutes that end now; each close is forecast with its true volatility."""

    def __init__(self, pair: str, minutes: int = 60, seed: int = 7) -> None:
        self.pair = pair
        self.first_ms = now_ms() // MINUTE_MS * MINUTE_MS - minutes * MINUTE_MS
        self._chance = random.Random(seed)
        self._price = 48_000.0
        self.candles: list[Candle] = []
        for _ in range(minutes):
            self.next_candle()
        self.forecasts = [self.forecast(row, horizon_s) for row in self.candles for horizon_s in HORIZONS_S]

    def next_candle(self, *, closed: bool = True) -> Candle:
        """Go on by one minute."""
        before, self._price = self._price, self._price * math.exp(self._chance.gauss(0, SIGMA_BPS / 10_000))
        row = candle(
            pair=self.pair,
            open_ms=self.first_ms + len(self.candles) * MINUTE_MS,
            open=before,
            high=max(before, self._price) + self._chance.random() * 9,
            low=min(before, self._price) - self._chance.random() * 9,
            close=self._price,
            closed=closed,
        )
        if closed:
            self.candles.append(row)
        return row

    def forecast(self, row: Candle, horizon_s: int) -> Forecast:
        """Forecast from the close of one candle."""
        sigma = SIGMA_BPS / 10_000 * math.sqrt(horizon_s / 60)
        made_ms = row.open_ms + MINUTE_MS
        made = forecast(
            pair=self.pair,
            horizon_s=horizon_s,
            feature_open_ms=row.open_ms,
            made_at_ms=made_ms + 100,
            target_ms=made_ms + horizon_s * 1_000,
            expires_at_ms=made_ms + horizon_s * 1_000,
            base_price=row.close,
        )
        quantiles = {name: row.close * math.exp(level * sigma) for name, level in LEVELS.items()}
        return msgspec.structs.replace(made, **quantiles)

    def scored(self, horizon_s: int) -> list[tuple[Forecast, float]]:
        """Forecasts whose time has come, with the close at their target."""
        closes = {row.open_ms + MINUTE_MS: row.close for row in self.candles}
        return [(f, closes[f.target_ms]) for f in self.forecasts if f.horizon_s == horizon_s and f.target_ms in closes]
