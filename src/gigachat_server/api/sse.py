"""Server-Sent Events: a turn as it happens.

Invariant: every event is one `data:` line of JSON; a stream ends with exactly one `done` or `error`, and a stream
without either was cut by the network. What was streamed is provisional, the `message` events are the truth.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.responses import StreamingResponse

from gigachat_server.api import wire
from gigachat_server.api.http import ApiRequest, problem
from gigachat_server.chat.progress import Stored, Turn
from gigachat_server.errors import GigachatError
from gigachat_server.records import Message

PING_S = 15.0
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx buffers, and browsers cache, without these

_encode = msgspec.json.Encoder().encode


def stream_turn(turn: Turn | Message, request: ApiRequest, *, with_embedding: bool) -> StreamingResponse:
    """The turn from its start; for a message that prompts no reply, the stored message itself."""
    pieces = _live(turn, request, with_embedding) if isinstance(turn, Turn) else _unanswered(turn, request)
    return StreamingResponse(pieces, 201, HEADERS, "text/event-stream")


async def _live(turn: Turn, request: ApiRequest, with_embedding: bool) -> AsyncIterator[bytes]:
    yield _start(turn.prompt, turn.message_ids, request)
    async with aclosing(turn.watch(idle_s=PING_S)) as watched:
        async for said in watched:
            if said is None:
                yield b": ping\n\n"  # proxies cut connections that stay silent
            else:
                message_id = turn.message_ids[said.alternative]
                yield event("delta", {"message_id": message_id, "offset": said.offset, "text": said.text})
    try:
        stored = await turn.result()
    except GigachatError as error:
        yield event("error", problem(error, instance=request.raw_path, request_id=request.request_id))
        return
    yield _ending(stored, request, with_embedding)


async def _unanswered(message: Message, request: ApiRequest) -> AsyncIterator[bytes]:
    yield _start(message, [], request)
    yield _ending(Stored([message]), request, with_embedding=False)


def _start(prompt: Message, message_ids: list[str], request: ApiRequest) -> bytes:
    return event("start", {"prompt": wire.message(prompt, request.account_id, {}), "message_ids": message_ids})


def _ending(stored: Stored, request: ApiRequest, with_embedding: bool) -> bytes:
    messages = wire.stored(stored, request.account_id, with_embedding=with_embedding)
    parts = [event("message", message) for message in messages]
    last = messages[-1]
    parts.append(event("done", {"conversation_id": last.conversation_id, "seq": last.seq}))
    return b"".join(parts)


def event(name: str, data: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _encode(data) + b"\n\n"
