"""Asks a chatbot questions with known answers, through the public API.

Idea: each question gets a new conversation; before asking, the API shows what it would find there: that is the ranking, so one
pass gives both. Turns before the question are replayed in the same conversation: the user's as prompts, the known answers as
staff messages (the chatbot's own replies to the prompts enter its history too).

Invariant: only `fill` changes a chatbot; everything else reads it and talks to it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from gigachat_server.chat.answers.markers import without_markers
from gigachat_server.chat.answers.prompt import refusal
from gigachat_server.cli.client import ApiClient, ApiProblem, NamedId
from gigachat_server.cli.output import note
from gigachat_server.cli.progress import for_each
from gigachat_server.evaluation import measures
from gigachat_server.evaluation.compared_texts import normalised
from gigachat_server.evaluation.measures import Document, Question, Result, RetrievedPassage
from gigachat_server.language.words import small_talk

_PUSHES_AT_ONCE = 8
_USER, _GOLD = "eval", "client:gold"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure of a chatbot."""

    with_answers: bool
    with_retrieval: bool
    retrieved: int
    concurrency: int


class Chatbot(msgspec.Struct, frozen=True, kw_only=True):
    """A chatbot as it is asked."""

    id: str
    name: str
    persona: str
    match_count: int
    match_threshold: float

    @property
    def path(self) -> str:
        return f"/chatbots/{self.id}"


class _Passage(msgspec.Struct):
    name: str
    content: str
    score: float
    is_source: bool = False
    parts: dict[str, float] = {}

    @property
    def document_name(self) -> str:
        return self.name.rpartition("-")[0]


class _Ranking(msgspec.Struct):
    passages: list[_Passage]
    judged_for: str
    is_lenient: bool
    leniency: float

    @property
    def ranked(self) -> tuple[RetrievedPassage, ...]:
        """With the scores that a threshold is compared with: for a model that quotes, without leniency, whatever came of that."""
        if self.judged_for == "generating" or not self.is_lenient:
            return tuple(map(_retrieved, self.passages))
        return tuple(
            msgspec.structs.replace(_retrieved(passage), score=round(_sigmoid(sum(passage.parts.values()) - self.leniency), 6))
            for passage in self.passages
        )

    @property
    def handed(self) -> tuple[RetrievedPassage, ...]:
        return tuple(_retrieved(passage) for passage in self.passages if passage.is_source)


class _Citation(msgspec.Struct):
    number: int
    start: int | None
    end: int | None
    text: str | None


class _Reply(msgspec.Struct):
    content: str
    metadata: dict[str, Any]
    sources: list[_Passage]
    citations: list[_Citation] = []

    @property
    def cited_spans(self) -> tuple[bool, ...]:
        spans = (each for each in self.citations if each.text is not None)
        return tuple(
            0 < each.number <= len(self.sources) and self.sources[each.number - 1].content[each.start : each.end] == each.text
            for each in spans
        )


async def find(api: ApiClient, name_or_id: str) -> Chatbot:
    """An existing chatbot, as it is."""
    found = await api.find_chatbot(name_or_id)
    return _chatbot(await api.get(f"/chatbots/{found.id}"))


async def fill(api: ApiClient, name: str, documents: Sequence[Document], *, results: dict[str, Any]) -> Chatbot:
    """The chatbot "eval: <name>", made if there is none, with these documents and no others, and these settings of results."""
    wanted = f"eval: {name}"
    known = msgspec.convert(await api.list_all("/chatbots"), list[NamedId])
    found = next((chatbot for chatbot in known if chatbot.name == wanted), None)
    if found is None:
        found = msgspec.convert(await api.post("/chatbots", {"name": wanted}), NamedId)
    path = f"/chatbots/{found.id}"
    names = {document.name for document in documents}
    for document in msgspec.convert(await api.list_all(path + "/documents"), list[NamedId]):
        if document.name not in names:
            await api.delete(f"{path}/documents/{document.id}")

    async def push(document: Document) -> None:
        body = {"name": document.name, "content": document.content}
        await api.post(path + "/documents", body, embedding="false")

    await for_each(documents, push, at_once=_PUSHES_AT_ONCE, label=f"{name}: documents")
    return _chatbot(await api.patch(path, {"documents": {"results": results}}))


def _chatbot(answer: Any) -> Chatbot:
    results = answer["documents"]["results"]
    return Chatbot(
        id=answer["id"],
        name=answer["name"],
        persona=answer["response"]["system_persona"],
        match_count=results["match_count"],
        match_threshold=results["match_threshold"],
    )


