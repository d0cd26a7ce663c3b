"""Trying a chatbot on the page: what is streamed, what is shown again on reload, and that text stays text."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from pathlib import Path

import pytest

from gigachat_server.api import sse
from gigachat_server.errors import ModelInterrupted, ModelUnreachable
from gigachat_server.language.invisible import without_misleading
from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, Script, ScriptedModel
from gigachat_server.pages.chat import SAMPLE_CHATBOT, SAMPLE_PROMPTS, SHOWN_MESSAGES
from gigachat_server.pages.views import shown_score
from gigachat_server.records import ApiKey
from gigachat_server.store import keys
from gigachat_server.store.database import Reader
from tests.pages.pages import MATCHING, Change, Page, Pages, event_html, html_of, pages
from tests.pages.payloads import XSS
from tests.test_files import uploaded

pytestmark = pytest.mark.sqlite_only  # a page sees nothing but the API, which is tested on both


def address(site: Pages, chatbot: str, conversation: str = "c1") -> str:
    """The address of a conversation."""
    return f"/?chatbot={chatbot.removeprefix('/chatbots/')}&conversation={conversation}"


async def test_a_reply_is_streamed_and_stored_with_its_sources(tmp_path: Path) -> None:
    pause = Pause()
    async with pages(tmp_path, model=ScriptedModel(["Push it ", pause, "**twice**."])) as site:
        chatbot = await site.api.chatbot(**MATCHING)
        await site.api.push(chatbot, "guide.md", "How to push.\n\nSend it <b>twice</b>.")
        said = await site.visitor.say(chatbot, "How do I push?")
        assert said.status == 201
        begun = await site.visitor.follow(chatbot, until=lambda found: found[-1].name == "delta")
        assert 'data-turn="running"' in html_of(begun, said.body["message_id"])
        pause.resume()
        place = begun[-1].place
        rest = await site.visitor.follow(chatbot, place=place, until=lambda found: found[-1].name == "change")
        deltas = [change.data for change in (*begun, *rest) if change.name == "delta"]
        assert "".join(delta["text"] for delta in deltas) in ("Push it **twice**.", "Push it ")  # the rest is in the message
        prompt, reply = rest[-1].data["messages"]
        assert {delta["message_id"] for delta in deltas} == {reply["id"]}
        assert "data-turn" not in prompt["html"]
        assert "Push it <strong>twice</strong>." in reply["html"]
        shown = Page(reply["html"]).text
        assert re.search(r"1 source 1 guide\.md lines 1–3 answers this Relevance 0\.\d\d of 1\. ", shown)
        assert "Send it twice." in shown
        again = await site.visitor.get(address(site, chatbot))
        for each in (prompt, reply):
            assert each["html"].strip() in again.text


async def test_the_page_names_documents_that_were_not_read_whole(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(**MATCHING)
        await uploaded(site.api, chatbot, "whole.txt", b"All of it.")
        assert "not fully read" not in Page((await site.visitor.get(address(site, chatbot).partition("&")[0])).text).text
        await uploaded(site.api, chatbot, "<b>old</b>.txt", "Grüße aus Köln".encode("cp1252"))
        shown = Page((await site.visitor.get(address(site, chatbot).partition("&")[0])).text).text
        assert "1 of them not fully read" in shown
        assert "<b>old</b>.txt: encoding guessed (1: cp1252)" in shown


async def test_who_spoke_is_told_by_the_stored_role(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(name="Superbot")
        await site.visitor.ask(chatbot, "Hello")
        await site.visitor.ask(chatbot, "I am Bob", operator="Bob of support")
        page = await site.visitor.get(address(site, chatbot))
        for badge, speaker, text in (
            ("User", "visitor", "Hello"),
            ("Assistant", "Superbot", "Hi."),
            ("Operator", "Bob of support", "I am Bob"),
        ):
            assert f'<span class="badge {badge.lower()}">{badge}</span>' in page.text
            assert f'<span class="speaker"><bdi>{speaker}</bdi></span>' in page.text
            assert text in Page(page.text).text


async def test_alternatives_each_have_a_place(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(response={"n": 2})
        await site.visitor.say(chatbot, "Hello")
        found = await site.visitor.follow(chatbot, until=lambda found: "alternative 2" in event_html(found))
        assert len({each["seq"] for change in found if change.name == "change" for each in change.data["messages"]}) == 3


async def test_a_failure_says_what_happened(tmp_path: Path) -> None:
    model = ScriptedModel([ModelUnreachable()], ["Half", ModelInterrupted()])
    async with pages(tmp_path, model=model) as site:
        chatbot = await site.api.chatbot()
        failed = event_html(await site.visitor.ask(chatbot, "Hello"))
        assert 'href="/docs#error-upstream_unreachable"' in failed
        assert "data-retry" in failed
        await site.visitor.ask(chatbot, "Hello?")
        page = Page((await site.visitor.get(address(site, chatbot))).text).text
        assert "The model endpoint cannot be reached. The prompt is stored. upstream_unreachable" in page
        assert "Broken off here; the text so far is kept." in page


async def test_a_prompt_that_is_sent_again_is_one_prompt(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        first = await site.visitor.say(chatbot, "Hello", key="k1")
        again = await site.visitor.say(chatbot, "Hello", key="k1")
        assert (first.status, first.body) == (again.status, again.body)
        assert (await site.visitor.say(chatbot, "Bye", key="k1")).code == "idempotency_key_reused"
        await site.visitor.follow(chatbot, until=lambda found: "Hi." in event_html(found))
        assert [message["content"] for message in await site.api.messages(chatbot)] == ["Hello", "Hi."]
        await site.stranger.sign_in(token=await site.token())
        _, secret = await site.api.services.key_ring.create(site.api.services.account.id, "other")
        await site.stranger.sign_in(key=secret)
        assert (await site.stranger.say(chatbot, "Bye", key="k1")).status == 201, "another's key is another key"


async def test_what_becomes_of_prompts_and_replies_is_shown(tmp_path: Path) -> None:
    pause = Pause()
    async with pages(tmp_path, model=ScriptedModel(["First"], ["Second ", pause, "never"])) as site:
        chatbot = await site.api.chatbot()
        await site.visitor.ask(chatbot, "Hello")
        reply = (await site.api.messages(chatbot))[-1]
        retried = await site.visitor.send("/web/chat/retry", chatbot, message_id=reply["id"], key="k")
        assert retried.status == 201
        await asyncio.wait_for(pause.reached.wait(), 10)
        queued = await site.visitor.say(chatbot, "And?")
        found = await site.visitor.follow(chatbot, until=lambda found: bool(html_of(found, queued.body["message_id"])))
        assert "Waiting for the previous reply." in Page(html_of(found, queued.body["message_id"])).text
        stopped = await site.visitor.send("/web/chat/stop", chatbot)
        assert [message["content"] for message in stopped.body] == ["Second ", "And?"]
        page = await site.visitor.get(address(site, chatbot))
        assert "Earlier reply" in page.text
        assert "Stopped here." in Page(page.text).text
        rated = await site.visitor.send("/web/chat/rate", chatbot, message_id=stopped.body[0]["id"], rating="up")
        assert rated.body["feedback"]["rating"] == "up"
        page = await site.visitor.get(address(site, chatbot))
        assert page.text.count('aria-pressed="true"') == 1
        assert (
            await site.visitor.send("/web/chat/rate", chatbot, message_id=queued.body["message_id"], rating="up")
        ).status == 422


async def test_a_takeover_silences_the_chatbot_until_release(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(interception={"release_after_minutes": 5})
        await site.visitor.ask(chatbot, "Hello")
        taken = await site.visitor.send("/web/chat/takeover", chatbot, operator="Bob <b>")
        assert taken.body["controlled_by"] == "Bob <b>"
        assert (await site.visitor.send("/web/chat/takeover", chatbot, operator="Eve")).code == "conversation_already_taken_over"
        found = await site.visitor.ask(chatbot, "Are you there?")
        assert "Left to the operator." in event_html(found)
        control = next(change.data["control"] for change in found if change.name == "change" and change.data["control"])
        assert "Bob <b> answers this conversation." in Page(control).text
        assert "Released automatically at" in Page(control).text
        assert control.strip() in (await site.visitor.get(address(site, chatbot))).text
        for other in ({}, {"operator": "Eve"}):
            refused = await site.visitor.send("/web/chat/release", chatbot, **other)
            assert refused.code == "conversation_already_taken_over", "the page asks first"
        assert (await site.visitor.send("/web/chat/release", chatbot, operator="Bob <b>")).body["controlled_by"] == "bot"
        assert "The chatbot answers." in (await site.visitor.get(address(site, chatbot))).text
        await site.api.post(f"{chatbot}/conversations/c1/handoff")
        assert "A human was requested" in (await site.visitor.get(address(site, chatbot))).text


async def test_following_ends_with_the_session_and_with_the_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.01)
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await site.visitor.ask(chatbot, "Hello")
        deleted = await site.visitor.get(f"/web/chat/events?chatbot={chatbot.split('/')[-1]}&conversation=none")
        assert (deleted.status, deleted.code) == (404, "not_found")
        following = asyncio.create_task(site.visitor.follow(chatbot, until=lambda found: found[-1].name == "gone"))
        await site.stranger.sign_in(token=await site.token())
        gone = asyncio.create_task(site.stranger.follow(chatbot, until=lambda found: found[-1].name == "gone"))
        await site.visitor.post("/logout")
        assert (await following)[-1].data["code"] == "unauthenticated"
        signed_out = await site.visitor.get(f"/web/chat/events?chatbot={chatbot.split('/')[-1]}&conversation=c1")
        assert (signed_out.status, signed_out.code) == (401, "unauthenticated")
        await site.api.call("DELETE", f"{chatbot}/conversations/c1")
        assert (await gone)[-1].data["code"] == "not_found"


async def test_what_the_api_refuses_the_page_refuses(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        for wanted in (
            {"prompt": ""},
            {"prompt": "x" * 32_001},
            {"prompt": "a\x00b"},
            {"prompt": "x", "operator": ""},
            {"prompt": "x", "operator": "bot"},
            {"prompt": "x", "operator": "a\nb"},
            {"prompt": "x", "user_id": "ann"},
            {"prompt": "x", "conversation": ".."},
            {"prompt": "x", "conversation": "c" * 256},
        ):
            reply = await site.visitor.say(chatbot, **wanted)
            assert (reply.status, reply.code) == (422, "invalid_request"), wanted
        assert (await site.api.get(f"{chatbot}/conversations")).body == []


async def test_a_key_can_do_no_more_here_than_over_the_api(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        ring, account_id = site.api.services.key_ring, site.api.services.account.id
        scopes = ("chatbots:read", "conversations:write")
        _, secret = await ring.create(account_id, "narrow", scopes=scopes)
        await site.stranger.sign_in(key=secret)
        assert (await site.stranger.say(chatbot, "Hello")).status == 201
        assert (await site.stranger.say(chatbot, "Hello", operator="bob")).code == "forbidden"
        assert (await site.stranger.send("/web/chat/takeover", chatbot, operator="bob")).code == "forbidden"
        assert (await site.stranger.send("/web/chat/release", chatbot)).code == "forbidden"
        assert (await site.stranger.get(f"/web/chat/events?chatbot={chatbot.split('/')[-1]}&conversation=c1")).code == "forbidden"
        assert (await site.stranger.get(address(site, chatbot))).status == 403
        assert (await site.stranger.post("/web/chatbots", name="x")).status == 403
        assert (await site.stranger.post("/keys", name="x")).status == 403, "a restricted key makes no keys"
        owner = next(key for key in await _keys(site) if key.name != "narrow")
        assert (await site.stranger.post("/web/keys/revoke", key_id=owner.id)).status == 403
        assert [key.name for key in await _keys(site) if key.revoked_at is not None] == []


async def _keys(site: Pages) -> list[ApiKey]:
    async def read(reader: Reader) -> list[ApiKey]:
        return await keys.list_keys(reader, site.api.services.account.id, before=None, limit=100)

    return await site.api.services.database.read(read)


async def test_the_addresses_a_chatbot_is_restricted_to_hold_here_too(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(restrictions={"ip_addresses": ["192.0.2.0/24"]})
        assert (await site.visitor.say(chatbot, "Hello")).code == "address_refused"
        named = await site.api.chatbot(restrictions={"hostnames": ["www.example.com"]})
        assert (await site.visitor.say(named, "Hello")).status == 201


async def test_restrictions_that_are_set_later_end_the_stream_before_the_next_message(tmp_path: Path) -> None:
    async with pages(tmp_path, trusted_proxies="127.0.0.1/32") as site:
        chatbot = await site.api.chatbot()
        await site.visitor.ask(chatbot, "Hello")
        inside = {"X-Forwarded-For": "192.0.2.7"}

        async def restrict_and_speak() -> None:
            restricted = {"restrictions": {"ip_addresses": ["192.0.2.0/24"]}}
            assert (await site.api.call("PATCH", chatbot, restricted)).status == 200
            said = {"conversation_id": "c1", "user_id": "ann", "prompt": "Only for inside"}
            assert (await site.api.post(f"{chatbot}/conversations", said, headers=inside)).status == 201

        speaking: list[asyncio.Task[None]] = []

        def is_over(found: list[Change]) -> bool:
            if not speaking:
                speaking.append(asyncio.create_task(restrict_and_speak()))
            return found[-1].name == "gone" or "Only for inside" in event_html(found)

        found = await site.visitor.follow(chatbot, until=is_over)
        await speaking[0]
        assert found[-1].name == "gone" and found[-1].data["code"] == "address_refused"
        assert "Only for inside" not in event_html(found)


async def test_the_first_chatbot_is_made_here(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        assert "Create your first chatbot" in (await site.visitor.get("/")).text
        made = await site.visitor.post("/web/chatbots", name="  Superbot ")
        assert made.status == 303
        page = await site.visitor.get(made.headers["Location"])
        assert "It has no documents yet" in page.text
        chatbots = (await site.api.get("/chatbots")).body
        assert [chatbot["name"] for chatbot in chatbots] == ["Superbot"]
        assert f"/chatbots/{chatbots[0]['id']}/documents" in page.text


async def test_the_sample_chatbot_suggests_prompts_until_somebody_spoke(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(name=SAMPLE_CHATBOT)
        await site.api.push(chatbot, "guide.md", "Push a document.")
        page = Page((await site.visitor.get("/")).text).text
        assert all(prompt in page for prompt in SAMPLE_PROMPTS)
        await site.visitor.say(chatbot, "Hello")
        assert SAMPLE_PROMPTS[1] not in (await site.visitor.get(address(site, chatbot))).text
        assert SAMPLE_PROMPTS[1] in (await site.visitor.get(f"/?chatbot={chatbot.split('/')[-1]}")).text


async def test_a_long_conversation_shows_its_newest_messages(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        for number in range(SHOWN_MESSAGES // 2 + 1):
            await site.api.say(chatbot, f"prompt number {number}.")
        page = Page((await site.visitor.get(address(site, chatbot))).text).text
        assert "Only the newest messages are shown" in page
        assert "prompt number 0." not in page
        assert f"prompt number {SHOWN_MESSAGES // 2}." in page


async def test_ids_that_clients_make_up_lead_back_to_their_conversation(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await site.visitor.ask(chatbot, "Hello from there", conversation='a/b?c&d"<😀>')
        page = await site.visitor.get(address(site, chatbot, "a%2Fb%3Fc%26d%22%3C%F0%9F%98%80%3E"))
        assert "Hello from there" in page.text


def _say_again(model_input: ModelInput) -> Script:
    return [next(message.content for message in reversed(model_input.messages) if message.role == "user")]


async def test_text_stays_text_wherever_it_is_shown(tmp_path: Path) -> None:
    async with pages(tmp_path, model=ScriptedModel(_say_again)) as site:
        for number, payload in enumerate(XSS):
            line = "".join(c for c in payload if c.isprintable())
            chatbot = await site.api.chatbot(name=without_misleading(payload[:255]), **MATCHING)
            await site.api.push(chatbot, line[:255], f"text {payload}")
            told = await site.visitor.ask(chatbot, payload, conversation=line[:200])
            await site.visitor.say(chatbot, payload, operator=line[:248], conversation=f"o{number}")
            assert 'class="message assistant' in event_html(told), payload
            assert Page(event_html(told)).dangers == [], payload
            page = await site.visitor.get(address(site, chatbot, f"o{number}"))
            assert Page(page.text).dangers == [], payload
            assert " ".join(payload.split()) in Page(page.text).text, payload
            named = await site.visitor.post("/keys", name=payload[:255])
            assert Page(named.text).dangers == [], payload


async def test_a_conversation_that_there_is_not_is_said_not_to_be_there(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await site.visitor.ask(chatbot, "Hello")
        assert (await site.visitor.get(address(site, chatbot))).status == 200
        missing = await site.visitor.get(address(site, chatbot, "<b>other</b>"))
        assert missing.status == 404
        assert "There is no such conversation" in Page(missing.text).text
        assert "<b>other</b>" in Page(missing.text).text
        assert 'id="composer"' not in missing.text
        fresh = await site.visitor.get(address(site, chatbot).partition("&")[0])
        assert fresh.status == 200
        assert 'id="composer"' in fresh.text


@pytest.mark.parametrize(
    ("score", "shown"), [(0.784, "0.78"), (0.994, "0.99"), (0.996, "0.996"), (0.99968, "0.9997"), (1.0, "1.00"), (0.0, "0.00")]
)
def test_a_relevance_below_one_is_not_shown_as_one(score: float, shown: str) -> None:
    assert shown_score(score) == shown


async def test_a_document_is_quoted_as_people_read_it(tmp_path: Path) -> None:
    async with pages(tmp_path, model=ScriptedModel(["It costs 9 € [1]."])) as site:
        chatbot = await site.api.chatbot(**MATCHING)
        content = "## Lamps\n\nSee [the guide](guide.md).\n\n| Lamp | Price |\n|---|---|\n| **Red** | It costs 9 € |\n"
        await site.api.push(chatbot, "lamps.md", content)
        await site.api.say(chatbot, "red lamp")
        html = (await site.visitor.get(address(site, chatbot))).text
        [excerpt] = re.findall(r'<pre class="excerpt"[^>]*>(.*?)</pre>', html, re.DOTALL)
        shown = unescape(re.sub("</?mark[^>]*>", "", excerpt)).strip().split("\n")
        assert shown == ["Lamps", "", "See the guide.", "", "Lamp · Price", "Red · It costs 9 €"]
        assert re.findall(r"<mark[^>]*>(.*?)</mark>", excerpt) == ["Red · It costs 9 €"]


async def test_a_source_says_in_words_how_relevant_it_is_and_in_numbers_when_asked(tmp_path: Path) -> None:
    async with pages(tmp_path, model=ScriptedModel(["Nine euros [1]."])) as site:
        chatbot = await site.api.chatbot(**MATCHING)
        await site.api.push(chatbot, "دليل.md", "A red lamp costs nine euros.")
        await site.api.push(chatbot, "b", "Gardens need water.")
        [reply] = await site.api.say(chatbot, "A red lamp costs nine euros?")
        html = (await site.visitor.get(address(site, chatbot))).text
        told = re.findall(r'class="relevance (\w+)" title="Relevance (\S+) of 1">([^<]+)<', html)
        scores = [source["score"] for source in reply["sources"]]
        assert [(degree, words) for degree, _, words in told] == [("high", "quoted"), ("low", "related")]
        assert [number for _, number, _ in told] == [shown_score(score) for score in scores]
        assert html.count("The quoted text is highlighted.") == 1
        assert "<bdi>دليل.md</bdi>" in html
        assert html.count('class="excerpt" tabindex="0" dir="auto"') == 2


async def test_markers_lead_to_what_they_stand_for(tmp_path: Path) -> None:
    said = "It costs nine euros [1], and lasts ten years.[1] Это лампа [1]. None [2]."
    async with pages(tmp_path, model=ScriptedModel([said])) as site:
        chatbot = await site.api.chatbot(**MATCHING)
        content = "Lamps <b>are</b> red. A lamp costs nine euros & more. It lasts ten years."
        await site.api.push(chatbot, "<i>lamps</i>", content)
        [reply] = await site.api.say(chatbot, "red lamp")
        html = (await site.visitor.get(address(site, chatbot))).text
        page = Page(html)
        assert page.dangers == []
        goals = re.findall(r'<a class="cited" href="#([^"]+)">\[1\]</a>', html)
        assert goals == [f"source-{reply['id']}-1-{at}" for at in (22, 54)] + [f"source-{reply['id']}-1"]
        assert set(goals) <= set(page.ids)
        assert len(page.ids) == len(set(page.ids))
        marked = re.findall(r"<mark id=\"[^\"]+\">(.*?)</mark>", html)
        assert [unescape(text) for text in marked] == ["A lamp costs nine euros & more.", "It lasts ten years."]
        [excerpt] = re.findall(r'<pre class="excerpt"[^>]*>(.*?)</pre>', html)
        assert unescape(re.sub("</?mark[^>]*>", "", excerpt)) == content.replace("<b>are</b>", "are")
        assert "None [2]." in page.text
