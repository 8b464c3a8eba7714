-- Filled by RisingWave (tables/risingwave/60_sinks.sql), which writes by position: a new column goes to the end of both.
-- A correction anywhere in the 24 hours gives a row with a higher as_of_ms. Read with FINAL.
CREATE TABLE IF NOT EXISTS market_rolling
(
    pair           LowCardinality(String) COMMENT 'Kraken symbol, for example BTC/USD',
    open_time      DateTime64(3, 'UTC') COMMENT 'Start of the 1m candle' CODEC(DoubleDelta, ZSTD(1)),
    close          Float64 COMMENT 'Quote currency' CODEC(Delta, ZSTD(1)),
    return_1h      Nullable(Float64) COMMENT 'Log return over an hour; NULL where the candle an hour ago is missing' CODEC(ZSTD(1)),
    return_24h     Nullable(Float64) COMMENT 'Log return over 24 hours' CODEC(ZSTD(1)),
    volatility_1h  Nullable(Float64) COMMENT 'Root of the summed squares of 60 minute returns' CODEC(ZSTD(1)),
    volatility_24h Nullable(Float64) COMMENT 'The same of 1,440' CODEC(ZSTD(1)),
    minutes_1h     Int64 COMMENT 'Returns that were there (count)' CODEC(T64, ZSTD(1)),
    minutes_24h    Int64 COMMENT 'Returns that were there (count)' CODEC(T64, ZSTD(1)),
    as_of_ms       Int64 COMMENT 'Newest as_of of the candles within; row version' CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(as_of_ms)
PARTITION BY toYYYYMM(open_time)
ORDER BY (pair, open_time)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Rolling returns and volatility, kept by RisingWave';
