"""End users who call OpenAI's routes themselves: as whom they speak, what they reach, what they see, and what limits them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from gigachat_server.models.fake import ScriptedModel
from tests.access.people import ALICE, BOB, PAGE, People, people
from tests.harness import Api, Reply, gigachat
from tests.openai.calls import assistant, chat, conversation_of, count, error, frames, respond, stored, user

QUOTE = "Parcels are shipped on the day of the order, if it comes in before noon."
DOCUMENT = f"{QUOTE} We ship to Norway."
PROMPT = "When are parcels shipped?"


async def names_of(api: Api, shop: People, reply: Reply) -> set[str]:
    return {each["user_id"] for each in await api.messages(shop.path, conversation_of(reply))}


async def test_an_end_user_speaks_as_themselves_whatever_else_is_claimed(tmp_path: Path) -> None:
    claims: dict[str, Any] = {"metadata": {"user_id": "client:bob"}, "user": BOB, "safety_identifier": BOB}
    headers = {**PAGE, "X-OpenWebUI-User-Id": BOB}
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        visitor, name = await shop.visitor()
        for bearer, expected in ((shop.token(), ALICE), (await shop.session(BOB), BOB), (visitor, name)):
            for ask in (chat, respond):
                reply = await ask(api, shop.path, "Hi", key=bearer, headers=headers, **claims)
                assert reply.status == 200, reply.text
                assert await names_of(api, shop, reply) == {expected}
                assert conversation_of(reply).startswith("conv_")


async def test_what_was_said_goes_on_by_each_name_and_by_its_own_user_alone(tmp_path: Path) -> None:
    model = ScriptedModel(["Re."])
    async with gigachat(tmp_path, model=model) as api:
        shop = await people(api)
        alice, bob = shop.token(), shop.token(BOB)
        first = await respond(api, shop.path, "SECRET", key=alice)
        item, conversation = first.body["output"][0]["id"], conversation_of(first)
        reference = {"type": "item_reference", "id": item}
        ways: list[tuple[Any, dict[str, Any]]] = [
            ("More", {"previous_response_id": first.body["id"]}),
            ("More", {"conversation": conversation}),
            ("More", {"headers": {"X-Conversation-Id": conversation}}),
            ("More", {"metadata": {"conversation_id": conversation}}),
            ([reference, user("More")], {}),
        ]
        refused = [(400, "previous_response_not_found"), *[(404, "not_found")] * 3, None]
        for (said, named), expected in zip(ways, refused, strict=True):
            theirs = await respond(api, shop.path, said, key=bob, **named)
            if expected is None:
                assert conversation_of(theirs) != conversation, "an id of an item that is not theirs begins a conversation"
            else:
                assert error(theirs)[:2] == expected, named
        assert not any("SECRET" in each.content for call in model.calls[1:] for each in call.messages)
        assert len(await stored(api, shop.path, conversation)) == 2
        for said, named in ways:
            own = await respond(api, shop.path, said, key=alice, **named)
            assert (own.status, conversation_of(own)) == (200, conversation), own.text
        in_chat = await chat(api, shop.path, user("SECRET"), assistant("Re.", id=item), user("More"), key=alice)
        assert conversation_of(in_chat) == conversation


async def test_a_conversation_that_changed_hands_is_its_new_users_alone(tmp_path: Path) -> None:
    """All that was said in it as an anonymous visitor, also by the ids that the visitor was told."""
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        visitor, _ = await shop.visitor()
        first = await respond(api, shop.path, "Hi", key=visitor, headers=PAGE)
        claimed = await shop.post("/sessions", {"claim": visitor}, bearer=shop.token())
        assert claimed.status == 201, claimed.text
        response = f"{shop.path}/v1/responses/{first.body['id']}"
        assert (await api.get(response, key=shop.token())).status == 200
        assert error(await api.get(response, key=shop.token(BOB)))[:2] == (404, "not_found")
        assert error(await api.get(response, key=visitor))[:2] == (401, "unauthenticated")
        on = await respond(api, shop.path, "More", key=shop.token(), previous_response_id=first.body["id"])
        assert conversation_of(on) == conversation_of(first)


async def test_an_end_user_reads_what_others_said_in_a_conversation_of_theirs(tmp_path: Path) -> None:
    """As on every other route: the conversation is what they own."""
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        hers = await respond(api, shop.path, "Hi", key=shop.token())
        staff = await respond(api, shop.path, "For her", user="colleague", conversation=conversation_of(hers))
        assert staff.status == 200
        response = f"{shop.path}/v1/responses/{staff.body['id']}"
        assert (await api.get(response, key=shop.token())).body["output"] == staff.body["output"]
        assert error(await api.get(response, key=shop.token("colleague")))[:2] == (404, "not_found")


async def test_a_token_for_certain_conversations_reaches_no_other(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        other = await respond(api, shop.path, "Hi", key=shop.token())
        await api.say(shop.path, "Hello", conversation="order-1", user=ALICE)
        narrowed = shop.token(conversation_ids=["order-1"])
        assert (await respond(api, shop.path, "More", key=narrowed, conversation="order-1")).status == 200
        assert error(await respond(api, shop.path, "New", key=narrowed))[:2] == (403, "forbidden")
        on_from_other = await respond(api, shop.path, "More", key=narrowed, previous_response_id=other.body["id"])
        assert error(on_from_other)[:2] == (400, "previous_response_not_found")
        for below in (f"responses/{other.body['id']}", f"conversations/{conversation_of(other)}/items"):
            assert error(await api.get(f"{shop.path}/v1/{below}", key=narrowed))[:2] == (404, "not_found")


async def test_what_is_the_accounts_alone_is_refused(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        at_first, body = await count(api), {"input": "Hi", "messages": [user("Hi")]}
        for path in ("embeddings", "conversations"):
            assert error(await api.post(f"{shop.path}/v1/{path}", body, key=shop.token()))[:2] == (403, "forbidden"), path
        for path in ("models", f"models/{shop.chatbot_id}"):
            assert error(await api.get(f"{shop.path}/v1/{path}", key=shop.token()))[:2] == (403, "forbidden"), path
        for path in ("chat/completions", "responses"):
            of_account = await api.post(f"/v1/{path}", {"model": shop.chatbot_id, **body}, key=shop.token())
            assert error(of_account)[:2] == (401, "unauthenticated"), path
        assert await count(api) == at_first


@pytest.mark.parametrize("sources", ["full", "titles", "none"])
async def test_a_reply_shows_as_much_of_its_sources_as_the_key_says(tmp_path: Path, sources: str) -> None:
    """And nothing that is the account's, on any route and in any form."""
    async with gigachat(tmp_path, model=ScriptedModel(["On that day [1], or so [2]."])) as api:
        shop = await people(api, documents={"results": {"match_threshold": 0}})
        await api.push(shop.path, "Shipping", DOCUMENT)
        await api.push(shop.path, "https://example.com/shipping", DOCUMENT)
        key = (await shop.post("/identity-keys", {"name": "x", "algorithm": "HS256", "sources": sources})).body
        bearer = jwt.encode(shop.claims(), key["secret"], "HS256", headers={"kid": key["id"]})
        wanted: dict[str, Any] = {"key": bearer, "metadata": {"page": "internal"}}
        streamed: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        response = await respond(api, shop.path, PROMPT, **wanted)
        below, conversation = f"{shop.path}/v1", conversation_of(response)
        answers = [
            response,
            await chat(api, shop.path, PROMPT, **wanted),
            await respond(api, shop.path, PROMPT, **wanted, stream=True),
            await chat(api, shop.path, PROMPT, **wanted, **streamed),
            await api.get(f"{below}/responses/{response.body['id']}", key=bearer),
            await api.get(f"{below}/conversations/{conversation}/items", key=bearer),
        ]
        for reply in answers:
            assert reply.status == 200, reply.text
            names = reply.text.count("Shipping") + reply.text.count("example.com/shipping")
            assert (names > 0) == (sources != "none"), reply.text
            assert (QUOTE in reply.text) == (sources == "full"), reply.text
            for word in ("internal", api.services.account.id, '"score"'):
                assert word not in reply.text, reply.text
        assert answers[4].body == response.body
        assert (response.body["usage"], response.body["temperature"], response.body["metadata"]) == (None, None, {})
        assert answers[1].body["usage"] is None
        assert [data for _, data in frames(answers[3]) if data != "[DONE]" and "usage" in data] == []
        annotations = response.body["output"][0]["content"][0]["annotations"]
        assert {each["type"] for each in annotations} == (set() if sources == "none" else {"url_citation", "file_citation"})
        whole = await respond(api, shop.path, PROMPT, metadata={"page": "internal"})
        assert QUOTE in whole.text and whole.body["usage"] and whole.body["metadata"] == {"page": "internal"}


