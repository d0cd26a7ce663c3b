"""Measurements of search: one big chatbot in memory or, with `--database`, in the store, and there a thousand small ones, too.

Idea: what is measured is the searcher itself, in this process, on rows that it finds as documents would have left them
(`filled.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import numpy as np

from gigachat_server.bench.filled import Exact, Filler
from gigachat_server.bench.metrics import Budget, Metric, Run, metric
from gigachat_server.clock import system_clock
from gigachat_server.knowledge.search.indexes import Indexes
from gigachat_server.knowledge.search.store_search import Limits, StoreSearch
from gigachat_server.models.base import Vector
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.records import Chatbot
from gigachat_server.store import chunk_search
from gigachat_server.store.chunk_search import FoundChunk
from gigachat_server.store.database import Database, Reader, Statements
from gigachat_server.store.engines.migrate import migrate
from gigachat_server.store.engines.postgres import open_postgres
from gigachat_server.store.engines.sqlite import open_sqlite

_SMALL = 100  # chunks of a small chatbot
_LIMIT = 10  # of the nearest that are compared with the exact ones
_TICK_S = 0.002  # how often the event loop is looked at
_FIRST_RUNS = 50  # that only get used to it
_MANY = 100_000  # beyond, a search may take longer


def retrieval(run: Run) -> list[Metric]:
    """The nearest chunks and whole retrievals, in a big chatbot and, in a store that searches, in small ones."""
    url = run.new_database()
    return asyncio.run(_in_store(run, url) if url else _in_memory(run))


# --- in memory ---


async def _in_memory(run: Run) -> list[Metric]:
    database = open_sqlite(run.new_folder("retrieval"))
    async with aclosing(database):
        await migrate(database, system_clock)
        searcher = Indexes(database, HashingEmbedder(), memory_bytes=1 << 40)
        filler = Filler(database, searcher)
        asked = filler.asked(run.size.searches)
        exact = Exact([vector for _, vector in asked[:100]], limit=_LIMIT)
        began = time.monotonic()
        chatbot = await filler.fill(run.size.searched, tell=exact.see)
        run.say(f"filled a chatbot in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        stalls = await _stalls(searcher.has_documents(chatbot))
        loaded_s = time.monotonic() - began
        found: dict[int, list[tuple[str, float]]] = {}

        async def near(place: int) -> None:
            found[place] = await searcher.nearest(chatbot, asked[place][1], _LIMIT)

        async def whole(place: int) -> object:
            return await searcher.retrieve(chatbot, *asked[place], [], is_lenient=False)

        began_cpu = time.process_time()
        nearest = await _times(near, len(asked))
        near_cpu = (time.process_time() - began_cpu) * 1000 / _runs(len(asked))
        began_cpu = time.process_time()
        retrieved = await _times(whole, len(asked))
        whole_cpu = (time.process_time() - began_cpu) * 1000 / _runs(len(asked))
        recall = exact.recall({place: [id for id, _ in ids] for place, ids in found.items()})
        name, is_many = f"{run.size.searched} chunks", run.size.searched > _MANY
        run.say(f"{name}: nearest {_p(nearest, 50):.2f} ms, recall {recall:.3f}, retrieval {_p(retrieved, 50):.2f} ms")
        return [
            metric(f"nearest, {name}, p50", [_p(nearest, 50)], "ms", budget=Budget(60 if is_many else 15)),
            metric(f"nearest, {name}, p95", [_p(nearest, 95)], "ms"),
            metric(f"nearest, {name}, processor time, mean", [near_cpu], "ms"),
            metric(f"recall of the {_LIMIT} nearest, {name}", [recall], "", budget=Budget(0.97, is_most=False)),
            metric(f"retrieval, {name}, p50", [_p(retrieved, 50)], "ms", budget=None if is_many else Budget(40)),
            metric(f"retrieval, {name}, p95", [_p(retrieved, 95)], "ms"),
            metric(f"retrieval, {name}, processor time, mean", [whole_cpu], "ms"),
            metric(f"loading the index, {name}", [loaded_s], "s"),
            metric("the event loop waits meanwhile, p99", [_p(stalls, 99)], "ms"),
            metric("the event loop waits meanwhile, longest", [max(stalls)], "ms"),
            metric(f"the index in memory, {name}", [searcher.memory_bytes / 1e6], "MB"),
        ]


async def _stalls(work: Awaitable[object]) -> list[float]:
    """By how many milliseconds the event loop is late, time and again while this work goes on."""
    late: list[float] = [0.0]

    async def look() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            late.append((time.perf_counter() - began - _TICK_S) * 1000)

    looking = asyncio.create_task(look())
    try:
        await work
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
    return late


# --- in the store ---


async def _in_store(run: Run, url: str) -> list[Metric]:
    database = await open_postgres(url, connections=4)
    async with aclosing(database):
        await migrate(database, system_clock)
        embedder = HashingEmbedder()
        searcher = StoreSearch(database, embedder, small=Indexes(database, embedder, memory_bytes=512 * 1024 * 1024))
        filler = Filler(database, searcher)
        made: list[Chatbot] = []
        try:
            began = time.monotonic()
            made.append(await filler.fill(run.size.searched))
            for _ in range(run.size.small_chatbots):
                made.append(await filler.fill(_SMALL))
            run.say(f"filled {len(made)} chatbots in {time.monotonic() - began:.0f} s")
            began = time.monotonic()
            await searcher.builder.look()
            await database.apart(_analyze)
            run.say(f"indexed the big one in {time.monotonic() - began:.0f} s")
            asked = filler.asked(run.size.searches)
            return [
                *await _small(run, searcher, made[1:], asked),
                *await _big(run, database, searcher, made[0], asked),
            ]
        finally:
            for chatbot in made:
                await filler.delete(chatbot)
            await searcher.builder.look()


async def _analyze(statements: Statements) -> None:
    """What the server does in the background within a minute."""
    await statements.run("ANALYZE chunks")


async def _small(run: Run, searcher: StoreSearch, made: list[Chatbot], asked: list[tuple[str, Vector]]) -> list[Metric]:
    """Each is read into memory by the first search, and is there for the next."""

    async def whole(place: int) -> object:
        text, vector = asked[place]
        return await searcher.retrieve(made[place % len(made)], text, vector, [], is_lenient=False)

    name = f"{len(made)} chatbots x {_SMALL} chunks"
    first, again = await _times(whole, len(asked)), await _times(whole, len(asked))
    run.say(f"{name}: retrieval {_p(first, 50):.2f} ms at first, {_p(again, 50):.2f} ms again")
    return [
        metric(f"first retrieval, {name}, p50", [_p(first, 50)], "ms"),
        metric(f"retrieval, {name}, p50", [_p(again, 50)], "ms", budget=Budget(1)),
    ]


async def _big(
    run: Run, database: Database, searcher: StoreSearch, chatbot: Chatbot, asked: list[tuple[str, Vector]]
) -> list[Metric]:
    count = Limits().nearest
    found: dict[int, list[FoundChunk]] = {}

    async def near(place: int) -> None:
        async def read(reader: Reader) -> list[FoundChunk]:
            return await _nearest(reader, chatbot, asked[place][1], is_indexed=True, count=count)

        found[place] = await database.lookup("bench", read)

    async def whole(place: int) -> object:
        return await searcher.retrieve(chatbot, *asked[place], [], is_lenient=False)

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
        reader, chatbot.id, vector.tobytes(), (), models=None, is_indexed=is_indexed, nearest=count, most=0
    )


def _runs(count: int) -> int:
    """How often `_times` does its work."""
    return count + min(count, _FIRST_RUNS)


async def _times(work: Callable[[int], Awaitable[object]], count: int) -> list[float]:
    """The milliseconds of each, after a warm-up of as many as is needed."""
    for place in range(min(count, _FIRST_RUNS)):
        await work(place)
    times = []
    for place in range(count):
        began = time.perf_counter()
        await work(place)
        times.append((time.perf_counter() - began) * 1000)
    return times


def _p(times: list[float], percent: float) -> float:
    return float(np.percentile(times, percent))
