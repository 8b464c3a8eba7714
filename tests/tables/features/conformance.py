"""What every indicator must do: a list of checks that is made for each class, as river does for its models.

`yield_checks(indicator)` gives them; each takes the class and raises AssertionError. A new indicator gets them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tables.features.arrays import Array
from tables.features.bulk import feature_matrix
from tables.features.catalog import Catalog
from tables.features.fold import PairFeatures, features_key
from tables.features.indicator import Indicator
from tables.records import MINUTE_MS, Candle
from tests.support.market import SCALES, columns, market, steady

__all__ = ["REVISABLE_MS", "Check", "folded", "values_of", "yield_checks"]

Check = Callable[[type[Indicator]], None]

REVISABLE_MS = 902_000
"""What the worker gives with default settings."""
BARS = 420
STATE_BYTES = 4_096
FACTORS = (2.0**-20, 2.0**7)
"""Powers of two: floats keep all their digits."""


def yield_checks(indicator: type[Indicator]) -> Iterator[Check]:
    """Give the checks that apply to an indicator."""
    yield check_live_equals_bulk
    if indicator.exact:
        yield check_live_equals_bulk_bit_by_bit
    yield check_warm_up
    yield check_values_once_warm
    yield check_constant_series
    yield check_silent_series
    yield check_scale
    yield check_histories_of_any_length
    yield check_restarts_and_corrections
    yield check_state


def folded(catalog: Catalog, candles: Sequence[Candle]) -> Array:
    """Fold a history, live; one row a bar, one column a feature."""
    fold = PairFeatures("BTC/USD", candles[0].timeframe, REVISABLE_MS, dict[bytes, bytes]().get, catalog)
    return np.array([values_of(catalog, row.values) for candle in candles for row in fold.apply(candle)])


def values_of(catalog: Catalog, values: dict[str, float | None]) -> list[float]:
    """Give the values of a row in order, NaN for None."""
    assert tuple(values) == catalog.names
    assert all(value is None or isinstance(value, float) for value in values.values())
    return [np.nan if value is None else value for value in values.values()]


def bulk(catalog: Catalog, candles: Sequence[Candle]) -> Array:
    return feature_matrix(columns(candles), MINUTE_MS, catalog)


def check_live_equals_bulk(indicator: type[Indicator]) -> None:
    catalog = Catalog([indicator])
    for scale in SCALES:
        candles = market(BARS, scale)
        live, expected = folded(catalog, candles), bulk(catalog, candles)
        for at, name in enumerate(catalog.names):
            assert (np.isnan(live[:, at]) == np.isnan(expected[:, at])).all(), (name, scale)
            # A difference of sums near zero is measured against the size of its parts.
            size = np.nanmax(np.abs(expected[:, at]))
            assert np.nanmax(np.abs(live[:, at] - expected[:, at])) <= 1e-9 * size, (name, scale)


def check_live_equals_bulk_bit_by_bit(indicator: type[Indicator]) -> None:
    catalog = Catalog([indicator])
    for scale in SCALES:
        candles = market(3_000, scale, silences=5)
        np.testing.assert_array_equal(folded(catalog, candles), bulk(catalog, candles))


def check_warm_up(indicator: type[Indicator]) -> None:
    catalog = Catalog([indicator])
    candles = market(max(indicator.warm_up) + 20, 100.0, silences=0)
    for engine in (folded, bulk):
        known = ~np.isnan(engine(catalog, candles))
        first = known.argmax(axis=0).tolist()
        assert first == list(indicator.warm_up), (engine.__name__, first)


def check_values_once_warm(indicator: type[Indicator]) -> None:
    catalog = Catalog([indicator])
    for scale in SCALES:
        candles = market(BARS, scale, silences=3)
        for engine in (folded, bulk):
            found = engine(catalog, candles)
            for at, cold in enumerate(indicator.warm_up):
                assert np.isfinite(found[cold:, at]).all(), (engine.__name__, catalog.names[at], scale)


def check_constant_series(indicator: type[Indicator]) -> None:
    _check_steady(indicator, 3.0)


def check_silent_series(indicator: type[Indicator]) -> None:
    _check_steady(indicator, 0.0)


def _check_steady(indicator: type[Indicator], volume: float) -> None:
    catalog = Catalog([indicator])
    candles = steady(max(indicator.warm_up) + 20, 5.3, volume)
    for engine in (folded, bulk):
        found = engine(catalog, candles)
        assert not np.isinf(found).any()
        for at, cold in enumerate(indicator.warm_up):
            known = np.isfinite(found[cold:, at])
            assert not known.any() if indicator.flat_is_none else known.all(), (engine.__name__, catalog.names[at])


def check_scale(indicator: type[Indicator]) -> None:
    catalog = Catalog([indicator])
    candles = market(BARS, 1.0002)
    for engine in (folded, bulk):
        before = engine(catalog, candles)
        for unit, fields in (("price", ("open", "high", "low", "close", "vwap")), ("volume", ("volume", "buy_volume"))):
            for factor in FACTORS:
                changed = [
                    msgspec.structs.replace(
                        candle, **{name: getattr(candle, name) * factor for name in (*fields, "quote_volume")}
                    )
                    for candle in candles
                ]
                expected = before * (factor if indicator.unit == unit else 1.0)
                np.testing.assert_array_equal(engine(catalog, changed), expected, f"{engine.__name__} {unit} {factor}")


def check_histories_of_any_length(indicator: type[Indicator]) -> None:
    """Give the same for the beginning of a history, whatever follows: nothing looks ahead, no length is too short."""
    catalog = Catalog([indicator])
    candles = market(BARS, 100.0)
    whole = bulk(catalog, candles)
    cold = max(indicator.warm_up)
    for bars in sorted({0, 1, 2, 3, cold, cold + 1, cold + 2, 61, 200}):
        found = bulk(catalog, candles[:bars])
        assert found.shape == (bars, len(catalog.names))
        np.testing.assert_allclose(found, whole[:bars], rtol=1e-12, atol=1e-15)


def check_restarts_and_corrections(indicator: type[Indicator]) -> None:
    """Stop at any bar, start from the table's row, correct any bar that can be: nothing may differ in any bit."""
    catalog = Catalog([indicator])

    # Drawn numbers are few: shrinking them tells nothing more.
    @settings(max_examples=8, deadline=None, print_blob=True, phases=(Phase.reuse, Phase.generate))
    @given(st.data())
    def run(data: st.DataObject) -> None:
        true = market(160, data.draw(st.sampled_from(SCALES)), seed=data.draw(st.integers(0, 1_000)))
        table: dict[bytes, bytes] = {}
        fold = PairFeatures("BTC/USD", "1m", REVISABLE_MS, table.get, catalog)
        got: dict[int, list[float]] = {}
        # Bars arrive wrong, and are corrected up to 15 bars later.
        lag = data.draw(st.integers(0, 15))
        stops = data.draw(st.sets(st.integers(0, 159), max_size=8))
        for at in range(len(true) + lag):
            feed = []
            if at < len(true):
                feed.append(wrong(true[at]) if lag else true[at])
            if at >= lag:
                feed.append(true[at - lag])
            for row in [row for candle in feed for row in fold.apply(candle)]:
                got[row.open_ms] = values_of(catalog, row.values)
            if at in stops:
                table[features_key("BTC/USD", "1m")] = fold.pack()
                fold = PairFeatures("BTC/USD", "1m", REVISABLE_MS, table.get, catalog)
        np.testing.assert_array_equal(np.array(list(got.values())), folded(catalog, true))

    run()


def wrong(candle: Candle) -> Candle:
    """Give the candle as it was before its last trade came."""
    return msgspec.structs.replace(
        candle,
        close=candle.open * 1.01,
        high=candle.high * 1.02,
        volume=candle.volume + 1,
        quote_volume=candle.quote_volume + candle.close,
        trades=max(candle.trades - 1, 0),
    )


def check_state(indicator: type[Indicator]) -> None:
    """Remember always the same number of floats, in a tuple; the row stays small."""
    one = indicator()
    assert isinstance(one.state, tuple)
    catalog = Catalog([indicator])
    fold = PairFeatures("BTC/USD", "1m", REVISABLE_MS, dict[bytes, bytes]().get, catalog)
    for candle in market(BARS, 60_000.1):
        fold.apply(candle)
        assert len(fold.pack()) < STATE_BYTES
        for stateful in fold._chain._stateful:
            assert isinstance(stateful.state, tuple)
            assert len(stateful.state) == len(one.state)
            assert all(type(value) is float for value in stateful.state)