async def test_limits_are_told_and_refuse_in_openais_form(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api, limits={"user": {"quota": 3}})
        bearer = shop.token()
        replies = [
            await respond(api, shop.path, "Hi", key=bearer, headers=PAGE),
            await chat(api, shop.path, "Hi", key=bearer, headers=PAGE),
            await chat(api, shop.path, "Hi", key=bearer, headers=PAGE, stream=True),
        ]
        for left, reply in zip((2, 1, 0), replies, strict=True):
            assert reply.headers["Ratelimit-Policy"] == '"address";q=60;w=60, "user";q=3;w=60'
            assert f'"user";r={left};t=' in reply.headers["Ratelimit"]
        at_first = await count(api)
        again: list[dict[str, Any]] = [{}, {"stream": True}, {"headers": {"X-Stainless-Retry-Count": "1"}}]
        for more in again:
            for ask in (chat, respond):
                refused = await ask(api, shop.path, "Again", key=bearer, **more)
                assert error(refused) == (429, "rate_limited", None)
                assert refused.body["error"]["type"] == "rate_limit_error"
                assert 0 < int(refused.headers["Retry-After"]) <= 60
                assert '"user";r=0' in refused.headers["Ratelimit"]
                assert "X-Should-Retry" not in refused.headers
        assert await count(api) == at_first, "what is refused leaves nothing behind"
        assert (await chat(api, shop.path, "Hi", key=shop.token(BOB))).status == 200


