"""The page of operators: who may sign in, what each may do, and the links that let them in.

Invariant: the page does nothing that the API does not do for the same principal; a link is shown once, in the answer to the form
that asked for it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.responses import Response

from gigachat_server.access.operators import Draft
from gigachat_server.access.sessions import INVITE_PATH
from gigachat_server.api.operators import state_of
from gigachat_server.errors import Conflict, Forbidden, InvalidRequest
from gigachat_server.pages.context import PageContext, redirect
from gigachat_server.pages.request import CSRF_FIELD, PageRequest, checked, first_problem
from gigachat_server.records import Chatbot, Membership, Operator

_PER_PAGE = 100
_OF_CHATBOT = "chatbot."  # begins the name of a field that says what a member may do in the chatbot of that id
_NOT_A_MEMBER = ""


class _Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operator_id: str


class InviteForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: str
    role: str
    name: str = ""
    handle: str = ""


class ChangeForm(_Named, frozen=True, forbid_unknown_fields=True):
    name: str
    email: str
    role: str


class StateForm(_Named, frozen=True, forbid_unknown_fields=True):
    disabled: Literal["true", "false"]


class Row(msgspec.Struct, frozen=True):
    """An operator as the page shows them. `roles`: what they may do, by chatbot. `is_open`: may be changed by who looks."""

    operator: Operator
    state: str
    roles: dict[str, str]
    is_open: bool
    is_me: bool


async def show(request: PageRequest[None], context: PageContext) -> Response:
    return await _page(request, context)


async def invite(request: PageRequest[None], context: PageContext) -> Response:
    """Add an operator. Their link is in this answer and nowhere else, ever."""
    memberships = _memberships(request)
    try:
        form = checked(request, InviteForm, context.services.settings)
        draft = Draft(email=form.email, name=form.name, handle=form.handle.strip(), role=form.role, memberships=memberships)
        made, token = await context.services.operators.create(request.principal, draft)
    except (InvalidRequest, Conflict, Forbidden) as error:
        return await _page(request, context, status=error.status, problem=first_problem(error))
    return await _page(request, context, status=201, invited=made, link=_link(request, token))


async def change(request: PageRequest[None], context: PageContext) -> Response:
    memberships = _memberships(request)
    try:
        form = checked(request, ChangeForm, context.services.settings)
        await context.services.operators.change(
            request.principal,
            form.operator_id,
            lambda held: msgspec.structs.replace(held, name=form.name, email=form.email, role=form.role, memberships=memberships),
        )
    except (InvalidRequest, Conflict, Forbidden) as error:
        return await _page(request, context, status=error.status, problem=first_problem(error))
    return redirect("/operators")


async def renew_link(request: PageRequest[None], context: PageContext) -> Response:
    form = checked(request, _Named, context.services.settings)
    try:
        invited, token = await context.services.operators.invite(request.principal, form.operator_id)
    except (Conflict, Forbidden) as error:
        return await _page(request, context, status=error.status, problem=first_problem(error))
    return await _page(request, context, status=201, invited=invited, link=_link(request, token))


async def set_state(request: PageRequest[None], context: PageContext) -> Response:
    """Shut an operator out at once, or let them in again."""
    form = checked(request, StateForm, context.services.settings)
    is_disabled = form.disabled == "true"
    try:
        await context.services.operators.change(
            request.principal, form.operator_id, lambda held: msgspec.structs.replace(held, is_disabled=is_disabled)
        )
    except (Conflict, Forbidden) as error:
        return await _page(request, context, status=error.status, problem=first_problem(error))
    return redirect("/operators")


async def delete(request: PageRequest[None], context: PageContext) -> Response:
    form = checked(request, _Named, context.services.settings)
    try:
        await context.services.operators.delete(request.principal, form.operator_id)
    except (Conflict, Forbidden) as error:
        return await _page(request, context, status=error.status, problem=first_problem(error))
    return redirect("/operators")


def _memberships(request: PageRequest[None]) -> tuple[Membership, ...]:
    """What the form says of each chatbot, taken out of it."""
    said = {name: value for name, value in request.form.items() if name.startswith(_OF_CHATBOT)}
    request.form = {name: value for name, value in request.form.items() if name not in said or name == CSRF_FIELD}
    return tuple(Membership(name.removeprefix(_OF_CHATBOT), role) for name, role in said.items() if role != _NOT_A_MEMBER)


def _link(request: PageRequest[None], token: str) -> str:
    return request.address + INVITE_PATH + token


async def _page(
    request: PageRequest[None],
    context: PageContext,
    *,
    status: int = 200,
    invited: Operator | None = None,
    link: str = "",
    problem: str = "",
) -> Response:
    services, who = context.services, request.principal
    after = request.query.get("after")
    found = await services.operators.list(who, after=after, limit=_PER_PAGE + 1)
    chatbots: list[Chatbot] = await services.chatbots.list(who, after=None, limit=_PER_PAGE)
    return await context.page(
        request,
        "operators.html",
        status=status,
        rows=[_row(request, operator) for operator in found[:_PER_PAGE]],
        further=found[_PER_PAGE - 1].id if len(found) > _PER_PAGE else "",
        chatbots=chatbots,
        names={chatbot.id: chatbot.name for chatbot in chatbots},
        may_manage_owners=who.may_manage_owners,
        has_owner=await services.operators.has_owner(who.account_id),
        invited=invited,
        link=link,
        problem=problem,
        form=request.form,
    )


def _row(request: PageRequest[None], operator: Operator) -> Row:
    return Row(
        operator=operator,
        state=state_of(operator),
        roles={each.chatbot_id: each.role for each in operator.memberships},
        is_open=operator.role != "owner" or request.principal.may_manage_owners,
        is_me=operator.id == request.principal.id,
    )
