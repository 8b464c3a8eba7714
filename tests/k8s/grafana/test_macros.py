from __future__ import annotations

import pytest

from k8s.grafana.macros import Choice, Range, expand, points_s

WHEN = Range(1_000, 4_600, 60)
ALL = {"pair": ("BTC/USD", "ETH/USD")}


@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("$__timeFilter(t)", "t >= toDateTime(1000) AND t <= toDateTime(4600)"),
        ("$__timeInterval(c.t) AS time", "toStartOfInterval(toDateTime(c.t), INTERVAL 60 second) AS time"),
        ("$__fromTime - $__toTime", "toDateTime(1000) - toDateTime(4600)"),
        ("least(now(), $__toTime)", "least(now(), toDateTime(4600))"),
        ("count() / $__interval_s", "count() / 60"),
    ],
)
def test_macros_become_what_the_plugin_sends(sql: str, sent: str) -> None:
    assert expand(sql, WHEN, {}, {}) == sent


@pytest.mark.parametrize(
    ("sql", "pair", "sent"),
    [
        ("pair = ${pair:singlequote}", "BTC/USD", "pair = 'BTC/USD'"),
        ("pair IN (${pair:singlequote})", ("a", "b'c"), "pair IN ('a','b\\'c')"),
        ("pair IN (${pair:singlequote})", "$__all", "pair IN ('BTC/USD','ETH/USD')"),
        ("sma_${pair} $pair", "14", "sma_14 14"),
        ("$__conditionalAll(pair IN (${pair:singlequote}), $pair) AND 1", "$__all", "1=1 AND 1"),
        ("$__conditionalAll(pair IN (${pair:singlequote}), $pair)", ("a", "b"), "pair IN ('a','b')"),
        ("$__conditionalAll(f(pair, 1), $pair) OR $__conditionalAll(x, ${pair})", "$__all", "1=1 OR 1=1"),
    ],
)
def test_variables_are_written_as_grafana_writes_them(sql: str, pair: Choice, sent: str) -> None:
    assert expand(sql, WHEN, {"pair": pair}, ALL) == sent


@pytest.mark.parametrize(
    "sql",
    [
        "$__unknown(t)",
        "$__timeFilter(t + 1)",
        "$__timeInterval(toDateTime(t))",
        "${nobody}",
        "$__conditionalAll(a, $nobody)",
        "pair = ${pair}",
    ],
)
def test_what_grafana_would_send_wrongly_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match=r"unknown|only the name|several values"):
        expand(sql, WHEN, {"pair": ("a", "b")}, ALL)


def test_points_are_as_long_as_grafana_rounds_them() -> None:
    assert points_s(0, 6 * 3_600) == 60, "never shorter than a minute"
    assert points_s(0, 30 * 86_400) == 1_800
    assert points_s(0, 3_600, least_s=1) == 5
