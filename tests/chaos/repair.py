"""The operator of docs/runbooks/state.md: where rows are lost, all workers are stopped and `tickcast rebuild` runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.worker import ROOT, Worker

__all__ = ["Repair"]

END_WITHIN_S: Final = 15.0
RETRY_S: Final = 1.0
DONE_WITHIN_S: Final = 240.0
"""Sessions of killed workers end meanwhile, and a store that is down comes back."""


class Repair:
    """One rebuild after the other, in steps that do not wait: the keeper has other things to look after."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.needed = False
        self.done = 0
        """Rebuilds that went through (count)."""
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = self._retry_s = 0.0
        self._told: set[int] = set()

    def begin(self, now_s: float) -> None:
        """Take over: no worker is started until the rebuild is done."""
        self.needed, self._began_s, self._retry_s, self._told = True, now_s, now_s, set()

    def step(self, workers: Sequence[Worker], now_s: float) -> bool:
        """Tell workers to stop, start the rebuild, or look whether it has ended; tell whether it is done now."""
        if now_s - self._began_s > DONE_WITHIN_S:
            raise AssertionError(f"no rebuild went through in {DONE_WITHIN_S:g} s: see {self._log}")
        running = [worker for worker in workers if worker.started and worker.exit_code is None]
        for worker in running:
            if now_s - self._began_s > END_WITHIN_S:
                worker.kill()
            elif id(worker) not in self._told:
                worker.signal(signal.SIGTERM)
                self._told.add(id(worker))
        if self._process is None and not running and now_s >= self._retry_s:
            self._start()
        elif self._process is not None and (code := self._process.poll()) is not None:
            self._process, self._retry_s = None, now_s + RETRY_S
            if code == 0:
                self.needed, self.done = False, self.done + 1
        return not self.needed

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "rebuild"],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def close(self) -> None:
        """End what still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
