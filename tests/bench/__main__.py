"""`python -m tests.bench NAME`: run one benchmark; `make bench NAME=...` runs the same module."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

NAMES = (
    "replay",
    "features",
    "recovery",
    "freshness",
    "scale",
    "takeover",
    "ingest",
    "soak",
    "feed",
    "walkforward",
    "train",
    "gate",
    "serve",
    "store",
)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in NAMES or importlib.util.find_spec(f"tests.bench.{name}") is None:
        sys.stderr.write(f"error: say which: python -m tests.bench {{{','.join(NAMES)}}} [options]\n")
        sys.exit(2)
    sys.argv = [f"{Path(sys.argv[0]).parent / name}.py", *sys.argv[2:]]
    runpy.run_module(f"tests.bench.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
