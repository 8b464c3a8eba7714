"""The long-running parts, each in the foreground: ingest, worker, train, api, sim."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.common import Home, Pairs, examples, join_stack, log_to_stderr, override, say
from app.cli.progress import progress

__all__ = ["add_to"]


def add_to(cli: typer.Typer) -> None:
    cli.command()(ingest)
    cli.command()(worker)
    cli.command()(train)
    cli.command()(api)
    cli.command()(sim)


@examples(
    "tickcast ingest",
    "tickcast ingest --pairs BTC/USD,ETH/USD --since 3d",
    "tickcast ingest --source replay:trades.csv.gz",
)
def ingest(
    source: Annotated[
        str | None, typer.Option(help="kraken, sim or replay:FILE (TICKCAST_SOURCE, default kraken).")
    ] = None,
    pairs: Pairs = None,
    since: Annotated[
        str | None, typer.Option(help="History to fetch first: 90m, 12h, 3d, 0 for none (TICKCAST_SINCE).")
    ] = None,
    home: Home = None,
) -> None:
    """Bring trades into the log: history first, then live.

    It resumes from what the log already holds and needs no state of its own.
    """
    override(source=source, pairs=pairs, since=since, home=home)
    with progress() as tell:
        log_to_stderr()  # after the bar, which lets lines pass above it
        from agents.trades.service import run
        from agents.trades.settings import IngestSettings

        run(IngestSettings(), tell=tell)


@examples(
    "tickcast worker",
    "TICKCAST_BROKER_URL=broker:9092 tickcast worker",
    "faust -A app worker -l info          # the same, the Faust way",
)
def worker(home: Home = None) -> None:
    """Fold trades into candles, features and forecasts (the Faust worker)."""
    override(home=home)
    log_to_stderr()
    from app.worker import run

    run()


@examples(
    "tickcast train            # goes on by itself, until Ctrl-C",
    "tickcast train --once",
    "tickcast train --request --horizon 5 --wait",
)
def train(
    once: Annotated[bool, typer.Option("--once", help="Train one round and leave.")] = False,
    request: Annotated[
        bool, typer.Option("--request", help="Train nothing here: ask the trainer that holds the lease.")
    ] = False,
    horizon: Annotated[
        int | None, typer.Option("--horizon", help="With --request: only this horizon (minutes).", min=1)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="With --request: follow it until its verdict.")] = False,
    home: Home = None,
) -> None:
    """Train challengers, put them through the gate and promote the better ones.

    The volatility baseline becomes champion first, so that something serves whatever comes of the training.
    TICKCAST_SOURCE, a tag of every model, is the source that the folder was made for, else kraken.
    Of several trainers on one broker one trains, and the others stand by.
    """
    join_stack(home)
    if request or wait or horizon is not None:
        _request(horizon, once=once, request=request, wait=wait)
        return
    with progress() as tell:
        log_to_stderr()  # after the bar, which lets lines pass above it
        from ml.settings import TrainerSettings
        from ml.trainer import run
        from redpanda.settings import BrokerSettings
        from tables.clickhouse.settings import StoreSettings

        run(TrainerSettings(), StoreSettings(), once=once, broker=BrokerSettings(), progress=tell if once else None)


def _request(horizon: int | None, *, once: bool, request: bool, wait: bool) -> None:
    from ml.request import ask, follow
    from ml.settings import TrainerSettings
    from redpanda.errors import ConfigError
    from redpanda.settings import BrokerSettings

    if once or not request:
        raise ConfigError("--horizon and --wait go with --request, and --request goes without --once")
    horizon_s = 0 if horizon is None else horizon * 60
    known = TrainerSettings().horizons_s
    if horizon_s and horizon_s not in known:
        raise ConfigError(f"--horizon {horizon} is none of TICKCAST_HORIZONS_S={','.join(map(str, known))}")
    broker = BrokerSettings()
    offset = ask(broker, horizon_s)
    asked = f"{horizon} min" if horizon else "all horizons"
    if not wait:
        say(f"request {offset}: asked for a training of {asked}; the trainer begins when it is free")
        return
    with progress() as tell:
        verdicts = follow(broker, offset, tell)
    say(f"request {offset} is answered:")
    for trained_s, verdict in verdicts.items():
        say(f"  {int(trained_s) // 60} min: {verdict}")


@examples(
    "tickcast api",
    "tickcast api --port 9000",
)
def api(
    port: Annotated[int | None, typer.Option(help="Port (TICKCAST_API_PORT, default 18000).")] = None,
    home: Home = None,
) -> None:
    """Serve forecasts and candles over REST and WebSocket."""
    override(api_port=port, home=home)
    log_to_stderr()
    from api.server import run
    from api.settings import ApiSettings
    from redpanda.settings import BrokerSettings
    from tables.clickhouse.settings import StoreSettings

    run(ApiSettings(), BrokerSettings(), StoreSettings())


@examples(
    "tickcast sim --seed 7",
    "TICKCAST_SOURCE=sim tickcast ingest      # in another terminal",
)
def sim(
    port: Annotated[int | None, typer.Option(help="Port (TICKCAST_SIM_PORT, default 18080).")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same market (TICKCAST_SIM_SEED).")] = None,
    pairs: Pairs = None,
    home: Home = None,
) -> None:
    """Run the market simulator: a made-up market behind Kraken's protocol."""
    override(sim_port=port, sim_seed=seed, pairs=pairs, home=home)
    log_to_stderr()
    from agents.trades.settings import SimSettings
    from agents.trades.sim.server import run

    run(SimSettings())
