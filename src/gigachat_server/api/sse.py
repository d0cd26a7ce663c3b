"""Server-Sent Events: a turn as it happens, and conversations as they go on.

Invariant: every event is one `data:` line of JSON; the stream of a turn ends with exactly one `done` or `error`, and a
stream without either was cut by the network. What was streamed is provisional, the stored messages are the truth. `id:`
names the place to go on from, with `Last-Event-ID`: see `chat/feed.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gigachat_server.api import wire
from gigachat_server.api.views import View
from gigachat_server.chat.answers.speech import ReplyPiece
from gigachat_server.chat.feed import FeedDelta, FeedEvent, FeedTyping, Place
from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.chat.turns.turn import TurnHandle
from gigachat_server.edge import cursors
from gigachat_server.edge.moments import moment
from gigachat_server.edge.problem import problem
from gigachat_server.edge.request import Request
from gigachat_server.errors import FieldError, GigachatError, InvalidRequest
from gigachat_server.records import Document
from gigachat_server.triggers import trigger

PING = b": ping\n\n"  # proxies cut connections that stay silent
PING_S = 15.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx buffers, and browsers cache, without these

_encode = msgspec.json.Encoder().encode


class EventStream(StreamingResponse):
    """An answer in pieces, until there are no more or the caller goes away.

    The task group of its base class takes a fifth of a streamed turn's processor time, and leaves what a caller who went
    away was told to the cycle collector.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        status_code: int = 200,
        headers: Mapping[str, str] = {},
        media_type: str = "text/event-stream",
    ) -> None:
        super().__init__(pieces, status_code, {**_HEADERS, **headers}, media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        speaking = asyncio.create_task(self._speak(send), name="stream")
        leaving = asyncio.create_task(self.listen_for_disconnect(receive), name="stream-left")
        try:
            await asyncio.wait((speaking, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            speaking.cancel()
            leaving.cancel()
            await asyncio.wait((speaking, leaving))
        if not speaking.cancelled():
            speaking.result()

    async def _speak(self, send: Send) -> None:
        async with aclosing(self._pieces):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self._pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def stream_turn(started: TurnHandle, request: Request[Any], view: View, *, headers: Mapping[str, str]) -> EventStream:
    """The turn from its start, or, of a prompt that is sent again, behind the `Last-Event-ID` that comes with it; where nothing
    is to be waited for, the newest messages."""
    return EventStream(_turn(started, request, view), 201, headers)


async def words(
    started: TurnHandle, request: Request[Any], *, left_at: tuple[int, int] = (0, 0)
) -> AsyncGenerator[ReplyPiece | None, None]:
    """What is said in a turn until it ends, whatever protocol tells it; None where a ping is due.

    A chatbot that does not stream its replies says nothing until then. Raises once the caller may not have the reply any more.
    """
    if started.turn is None:
        return
    admission, is_shown = Admission(request), request.chatbot.config.response.stream
    async with aclosing(started.turn.watch(idle_s=PING_S, left_at=left_at)) as watched:
        async for said in watched:
            await admission.check(is_fact=False)
            if said is None or is_shown:
                yield said
    await admission.check(is_fact=False)


async def _turn(started: TurnHandle, request: Request[Any], view: View) -> AsyncGenerator[bytes, None]:
    turn = started.turn
    message_ids = turn.speech.message_ids if turn is not None else [message.id for message in started.replies]
    start = wire.StreamStart(view.message(started.prompt), message_ids)
    yield event("start", start, place=str(started.prompt.seq))
    try:
        left_at = _left_at(request) if started.is_replayed else (0, 0)
        async with aclosing(words(started, request, left_at=left_at)) as heard:
            async for said in heard:
                yield PING if said is None else delta(said, turn.answered_in.start_seq if turn is not None else 0)
        stored = await started.result()
    except GigachatError as error:
        yield event("error", problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root))
        return
    await trigger("S9")
    yield _ending(stored, view)


def _ending(stored: TurnResult, view: View) -> bytes:
    messages = view.messages(stored)
    parts = [event("message", message, place=str(message.seq)) for message in messages]
    last = messages[-1]
    parts.append(event("done", wire.StreamDone(last.conversation_id, last.seq)))
    return b"".join(parts)


def stream_events(
    followed: AsyncGenerator[FeedEvent | FeedDelta | FeedTyping | None, None],
    request: Request[Any],
    view: View,
    *,
    of_chatbot: bool,
) -> EventStream:
    """What happens from now on, until the caller goes away, or may not see it any more: that ends it with `error`."""
    return EventStream(_follow(followed, request, view, of_chatbot))


class Admission:
    """Whether the caller of a long answer may still have it: the key, its scope, the chatbot and its restrictions.

    Invariant: nothing that happened after a revocation or a new restriction was answered is shown, but for the pieces of a
    reply that was already being followed, and those for `PING_S / 3` at most.
    """

    def __init__(self, request: Request[Any]) -> None:
        self._request = request
        self._checked_at = asyncio.get_running_loop().time()

    async def check(self, *, is_fact: bool) -> None:
        """Before a piece is sent; `is_fact`: it tells of something stored. Raises as the request itself would."""
        now = asyncio.get_running_loop().time()
        if is_fact or now - self._checked_at >= PING_S / 3:  # sooner than silence is broken, or it would take twice as long
            await self._request.reauthorise()
            self._checked_at = now


async def _follow(
    followed: AsyncGenerator[FeedEvent | FeedDelta | FeedTyping | None, None], request: Request[Any], view: View, of_chatbot: bool
) -> AsyncGenerator[bytes, None]:
    admission = Admission(request)
    yield PING  # the head leaves at once, so that the caller knows that it is connected
    try:
        async with aclosing(followed):
            async for each in followed:
                await admission.check(is_fact=isinstance(each, FeedEvent))
                match each:
                    case None:
                        yield PING
                    case FeedDelta():
                        yield delta(each.said, each.seq)
                    case FeedTyping():
                        yield event("typing", wire.StreamTyping(each.names))
                    case FeedEvent():
                        async with moment():
                            happened = view.event(each)
                            if happened is None:
                                continue
                            place = cursors.dump(each.place, "") if of_chatbot else event_id(each.event.seq, each.position)
                            piece = event(each.event.type, happened, place=place)
                        yield piece
    except GigachatError as error:
        yield event("error", problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root))


def stream_document(followed: AsyncGenerator[Document | None, None], request: Request[Any]) -> EventStream:
    """The document now and as it changes, then `done` once work on it has ended."""
    return EventStream(_follow_document(followed, request))


async def _follow_document(followed: AsyncGenerator[Document | None, None], request: Request[Any]) -> AsyncGenerator[bytes, None]:
    admission = Admission(request)
    last: Document | None = None
    try:
        async with aclosing(followed):
            async for document in followed:
                await admission.check(is_fact=document is not None)
                last = document or last
                yield PING if document is None else event("document", wire.document(document, request.account_id))
    except GigachatError as error:
        yield event("error", problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root))
        return
    if last is not None:
        yield event("done", wire.WorkDone(last.id, last.state))


