"""A proxy before PostgreSQL that cuts connections at their COMMIT: before the server has heard of it, or after it has done it.

Idea: of the protocol only the frames are read: a type, a length, a body. A COMMIT is a simple query (`Q`) of that text, as
the store sends it; while nothing is cut, everything is passed on as it came. Invariant: a COMMIT that is cut after it was passed
on has been answered by the server, so that it is known to be done, and whoever sent it is not told.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COMMIT = b"COMMIT\0"


class CuttingProxy:
    """Cuts one COMMIT in so many, by chance, while `is_cutting`. In a thread of its own.

    After a cut nobody gets through for `away_s` seconds: the server that was asked is starting again, say.
    """

    def __init__(self, port: int, *, one_in: int = 4, seed: int = 1) -> None:
        self.cuts: Counter[str] = Counter()
        self.is_cutting = False
        self.away_s = 0.0
        self._back_at = 0.0
        self.port = 0
        self._server_port = port
        self._one_in = one_in
        self._random = random.Random(seed)

    @contextmanager
    def serving(self) -> Iterator[CuttingProxy]:
        loop, is_listening, is_over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

        async def serve() -> None:
            listener = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
            self.port = listener.sockets[0].getsockname()[1]
            is_listening.set()
            await is_over.wait()
            listener.close()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())

        thread = threading.Thread(target=run)
        thread.start()
        assert is_listening.wait(30)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(is_over.set)
            thread.join()

    async def _pass_on(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if time.monotonic() < self._back_at:
            to_client.transport.abort()
            return
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            to_client.close()
            return
        to_server.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answering = asyncio.create_task(self._answers(server, to_client))
        with suppress(OSError, asyncio.IncompleteReadError):
            to_server.write(await _startup(client))
            while True:
                frame = await _frame(client)
                if frame[:1] == b"Q" and frame[5:] == COMMIT and (how := self._chosen()):
                    answering.cancel()  # nothing of what comes now is passed on
                    await asyncio.wait([answering])
                    if how == "after":
                        to_server.write(frame)
                        await _frame(server)  # CommandComplete
                    self._back_at = time.monotonic() + self.away_s
                    self.cuts[how] += 1
                    break
                to_server.write(frame)
        answering.cancel()
        for writer in (to_client, to_server):
            writer.transport.abort()

    def _chosen(self) -> str | None:
        if not self.is_cutting or self._random.randrange(self._one_in):
            return None
        return self._random.choice(("before", "after"))

    async def _answers(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await server.read(65536):
                to_client.write(data)
            to_client.close()


async def _startup(client: asyncio.StreamReader) -> bytes:
    """The first message has no type."""
    length = await client.readexactly(4)
    return length + await client.readexactly(int.from_bytes(length, "big") - 4)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
