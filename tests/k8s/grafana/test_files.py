"""What is committed for Grafana: current, well formed, and naming only what exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are not among the packages

from agents.trades.metrics import Figures, exposition
from app.worker_metrics import PHASES, WorkerFigures, worker_exposition
from k8s.grafana.boards import BOARDS
from k8s.grafana.generate import FOLDER, files, main
from k8s.grafana.panel import CLICKHOUSE, COLUMNS, PROMETHEUS, Dashboard, Panel, place
from k8s.grafana.rules import RULES, rule_group

ROOT = Path(__file__).parents[3]
# Ids that Grafana knows (packages/grafana-data/src/valueFormats/categories.ts).
UNITS = {"none", "short", "percentunit", "s", "ms", "ops"}
PANELS = [pytest.param(board, panel, id=f"{board.uid}: {panel.title}") for board in BOARDS for panel in board.panels]


def made(board: Dashboard) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboards" / f"{board.uid}.json").read_text())
    return found


def provisioned(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "provisioning" / kind / "tickcast.yaml").read_text())
    return found


def test_committed_files_are_what_the_generator_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err
    committed = {*(FOLDER / "dashboards").iterdir(), *(FOLDER / "provisioning" / "alerting").iterdir()}
    assert committed == set(files()), "a file that nothing makes any more"


def test_dashboards_keep_their_addresses() -> None:
    assert [board.uid for board in BOARDS] == [
        "tickcast-market",
        "tickcast-forecasts",
        "tickcast-pipeline",
        "tickcast-quality",
    ]
    assert [made(board)["uid"] for board in BOARDS] == [board.uid for board in BOARDS]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panels_have_ids_of_their_own_and_lie_beside_each_other(board: Dashboard) -> None:
    panels = made(board)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len(board.items)
    spots = [panel["gridPos"] for panel in panels]
    assert all(spot["x"] >= 0 and spot["w"] > 0 and spot["x"] + spot["w"] <= COLUMNS for spot in spots)
    for one, other in combinations(spots, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def test_rows_are_as_high_as_their_highest_panel() -> None:
    low, high = (BOARDS[0].panels[0].__class__("t", "d", "none", BOARDS[0].panels[0].kind, height=h) for h in (4, 9))
    spots = [spot[1:] for spot in place((low, high, low))]
    assert spots == [(0, 0, 12, 4), (12, 0, 12, 9), (0, 9, 12, 4)]


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_panels_explain_themselves(board: Dashboard, panel: Panel) -> None:
    [found] = [
        one
        for one in made(board)["panels"]
        if (one["title"], one.get("description"), one["type"])
        == (panel.title, panel.description, panel.kind.value.removesuffix("-bars"))
    ]
    assert found["description"].endswith(".")
    assert found["fieldConfig"]["defaults"]["unit"] in UNITS
    assert found["datasource"]["uid"] == (PROMETHEUS if panel.metrics else CLICKHOUSE)
    assert bool(panel.sql) != bool(panel.metrics)
    sent = [target.get("rawSql", target.get("expr")) for target in found["targets"]]
    assert sent == [*panel.sql, *(metric.expr for metric in panel.metrics)]
    assert len({target["refId"] for target in found["targets"]}) == len(sent)
    known = {variable.name for variable in board.variables}
    for sql in panel.sql:
        assert set(re.findall(r"\$\{?(?!_)(\w+)", sql)) <= known


def test_store_queries_are_marked_for_the_way_they_are_drawn() -> None:
    formats = {
        (panel["type"], target["format"])
        for board in BOARDS
        for panel in made(board)["panels"]
        for target in panel.get("targets", [])
        if "rawSql" in target
    }
    assert formats == {("timeseries", 0), ("candlestick", 1), ("stat", 1), ("table", 1), ("barchart", 1)}


def test_fan_is_filled_from_one_quantile_to_the_next() -> None:
    [fan] = [panel for panel in made(BOARDS[1])["panels"] if panel["title"] == "Fan against outcome"]
    fills = {
        override["matcher"]["options"]: one["value"]
        for override in fan["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "custom.fillBelowTo"
    }
    assert fills == {"q25": "q05", "q50": "q25", "q75": "q50", "q95": "q75"}


def metric_names() -> set[str]:
    ingest = exposition(lambda: Figures(newest_lag_s=1.0, dead_letters={"a": 1}, holes={"open": 1}))()
    worker = worker_exposition(
        lambda: WorkerFigures(
            counters={"late": 1}, positions={"trades-0": (1, 2, 3)}, waiting=["x"], last_at_ns={"a": 1}
        )
    )()
    return set(re.findall(r"^(\w+)(?:\{.*\})? ", (ingest + worker).decode(), re.MULTILINE))


def test_every_metric_is_on_a_page_of_the_product() -> None:
    expressions = [metric.expr for board in BOARDS for panel in board.panels for metric in panel.metrics]
    expressions += [rule.expr for rule in RULES]
    named = {name for expr in expressions for name in re.findall(r"tickcast_\w+", expr)}
    assert named
    assert named - metric_names() == set()
    labels = {label for expr in expressions for label in re.findall(r'phase="(\w+)"', expr)}
    assert labels <= set(PHASES)


def test_data_sources_are_those_that_panels_name() -> None:
    sources = {source["uid"]: source for source in provisioned("datasources")["datasources"]}
    assert set(sources) == {CLICKHOUSE, PROMETHEUS}
    store = sources[CLICKHOUSE]
    assert store["type"] == "grafana-clickhouse-datasource"
    assert store["jsonData"]["protocol"] == "http"
    assert all(
        value.startswith("$") for source in sources.values() for value in source.get("secureJsonData", {}).values()
    )
    assert {source["type"] for source in sources.values()} == {
        made(board)["panels"][at]["datasource"]["type"]
        for board in BOARDS
        for at in range(len(board.items))
        if "datasource" in made(board)["panels"][at]
    }


def test_dashboard_provider_reads_a_folder() -> None:
    [provider] = provisioned("dashboards")["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "$DASHBOARDS_FOLDER")


def test_variables_of_the_files_are_explained() -> None:
    text = "".join(file.read_text() for file in (FOLDER / "provisioning").rglob("*.yaml"))
    named = set(re.findall(r"\$(DASHBOARDS_\w+)", text))
    page = (ROOT / "docs" / "dashboards.md").read_text()
    assert len(named) == 6
    assert {name for name in named if f"`{name}`" not in page} == set()


def test_alert_texts_use_no_dollar() -> None:
    group = provisioned("alerting")
    assert group == rule_group()
    rules = group["groups"][0]["rules"]
    assert len({rule["uid"] for rule in rules}) == len(rules) == len(RULES)
    for rule in rules:
        assert {rule["labels"]["severity"]} <= {"critical", "warning"}
        # Grafana would take $NAME here for a variable of its environment; of queries it takes the raw text.
        assert "$" not in "".join(rule["annotations"].values())
        assert len(rule["uid"]) <= 40, "Grafana's bound"
        assert {query["datasourceUid"] for query in rule["data"]} <= {CLICKHOUSE, PROMETHEUS, "__expr__"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: kustomize is not run")
def test_kustomize_makes_a_labelled_map_of_each_file() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    maps = list(yaml.safe_load_all(done.stdout))
    assert {one["kind"] for one in maps} == {"ConfigMap"}
    boards = {name for one in maps if "grafana_dashboard" in one["metadata"]["labels"] for name in one["data"]}
    assert boards == {f"{board.uid}.json" for board in BOARDS}
    marks = {label for one in maps for label in one["metadata"]["labels"] if label.startswith("grafana_")}
    assert marks == {"grafana_dashboard", "grafana_datasource", "grafana_alert"}
    # kubectl apply keeps a copy in an annotation, of at most 256 KiB.
    assert max(len(json.dumps(one)) for one in maps) < 250_000
