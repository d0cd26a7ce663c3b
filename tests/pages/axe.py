"""axe-core on a page as people have it: wide and narrow, light and dark."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pages.test_browser import Browser

AXE = Path(__file__).parents[2] / "build/axe/node_modules/axe-core/axe.min.js"
STATES = {
    "wide": (1440, False),
    "dark": (1440, True),
    "middle": (1000, False),
    "320 pixels": (320, False),
    "320 dark": (320, True),
}
needs_axe = pytest.mark.skipif(
    not AXE.exists() and os.environ.get("REQUIRE_ALL") != "1",
    reason="needs axe-core: npm install --prefix build/axe axe-core@4.14.1",
)


@contextmanager
def each_state(browser: Browser) -> Iterator[Iterator[str]]:
    """Goes through them; afterwards the browser is as it was."""
    try:
        yield _states(browser)
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def _states(browser: Browser) -> Iterator[str]:
    for name, (width, is_dark) in STATES.items():
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield name


def complaints(browser: Browser) -> list[str]:
    """What axe has to say of the page, and whether it is wider than the screen."""
    browser.driver.execute_script(AXE.read_text(encoding="utf-8"))
    found: list[str] = browser.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
        ".then(({ violations }) => done(violations.map((each) => each.id + ': ' + each.nodes.map((n) => n.html))))"
    )
    return found if browser.overflow() <= 0 else [*found, f"{browser.overflow()} pixels too wide"]
