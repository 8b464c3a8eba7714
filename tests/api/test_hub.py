from __future__ import annotations

import asyncio
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.caller import Caller
from api.hub import Hub, Limits, Subscriber
from api.messages import update_message
from api.pace import Pace
from api.views import Update
from api.wire import text_frame
from tests.api.pipe import Pipe
from tests.support.samples import candle

LIMITS = Limits(
    connections_max=4,
    connections_per_address_max=2,
    connections_per_key_max=1,
    queue_max=5,
    stall_s=10,
    subscribe_within_s=15,
    idle_s=60,
)
ME = Caller("192.0.2.1")


def update(seq: int, pair: str = "BTC/USD") -> Update:
    return Update("candles", pair, seq, seq, candle(seq, pair))


def join(hub: Hub, pipe: Pipe | None = None, caller: Caller = ME) -> Subscriber:
    joined = hub.join(pipe or Pipe(), caller)
    assert isinstance(joined, Subscriber)
    return joined


def frame(seq: int) -> bytes:
    return text_frame(update_message(update(seq)))


def test_nothing_overtakes_and_nothing_is_lost_while_the_socket_is_full() -> None:
    hub, pipe = Hub(LIMITS), Pipe()
    subscriber = join(hub, pipe)
    hub.subscribe(subscriber, ("candles", "BTC/USD"))
    hub.publish(update(1))
    pipe.turn(to_open=False)
    for seq in (2, 3):
        hub.publish(update(seq))
    subscriber.answer([update(4), update(5)])
    assert pipe.got == [frame(1)]
    pipe.turn(to_open=True)
    hub.publish(update(6))
    assert pipe.got == [frame(seq) for seq in range(1, 7)]


@given(st.lists(st.sampled_from(["publish", "answer", "replay", "shut", "open"]), max_size=60))
def test_every_frame_comes_once_and_in_order_whatever_the_socket_does(steps: list[str]) -> None:
    hub, pipe = Hub(msgspec.structs.replace(LIMITS, queue_max=1_000)), Pipe()
    subscriber = join(hub, pipe)
    hub.subscribe(subscriber, ("candles", "BTC/USD"))
    told = []
    for seq, step in enumerate(steps):
        if step == "publish":
            hub.publish(update(seq))
        elif step == "answer":
            subscriber.answer([update_message(update(seq))])
        elif step == "replay":
            subscriber.answer([update(seq)])
        else:
            pipe.turn(to_open=step == "open")
            continue
        told.append(frame(seq))
    pipe.turn(to_open=True)
    assert pipe.got == told


def test_a_connection_lost_while_its_socket_is_full_holds_up_nothing() -> None:
    hub, pipe = Hub(LIMITS), Pipe()
    subscriber = join(hub, pipe)
    hub.subscribe(subscriber, ("candles", "BTC/USD"))
    pipe.turn(to_open=False)
    hub.publish(update(1))
    pipe.lose()
    asyncio.run(asyncio.wait_for(subscriber.drained(), 5))
    assert (pipe.got, subscriber.shut_since_s) == ([], None)


def test_a_full_queue_drops_its_client_only_and_frees_what_waited() -> None:
    hub, stuck, well = Hub(LIMITS), Pipe(), Pipe()
    slow, fast = join(hub, stuck), join(hub, well)
    for subscriber in (slow, fast):
        hub.subscribe(subscriber, ("candles", "BTC/USD"))
    stuck.turn(to_open=False)
    for seq in range(LIMITS.queue_max + 1):
        assert slow.closing is None
        hub.publish(update(seq))
    assert slow.closing == (1008, "slow-consumer")
    assert well.got == [frame(seq) for seq in range(LIMITS.queue_max + 1)]
    assert (hub.dropped, len(hub), fast.closing) == ({"slow-consumer": 1}, 1, None)
    stuck.turn(to_open=True)
    assert stuck.got == []


def test_what_a_client_asked_to_be_told_again_does_not_make_it_slow() -> None:
    hub, pipe = Hub(LIMITS), Pipe()
    subscriber = join(hub, pipe)
    hub.subscribe(subscriber, ("candles", "BTC/USD"))
    pipe.turn(to_open=False)
    subscriber.answer([update(seq) for seq in range(50)])
    for seq in range(50, 50 + LIMITS.queue_max):
        hub.publish(update(seq))
    assert subscriber.closing is None
    pipe.turn(to_open=True)
    assert pipe.got == [frame(seq) for seq in range(50 + LIMITS.queue_max)]
    pipe.turn(to_open=False)
    for seq in range(LIMITS.queue_max + 1):
        assert subscriber.closing is None
        hub.publish(update(seq))
    assert subscriber.closing == (1008, "slow-consumer")


def test_a_socket_that_stays_full_is_dropped_by_the_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, pipe = Hub(LIMITS), Pipe()
    subscriber = join(hub, pipe)
    hub.subscribe(subscriber, ("candles", "BTC/USD"))
    pipe.turn(to_open=False)
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + LIMITS.stall_s - 1)
    hub.beat(stale=False)
    assert subscriber.closing is None
    monkeypatch.setattr(time, "monotonic", lambda: now_s + LIMITS.stall_s + 1)
    hub.beat(stale=False)
    assert subscriber.closing == (1008, "slow-consumer")


@pytest.mark.parametrize(
    ("has_subscribed", "still", "after_s", "reason"),
    [
        (False, False, 14, None),
        (False, False, 16, "no-subscription"),
        (True, False, 59, None),
        (True, False, 61, "idle"),
        (True, True, 10_000, None),
    ],
)
def test_who_wants_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch, *, has_subscribed: bool, still: bool, after_s: float, reason: str | None
) -> None:
    hub = Hub(LIMITS)
    subscriber = join(hub)
    if has_subscribed:
        hub.subscribe(subscriber, ("candles", "BTC/USD"))
    if not still:
        hub.unsubscribe(subscriber, ("candles", "BTC/USD"))
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + after_s)
    hub.beat(stale=False)
    assert subscriber.closing == (reason and (1008, reason))


def test_connections_are_counted_by_address_and_key_and_in_all() -> None:
    hub = Hub(LIMITS)
    mine = [join(hub), join(hub)]
    assert hub.join(Pipe(), ME) == (1008, "too-many-connections-of-address")
    keyed = Caller("192.0.2.2", "k1")
    join(hub, caller=keyed)
    assert hub.join(Pipe(), keyed) == (1008, "too-many-connections-of-key")
    assert hub.join(Pipe(), Caller("192.0.2.9", "k1")) == (1008, "too-many-connections-of-key")
    join(hub, caller=Caller("192.0.2.2", "k2"))
    assert hub.join(Pipe(), Caller("192.0.2.3")) == (1013, "too-many-connections")
    hub.drop(mine[0], 1008, "idle")
    hub.leave(mine[0])
    join(hub)
    assert sum(hub.refused.values()) == 4


def test_a_pace_allows_its_burst_and_then_its_rate() -> None:
    pace = Pace(2.0, 3, 0.0)
    assert [pace.allows(0.0) for _ in range(4)] == [True, True, True, False]
    assert [pace.allows(now_s) for now_s in (0.4, 0.5, 0.6, 1.0)] == [False, True, False, True]
    assert [pace.allows(100.0) for _ in range(4)] == [True, True, True, False]
