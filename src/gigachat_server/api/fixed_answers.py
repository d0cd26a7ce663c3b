"""Fixed answers over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gigachat_server.api import learning_wire
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, next_link, query_limit
from gigachat_server.errors import FieldError, InvalidRequest, NotFound
from gigachat_server.ids import is_id
from gigachat_server.language.words import normalised
from gigachat_server.records import FixedAnswer
from gigachat_server.services import Services
from gigachat_server.store import fixed_answers
from gigachat_server.store.database import Reader

Phrasing = Annotated[str, Meta(min_length=1, max_length=32_000)]


class FixedAnswerInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked, in several wordings, and what is said to it, word for word."""

    prompts: Annotated[tuple[Phrasing, ...], Meta(min_length=1, max_length=50)]
    answer: Annotated[str, Meta(min_length=1, max_length=32_000)]
    is_enabled: Annotated[bool, Meta(description="false: it is kept, but not used.")] = True


async def create(request: Request[FixedAnswerInput], services: Services) -> Answer:
    wanted = checked_answer(request.body)
    stored = request.earlier(FixedAnswer) or await services.fixed_answers.put(
        request.chatbot,
        None,
        prompts=wanted.prompts,
        answer=wanted.answer,
        is_enabled=wanted.is_enabled,
        key=request.key,
    )
    return Answer(learning_wire.fixed_answer(stored, request.account_id), 201)


async def put(request: Request[FixedAnswerInput], services: Services) -> Answer:
    wanted = checked_answer(request.body)
    stored = await services.fixed_answers.put(
        request.chatbot, _id(request), prompts=wanted.prompts, answer=wanted.answer, is_enabled=wanted.is_enabled
    )
    return Answer(learning_wire.fixed_answer(stored, request.account_id))


async def list_all(request: Request[None], services: Services) -> Answer:
    limit, after = query_limit(request.query), request.query.get("after")

    async def read(reader: Reader) -> list[FixedAnswer]:
        return await fixed_answers.list_answers(reader, request.chatbot.id, after=after, limit=limit + 1)

    found = await services.database.read(read)
    headers = next_link(request, found[limit - 1].id) if len(found) > limit else {}
    return Answer([learning_wire.fixed_answer(each, request.account_id) for each in found[:limit]], headers=headers)


async def get(request: Request[None], services: Services) -> Answer:
    found = await services.fixed_answers.find(request.chatbot, _id(request))
    if found is None:
        raise NotFound
    return Answer(learning_wire.fixed_answer(found, request.account_id))


async def delete(request: Request[None], services: Services) -> Answer:
    await services.fixed_answers.delete(request.chatbot, _id(request))
    return Answer(None, 204)


def check_says_something(text: str, field: str) -> None:
    """Raises `InvalidRequest` for blanks and marks alone."""
    if not normalised(text):
        raise InvalidRequest(errors=(FieldError(field, "Must contain some text."),))


def checked_answer(wanted: FixedAnswerInput) -> FixedAnswerInput:
    """Raises `InvalidRequest` for texts that say nothing."""
    check_says_something(wanted.answer, "answer")
    for number, prompt in enumerate(wanted.prompts):
        check_says_something(prompt, f"prompts[{number}]")
    return wanted


def _id(request: Request[Any]) -> str:
    fixed_answer_id = request.named["fixed_answer_id"]
    if not is_id(fixed_answer_id):
        raise NotFound
    return fixed_answer_id
