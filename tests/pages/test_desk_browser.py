"""Figures, canned replies, hours and prices in a real browser: what axe says of them, and what hands do there."""

from __future__ import annotations

import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.support.select import Select

from tests.inbox.made_days import DAY_US, MadeDays
from tests.pages.axe import complaints, each_state, needs_axe
from tests.pages.inbox import operator
from tests.pages.pages import Pages, Visitor, pages
from tests.pages.test_browser import Browser, browser, in_browser, pytestmark  # noqa: F401 - a fixture, and what marks the tests


async def _busy(site: Pages, name: str = "Superbot") -> str:
    """A chatbot that people have talked to in the last days."""
    chatbot = await site.api.chatbot(name=name, prices={"input": 2.5, "output": 10})
    today = time.time_ns() // 1000 // DAY_US
    await MadeDays(chatbot.rpartition("/")[2], first_day=today - 20, days=21, seed=7).write(site.api.services.database, 120)
    return chatbot


def _enter(shown: Browser, visitor: Visitor, address: str) -> None:
    shown.url = visitor.url
    shown.driver.get(f"{visitor.url}/login")
    shown.driver.delete_all_cookies()
    shown.driver.add_cookie({"name": "gigachat_session", "value": visitor.cookie})
    shown.open(address)


@needs_axe
async def test_axe_finds_nothing(tmp_path: Path, browser: Browser) -> None:  # noqa: F811
    async with pages(tmp_path) as site:
        busy = (await _busy(site)).rpartition("/")[2]
        chatbot = await site.api.chatbot(name="متجر")
        empty = chatbot.rpartition("/")[2]
        await site.api.post(f"{chatbot}/canned-replies", {"shortcut": "مرحبا", "content": "مرحبا {name}"})
        eve = await operator(site, "eve")
        addresses = [f"/figures?chatbot={busy}&days=30", f"/figures?chatbot={empty}", f"/settings/{empty}/replies"]
        addresses += [f"/settings/{busy}/{section}" for section in ("replies", "takeover", "limits")]

        def work() -> dict[str, list[str]]:
            found = {}
            with each_state(browser) as states:
                for name in states:
                    for address in addresses:
                        _enter(browser, eve, address)
                        browser.driver.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
                        found[f"{name} {address}"] = complaints(browser)
            return {state: each for state, each in found.items() if each}

        assert await in_browser(work) == {}


async def test_a_column_says_its_numbers_under_the_pointer(tmp_path: Path, browser: Browser) -> None:  # noqa: F811
    async with pages(tmp_path) as site:
        await _busy(site)
        other = (await site.api.chatbot(name="Other")).rpartition("/")[2]
        eve = await operator(site, "eve")

        def work() -> None:
            _enter(browser, eve, f"/figures?chatbot={other}")
            assert "Nothing happened" in browser.text(".empty")
            Select(browser.one("#chatbot")).select_by_visible_text("Superbot")
            browser.until(lambda: browser.all(".column"))
            assert not browser.all(".told")[3].is_displayed()
            webdriver.ActionChains(browser.driver).move_to_element(browser.all(".under")[3]).perform()
            browser.until(lambda: browser.all(".told")[3].is_displayed())
            assert len([each for each in browser.all(".told") if each.is_displayed()]) == 1
            assert browser.complaints() == [], "nothing inline that the policy would refuse"
            assert browser.foreign_requests() == []

        await in_browser(work)


async def test_hours_are_open_to_change_once_they_are_switched_on(tmp_path: Path, browser: Browser) -> None:  # noqa: F811
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        eve = await operator(site, "eve")

        def work() -> None:
            _enter(browser, eve, f"/settings/{chatbot.rpartition('/')[2]}/takeover")
            sunday = browser.one("#f-interception-hours-week-sun")
            assert sunday.find_element("xpath", "ancestor::*[@data-behind]").get_property("inert")
            switch = browser.one("#f-interception-hours")
            browser.driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", switch)
            switch.click()
            sunday.send_keys("10-12")
            browser.button("Save").click()
            browser.until(lambda: "Saved." in browser.text(".done"))
            assert browser.one("#f-interception-hours-week-sun").get_property("value") == "10:00–12:00"
            assert browser.complaints() == []

        await in_browser(work)
        hours = (await site.api.get(chatbot)).body["interception"]["hours"]
        assert hours["week"]["sun"] == [{"from": "10:00", "until": "12:00"}]
        assert hours["week"]["mon"] == [{"from": "09:00", "until": "17:00"}]
