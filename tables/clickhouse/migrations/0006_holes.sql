-- What became of a hole replaces what was said of it before: the state of the later time wins, and of equal times the
-- one that was written last. A hole found again in another month lies in another partition: read with FINAL, and without
-- do_not_merge_across_partitions_select_final.
CREATE TABLE IF NOT EXISTS holes
(
    pair     LowCardinality(String) COMMENT 'Kraken symbol, for example BTC/USD',
    first_id Int64 COMMENT 'First trade id that the feed passed over; with pair the identity of the hole' CODEC(Delta, ZSTD(1)),
    last_id  Int64 COMMENT 'Last one, inclusive' CODEC(Delta, ZSTD(1)),
    after    DateTime64(9, 'UTC') COMMENT 'Exchange time of the trade below it' CODEC(DoubleDelta, ZSTD(1)),
    state    LowCardinality(String) COMMENT 'open, repaired or unrepairable',
    tries    UInt32 COMMENT 'Requests for its ids so far (count)' CODEC(T64, ZSTD(1)),
    found_at DateTime64(3, 'UTC') COMMENT 'Wall clock when it was seen' CODEC(DoubleDelta, ZSTD(1)),
    at       DateTime64(3, 'UTC') COMMENT 'Wall clock of this state; row version' CODEC(DoubleDelta, ZSTD(1)),
    source   LowCardinality(String) COMMENT 'kraken, sim (simulated) or replay'
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY toYYYYMM(found_at)
ORDER BY (pair, first_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Trade ids that a feed passed over, and what became of them';

CREATE VIEW IF NOT EXISTS hole_hours AS
SELECT
    pair,
    toStartOfHour(found_at) AS hour,
    countIf(state = 'open') AS open,
    countIf(state = 'repaired') AS repaired,
    countIf(state = 'unrepairable') AS unrepairable,
    sumIf(last_id - first_id + 1, state = 'open') AS open_ids,
    sumIf(last_id - first_id + 1, state = 'repaired') AS repaired_ids,
    sumIf(last_id - first_id + 1, state = 'unrepairable') AS unrepairable_ids
FROM holes FINAL
GROUP BY pair, hour
COMMENT 'Holes (count) and their trade ids (count) by pair and hour in which they were found';
