"""The independent checker: recomputes everything from the `trades` topic and compares what is there.

It shares no code with the folds: trades are parsed here into exact decimals, which trades came too late follows
from the order of the log by the rule as it is documented, candles are those of `app/recompute.py`, and features those
of the bulk path. Rows of state are only decoded by the code that wrote them.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np

from app.recompute import STEPS_MS, Bar, Bars, batch_bars, compare
from app.recorded import Row
from tables.candles.state import load_state
from tables.features import FEATURE_NAMES
from tables.features.bulk import feature_matrix
from tables.features.fold import PairFeatures, features_key
from tables.records import Candle, Features
from tests.chaos.evidence import Evidence, StoredRow

__all__ = ["PLACES", "Verdict", "judge"]

MINUTE_NS: Final = 60_000_000_000
LATENESS_NS: Final = 2_000_000_000
RETENTION_NS: Final = 900_000_000_000
"""Defaults of TICKCAST_LATENESS_MS and TICKCAST_RETENTION_MS, which the workers run with."""
TOLERANCE: Final = 1e-9
EXAMPLES: Final = 1_000
COMPARED: Final = Bar._fields.index("vwap") + 1
"""Of a bar in the state of the features these count; it keeps no ids."""
PLACES: Final = ("log", "late", "candles", "features", "table", "changelog", "stored candles", "stored features")
Key = tuple[str, str, int]
"""Pair, timeframe, open_ms."""


@dataclass
class Verdict:
    """Counts by place and kind, figures for people, and the first rows that differ."""

    lost: Counter[str] = field(default_factory=Counter)
    double: Counter[str] = field(default_factory=Counter)
    different: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not (self.lost.total() or self.double.total() or self.different.total())

    def add(self, kind: Counter[str], place: str, what: str, number: int = 1) -> None:
        """Count a fault."""
        kind[place] += number
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{place}: {what}")


@dataclass
class _Pair:
    """What the log says of one pair."""

    accepted: dict[int, Row] = field(default_factory=dict)
    late: set[int] = field(default_factory=set)
    newest_ns: int = 0
    read: int = 0


def judge(found: Evidence) -> Verdict:
    """Compare everything; the verdict is clean when nothing is lost, double or different."""
    verdict = Verdict()
    for told in found.broken:
        verdict.add(verdict.lost, "table", told)
    pairs = _read_trades(found.trades)
    _check_log(verdict, pairs, found)
    bars = {pair: batch_bars(one.accepted.values()) for pair, one in sorted(pairs.items())}
    _check_candles(verdict, bars, found)
    _check_features(verdict, bars, found)
    _check_tables(verdict, pairs, bars, found)
    accepted = sum(len(one.accepted) for one in pairs.values())
    late = sum(len(one.late) for one in pairs.values())
    verdict.figures |= {
        "trades published": sum(one.read for one in pairs.values()),
        "trades accepted": accepted,
        "trades late": late,
        "trades repeated": sum(one.read for one in pairs.values()) - accepted - late,
        "candles": sum(map(len, bars.values())),
        "candle records": len(found.candles),
        "feature records": len(found.features),
    }
    return verdict


def _read_trades(envelopes: list[bytes]) -> dict[str, _Pair]:
    """Parse in the order of the log; sort out repeats, and trades whose minute could not be changed any more."""
    pairs: dict[str, _Pair] = {}
    for envelope in envelopes:
        for trade in json.loads(envelope, parse_float=Decimal, parse_int=Decimal):
            one = pairs.setdefault(trade["pair"], _Pair())
            trade_id, ts_ns = int(trade["trade_id"]), int(trade["ts_ns"])
            one.read += 1
            if trade_id in one.accepted:
                continue
            minute_end_ns = (ts_ns // MINUTE_NS + 1) * MINUTE_NS
            if minute_end_ns + LATENESS_NS + RETENTION_NS <= one.newest_ns:
                one.late.add(trade_id)
                continue
            one.newest_ns = max(one.newest_ns, ts_ns)
            one.accepted[trade_id] = Row(ts_ns, trade_id, trade["price"], trade["qty"], trade["side"])
    return pairs


def _check_log(verdict: Verdict, pairs: dict[str, _Pair], found: Evidence) -> None:
    for pair, highest in found.acknowledged.items():
        known = pairs[pair].accepted.keys() | pairs[pair].late if pair in pairs else set()
        for trade_id in set(range(1, highest + 1)) - known:
            verdict.add(verdict.lost, "log", f"{pair} trade {trade_id} was acknowledged and is not in the topic")
    told: Counter[tuple[str, int]] = Counter()
    for value in found.late:
        trade = json.loads(value)["trade"]
        told[trade["pair"], trade["trade_id"]] += 1
    expected = {(pair, trade_id) for pair, one in pairs.items() for trade_id in one.late}
    for pair, trade_id in sorted(expected - told.keys()):
        verdict.add(verdict.lost, "late", f"{pair} trade {trade_id} came too late and is not in trades-late")
    for pair, trade_id in sorted(told.keys() - expected):
        verdict.add(verdict.double, "late", f"{pair} trade {trade_id} is in trades-late and was in time")
    for value in found.dead:
        verdict.add(verdict.different, "log", f"dead letter {value[:300]!r}")


def _check_candles(verdict: Verdict, bars: dict[str, Bars], found: Evidence) -> None:
    last: dict[str, Bars] = {pair: {} for pair in bars}
    for (pair, timeframe, open_ms), candle in _last_versions(found.candles, Candle).items():
        last.setdefault(pair, {})[timeframe, open_ms] = _bar(candle)
    _compare_bars(verdict, "candles", bars, last)
    stored: dict[str, Bars] = {pair: {} for pair in bars}
    for row in _once(verdict, "stored candles", found.stored_candles):
        pair, timeframe, open_ms, *values, closed = row
        if closed:
            stored.setdefault(pair, {})[timeframe, open_ms] = Bar(*values)
    _compare_bars(verdict, "stored candles", bars, stored)


def _last_versions(values: list[bytes], kind: type[Any]) -> dict[Key, Any]:
    """Give the version of each key that counts: that of the newest trades, of equal ones the later in the log."""
    decoder = msgspec.json.Decoder(kind)
    last: dict[Key, Any] = {}
    for value in values:
        record = decoder.decode(value)
        key = (record.pair, record.timeframe, record.open_ms)
        if key not in last or record.as_of_ms >= last[key].as_of_ms:
            last[key] = record
    return last


def _compare_bars(verdict: Verdict, place: str, expected: dict[str, Bars], got: dict[str, Bars]) -> None:
    for pair in sorted(expected.keys() | got.keys()):
        result = compare(pair, expected.get(pair, {}), got.get(pair, {}))
        verdict.lost[place] += result.missing
        verdict.double[place] += result.extra
        verdict.different[place] += result.different
        verdict.examples += [f"{place}: {example}" for example in result.examples]


def _bar(candle: Candle) -> Bar:
    return Bar(*(getattr(candle, name) for name in Bar._fields))


def _once(verdict: Verdict, place: str, rows: list[StoredRow]) -> list[StoredRow]:
    """Count the keys that FINAL gives twice."""
    for key, number in Counter(row[:3] for row in rows).items():
        if number > 1:
            verdict.add(verdict.double, place, f"{key} {number} times", number - 1)
    return rows


def _check_features(verdict: Verdict, bars: dict[str, Bars], found: Evidence) -> None:
    expected = _expected_features(bars)
    last: dict[Key, tuple[float, ...]] = {}
    for key, row in _last_versions(found.features, Features).items():
        values = (row.values[name] for name in FEATURE_NAMES)
        last[key] = (*_head(row), *(math.nan if one is None else one for one in values))
    _compare_rows(verdict, "features", expected, last)
    stored = {
        (row[0], row[1], row[2]): tuple(map(float, row[3:]))
        for row in _once(verdict, "stored features", found.stored_features)
    }
    _compare_rows(verdict, "stored features", expected, stored)


HEAD: Final = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "vwap", "synthetic")


def _head(row: Any) -> list[float]:
    return [float(getattr(row, name)) for name in HEAD] + [float(row.bars)]


def _expected_features(bars: dict[str, Bars]) -> dict[Key, tuple[float, ...]]:
    """Give the row of each candle: the candle itself, its number, and the features of the bulk path."""
    expected: dict[Key, tuple[float, ...]] = {}
    for pair, one in bars.items():
        for timeframe, step_ms in STEPS_MS.items():
            opens = sorted(open_ms for frame, open_ms in one if frame == timeframe)
            rows = [one[timeframe, open_ms] for open_ms in opens]
            columns = {name: np.array([getattr(bar, name) for bar in rows]) for name in HEAD}
            matrix = feature_matrix({"open_ms": np.array(opens), **columns}, step_ms)
            for number, (open_ms, bar, values) in enumerate(zip(opens, rows, matrix, strict=True), 1):
                head = [float(getattr(bar, name)) for name in HEAD]
                expected[pair, timeframe, open_ms] = (*head, float(number), *map(float, values))
    return expected


def _compare_rows(
    verdict: Verdict, place: str, expected: dict[Key, tuple[float, ...]], got: dict[Key, tuple[float, ...]]
) -> None:
    for key in sorted(expected.keys() - got.keys()):
        verdict.add(verdict.lost, place, f"{key} is missing")
    for key in sorted(got.keys() - expected.keys()):
        verdict.add(verdict.double, place, f"{key} has no candle")
    keys = sorted(expected.keys() & got.keys())
    if not keys:
        return
    right, ours = np.array([expected[key] for key in keys]), np.array([got[key] for key in keys])
    sizes: dict[tuple[str, str], Any] = {}
    for group in {key[:2] for key in keys}:
        inside = np.array([key[:2] == group for key in keys])
        sizes[group] = np.nanmax(np.abs(np.where(np.isnan(right[inside]), 0.0, right[inside])), axis=0)
    # Relative, and for values that are differences of larger ones, to a thousandth of their largest.
    slack = TOLERANCE * np.maximum(np.abs(right), 1e-3 * np.array([sizes[key[:2]] for key in keys]))
    wrong = ~((np.abs(ours - right) <= slack) | (np.isnan(ours) & np.isnan(right)))
    names = (*HEAD, "bars", *FEATURE_NAMES)
    for at in np.flatnonzero(wrong.any(axis=1)):
        columns = np.flatnonzero(wrong[at])
        first = columns[0]
        told = f"{names[first]} {ours[at, first]!r} instead of {right[at, first]!r}, {len(columns)} columns"
        verdict.add(verdict.different, place, f"{keys[at]}: {told}")


def _check_tables(verdict: Verdict, pairs: dict[str, _Pair], bars: dict[str, Bars], found: Evidence) -> None:
    for table, rows in found.tables.items():
        _check_changelog(verdict, table, rows, found.changelogs[table])
    applied = 0
    for pair, one in pairs.items():
        applied += _check_candle_state(verdict, pair, one, bars[pair], found.tables["candle-state"])
        for timeframe in STEPS_MS:
            _check_feature_state(verdict, pair, timeframe, bars[pair], found.tables["feature-state"])
    verdict.figures["trades applied"] = applied


def _check_changelog(verdict: Verdict, table: str, rows: dict[bytes, bytes], log: dict[bytes, bytes]) -> None:
    """Compare RocksDB with the last values of the changelog: whoever recovers next must find the same state."""
    for key in sorted(rows.keys() - log.keys()):
        verdict.add(verdict.lost, "changelog", f"{table} {key.decode()} is in RocksDB only")
    for key in sorted(log.keys() - rows.keys()):
        verdict.add(verdict.lost, "table", f"{table} {key.decode()} is in the changelog only")
    for key in sorted(rows.keys() & log.keys()):
        if rows[key] != log[key]:
            verdict.add(verdict.different, "changelog", f"{table} {key.decode()} differs from RocksDB")


def _check_candle_state(verdict: Verdict, pair: str, one: _Pair, bars: Bars, rows: dict[bytes, bytes]) -> int:
    """Compare the ids and windows of a pair; give the number of ids that its state holds."""
    state = load_state(pair, rows.get)
    ranges = list(zip(state.applied[::2], state.applied[1::2], strict=True))
    applied = {trade_id for low, high in ranges for trade_id in range(low, high + 1)}
    if missing := sorted(one.accepted.keys() - applied):
        verdict.add(verdict.lost, "table", f"{pair} ids {missing[:5]} are not applied", len(missing))
    if extra := sorted(applied - one.accepted.keys()):
        verdict.add(verdict.double, "table", f"{pair} ids {extra[:5]} are applied and were never accepted", len(extra))
    keep_ms = (one.newest_ns - RETENTION_NS - LATENESS_NS) // MINUTE_NS * 60_000
    for timeframe, windows in state.windows.items():
        for open_ms, window in sorted(windows.items()):
            right = bars.get((timeframe, open_ms))
            if right is None:
                verdict.add(verdict.double, "table", f"{pair} {timeframe} {open_ms} is in no recompute")
            elif (got := _bar(window.candle(pair, timeframe, 0))) != right:
                verdict.add(verdict.different, "table", f"{pair} {timeframe} {open_ms}: {got} instead of {right}")
        for frame, open_ms in sorted(bars.keys()):
            if frame == timeframe == "1m" and open_ms >= keep_ms and open_ms not in windows:
                verdict.add(verdict.lost, "table", f"{pair} {timeframe} {open_ms} can still change and is not there")
    return len(applied)


def _check_feature_state(verdict: Verdict, pair: str, timeframe: str, bars: Bars, rows: dict[bytes, bytes]) -> None:
    key = features_key(pair, timeframe)
    opens = sorted(open_ms for frame, open_ms in bars if frame == timeframe)
    if key not in rows:
        verdict.add(verdict.lost, "table", f"feature-state has no row {key.decode()}")
        return
    fold = PairFeatures(pair, timeframe, RETENTION_NS // 1_000_000, rows.get)
    count = fold._chain.window.bars
    if fold.started_over or count != len(opens):
        told = f"counts {count} bars instead of {len(opens)}"
        verdict.add(verdict.different, "table", f"feature-state {key.decode()} {told}")
    for candle, *_ in fold._ring:
        right = bars.get((timeframe, candle.open_ms))
        got = _bar(candle)
        if right is None or got[:COMPARED] != right[:COMPARED]:
            told = f"feature-state {key.decode()} {candle.open_ms}: {got} instead of {right}"
            verdict.add(verdict.different, "table", told)
