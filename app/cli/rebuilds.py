"""`tickcast rebuild`: candles and features once more from `trades`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common import Home, Pairs, examples, join_stack, log_to_stderr, say
from app.cli.progress import progress

if TYPE_CHECKING:
    from app.rebuild_plan import Plan

__all__ = ["add_to"]


def add_to(cli: typer.Typer) -> None:
    cli.command()(rebuild)


@examples(
    "tickcast rebuild --dry-run",
    "tickcast rebuild --from 2018-05-13T00:00:00Z",
    "tickcast rebuild --from 2018-05-13 --pairs BTC/USD,ETH/USD",
)
def rebuild(
    start: Annotated[
        str | None,
        typer.Option("--from", help="Compute again from this day on (ISO 8601, UTC). Default: all that `trades` has."),
    ] = None,
    pairs: Pairs = None,
    with_store: Annotated[
        bool, typer.Option("--store/--no-store", help="Also delete the old rows in ClickHouse; else leave it alone.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    home: Home = None,
) -> None:
    """Compute candles and features again from the trades in the log.

    For rows that are wrong, and for tables whose changelogs have lost rows. All workers must be stopped; started
    again they do the work, and what they make replaces what was published before. Forecasts stay as they are.
    """
    join_stack(home)
    log_to_stderr(level=30)
    from app.rebuild import apply_plan, history_of_log, history_of_store
    from app.rebuild_plan import make_plan
    from redpanda.settings import BrokerSettings
    from tables.candles import CandleRules

    from_ms = None if start is None else _from_ms(start)
    names = None if pairs is None else [name.strip().upper() for name in pairs.split(",") if name.strip()]
    broker, rules = BrokerSettings(), CandleRules()
    with ExitStack() as opened:
        store = _open_store(opened) if with_store else None
        tell = opened.enter_context(progress())
        plan = make_plan(broker, rules, names, from_ms, _first_candles(store), tell)
        if not dry_run:
            history = history_of_log(broker, plan, tell) if store is None else history_of_store(store)
            apply_plan(broker, rules, plan, history, store, tell)
    _say_plan(plan, done=not dry_run)


def _from_ms(start: str) -> int:
    from app.recorded import ns_of
    from redpanda.errors import BadInputError

    try:
        return ns_of(start) // 1_000_000
    except ValueError as error:
        raise BadInputError(f"--from {start}: write it like 2018-05-13T00:00:00Z ({error})") from error


def _open_store(opened: ExitStack) -> Any:
    from redpanda.errors import UnreachableError
    from tables.clickhouse.client import connect
    from tables.clickhouse.settings import StoreSettings

    try:
        client = connect(StoreSettings())
    except UnreachableError as error:
        raise UnreachableError(f"{error}; or leave ClickHouse out with --no-store") from error
    opened.callback(client.close)
    return client


def _first_candles(store: Any) -> dict[str, int]:
    if store is None:
        return {}
    from tables.clickhouse import queries

    return {info.pair: info.first_ms for info in queries.pairs(store)}


def _say_plan(plan: Plan, *, done: bool) -> None:
    from app.rebuild_plan import time_text

    for one in plan.pairs:
        when = f"from {time_text(one.from_ms)}" if one.from_ms else f"all, from {time_text(one.first_ms)}"
        say(f"{one.pair:<12} {when}, trades of partition {one.partition} from record {one.offset}")
    say(f"{plan.replayed:,} records of trades will be read again; forecasts stay as they are")
    say("now start the workers: they compute it" if done else "nothing was changed (--dry-run)")
