from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.trades.exchanges.kraken import decode_frame, decode_page
from agents.trades.sim.market import GENESIS_NS, Market, profile_of
from agents.trades.sim.wire import rest_rows, socket_rows, v1_names

NOW_NS = 1_760_000_000_000_000_000
DAY_NS = 86_400_000_000_000


@settings(max_examples=25, deadline=None)
@given(st.integers(0, DAY_NS), st.integers(1, 3_000), st.sampled_from(("BTC/USD", "ADA/USD", "ABC/EUR")))
def test_any_stretch_is_the_same_in_a_market_that_starts_there(offset_ns: int, count: int, pair: str) -> None:
    shared = Market(7, 30.0)
    first = shared.first_id_at(pair, NOW_NS + offset_ns)
    again = Market(7, 30.0)
    one = [row for part in shared.slices(pair, first, first + count) for row in rest_rows(*part, 4)]
    two = [row for part in again.slices(pair, first, first + count) for row in rest_rows(*part, 4)]
    assert one == two
    assert [json.loads(row)[6] for row in one] == list(range(first, first + count))
    times = [json.loads(row)[2] for row in one]
    assert times == sorted(times)


def test_time_and_id_agree_across_blocks() -> None:
    market = Market(3, 6_000.0)
    pair = "BTC/USD"
    first, end = (market.first_id_at(pair, at_ns) for at_ns in (NOW_NS, NOW_NS + 3_600 * 10**9))
    stamps = np.concatenate([block.ts_ns[a:b] for block, a, b in market.slices(pair, first, end)])
    assert len(stamps) == end - first
    assert NOW_NS <= stamps[0] <= stamps[-1] < NOW_NS + 3_600 * 10**9
    assert market.first_id_at(pair, GENESIS_NS - 1) == market.first_id_at(pair, GENESIS_NS) == 1


def test_socket_and_rest_tell_the_same_trades() -> None:
    market = Market(7, 30.0)
    for pair in ("BTC/USD", "ADA/USD"):
        decimals = profile_of(pair).decimals
        first = market.first_id_at(pair, NOW_NS)
        ((block, start, end),) = market.slices(pair, first, first + 200)
        rows = ",".join(rest_rows(block, start, end, decimals))
        body = f'{{"error":[],"result":{{"X":[{rows}],"last":"1"}}}}'.encode()
        data = ",".join(socket_rows(pair, block, start, end, decimals))
        frame = f'{{"channel":"trade","type":"update","data":[{data}]}}'
        page = decode_page(body, pair, NOW_NS + DAY_NS, "sim")
        assert len(page.trades) == 200
        assert decode_frame(frame, frozenset((pair,)), NOW_NS + DAY_NS, "sim").trades == page.trades


@pytest.mark.parametrize("pair", ["BTC/USD", "SOL/USD"])
def test_volatility_clusters_and_direction_is_nearly_unpredictable(pair: str) -> None:
    market = Market(7, 30.0)
    first, end = (market.first_id_at(pair, NOW_NS + day * DAY_NS) for day in (0, 12))
    blocks = list(market.slices(pair, first, end))
    stamps = np.concatenate([block.ts_ns[a:b] for block, a, b in blocks]) // 60_000_000_000
    price = np.concatenate([block.ticks[a:b] for block, a, b in blocks]).astype(float)
    closes = price[np.flatnonzero(np.diff(stamps))]
    returns = np.diff(np.log(closes))
    size = np.abs(returns)
    assert np.corrcoef(size[:-1], size[1:])[0, 1] > 0.12
    assert np.corrcoef(size[:-15], size[15:])[0, 1] > 0.05
    assert abs(np.corrcoef(returns[:-1], returns[1:])[0, 1]) < 0.06
    assert 0.5 < closes[-1] / closes[0] < 2.0
    counts = np.bincount(stamps - stamps[0])
    assert counts.var() > 4 * counts.mean()  # arrivals come in bursts: Poisson would give 1


def test_names_are_krakens() -> None:
    assert v1_names("BTC/USD") == ("XXBTZUSD", "XBTUSD", "XBT/USD")
    assert v1_names("DOGE/EUR") == ("XXDGZEUR", "XDGEUR", "XDG/EUR")
    assert v1_names("BTC/USDT") == ("XBTUSDT", "XBTUSDT", "XBT/USDT")
    assert v1_names("SOL/USD") == ("SOLUSD", "SOLUSD", "SOL/USD")
