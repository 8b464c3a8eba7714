-- A forecast is immutable: what was published first stays, so the version falls as made_at rises.
-- A corrected candle (higher revision) makes a new forecast beside the old one.
CREATE TABLE IF NOT EXISTS forecasts
(
    pair          LowCardinality(String) COMMENT 'Kraken symbol, for example BTC/USD',
    horizon_s     UInt32 COMMENT 'How far ahead (s)' CODEC(T64, ZSTD(1)),
    made_at       DateTime64(3, 'UTC') COMMENT 'Wall clock when it was made' CODEC(DoubleDelta, ZSTD(1)),
    feature_open  DateTime64(3, 'UTC') COMMENT 'Start of the 1m candle whose close is the base' CODEC(DoubleDelta, ZSTD(1)),
    target_time   DateTime64(3, 'UTC') COMMENT 'The close time that is forecast' CODEC(DoubleDelta, ZSTD(1)),
    base_price    Float64 COMMENT 'Quote currency' CODEC(Delta, ZSTD(1)),
    q05           Float64 COMMENT '5 % price quantile, quote currency' CODEC(ZSTD(1)),
    q25           Float64 COMMENT '25 % price quantile, quote currency' CODEC(ZSTD(1)),
    q50           Float64 COMMENT 'Median price, quote currency' CODEC(ZSTD(1)),
    q75           Float64 COMMENT '75 % price quantile, quote currency' CODEC(ZSTD(1)),
    q95           Float64 COMMENT '95 % price quantile, quote currency' CODEC(ZSTD(1)),
    p_up          Float64 COMMENT 'Probability of a price above base_price, 0 to 1' CODEC(ZSTD(1)),
    model         LowCardinality(String) COMMENT 'Registered model name',
    model_version LowCardinality(String) COMMENT 'Version in the model registry',
    model_alias   LowCardinality(String) COMMENT 'champion, or how it was chosen',
    feature_set   LowCardinality(String) COMMENT 'Hash of feature names and definitions',
    trusted       Bool COMMENT 'False when a reason below stands against it',
    reasons       Array(LowCardinality(String)) COMMENT 'stale, warm-up, synthetic, drift, model-expired',
    expires_at    DateTime64(3, 'UTC') COMMENT 'Not to be used after this time' CODEC(DoubleDelta, ZSTD(1)),
    revision      UInt32 COMMENT 'Revision of the candle it was made of' CODEC(T64, ZSTD(1)),
    source        LowCardinality(String) COMMENT 'kraken, sim (simulated) or replay',
    first_wins    UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Milli(made_at))) COMMENT 'Row version: earlier is higher'
)
ENGINE = ReplacingMergeTree(first_wins)
PARTITION BY toYYYYMM(feature_open)
ORDER BY (pair, horizon_s, model, feature_open, revision)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One forecast per pair, horizon, model and candle revision';
