"""The MCP server: one POST for each message, at an address for the account and at one for each chatbot.

Idea: nothing is kept between requests. There is no session to lose, so any node answers any message, and both eras of the
protocol are served by the same few methods. An agent that leaves does not stop the turn it began, though MCP would have it so:
what a prompt leads to is stored, here as everywhere, and the same prompt with its key gets it later.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.responses import Response

from gigachat_server.access.restrictions import is_listed
from gigachat_server.access.scopes import Scope
from gigachat_server.api import mcp_resources, sse, wire
from gigachat_server.api import mcp_rpc as rpc
from gigachat_server.api.mcp_rpc import Era, RpcError, RpcMessage
from gigachat_server.api.mcp_schemas import listed, text_of
from gigachat_server.api.mcp_tools import AskOutput, Call, Tool, tools_for
from gigachat_server.api.sse import PING, EventStream
from gigachat_server.chat.turns.turn import TurnHandle
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.body import convert
from gigachat_server.edge.problem import problem_headers
from gigachat_server.edge.request import Request
from gigachat_server.errors import ChatbotRequired, FieldError, Forbidden, GigachatError, InvalidRequest, NotFound, OriginRefused
from gigachat_server.records import Chatbot
from gigachat_server.services import Services

_KEY = "gigachat/idempotencyKey"
_LONGEST_KEY = 255
_MOST_NAMED = 20  # chatbots that an error lists
_INSTRUCTIONS = (
    "gigachat holds chatbots that answer from documents, and the conversations that end users have with them. `ask` asks a "
    "chatbot and keeps the conversation; `search_documents` finds passages without asking."
)

Result = dict[str, Any] | Response
Method = Callable[["Exchange"], Awaitable[Result]]


class Exchange(msgspec.Struct, frozen=True):
    """One request and what it may use."""

    request: Request[RpcMessage]
    services: Services
    message: RpcMessage
    era: Era

    @property
    def params(self) -> Mapping[str, Any]:
        return self.message.params


async def serve(request: Request[RpcMessage], services: Services) -> Answer | Response:
    """Answers one message: a request with its result or its error, a notification with nothing."""
    message, era = request.body, None
    _check_origin(request)
    try:
        era = rpc.era_of(message, request.headers)
        if message.is_notification:
            return Response(status_code=202)
        method = (_MODERN if era.is_modern else _HANDSHAKE).get(message.method)
        if method is None:
            raise RpcError(rpc.METHOD_NOT_FOUND, "There is no such method.")
        result = await method(Exchange(request, services, message, era))
    except RpcError as error:
        return Answer(rpc.refusal(message, error), rpc.status_of(error, era))
    except GigachatError as error:
        refused = RpcError(_code_of(error, era), error.detail or error.message, rpc.problem_data(error))
        return Answer(rpc.refusal(message, refused), rpc.status_of(refused, era))
    return result if isinstance(result, Response) else Answer(result)


def render_rpc_problem(error: GigachatError) -> Response:
    """What ends a request before its message is looked at. A message that is none is a bad request here, not an invalid one."""
    status = 400 if error.status == 422 else error.status
    return Response(rpc.problem_body(error), status, problem_headers(error), "application/json")


def _check_origin(request: Request[Any]) -> None:
    """A page on another site must not use a browser's way to this server. Raises `OriginRefused`."""
    origin = request.headers.get("origin")
    if origin is None:
        return
    chatbot = request.named_chatbot
    own = request.headers.get("host", "").lower()
    try:
        is_own = bool(own) and urlsplit(origin).netloc.lower() == own
    except ValueError:
        is_own = False
    if not is_own and not (chatbot is not None and is_listed(origin, chatbot.config.restrictions.hostnames)):
        raise OriginRefused


def _code_of(error: GigachatError, era: Era | None) -> int:
    if isinstance(error, NotFound):
        return rpc.RESOURCE_NOT_FOUND if era is not None and not era.is_modern else rpc.INVALID_PARAMS
    if isinstance(error, InvalidRequest):
        return rpc.INVALID_PARAMS
    return rpc.SERVER_ERROR if error.status < 500 else rpc.INTERNAL_ERROR


