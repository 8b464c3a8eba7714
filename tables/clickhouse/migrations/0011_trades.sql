-- Trades as they were ingested, where TICKCAST_STORE_TRADES says so: a copy of topic `trades` beyond its retention. The
-- key has no time: REST and the socket give one trade's with different digits. Ids of two sources are two sequences.
CREATE TABLE IF NOT EXISTS trades
(
    pair     LowCardinality(String) COMMENT 'Kraken symbol, for example BTC/USD',
    time     DateTime64(9, 'UTC') COMMENT 'Exchange time' CODEC(Delta, ZSTD(1)),
    trade_id Int64 COMMENT 'Per pair and source, step 1, never reused' CODEC(Delta, ZSTD(1)),
    price    Float64 COMMENT 'Quote currency' CODEC(Delta, ZSTD(1)),
    qty      Float64 COMMENT 'Base currency' CODEC(ZSTD(1)),
    side     LowCardinality(String) COMMENT 'Taker side: buy, sell, or empty where the source lacks it',
    ord_type LowCardinality(String) COMMENT 'The taker''s: market, limit, or empty',
    source   LowCardinality(String) COMMENT 'kraken, coinbase, sim (simulated) or replay'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (pair, source, trade_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Single trades; filled only with TICKCAST_STORE_TRADES=true';

CREATE TABLE IF NOT EXISTS late_trades
(
    pair      LowCardinality(String) COMMENT 'Kraken symbol, for example BTC/USD',
    time      DateTime64(9, 'UTC') COMMENT 'Exchange time' CODEC(DoubleDelta, ZSTD(1)),
    trade_id  Int64 COMMENT 'Per pair and source, step 1, never reused' CODEC(Delta, ZSTD(1)),
    price     Float64 COMMENT 'Quote currency' CODEC(Delta, ZSTD(1)),
    qty       Float64 COMMENT 'Base currency' CODEC(ZSTD(1)),
    side      LowCardinality(String) COMMENT 'Taker side: buy, sell, or empty where the source lacks it',
    source    LowCardinality(String) COMMENT 'kraken, coinbase, sim (simulated) or replay',
    reason    LowCardinality(String) COMMENT 'Why no candle could take it',
    watermark DateTime64(3, 'UTC') COMMENT 'Watermark of the pair when it came, exchange time' CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (pair, source, trade_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Trades that came after their window had left the state: in no candle of this store';
