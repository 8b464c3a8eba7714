"""A worker that ends between any two effects of a chunk: the next one's candles are those of a batch."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLES, TRADES
from tables.records import Candle, Side, Trade
from tests.agents.crashing_worker import EXIT_CODE, STEPS
from tests.support.reference import differences
from tests.support.waiting import wait_for
from tests.support.worker import Worker, everything, own_broker

pytestmark = [pytest.mark.component, pytest.mark.proof]
__all__ = ["own_broker"]

SCRIPT = Path(__file__).with_name("crashing_worker.py")
PAIRS = ("BTC/USD", "ETH/USD", "SOL/USD")
START_MS = 1_526_187_600_000


def market(seed: int) -> dict[str, list[Trade]]:
    """Draw the trades of three pairs: about half an hour, in order of id, some out of order in time."""
    chance = random.Random(seed)
    sides: tuple[Side, ...] = ("buy", "sell")
    found: dict[str, list[Trade]] = {}
    for pair in PAIRS:
        at_ms = START_MS + chance.randrange(60_000)
        for number in range(1, 201):
            at_ms += chance.randrange(-2_000, 20_000)
            price, qty = round(chance.uniform(90, 110), 2), round(chance.uniform(0.01, 3), 8)
            trade = Trade(pair, number, at_ms * 1_000_000, price, qty, chance.choice(sides), "market", "replay")
            found.setdefault(pair, []).append(trade)
    return found


def publish(broker: BrokerSettings, trades: dict[str, list[Trade]]) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.broker_url, acks="all", linger_ms=20)
    for at in range(len(trades[PAIRS[0]])):
        for pair, some in trades.items():
            producer.send(TRADES, key=pair.encode(), value=msgspec.json.encode([some[at]]))
    producer.flush()
    producer.close()


def newest(broker: BrokerSettings) -> dict[str, dict[tuple[str, int], Candle]]:
    """Give the version of each candle that counts, by pair; what has one version must have one content."""
    found: dict[str, dict[tuple[str, int], Candle]] = {pair: {} for pair in PAIRS}
    for value in everything(broker, CANDLES):
        candle = msgspec.json.decode(value, type=Candle)
        place = (candle.timeframe, candle.open_ms)
        before = found[candle.pair].get(place)
        if before is None or (candle.as_of_ms, candle.revision) >= (before.as_of_ms, before.revision):
            found[candle.pair][place] = candle
    return found


@pytest.mark.parametrize("step", STEPS)
def test_worker_that_ends_between_two_effects_costs_nothing(
    tmp_path: Path, own_broker: BrokerSettings, step: str, seed: int
) -> None:
    trades = market(seed)
    publish(own_broker, trades)
    home = tmp_path / "worker"
    home.mkdir()
    crashing = Worker(home, own_broker.broker_url, script=SCRIPT, CRASH_STEP=step)
    crashing.start()
    wait_for(lambda: crashing.exit_code is not None, 60)
    assert crashing.exit_code == EXIT_CODE, (home / "worker.log").read_text()[-3_000:]
    crashing.close()
    worker = Worker(home, own_broker.broker_url, stages="candles")
    worker.start()
    try:
        # History that has ended is closed by the clock, up to the day.
        wait_for(
            lambda: (
                worker.is_drained() and all(("1d", 1_526_169_600_000) in one for one in newest(own_broker).values())
            ),
            60,
        )
    finally:
        worker.close()
    for pair, candles in newest(own_broker).items():
        assert differences(trades[pair], candles) == {"missing": [], "extra": [], "different": []}
