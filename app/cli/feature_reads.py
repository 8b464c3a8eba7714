"""`tickcast features`: the latest features of a pair, and whether they are the same everywhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import Home, examples, join_stack, log_to_stderr, say

if TYPE_CHECKING:
    from tables.serving.latest import Answer, Place
    from tables.serving.parity import Parity

__all__ = ["cli"]

cli = typer.Typer(help="Features: latest, parity.", no_args_is_help=True, rich_markup_mode=None)

Timeframe = Annotated[str, typer.Option("--timeframe", help="1m, 5m, 15m, 1h, 4h or 1d.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _places() -> list[Place]:
    from redpanda.settings import BrokerSettings
    from tables.clickhouse.client import connect
    from tables.clickhouse.settings import StoreSettings
    from tables.risingwave.settings import RisingWaveSettings
    from tables.serving.places import BrokerPlace, RisingWavePlace, StorePlace

    rising = RisingWaveSettings()
    places: list[Place] = [BrokerPlace(BrokerSettings()), StorePlace(lambda: connect(StoreSettings()))]
    return [*places, RisingWavePlace(rising)] if rising.risingwave_url else places


@cli.command()
@examples(
    "tickcast features latest BTC/USD",
    "tickcast features latest ETH/USD --timeframe 5m --json",
)
def latest(
    pair: Annotated[str, typer.Argument(help="For example BTC/USD.")],
    timeframe: Timeframe = "1m",
    json: Json = False,
    max_age_s: Annotated[
        float | None, typer.Option("--max-age-s", help="How long ago the bar may have closed (default: two bars).")
    ] = None,
    home: Home = None,
) -> None:
    """Read the newest row from the broker, else from ClickHouse, else from RisingWave; says from where and how old."""
    join_stack(home)
    log_to_stderr(level=40)
    import msgspec

    from tables.serving.latest import read_latest

    bound_ms = None if max_age_s is None else round(max_age_s * 1_000)
    answer = read_latest(_places(), pair.upper(), timeframe, time.time_ns() // 1_000_000, bound_ms)
    say(msgspec.json.encode(answer).decode() if json else _shown(answer))


def _shown(answer: Answer) -> str:
    row = answer.features
    head = f"{row.pair} {row.timeframe} open {row.open_ms} revision {row.revision} set {row.feature_set} ({row.source})"
    told = f"from {answer.place}, closed {answer.age_ms / 1000:.1f} s ago" + ("" if answer.fresh else ": STALE")
    values = [f"  {name:<20} {'-' if value is None else format(value, '.10g')}" for name, value in row.values.items()]
    return "\n".join([head, told, *(f"not from {miss.place}: {miss.reason}" for miss in answer.missed), *values])


@cli.command()
@examples(
    "tickcast features parity --pair BTC/USD --minutes 60",
    "tickcast features parity --pair BTC/USD --minutes 1440 --html parity.html",
)
def parity(
    pair: Annotated[str, typer.Option("--pair", help="For example BTC/USD.")],
    minutes: Annotated[
        int, typer.Option("--minutes", min=1, max=43_200, help="How far back from the newest bar.")
    ] = 60,
    timeframe: Timeframe = "1m",
    settle_s: Annotated[
        float, typer.Option("--settle-s", min=0, help="Rows younger than this are left to the sink.")
    ] = 10.0,
    json: Json = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the comparison as one page, too.")] = None,
    home: Home = None,
) -> None:
    """Compare topic, ClickHouse and a recompute from candles; exit code 1 where a value differs or is missing."""
    join_stack(home)
    log_to_stderr(level=40)
    import msgspec

    from redpanda.settings import BrokerSettings
    from tables.clickhouse.client import connect
    from tables.clickhouse.settings import StoreSettings
    from tables.serving.measure import measure

    until_ms = time.time_ns() // 1_000_000 - round(settle_s * 1_000)
    client = connect(StoreSettings())
    try:
        found = measure(BrokerSettings(), client, pair.upper(), timeframe, minutes, until_ms)
    finally:
        client.close()
    say(msgspec.json.encode(found).decode() if json else _table(found))
    if html is not None:
        from app.parity_page import render_parity

        html.write_text(render_parity(found))
    if not found.same:
        raise typer.Exit(1)


def _table(found: Parity) -> str:
    head = f"{found.pair} {found.timeframe}: {found.bars} bars, open {found.from_ms} to {found.to_ms}"
    lines = [head, f"{'topic against':<34}{'equal':>8}{'close':>8}{'differ':>8}{'missing':>8}{'max ulps':>12}"]
    for place, tallies in (("clickhouse", found.store), ("recompute", found.recomputed)):
        lines += [
            f"{place:<11}{one.name:<23}{one.equal:>8}{one.close:>8}{one.different:>8}{one.missing:>8}{one.max_ulps:>12}"
            for one in tallies
        ]
    verdict = "the same everywhere" if found.same else "NOT the same"
    return "\n".join([*lines, *found.notes, verdict])