# --- who this is ---


def _capabilities(exchange: Exchange) -> dict[str, Any]:
    has_documents = exchange.request.principal.may(Scope.DOCUMENTS_READ)
    return {"tools": {}, **({"resources": {}} if has_documents else {})}


async def _initialize(exchange: Exchange) -> Result:
    result = {
        "protocolVersion": rpc.negotiated(exchange.message),
        "capabilities": _capabilities(exchange),
        "serverInfo": rpc.SERVER_INFO,
        "instructions": _INSTRUCTIONS,
    }
    return rpc.answer(exchange.message, exchange.era, result)


async def _discover(exchange: Exchange) -> Result:
    result = {
        "supportedVersions": [*rpc.SUPPORTED],
        "capabilities": _capabilities(exchange),
        "instructions": _INSTRUCTIONS,
    }
    return rpc.answer(exchange.message, exchange.era, result, is_kept=True)


async def _ping(exchange: Exchange) -> Result:
    return rpc.answer(exchange.message, exchange.era, {})


# --- tools ---


async def _list_tools(exchange: Exchange) -> Result:
    request = exchange.request
    names_chatbot = request.named_chatbot is None
    tools = [listed(tool, names_chatbot=names_chatbot) for tool in tools_for(request.principal)]
    return rpc.answer(exchange.message, exchange.era, {"tools": tools}, is_kept=True)


async def _call_tool(exchange: Exchange) -> Result:
    """A problem is the tool's result, so that the model that called it can do something about it."""
    name = exchange.params.get("name")
    tool = next((each for each in tools_for(exchange.request.principal) if each.name == name), None)
    if tool is None:
        raise RpcError(rpc.INVALID_PARAMS, "There is no such tool, or your key may not use it.")
    try:
        given = await _run(exchange, tool)
        if isinstance(given, TurnHandle):
            token = exchange.message.progress_token
            if token is not None and "text/event-stream" in exchange.request.headers.get("accept", ""):
                return EventStream(_progress(exchange, given, token))
            given = await _asked(exchange, given)
    except GigachatError as error:
        return _failed(exchange, error)
    return _succeeded(exchange, given)


async def _run(exchange: Exchange, tool: Tool[Any]) -> msgspec.Struct | TurnHandle:
    arguments = exchange.params.get("arguments", {})
    if not isinstance(arguments, dict):
        raise InvalidRequest(errors=(FieldError("arguments", "Must be an object."),))
    chatbot = exchange.request.named_chatbot
    if chatbot is None:
        chatbot = await _chosen(exchange, tool, arguments.get("chatbot_id"))
        if tool not in tools_for(exchange.request.principal):
            raise Forbidden("You may not use this tool in that chatbot.")
        arguments = {name: value for name, value in arguments.items() if name != "chatbot_id"}
    wanted = convert(arguments, tool.takes)
    return await tool.run(Call(exchange.request.principal, chatbot, exchange.services, _key(exchange)), wanted)


async def _chosen(exchange: Exchange, tool: Tool[Any], chatbot_id: Any) -> Chatbot:
    """The chatbot that the call names, or the only one there is. Raises `ChatbotRequired`, `NotFound`."""
    request, services = exchange.request, exchange.services
    chatbot_id = chatbot_id or request.principal.chatbot_id
    if chatbot_id is None:
        if not request.principal.may(Scope.CHATBOTS_READ):
            raise ChatbotRequired("Say which chatbot: chatbot_id.")
        found = await services.chatbots.list(request.principal, after=None, limit=_MOST_NAMED)
        if len(found) != 1:
            named = "; ".join(f"{each.id} is {each.name}" for each in found)
            raise ChatbotRequired(f"Say which chatbot: {named}." if found else "The account has no chatbot yet.")
        chatbot_id = found[0].id
    if not isinstance(chatbot_id, str):
        raise InvalidRequest(errors=(FieldError("chatbot_id", "Must be a string."),))
    return await request.open_chatbot(chatbot_id, is_guarded=tool.is_guarded)


