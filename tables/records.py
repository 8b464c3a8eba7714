"""The records on the wire: JSON, snake_case, integer times. Every stage speaks these and nothing else."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = [
    "DAY_MS",
    "MINUTE_MS",
    "SIDES",
    "TIMEFRAMES",
    "TIMEFRAME_MS",
    "Alert",
    "Candle",
    "ClosedBy",
    "DeadLetter",
    "Features",
    "Forecast",
    "ForecastError",
    "Hole",
    "HoleState",
    "LateTrade",
    "ModelInService",
    "Scored",
    "Side",
    "Timeframe",
    "Trade",
    "TrainRequest",
]

Side = Literal["buy", "sell", ""]
Timeframe = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
ClosedBy = Literal["", "watermark", "timer"]
HoleState = Literal["open", "repaired", "unrepairable"]

SIDES: Final[frozenset[str]] = frozenset(("buy", "sell", ""))
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
TIMEFRAME_MS: Final[dict[Timeframe, int]] = {
    "1m": MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "1d": DAY_MS,
}
TIMEFRAMES: Final[tuple[Timeframe, ...]] = tuple(TIMEFRAME_MS)


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One executed trade. A `trades` record is a JSON array of these, all of one pair, in trade_id order."""

    pair: str
    """Kraken's v2 symbol, for example `BTC/USD`."""
    trade_id: int
    """Per pair, step 1, never reused."""
    ts_ns: int
    """Exchange time, ns since the epoch."""
    price: float
    qty: float
    """Base quantity."""
    side: Side
    """The taker's: `buy`, `sell`, or empty where the source lacks it."""
    ord_type: str = ""
    """The taker's: `market`, `limit`, or empty."""
    source: str = "kraken"
    """`kraken`, `coinbase`, `sim` or `replay`: where the trade came from; every record made of it carries it on."""


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One candle of one pair and timeframe; the key of its topic is the pair."""

    pair: str
    timeframe: str
    open_ms: int
    """Start of the window, ms since the epoch; the window is [open_ms, open_ms + timeframe)."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    """Base volume."""
    quote_volume: float
    buy_volume: float
    """Base volume whose taker bought."""
    trades: int
    vwap: float
    """quote_volume / volume; the close where nothing traded."""
    first_trade_id: int
    """-1 where nothing traded."""
    last_trade_id: int
    closed: bool
    revision: int
    """0 at first close, +1 for each correction by a late trade."""
    synthetic: bool
    """Nothing traded: a flat candle at the previous close."""
    closed_by: str
    """`watermark`, `timer`, or empty while open."""
    source: str
    as_of_ms: int = 0
    """Append time of the newest `trades` record of the pair that it accounts for (ms). Of two versions of a candle the
    greater counts, of equal ones the later: a worker that lost its partitions unawares cannot undo what came since."""

    @property
    def age(self) -> tuple[int, int, int]:
        """What grows from version to version, for readers that must not go back, not even for a moment.

        Trades before revisions: the clock may close a larger window early, and a worker that lost that state makes
        the same candle again with fewer revisions.
        """
        return self.as_of_ms, self.trades, self.revision


class Features(msgspec.Struct, frozen=True, gc=False):
    """A closed candle with its indicators."""

    pair: str
    timeframe: str
    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    buy_volume: float
    trades: int
    vwap: float
    revision: int
    synthetic: bool
    source: str
    feature_set: str
    """Hash of the ordered feature names and definitions (`tables.features.FEATURE_SET`)."""
    bars: int
    """Candles of this pair and timeframe folded so far, this one included (count)."""
    values: dict[str, float | None]
    """Feature name to value; None until the indicator is warm. Names: `tables.features.FEATURE_NAMES`."""
    as_of_ms: int = 0
    """`as_of_ms` of the candle that made or corrected it; the greater counts."""


class Forecast(msgspec.Struct, frozen=True, gc=False):
    """One forecast of one pair and horizon. Immutable: of a candle that is corrected later there is no second one."""

    pair: str
    horizon_s: int
    made_at_ms: int
    feature_open_ms: int
    """open_ms of the 1m candle whose close is the base."""
    target_ms: int
    """feature_open_ms + 60,000 + horizon: the close time that is forecast."""
    base_price: float
    q05: float
    """Price quantiles, sorted."""
    q25: float
    q50: float
    q75: float
    q95: float
    p_up: float
    """Probability that the price at target_ms is above base_price."""
    sigma_bps: float
    """EWMA volatility over the horizon that the forecast was scaled with (log return, bps)."""
    model: str
    model_version: str
    model_alias: str
    feature_set: str
    trusted: bool
    reasons: list[str]
    """Why it is not trusted: `ml.trust.REASONS`; empty when it is."""
    expires_at_ms: int
    revision: int
    """Revision of the candle it was made of."""
    source: str


class Scored(msgspec.Struct, frozen=True, gc=False):
    """A forecast joined with what happened, as the store keeps it."""

    pair: str
    horizon_s: int
    feature_open_ms: int
    target_ms: int
    model: str
    model_version: str
    trusted: bool
    source: str
    base_price: float
    outcome_price: float
    """Close of the 1m candle that ends at target_ms."""
    outcome_revision: int
    """Revision of that candle."""
    synthetic: bool
    """Whether nothing traded in that minute: such an outcome counts in no score."""
    return_bps: float
    """Log return from base to outcome."""
    error_bps: float
    """Log return from the median to the outcome."""
    pinball_bps: float
    """Mean over the five levels."""
    baseline_pinball_bps: float
    """The same of the EWMA-volatility baseline with rolling quantiles; skill is one minus their ratio of sums."""
    below: tuple[bool, bool, bool, bool, bool]
    """Whether the outcome was below q05, q25, q50, q75, q95."""
    scored_at_ms: int

    @property
    def inside50(self) -> bool:
        """Whether the outcome was within q25 to q75."""
        return self.below[3] and not self.below[1]

    @property
    def inside90(self) -> bool:
        """Whether the outcome was within q05 to q95."""
        return self.below[4] and not self.below[0]


class ForecastError(Scored, frozen=True):
    """A scored forecast on the wire. A corrected outcome makes a second one with a higher `outcome_revision`."""

    drifting: bool = False
    """Whether an alarm stood on the model, pair and horizon after this outcome, see `ml.drift`."""


class TrainRequest(msgspec.Struct, frozen=True):
    """Somebody wants a training: the scorer after drift or lost skill, or a person."""

    horizon_s: int
    """0: all horizons."""
    reason: str
    """`drift`, `coverage`, `skill`, `expiry`, `demand`."""
    detail: str
    pair: str
    """Where it was seen; empty for a person's."""
    asked_at_ms: int


