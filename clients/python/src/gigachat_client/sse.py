r"""Server-Sent Events out of bytes, however they are cut.

Lines end with `\n` or `\r\n` alone: texts hold U+2028 and others that Python's `splitlines` would break at.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct


class ServerEvent(Struct, frozen=True):
    """`place` is the `id:` from which a stream goes on behind this event; empty if it has none."""

    name: str
    data: bytes
    place: str


class EventParser:
    """Takes what arrives, gives the events that are whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []
        self._place = ""

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if (event := self._take(line.removesuffix(b"\r"))) is not None:
                yield event

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._name, b"\n".join(self._data), self._place) if self._data else None
            self._name, self._data, self._place = "", [], ""
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"event":
                self._name = value.decode()
            case b"data":
                self._data.append(value)
            case b"id":
                self._place = value.decode()
        return None  # a comment, or a field of a later version
