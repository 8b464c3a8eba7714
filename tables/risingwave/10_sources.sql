-- What the topics carry. A source stores nothing: the views of 20_current.sql keep what counts. Records arrive at
-- least once, so a row may come twice, and a corrected one comes after the one that it corrects; log_offset tells
-- which came later (one pair lies in one partition). Field names are those of tables/records.py.
CREATE SOURCE IF NOT EXISTS candles_log (
    pair VARCHAR,
    timeframe VARCHAR,
    open_ms BIGINT,
    open DOUBLE PRECISION,
    high DOUBLE PRECISION,
    low DOUBLE PRECISION,
    close DOUBLE PRECISION,
    volume DOUBLE PRECISION,
    quote_volume DOUBLE PRECISION,
    buy_volume DOUBLE PRECISION,
    trades BIGINT,
    revision INTEGER,
    synthetic BOOLEAN,
    closed_by VARCHAR,
    source VARCHAR,
    as_of_ms BIGINT
)
INCLUDE offset AS log_offset
WITH (
    connector = 'kafka',
    topic = 'candles',
    properties.bootstrap.server = ${broker},
    scan.startup.mode = 'earliest'
) FORMAT PLAIN ENCODE JSON;

-- `values` stays JSON: a new indicator needs no new source.
CREATE SOURCE IF NOT EXISTS features_log (
    pair VARCHAR,
    timeframe VARCHAR,
    open_ms BIGINT,
    open DOUBLE PRECISION,
    high DOUBLE PRECISION,
    low DOUBLE PRECISION,
    close DOUBLE PRECISION,
    volume DOUBLE PRECISION,
    quote_volume DOUBLE PRECISION,
    buy_volume DOUBLE PRECISION,
    trades BIGINT,
    vwap DOUBLE PRECISION,
    revision INTEGER,
    synthetic BOOLEAN,
    source VARCHAR,
    feature_set VARCHAR,
    bars BIGINT,
    "values" JSONB,
    as_of_ms BIGINT
)
INCLUDE offset AS log_offset
WITH (
    connector = 'kafka',
    topic = 'features',
    properties.bootstrap.server = ${broker},
    scan.startup.mode = 'earliest'
) FORMAT PLAIN ENCODE JSON;

CREATE SOURCE IF NOT EXISTS forecasts_log (
    pair VARCHAR,
    horizon_s INTEGER,
    made_at_ms BIGINT,
    feature_open_ms BIGINT,
    target_ms BIGINT,
    base_price DOUBLE PRECISION,
    q05 DOUBLE PRECISION,
    q25 DOUBLE PRECISION,
    q50 DOUBLE PRECISION,
    q75 DOUBLE PRECISION,
    q95 DOUBLE PRECISION,
    p_up DOUBLE PRECISION,
    model VARCHAR,
    model_version VARCHAR,
    trusted BOOLEAN,
    expires_at_ms BIGINT,
    revision INTEGER,
    source VARCHAR
)
INCLUDE offset AS log_offset
WITH (
    connector = 'kafka',
    topic = 'forecasts',
    properties.bootstrap.server = ${broker},
    scan.startup.mode = 'earliest'
) FORMAT PLAIN ENCODE JSON;

CREATE SOURCE IF NOT EXISTS forecast_errors_log (
    pair VARCHAR,
    horizon_s INTEGER,
    feature_open_ms BIGINT,
    target_ms BIGINT,
    model VARCHAR,
    model_version VARCHAR,
    outcome_revision INTEGER,
    synthetic BOOLEAN,
    return_bps DOUBLE PRECISION,
    error_bps DOUBLE PRECISION,
    pinball_bps DOUBLE PRECISION,
    baseline_pinball_bps DOUBLE PRECISION,
    below BOOLEAN[],
    source VARCHAR
)
INCLUDE offset AS log_offset
WITH (
    connector = 'kafka',
    topic = 'forecast-errors',
    properties.bootstrap.server = ${broker},
    scan.startup.mode = 'earliest'
) FORMAT PLAIN ENCODE JSON;

-- A record is an envelope, an array of trades: RisingWave reads an array on the top level as so many rows.
CREATE SOURCE IF NOT EXISTS trades_log (
    pair VARCHAR,
    trade_id BIGINT,
    ts_ns BIGINT,
    price DOUBLE PRECISION,
    qty DOUBLE PRECISION,
    side VARCHAR,
    source VARCHAR
)
WITH (
    connector = 'kafka',
    topic = 'trades',
    properties.bootstrap.server = ${broker},
    scan.startup.mode = 'earliest'
) FORMAT PLAIN ENCODE JSON;

CREATE SOURCE IF NOT EXISTS late_trades_log (
    trade JSONB,
    reason VARCHAR,
    watermark_ms BIGINT
)
WITH (
    connector = 'kafka',
    topic = 'trades-late',
    properties.bootstrap.server = ${broker},
    scan.startup.mode = 'earliest'
) FORMAT PLAIN ENCODE JSON;

CREATE SOURCE IF NOT EXISTS holes_log (
    pair VARCHAR,
    first_id BIGINT,
    last_id BIGINT,
    state VARCHAR,
    found_at_ms BIGINT,
    at_ms BIGINT,
    source VARCHAR
)
INCLUDE offset AS log_offset
WITH (
    connector = 'kafka',
    topic = 'holes',
    properties.bootstrap.server = ${broker},
    scan.startup.mode = 'earliest'
) FORMAT PLAIN ENCODE JSON;
