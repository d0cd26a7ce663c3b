"""One connection, as a protocol of asyncio: requests come in, one after the other, and their answers go out.

Idea: bytes that are no body are counted as they arrive, since the parser keeps what it has read of a field until the field
is whole. And whatever a connection waits for, it waits until a moment that no byte of the caller puts off.

Invariants:

- Of what is no body, a message holds `MOST_HEAD_BYTES` and one read at most, plus as much as its body; no field that comes
  after the head is a header.
- A head is whole within `patience_s`; so is the rest of a request that was answered before it had arrived. (Until then a
  body has the limits of its reader.) A connection without a request is closed after the keep-alive.
- A caller takes `LEAST_PACE` of what waits for it, or is gone after `STALLED_S`, or twice that. None outlives the grace that
  a server gives its connections when it stops.
"""

from __future__ import annotations

import array
import asyncio
import enum
import fcntl
import math
import socket
import struct
import termios
import urllib.parse
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import httptools
import msgspec
from starlette.types import ASGIApp, Scope
from uvicorn import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from gigachat_server.edge.long_lists import ADMITTED
from gigachat_server.errors import GigachatError, HeadTooLarge, MalformedRequest, TooManyConnections
from gigachat_server.serving.admission import Admission
from gigachat_server.serving.exchange import MOST_UNREAD_BODY, Exchange
from gigachat_server.serving.raw_answers import last_word
from gigachat_server.serving.unread_answers import UnreadAnswers

MOST_HEAD_BYTES = 64 * 1024
LEAST_PACE = 1024  # bytes a second
MOST_SKIPPED_BYTES = 1024 * 1024  # that we read from who was refused, so that they get to read why
_MOST_WAITING = 8  # requests that were sent before the one in front of them was answered
_REFUSAL_S = 2.0
_LAST_WORD_S = 1  # between the end of our patience and that of uvicorn, which complains
_AT_ONCE = struct.pack("ii", 1, 0)


class Bounds(msgspec.Struct, frozen=True):
    """What the connections of a server share. Without `admission` anyone may come in."""

    patience_s: float
    keep_alive_s: float
    unread: UnreadAnswers
    admission: Admission | None = None
    root: str = ""  # the path of the public address, which links start with


class _Phase(enum.Enum):
    """Which part of a request the next byte belongs to."""

    BETWEEN = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()  # and what comes after it
    OVER = enum.auto()  # nothing more is listened to


class _EnoughError(Exception):
    """Ends the parser's work on what has been read."""


