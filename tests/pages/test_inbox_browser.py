"""The inbox in real browsers: two people at it, hands on keys alone, and a page that was offline."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from gigachat_server.models.fake import ScriptedModel
from tests.pages.axe import complaints, each_state, needs_axe
from tests.pages.inbox import operator, path, wait_for_a_human
from tests.pages.pages import Pages, Visitor, pages
from tests.pages.test_browser import CHROMIUM, DRIVER, FLAGS, Browser, in_browser

# What differs from a page that is loaded anew without being of the conversation: what was typed, what has the focus.
SHOWN = """
const copy = document.querySelector('#desk').cloneNode(true);
for (const each of copy.querySelectorAll('.compose, .fresh-rows, time[data-ago]')) each.remove();
for (const each of [copy, ...copy.querySelectorAll('[data-last]')]) {
  each.removeAttribute('data-last');
  each.removeAttribute('data-now');
}
return copy.innerHTML.replace(/\\s+/g, ' ').replaceAll('> <', '><');
"""
pytestmark = [
    pytest.mark.browser,
    pytest.mark.sqlite_only,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and os.environ.get("REQUIRE_ALL") != "1",
        reason="needs the programs chromium and chromedriver",
    ),
]


@contextmanager
def opened(folder: Path) -> Iterator[Browser]:
    assert CHROMIUM
    assert DRIVER
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={folder}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def eves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with opened(tmp_path_factory.mktemp("eve")) as browser:
        yield browser


@pytest.fixture(scope="module")
def bens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with opened(tmp_path_factory.mktemp("ben")) as browser:
        yield browser


def _enter(browser: Browser, visitor: Visitor, address: str) -> None:
    browser.url = visitor.url
    browser.driver.get(f"{visitor.url}/login")
    browser.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
    browser.driver.delete_all_cookies()
    browser.driver.add_cookie({"name": "gigachat_session", "value": visitor.cookie})
    browser.open(address)
    _until_followed(browser)


def _until_followed(browser: Browser) -> None:
    browser.until(lambda: browser.driver.execute_script("return source.readyState === 1 && document.body.innerText !== ''"))


def _press(browser: Browser, *keys: str) -> None:
    for key in keys:
        webdriver.ActionChains(browser.driver).send_keys(key).perform()


def _send(browser: Browser) -> None:
    webdriver.ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()


def _rows(browser: Browser) -> list[str]:
    found: list[str] = browser.driver.execute_script(
        "return [...document.getElementById('rows').children].map((row) => row.dataset.key)"
    )
    return [key.partition("/")[2] for key in found]


def _ask(site: Pages, chatbot: str, conversation: str, **more: Any) -> float:
    """From a browser's thread: somebody waits; when that was done."""
    asked = wait_for_a_human(site, chatbot, conversation, **more)
    asyncio.run_coroutine_threadsafe(asked, site.loop).result(20)
    return time.monotonic()


async def test_two_see_who_waits_and_one_takes_it(tmp_path: Path, eves: Browser, bens: Browser) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        eve, ben = await operator(site, "eve"), await operator(site, "ben", "member", chatbots={chatbot: "operator"})

        def work() -> None:
            for browser, visitor in ((eves, eve), (bens, ben)):
                _enter(browser, visitor, "/inbox")
                assert browser.one("#nothing").is_displayed()
            asked_at = _ask(site, chatbot, "c1")
            for browser in (eves, bens):
                browser.until(lambda browser=browser: _rows(browser) == ["c1"])  # type: ignore[misc]
            assert time.monotonic() - asked_at < 5, "within a second, where the machine has nothing else to do"
            assert eves.driver.title.startswith("(1) ")
            for browser in (eves, bens):
                browser.one("#rows a").click()
                browser.until(lambda browser=browser: browser.all('[data-do="takeover"]'))  # type: ignore[misc]
                _until_followed(browser)
            eves.one('[data-do="takeover"]').click()
            eves.until(lambda: eves.all('[data-do="release"]'))
            bens.until(lambda: bens.all('[data-do="takeover-from"]') and not bens.all('[data-do="takeover"]'))
            assert bens.one("#submit").get_property("disabled")
            assert "eve answers" in bens.text("#head")
            assert "eve took over" in bens.text("#items")
            assert eves.complaints() == []
            assert bens.complaints() == []

        await in_browser(work)
        refused = await ben.send("/web/inbox/takeover", chatbot)
        assert refused.status == 409


