"""A page in headless Chromium that remembers everything that went wrong in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

VIOLATIONS = """window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective));"""
PIXELS = """(canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const count = { painted: 0, rising: 0, falling: 0, fan: 0, past: 0, all: data.length / 4 };
  for (let index = 0; index < data.length; index += 4) {
    const [red, green, blue, alpha] = data.subarray(index, index + 4);
    if (alpha === 0) continue;
    count.painted += 1;
    if (alpha > 250) {
      count.rising += green > red + 60 && green > blue + 20;
      count.falling += red > green + 90 && red > blue + 90;
    } else if (alpha > 10) {
      count.fan += blue > red + 120;
      count.past += blue > red + 50 && blue < red + 110 && red > green + 10;
    }
  }
  return count;
}"""
"""Pixels by what they belong to, in the light theme: bands let the page shine through, candles do not."""
OPTIONAL = ("/v1/errors", "/v1/accuracy", "/v1/models", "/v1/quality", "/v1/candles")
"""Routes that may be missing or refuse while the store is away; the browser itself writes that to the console."""


class LivePage:
    """One visitor."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self.page: Page = self.context.new_page()
        self.url = url
        self.complaints: list[str] = []
        self.away = False
        """The server is known to be gone: what the browser says of that is no fault of the page."""
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.add_init_script(VIOLATIONS)

    def open(self, address: str = "") -> None:
        self.page.goto(f"{self.url}/{address}")

    def close(self) -> None:
        self.context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        of_network = message.text.startswith(("Failed to load resource", "WebSocket connection to"))
        if of_network and (self.away or any(path in message.location["url"] for path in OPTIONAL)):
            return
        self.complaints.append(f"{message.type}: {message.text} {message.location['url']}")

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def chart(self, name: str) -> str:
        """Tell one figure of what the chart has drawn."""
        return self.page.locator("#chart").get_attribute(f"data-{name}") or ""

    def wait(self, selector: str, text: str) -> None:
        """Wait until the element says this."""
        self.wait_like(selector, re.escape(text))

    def wait_like(self, selector: str, pattern: str) -> None:
        """Wait until the element says something like this: the second that a counter shows may be passed over."""
        try:
            wait_for(lambda: re.search(pattern, self.text(selector)), 60, 0.05)
        except AssertionError:
            raise AssertionError(f"{selector} says {self.text(selector)!r}, not {pattern!r}") from None

    def wait_chart(self, name: str, value: object) -> None:
        try:
            wait_for(lambda: self.chart(name) == str(value), 60, 0.05)
        except AssertionError:
            raise AssertionError(f"the chart's {name} is {self.chart(name)!r}, not {value!r}") from None

    def pixels(self) -> dict[str, int]:
        found: dict[str, int] = self.page.locator("#chart").evaluate(PIXELS)
        return found

    def overflows(self) -> bool:
        """Whether the page can be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))

    def assert_clean(self) -> None:
        """No error on the console, nothing that the policy had to stop."""
        assert self.complaints == []
        assert self.page.evaluate("window.violations") == []
