"""The terminal board: one screen that tells what the stack does, at 80x24 and wider."""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import RenderableType

    from app.snapshot import Part, Snapshot
    from tables.status import Progress

__all__ = ["Board", "line", "picture", "render"]

PLAIN_EVERY_S = 5.0
WIDE = 114
MIN_WIDTH = {"in": 6, "up": 4, "50 % from": 9}
# Beside the forecasts: header, parts (2), progress (2), figures (2), blank, table head, hints (2).
FIXED_ROWS = 11
GOOD = {"live", "idle", "waiting", "done", "training", "backfill", "standby"}
BAD = {"failed", "stopped", "restarting", "silent"}


class Board:
    """Shows snapshots: a live screen on a terminal, a plain line every few seconds elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._live = Live(console=self.console, screen=True, auto_refresh=False, vertical_overflow="crop")
        self._next_line_s = 0.0
        self._last_line = ""

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Draw `snapshot`, or print it as a line when it is time for one."""
        if self.console.is_terminal:
            size = self.console.size
            self._live.update(render(snapshot, size.width, size.height), refresh=True)
            return
        text = line(snapshot)
        if time.monotonic() >= self._next_line_s and text != self._last_line:
            self._next_line_s = time.monotonic() + PLAIN_EVERY_S
            self._last_line = text
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def render(snapshot: Snapshot, width: int, height: int) -> RenderableType:
    """Draw one screen."""
    rows: list[RenderableType] = [_header(snapshot, width), _parts(snapshot.parts, width)]
    rows += _progress(snapshot, width)
    rows += [_figures(snapshot), Text()]
    space = max(3, height - FIXED_ROWS)
    rows.append(_forecasts(snapshot, space, wide=width >= WIDE))
    rows.append(_hints(snapshot))
    return Group(*rows)


