"""Answer one prompt: store it, retrieve, ask the model, store the replies.

Idea: a turn is a task of its own. The request that started it only watches (`progress.py`), so a caller who goes away, or
reads slowly, changes nothing: the reply is finished and stored all the same.

Invariant: the prompt is durable before the model is called, and a reply gets its place in the order when it is stored,
under the `control_epoch` the prompt was stored at; if the conversation changed hands meanwhile, it is not stored.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import msgspec
import numpy as np

from gigachat_server.chat import prompt as prompts
from gigachat_server.chat.progress import Stored, Turn
from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, GigachatError, ModelEmpty, ModelError, NotFound, ShuttingDown
from gigachat_server.ids import new_id, random_text
from gigachat_server.knowledge.indexes import Indexes, Retrieval
from gigachat_server.knowledge.retrieve import Earlier
from gigachat_server.models.base import (
    ChatModel,
    Embedder,
    ModelInput,
    Passage,
    Query,
    ReplyEnd,
    TextDelta,
    UsageReport,
    Vector,
)
from gigachat_server.records import Chatbot, Chunk, Message, MessageRole, Source
from gigachat_server.store import chatbots, conversations, events, messages
from gigachat_server.store.conversations import Place
from gigachat_server.store.database import Database, Tx
from gigachat_server.text import small_talk

_log = logging.getLogger("gigachat.turn")

CLIENT_PREFIX = "client:"

# How many earlier messages a prompt that leans on them is searched together with: more gained nothing (measured on
# the MTRAG conversations: R@5 .564 with ten, .564 with all).
_SEARCHED_MESSAGES = 10


class TakenOver(Conflict):
    code = "conversation_taken_over"
    message = "An operator took this conversation over before the reply was ready; the prompt is stored."


class PromptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What someone says in a conversation. `user_id` starts with `client:` if it is the client's staff."""

    conversation_id: str
    user_id: str
    text: str
    metadata: dict[str, object]

    @property
    def operator(self) -> str | None:
        """Who of the client's staff speaks, or None for an end user."""
        return self.user_id.removeprefix(CLIENT_PREFIX) if self.user_id.startswith(CLIENT_PREFIX) else None


class _Opened(msgspec.Struct, frozen=True):
    prompt: Message
    place: Place
    memory: list[messages.Remembered]


class _Heard(msgspec.Struct):
    """What a model reported beside its text."""

    ends: dict[int, ReplyEnd]
    usage: UsageReport | None = None


