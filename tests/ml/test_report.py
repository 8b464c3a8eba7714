from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from base64 import b85decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ml.checks.contract import Breach
from ml.checks.quality import Gap, Move, Quality
from ml.evaluate import Metrics
from ml.gate import Check
from ml.inputs import INPUT_NAMES
from ml.leaderboard import Leaderboard, Standing
from ml.report import script
from ml.report.charts import figures
from ml.report.content import Content, lines
from ml.report.page import render
from ml.report.profile import ks, profile, psi
from ml.report.tables import number, percent
from ml.training import FoldFigures, HorizonReport
from ml.tuning import Trial

HOSTILE = "</script><script>window.bad=1</script><img src=x onerror=bad()>&\"'"
LIMIT_BYTES = 2_000_000


def metrics(pinball_bps: float = 2.8) -> Metrics:
    return Metrics(1_000, pinball_bps, 10.5, 15.0, 0.51, 0.5, 0.9, 20.0, 46.0)


def content(*, promoted: bool = False, text: str = "BTC/USD", trials: int = 30) -> Content:
    chance = np.random.default_rng(3)
    x = chance.normal(size=(5_000, len(INPUT_NAMES))).astype(np.float32)
    report = HorizonReport(
        horizon_s=300,
        promoted=promoted,
        reasons=[] if promoted else [text],
        version="7",
        champion_version="7" if promoted else "4",
        rows={"train": 5_000, "calibration": 900, "test": 1_500},
        skill=0.0068,
        mae_skill=-0.001,
        coverage90=0.899,
        metrics={"challenger": metrics(2.7), "baseline": metrics(), text: metrics(2.9)},
        checks=[Check(text, promoted, 0.0068, ">= 0.002"), Check("data contract", True, text, "kept")],
        folds=[FoldFigures(at * 10**9, at * 10**9 + 1, 500, 2.7, 0.01, 0.5, 0.9) for at in range(9)],
        calibration={"challenger": [0.05, 0.25, 0.5, 0.75, 0.95], text: [0.04, 0.24, 0.5, 0.76, 0.96]},
        importance=dict.fromkeys(INPUT_NAMES, 1.5),
        quality=Quality(
            *(9_000, 1, 0, 3, 20, 0, 130, 0.0, 0, 10**12),
            gap_runs=1,
            longest_gap=Gap(text, 86_400_000, 3),
            jumps=1,
            largest_move=Move(text, 86_460_000, 0.5, 1_015.9),
            broken=[Breach("no jumps", 1, 86_460_000)],
        ),
    )
    params = {"depth": 4.0, "learning_rate": 0.05}
    tried = [Trial(at, "COMPLETE" if at % 3 else "PRUNED", 0.24 + at / 1e4, params, 1.0 + at) for at in range(trials)]
    return Content(report, (text,), text, text, "f" * 12, "i" * 12, 10**12, profile(x, x + 1), tried)


