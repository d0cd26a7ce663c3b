"""Fills chatbots with very many chunks, as documents would, and knows what is near in them.

Idea: vectors are made up, since embedding 100,000 chunks takes an hour: overlapping clusters that lie in 32 of the 384
dimensions, a prompt near one of them but further out than its chunks. (Vectors without any such order are all about as
far from a prompt as each other: no index finds the nearest of those.) A chunk's units lie around it, in the same
dimensions. Texts are those of `texts.py`, again from the start after 100,000 chunks, since writing them takes longer than
searching them; their vectors are always new.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from gigachat_server.bench.texts import Author
from gigachat_server.ids import new_id
from gigachat_server.knowledge.documents.chunk import split
from gigachat_server.knowledge.search.directions import inverse_norms, means, quantised
from gigachat_server.knowledge.search.scoring import dump_stems
from gigachat_server.knowledge.search.searcher import Searcher
from gigachat_server.knowledge.search.vector_space import built_with
from gigachat_server.language.terms import terms
from gigachat_server.models.base import Matrix, Vector
from gigachat_server.models.embedders.hashing_embedder import DIMENSION, HashingEmbedder
from gigachat_server.records import Chatbot, ChatbotConfig, Chunk, Document
from gigachat_server.store import chatbots, chunks, documents, units
from gigachat_server.store.chunks import StoredChunk
from gigachat_server.store.database import Database, Tx
from gigachat_server.store.units import UnitRow

Piece = tuple[str, str]  # a chunk's text, and its stems as they are stored

_EACH = 50  # chunks of a document
_MOST_TEXTS = 2_000  # documents that are written; then they come again
_ORDERED = 32  # dimensions that the clusters lie in
_CLUSTERS = 2_000
_UNITS_EACH = 3  # of a chunk
_BUILT_WITH = built_with(HashingEmbedder())


class Vectors:
    """Draws vectors of chunks and of prompts."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._centres = self._draw.normal(0, 1, (_CLUSTERS, _ORDERED))
        self._spread = self._draw.normal(0, 1, (_ORDERED, DIMENSION))

    def units(self, embeddings: Matrix, *, distance: float = 0.35) -> Matrix:
        """`_UNITS_EACH` for each of these, around it."""
        around = np.repeat(embeddings, _UNITS_EACH, axis=0)
        steps = self._draw.normal(0, 1, (len(around), _ORDERED)) @ self._spread
        points = around + steps * (distance / np.linalg.norm(steps, axis=1, keepdims=True))
        unit: Matrix = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def some(self, count: int, *, distance: float = 0.6) -> Matrix:
        centres = self._centres[self._draw.integers(0, _CLUSTERS, count)]
        points = (centres + self._draw.normal(0, distance, centres.shape)) @ self._spread
        points += self._draw.normal(0, 0.3, points.shape)
        unit: Matrix = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
        return unit


class Exact:
    """The nearest of all chunks to some prompts, kept up while the chunks are made."""

    def __init__(self, prompts: Sequence[Vector], *, limit: int) -> None:
        self._prompts: Matrix = np.stack(prompts)
        self._limit = limit
        self._cosines: Matrix = np.zeros((len(prompts), 0), np.float32)
        self._ids: npt.NDArray[np.str_] = np.zeros((len(prompts), 0), dtype="U36")

    def see(self, ids: list[str], units: Matrix) -> None:
        """Of each chunk `_UNITS_EACH` units: the best is how near it is."""
        best = (self._prompts @ units.T).reshape(len(self._prompts), len(ids), -1).max(axis=2)
        cosines = np.concatenate([self._cosines, best], axis=1)
        every = np.concatenate([self._ids, np.tile(np.array(ids), (len(self._prompts), 1))], axis=1)
        best = np.argsort(-cosines, axis=1)[:, : self._limit]
        self._cosines = np.take_along_axis(cosines, best, axis=1)
        self._ids = np.take_along_axis(every, best, axis=1)

    def recall(self, found: Mapping[int, Sequence[str]]) -> float:
        """The share of the nearest that was found, over all prompts."""
        return float(np.mean([len(set(ids.tolist()) & set(found[place])) / len(ids) for place, ids in enumerate(self._ids)]))


class Filler:
    """Puts chatbots into a store, and knows what to ask them."""

    def __init__(self, database: Database, searcher: Searcher) -> None:
        self._database = database
        self._searcher = searcher
        self._vectors, self._author = Vectors(11), Author(11)
        self._written: list[list[Piece]] = []
        self._next = 0

    def asked(self, count: int) -> list[tuple[str, Vector]]:
        return [(text, self._vectors.some(1, distance=0.9)[0]) for text in self._author.prompts(count)]

    async def fill(self, chunk_count: int, *, tell: Callable[[list[str], Matrix], None] | None = None) -> Chatbot:
        """A chatbot of that many chunks. `tell` hears of their ids and vectors."""
        config = ChatbotConfig()
        chatbot = Chatbot(new_id(), "bench", f"bench {random.random()}", config, 0, 0, 0)  # noqa: S311 - no secret

        async def insert(tx: Tx) -> None:
            await chatbots.insert(tx, chatbot)

        await self._database.transaction("bench.insert", insert)
        for start in range(0, chunk_count, _EACH):
            size = min(_EACH, chunk_count - start)
            pieces, vectors = self._pieces(size), self._vectors.some(size)
            length = sum(len(text) for text, _ in pieces)
            document = Document(chatbot.id, new_id(), f"{start}", "", "ready", None, size, length, _BUILT_WITH, 0, 0)
            directions = quantised(self._vectors.units(vectors))
            embeddings = means(directions, inverse_norms(directions), np.arange(0, len(directions), _UNITS_EACH))
            rows = [
                StoredChunk(_chunk(document, number, text, vector), stemmed, own, own + _UNITS_EACH - 1)
                for number, ((text, stemmed), vector) in enumerate(zip(pieces, embeddings, strict=True))
                for own in (number * _UNITS_EACH,)
            ]
            own_units = [
                UnitRow(number, number // _UNITS_EACH, number // _UNITS_EACH, "", direction.tobytes())
                for number, direction in enumerate(directions)
            ]
            put = partial(_put, searcher=self._searcher, document=document, rows=rows, own=own_units)
            await self._database.transaction("bench.push", put)
            if tell is not None:
                tell([row.chunk.id for row in rows], directions * inverse_norms(directions)[:, None])
        version = chunk_count // _EACH + 1
        return Chatbot(chatbot.id, chatbot.account_id, chatbot.name, config, version, 0, 0)

    async def delete(self, chatbot: Chatbot) -> None:
        await self._database.transaction("bench.delete", partial(_delete, chatbot=chatbot))

    def _pieces(self, size: int) -> list[Piece]:
        if size < _EACH or len(self._written) < _MOST_TEXTS:
            cut = split(self._author.document(size), size=1000, overlap=200)
            pieces = [(piece.text, dump_stems(terms(piece.text, "en"))) for piece in cut]
            if size == _EACH:
                self._written.append(pieces)
            return pieces
        self._next += 1
        return self._written[self._next % len(self._written)]


async def _put(tx: Tx, searcher: Searcher, document: Document, rows: list[StoredChunk], own: list[UnitRow]) -> None:
    await chatbots.raise_knowledge_version(tx, document.chatbot_id)
    await chunks.replace(tx, document.chatbot_id, document.id, rows)
    await units.replace(tx, document.chatbot_id, document.id, own)
    await searcher.count_in(tx, document.chatbot_id, document.id)
    await documents.put(tx, document, content="", version=1)


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
