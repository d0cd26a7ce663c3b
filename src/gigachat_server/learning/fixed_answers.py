"""Fixed answers: what operators have written, given word for word to everyone who asks what it answers.

Idea: a fixed answer has the phrasings of one question. A prompt of the same words gets it, and so does one whose vector is near
enough to a phrasing's, unless the two differ in what vectors do not see (`language.sameness`). That is looked up before any
document is, with the one vector that the turn needs anyway.

Invariant: every change raises the chatbot's `knowledge_version` in its transaction, so a prompt that is sent after a fixed
answer was acknowledged gets it, on whichever node; and what waits for a vector is matched by its words until it has one.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, EmbedderUnavailable, NotFound
from gigachat_server.ids import new_id
from gigachat_server.language.words import may_ask_the_same, normalised, points_back
from gigachat_server.models.base import Embedder, Matrix, Vector
from gigachat_server.records import Chatbot, FixedAnswer
from gigachat_server.store import chatbots, fixed_answers, idempotency
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.fixed_answers import START, FixedPrompt
from gigachat_server.work.background import Background

MOST_ANSWERS = 500  # of one chatbot
_MOST_KNOWN = 20_000  # phrasings that are held in memory
_MOST_LOOKED_AT = 32  # phrasings that are near enough, nearest first: each may be long
_LOOK_EVERY_S = 10.0
_AT_ONCE = 64
_MOST_FAILING = 3  # one behind the other: the embedder may be away, and the next are tried a while later

# What else becomes durable together with a fixed answer, for those who store one as a part of something larger.
Besides = Callable[[Tx, FixedAnswer], Awaitable[None]]


class TooManyFixedAnswers(Conflict):
    code = "too_many_fixed_answers"
    message = f"A chatbot has at most {MOST_ANSWERS} fixed answers: delete some, or push them as a document."


class Phrasings:
    """The prompts of one chatbot's enabled fixed answers. Pure once made."""

    def __init__(self, prompts: Sequence[FixedPrompt]) -> None:
        self.size = len(prompts)
        self._exact: dict[str, str] = {}
        for prompt in prompts:
            self._exact.setdefault(normalised(prompt.content), prompt.fixed_answer_id)
        embedded = [prompt for prompt in prompts if prompt.embedding is not None]
        length = len(embedded[0].embedding or b"") if embedded else 0
        self._embedded = [prompt for prompt in embedded if len(prompt.embedding or b"") == length]
        joined = b"".join(prompt.embedding or b"" for prompt in self._embedded)
        self._matrix: Matrix = np.frombuffer(joined, "<f4").reshape(len(self._embedded), length // 4)

    @property
    def has_vectors(self) -> bool:
        """Whether a prompt is worth its vector."""
        return bool(self._embedded)

    def find_exact(self, text: str) -> str | None:
        """The fixed answer that has a prompt of these words."""
        return self._exact.get(normalised(text))

    def find_nearest(self, text: str, vector: Vector, *, least_cosine: float, is_follow_up: bool) -> str | None:
        """The fixed answer to what means the same. What a prompt that points back means stands in what was said before it."""
        if not self._embedded or len(vector) != self._matrix.shape[1] or (is_follow_up and points_back(text)):
            return None
        cosines = self._matrix @ vector
        near = np.flatnonzero(cosines >= least_cosine)
        for place in near[np.argsort(-cosines[near], kind="stable")][:_MOST_LOOKED_AT].tolist():
            phrasing = self._embedded[int(place)]
            if may_ask_the_same(text, phrasing.content):
                return phrasing.fixed_answer_id
        return None


_NONE = Phrasings(())


class FixedAnswers:
    """The fixed answers of all chatbots: writes them, and knows those of lately used ones."""

    def __init__(self, database: Database, embedder: Embedder, clock: Clock, background: Background) -> None:
        self._database = database
        self._embedder = embedder
        self._clock = clock
        self._known: OrderedDict[str, tuple[int, Phrasings]] = OrderedDict()
        self._looked_at = START  # up to there, in this round
        self._failure: Exception | None = None  # of one that could not be embedded in this round
        self._wake_up = asyncio.Event()
        self._embedding = background.loop("fixed-answers", self.embed_all_waiting, every_s=_LOOK_EVERY_S, wake=self._wake_up)

    # --- matching ---

    async def known(self, chatbot: Chatbot) -> Phrasings:
        """Those of the chatbot at its knowledge_version, or later."""
        if chatbot.knowledge_version == 0:
            return _NONE
        version, known = self._known.get(chatbot.id, (-1, _NONE))
        if version >= chatbot.knowledge_version:
            self._known.move_to_end(chatbot.id)
            return known

        async def read(reader: Reader) -> list[FixedPrompt]:
            return await fixed_answers.list_for_matching(reader, chatbot.id, embedding_model=self._embedder.name)

        found = await self._database.read(read)
        known = Phrasings(found) if found else _NONE
        self._known[chatbot.id] = chatbot.knowledge_version, known
        self._known.move_to_end(chatbot.id)
        while len(self._known) > 1 and sum(1 + each.size for _, each in self._known.values()) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known

    def least_cosine(self, chatbot: Chatbot) -> float:
        """From which on two prompts of this chatbot are taken to ask the same."""
        wanted = chatbot.config.documents.results.fixed_answer_threshold
        return self._embedder.scale.same_prompt if wanted is None else wanted

    async def find(self, chatbot: Chatbot, fixed_answer_id: str) -> FixedAnswer | None:
        async def read(reader: Reader) -> FixedAnswer | None:
            return await fixed_answers.find(reader, chatbot.id, fixed_answer_id)

        return await self._database.read(read)

    # --- writing ---

    async def put(
        self,
        chatbot: Chatbot,
        fixed_answer_id: str | None,
        *,
        prompts: Sequence[str],
        answer: str,
        is_enabled: bool,
        key: idempotency.Key | None = None,
        besides: Besides | None = None,
    ) -> FixedAnswer:
        """Store a new one, or what is to be in place of that one. Raises `NotFound`, `TooManyFixedAnswers`.

        With a key, it is kept under it; `besides` runs at the end of the transaction that stores it. While the embedder
        cannot be reached, it is matched by its words alone.
        """
        prompts = tuple(dict.fromkeys(prompts))
        try:
            vectors = [vector.astype("<f4").tobytes() for vector in await self._embedder.embed_prompts(prompts)]
        except EmbedderUnavailable:
            vectors = None
        new = new_id()

        async def body(tx: Tx) -> FixedAnswer:
            if await chatbots.raise_knowledge_version(tx, chatbot.id) is None:
                raise NotFound
            now_us = self._clock()
            held = await fixed_answers.find(tx, chatbot.id, fixed_answer_id) if fixed_answer_id else None
            if fixed_answer_id is not None and held is None:
                raise NotFound
            if held is None and await fixed_answers.count(tx, chatbot.id) >= MOST_ANSWERS:
                raise TooManyFixedAnswers
            stored = FixedAnswer(
                chatbot_id=chatbot.id,
                id=held.id if held else new,
                prompts=prompts,
                answer=answer,
                is_enabled=is_enabled,
                use_count=held.use_count if held else 0,
                created_at=held.created_at if held else now_us,
                updated_at=now_us,
            )
            await fixed_answers.put(tx, stored, vectors, embedding_model=self._embedder.name)
            await idempotency.keep_result(tx, key, stored, now_us=now_us)
            if besides is not None:
                await besides(tx, stored)
            return stored

        stored = await self._database.transaction("fixed_answer.put", body)
        if vectors is None:
            self._wake_up.set()
        return stored

    async def delete(self, chatbot: Chatbot, fixed_answer_id: str) -> None:
        """It is said no more. Raises `NotFound`."""

        async def body(tx: Tx) -> bool:
            await chatbots.raise_knowledge_version(tx, chatbot.id)
            return await fixed_answers.delete(tx, chatbot.id, fixed_answer_id)

        if not await self._database.transaction("fixed_answer.delete", body):
            raise NotFound

    def forget(self, chatbot_id: str) -> None:
        """Free the memory of a deleted chatbot."""
        self._known.pop(chatbot_id, None)

    # --- those without a vector ---

    def start(self, *, is_dormant: bool = False) -> None:
        """Those that wait for a vector get one in the background; not `is_dormant`, in a process that is no node."""
        if not is_dormant:
            self._embedding.start()

    async def aclose(self) -> None:
        await self._embedding.aclose()

    async def embed_all_waiting(self) -> None:
        """Raises what one of them failed with, if any did: they are tried again after a pause."""
        self._failure = None
        while await self.embed_waiting():
            pass
        if self._failure is not None:
            raise self._failure

    async def embed_waiting(self) -> bool:
        """Some of those that wait have their vectors; False if none got one. Two nodes that do the same do it once more.

        Those that fail are gone past, and tried again behind all others.
        """
        waiting = await self._list_waiting()
        if not waiting and self._looked_at != START:
            self._looked_at = START
            waiting = await self._list_waiting()
        if not waiting:
            return False
        self._looked_at = waiting[-1].place
        of_chatbot: dict[str, list[tuple[fixed_answers.Waiting, bytes]]] = {}
        for each, vector in await self._embed(waiting):
            of_chatbot.setdefault(each.chatbot_id, []).append((each, vector.astype("<f4").tobytes()))
        for chatbot_id, embedded in of_chatbot.items():
            await self._database.transaction("fixed_answer.embed", functools.partial(self._set_vectors, chatbot_id, embedded))
        return bool(of_chatbot)

    async def _list_waiting(self) -> list[fixed_answers.Waiting]:
        async def read(reader: Reader) -> list[fixed_answers.Waiting]:
            return await fixed_answers.list_waiting(reader, after=self._looked_at, limit=_AT_ONCE)

        return await self._database.read(read)

    async def _embed(self, waiting: Sequence[fixed_answers.Waiting]) -> list[tuple[fixed_answers.Waiting, Vector]]:
        """All at once; if that fails, one by one, without those that fail, until some have failed one behind the other."""
        vectors = await self._try_to_embed([each.content for each in waiting])
        if vectors is not None:
            return list(zip(waiting, vectors, strict=True))
        embedded: list[tuple[fixed_answers.Waiting, Vector]] = []
        failing = 0
        for each in waiting:
            vectors = await self._try_to_embed([each.content], is_last=True)
            failing = failing + 1 if vectors is None else 0
            if vectors is not None:
                embedded.append((each, vectors[0]))
            elif failing == _MOST_FAILING:
                self._looked_at = each.place
                break
        return embedded

    async def _try_to_embed(self, texts: Sequence[str], *, is_last: bool = False) -> Matrix | None:
        try:
            return await self._embedder.embed_prompts(texts)
        except Exception as error:  # noqa: BLE001 - whatever an embedder raises for one text must not keep the others waiting
            if is_last:
                self._failure = error
            return None

    async def _set_vectors(self, chatbot_id: str, embedded: Sequence[tuple[fixed_answers.Waiting, bytes]], tx: Tx) -> None:
        await chatbots.raise_knowledge_version(tx, chatbot_id)
        for each, vector in embedded:
            await fixed_answers.set_vector(tx, each, vector, embedding_model=self._embedder.name)
