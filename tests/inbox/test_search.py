"""Search in what was said: found by words in any form, newest first, and gone with what is erased."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gigachat_server.inbox.message_index import MessageIndex
from tests.harness import Api, gigachat
from tests.turns import answering


async def _index(api: Api) -> None:
    await MessageIndex(api.services.database).index_all()


async def _search(api: Api, chatbot: str, q: str, more: str = "") -> list[str]:
    reply = await api.get(f"{chatbot}/search?q={quote(q)}{more}")
    assert reply.status == 200, reply.text
    return [each["content"] for each in reply.body]


SAID = {
    "c1": "My parcel from Köln is damaged, order E-1042",
    "c2": "When will the parcels arrive?",
    "c3": "Wie lange dauert die Lieferung?",
    "c4": "我的包裹在哪里",
    "c5": "I paid 25 euros for the return label",
    "c6": "To be or not to be",
}


async def _filled(api: Api) -> str:
    chatbot = await api.chatbot()
    for name, text in SAID.items():
        await api.say(chatbot, text, conversation=name, user=f"{name}@example.com")
    await _index(api)
    return chatbot


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("parcel", ["c2", "c1"]),
        ("PARCELS", ["c2", "c1"]),
        ("damaged parcel", ["c1"]),
        ("koln", ["c1"]),
        ("E-1042", ["c1"]),
        ("Lieferung", ["c3"]),
        ("包裹", ["c4"]),
        ("return label", ["c5"]),
        ('"return label"', ["c5"]),
        ('"label return"', []),
        ("parcel llama", []),
        ("the", []),
        ("to be", []),
        ("?!", []),
        ("AND OR NOT * \" ( ) : ^ - +", []),
        ("parcel\" OR 1=1 --", []),
    ],
)  # fmt: skip
async def test_messages_are_found_by_their_words(tmp_path: Path, q: str, found: list[str]) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await _filled(api)
        assert await _search(api, chatbot, q, "&role=user") == [SAID[name] for name in found]


async def test_a_search_is_narrowed_and_paged(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await _filled(api)
        assert await _search(api, chatbot, "parcel", "&role=assistant") == [f"re: {SAID[name]}" for name in ("c2", "c1")]
        assert await _search(api, chatbot, "parcel", "&role=user&user_id=c1@example.com") == [SAID["c1"]]
        page, seen = f"{chatbot}/search?q=parcel&limit=1", []
        while page:
            reply = await api.get(page)
            seen += [each["content"] for each in reply.body]
            page = reply.headers.get("Link", "").partition(">")[0].removeprefix("<")
        assert seen == await _search(api, chatbot, "parcel") and len(seen) == 4
        other = await api.chatbot()
        assert await _search(api, other, "parcel") == []
        for bad in ("", "x" * 501, "one two three four five six seven eight nine ten eleven twelve"):
            assert (await api.get(f"{chatbot}/search?q={quote(bad)}")).status == 422
        assert (await api.get(f"{chatbot}/search?q=x&role=robot")).status == 422


@pytest.mark.parametrize("how", ["conversation", "user", "chatbot"])
async def test_what_is_erased_is_not_found_even_if_it_is_indexed_meanwhile(tmp_path: Path, how: str) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "A parcel of ann", user="ann")
        await api.say(chatbot, "A parcel of bob", user="bob")
        await _index(api)
        await api.say(chatbot, "Another parcel of ann", user="ann")
        gone = {"conversation": f"{chatbot}/conversations/c1", "user": f"{chatbot}/users/ann", "chatbot": chatbot}[how]
        assert (await api.call("DELETE", gone)).status == 204
        await _index(api)
        if how == "chatbot":
            assert await _rows(api) == []
        else:
            left = ["re: A parcel of bob", "A parcel of bob"] if how == "user" else []
            assert await _search(api, chatbot, "parcel") == left
            assert len(await _rows(api)) == len(left)


async def _rows(api: Api) -> list[Any]:
    async def read(reader: Any) -> list[Any]:
        return list(await reader.all("SELECT message_id FROM message_texts"))

    return await api.services.database.read(read)


async def test_many_messages_are_indexed_once_by_several_at_once(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        await api.services.inbox_worker.aclose()  # a fifth, which the test would not wait for
        chatbot = await api.chatbot()
        for number in range(130):
            await api.say(chatbot, f"parcel {number}", user="client:eve")
        await asyncio.gather(*(_index(api) for _ in range(4)))
        assert len(await _rows(api)) == 130
        assert await _search(api, chatbot, "parcel 77") == ["parcel 77"]
        assert len(await _search(api, chatbot, "parcel", "&limit=100")) == 100


async def test_what_has_no_words_finds_nothing(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "My zebra is ill")
        await MessageIndex(api.services.database).index_all()
        for q in ("👍", "...", "-"):
            found = await api.get(f"{chatbot}/search?q={quote(q)}")
            assert (found.status, found.body) == (200, []), q
