"""The widget's own files, compressed once: browsers wait for them on other people's pages.

Invariant: only what the package holds when the process starts is ever served, under an address that changes with its content.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import msgspec
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
LASTING = "public, max-age=31536000, immutable"

# One file to the browser, in this order: they share their names.
_FRAME = ("link.js", "outbox.js", "stream.js", "thread.js", "start.js")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".html": "text/html"}


class ServedFile(msgspec.Struct, frozen=True):
    content: bytes
    compressed: bytes
    media_type: str
    digest: str


class Files:
    """Every file, in memory, as it is and compressed."""

    def __init__(self, root: str) -> None:
        """`root`: the path of the public address."""
        self.root = root
        self._files = {path.name: _served(path.name, path.read_bytes()) for path in FOLDER.iterdir() if path.suffix in _TYPES}
        joined = b"\n".join((FOLDER / "frame" / name).read_bytes() for name in _FRAME)
        self._files["frame.js"] = _served("frame.js", joined.replace(b'"use strict";\n', b"", len(_FRAME) - 1))

    def __getitem__(self, name: str) -> ServedFile:
        return self._files[name]

    def url(self, name: str) -> str:
        return f"{self.root}/widget/static/{name}?v={self._files[name].digest}"

    def answer(self, name: str, headers: dict[str, str], *, version: str) -> Response | None:
        """The file, or that the browser has it; None if there is no such file. `headers`: the request's."""
        file = self._files.get(name)
        if file is None:
            return None
        lasting = LASTING if version == file.digest else "no-cache"
        return answer(file, headers, cache=lasting)


def answer(file: ServedFile, headers: dict[str, str], *, cache: str, by: str = "") -> Response:
    """`by`: the other headers that decide what is in it, or caches would answer one page with what another was told."""
    sent = {"Cache-Control": cache, "ETag": f'"{file.digest}"', "Vary": f"Accept-Encoding, {by}".rstrip(", ")}
    if sent["ETag"] in headers.get("if-none-match", ""):
        return Response(status_code=304, headers=sent)
    if not accepts_gzip(headers):
        return Response(file.content, 200, sent, file.media_type)
    return Response(file.compressed, 200, {**sent, "Content-Encoding": "gzip"}, file.media_type)


def accepts_gzip(headers: dict[str, str]) -> bool:
    for each in headers.get("accept-encoding", "").lower().split(",", 20)[:20]:
        coding, _, weight = each.strip().partition(";")
        if coding.strip() == "gzip":
            return weight.strip().rstrip("0") not in ("q=", "q=0.")
    return False


def compress(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _served(name: str, content: bytes) -> ServedFile:
    digest = hashlib.sha256(content).hexdigest()[:16]
    return ServedFile(content, compress(content), _TYPES[Path(name).suffix], digest)
