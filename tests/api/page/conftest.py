from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from redpanda.local import LocalBroker
from tables.clickhouse.client import connect
from tables.clickhouse.rows import insert_candles, insert_forecasts
from tables.clickhouse.settings import StoreSettings
from tests.api.page.browser import LivePage
from tests.api.page.market import Hour
from tests.api.stack import Api, running_api

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAIRS = ("LIVE/USD", "NEXT/USD")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a module; after them nothing of Playwright's loop is left in this thread."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # starts a driver: only where it is needed

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path)
        yield running
        running.close()


@pytest.fixture(scope="module")
def hours(store_settings: StoreSettings) -> dict[str, Hour]:
    """An hour of each pair, in the store."""
    made = {pair: Hour(pair, seed=index) for index, pair in enumerate(PAIRS)}
    client = connect(store_settings)
    insert_candles(client, [row for hour in made.values() for row in hour.candles], "page-candles")
    insert_forecasts(client, [row for hour in made.values() for row in hour.forecasts], "page-forecasts")
    client.close()
    return made


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    api_broker: LocalBroker,
    store_settings: StoreSettings,
    hours: dict[str, Hour],
) -> Iterator[Api]:
    """An API whose pairs are those of the store, and one that has nothing yet."""
    pairs = ",".join((*hours, "EMPTY/USD"))
    with running_api(tmp_path_factory.mktemp("page"), api_broker.url, store_settings, pairs=pairs) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def visitor(browser: Browser, site: Api) -> Iterator[LivePage]:
    """Somebody who looks at the page and must never see an error."""
    page = LivePage(browser, site.context.url)
    yield page
    page.assert_clean()
    page.close()
