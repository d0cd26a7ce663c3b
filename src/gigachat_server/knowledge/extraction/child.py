"""The process that reads one file: a fork of `forker.py`, a request in, an answer out.

Idea: whatever a file does to a parser happens here. Standard input is a frame with a `Request`, then the file; standard
output is an `Outcome`. Invariant: it answers with one `Outcome`, or the kernel ended it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from gigachat_server.errors import DocumentFailed, FileDamaged, FileTooComplex, FileWithoutText
from gigachat_server.knowledge.extraction import sandbox
from gigachat_server.knowledge.extraction.extracted import FileText
from gigachat_server.knowledge.extraction.kinds import Kind, kind_of

HEAD_BYTES = 4  # how long the request is, big-endian


class Request(msgspec.Struct, frozen=True):
    """What is known of a file besides its content. `most_characters`: how long its text may be."""

    name: str
    media_type: str | None
    most_characters: int


class Outcome(msgspec.Struct, frozen=True):
    """Its text, or why there is none: the code of a `DocumentFailed`, and a sentence. `imported`: what that needed besides."""

    extracted: FileText | None = None
    code: str = ""
    reason: str = ""
    imported: tuple[str, ...] = ()


def _reader(module: str, name: str, *, is_told: bool = False) -> Callable[[bytes, str | None, int], FileText]:
    """A function that is imported when it is needed: a process reads one file. `is_told`: it wants to know the media type."""

    def read(data: bytes, media_type: str | None, most: int) -> FileText:
        function = getattr(importlib.import_module(f"gigachat_server.knowledge.extraction.{module}"), name)
        extracted: FileText = function(data, media_type, most) if is_told else function(data, most)
        return extracted

    return read


_READERS: dict[Kind, Callable[[bytes, str | None, int], FileText]] = {
    "pdf": _reader("pdf", "read_pdf"),
    "docx": _reader("word", "read_docx"),
    "pptx": _reader("slides", "read_pptx"),
    "xlsx": _reader("sheets", "read_xlsx"),
    "epub": _reader("epub", "read_epub"),
    "opendocument": _reader("opendocument", "read_opendocument"),
    "rtf": _reader("rtf", "read_rtf"),
    "mail": _reader("mail", "read_mail"),
    "json": _reader("structured", "read_json", is_told=True),
    "xml": _reader("structured", "read_xml", is_told=True),
    "subtitles": _reader("structured", "read_subtitles", is_told=True),
    "csv": _reader("tables", "read_csv", is_told=True),
    "html": _reader("html", "read_html", is_told=True),
    "markdown": _reader("plain", "read_markdown", is_told=True),
    "text": _reader("plain", "read_text", is_told=True),
}


def read(data: bytes, *, name: str, media_type: str | None, most_characters: int) -> FileText:
    """The text of the file. Raises a `DocumentFailed`, and whatever the libraries raise for what they do not understand."""
    kind = kind_of(data, name=name, media_type=media_type)
    extracted = _READERS[kind](data, media_type, most_characters)
    if not extracted.text.strip():
        raise FileWithoutText
    return extracted


def main(*, parent: int) -> None:
    """In a fork of the process `parent`."""
    before = set(sys.modules)
    file, answers = os.fdopen(0, "rb", closefd=False), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's output must not mix with the answer
    length = int.from_bytes(_exactly(file, HEAD_BYTES), "big")
    request = msgspec.msgpack.decode(_exactly(file, length), type=Request)
    sandbox.enter(parent=parent)
    outcome = _outcome(file.read(), request)
    imported = tuple(name for name in sys.modules if name not in before and "." not in name)
    answers.write(msgspec.msgpack.encode(msgspec.structs.replace(outcome, imported=imported)))
    answers.flush()
    os._exit(0)  # nothing is left to be freed one by one


def _outcome(data: bytes, request: Request) -> Outcome:
    try:
        extracted = read(data, name=request.name, media_type=request.media_type, most_characters=request.most_characters)
        return Outcome(extracted)
    except DocumentFailed as error:
        return Outcome(None, error.code, error.detail or error.message)
    except (MemoryError, RecursionError):
        return Outcome(None, FileTooComplex.code, FileTooComplex.message)
    except Exception:  # noqa: BLE001 - whatever a library raises for a file that is not as it should be
        return Outcome(None, FileDamaged.code, FileDamaged.message)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        sys.exit(1)  # the server is gone
    return data
