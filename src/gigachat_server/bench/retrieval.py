"""Measurements of search by the store (`--database`): one big chatbot, and a thousand small ones.

Idea: what is measured is the searcher itself, in this process, on rows that it finds as documents would have left them. Texts
are those of `texts.py`; vectors are made up, since embedding 100,000 chunks takes an hour: overlapping clusters that lie in 32
of the 384 dimensions, a prompt near one of them but further out than its chunks. (Vectors without any such order are all
about as far from a prompt as each other: no index finds the nearest of those.)
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial

import numpy as np
import numpy.typing as npt

from gigachat_server.bench.metrics import Budget, Metric, Run, metric
from gigachat_server.bench.texts import Author
from gigachat_server.clock import system_clock
from gigachat_server.errors import SetupError
from gigachat_server.ids import new_id
from gigachat_server.knowledge.chunk import split
from gigachat_server.knowledge.indexes import Indexes
from gigachat_server.knowledge.scoring import dump_stems
from gigachat_server.knowledge.store_search import Limits, StoreSearch
from gigachat_server.models.base import Vector
from gigachat_server.models.hashing_embedder import DIMENSION, HashingEmbedder
from gigachat_server.records import Chatbot, ChatbotConfig, Chunk, Document
from gigachat_server.store import chatbots, chunk_search, chunks, documents
from gigachat_server.store.chunk_search import FoundChunk
from gigachat_server.store.database import Database, Reader, Statements, Tx
from gigachat_server.store.migrate import migrate
from gigachat_server.store.postgres import open_postgres
from gigachat_server.text import stems

_EACH = 50  # chunks of a document
_SMALL = 100  # chunks of a small chatbot
_ORDERED = 32  # dimensions that the clusters lie in
_CLUSTERS = 2_000


def retrieval(run: Run) -> list[Metric]:
    """The nearest chunks and whole retrievals, in a big chatbot and in small ones."""
    if not (url := run.new_database()):
        raise SetupError("What retrieval takes on a store that searches needs --database.")
    return asyncio.run(_measure(run, url))


class _Vectors:
    """Draws vectors of chunks and of prompts."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._centres = self._draw.normal(0, 1, (_CLUSTERS, _ORDERED))
        self._spread = self._draw.normal(0, 1, (_ORDERED, DIMENSION))

    def some(self, count: int, *, distance: float = 0.6) -> npt.NDArray[np.float32]:
        centres = self._centres[self._draw.integers(0, _CLUSTERS, count)]
        points = (centres + self._draw.normal(0, distance, centres.shape)) @ self._spread
        points += self._draw.normal(0, 0.3, points.shape)
        unit: npt.NDArray[np.float32] = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
        return unit


async def _measure(run: Run, url: str) -> list[Metric]:
    vectors, author = _Vectors(11), Author(11)
    database = await open_postgres(url, connections=4)
    async with aclosing(database):
        await migrate(database, system_clock)
        embedder = HashingEmbedder()
        searcher = StoreSearch(database, embedder, small=Indexes(database, embedder, memory_bytes=512 * 1024 * 1024))
        made: list[Chatbot] = []
        try:
            began = time.monotonic()
            made.append(await _fill(database, searcher, vectors, author, chunk_count=run.size.searched))
            for _ in range(run.size.small_chatbots):
                made.append(await _fill(database, searcher, vectors, author, chunk_count=_SMALL))
            run.say(f"filled {len(made)} chatbots in {time.monotonic() - began:.0f} s")
            began = time.monotonic()
            await searcher.builder.look()
            await database.apart(_analyze)
            run.say(f"indexed the big one in {time.monotonic() - began:.0f} s")
            asked = [(text, vectors.some(1, distance=0.9)[0]) for text in author.prompts(run.size.searches)]
            return [
                *await _small(run, database, searcher, made[1:], asked),
                *await _big(run, database, searcher, made[0], asked),
            ]
        finally:
            for chatbot in made:
                await database.transaction("bench.delete", partial(_delete, chatbot=chatbot))
            await searcher.builder.look()


async def _small(
    run: Run, database: Database, searcher: StoreSearch, made: list[Chatbot], asked: list[tuple[str, Vector]]
) -> list[Metric]:
    async def near(place: int) -> object:
        async def read(reader: Reader) -> list[FoundChunk]:
            return await _nearest(reader, made[place % len(made)], asked[place][1], is_indexed=False, count=10)

        return await database.lookup("bench", read)

    async def whole(place: int) -> object:
        text, vector = asked[place]
        return await searcher.retrieve(made[place % len(made)], text, vector, [])

    name = f"{len(made)} chatbots x {_SMALL} chunks"
    nearest, retrieved = await _times(near, len(asked)), await _times(whole, len(asked))
    run.say(f"{name}: nearest {_p(nearest, 50):.2f} ms, retrieval {_p(retrieved, 50):.2f} ms")
    return [
        metric(f"nearest, {name}, p50", [_p(nearest, 50)], "ms", budget=Budget(1)),
        metric(f"retrieval, {name}, p50", [_p(retrieved, 50)], "ms"),
    ]