def place_of(request: Request[Any]) -> Place:
    """Where the caller of a conversation's events goes on. Raises `InvalidRequest`."""
    place = _place(request.headers.get("last-event-id", request.query.get("after", "0")))
    if place is None:
        raise InvalidRequest(errors=(FieldError("Last-Event-ID", "Must be the id of an event of this stream."),))
    return place


def _left_at(request: Request[Any]) -> tuple[int, int]:
    """Where a turn was left whose prompt is sent again. What is no place of it leaves out nothing."""
    place = _place(request.headers.get("last-event-id", "0")) or Place()
    return place.seq, place.position


def _place(text: str) -> Place | None:
    """What an `id:` names, if it is one."""
    seq, _, position = text.partition(".")
    is_form = all(part.isascii() and part.isdigit() and len(part) <= 18 for part in (seq, position or "0"))
    return Place(int(seq), int(position or "0")) if is_form else None


def delta(said: ReplyPiece, seq: int) -> bytes:
    return event("delta", wire.StreamDelta(said.message_id, said.offset, said.text), place=event_id(seq, said.end))


def event_id(seq: int, position: int) -> str:
    """Names the place behind that event, and behind so many characters of the turn that runs then."""
    return f"{seq}.{position}" if position else str(seq)


def event(name: str, data: Any, *, place: str | None = None) -> bytes:
    """One event; `place` is its id, from which a follower goes on."""
    id_line = b"" if place is None else b"id: " + place.encode() + b"\n"
    return id_line + b"event: " + name.encode() + b"\ndata: " + _encode(data) + b"\n\n"
