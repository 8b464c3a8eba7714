"""`tickcast replay`: recorded trades through the whole stack, and a ledger of what came out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app import home as homes
from app.board import Board
from app.demo import StopRequested, stop_on_signal
from app.ledger import as_table, stored_bars, stored_counts
from app.processes import ChildFailedError
from app.recompute import Comparison, batch_bars, compare
from app.recorded import ns_of, pairs_in, read_recorded
from app.settings import AppSettings
from app.snapshot import Watch
from app.stack import Stack
from redpanda.errors import BadInputError, ConfigError, TickcastError
from tables.candles import CandleRules
from tables.status import Status, read_status

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["run"]

# Longer than the wall-clock timer that closes the last windows of an idle pair, and than a sink's flush.
SETTLED_FOR_S: Final = 12.0
STUCK_AFTER_S: Final = 300.0
LOOK_EVERY_S: Final = 0.5


@dataclass(frozen=True)
class Job:
    """What to replay and where."""

    file: Path
    pairs: tuple[str, ...]
    from_ns: int | None
    to_ns: int | None
    home: Path

    @property
    def source(self) -> str:
        return f"replay:{self.file}"


def run(file: Path, ledger: Path | None, *, pairs: str | None, start: str | None, end: str | None) -> int:
    """Replay, compare, print and write the ledger; 0 when nothing differs."""
    if ledger is not None and not ledger.absolute().parent.is_dir():
        raise BadInputError(f"--ledger {ledger}: the folder {ledger.absolute().parent} does not exist, make it first")
    job = _job(file, pairs, start, end)
    _set_environment(job, start, end)
    try:
        with _stack(job) as (look, tick):
            before = time.monotonic()
            last = _drain(look, tick)
            seconds = time.monotonic() - before - SETTLED_FOR_S
            written, comparison = _judge(job, last, seconds)
    except ChildFailedError as error:
        sys.stderr.write("".join(f"  {text}\n" for text in error.tail))
        raise
    except StopRequested:
        raise KeyboardInterrupt from None
    if ledger is not None:
        ledger.write_text(json.dumps(written, indent=2) + "\n")
    sys.stdout.write(as_table(written) + "\n")
    for example in comparison.examples:
        sys.stdout.write(f"differs: {example}\n")
    return 0 if comparison.mismatches == 0 else 1


def _job(file: Path, pairs: str | None, start: str | None, end: str | None) -> Job:
    limits: list[int | None] = []
    for option, text in (("--from", start), ("--to", end)):
        try:
            limits.append(ns_of(text) if text else None)
        except ValueError as error:
            raise BadInputError(f"{option} {text}: write a time like 2018-05-13 or 2018-05-13T04:56:00Z") from error
    there = pairs_in(file)
    if not there:
        raise BadInputError(f"{file} holds no trades: name another file")
    chosen = AppSettings().pairs if pairs else there
    if absent := [pair for pair in chosen if pair not in there]:
        raise BadInputError(f"--pairs {','.join(absent)}: {file} holds only {', '.join(there)}")
    # A folder of its own: the default one belongs to the demo's source.
    home = AppSettings().home if "TICKCAST_HOME" in os.environ else Path(".tickcast-replay")
    return Job(file.absolute(), chosen, limits[0], limits[1], home.absolute())


def _set_environment(job: Job, start: str | None, end: str | None) -> None:
    os.environ["TICKCAST_HOME"] = str(job.home)
    os.environ.setdefault("TICKCAST_CLICKHOUSE_URL", f"local://{job.home}/store")
    os.environ["TICKCAST_SOURCE"] = job.source
    os.environ["TICKCAST_PAIRS"] = ",".join(job.pairs)
    for name, text, limit in (("FROM", start, job.from_ns), ("TO", end, job.to_ns)):
        if text and limit is not None:
            os.environ[f"TICKCAST_REPLAY_{name}"] = _rfc3339(limit)


def _rfc3339(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09}Z"


@contextmanager
def _stack(job: Job) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Give a way to look and a way to look after: of the running stack on this home, else of one of our own."""
    if homes.holder(job.home) is not None:
        made_for = homes.read_stack(job.home)
        if made_for.get("source") != job.source:
            raise ConfigError(
                f"a stack with source {made_for.get('source')} runs on {job.home}: stop it, or use another --home"
            )
        env = made_for.get("env")
        env = env if isinstance(env, dict) else {}
        fed = str(env.get("TICKCAST_PAIRS", "")).split(",")
        if absent := [pair for pair in job.pairs if pair not in fed]:
            raise ConfigError(
                f"the stack on {job.home} replays {', '.join(fed)} and not {', '.join(absent)}: "
                f"add --pairs {','.join(fed)}, or stop it"
            )
        os.environ.update(env)
        yield lambda: None, partial(_still_there, job.home)
        return
    with ExitStack() as opened:
        opened.enter_context(stop_on_signal())
        board = opened.enter_context(Board())

        def look(waiting_for: str = "") -> None:
            board.show(watch.look(waiting_for))

        stack = Stack(AppSettings(), on_wait=look)
        watch = Watch(stack)
        opened.enter_context(stack)
        yield look, stack.tick


