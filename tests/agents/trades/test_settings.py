from __future__ import annotations

import pytest

from agents.trades.exchanges import exchange_of
from agents.trades.settings import ingest_settings, sim_settings
from redpanda.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"source": "binance"}, "TICKCAST_SOURCE.*replay:FILE"),
        ({"source": "replay:"}, "TICKCAST_SOURCE"),
        ({"source": "sim:x"}, "^TICKCAST_SOURCE='sim:x': write"),
        ({"pairs": "BTCUSD"}, "TICKCAST_PAIRS.*BASE/QUOTE"),
        ({"pairs": "BTC/USD,btc/usd"}, "TICKCAST_PAIRS.*twice"),
        ({"pairs": ""}, "^TICKCAST_PAIRS: name at least one"),
        ({"since": "3 days"}, "TICKCAST_SINCE.*12h"),
        ({"linger_ms": -1}, "TICKCAST_LINGER_MS"),
        ({"exchange_ws_url": "http://x"}, "TICKCAST_EXCHANGE_WS_URL"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ingest_settings(**values)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKCAST_PAIRS", " eth/usd , ada/eur")
    monkeypatch.setenv("TICKCAST_SOURCE", "sim")
    monkeypatch.setenv("TICKCAST_SINCE", "12h")
    monkeypatch.setenv("TICKCAST_SIM_PORT", "1234")
    monkeypatch.setenv("TICKCAST_SIM_FAULTS", '{"drop_every":50}')
    settings = ingest_settings()
    assert settings.pairs == ("ETH/USD", "ADA/EUR")
    assert (settings.kind, settings.since_s) == ("sim", 43_200)
    assert settings.ws_url == "ws://127.0.0.1:1234/v2"
    sim = sim_settings()
    assert (sim.pairs, sim.port, sim.faults.drop_every) == (settings.pairs, 1234, 50)


def test_kraken_is_asked_once_a_second_and_the_simulator_is_not_spared() -> None:
    assert exchange_of("kraken").calls_per_s == 1.0
    assert exchange_of("sim").calls_per_s > 100


def test_an_unknown_fault_is_named() -> None:
    with pytest.raises(ConfigError, match="TICKCAST_SIM_FAULTS"):
        sim_settings(faults={"explode": True})
