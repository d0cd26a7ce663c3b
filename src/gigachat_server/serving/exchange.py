"""One HTTP request and its answer, as the application sees them: ASGI's `receive` and `send`.

Invariant: of an unread body there is little more than `MOST_UNREAD_BODY` in memory, and of an answer that
its reader has not taken yet little more than a piece in the transport: the rest waits where `UnreadAnswers` counts it.
"""

from __future__ import annotations

import asyncio
import http
import logging
import re
from collections.abc import Callable
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope

from gigachat_server.edge.long_lists import ADMITTED
from gigachat_server.serving.unread_answers import UnreadAnswers

MOST_UNREAD_BODY = 64 * 1024
_PIECE_BYTES = 64 * 1024
_AT_ONCE_BYTES = 128 * 1024  # written without giving others their turn

_NOT_IN_NAMES = re.compile(rb'[\x00-\x1f\x7f()<>@,;:\[\]={} \t\\"]')
_NOT_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in http.HTTPStatus}

_log = logging.getLogger("gigachat.serving")


class Line(Protocol):
    """The connection, as one of its exchanges needs it."""

    unread: UnreadAnswers

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]: ...

    def write(self, data: bytes) -> None: ...

    @property
    def is_congested(self) -> bool:
        """Whether the reader has not taken what was written before."""

    async def drained(self) -> None:
        """Returns once the reader has taken most of it, or is gone."""

    def body_was_taken(self) -> None:
        """More of the body may come."""

    def cut_off(self) -> None:
        """Neither we nor the kernel wait for the reader any longer."""

    def answered(self) -> None:
        """The running exchange is over."""


class Exchange:
    """One request, from its head on, and its answer."""

    def __init__(self, line: Line, scope: Scope, *, keep_alive: bool, expects_continue: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.is_whole = False  # the request has arrived to its end
        self.is_started = False  # the answer has begun
        self.is_answered = False
        self._line = line
        self._expects_continue = expects_continue
        self._is_disconnected = False
        self._was_end_told = False
        self._changed = asyncio.Event()
        self._is_chunked = False
        self._left: int | None = None  # of the announced length
        self._has_body = True
        self._at_once = 0  # bytes that were sent since others had their turn

    # --- what the connection tells ---

    def add(self, data: bytes) -> None:
        self.body += data
        self._changed.set()

    def end(self) -> None:
        self.is_whole = True
        self._changed.set()

    def disconnect(self) -> None:
        self._is_disconnected = True
        self._changed.set()

    # --- what the application does ---

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:  # noqa: BLE001 - the edge of the process: whatever the application missed ends in the log
            _log.exception("%s %s failed", self.scope["method"], self.scope["path"])
        if self._is_over:
            return
        if not self.is_started:
            await self.send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]})
            await self.send({"type": "http.response.body"})
        else:
            self._line.cut_off()  # nobody must take half an answer for a whole one

    async def receive(self) -> Message:
        if self._expects_continue and not self.is_started and not self._is_disconnected:
            self._line.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects_continue = False
        while not (self._is_over or self.body or (self.is_whole and not self._was_end_told)):
            self._changed.clear()
            self._line.body_was_taken()
            await self._changed.wait()
        if self._is_over:
            return {"type": "http.disconnect"}
        self._was_end_told = self.is_whole
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": not self.is_whole}

    @property
    def is_streaming(self) -> bool:
        """Whether the length of the answer is unknown."""
        return self.is_started and self._left is None

    @property
    def _is_over(self) -> bool:
        return self._is_disconnected or self.is_answered

    async def send(self, message: Message) -> None:
        if self._line.is_congested and not self._is_disconnected:
            await self._line.drained()
            self._at_once = 0
        elif self._at_once > _AT_ONCE_BYTES:
            await asyncio.sleep(0)
            self._at_once = 0
        self._at_once += len(message.get("body", b""))
        if self._is_disconnected:
            return
        if message["type"] == "http.response.start" and not self.is_started:
            self._start(message)
        elif message["type"] == "http.response.body" and self.is_started and not self.is_answered:
            await self._continue(message.get("body", b""), not message.get("more_body", False), message.get(ADMITTED))
        else:
            raise RuntimeError(f"{message['type']} is out of place.")

    def _start(self, message: Message) -> None:
        self.is_started = True
        if self._expects_continue and not self.is_whole:
            self.keep_alive = False  # what comes next may be that body or another request
        status, is_closing = message["status"], False
        lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()]
        for name, value in (*self._line.default_headers, *message.get("headers", ())):
            if _NOT_IN_NAMES.search(name) or _NOT_IN_VALUES.search(value):
                raise RuntimeError(f"{name!r}: {value!r} is no header.")
            name = name.lower()
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive, is_closing = False, True
            lines.append(b"%b: %b\r\n" % (name, value))
        self._has_body = self.scope["method"] != "HEAD" and status not in (204, 304)
        if self._left is None and self._has_body:
            # To HTTP/1.0 the end of the connection is the end of the answer; there are no chunks.
            self._is_chunked = self.scope["http_version"] != "1.0"
            self.keep_alive &= self._is_chunked
            if self._is_chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive and not is_closing:
            lines.append(b"connection: close\r\n")
        self._line.write(b"".join((*lines, b"\r\n")))

    async def _continue(self, body: bytes, is_last: bool, when_admitted: Callable[[], None] | None) -> None:
        if self._has_body and body:
            if self._left is not None:
                self._left -= len(body)
                if self._left < 0:
                    raise RuntimeError("The answer is longer than its Content-Length.")
            await self._write(body, when_admitted)
        if self._is_disconnected or not is_last:
            return
        if self._left and self._has_body:
            raise RuntimeError("The answer is shorter than its Content-Length.")
        if self._is_chunked:
            self._line.write(b"0\r\n\r\n")
        self.is_answered = True
        self._changed.set()
        self._line.answered()

    async def _write(self, body: bytes, when_admitted: Callable[[], None] | None) -> None:
        if len(body) <= _PIECE_BYTES:
            self._line.write(b"%x\r\n%b\r\n" % (len(body), body) if self._is_chunked else body)
            return
        if self._is_chunked:
            self._line.write(b"%x\r\n" % len(body))
        unread, can_wait = self._line.unread, when_admitted is not None
        async with unread.waiting(self._owner(), len(body), self._line.cut_off, can_wait=can_wait) as waiting:
            if when_admitted is not None:
                when_admitted()
            for start in range(0, len(body), _PIECE_BYTES):
                if self._line.is_congested:
                    await self._line.drained()
                    unread.has_moved(waiting)
                elif start % _AT_ONCE_BYTES == 0:
                    await asyncio.sleep(0)
                if self._is_disconnected:
                    return
                self._line.write(body[start : start + _PIECE_BYTES])
        if self._is_chunked:
            self._line.write(b"\r\n")

    def _owner(self) -> int:
        """For whom an answer waits: a key, a signed-in visitor, or else an address."""
        for name, value in self.scope["headers"]:
            if name in (b"authorization", b"cookie"):
                return hash((name, value))
        client = self.scope.get("client")
        return hash(client[0] if client else None)