class Connection(asyncio.Protocol):
    """One connection; uvicorn's server makes them, and tells them when to end."""

    stalled_s = 30.0

    def __init__(
        self,
        bounds: Bounds,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.unread = bounds.unread
        self._bounds = bounds
        self._app: ASGIApp = config.loaded_app
        self._grace_s = config.timeout_graceful_shutdown
        self._server = server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._client: tuple[str, int] | None = None
        self._address: tuple[str, int | None] | None = None
        self._place: str | None = None
        self._leave: Callable[[], None] | None = None
        # What is read.
        self._parser: Any = None
        self._phase = _Phase.BETWEEN
        self._besides = 0  # bytes of the message that are no body
        self._body = 0
        self._skippable: float = math.inf
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._arriving: Exchange | None = None  # whose head was read last
        self._is_reading = True
        self._deadline: asyncio.TimerHandle | None = None
        # What is answered.
        self._running: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._writable = asyncio.Event()
        self._writable.set()
        self._unread_bytes = 0
        self._stalled: asyncio.TimerHandle | None = None
        self._cut_off: asyncio.TimerHandle | None = None

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return self._server.default_headers

    # --- coming and going ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is one in all but name
        self._client, self._address = get_remote_addr(self._transport), get_local_addr(self._transport)
        self._server.connections.add(cast(Any, self))
        admission = self._bounds.admission
        if admission is not None:
            place = admission.enter(self._client and self._client[0])
            if place is None:
                self._turn_away(admission)
                return
            self._leave = lambda: admission.leave(place)
        self._parser = httptools.HttpRequestParser(self)
        self._wait(self._bounds.patience_s, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(cast(Any, self))
        if self._leave is not None:
            self._leave()
            self._leave = None
        for timer in (self._deadline, self._stalled, self._cut_off):
            if timer is not None:
                timer.cancel()
        self._phase = _Phase.OVER
        for exchange in (self._running, self._arriving, *self._waiting):
            if exchange is not None:
                exchange.disconnect()
        self._running = self._arriving = None
        self._waiting.clear()
        self._writable.set()
        self._parser = None

    def eof_received(self) -> bool:
        """A caller of the old kind says that it has said all, and waits for its answer; others are gone."""
        running = self._running
        if running is None or not running.is_whole or running.keep_alive or self._waiting:
            return False
        return not running.is_streaming

    def shutdown(self) -> None:
        """No more requests."""
        last = self._waiting[-1] if self._waiting else self._running
        if last is None:
            self._close()
        else:
            last.keep_alive = False
        if self._grace_s is not None:
            # uvicorn would cancel what still waits for a reader then, and log that as an error of ours.
            self._cut_off = self._loop.call_later(max(0, self._grace_s - _LAST_WORD_S), self.cut_off)

    def _turn_away(self, admission: Admission) -> None:
        if not admission.begin_refusal():
            self.cut_off()
            return
        self._leave = admission.end_refusal
        self._refuse(TooManyConnections(retry_after_s=5), within_s=_REFUSAL_S)

    # --- reading ---

    def data_received(self, data: bytes) -> None:
        if self._is_over():
            self._skip(len(data))
            return
        if self._phase is _Phase.BETWEEN:
            self._expect_head()
        self._besides += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._listen_no_more()  # what follows is in no language that is spoken here
        except httptools.HttpParserError:
            if not self._is_over():
                self._refuse(MalformedRequest())
        self._besides = max(0, self._besides)
        if not self._is_over() and self._besides > MOST_HEAD_BYTES + self._body:
            self._refuse(HeadTooLarge(f"They may have {MOST_HEAD_BYTES} bytes."))

    def _skip(self, size: int) -> None:
        self._skippable -= size
        if self._skippable < 0:
            self.cut_off()

    def on_message_begin(self) -> None:
        if len(self._waiting) == _MOST_WAITING:
            self._listen_no_more()
        self._stop_if_over()
        self._url, self._headers = b"", []
        if self._phase is _Phase.BETWEEN:
            self._expect_head()

    def on_url(self, url: bytes) -> None:
        self._stop_if_over()
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._stop_if_over()
        if self._phase is _Phase.HEAD:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._stop_if_over()
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise httptools.HttpParserError(f"HTTP/{version}")
        headers = dict(self._headers)
        exchange = Exchange(
            self,
            self._scope(version),
            keep_alive=version == "1.1" and self._parser.should_keep_alive() and not self._parser.should_upgrade(),
            expects_continue=version == "1.1" and headers.get(b"expect", b"").lower() == b"100-continue",
        )
        self._phase, self._body = _Phase.BODY, 0
        self._wait_no_more()
        self._arriving = exchange
        if self._running is None:
            self._run(exchange)
            return
        self._waiting.append(exchange)
        self._pause()

    def _scope(self, version: str) -> Scope:
        url = httptools.parse_url(self._url)
        raw_path = url.path or b""
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._address,
            "client": self._client,
            "scheme": "http",
            "root_path": "",
            "method": self._parser.get_method().decode("ascii"),
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": url.query or b"",
            "headers": self._headers,
            "state": {},
            "extensions": {ADMITTED: {}},
        }

    def on_body(self, body: bytes) -> None:
        self._stop_if_over()
        self._besides -= len(body)
        self._body += len(body)
        exchange = self._arriving
        if exchange is None or exchange.is_answered:
            return
        exchange.add(body)
        if len(exchange.body) > MOST_UNREAD_BODY:
            self._pause()

    def on_message_complete(self) -> None:
        self._stop_if_over()
        exchange, self._arriving = self._arriving, None
        self._phase, self._besides, self._body = _Phase.BETWEEN, 0, 0
        assert exchange is not None
        exchange.end()
        if exchange.is_answered:
            self._go_on()

    def _stop_if_over(self) -> None:
        if self._is_over():
            raise _EnoughError

    def _is_over(self) -> bool:
        return self._phase is _Phase.OVER

    def _expect_head(self) -> None:
        self._phase, self._besides, self._body = _Phase.HEAD, 0, 0
        self._wait(self._bounds.patience_s, self._too_late)

    def _listen_no_more(self) -> None:
        """The requests that came whole are answered, and then the connection ends."""
        self._phase, self._skippable = _Phase.OVER, MOST_SKIPPED_BYTES
        self._wait_no_more()
        if self._waiting and self._waiting[-1] is self._arriving:
            self._waiting.pop()
        if (last := self._waiting[-1] if self._waiting else self._running) is not None:
            last.keep_alive = False

    def _pause(self) -> None:
        if self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()

    def body_was_taken(self) -> None:
        if not self._is_reading and not self._waiting and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    # --- answering ---

    def _run(self, exchange: Exchange) -> None:
        self._running = exchange
        task = self._loop.create_task(exchange.run(self._app))
        task.add_done_callback(self._server.tasks.discard)
        self._server.tasks.add(task)

    def answered(self) -> None:
        exchange, self._running = self._running, None
        self._server.total_requests += 1
        if exchange is None or self._transport.is_closing():
            return
        if not exchange.keep_alive:
            self._end(self._bounds.patience_s if exchange is self._arriving and self._phase is _Phase.BODY else None)
        elif exchange is self._arriving:
            # Nobody reads the rest of this request any more, but what follows it can only be found behind it.
            self._wait(self._bounds.patience_s, self._close)
            self.body_was_taken()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """The next request, if one has come."""
        if self._running is not None:
            return
        if self._waiting:
            self._run(self._waiting.popleft())
        elif self._phase is _Phase.BETWEEN:
            self._wait(self._bounds.keep_alive_s, self._close)
        self.body_was_taken()

    def _end(self, rest_s: float | None) -> None:
        """Close it. While the caller still sends, it would then not get to read its answer: so that is waited for."""
        self._phase = _Phase.OVER
        if rest_s is None:
            self._close()
            return
        self._transport.write_eof()
        self._wait(rest_s, self._close)
        self._waiting.clear()
        self.body_was_taken()

    def _too_late(self) -> None:
        if self._running is None:
            self._close()
        else:
            self._listen_no_more()

    def _close(self) -> None:
        self._transport.close()
        if self._stalled is None and self._transport.get_write_buffer_size():
            self._expect_reading()  # it stays until what was written is read

    def _refuse(self, error: GigachatError, *, within_s: float | None = None) -> None:
        """There is no request to answer in the usual way, but a caller should learn why it ends."""
        running = self._running
        if running is not None and running is not self._arriving:
            self._listen_no_more()  # an answer in front of it goes on
            return
        if running is not None:
            running.disconnect()
            if running.is_started:
                self.cut_off()
                return
        self._running = None
        if self._arriving is not None and self._arriving.is_answered:
            self._close()
            return
        self._skippable = MOST_SKIPPED_BYTES
        self.write(last_word(error, root=self._bounds.root))
        self._end(self._bounds.patience_s if within_s is None else within_s)

    # --- deadlines ---

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._wait_no_more()
        self._deadline = self._loop.call_later(seconds, then)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # --- writing ---

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    @property
    def is_congested(self) -> bool:
        return not self._writable.is_set()

    async def drained(self) -> None:
        await self._writable.wait()

    def pause_writing(self) -> None:
        self._writable.clear()
        self._expect_reading()

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        self._writable.set()

    def _expect_reading(self) -> None:
        self._unread_bytes = _unread_bytes(self._transport)
        self._stalled = self._loop.call_later(self.stalled_s, self._cut_off_if_stalled)

    def _cut_off_if_stalled(self) -> None:
        if self._unread_bytes - _unread_bytes(self._transport) >= LEAST_PACE * self.stalled_s:
            self._expect_reading()  # slow, but there
        else:
            self.cut_off()

    def cut_off(self) -> None:
        """The application is told that its caller went away; a turn goes on without one."""
        # Nobody waits for the reader: neither we, as close() would, nor the kernel, with megabytes in its hands.
        if not self._transport.is_closing() or self._transport.get_write_buffer_size():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self._transport.abort()


def _unread_bytes(transport: asyncio.Transport) -> int:
    """What was written and the other side has not taken: here, and in the kernel, which may hold megabytes of it."""
    in_kernel = array.array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, in_kernel)
    return transport.get_write_buffer_size() + in_kernel[0]
