"""Every registered indicator goes through every check; faults that the checks are there for are found by them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from tables.features.arrays import Array, Columns
from tables.features.catalog import CATALOG
from tables.features.indicator import Indicator, Unit
from tables.features.indicators.ema import Ema
from tables.features.indicators.log_return import LogReturn
from tables.features.indicators.rsi import Rsi
from tables.features.indicators.sma import Sma
from tables.features.window import Window
from tests.tables.features import conformance
from tests.tables.features.conformance import Check, yield_checks

CHECKS = [
    pytest.param(indicator, check, id=f"{indicator.__name__}-{check.__name__}")
    for indicator in CATALOG.indicators
    for check in yield_checks(indicator)
]


@pytest.mark.parametrize(("indicator", "check"), CHECKS)
def test_indicator_conforms(indicator: type[Indicator], check: Check) -> None:
    check(indicator)


class ShortOfInputs(LogReturn):
    """Reads further back than it says: there is less after a restart."""

    inputs: ClassVar = {"close": 30}


class RunningSum(Sma):
    """Adds and takes away, and forgets its sum at a restart."""

    def update(self, window: Window) -> tuple[float, ...]:
        total = getattr(self, "total", 0.0) + window.close
        if window.bars > 7:
            total -= window.closes[-8]
        self.total = total
        return (total / 7, *super().update(window)[1:])


class TooEarly(Rsi):
    warm_up = (6, 14, 21, 60)


class TooLate(Rsi):
    warm_up = (8, 14, 21, 60)


class ClaimsPriceUnit(Rsi):
    unit: ClassVar[Unit] = "price"


class ClaimsNoUnit(Sma):
    unit: ClassVar[Unit] = ""  # type: ignore[assignment]  # the fault itself


class LooksAhead(LogReturn):
    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return [found - np.nanmean(found) if bars.rows > 300 else found for found in super().bulk(bars)]


class NoValueWhenFlat(Sma):
    def update(self, window: Window) -> tuple[float, ...]:
        return super().update(window) if window.move else (np.nan,) * 4

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        moved = np.diff(bars["close"], prepend=np.nan) != 0
        return [np.where(moved, found, np.nan) for found in super().bulk(bars)]


class FailsOnFewBars(Sma):
    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        assert bars["close"][2] > 0
        return super().bulk(bars)


class AlmostEma(Ema):
    """Right, but not in the library's order of operations."""

    def update(self, window: Window) -> tuple[float, ...]:
        close, old = window.close, self.state
        self.state = (
            tuple(k * close + (1 - k) * mean for mean, k in zip(old, (0.25, 2 / 15, 2 / 22, 2 / 61), strict=True))
            if window.bars > 1
            else (close,) * 4
        )
        return self.state


class GrowingState(Ema):
    def update(self, window: Window) -> tuple[float, ...]:
        found = super().update(window)[:4]
        self.state = found if window.bars < 100 else (*found, 0.0)
        return found


@pytest.mark.parametrize(
    ("faulty", "check"),
    [
        (ShortOfInputs, conformance.check_restarts_and_corrections),
        (RunningSum, conformance.check_restarts_and_corrections),
        (TooEarly, conformance.check_warm_up),
        (TooLate, conformance.check_warm_up),
        (TooLate, conformance.check_live_equals_bulk),
        (ClaimsPriceUnit, conformance.check_scale),
        (ClaimsNoUnit, conformance.check_scale),
        (LooksAhead, conformance.check_histories_of_any_length),
        (NoValueWhenFlat, conformance.check_values_once_warm),
        (NoValueWhenFlat, conformance.check_constant_series),
        (NoValueWhenFlat, conformance.check_silent_series),
        (FailsOnFewBars, conformance.check_histories_of_any_length),
        (AlmostEma, conformance.check_live_equals_bulk_bit_by_bit),
        (GrowingState, conformance.check_state),
    ],
)
def test_checks_find_the_fault(faulty: type[Indicator], check: Check) -> None:
    assert check in list(yield_checks(faulty))
    with pytest.raises((AssertionError, IndexError)):
        check(faulty)
