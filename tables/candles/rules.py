"""Settings of the candle fold. Environment prefix `TICKCAST_`."""

from __future__ import annotations

from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tables.records import TIMEFRAME_MS

__all__ = ["CHILD_OF", "PARENTS", "STEP_MS", "CandleRules", "keep_from_ms"]

PARENTS: Final = ("5m", "15m", "1h", "4h", "1d")
"""Timeframes that are merged from a smaller one, smallest first."""

CHILD_OF: Final[dict[str, str]] = {"5m": "1m", "15m": "5m", "1h": "15m", "4h": "1h", "1d": "4h"}
_PARENT_OF: Final[dict[str, str]] = {child: parent for parent, child in CHILD_OF.items()}
STEP_MS: Final[dict[str, int]] = {str(timeframe): step for timeframe, step in TIMEFRAME_MS.items()}


class CandleRules(BaseSettings):
    """When a candle closes, how long it can be corrected, and which gaps are filled."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    lateness_ms: int = Field(default=2_000, ge=0, le=600_000)
    """How far the watermark of a pair runs behind its newest trade (ms)."""

    retention_ms: int = Field(default=900_000, ge=0, le=86_400_000)
    """How long after its end a 1m window still takes late trades (ms of event time)."""

    synthetic_gap_max_ms: int = Field(default=7 * 86_400_000, ge=0)
    """Of a silence, this much is filled with synthetic candles (ms); what is longer stays a gap."""

    idle_close_ms: int = Field(default=5_000, ge=100, le=3_600_000)
    """A pair without a trade for this long is closed by the clock (ms)."""

    idle_fill_max_ms: int = Field(default=86_400_000, ge=0)
    """How long a silent pair of a living feed is filled by the clock (ms); the next trade fills the rest."""

    feed_alive_ms: int = Field(default=60_000, ge=1_000, le=3_600_000)
    """Silence of all pairs for longer than this means that the feed is down: then nothing is filled (ms)."""

    future_tolerance_ms: int = Field(default=60_000, ge=0, le=86_400_000)
    """How far a trade may be ahead of the broker's append time before it is refused (ms)."""


def keep_from_ms(timeframe: str, horizon_ms: int) -> int:
    """Lowest open_ms to keep: a window stays while the window that contains it can still change."""
    step = STEP_MS[_PARENT_OF.get(timeframe, timeframe)]
    return horizon_ms - horizon_ms % step
