"""How messages come to be found by their words, whatever happens to them between the steps."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gigachat_server.inbox.message_index import MessageIndex
from gigachat_server.language.terms import terms
from gigachat_server.store.database import Database, Tx
from tests.harness import Api, gigachat
from tests.turns import answering


class Interrupted:
    """A database before whose use of that number something else happens."""

    def __init__(self, database: Database, number: int, act: Callable[[], Awaitable[object]]) -> None:
        self._database, self._left, self._act = database, number, act
        self.dialect = database.dialect

    async def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            await self._act()

    async def read(self, *given: Any) -> Any:
        await self._count()
        return await self._database.read(*given)

    async def transaction(self, *given: Any) -> Any:
        await self._count()
        return await self._database.transaction(*given)


async def _found(api: Api, chatbot: str, q: str, more: str = "") -> list[str]:
    reply = await api.get(f"{chatbot}/search?q={quote(q)}&limit=100{more}")
    assert reply.status == 200, reply.text
    return [each["content"] for each in reply.body]


@pytest.mark.parametrize("number", [2, 3], ids=["before it is read", "before it is written"])
@pytest.mark.parametrize("again", [0, 1, 5])
async def test_a_conversation_that_is_made_anew_meanwhile_is_found_whole(tmp_path: Path, number: int, again: int) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        await api.services.inbox_worker.aclose()
        chatbot = await api.chatbot()
        for each in range(3):
            await api.say(chatbot, f"parcel old {each}", user="client:eve")

        async def make_anew() -> None:
            assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
            await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
            for each in range(again):
                await api.say(chatbot, f"parcel new {each}", user="client:eve")

        interrupted: Any = Interrupted(api.services.database, number, make_anew)
        await MessageIndex(interrupted).index_all()
        for each in range(again, 7):
            await api.say(chatbot, f"parcel new {each}", user="client:eve")
        await MessageIndex(api.services.database).index_all()
        assert await _found(api, chatbot, "parcel") == [f"parcel new {each}" for each in reversed(range(7))]


async def test_a_conversation_that_cannot_be_read_holds_up_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unless_poisoned(text: str, *given: Any) -> Any:
        if "poison" in text:
            raise RecursionError
        return terms(text, *given)

    monkeypatch.setattr("gigachat_server.inbox.message_index.terms", unless_poisoned)
    async with gigachat(tmp_path, model=answering({})) as api:
        await api.services.inbox_worker.aclose()
        chatbot = await api.chatbot()
        for number in range(60):  # more than are looked at together
            await api.say(chatbot, "poison parcel", conversation=f"a{number:02}", user="client:eve")
        await api.say(chatbot, "good parcel", conversation="b", user="client:eve")
        await MessageIndex(api.services.database).index_all()
        assert await _found(api, chatbot, "parcel") == ["good parcel"]
        monkeypatch.undo()
        await MessageIndex(api.services.database).index_all()
        assert len(await _found(api, chatbot, "parcel")) == 61


async def test_what_was_given_to_another_user_is_found_as_theirs(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        await api.services.inbox_worker.aclose()
        chatbot = await api.chatbot()
        chatbot_id = chatbot.rpartition("/")[2]
        await api.say(chatbot, "parcel one", user="anon")

        async def give(tx: Tx) -> None:
            for table in ("conversations", "messages"):
                await tx.run(f"UPDATE {table} SET user_id = 'ann' WHERE chatbot_id = :chatbot_id", chatbot_id=chatbot_id)

        async def give_now() -> None:
            await api.services.database.transaction("test.give", give)

        interrupted: Any = Interrupted(api.services.database, 3, give_now)
        await MessageIndex(interrupted).index_all()
        assert await _found(api, chatbot, "parcel", "&user_id=ann&role=user") == ["parcel one"]
        assert await _found(api, chatbot, "parcel", "&user_id=anon") == []


# fmt: off
WORDS = [
    "parcel", "parcels", "Köln", "koln", "E-1042", "25", "euros", "25.00", "Lieferung", "Lieferungen", "damaged",
    "damage", "return", "returned", "label", "don't", "can't", "straße", "STRASSE", "naïve", "包裹", "我的", "在哪里",
    "配送", "посылка", "посылки", "ｆｕｌｌ", "ﬁne", "3.5", "2026-11-30", "a@b.example", "x-y", "foo_bar", "👍", "°",
    "½", "İstanbul",
]
# fmt: on


async def test_three_hundred_queries_find_what_holds_all_their_words(tmp_path: Path) -> None:
    """The same on each store: what the terms of query and message say, newest first, and none once it is erased."""
    rng = random.Random(6)
    async with gigachat(tmp_path, model=answering({})) as api:
        await api.services.inbox_worker.aclose()
        chatbot, said = await api.chatbot(), []
        for number in range(80):
            said.append(" ".join(rng.choices(WORDS, k=rng.randint(1, 8))))
            await api.say(chatbot, said[-1], conversation=f"c{number % 7}", user="client:eve")
        await MessageIndex(api.services.database).index_all()
        queries = [" ".join(rng.choices(WORDS, k=rng.choice((1, 1, 2, 2, 3)))) for _ in range(300)]
        found = 0
        for q in queries:
            wanted = [text for text in reversed(said) if set(terms(q, None)) <= set(terms(text, None))]
            if terms(q, None):
                assert await _found(api, chatbot, q) == wanted, q
                found += bool(wanted)
        assert found > 150, "most find something"
        for number in range(7):
            assert (await api.call("DELETE", f"{chatbot}/conversations/c{number}")).status == 204
        for q in queries[:30]:
            assert await _found(api, chatbot, q) == [], q
