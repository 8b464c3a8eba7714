"""`make chaos KILLS=N SEED=S`: blows against the real local stack while trades flow, then an independent check."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.chaos.blows import strike
from tests.chaos.evidence import collect
from tests.chaos.judge import Verdict, judge
from tests.chaos.report import Run, as_table, ledger
from tests.chaos.schedule import KILLING, LONG_RUN_KILLS, Kind, Step, schedule
from tests.chaos.stack import Stack
from tests.support.feed import Feed

KEPT_VARIABLES = ("TICKCAST_CACHE",)
STORE_DOWN_S = 60.0
SHORT_STORE_DOWN_S = 10.0
SETTLE_S = 180.0
SHOWN = 20


def main() -> int:
    """Give 0 when nothing was lost, double or different, 1 when something was, 2 when the run itself broke."""
    options = _options()
    for name in [name for name in os.environ if name.startswith("TICKCAST_") and name not in KEPT_VARIABLES]:
        del os.environ[name]
    signal.signal(signal.SIGTERM, _interrupt)
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 31)
    folder = Path(tempfile.mkdtemp(prefix="tickcast-chaos-"))
    steps = schedule(options.kills, seed)
    print(f"seed {seed}: {len(steps)} blows, {options.kills} of them kills of a worker; logs in {folder}", flush=True)
    try:
        run, verdict = _run(folder, steps, seed)
    except BaseException:
        print(f"the run itself broke; seed {seed}, everything is kept in {folder}", flush=True)
        raise
    Console(width=110).print(as_table(run, verdict))
    for note in run.notes:
        print(f"note: {note}")
    for example in verdict.examples[:SHOWN]:
        print(f"differs: {example[:400]}")
    if verdict.clean and not run.unsettled:
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
    else:
        (folder / "differences.txt").write_text("\n".join(verdict.examples) + "\n")
        print(f"kept: {folder} (differences.txt, worker-*/worker.log, logs/broker.log, store.log, and all data)")
        print(f"again: make chaos KILLS={options.kills} SEED={seed}")
    print(ledger(verdict, options.kills, seed), flush=True)
    return 0 if verdict.clean and not run.unsettled else 1


def _options() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="kills of a worker (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="what decides the run (default: drawn and printed)")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a clean run as well")
    options = parser.parse_args()
    if options.kills < 1:
        parser.error(f"--kills {options.kills}: at least 1")
    return options


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run(folder: Path, steps: list[Step], seed: int) -> tuple[Run, Verdict]:
    run = Run()
    kills = sum(step.kind in KILLING for step in steps)
    stack = Stack(folder)
    feed: Feed | None = None
    try:
        stack.start()
        print(f"{run.seconds():6.1f} s  broker, store and a worker are up; trades flow", flush=True)
        feed = Feed(stack.settings.broker_url, seed)
        _strike_all(run, stack, steps, SHORT_STORE_DOWN_S if kills < LONG_RUN_KILLS else STORE_DOWN_S)
        feed.finish()
        print(f"{run.seconds():6.1f} s  the last trade is published; waiting for the worker to be done", flush=True)
        stack.wait_repaired()
        run.unsettled = stack.settle(SETTLE_S)
        if run.unsettled:
            run.notes.append(run.unsettled)
        run.notes += stack.stop_workers()
        print(f"{run.seconds():6.1f} s  reading everything back and recomputing it", flush=True)
        found = collect(stack.settings, stack.store_settings, stack.members[0].tables, feed.acknowledged)
    finally:
        stack.close()
    run.recoveries_s, run.exits, run.rebuilds = stack.recoveries_s, stack.exits, stack.repair.done
    run.exits_without_broker, run.kills_at_work = stack.exits_without_broker, stack.kills_at_work
    run.notes += [f"ended of itself: {told}" for told in stack.exits]
    verdict = judge(found)
    run.ended_s = time.monotonic()
    return run, verdict


def _strike_all(run: Run, stack: Stack, steps: list[Step], store_down_s: float) -> None:
    done: Counter[Kind] = Counter()
    kills = sum(step.kind in KILLING for step in steps)
    for step in steps:
        stack.pause(step.gap_s)
        told = strike(stack, step, store_down_s)
        done[step.kind] += 1
        killed = sum(done[kind] for kind in KILLING)
        count = f"{killed:3}/{kills}" if step.kind in KILLING else " " * (4 + len(str(kills)))
        print(f"{run.seconds():6.1f} s  {count}  after {step.gap_s:4.1f} s  {step.kind}: {told}", flush=True)
    run.blows = dict(done)


if __name__ == "__main__":
    sys.exit(main())
