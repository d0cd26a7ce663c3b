"""`gigachat eval`: ask a chatbot questions with known answers, through the API like anyone, and score what it says.

Idea: a collection becomes a chatbot that is kept, so the next run embeds nothing. Each question is asked in conversations
of its own: one under the chatbot's usual settings, for the answer; one with every passage let through, for the ranking.
Turns before the question are replayed under the usual settings in both: the user's as prompts, the known answers as what
staff said (the chatbot's own replies to them enter its history too).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import click
import msgspec

from gigachat_server import evaluation
from gigachat_server.chat.prompt import refusal
from gigachat_server.cli.client import ApiClient, ApiProblem, Named, connected, connected_to, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import note, print_json, print_table
from gigachat_server.cli.progress import for_each
from gigachat_server.errors import SetupError
from gigachat_server.evaluation import Document, Question, Result, Retrieved, Scores
from gigachat_server.markers import without_markers
from gigachat_server.settings import Settings

_PUSHES_AT_ONCE = 8
_USER, _GOLD = "eval", "client:gold"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure, and under which settings of the chatbot."""

    with_answers: bool
    with_retrieval: bool
    match_count: int
    match_threshold: float
    retrieved: int
    concurrency: int

    @property
    def usual(self) -> dict[str, Any]:
        return {"match_count": self.match_count, "match_threshold": self.match_threshold}

    @property
    def all_passages(self) -> dict[str, Any]:
        return {"match_count": self.retrieved, "match_threshold": 0}


class _Source(msgspec.Struct):
    name: str
    content: str
    score: float

    @property
    def document_name(self) -> str:
        return self.name.rpartition("-")[0]


class _Citation(msgspec.Struct):
    number: int
    start: int | None
    end: int | None
    text: str | None


class _Reply(msgspec.Struct):
    content: str
    metadata: dict[str, Any]
    sources: list[_Source]
    citations: list[_Citation] = []

    @property
    def cited_spans(self) -> tuple[bool, ...]:
        spans = (each for each in self.citations if each.text is not None)
        return tuple(
            0 < each.number <= len(self.sources) and self.sources[each.number - 1].content[each.start : each.end] == each.text
            for each in spans
        )


