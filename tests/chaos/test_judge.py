"""The judge acquits what the folds make of a feed, and finds every fault that is planted."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from itertools import islice

import msgspec
import pytest

from tables.candles import CandleRules, PairCandles
from tables.candles.state import state_key
from tables.features import FEATURE_NAMES
from tables.features.fold import PairFeatures, features_key
from tables.records import Candle, DeadLetter, Features, LateTrade, Trade
from tests.chaos.evidence import Evidence, StoredRow
from tests.chaos.judge import judge
from tests.support.feed import envelopes
from tests.support.samples import dead_letter

PAIR = "ETH/USD"
PRICES = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "vwap")
encode = msgspec.json.encode


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """Some hours of the feed through the folds, as a run without any blow would leave them."""
    ending = threading.Event()

    def drawn() -> Iterator[tuple[str, list[Trade]]]:
        for number, (_, pair, trades) in enumerate(envelopes(8, ending)):
            if number == 400:
                ending.set()
            yield pair, trades

    found = Evidence(tables={"candle-state": {}, "feature-state": {}})
    candles, features = _Candles(found), _Features(found)
    for at_ms, (pair, trades) in enumerate(drawn(), 1):
        found.trades.append(encode(trades))
        found.acknowledged[pair] = max(found.acknowledged.get(pair, 0), trades[-1].trade_id)
        features.fold(candles.fold(pair, trades, at_ms))
    features.fold(candles.end())
    for pair, one in candles.folds.items():
        found.tables["candle-state"][state_key(pair)] = one.state.pack()
    for key, row in features.folds.items():
        found.tables["feature-state"][features_key(*key)] = row.pack()
    found.changelogs = copy.deepcopy(found.tables)
    last = {(one.pair, one.timeframe, one.open_ms): one for one in map(_candle, found.candles)}
    found.stored_candles = [
        _stored(one, one.first_trade_id, one.last_trade_id, one.synthetic, 1) for one in last.values()
    ]
    rows = {(one.pair, one.timeframe, one.open_ms): one for one in map(_features, found.features)}
    found.stored_features = [
        _stored(one, one.synthetic, one.bars, *(_number(one.values[name]) for name in FEATURE_NAMES))
        for one in rows.values()
    ]
    return found


class _Candles:
    def __init__(self, found: Evidence) -> None:
        self.found = found
        self.folds: dict[str, PairCandles] = {}

    def fold(self, pair: str, trades: list[Trade], at_ms: int) -> list[Candle]:
        fold = self.folds.setdefault(pair, PairCandles(pair, CandleRules(), lambda _: None))
        fold.apply(trades, 1 << 62, at_ms)
        return self._settled(fold)

    def end(self) -> list[Candle]:
        return [one for fold in self.folds.values() for one in self._settled(fold, now_ms=1 << 42)]

    def _settled(self, fold: PairCandles, now_ms: int | None = None) -> list[Candle]:
        output = fold.settle(now_ms, feed_alive=False)
        self.found.late += [encode(one) for one in output.late]
        self.found.candles += [encode(one) for one in output.candles]
        return output.candles


class _Features:
    def __init__(self, found: Evidence) -> None:
        self.found = found
        self.folds: dict[tuple[str, str], PairFeatures] = {}

    def fold(self, candles: list[Candle]) -> None:
        for candle in candles:
            key = (candle.pair, candle.timeframe)
            fold = self.folds.setdefault(key, PairFeatures(*key, 902_000, lambda _: None))
            self.found.features += [encode(row) for row in fold.apply(candle)]


def _candle(value: bytes) -> Candle:
    return msgspec.json.decode(value, type=Candle)


def _features(value: bytes) -> Features:
    return msgspec.json.decode(value, type=Features)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _stored(one: Candle | Features, *rest: object) -> StoredRow:
    return (one.pair, one.timeframe, one.open_ms, *(getattr(one, name) for name in PRICES), *rest)


def test_a_run_without_blows_is_clean_and_counted(evidence: Evidence) -> None:
    verdict = judge(evidence)
    assert verdict.examples == []
    assert verdict.clean
    figures = verdict.figures
    assert figures["trades applied"] == figures["trades accepted"] > 3_000
    assert figures["trades late"] > 0, "the feed brings some trades too late"
    assert figures["trades repeated"] > 0, "the feed brings some envelopes twice"
    assert figures["trades published"] == sum(len(msgspec.json.decode(one)) for one in evidence.trades)


def _lose_candle(found: Evidence) -> None:
    victim = _candle(found.candles[100])
    found.candles = [
        one
        for one in found.candles
        if (row := _candle(one)).open_ms != victim.open_ms
        or (row.pair, row.timeframe) != (victim.pair, victim.timeframe)
    ]


def _invent_candle(found: Evidence) -> None:
    found.candles.append(encode(msgspec.structs.replace(_candle(found.candles[-1]), open_ms=60_000)))


def _end_with_an_old_version(found: Evidence) -> None:
    newest = _candle(found.candles[-1])
    found.candles.append(encode(msgspec.structs.replace(newest, volume=newest.volume / 2)))


def _lose_features(found: Evidence) -> None:
    victim = _features(found.features[-1])
    found.features = [
        one for one in found.features if (_features(one).pair, _features(one).open_ms) != (victim.pair, victim.open_ms)
    ]


def _shift_a_feature(found: Evidence) -> None:
    row = _features(found.features[-1])
    found.features.append(encode(msgspec.structs.replace(row, values={**row.values, "tod_sin": 0.123456})))


def _lose_stored(found: Evidence) -> None:
    del found.stored_candles[7]


def _double_stored(found: Evidence) -> None:
    found.stored_features.append(found.stored_features[7])


def _change_stored(found: Evidence) -> None:
    row = list(found.stored_features[7])
    row[6] *= 1 + 1e-8
    found.stored_features[7] = tuple(row)


def _open_stored(found: Evidence) -> None:
    found.stored_candles[7] = (*found.stored_candles[7][:-1], 0)


def _lose_state(found: Evidence) -> None:
    """As if the table had been written before the newest trades, in RocksDB and changelog alike."""
    rows = found.tables["candle-state"]
    early = PairCandles(PAIR, CandleRules(), rows.get)
    fold = PairCandles(PAIR, CandleRules(), lambda _: None)
    mine = (msgspec.json.decode(one, type=list[Trade]) for one in found.trades)
    for at_ms, trades in enumerate(islice((one for one in mine if one[0].pair == PAIR), 60), 1):
        fold.apply(trades, 1 << 62, at_ms)
        fold.settle()
    assert fold.state.applied[-1] < early.state.applied[-1]
    rows[state_key(PAIR)] = found.changelogs["candle-state"][state_key(PAIR)] = fold.state.pack()


def _apply_twice(found: Evidence) -> None:
    """As if one trade of an open window had been folded twice."""
    fold = PairCandles(PAIR, CandleRules(), found.tables["candle-state"].get)
    fold.state.windows["1m"][fold.state.newest_ms].volume += 10**15
    fold.state.windows["1m"][fold.state.newest_ms].packed = None
    row = fold.state.pack()
    found.tables["candle-state"][state_key(PAIR)] = found.changelogs["candle-state"][state_key(PAIR)] = row


def _let_changelog_lag(found: Evidence) -> None:
    found.changelogs["feature-state"][features_key(PAIR, "1m")] += b" "


def _lose_changelog_row(found: Evidence) -> None:
    del found.changelogs["candle-state"][state_key(PAIR)]


def _lose_table_row(found: Evidence) -> None:
    for place in (found.tables, found.changelogs):
        del place["feature-state"][features_key(PAIR, "5m")]


def _fold_features_of_old_candles(found: Evidence) -> None:
    """As if corrections of a candle had never reached the features."""
    key = (PAIR, "1m")
    fold = PairFeatures(*key, 902_000, found.tables["feature-state"].get)
    newest = next(one for one in map(_candle, reversed(found.candles)) if (one.pair, one.timeframe) == key)
    fold.apply(msgspec.structs.replace(newest, volume=newest.volume * 2, quote_volume=newest.quote_volume * 2))
    for place in (found.tables, found.changelogs):
        place["feature-state"][features_key(*key)] = fold.pack()


def _lose_late(found: Evidence) -> None:
    victim = msgspec.json.decode(found.late[0], type=LateTrade)
    found.late = [one for one in found.late if msgspec.json.decode(one, type=LateTrade).trade != victim.trade]


def _refuse_in_time(found: Evidence) -> None:
    trade = msgspec.json.decode(found.trades[0], type=list[Trade])[0]
    found.late.append(encode(LateTrade(trade=trade, reason="window-left-state", watermark_ms=1)))


def _lose_acknowledged(found: Evidence) -> None:
    found.acknowledged[PAIR] += 2


def _dead_letter(found: Evidence) -> None:
    found.dead.append(encode(dead_letter()))
    assert msgspec.json.decode(found.dead[0], type=DeadLetter).stage == "candles"


def _break_database(found: Evidence) -> None:
    found.broken.append("feature-state-1.db: Corruption")


@pytest.mark.parametrize(
    ("plant", "kind", "place"),
    [
        (_lose_candle, "lost", "candles"),
        (_invent_candle, "double", "candles"),
        (_end_with_an_old_version, "different", "candles"),
        (_lose_features, "lost", "features"),
        (_shift_a_feature, "different", "features"),
        (_lose_stored, "lost", "stored candles"),
        (_double_stored, "double", "stored features"),
        (_change_stored, "different", "stored features"),
        (_open_stored, "lost", "stored candles"),
        (_lose_state, "lost", "table"),
        (_apply_twice, "different", "table"),
        (_let_changelog_lag, "different", "changelog"),
        (_lose_changelog_row, "lost", "changelog"),
        (_lose_table_row, "lost", "table"),
        (_fold_features_of_old_candles, "different", "table"),
        (_lose_late, "lost", "late"),
        (_refuse_in_time, "double", "late"),
        (_lose_acknowledged, "lost", "log"),
        (_dead_letter, "different", "log"),
        (_break_database, "lost", "table"),
    ],
)
def test_a_planted_fault_is_found(evidence: Evidence, plant: Callable[[Evidence], None], kind: str, place: str) -> None:
    found = copy.deepcopy(evidence)
    plant(found)
    verdict = judge(found)
    assert getattr(verdict, kind)[place] > 0
    assert not verdict.clean
    assert any(example.startswith(f"{place}: ") for example in verdict.examples)


def test_records_that_come_again_are_no_fault(evidence: Evidence) -> None:
    found = copy.deepcopy(evidence)
    found.candles += found.candles[-500:]
    found.features += found.features[-500:]
    found.late += found.late
    assert judge(found).clean
