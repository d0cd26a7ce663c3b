"""A PostgreSQL database of a test's own, and a chatbot in it that is filled and searched past the API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from gigachat_server.clock import system_clock
from gigachat_server.ids import new_id
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.knowledge.extraction.extract import Extractor
from gigachat_server.knowledge.search.retrieve import Earlier
from gigachat_server.knowledge.search.searcher import Retrieval, Searcher
from gigachat_server.models.base import Embedder
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.records import Chatbot, ChatbotConfig, DocumentsConfig, ResultsConfig, TextSplitterConfig
from gigachat_server.store import chatbots
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.engines.migrate import migrate
from gigachat_server.store.engines.postgres import PostgresDatabase, open_postgres

# Makes the URL of an empty database of PostgreSQL, gone afterwards: the fixture of tests/knowledge/conftest.py.
NewDatabase = Callable[[], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresDatabase]:
    """A node's store."""
    database = await open_postgres(url, connections=4)
    try:
        await migrate(database, system_clock)
        yield database
    finally:
        await database.aclose()


class Library:
    """One chatbot with documents."""

    def __init__(self, database: Database, searcher: Searcher, embedder: Embedder, chatbot: Chatbot) -> None:
        self._database = database
        self._embedder = embedder
        self._ingest = Ingest(database, embedder, searcher, system_clock, extractor=Extractor(most_characters=2_000_000))
        self._chatbot = chatbot

    @property
    def id(self) -> str:
        return self._chatbot.id

    async def push(self, name: str, content: str) -> str:
        """The document's id."""
        return (await self._ingest.push(await self.chatbot(), name, content)).document.id

    async def delete(self, document_id: str) -> None:
        await self._ingest.delete(self.id, document_id)

    async def chatbot(self) -> Chatbot:
        async def read(reader: Reader) -> Chatbot | None:
            return await chatbots.find(reader, self._chatbot.account_id, self.id)

        found = await self._database.read(read)
        assert found is not None
        return found

    async def found(self, searcher: Searcher, prompt: str, history: Sequence[Earlier] = ()) -> Retrieval:
        return await searcher.retrieve(
            await self.chatbot(), prompt, await self._embedder.embed_prompt(prompt), history, is_lenient=False
        )


async def new_library(
    database: Database, searcher: Searcher, *, embedder: Embedder | None = None, chunk_size: int = 100, match_count: int = 10
) -> Library:
    """Every passage is let through."""
    config = ChatbotConfig(
        documents=DocumentsConfig(
            results=ResultsConfig(match_count=match_count, match_threshold=0),
            text_splitter=TextSplitterConfig(chunk_size=chunk_size, chunk_overlap=0),
        )
    )
    chatbot = Chatbot(new_id(), new_id(), "Superbot", config, 0, 1, 1)

    async def insert(tx: Tx) -> None:
        await chatbots.insert(tx, chatbot)

    await database.transaction("chatbot.insert", insert)
    return Library(database, searcher, embedder or HashingEmbedder(), chatbot)


async def rows(database: Database, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    async def read(reader: Reader) -> list[tuple[Any, ...]]:
        return await reader.all(sql, **parameters)

    return await database.read(read)