@click.command("eval")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--collection", default="", help="Only these collections, separated by commas.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write one JSON line a question there.")
@click.option("--url", default="", help="Measure the server there instead of this machine's.")
@click.option("--key", default="", help="API key for --url.")
@click.option("--limit", type=click.IntRange(1), help="Ask only the first N questions of each collection.")
@click.option("--measure", type=click.Choice(["both", "answers", "retrieval"]), default="both", show_default=True)
@click.option("--match-count", type=click.IntRange(1, 100), default=3, show_default=True, help="The chatbot's, for answers.")
@click.option("--match-threshold", type=click.FloatRange(0, 1), default=0.78, show_default=True, help="Likewise.")
@click.option("--retrieved", type=click.IntRange(1, 100), default=10, show_default=True, help="Passages to rank.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="Questions asked at once.")
@click.option("--json", "is_json", is_flag=True, help="Print the scores as JSON.")
@with_settings(*EVERYWHERE)
def evaluate(
    settings: Settings,
    *,
    folder: Path,
    collection: str,
    out: Path | None,
    url: str,
    key: str,
    limit: int | None,
    measure: str,
    is_json: bool,
    **numbers: Any,
) -> None:
    """Measure how well chatbots answer the questions in FOLDER: its documents.jsonl and questions.jsonl.

    Each collection becomes a chatbot named "eval: <collection>", which is kept: a second run has nothing to embed.
    """
    if bool(url) != bool(key):
        raise click.UsageError("--url and --key go together.")
    documents = evaluation.read_lines(folder / "documents.jsonl", Document)
    questions = evaluation.read_lines(folder / "questions.jsonl", Question)
    names = _chosen(collection, questions)
    asked = [question for name in names for question in [q for q in questions if q.collection == name][:limit]]
    plan = Plan(with_answers=measure != "retrieval", with_retrieval=measure != "answers", **numbers)
    server = connected_to(url, key) if url else connected(settings)
    results = run(_measure(server, plan, names, documents, asked))
    if out is not None:
        out.write_bytes(b"".join(msgspec.json.encode(result) + b"\n" for result in results.values()))
    scores = evaluation.score(asked, results, threshold=plan.match_threshold)
    if is_json:
        print_json(scores)
    else:
        _print_scores(scores)
    if len(results) < len(asked):
        raise SetupError(f"{len(asked) - len(results)} questions could not be asked; they count as failures.")


def _chosen(collection: str, questions: Sequence[Question]) -> list[str]:
    known = list(dict.fromkeys(question.collection for question in questions))
    wanted = [name.strip() for name in collection.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise SetupError(f"There is no collection {name!r}: there are {', '.join(known)}.")
    return wanted or known


async def _measure(
    server: AbstractAsyncContextManager[ApiClient],
    plan: Plan,
    names: Sequence[str],
    documents: Sequence[Document],
    questions: Sequence[Question],
) -> dict[str, Result]:
    results: dict[str, Result] = {}
    async with server as api:
        for name in names:
            run_of = _Run(api, plan, await _chatbot(api, f"eval: {name}"))
            await run_of.push([document for document in documents if document.collection == name], name)
            results |= await run_of.ask([question for question in questions if question.collection == name], name)
    return results


async def _chatbot(api: ApiClient, name: str) -> Named:
    """The chatbot of that name, made if there is none."""
    for found in msgspec.convert(await api.list_all("/chatbots"), list[Named]):
        if found.name == name:
            return found
    return msgspec.convert(await api.post("/chatbots", {"name": name}), Named)


class _Run:
    """One collection, on its chatbot."""

    def __init__(self, api: ApiClient, plan: Plan, chatbot: Named) -> None:
        self._api = api
        self._plan = plan
        self._path = f"/chatbots/{chatbot.id}"
        self._started = f"{time.time_ns():x}"  # conversations of an earlier run are not continued
        self._refusal = ""
        self._answers: dict[str, _Reply] = {}
        self._rankings: dict[str, _Reply] = {}

    async def push(self, documents: Sequence[Document], label: str) -> None:
        """The chatbot has these documents and no others."""
        wanted = {document.name for document in documents}
        held = msgspec.convert(await self._api.list_all(self._path + "/documents"), list[Named])
        for document in held:
            if document.name not in wanted:
                await self._api.delete(f"{self._path}/documents/{document.id}")

        async def push(document: Document) -> None:
            body = {"name": document.name, "content": document.content}
            await self._api.post(self._path + "/documents", body, embedding="false")

        await for_each(documents, push, at_once=_PUSHES_AT_ONCE, label=f"{label}: documents")

    async def ask(self, questions: Sequence[Question], label: str) -> dict[str, Result]:
        chatbot = await self._set(self._plan.usual)
        self._refusal = refusal(chatbot["response"]["system_persona"])
        plan = self._plan
        replayed = sum(len(question.history) for question in questions)
        prompts = (len(questions) + replayed) * (plan.with_answers + plan.with_retrieval)
        note(f"{label}: {len(questions)} questions, {prompts} messages to send")
        if plan.with_answers:
            await self._each(questions, self._ask_for_answer, f"{label}: answers")
        if plan.with_retrieval:
            follow_ups = [question for question in questions if question.history]
            await self._each(follow_ups, self._replay_for_ranking, f"{label}: history")
            await self._set(plan.all_passages)
            await self._each(questions, self._ask_for_ranking, f"{label}: retrieval")
            await self._set(plan.usual)
        found = (self._result(question) for question in questions)
        return {result.id: result for result in found if result is not None}

    async def _set(self, results: dict[str, Any]) -> Any:
        return await self._api.patch(self._path, {"documents": {"results": results}})

    async def _each(self, questions: Sequence[Question], ask: Any, label: str) -> None:
        async def one(question: Question) -> None:
            try:
                await ask(question)
            except ApiProblem as problem:
                note(f"{question.id}: {problem}")

        await for_each(questions, one, at_once=self._plan.concurrency, label=label)

    async def _ask_for_answer(self, question: Question) -> None:
        conversation = self._conversation(question, "answer")
        await self._replay(conversation, question)
        self._answers[question.id] = await self._say(conversation, _USER, question.question)

    async def _replay_for_ranking(self, question: Question) -> None:
        await self._replay(self._conversation(question, "ranking"), question)

    async def _ask_for_ranking(self, question: Question) -> None:
        self._rankings[question.id] = await self._say(self._conversation(question, "ranking"), _USER, question.question)

    async def _replay(self, conversation: str, question: Question) -> None:
        for said in question.history:
            await self._say(conversation, _USER if said.role == "user" else _GOLD, said.text)

    async def _say(self, conversation: str, user_id: str, text: str) -> _Reply:
        body = {"conversation_id": conversation, "user_id": user_id, "prompt": text}
        messages = await self._api.post(self._path + "/conversations", body, embedding="false")
        return msgspec.convert(messages[0], _Reply)

    def _conversation(self, question: Question, purpose: str) -> str:
        return f"{question.id[:200]} {purpose} {self._started}"

    def _result(self, question: Question) -> Result | None:
        """None where the question could not be asked."""
        answer, ranking = self._answers.get(question.id), self._rankings.get(question.id)
        if (self._plan.with_answers and answer is None) or (self._plan.with_retrieval and ranking is None):
            return None
        retrieved = tuple(_retrieved(source) for source in (ranking.sources if ranking else ()))
        if answer is None:
            return Result(id=question.id, retrieved=retrieved)
        abstained = answer.metadata.get("abstained")
        if not isinstance(abstained, bool):
            abstained = evaluation.normalised(without_markers(answer.content)) == evaluation.normalised(self._refusal)
        return Result(
            id=question.id,
            retrieved=retrieved,
            answer=without_markers(answer.content),  # their numbers are no words of the answer
            abstained=abstained,
            citations=tuple(dict.fromkeys(source.document_name for source in answer.sources)),
            cited_spans=answer.cited_spans,
        )


def _retrieved(source: _Source) -> Retrieved:
    # The header of a chunk names its document, which may happen to hold the answer.
    return Retrieved(source.document_name, source.content.partition("\n\n---\n\n")[2], source.score)


def _print_scores(scores: dict[str, Scores]) -> None:
    metrics = list(dict.fromkeys(metric for of_collection in scores.values() for metric in of_collection))
    rows = [[metric, *(_cell(scores[name].get(metric)) for name in scores)] for metric in metrics]
    print_table(["", *scores], rows, nothing="")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value}"
