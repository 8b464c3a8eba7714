from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe

from api.access import keyfile
from api.access.keys import SCOPES, new_key
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from tables.clickhouse.settings import StoreSettings
from tables.records import MINUTE_MS
from tests.api.page.browser import LivePage
from tests.api.page.market import Hour
from tests.api.stack import Api, Topics, running_api
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.component

FOCUS = """() => {
  const focused = document.activeElement;
  const seen = focused.type === 'radio' ? focused.nextElementSibling : focused;
  return [focused.id || focused.name || focused.textContent, getComputedStyle(seen).outlineStyle];
}"""
LIVE = "#pair=LIVE/USD&horizon=300&candles=1m"


def shown(price: float) -> str:
    """Write a price around 48,000 as the page does."""
    return f"{price:,.2f}"


def open_live(visitor: LivePage, hour: Hour) -> None:
    visitor.open(LIVE)
    visitor.wait("#state", "Live")
    visitor.wait_chart("last-open-ms", hour.candles[-1].open_ms)
    visitor.wait_chart("fan", 2)


def test_chart_shows_candles_fan_and_past_forecasts_with_their_misses(
    visitor: LivePage, hours: dict[str, Hour]
) -> None:
    hour = hours["LIVE/USD"]
    open_live(visitor, hour)
    visitor.wait_chart("candles", 60)
    scored = hour.scored(300)
    missed = [price for f, price in scored if not f.q05 <= price < f.q95]
    assert missed, "the seed must give some"
    visitor.wait_chart("past", len(scored))
    assert visitor.chart("misses") == str(len(missed))
    inside = sum(f.q25 <= price < f.q75 for f, price in scored)
    assert f"Of the last {len(scored)}: {inside / len(scored) * 100:.0f} % within the 50 %" in visitor.text(
        "#outcomes-summary"
    )
    assert "Too few to judge" in visitor.text("#outcomes-summary")
    assert visitor.page.locator("#outcomes-rows tr").count() == 10
    drawn = visitor.pixels()
    assert 0.08 < drawn["painted"] / drawn["all"] < 0.9
    least = {"rising": 300, "falling": 300, "fan": 300, "past": 3_000}
    assert {name: drawn[name] for name, count in least.items() if drawn[name] < count} == {}, drawn
    newest = hour.forecasts[-1]
    table = visitor.text("#forecast-rows")
    assert all(shown(value) in table for value in (newest.q05, newest.q25, newest.q50, newest.q75, newest.q95))
    assert shown(newest.q95) in (visitor.page.locator("#chart").get_attribute("aria-label") or "")


def test_simulated_data_says_so_on_the_page_the_chart_and_in_the_title(
    visitor: LivePage, hours: dict[str, Hour]
) -> None:
    open_live(visitor, hours["LIVE/USD"])
    assert visitor.page.locator("#simulated").is_visible()
    assert "made up" in visitor.text("#simulated")
    wait_for(lambda: "(simulated)" in visitor.page.title())
    mark = "getComputedStyle(document.querySelector('.chart-box'), '::before').content"
    assert visitor.page.evaluate(mark) == '"SIMULATED"'


