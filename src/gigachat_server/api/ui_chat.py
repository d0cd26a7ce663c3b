"""The routes of the AI SDK: its `useChat` talks to a chatbot, joins a reply in the making, and loads what is stored.

Idea: the browser posts its whole list of messages and the store is what counts: only the last message is read, and only what
the user says in it. Its id there is the `Idempotency-Key`, so a prompt that is sent again is stored once. Who speaks is
never an operator here, whatever the body says.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.speakers import CLIENT_PREFIX
from gigachat_server.api import sse
from gigachat_server.api.sse import PING, EventStream
from gigachat_server.api.ui_frames import HEADERS, MESSAGE_ID, ReplyFrames, ui_messages
from gigachat_server.api.views import shown_to
from gigachat_server.chat.turns.turn import TurnHandle
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.idempotency import REPLAYED
from gigachat_server.edge.problem import problem
from gigachat_server.edge.request import Request, next_link, query_limit
from gigachat_server.errors import FieldError, GigachatError, InvalidRequest
from gigachat_server.services import Services
from gigachat_server.store.idempotency import Key
from gigachat_server.triggers import trigger

REGENERATE = "regenerate-message"
_LONGEST_ID = 255
_LONGEST_PROMPT = 32_000
_MADE = "ui_"
_GIVEN = ("cnv_", _MADE)


class UIChatInput(msgspec.Struct, frozen=True, rename={"message_id": "messageId"}):
    """What the AI SDK's `DefaultChatTransport` posts. Other fields are ignored."""

    id: Annotated[str, Meta(min_length=1, max_length=255, description="The chat's id: it is the conversation's.")]
    messages: Annotated[list[Any], Meta(description="The last one is the prompt; those before it are not read.")] = []
    message: Annotated[Any, Meta(description="The last message alone, instead of `messages`.")] = None
    trigger: Annotated[str, Meta(description="`submit-message`, or `regenerate-message` for a new reply.")] = "submit-message"
    message_id: Annotated[
        str | None, Meta(description="What to make a new reply to: a message's id, here or in the browser.")
    ] = None
    user_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | None,
        Meta(description="Who speaks, where the credential does not say it."),
    ] = None
    metadata: Annotated[Any, Meta(description="`metadata.user_id` stands for `user_id`.")] = None


class _Prompt(msgspec.Struct, frozen=True):
    """What the user says in the last message, and the id it has in the browser, empty where it has none that can be kept."""

    text: str
    browser_id: str


async def say(request: Request[UIChatInput], services: Services) -> Response:
    """Stores the prompt and streams the reply; on `regenerate-message` a new reply to a prompt that is stored."""
    wanted, door = request.body, services.conversations
    conversation_id, is_made = _conversation(request, wanted.id)
    if wanted.trigger == REGENERATE:
        names = [name for name in (wanted.message_id, _browser_id(_last(wanted))) if name]
        target = await door.find_prompt(request.principal, request.chatbot, conversation_id, names, metadata_key=MESSAGE_ID)
        if target is not None:
            started = await door.retry(request.principal, request.chatbot, conversation_id, target, key=request.key)
            return _stream(request, started)
    prompt = _prompt(_last(wanted))
    started = await door.speak(
        request.principal,
        request.chatbot,
        conversation_id=conversation_id,
        user_id=_user_id(request),
        text=prompt.text,
        metadata={MESSAGE_ID: prompt.browser_id} if prompt.browser_id else {},
        key=request.key or _key(request, prompt),
        may_begin=is_made,
    )
    return _stream(request, started)


async def join(request: Request[None], services: Services) -> Response:
    """The reply in the making, from its first word on; 204 if nothing is being answered."""
    conversation_id, _ = _conversation(request, request.named["conversation_id"])
    started = await services.conversations.join(request.principal, request.chatbot, conversation_id)
    if started is None:
        return Response(status_code=204)
    return _stream(request, started)


async def list_messages(request: Request[None], services: Services) -> Answer:
    """The newest, oldest first, as UI messages; none of a conversation that has not begun."""
    limit, before = query_limit(request.query, default=100), _before(request)
    conversation_id, _ = _conversation(request, request.named["conversation_id"])
    found = await services.conversations.shown(
        request.principal, request.chatbot, conversation_id, before=before, limit=limit + 1
    )
    newest = found[-limit:]
    headers = next_link(request, str(newest[0].seq)) if len(found) > limit else {}
    return Answer(ui_messages(newest, shown_to(request.principal)), headers=headers)


