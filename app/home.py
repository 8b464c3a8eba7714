"""The folder of one local stack: who holds it, what it was made for."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from redpanda.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["hold", "holder", "join", "prepare", "read_stack", "remember", "versions"]

NEED_BYTES = 1_000_000_000
SHOWN = (
    "tickcast",
    "faust-streaming",
    "aiokafka",
    "rocksdict",
    "chdb-core",
    "catboost",
    "mlflow-skinny",
    "litestar",
)


def prepare(home: Path, source: str) -> None:
    """Make the folder fit for a start, or say why it is not."""
    try:
        for part in ("logs", "status"):
            (home / part).mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise _unwritable(home, error) from error
    if (free := shutil.disk_usage(home).free) < NEED_BYTES:
        raise ConfigError(
            f"the disk of {home} has only {free / 1e6:.0f} MB free and the stack needs 1000: free some, "
            "or set TICKCAST_HOME or --home to another disk"
        )
    kind, _, file = source.partition(":")
    if kind == "replay" and not Path(file).is_file():
        raise ConfigError(f"TICKCAST_SOURCE={source}: there is no such file, name a .csv, .csv.gz or .parquet")
    made_for = read_stack(home).get("source", source)
    if made_for != source:
        raise ConfigError(
            f"{home} holds data of source {made_for} and must not be mixed with {source}: use another --home"
        )
    for stale in (home / "status").glob("*.json"):
        stale.unlink(missing_ok=True)


def _unwritable(home: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{home} is not writable ({error.strerror}): set TICKCAST_HOME or --home to another folder")


@contextmanager
def hold(home: Path) -> Iterator[None]:
    """Keep every other stack off the folder while the block runs."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "stack.lock").open("a+")
    except OSError as error:
        raise _unwritable(home, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another stack runs on {home} (process {holder(home)}): stop it, or use another --home"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def holder(home: Path) -> int | None:
    """Give the process that runs a stack on the folder, if one does."""
    try:
        with (home / "stack.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0)
    except FileNotFoundError:
        pass
    return None


def remember(home: Path, source: str, env: Mapping[str, str]) -> None:
    """Write down what the folder is for and where its parts answer."""
    known = read_stack(home)
    known.setdefault("created_ms", time.time_ns() // 1_000_000)
    known |= {"source": source, "versions": versions(), "env": dict(env)}
    temporary = home / ".stack.json.tmp"
    temporary.write_text(json.dumps(known, indent=2) + "\n")
    temporary.replace(home / "stack.json")


def read_stack(home: Path) -> dict[str, object]:
    """Tell what the folder was made for; empty where nothing was started yet."""
    with suppress(FileNotFoundError):
        try:
            known = json.loads((home / "stack.json").read_text())
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{home / 'stack.json'} is damaged ({error}): delete it, or use another --home"
            ) from error
        if isinstance(known, dict):
            return known
    return {}


def join(home: Path) -> int | None:
    """Take over what the folder was made for and, while a stack runs on it, where its parts answer.

    The environment still wins. Gives the process that runs the stack.
    """
    known, running = read_stack(home), holder(home)
    env = known.get("env")
    found = dict(env) if isinstance(env, dict) and running is not None else {}
    if "source" in known:
        found["TICKCAST_SOURCE"] = known["source"]
    for name, value in found.items():
        os.environ.setdefault(name, str(value))
    return running


def versions() -> dict[str, str]:
    """Versions of the parts that make results differ."""
    found = {}
    for name in SHOWN:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
