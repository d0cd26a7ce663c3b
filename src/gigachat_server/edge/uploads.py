"""Files in requests: `multipart/form-data` with a field `file`, written to disk as it arrives.

Invariant: this process never holds more of a file than a piece, and nothing a caller says becomes a path: a file has no name
at all and is gone with its request, or with this process. A body is refused as soon as it has
more bytes, parts or headers than it may, and a caller who sends too slowly is cut off like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from gigachat_server.access.speakers import document_name
from gigachat_server.edge.body import refuse_compressed
from gigachat_server.errors import FieldError, InvalidRequest, MalformedForm, PayloadTooLarge, RequestTimeout, StorageUnavailable
from gigachat_server.knowledge.extraction.decoding import known_charset
from gigachat_server.settings import Settings

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

LONGEST_NAME = 1024
_EXTENDED_NAME = re.compile(rb";\s*filename\*\s*=\s*\"?([\w.:-]{1,40})'[^';\"]*'([^;\s\"]+)", re.I)
_LONGEST_CONTENT_TYPE = 1000
_MOST_PARTS = 8
_MOST_FIELD_BYTES = 4 * LONGEST_NAME
_MOST_HEADERS, _MOST_HEADER_BYTES = 8, 8 * 1024
_BESIDES_BYTES = 64 * 1024  # what a form has besides its file
_AT_ONCE_BYTES = 256 * 1024  # parsed, hashed and written at once, in a thread
_PACE_BYTES = 1024 * 1024  # so much has to arrive in the time that a body has


class FileInput(msgspec.Struct, frozen=True):
    """A file as it was sent, but for its bytes; `name` is a label and nothing else."""

    name: str
    media_type: str | None
    sha256: str
    size: int


class Upload(msgspec.Struct, frozen=True):
    """What was sent, and where this process finds its bytes for now."""

    file: FileInput
    path: Path


def is_form(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"


@asynccontextmanager
async def received(scope: Scope, receive: Receive, headers: Mapping[str, str], settings: Settings) -> AsyncIterator[Upload]:
    """The file of the form, there until the context is left.

    Raises `MalformedForm`, `InvalidRequest`, `PayloadTooLarge`, `RequestTimeout`, `UnsupportedMediaType`.
    """
    refuse_compressed(headers)
    limit = settings.max_upload_bytes
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit + _BESIDES_BYTES:
        raise _too_large(limit)
    with _nameless_file(settings) as file:
        form = _Form(headers["content-type"], file, limit)
        async for data in _pieces(receive, settings.receive_timeout_s, most=limit + _BESIDES_BYTES, too_large=_too_large(limit)):
            try:
                await asyncio.to_thread(form.feed, data)
            except OSError:
                raise StorageUnavailable("The disk for files that are being received is full, or failing.") from None
        yield Upload(form.done(), Path(f"/proc/self/fd/{file.fileno()}"))


def _nameless_file(settings: Settings) -> IO[bytes]:
    """A file on the disk of the data folder: the temporary folder may be memory, or on a read-only disk.

    The node of a shared store need not have a data folder.
    """
    for folder in (settings.data_folder, None) if settings.database_url else (settings.data_folder,):
        with contextlib.suppress(OSError):
            return tempfile.TemporaryFile(dir=folder, buffering=0)
    raise StorageUnavailable("There is no disk for files that are being received.")


async def _pieces(receive: Receive, timeout_s: float, *, most: int, too_large: PayloadTooLarge) -> AsyncIterator[bytes]:
    """The body, in pieces of some size. Raises `RequestTimeout` where less than `_PACE_BYTES` come in that time."""
    loop = asyncio.get_running_loop()
    buffer = bytearray()
    size, paced, until = 0, 0, loop.time() + timeout_s
    more = True
    while more:
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise RequestTimeout(f"Of a file, {_PACE_BYTES} bytes must arrive every {timeout_s:g} seconds.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        buffer += message.get("body", b"")
        more = message.get("more_body", False)
        size += len(message.get("body", b""))
        if size > most:
            raise too_large
        if size - paced >= _PACE_BYTES:
            paced, until = size, loop.time() + timeout_s
        if len(buffer) >= _AT_ONCE_BYTES or not more:
            yield bytes(buffer)
            buffer.clear()


class _Form:
    """A form as far as it was read: the file goes to disk, the name into memory."""

    def __init__(self, content_type: str, file: IO[bytes], limit: int) -> None:
        # Only those who send files wait for this to be imported.
        from python_multipart.multipart import MultipartParser, parse_options_header

        if len(content_type) > _LONGEST_CONTENT_TYPE:  # to parse it takes quadratic time
            raise MalformedForm(f"The Content-Type of a form has at most {_LONGEST_CONTENT_TYPE} characters.")
        self._options = parse_options_header
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise MalformedForm("The Content-Type of a form names its boundary, of 1 to 70 characters.")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks, max_header_count=_MOST_HEADERS, max_header_size=_MOST_HEADER_BYTES)
        self._file = file
        self._limit = limit
        self._hash = hashlib.sha256()
        self._size = 0
        self._parts = 0
        self._field: bytearray = bytearray()
        self._value: bytearray = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._part = b""
        self._fields: dict[bytes, bytearray] = {}
        self._filename: bytes | None = None
        self._media_type: str | None = None
        self._is_ended = False

    def feed(self, data: bytes) -> None:
        """Raises `MalformedForm`, `InvalidRequest`, `PayloadTooLarge`, and `OSError` where the disk refuses."""
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(data)
        except FormParserError:
            raise MalformedForm from None

    def done(self) -> FileInput:
        """Raises `MalformedForm` if the form was cut off, `InvalidRequest` if it holds no file."""
        if not self._is_ended:
            raise MalformedForm("The form ends before its last boundary.")
        if self._filename is None:
            raise InvalidRequest(errors=(FieldError("file", "Is missing: send the file in a field of this name."),))
        given = self._fields.get(b"name")
        field, raw = ("file", self._filename) if given is None else ("name", bytes(given))
        return FileInput(_label(raw, field), self._media_type, self._hash.hexdigest(), self._size)

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise InvalidRequest(errors=(FieldError("", f"A form may have {_MOST_PARTS} fields."),))
        self._headers = {}

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        _, parameters = self._options(disposition.decode("latin-1"))
        self._part = parameters.get(b"name", b"")
        if self._part == b"file":
            if self._filename is not None:
                raise InvalidRequest(errors=(FieldError("file", "Is there twice: send one file at a time."),))
            self._filename = _extended(disposition) or parameters.get(b"filename", b"")
            media_type = self._headers.get(b"content-type", b"").decode("latin-1").strip()
            self._media_type = media_type[:200] or None
        elif self._part in (b"name",) and self._part not in self._fields:
            self._fields[self._part] = bytearray()
        else:
            shown = self._part.decode("utf-8", "replace")[:100]
            raise InvalidRequest(errors=(FieldError(shown, "Is no field of this form, or is there twice."),))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == b"file":
            self._size += end - start
            if self._size > self._limit:
                raise _too_large(self._limit)
            piece = memoryview(data)[start:end]
            self._hash.update(piece)
            self._file.write(piece)
            return
        field = self._fields[self._part]
        field += data[start:end]
        if len(field) > _MOST_FIELD_BYTES:
            raise InvalidRequest(errors=(FieldError("name", f"Must have at most {LONGEST_NAME} characters."),))

    def _part_end(self) -> None:
        self._part = b""

    def _end(self) -> None:
        self._is_ended = True


def _extended(disposition: bytes) -> bytes:
    """A name as `filename*=UTF-8''...` has it, in UTF-8; nothing if there is none, or in a charset that is not known."""
    found = _EXTENDED_NAME.search(disposition)
    known = known_charset(found[1].decode("ascii", "replace")) if found else None
    return unquote_to_bytes(found[2]).decode(known, "replace").encode() if found and known else b""


def _label(raw: bytes, field: str) -> str:
    """What the document is called. Whatever it looks like, it is only shown."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(errors=(FieldError(field, "Its name must be UTF-8."),)) from None
    document_name(name, field)
    if not 1 <= len(name) <= LONGEST_NAME:
        raise InvalidRequest(errors=(FieldError(field, f"Its name must have 1 to {LONGEST_NAME} characters."),))
    return name


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"A file may have at most {limit} bytes here; GIGACHAT_MAX_UPLOAD_BYTES sets that.")
