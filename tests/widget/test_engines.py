"""The widget in three engines, on other people's pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, Script, ScriptedModel
from tests.pages.pages import MATCHING
from tests.pages.payloads import XSS
from tests.widget.browsers import ENGINES, Browser
from tests.widget.engines import chatting, engine_browser, in_browser, stored
from tests.widget.visits import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.sqlite_only, pytest.mark.xdist_group("widget")]


@pytest.fixture(scope="module", params=ENGINES)
def tab(request: pytest.FixtureRequest) -> Iterator[Browser]:
    yield from engine_browser(request.param)


@pytest.fixture(autouse=True)
def _one_tab(tab: Browser) -> Iterator[None]:
    yield
    first, *others = tab.driver.window_handles
    for other in others:
        tab.driver.switch_to.window(other)
        tab.driver.close()
    tab.driver.switch_to.window(first)
    tab.driver.get("about:blank")


def _say_again(model_input: ModelInput) -> Script:
    return [next(message.content for message in reversed(model_input.messages) if message.role == "user")]


# What a page's resources of ours are, as its own clock tells.
_OURS = "return performance.getEntriesByType('resource').map((e) => e.name).filter((name) => name.startsWith(arguments[0]))"


async def test_a_strict_page_shows_it_and_has_nothing_to_report(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path) as (_, host):

        def chat() -> None:
            tab.open(f"{host.url}/strict")
            tab.open_chat()
            tab.say("Hello")
            tab.until(lambda: tab.replies() == ["Hi."])

        await in_browser(chat)
        assert host.reports == []


@pytest.mark.parametrize("kind", ["unlisted", "sandboxed"])
async def test_a_page_that_is_not_listed_gets_nothing(tmp_path: Path, tab: Browser, kind: str) -> None:
    async with chatting(tmp_path) as (visit, host):

        def look() -> None:
            if kind == "unlisted":
                tab.open(f"{host.other_url}/plain")
            else:
                tab.open(f"{host.url}/sandboxed")
                tab.driver.switch_to.frame(tab.one("iframe"))
            tab.until(lambda: tab.script("return document.readyState") == "complete")
            tab.until(lambda: tab.script("return performance.getEntriesByType('resource').length") >= 1)
            tab.until(lambda: tab.script("return window.gigachat === undefined"))
            assert tab.hosts() == 0

        await in_browser(look)
        # A page that frames it by hand is kept out by the frame's own policy.
        await in_browser(lambda: tab.open(f"{host.other_url}/bare"))
        frame = f"{visit.api.url}{visit.root}?key={visit.key}"
        await in_browser(
            lambda: tab.script(
                "window.heard = 0; addEventListener('message', () => window.heard++);"
                "const frame = document.createElement('iframe');"
                "frame.onload = () => (frame.dataset.loaded = 1); frame.src = arguments[0]; document.body.append(frame)",
                frame,
            )
        )
        if tab.engine != "firefox":  # which tells of no frame that it refused
            await in_browser(lambda: tab.one("iframe[data-loaded]"))
        assert await in_browser(lambda: tab.script("return window.heard")) == 0
        assert await _sessions(visit) == 0


async def _sessions(visit: Visit) -> int:
    async def read(reader: Any) -> int:
        row = await reader.one("SELECT count(*) FROM user_sessions")
        return int(row[0])

    return await visit.api.services.database.read(read)


async def test_without_third_party_cookies_history_stays(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path) as (_, host):

        def come_back() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            tab.say("Remember me")
            tab.until(lambda: tab.replies() == ["Hi."])
            tab.outside()
            tab.driver.refresh()
            tab.open_chat()
            tab.until(lambda: tab.texts(".m.user .content") == ["Remember me"])
            tab.outside()
            tab.open(f"{host.url}/short")  # another page of the site
            tab.open_chat()
            tab.until(lambda: tab.replies() == ["Hi."])
            assert tab.script("return document.cookie") == ""

        await in_browser(come_back)


async def test_only_the_conversation_that_was_opened_last_is_shown(tmp_path: Path, tab: Browser) -> None:
    """Each is answered when it is: the visitor may have gone elsewhere meanwhile, and have said something there."""
    open_both = (
        "const buttons = [...document.querySelectorAll('#list li button')]"
        ".sort((a, b) => b.textContent.includes('One') - a.textContent.includes('One'));"
        "for (const place of arguments[0]) buttons[place].click()"
    )
    async with chatting(tmp_path, model=ScriptedModel(_say_again)) as (_, host):

        def list_all() -> None:
            tab.script("document.getElementById('back').click()")
            tab.until(lambda: len(tab.all("#list li button")) == 2)

        def open_several() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            for prompt in ("One", "Two"):
                tab.say(prompt)
                tab.until(lambda prompt=prompt: tab.replies() == [prompt])  # type: ignore[misc]
                tab.script("document.querySelector('[data-do=new]').click()")
                tab.until(lambda: not tab.all(".m"))
            for order, shown in (([0, 1], "Two"), ([1, 0], "One")):
                list_all()
                tab.script(open_both, order)
                tab.until(lambda: tab.replies())
                tab.say(f"After {shown}")
                tab.until(lambda shown=shown: tab.replies() == [shown, f"After {shown}"])  # type: ignore[misc]
            list_all()
            tab.script(open_both, [0, 1])
            tab.say("At once")
            wanted = ["Two", "After Two", "At once"]
            tab.until(lambda: tab.replies() == tab.texts(".m.user .content") == wanted)

        await in_browser(open_several)


async def test_earlier_messages_come_once_however_often_they_are_asked_for(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path, model=ScriptedModel(_say_again)) as (visit, host):
        said = [f"Prompt {number}" for number in range(17)]

        def begin() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            tab.say(said[0])
            tab.until(lambda: tab.replies() == said[:1])

        await in_browser(begin)
        (conversation,) = (await visit.api.get(f"{visit.path}/conversations")).body
        for prompt in said[1:]:
            await visit.api.say(visit.path, prompt, conversation=conversation["conversation_id"], user=conversation["user_id"])

        def look_back() -> None:
            tab.outside()
            tab.driver.refresh()
            tab.open_chat()
            tab.until(lambda: tab.replies()[-1:] == said[-1:])
            assert len(tab.replies()) == 15
            tab.script("const earlier = document.getElementById('earlier'); earlier.click(); earlier.click()")
            tab.until(lambda: tab.replies()[:1] == said[:1])
            tab.say("And now?")
            tab.until(lambda: tab.replies()[-1:] == ["And now?"])
            assert tab.replies() == [*said, "And now?"]

        await in_browser(look_back)


async def test_until_it_is_opened_one_request_is_made_and_nothing_is_stored(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path) as (visit, host):

        def look(kind: str) -> list[str]:
            tab.open(f"{host.url}/{kind}")
            tab.script("localStorage.clear()")
            tab.driver.refresh()
            assert tab.launcher.is_enabled()
            tab.until(lambda: tab.script("return document.readyState") == "complete")
            assert tab.script("return localStorage.length + sessionStorage.length") == 0
            assert tab.script("return document.cookie") == ""
            found: list[str] = tab.script(_OURS, visit.api.url)
            return [name.partition("?")[0].removeprefix(visit.api.url) for name in found]

        assert await in_browser(lambda: look("short")) == ["/widget.js"]
        # With the key beside the address: the script, and one request for the key's settings.
        assert sorted(await in_browser(lambda: look("plain"))) == sorted(["/widget.js", f"{visit.root}/settings.js"])

        def look_at_ours() -> None:
            tab.open(f"{visit.api.url}/login")
            assert tab.script("return localStorage.length + sessionStorage.length") == 0
            assert tab.script("return document.cookie") == ""

        await in_browser(look_at_ours)
        assert await _sessions(visit) == 0


async def test_keys_alone_ask_stop_rate_hand_off_and_close(tmp_path: Path, tab: Browser) -> None:
    model = ScriptedModel(["Once upon ", Pause()], ["The end."])
    async with chatting(tmp_path, model=model) as (visit, host):

        def press(*keys: str) -> None:
            tab.until(lambda: bool(tab.one(":focus").send_keys(*keys) or True))  # type: ignore[func-returns-value]

        def tab_to(selector: str, *keys: str) -> None:
            for _ in range(40):
                if tab.script("return document.activeElement?.matches(arguments[0])", selector):
                    return
                if tab.engine == "webkit":  # whose driver does not move the focus: the order is that of the document
                    tab.script(
                        "const all = [...document.querySelectorAll('button,a[href],textarea,input,summary,[tabindex=\"0\"]')]"
                        ".filter((e) => e.checkVisibility() && !e.disabled && !e.closest('[inert]'));"
                        "all.at((all.indexOf(document.activeElement) + (arguments[0] ? -1 : 1)) % all.length).focus()",
                        bool(keys),
                    )
                else:
                    press("".join((*keys, Keys.TAB)))
            raise AssertionError(f"{selector} cannot be reached")

        def work() -> None:
            tab.open(f"{host.url}/plain")
            tab.launcher.send_keys(Keys.ENTER)
            tab.inside()
            if tab.engine == "webkit":  # which lets no frame of another site take the focus before somebody has touched it
                tab.one("#prompt").click()
            tab.until(lambda: tab.script("return document.activeElement?.id") == "prompt")
            press("Tell me a story", Keys.ENTER)
            tab.until(lambda: tab.texts(".writing .content") == ["Once upon"])
            tab_to("#stop")
            press(Keys.ENTER)
            tab.until(lambda: "Stopped here." in tab.texts(".m.assistant .note"))
            tab.until(lambda: tab.script("return document.activeElement?.id") == "prompt")
            press("And then?", Keys.ENTER)
            tab.until(lambda: tab.replies()[-1:] == ["The end."])
            tab_to(".m.newest [data-rating='down']", Keys.SHIFT)
            press(Keys.ENTER)
            tab.until(lambda: tab.script("return document.activeElement?.matches('.why input')"))
            press("Too short", Keys.ENTER)
            tab.until(lambda: tab.texts(".why") == ["Thank you."])
            tab_to("#menu", Keys.SHIFT)
            press(Keys.ENTER)
            tab_to("[data-do='handoff']")
            press(Keys.ENTER)
            tab.until(lambda: tab.texts("#presence") == ["A colleague was asked to join"])
            press(Keys.ESCAPE)
            tab.outside()
            tab.until(lambda: tab.launcher.get_dom_attribute("aria-expanded") == "false")
            assert tab.script("return document.activeElement?.shadowRoot?.activeElement?.tagName") == "BUTTON"

        await in_browser(work)
        rated = [message for message in await stored(visit) if message["feedback"]]
        assert [message["feedback"] for message in rated] == [{"rating": "down", "text": "Too short"}]


_WATCH = """
window.announced = []; const log = document.getElementById('log');
new MutationObserver((changes) => { for (const { addedNodes, target } of changes) for (const node of addedNodes) {
  const element = node.nodeType === 1 ? node : node.parentElement;
  if (!element || element.closest('[aria-busy="true"]') || target.closest('[aria-busy="true"]')) continue;
  if (node.textContent.trim() && log.ariaLive !== 'off') window.announced.push(node.textContent.trim());
} }).observe(log, { childList: true, subtree: true, characterData: true });"""


async def test_a_reply_is_announced_once_and_whole(tmp_path: Path, tab: Browser) -> None:
    pause = Pause()
    model = ScriptedModel(["One. ", "Two.\n\n", pause, "- three\n", "- four"])
    async with chatting(tmp_path, model=model) as (_, host):

        def ask() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            tab.script(_WATCH)
            tab.say("Count")
            tab.until(lambda: tab.texts(".writing .content p") == ["One. Two."])

        def look() -> None:
            tab.until(lambda: tab.texts(".m.assistant[data-seq] .content li") == ["three", "four"])
            said = [text for text in tab.script("return window.announced") if "three" in text or "Two." in text]
            assert len(said) == 1, said
            assert "One. Two." in said[0]
            assert "four" in said[0]

        await in_browser(ask)
        pause.resume()
        await in_browser(look)


async def test_what_is_shown_stands_where_it_is_stored_however_fast_one_writes(tmp_path: Path, tab: Browser) -> None:
    pauses = {"p1": Pause(), "p3": Pause()}

    def answer(model_input: ModelInput) -> Script:
        said = next(message.content for message in reversed(model_input.messages) if message.role == "user")
        return [f"To {said}", pauses[said], "."] if said in pauses else [f"To {said}."]

    queued = ["p1", "p2", "To p1.", "To p2."]
    async with chatting(tmp_path, model=ScriptedModel(answer)) as (visit, host):

        def shown() -> list[str]:
            return [text for text in tab.texts(".m .content") if text]  # else it is about to be written

        def say_two() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            tab.say("p1")
            tab.say("p2")
            tab.until(lambda: shown() == ["p1", "p2", "To p1"])

        def say_two_of_which_one_waits() -> None:
            tab.until(lambda: shown() == queued)
            tab.script(
                "window.realFetch = window.fetch; window.fetch = (url, sent) =>"
                " (sent.body ?? '').includes('p4') ? Promise.reject(new TypeError('offline')) : window.realFetch(url, sent)"
            )
            tab.say("p3")
            tab.say("p4")
            tab.until(lambda: shown() == [*queued, "p3", "To p3", "p4"])

        def send_it() -> None:
            tab.until(lambda: shown() == [*queued, "p3", "To p3.", "p4"])
            tab.script("window.fetch = window.realFetch; dispatchEvent(new Event('online'))")
            tab.until(lambda: shown() == [*queued, "p3", "To p3.", "p4", "To p4."])
            assert len(tab.texts(".time")) == 1

        await in_browser(say_two)
        pauses["p1"].resume()
        await in_browser(say_two_of_which_one_waits)
        pauses["p3"].resume()
        await in_browser(send_it)
        assert [message["content"] for message in await stored(visit)] == shown()


async def test_a_cut_in_mid_reply_loses_and_doubles_nothing(tmp_path: Path, tab: Browser) -> None:
    pause = Pause()

    def answer(model_input: ModelInput) -> Script:
        said = next(message.content for message in reversed(model_input.messages) if message.role == "user")
        return ["Reply ", pause, "one"] if said == "p1" else [f"Reply to {said}"]

    async with chatting(tmp_path, model=ScriptedModel(answer)) as (visit, host):
        prompts = ["p1", "p2", "p3", "p4", "p5"]

        def cut() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            tab.say("p1")
            tab.until(lambda: tab.texts(".writing .content") == ["Reply"])
            # The network is gone: what is open breaks, and nothing comes through.
            tab.script(
                "window.realFetch = window.fetch; window.fetch = () => Promise.reject(new TypeError('offline'));"
                "dispatchEvent(new Event('online'))"  # upon which a stream is read anew
            )
            for prompt in prompts[1:]:
                tab.say(prompt)
            tab.until(lambda: tab.texts("#notice")[0] != "")
            assert tab.texts(".m.user .content") == prompts

        def mend() -> None:
            tab.script("window.fetch = window.realFetch; dispatchEvent(new Event('online'))")
            tab.until(lambda: len(tab.replies()) == 5, seconds=60)
            assert tab.texts(".m.user .content") == prompts
            assert not tab.all(".pending, .writing")

        await in_browser(cut)
        pause.resume()
        await in_browser(mend)
        said = await stored(visit)
        assert [message["content"] for message in said if message["role"] == "user"] == prompts
        assert next(message["content"] for message in said if message["role"] == "assistant") == "Reply one"


async def _identity(visit: Visit) -> tuple[str, str]:
    body = {"name": "shop", "algorithm": "HS256"}
    made = (await visit.api.post(f"{visit.path}/identity-keys", body, key=visit.keeper)).body
    return str(made["id"]), str(made["secret"])


def _token(visit: Visit, user: str, kid: str, secret: str) -> str:
    now = visit.api.services.clock() // 1_000_000
    claims = {"aud": visit.chatbot_id, "sub": user, "iat": now, "exp": now + 3600}
    return jwt.encode(claims, secret, "HS256", headers={"kid": kid})


async def test_after_a_user_has_left_no_word_of_theirs_is_there(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path) as (visit, host):
        kid, secret = await _identity(visit)
        ann, bob = (_token(visit, name, kid, secret) for name in ("ann@example.com", "bob@example.com"))

        def use(token: str) -> None:
            tab.outside()
            tab.as_page(f"gigachat.setUser(() => Promise.resolve({json.dumps(token)}))")

        def ann_then_bob() -> None:
            tab.open(f"{host.url}/plain")
            assert tab.launcher.is_enabled()
            use(ann)
            tab.open_chat()
            tab.say("Canary of Ann")
            tab.until(lambda: tab.replies() == ["Hi."])
            tab.outside()
            tab.script("gigachat.setUser(null)")
            tab.open_chat()
            tab.until(lambda: tab.all("#welcome:not([hidden])"))
            tab.outside()
            assert "Canary" not in tab.script("return JSON.stringify(localStorage)")
            use(bob)
            tab.open_chat()
            tab.say("I am Bob")
            tab.until(lambda: tab.replies() == ["Hi."])
            assert "Canary" not in tab.script("return document.documentElement.innerHTML")
            use(ann)  # without having said goodbye
            tab.inside()
            tab.until(lambda: "I am Bob" not in tab.script("return document.body.textContent"))
            tab.outside()
            assert "I am Bob" not in tab.script("return JSON.stringify(localStorage)")

        await in_browser(ann_then_bob)
        users = {message["user_id"] for message in await stored(visit) if message["role"] == "user"}
        assert users == {"ann@example.com", "bob@example.com"}


async def test_after_a_takeover_no_further_word_comes_but_a_name(tmp_path: Path, tab: Browser) -> None:
    pause = Pause()
    async with chatting(tmp_path, model=ScriptedModel(["Once upon ", pause, "a time"])) as (visit, host):

        def ask() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            tab.say("Tell me")
            tab.until(lambda: tab.texts(".writing .content") == ["Once upon"])

        await in_browser(ask)
        (conversation,) = (await visit.api.get(f"{visit.path}/conversations", key=visit.keeper)).body
        path = f"{visit.path}/conversations/{conversation['conversation_id']}"
        taken = await visit.api.post(f"{path}/takeover", {"operator": "Ann"}, key=visit.keeper)
        assert taken.status == 200
        pause.resume()

        def look() -> None:
            tab.until(lambda: tab.texts("#presence") == ["Ann is here"], seconds=3)
            tab.until(lambda: tab.replies() == ["Once upon"])
            assert tab.texts(".line") == ["Ann joined"]
            tab.say("Hello Ann")
            tab.until(lambda: len(tab.all(".m.user[data-seq]")) == 2)
            assert tab.replies() == ["Once upon"]
            assert not tab.all(".writing")

        await in_browser(look)
        body = {"conversation_id": conversation["conversation_id"], "user_id": "client:Ann", "prompt": "Hello, Ann here"}
        assert (await visit.api.post(f"{visit.path}/conversations", body, key=visit.keeper)).status == 201
        await in_browser(lambda: tab.until(lambda: tab.texts(".m.operator .content") == ["Hello, Ann here"]))


_TOGETHER, _LONGEST = 17, 8_000  # payloads, or characters, in one message, so that all are on the page that is shown first


def _lines(most: int) -> list[str]:
    """The payloads as names may hold them: in one line, and no longer than that."""
    return ["".join(c for c in payload if c.isprintable())[:most] for payload in XSS]


def _groups() -> list[str]:
    """All payloads, some in each."""
    found: list[list[str]] = [[]]
    for payload in XSS:
        if len(found[-1]) == _TOGETHER or sum(map(len, found[-1])) + len(payload) > _LONGEST:
            found.append([])
        found[-1].append(payload)
    return ["\n\n".join(group) for group in found]


async def test_no_text_runs_or_fetches_anything(tmp_path: Path, tab: Browser) -> None:
    groups = _groups()
    async with chatting(tmp_path, model=ScriptedModel(_say_again), **MATCHING) as (visit, host):
        assert (await visit.change_key(sources="full")).status == 200
        for name, group in zip(_lines(255), groups, strict=False):
            await visit.api.push(visit.path, name, group)

        def look() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            for group in groups:
                tab.say(group)
            tab.until(lambda: len(tab.replies()) == len(groups), seconds=90)
            tab.script("for (const each of document.querySelectorAll('details')) each.open = true")

        await in_browser(look)
        (conversation,) = (await visit.api.get(f"{visit.path}/conversations", key=visit.keeper)).body
        names = _lines(248)
        said = range(0, len(names), _TOGETHER)
        for number in said:
            body = {
                "conversation_id": conversation["conversation_id"],
                "user_id": f"client:{names[number].strip() or 'x'}",
                "prompt": " ".join(names[number : number + _TOGETHER]),
            }
            assert (await visit.api.post(f"{visit.path}/conversations", body, key=visit.keeper)).status == 201, names[number]

        def judge() -> None:
            tab.until(lambda: len(tab.all(".m.operator")) == len(said), seconds=60)
            assert "pwned" not in tab.script("return document.title")
            ours = tab.script("return performance.getEntriesByType('resource').map((e) => e.name)")
            assert [name for name in ours if not name.startswith(visit.api.url + "/")] == []
            assert (
                tab.script(
                    "return document.querySelectorAll('main script, main iframe, main object, main style, .content svg,"
                    " .content img, main [onerror], main [onclick], main [style]').length"
                )
                == 0
            )
            tab.outside()
            assert tab.script("return document.title") == "Shop"

        await in_browser(judge)


async def test_a_hostile_page_neither_hides_it_nor_hears_it(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path) as (_, host):

        def hide() -> None:
            tab.open(f"{host.url}/hostile")
            box = tab.script("return arguments[0].getBoundingClientRect().toJSON()", tab.launcher)
            assert (box["width"], box["height"]) == (56, 56)
            tab.open_chat()
            tab.outside()
            frame = tab.shadow.find_element(By.CSS_SELECTOR, "iframe")
            assert tab.script("return arguments[0].getBoundingClientRect().width", frame) > 300

        def listen() -> None:
            tab.open(f"{host.url}/listening")
            tab.open_chat()
            field = tab.one("#prompt")
            field.click()
            field.send_keys("secret", Keys.ENTER)
            tab.until(lambda: tab.replies() == ["Hi."])
            tab.outside()
            assert tab.script("return window.heard.filter((key) => key.length === 1 || key === 'Enter')") == []

        await in_browser(hide)
        await in_browser(listen)


async def test_bodies_and_scripts_may_come_and_go(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path) as (visit, host):

        def swap() -> None:
            tab.open(f"{host.url}/twice")
            assert tab.launcher.is_enabled()
            tab.open_chat()
            tab.say("Before")
            tab.until(lambda: tab.replies() == ["Hi."])
            tab.outside()
            tab.script("document.body.replaceWith(document.createElement('body'))")
            assert tab.hosts() == 1
            tab.inside()
            assert tab.texts(".m.user .content") == ["Before"]
            tab.outside()
            load = (
                "const script = document.createElement('script'); script.src = arguments[0];"
                "script.onload = () => (document.body.dataset.loaded = 1);"
                "Object.assign(script.dataset, arguments[1]); document.body.append(script)"
            )
            tag = (f"{visit.api.url}/widget.js", {"chatbot": visit.chatbot_id, "key": visit.key})
            tab.script(load, *tag)
            tab.one("body[data-loaded]")
            assert tab.hosts() == 1
            tab.script("gigachat.destroy()")
            assert tab.hosts() == 0
            assert tab.script("return window.gigachat === undefined")
            tab.script(load, *tag)
            tab.until(lambda: tab.hosts() == 1)
            tab.open_chat()
            tab.until(lambda: tab.texts(".m.user .content") == ["Before"])

        await in_browser(swap)


async def test_six_tabs_share_one_stream(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path, model=ScriptedModel(_say_again)) as (visit, host):
        followers = visit.api.services.events._followers

        def open_tabs() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            tab.say("first")
            tab.until(lambda: tab.replies() == ["first"])
            for _ in range(5):
                tab.driver.switch_to.new_window("tab")
                tab.open(f"{host.url}/plain")
                tab.open_chat()
                tab.until(lambda: tab.replies() == ["first"])
            tab.say("second")
            tab.until(lambda: tab.replies() == ["first", "second"])

        def read_all() -> None:
            for handle in tab.driver.window_handles:
                tab.driver.switch_to.window(handle)
                tab.inside()
                tab.until(lambda: tab.replies() == ["first", "second"])

        await in_browser(open_tabs)
        assert sum(len(each) for each in followers.values()) == 1
        await in_browser(read_all)


async def test_the_field_stays_in_sight_above_a_keyboard(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path) as (visit, host):

        def shrink() -> None:
            tab.open(f"{host.url}/bare")
            # A phone whose keyboard covers 300 pixels, as its browser tells of it.
            tab.script(
                "Object.defineProperty(screen, 'width', { value: 390 }); window.seen = new EventTarget();"
                "Object.assign(window.seen, { width: 390, height: 700, offsetLeft: 0, offsetTop: 0 });"
                "Object.defineProperty(window, 'visualViewport', { value: window.seen });"
                "const script = document.createElement('script'); Object.assign(script.dataset, arguments[1]);"
                "script.src = arguments[0] + '/widget.js'; document.body.append(script)",
                visit.api.url,
                {"chatbot": visit.chatbot_id, "key": visit.key},
            )
            tab.open_chat()
            tab.outside()
            tab.script(
                "Object.assign(window.seen, { height: 400, offsetTop: 60 }); window.seen.dispatchEvent(new Event('resize'))"
            )
            frame = tab.shadow.find_element(By.CSS_SELECTOR, "iframe")
            box = tab.until(
                lambda: (
                    (found := tab.script("return arguments[0].getBoundingClientRect().toJSON()", frame))["height"] == 400
                    and found
                )
            )
            assert (box["top"], box["width"]) == (60, 390)
            tab.inside()
            field = tab.until(
                lambda: (
                    (found := tab.script("return document.getElementById('prompt').getBoundingClientRect().toJSON()"))["bottom"]
                    <= 400
                    and found
                )
            )
            assert field["top"] > 0
            assert tab.script("return getComputedStyle(document.getElementById('prompt')).fontSize") == "16px"

        await in_browser(shrink)


async def test_storage_that_is_denied_is_done_without(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path) as (_, host):

        def chat() -> None:
            tab.open(f"{host.url}/plain")
            tab.as_page("Storage.prototype.setItem = Storage.prototype.getItem = () => { throw new DOMException('full') }")
            tab.open_chat()
            tab.say("Hello")
            tab.until(lambda: tab.replies() == ["Hi."])
            tab.say("Again")
            tab.until(lambda: tab.replies() == ["Hi.", "Hi."])

        await in_browser(chat)


async def test_what_the_page_posts_to_the_frame_is_measured_and_doubted(tmp_path: Path, tab: Browser) -> None:
    async with chatting(tmp_path) as (visit, host):

        def post() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            tab.outside()
            frame = tab.shadow.find_element(By.CSS_SELECTOR, "iframe")
            tab.script(
                "const long = 'x'.repeat(200000);"
                "for (const data of [{type: 'gigachat:start'}, {type: 'send', text: long}, long, null, 7])"
                "arguments[0].contentWindow.postMessage(data, '*'); gigachat.send(long);"
                "postMessage({type: 'gigachat:hello'}, '*'); gigachat.send('A word')",
                frame,
            )
            tab.inside()
            tab.until(lambda: tab.replies() == ["Hi."])
            assert tab.texts(".m.user .content") == ["A word"]

        await in_browser(post)
        assert [message["content"] for message in await stored(visit) if message["role"] == "user"] == ["A word"]
