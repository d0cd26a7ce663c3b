"""The pages in a real browser: what scripts, layout and policy do together cannot be seen over HTTP alone."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from gigachat_server.access.principal import local_operator
from gigachat_server.errors import ModelUnreachable
from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, Script, ScriptedModel
from gigachat_server.pages.chat import SAMPLE_CHATBOT, SAMPLE_PROMPTS
from tests.breaking import breaking
from tests.operators import PASSWORD, add_operator
from tests.pages.pages import MATCHING, Pages, pages
from tests.pages.payloads import XSS

T = TypeVar("T")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.sqlite_only,  # a page sees nothing but the API, which is tested on both
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and os.environ.get("REQUIRE_ALL") != "1",
        reason="needs the programs chromium and chromedriver",
    ),
]

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1200,800"
)
PATIENCE_S = 20


class Browser:
    """A browser on the site under test. Blocking: tests call it through `in_browser`."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.url = ""

    def sign_in(self, site: Pages, *, width: int = 1200, link: str = "") -> None:
        self.url = site.visitor.url
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(f"{self.url}{link or site.link()}")
        self.button("Sign in").click()
        self.until(lambda: self.all("nav form"))
        self.driver.get(self.url)  # the link of a server without an owner leads to the page that makes one

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.until(lambda: self.all(selector))[0]

    def button(self, text: str) -> WebElement:
        found = [button for button in self.all("main button") if " ".join(button.text.split()) == text]
        assert found, f"no button {text!r}: {[button.text for button in self.all('main button')]}"
        return found[0]

    def text(self, selector: str) -> str:
        return " ".join(element.text for element in self.all(selector))

    def until(self, condition: Callable[[], T]) -> T:
        # Between finding an element and reading it, the page may have put the final text in its place: look again.
        replaced = (StaleElementReferenceException,)
        wait = WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.02, ignored_exceptions=replaced)
        return wait.until(lambda _: condition())

    def say(self, text: str) -> None:
        self.one("#prompt").send_keys(text, Keys.ENTER)

    def overflow(self) -> int:
        """By how many pixels the page is wider than the screen."""
        return int(self.driver.execute_script("return document.documentElement.scrollWidth - innerWidth"))

    def complaints(self) -> list[object]:
        """What the browser has logged since this was last asked."""
        return list(self.driver.get_log("browser"))  # type: ignore[no-untyped-call]

    def foreign_requests(self) -> list[str]:
        """What this page fetched, or tried to, from elsewhere."""
        script = "return performance.getEntriesByType('resource').map(e => e.name)"
        return [name for name in self.driver.execute_script(script) if not name.startswith(self.url + "/")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM, "REQUIRE_ALL=1, but there is no program chromium"
    assert DRIVER, "REQUIRE_ALL=1, but there is no program chromedriver"
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    # A name that is not this machine's own: there, over plain http, browsers hold back what they tell of a request.
    rules = "--host-resolver-rules=MAP chat.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}", rules):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


async def in_browser(step: Callable[[], T]) -> T:
    """The server shares this event loop, so the browser waits in a thread."""
    return await asyncio.to_thread(step)


