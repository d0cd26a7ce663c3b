"""axe-core finds nothing to complain of: in the widget in its states, and on the pages."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gigachat_server.models.fake import Pause, ScriptedModel
from tests.pages.pages import MATCHING, pages
from tests.widget.browsers import Browser
from tests.widget.engines import chatting, engine_browser, in_browser

AXE = Path(__file__).parents[2] / "build/axe/node_modules/axe-core/axe.min.js"
TABLE = "**Yes**, see [1]:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nls\n```\n"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.sqlite_only,
    pytest.mark.xdist_group("widget"),
    pytest.mark.skipif(
        not AXE.exists() and os.environ.get("REQUIRE_ALL") != "1",
        reason="needs axe-core: npm install --prefix build/axe axe-core@4.14.1",
    ),
]


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    yield from engine_browser("chromium", is_emulating=True)


def complaints(tab: Browser) -> list[str]:
    tab.script(AXE.read_text(encoding="utf-8"))
    found: list[str] = tab.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
        ".then(({ violations }) => done(violations.map(({ id, nodes }) => id + ': ' + nodes.map((each) => each.html))))"
    )
    return found


def emulate(tab: Browser, width: int, *, dark: bool = False, forced: bool = False) -> None:
    cdp = tab.driver.execute_cdp_cmd
    cdp("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
    features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    features += [{"name": "forced-colors", "value": "active" if forced else "none"}]
    cdp("Emulation.setEmulatedMedia", {"features": [*features, {"name": "prefers-reduced-motion", "value": "reduce"}]})


STATES = {
    "desktop": (1180, False, False, "en"),
    "dark": (1180, True, False, "en"),
    "320 pixels": (320, False, False, "en"),
    "forced colours": (1180, False, True, "en"),
    "arabic": (1180, False, False, "ar"),
}


@pytest.mark.parametrize("state", STATES)
async def test_the_widget_has_nothing_to_complain_of(tmp_path: Path, tab: Browser, state: str) -> None:
    pause = Pause()
    width, dark, forced, locale = STATES[state]
    model = ScriptedModel(["One.\n\nTwo", pause], [TABLE])
    async with chatting(tmp_path, model=model, documents=MATCHING["documents"]) as (visit, host):
        await visit.api.push(visit.path, "https://www.example.com/help", "Yes, see the table. It is free.")
        assert (await visit.change_key(sources="full", starters=["How?"])).status == 200

        def closed_open_streaming() -> None:
            emulate(tab, width, dark=dark, forced=forced)
            tab.open(f"{host.url}/plain?locale={locale}")
            tab.script("localStorage.clear(); document.documentElement.lang = arguments[0]", locale)
            assert tab.launcher.is_enabled()
            assert [found for found in complaints(tab) if "gigachat" in found] == []
            tab.open_chat()
            assert complaints(tab) == []
            tab.say("Begin")
            tab.until(lambda: tab.all(".writing .markdown"))
            assert complaints(tab) == []

        def answered() -> None:
            tab.until(lambda: tab.replies())
            tab.say("And?")
            tab.until(lambda: len(tab.replies()) == 2)
            tab.script("for (const each of document.querySelectorAll('details')) each.open = true")
            assert complaints(tab) == []
            for press in ("#menu", "#back", ".newest [data-rating='down']"):
                tab.script("arguments[0].click()", tab.one(press))
                assert complaints(tab) == []
                if press == "#back":
                    tab.script("arguments[0].click()", tab.one("#back"))
                    tab.until(lambda: len(tab.replies()) == 2)

        await in_browser(closed_open_streaming)
        pause.resume()
        await in_browser(answered)


@pytest.mark.parametrize("engine", ["firefox", "webkit"])
@pytest.mark.parametrize("locale", ["en", "ar"])
async def test_nor_has_it_in_other_engines(tmp_path: Path, engine: str, locale: str) -> None:
    """Closed, open, and answered; what a reader's system wishes for can be played in Chromium alone."""
    async with chatting(tmp_path, model=ScriptedModel([TABLE]), documents=MATCHING["documents"]) as (visit, host):
        await visit.api.push(visit.path, "https://www.example.com/help", "Yes, see the table. It is free.")
        assert (await visit.change_key(sources="full", starters=["How?"])).status == 200

        def look() -> None:
            with contextlib.contextmanager(engine_browser)(engine) as tab:
                tab.open(f"{host.url}/plain?locale={locale}")
                assert tab.launcher.is_enabled()
                assert [found for found in complaints(tab) if "gigachat" in found] == []
                tab.open_chat()
                assert complaints(tab) == []
                tab.say("Begin")
                tab.until(lambda: tab.replies())
                tab.script("for (const each of document.querySelectorAll('details')) each.open = true")
                tab.until(lambda: not tab.script("return document.getAnimations().length"))
                assert complaints(tab) == []

        await in_browser(look)


@pytest.mark.parametrize("width", [1180, 320])
async def test_the_pages_have_nothing_to_complain_of(tmp_path: Path, tab: Browser, width: int) -> None:
    async with pages(tmp_path, model=ScriptedModel([TABLE])) as site:
        chatbot = await site.api.chatbot(**MATCHING)
        await site.api.push(chatbot, "help.md", "Yes, see the table. It is free.")
        await site.api.say(chatbot, "And?")
        token = await site.token()

        def look() -> list[str]:
            emulate(tab, width)
            found = []
            tab.open(f"{site.visitor.url}/login?token={token}")
            found += complaints(tab)
            tab.one("main button").click()
            tab.until(lambda: tab.all("nav form"))
            for path in ("/", "/?conversation=c1", "/keys", "/models", "/docs", "/widget/demo", "/widget/demo/shop", "/nowhere"):
                tab.open(site.visitor.url + path)
                found += [f"{path} {each}" for each in complaints(tab)]
                wider = tab.script("return document.documentElement.scrollWidth - innerWidth")
                found += [f"{path} is {wider} pixels too wide"] if wider > 0 else []
            return found

        assert await in_browser(look) == []