def test_other_timeframe_is_put_together_with_its_open_candle(visitor: LivePage, hours: dict[str, Hour]) -> None:
    hour = hours["LIVE/USD"]
    open_live(visitor, hour)
    visitor.page.get_by_role("radio", name="15m").check(force=True)
    last_ms = hour.candles[-1].open_ms
    visitor.wait_chart("last-open-ms", last_ms // (15 * MINUTE_MS) * 15 * MINUTE_MS)
    assert visitor.chart("last-close") == str(hour.candles[-1].close)


def test_live_trade_closed_candle_and_forecast_appear_without_a_reload(
    browser: Browser, site: Api, topics: Topics
) -> None:
    hour = Hour("MOVE/USD", minutes=5)
    topics.put("candles", hour.candles)
    wait_for(lambda: "MOVE/USD" in site.context.view.pairs())
    visitor = LivePage(browser, site.context.url)
    visitor.open("#pair=MOVE/USD")
    visitor.wait_chart("last-open-ms", hour.candles[-1].open_ms)
    visitor.wait("#forecast-empty", "No forecast yet")
    opened = hour.next_candle(closed=False)
    topics.put("candles-live", [opened])
    visitor.wait("#quote-price", shown(opened.close))
    closed = msgspec.structs.replace(opened, closed=True, close=opened.close + 1, high=opened.high + 1)
    topics.put("candles", [closed])
    visitor.wait("#quote-price", shown(closed.close))
    revised = msgspec.structs.replace(closed, revision=1, close=opened.close + 2, high=opened.high + 2)
    topics.put("candles", [revised])
    visitor.wait("#quote-price", shown(revised.close))
    doubtful = msgspec.structs.replace(hour.forecast(revised, 60), trusted=False, reasons=["warm-up", "drift"])
    topics.put("forecasts", [doubtful])
    visitor.wait("#forecast-rows", shown(doubtful.q95))
    visitor.wait("#trust", "Not trusted: too little history yet; the model has drifted")
    visitor.assert_clean()
    visitor.close()


def test_pair_and_horizon_change_by_keyboard_with_the_focus_in_sight(visitor: LivePage, hours: dict[str, Hour]) -> None:
    open_live(visitor, hours["LIVE/USD"])
    keyboard = visitor.page.keyboard
    order = []
    for _ in range(7):
        keyboard.press("Tab")
        name, outline = visitor.page.evaluate(FOCUS)
        order.append(name)
        assert outline != "none", name
    assert order == ["Skip to the chart", "API", "theme", "pair", "horizon", "candles", "chart"]
    visitor.page.locator("#pair").focus()
    keyboard.press("N")
    following = hours["NEXT/USD"].forecasts
    visitor.wait("#quote-pair", "NEXT/USD")
    visitor.wait("#forecast-rows", shown(following[-1].q95))
    visitor.page.locator("input[name=horizon]:checked").focus()
    keyboard.press("ArrowLeft")
    visitor.wait("#forecast-rows", shown(following[-2].q95))
    visitor.wait_chart("fan", 1)
    assert "pair=NEXT%2FUSD&horizon=60" in visitor.page.url
    visitor.page.locator("#chart").focus()
    keyboard.press("ArrowLeft")
    assert shown(hours["NEXT/USD"].candles[-1].high) in visitor.text("#readout")
    assert visitor.page.locator("#readout").get_attribute("aria-live") == "polite"
    keyboard.press("Escape")
    assert visitor.text("#readout") == ""


def test_page_comes_back_after_a_restart_and_lacks_no_candle(
    browser: Browser, api_broker: LocalBroker, store_settings: StoreSettings, tmp_path: Path, topics: Topics
) -> None:
    port = free_port()
    hour = Hour("AGAIN/USD", minutes=20)
    topics.put("candles", hour.candles)
    with running_api(tmp_path, api_broker.url, store_settings, api_port=port, pairs="AGAIN/USD") as before:
        before.wait_ready()
        visitor = LivePage(browser, before.context.url)
        visitor.open("#pair=AGAIN/USD")
        visitor.wait("#state", "Live")
        visitor.wait_chart("candles", 1)  # of the snapshot; the store knows nothing of this pair
        visitor.away = True
    visitor.wait("#state", "Reconnecting")
    visitor.wait_like("#state-rest", r"for [1-9]\d* s")
    topics.put("candles", [hour.next_candle() for _ in range(3)])
    with running_api(tmp_path, api_broker.url, store_settings, api_port=port, pairs="AGAIN/USD"):
        visitor.wait("#state", "Live")
        visitor.wait_chart("candles", 4)
        visitor.wait_chart("last-open-ms", hour.candles[-1].open_ms)
        visitor.away = False
        topics.put("candles", [hour.next_candle()])
        visitor.wait_chart("candles", 5)
        visitor.assert_clean()
        visitor.close()


def test_page_says_since_when_the_broker_is_lost(
    visitor: LivePage, hours: dict[str, Hour], api_broker: LocalBroker
) -> None:
    open_live(visitor, hours["LIVE/USD"])
    assert api_broker.pid is not None
    os.kill(api_broker.pid, signal.SIGSTOP)
    try:
        visitor.wait("#state", "Stale")
        visitor.wait_like("#state-rest", r"for [1-9]\d* s: the API has lost the broker")
        assert visitor.page.locator("#connection").get_attribute("data-tone") == "warn"
    finally:
        os.kill(api_broker.pid, signal.SIGCONT)
    visitor.wait("#state", "Live")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible_in_either_theme(browser: Browser, site: Api, hours: dict[str, Hour], scheme: str) -> None:
    visitor = LivePage(browser, site.context.url, color_scheme=scheme, reduced_motion="reduce")
    open_live(visitor, hours["LIVE/USD"])
    visitor.wait("#outcomes-summary", "within")
    assert visitor.page.evaluate("document.documentElement.dataset.theme") == scheme
    results = Axe().run(visitor.page)
    assert results.violations_count == 0, results.generate_report()
    assert visitor.page.evaluate("getComputedStyle(document.querySelector('.dot')).animationName") == "none"
    visitor.page.get_by_role("button", name="Theme: auto").click()
    assert visitor.page.evaluate("document.documentElement.dataset.theme") == "light"
    visitor.page.get_by_role("button", name="Theme: light").click()
    visitor.page.reload()
    assert visitor.page.evaluate("document.documentElement.dataset.theme") == "dark"
    visitor.close()


@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_nothing_scrolls_sideways(visitor: LivePage, hours: dict[str, Hour], width: int) -> None:
    visitor.page.set_viewport_size({"width": width, "height": 844})
    open_live(visitor, hours["LIVE/USD"])
    visitor.wait("#outcomes-summary", "within")
    assert not visitor.overflows()
    assert int(visitor.chart("candles")) >= 20


def test_part_that_is_missing_or_away_is_named_and_the_rest_stays(visitor: LivePage, hours: dict[str, Hour]) -> None:
    problem = '{"status":503,"detail":"the store does not answer: try again"}'
    for path, status, body in (
        ("accuracy", 404, "{}"),
        ("models", 404, "no json"),
        ("quality", 503, problem),
        ("errors", 500, ""),
    ):
        visitor.page.route(f"**/v1/{path}?*", partial(_answer, status, body))
    open_live(visitor, hours["LIVE/USD"])
    visitor.wait("#accuracy-empty", "Accuracy: not available from this API.")
    visitor.wait("#model-empty", "Models: not available from this API.")
    visitor.wait("#quality-empty", "Counts: not available now (the store does not answer: try again).")
    assert "ewma" in visitor.text("#model-facts")
    visitor.page.locator("#pair").select_option("EMPTY/USD")
    visitor.wait("#chart-empty", "No candles of EMPTY/USD yet")
    visitor.wait("#quote-forecast", "No forecast of this pair yet")


def test_key_is_asked_for_and_kept_in_this_tab_only(browser: Browser, site: Api, hours: dict[str, Hour]) -> None:
    key, token = new_key(0, SCOPES)
    keyfile.add(site.context.settings.keys_file, key)
    visitor = LivePage(browser, site.context.url)
    visitor.away = True  # the browser writes each refusal to the console
    # On the loopback nobody needs a key: REST is made to ask for one, the feed takes or refuses it by itself.
    visitor.page.route("**/v1/*?*", partial(_guard, token))
    visitor.open(LIVE)
    visitor.wait("#key-title", "An API key is needed")
    visitor.page.get_by_role("textbox", name="API key").fill("tk_wrong")
    visitor.page.get_by_role("button", name="Use it").click()
    visitor.wait("#key-title", "This API key is not accepted")
    visitor.page.get_by_role("textbox", name="API key").fill(token)
    visitor.page.get_by_role("button", name="Use it").click()
    visitor.wait_chart("last-open-ms", hours["LIVE/USD"].candles[-1].open_ms)
    assert visitor.page.locator("#key-panel").is_hidden()
    assert token not in visitor.page.evaluate("JSON.stringify(localStorage) + location.href + document.cookie")
    visitor.close()


def _answer(status: int, body: str, route: Route) -> None:
    route.fulfill(status=status, body=body, content_type="application/json")


def _guard(key: str, route: Route) -> None:
    if route.request.headers.get("x-api-key") == key:
        route.continue_()
    else:
        _answer(401, "{}", route)