async def ask(api: ApiClient, chatbot: Chatbot, questions: Sequence[Question], plan: Plan, *, label: str) -> dict[str, Result]:
    """What came of each question; those that could not be asked are told of and left out."""
    asking = _Asking(api, chatbot, plan)
    note(f"{label}: {len(questions)} questions, {sum(map(asking.messages, questions))} messages to send")

    async def one(question: Question) -> None:
        try:
            await asking.ask(question)
        except ApiProblem as problem:
            note(f"{question.id}: {problem}")

    await for_each(questions, one, at_once=plan.concurrency, label=f"{label}: questions")
    return {question.id: asking.results[question.id] for question in questions if question.id in asking.results}


class _Asking:
    """One run over one chatbot."""

    def __init__(self, api: ApiClient, chatbot: Chatbot, plan: Plan) -> None:
        self._api = api
        self._chatbot = chatbot
        self._path = chatbot.path
        self._plan = plan
        self._refusal = normalised(refusal(chatbot.persona))
        self._started = f"{time.time_ns():x}"  # conversations of an earlier run are not continued
        self.results: dict[str, Result] = {}

    def messages(self, question: Question) -> int:
        return len(question.history) + self._plan.with_answers

    async def ask(self, question: Question) -> None:
        conversation = await replay(self._api, self._chatbot, question, self._started)
        result = Result(id=question.id)
        if self._plan.with_retrieval:
            result = await self._with_ranking(result, question, conversation)
        if self._plan.with_answers:
            result = await self._with_answer(result, question, conversation)
        else:
            would_abstain = measures.top_score(result, self._chatbot.match_count) < self._chatbot.match_threshold
            result = msgspec.structs.replace(result, abstained=would_abstain)
        self.results[question.id] = result

    async def _with_ranking(self, result: Result, question: Question, conversation: str) -> Result:
        query = {"query": question.question, "limit": str(max(self._plan.retrieved, self._chatbot.match_count))}
        if question.history:
            query["conversation_id"] = conversation
        began = time.perf_counter()
        found = await self._ranking(query)
        took = _milliseconds_since(began)
        generating = found if found.judged_for == "generating" else await self._ranking({**query, "for": "generating"})
        return msgspec.structs.replace(
            result,
            retrieved=found.ranked[: self._plan.retrieved],
            handed=generating.handed,
            retrieval_ms=took,
        )

    async def _ranking(self, query: dict[str, str]) -> _Ranking:
        return msgspec.convert(await self._api.get(self._path + "/retrieve", **query), _Ranking)

    async def _with_answer(self, result: Result, question: Question, conversation: str) -> Result:
        began = time.perf_counter()
        reply = await _say(self._api, self._chatbot, conversation, _USER, question.question)
        took = _milliseconds_since(began)
        text = without_markers(reply.content)  # their numbers are not words of the answer
        abstained = reply.metadata.get("abstained")
        if not isinstance(abstained, bool):
            abstained = normalised(text) == self._refusal
        if not reply.sources and small_talk(question.question) is not None:
            abstained = True  # a courtesy returned claims no more than a refusal does
        return msgspec.structs.replace(
            result,
            answer=text,
            abstained=abstained,
            citations=tuple(dict.fromkeys(source.document_name for source in reply.sources)),
            cited_spans=reply.cited_spans,
            reply_ms=took,
        )


async def replay(api: ApiClient, chatbot: Chatbot, question: Question, run: str) -> str:
    """The conversation in which the question is to be asked, with what was said before it; `run` tells it from others."""
    conversation = f"{question.id[:200]} {run}"
    for said in question.history:
        await _say(api, chatbot, conversation, _USER if said.role == "user" else _GOLD, said.text)
    return conversation


async def _say(api: ApiClient, chatbot: Chatbot, conversation: str, user_id: str, text: str) -> _Reply:
    body = {"conversation_id": conversation, "user_id": user_id, "prompt": text}
    messages = await api.post(chatbot.path + "/conversations", body, embedding="false")
    return msgspec.convert(messages[0], _Reply)


def _milliseconds_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 2)


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(logit, 60.0))))


def _retrieved(passage: _Passage) -> RetrievedPassage:
    # The header of a chunk names its document, which may happen to hold the answer.
    return RetrievedPassage(passage.document_name, passage.content.partition("\n\n---\n\n")[2], passage.score)
