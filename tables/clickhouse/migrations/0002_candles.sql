-- A late trade corrects a candle: the row that accounts for the newer trades wins, and of equal ones the later
-- written one. So neither a repeat after a crash nor a worker that lost its partitions unawares undoes a correction,
-- and a rebuild from the same trades replaces what was there. Read with FINAL.
CREATE TABLE IF NOT EXISTS candles
(
    pair           LowCardinality(String) COMMENT 'Kraken symbol, for example BTC/USD',
    timeframe      LowCardinality(String) COMMENT '1m, 5m, 15m, 1h, 4h or 1d',
    open_time      DateTime64(3, 'UTC') COMMENT 'Start of the window, exchange time' CODEC(DoubleDelta, ZSTD(1)),
    open           Float64 COMMENT 'Quote currency' CODEC(Delta, ZSTD(1)),
    high           Float64 COMMENT 'Quote currency' CODEC(Delta, ZSTD(1)),
    low            Float64 COMMENT 'Quote currency' CODEC(Delta, ZSTD(1)),
    close          Float64 COMMENT 'Quote currency' CODEC(Delta, ZSTD(1)),
    volume         Float64 COMMENT 'Base currency' CODEC(ZSTD(1)),
    quote_volume   Float64 COMMENT 'Quote currency' CODEC(ZSTD(1)),
    buy_volume     Float64 COMMENT 'Base currency whose taker bought' CODEC(ZSTD(1)),
    trades         UInt32 COMMENT 'Trades in the window (count)' CODEC(T64, ZSTD(1)),
    vwap           Float64 COMMENT 'quote_volume / volume; the close where nothing traded' CODEC(Delta, ZSTD(1)),
    first_trade_id Int64 COMMENT '-1 where nothing traded' CODEC(Delta, ZSTD(1)),
    last_trade_id  Int64 COMMENT '-1 where nothing traded' CODEC(Delta, ZSTD(1)),
    closed         Bool COMMENT 'False while the window is open',
    revision       UInt32 COMMENT '0 at first close, +1 for each correction by a late trade' CODEC(T64, ZSTD(1)),
    synthetic      Bool COMMENT 'Nothing traded: a flat candle at the previous close',
    closed_by      LowCardinality(String) COMMENT 'watermark, timer, or empty while open',
    source         LowCardinality(String) COMMENT 'kraken, sim (simulated) or replay',
    as_of          DateTime64(3, 'UTC') COMMENT 'Append time of the newest trades that it accounts for; row version' CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(as_of)
PARTITION BY toYYYYMM(open_time)
ORDER BY (pair, timeframe, open_time)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One candle per pair, timeframe and window';