class Page(HTMLParser):
    """What a browser would make of it: elements, their attributes, and the text outside of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._script = tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._script = self._script and tag not in {"script", "style"}

    def handle_data(self, data: str) -> None:
        self.text += "" if self._script else data


def test_page_is_small_and_asks_nobody_for_anything() -> None:
    html = render(content(trials=400))
    assert len(html.encode()) < LIMIT_BYTES
    page = Page(html)
    assert [name for _, has in page.elements for name in has if name in {"src", "srcset", "integrity"}] == []
    assert [has["href"] for tag, has in page.elements if "href" in has and not str(has["href"]).startswith("#")] == []
    assert [tag for tag, _ in page.elements if tag in {"link", "iframe", "img", "object", "base"}] == []
    own = html.split('<script type="text/plain"')[0]
    assert "http" not in own
    assert "url(" not in own


def test_hostile_names_stay_text_everywhere() -> None:
    html = render(content(text=HOSTILE))
    page = Page(html)
    assert "img" not in {tag for tag, _ in page.elements}
    assert sum(tag == "script" for tag, _ in page.elements) == 3
    assert page.text.count(HOSTILE) >= 8, "shown as it is: pair, source, code, check, value, model, gap, move"
    assert HOSTILE not in html


def test_page_tells_gaps_jumps_and_what_broke_the_contract() -> None:
    text = Page(render(content())).text
    assert "3 in 1 gaps" in text
    assert "3 min of BTC/USD from 1970-01-02 00:00" in text
    assert "+50.00 %, 1,016 times the usual one, BTC/USD at 1970-01-02 00:01" in text
    assert "1 row with a jump further than a market moves in a minute" in text


def test_every_figure_can_be_read_without_a_script() -> None:
    made = content()
    text = Page(render(made)).text
    for expected in ("+0.68 %", "89.9 %", "fold 9", "0.0068", ">= 0.002", "not held", *INPUT_NAMES[:3], "30 trials"):
        assert expected in text
    assert set(figures(made)) == {
        "chart-folds",
        "chart-calibration",
        "chart-importance",
        "chart-drift",
        "chart-history",
        "chart-parallel",
    }


def test_a_refusal_reads_as_the_normal_case() -> None:
    refused, promoted = Page(render(content())).text, Page(render(content(promoted=True))).text
    assert "version 4 goes on serving. This is the normal case" in refused
    assert "Version 7 serves from now on" in promoted
    assert "normal case" not in promoted


def test_a_training_that_never_began_has_a_page_too() -> None:
    thin = HorizonReport(60, False, ["too few rows"], "", "1")
    text = Page(render(Content(thin, (), "sim", "v1", "f", "i", 0))).text
    assert "too few rows" in text
    assert "The gate was not asked" in text


def test_packed_plotly_unpacks_to_the_library() -> None:
    packed, size = script.packed_plotly()
    back = packed.encode().translate(bytes.maketrans(script._ALPHABET, script._PYTHONS))
    source = zlib.decompress(b85decode(back)[:size], -15)
    assert source.startswith(b"/**")
    assert b"plotly.js" in source[:200]
    assert len(source) > 4_000_000
    assert not set(packed) & set("<>&\"'\\")


def test_without_plotly_the_page_has_its_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "packed_plotly", lambda: ("", 0))
    html = render(content())
    assert "<script" not in html
    assert "+0.68 %" in html


def test_drawn_by_a_browser_from_a_file(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed: the page is not drawn")
    file = tmp_path / "report.html"
    file.write_text(render(content(text=HOSTILE)))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command = [browser, *flags, "--virtual-time-budget=20000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    drawn = set(re.findall(r'<div class="chart js-plotly-plot" id="([a-z-]+)"', done.stdout))
    assert drawn == set(figures(content()))
    assert 'id="no-charts" hidden=""' in done.stdout


def test_leaderboard_prefers_the_walk_forward() -> None:
    def standing(model: str, fold: int | None, pair: str, pinball_bps: float) -> Standing:
        return Standing(model, fold, pair, metrics(pinball_bps), 0.0, 0.0, 0.0, None, None, None)

    made = content()
    rows = [standing("ridge", None, "", 2.75), standing("ridge", 1, "", 9.0), standing("ridge", None, "X/USD", 9.0)]
    board = Leaderboard(300, ("X/USD",), [], [*rows, standing("ewma-vol", None, "", 2.8)], {})
    assert [line.model for line in lines(made)] == ["challenger", "baseline", "BTC/USD"]
    found = lines(Content(made.report, (), "", "", "", "", 0, leaderboard=board))
    assert [line.model for line in found] == ["ridge", "ewma-vol"]
    assert found[0].pinball_skill == pytest.approx(1 - 2.75 / 2.8)


def test_drift_measures_tell_a_shift_from_none() -> None:
    chance = np.random.default_rng(1)
    one, same, other = chance.normal(size=(3, 20_000))
    assert psi(one, same) < 0.01
    assert psi(one, other + 1) > 0.5
    assert ks(one, same) < 0.02
    assert ks(one, other + 1) == pytest.approx(0.383, abs=0.02), "2 Phi(1/2) - 1"
    assert psi(one, np.full(100, 9.0)) < 100, "an empty bin is no infinity"


def test_profile_counts_what_is_missing_and_stands_what_is_odd() -> None:
    x = np.column_stack([np.arange(100.0), np.full(100, np.nan), np.full(100, 7.0)]).astype(np.float32)
    x[:25, 0] = np.nan
    first, empty, flat = profile(x, x[:0], ("a", "b", "c"))
    assert (first.rows, first.missing, sum(first.histogram)) == (75, 0.25, 73)
    assert (empty.rows, empty.missing, empty.psi) == (0, 1.0, None)
    assert (flat.histogram, flat.ks) == ([100], None)


def test_the_clock_has_not_drifted() -> None:
    rng = np.random.default_rng(4)
    train, test = (rng.normal(mean, 1.0, (500, 2)).astype(np.float32) for mean in (0.0, 3.0))
    day, other = profile(train, test, ("day_of_week", "rsi_14"))
    assert (day.psi, day.ks) == (None, None)
    assert day.histogram
    assert other.psi is not None
    assert other.psi > 1.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (1234567.0, "1,234,567"), (0.00123456, "0.00123"), (12345.6, "12,346"), (float("nan"), None)],
)
def test_numbers_are_written_for_people(value: float, shown: str | None) -> None:
    assert number(value) == shown


def test_percent_of_nothing_is_nothing() -> None:
    assert percent(None) is None
    assert percent(0.00678, sign=True) == "+0.68 %"


def test_report_survives_the_way_to_the_registry() -> None:
    made: Any = content().report
    assert msgspec.convert(msgspec.to_builtins(made), HorizonReport) == made
