-- Back to a topic: the newest figures of each pair. Its producer spreads keys by another hash than ours, so the topic
-- has one partition (redpanda/topics.py); the key is the pair as text, as everywhere.
CREATE SINK IF NOT EXISTS market_stats_sink FROM market_latest
WITH (
    connector = 'kafka',
    topic = 'market-stats',
    properties.bootstrap.server = ${broker},
    properties.allow.auto.create.topics = 'false',
    primary_key = 'pair'
) FORMAT UPSERT ENCODE JSON KEY ENCODE TEXT;

-- To ClickHouse (table market_rolling). append-only: a correction is a new row with a higher as_of_ms, and what leaves the
-- history here stays there. Columns by position and kind as in the table: the connector wants that.
CREATE SINK IF NOT EXISTS market_rolling_sink FROM market_rolling
WITH (
    connector = 'clickhouse',
    type = 'append-only',
    force_append_only = 'true',
    clickhouse.url = ${clickhouse_url},
    clickhouse.user = ${clickhouse_user},
    clickhouse.password = ${clickhouse_password},
    clickhouse.database = ${clickhouse_database},
    clickhouse.table = 'market_rolling'
);
