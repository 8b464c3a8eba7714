"""May a forecast be relied on, and if not, why not: the one place where that is decided. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from ml.model import WARM_UP_BARS
from tables.records import MINUTE_MS

if TYPE_CHECKING:
    from tables.records import Features

__all__ = ["REASONS", "SOUND", "STALE_MS", "Standing", "doubts"]

STALE_MS: Final = 120_000
"""A forecast of a candle that closed longer ago than this is `stale`."""
REASONS: Final = ("stale", "warm-up", "synthetic", "drift", "model-expired", "no-champion")
"""Every reason, in the order in which a forecast carries them."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What is known of the model that makes a forecast; the defaults are those of one without blemish."""

    expires_at_ms: int | None = None
    """From this time on it is too old (`ForecastModel.expires_at_ms`); None: never."""
    is_champion: bool = True
    """False for the baseline that stands in where no champion could be loaded."""
    is_drifting: bool = False
    """Whether a standing alarm of the scorer says that it has got worse (`ml.drift`)."""


SOUND: Final = Standing()


def doubts(row: Features, now_ms: int, standing: Standing) -> list[str]:
    """Give the reasons not to trust a forecast of `row` that is made at `now_ms`; none: it is trusted.

    The age of the model is taken at the close of the candle, not now: the same candle and model always give the
    same answer, after a restart and in a backtest, too. A candle that is itself old is `stale`.
    """
    closed_ms = row.open_ms + MINUTE_MS
    found = {
        "stale": now_ms - closed_ms > STALE_MS,
        "warm-up": row.bars < WARM_UP_BARS,
        "synthetic": row.synthetic,
        "drift": standing.is_drifting,
        "model-expired": standing.expires_at_ms is not None and closed_ms >= standing.expires_at_ms,
        "no-champion": not standing.is_champion,
    }
    return [reason for reason in REASONS if found[reason]]
