"""What is deleted or changed while something is on its way does not come back, nor land elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest

from gigachat_server.chat import conversations
from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.models.base import Matrix, ModelInput
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import Pause, ScriptedModel
from tests.harness import Api, gigachat, until


class HeldEmbedder(HashingEmbedder):
    """Stops at texts that say so, until somebody resumes it."""

    def __init__(self) -> None:
        super().__init__()
        self.pause = Pause()

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        if any("hold" in text for text in texts):
            await self.pause.hold()
        return await super().embed_passages(texts)


def held_first(pause: Pause) -> ScriptedModel:
    def script(model_input: ModelInput) -> list[str | Pause]:
        return [pause, "for the first"] if "slow" in model_input.messages[-1].content else ["for the second"]

    return ScriptedModel(script)


async def post(api: Api, chatbot: str, prompt: str, user: str) -> int:
    body = {"conversation_id": "c1", "user_id": user, "prompt": prompt}
    return (await api.post(f"{chatbot}/conversations", body)).status


async def test_a_reply_does_not_land_in_a_conversation_that_was_made_anew(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=held_first(pause)) as api:
        chatbot = await api.chatbot()
        first = asyncio.create_task(post(api, chatbot, "slow", "ann"))
        await pause.reached.wait()
        assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
        await api.say(chatbot, "Hello", user="bob")
        pause.resume()
        assert await first == 404
        assert [m["content"] for m in await api.messages(chatbot)] == ["Hello", "for the second"]


async def test_what_an_erased_user_asked_is_not_answered_after_all(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=held_first(pause)) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello", user="bob")
        asked = asyncio.create_task(post(api, chatbot, "slow", "ann"))
        await pause.reached.wait()
        assert (await api.call("DELETE", f"{chatbot}/users/ann")).status == 204
        pause.resume()
        assert await asked == 404
        assert [m["user_id"] for m in await api.messages(chatbot)] == ["bob", "bob"]


async def test_a_prompt_that_arrives_after_its_chatbot_went_is_not_stored(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        raw = json.dumps({"conversation_id": "c1", "user_id": "u", "prompt": "Hello"}).encode()
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def dripping() -> AsyncIterator[bytes]:
            yield raw[:5]
            begun.set()
            await go_on.wait()
            yield raw[5:]

        async with aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
        ) as session:
            asked = asyncio.create_task(session.post(f"{api.url}{chatbot}/conversations", data=dripping()))
            await begun.wait()
            assert (await api.call("DELETE", chatbot)).status == 204
            go_on.set()
            async with await asked as response:
                assert response.status == 404


async def test_a_document_deleted_while_it_is_replaced_stays_deleted(tmp_path: Path) -> None:
    embedder = HeldEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot()
        (chunk,) = await api.push(chatbot, "doc", "Some text.")
        path = f"{chatbot}/documents/{chunk['document_id']}"
        put = asyncio.create_task(api.call("PUT", path, {"name": "doc", "content": "hold this"}))
        await embedder.pause.reached.wait()
        assert (await api.call("DELETE", path)).status == 204
        embedder.pause.resume()
        assert (await put).status == 404
        assert (await api.get(f"{chatbot}/documents")).body == []


async def test_a_document_renamed_while_it_waits_keeps_its_new_name(tmp_path: Path) -> None:
    embedder = HeldEmbedder()
    later = {"Prefer": "respond-async"}
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot()
        body = {"name": "old", "content": "hold this"}
        document = (await api.post(f"{chatbot}/documents", body, headers=later)).body
        await embedder.pause.reached.wait()
        path = f"{chatbot}/documents/{document['id']}"
        renamed = await api.call("PUT", path, {**body, "name": "new"}, headers=later)
        assert renamed.status == 202
        embedder.pause.resume()

        async def is_ready() -> bool:
            return bool((await api.get(path)).body["state"] == "ready")

        await until(is_ready)
        assert [d["name"] for d in (await api.get(f"{chatbot}/documents")).body] == ["new"]


async def test_text_that_was_shown_when_the_server_stops_is_kept(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Half a", pause, " reply"])) as api:
        chatbot = await api.chatbot()
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello", "stream": True}
        streaming = asyncio.create_task(api.post(f"{chatbot}/conversations", body))
        await pause.reached.wait()
        await api.services.turns.drain(0)
        events = (await streaming).events
        assert [name for name, _ in events] == ["start", "delta", "error"]
        assert events[-1][1]["code"] == "shutting_down"
        assert [(m["content"], m["status"]) for m in await api.messages(chatbot)] == [
            ("Hello", "completed"),
            ("Half a", "incomplete"),
        ]


async def test_an_embedder_that_changes_its_length_is_unavailable_not_a_bug(tmp_path: Path) -> None:
    class Shorter(HashingEmbedder):
        async def embed_passages(self, texts: Sequence[str]) -> Matrix:
            return (await super().embed_passages(texts))[:, :100]

    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "one", "Parcels ship on Monday.")
    async with gigachat(tmp_path, embedder=Shorter()) as api:
        await api.push(chatbot, "two", "Shops open at nine.")
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "When do parcels ship?"}
        reply = await api.post(f"{chatbot}/conversations", body)
        assert (reply.status, reply.code) == (503, EmbedderUnavailable.code)


@pytest.mark.parametrize("depth", [33, 400, 3000])
async def test_deep_metadata_is_422_however_deep(tmp_path: Path, depth: int) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        raw = b'{"conversation_id":"c","user_id":"u","prompt":"p","metadata":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        assert (await api.post(f"{chatbot}/conversations", raw=raw)).status in (400, 422)
        assert conversations._is_deeper({"a": {"b": 1}}, 1)
        assert not conversations._is_deeper({"a": {"b": 1}}, 2)


async def test_a_large_wrong_body_is_refused_by_its_first_fault(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        raw = b'{"name":"a","content":"b","x":[' + b"[]," * 100_000 + b"[]]}"
        reply = await api.post(f"{chatbot}/documents", raw=raw)
        assert (reply.status, len(reply.body["errors"])) == (422, 1)


async def test_a_document_of_too_many_chunks_is_refused(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents={"text_splitter": {"chunk_size": 50, "chunk_overlap": 49}})
        reply = await api.post(f"{chatbot}/documents", {"name": "a", "content": "word " * 100_000})
        assert (reply.status, reply.fields) == (422, {"content"})


async def test_sources_of_one_reply_are_bounded(tmp_path: Path) -> None:
    settings = {"results": {"match_count": 100, "match_threshold": 0.0}, "text_splitter": {"chunk_size": 20_000}}
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents=settings)
        await api.push(chatbot, "long", " ".join(f"word{i}" for i in range(120_000)))
        (reply,) = await api.say(chatbot, "word1 word2?")
        assert sum(len(source["content"]) for source in reply["sources"]) < 250_000