async def test_a_reply_streams_in_and_shows_its_sources(tmp_path: Path, browser: Browser) -> None:
    pause = Pause()
    model = ScriptedModel(["Push it ", pause, "**once**."])
    async with pages(tmp_path, model=model) as site:
        chatbot = await site.api.chatbot(name=SAMPLE_CHATBOT, **MATCHING)
        await site.api.push(chatbot, "guide.md", "How to push.\n\nSend it once.")

        def ask() -> None:
            browser.sign_in(site)
            assert [button.text for button in browser.all(".suggestions button")] == list(SAMPLE_PROMPTS)
            browser.say("How do I push?")
            browser.until(lambda: browser.text(".writing .content").strip() == "Push it")
            assert browser.one(".message.user .content").text == "How do I push?"
            assert browser.one("#prompt").get_property("value") == ""
            assert browser.one("#stop").is_displayed()
            assert not browser.all("#welcome")

        def read() -> None:
            browser.until(lambda: browser.all(".sources summary"))[0].click()
            assert browser.one(".message.assistant .content strong").text == "once"
            assert browser.one(".excerpt").text == "How to push.\n\nSend it once."
            assert "guide.md" in browser.one(".sources summary").text
            assert "lines 1–3" in browser.one(".sources summary").text
            assert not browser.one("#stop").is_displayed()
            assert "conversation=" in browser.driver.current_url
            browser.driver.refresh()
            assert browser.text(".message .content") == "How do I push? Push it once."
            browser.one("#new-conversation").click()
            browser.one("#welcome")
            assert not browser.all(".message")

        await in_browser(ask)
        await asyncio.wait_for(pause.reached.wait(), PATIENCE_S)
        pause.resume()
        await in_browser(read)


