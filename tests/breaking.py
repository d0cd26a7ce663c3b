"""A network that breaks: a proxy before the server under test which, when told to, loses an answer on its way back, or all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL


class Breaking:
    """`breaks`: the start of a request whose next answer never arrives. `heads` are those of all such requests.

    `hangs`: its connection stays open all the while. `is_down`: nobody gets through.
    """

    def __init__(self, url: str) -> None:
        self._to = URL(url)
        self._open: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.breaks = b""
        self.hangs = False
        self.is_down = False
        self.count = 0
        self.heads: list[bytes] = []

    def cut(self) -> None:
        """Every connection is lost."""
        for writer in list(self._open):
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_down:
            writer.transport.abort()
            return
        to_site, from_us = await asyncio.open_connection(self._to.host, self._to.port)
        self._open |= {writer, from_us}
        is_broken = asyncio.Event()

        async def requests() -> None:
            while piece := await reader.read(65536):
                if self.breaks and piece.startswith(self.breaks):
                    self.heads.append(piece.lower())
                    if self.count == 0:
                        self.count += 1
                        is_broken.set()
                from_us.write(piece)

        async def answers() -> None:
            while piece := await to_site.read(65536):
                if not is_broken.is_set():
                    writer.write(piece)
                elif not self.hangs:
                    return  # it was carried out, and nobody is told
            if is_broken.is_set():
                await asyncio.Event().wait()  # whatever the site does with its end

        both = [asyncio.create_task(requests()), asyncio.create_task(answers())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            for each in (writer, from_us):
                self._open.discard(each)
                each.transport.abort()


@asynccontextmanager
async def breaking(url: str) -> AsyncIterator[Breaking]:
    """A proxy before the server at that `url`, listening at its own."""
    found = Breaking(url)
    server = await asyncio.start_server(found.accept, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        found.cut()
