"""Stored candles through the code of the backtest, held against the forecasts that a worker made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.predictor import forecast
from app.backtest import candles_of
from ml.baseline import BaselineModel
from ml.candle_file import histories_of
from ml.model import Origin
from ml.rolling import START, Rolling, learn
from tables.candles import CandleRules
from tables.clickhouse import history, queries
from tables.features.fold import PairFeatures
from tables.records import Features, Forecast

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["compared"]

_FOREVER_MS = 1 << 42
_ALL = 100_000


def compared(store: Client, pairs: Sequence[str], horizons_s: Sequence[int]) -> int:
    """Count forecasts of the baseline that are equal to the last bit; fails at the first that is not.

    The live ones were corrected by what had been scored when they were made, later or earlier: any state of the
    correction will do, but states only go forward, for a worker never unlearns.
    """
    histories = histories_of(queries.feature_table(store, "1m", pairs, 0, _FOREVER_MS), "", "the store")
    assert not any(one.found.filled or one.found.broken for one in histories)
    live = {
        (row.pair, row.horizon_s, row.feature_open_ms): row
        for pair in pairs
        for row in history.forecasts(store, pair, None, 0, _FOREVER_MS, _ALL)
    }
    assert {(row.model, row.revision) for row in live.values()} == {("ewma-vol", 0)}
    rules = CandleRules()
    nothing: dict[bytes, bytes] = {}
    folds = {pair: PairFeatures(pair, "1m", rules.retention_ms + rules.lateness_ms, nothing.get) for pair in pairs}
    ways = {(pair, horizon_s): _Way(_states(store, pair, horizon_s)) for pair in pairs for horizon_s in horizons_s}
    count = 0
    for candle in candles_of(histories):
        (row,) = folds[candle.pair].apply(candle)
        for horizon_s in horizons_s:
            theirs = live.get((row.pair, horizon_s, row.open_ms))
            if theirs is not None:
                ways[row.pair, horizon_s].follow(row, theirs)
                count += 1
    print({key: f"state {way.at} of {len(way.states) - 1}" for key, way in ways.items()})
    assert count == len(live)
    return count


class _Way:
    """The states of one correction, and how far the live forecasts have come."""

    def __init__(self, states: list[Rolling | None]) -> None:
        self.states = states
        self.at = 0

    def follow(self, row: Features, theirs: Forecast) -> None:
        """Find the first state from where we are that gives the live forecast."""
        model = BaselineModel(Origin(theirs.horizon_s, theirs.model_version, theirs.model_alias))
        for at in range(self.at, len(self.states)):
            ours = forecast(row, model, theirs.made_at_ms, self.states[at])
            if ours is not None and _numbers(ours) == _numbers(theirs):
                self.at = at
                return
        raise AssertionError(f"{theirs}: no state from {self.at} on gives it")


def _numbers(one: Forecast) -> tuple[float, ...]:
    return one.base_price, one.q05, one.q25, one.q50, one.q75, one.q95, one.p_up, one.sigma_bps


def _states(store: Client, pair: str, horizon_s: int) -> list[Rolling | None]:
    """Give the predictor's states one after the other, from the stored errors."""
    rows = store.query(
        "SELECT below FROM forecast_errors FINAL WHERE pair = {pair:String} AND horizon_s = {horizon_s:UInt32} "
        "AND NOT synthetic ORDER BY feature_open",
        parameters={"pair": pair, "horizon_s": horizon_s},
    ).result_rows
    states: list[Rolling | None] = [None]
    for (under,) in rows:
        states.append(learn(states[-1] or START, [bool(one) for one in under]))
    return states
