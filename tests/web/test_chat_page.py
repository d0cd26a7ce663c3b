"""Trying a chatbot on the page: what is streamed, what is shown again on reload, and that text stays text."""

from __future__ import annotations

import re
from pathlib import Path

from gigachat_server.errors import ModelInterrupted, ModelUnreachable
from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Script, ScriptedModel
from gigachat_server.records import ApiKey
from gigachat_server.store import keys
from gigachat_server.store.database import Reader
from gigachat_server.web.chat import SAMPLE_CHATBOT, SAMPLE_PROMPTS, SHOWN_MESSAGES
from tests.web.pages import MATCHING, Page, Pages, event_html, pages
from tests.web.payloads import XSS


def shown(site: Pages, chatbot: str, conversation: str = "c1") -> str:
    """The address of a conversation."""
    return f"/?chatbot={chatbot.removeprefix('/chatbots/')}&conversation={conversation}"


async def test_a_reply_is_streamed_and_stored_with_its_sources(tmp_path: Path) -> None:
    model = ScriptedModel(["Push it ", "**twice**."])
    async with pages(tmp_path, model=model) as site:
        chatbot = await site.api.chatbot(**MATCHING)
        await site.api.push(chatbot, "guide.md", "How to push.\n\nSend it <b>twice</b>.")
        reply = await site.visitor.say(chatbot, "How do I push?")
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        names = [name for name, _ in reply.events]
        assert (names[0], set(names[1:-2]), names[-2:]) == ("start", {"delta"}, ["message", "done"])
        (_, start), *deltas, (_, message), _ = reply.events
        assert "How do I push?" in Page(start["html"]).text
        assert "".join(delta["text"] for _, delta in deltas) == "Push it **twice**."
        assert {delta["message_id"] for _, delta in deltas} == set(start["message_ids"]) == {message["message_id"]}
        assert "Push it <strong>twice</strong>." in message["html"]
        said = Page(message["html"]).text
        assert re.search(r"1 source 1 guide\.md lines 1–3 [01]\.\d\d ", said)
        assert "Send it <b>twice</b>." in said
        stored = await site.api.messages(chatbot)
        assert [m["role"] for m in stored] == ["user", "assistant"]
        again = await site.visitor.get(shown(site, chatbot))
        for html in (start["html"], message["html"]):
            assert html.strip() in again.text


async def test_who_spoke_is_told_by_the_stored_role(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(name="Superbot")
        await site.visitor.say(chatbot, "Hello", user_id="ann")
        injected = await site.visitor.say(chatbot, "I am Bob", user_id="client:Bob of support")
        assert [name for name, _ in injected.events] == ["start", "done"]
        page = await site.visitor.get(shown(site, chatbot))
        for badge, speaker, text in (
            ("User", "ann", "Hello"),
            ("Assistant", "Superbot", "Hi."),
            ("Operator", "Bob of support", "I am Bob"),
        ):
            assert f'<span class="badge {badge.lower()}">{badge}</span>' in page.text
            assert f'<span class="speaker">{speaker}</span>' in page.text
            assert text in Page(page.text).text
        assert 'value="ann"' in page.text


async def test_alternatives_each_have_a_place(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(response={"n": 2})
        reply = await site.visitor.say(chatbot, "Hello")
        assert [name for name, _ in reply.events].count("message") == 2
        assert "alternative 2" in event_html(reply)


async def test_a_failure_says_what_happened(tmp_path: Path) -> None:
    model = ScriptedModel([ModelUnreachable()], ["Half", ModelInterrupted()])
    async with pages(tmp_path, model=model) as site:
        chatbot = await site.api.chatbot()
        failed = (await site.visitor.say(chatbot, "Hello")).events[-1]
        assert failed[0] == "error"
        assert failed[1]["code"] == "upstream_unreachable"
        assert failed[1]["type"] == "/docs#error-upstream_unreachable"
        assert not failed[1]["is_partly_stored"]
        broken = (await site.visitor.say(chatbot, "Hello?")).events[-1]
        assert (broken[1]["code"], broken[1]["is_partly_stored"]) == ("upstream_interrupted", True)
        page = Page((await site.visitor.get(shown(site, chatbot))).text).text
        assert "No reply could be made. upstream_unreachable" in page
        assert "The model broke off here." in page


async def test_what_the_api_refuses_the_page_refuses(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        for wanted in (
            {"prompt": ""},
            {"prompt": "x" * 32_001},
            {"prompt": "a\x00b"},
            {"prompt": "x", "user_id": ""},
            {"prompt": "x", "user_id": "Client:bob"},
            {"prompt": "x", "user_id": "a\nb"},
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
        assert (await site.stranger.say(chatbot, "Hello")).status == 200
        assert (await site.stranger.say(chatbot, "Hello", user_id="client:bob")).code == "forbidden"
        assert (await site.stranger.get(shown(site, chatbot))).status == 403
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
        assert (await site.visitor.say(named, "Hello")).status == 200


async def test_the_first_chatbot_is_made_here(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        assert "Make your first chatbot" in (await site.visitor.get("/")).text
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
        assert SAMPLE_PROMPTS[1] not in (await site.visitor.get(shown(site, chatbot))).text
        assert SAMPLE_PROMPTS[1] in (await site.visitor.get(f"/?chatbot={chatbot.split('/')[-1]}")).text


async def test_a_long_conversation_shows_its_newest_messages(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        for number in range(SHOWN_MESSAGES // 2 + 1):
            await site.api.say(chatbot, f"prompt number {number}.")
        page = Page((await site.visitor.get(shown(site, chatbot))).text).text
        assert "Only the newest messages are shown" in page
        assert "prompt number 0." not in page
        assert f"prompt number {SHOWN_MESSAGES // 2}." in page


async def test_ids_that_clients_make_up_lead_back_to_their_conversation(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await site.visitor.say(chatbot, "Hello from there", conversation='a/b?c&d"<😀>')
        page = await site.visitor.get(shown(site, chatbot, "a%2Fb%3Fc%26d%22%3C%F0%9F%98%80%3E"))
        assert "Hello from there" in page.text


def _say_again(model_input: ModelInput) -> Script:
    return [next(message.content for message in reversed(model_input.messages) if message.role == "user")]


async def test_text_stays_text_wherever_it_is_shown(tmp_path: Path) -> None:
    async with pages(tmp_path, model=ScriptedModel(_say_again)) as site:
        for number, payload in enumerate(XSS):
            line = "".join(c for c in payload if c.isprintable())
            chatbot = await site.api.chatbot(name=payload[:255], **MATCHING)
            await site.api.push(chatbot, payload[:255], f"text {payload}")
            reply = await site.visitor.say(chatbot, payload, user_id=line[:255], conversation=line[:200])
            await site.visitor.say(chatbot, payload, user_id=f"client:{line}"[:255], conversation=f"o{number}")
            assert reply.events[-1][0] == "done", payload
            assert Page(event_html(reply)).dangers == [], payload
            page = await site.visitor.get(shown(site, chatbot, f"o{number}"))
            assert Page(page.text).dangers == [], payload
            assert " ".join(payload.split()) in Page(page.text).text, payload
            named = await site.visitor.post("/keys", name=payload[:255])
            assert Page(named.text).dangers == [], payload
