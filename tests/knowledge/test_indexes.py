"""Indexes of the embedded store: loaded part by part, and complete whenever they are asked."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest

from gigachat_server.clock import system_clock
from gigachat_server.ids import new_id
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.knowledge.extraction.extract import Extractor
from gigachat_server.knowledge.search.indexes import Indexes
from gigachat_server.knowledge.search.retrieve import Earlier
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.records import Chatbot, ChatbotConfig, DocumentsConfig, ResultsConfig
from gigachat_server.store import chatbots
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.engines.migrate import migrate
from gigachat_server.store.engines.sqlite import open_sqlite

pytestmark = pytest.mark.sqlite_only

ANYTHING = ChatbotConfig(documents=DocumentsConfig(results=ResultsConfig(match_count=1, match_threshold=0.0)))


async def a_chatbot(database: Database) -> Chatbot:
    made = Chatbot(new_id(), "account", "reading", ANYTHING, 0, 0, 0)

    async def insert(tx: Tx) -> None:
        await chatbots.insert(tx, made)

    await database.transaction("test", insert)
    return made


async def as_it_is(database: Database, chatbot: Chatbot) -> Chatbot:
    async def read(reader: Reader) -> Chatbot | None:
        return await chatbots.find(reader, chatbot.account_id, chatbot.id)

    found = await database.read(read)
    assert found is not None
    return found


async def test_an_index_loaded_in_parts_holds_every_document_as_it_is(tmp_path: Path) -> None:
    database, embedder = open_sqlite(tmp_path), HashingEmbedder()
    await migrate(database, system_clock)
    kept_up = Indexes(database, embedder, memory_bytes=1 << 30)
    ingest = Ingest(database, embedder, kept_up, system_clock, extractor=Extractor(most_characters=100_000))
    chatbot = await a_chatbot(database)

    async def best(searcher: Indexes, word: str) -> str:
        found = await searcher.retrieve(
            await as_it_is(database, chatbot), word, await embedder.embed_prompt(word), [], is_lenient=False
        )
        return found.passages[0].text if found.passages else ""

    # From one chunk to some 200, so that parts are of very different sizes.
    texts = {f"d{number}": f"Alpha{number} is here. " + "It goes on. " * (60 if number % 9 else 12_000) for number in range(40)}
    for name, text in texts.items():
        await ingest.push(await as_it_is(database, chatbot), name, text)
        if name == "d20":
            assert "Alpha7 " in await best(kept_up, "alpha7")
    await ingest.push(await as_it_is(database, chatbot), "d7", "Beta7 came instead.")
    gone = await ingest.push(await as_it_is(database, chatbot), "d9", "Soon gone: gamma9.")
    await ingest.delete(chatbot.id, gone.document.id)
    fresh = Indexes(database, embedder, memory_bytes=1 << 30)
    first = await asyncio.gather(*(best(fresh, f"alpha{number}") for number in (0, 1, 8, 39)))  # all at once
    assert [text.split(" ")[0] for text in first] == ["Alpha0", "Alpha1", "Alpha8", "Alpha39"]
    for searcher in (kept_up, fresh):
        for number in set(range(40)) - {7, 9}:
            assert f"Alpha{number} " in await best(searcher, f"alpha{number}")
        assert "Beta7" in await best(searcher, "beta7")
        assert "Alpha7" not in await best(searcher, "alpha7") and "gamma9" not in await best(searcher, "gamma9")
    await database.aclose()


async def test_a_configuration_that_is_tried_out_outlives_a_document_that_is_replaced_under_it(tmp_path: Path) -> None:
    database, embedder = open_sqlite(tmp_path), HashingEmbedder()
    await migrate(database, system_clock)
    searched, pushed = (Indexes(database, embedder, memory_bytes=1 << 30) for _ in range(2))
    ingest = Ingest(database, embedder, pushed, system_clock, extractor=Extractor(most_characters=100_000))
    chatbot = await a_chatbot(database)
    for number in range(3):
        await ingest.push(await as_it_is(database, chatbot), f"d{number}", f"Lamp {number} is old.")
    more = ChatbotConfig(documents=DocumentsConfig(results=ResultsConfig(match_count=3, match_threshold=0.0)))
    tried = msgspec.structs.replace(await as_it_is(database, chatbot), config=more)
    assert await searched.has_documents(tried)  # from here on what is in memory is older than what is stored
    await ingest.push(await as_it_is(database, chatbot), "d1", "Lamp 1 is new.")
    found = await searched.retrieve(tried, "lamp", await embedder.embed_prompt("lamp"), [], is_lenient=False)
    assert sorted(passage.text for passage in found.passages) == ["Lamp 0 is old.", "Lamp 1 is new.", "Lamp 2 is old."]
    await database.aclose()


class History(list[Earlier]):
    """Nothing said before, and which threads asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def __len__(self) -> int:
        self.threads.add(threading.get_ident())
        return 0


async def test_a_long_prompt_is_not_searched_for_on_the_event_loop(tmp_path: Path) -> None:
    database, embedder = open_sqlite(tmp_path), HashingEmbedder()
    await migrate(database, system_clock)
    indexes = Indexes(database, embedder, memory_bytes=1 << 30)
    ingest = Ingest(database, embedder, indexes, system_clock, extractor=Extractor(most_characters=100_000))
    chatbot = await a_chatbot(database)
    await ingest.push(chatbot, "lamps", "The red lamp is made of oak.")
    for prompt, is_here in (("red lamp", True), (" ".join(f"lamp{number}" for number in range(300)), False)):
        history, vector = History(), await embedder.embed_prompt(prompt)
        await indexes.retrieve(await as_it_is(database, chatbot), prompt, vector, history, is_lenient=False)
        assert (threading.get_ident() in history.threads) == is_here
        assert history.threads
    await database.aclose()