class Alert(msgspec.Struct, frozen=True):
    """Something a person should know of: raised once, and once more when it is over."""

    pair: str
    name: str
    """`feature-drift`, `error-drift`, `coverage`, `untrusted`, `skill`, `model-expired`."""
    horizon_s: int
    """0 where it is of no horizon."""
    raised: bool
    """False: it is over."""
    value: float
    bound: float
    text: str
    at_ms: int


class LateTrade(msgspec.Struct, frozen=True):
    """A trade that came after its window had left the state."""

    trade: Trade
    reason: str
    watermark_ms: int


class ModelInService(msgspec.Struct, frozen=True):
    """A worker began to answer with a version of a model."""

    horizon_s: int
    model: str
    model_version: str
    """`0` for the untrained baseline."""
    model_alias: str
    """Alias it was loaded by; empty for a stand-in."""
    feature_set: str
    source: str
    """Where its training data came from; empty for the untrained baseline."""
    data_to_ms: int | None
    """open_ms of the newest candle that it learned from; None for the untrained baseline."""
    expires_at_ms: int | None
    """From when on its forecasts are not trusted, ms since the epoch; None: never."""
    worker: str
    """Host and process id."""
    at_ms: int
    """Wall clock when it went into service, ms since the epoch."""


class Hole(msgspec.Struct, frozen=True):
    """Trade ids of a pair that the live feed passed over, and what became of them: the newest state counts."""

    pair: str
    first_id: int
    last_id: int
    """Inclusive; with `pair` and `first_id` the identity of the hole."""
    after_ns: int
    """Exchange time of the trade below it, ns since the epoch: where its ids are to be looked for."""
    state: HoleState
    tries: int
    """Requests for its ids so far (count)."""
    found_at_ms: int
    at_ms: int
    """Wall clock when the hole was seen, and of this state, ms since the epoch."""
    source: str


class DeadLetter(msgspec.Struct, frozen=True):
    """A refused record."""

    stage: str
    """Where it was refused: `ingest`, `candles`, `features`, `predictor`, `sink`."""
    reason: str
    """Short and countable, for example `price-not-positive`."""
    detail: str
    """What was wrong, for a person (at most 500 characters)."""
    payload: str
    """The record as text (at most 2,000 characters)."""
    topic: str
    partition: int
    offset: int
    """Where it came from; `""`, -1, -1 at the edge."""
    pair: str
    at_ms: int
    """Wall clock at the refusal, ms since the epoch."""
