"""Documents: searchable when the push returns, replaced whole, embedded once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.models.base import Matrix, Vector
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import EchoModel
from gigachat_server.store.database import Tx
from tests.harness import Api, gigachat, until
from tests.turns import rows


class CountingEmbedder(HashingEmbedder):
    """Counts what it embeds, and can be out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.passages: list[str] = []
        self.prompts: list[str] = []
        self.is_down = False

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        if self.is_down:
            raise EmbedderUnavailable
        self.passages += texts
        return await super().embed_passages(texts)

    async def embed_prompt(self, text: str) -> Vector:
        if self.is_down:
            raise EmbedderUnavailable
        self.prompts.append(text)
        return await super().embed_prompt(text)


async def when_ready(api: Api, chatbot: str) -> None:
    async def all_ready() -> bool:
        return all(d["state"] == "ready" for d in (await api.get(f"{chatbot}/documents")).body)

    await until(all_ready)


async def test_a_long_document_is_cut_with_line_numbers(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {i} speaks of topic {i}. " + "It goes on. " * 20 for i in range(20))
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        chunks = await api.push(chatbot, "long", text)
        assert [chunk["name"] for chunk in chunks] == [f"long-{i}" for i in range(len(chunks))]
        lines = text.split("\n")
        for chunk in chunks:
            content = chunk["content"].removeprefix("DOCUMENT NAME: long\n\n---\n\n")
            assert len(content) <= 1000, "the header does not count"
            where = chunk["metadata"]["loc"]["lines"]
            assert content in "\n".join(lines[where["from"] - 1 : where["to"]])
        listed = (await api.get(f"{chatbot}/documents")).body
        assert [(d["name"], d["state"], d["chunk_count"]) for d in listed] == [("long", "ready", len(chunks))]
        document = (await api.get(f"{chatbot}/documents/{chunks[0]['document_id']}")).body
        assert document["content"] == text


async def test_pushing_a_name_again_replaces_the_document(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0}})
        (first,) = await api.push(chatbot, "hours", "We open at nine.")
        (same,) = await api.push(chatbot, "hours", "We open at nine.")
        assert same == first
        assert len(embedder.passages) == 1, "identical content embeds nothing"
        (other,) = await api.push(chatbot, "hours", "We open at ten.")
        assert other["document_id"] == first["document_id"]
        assert other["id"] != first["id"]
        (reply,) = await api.say(chatbot, "When do you open?")
        assert [source["id"] for source in reply["sources"]] == [other["id"]]


async def test_only_changed_chunks_are_embedded(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    paragraphs = [f"Paragraph {i}. " + "Some words follow here. " * 30 for i in range(10)]
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot(documents={"text_splitter": {"chunk_size": 1000, "chunk_overlap": 0}})
        await api.push(chatbot, "doc", "\n\n".join(paragraphs))
        embedder.passages.clear()
        paragraphs[5] = "Paragraph 5 is another one now. " + "Some words follow here. " * 30
        await api.push(chatbot, "doc", "\n\n".join(paragraphs))
        assert len(embedder.passages) == 1


async def test_a_document_is_replaced_renamed_and_deleted_by_id(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0}})
        (chunk,) = await api.push(chatbot, "old name", "Some text.")
        await api.push(chatbot, "taken", "Other text.")
        path = f"{chatbot}/documents/{chunk['document_id']}"
        put = await api.call("PUT", path, {"name": "new name", "content": "Some text."})
        assert (put.status, put.body[0]["name"]) == (200, "new name-0")
        clash = await api.call("PUT", path, {"name": "taken", "content": "x"})
        assert (clash.status, clash.code) == (409, "document_name_taken")
        assert (await api.call("DELETE", path)).status == 204
        assert (await api.get(path)).status == 404
        assert (await api.call("DELETE", path)).status == 404
        (reply,) = await api.say(chatbot, "Some text?")
        assert [source["name"] for source in reply["sources"]] == ["taken-0"]
        assert (await api.call("PUT", path, {"name": "again", "content": "x"})).status == 404


