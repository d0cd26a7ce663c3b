"""Search by a store that can: the chunks stay where they are, and only what may be found is read and scored here.

Idea: a chatbot of up to `Limits.whole` chunks is held in memory (`Indexes`), where a search costs less than asking for its
rows would, and a thousand of them take no more than a few hundred megabytes. Of more, candidates are: the nearest by vector,
exactly up to `Limits.indexed` chunks and by the chatbot's own index beyond, and those whose stems weigh enough together
(`gate.py`). Every candidate has its exact cosine and its exact BM25, so it scores as it would have among all chunks; what
approximation costs is a candidate that is missed (docs/decisions/0012 has how many).

Invariant: what is remembered of a chatbot was read at its `knowledge_version`, or later. Chunks are read in one consistent
read: a document is found as it was before a push or after it, never a mix.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.knowledge.gate import stem_sets
from gigachat_server.knowledge.index_builder import IndexBuilder
from gigachat_server.knowledge.retrieve import Earlier, Expanded, SearchQuery, above_threshold, expand
from gigachat_server.knowledge.scoring import K1, MOST_ALIKE, MOST_COUNT, Ranking, crowding, distinct, heaviest, idf, length_norm
from gigachat_server.knowledge.searcher import OTHER_LENGTH, KnownChunks, Retrieval, Searcher, without_gaps
from gigachat_server.models.base import Embedder, Vector
from gigachat_server.records import Chatbot
from gigachat_server.store import chunk_search
from gigachat_server.store.chunk_indexes import LARGEST_DIMENSION
from gigachat_server.store.chunk_search import Extent, FoundChunk
from gigachat_server.store.database import Database, Reader, Tx

# Scoring fewer takes less than handing them to a thread does.
_INLINE_CHUNKS = 300
_FURTHER = 8  # times as many chunks are looked at where too few are distinct
_ROUNDS = 4  # of looking for what was crowded out
_MOST_REMEMBERED = 10_000  # chatbots
_MOST_COUNTS = 20_000  # stems of one chatbot whose counts are remembered


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of chunks. The defaults are measured; smaller ones let a test see what a big chatbot sees."""

    whole: int = 500  # of a chatbot: all are held in memory
    indexed: int = 5_000  # of a chatbot: from so many on, the nearest come by an index
    nearest: int = 100  # candidates by their vector; the store's sessions look at 140 for that
    gated: int = 1_000  # candidates by their stems, as expected; twice as many at most


class Counts(NamedTuple):
    """What BM25 knows of all chunks: how many there are, their length together, and how many hold each stem."""

    chunks: int
    length: int
    holding: Mapping[str, int]


class _Known:
    """What is remembered of a chatbot at one version of its documents."""

    __slots__ = ("extent", "holding", "is_small", "version")

    def __init__(self, version: int, extent: Extent, *, is_small: bool) -> None:
        self.version = version
        self.extent = extent
        self.is_small = is_small
        self.holding: dict[str, int] = {}


