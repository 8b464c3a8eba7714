-- Skill, coverage (shares) and losses (bps) of the forecasts by the hour of the outcome: the columns of ClickHouse's
-- view forecast_accuracy. An outcome that nothing traded in counts nowhere.
CREATE MATERIALIZED VIEW IF NOT EXISTS accuracy_hourly AS
SELECT
    pair, horizon_s, model, model_version, window_start AS hour,
    COUNT(*) AS scored,
    AVG(pinball_bps) AS pinball_bps,
    AVG(baseline_pinball_bps) AS baseline_pinball_bps,
    CASE WHEN SUM(baseline_pinball_bps) > 0 THEN 1 - SUM(pinball_bps) / SUM(baseline_pinball_bps) END AS skill,
    AVG(CASE WHEN inside50 THEN 1 ELSE 0 END)::DOUBLE PRECISION AS coverage50,
    AVG(CASE WHEN inside90 THEN 1 ELSE 0 END)::DOUBLE PRECISION AS coverage90,
    AVG(ABS(error_bps)) AS mae_bps
FROM TUMBLE(forecast_errors, target_time, INTERVAL '1 hour')
WHERE NOT synthetic
GROUP BY pair, horizon_s, model, model_version, window_start;

-- The same of the last 24 hours by the wall clock.
CREATE MATERIALIZED VIEW IF NOT EXISTS accuracy_24h AS
SELECT
    pair, horizon_s, model, model_version,
    COUNT(*) AS scored,
    AVG(pinball_bps) AS pinball_bps,
    AVG(baseline_pinball_bps) AS baseline_pinball_bps,
    CASE WHEN SUM(baseline_pinball_bps) > 0 THEN 1 - SUM(pinball_bps) / SUM(baseline_pinball_bps) END AS skill,
    AVG(CASE WHEN inside50 THEN 1 ELSE 0 END)::DOUBLE PRECISION AS coverage50,
    AVG(CASE WHEN inside90 THEN 1 ELSE 0 END)::DOUBLE PRECISION AS coverage90,
    AVG(ABS(error_bps)) AS mae_bps,
    MAX(target_time) AS last_target
FROM forecast_errors
WHERE NOT synthetic AND target_time > NOW() - INTERVAL '24 hours'
GROUP BY pair, horizon_s, model, model_version;