async def test_old_citations_keep_their_text_when_the_document_goes(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0}})
        (chunk,) = await api.push(chatbot, "hours", "We open at nine.")
        (reply,) = await api.say(chatbot, "When do you open?")
        await api.call("DELETE", f"{chatbot}/documents/{chunk['document_id']}")
        (source,) = (await api.messages(chatbot))[1]["sources"]
        assert source == {**reply["sources"][0], "embedding": None}


async def test_respond_async_answers_202_and_the_document_becomes_ready(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        reply = await api.post(
            f"{chatbot}/documents", {"name": "d", "content": "Parcels ship on Monday."}, headers={"Prefer": "respond-async"}
        )
        assert reply.status == 202
        assert reply.body["state"] == "pending"
        assert reply.headers["Location"] == f"{chatbot}/documents/{reply.body['id']}"
        await when_ready(api, chatbot)
        (answer,) = await api.say(chatbot, "When do parcels ship, on Monday?")
        assert [source["name"] for source in answer["sources"]] == ["d-0"]


async def test_a_new_text_splitter_cuts_again_in_the_background(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        before = await api.push(chatbot, "doc", "Some words follow here. " * 100)
        change = {"documents": {"text_splitter": {"chunk_size": 300, "chunk_overlap": 50}}}
        assert (await api.call("PATCH", chatbot, change)).status == 200
        await when_ready(api, chatbot)
        (document,) = (await api.get(f"{chatbot}/documents")).body
        assert document["chunk_count"] > 2 * len(before)
        assert all(len(c["content"]) < 400 for c in await api.push(chatbot, "doc", "Some words follow here. " * 100))


async def test_without_an_embedder_a_push_waits_and_a_prompt_is_not_guessed(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "first", "Shops open at nine.")
        embedder.is_down = True
        reply = await api.post(f"{chatbot}/documents", {"name": "second", "content": "Parcels ship on Monday."})
        assert (reply.status, reply.body["state"]) == (202, "pending")
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "When do parcels ship?"}
        failed = await api.post(f"{chatbot}/conversations", body)
        assert (failed.status, failed.code) == (503, "embedder_unavailable")
        assert (await api.messages(chatbot))[0]["status"] == "failed", "the prompt is kept"
    embedder.is_down = False
    async with gigachat(tmp_path, embedder=embedder) as api:
        _, key = await api.services.key_ring.create(api.services.account.id, "again")
        assert (await api.get(f"{chatbot}/documents", key=key)).status == 200


async def test_one_prompt_is_one_embedding_and_none_without_documents(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        empty, full = await api.chatbot(), await api.chatbot()
        await api.push(full, "doc", "Parcels ship on Monday.")
        await api.say(empty, "Hello")
        assert embedder.prompts == []
        await api.say(full, "When do parcels ship?")
        await api.say(full, "And on Sunday?")
        assert embedder.prompts == ["When do parcels ship?", "And on Sunday?"]


async def test_what_was_pushed_is_found_by_the_next_prompt_and_by_no_other_chatbot(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        mine, other = await api.chatbot(), await api.chatbot()
        await api.push(other, "theirs", "The canary sings at midnight.")
        for i in range(20):
            await api.push(mine, f"doc {i}", f"Topic number {i} is about vegetable{i}.")
            (reply,) = await api.say(mine, f"What is topic number {i} about, vegetable{i}?", conversation=f"c{i}")
            assert reply["sources"][0]["name"] == f"doc {i}-0"
        (reply,) = await api.say(mine, "When does the canary sing?")
        assert reply["sources"] == []


async def test_parallel_pushes_of_one_name_leave_one_whole_document(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        texts = [f"Version {i}. " + f"word{i} " * 400 for i in range(8)]
        await asyncio.gather(*(api.push(chatbot, "doc", text) for text in texts))
        (document,) = (await api.get(f"{chatbot}/documents")).body
        content = (await api.get(f"{chatbot}/documents/{document['id']}")).body["content"]
        assert content in texts
        chunks = await api.push(chatbot, "doc", content)
        assert len(chunks) == document["chunk_count"]
        assert len({chunk["embedding"] for chunk in chunks}) >= 1


async def test_another_embedding_model_has_documents_embedded_anew(tmp_path: Path) -> None:
    class OtherEmbedder(HashingEmbedder):
        @property
        def name(self) -> str:  # type: ignore[override]
            return "another"

    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "doc", "Parcels ship on Monday.")
        await api.say(chatbot, "When do parcels ship, on Monday?")
    async with gigachat(tmp_path, embedder=OtherEmbedder()) as api:
        await when_ready(api, chatbot)
        (reply,) = await api.say(chatbot, "When do parcels ship, on Monday?")
        assert [source["name"] for source in reply["sources"]] == ["doc-0"]
        made = "SELECT embedding_model FROM messages WHERE embedding IS NOT NULL ORDER BY seq"
        assert await rows(api, made) == [(HashingEmbedder.name,), ("another",)]


async def test_a_document_of_a_thousand_equal_chunks_is_two_of_the_sources_and_after_its_end_none(tmp_path: Path) -> None:
    everything = {"match_count": 5, "match_threshold": 0}
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents={"results": everything, "text_splitter": {"chunk_size": 100, "chunk_overlap": 0}})
        for number in range(4):
            await api.push(chatbot, f"honest {number}", f"Lamps of kind {number} have a price.")
        flood = "\n\n".join(["Lamps at the best price, lamps at no price, a price of lamps that no other has, a price!"] * 1_000)
        pushed = await api.post(f"{chatbot}/documents?embedding=false", {"name": "flood", "content": flood})
        assert len(pushed.body) == 1_000
        (reply,) = await api.say(chatbot, "What is the price of lamps?")
        names = [source["name"] for source in reply["sources"]]
        assert sum(name.startswith("flood") for name in names) == 2
        assert len(names) == 5
        document = next(each for each in (await api.get(f"{chatbot}/documents")).body if each["name"] == "flood")
        assert (await api.call("DELETE", f"{chatbot}/documents/{document['id']}")).status == 204
        (reply,) = await api.say(chatbot, "What is the price of lamps?", conversation="c2")
        assert {source["name"].rpartition("-")[0] for source in reply["sources"]} == {f"honest {number}" for number in range(4)}


class HeldEmbedder(CountingEmbedder):
    """Embeds passages once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        await self.may.wait()
        return await super().embed_passages(texts)


async def test_what_an_earlier_version_embedded_whole_is_found_while_it_is_built_anew(tmp_path: Path) -> None:
    text = "# Shipping\n\n" + "Parcels ship on Monday. " * 20 + "\n\n# Returns\n\n" + "Goods come back within a month. " * 20
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0}})
        before = await api.push(chatbot, "doc", text)

        async def as_it_was(tx: Tx) -> None:
            await tx.run("DELETE FROM units")
            await tx.run("UPDATE chunks SET first_unit = NULL, last_unit = NULL")
            await tx.run("UPDATE documents SET embedding_model = :name, language = NULL", name=HashingEmbedder.name)

        await api.services.database.transaction("test", as_it_was)
    embedder = HeldEmbedder()
    async with gigachat(tmp_path, embedder=embedder, model=EchoModel()) as api:
        (reply,) = await api.say(chatbot, "When do parcels ship?")
        assert {source["id"] for source in reply["sources"]} == {chunk["id"] for chunk in before}
        assert "ready" not in {document["state"] for document in (await api.get(f"{chatbot}/documents")).body}
        embedder.may.set()
        await when_ready(api, chatbot)
        assert len(embedder.passages) > len(before), "units are smaller than chunks"
        assert len(embedder.passages) == len(set(embedder.passages))
        (reply,) = await api.say(chatbot, "When do parcels ship?", conversation="c2")
        assert {source["id"] for source in reply["sources"]}.isdisjoint(chunk["id"] for chunk in before)
        assert "Parcels ship" in reply["sources"][0]["content"]
        again = (await api.get(f"{chatbot}/documents")).body
        assert [document["state"] for document in again] == ["ready"]
    later = CountingEmbedder()
    async with gigachat(tmp_path, embedder=later, model=EchoModel()) as api:
        await when_ready(api, chatbot)
        await api.push(chatbot, "doc", text)
        assert later.passages == [], "it is built once"
