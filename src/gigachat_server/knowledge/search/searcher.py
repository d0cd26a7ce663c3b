"""What answers "which passages of this chatbot's documents match the prompt?", and what every such searcher shares.

Idea: where a process has the store to itself, it keeps the chunks it searches in memory (`indexes.py`); where many nodes share
a store that can search, the store does it (`store_search.py`). Both find candidates and score them alike (`scoring.py`); the
chunks of those that are handed on are fetched here.

Invariant: a search sees at least the `knowledge_version` of the chatbot it is given, so a prompt sent after a push was
acknowledged sees what was pushed, whichever node took the push.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from gigachat_server.knowledge.search.retrieve import Earlier, Manner, SearchResult
from gigachat_server.knowledge.search.scoring import Candidate
from gigachat_server.models.base import Passage, RelevanceScale, Vector
from gigachat_server.records import Chatbot, Chunk
from gigachat_server.store import chatbots, chunks
from gigachat_server.store.database import Database, Reader, Tx

# What a prompt's vector says of the prompt alone: nearer to what is asked of documents than to other talk, the greater it is.
PriorOf = Callable[[Vector], float]

OTHER_LENGTH = "The embedding model makes vectors of another length than it did."

_TRIES = 5
_CACHED_CHARACTERS = 20_000_000
_MOST_CHARACTERS = 200_000  # of the passages of one retrieval


def no_prior(vector: Vector) -> float:
    """Where nothing is known of prompts."""
    return 0.0


class Retrieval(msgspec.Struct, frozen=True):
    """One search for a turn: the passages above the threshold, best first, and those nearby that were asked for.

    `chunks` are those of the passages and of the ones nearby, in a row.
    """

    found: SearchResult
    passages: tuple[Passage, ...]
    chunks: tuple[Chunk, ...]
    nearby: tuple[Passage, ...] = ()
    has_gaps: bool = False  # something that was found had been replaced before it was fetched

    def matching(self, least: float) -> Retrieval:
        """Where anything matches, without what is nearby and less relevant than that: none of it becomes a source."""
        if not self.passages:
            return self
        matched = len(self.passages)
        kept = [place for place, passage in enumerate(self.nearby) if passage.score >= least]
        return msgspec.structs.replace(
            self,
            nearby=tuple(self.nearby[place] for place in kept),
            chunks=(*self.chunks[:matched], *(self.chunks[matched + place] for place in kept)),
        )


def scale_for(chatbot: Chatbot, scale: RelevanceScale) -> RelevanceScale:
    """The embedder's scale, or the one without a prior where prompts may be of any kind."""
    is_general = chatbot.config.documents.results.prompts == "any"
    return scale.general if is_general and scale.general is not None else scale


def manner_of(chatbot: Chatbot, scale: RelevanceScale, *, prior: float, is_lenient: bool, nearby: int) -> Manner:
    """How this chatbot's passages are judged."""
    results = chatbot.config.documents.results
    return Manner(
        scale=scale_for(chatbot, scale),
        match_count=results.match_count,
        match_threshold=results.match_threshold,
        is_lenient=is_lenient,
        prior=prior,
        nearby=nearby,
    )


class Searcher(Protocol):
    """Searches the documents of any chatbot."""

    def start(self, *, is_dormant: bool = False) -> None:
        """What it keeps up in the background begins; not `is_dormant`, in a process that is no node."""

    async def has_documents(self, chatbot: Chatbot) -> bool:
        """Whether anything can be found at all; without documents a prompt needs no vector."""

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
        """What the chatbot's documents hold for this prompt. Raises `EmbedderUnavailable` for a vector of another length.

        `is_lenient`: a model that generates reads it, and judges for itself. `nearby`: of the best so many passages the others
        are told of, too.
        """

    def forget(self, chatbot_id: str) -> None:
        """Free the memory of a deleted chatbot."""

    async def count_out(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        """The document's chunks are about to leave, in this transaction, which has changed the chatbot's row before."""

    async def count_in(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        """The document's chunks are in their place, in this transaction, which has changed the chatbot's row before."""

    async def aclose(self) -> None: ...


async def without_gaps(database: Database, chatbot: Chatbot, search: Callable[[Chatbot], Awaitable[Retrieval]]) -> Retrieval:
    """What the search finds, again while documents are replaced under it: a prompt sees the old document or the new one.

    Only the version of the documents is read again: the configuration may be one that is tried out and not stored.
    """
    retrieval = await search(chatbot)
    for _ in range(_TRIES - 1):
        if not retrieval.has_gaps:
            break
        if fresh := await chatbots.find_remembered_of_any_account(database, chatbot.id, exactly=True):
            chatbot = msgspec.structs.replace(chatbot, knowledge_version=fresh.knowledge_version)
        retrieval = await search(chatbot)
    return retrieval


class KnownChunks:
    """The chunks that were handed on lately."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._chunks: OrderedDict[str, Chunk] = OrderedDict()
        self._characters = 0

    async def retrieval(self, chatbot_id: str, found: SearchResult) -> Retrieval:
        """What was found, with its chunks. Those deleted meanwhile are left out."""
        candidates = [*found.candidates, *found.nearby]
        by_id = await self.fetch(chatbot_id, [candidate.chunk_id for candidate in candidates])
        has_gaps = any(candidate.chunk_id not in by_id for candidate in candidates)
        pairs = _bounded([(c, by_id[c.chunk_id]) for c in candidates if c.chunk_id in by_id])
        passages = tuple(_passage(candidate, chunk) for candidate, chunk in pairs)
        matched = sum(candidate in found.candidates for candidate, _ in pairs)
        return Retrieval(
            found, passages[:matched], tuple(chunk for _, chunk in pairs), nearby=passages[matched:], has_gaps=has_gaps
        )

    async def fetch(self, chatbot_id: str, ids: list[str]) -> dict[str, Chunk]:
        """Those that still exist. A chunk never changes under its id, so what is cached is right."""
        found = {id: self._chunks[id] for id in ids if id in self._chunks}
        missing = [id for id in ids if id not in found]
        if missing:

            async def read(reader: Reader) -> list[Chunk]:
                return await chunks.list_by_id(reader, chatbot_id, missing)

            for chunk in await self._database.read(read):
                if chunk.id not in self._chunks:
                    self._characters += len(chunk.content)
                found[chunk.id] = self._chunks[chunk.id] = chunk
        for id in found:
            self._chunks.move_to_end(id)
        while self._characters > _CACHED_CHARACTERS:
            self._characters -= len(self._chunks.popitem(last=False)[1].content)
        return found


def _passage(candidate: Candidate, chunk: Chunk) -> Passage:
    return Passage(
        chunk_id=chunk.id,
        document_id=chunk.document_id,
        document_name=chunk.document_name,
        number=chunk.number,
        text=chunk.content,
        line_from=chunk.line_from,
        line_to=chunk.line_to,
        cosine=candidate.cosine,
        lexical=candidate.lexical,
        coverage=candidate.coverage,
        is_foreign=candidate.is_foreign,
        prior=candidate.prior,
        margin=candidate.margin,
        identified=candidate.identified,
        units=candidate.units,
        rank_score=candidate.rank_score,
        score=candidate.score,
    )


def _bounded(pairs: list[tuple[Candidate, Chunk]]) -> list[tuple[Candidate, Chunk]]:
    """The best, as many as are worth handing on: sources are stored and sent with every reply."""
    characters = 0
    for place, (_, chunk) in enumerate(pairs):
        characters += len(chunk.content)
        if characters > _MOST_CHARACTERS and place > 0:
            return pairs[:place]
    return pairs
