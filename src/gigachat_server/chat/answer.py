"""From a prompt to what the model says: retrieve, build the model's input, listen.

Invariant: nothing here touches the order of messages. What is heard goes into the `Turn`; who may store it, and where it
takes its place, is decided in `turn.py`.
"""

from __future__ import annotations

from contextlib import aclosing

from gigachat_server.chat import prompt as prompts
from gigachat_server.chat import reply
from gigachat_server.chat.progress import Turn
from gigachat_server.chat.queue import Opened
from gigachat_server.human_wanted import asks_for_human
from gigachat_server.ids import random_text
from gigachat_server.knowledge.searcher import Retrieval, Searcher
from gigachat_server.models.base import (
    HANDED_OFF,
    ChatModel,
    Embedder,
    HandoffOffer,
    HandoffRequest,
    ModelInput,
    Query,
    ReplyEnd,
    TextDelta,
    UsageReport,
    Vector,
)
from gigachat_server.models.extractive import is_unanswered_too_often
from gigachat_server.text import small_talk
from gigachat_server.triggers import trigger


class Answerer:
    """Has a model answer prompts."""

    def __init__(self, *, model: ChatModel, embedder: Embedder, searcher: Searcher) -> None:
        self._model = model
        self._embedder = embedder
        self._searcher = searcher

    async def answer(self, opened: Opened, turn: Turn) -> Vector | None:
        """Have the turn hear the replies to the prompt; the prompt's vector, if one was needed.

        Raises a `ModelError`, or `EmbedderUnavailable`; what was heard until then stays.
        """
        chatbot = opened.chatbot
        turn.model_name = chatbot.config.response.model or self._model.name
        await trigger("S4")
        vector, retrieval = await self._retrieve(opened)
        if retrieval is not None:
            turn.sources = tuple(map(reply.source, retrieval.passages, retrieval.chunks))
            turn.vectors = {chunk.id: chunk.embedding for chunk in retrieval.chunks}
        model_input = prompts.build(
            chatbot.config,
            prompt=opened.text,
            memory=opened.memory,
            passages=retrieval.passages if retrieval else (),
            query=retrieval.found.query if retrieval else Query(text=opened.text, vector=None, stem_weights={}),
            boundary=random_text(8),
            handoff=_handoff_offer(opened),
        )
        await trigger("S5")
        await self._listen(opened, model_input, turn)
        await trigger("S7")
        return vector

    async def _retrieve(self, opened: Opened) -> tuple[Vector | None, Retrieval | None]:
        """The prompt's vector and what it matches. Nothing is embedded for small talk or without documents."""
        if small_talk(opened.text) or not await self._searcher.has_documents(opened.chatbot):
            return None, None
        vector = await self._embedder.embed_prompt(opened.text)
        return vector, await self._searcher.retrieve(opened.chatbot, opened.text, vector, opened.memory.searched)

    async def _listen(self, opened: Opened, model_input: ModelInput, turn: Turn) -> None:
        when_nothing = opened.chatbot.config.documents.results.when_nothing_matches
        if when_nothing == "refuse" and not model_input.passages and not small_talk(model_input.query.text):
            _refuse(model_input, turn)
        else:
            async with aclosing(self._model.stream(model_input)) as stream:
                async for event in stream:
                    match event:
                        case TextDelta():
                            if not turn.length:
                                await trigger("S6")
                            turn.say(event)
                        case ReplyEnd():
                            turn.heard.ends[event.index] = event
                        case UsageReport():
                            turn.heard.usage = event
                        case HandoffRequest() if model_input.handoff is not None:
                            turn.heard.handoff = event
        if turn.heard.handoff is not None and model_input.handoff is not None:
            _tell_of_handoff(model_input.handoff.message, turn)


def _handoff_offer(opened: Opened) -> HandoffOffer | None:
    interception = opened.chatbot.config.interception
    if not interception.handoff or not opened.may_hand_off:
        return None
    return HandoffOffer(
        message=interception.handoff_message,
        after_unanswered=interception.handoff_after_unanswered,
        unanswered_before=opened.memory.unanswered_in_a_row,
    )


def _refuse(model_input: ModelInput, turn: Turn) -> None:
    """The persona's refusal instead of a model's guess; no model is there to ask for a human, so the rules do."""
    offer = model_input.handoff
    if offer is not None and asks_for_human(model_input.query.text):
        turn.heard.ends[0] = ReplyEnd(0, HANDED_OFF, abstained=False)
        turn.heard.handoff = HandoffRequest("asked")
        return
    turn.say(TextDelta(0, model_input.refusal))
    turn.heard.ends[0] = ReplyEnd(0, abstained=True)
    if offer is not None and is_unanswered_too_often(offer):
        turn.heard.handoff = HandoffRequest("unanswered")


def _tell_of_handoff(message: str, turn: Turn) -> None:
    """A handoff nobody is told of looks like silence: every reply ends with the message, one at least."""
    replied = [i for i in range(len(turn.message_ids)) if turn.text(i).strip() or i in turn.heard.ends]
    for alternative in replied or [0]:
        text = turn.text(alternative)
        turn.say(TextDelta(alternative, f"\n\n{message}" if text.strip() else message))