def picture(snapshot: Snapshot, width: int = 116) -> str:
    """Draw the board as an SVG file, without a font from elsewhere."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(render(snapshot, width, 30))
    svg = console.export_svg(title="tickcast demo")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def line(snapshot: Snapshot) -> str:
    """Tell one moment in one plain line."""
    head = f"[{_clock(snapshot.uptime_s)}] {source_label(snapshot.source)}"
    if snapshot.waiting_for:
        return f"{head} | {snapshot.waiting_for}"
    states = " ".join(f"{part.name}={part.state}" for part in snapshot.parts)
    bars = "".join(f" | {p.label} {p.done:,}/{p.total:,}" for p in _jobs(snapshot))
    latest = snapshot.forecasts[0] if snapshot.forecasts else None
    forecast = f" | {_sentence(latest)}" if latest else ""
    return (
        f"{head} | {states}{bars} | "
        f"trades {snapshot.count('trades'):,} ({snapshot.rates_per_s.get('trades', 0):,.0f}/s) "
        f"candles {snapshot.count('candles'):,} features {snapshot.count('features'):,} "
        f"forecasts {snapshot.count('forecasts'):,} lag {snapshot.count('lag'):,} "
        f"dead {snapshot.dead_letters:,} | {snapshot.rss_mb:,.0f} MB{forecast}"
    )


def source_label(source: str) -> str:
    """Name the source so that nobody takes a made-up market for a real one."""
    if source == "sim":
        return "SIMULATED market (made-up prices)"
    if source == "coinbase":
        return "Coinbase, live"
    if source.startswith("replay:"):
        return f"REPLAY of {source.removeprefix('replay:')}"
    return "Kraken, live"


def _header(snapshot: Snapshot, width: int) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    badge = "black on yellow" if snapshot.source == "sim" else "white on blue"
    title = Text.assemble(("tickcast ", "bold"), (f" {source_label(snapshot.source)} ", badge))
    title.truncate(max(20, width - 14), overflow="ellipsis")
    grid.add_row(title, Text(f"up {_clock(snapshot.uptime_s)}"))
    return grid


def _parts(parts: list[Part], width: int) -> Text:
    """Show one dot a process, broken between processes only."""
    text, used = Text(), 0
    for part in parts:
        style = "green" if part.state in GOOD else "red" if part.state in BAD else "yellow"
        restarts = f" ({part.crashes} restarts)" if part.crashes else ""
        word = f"{part.name} {part.state}{restarts}"
        if used and used + len(word) + 2 > width:
            text.append("\n")
            used = 0
        text.append("● ", style).append(f"{part.name} ").append(f"{part.state}{restarts}  ", "dim")
        used += len(word) + 4
    return text


def _progress(snapshot: Snapshot, width: int) -> list[RenderableType]:
    if snapshot.waiting_for:
        return [Text(snapshot.waiting_for, "yellow", no_wrap=True, overflow="ellipsis")]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=26, no_wrap=True, overflow="ellipsis")
    grid.add_column(width=max(10, width - 55))
    grid.add_column(justify="right", no_wrap=True)
    jobs = _jobs(snapshot)
    for job in jobs:
        share = 100 * job.done / job.total if job.total else 0.0
        bar = ProgressBar(total=max(1, job.total), completed=job.done)
        grid.add_row(job.label, bar, f"{share:.0f} %  {job.done:,} / {job.total:,}")
    return [grid] if jobs else []


def _jobs(snapshot: Snapshot) -> list[Progress]:
    found = (status.progress for status in snapshot.statuses.values())
    return [job for job in found if job is not None]


def _figures(snapshot: Snapshot) -> RenderableType:
    dead = snapshot.dead_letters
    flow = f"trades {snapshot.count('trades'):,} ({_rate(snapshot, 'trades')})"
    flow += "".join(f"   {name} {snapshot.count(name):,}" for name in ("candles", "features", "forecasts"))
    care = f"lag {snapshot.count('lag'):,}  late {snapshot.count('late'):,}  "
    care += f"dup {snapshot.count('duplicates'):,}  "
    memory = f"  memory {snapshot.rss_mb:,.0f} MB (peak {snapshot.rss_peak_mb:,.0f})"
    return Group(
        Text(flow, no_wrap=True, overflow="ellipsis"),
        Text.assemble(care, (f"dead letters {dead:,}", "red" if dead else ""), memory, no_wrap=True),
    )


def _rate(snapshot: Snapshot, name: str) -> str:
    per_s = snapshot.rates_per_s.get(name, 0.0)
    return f"{per_s:,.0f}/s" if per_s >= 10 or per_s == 0 else f"{per_s:.1f}/s"  # noqa: PLR2004  # two digits


def _forecasts(snapshot: Snapshot, space: int, *, wide: bool) -> RenderableType:
    rows = snapshot.forecasts
    if not rows:
        return Text("no forecast yet: the first comes as soon as the indicators are warm", "dim")
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("pair", no_wrap=True)
    heads = ["now", "in", "forecast", "90 % from", "to", "up"]
    heads += ["50 % from", "to", "model", "trust"] if wide else ["model"]
    for head in heads:
        words = head in ("model", "trust")
        # Where it is narrow the words give way; a price that is cut off says nothing.
        least = None if words else MIN_WIDTH.get(head, 9)
        table.add_column(head, justify="left" if words else "right", no_wrap=True, min_width=least)
    shown = rows if len(rows) <= space else rows[: space - 1]
    previous = ""
    for row in shown:
        pair = str(row["pair"])
        table.add_row(*_cells(row, snapshot.live_close.get(pair), first=pair != previous, wide=wide))
        previous = pair
    if len(shown) == len(rows):
        return table
    return Group(table, Text(f"and {len(rows) - len(shown)} more: make the window taller", "dim"))


def _cells(row: dict[str, Any], live: float | None, *, first: bool, wide: bool) -> list[Text]:
    base = float(row["base_price"])
    now = live if live is not None else base
    moved = float(row["q50"]) - base
    style = "green" if moved > 0 else "red" if moved < 0 else ""
    trusted = bool(row.get("trusted"))
    why = ", ".join(str(reason) for reason in row.get("reasons", [])) or "not trusted"
    model = f"{str(row.get('model', '')).partition('-')[0]} v{row.get('model_version', '')}".strip()
    cells = [
        Text(str(row["pair"]) if first else ""),
        Text(_price(now) if first else ""),
        Text(f"{int(row['horizon_s']) // 60} min"),
        Text(_price(row["q50"]), style),
        Text(_price(row["q05"])),
        Text(_price(row["q95"])),
        Text(f"{100 * float(row['p_up']):.0f} %"),
    ]
    if wide:
        trust = Text("yes", "green") if trusted else Text(why, "yellow")
        return [*cells, Text(_price(row["q25"])), Text(_price(row["q75"])), Text(model), trust]
    return [*cells, Text(model if trusted else why, "" if trusted else "yellow")]


def _sentence(row: dict[str, Any]) -> str:
    trust = "" if row.get("trusted") else f" ({', '.join(map(str, row.get('reasons', []))) or 'not trusted'})"
    return (
        f"{row['pair']} in {int(row['horizon_s']) // 60} min: {_price(row['q50'])} "
        f"[{_price(row['q05'])}, {_price(row['q95'])}]{trust}"
    )


def _hints(snapshot: Snapshot) -> RenderableType:
    links = f"live page {snapshot.api_url}/   API docs {snapshot.api_url}/schema" if snapshot.api_url else ""
    return Group(
        Text(links, "cyan", no_wrap=True, overflow="ellipsis"),
        Text(f"Ctrl-C stops everything   logs {snapshot.home}/logs", "dim", no_wrap=True, overflow="ellipsis"),
    )


def _price(value: object) -> str:
    """Seven significant digits, never in exponent form."""
    number = float(str(value))
    digits = 7 - len(str(int(abs(number))))
    return f"{number:,.{max(1, min(8, digits))}f}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute:02}:{second:02}"
