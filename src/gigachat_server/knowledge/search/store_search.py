"""Search by a store that can: the chunks stay where they are, and only what may be found is read and scored here.

Idea: a chatbot of up to `Limits.whole` chunks is held in memory (`Indexes`), where a search costs less than asking for its
rows would, and a thousand of them take no more than a few hundred megabytes. Of more, candidates are: the nearest by their
embedding, exactly up to `Limits.indexed` chunks and by the chatbot's own index beyond, and those whose terms weigh enough
together (`gate.py`). Of the most promising of them the units are read (`candidates.py`). Each then has the exact cosine of its
best unit, its exact BM25 and its exact coverage, so it scores as it would have among all chunks; what approximation costs is a
candidate that is missed (docs/decisions/0012 and 0024 have how many).

Invariant: what is remembered of a chatbot was read at its `knowledge_version`, or later. Chunks are read in one consistent
read: a document is found as it was before a push or after it, never a mix.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Sequence
from functools import partial

import msgspec
import numpy as np

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.knowledge.search.candidates import Counts, Pool
from gigachat_server.knowledge.search.fuzzy import Vocabulary
from gigachat_server.knowledge.search.gate import stem_sets
from gigachat_server.knowledge.search.index_builder import IndexBuilder
from gigachat_server.knowledge.search.retrieve import Earlier, Manner, SearchQuery, expand, judged, wanted
from gigachat_server.knowledge.search.scoring import MOST_ALIKE, Alternatives, Ranking, Search, crowding, distinct, heaviest, idf
from gigachat_server.knowledge.search.searcher import (
    OTHER_LENGTH,
    KnownChunks,
    PriorOf,
    Retrieval,
    Searcher,
    manner_of,
    no_prior,
    without_gaps,
)
from gigachat_server.knowledge.search.vector_space import searchable_with
from gigachat_server.models.base import Embedder, Vector
from gigachat_server.records import Chatbot
from gigachat_server.store import chunk_search
from gigachat_server.store.chunk_indexes import LARGEST_DIMENSION
from gigachat_server.store.chunk_search import Extent
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.work.background import Background

# Reading the terms of fewer takes less than handing them to a thread does.
_INLINE_CHUNKS = 300
_INLINE_WORDS = 10  # of a prompt: likewise, that are compared with the terms of chunks
_FURTHER = 8  # times as many chunks are looked at where too few are distinct
_ROUNDS = 4  # of looking for what was crowded out
_MOST_REMEMBERED = 10_000  # chatbots
_MOST_COUNTS = 20_000  # words of one chatbot whose counts are remembered
_MOST_TERMS = 50_000  # of one chatbot that words are compared with, as they are met


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of chunks. The defaults are measured; smaller ones let a test see what a big chatbot sees."""

    whole: int = 500  # of a chatbot: all are held in memory
    indexed: int = 5_000  # of a chatbot: from so many on, the nearest come by an index
    nearest: int = 350  # candidates by their embedding; the store's sessions look at 490 for that
    gated: int = 1_000  # candidates by their terms, as expected; twice as many at most
    compared: int = 400  # candidates whose units are read


class _Known:
    """What is remembered of a chatbot at one version of its documents. Its terms are remembered longer: they only help."""

    __slots__ = ("extent", "holding", "is_small", "version", "vocabulary")

    def __init__(self, version: int, extent: Extent, vocabulary: Vocabulary, *, is_small: bool) -> None:
        self.version = version
        self.extent = extent
        self.vocabulary = vocabulary
        self.is_small = is_small
        self.holding: dict[Alternatives, int] = {}


