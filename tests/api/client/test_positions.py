from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.client.events import Gap, Snapshot, Update
from api.client.positions import Message, Positions, SequenceHoleError, decode_message
from api.messages import update_message
from api.views import CHANNELS, Channel, Record
from api.views import Update as Change
from tests.support.samples import candle, forecast, forecast_error

BTC = "BTC/USD"
TOPIC: tuple[Channel, str] = ("candles", BTC)


def change(seq: int, cursor: int, channel: Channel = "candles", record: Record | None = None) -> Message:
    return decode_message(update_message(Change(channel, BTC, seq, cursor, record or candle(cursor))))


def following(cursor: int | None = None, session: str = "one") -> Positions:
    positions = Positions()
    positions.connected(session)
    positions.want(TOPIC, cursor, snapshot=True)
    return positions


def snapshot(seq: int, cursor: int, rows: Sequence[Record] = ()) -> Message:
    return Message("candles", "snapshot", BTC, seq, cursor, "sim", True, msgspec.Raw(msgspec.json.encode(rows)))


def test_records_come_typed_on_every_channel() -> None:
    records: dict[Channel, Record] = {
        "candles": candle(),
        "candles-live": candle(closed=False),
        "forecasts": forecast(),
        "errors": forecast_error(),
    }
    assert set(records) == set(CHANNELS)
    for channel, record in records.items():
        positions = Positions()
        positions.want((channel, BTC), None, snapshot=True)
        event = positions.take(change(1, 5, channel, record))
        assert event == Update(channel, BTC, 1, 5, "sim", True, record)


def test_a_hole_in_the_sequence_is_told_and_nothing_is_taken_over_it() -> None:
    positions = following()
    assert isinstance(positions.take(snapshot(4, 40)), Snapshot)
    assert isinstance(positions.take(change(5, 50)), Update)
    with pytest.raises(SequenceHoleError, match="7 after 5"):
        positions.take(change(7, 70))
    assert positions.cursors() == {TOPIC: 50}


def test_a_hole_over_a_lost_connection_is_seen_within_one_session_only() -> None:
    positions = following()
    positions.take(change(5, 50))
    positions.connected("one")
    positions.want(TOPIC, 50, snapshot=True)
    with pytest.raises(SequenceHoleError):
        positions.take(change(7, 70))
    positions.connected("two")
    assert isinstance(positions.take(change(1, 60)), Update)
    with pytest.raises(SequenceHoleError):
        positions.take(change(3, 70))


def test_known_cursors_are_passed_over() -> None:
    positions = following(cursor=50)
    assert [positions.take(change(seq, cursor)) for seq, cursor in ((1, 40), (2, 50))] == [None, None]
    assert positions.take(change(3, 51)) is not None
    with pytest.raises(SequenceHoleError):
        positions.take(change(5, 53))


def test_a_gap_is_told_and_the_snapshot_begins_anew_even_lower() -> None:
    positions = following(cursor=900)
    assert positions.missed("candles", [BTC, "OTHER/USD"]) == [Gap(*TOPIC, 900, "too-old")]
    assert positions.cursors() == {}
    positions.take(snapshot(1, 10))
    assert positions.take(change(2, 11)) is not None
    assert positions.reset() == [Gap(*TOPIC, 11, "feed-reset")]
    assert positions.wanted() == {("candles", True): [BTC]}


def test_what_is_not_followed_or_not_known_is_ignored() -> None:
    positions = following()
    positions.drop(TOPIC)
    assert positions.take(change(1, 1)) is None
    positions.want(TOPIC, None, snapshot=True)
    raw = msgspec.Raw(b"[{}]")
    assert positions.take(Message("weather", "update", BTC, 1, 1, "sim", True, raw)) is None
    assert positions.take(Message("candles", "news", BTC, 1, 1, "sim", True, msgspec.Raw(b"[]"))) is None
    with pytest.raises(msgspec.ValidationError):
        positions.take(Message("candles", "update", BTC, 1, 1, "sim", True, raw))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=12))
def test_whatever_is_replayed_each_update_comes_once_and_in_order(spans: list[tuple[int, int]]) -> None:
    """Each span is one connection: it replays from somewhere before the position and ends somewhere after it."""
    positions = following(cursor=-1)
    taken: list[int] = []
    for number, (back, forth) in enumerate(spans):
        positions.connected(str(number))
        at = positions.cursors()[TOPIC]
        start = max(0, at + 1 - back)
        for seq, cursor in enumerate(range(start, at + 1 + forth)):
            event = positions.take(change(seq, cursor))
            if isinstance(event, Update):
                taken.append(event.cursor)
    assert taken == list(range(len(taken)))
