"""`tickcast models`: the registered versions of every horizon, and which of them serves."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import Home, examples, join_stack, log_to_stderr, say

if TYPE_CHECKING:
    from ml.versions import Shelf, Version

__all__ = ["cli"]

cli = typer.Typer(help="Registered models: list, show, promote, rollback.", no_args_is_help=True, rich_markup_mode=None)
Minutes = Annotated[int, typer.Option("--horizon", help="Horizon of the forecast (minutes).", min=1, max=10_080)]
Which = Annotated[str, typer.Argument(help="Number of a version, as `tickcast models list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@cli.command(name="list")
@examples(
    "tickcast models list",
    "tickcast models list --horizon 5",
    "tickcast models list --json",
)
def list_models(
    horizon: Annotated[
        int | None, typer.Option("--horizon", help="Only this horizon (minutes). Default: all.", min=1)
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List every version of every horizon, newest first.

    skill: pinball skill over the volatility baseline on the test block. A refusal is the normal case.
    """
    rows = [one for one in _registry(home).versions() if horizon is None or one.horizon_s == horizon * 60]
    if as_json:
        from msgspec import to_builtins

        say(json.dumps(to_builtins(rows), indent=2))
        return
    _show(rows)


@cli.command()
@examples(
    "tickcast models show 7 --horizon 5",
    "tickcast models show 7 --horizon 5 --json",
)
def show(version: Which, horizon: Minutes, as_json: AsJson = False, home: Home = None) -> None:
    """Show one version: tags, parameters, figures, the checks of the gate, and where its report lies."""
    from ml.registry import PRUNED

    registry = _registry(home)
    found = registry.version(horizon * 60, version)
    checks = registry.checks(found)
    if as_json:
        from msgspec import to_builtins

        say(json.dumps(to_builtins(found) | {"checks": checks}, indent=2))
        return
    _show([found])
    for title, values in (("tags", found.tags), ("params", found.params), ("metrics", found.metrics)):
        say(f"\n{title}")
        for key, value in sorted(values.items()):
            say(f"  {key:<26} {value:.6g}" if isinstance(value, float) else f"  {key:<26} {value}")
    say("\ngate")
    for check in checks:
        word = "ok" if check["ok"] else "FAIL"
        say(f"  {word:<4} {check['name']:<36} {_value(check['value'])} (bound {check['bound']})")
    if not checks:
        say("  was never asked: nothing was trained")
    if checks and PRUNED in found.tags:
        say("\nreport  none any more: TICKCAST_TRAIN_KEEP_REPORTS newer ones are kept")
    else:
        say(f"\nreport  {found.artifacts}/report.html" if checks else "\nreport  none")


@cli.command()
@examples(
    "tickcast models promote 7 --horizon 5",
    'tickcast models promote 7 --horizon 5 --force "the baseline is broken since the exchange moved"',
)
def promote(
    version: Which,
    horizon: Minutes,
    force: Annotated[
        str, typer.Option("--force", help="Your reason to serve what the gate refused; it becomes a tag.")
    ] = "",
    home: Home = None,
) -> None:
    """Make a version the champion; the former one becomes `previous`. Workers follow within a second or two."""
    registry = _registry(home)
    registry.promote_by_hand(horizon * 60, version, force)
    say(f"version {version} serves {horizon} min now; back with: tickcast models rollback --horizon {horizon}")


@cli.command()
@examples(
    "tickcast models rollback --horizon 5",
)
def rollback(horizon: Minutes, home: Home = None) -> None:
    """Make the previous champion serve again; a second call undoes the first."""
    version = _registry(home).rollback(horizon * 60)
    say(f"version {version} serves {horizon} min again")


def _registry(home: Home) -> Shelf:
    join_stack(home)
    log_to_stderr(level=30)
    from ml.settings import MlSettings
    from ml.versions import Shelf

    return Shelf(MlSettings())


def _value(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _show(rows: list[Version]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        say("no models yet: `tickcast train` makes the volatility baseline champion of every horizon, then trains")
        return
    grid = Table(box=None, pad_edge=False)
    for name in ("horizon", "version", "kind", "aliases", "made (UTC)", "data (UTC)", "skill", "verdict"):
        grid.add_column(name, justify="right" if name in ("horizon", "version", "skill") else "left")
    for one in rows:
        skill = "-" if one.pinball_skill is None else f"{one.pinball_skill * 100:+.2f} %"
        data = f"{_day(one.data_from_ms)} .. {_day(one.data_to_ms)}" if one.data_from_ms else "-"
        verdict = {"promote": "promoted", "refuse": f"refused: {one.refused_for}"}.get(one.verdict, "-")
        if one.forced:
            verdict += f"; promoted by hand: {one.forced}"
        cells = (f"{one.horizon_s // 60} min", one.version, one.kind, ", ".join(one.aliases), _minute(one.created_ms))
        grid.add_row(*(Text(cell) for cell in (*cells, data, skill, verdict)))
    Console(width=None if sys.stdout.isatty() else 160).print(grid)


def _day(at_ms: int | None) -> str:
    return "-" if at_ms is None else time.strftime("%Y-%m-%d", time.gmtime(at_ms / 1_000))


def _minute(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_ms / 1_000))
