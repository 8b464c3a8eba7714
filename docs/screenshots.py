"""Take the pictures of the live page: `python docs/screenshots.py [--url URL] [--minutes N]`.

Without a URL it runs `tickcast demo` in a folder of its own for some minutes first: every number in the pictures
was made by the product, on the simulated market. Needs Chromium and the development packages.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS: Final = Path(__file__).parent
SHOTS: Final[dict[str, dict[str, Any]]] = {
    "page-light": {"viewport": {"width": 1440, "height": 1010}, "color_scheme": "light"},
    "page-dark": {"viewport": {"width": 1440, "height": 1010}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 1300}, "color_scheme": "light", "is_mobile": True},
}
SIZE_MAX: Final = 200_000
READY: Final = (
    "#connection[data-tone=good]",
    "#quality-facts > div >> nth=0",
    "#accuracy-facts > div >> nth=0",
    "#chart[data-fan]:not([data-fan='0']):not([data-past='0'])",
)
SETTLE_MS: Final = 1_500


@contextmanager
def demo(minutes: float) -> Iterator[str]:
    """Run the stack until the block ends and give the API's URL."""
    with tempfile.TemporaryDirectory(prefix="tickcast-pictures-") as home:
        command = [sys.executable, "-m", "app.cli", "demo", "--home", home]
        process = subprocess.Popen(command, cwd=DOCS.parent, stdout=subprocess.DEVNULL)  # noqa: S603  # our own program
        try:
            time.sleep(minutes * 60)
            stack = json.loads((Path(home) / "stack.json").read_text())
            yield f"http://127.0.0.1:{stack['env']['TICKCAST_API_PORT']}"
        finally:
            process.terminate()
            process.wait(timeout=60)


def shoot(browser: Browser, url: str, name: str, options: dict[str, Any], folder: Path) -> Path:
    """Take one picture once the page is live and has a forecast."""
    page = browser.new_page(device_scale_factor=1, reduced_motion="reduce", **options)
    page.goto(f"{url}/#pair=BTC/USD&horizon=300&candles=1m")
    for selector in READY:
        page.locator(selector).wait_for(timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    file = folder / f"{name}.png"
    page.screenshot(path=file)
    page.close()
    return file


def main() -> int:
    """Write the pictures; exit code 1 where one is too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="API that runs already")
    parser.add_argument("--minutes", type=float, default=12.0, help="how long the demo runs first")
    parser.add_argument("--folder", type=Path, default=DOCS)
    options = parser.parse_args()
    if options.url is None:
        with demo(options.minutes) as url:
            return pictures(url, options.folder)
    return pictures(options.url.rstrip("/"), options.folder)


def pictures(url: str, folder: Path) -> int:
    """Take them all."""
    too_large = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name, shot in SHOTS.items():
            file = shoot(browser, url, name, shot, folder)
            size = file.stat().st_size
            too_large += size > SIZE_MAX
            sys.stdout.write(f"{file}: {size:,} bytes\n")
        browser.close()
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
