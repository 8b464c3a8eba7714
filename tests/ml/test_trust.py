from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.baseline import BaselineModel
from ml.model import WARM_UP_BARS, Origin
from ml.settings import MlSettings
from ml.trust import REASONS, SOUND, STALE_MS, Standing, doubts
from tables.records import MINUTE_MS
from tests.support.samples import features

ROW = features(WARM_UP_BARS - 1)
CLOSED_MS = ROW.open_ms + MINUTE_MS


def test_warm_fresh_candle_and_champion_leave_no_doubt() -> None:
    assert doubts(ROW, CLOSED_MS, SOUND) == []


def test_candle_is_stale_only_past_two_minutes() -> None:
    assert doubts(ROW, CLOSED_MS + STALE_MS, SOUND) == []
    assert doubts(ROW, CLOSED_MS + STALE_MS + 1, SOUND) == ["stale"]


def test_one_bar_short_is_warm_up() -> None:
    assert doubts(msgspec.structs.replace(ROW, bars=WARM_UP_BARS - 1), CLOSED_MS, SOUND) == ["warm-up"]


def test_minute_without_trades_is_synthetic() -> None:
    assert doubts(msgspec.structs.replace(ROW, synthetic=True), CLOSED_MS, SOUND) == ["synthetic"]


@pytest.mark.parametrize(("spare_ms", "expected"), [(1, []), (0, ["model-expired"]), (-1, ["model-expired"])])
def test_model_expires_by_the_close_of_the_candle(spare_ms: int, expected: list[str]) -> None:
    assert doubts(ROW, CLOSED_MS, Standing(expires_at_ms=CLOSED_MS + spare_ms)) == expected


def test_age_of_the_model_is_not_taken_by_the_clock() -> None:
    late_ms = CLOSED_MS + 10 * STALE_MS
    assert doubts(ROW, late_ms, Standing(expires_at_ms=CLOSED_MS + MINUTE_MS)) == ["stale"]


def test_stand_in_for_a_champion_is_never_trusted() -> None:
    assert doubts(ROW, CLOSED_MS, Standing(is_champion=False)) == ["no-champion"]


def test_standing_alarm_of_the_scorer_is_drift() -> None:
    assert doubts(ROW, CLOSED_MS, Standing(is_drifting=True)) == ["drift"]


@given(
    bars=st.integers(1, 2 * WARM_UP_BARS),
    synthetic=st.booleans(),
    late_ms=st.integers(-MINUTE_MS, 3 * STALE_MS),
    spare_ms=st.none() | st.integers(-MINUTE_MS, MINUTE_MS),
    is_champion=st.booleans(),
)
def test_each_reason_stands_for_itself_and_in_one_order(
    bars: int, synthetic: bool, late_ms: int, spare_ms: int | None, is_champion: bool
) -> None:
    row = msgspec.structs.replace(ROW, bars=bars, synthetic=synthetic)
    expires_at_ms = None if spare_ms is None else CLOSED_MS + spare_ms
    found = doubts(row, CLOSED_MS + late_ms, Standing(expires_at_ms, is_champion))
    alone = (
        doubts(ROW, CLOSED_MS + late_ms, SOUND)
        + doubts(msgspec.structs.replace(ROW, bars=bars), CLOSED_MS, SOUND)
        + doubts(msgspec.structs.replace(ROW, synthetic=synthetic), CLOSED_MS, SOUND)
        + doubts(ROW, CLOSED_MS, Standing(expires_at_ms))
        + doubts(ROW, CLOSED_MS, Standing(is_champion=is_champion))
    )
    assert found == alone
    assert found == [reason for reason in REASONS if reason in found]


def test_model_lives_from_the_end_of_its_newest_candle_and_the_baseline_for_ever() -> None:
    life_ms = MlSettings(model_expires_days=2.0).model_life_ms
    assert life_ms == 2 * 24 * 60 * MINUTE_MS
    trained = BaselineModel(Origin(60, data_to_ms=ROW.open_ms))
    assert trained.expires_at_ms(life_ms) == CLOSED_MS + life_ms
    assert BaselineModel(Origin(60)).expires_at_ms(life_ms) is None