async def test_staff_speaks_without_a_reply_and_the_command_is_the_same_request(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()

        def step_in() -> str:
            browser.sign_in(site)
            for menu in browser.all(".under summary"):
                menu.click()
            name = browser.driver.find_element(By.ID, "operator-name")
            browser.driver.execute_script("arguments[0].closest('details').open = true", name)
            name.send_keys("Bob")
            prompt = browser.one("#prompt")
            prompt.send_keys("It's me,", Keys.SHIFT, Keys.ENTER, Keys.NULL, "Bob")
            command = str(browser.driver.find_element(By.ID, "curl").get_property("textContent"))
            prompt.send_keys(Keys.ENTER)
            browser.until(lambda: browser.all(".message.operator[data-seq]"))
            assert browser.one(".message.operator .badge").text == "Operator"
            assert browser.one(".message.operator .content").text == "It's me,\nBob"
            browser.until(browser.one("#send").is_enabled)
            return command

        command = await in_browser(step_in)
        assert f"'{site.api.url}{chatbot}/conversations?embedding=false'" in command
        assert '"user_id":"client:Bob"' in command
        assert r'"prompt":"It' + r"'\''" + r's me,\nBob"' in command
        assert [message["role"] for message in await _only_conversation(site, chatbot)] == ["operator"]


async def _only_conversation(site: Pages, chatbot: str) -> list[dict[str, object]]:
    conversations = (await site.api.get(f"{chatbot}/conversations")).body
    assert len(conversations) == 1
    return await site.api.messages(chatbot, conversations[0]["conversation_id"])


async def test_after_a_failure_the_prompt_can_be_answered_after_all(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path, model=ScriptedModel([ModelUnreachable()], ["Hi."])) as site:
        await site.api.chatbot()

        def fail_and_repeat() -> None:
            browser.sign_in(site)
            browser.say("Hello")
            browser.until(lambda: "cannot be reached" in browser.text(".message.failed .note"))
            browser.button("Answer it").click()
            browser.until(lambda: "Hi." in browser.text(".message.assistant .content"))
            assert not browser.all(".message.failed")

        def lose_the_session() -> None:
            browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
            browser.until(browser.one("#send").is_enabled)
            browser.say("Are you there?")
            browser.until(lambda: "Sign in" in browser.one("#problem").text)
            assert browser.one("#prompt").get_property("value") == "Are you there?"
            browser.complaints()  # of the refusals

        await in_browser(fail_and_repeat)
        await in_browser(lose_the_session)


async def test_a_key_is_made_used_and_revoked(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path) as site:

        def make() -> str:
            browser.sign_in(site)
            browser.open("/keys")
            browser.one("#name").send_keys("my server")
            browser.button("Create key").click()
            secret = browser.one("#secret").text
            browser.driver.refresh()
            assert not browser.all("#secret")
            assert browser.text(".key-name") == "my server test"
            return secret

        def revoke() -> None:
            browser.one("button[aria-label='Revoke my server']").click()
            browser.until(browser.button("Revoke").is_displayed)
            browser.button("Keep it").click()
            browser.one("button[aria-label='Revoke my server']").click()
            browser.button("Revoke").click()
            browser.until(lambda: browser.all("tr.revoked"))

        secret = await in_browser(make)
        assert (await site.api.get("/chatbots", key=secret)).status == 200
        await in_browser(revoke)
        assert (await site.api.get("/chatbots", key=secret)).status == 401


async def test_over_plain_http_at_another_name_forms_work_too(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path) as site:

        def work() -> None:
            browser.sign_in(site)
            browser.url = site.visitor.url.replace("127.0.0.1", "chat.test")
            browser.open(site.link())
            browser.button("Sign in").click()
            browser.until(lambda: browser.all("nav form"))
            browser.open("/")
            browser.one("#chatbot-name").send_keys("Superbot", Keys.ENTER)
            browser.until(lambda: browser.all("#composer"))
            browser.say("Hello")
            browser.until(lambda: "Hi." in browser.text(".message.assistant .content"))

        await in_browser(work)


def _say_again(model_input: ModelInput) -> Script:
    return [next(message.content for message in reversed(model_input.messages) if message.role == "user")]


def _has_replies(browser: Browser, count: int) -> bool:
    return len(browser.all(".message.assistant:not(.writing)")) == count


async def test_no_text_runs_or_fetches_anything(tmp_path: Path, browser: Browser) -> None:
    everything = "\n\n".join(XSS)
    async with pages(tmp_path, model=ScriptedModel(_say_again)) as site:
        addresses = []
        for number in range(0, len(XSS), 6):
            some = XSS[number : number + 6]
            name = "".join(c for c in "".join(some) if c.isprintable())[:255]  # others are refused in names
            chatbot = await site.api.chatbot(name=name, **MATCHING)
            for payload in some:
                line = "".join(c for c in payload if c.isprintable())[:255]
                await site.api.push(chatbot, line, f"{payload} {everything}")
                await site.api.say(chatbot, payload, user=line)
            addresses.append(f"/?chatbot={chatbot.split('/')[-1]}&conversation=c1")
            await site.api.services.key_ring.create(site.api.services.account.id, name)

        def look() -> None:
            browser.complaints()
            browser.sign_in(site)
            for address in (*addresses, "/keys"):
                browser.open(address)
                for source in browser.all(".sources details"):
                    browser.driver.execute_script("arguments[0].open = true", source)
                assert browser.driver.title != "pwned"
                assert browser.foreign_requests() == []
            browser.open(addresses[0].partition("&")[0])
            for number, some in enumerate((XSS[::2], XSS[1::2]), 1):  # a prompt has 32,000 characters at most
                browser.driver.execute_script("document.getElementById('prompt').value = arguments[0]", "\n\n".join(some))
                browser.one("#send").click()
                browser.until(functools.partial(_has_replies, browser, number))
            assert browser.driver.title != "pwned"
            assert browser.foreign_requests() == []
            assert browser.complaints() == []  # the policy had nothing to stop: no payload got as far
            assert not browser.all(
                "main script, main iframe, main object, .message svg:not(.actions svg), .message img, .message style"
            )

        await in_browser(look)


async def test_stop_keeps_what_was_said(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path, model=ScriptedModel(["Once upon ", Pause()], ["The end."])) as site:
        await site.api.chatbot()

        def stop_and_retry() -> None:
            browser.complaints()
            browser.sign_in(site)
            browser.say("Tell me a story")
            browser.until(lambda: browser.text(".writing .content").strip() == "Once upon")
            browser.say("Hurry")  # it waits behind the story, and is stopped with it
            browser.until(lambda: "Waiting for the previous reply." in browser.text(".message.user .note"))
            browser.one("#stop").click()
            browser.until(lambda: browser.text(".message.assistant .note") == "Stopped here.")
            assert browser.text(".message.assistant .content").strip() == "Once upon"
            assert not browser.one("#stop").is_displayed()
            assert browser.driver.switch_to.active_element == browser.one("#prompt")
            browser.button("Retry").click()  # of the story: the prompt behind it was never begun
            browser.until(lambda: browser.text(".message.assistant:not(.replaced) .content") == "The end.")
            assert browser.one(".replaced .earlier summary").text == "Earlier reply"
            assert not browser.one(".replaced .content").is_displayed()
            browser.one(".replaced summary").click()
            assert browser.one(".replaced .content").text.strip() == "Once upon"
            assert browser.complaints() == []

        await in_browser(stop_and_retry)


async def test_a_takeover_from_elsewhere_appears_and_silences_the_chatbot(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path, model=ScriptedModel(["Let me ", Pause()], ["Hi again."])) as site:
        chatbot = await site.api.chatbot()

        def ask() -> str:
            browser.sign_in(site)
            browser.say("Where is my parcel?")
            browser.until(lambda: browser.text(".writing .content").strip() == "Let me")
            return browser.driver.current_url.partition("conversation=")[2]

        def see_and_speak() -> None:
            browser.until(lambda: "Bob answers this conversation." in browser.text(".control"))
            assert browser.text(".message.assistant .content").strip() == "Let me"
            browser.until(lambda: browser.text(".message.operator .content") == "I look.")
            assert not browser.all(".writing")
            browser.say("Thank you")
            browser.until(lambda: "Left to the operator." in browser.text(".message.user .note"))

        def give_back() -> None:
            browser.one("[data-release]").click()
            assert "Bob answers this conversation." in browser.text(".control"), "it asks first"
            browser.one("[data-release='sure']").click()
            browser.until(lambda: browser.text(".control") == "The chatbot answers.")
            assert [each.text.partition(".")[0] for each in browser.all(".change")] == [
                "Bob took over",
                "The chatbot answers again",
            ]
            browser.say("And now?")
            browser.until(lambda: "Hi again." in browser.text(".message.assistant .content"))

        conversation = f"{chatbot}/conversations/{await in_browser(ask)}"
        assert (await site.api.post(f"{conversation}/takeover", {"operator": "Bob"})).status == 200
        await site.api.say(chatbot, "I look.", user="client:Bob", conversation=conversation.split("/")[-1])
        await in_browser(see_and_speak)
        await in_browser(give_back)


async def test_an_operator_takes_over_on_the_page(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()

        def take_over() -> None:
            browser.sign_in(site)
            browser.say("Hello")
            browser.until(lambda: "Hi." in browser.text(".message.assistant .content"))
            browser.one("#takeover-menu summary").click()
            browser.one("#operator").send_keys("Bob", Keys.ENTER)
            browser.until(lambda: "Bob answers" in browser.text(".control"))
            assert browser.one("#speaker-shown").text == "Bob"
            browser.say("This is Bob.")
            browser.until(lambda: browser.text(".message.operator .content") == "This is Bob.")
            browser.driver.refresh()
            assert browser.one("#speaker-shown").text == "Bob", "who took over goes on as themselves"
            browser.one("[data-release]").click()
            browser.until(lambda: browser.one("#speaker-shown").text == "visitor")

        await in_browser(take_over)
        roles = [message["role"] for message in await _only_conversation(site, chatbot)]
        assert roles == ["user", "assistant", "operator"]


async def test_an_invited_operator_sees_their_chatbot_until_they_are_disabled(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path) as site:
        theirs, other = await site.api.chatbot(name="Theirs"), await site.api.chatbot(name="Not theirs")
        await site.api.say(theirs, "Where is my parcel?", conversation="c1", user="maria@example.com")
        made = await add_operator(site.api.services, "bob", chatbots={theirs: "operator"})
        local = local_operator(made.account_id)
        _, token = await site.api.services.operators.invite(local, made.id)

        def join_and_answer() -> None:
            browser.complaints()
            browser.url = site.visitor.url
            browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
            browser.open(f"/invite?token={token}")
            for field in ("#password", "#again"):
                browser.one(field).send_keys(PASSWORD)
            browser.button("Join").click()
            browser.until(lambda: browser.all("#composer"))
            assert [each.text for each in browser.all("#chatbot option")] == ["Theirs"]
            assert not browser.all('nav a[href="/operators"], nav a[href="/keys"]')
            browser.open(f"/?chatbot={other.split('/')[-1]}")
            assert browser.text(".code") == "404"
            browser.complaints()  # of that
            browser.open(f"/?chatbot={theirs.split('/')[-1]}&conversation=c1")
            assert not browser.all("#speakers"), "nothing to choose: staff do not write as a customer"
            browser.button("Take over").click()
            browser.until(lambda: "You answer this conversation." in browser.text(".control"))
            browser.say("I look into it.")
            browser.until(lambda: browser.text(".message.operator .content") == "I look into it.")
            assert browser.text(".change p").startswith("bob took over.")
            browser.one("[data-release]").click()
            browser.until(lambda: browser.text(".control").startswith("The chatbot answers."))
            assert [each.text.partition(".")[0] for each in browser.all(".change")] == [
                "bob took over",
                "bob released the conversation",
            ]
            assert browser.complaints() == []

        def click_again() -> None:
            browser.open("/profile")
            assert browser.text("h1") == "Sign in"

        await in_browser(join_and_answer)
        shut_out = lambda draft: msgspec.structs.replace(draft, is_disabled=True)  # noqa: E731
        await site.api.services.operators.change(local, made.id, shut_out)
        await in_browser(click_again)


@pytest.mark.parametrize("width", [1100, 360])
async def test_pages_of_people_fit_and_do_what_they_say(tmp_path: Path, browser: Browser, width: int) -> None:
    async with pages(tmp_path) as site:
        await site.api.chatbot(name="Ours")

        def work() -> None:
            browser.complaints()
            browser.sign_in(site, width=width)
            browser.open("/welcome")
            for name, text in (("name", "Ann Archer"), ("email", "ann@example.com"), ("password", PASSWORD), ("again", PASSWORD)):
                browser.one(f"#{name}").send_keys(text)
            assert browser.overflow() <= 0
            browser.button("Create the owner").click()
            browser.until(lambda: browser.all(".people"))
            browser.one("#email-new").send_keys("bob@example.com")
            browser.one("#name-new").send_keys("Bob Baker")
            browser.button("Make an invitation").click()
            browser.until(lambda: browser.all("#invite-link"))
            assert "/invite?token=" in browser.text("#invite-link")
            for path in ("/operators", "/audit", "/profile"):
                browser.open(path)
                assert browser.overflow() <= 0, path
            browser.open("/operators")
            browser.one("[popovertarget='change-2']").click()
            browser.until(lambda: browser.one("#change-2").is_displayed())
            assert browser.overflow() <= 0
            browser.driver.execute_script("document.querySelector('#change-2 details').open = true")
            browser.button("Delete Bob Baker").click()
            browser.until(lambda: len(browser.all(".people > li")) == 1)
            browser.one("button.face").click()
            browser.until(lambda: browser.one("#me").is_displayed())
            browser.one("#me button").click()
            browser.until(lambda: browser.text("h1") == "Sign in")
            assert browser.complaints() == []

        await in_browser(work)


async def test_a_page_that_nobody_looks_at_catches_up(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()

        def look_away() -> str:
            browser.sign_in(site)
            browser.say("Hello")
            browser.one(".message.assistant:not(.writing)")
            page = browser.driver.current_window_handle
            browser.driver.switch_to.new_window("tab")
            return page

        def look_again(page: str) -> None:
            browser.driver.close()
            browser.driver.switch_to.window(page)
            browser.until(lambda: browser.text(".message.operator .content") == "Are you there?")
            assert len(browser.all(".message")) == 3

        page = await in_browser(look_away)
        conversation = (await site.api.get(f"{chatbot}/conversations")).body[0]["conversation_id"]
        await site.api.say(chatbot, "Are you there?", user="client:Bob", conversation=conversation)
        await in_browser(lambda: look_again(page))


async def test_a_rating_is_kept_and_taken_back(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()

        def rate(expected: str) -> None:
            browser.one("[data-rate=down]").click()
            browser.until(lambda: browser.one("[data-rate=down]").get_attribute("aria-pressed") == expected)
            assert browser.driver.switch_to.active_element == browser.one("[data-rate=down]")

        def begin() -> None:
            browser.sign_in(site)
            browser.say("Hello")
            browser.one(".message.assistant:not(.writing)")

        async def rating() -> object:
            return (await _only_conversation(site, chatbot))[-1]["feedback"]

        await in_browser(begin)
        await in_browser(lambda: rate("true"))
        assert await rating() == {"rating": "down", "text": ""}
        await in_browser(lambda: rate("false"))
        assert await rating() is None


async def test_what_the_network_broke_is_sent_again_and_stored_once(tmp_path: Path, browser: Browser) -> None:
    pause = Pause()
    async with pages(tmp_path, model=ScriptedModel(["Push ", pause, "it."])) as site, breaking(site.visitor.url) as broken:
        chatbot = await site.api.chatbot()

        def ask() -> None:
            browser.sign_in(site)
            browser.url = broken.url
            browser.open("/")  # cookies do not look at ports
            broken.breaks = b"POST /web/chat "
            browser.say("How do I push?")
            browser.until(lambda: browser.text(".writing .content").strip() == "Push")

        def read() -> None:
            browser.until(lambda: browser.text(".message.assistant:not(.writing) .content") == "Push it.")
            assert len(browser.all(".message")) == 2

        await in_browser(ask)
        assert broken.count == 1
        broken.cut()  # the stream too: it goes on where it was
        pause.resume()
        await in_browser(read)
        keys = [head.split(b"idempotency-key: ")[1].split(b"\r\n")[0] for head in broken.heads]
        assert len(keys) == 2
        assert keys[0] == keys[1]
        assert [message["content"] for message in await _only_conversation(site, chatbot)] == ["How do I push?", "Push it."]


async def test_a_server_that_hangs_is_told_of_and_tried_again(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path, model=ScriptedModel(["Push it."])) as site, breaking(site.visitor.url) as broken:
        chatbot = await site.api.chatbot()

        def ask() -> None:
            browser.sign_in(site)
            browser.url = broken.url
            browser.open("/")
            broken.breaks, broken.hangs = b"POST /web/chat ", True
            browser.say("How do I push?")
            assert browser.text(".message.user .content") == "How do I push?"  # at once, whatever the server does
            assert browser.one("#prompt").get_property("value") == ""
            assert not browser.one("#slow").is_displayed()
            browser.until(lambda: browser.one("#slow").is_displayed())
            assert browser.text("#slow") == "This takes longer than usual. Try again"
            browser.one("#again").click()
            browser.until(lambda: browser.text(".message.assistant:not(.writing) .content") == "Push it.")
            assert [each.text for each in browser.all(".message .content")] == ["How do I push?", "Push it."]
            assert not browser.one("#slow").is_displayed()

        await in_browser(ask)
        assert broken.count == 1
        assert [message["content"] for message in await _only_conversation(site, chatbot)] == ["How do I push?", "Push it."]


async def test_what_cannot_be_sent_is_kept_and_what_is_refused_can_be_changed(tmp_path: Path, browser: Browser) -> None:
    async with pages(tmp_path, model=ScriptedModel(["Push it."])) as site:
        chatbot = await site.api.chatbot()

        def ask() -> None:
            browser.sign_in(site)
            browser.driver.execute_script(
                "window.realFetch = fetch; window.fetch = () => Promise.reject(new TypeError('offline'));"
                "window.realTimeout = setTimeout; window.setTimeout = (step, wait) => realTimeout(step, wait < 20000 ? 0 : wait)"
            )
            browser.say("How do I push?")
            browser.until(lambda: browser.all(".echo.failed"))
            browser.driver.execute_script("window.fetch = window.realFetch; window.setTimeout = window.realTimeout")
            browser.say("And then?")
            assert "try that again first" in browser.text("#problem")
            assert browser.one("#prompt").get_property("value") == "And then?"
            browser.one(".echo .retry").click()
            browser.until(lambda: browser.text(".message.assistant:not(.writing) .content") == "Push it.")
            assert [each.text for each in browser.all(".message.user .content")] == ["How do I push?"]
            long = "x" * 32_001
            browser.driver.execute_script("document.getElementById('prompt').value = arguments[0]; send()", long)
            browser.until(lambda: browser.one("#problem").is_displayed())
            assert browser.one("#prompt").get_property("value") == long
            assert len(browser.all(".message.user")) == 1

        await in_browser(ask)
        assert [message["content"] for message in await _only_conversation(site, chatbot)] == ["How do I push?", "Push it."]


async def test_each_list_has_its_bullets_where_its_lines_begin_and_tables_break_no_words(
    tmp_path: Path, browser: Browser
) -> None:
    table = "| `internationalisation` | b |\n|---|---|\n| Donaudampfschiff | " + "c " * 80 + "|\n"
    said = f"Two lists:\n\n- one\n\ntext\n\n* \u0645\u0631\u062d\u0628\u0627\n\n{table}"
    async with pages(tmp_path, model=ScriptedModel([said])) as site:
        chatbot = await site.api.chatbot()
        await site.api.say(chatbot, "Hello")

        def look() -> None:
            browser.sign_in(site, width=320)
            browser.open(f"/?chatbot={chatbot.split('/')[-1]}&conversation=c1")
            browser.one(".markdown table")
            found = browser.driver.execute_script(
                "const of = (each) => getComputedStyle(each);"
                "return [...document.querySelectorAll('.markdown ul')].map((each) => [of(each).direction,"
                " parseFloat(of(each).paddingLeft) > 0, parseFloat(of(each).paddingRight) > 0])"
            )
            assert found == [["ltr", True, False], ["rtl", False, True]]
            lines = browser.driver.execute_script(
                "return [...document.querySelectorAll('.markdown :is(th, td):first-child')].map((each) => {"
                " const words = document.createRange(); words.selectNodeContents(each);"
                " return new Set([...words.getClientRects()].map((box) => Math.round(box.bottom / 8))).size; })"
            )
            assert lines == [1, 1]
            assert browser.overflow() <= 0

        await in_browser(look)


async def test_nothing_is_wider_than_a_phone(tmp_path: Path, browser: Browser) -> None:
    model = ScriptedModel([f"`{'x' * 300}`\n\n" + "|a" * 30 + "|\n" + "|-" * 30 + "|\n" + "y" * 300])
    async with pages(tmp_path, model=model) as site:
        chatbot = await site.api.chatbot(name="N" * 255, **MATCHING)
        await site.api.push(chatbot, "https://example.com/" + "d" * 200, "w" * 300)
        await site.api.say(chatbot, "p" * 500, user="u" * 255)
        await site.api.services.key_ring.create(site.api.services.account.id, "k" * 255)

        def look() -> None:
            browser.complaints()
            browser.sign_in(site, width=320)
            for path in (f"/?chatbot={chatbot.split('/')[-1]}&conversation=c1", "/", "/keys", "/docs"):
                browser.open(path)
                for details in browser.all("details"):
                    browser.driver.execute_script("arguments[0].open = true", details)
                assert browser.overflow() <= 0, path
            assert browser.complaints() == []  # the policy was not broken by our own pages either

        await in_browser(look)
