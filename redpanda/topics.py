"""Every topic of tickcast, declared once. Admin, worker, docs and manifests read this table."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = [
    "ALERTS",
    "CANDLES",
    "CANDLES_LIVE",
    "CANDLE_STATE",
    "CHANGELOG_CONFIG",
    "DEAD_LETTERS",
    "EXPENDABLE",
    "FEATURES",
    "FEATURE_STATE",
    "FORECASTS",
    "FORECAST_ERRORS",
    "GROUP",
    "HOLES",
    "LEASES",
    "MARKET_STATS",
    "MODELS",
    "NEWS",
    "ROLLING_STATE",
    "SCORE_STATE",
    "SENTIMENT",
    "TOPICS",
    "TRADES",
    "TRADES_LATE",
    "TRAIN_REQUESTS",
    "TopicSpec",
    "changelog",
    "markdown",
]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


class TopicSpec(msgspec.Struct, frozen=True):
    """One topic: its name, what a record means and how long the broker keeps it."""

    name: str
    value: str
    """What one record holds, for docs and `tickcast topics list`."""
    cleanup: str
    """Kafka `cleanup.policy`."""
    retention_ms: int
    """Kafka `retention.ms`; -1 keeps for ever."""
    one_partition: bool = False
    """Whether all records have one order, whatever TICKCAST_PARTITIONS says."""
    more: dict[str, str] = {}
    """Further Kafka settings."""

    def partitions(self, wanted: int) -> int:
        """Give its number of partitions where the topics are to have `wanted` (count)."""
        return 1 if self.one_partition else wanted

    def config(self) -> dict[str, str]:
        """Topic configuration as the Kafka API takes it.

        Times are the broker's (LogAppendTime): replayed history carries old event times, and with
        CreateTime the broker would delete it at once.
        """
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "message.timestamp.type": "LogAppendTime",
            **self.more,
        }


TRADES: Final = "trades"
CANDLES: Final = "candles"
CANDLES_LIVE: Final = "candles-live"
FEATURES: Final = "features"
FORECASTS: Final = "forecasts"
FORECAST_ERRORS: Final = "forecast-errors"
TRAIN_REQUESTS: Final = "train-requests"
ALERTS: Final = "alerts"
NEWS: Final = "news"
SENTIMENT: Final = "sentiment"
TRADES_LATE: Final = "trades-late"
HOLES: Final = "holes"
DEAD_LETTERS: Final = "dead-letters"
LEASES: Final = "ingest-leases"
MARKET_STATS: Final = "market-stats"
MODELS: Final = "models"

TOPICS: Final[tuple[TopicSpec, ...]] = (
    TopicSpec(TRADES, "array of 1..N trades of one pair, in trade_id order", "delete", 30 * DAY_MS),
    # Never compact: the key is the pair, and compaction would keep one candle of each.
    TopicSpec(CANDLES, "one candle", "delete", 30 * DAY_MS),
    TopicSpec(CANDLES_LIVE, "the open 1m candle", "delete", HOUR_MS),
    TopicSpec(FEATURES, "one closed candle with its indicators", "delete", 30 * DAY_MS),
    TopicSpec(FORECASTS, "one forecast of one pair and horizon", "delete", 30 * DAY_MS),
    TopicSpec(FORECAST_ERRORS, "one forecast joined with what happened", "delete", 30 * DAY_MS),
    TopicSpec(
        TRAIN_REQUESTS,
        "somebody asks for a training (one partition: the trainer that reads it is the one that trains)",
        "delete",
        7 * DAY_MS,
        one_partition=True,
    ),
    TopicSpec(ALERTS, "drift, lost coverage or skill, an expired model: raised, or over", "delete", 30 * DAY_MS),
    TopicSpec(NEWS, "one headline", "delete", 30 * DAY_MS),
    TopicSpec(SENTIMENT, "one score per pair and window", "delete", 30 * DAY_MS),
    TopicSpec(TRADES_LATE, "a trade older than any window in state", "delete", 30 * DAY_MS),
    TopicSpec(HOLES, "trade ids that a feed passed over, and what became of them", "delete", 30 * DAY_MS),
    TopicSpec(MODELS, "a worker began to answer with a version of a model", "delete", 30 * DAY_MS),
    TopicSpec(DEAD_LETTERS, "a refused record with its reason", "delete", 30 * DAY_MS),
    TopicSpec(
        MARKET_STATS,
        "the newest rolling figures of a pair, from RisingWave (one partition: it spreads keys its own way)",
        # Unlike elsewhere one record a key is all that counts.
        "compact",
        -1,
        one_partition=True,
    ),
    TopicSpec(
        LEASES,
        "which ingest process publishes a set of pairs (one partition: its order decides)",
        "compact",
        -1,
        one_partition=True,
        # What was said within a lease must be there in full; small segments, or nothing is ever compacted.
        more={"min.compaction.lag.ms": str(HOUR_MS), "segment.bytes": str(1 << 20), "segment.ms": str(HOUR_MS)},
    ),
)


GROUP: Final = "tickcast"
"""Consumer group of the workers, and the first word of their changelogs."""
TRAINERS: Final = "tickcast-trainer"
"""Consumer group of the trainers: the member that has `train-requests` trains."""
CANDLE_STATE: Final = "candle-state"
FEATURE_STATE: Final = "feature-state"
SCORE_STATE: Final = "score-state"
ROLLING_STATE: Final = "rolling-state"
EXPENDABLE: Final = frozenset((SCORE_STATE, ROLLING_STATE))
"""Tables that begin anew where rows were lost: scores and corrections are learned again, candles are not."""
CHANGELOG_CONFIG: Final = {
    # The segment that is written to is never compacted: with Kafka's 1 GiB it would be all that there is.
    "segment.bytes": str(16 << 20),
    "segment.ms": str(HOUR_MS // 6),
    # A worker that was away this long still learns which rows were deleted.
    "delete.retention.ms": str(7 * DAY_MS),
}
"""What the changelogs of the tables have beside `cleanup.policy=compact`; Faust makes them."""


def changelog(table: str) -> str:
    """Name of the topic that a table is recovered from."""
    return f"{GROUP}-{table}-changelog"


def markdown() -> str:
    """Give the topics as the table of `redpanda/README.md`."""
    head = "| topic | one record | policy | kept |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `{spec.name}` | {spec.value} | {spec.cleanup} | {_span(spec.retention_ms)} |\n" for spec in TOPICS
    )


def _span(retention_ms: int) -> str:
    if retention_ms < 0:
        return "for ever"
    return f"{retention_ms // DAY_MS} d" if retention_ms >= DAY_MS else f"{retention_ms // HOUR_MS} h"
