"""Fixed answers, and the prompts that are still unanswered: what an operator teaches a chatbot, sentence by sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from gigachat_server.api.fixed_answers import FixedAnswerInput, checked_answer
from gigachat_server.api.unanswered import AnswerInput, check_answer, settle
from gigachat_server.edge import cursors
from gigachat_server.edge.body import convert
from gigachat_server.edge.request import query_choice
from gigachat_server.errors import Conflict, FieldError, InvalidRequest, NotFound
from gigachat_server.ids import is_id
from gigachat_server.learning.groups import Group
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest
from gigachat_server.pages.settings.page import done, render
from gigachat_server.records import FixedAnswer, UnansweredState
from gigachat_server.store import fixed_answers
from gigachat_server.store.database import Reader
from gigachat_server.store.unanswered import Suggestion

_PER_PAGE = 25
_EXAMPLES = 8
_STATES: tuple[UnansweredState, ...] = ("open", "answered", "dismissed")


class Typed(msgspec.Struct, frozen=True):
    """A form as it was sent and refused; `id` says which one, empty for that of a new answer."""

    id: str = ""
    values: Mapping[str, str] = {}
    problems: Mapping[str, str] = {}
    is_refused: bool = False


_NOTHING = Typed()


class GroupView(msgspec.Struct, frozen=True):
    """A group with its newest wordings, and what an operator said to one of its prompts."""

    group: Group
    wordings: list[str]
    suggestion: Suggestion | None


# --- fixed answers ---


async def show(request: PageRequest[None], context: PageContext) -> Response:
    return await _answers(request, context)


async def act(request: PageRequest[None], context: PageContext) -> Response:
    services, chatbot, form = context.services, request.chatbot, request.form
    held_id = form.get("id", "")
    if held_id and not is_id(held_id):
        raise NotFound
    match form.get("do"):
        case "save":
            try:
                wanted = _wanted(form)
                await services.fixed_answers.put(
                    chatbot, held_id or None, prompts=wanted.prompts, answer=wanted.answer, is_enabled=wanted.is_enabled
                )
            except (InvalidRequest, Conflict) as error:
                typed = Typed(held_id, form, _problems(error, "answer"), is_refused=True)
                return await _answers(request, context, status=error.status, typed=typed)
            return done(request, "answers", "answer-saved")
        case "on" | "off":
            held = await services.fixed_answers.find(chatbot, held_id)
            if held is None:
                raise NotFound
            await services.fixed_answers.put(
                chatbot, held.id, prompts=held.prompts, answer=held.answer, is_enabled=form["do"] == "on"
            )
            return done(request, "answers", "answer-saved")
        case "delete":
            await services.fixed_answers.delete(chatbot, held_id)
            return done(request, "answers", "answer-deleted")
        case _:
            raise InvalidRequest(errors=(FieldError("do", "Is not known."),))


def _wanted(form: Mapping[str, str]) -> FixedAnswerInput:
    """Raises `InvalidRequest`."""
    given = {"prompts": _lines(form), "answer": _text(form), "is_enabled": form.get("is_enabled") == "true"}
    return checked_answer(convert(given, FixedAnswerInput))


async def _answers(request: PageRequest[None], context: PageContext, *, status: int = 200, typed: Typed = _NOTHING) -> Response:
    after = request.query.get("after")

    async def read(reader: Reader) -> tuple[list[FixedAnswer], int]:
        found = await fixed_answers.list_answers(reader, request.chatbot.id, after=after, limit=_PER_PAGE + 1)
        return found, await fixed_answers.count(reader, request.chatbot.id)

    found, count = await context.services.database.read(read)
    return await render(
        request,
        context,
        "answers",
        status=status,
        answers=found[:_PER_PAGE],
        further=found[_PER_PAGE - 1].id if len(found) > _PER_PAGE else "",
        count=count,
        typed=typed,
    )


# --- unanswered prompts ---


async def show_unanswered(request: PageRequest[None], context: PageContext) -> Response:
    return await _unanswered(request, context)


async def act_unanswered(request: PageRequest[None], context: PageContext) -> Response:
    """Answer a group, or take it off the list."""
    form = request.form
    prompt_id = form.get("id", "")
    if not is_id(prompt_id):
        raise NotFound
    try:
        match form.get("do"):
            case "dismiss":
                await context.services.learning.dismiss(request.chatbot, prompt_id, key=None)
                return done(request, "unanswered", "dismissed")
            case "fixed_answer" | "document" as kind:
                wanted = _answer(form, kind)
                await settle(context.services, request.chatbot, prompt_id, wanted, key=None)
                return done(request, "unanswered", "answered")
            case _:
                raise InvalidRequest(errors=(FieldError("do", "Is not known."),))
    except (InvalidRequest, Conflict) as error:
        typed = Typed(prompt_id, form, _problems(error, "answer"), is_refused=True)
        return await _unanswered(request, context, status=error.status, typed=typed)


def _answer(form: Mapping[str, str], kind: Literal["fixed_answer", "document"]) -> AnswerInput:
    """Raises `InvalidRequest`."""
    given: dict[str, Any] = {"answer": _text(form), "as": kind}
    if kind == "fixed_answer":
        given["prompts"] = _lines(form)
    wanted = convert(given, AnswerInput)
    check_answer(wanted)
    return wanted


async def _unanswered(
    request: PageRequest[None], context: PageContext, *, status: int = 200, typed: Typed = _NOTHING
) -> Response:
    learning = context.services.learning
    state: UnansweredState = query_choice(request.query, "state", _STATES) or "open"  # type: ignore[assignment]
    before = cursors.load(request.query.get("after"))
    page = await learning.page(request.chatbot.id, state, before=before, limit=_PER_PAGE)
    suggested = await learning.suggestions(request.chatbot.id, page.groups)
    groups = [
        GroupView(each, list(dict.fromkeys(row.content for row in reversed(each.newest)))[:_EXAMPLES], suggested.get(each.id))
        for each in page.groups
    ]
    return await render(
        request,
        context,
        "unanswered",
        status=status,
        state=state,
        states=_STATES,
        groups=groups,
        further="" if page.last is None else cursors.dump(*page.last),
        typed=typed,
        lost=[*typed.problems.values()] if typed.is_refused and typed.id not in [each.group.id for each in groups] else [],
    )


def _lines(form: Mapping[str, str]) -> list[str]:
    return [line.strip() for line in form.get("prompts", "").splitlines() if line.strip()]


def _text(form: Mapping[str, str]) -> str:
    return form.get("answer", "").replace("\r\n", "\n").strip()


def _problems(error: InvalidRequest | Conflict, otherwise: str) -> dict[str, str]:
    errors: Sequence[FieldError] = error.errors or (FieldError(otherwise, error.detail or error.message),)
    return {each.field.partition("[")[0]: each.message for each in errors}
