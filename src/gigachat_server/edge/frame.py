"""The way of every request, whatever the surface: route, caller, chatbot, restrictions, body, handler, answer.

Idea: the frame takes the steps, in one order, and a surface (the API, the pages) says what is particular to it: its routes,
its credentials, its bodies, what an error looks like. Invariant: no handler runs for a caller whose credential, scope, chatbot
or restrictions were not checked first, and whatever goes wrong ends in one answer that the surface renders.
"""

from __future__ import annotations

import logging
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gigachat_server.access import scopes
from gigachat_server.access.limits import network_of
from gigachat_server.access.principal import Principal
from gigachat_server.edge.answer import render, without_body, without_stream
from gigachat_server.edge.chatbot_names import chatbot_called, chatbot_of_response, only_chatbot
from gigachat_server.edge.idempotency import REPLAYED, key_of, replay
from gigachat_server.edge.long_lists import LongLists
from gigachat_server.edge.request import Authoriser, Request, parse_query
from gigachat_server.edge.routes import AnyRoute
from gigachat_server.edge.signposts import unknown_parameter, what_is_missing
from gigachat_server.edge.uploads import is_form, received
from gigachat_server.errors import (
    FieldError,
    Forbidden,
    GigachatError,
    IdempotencyInProgress,
    InvalidRequest,
    NotFound,
    ShuttingDown,
)
from gigachat_server.ids import is_id
from gigachat_server.records import Chatbot
from gigachat_server.services import Services
from gigachat_server.store import chatbots, idempotency
from gigachat_server.store.database import Reader
from gigachat_server.store.idempotency import IdempotencyRecord
from gigachat_server.triggers import trigger

Q = TypeVar("Q", bound=Request[Any])

_OF_THE_WHOLE_ACCOUNT = "This is about all chatbots of the account, and you are a member of some."
_BY_THE_WAY = (502, 503, 504)  # what is no fault of this process


class Surface(Protocol[Q]):
    """What is particular to one way in."""

    log: logging.Logger
    context: Any  # what its handlers get beside the request
    scope_missing: str  # what a caller without the route's `{scope}` is told

    def open(self, scope: Scope, authoriser: Authoriser) -> Q: ...

    def find(self, request: Q) -> AnyRoute | Response:
        """Its route, or the answer where no handler is needed. Raises `NotFound`, `MethodNotAllowed`."""

    async def identify(self, request: Q, route: AnyRoute) -> Principal | None:
        """Who is calling; None only where the route is public. Raises `Unauthenticated`, `Forbidden`."""

    async def check_restrictions(self, request: Q, chatbot: Chatbot) -> None:
        """Whether the caller is where they may be. Raises `HostnameRefused`, `AddressRefused`."""

    async def read_body(self, request: Q, route: AnyRoute, receive: Receive) -> Any:
        """The body as the route wants it, or None."""

    async def render_problem(self, error: GigachatError, request: Q) -> Response: ...

    async def finish(self, request: Q, response: Response) -> None:
        """The headers that every answer has."""


