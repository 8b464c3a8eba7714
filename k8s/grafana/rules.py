"""Alert rules. Each row that a query gives is one thing watched; its last column is held against the bound.

Grafana fills $NAME of annotations from its environment, so they say `.Labels.pair`, not `$labels.pair`; the SQL it
leaves alone.
"""

from __future__ import annotations

from typing import Any, Final

from k8s.grafana.build import query_model
from k8s.grafana.panel import CLICKHOUSE, PROMETHEUS, Rule

__all__ = ["GROUP", "RULES", "rule_group"]

GROUP: Final = "tickcast"
LOOK_BACK_S: Final = 7 * 86_400
DAY: Final = "> $__toTime - INTERVAL 1 DAY"
WEEK: Final = "> $__toTime - INTERVAL 7 DAY"
SCORED_AT_LEAST: Final = 500
"""Outcomes below which shares say little (count)."""

RULES: Final = (
    Rule(
        uid="tickcast-stale-candles",
        title="Candles are stale",
        summary="No closed minute of {{ .Labels.pair }} for {{ .Values.A }} s.",
        step="See ingest (/ready, the exchange's status) and the workers' lag in dashboard Pipeline.",
        severity="critical",
        above=180,
        sql=f"""SELECT pair, dateDiff('second', max(open_time) + INTERVAL 1 MINUTE, $__toTime) AS age
FROM candles
WHERE timeframe = '1m' AND open_time {WEEK}
GROUP BY pair""",
        wait="2m",
        silent_without_data=False,
    ),
    Rule(
        uid="tickcast-stale-forecasts",
        title="Forecasts are stale",
        summary="{{ .Labels.pair }} over {{ .Labels.horizon }} s: the newest forecast is of {{ .Values.A }} s ago.",
        step="If candles are fresh, see the worker's log and /health/live; if not, see that alert first.",
        severity="critical",
        above=300,
        sql=f"""SELECT pair, toString(horizon_s) AS horizon,
    dateDiff('second', max(feature_open) + INTERVAL 1 MINUTE, $__toTime) AS age
FROM forecasts
WHERE feature_open {WEEK}
GROUP BY pair, horizon""",
        wait="2m",
        silent_without_data=False,
    ),
    Rule(
        uid="tickcast-coverage",
        title="Coverage is out of bounds",
        summary="The 90 % band of {{ .Labels.pair }} over {{ .Labels.horizon }} s is off by {{ .Values.A }} over a "
        "day.",
        step="See Calibration in dashboard Forecasts; the scorer asks for a training by itself "
        "(docs/runbooks/models.md).",
        severity="warning",
        above=0.05,
        sql=f"""SELECT pair, toString(horizon_s) AS horizon, model, abs(avg(inside90) - 0.9) AS distance
FROM scored_forecasts
WHERE feature_open {WEEK} AND target_time {DAY}
GROUP BY pair, horizon_s, model
HAVING count() >= {SCORED_AT_LEAST}""",
    ),
    Rule(
        uid="tickcast-skill",
        title="The model is worse than the baseline",
        summary="{{ .Labels.model }} on {{ .Labels.pair }} over {{ .Labels.horizon }} s loses {{ .Values.A }} to "
        "the baseline.",
        step="See Skill by hour in dashboard Forecasts; `tickcast models` shows and rolls back versions.",
        severity="warning",
        above=0.02,
        sql=f"""SELECT pair, toString(horizon_s) AS horizon, model,
    sum(pinball_bps) / nullIf(sum(baseline_pinball_bps), 0) - 1 AS lost
FROM scored_forecasts
WHERE feature_open {WEEK} AND target_time {DAY}
GROUP BY pair, horizon_s, model
HAVING count() >= {SCORED_AT_LEAST}""",
    ),
    Rule(
        uid="tickcast-expired-model",
        title="The model has expired",
        summary="Forecasts of {{ .Labels.pair }} over {{ .Labels.horizon }} s are made by an expired model.",
        step="Is the trainer running? `tickcast train --request` asks it for a training.",
        severity="warning",
        above=0,
        sql="""SELECT pair, toString(horizon_s) AS horizon, countIf(has(reasons, 'model-expired')) AS expired
FROM forecasts FINAL
WHERE made_at > $__toTime - INTERVAL 10 MINUTE AND feature_open > $__toTime - INTERVAL 1 DAY
GROUP BY pair, horizon_s""",
    ),
    Rule(
        uid="tickcast-standing-alerts",
        title="The scorer has raised an alert",
        summary="{{ .Labels.name }} on {{ .Labels.pair }} over {{ .Labels.horizon }} s.",
        step="See Standing alerts in dashboard Pipeline, and docs/runbooks/models.md.",
        severity="warning",
        above=0,
        sql="""SELECT pair, name, toString(horizon_s) AS horizon, count() AS standing
FROM standing_alerts
GROUP BY pair, name, horizon""",
        wait="0s",
    ),
    Rule(
        uid="tickcast-unrepairable-holes",
        title="Trades are lost at the exchange",
        summary="{{ .Values.A }} trade ids of {{ .Labels.pair }} were given up within a day.",
        step="See Holes in dashboard Data quality; candles of that time lack those trades.",
        severity="warning",
        above=0,
        sql=f"""SELECT pair, sumIf(last_id - first_id + 1, state = 'unrepairable') AS ids
FROM holes FINAL
WHERE at {DAY}
GROUP BY pair""",
        wait="0s",
    ),
    Rule(
        uid="tickcast-open-holes",
        title="Holes stay open",
        summary="{{ .Values.A }} holes of {{ .Labels.pair }} have been open for a quarter of an hour.",
        step="Does the exchange's REST API answer? See ingest's log.",
        severity="warning",
        above=0,
        sql=f"""SELECT pair, countIf(state = 'open' AND found_at < $__toTime - INTERVAL 15 MINUTE) AS holes
FROM holes FINAL
WHERE found_at {WEEK}
GROUP BY pair""",
    ),
    Rule(
        uid="tickcast-dead-letters",
        title="Records are refused",
        summary="{{ .Values.A }} records refused by {{ .Labels.stage }} within a quarter of an hour: {{ "
        ".Labels.reason }}.",
        step="See Last dead letters in dashboard Pipeline: they hold the record and where it came from.",
        severity="warning",
        above=0,
        sql="""SELECT stage, reason, count() AS letters
FROM dead_letters FINAL
WHERE at > $__toTime - INTERVAL 15 MINUTE
GROUP BY stage, reason""",
        wait="0s",
    ),
    Rule(
        uid="tickcast-no-trades",
        title="Nothing trades",
        summary="{{ .Values.A }} of the last hour's minutes of {{ .Labels.pair }} are without trades.",
        step="A quiet pair, or a feed that is silent: see Minutes without trades in dashboard Data quality.",
        severity="warning",
        above=0.9,
        sql="""SELECT pair, countIf(synthetic) / count() AS share
FROM candles FINAL
WHERE timeframe = '1m' AND open_time > $__toTime - INTERVAL 1 HOUR
GROUP BY pair""",
    ),
    Rule(
        uid="tickcast-worker-lag",
        title="The workers are behind",
        summary="{{ .Values.A }} records wait.",
        step="See Lag by topic in dashboard Pipeline: one topic alone is usually the store that does not answer.",
        severity="warning",
        above=100_000,
        expr="sum(tickcast_worker_lag_records)",
    ),
    Rule(
        uid="tickcast-no-live-worker",
        title="No worker is live",
        summary="All workers are starting, in recovery or failed.",
        step="See Recovery in dashboard Pipeline, and the workers' logs (docs/runbooks/state.md).",
        severity="critical",
        above=0,
        expr='1 - max(tickcast_worker_phase{phase="live"})',
        silent_without_data=False,
    ),
    Rule(
        uid="tickcast-no-ingest",
        title="Nobody publishes trades",
        summary="No ingest holds the lease and is ready.",
        step="See ingest's log and /ready.",
        severity="critical",
        above=0,
        expr="1 - max(tickcast_ingest_lease_held * tickcast_ingest_ready)",
        wait="2m",
        silent_without_data=False,
    ),
)


