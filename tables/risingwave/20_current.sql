-- One row of each thing: what a repeat brings again changes nothing, and of two versions the newer one counts. The
-- rules are those of the ClickHouse tables (ReplacingMergeTree and its version column).
CREATE MATERIALIZED VIEW IF NOT EXISTS candles AS
SELECT
    pair, timeframe, open_ms, TO_TIMESTAMP(open_ms / 1000.0) AS open_time,
    open, high, low, close, volume, quote_volume, buy_volume, trades,
    revision, synthetic, closed_by, source, as_of_ms
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY pair, timeframe, open_ms ORDER BY as_of_ms DESC, log_offset::BIGINT DESC
    ) AS place
    FROM candles_log
    WHERE TO_TIMESTAMP(open_ms / 1000.0) > NOW() - INTERVAL ${history}
) AS ranked
WHERE place = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS trades AS
SELECT pair, trade_id, TO_TIMESTAMP(ts_ns / 1000000000.0) AS traded_at, price, qty, side, source
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY pair, trade_id ORDER BY ts_ns) AS place
    FROM trades_log
    WHERE TO_TIMESTAMP(ts_ns / 1000000000.0) > NOW() - INTERVAL '2 hours'
) AS ranked
WHERE place = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS late_trades AS
SELECT
    trade ->> 'pair' AS pair,
    (trade ->> 'trade_id')::BIGINT AS trade_id,
    MIN(TO_TIMESTAMP((trade ->> 'ts_ns')::BIGINT / 1000000000.0)) AS traded_at
FROM late_trades_log
WHERE TO_TIMESTAMP((trade ->> 'ts_ns')::BIGINT / 1000000000.0) > NOW() - INTERVAL ${history}
GROUP BY trade ->> 'pair', (trade ->> 'trade_id')::BIGINT;

CREATE MATERIALIZED VIEW IF NOT EXISTS holes AS
SELECT pair, first_id, last_id, state, TO_TIMESTAMP(found_at_ms / 1000.0) AS found_at, at_ms
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY pair, first_id ORDER BY at_ms DESC, log_offset::BIGINT DESC) AS place
    FROM holes_log
) AS ranked
WHERE place = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS forecast_errors AS
SELECT
    pair, horizon_s, feature_open_ms, TO_TIMESTAMP(target_ms / 1000.0) AS target_time, model, model_version,
    outcome_revision, synthetic, return_bps, error_bps, pinball_bps, baseline_pinball_bps,
    below[4] AND NOT below[2] AS inside50, below[5] AND NOT below[1] AS inside90
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY pair, horizon_s, model, model_version, feature_open_ms
        ORDER BY outcome_revision DESC, log_offset::BIGINT DESC
    ) AS place
    FROM forecast_errors_log
    WHERE TO_TIMESTAMP(target_ms / 1000.0) > NOW() - INTERVAL ${history}
) AS ranked
WHERE place = 1;

-- The newest candle of each pair and timeframe with its indicators. No time filter: a pair that fell silent keeps its
-- last row, and its open_ms says how old that is.
CREATE MATERIALIZED VIEW IF NOT EXISTS features_latest AS
SELECT
    pair, timeframe, open_ms, open, high, low, close, volume, quote_volume, buy_volume, trades, vwap,
    revision, synthetic, source, feature_set, bars, "values", as_of_ms
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY pair, timeframe ORDER BY open_ms DESC, as_of_ms DESC, log_offset::BIGINT DESC
    ) AS place
    FROM features_log
) AS ranked
WHERE place = 1;

-- A forecast is immutable: what was published first stays.
CREATE MATERIALIZED VIEW IF NOT EXISTS forecasts_latest AS
SELECT
    pair, horizon_s, made_at_ms, feature_open_ms, target_ms, base_price, q05, q25, q50, q75, q95, p_up,
    model, model_version, trusted, expires_at_ms, revision, source
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY pair, horizon_s ORDER BY feature_open_ms DESC, revision DESC, made_at_ms, log_offset::BIGINT
    ) AS place
    FROM forecasts_log
) AS ranked
WHERE place = 1;