class Turns:
    """Takes prompts and sees each to its end."""

    def __init__(self, database: Database, *, model: ChatModel, embedder: Embedder, indexes: Indexes, clock: Clock) -> None:
        self._database = database
        self._model = model
        self._embedder = embedder
        self._indexes = indexes
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, chatbot: Chatbot, request: PromptRequest) -> Turn | Message:
        """Store what was said. The turn that answers it runs by itself; without one the stored message is all there is."""
        opened = await self._open(chatbot, request)
        if request.operator is not None or opened.place.controlled_by != "bot":
            return opened.prompt
        turn = Turn(opened.prompt, [new_id() for _ in range(chatbot.config.response.n)])
        task = asyncio.create_task(self._run(chatbot, opened, turn), name="turn")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return turn

    async def drain(self, timeout_s: float) -> None:
        """Let running turns end; those that take longer fail as `shutting_down`, their prompts stored."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _open(self, chatbot: Chatbot, request: PromptRequest) -> _Opened:
        """The prompt, durable and in its place, and what the model may remember (S2)."""
        operator = request.operator
        role: MessageRole = "user" if operator is None else "operator"
        message_id, now_us = new_id(), self._clock()
        memory_size = chatbot.config.response.memory_size
        remembered = max(memory_size, _SEARCHED_MESSAGES) if memory_size else 0

        async def body(tx: Tx) -> _Opened:
            if not await chatbots.exists(tx, chatbot.id):
                raise NotFound  # deleted while the request was on its way
            place = await conversations.open_and_advance(
                tx,
                chatbot.id,
                request.conversation_id,
                user_id=request.user_id if operator is None else None,
                now_us=now_us,
            )
            prompt = Message(
                chatbot_id=chatbot.id,
                conversation_id=request.conversation_id,
                seq=place.seq,
                id=message_id,
                role=role,
                user_id=request.user_id,
                name=operator or "",
                content=request.text,
                status="completed",
                in_reply_to=None,
                alternative=0,
                replaced_by=None,
                metadata=request.metadata,
                sources=(),
                created_at=place.at,
                updated_at=place.at,
            )
            await messages.insert(tx, prompt)
            await _record_created(tx, prompt)
            memory = []
            if operator is None:
                memory = await messages.remember(tx, chatbot.id, request.conversation_id, before=place.seq, limit=remembered)
            return _Opened(prompt, place, memory)

        return await self._database.transaction("turn.start", body)

    async def _run(self, chatbot: Chatbot, opened: _Opened, turn: Turn) -> None:
        """See the turn to its end, whatever happens: the store knows how it ended before anyone is told."""
        try:
            turn.end(await self._answer(chatbot, opened, turn))
        except GigachatError as error:
            await self._fail(chatbot, opened, turn, error)
        except asyncio.CancelledError:
            await self._fail(chatbot, opened, turn, ShuttingDown(retry_after_s=5))
        except Exception:  # noqa: BLE001 - the edge of the turn's task: a bug must not leave its caller waiting
            _log.exception("turn failed")
            await self._fail(chatbot, opened, turn, GigachatError())

    async def _answer(self, chatbot: Chatbot, opened: _Opened, turn: Turn) -> Stored:
        vector, retrieval = await self._retrieve(chatbot, opened)
        passages = retrieval.passages if retrieval else ()
        model_input = prompts.build(
            chatbot.config,
            prompt=opened.prompt.content,
            memory=_newest(opened.memory, chatbot.config.response.memory_size),
            passages=passages,
            query=retrieval.found.query if retrieval else Query(text=opened.prompt.content, vector=None, stem_weights={}),
            boundary=random_text(8),
        )
        heard = _Heard({})
        broken: GigachatError | None = None
        try:
            await self._listen(chatbot, model_input, turn, heard)
        except (ModelError, asyncio.CancelledError) as error:
            if not any(turn.text(alternative).strip() for alternative in range(len(turn.message_ids))):
                raise
            # What was shown is kept, also when it is this server that stops.
            broken = error if isinstance(error, ModelError) else ShuttingDown(retry_after_s=5)
        replies = self._replies(chatbot, opened, turn, heard, retrieval, is_broken=broken is not None)
        if not replies:
            raise ModelEmpty  # an empty reply is never stored, and an answer is never an empty array
        stored = await self._store(chatbot, opened, replies, vector)
        if broken is not None:
            turn.has_partial_reply = True
            raise broken
        return Stored(stored, retrieval.chunks if retrieval else ())

    async def _retrieve(self, chatbot: Chatbot, opened: _Opened) -> tuple[Vector | None, Retrieval | None]:
        """The prompt's vector and what it matches (S4). Nothing is embedded for small talk or without documents."""
        if small_talk(opened.prompt.content) or not await self._indexes.has_documents(chatbot):
            return None, None
        vector = await self._embedder.embed_prompt(opened.prompt.content)
        history = [
            Earlier(
                message.role,  # type: ignore[arg-type]
                message.content,
                np.frombuffer(message.embedding, dtype="<f4") if message.embedding else None,
            )
            for message in _newest(opened.memory, _SEARCHED_MESSAGES)
            if message.role != "system"
        ]
        return vector, await self._indexes.retrieve(chatbot, opened.prompt.content, vector, history)

    async def _listen(self, chatbot: Chatbot, model_input: ModelInput, turn: Turn, heard: _Heard) -> None:
        """Pass on what the model says (S5 to S7)."""
        when_nothing = chatbot.config.documents.results.when_nothing_matches
        if when_nothing == "refuse" and not model_input.passages and not small_talk(model_input.query.text):
            turn.say(TextDelta(0, model_input.refusal))
            heard.ends[0] = ReplyEnd(0, abstained=True)
            return
        async with aclosing(self._model.stream(model_input)) as stream:
            async for event in stream:
                match event:
                    case TextDelta():
                        turn.say(event)
                    case ReplyEnd():
                        heard.ends[event.index] = event
                    case UsageReport():
                        heard.usage = event

    def _replies(
        self,
        chatbot: Chatbot,
        opened: _Opened,
        turn: Turn,
        heard: _Heard,
        retrieval: Retrieval | None,
        *,
        is_broken: bool,
    ) -> list[Message]:
        """The replies as they will be stored, but for their place in the order. Fewer than n if the model made fewer."""
        replies = []
        for alternative, message_id in enumerate(turn.message_ids):
            text, end = turn.text(alternative), heard.ends.get(alternative)
            if not text.strip():
                continue
            abstained = end.abstained if end else None
            replies.append(
                Message(
                    chatbot_id=chatbot.id,
                    conversation_id=opened.prompt.conversation_id,
                    seq=0,
                    id=message_id,
                    role="assistant",
                    user_id=opened.prompt.user_id,
                    name=chatbot.name,
                    content=text,
                    status="incomplete" if is_broken and end is None else "completed",
                    in_reply_to=opened.prompt.id,
                    alternative=alternative,
                    replaced_by=None,
                    metadata=self._reply_metadata(chatbot, heard, end, abstained=abstained),
                    sources=_sources(retrieval) if retrieval and not abstained else (),
                    created_at=0,
                    updated_at=0,
                )
            )
        return replies

    def _reply_metadata(
        self, chatbot: Chatbot, heard: _Heard, end: ReplyEnd | None, *, abstained: bool | None
    ) -> dict[str, object]:
        usage = heard.usage
        metadata: dict[str, object] = {
            "model": usage.model if usage else (chatbot.config.response.model or self._model.name),
            "usage": {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens} if usage else {},
            "finish_reason": end.finish_reason if end else None,
        }
        if abstained is not None:
            metadata["abstained"] = abstained
        return metadata

    async def _store(self, chatbot: Chatbot, opened: _Opened, replies: list[Message], vector: Vector | None) -> list[Message]:
        """The replies, durable and in their places (S8). Raises `TakenOver` if they may not be stored any more."""
        prompt = opened.prompt
        kept_vector = None if vector is None else vector.astype("<f4").tobytes()

        async def body(tx: Tx) -> list[Message]:
            # A prompt that was deleted, with its conversation or its user, takes its reply along.
            if not await messages.keep_vector(tx, chatbot.id, prompt.id, kept_vector):
                raise NotFound
            placed = []
            for reply in replies:
                place = await conversations.advance(
                    tx,
                    chatbot.id,
                    prompt.conversation_id,
                    control_epoch=opened.place.control_epoch,
                    now_us=self._clock(),
                )
                if place is None:
                    raise TakenOver
                reply = msgspec.structs.replace(reply, seq=place.seq, created_at=place.at, updated_at=place.at)
                await messages.insert(tx, reply)
                await _record_created(tx, reply)
                placed.append(reply)
            return placed

        return await self._database.transaction("turn.finish", body)

    async def _fail(self, chatbot: Chatbot, opened: _Opened, turn: Turn, error: GigachatError) -> None:
        """Mark the prompt, unless part of its reply was stored, and tell whoever waits."""
        prompt = opened.prompt
        try:
            if not turn.has_partial_reply and not isinstance(error, TakenOver):
                await self._mark_failed(chatbot, prompt, error)
        except GigachatError as second:
            _log.error("cannot mark prompt %s as failed: %s", prompt.id, second)
        if not isinstance(error, ModelError):
            _log.warning("turn ended with %s", error.code)
        turn.end(error)

    async def _mark_failed(self, chatbot: Chatbot, prompt: Message, error: GigachatError) -> None:
        async def body(tx: Tx) -> None:
            marked = await messages.mark_failed(
                tx, chatbot.id, prompt.id, metadata={**prompt.metadata, "error": error.code}, now_us=self._clock()
            )
            if marked:
                await _record(tx, prompt, "turn.failed", {"message_id": prompt.id, "code": error.code}, self._clock())

        await self._database.transaction("turn.fail", body)


