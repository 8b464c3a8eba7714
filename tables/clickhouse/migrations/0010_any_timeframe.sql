-- Views only: they are made on read, so a corrected candle corrects them too, and nothing is counted twice.

-- SELECT * FROM candles_any(pair = 'BTC/USD', seconds = 1800, from_ms = 0, to_ms = 4102444800000)
-- A minute without trades counts only where the whole window has none: its flat price is no trade.
CREATE VIEW IF NOT EXISTS candles_any AS
SELECT
    c.pair AS pair,
    fromUnixTimestamp64Milli(intDiv(toUnixTimestamp64Milli(c.open_time), {seconds:UInt32} * 1000) * {seconds:UInt32} * 1000, 'UTC') AS window,
    if(sum(c.trades) > 0, argMinIf(c.open, c.open_time, c.trades > 0), argMin(c.open, c.open_time)) AS open,
    if(sum(c.trades) > 0, maxIf(c.high, c.trades > 0), max(c.high)) AS high,
    if(sum(c.trades) > 0, minIf(c.low, c.trades > 0), min(c.low)) AS low,
    if(sum(c.trades) > 0, argMaxIf(c.close, c.open_time, c.trades > 0), argMax(c.close, c.open_time)) AS close,
    sum(c.volume) AS volume,
    sum(c.quote_volume) AS quote_volume,
    sum(c.buy_volume) AS buy_volume,
    sum(c.trades) AS trades,
    if(sum(c.volume) > 0, sum(c.quote_volume) / sum(c.volume), argMax(c.close, c.open_time)) AS vwap,
    if(sum(c.trades) > 0, minIf(c.first_trade_id, c.trades > 0), -1) AS first_trade_id,
    max(c.last_trade_id) AS last_trade_id,
    sum(c.revision) AS revision,
    min(c.synthetic) AS synthetic,
    count() AS minutes,
    toBool(countIf(c.closed) * 60 = {seconds:UInt32}) AS complete,
    max(c.as_of) AS as_of
FROM candles AS c FINAL
WHERE c.pair = {pair:String}
  AND c.timeframe = '1m'
  AND c.open_time >= fromUnixTimestamp64Milli(intDiv({from_ms:Int64}, {seconds:UInt32} * 1000) * {seconds:UInt32} * 1000, 'UTC')
  AND c.open_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND NOT throwIf({seconds:UInt32} % 60 != 0, 'seconds has to be a multiple of 60')
GROUP BY pair, window
COMMENT 'Candles of any whole number of minutes, from the 1m ones: pair, seconds, from_ms, to_ms; complete says that every minute is there';

CREATE VIEW IF NOT EXISTS candle_quality AS
SELECT
    c.pair AS pair,
    toStartOfHour(c.open_time) AS hour,
    count() AS candles,
    countIf(c.synthetic) AS synthetic,
    countIf(c.revision > 0) AS revised,
    sum(c.revision) AS corrections,
    countIf(c.closed_by = 'timer') AS closed_by_timer,
    sum(c.trades) AS trades,
    max(c.open_time) AS last_open
FROM candles AS c FINAL
WHERE c.timeframe = '1m' AND c.closed
GROUP BY pair, hour
COMMENT 'Closed 1m candles (count) by pair and hour: synthetic, revised, corrections by late trades, closed by the timer';

CREATE VIEW IF NOT EXISTS dead_letter_hours AS
SELECT
    d.stage AS stage,
    d.reason AS reason,
    toStartOfHour(d.at) AS hour,
    count() AS letters,
    max(d.at) AS last_at
FROM dead_letters AS d FINAL
GROUP BY stage, reason, hour
COMMENT 'Refused records (count) by stage, reason and hour';