class StoreSearch:
    """A `Searcher` that leaves the chunks of all but small chatbots in the store; `small` searches those."""

    def __init__(self, database: Database, embedder: Embedder, small: Searcher, limits: Limits | None = None) -> None:
        self._small = small
        self._database = database
        self._embedder = embedder
        self._limits = limits or Limits()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._chunks = KnownChunks(database)
        self._counting = asyncio.Lock()
        self.builder = IndexBuilder(database, least=self._limits.indexed)

    def start(self) -> None:
        self.builder.start()

    async def has_documents(self, chatbot: Chatbot) -> bool:
        return chatbot.knowledge_version > 0 and (await self._current(chatbot)).extent.is_searchable

    async def retrieve(
        self, chatbot: Chatbot, text: str, vector: Vector, history: Sequence[Earlier], *, nearby: int = 0
    ) -> Retrieval:
        return await without_gaps(self._database, chatbot, lambda current: self._search(current, text, vector, history, nearby))

    async def _search(self, chatbot: Chatbot, text: str, vector: Vector, history: Sequence[Earlier], nearby: int) -> Retrieval:
        known = await self._current(chatbot)
        if known.is_small:
            return await self._small.retrieve(chatbot, text, vector, history, nearby=nearby)
        if known.extent.chunks is None:
            known = await self._count(chatbot)
        query = SearchQuery(text, vector, history)
        expanded = expand(query)
        counts, found = await self._candidates(chatbot, known, expanded)
        results = chatbot.config.documents.results
        limit = max(results.match_count, nearby)
        scored = await _scored(found, expanded, counts)
        places, repeating = await self._distinct(chatbot.id, scored, dimension=len(vector), limit=limit)
        without: list[str] = []
        for _ in range(_ROUNDS):
            if not (repeating := [document_id for document_id in repeating if document_id not in without]):
                break
            # What they crowded out of the candidates is looked for without them; that may be crowded by others again.
            without += repeating
            _, others = await self._candidates(chatbot, known, expanded, without=without)
            found = _once([*found, *others])
            scored = await _scored(found, expanded, counts)
            places, repeating = await self._distinct(chatbot.id, scored, dimension=len(vector), limit=limit)
        candidates = scored.ranking.candidates(
            places,
            holds=lambda place, stem: stem in scored.held[place],
            own_idf=scored.own_idf,
            scale=self._embedder.scale,
        )
        return await self._chunks.retrieval(
            chatbot.id,
            above_threshold(
                candidates,
                query,
                expanded.vector,
                stem_weights=scored.own_idf,
                match_count=results.match_count,
                match_threshold=results.match_threshold,
                searched=counts.chunks,
            ),
        )

    def forget(self, chatbot_id: str) -> None:
        self._known.pop(chatbot_id, None)
        self._small.forget(chatbot_id)

    async def count_out(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        await chunk_search.count_out(tx, chatbot_id, document_id)

    async def count_in(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        await chunk_search.count_in(tx, chatbot_id, document_id, least=self._limits.whole // 2)

    async def aclose(self) -> None:
        await self.builder.aclose()

    async def _current(self, chatbot: Chatbot) -> _Known:
        known = self._known.get(chatbot.id)
        if known is None or known.version != chatbot.knowledge_version:
            return await self._look(chatbot)
        self._known.move_to_end(chatbot.id)
        return known

    async def _look(self, chatbot: Chatbot) -> _Known:
        most = self._limits.whole

        async def read(reader: Reader) -> Extent:
            return await chunk_search.find_extent(reader, chatbot.id, model=self._embedder.name, most=most)

        extent = await self._database.lookup(f"extent {chatbot.id}", read)
        is_small = extent.is_small if extent.chunks is None else extent.chunks <= most
        known = self._known[chatbot.id] = _Known(chatbot.knowledge_version, extent, is_small=is_small)
        self._known.move_to_end(chatbot.id)
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return known

    async def _count(self, chatbot: Chatbot) -> _Known:
        async def body(tx: Tx) -> None:
            await chunk_search.count(tx, chatbot.id)

        async with self._counting:  # those who wait for it do not take a connection each
            if (known := await self._look(chatbot)).extent.chunks is None:
                await self._database.transaction("knowledge.count", body)
                known = await self._look(chatbot)
        return known

    async def _distinct(self, chatbot_id: str, scored: _Scored, *, dimension: int, limit: int) -> tuple[list[int], list[str]]:
        """The places that are handed on, and the documents whose repetitions may have crowded others out of what was found."""
        found, ranking = scored.found, scored.ranking
        document_ids = [chunk.document_id for chunk in found]
        vectors: dict[int, Vector] = {}
        nowhere = np.zeros(dimension, dtype=np.float32)
        reach = limit
        while True:
            places = ranking.best(reach)
            missing = [place for place in crowding(places, document_ids) if place not in vectors]
            chunks = await self._chunks.fetch(chatbot_id, [found[place].id for place in missing])
            for place in missing:
                chunk = chunks.get(found[place].id)  # None: deleted meanwhile
                vectors[place] = nowhere if chunk is None else np.frombuffer(chunk.embedding, dtype="<f4")
            kept = distinct(
                places,
                document_ids=document_ids,
                vectors=lambda wanted: np.stack([vectors[place] for place in wanted]),
                limit=limit,
            )
            if len(kept) == limit or len(places) == ranking.counted:
                break
            reach *= _FURTHER
        count = Counter(document_ids)
        left_out = dict.fromkeys(document_ids[place] for place in set(places).difference(kept))
        crowd = len(found) // 2 if len(kept) == limit else MOST_ALIKE
        return kept, [document_id for document_id in left_out if count[document_id] > crowd]

    async def _candidates(
        self, chatbot: Chatbot, known: _Known, expanded: Expanded, *, without: Sequence[str] = ()
    ) -> tuple[Counts, list[FoundChunk]]:
        extent, holding = known.extent, known.holding
        total = extent.chunks or 0
        asked = heaviest(expanded.bag)
        unknown = [stem for stem in {*asked, *expanded.own_stems} if stem not in holding]

        async def read(reader: Reader) -> tuple[dict[str, int], list[FoundChunk]]:
            fresh = await chunk_search.list_counts(reader, chatbot.id, unknown) if unknown else {}
            held = {**holding, **dict.fromkeys(unknown, 0), **fresh}
            weights = {stem: expanded.bag[stem] * idf(total, held[stem]) for stem in asked}
            found = await chunk_search.list_candidates(
                reader,
                chatbot.id,
                _bytes(expanded.vector),
                stem_sets(weights, held, chunks=total, most=self._limits.gated),
                model=self._embedder.name if extent.is_mixed else None,
                is_indexed=total >= self._limits.indexed and len(expanded.vector) <= LARGEST_DIMENSION,
                nearest=self._limits.nearest,
                most=2 * self._limits.gated,
                without=without,
            )
            await self._refuse_other_length(reader, chatbot, found)
            return held, found

        held, found = await self._database.read(read)
        known.holding = held if len(held) <= _MOST_COUNTS else {}
        return Counts(total, extent.length or 0, held), _once(found)

    async def _refuse_other_length(self, reader: Reader, chatbot: Chatbot, found: list[FoundChunk]) -> None:
        """Raises `EmbedderUnavailable` if nothing was found because nothing is of the prompt's length."""
        if not found and await chunk_search.has_any(reader, chatbot.id, model=self._embedder.name):
            raise EmbedderUnavailable(OTHER_LENGTH)


class _Scored(NamedTuple):
    """Chunks in their order, which of the query's stems each holds, and how rare each stem of the prompt itself is."""

    found: Sequence[FoundChunk]
    ranking: Ranking
    held: Sequence[Mapping[str, int]]
    own_idf: Mapping[str, float]


async def _scored(found: Sequence[FoundChunk], expanded: Expanded, counts: Counts) -> _Scored:
    run = partial(score, found, expanded, counts)
    return run() if len(found) < _INLINE_CHUNKS else await asyncio.to_thread(run)


def score(found: Sequence[FoundChunk], expanded: Expanded, counts: Counts) -> _Scored:
    """These chunks in their order, with their scores as they would be among all that were counted."""
    asked = heaviest(expanded.bag)
    wanted = frozenset((*asked, *expanded.own_stems))
    held: list[dict[str, int]] = []
    lengths: list[int] = []
    for chunk in found:
        said: dict[str, int] = {}
        length = 0
        for times, group in enumerate(chunk.stems.split("|"), 1):
            stems = group.split()
            length += times * len(stems)
            for stem in wanted.intersection(stems):
                said[stem] = min(times, MOST_COUNT)
        held.append(said)
        lengths.append(length)
    rarity = {stem: idf(counts.chunks, counts.holding.get(stem, 0)) for stem in wanted}
    weights = {stem: expanded.bag[stem] * rarity[stem] * (K1 + 1) for stem in asked}
    norms = length_norm(np.array(lengths, dtype=np.float64), chunks=counts.chunks, total=counts.length).tolist()
    bm25 = [
        sum(weights[stem] * times / (times + norm) for stem, times in said.items() if stem in weights)
        for said, norm in zip(held, norms, strict=True)
    ]
    ranking = Ranking(
        np.array([chunk.cosine for chunk in found]),
        np.array(bm25, dtype=np.float64),
        chunk_ids=[chunk.id for chunk in found],
        document_ids=[chunk.document_id for chunk in found],
    )
    return _Scored(found, ranking, held, {stem: rarity[stem] for stem in expanded.own_stems})


def _once(found: Sequence[FoundChunk]) -> list[FoundChunk]:
    return list({chunk.id: chunk for chunk in found}.values())


def _bytes(vector: Vector) -> bytes:
    return vector.astype("<f4", copy=False).tobytes()
