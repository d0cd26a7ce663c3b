"""A support team's first day, all of it in browsers: the owner's, an operator's and a visitor's. No API key is typed anywhere."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from gigachat_server.access.principal import local_operator
from gigachat_server.models.fake import ScriptedModel
from tests.pages.pages import Pages, pages
from tests.pages.test_browser import Browser, in_browser, pytestmark  # noqa: F401 - what marks the tests
from tests.pages.test_inbox_browser import opened
from tests.pages.test_settings_browser import drag
from tests.widget import browsers

SAID = "On Saturdays we are open from 10 to 2."
PASSWORD = "correct horse battery"


class Shop:
    """A site of the owner's. Its one page holds what the owner has put there."""

    def __init__(self) -> None:
        self.tag = ""
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        page = f'<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><h1>Shop</h1>{self.tag}</html>'
        return web.Response(text=page, content_type="text/html")


@asynccontextmanager
async def _open_shop() -> AsyncIterator[Shop]:
    shop, served = Shop(), web.Application()
    served.router.add_get("/", shop.answer)
    runner: Any = web.AppRunner(served, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    shop.url = f"http://localhost:{runner.addresses[0][1]}/"
    try:
        yield shop
    finally:
        await runner.cleanup()


class Team:
    """Who has a browser on that day."""

    def __init__(self, owner: Browser, eve: Browser, visitor: browsers.Browser) -> None:
        self.owner = owner
        self.eve = eve
        self.visitor = visitor


@pytest.fixture
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with ExitStack() as stack:
        owner, eve = (stack.enter_context(opened(tmp_path_factory.mktemp(name))) for name in ("owner", "eve"))
        yield Team(owner, eve, stack.enter_context(browsers.browser("chromium")))


def _fill(browser: Browser, **fields: str) -> None:
    for field_id, text in fields.items():
        browser.one(f"#{field_id.replace('_', '-')}").send_keys(text)


def _go(browser: Browser, link: str) -> None:
    browser.until(lambda: browser.driver.find_elements(By.LINK_TEXT, link))[0].click()


def _section(browser: Browser, title: str) -> None:
    _go(browser, title)
    browser.until(lambda: browser.text("h1") == title)


def _become_owner(owner: Browser, site: Pages) -> None:
    owner.url = site.visitor.url
    owner.open(site.link())
    owner.button("Sign in").click()
    owner.until(lambda: owner.text("h1") == "Create the owner")
    _fill(owner, name="Olga Owner", email="olga@example.com", password=PASSWORD, again=PASSWORD)
    owner.button("Create the owner").click()
    owner.until(lambda: owner.all("#me"))


def _make_chatbot(owner: Browser, folder: Path) -> None:
    owner.open("/settings")
    _fill(owner, name="Superbot")
    owner.button("Create").click()
    _go(owner, "Give it documents")
    owner.until(lambda: owner.all("#drop"))
    drag(owner, folder, "#drop")
    owner.until(lambda: owner.all("#documents .badge.assistant"))


def _write_canned_reply(owner: Browser) -> None:
    _section(owner, "Canned replies")
    _fill(owner, f_r_shortcut="refund", f_r_content="Hello {name}, this is {operator} of {chatbot}. It is on its way.")
    owner.button("Save").click()
    owner.until(lambda: "/refund" in owner.text(".entry .name"))


def _put_on_site(owner: Browser, shop: Shop) -> None:
    _section(owner, "Access and widget")
    _fill(owner, f_w_name="shop", f_w_hostnames="localhost")
    owner.button("Make the key").click()
    shop.tag = owner.one("[id^=tag-]").text


def _invite(owner: Browser) -> str:
    """The link that the owner sends."""
    owner.open("/operators")
    _fill(owner, email_new="eve@example.com", name_new="Eve Example")
    Select(owner.one("#chatbot-new-1")).select_by_value("operator")
    owner.button("Make an invitation").click()
    link = owner.one("#invite-link").text
    owner.driver.refresh()
    owner.until(lambda: "invited" in owner.text(".people") and not owner.all("#invite-link"))
    assert owner.driver.current_url.endswith("/operators"), "a reload neither invites again nor leads elsewhere"
    return link


def _join(eve: Browser, site: Pages, link: str) -> None:
    eve.url = site.visitor.url
    eve.driver.get(link)
    _fill(eve, password=PASSWORD, again=PASSWORD)
    eve.button("Join").click()
    eve.until(lambda: eve.all("#me"))
    _go(eve, "Inbox")
    eve.until(lambda: eve.one("#nothing").is_displayed())
    eve.until(lambda: eve.driver.execute_script("return source.readyState === 1"))


def _ask(visitor: browsers.Browser, shop: Shop) -> None:
    visitor.open(shop.url)
    visitor.open_chat()
    visitor.say("Do you sell gift cards?")
    visitor.until(lambda: SAID in " ".join(visitor.replies()))
    visitor.say("I want to talk to a human")
    visitor.until(lambda: "asked a colleague" in " ".join(visitor.texts("#log .content")))


def _answer(eve: Browser, visitor: browsers.Browser) -> None:
    """Take over, note, answer from a proposal and from a canned reply, assign, release."""
    eve.one("#rows a").click()
    eve.until(lambda: eve.all('[data-do="takeover"]'))
    assert "Do you sell gift cards?" in eve.text("#items")
    eve.one('[data-do="takeover"]').click()
    eve.until(lambda: "You answer" in eve.text("#head"))
    visitor.until(lambda: "Eve" in visitor.script("return document.body.innerText") or "eve" in visitor.texts("#presence")[0])
    eve.one('[data-mode="note"]').click()
    eve.one("#text").send_keys("Wants a present for Sunday.")
    eve.one("#submit").click()
    eve.until(lambda: "Wants a present" in eve.text(".memo .content"))
    eve.one('[data-do="suggest"]').click()
    eve.until(lambda: eve.all('.proposal [data-do="edit"]'))
    eve.one('.proposal [data-do="edit"]').click()
    eve.one(".proposal textarea").send_keys(Keys.END, " Gift cards are at the till.")
    eve.one('.proposal [data-do="send"]').click()
    visitor.until(lambda: "Gift cards are at the till." in " ".join(visitor.texts("#log .content")))
    eve.until(lambda: not eve.all(".proposal"))
    eve.one("#text").send_keys("/ref")
    eve.until(lambda: eve.all('#replies [role="option"]'))
    eve.one("#text").send_keys(Keys.ENTER)
    eve.until(lambda: eve.one("#text").get_property("value") == "Hello {name}, this is eve of Superbot. It is on its way.")
    chosen = "const t = document.getElementById('text'); return t.value.slice(t.selectionStart, t.selectionEnd)"
    assert eve.driver.execute_script(chosen) == "{name}", "who the visitor is has not been told: it is there to type over"
    eve.one("#text").send_keys("there")
    eve.one("#submit").click()
    visitor.until(lambda: "Hello there, this is eve of Superbot." in " ".join(visitor.texts("#log .content")))
    assert "Wants a present" not in visitor.script("return document.body.innerText")
    eve.one('[data-do="assign"]').click()
    eve.one('#assign [data-assign="eve"]').click()
    eve.until(lambda: "looks after it" in eve.text("#items"))
    eve.one('[data-do="release"]').click()
    eve.until(lambda: "The chatbot answers" in eve.text("#head"))
    eve.one('[data-do="close"]').click()
    eve.until(lambda: "Closed" in eve.text("#head"))


def _make_fixed(owner: Browser) -> None:
    owner.open("/settings")
    owner.one(".bot").click()
    _section(owner, "Unanswered")
    asked = owner.until(lambda: [each for each in owner.all(".asked") if "gift cards" in each.text])[0]
    if not asked.find_element(By.TAG_NAME, "textarea").is_displayed():
        asked.find_element(By.TAG_NAME, "summary").click()
    answer = asked.find_element(By.TAG_NAME, "textarea")
    answer.clear()
    answer.send_keys("Yes, from 10 euros on.")
    asked.find_element(By.CSS_SELECTOR, '[value="fixed_answer"]').click()
    owner.until(lambda: "Answered" in owner.text(".done"))


def _see_the_week(eve: Browser) -> None:
    _go(eve, "Figures")
    eve.until(lambda: eve.all(".tiles"))
    tiles = {each.find_element(By.TAG_NAME, "dt").text: each.text.split("\n")[1:] for each in eve.all(".tile")}
    assert tiles["Conversations"][0] == "1"
    assert tiles["Asked for a human"][:2] == ["1", "1 taken over"]
    assert eve.all('[aria-labelledby="human-title"] circle'), "how long the visitor waited is drawn"


async def test_the_first_day_of_a_support_team(tmp_path: Path, team: Team) -> None:
    folder = tmp_path / "help"
    folder.mkdir()
    (folder / "hours.md").write_text("We are open from 9 to 5.\n\nOn Saturdays we are open from 10 to 2.")
    owner, eve, visitor = team.owner, team.eve, team.visitor

    async with pages(tmp_path / "data", model=ScriptedModel([SAID])) as site, _open_shop() as shop:

        def live() -> None:
            _become_owner(owner, site)
            _make_chatbot(owner, folder)
            _write_canned_reply(owner)
            _put_on_site(owner, shop)
            _join(eve, site, _invite(owner))
            _ask(visitor, shop)
            asked_at = time.monotonic()
            eve.until(lambda: eve.all("#rows a") and eve.driver.title.startswith("(1) "))
            assert time.monotonic() - asked_at < 5, "within a second, where the machine has nothing else to do"
            _answer(eve, visitor)
            _make_fixed(owner)
            visitor.say("Do you sell gift cards?")
            visitor.until(lambda: "Yes, from 10 euros on." in " ".join(visitor.replies()))
            _see_the_week(eve)
            assert owner.complaints() == []
            assert eve.complaints() == []

        await in_browser(live)
        (bot,) = (await site.api.get("/chatbots")).body
        assert bot["name"] == "Superbot"
        services = site.api.services
        keys = await services.key_ring.list_keys(local_operator(services.account.id), before=None, limit=9)
        assert [each.name for each in keys] == ["test"], "that of this test, which nobody typed"
