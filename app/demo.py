"""`tickcast demo`: the whole stack, watched, until somebody or something says stop."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from app.board import Board, line
from app.board import picture as draw
from app.home import versions
from app.processes import STOP_SIGNALS, ChildFailedError
from app.snapshot import Snapshot, Watch
from app.stack import STOPPING, Stack
from redpanda.errors import BadInputError, TickcastError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from app.settings import AppSettings

__all__ = ["Until", "build_report", "confirmed_by_api", "parse_until", "run", "stop_on_signal"]

Until = float | Literal["first-forecast"] | None
LOOK_EVERY_S: Final = 0.5
FIRST_FORECAST_LIMIT_S: Final = 600.0


class StopRequested(BaseException):  # not an error: Ctrl-C, SIGTERM or a closed terminal
    """Somebody asked the stack to stop."""


def parse_until(text: str | None) -> Until:
    """`first-forecast` or seconds."""
    if text is None or text == "first-forecast":
        return text  # type: ignore[return-value]  # the two literals
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadInputError(f"--until {text}: write first-forecast or a number of seconds above 0")
    return seconds


def run(settings: AppSettings, *, until: Until, report: Path | None, picture: Path | None = None) -> int:
    """Run the demo and give the exit code: 0 when it did what was asked for."""
    for option, path in (("--report", report), ("--picture", picture)):
        if path is not None and not path.absolute().parent.is_dir():
            raise BadInputError(f"{option} {path}: the folder {path.absolute().parent} does not exist, make it first")
    demo = Demo(settings, until)
    try:
        return demo.run()
    except ChildFailedError as error:
        sys.stderr.write("".join(f"  {text}\n" for text in error.tail))
        raise
    finally:
        if report is not None and demo.last is not None:
            report.write_text(json.dumps(demo.report(), indent=2) + "\n")
        if picture is not None and demo.last is not None:
            picture.write_text(draw(demo.last))


class Demo:
    """One run of the stack with its board."""

    def __init__(self, settings: AppSettings, until: Until) -> None:
        self.started_ms = time.time_ns() // 1_000_000
        self.last: Snapshot | None = None
        self._until = until
        self._board = Board()
        self._stack = Stack(settings, on_wait=self._waiting)
        self._watch = Watch(self._stack)
        self._next_look_s = 0.0

    def run(self) -> int:
        with stop_on_signal():
            try:
                with self._board, self._stack:
                    self._loop()
                code = 0
            except StopRequested:
                # Without --until, stopping by hand is how it ends; with it, the goal was not reached.
                code = 0 if self._until is None else 1
        if self.last is not None:
            self._board.console.print(line(self.last), highlight=False, markup=False, soft_wrap=True)
        self._board.console.print("stopped: nothing is left running", highlight=False)
        return code

    def report(self) -> dict[str, Any]:
        return build_report(self.last or Snapshot("", 0.0), self._stack, self.started_ms)

    def _waiting(self, name: str) -> None:
        if name == STOPPING:
            if self.last is not None:
                self._board.show(replace(self.last, waiting_for=STOPPING))
            return
        log = self._stack.supervisor.children[name].tail(1) if name in self._stack.supervisor.children else []
        self._look(": ".join([f"starting {name}", *(text.strip()[:120] for text in log)]))

    def _loop(self) -> None:
        while not self._reached():
            self._stack.tick()
            self._look()
            time.sleep(0.1)
        self._look(force=True)

    def _look(self, waiting_for: str = "", *, force: bool = False) -> None:
        if time.monotonic() < self._next_look_s and not force:
            return
        self._next_look_s = time.monotonic() + LOOK_EVERY_S
        self.last = self._watch.look(waiting_for)
        self._board.show(self.last)

    def _reached(self) -> bool:
        if self._until is None or self.last is None:
            return False
        if self._until == "first-forecast":
            if self.last.uptime_s > FIRST_FORECAST_LIMIT_S:
                raise TickcastError(
                    f"no forecast within {FIRST_FORECAST_LIMIT_S:.0f} s: see {self.last.home}/logs, "
                    "and `tickcast doctor`"
                )
            return self.last.first_forecast_at_ms is not None and confirmed_by_api(self._stack.api_url)
        return self.last.uptime_s >= self._until


def confirmed_by_api(api_url: str) -> bool:
    """Whether the API already gives a forecast to anybody who asks."""
    try:
        with urllib.request.urlopen(f"{api_url}/v1/forecasts/latest", timeout=2) as answer:  # noqa: S310  # our own URL
            found = json.load(answer)
    except (urllib.error.URLError, TimeoutError, ConnectionError, json.JSONDecodeError):
        return False
    rows = found if isinstance(found, list) else next((v for v in found.values() if isinstance(v, list)), [])
    return bool(rows)


def build_report(last: Snapshot, stack: Stack, started_ms: int) -> dict[str, Any]:
    """Build what `--report` writes; DESIGN 10 fixes the keys."""
    memory = stack.supervisor.memory
    first_ms = last.first_forecast_at_ms
    return {
        "first_forecast_s": None if first_ms is None else round((first_ms - started_ms) / 1000, 3),
        **{name: last.count(name) for name in ("trades", "candles", "features", "forecasts")},
        "dead_letters": last.dead_letters,
        "rss_mb": {
            "sum": round(last.rss_mb, 1),
            "peak": round(memory.sum_peak_mb, 1),
            "processes": {name: round(size_mb, 1) for name, size_mb in sorted(memory.peak_mb.items())},
        },
        "source": last.source,
        "simulated": last.source == "sim",
        "versions": versions(),
        "seconds": round(last.uptime_s, 1),
        "restarts": {part.name: part.crashes for part in last.parts if part.crashes},
    }


@contextmanager
def stop_on_signal() -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into one StopRequested; more of them change nothing."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise StopRequested

    before = {number: signal.signal(number, ask) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
