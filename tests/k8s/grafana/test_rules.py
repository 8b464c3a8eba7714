"""Alert rules on the real engine: silent on a good store, and each fires on what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k8s.grafana.macros import Range, expand
from k8s.grafana.panel import Rule
from k8s.grafana.rules import RULES
from tests.support.dashboards import END_S, PAIRS, ask, seed

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = pytest.mark.component

RECENT = f"toDateTime64({END_S}, 3, 'UTC')"

# Statements that make a good store bad, by the rule that has to fire.
BAD = {
    "tickcast-stale-candles": "ALTER TABLE candles DELETE WHERE pair = 'ETH/USD' AND open_time > {recent} - "
    "INTERVAL 10 MINUTE",
    "tickcast-stale-forecasts": "ALTER TABLE forecasts DELETE WHERE horizon_s = 300 AND feature_open > "
    "{recent} - INTERVAL 10 MINUTE",
    "tickcast-coverage": "INSERT INTO forecast_errors SELECT * REPLACE (2 AS outcome_revision, [false, false, "
    "false, false, false] AS below) "
    "FROM forecast_errors FINAL WHERE pair = 'BTC/USD' AND horizon_s = 60 AND feature_open > {recent} - INTERVAL 3 "
    "HOUR",
    "tickcast-skill": "INSERT INTO forecast_errors SELECT * REPLACE (2 AS outcome_revision, pinball_bps * 2 "
    "AS pinball_bps) "
    "FROM forecast_errors FINAL WHERE pair = 'BTC/USD' AND horizon_s = 60",
    "tickcast-expired-model": "INSERT INTO forecasts SELECT * REPLACE (1 AS revision, false AS trusted, "
    "['model-expired'] AS reasons) "
    "FROM forecasts WHERE pair = 'BTC/USD' AND feature_open > {recent} - INTERVAL 5 MINUTE",
    "tickcast-standing-alerts": "INSERT INTO alerts VALUES ('BTC/USD', 'error-drift', 60, true, 0.2, 0.1, "
    "'worse', {recent})",
    "tickcast-unrepairable-holes": "INSERT INTO holes VALUES ('BTC/USD', 5, 9, {recent}, 'unrepairable', 5, "
    "{recent}, {recent}, 'kraken')",
    "tickcast-open-holes": "INSERT INTO holes VALUES ('BTC/USD', 105, 109, {recent}, 'open', 1, {recent} - "
    "INTERVAL 1 HOUR, {recent}, 'kraken')",
    "tickcast-dead-letters": "INSERT INTO dead_letters VALUES ({recent} - INTERVAL 1 MINUTE, 'candles', "
    "'malformed-record', '', '', 'trades', 0, 1, '')",
    "tickcast-no-trades": "INSERT INTO candles SELECT * REPLACE (true AS synthetic, as_of + INTERVAL 1 SECOND "
    "AS as_of) "
    "FROM candles WHERE pair = 'BTC/USD' AND timeframe = '1m' AND open_time > {recent} - INTERVAL 2 HOUR",
}
OF_STORE = [rule for rule in RULES if rule.sql]


def fires(client: Client, rule: Rule) -> list[tuple[Any, ...]]:
    """Give the rows above the bound, as the threshold in the file judges them."""
    sql = expand(rule.sql, Range(END_S - 7 * 86_400, END_S, 60), {}, {})
    _, types, rows = ask(client, sql)
    assert all("String" in kind for kind in types[:-1]), "all but the last column are labels"
    return [row for row in rows if row[-1] > rule.above]


def good(client: Client) -> None:
    seed(client, 1_440, PAIRS[:2])
    for table in ("alerts", "holes", "dead_letters"):
        client.command(f"TRUNCATE TABLE {table}")


def test_good_store_is_silent_and_each_fault_is_told_by_its_rule(store_client: Client) -> None:
    good(store_client)
    assert {rule.uid: found for rule in OF_STORE if (found := fires(store_client, rule))} == {}
    told = set()
    for rule in OF_STORE:
        store_client.command(BAD[rule.uid].format(recent=RECENT))
        told.add(rule.uid)
        firing = {one.uid for one in OF_STORE if fires(store_client, one)}
        assert firing == told, rule.uid


def test_repaired_hole_and_ended_alert_are_silent(store_client: Client) -> None:
    good(store_client)
    for rule in ("tickcast-open-holes", "tickcast-standing-alerts"):
        store_client.command(BAD[rule].format(recent=RECENT))
    store_client.command(
        "INSERT INTO holes SELECT * REPLACE ('repaired' AS state, at + INTERVAL 1 SECOND AS at) FROM holes"
    )
    store_client.command(
        "INSERT INTO alerts SELECT * REPLACE (false AS raised, at + INTERVAL 1 SECOND AS at) FROM alerts"
    )
    assert {rule.uid for rule in OF_STORE if fires(store_client, rule)} == set()


def test_every_rule_of_the_store_is_tried() -> None:
    assert {rule.uid for rule in OF_STORE} == set(BAD)
