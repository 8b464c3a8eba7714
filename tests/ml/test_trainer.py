from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from ml import dataset
from ml.baseline import BaselineModel
from ml.inputs import inputs, raw_matrix
from ml.lock import file_lock
from ml.registry import CHALLENGER, CHAMPION, PREVIOUS, REPORT, Registry, model_name
from ml.settings import TrainerSettings
from ml.trainer import Trainer
from ml.training import train_horizon
from ml.trees import TreesModel
from redpanda.errors import BadInputError, TickcastError, UnreachableError
from tables.status import Status, read_status
from tests.ml.test_inputs import record
from tests.support.feature_columns import clock_candles, feature_columns, noise_candles, stack
from tests.support.file_source import FileSource

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


def settings(home: Path, **other: Any) -> TrainerSettings:
    defaults: dict[str, Any] = {
        "home": home,
        "source": "sim",
        "horizons_s": (60,),
        "tune_trials": 2,
        "tune_budget_s": 5.0,
        "train_poll_s": 0.2,
        "train_nice": 0,
    }
    return TrainerSettings(**{**defaults, **other})


def wait_for(home: Path, wanted: Callable[[Status], bool], deadline_s: float = 120.0) -> Status:
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        status = read_status(home, "trainer")
        if status is not None and wanted(status):
            return status
        threading.Event().wait(0.05)
    pytest.fail(f"the trainer never got there: {read_status(home, 'trainer')}")


def test_candles_become_a_champion_that_serves_what_was_trained(tmp_path: Path) -> None:
    source = FileSource(tmp_path / "rows.npz")
    one = feature_columns("BTC/USD", clock_candles(7_000, seed=1))
    table = stack(one, feature_columns("ETH/USD", clock_candles(7_000, seed=2)))
    source.fill(table)
    report, thin = Trainer(settings(tmp_path, horizons_s=(60, 7_200)), source).run(once=True)
    assert report.promoted, report.checks
    assert not thin.promoted
    assert "too few rows" in thin.reasons[0]
    assert report.skill is not None
    assert report.skill > 0.01
    registry = Registry(settings(tmp_path))
    champion = registry.champion(60)
    assert isinstance(champion, TreesModel)
    assert (champion.version, report.champion_version, champion.origin.source) == ("2", "2", "sim")
    assert champion.origin.data_to_ms == table["open_ms"].max(), "its age counts from there"
    assert champion.origin.references.keys() == {"BTC/USD", "ETH/USD"}, "what comes is compared with each pair's rows"

    raw = raw_matrix({name: values[-300:] for name, values in one.items() if name != "pair"})
    prices = raw[:, 3:4] * np.exp(champion.returns(inputs(raw), one["ewma_vol_60"][-300:]))
    for row, expected in zip(raw, prices, strict=True):
        forecast = champion.quantiles(record(row))
        assert forecast is not None
        got = [forecast.q05, forecast.q25, forecast.q50, forecast.q75, forecast.q95]
        assert got == pytest.approx(expected.tolist(), rel=1e-14)

    client = registry._client
    aliases = {key: str(v) for key, v in client.get_registered_model(model_name(60)).aliases.items()}
    assert (aliases[CHAMPION], aliases[PREVIOUS]) == ("2", "1")
    version = client.get_model_version(model_name(60), "2")
    folder = Path(str(version.source))
    assert {path.name for path in folder.iterdir()} >= {
        "MLmodel",
        "forecaster.json",
        "trees.npz",
        "requirements.txt",
    }
    verdict = json.loads((folder.parent / "verdict.json").read_text())
    assert verdict["report"]["promoted"] is True
    assert verdict["quality"]["rows"] == 14_000
    assert version.tags["data_from_ms"] == str(table["open_ms"].min())
    assert sum(report.importance.values()) == pytest.approx(100.0)
    assert len(report.folds) >= 3
    assert report.calibration["challenger"] == sorted(report.calibration["challenger"])
    page = (folder.parent / "report.html").read_text()
    assert "Promoted.</b> Version 2 serves" in page
    assert "chart-history" in page, "the study's trials are plotted"

    import mlflow.catboost  # noqa: PLC0415  # heavy

    flavour = mlflow.catboost.load_model(str(folder))
    x = dataset.prepare(table).x[-500:]
    raw_quantiles = np.sort(flavour.predict(x), axis=1)
    assert np.abs(raw_quantiles - TreesModel(champion.origin, champion.trees).scaled(x)).max() <= 1e-12

    status = read_status(tmp_path, "trainer")
    assert status is not None
    assert status.state == "idle", "a refusal is no failure"
    assert (status.counters["promoted"], status.counters["refused"]) == (1, 1)
    assert status.detail["horizons"]["7200"]["verdict"] == "refused"  # type: ignore[index]  # free-form


