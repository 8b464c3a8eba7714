"""The page's pure modules, run in the browser that runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from api.page.assets import load
from tests.api.stack import Api
from tests.support.samples import START_MS, candle, forecast

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.component

WALK = """async ([base, events]) => {
  const { initial, step, describe } = await import(`${base}/link.js`);
  let state = initial(0);
  return events.map((event) => {
    const [next, effects] = step(state, { chance: 0, ...event });
    state = next;
    return [state.phase, effects.join(), describe(state, event.nowMs)];
  });
}"""


@pytest.fixture(scope="module")
def blank(browser: Browser, site: Api) -> Iterator[Page]:
    """A page of the same origin that runs no script of its own."""
    page = browser.new_page()
    page.goto(f"{site.context.url}/schema/openapi.json")
    yield page
    page.close()


def run(page: Page, script: str, *arguments: Any) -> Any:
    return page.evaluate(script, [f"/page/{load().version}", *arguments])


def walk(page: Page, *events: dict[str, Any]) -> list[Any]:
    found: list[Any] = run(page, WALK, list(events))
    return found


def test_connection_goes_from_start_over_hello_to_live_and_stale(blank: Page) -> None:
    steps = walk(
        blank,
        {"type": "start", "nowMs": 0},
        {"type": "heard", "nowMs": 50, "hello": True, "beatMs": 1000},
        {"type": "heard", "nowMs": 1000, "stale": False},
        {"type": "heard", "nowMs": 2000, "stale": True},
        {"type": "heard", "nowMs": 4000},
        {"type": "heard", "nowMs": 9000, "stale": True},
        {"type": "heard", "nowMs": 9500, "stale": False},
    )
    assert [(phase, effects) for phase, effects, _ in steps] == [
        ("connecting", "connect"),
        ("live", "subscribe"),
        ("live", ""),
        ("stale", ""),
        ("stale", ""),
        ("stale", ""),
        ("live", ""),
    ]
    assert steps[5][2]["rest"] == "for 7 s: the API has lost the broker"


def test_silence_ends_a_connection_and_the_loss_is_dated_from_its_first_moment(blank: Page) -> None:
    steps = walk(
        blank,
        {"type": "start", "nowMs": 0},
        {"type": "heard", "nowMs": 0, "hello": True, "beatMs": 1000},
        {"type": "tick", "nowMs": 5_000},
        {"type": "tick", "nowMs": 5_001},
        {"type": "tick", "nowMs": 5_250},
        {"type": "tick", "nowMs": 5_251},
        {"type": "closed", "nowMs": 6_000, "code": 1006, "text": ""},
        {"type": "tick", "nowMs": 6_240},
    )
    assert [(phase, effects) for phase, effects, _ in steps] == [
        ("connecting", "connect"),
        ("live", "subscribe"),
        ("live", ""),
        ("waiting", "disconnect"),
        ("waiting", ""),
        ("connecting", "connect"),
        ("waiting", ""),
        ("waiting", ""),
    ]
    assert steps[3][2]["rest"] == "for 0 s, next try in 1 s: no heartbeat"
    assert steps[7][2]["rest"].startswith("for 1 s, ")


def test_waits_double_up_to_a_cap_and_begin_anew_only_after_a_stable_connection(blank: Page) -> None:
    waits = run(
        blank,
        """async ([base]) => {
          const { backoffMs, initial, step } = await import(`${base}/link.js`);
          let state = step(initial(0), { type: 'start', nowMs: 0 })[0];
          const flap = (heldMs) => {
            [state] = step(state, { type: 'heard', nowMs: 0, hello: true, beatMs: 1000 });
            [state] = step({ ...state, openedMs: 0 }, { type: 'heard', nowMs: heldMs, stale: false });
            [state] = step(state, { type: 'closed', nowMs: heldMs, chance: 0.999999, text: '' });
            return state.retryAtMs - heldMs;
          };
          return [flap(10), flap(10), flap(10), flap(6000), backoffMs(500, 0), backoffMs(500, 0.999999)];
        }""",
    )
    assert waits == [500, 1000, 2000, 500, 7500, 15000]


def test_positions_tell_holes_and_repeats_and_resume_across_sessions(blank: Page) -> None:
    found = run(
        blank,
        """async ([base]) => {
          const { Positions } = await import(`${base}/feed.js`);
          const at = new Positions();
          const take = (type, seq, cursor) => at.take({ channel: 'candles', pair: 'A/B', type, seq, cursor });
          const first = [take('snapshot', 3, 30), take('update', 4, 41), take('update', 4, 41), take('update', 6, 60)];
          const resume = at.resume('candles', 'A/B');
          at.newSession();
          const again = take('update', 2, 42);
          return [first, resume, again, at.resume('candles', 'A/B'), at.resume('candles', 'C/D') ?? null];
        }""",
    )
    assert found == [["new", "new", "old", "hole"], {"A/B": 41}, "new", {"A/B": 42}, None]


def test_market_keeps_the_better_candle_finds_holes_and_joins_outcomes(blank: Page) -> None:
    late = candle(2, as_of_ms=9, close=102.0)
    rows = [candle(0), candle(1), late, candle(2, as_of_ms=5, revision=3, close=1.0), candle(5)]
    made = [forecast(0, q05=100.0, q25=100.5, q50=101.0, q75=101.1, q95=101.3), forecast(1), forecast(3)]
    found = run(
        blank,
        """async ([base, candles, forecasts, live]) => {
          const { Market } = await import(`${base}/market.js`);
          const market = new Market('BTC/USD');
          candles.forEach((row) => market.addCandle(row));
          forecasts.forEach((row) => market.addForecast(row));
          market.setLive(live);
          const past = market.past(60).map((row) => [row.outcome?.price ?? null, row.inside50, row.inside90]);
          const hour = market.series('5m');
          return [market.series('1m').map((row) => row.close), market.holes('1m'), past, hour];
        }""",
        *(msgspec.to_builtins(part) for part in (rows, made, candle(6, closed=False))),
    )
    closes, holes, past, five = found
    assert closes == pytest.approx([100.2, 101.2, 102.0, 105.2, 106.2])
    assert holes == [START_MS + 3 * 60_000, START_MS + 4 * 60_000]
    assert past == [[pytest.approx(101.2), False, True], [pytest.approx(102.0), False, False], [None, None, None]]
    assert (five[0]["open_ms"], five[0]["open"], five[0]["close"], five[0]["trades"]) == (
        START_MS + 300_000,
        candle(5).open,
        candle(6).close,
        6,
    )


def test_market_prefers_newer_records_then_more_trades_then_revisions_then_the_later(blank: Page) -> None:
    """As `Candle.age` says."""
    versions = [
        candle(0, as_of_ms=9, trades=31, revision=1, close=1.0),
        candle(0, as_of_ms=9, trades=32, revision=0, close=2.0),
        candle(0, as_of_ms=9, trades=31, revision=2, close=3.0),
        candle(0, as_of_ms=8, trades=99, revision=9, close=4.0),
        candle(0, as_of_ms=9, trades=32, revision=1, close=5.0),
        candle(0, as_of_ms=9, trades=32, revision=1, close=6.0),
        candle(0, as_of_ms=10, trades=1, revision=0, close=7.0),
    ]
    kept = run(
        blank,
        """async ([base, versions]) => {
          const { Market } = await import(`${base}/market.js`);
          const market = new Market('BTC/USD');
          return versions.map((row) => (market.addCandle(row), market.series('1m')[0].close));
        }""",
        msgspec.to_builtins(versions),
    )
    best = versions[0]
    for one, close in zip(versions, kept, strict=True):
        best = one if one.age >= best.age else best
        assert close == best.close


def test_ticks_are_round_and_few_and_lie_within(blank: Page) -> None:
    prices, small, times = run(
        blank,
        """async ([base]) => {
          const { priceTicks, timeTicks } = await import(`${base}/scale.js`);
          const small = priceTicks(0.12, 0.31, 4);
          return [priceTicks(47_912, 48_390, 6), small, timeTicks(3_600_000 * 5 + 1, 3_600_000 * 8, 7, -90)];
        }""",
    )
    assert small == pytest.approx([0.15, 0.2, 0.25, 0.3])
    assert prices == [48_000, 48_100, 48_200, 48_300]
    assert [at / 60_000 for at in times] == [330, 360, 390, 420, 450, 480]