async def _big(
    run: Run, database: Database, searcher: StoreSearch, chatbot: Chatbot, asked: list[tuple[str, Vector]]
) -> list[Metric]:
    count = Limits().nearest
    found: dict[int, list[FoundChunk]] = {}

    async def near(place: int) -> None:
        async def read(reader: Reader) -> list[FoundChunk]:
            return await _nearest(reader, chatbot, asked[place][1], is_indexed=True, count=count)

        found[place] = await database.read(read)

    async def whole(place: int) -> object:
        return await searcher.retrieve(chatbot, *asked[place], [])

    nearest, retrieved = await _times(near, len(asked)), await _times(whole, len(asked))
    shares = []
    for place in range(min(100, len(asked))):

        async def exact(reader: Reader, place: int = place) -> list[FoundChunk]:
            return await _nearest(reader, chatbot, asked[place][1], is_indexed=False, count=10)

        wanted = {chunk.id for chunk in await database.read(exact)}
        best = sorted(found[place], key=lambda chunk: -chunk.cosine)[:10]
        shares.append(len(wanted & {chunk.id for chunk in best}) / len(wanted))
    name = f"{run.size.searched} chunks"
    recall = float(np.mean(shares))
    run.say(f"{name}: nearest {_p(nearest, 50):.2f} ms, recall {recall:.3f}, retrieval {_p(retrieved, 50):.2f} ms")
    return [
        metric(f"nearest, {name}, p50", [_p(nearest, 50)], "ms", budget=Budget(5)),
        metric(f"nearest, {name}, p95", [_p(nearest, 95)], "ms"),
        metric(f"recall of the 10 nearest, {name}", [recall], "", budget=Budget(0.97, is_most=False)),
        metric(f"retrieval, {name}, p50", [_p(retrieved, 50)], "ms", budget=Budget(40)),
        metric(f"retrieval, {name}, p95", [_p(retrieved, 95)], "ms"),
    ]


async def _nearest(reader: Reader, chatbot: Chatbot, vector: Vector, *, is_indexed: bool, count: int) -> list[FoundChunk]:
    return await chunk_search.list_candidates(
        reader, chatbot.id, vector.tobytes(), (), model=None, is_indexed=is_indexed, nearest=count, most=0
    )


async def _times(work: Callable[[int], Awaitable[object]], count: int) -> list[float]:
    """The milliseconds of each, after as many that do not count as there is to get used to."""
    for place in range(min(count, 50)):
        await work(place)
    times = []
    for place in range(count):
        began = time.perf_counter()
        await work(place)
        times.append((time.perf_counter() - began) * 1000)
    return times


def _p(times: list[float], percent: float) -> float:
    return float(np.percentile(times, percent))


# --- rows ---


async def _fill(database: Database, searcher: StoreSearch, vectors: _Vectors, author: Author, *, chunk_count: int) -> Chatbot:
    """A chatbot of that many chunks, as documents would have left it."""
    config = ChatbotConfig()
    chatbot = Chatbot(new_id(), "bench", f"bench {random.random()}", config, 0, 0, 0)  # noqa: S311 - no secret

    async def insert(tx: Tx) -> None:
        await chatbots.insert(tx, chatbot)

    await database.transaction("bench.insert", insert)
    for start in range(0, chunk_count, _EACH):
        size = min(_EACH, chunk_count - start)
        text = author.document(size)
        document = Document(chatbot.id, new_id(), f"{start}", "", "ready", None, size, len(text), HashingEmbedder.name, 0, 0)
        rows = [
            (_chunk(document, number, piece.text, vector), dump_stems(stems(piece.text)))
            for number, (piece, vector) in enumerate(zip(split(text, size=1000, overlap=200), vectors.some(size), strict=True))
        ]
        await database.transaction("bench.push", partial(_put, searcher=searcher, document=document, rows=rows))
    version = chunk_count // _EACH + 1
    return Chatbot(chatbot.id, chatbot.account_id, chatbot.name, config, version, 0, 0)


async def _put(tx: Tx, searcher: StoreSearch, document: Document, rows: list[tuple[Chunk, str]]) -> None:
    await chatbots.raise_knowledge_version(tx, document.chatbot_id)
    await chunks.replace(tx, document.chatbot_id, document.id, rows)
    await searcher.count_in(tx, document.chatbot_id, document.id)
    await documents.put(tx, document, content="", version=1)


async def _analyze(statements: Statements) -> None:
    """What the server does by itself within a minute."""
    await statements.run("ANALYZE chunks")


async def _delete(tx: Tx, chatbot: Chatbot) -> None:
    await chatbots.delete(tx, chatbot.account_id, chatbot.id)


def _chunk(document: Document, number: int, text: str, vector: Vector) -> Chunk:
    return Chunk(
        chatbot_id=document.chatbot_id,
        document_id=document.id,
        document_name=document.name,
        id=new_id(),
        number=number,
        content=text,
        line_from=1,
        line_to=1,
        embedding=vector.tobytes(),
        created_at=0,
        updated_at=0,
    )
