CREATE TABLE IF NOT EXISTS dead_letters
(
    at        DateTime64(3, 'UTC') COMMENT 'Wall clock at the refusal' CODEC(DoubleDelta, ZSTD(1)),
    stage     LowCardinality(String) COMMENT 'Where it was refused: ingest, candles, features, predictor, sink',
    reason    LowCardinality(String) COMMENT 'Short and countable, for example price-not-positive',
    detail    String COMMENT 'What was wrong, for a person' CODEC(ZSTD(3)),
    payload   String COMMENT 'The record as text' CODEC(ZSTD(3)),
    topic     LowCardinality(String) COMMENT 'Where it came from; empty at the edge',
    partition Int32 COMMENT '-1 at the edge',
    offset    Int64 COMMENT '-1 at the edge',
    pair      LowCardinality(String) COMMENT 'Kraken symbol; empty where it could not be read'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (stage, reason, at, topic, partition, offset, pair)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Refused records';
