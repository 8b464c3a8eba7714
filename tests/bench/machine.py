"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

__all__ = ["busy_cores", "cpu_s", "describe", "one_line", "waited_s"]

QUIET_SHARE = 0.15
PACKAGES = (
    "faust-streaming",
    "aiokafka",
    "rocksdict",
    "msgspec",
    "uvloop",
    "chdb-core",
    "clickhouse-connect",
    "quixstreams",
    "confluent-kafka",
    "orjson",
)


def describe() -> dict[str, object]:
    """Name the machine and the versions, as the JSON results carry them."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "ram_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "os": _os(),
        "python": platform.python_version(),
        "java": _java(),
        "versions": _versions(),
    }


def one_line(machine: dict[str, object]) -> str:
    """Name the machine under a table."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_gb']} GB, {machine['os']}, "
        f"Python {machine['python']}, Java {machine['java']}"
    )


def busy_cores(wait_s: float) -> float:
    """Wait at most so long for a quiet machine; tell how many cores were busy at last."""
    deadline_s = time.monotonic() + wait_s
    while True:
        share = psutil.cpu_percent(interval=1.0) / 100
        if share < QUIET_SHARE or time.monotonic() >= deadline_s:
            return round(share * (os.cpu_count() or 1), 2)


def cpu_s(pid: int) -> float:
    """Processor time of a process so far (s), that of its children excluded."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def waited_s() -> float:
    """Time since boot in which some process was ready and had no core (s); 0 where the kernel does not count it."""
    try:
        return int(Path("/proc/pressure/cpu").read_text().partition("total=")[2].split()[0]) / 1e6
    except (OSError, IndexError):
        return 0.0


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _os() -> str:
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.system()
    return f"{system}, kernel {platform.release()}"


def _java() -> str:
    try:
        told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False, timeout=20).stderr
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return told.partition('"')[2].partition('"')[0] or "unknown"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found
