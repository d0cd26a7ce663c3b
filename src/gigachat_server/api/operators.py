"""Operators over HTTP: who may sign in to the pages, and what they may do there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gigachat_server.access.operators import MOST_MEMBERSHIPS, Draft
from gigachat_server.access.principal import PrincipalKind
from gigachat_server.access.sessions import INVITE_PATH
from gigachat_server.api.wire import Moment
from gigachat_server.clock import wire_time
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.body import convert
from gigachat_server.edge.request import Request, next_link, query_limit
from gigachat_server.errors import NotFound
from gigachat_server.ids import is_id
from gigachat_server.records import Membership, Operator
from gigachat_server.services import Services

RoleInAccount = Literal["owner", "admin", "member"]
RoleInChatbot = Literal["operator", "viewer"]
State = Literal["invited", "active", "disabled"]


class MembershipInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chatbot that a member sees, and what they may do there: answer and teach, or read."""

    chatbot_id: str
    role: RoleInChatbot = "operator"


class OperatorInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: Annotated[
        str, Meta(min_length=3, max_length=254, description="Where the invitation goes, and what they sign in with.")
    ]
    name: Annotated[str, Meta(max_length=255, description="How colleagues call them. Default: the handle.")] = ""
    handle: Annotated[
        str,
        Meta(
            max_length=64,
            description="The name under which they speak, as `client:<handle>`; fixed once they have signed in. "
            "Default: what stands before the @.",
        ),
    ] = ""
    role: Annotated[
        RoleInAccount,
        Meta(description="`owner`: everything; `admin`: everything but owners; `member`: what `chatbots` says."),
    ] = "member"
    chatbots: Annotated[
        tuple[MembershipInput, ...],
        Meta(max_length=MOST_MEMBERSHIPS, description="The chatbots of a member; of no effect for others."),
    ] = ()

    def draft(self) -> Draft:
        memberships = tuple(Membership(each.chatbot_id, each.role) for each in self.chatbots)
        return Draft(email=self.email, name=self.name, handle=self.handle, role=self.role, memberships=memberships)


class OperatorChange(OperatorInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    disabled: Annotated[bool, Meta(description="Whether they are shut out: at once, on every page and stream.")] = False


class WireMembership(msgspec.Struct, frozen=True):
    chatbot_id: str
    role: str


class WireOperator(msgspec.Struct, frozen=True):
    id: str
    email: str
    name: str
    handle: str
    role: str
    chatbots: list[WireMembership]
    state: Annotated[State, Meta(description="`invited`: they have not signed in yet.")]
    signs_in_with: Annotated[list[Literal["password", "oidc"]], Meta(description="Empty until they accept their invitation.")]
    created_at: Moment
    seen_at: Annotated[Moment | None, Meta(description="When they last signed in.")]
    disabled_at: Moment | None


class WireInvited(WireOperator, frozen=True):
    """`invite_url` is shown this once: the page on which they choose a password, within 7 days."""

    invite_url: str


async def create(request: Request[OperatorInput], services: Services) -> Answer:
    made, token = await services.operators.create(request.principal, request.body.draft())
    return Answer(_invited(request, services, made, token), 201)


async def list_all(request: Request[None], services: Services) -> Answer:
    limit, after = query_limit(request.query), request.query.get("after")
    found = await services.operators.list(request.principal, after=after, limit=limit + 1)
    headers = next_link(request, found[limit - 1].id) if len(found) > limit else {}
    return Answer([wire(operator) for operator in found[:limit]], headers=headers)


async def change(request: Request[dict[str, Any]], services: Services) -> Answer:
    """Merged into what is stored; a role that is lowered counts from the next request on, also of streams that are open."""
    patch = request.body
    said = convert({"email": "a@b", **patch}, OperatorChange)
    wanted = said.draft()
    names = {"chatbots": "memberships", "disabled": "is_disabled"}
    fields = {names.get(name, name): getattr(said, name) for name in patch}
    if "memberships" in fields:
        fields["memberships"] = wanted.memberships

    changed = await services.operators.change(
        request.principal, operator_id(request), lambda held: msgspec.structs.replace(held, **fields)
    )
    return Answer(wire(changed))


async def delete(request: Request[None], services: Services) -> Answer:
    """What is kept is the handle under which they spoke."""
    await services.operators.delete(request.principal, operator_id(request))
    return Answer(None, 204)


async def invite(request: Request[None], services: Services) -> Answer:
    """A new link, with which they also replace a password that they forgot; earlier links are void."""
    operator, token = await services.operators.invite(request.principal, operator_id(request))
    return Answer(_invited(request, services, operator, token), 201)


def operator_id(request: Request[Any]) -> str:
    """Raises `NotFound` for what can be none."""
    if not is_id(request.named["operator_id"]):
        raise NotFound
    return request.named["operator_id"]


def state_of(operator: Operator) -> State:
    if operator.disabled_at is not None:
        return "disabled"
    return "invited" if operator.seen_at is None else "active"


def wire(operator: Operator) -> WireOperator:
    return WireOperator(**_fields(operator))


def _invited(request: Request[Any], services: Services, operator: Operator, token: str) -> WireInvited:
    """The address that people reach this server at: a command of the machine does not know it."""
    settings = services.settings
    address = settings.public_url.rstrip("/")
    if not address:
        is_command = request.principal.kind is PrincipalKind.LOCAL
        address = f"http://{settings.host}:{settings.port}" if is_command else request.origin
    return WireInvited(**_fields(operator), invite_url=address + INVITE_PATH + token)


def _fields(operator: Operator) -> dict[str, Any]:
    ways = {"password": operator.password, "oidc": operator.oidc_subject}
    return {
        "id": operator.id,
        "email": operator.email,
        "name": operator.name,
        "handle": operator.handle,
        "role": operator.role,
        "chatbots": [WireMembership(each.chatbot_id, each.role) for each in operator.memberships],
        "state": state_of(operator),
        "signs_in_with": [way for way, known in ways.items() if known],
        "created_at": wire_time(operator.created_at),
        "seen_at": None if operator.seen_at is None else wire_time(operator.seen_at),
        "disabled_at": None if operator.disabled_at is None else wire_time(operator.disabled_at),
    }