def _still_there(home: Path) -> None:
    if homes.holder(home) is None:
        raise TickcastError(f"the stack on {home} was stopped before the replay was done: start the replay again")


def _drain(look: Callable[[], None], tick: Callable[[], None]) -> dict[str, Status]:
    """Wait until the file is read and nothing moves any more: status counters and rows in the store."""
    home = AppSettings().home
    store = _connect()
    last: tuple[Any, ...] = ()
    since_s = changed_s = time.monotonic()
    try:
        while True:
            tick()
            look()
            statuses = {name: status for name in ("ingest", "worker") if (status := read_status(home, name))}
            state = (*(tuple(sorted(s.counters.items())) for s in statuses.values()), *stored_counts(store).items())
            now_s = time.monotonic()
            if state != last:
                last, changed_s = state, now_s
            if not _is_drained(statuses):
                since_s = now_s
            if min(now_s - changed_s, now_s - since_s) >= SETTLED_FOR_S:
                return statuses
            if now_s - changed_s > STUCK_AFTER_S:
                raise TickcastError(f"the replay stands still: see {home}/logs and `tickcast doctor`")
            time.sleep(LOOK_EVERY_S)
    finally:
        store.close()


def _is_drained(statuses: dict[str, Status]) -> bool:
    ingest, worker = statuses.get("ingest"), statuses.get("worker")
    if ingest is None or worker is None or ingest.state != "done":
        return False
    return worker.counters.get("lag", 1) == 0


def _judge(job: Job, statuses: dict[str, Status], seconds: float) -> tuple[dict[str, Any], Comparison]:
    """Compare every candle in the store with the batch and write everything down."""
    ingest, worker = statuses["ingest"].counters, statuses["worker"].counters
    recorded = read_recorded(job.file, job.pairs, job.from_ns, job.to_ns)
    gap_max_ms = CandleRules().synthetic_gap_max_ms
    total = Comparison()
    store = _connect()
    try:
        for pair in job.pairs:
            total.add(compare(pair, batch_bars(recorded.trades[pair], gap_max_ms), stored_bars(store, pair)))
        stored = stored_counts(store)
    finally:
        store.close()
    written = {
        "file": str(job.file),
        "pairs": list(job.pairs),
        "read": ingest.get("read", 0),
        "published": ingest.get("published", 0),
        "applied": worker.get("trades", 0),
        "duplicate": ingest.get("duplicate", 0) + worker.get("duplicates", 0),
        "late": worker.get("late", 0),
        "dead": ingest.get("dead_letters", 0) + worker.get("dead_letters", 0),
        **stored,
        "seconds": round(seconds, 1),
        "mismatches": total.mismatches,
        "compared": total.compared,
        "missing": total.missing,
        "extra": total.extra,
        "different": total.different,
        "recomputed_from": recorded.rows - recorded.broken - recorded.repeated,
        "versions": homes.versions(),
    }
    return written, total


def _connect() -> Client:
    from tables.clickhouse.client import connect
    from tables.clickhouse.settings import StoreSettings

    return connect(StoreSettings())