async def test_a_budget_that_is_spent_is_not_asked_for_again_today(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api, limits={"budgets": {"users": {"turns": 1}}})
        assert (await respond(api, shop.path, "Hi", key=shop.token())).status == 200
        refused = await respond(api, shop.path, "Hi", key=shop.token(BOB))
        assert error(refused) == (429, "budget_spent", None)
        assert refused.body["error"]["type"] == "rate_limit_error"
        assert refused.headers["X-Should-Retry"] == "false" or int(refused.headers["Retry-After"]) <= 60, "it is midnight"


async def test_a_key_has_limits_of_its_own(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(limits={"key": {"quota": 1, "window_s": 3600}})
        first = await chat(api, chatbot, "Hi")
        assert first.headers["Ratelimit"] == '"key";r=0;t=3600'
        again = await chat(api, chatbot, "Hi", headers={"X-Stainless-Retry-Count": "1"})
        assert json.loads(again.text) == first.body, "what was answered already is neither refused nor charged"
        anew = await chat(api, chatbot, "Hi")
        assert error(anew) == (429, "rate_limited", None)
        assert anew.headers["X-Should-Retry"] == "false", "none waits an hour"
        assert await count(api) == 2


async def test_a_page_sees_the_headers_of_an_answer(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        visitor, _ = await shop.visitor()
        reply = await chat(api, shop.path, "Hi", key=visitor, headers=PAGE)
        exposed = {name.strip() for name in reply.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"RateLimit", "RateLimit-Policy", "Retry-After", "X-Should-Retry", "X-Conversation-Id"} <= exposed
        elsewhere = await chat(api, shop.path, "Hi", key=visitor, headers={"Origin": "https://evil.example"})
        assert error(elsewhere)[:2] == (403, "hostname_refused")
