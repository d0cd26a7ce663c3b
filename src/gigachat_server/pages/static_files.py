"""The pages' stylesheet, scripts and icon.

Invariant: only what lies in the package's `static` folder when the process starts is ever served. A request names a
file of that table; no path is made from it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class StaticFile(msgspec.Struct, frozen=True):
    content: bytes
    media_type: str
    digest: str


class StaticFiles:
    """Every static file, in memory."""

    def __init__(self, root: str = "") -> None:
        """`root`: the path of the public address."""
        self.root = root
        self._files = {path.name: _load(path) for path in FOLDER.iterdir() if path.suffix in _TYPES}

    def url(self, name: str) -> str:
        """An address that changes with the content, so that browsers may keep what it names for good."""
        return f"{self.root}/static/{name}?v={self._files[name].digest}"

    def answer(self, name: str, *, version: str, if_none_match: str) -> Response | None:
        """The file, or that the browser has it; None if there is no such file."""
        file = self._files.get(name)
        if file is None:
            return None
        is_lasting = version == file.digest
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if is_lasting else "no-cache",
            "ETag": f'"{file.digest}"',
        }
        if headers["ETag"] in if_none_match:
            return Response(status_code=304, headers=headers)
        return Response(file.content, 200, headers, file.media_type)


def _load(path: Path) -> StaticFile:
    content = path.read_bytes()
    return StaticFile(content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:16])
