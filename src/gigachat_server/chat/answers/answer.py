"""From a prompt to what is said: a fixed answer, or retrieve, build the model's input, listen.

Invariant: nothing here touches the order of messages. What is heard goes into the `Turn`; who may store it, and where it
takes its place, is decided in `turn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

import msgspec

from gigachat_server.chat.answers import prompt as prompts
from gigachat_server.chat.answers import rewrite
from gigachat_server.chat.answers.fixed import FixedAnswerBook
from gigachat_server.chat.answers.suggestions import suggestion
from gigachat_server.chat.turns import reply
from gigachat_server.chat.turns.progress import Turn
from gigachat_server.chat.turns.queue import OpenTurn
from gigachat_server.chat.turns.unanswered import mark_refusals, reason
from gigachat_server.ids import random_text
from gigachat_server.knowledge.search.retrieve import Earlier
from gigachat_server.knowledge.search.searcher import Retrieval, Searcher
from gigachat_server.language.detect import language
from gigachat_server.language.phrases import near_offer
from gigachat_server.language.words import asks_for_human, is_dependent, small_talk
from gigachat_server.models.base import (
    HANDED_OFF,
    ChatModel,
    Embedder,
    HandoffOffer,
    HandoffRequest,
    LeftOut,
    ModelAttempt,
    ModelCitation,
    ModelInput,
    Query,
    ReplyEnd,
    SourcesChosen,
    TakenBack,
    TextDelta,
    UsageReport,
    Vector,
)
from gigachat_server.models.quoting.extractive import MOST_PASSAGES, is_unanswered_too_often, refused_text
from gigachat_server.records import Source
from gigachat_server.triggers import trigger

FIXED_ANSWER = "fixed_answer"  # the finish_reason, and the model, of a reply that is one


class PromptMatch(msgspec.Struct, frozen=True):
    """The fixed answer that a prompt asks for, by its id; else whether it asks for a human, or to search for it.

    And its vector, if it needed one.
    """

    vector: Vector | None = None
    fixed_answer_id: str | None = None
    is_searched_for: bool = False
    is_for_human: bool = False


class Answerer:
    """Has prompts answered."""

    def __init__(self, *, model: ChatModel, embedder: Embedder, searcher: Searcher, fixed_answers: FixedAnswerBook) -> None:
        self._model = model
        self._embedder = embedder
        self._searcher = searcher
        self._fixed_answers = fixed_answers

    @property
    def embedding_model(self) -> str:
        """Which made the vectors that `answer` returns."""
        return self._embedder.name

    async def answer(self, opened: OpenTurn, turn: Turn) -> Vector | None:
        """Have the turn hear the replies to the prompt; the prompt's vector, if one was needed.

        Raises a `ModelError`, or `EmbedderUnavailable`; what was heard until then stays.
        """
        chatbot = opened.chatbot
        turn.model_name = chatbot.config.response.model or self._model.name
        await trigger("S4")
        matched = await self._match(opened, turn)
        if matched.fixed_answer_id is not None and await self._say_fixed(opened, matched.fixed_answer_id, turn):
            await trigger("S7")
            return matched.vector
        if matched.is_for_human:
            _hand_off(opened, turn)
            await trigger("S7")
            return None
        retrieval = await self._retrieve(opened, matched, turn)
        query = Query(text=opened.text, vector=None, stem_weights={})
        sources: tuple[Source, ...] = ()  # also of what is nearby
        if retrieval is not None:
            query = msgspec.structs.replace(retrieval.found.query, text=opened.text)  # not as it was rewritten
            sources = tuple(map(reply.source, (*retrieval.passages, *retrieval.nearby), retrieval.chunks))
            turn.sources = sources[: len(retrieval.passages)]
            turn.vectors = {chunk.id: chunk.embedding for chunk in retrieval.chunks}
        model_input = prompts.build(
            chatbot.config,
            prompt=opened.text,
            memory=opened.memory,
            passages=retrieval.passages if retrieval else (),
            nearby=retrieval.nearby if retrieval else (),
            query=query,
            boundary=random_text(8),
            suggestion=_suggestion(opened, sources),
            handoff=_handoff_offer(opened),
        )
        await trigger("S5")
        await self._listen(opened, model_input, sources, turn)
        turn.unanswered = reason(turn, opened.text, found=None if retrieval is None else len(retrieval.passages))
        if turn.heard.handoff is not None and model_input.handoff is not None:
            _tell_of_handoff(model_input.handoff.message, turn)
        await trigger("S7")
        return matched.vector

    async def _match(self, opened: OpenTurn, turn: Turn) -> PromptMatch:
        """Nothing is embedded for small talk, or where there is nothing to compare it with."""
        chatbot, text = opened.chatbot, opened.text
        known = await self._fixed_answers.known(chatbot)
        if (exact := known.find_exact(text)) is not None:
            return PromptMatch(fixed_answer_id=exact)
        if chatbot.config.interception.handoff_when_asked and asks_for_human(text):
            return PromptMatch(is_for_human=True)
        if small_talk(text):
            return PromptMatch()
        has_documents = await self._searcher.has_documents(chatbot)
        if not has_documents and not known.has_vectors:
            return PromptMatch()
        turn.rewrite = await self._rewrite(opened)
        if turn.rewrite is not None:
            text = turn.rewrite.text
        vector = await self._embedder.embed_prompt(text)
        is_follow_up = turn.rewrite is None and bool(opened.memory.messages)
        least = self._fixed_answers.least_cosine(chatbot)
        nearest = known.find_nearest(text, vector, least_cosine=least, is_follow_up=is_follow_up)
        return PromptMatch(vector, nearest, has_documents)

    async def _say_fixed(self, opened: OpenTurn, fixed_answer_id: str, turn: Turn) -> bool:
        """Whether it is still there to be said."""
        found = await self._fixed_answers.find(opened.chatbot, fixed_answer_id)
        if found is None or not found.is_enabled:
            return False
        turn.model_name, turn.fixed_answer_id = FIXED_ANSWER, found.id
        turn.say(TextDelta(0, found.answer))
        turn.heard.ends[0] = ReplyEnd(0, FIXED_ANSWER, abstained=False)
        return True

    async def _retrieve(self, opened: OpenTurn, matched: PromptMatch, turn: Turn) -> Retrieval | None:
        if matched.vector is None or not matched.is_searched_for:
            return None
        text: str = opened.text
        history: Sequence[Earlier] = opened.memory.searched(self._embedder.name)
        if turn.rewrite is not None:
            text, history = turn.rewrite.text, ()  # it says what it needs of them
        is_lenient = self._model.is_generating
        suggests = not is_lenient or opened.chatbot.config.documents.results.when_nothing_matches == "refuse"
        retrieval = await self._searcher.retrieve(
            opened.chatbot,
            text,
            matched.vector,
            history,
            is_lenient=is_lenient,
            nearby=MOST_PASSAGES if suggests else 0,
        )
        return retrieval.matching(opened.chatbot.config.documents.results.match_threshold)

    async def _rewrite(self, opened: OpenTurn) -> rewrite.Rewrite | None:
        """The prompt made independent of the conversation by the model, where the chatbot wants that and it leans on it."""
        config, history = opened.chatbot.config, opened.memory.searched(self._embedder.name)
        if config.documents.results.rewrite != "model" or not history or len(opened.text) > rewrite.LONGEST:
            return None  # who says that much says what it is about
        if not is_dependent(opened.text):
            return None
        model_input = rewrite.build(
            opened.text,
            history,
            boundary=random_text(8),
            model=config.response.model,
            options=prompts.call_options(config.response),
        )
        return await rewrite.rewrite(self._model, model_input)

    async def _listen(self, opened: OpenTurn, model_input: ModelInput, sources: Sequence[Source], turn: Turn) -> None:
        """`sources` are those of all passages handed to the model, of which it may choose."""
        when_nothing = opened.chatbot.config.documents.results.when_nothing_matches
        if when_nothing == "refuse" and not model_input.passages and not small_talk(model_input.query.text):
            _refuse(model_input, turn)
        else:
            turn.is_model_asked = True
            async with aclosing(self._model.stream(model_input)) as stream:
                async for event in stream:
                    match event:
                        case TextDelta():
                            if not turn.length:
                                await trigger("S6")
                            turn.say(event)
                        case SourcesChosen():
                            turn.sources = tuple(sources[place] for place in event.places)
                        case TakenBack():
                            turn.take_back(event.index)
                        case LeftOut():
                            turn.heard.left_out = event
                        case ModelAttempt():
                            turn.heard.attempts = (*turn.heard.attempts, event)
                        case ModelCitation():
                            turn.heard.cited.setdefault(event.index, []).append(event)
                        case ReplyEnd():
                            turn.heard.ends[event.index] = event
                        case UsageReport():
                            turn.heard.usage = event
                        case HandoffRequest() if model_input.handoff is not None:
                            turn.heard.handoff = event
        mark_refusals(turn, prompts.refusals(opened.chatbot.config, language(opened.text)))


def _handoff_offer(opened: OpenTurn) -> HandoffOffer | None:
    interception = opened.chatbot.config.interception
    if not interception.handoff or not opened.may_hand_off:
        return None
    return HandoffOffer(
        message=prompts.handoff_message(opened.chatbot.config, language(opened.text)),
        after_unanswered=interception.handoff_after_unanswered,
        unanswered_before=opened.memory.unanswered_in_a_row,
    )


def _suggestion(opened: OpenTurn, sources: Sequence[Source]) -> str:
    results = opened.chatbot.config.documents.results
    if not results.suggest:
        return ""
    return suggestion(sources, match_threshold=results.match_threshold, label=near_offer(language(opened.text)))


def _hand_off(opened: OpenTurn, turn: Turn) -> None:
    """A human is asked for, unless one has been already; whoever asks is told so in either case."""
    turn.say(TextDelta(0, prompts.handoff_message(opened.chatbot.config, language(opened.text))))
    turn.heard.ends[0] = ReplyEnd(0, HANDED_OFF, abstained=False)
    if opened.may_hand_off:
        turn.heard.handoff = HandoffRequest("asked")


def _refuse(model_input: ModelInput, turn: Turn) -> None:
    """The persona's refusal instead of a model's guess; no model is there to ask for a human, so the rule does."""
    turn.say(TextDelta(0, refused_text(model_input)))
    turn.heard.ends[0] = ReplyEnd(0, abstained=True)
    offer = model_input.handoff
    if offer is not None and is_unanswered_too_often(offer):
        turn.heard.handoff = HandoffRequest("unanswered")


def _tell_of_handoff(message: str, turn: Turn) -> None:
    """A handoff nobody is told of looks like silence: every reply ends with the message, one at least."""
    replied = [i for i in range(len(turn.message_ids)) if turn.text(i).strip() or i in turn.heard.ends]
    for alternative in replied or [0]:
        text = turn.text(alternative)
        turn.say(TextDelta(alternative, f"\n\n{message}" if text.strip() else message))
