"""The list of chatbots, each with how it is doing, and the overview of one: what is to be done until visitors can ask it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import shown_name
from gigachat_server.errors import InvalidRequest
from gigachat_server.pages.context import PageContext, redirect
from gigachat_server.pages.request import PageRequest, checked, first_problem
from gigachat_server.pages.settings.page import DONE, done, path_of, render
from gigachat_server.records import Chatbot, ChatbotConfig
from gigachat_server.store import fixed_answers, overviews, unanswered, widget_keys
from gigachat_server.store.database import Reader

_PER_PAGE = 50


class NameForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]


class Card(msgspec.Struct, frozen=True):
    chatbot: Chatbot
    documents: overviews.DocumentCounts
    waiting: int


class Figures(msgspec.Struct, frozen=True):
    """What the overview counts; None where the visitor may not know."""

    documents: overviews.DocumentCounts | None
    waiting: int | None
    unanswered: int | None
    fixed_answers: int | None
    is_tried: bool
    widget_keys: int | None


async def list_all(request: PageRequest[None], context: PageContext) -> Response:
    return await _list(request, context)


async def create(request: PageRequest[None], context: PageContext) -> Response:
    """A chatbot of that name; the way goes on with what it is to know."""
    request.form = {**request.form, "name": request.form.get("name", "").strip()}
    try:
        form = checked(request, NameForm, context.services.settings)
        made = await context.services.chatbots.create(request.principal, form.name, ChatbotConfig())
    except InvalidRequest as error:
        return await _list(request, context, status=error.status, problem=first_problem(error))
    return redirect(f"/settings/{made.id}?done=created")


async def show(request: PageRequest[None], context: PageContext) -> Response:
    return await _overview(request, context)


async def rename(request: PageRequest[None], context: PageContext) -> Response:
    request.form = {**request.form, "name": request.form.get("name", "").strip()}
    try:
        form = checked(request, NameForm, context.services.settings)
        name = shown_name(form.name, "name")
        await context.services.chatbots.change(
            request.principal, request.chatbot.id, lambda held: msgspec.structs.replace(held, name=name)
        )
    except InvalidRequest as error:
        return await _overview(request, context, status=error.status, problem=first_problem(error))
    return done(request, "", "saved")


async def delete(request: PageRequest[None], context: PageContext) -> Response:
    """With all its documents and conversations; only with its name typed, since nothing brings them back."""
    if request.form.get("name", "").strip() != request.chatbot.name.strip():
        return await _overview(request, context, status=422, delete_problem="Type the chatbot’s name as it is shown above.")
    await context.services.chatbots.delete(request.principal, request.chatbot.id)
    return redirect("/settings?done=chatbot-deleted")


async def _list(request: PageRequest[None], context: PageContext, *, status: int = 200, problem: str = "") -> Response:
    services, who = context.services, request.principal
    found = await services.chatbots.list(who, after=request.query.get("after"), limit=_PER_PAGE + 1)
    shown = found[:_PER_PAGE]

    async def read(reader: Reader) -> list[Card]:
        ids = [chatbot.id for chatbot in shown]
        documents = await overviews.count_documents(reader, ids) if who_may(request, Scope.DOCUMENTS_READ) else {}
        waiting = await overviews.count_waiting(reader, ids) if who_may(request, Scope.CONVERSATIONS_READ) else {}
        none = overviews.DocumentCounts()
        return [Card(each, documents.get(each.id, none), waiting.get(each.id, 0)) for each in shown]

    return await context.page(
        request,
        "settings/chatbots.html",
        status=status,
        cards=await services.database.read(read) if shown else [],
        further=shown[-1].id if len(found) > _PER_PAGE else "",
        problem=problem,
        typed=request.form.get("name", ""),
        may_count=who_may(request, Scope.DOCUMENTS_READ),
        done=DONE.get(request.query.get("done", "")),
    )


def who_may(request: PageRequest[None], scope: Scope) -> bool:
    """Whether the visitor may do that in each chatbot that a list shows them: every role in a chatbot may read."""
    return request.principal.memberships is not None or request.may(scope)


async def _overview(
    request: PageRequest[None], context: PageContext, *, status: int = 200, problem: str = "", delete_problem: str = ""
) -> Response:
    chatbot_id, may = request.chatbot.id, request.may

    async def read(reader: Reader) -> Figures:
        reads, converses = may(Scope.DOCUMENTS_READ), may(Scope.CONVERSATIONS_READ)
        counted = await overviews.count_documents(reader, (chatbot_id,)) if reads else {}
        waiting = await overviews.count_waiting(reader, (chatbot_id,)) if converses else {}
        return Figures(
            documents=counted.get(chatbot_id, overviews.DocumentCounts()) if reads else None,
            waiting=waiting.get(chatbot_id, 0) if converses else None,
            unanswered=(await unanswered.get_version(reader, chatbot_id, "open")).count if converses else None,
            fixed_answers=await fixed_answers.count(reader, chatbot_id) if reads else None,
            is_tried=await overviews.has_conversations(reader, chatbot_id),
            widget_keys=len(await widget_keys.list_live(reader, chatbot_id)) if may(Scope.ACCESS_WRITE) else None,
        )

    return await render(
        request,
        context,
        "",
        status=status,
        figures=await context.services.database.read(read),
        problem=problem,
        delete_problem=delete_problem,
        home=path_of(request),
    )
