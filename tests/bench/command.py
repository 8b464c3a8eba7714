"""What every benchmark does around its runs: end in order, say errors in one line, write the JSON, show the table."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from redpanda.errors import TickcastError
from tests.bench.result import write
from tests.bench.stack import BenchError

__all__ = ["SHARED", "finish"]

SHARED: Final = Path(os.environ.get("TICKCAST_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))
"""Folder of the recorded data."""


def finish(
    run: Callable[[Console], dict[str, Any]],
    show: Callable[[dict[str, Any], Console], None],
    out: Path,
    *,
    width: int = 100,
    fault: Callable[[dict[str, Any]], str] = lambda _: "",
) -> int:
    """Run a benchmark, write its result to `out` and show it; exit code 1 where it failed.

    Parameters
    ----------
    width
        Of the table where the output is no terminal (characters).
    fault
        Says what is wrong with a result that is written all the same; empty where nothing is.

    """
    console = Console(width=None if sys.stdout.isatty() else width)
    # `timeout` and CI end a benchmark this way: stop the broker, the store and the workers first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found = run(console)
    except (BenchError, TickcastError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    write(found, out)
    show(found, console)
    console.print(f"written to {out}", highlight=False)
    if reason := fault(found):
        console.print(f"error: {reason}", style="red", markup=False, soft_wrap=True)
        return 1
    return 0