def test_refused_challenger_is_kept_and_the_champion_stays(tmp_path: Path) -> None:
    registry = Registry(settings(tmp_path))
    registry.ensure_baseline((60,))
    table = dataset.prepare(feature_columns("BTC/USD", noise_candles(3_000, seed=11)))
    steps: list[tuple[str, int, int]] = []
    chosen = settings(tmp_path, tune_trials=0)
    report = train_horizon(table, 60, chosen, registry, lambda *step: steps.append(step))
    assert not report.promoted
    assert report.reasons
    assert (report.version, report.champion_version) == ("2", "1")
    assert steps[-2:] == [("training 1 min", 250, 250), ("report 1 min", 0, 1)]
    assert isinstance(registry.champion(60), BaselineModel)
    assert set(report.metrics) == {"challenger", "baseline", "champion"}
    version = registry._client.get_model_version_by_alias(model_name(60), CHALLENGER)
    assert version.tags["verdict"] == "refuse"
    assert version.tags["refused_for"] == "; ".join(report.reasons)
    page = registry.attached(60, CHALLENGER, REPORT)
    assert page is not None
    assert b"version 1 goes on serving" in page


def test_once_without_a_store_or_with_too_few_candles_says_so(tmp_path: Path) -> None:
    source = FileSource(tmp_path / "rows.npz")
    with pytest.raises(UnreachableError):
        Trainer(settings(tmp_path), source).run(once=True)
    champion = Registry(settings(tmp_path)).champion(60)
    assert champion is not None, "what serves needs no data"
    assert champion.name == BaselineModel.name
    source.fill(feature_columns("BTC/USD", clock_candles(300, seed=1)))
    with pytest.raises(BadInputError, match="TICKCAST_TRAIN_MIN_CANDLES"):
        Trainer(settings(tmp_path), source).run(once=True)
    status = read_status(tmp_path, "trainer")
    assert status is not None
    assert status.state == "failed"


def test_second_training_at_a_time_is_refused(tmp_path: Path) -> None:
    source = FileSource(tmp_path / "rows.npz")
    source.fill(feature_columns("BTC/USD", clock_candles(1_500, seed=1)))
    with (
        file_lock(tmp_path / "trainer.lock", wait=False),
        pytest.raises(TickcastError, match=rf"another training runs \(pid {os.getpid()}\)"),
    ):
        Trainer(settings(tmp_path), source).run(once=True)


PROGRAM = """
import sys
from pathlib import Path
from ml.settings import TrainerSettings
from ml.trainer import Trainer
from tests.support.file_source import FileSource
if __name__ == "__main__":
    home = Path(sys.argv[1])
    more = {"tune_trials": 100_000, "tune_budget_s": 600, "train_poll_s": 0.2, "train_nice": 0}
    chosen = TrainerSettings(home=home, horizons_s=(60,), **more)
    Trainer(chosen, FileSource(home / "rows.npz")).run(once=False)
"""


def test_waits_for_store_and_candles_then_trains_and_stops_at_once_on_sigterm(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    source = FileSource(tmp_path / "rows.npz")
    run = subprocess.Popen([sys.executable, str(program), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        lost = wait_for(tmp_path, lambda status: "error" in status.detail)
        assert lost.state == "waiting"
        assert Registry(settings(tmp_path)).champion_version(60) == "1", "forecasts need no candles to train on"
        source.fill(feature_columns("BTC/USD", clock_candles(400, seed=3)))
        few = wait_for(tmp_path, lambda status: status.progress is not None)
        assert few.state == "waiting"
        assert few.progress is not None
        assert (few.progress.done, few.progress.total) == (400, 1_000)
        source.fill(feature_columns("BTC/USD", clock_candles(6_000, seed=3)))
        busy = wait_for(
            tmp_path, lambda status: status.progress is not None and status.progress.label == "tuning 1 min"
        )
        assert busy.state == "training"
        children = psutil.Process(run.pid).children(recursive=True)
        assert children
        started_s = time.monotonic()
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=5.0) == 0
        assert time.monotonic() - started_s < 5.0
        _, left = psutil.wait_procs(children, timeout=5.0)
        assert not left, "nothing is left running"
        stopped = read_status(tmp_path, "trainer")
        assert stopped is not None
        assert stopped.state == "stopping"
        assert Registry(settings(tmp_path)).champion_version(60) == "1"
    finally:
        run.kill()
        run.wait()
