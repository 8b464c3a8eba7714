-- Of a corrected outcome the newest revision counts; of equal ones the row that was written last.
CREATE TABLE IF NOT EXISTS forecast_errors
(
    pair                 LowCardinality(String) COMMENT 'Kraken symbol, for example BTC/USD',
    horizon_s            UInt32 COMMENT 'How far ahead (s)' CODEC(T64, ZSTD(1)),
    feature_open         DateTime64(3, 'UTC') COMMENT 'Start of the 1m candle whose close is the base' CODEC(DoubleDelta, ZSTD(1)),
    target_time          DateTime64(3, 'UTC') COMMENT 'The close time that was forecast' CODEC(DoubleDelta, ZSTD(1)),
    model                LowCardinality(String) COMMENT 'Registered model name',
    model_version        LowCardinality(String) COMMENT 'Version in the model registry',
    trusted              Bool COMMENT 'Whether the forecast was',
    source               LowCardinality(String) COMMENT 'kraken, sim (simulated) or replay',
    base_price           Float64 COMMENT 'Quote currency' CODEC(Delta, ZSTD(1)),
    outcome_price        Float64 COMMENT 'Close of the 1m candle that ends at target_time, quote currency' CODEC(Delta, ZSTD(1)),
    outcome_revision     UInt32 COMMENT 'Revision of that candle; row version' CODEC(T64, ZSTD(1)),
    synthetic            Bool COMMENT 'Nothing traded in that minute: counts in no score',
    return_bps           Float64 COMMENT 'Log return from base to outcome (bps)' CODEC(ZSTD(1)),
    error_bps            Float64 COMMENT 'Log return from the median to the outcome (bps)' CODEC(ZSTD(1)),
    pinball_bps          Float64 COMMENT 'Pinball loss, mean over the five levels (bps)' CODEC(ZSTD(1)),
    baseline_pinball_bps Float64 COMMENT 'The same of the EWMA-volatility baseline with rolling quantiles (bps)' CODEC(ZSTD(1)),
    below                Array(Bool) COMMENT 'Whether the outcome was below q05, q25, q50, q75, q95' CODEC(ZSTD(1)),
    scored_at            DateTime64(3, 'UTC') COMMENT 'Wall clock when it was scored' CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(outcome_revision)
PARTITION BY toYYYYMM(feature_open)
ORDER BY (pair, horizon_s, model, model_version, feature_open)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Forecasts joined with what happened';

CREATE TABLE IF NOT EXISTS alerts
(
    pair      LowCardinality(String) COMMENT 'Kraken symbol, for example BTC/USD',
    name      LowCardinality(String) COMMENT 'feature-drift, error-drift, coverage, skill or model-expired',
    horizon_s UInt32 COMMENT '0 where it is of no horizon (s)' CODEC(T64, ZSTD(1)),
    raised    Bool COMMENT 'False: it is over',
    value     Float64 COMMENT 'What was measured' CODEC(ZSTD(1)),
    bound     Float64 COMMENT 'What it is held against' CODEC(ZSTD(1)),
    text      String COMMENT 'For a person' CODEC(ZSTD(3)),
    at        DateTime64(3, 'UTC') COMMENT 'Wall clock' CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (pair, name, horizon_s, at, raised)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What a person should know of: raised, and over';

ALTER TABLE forecasts ADD COLUMN IF NOT EXISTS sigma_bps Float64 COMMENT 'EWMA volatility over the horizon that it was scaled with (log return, bps)' CODEC(ZSTD(1)) AFTER p_up;

CREATE VIEW IF NOT EXISTS forecast_accuracy AS
SELECT
    pair,
    horizon_s,
    model,
    model_version,
    toStartOfHour(target_time) AS hour,
    count() AS scored,
    avg(e.pinball_bps) AS pinball_bps,
    avg(e.baseline_pinball_bps) AS baseline_pinball_bps,
    if(sum(e.baseline_pinball_bps) > 0, 1 - sum(e.pinball_bps) / sum(e.baseline_pinball_bps), NULL) AS skill,
    avg(below[4] AND NOT below[2]) AS coverage50,
    avg(below[5] AND NOT below[1]) AS coverage90,
    avg(abs(error_bps)) AS mae_bps
FROM forecast_errors AS e FINAL
WHERE NOT synthetic
GROUP BY pair, horizon_s, model, model_version, hour
COMMENT 'Skill and coverage (shares) and losses (bps) by pair, horizon, model and hour of the outcome';
