"""uvicorn's HTTP protocol with an end to what a caller may do to a connection: what it sends, and what it does not read.

Idea: the parser keeps what it has read of a header until the header is whole, so the bytes are counted as they arrive.
And while an answer waits for its reader, what is still unread is looked at from time to time: it has to shrink.

Invariant: a connection that has sent neither a whole head nor been answered is gone after `head_timeout_s`, and never
holds more than `MOST_HEAD_BYTES` and one read; bodies have their own limits, in `edge/body.py`. A connection whose reader
takes less than `LEAST_PACE` of an answer is gone after `stalled_timeout_s`, or twice that, and none outlives the grace
that a server gives its connections when it stops.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
import termios
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gigachat_server.errors import HeadTooLarge

MOST_HEAD_BYTES = 64 * 1024
LEAST_PACE = 1024  # bytes a second
_AT_ONCE = struct.pack("ii", 1, 0)
_LAST_WORD_S = 1  # between the end of our patience and that of uvicorn, which complains


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    head_timeout_s = 30.0
    stalled_timeout_s = 30.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None
        self._unread_bytes = 0
        self._stalled: asyncio.TimerHandle | None = None
        self._cut_off: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_whole()
        self._reader_takes_all()
        if self._cut_off is not None:
            self._cut_off.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_deadline is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_is_whole()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_deadline is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        self._reader_takes_all()
        super().resume_writing()

    def shutdown(self) -> None:
        super().shutdown()
        grace_s = self.config.timeout_graceful_shutdown
        if grace_s is not None:
            # uvicorn would cancel what still waits for a reader then, and log that as an error of ours.
            self._cut_off = self.loop.call_later(max(0, grace_s - _LAST_WORD_S), self._cut_off_now)

    def _expect_reading(self) -> None:
        self._unread_bytes = _unread_bytes(self.transport)
        self._stalled = self.loop.call_later(self.stalled_timeout_s, self._cut_off_if_stalled)

    def _cut_off_if_stalled(self) -> None:
        if self._unread_bytes - _unread_bytes(self.transport) >= LEAST_PACE * self.stalled_timeout_s:
            self._expect_reading()  # slow, but there
        else:
            self._cut_off_now()

    def _cut_off_now(self) -> None:
        """Let nobody wait for the reader: neither we, as close() would, nor the kernel, with megabytes in its hands.

        The application is told that its caller went away; a turn goes on without one.
        """
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _reader_takes_all(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_deadline = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _head_is_whole(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _refuse(self) -> None:
        """There is no request to answer in the usual way yet, but a caller should learn why it ends."""
        self._head_is_whole()
        kind = HeadTooLarge
        body = msgspec.json.encode(
            {
                "type": f"/docs#error-{kind.code}",
                "title": kind.message,
                "status": kind.status,
                "detail": f"They may have {MOST_HEAD_BYTES} bytes.",
                "instance": "",
                "code": kind.code,
                "request_id": "",
            }
        )
        head = (
            f"HTTP/1.1 {kind.status} Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def _unread_bytes(transport: asyncio.Transport) -> int:
    """What was written and the other side has not taken: here, and in the kernel, which may hold megabytes of it."""
    in_kernel = array.array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, in_kernel)
    return transport.get_write_buffer_size() + in_kernel[0]


def bounded_http(head_timeout_s: float) -> type[BoundedHttp]:
    """The protocol with that much time for a head."""
    return type("BoundedHttpWithTimeout", (BoundedHttp,), {"head_timeout_s": head_timeout_s})
