-- What the feed of a pair looked like, by hour: 1m candles (60 where nothing is missing), those without a trade, those
-- closed by the timer, those that late trades revised; late trades that found no candle; holes by what became of them.
CREATE MATERIALIZED VIEW IF NOT EXISTS feed_quality AS
SELECT
    pair, hour,
    SUM(candles)::BIGINT AS candles,
    SUM(synthetic)::BIGINT AS synthetic,
    SUM(by_timer)::BIGINT AS by_timer,
    SUM(revised)::BIGINT AS revised,
    SUM(late_trades)::BIGINT AS late_trades,
    SUM(holes_open)::BIGINT AS holes_open,
    SUM(holes_repaired)::BIGINT AS holes_repaired,
    SUM(holes_unrepairable)::BIGINT AS holes_unrepairable,
    SUM(ids_missing)::BIGINT AS ids_missing
FROM (
    SELECT
        pair, DATE_TRUNC('hour', open_time) AS hour,
        1 AS candles,
        CASE WHEN synthetic THEN 1 ELSE 0 END AS synthetic,
        CASE WHEN closed_by = 'timer' THEN 1 ELSE 0 END AS by_timer,
        CASE WHEN revision > 0 THEN 1 ELSE 0 END AS revised,
        0 AS late_trades, 0 AS holes_open, 0 AS holes_repaired, 0 AS holes_unrepairable, 0::BIGINT AS ids_missing
    FROM candles
    WHERE timeframe = '1m'
    UNION ALL
    SELECT pair, DATE_TRUNC('hour', traded_at) AS hour, 0, 0, 0, 0, 1, 0, 0, 0, 0::BIGINT
    FROM late_trades
    UNION ALL
    SELECT
        pair, DATE_TRUNC('hour', found_at) AS hour, 0, 0, 0, 0, 0,
        CASE WHEN state = 'open' THEN 1 ELSE 0 END,
        CASE WHEN state = 'repaired' THEN 1 ELSE 0 END,
        CASE WHEN state = 'unrepairable' THEN 1 ELSE 0 END,
        CASE WHEN state = 'repaired' THEN 0 ELSE last_id - first_id + 1 END
    FROM holes
) AS counted
GROUP BY pair, hour;