def _conversation(request: Request[Any], chat_id: str) -> tuple[str, bool]:
    """The conversation that the browser's chat is, and whether its id is made from the end user's own.

    Browsers make up ids. An end user's are kept apart from everyone else's, so that to guess one finds nothing; those that
    this server gave them stay as they are.
    """
    principal = request.principal
    if not principal.is_end_user or chat_id.startswith(_GIVEN) or chat_id in (principal.conversation_ids or ()):
        return chat_id, False
    digest = hashlib.sha256(f"{principal.user_id}\0{chat_id}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_MADE}{digest[:32]}", True


# --- streams ---


def _stream(request: Request[Any], started: TurnHandle) -> EventStream:
    headers = {**HEADERS, **(REPLAYED if started.is_replayed and request.method == "POST" else {})}
    return EventStream(_frames(request, started), headers=headers)


async def _frames(request: Request[Any], started: TurnHandle) -> AsyncGenerator[bytes, None]:
    turn, frames = started.turn, ReplyFrames(started.prompt, shown_to(request.principal))
    yield PING  # the head leaves at once: the prompt is stored
    try:
        async with aclosing(sse.words(started, request)) as heard:
            async for said in heard:
                if said is None:
                    yield PING
                elif turn is not None and (piece := frames.said(said, turn.speech.message_ids[0])):
                    yield piece
        stored = await started.result()
    except GigachatError as error:
        yield frames.failed(problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root))
        return
    await trigger("S9")
    yield frames.stored(stored.messages)


# --- what the body says ---


def _last(wanted: UIChatInput) -> Any:
    if wanted.message is not None:
        return wanted.message
    return wanted.messages[-1] if wanted.messages else None


def _prompt(message: Any) -> _Prompt:
    """Raises `InvalidRequest` for what is no prompt, or holds more than words."""
    if not isinstance(message, dict):
        raise _invalid("messages", "Must end with what the user says: {id, role, parts}.")
    if message.get("role") != "user":
        raise _invalid("messages", "The last message must be the user's: its role is 'user'.")
    parts = message.get("parts")
    if not isinstance(parts, list):
        raise _invalid("messages", "The last message must have a list of parts, as versions 5 to 7 of the AI SDK send them.")
    if any(_kind(part) == "file" for part in parts):
        raise _invalid("messages", "Files cannot be sent with a prompt: send its text alone.")
    text = "\n".join(_texts(parts))
    if len(text) > _LONGEST_PROMPT:
        raise _invalid("messages", f"The text of the last message must have at most {_LONGEST_PROMPT} characters.")
    return _Prompt(text, _browser_id(message))


def _texts(parts: Sequence[Any]) -> list[str]:
    return [part["text"] for part in parts if _kind(part) == "text" and isinstance(part.get("text"), str)]


def _kind(part: Any) -> Any:
    return part.get("type") if isinstance(part, dict) else None


def _browser_id(message: Any) -> str:
    given = message.get("id") if isinstance(message, dict) else None
    return given if isinstance(given, str) and given.isprintable() and len(given) <= _LONGEST_ID else ""


def _user_id(request: Request[UIChatInput]) -> str:
    """The credential's user, always; else the one that the body names; else one for all who come with this key."""
    principal, wanted = request.principal, request.body
    if principal.user_id is not None:
        return principal.user_id
    named = wanted.user_id
    if named is None and isinstance(wanted.metadata, dict):
        named = wanted.metadata.get("user_id")
    if named is None:
        return f"ui:{principal.id}"
    if not isinstance(named, str):
        raise _invalid("metadata.user_id", "Must be a string.")
    if named.startswith(CLIENT_PREFIX):
        raise _invalid("user_id", "Must be an end user: your staff speaks by POST .../conversations.")
    return named


def _key(request: Request[UIChatInput], prompt: _Prompt) -> Key | None:
    """The browser's id of the message, in this conversation, with these words: a message that was edited is another prompt."""
    if not prompt.browser_id:
        return None
    digest = hashlib.sha256(prompt.text.encode()).hexdigest()
    route = request.route
    assert route is not None
    return Key(
        chatbot_id=request.chatbot.id,
        principal=request.principal.id,
        route=f"{route.method} {route.path} {quote(request.body.id, safe='')}",
        key=f"ui:{prompt.browser_id}:{digest[:16]}",
        fingerprint=digest,
    )


def _before(request: Request[None]) -> int | None:
    text = request.query.get("after")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise _invalid("after", "Must be a cursor from a Link header.")
    return int(text)


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(errors=(FieldError(field, message),))
