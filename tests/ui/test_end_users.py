"""The AI SDK's routes for end users, with tokens of their own: chats are theirs alone, and ids that browsers make up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.access.people import ALICE, BOB, PAGE, People, people
from tests.harness import Reply, gigachat


async def _say(shop: People, bearer: str, text: str, chat: str = "chat 1", **more: Any) -> Reply:
    messages = [{"id": text, "role": "user", "parts": [{"type": "text", "text": text}]}]
    return await shop.post("/ui", {"id": chat, "messages": messages, **more}, bearer=bearer, headers=PAGE)


async def _texts(shop: People, bearer: str, chat: str = "chat%201") -> list[str]:
    reply = await shop.get(f"/ui/{chat}/messages", bearer=bearer, headers=PAGE)
    assert reply.status == 200, reply.text
    return [part["text"] for each in reply.body for part in each["parts"] if part["type"] == "text"]


async def test_a_browsers_chat_is_its_users_alone(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        alice, bob = shop.token(ALICE), shop.token(BOB)
        assert (await _say(shop, alice, "Hello of Alice")).status == 200
        assert (await _say(shop, alice, "And again")).status == 200
        assert await _texts(shop, bob) == []
        assert (await _say(shop, bob, "Hello of Bob", user_id=ALICE)).status == 200
        assert await _texts(shop, alice) == ["Hello of Alice", "Hi.", "And again", "Hi."]
        assert await _texts(shop, bob) == ["Hello of Bob", "Hi."]
        listed = (await shop.get("/conversations", bearer=alice)).body
        assert [each["user_id"] for each in listed] == [ALICE]
        own = listed[0]["conversation_id"]
        assert await _texts(shop, alice, own) == await _texts(shop, alice), "by the id that lists tell, too"
        assert await _texts(shop, bob, own) == []
        assert (await _say(shop, bob, "Me too", own)).status == 404
        assert len(await _texts(shop, alice)) == 4


async def test_a_chat_that_was_begun_elsewhere_goes_on_by_its_id(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        visitor, _ = await shop.visitor()
        conversation = await shop.ask(visitor)
        assert (await _say(shop, visitor, "More", conversation)).status == 200
        assert await _texts(shop, visitor, conversation) == ["Hello", "Hi.", "More", "Hi."]
        assert (await _say(shop, shop.token(BOB), "Mine?", conversation)).status == 404
        assert (await _say(shop, shop.token(BOB), "Mine?", "cnv_" + "0" * 22)).status == 404


async def test_a_token_for_certain_conversations_begins_no_other(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        await api.say(shop.path, "Hello", conversation="order-1", user=ALICE)
        narrowed = shop.token(ALICE, conversation_ids=["order-1"])
        assert (await _say(shop, narrowed, "More", "order-1")).status == 200
        assert (await _say(shop, narrowed, "Other", "order-2")).status == 403