async def test_everything_is_done_by_keys(tmp_path: Path, eves: Browser) -> None:
    async with pages(tmp_path, model=ScriptedModel(["Hello there."])) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot, "c1")
        await wait_for_a_human(site, chatbot, "c2", user="bob")
        await site.api.post(f"{chatbot}/canned-replies", {"shortcut": "refund", "content": "It is on its way."})
        eve = await operator(site, "eve")

        def work() -> None:
            _enter(eves, eve, "/inbox")
            _press(eves, "j", "j", "k", Keys.ENTER)
            eves.until(lambda: eves.driver.current_url.split("?")[0].endswith(path(chatbot, "c1")))
            _until_followed(eves)
            _press(eves, "t")
            eves.until(lambda: "You answer" in eves.text("#head"))
            _press(eves, "n", "She is a regular.")
            _send(eves)
            eves.until(lambda: "She is a regular." in eves.text(".memo .content"))
            _press(eves, Keys.ESCAPE, "r", "/ref")
            eves.until(lambda: eves.all('#replies [role="option"]'))
            _press(eves, Keys.ENTER)
            eves.until(lambda: eves.one("#text").get_property("value") == "It is on its way.")
            _send(eves)
            eves.until(lambda: "It is on its way." in eves.text(".say.operator .content"))
            _press(eves, Keys.ESCAPE, "f")
            eves.until(lambda: eves.one("#fix-answer").get_property("value") == "It is on its way.")
            _press(eves, Keys.ENTER)
            eves.until(lambda: not eves.one("#fix").is_displayed())
            _press(eves, "a", Keys.ENTER)
            eves.until(lambda: "looks after it" in eves.text("#items"))
            _press(eves, "e")
            eves.until(lambda: "Closed" in eves.text("#head"))
            _press(eves, "e")
            eves.until(lambda: "Closed" not in eves.text("#head"))
            _press(eves, "s", Keys.ENTER)
            eves.until(lambda: "Snoozed until" in eves.text("#head"))
            _press(eves, "?")
            eves.until(lambda: eves.one("#help").is_displayed())
            _press(eves, Keys.ESCAPE)
            eves.driver.execute_script("localStorage.setItem('keys', 'off')")
            _press(eves, "?")
            assert not eves.one("#help").is_displayed(), "switched off"

        await in_browser(work)
        stored = (await site.api.get(f"{chatbot}/conversations/c1")).body
        assert (stored["status"], stored["assigned_to"]) == ("snoozed", "eve")
        fixed = (await site.api.get(f"{chatbot}/fixed-answers")).body
        assert [each["answer"] for each in fixed] == ["It is on its way."]


