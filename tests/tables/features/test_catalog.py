"""The registry: what follows from the indicators, and that adding one is one file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pytest

from tables.clickhouse import migrate
from tables.features import FEATURE_NAMES, FEATURE_SET
from tables.features.arrays import Array, Columns, left_pad, windows
from tables.features.bulk import feature_matrix
from tables.features.catalog import CATALOG, Catalog
from tables.features.fold import PairFeatures, features_key
from tables.features.indicator import Indicator
from tables.features.indicators.ema import Ema
from tables.features.window import Window
from tables.records import MINUTE_MS
from tests.support.market import columns, market
from tests.tables.features.conformance import REVISABLE_MS, Check, folded, values_of, yield_checks

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).relative_to(ROOT)
PAIR = "BTC/USD"
SPAN: Final = 9
EXACT: Final = {name for one in CATALOG.indicators if one.exact for name in one.names}


class Pressure(Indicator):
    """Sum of the ranges of the last 9 bars in units of the close, and its exponential mean: a toy with all parts."""

    place = 9_000
    names = ("pressure_9", "pressure_mean_9")
    about = ("Ranges of 9 bars over the close", "Exponential mean of pressure_9, k = .2")
    warm_up = (SPAN - 1, SPAN - 1)
    inputs: ClassVar = {"high": SPAN, "low": SPAN}
    sums: ClassVar = [("trades", SPAN)]

    def __init__(self) -> None:
        super().__init__()
        self.state = (0.0,)

    def update(self, window: Window) -> Sequence[float]:
        assert len(self.pick(window.sums)) == 1
        ranges = [high - low for high, low in zip(window.highs[-SPAN:], window.lows[-SPAN:], strict=True)]
        pressure = sum(ranges) / window.close
        (mean,) = self.state
        if window.bars >= SPAN:
            mean = pressure if window.bars == SPAN else (pressure - mean) * 0.2 + mean
        self.state = (mean,)
        return pressure, mean

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        pressure = left_pad(windows(bars["high"] - bars["low"], SPAN).sum(axis=1), bars.rows) / bars["close"]
        means = pressure.copy()
        for at in range(SPAN, bars.rows):
            means[at] = (pressure[at] - means[at - 1]) * 0.2 + means[at - 1]
        return [pressure, means]


def test_names_order_and_hash_are_those_of_the_stored_rows() -> None:
    # Those of today; a new indicator comes behind them. Another hash makes every model and every row of state unusable.
    today = Catalog([one for one in CATALOG.indicators if one.place <= 160])
    assert today.feature_set == "2334ce310439"
    sql = (ROOT / "tables/clickhouse/migrations/0003_features.sql").read_text()
    found = re.findall(r"^    (\w+) +Float64 COMMENT '(.*)' CODEC\(Gorilla", sql, re.MULTILINE)
    assert tuple(name for name, _ in found) == today.names
    assert today.about == dict(found)


def test_every_file_of_the_folder_holds_one_indicator() -> None:
    files = {file.stem for file in (ROOT / "tables/features/indicators").glob("*.py")} - {"__init__"}
    assert sorted(one.__module__.rpartition(".")[2] for one in CATALOG.indicators) == sorted(files)


def test_hash_follows_from_names_order_and_versions() -> None:
    class Newer(Ema):
        version = 2

    class Later(Ema):
        place = 99

    first, second = CATALOG.indicators[:2]
    assert second is Ema
    found: list[list[type[Indicator]]] = [[first, Ema], [first, Newer], [first], [Ema], [Later, CATALOG.indicators[2]]]
    assert len({Catalog(one).feature_set for one in found}) == len(found)
    # A place that changes no order changes nothing.
    assert Catalog([first, Ema]).feature_set == Catalog([first, Later]).feature_set


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"place": 20, "names": ("other",)}, "share place 20"),
        ({"place": 999, "names": ("ema_7",)}, "share the name ema_7"),
        ({"place": 999, "names": ("other",), "about": ()}, "one entry of warm_up and of about"),
        ({"place": 999, "names": ("other",), "inputs": {"funding": 3}}, "reads funding"),
        ({"place": 999, "names": ("other",), "sums": [("high", 3)]}, "reads high"),
    ],
)
def test_indicator_that_does_not_fit_is_named(changes: dict[str, object], told: str) -> None:
    shape: dict[str, object] = {"about": ("x",), "warm_up": (0,)}
    odd = type("Odd", (Pressure,), {**shape, **changes})
    with pytest.raises(ValueError, match=f"Odd.*{told}"):
        Catalog([*CATALOG.indicators, odd])


@pytest.mark.parametrize("check", list(yield_checks(Pressure)))
def test_new_indicator_gets_every_check(check: Check) -> None:
    check(Pressure)


def test_new_indicator_goes_through_live_bulk_and_restart_beside_the_others() -> None:
    catalog = Catalog([*CATALOG.indicators, Pressure])
    assert catalog.names == (*FEATURE_NAMES, *Pressure.names)
    assert catalog.feature_set != FEATURE_SET
    candles = market(200, 100.0)
    table: dict[bytes, bytes] = {}
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get, catalog)
    live = []
    for at, candle in enumerate(candles):
        (row,) = fold.apply(candle)
        assert row.feature_set == catalog.feature_set
        live.append(values_of(catalog, row.values))
        if at % 50 == 7:
            table[features_key(PAIR, "1m")] = fold.pack()
            fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get, catalog)
            assert not fold.started_over
    bulk = feature_matrix(columns(candles), MINUTE_MS, catalog)
    np.testing.assert_allclose(np.array(live)[:, -2:], bulk[:, -2:], rtol=1e-12)
    # Those that were there before do not notice; one more row of sums may only change their rounding.
    before = folded(CATALOG, candles)
    np.testing.assert_allclose(np.array(live)[:, :-2], before, rtol=1e-9, atol=1e-15)
    exact = [at for at, name in enumerate(FEATURE_NAMES) if name in EXACT]
    np.testing.assert_array_equal(np.array(live)[:, exact], before[:, exact])


FILE = '''
"""A toy."""

from __future__ import annotations

from tables.features.arrays import Array, Columns
from tables.features.indicator import Indicator
from tables.features.window import Window


class Spread(Indicator):
    """High less low."""

    place = 2_000
    names = ("spread_1",)
    about = ("High less low, quote currency, it''s a toy",)
    warm_up = (0,)
    unit = "price"
    exact = True

    def update(self, window: Window) -> tuple[float, ...]:
        return (window.high - window.low,)

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return [bars["high"] - bars["low"]]
'''


def test_adding_an_indicator_is_one_file(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for folder in ("tables", "redpanda", "tests"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "results", "e2e", "chaos")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tables/features/indicators/spread.py").write_text(FILE.replace("''s", "'s"))
    chosen = ["test_conformance.py", "test_catalog.py", "../clickhouse/test_migrate.py", "../clickhouse/test_rows.py"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not component"),
            *("-k", "Spread or test_catalog or test_migrate or test_rows"),
            *("--deselect", f"{HERE}::{request.node.name}"),
            *(str(Path("tests/tables/features", name)) for name in chosen),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    print(done.stdout)


def test_store_needs_no_script_for_a_new_feature() -> None:
    today = [one for one in CATALOG.indicators if one.place <= 160]
    statements = migrate.feature_columns(Catalog([*today, Pressure]), set(Catalog(today).names))
    assert statements == {
        "pressure_9": "ALTER TABLE features ADD COLUMN IF NOT EXISTS pressure_9 Float64 DEFAULT nan "
        "COMMENT 'Ranges of 9 bars over the close' CODEC(Gorilla, ZSTD(1)) AFTER tod_cos",
        "pressure_mean_9": "ALTER TABLE features ADD COLUMN IF NOT EXISTS pressure_mean_9 Float64 DEFAULT nan "
        "COMMENT 'Exponential mean of pressure_9, k = .2' CODEC(Gorilla, ZSTD(1)) AFTER pressure_9",
    }
