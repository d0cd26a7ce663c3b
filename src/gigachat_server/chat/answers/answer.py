"""From a prompt to what is said: a fixed answer, or retrieve, build the model's input, listen.

Invariant: nothing here touches the order of messages. What is said goes into the `Speech` it is given, and stays there if
the model fails; who may store it, and where it takes its place, is decided in `chat/turns/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

import msgspec

from gigachat_server.chat.answers import prompt as prompts
from gigachat_server.chat.answers import rewrite
from gigachat_server.chat.answers.answer_input import AnswerInput
from gigachat_server.chat.answers.fixed import FixedAnswerBook
from gigachat_server.chat.answers.speech import Answer, Speech
from gigachat_server.chat.answers.suggestions import suggestion
from gigachat_server.chat.answers.unanswered import mark_refusals, reason
from gigachat_server.chat.attendance import Attendance
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
    Passage,
    Query,
    ReplyEnd,
    SourcesChosen,
    TakenBack,
    TextDelta,
    UsageReport,
    Vector,
)
from gigachat_server.models.quoting.extractive import MOST_PASSAGES, is_unanswered_too_often, refused_text
from gigachat_server.records import Chunk, Source
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
    """Answers prompts."""

    def __init__(
        self,
        *,
        model: ChatModel,
        embedder: Embedder,
        searcher: Searcher,
        fixed_answers: FixedAnswerBook,
        attendance: Attendance,
    ) -> None:
        self._model = model
        self._embedder = embedder
        self._searcher = searcher
        self._fixed_answers = fixed_answers
        self._attendance = attendance

    @property
    def embedding_model(self) -> str:
        """The model that made the vectors of answers."""
        return self._embedder.name

    @property
    def is_generating(self) -> bool:
        """Whether replies cost tokens of a model."""
        return self._model.is_generating

    async def answer(self, given: AnswerInput, speech: Speech) -> Answer:
        """Say the replies to the prompt.

        Raises a `ModelError`, or `EmbedderUnavailable`; what was said until then stays in the speech.
        """
        facts = speech.facts
        facts.model_name = given.chatbot.config.response.model or self._model.name
        await trigger("S4")
        matched = await self._match(given, speech)
        if matched.fixed_answer_id is not None and await self._say_fixed(given, matched.fixed_answer_id, speech):
            await trigger("S7")
            return Answer(speech.replies(), facts, vector=matched.vector)
        if matched.is_for_human:
            _hand_off(given, await self._handoff_message(given), speech)
            await trigger("S7")
            return speech.so_far()
        retrieval = await self._retrieve(given, matched, speech)
        sources: tuple[Source, ...] = ()  # also of what is nearby
        if retrieval is not None:
            sources = tuple(map(_source, (*retrieval.passages, *retrieval.nearby), retrieval.chunks))
            facts.sources = sources[: len(retrieval.passages)]
            facts.vectors = {chunk.id: chunk.embedding for chunk in retrieval.chunks}
        suggested = _suggestion(given, sources) if self._may_refuse(given) else ""
        model_input = _model_input(given, retrieval, suggested)
        await trigger("S5")
        await self._listen(given, model_input, sources, speech)
        unanswered = reason(speech, given.text, found=None if retrieval is None else len(retrieval.passages))
        if facts.handoff is not None and model_input.handoff is not None:
            _tell_of_handoff(await self._handoff_message(given), speech)
        await trigger("S7")
        return Answer(speech.replies(), facts, unanswered, matched.vector)

    async def _handoff_message(self, given: AnswerInput) -> str:
        """What the end user is told now that a human is asked for: whether one is there is looked up for nothing else."""
        is_away = await self._attendance.is_away(given.chatbot)
        return prompts.handoff_message(given.chatbot.config, language(given.text), is_away=is_away)

    async def _match(self, given: AnswerInput, speech: Speech) -> PromptMatch:
        """Nothing is embedded for small talk, or where there is nothing to compare it with."""
        chatbot, text = given.chatbot, given.text
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
        rewritten = speech.facts.rewrite = await self._rewrite(given)
        if rewritten is not None:
            text = rewritten.text
        vector = await self._embedder.embed_prompt(text)
        is_follow_up = rewritten is None and bool(given.memory.messages)
        least = self._fixed_answers.least_cosine(chatbot)
        nearest = known.find_nearest(text, vector, least_cosine=least, is_follow_up=is_follow_up)
        return PromptMatch(vector, nearest, has_documents)

    async def _say_fixed(self, given: AnswerInput, fixed_answer_id: str, speech: Speech) -> bool:
        """Say the fixed answer. False if it was deleted or switched off meanwhile."""
        found = await self._fixed_answers.find(given.chatbot, fixed_answer_id)
        if found is None or not found.is_enabled:
            return False
        speech.facts.model_name, speech.facts.fixed_answer_id = FIXED_ANSWER, found.id
        speech.say(TextDelta(0, found.answer))
        speech.facts.ends[0] = ReplyEnd(0, FIXED_ANSWER, abstained=False)
        return True

    async def _retrieve(self, given: AnswerInput, matched: PromptMatch, speech: Speech) -> Retrieval | None:
        if matched.vector is None or not matched.is_searched_for:
            return None
        if speech.facts.rewrite is None:
            text, history = given.text, given.memory.searched(self._embedder.name)
        else:
            text, history = speech.facts.rewrite.text, []  # it says what it needs of them
        retrieval = await self._searcher.retrieve(
            given.chatbot,
            text,
            matched.vector,
            history,
            is_lenient=self._model.is_generating,
            nearby=MOST_PASSAGES if self._may_refuse(given) else 0,
        )
        return retrieval.matching(given.chatbot.config.documents.results.match_threshold)

    def _may_refuse(self, given: AnswerInput) -> bool:
        """Whether gigachat itself may say the refusal, and what is near; a model that generates says its own."""
        return not self._model.is_generating or given.chatbot.config.documents.results.when_nothing_matches == "refuse"

    async def _rewrite(self, given: AnswerInput) -> rewrite.Rewrite | None:
        """The prompt made independent of the conversation by the model, where the chatbot wants that and it leans on it."""
        config, text = given.chatbot.config, given.text
        if config.documents.results.rewrite != "model" or not given.memory.messages or len(text) > rewrite.LONGEST:
            return None  # a prompt that says so much says what it is about
        history: Sequence[Earlier] = given.memory.searched(self._embedder.name)
        if not history or not is_dependent(text):
            return None
        model_input = rewrite.build(
            text,
            history,
            boundary=random_text(8),
            model=config.response.model,
            options=prompts.call_options(config.response),
        )
        return await rewrite.rewrite(self._model, model_input)

    async def _listen(self, given: AnswerInput, model_input: ModelInput, sources: Sequence[Source], speech: Speech) -> None:
        """Hear the model out. `sources` are those of all passages that it was handed and may choose from."""
        facts, config = speech.facts, given.chatbot.config
        is_refused = config.documents.results.when_nothing_matches == "refuse" and not model_input.passages
        if is_refused and not small_talk(given.text):
            _refuse(model_input, speech)
        else:
            facts.is_model_asked = True
            async with aclosing(self._model.stream(model_input)) as stream:
                async for event in stream:
                    match event:
                        case TextDelta():
                            if not speech.length:
                                await trigger("S6")
                            speech.say(event)
                        case SourcesChosen():
                            facts.sources = tuple(sources[place] for place in event.places)
                        case TakenBack():
                            speech.take_back(event.index)
                        case LeftOut():
                            facts.left_out = event
                        case ModelAttempt():
                            facts.attempts = (*facts.attempts, event)
                        case ModelCitation():
                            facts.cited.setdefault(event.index, []).append(event)
                        case ReplyEnd():
                            facts.ends[event.index] = event
                        case UsageReport():
                            facts.usage = event
                        case HandoffRequest() if model_input.handoff is not None:
                            facts.handoff = event
        mark_refusals(speech, prompts.refusals(config, language(given.text)))


def _model_input(given: AnswerInput, retrieval: Retrieval | None, suggested: str) -> ModelInput:
    """What the model is told; `suggested` may be said behind a refusal."""
    passages: Sequence[Passage] = ()
    nearby: Sequence[Passage] = ()
    query = Query(text=given.text, vector=None, stem_weights={})
    if retrieval is not None:
        passages, nearby = retrieval.passages, retrieval.nearby
        query = msgspec.structs.replace(retrieval.found.query, text=given.text)  # not as it was rewritten
    return prompts.build(
        given.chatbot.config,
        prompt=given.text,
        memory=given.memory,
        passages=passages,
        nearby=nearby,
        query=query,
        boundary=random_text(8),
        suggestion=suggested,
        handoff=_handoff_offer(given),
    )


def _source(passage: Passage, chunk: Chunk) -> Source:
    """A chunk as it stands now, with what it was worth to the prompt."""
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
        page=chunk.page,
        heading=chunk.heading,
    )


def _handoff_offer(given: AnswerInput) -> HandoffOffer | None:
    interception = given.chatbot.config.interception
    if not interception.handoff or not given.may_hand_off:
        return None
    return HandoffOffer(
        message=prompts.handoff_message(given.chatbot.config, language(given.text)),
        after_unanswered=interception.handoff_after_unanswered,
        unanswered_before=given.memory.unanswered_in_a_row,
    )


def _suggestion(given: AnswerInput, sources: Sequence[Source]) -> str:
    results = given.chatbot.config.documents.results
    if not results.suggest or not sources:
        return ""
    return suggestion(sources, match_threshold=results.match_threshold, label=near_offer(language(given.text)))


def _hand_off(given: AnswerInput, message: str, speech: Speech) -> None:
    """Ask for a human, unless one has been asked for already; the end user is told so in either case."""
    speech.say(TextDelta(0, message))
    speech.facts.ends[0] = ReplyEnd(0, HANDED_OFF, abstained=False)
    if given.may_hand_off:
        speech.facts.handoff = HandoffRequest("asked")


def _refuse(model_input: ModelInput, speech: Speech) -> None:
    """The persona's refusal instead of a model's guess; no model is there to ask for a human, so the rule does."""
    speech.say(TextDelta(0, refused_text(model_input)))
    speech.facts.ends[0] = ReplyEnd(0, abstained=True)
    offer = model_input.handoff
    if offer is not None and is_unanswered_too_often(offer):
        speech.facts.handoff = HandoffRequest("unanswered")


def _tell_of_handoff(message: str, speech: Speech) -> None:
    """A handoff that is not announced looks like silence: every reply ends with the message, one at least."""
    said = [speech.text(alternative).strip() for alternative in range(len(speech.message_ids))]
    replied = [alternative for alternative, text in enumerate(said) if text or alternative in speech.facts.ends]
    for alternative in replied or [0]:
        speech.say(TextDelta(alternative, f"\n\n{message}" if said[alternative] else message))