async def test_a_page_that_was_offline_is_as_one_that_is_loaded_anew(tmp_path: Path, eves: Browser) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        for name in ("c1", "c2", "c3"):
            await wait_for_a_human(site, chatbot, name, user=f"user-{name}")
        eve, ben = await operator(site, "eve"), await operator(site, "ben")

        def offline(is_offline: bool) -> None:
            conditions = {"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
            eves.driver.execute_cdp_cmd("Network.enable", {})
            eves.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

        async def meanwhile() -> None:
            await ben.send("/web/inbox/takeover", chatbot)
            await ben.send("/web/inbox/note", chatbot, content="Looked at it.")
            await ben.send("/web/inbox/say", chatbot, content="Good morning.")
            await ben.send("/web/inbox/change", chatbot, conversation="c2", status="closed")
            await wait_for_a_human(site, chatbot, "c4", user="dora")
            await site.api.say(chatbot, "Thanks", user="user-c1")

        def work() -> None:
            _enter(eves, eve, path(chatbot))
            offline(True)
            eves.driver.execute_script("source.close()")  # Chromium leaves open streams alone when it goes offline
            asyncio.run_coroutine_threadsafe(meanwhile(), site.loop).result(20)
            offline(False)
            eves.driver.execute_script("follow()")
            eves.until(lambda: sorted(_rows(eves)) == ["c1", "c3", "c4"] and "Thanks" in eves.text("#items"))
            eves.until(lambda: "ben answers" in eves.text("#head"))
            eves.until(lambda: not eves.one("#offline").is_displayed())
            caught_up = eves.driver.execute_script(SHOWN)
            eves.open(path(chatbot))
            _until_followed(eves)
            assert eves.driver.execute_script(SHOWN) == caught_up

        await in_browser(work)


async def test_the_list_stands_still_under_the_hand(tmp_path: Path, eves: Browser) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        for name in ("c1", "c2", "c3"):
            await site.api.say(chatbot, "Hello", conversation=name)
        eve = await operator(site, "eve")

        def work() -> None:
            _enter(eves, eve, "/inbox?view=open")
            assert _rows(eves) == ["c3", "c2", "c1"]
            webdriver.ActionChains(eves.driver).move_to_element(eves.all("#rows a")[1]).perform()
            _ask(site, chatbot, "c4")
            eves.until(lambda: eves.one("#fresh-rows").is_displayed())
            assert _rows(eves) == ["c3", "c2", "c1"], "announced, not moved"
            assert eves.text("#fresh-rows") == "1 new: show"
            eves.one("#fresh-rows").click()
            assert _rows(eves) == ["c4", "c3", "c2", "c1"]
            _ask(site, chatbot, "c5")
            eves.until(lambda: eves.one("#fresh-rows").is_displayed())
            webdriver.ActionChains(eves.driver).move_to_element(eves.one("#thread")).perform()
            eves.driver.execute_script("document.activeElement.blur()")
            eves.until(lambda: _rows(eves) == ["c5", "c4", "c3", "c2", "c1"])

        await in_browser(work)


async def test_each_wait_is_told_once_and_ones_own_doing_never(tmp_path: Path, eves: Browser) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        eve = await operator(site, "eve")
        spy = (
            "window.told = []; window.Notification = class extends EventTarget {"
            "static permission = 'granted'; constructor(title, more) { super(); told.push(more.tag); } };"
            "localStorage.setItem('notify', 'on')"
        )

        def work() -> list[str]:
            _enter(eves, eve, "/inbox")
            eves.driver.execute_script(spy)
            for name in ("c1", "c2"):
                _ask(site, chatbot, name)
                eves.until(lambda name=name: name in _rows(eves))  # type: ignore[misc]
            eves.until(lambda: len(eves.driver.execute_script("return told")) == 2)
            eves.one("#rows a").click()
            eves.until(lambda: eves.all('[data-do="takeover"]'))
            _until_followed(eves)
            eves.one('[data-do="takeover"]').click()
            eves.until(lambda: "You answer" in eves.text("#head"))
            told: list[str] = eves.driver.execute_script("return told")
            return [key.partition("/")[2] for key in told]

        assert await in_browser(work) == ["c1", "c2"]


@needs_axe
async def test_axe_finds_nothing(tmp_path: Path, eves: Browser) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot, "c1", note="About the bill")
        eve = await operator(site, "eve")
        await eve.send("/web/inbox/note", chatbot, content="A note")

        def work() -> dict[str, list[str]]:
            found = {}
            with each_state(eves) as states:
                for name in states:
                    for address in ("/inbox", path(chatbot)):
                        _enter(eves, eve, address)
                        found[f"{name} {address[:7]}"] = complaints(eves)
                    _press(eves, "s")
                    found[f"{name} snooze"] = complaints(eves)
            return {state: each for state, each in found.items() if each}

        assert await in_browser(work) == {}
