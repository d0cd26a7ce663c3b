"""The settings pages in a real browser: from a name to a saved threshold, with a folder that is dragged in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selenium.webdriver.common.by import By

from gigachat_server.pages.settings.page import SECTIONS
from tests.pages.pages import pages
from tests.pages.test_browser import Browser, browser, in_browser, pytestmark  # noqa: F401 - a fixture, and what marks the tests

THRESHOLD = "#threshold"


def drag(shown: Browser, path: Path, onto: str) -> None:
    """A file or a folder of this machine, dragged from outside and dropped there."""
    place = shown.one(onto).rect
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        middle = {"x": place["x"] + place["width"] / 2, "y": place["y"] + 60}
        shown.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "data": data, **middle})


def set_threshold(shown: Browser, value: str) -> None:
    """As a hand on the slider does."""
    shown.driver.execute_script(
        "const range = document.getElementById('threshold-range'); range.value = arguments[0];"
        "range.dispatchEvent(new Event('input', {bubbles: true}))",
        value,
    )


def is_asked(shown: Browser) -> bool:
    """Whether the page has the browser ask before it leaves. A driver answers the question itself."""
    script = "const leaving = new Event('beforeunload', {cancelable: true}); return !dispatchEvent(leaving)"
    return bool(shown.driver.execute_script(script))


async def test_from_a_name_to_a_saved_threshold(tmp_path: Path, browser: Browser) -> None:  # noqa: F811
    folder = tmp_path / "help"
    (folder / "shop").mkdir(parents=True)
    (folder / "hours.md").write_text("We are open from 9 to 5.\n\nOn Saturdays we are open from 10 to 2.")
    (folder / "shop" / "<b>returns.txt").write_text("You may return goods within 30 days.")
    (folder / ".hidden").write_text("Not for customers.")
    async with pages(tmp_path / "data") as site:

        def run() -> str:
            browser.sign_in(site)
            browser.open("/settings")
            browser.one("#name").send_keys("Superbot")
            browser.button("Create").click()
            browser.until(lambda: "Now give it something" in browser.text(".done"))
            browser.driver.find_element(By.LINK_TEXT, "Give it documents").click()

            drag(browser, folder, "#drop")
            browser.until(lambda: len(browser.all("#documents .badge.assistant")) == 2)
            names = sorted(each.text for each in browser.all("#documents p.name"))
            assert names == ["help/hours.md", "help/shop/<b>returns.txt"]
            assert not browser.all("#uploads li")
            assert "All 2" in browser.text("#counts")

            browser.driver.find_element(By.LINK_TEXT, "Relevance").click()
            browser.one("#query").send_keys("When are you open on Saturdays?")
            browser.until(lambda: browser.all(".passage"))
            set_threshold(browser, "1")
            browser.until(lambda: "model answers by itself" in browser.text(".verdict"))
            assert browser.text(".save .state") == "Unsaved changes"
            set_threshold(browser, "0.4")
            browser.until(lambda: "Answered from" in browser.text(".verdict"))
            browser.all(".why summary")[0].click()
            browser.until(lambda: "Uses the same words" in browser.text(".passage"))
            browser.button("Save").click()
            browser.until(lambda: "Saved." in browser.text(".done"))
            assert browser.one(THRESHOLD).get_property("value") == "0.4"
            assert browser.text(".save .state") == "Everything is saved."
            assert "?" not in browser.driver.current_url
            assert not browser.complaints()
            assert not browser.foreign_requests()
            return str(browser.one(".desk").get_attribute("data-chatbot"))

        chatbot_id = await in_browser(run)
        stored: dict[str, Any] = (await site.api.get(f"/chatbots/{chatbot_id}")).body
        assert stored["documents"]["results"]["match_threshold"] == 0.4


async def test_unsaved_changes_warn_and_can_be_discarded(tmp_path: Path, browser: Browser) -> None:  # noqa: F811
    async with pages(tmp_path) as site:
        here = "/settings/" + (await site.api.chatbot()).rpartition("/")[2]

        def run() -> None:
            browser.sign_in(site)
            browser.open(f"{here}/limits")
            assert browser.one("[name='limits.user.quota']").is_enabled()
            browser.one("[name='limits.user']").click()
            assert browser.driver.execute_script("return document.querySelector('[data-behind]').inert")
            browser.until(lambda: browser.text(".save .state") == "Unsaved changes")
            browser.button("Discard").click()
            browser.until(lambda: browser.text(".save .state") == "Everything is saved.")
            assert not browser.driver.execute_script("return document.querySelector('[data-behind]').inert")
            browser.one("[name='limits.user.quota']").send_keys("9")
            assert is_asked(browser), "before what was typed is lost"
            browser.button("Discard").click()
            browser.until(lambda: not is_asked(browser))

        await in_browser(run)


async def test_no_section_is_wider_than_a_small_phone(tmp_path: Path, browser: Browser) -> None:  # noqa: F811
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(name="W" * 200)
        await site.api.push(chatbot, "w" * 300, "Nine. " + "w" * 500)
        here = "/settings/" + chatbot.rpartition("/")[2]

        def run() -> None:
            browser.sign_in(site, width=320)
            for section in SECTIONS:
                browser.open(f"{here}/{section.name}".rstrip("/"))
                assert browser.overflow() <= 0, section.name
                assert not browser.complaints(), section.name
            browser.open("/settings")
            assert browser.overflow() <= 0

        await in_browser(run)
