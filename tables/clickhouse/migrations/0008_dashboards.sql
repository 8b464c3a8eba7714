-- What the dashboards of k8s/grafana read more than once. Plain views: FINAL is inside, so that nobody forgets it.
CREATE VIEW IF NOT EXISTS scored_forecasts AS
SELECT
    pair,
    horizon_s,
    model,
    model_version,
    feature_open,
    target_time,
    scored_at,
    error_bps,
    pinball_bps,
    baseline_pinball_bps,
    below,
    below[4] AND NOT below[2] AS inside50,
    below[5] AND NOT below[1] AS inside90
FROM forecast_errors FINAL
WHERE NOT synthetic
COMMENT 'Outcomes that count in scores, one row each, with whether they were inside q25 to q75 and q05 to q95';

CREATE VIEW IF NOT EXISTS standing_alerts AS
SELECT pair, name, horizon_s, told.1 AS value, told.2 AS bound, told.3 AS text, told.4 AS since
FROM
(
    SELECT pair, name, horizon_s, argMax((value, bound, text, at, raised), (at, raised)) AS told
    FROM alerts
    GROUP BY pair, name, horizon_s
)
WHERE told.5
COMMENT 'Alerts of the scorer that are raised and not over';

CREATE VIEW IF NOT EXISTS model_versions AS
SELECT
    pair,
    horizon_s,
    model,
    model_version,
    argMax(model_alias, feature_open) AS model_alias,
    min(feature_open) AS first_bar,
    max(feature_open) AS last_bar
FROM forecasts
GROUP BY pair, horizon_s, model, model_version
COMMENT 'Models that have made forecasts, with the first and the last bar of each';