class Frame(Generic[Q]):
    """A surface as an ASGI application."""

    def __init__(self, surface: Surface[Q], services: Services) -> None:
        self._surface = surface
        self._services = services
        self._lists = LongLists()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        surface = self._surface
        request = surface.open(scope, self)
        try:
            response = await self._respond(request, scope, receive)
        except ClientDisconnect:
            return
        except GigachatError as error:
            if isinstance(error, NotFound) and error.detail is None and request.route is not None:
                error.detail = what_is_missing(request.route, has_chatbot=request.named_chatbot is not None, root=request.root)
            if error.status >= 500 and error.status not in _BY_THE_WAY:
                surface.log.error("%s %s: %s (%s)", request.method, request.raw_path, error.code, _whose(request))
            response = await surface.render_problem(error, request)
        except Exception:
            surface.log.exception("%s %s failed, %s", request.method, request.raw_path, _whose(request))
            response = await surface.render_problem(GigachatError(), request)
        await surface.finish(request, response)
        if request.method == "HEAD":
            response, send = without_stream(response), without_body(send)
        await response(scope, receive, send)

    async def _respond(self, request: Q, scope: Scope, receive: Receive) -> Response:
        found = self._surface.find(request)
        if isinstance(found, Response):
            return found
        route = request.route = found
        if route.is_prompt:
            await trigger("S0")
        await self.authorise(request)
        request.query = request.query or parse_query(request.raw_query)
        _check_parameters(request, route)
        if route.method == "POST" and self._services.is_shutting_down:
            raise ShuttingDown(retry_after_s=5)
        if route.takes_file and is_form(request.headers):
            async with received(scope, receive, request.headers, self._services.settings) as upload:
                request.body, request.file = upload.file, upload.path
                return await self._carry_out(request, route)
        request.body, request.is_read = await self._surface.read_body(request, route, receive), True
        if route.needs_body:
            await self._name_chatbot(request, route)
        if route.is_prompt:
            await trigger("S1")
        return await self._carry_out(request, route)

    async def authorise(self, request: Q) -> None:
        """Who is calling, whether they may, and the chatbot that is named, as far as that is known yet."""
        route = request.route
        assert route is not None
        principal = request.caller = await self._surface.identify(request, route)
        if principal is None:
            return
        if principal.is_end_user:
            if route.end_user == "no":
                raise Forbidden("End users do not reach this: call it from your server, with an API key.")
            principal = request.caller = msgspec.structs.replace(principal, address=network_of(request.peer))
        if isinstance(route.scope, scopes.Scope):
            principal.require(route.scope, self._surface.scope_missing)
            if principal.memberships is not None and route.chatbot_in is None and not route.is_filtered:
                raise Forbidden(_OF_THE_WHOLE_ACCOUNT)
        if route.chatbot_in in ("query", "account") and not request.query:
            request.query = parse_query(request.raw_query)
        if route.chatbot_in is not None and (request.is_read or not route.needs_body):
            await self._name_chatbot(request, route)

    async def _name_chatbot(self, request: Q, route: AnyRoute) -> None:
        """Once, however the request names it: authorised again, it is about the same one, whatever that is called by then."""
        known = request.named_chatbot
        chatbot_id = await self._chatbot_id(request, route) if known is None else known.id
        await self.open_chatbot(request, chatbot_id, is_guarded=route.is_guarded)

    async def open_chatbot(self, request: Q, chatbot_id: str, *, is_guarded: bool) -> None:
        """The caller's own. Foreign, missing and impossible ids look the same."""
        route, principal = request.route, request.principal
        if not is_id(chatbot_id):
            raise NotFound
        chatbot = await chatbots.find_remembered(
            self._services.database, principal.account_id, chatbot_id, exactly=route is None or not route.is_prompt
        )
        if chatbot is None:
            raise NotFound
        request.caller = principal = principal.within(chatbot)
        if route is not None and isinstance(route.scope, scopes.Scope):
            principal.require(route.scope, self._surface.scope_missing)
        restrictions = chatbot.config.restrictions
        if is_guarded and (principal.is_end_user or restrictions.hostnames or restrictions.ip_addresses):
            await self._surface.check_restrictions(request, chatbot)
        request.named_chatbot = chatbot

    async def _chatbot_id(self, request: Q, route: AnyRoute) -> str:
        match route.chatbot_in:
            case "path":
                return request.named["chatbot_id"]
            case "query":
                return request.query.get("chatbot", "")
            case "model":
                return await chatbot_called(request, self._services)
            case "response":
                return await chatbot_of_response(request, self._services)
            case "account":
                return await only_chatbot(request, self._services)
            case _:
                return str(request.body.chatbot_id)

    async def _carry_out(self, request: Q, route: AnyRoute) -> Response:
        """Have it done, once for each `Idempotency-Key`, and shape what came of it, then or now."""
        if route.is_idempotent and "idempotency-key" in request.headers:
            request.key = key_of(request, route)
            if not route.is_prompt:
                request.kept = await self._find_kept(request, request.key)
                if request.kept is not None and request.kept.kind == "answer":
                    return replay(request.kept)
        try:
            if route.is_list:
                response = await self._lists.answered(request.account_id, lambda: route.handler(request, self._surface.context))
            else:
                response = render(await route.handler(request, self._surface.context))
        except IdempotencyInProgress:
            # The same request was carried out while this one was on its way: there is a result now.
            if request.key is None or request.kept is not None or route.is_prompt:
                raise
            return await self._carry_out(request, route)
        if request.kept is not None:
            response.headers.update(REPLAYED)
        return response

    async def _find_kept(self, request: Q, key: idempotency.Key) -> IdempotencyRecord | None:
        """What came of it before, for those who may still enter the conversation that it tells of. Raises `NotFound`."""

        async def read(reader: Reader) -> IdempotencyRecord | None:
            return await idempotency.find(reader, key, now_us=self._services.clock())

        kept = await self._services.database.read(read)
        if kept is not None and key.conversation_id is not None and request.principal.is_end_user:
            await self._services.conversations.read(request.principal, request.chatbot, key.conversation_id)
        return kept


def _check_parameters(request: Request[Any], route: AnyRoute) -> None:
    """Raises `InvalidRequest` for what would otherwise be ignored in silence."""
    allowed = route.parameters
    if allowed is None:
        return
    unknown = [FieldError(name, unknown_parameter(name, allowed)) for name in request.query if name not in allowed]
    if unknown:
        raise InvalidRequest(errors=tuple(unknown))


def _whose(request: Request[Any]) -> str:
    """For a line in the log."""
    caller = "" if request.caller is None else f" {request.caller.log_context}"
    return f"request={request.request_id}{caller}"