class StoreSearch:
    """A `Searcher` that leaves the chunks of all but small chatbots in the store; `small` searches those."""

    def __init__(
        self,
        database: Database,
        embedder: Embedder,
        small: Searcher,
        limits: Limits | None = None,
        *,
        prior_of: PriorOf = no_prior,
        background: Background | None = None,
    ) -> None:
        self._small = small
        self._database = database
        self._embedder = embedder
        self._models = searchable_with(embedder)
        self._prior_of = prior_of
        self._limits = limits or Limits()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._chunks = KnownChunks(database)
        self._counting = asyncio.Lock()
        self.builder = IndexBuilder(database, least=self._limits.indexed, background=background or Background())

    def start(self, *, is_dormant: bool = False) -> None:
        if not is_dormant:
            self.builder.start()

    async def has_documents(self, chatbot: Chatbot) -> bool:
        return chatbot.knowledge_version > 0 and (await self._current(chatbot)).extent.is_searchable

    async def retrieve(
        self,
        chatbot: Chatbot,
        text: str,
        vector: Vector,
        history: Sequence[Earlier],
        *,
        is_lenient: bool,
        nearby: int = 0,
    ) -> Retrieval:
        if (await self._current(chatbot)).is_small:
            return await self._small.retrieve(chatbot, text, vector, history, is_lenient=is_lenient, nearby=nearby)
        query = SearchQuery(text, vector, history)
        manner = manner_of(chatbot, self._embedder.scale, prior=self._prior_of(vector), is_lenient=is_lenient, nearby=nearby)
        return await without_gaps(self._database, chatbot, lambda current: self._search(current, query, manner))

    async def _search(self, chatbot: Chatbot, query: SearchQuery, manner: Manner) -> Retrieval:
        known = await self._current(chatbot)
        if known.extent.chunks is None:
            known = await self._count(chatbot)
        expanded = expand(query, sorted(known.extent.languages, key=lambda spoken: spoken or ""))
        search = wanted(query, expanded, manner)
        pool = Pool(search, known.vocabulary)
        ranking = await self._look_for(chatbot, known, search, pool)
        places, repeating = await self._distinct(chatbot.id, pool, ranking, search)
        without: list[str] = []
        for _ in range(_ROUNDS):
            if not (repeating := [document_id for document_id in repeating if document_id not in without]):
                break
            # What they crowded out of the candidates is looked for without them; that may be crowded by others again.
            without += repeating
            ranking = await self._look_for(chatbot, known, search, pool, without=without)
            places, repeating = await self._distinct(chatbot.id, pool, ranking, search)
        candidates = ranking.candidates(places, pool.standing(), softened=pool.softened, language_of=pool.languages.__getitem__)
        found = judged(
            candidates,
            query,
            expanded,
            {word: pool.idf(word) for word in expanded.bag},
            manner=manner,
            searched=known.extent.chunks or 0,
        )
        return await self._chunks.retrieval(chatbot.id, found)

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
            return await chunk_search.find_extent(reader, chatbot.id, models=self._models, most=most)

        extent = await self._database.lookup(f"extent {chatbot.id}", read)
        is_small = extent.is_small if extent.chunks is None else extent.chunks <= most
        before = self._known.get(chatbot.id)
        keeps = before is not None and len(before.vocabulary) <= _MOST_TERMS
        vocabulary = before.vocabulary if before is not None and keeps else Vocabulary()
        known = self._known[chatbot.id] = _Known(chatbot.knowledge_version, extent, vocabulary, is_small=is_small)
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

    async def _distinct(self, chatbot_id: str, pool: Pool, ranking: Ranking, search: Search) -> tuple[list[int], list[str]]:
        """The places that are handed on, and the documents whose repetitions may have crowded others out of what was found."""
        found = pool.promising
        document_ids = [chunk.document_id for chunk in found]
        vectors: dict[int, Vector] = {}
        nowhere = np.zeros(len(search.vector), dtype=np.float32)
        reach = limit = search.limit
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
                same_text=search.scale.same_text,
            )
            if len(kept) == limit or len(places) == ranking.counted:
                break
            reach *= _FURTHER
        count = Counter(document_ids)
        left_out = dict.fromkeys(document_ids[place] for place in set(places).difference(kept))
        crowd = len(found) // 2 if len(kept) == limit else MOST_ALIKE
        return kept, [document_id for document_id in left_out if count[document_id] > crowd]

    async def _look_for(
        self, chatbot: Chatbot, known: _Known, search: Search, pool: Pool, *, without: Sequence[str] = ()
    ) -> Ranking:
        """Have the pool hold what may be found, but in those documents, and rank it."""
        extent, total = known.extent, known.extent.chunks or 0
        asked = heaviest(search.bag)

        async def read(reader: Reader) -> None:
            holding = await self._holding(reader, chatbot.id, known, [*asked, *(word.alternatives for word in search.words)])
            pool.counts = Counts(total, extent.length or 0, holding)
            weights = {word: search.bag[word] * idf(total, holding[word]) for word in asked}
            found = await chunk_search.list_candidates(
                reader,
                chatbot.id,
                _bytes(search.vector),
                stem_sets(weights, holding, chunks=total, most=self._limits.gated),
                models=self._models if extent.is_mixed else None,
                is_indexed=total >= self._limits.indexed and len(search.vector) <= LARGEST_DIMENSION,
                nearest=self._limits.nearest,
                most=2 * self._limits.gated,
                without=without,
            )
            await self._refuse_other_length(reader, chatbot, found)
            adding = partial(pool.add, found, most=max(self._limits.compared, 2 * search.limit), without=without)
            await (asyncio.to_thread(adding) if len(found) > _INLINE_CHUNKS else _at_once(adding))
            pool.add_units(await chunk_search.list_units(reader, chatbot.id, pool.without_units()))
            missing = list({chunk.document_id for chunk in pool.promising} - pool.languages.keys())
            if len(extent.languages) == 1:
                pool.languages.update(dict.fromkeys(missing, extent.languages[0]))
            else:
                pool.languages.update(await chunk_search.list_languages(reader, chatbot.id, missing))

        await self._database.read(read)
        ranking = pool.ranked()
        refining = partial(ranking.refine, pool.softened)
        await (asyncio.to_thread(refining) if len(search.words) > _INLINE_WORDS else _at_once(refining))
        return ranking

    async def _holding(
        self, reader: Reader, chatbot_id: str, known: _Known, words: Sequence[Alternatives]
    ) -> dict[Alternatives, int]:
        """How many chunks hold each of these words, and others that were asked for before."""
        holding = known.holding
        unknown = [word for word in dict.fromkeys(words) if word not in holding]
        terms = list({term for word in unknown for term in word})
        held = await chunk_search.list_counts(reader, chatbot_id, terms) if terms else {}
        fresh: dict[Alternatives, int] = {}
        for word in unknown:
            there = [term for term in word if held.get(term, 0) > 0]
            if len(there) > 1:  # some chunks may hold several of them
                fresh[word] = await chunk_search.count_holding_any(reader, chatbot_id, there)
            else:
                fresh[word] = held[there[0]] if there else 0
        holding = {**holding, **fresh}
        known.holding = holding if len(holding) <= _MOST_COUNTS else {}
        return holding

    async def _refuse_other_length(self, reader: Reader, chatbot: Chatbot, found: Sequence[object]) -> None:
        """Raises `EmbedderUnavailable` if nothing was found because nothing is of the prompt's length."""
        if not found and await chunk_search.has_any(reader, chatbot.id, models=self._models):
            raise EmbedderUnavailable(OTHER_LENGTH)


async def _at_once(work: partial[None]) -> None:
    work()


def _bytes(vector: Vector) -> bytes:
    return vector.astype("<f4", copy=False).tobytes()
