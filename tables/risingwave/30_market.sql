-- Log return of each minute. as_of_ms is the newest of what it was made of.
CREATE MATERIALIZED VIEW IF NOT EXISTS returns_1m AS
SELECT
    c.pair, c.open_ms, c.open_time, c.close, c.synthetic,
    LN(c.close / p.close) AS log_return,
    GREATEST(c.as_of_ms, p.as_of_ms) AS as_of_ms
FROM candles AS c
JOIN candles AS p ON p.pair = c.pair AND p.timeframe = c.timeframe AND p.open_ms = c.open_ms - 60000
WHERE c.timeframe = '1m';

-- Returns over and volatility within the last hour and day, at every minute (log return; volatility is the root of the
-- summed squares). minutes_* count the returns that were there: 60 and 1440 where nothing is missing.
CREATE MATERIALIZED VIEW IF NOT EXISTS market_rolling AS
SELECT
    r.pair,
    r.open_time,
    r.close,
    LN(r.close / h.close) AS return_1h,
    LN(r.close / d.close) AS return_24h,
    r.volatility_1h,
    r.volatility_24h,
    r.minutes_1h,
    r.minutes_24h,
    GREATEST(r.as_of_ms, COALESCE(h.as_of_ms, 0), COALESCE(d.as_of_ms, 0)) AS as_of_ms
FROM (
    SELECT
        pair, open_ms, open_time, close,
        SQRT(SUM(log_return * log_return) OVER (
            PARTITION BY pair ORDER BY open_ms RANGE BETWEEN 3540000 PRECEDING AND CURRENT ROW
        )) AS volatility_1h,
        SQRT(SUM(log_return * log_return) OVER (
            PARTITION BY pair ORDER BY open_ms RANGE BETWEEN 86340000 PRECEDING AND CURRENT ROW
        )) AS volatility_24h,
        COUNT(*) OVER (
            PARTITION BY pair ORDER BY open_ms RANGE BETWEEN 3540000 PRECEDING AND CURRENT ROW
        ) AS minutes_1h,
        COUNT(*) OVER (
            PARTITION BY pair ORDER BY open_ms RANGE BETWEEN 86340000 PRECEDING AND CURRENT ROW
        ) AS minutes_24h,
        MAX(as_of_ms) OVER (
            PARTITION BY pair ORDER BY open_ms RANGE BETWEEN 86340000 PRECEDING AND CURRENT ROW
        ) AS as_of_ms
    FROM returns_1m
) AS r
LEFT JOIN candles AS h ON h.pair = r.pair AND h.timeframe = '1m' AND h.open_ms = r.open_ms - 3600000
LEFT JOIN candles AS d ON d.pair = r.pair AND d.timeframe = '1m' AND d.open_ms = r.open_ms - 86400000;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_latest AS
SELECT
    pair, (EXTRACT(EPOCH FROM open_time) * 1000)::BIGINT AS open_ms, close,
    return_1h, return_24h, volatility_1h, volatility_24h, minutes_1h, minutes_24h, as_of_ms
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY pair ORDER BY open_time DESC) AS place
    FROM market_rolling
) AS ranked
WHERE place = 1;

-- Minutes in which both pairs traded.
CREATE MATERIALIZED VIEW IF NOT EXISTS return_pairs AS
SELECT a.pair, b.pair AS other, a.open_time, a.log_return AS x, b.log_return AS y
FROM returns_1m AS a
JOIN returns_1m AS b ON b.open_ms = a.open_ms
WHERE a.pair < b.pair AND NOT a.synthetic AND NOT b.synthetic;

-- Pearson's correlation of minute returns over a day, anew every hour. NULL where one of them did not move.
CREATE MATERIALIZED VIEW IF NOT EXISTS correlation_24h AS
SELECT
    pair, other, window_start, window_end, minutes,
    CASE WHEN vx > 0 AND vy > 0 THEN cov / SQRT(vx * vy) END AS correlation
FROM (
    SELECT
        pair, other, window_start, window_end,
        COUNT(*) AS minutes,
        SUM(x * y) - SUM(x) * SUM(y) / COUNT(*) AS cov,
        SUM(x * x) - SUM(x) * SUM(x) / COUNT(*) AS vx,
        SUM(y * y) - SUM(y) * SUM(y) / COUNT(*) AS vy
    FROM HOP(return_pairs, open_time, INTERVAL '1 hour', INTERVAL '24 hours')
    GROUP BY pair, other, window_start, window_end
) AS sums;

-- Taker buys minus sells over volume, -1 to 1, of one minute, anew every ten seconds. Straight from the trades: it
-- moves before a candle closes.
CREATE MATERIALIZED VIEW IF NOT EXISTS taker_imbalance AS
SELECT
    pair, window_start, window_end, trades, buy_volume, sell_volume,
    CASE WHEN buy_volume + sell_volume > 0
        THEN (buy_volume - sell_volume) / (buy_volume + sell_volume) END AS imbalance
FROM (
    SELECT
        pair, window_start, window_end,
        COUNT(*) AS trades,
        SUM(CASE WHEN side = 'buy' THEN qty ELSE 0 END) AS buy_volume,
        SUM(CASE WHEN side = 'sell' THEN qty ELSE 0 END) AS sell_volume
    FROM HOP(trades, traded_at, INTERVAL '10 seconds', INTERVAL '1 minute')
    GROUP BY pair, window_start, window_end
) AS sums;
