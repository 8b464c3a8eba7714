"""Resident memory of the stack's processes, with everything they started."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil

__all__ = ["Memory"]

MB = 1_000_000
SAMPLE_EVERY_S = 1.0


class Memory:
    """Current and peak memory by process name, and the peak of the sum (MB, 10^6 bytes)."""

    def __init__(self) -> None:
        self.now_mb: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}
        self.sum_peak_mb = 0.0
        self._next_s = 0.0

    @property
    def sum_mb(self) -> float:
        return sum(self.now_mb.values())

    def sample(self, pids: dict[str, int], *, every_s: float = SAMPLE_EVERY_S) -> None:
        """Measure the trees under `pids` (and this process, as `tickcast`) at most once in `every_s`."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + every_s
        below = _children()
        self.now_mb = {name: _tree_mb(pid, below) for name, pid in pids.items()}
        self.now_mb["tickcast"] = _tree_mb(os.getpid(), {})
        for name, size_mb in self.now_mb.items():
            self.peak_mb[name] = max(size_mb, self.peak_mb.get(name, 0.0))
        self.sum_peak_mb = max(self.sum_mb, self.sum_peak_mb)


def _children() -> dict[int, list[int]]:
    below: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        below.setdefault(process.info["ppid"], []).append(process.pid)
    return below


def _tree_mb(pid: int, below: dict[int, list[int]]) -> float:
    size = 0.0
    with suppress(psutil.Error):  # gone between listing and looking
        size = psutil.Process(pid).memory_info().rss / MB
    return size + sum(_tree_mb(child, below) for child in below.get(pid, ()))
