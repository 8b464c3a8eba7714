from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from app.processes import ChildFailedError, Spec, Supervisor
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A child with a grandchild in its group; neither ends by itself within a test.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
print("child", child.pid, flush=True)
time.sleep(120)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(120)
"""
PARENT = """
import sys, time
from pathlib import Path
from app.processes import Spec, Supervisor
supervisor = Supervisor(Path(sys.argv[1]), grace_s=1.0)
for name, code in zip(("family", "stubborn"), sys.argv[2:], strict=True):
    supervisor.start(Spec(name, (sys.executable, "-c", code)))
while True:
    supervisor.tick()
    time.sleep(0.05)
"""


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


def said(log: Path, word: str) -> int:
    """Wait for a line `word NUMBER` in the log."""

    def find() -> int | None:
        lines = log.read_text().splitlines() if log.exists() else []
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{word} ")), None)

    return wait_for(find)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "logs", restarts=2, backoff_s=0.01, grace_s=1.0)
    yield made
    made.close()


def run_until_failure(supervisor: Supervisor) -> ChildFailedError:
    def tick() -> ChildFailedError | None:
        try:
            supervisor.tick()
        except ChildFailedError as error:
            return error
        return None

    return wait_for(tick)


def test_stop_ends_the_whole_family(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.start(Spec("family", python(FAMILY)))
    grandchild = said(tmp_path / "logs" / "family.log", "child")
    supervisor.stop("family")
    assert gone(child.pid)
    wait_for(lambda: gone(grandchild))


def test_stop_ends_a_grandchild_in_a_session_of_its_own(supervisor: Supervisor, tmp_path: Path) -> None:
    spec = Spec("apart", python(FAMILY.replace('120)"])', '120)"], start_new_session=True)')), grace_s=0.5)
    supervisor.start(spec)
    grandchild = said(tmp_path / "logs" / "apart.log", "child")
    supervisor.stop("apart")
    wait_for(lambda: gone(grandchild))


def test_stop_kills_what_ignores_sigterm(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.start(Spec("stubborn", python(STUBBORN), grace_s=0.3))
    wait_for(lambda: "ready" in (tmp_path / "logs" / "stubborn.log").read_text())
    supervisor.stop("stubborn")
    assert child.exit_code == -signal.SIGKILL
    assert gone(child.pid)


def test_crashed_child_is_started_again_and_then_reported_with_its_last_lines(supervisor: Supervisor) -> None:
    child = supervisor.start(Spec("crash", python("import sys; print('the reason'); sys.exit(7)")))
    error = run_until_failure(supervisor)
    assert child.crashes == 2
    assert "crash ended 3 times (last exit code 7)" in str(error)
    assert error.tail[-1] == "the reason"


def test_wrong_setting_at_the_start_is_told_at_once(supervisor: Supervisor) -> None:
    child = supervisor.start(Spec("store", python("import sys; sys.exit('error: TICKCAST_STORE_PORT is busy')")))
    error = run_until_failure(supervisor)
    assert child.crashes == 0
    assert str(error) == "store: TICKCAST_STORE_PORT is busy"


def test_child_that_has_done_its_work_is_not_started_again(supervisor: Supervisor) -> None:
    child = supervisor.start(Spec("replay", python("pass"), may_end=True))

    def ended() -> bool:
        supervisor.tick()
        return child.state == "ended"

    wait_for(ended)
    assert child.exit_code == 0


def test_memory_counts_grandchildren(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.start(Spec("family", python(FAMILY)))
    said(tmp_path / "logs" / "family.log", "child")
    supervisor.memory.sample({"family": child.pid}, every_s=0.0)
    alone = psutil.Process(child.pid).memory_info().rss / 1e6
    assert supervisor.memory.peak_mb["family"] > alone * 1.3
    assert supervisor.memory.sum_peak_mb >= supervisor.memory.peak_mb["family"]


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(logs), FAMILY, STUBBORN])
    try:
        grandchild = said(logs / "family.log", "child")
        wait_for(lambda: (logs / "stubborn.log").exists() and "ready" in (logs / "stubborn.log").read_text())
        below = psutil.Process(parent.pid).children(recursive=True)
        assert grandchild in {process.pid for process in below}
        assert len(below) == 4  # two children, a grandchild, the guard
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_for(lambda: all(gone(process.pid) for process in below), timeout_s=10)


def test_start_takes_a_fresh_log_when_the_old_one_is_large(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.processes.LOG_CAP_BYTES", 10)
    log = tmp_path / "logs" / "small.log"
    log.write_text("x" * 100)
    supervisor.start(Spec("small", python("pass"), may_end=True))
    assert (tmp_path / "logs" / "small.log.1").read_text() == "x" * 100


def test_what_an_earlier_run_said_is_not_taken_for_the_reason(tmp_path: Path) -> None:
    (tmp_path / "quiet.log").write_text("error: the port is busy\n")
    supervisor = Supervisor(tmp_path, restarts=0)
    try:
        supervisor.start(Spec("quiet", python("import sys; sys.exit(3)")))

        def failure() -> str:
            try:
                supervisor.tick()
            except ChildFailedError as error:
                return str(error)
            return ""

        assert "last exit code 3" in wait_for(failure)
    finally:
        supervisor.close()


def test_ctrl_c_while_it_stops_changes_nothing(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    child = supervisor.start(Spec("stubborn", python(STUBBORN), grace_s=1.0))
    wait_for(lambda: "ready" in child.log.read_text())
    supervisor.close(wait=lambda: os.kill(os.getpid(), signal.SIGINT))
    assert gone(child.pid)
