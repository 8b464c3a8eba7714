-- Which version a worker answered with from when on. Aliases and verdicts are the registry's; what served is known here.
CREATE TABLE IF NOT EXISTS models
(
    horizon_s     UInt32 COMMENT 'How far ahead (s)' CODEC(T64, ZSTD(1)),
    model         LowCardinality(String) COMMENT 'Registered model name',
    model_version LowCardinality(String) COMMENT 'Version in the model registry; 0 for the untrained baseline',
    model_alias   LowCardinality(String) COMMENT 'Alias it was loaded by; empty for a stand-in',
    feature_set   LowCardinality(String) COMMENT 'Hash of the feature names and definitions it understands',
    source        LowCardinality(String) COMMENT 'Where its training data came from; empty for the untrained baseline',
    data_to       Nullable(DateTime64(3, 'UTC')) COMMENT 'Start of the newest candle that it learned from; NULL for the untrained baseline' CODEC(ZSTD(1)),
    expires_at    Nullable(DateTime64(3, 'UTC')) COMMENT 'From when on its forecasts are not trusted; NULL: never' CODEC(ZSTD(1)),
    worker        String COMMENT 'Who serves it: host and process id' CODEC(ZSTD(1)),
    at            DateTime64(3, 'UTC') COMMENT 'Wall clock when it went into service' CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (horizon_s, at, model, model_version, worker)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Models going into service, one row a worker and swap';

-- One tuple: an aggregate passes over a row whose argument is NULL.
CREATE VIEW IF NOT EXISTS models_in_service AS
SELECT
    horizon_s,
    told.1 AS model,
    told.2 AS model_version,
    told.3 AS model_alias,
    told.4 AS source,
    told.5 AS data_to,
    told.6 AS expires_at,
    since
FROM
(
    SELECT
        horizon_s,
        argMax((model, model_version, model_alias, source, data_to, expires_at), at) AS told,
        max(at) AS since
    FROM models
    GROUP BY horizon_s
)
COMMENT 'What was put in service last, by horizon';