def _key(exchange: Exchange) -> str | None:
    given = exchange.message.meta.get(_KEY)
    if given is None:
        return None
    if not isinstance(given, str) or not 1 <= len(given) <= _LONGEST_KEY or not given.isprintable():
        raise InvalidRequest(errors=(FieldError(f"_meta.{_KEY}", f"Must have 1 to {_LONGEST_KEY} visible characters."),))
    return given


async def _asked(exchange: Exchange, started: TurnHandle) -> AskOutput:
    """Raises the `GigachatError` that the turn ended with."""
    stored = await started.result()
    said = wire.messages(stored, exchange.request.account_id, with_embedding=False)
    return AskOutput(started.prompt.conversation_id, said)


async def _progress(exchange: Exchange, started: TurnHandle, token: str | int) -> AsyncGenerator[bytes, None]:
    """The words of the reply as progress, which counts its characters, and then the result."""
    turn, so_far = started.turn, 0
    yield PING  # the head leaves at once: the prompt is stored
    try:
        async with aclosing(sse.words(started, exchange.request)) as heard:
            async for said in heard:
                if said is None:
                    yield PING
                elif turn is not None and said.message_id == turn.speech.message_ids[0]:
                    so_far += len(said.text)
                    yield rpc.progress(token, so_far, said.text)
        result = _succeeded(exchange, await _asked(exchange, started))
    except GigachatError as error:
        result = _failed(exchange, error)
    yield rpc.event(result)


def _succeeded(exchange: Exchange, given: msgspec.Struct) -> dict[str, Any]:
    content = [{"type": "text", "text": text_of(given)}]
    return rpc.answer(exchange.message, exchange.era, {"content": content, "structuredContent": given})


def _failed(exchange: Exchange, error: GigachatError) -> dict[str, Any]:
    """As text alone: clients hold structured content against the schema of what succeeds."""
    text = msgspec.json.encode(rpc.problem_data(error)).decode()
    return rpc.answer(exchange.message, exchange.era, {"content": [{"type": "text", "text": text}], "isError": True})


# --- resources ---


async def _list_resources(exchange: Exchange) -> Result:
    cursor = exchange.params.get("cursor")
    if not isinstance(cursor, str | None):
        raise RpcError(rpc.INVALID_PARAMS, "The cursor must be a string.")
    request = exchange.request
    found = await mcp_resources.list_page(exchange.services.database, request.principal, request.named_chatbot, cursor)
    return rpc.answer(exchange.message, exchange.era, found, is_kept=True)


async def _list_templates(exchange: Exchange) -> Result:
    template = {"uriTemplate": mcp_resources.TEMPLATE, "name": "document", "title": "A document of a chatbot"}
    return rpc.answer(exchange.message, exchange.era, {"resourceTemplates": [template]}, is_kept=True)


async def _read_resource(exchange: Exchange) -> Result:
    request, uri = exchange.request, exchange.params.get("uri")
    chatbot_id, document_id = mcp_resources.ids_of(uri)
    chatbot = request.named_chatbot or await request.open_chatbot(chatbot_id, is_guarded=False)
    if chatbot.id != chatbot_id:
        raise NotFound
    text = await mcp_resources.contents(exchange.services.database, request.principal, chatbot, document_id)
    return rpc.answer(exchange.message, exchange.era, mcp_resources.read_result(str(uri), text), is_kept=True)


_BOTH: dict[str, Method] = {
    "tools/list": _list_tools,
    "tools/call": _call_tool,
    "resources/list": _list_resources,
    "resources/templates/list": _list_templates,
    "resources/read": _read_resource,
}
_HANDSHAKE: dict[str, Method] = {"initialize": _initialize, "ping": _ping, **_BOTH}
_MODERN: dict[str, Method] = {"server/discover": _discover, **_BOTH}
