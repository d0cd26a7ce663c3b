"""Unanswered prompts over HTTP: reading them in groups, answering and dismissing them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gigachat_server.api import learning_wire
from gigachat_server.api.fixed_answers import Phrasing, check_says_something
from gigachat_server.edge import cursors
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, next_link, query_choice, query_limit
from gigachat_server.errors import NotFound
from gigachat_server.ids import is_id
from gigachat_server.learning.groups import MOST_PROMPTS, GroupOutcome
from gigachat_server.records import Chatbot
from gigachat_server.services import Services
from gigachat_server.store.idempotency import Key

_STATES = ("open", "answered", "dismissed")


class AnswerInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"as_": "as"}):
    """An operator's answer to a group of unanswered prompts."""

    answer: Annotated[str, Meta(min_length=1, max_length=32_000)]
    as_: Annotated[
        Literal["fixed_answer", "document"],
        Meta(description="`fixed_answer`: the answer is given word for word; `document`: replies are made from it."),
    ]
    prompts: Annotated[
        tuple[Phrasing, ...],
        Meta(max_length=MOST_PROMPTS, description="The prompts that the fixed answer answers. Default: those of the group."),
    ] = ()
    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1024)] | None,
        Meta(description="Name of the document, which replaces one of that name; null: named after the prompt."),
    ] = None


async def list_all(request: Request[None], services: Services) -> Answer:
    """Groups of those that ask much the same, the one with the newest prompt first."""
    limit, before = query_limit(request.query), cursors.load(request.query.get("after"))
    state = query_choice(request.query, "state", _STATES) or "open"
    page = await services.learning.page(request.chatbot.id, state, before=before, limit=limit)  # type: ignore[arg-type]
    headers = {} if page.last is None else next_link(request, cursors.dump(*page.last))
    suggestions = await services.learning.suggestions(request.chatbot.id, page.groups)
    return Answer([learning_wire.group(each, suggestions.get(each.id)) for each in page.groups], headers=headers)


async def answer(request: Request[AnswerInput], services: Services) -> Answer:
    """Makes a fixed answer or a document of what an operator says, and settles the group."""
    check_answer(request.body)
    settled = request.earlier(GroupOutcome)
    if settled is None:
        settled = await settle(services, request.chatbot, _prompt_id(request), request.body, key=request.key)
    return Answer(learning_wire.settled(settled, request.account_id), 201)


def check_answer(wanted: AnswerInput) -> None:
    """Raises `InvalidRequest` for texts that say nothing."""
    check_says_something(wanted.answer, "answer")
    for number, prompt in enumerate(wanted.prompts):
        check_says_something(prompt, f"prompts[{number}]")


async def settle(services: Services, chatbot: Chatbot, prompt_id: str, wanted: AnswerInput, *, key: Key | None) -> GroupOutcome:
    """Raises `NotFound`, `UnansweredSettled`, `TooManyFixedAnswers`."""
    learning = services.learning
    if wanted.as_ == "fixed_answer":
        return await learning.answer(chatbot, prompt_id, wanted.answer, prompts=wanted.prompts, key=key)
    made = await learning.answer_by_document(chatbot, prompt_id, wanted.answer, name=wanted.name, key=key)
    if made.document is not None and made.document.state == "pending":
        services.ingest_worker.wake_up()
    return made


async def dismiss(request: Request[None], services: Services) -> Answer:
    """Takes the group off the list of what is to be answered."""
    prompt_id = _prompt_id(request)
    settled = request.earlier(GroupOutcome) or await services.learning.dismiss(request.chatbot, prompt_id, key=request.key)
    return Answer(learning_wire.settled(settled, request.account_id))


def _prompt_id(request: Request[Any]) -> str:
    prompt_id = request.named["prompt_id"]
    if not is_id(prompt_id):
        raise NotFound
    return prompt_id
