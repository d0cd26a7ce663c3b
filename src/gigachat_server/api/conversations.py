"""Conversations over HTTP: what is said, and reading it back."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.api import cursors, sse, wire
from gigachat_server.api.access import client_defined_id, speaker_id
from gigachat_server.api.http import Answer, ApiRequest, next_link, query_flag, query_limit
from gigachat_server.chat.progress import Stored, Turn
from gigachat_server.chat.turn import PromptRequest
from gigachat_server.errors import FieldError, Forbidden, InvalidRequest, NotFound
from gigachat_server.records import Conversation, Message
from gigachat_server.services import Services
from gigachat_server.store import chunks, conversations, events, messages
from gigachat_server.store.database import Reader, Tx


class PromptInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What someone says. A new conversation_id starts a conversation, a known one continues it."""

    conversation_id: Annotated[
        str, Meta(min_length=1, max_length=255, description="Yours to define: any string but `.` and `..`.")
    ]
    user_id: Annotated[str, Meta(min_length=1, max_length=255, description="With the prefix `client:`: your staff, unanswered.")]
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000, description="What the user says.")]
    stream: Annotated[
        bool | None, Meta(description="true: answer with Server-Sent Events, as `Accept: text/event-stream` does.")
    ] = None
    metadata: Annotated[dict[str, Any], Meta(description="Stored with the prompt and returned; 16 kB of JSON at most.")] = {}


async def say(request: ApiRequest, services: Services) -> Answer | Response:
    wanted: PromptInput = request.body
    prompt = PromptRequest(
        conversation_id=client_defined_id(wanted.conversation_id, "conversation_id"),
        user_id=speaker_id(wanted.user_id, "user_id"),
        text=wanted.prompt,
        metadata=_checked_metadata(wanted.metadata, services),
    )
    if prompt.operator is not None and "messages:inject" not in (request.principal.scopes if request.principal else ()):
        raise Forbidden("To speak as client: a key needs the scope messages:inject.")
    with_embedding = query_flag(request.query, "embedding", default=True)
    turn = await services.turns.start(request.chatbot, prompt)
    if _wants_stream(request, wanted):
        return sse.stream_turn(turn, request, with_embedding=with_embedding)
    stored = await turn.result() if isinstance(turn, Turn) else Stored([turn])
    return Answer(wire.stored(stored, request.account_id, with_embedding=with_embedding), 201)


async def list_all(request: ApiRequest, services: Services) -> Answer:
    limit, before = query_limit(request.query), cursors.load(request.query.get("after"))

    async def read(reader: Reader) -> list[Conversation]:
        return await conversations.list_conversations(reader, request.chatbot.id, before=before, limit=limit + 1)

    found = await services.database.read(read)
    headers = {}
    if len(found) > limit:
        last = found[limit - 1]
        headers = next_link(request, cursors.dump(last.last_at, last.conversation_id))
    return Answer([wire.conversation(conversation) for conversation in found[:limit]], headers=headers)


async def get(request: ApiRequest, services: Services) -> Answer:
    async def read(reader: Reader) -> Conversation:
        found = await conversations.find(reader, request.chatbot.id, _conversation_id(request))
        if found is None:
            raise NotFound
        return found

    return Answer(wire.conversation(await services.database.read(read)))


async def list_messages(request: ApiRequest, services: Services) -> Answer:
    """Oldest first."""
    limit, after = query_limit(request.query), _after_seq(request)
    with_embedding = query_flag(request.query, "embedding", default=True)
    conversation_id = _conversation_id(request)

    async def read(reader: Reader) -> tuple[list[Message], dict[str, bytes]]:
        if await conversations.find(reader, request.chatbot.id, conversation_id) is None:
            raise NotFound
        found = await messages.list_messages(reader, request.chatbot.id, conversation_id, after=after, limit=limit + 1)
        wanted = {source.id for message in found[:limit] for source in message.sources} if with_embedding else set()
        vectors = await chunks.list_vectors(reader, request.chatbot.id, sorted(wanted)) if wanted else {}
        return found, vectors

    found, vectors = await services.database.read(read)
    headers = next_link(request, str(found[limit - 1].seq)) if len(found) > limit else {}
    return Answer([wire.message(message, request.account_id, vectors) for message in found[:limit]], headers=headers)


async def delete(request: ApiRequest, services: Services) -> Answer:
    """Removes the conversation with all that was said in it."""
    conversation_id = _conversation_id(request)

    async def body(tx: Tx) -> bool:
        return await conversations.delete(tx, request.chatbot.id, conversation_id)

    if not await services.database.transaction("conversation.delete", body):
        raise NotFound
    return Answer(None, 204)


async def delete_user(request: ApiRequest, services: Services) -> Answer:
    """Removes all that one end user said and the replies to it; a conversation that was theirs alone goes whole."""
    user_id = client_defined_id(request.path["user_id"], "user_id")
    chatbot_id = request.chatbot.id

    async def body(tx: Tx) -> None:
        for conversation_id, is_shared in await conversations.list_of_user(tx, chatbot_id, user_id):
            if not is_shared:
                await conversations.delete(tx, chatbot_id, conversation_id)
                continue
            await messages.delete_of_user(tx, chatbot_id, conversation_id, user_id)
            await conversations.forget_opener(tx, chatbot_id, conversation_id, user_id)
            place = await conversations.open_and_advance(tx, chatbot_id, conversation_id, user_id=None, now_us=services.clock())
            await events.insert(
                tx, chatbot_id, conversation_id, seq=place.seq, type="messages.deleted", data={}, created_at=place.at
            )

    await services.database.transaction("user.delete", body)
    return Answer(None, 204)


def _wants_stream(request: ApiRequest, wanted: PromptInput) -> bool:
    if not request.chatbot.config.response.stream or wanted.stream is False:
        return False
    return wanted.stream is True or "text/event-stream" in request.headers.get("accept", "")


def _checked_metadata(metadata: dict[str, Any], services: Services) -> dict[str, Any]:
    settings = services.settings
    if metadata and _is_deeper(metadata, settings.max_depth):
        raise InvalidRequest(errors=(FieldError("metadata", "Nested too deeply."),))
    if metadata and len(msgspec.json.encode(metadata)) > settings.max_metadata_bytes:
        message = f"Must have at most {settings.max_metadata_bytes} bytes as JSON."
        raise InvalidRequest(errors=(FieldError("metadata", message),))
    return metadata


def _is_deeper(value: Any, depth: int) -> bool:
    """Looks no further down than that."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(each, depth - 1) for each in inner)


def _conversation_id(request: ApiRequest) -> str:
    return client_defined_id(request.path["conversation_id"], "conversation_id")


def _after_seq(request: ApiRequest) -> int:
    text = request.query.get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequest(errors=(FieldError("after", "Must be the seq of a message, or a cursor from a Link header."),))
    return int(text)
