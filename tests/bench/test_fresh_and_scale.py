"""Small runs of the freshness and the scale benchmark on the real parts."""

from __future__ import annotations

import pytest
from rich.console import Console

from redpanda.errors import MissingToolError
from redpanda.local.checks import find_java
from tests.bench import freshness, scale

pytestmark = [pytest.mark.component, pytest.mark.proof]


@pytest.fixture(autouse=True)
def _java() -> None:
    try:
        find_java()
    except MissingToolError as error:
        pytest.skip(str(error))


def test_small_freshness_run_finds_every_trade_and_forecast() -> None:
    found = freshness.run(freshness.options(["--quick", "--wait-quiet-s", "0"]), Console(quiet=True))
    assert set(found["figures"]) == {"20", "200"}
    for rate, figures in found["figures"].items():
        assert 0 < figures["live_p50_ms"] <= figures["live_p99_ms"]
        assert 0 < figures["forecast_p50_ms"] <= figures["forecast_p99_ms"]
        (run,) = (one for one in found["runs"] if one["rate"] == rate)
        assert run["live"]["n"] == run["trades"] == int(rate) * 4
        assert run["forecast"]["n"] > 0


def test_small_scale_run_measures_memory_and_two_workers_that_make_the_same() -> None:
    asked = scale.options(["--quick", "--pairs", "4", "--wait-quiet-s", "0"])
    found = scale.run(asked, Console(quiet=True))
    one, two = found["runs"]["workers"]
    assert (one["workers"], two["workers"]) == (1, 2)
    assert one["candles"] == two["candles"] == one["features"] > 0
    assert found["figures"]["speedup_2_workers"] > 0
    assert found["figures"]["rss_mb"]["4"] > 20
    assert found["figures"]["rocksdb_mb"]["4"] > 0