def rule_group() -> dict[str, Any]:
    """Give the file that Grafana provisions alerts from."""
    return {
        "apiVersion": 1,
        "groups": [
            {"orgId": 1, "name": GROUP, "folder": GROUP, "interval": "1m", "rules": [_rule(one) for one in RULES]}
        ],
    }


def _rule(one: Rule) -> dict[str, Any]:
    span = {"from": LOOK_BACK_S, "to": 0}
    model = query_model(one.sql, "A", "table") if one.sql else {"refId": "A", "expr": one.expr, "instant": True}
    return {
        "uid": one.uid,
        "title": one.title,
        "condition": "B",
        "data": [
            {
                "refId": "A",
                "datasourceUid": CLICKHOUSE if one.sql else PROMETHEUS,
                "relativeTimeRange": span,
                "model": model,
            },
            {
                "refId": "B",
                "datasourceUid": "__expr__",
                "relativeTimeRange": span,
                "model": {
                    "refId": "B",
                    "type": "threshold",
                    "expression": "A",
                    "conditions": [{"evaluator": {"type": "gt", "params": [one.above]}}],
                },
            },
        ],
        "noDataState": "OK" if one.silent_without_data else "NoData",
        "execErrState": "Error",
        "for": one.wait,
        "annotations": {"summary": one.summary, "description": one.step},
        "labels": {"severity": one.severity, "service": "tickcast"},
        "isPaused": False,
    }