async def _record_created(tx: Tx, message: Message) -> None:
    """A message is an event: both have the same seq."""
    await events.insert(
        tx,
        message.chatbot_id,
        message.conversation_id,
        seq=message.seq,
        type="message.created",
        data={"message_id": message.id},
        created_at=message.created_at,
    )


async def _record(tx: Tx, about: Message, event_type: str, data: dict[str, object], now_us: int) -> None:
    """An event that is no message, at the conversation's next place."""
    place = await conversations.open_and_advance(tx, about.chatbot_id, about.conversation_id, user_id=None, now_us=now_us)
    await events.insert(
        tx, about.chatbot_id, about.conversation_id, seq=place.seq, type=event_type, data=data, created_at=place.at
    )


def _newest(memory: list[messages.Remembered], count: int) -> list[messages.Remembered]:
    return memory[len(memory) - count :] if len(memory) > count else memory


def _sources(retrieval: Retrieval) -> tuple[Source, ...]:
    return tuple(_source(passage, chunk) for passage, chunk in zip(retrieval.passages, retrieval.chunks, strict=True))


def _source(passage: Passage, chunk: Chunk) -> Source:
    return Source(
        id=chunk.id,
        document_id=chunk.document_id,
        document_name=chunk.document_name,
        number=chunk.number,
        content=chunk.content,
        line_from=chunk.line_from,
        line_to=chunk.line_to,
        score=passage.score,
        created_at=chunk.created_at,
        updated_at=chunk.updated_at,
    )
