"""The process that reads one file: a fork of `forker.py`, a request in, an answer out.

Idea: whatever a file does to a parser happens here. Standard input is a frame with a `Request`, then the file; standard
output is an `Outcome`. Invariant: it answers with one `Outcome`, or the kernel ended it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
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
    """Its text, or why there is none: the code of a `DocumentFailed`, and a sentence. `unimported`: modules it lacked."""

    extracted: FileText | None = None
    code: str = ""
    reason: str = ""
    unimported: tuple[str, ...] = ()


class NoImports(MetaPathFinder):
    """Refuses imports, and notes them: a child can open no file, so whatever it needs should have been imported before."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        self.refused.append(name)
        raise ModuleNotFoundError(f"{name} was to be imported while a file was read", name=name)


class Reader(msgspec.Struct, frozen=True):
    """A function that reads a kind of file, by its name: the server imports this module, and needs none of the libraries."""

    module: str
    function: str
    takes_media_type: bool = False

    def read(self, data: bytes, media_type: str | None, most_characters: int) -> FileText:
        module = importlib.import_module(f"gigachat_server.knowledge.extraction.{self.module}")
        function: Callable[..., FileText] = getattr(module, self.function)
        return function(data, media_type, most_characters) if self.takes_media_type else function(data, most_characters)


_READERS: dict[Kind, Reader] = {
    "pdf": Reader("pdf", "read_pdf"),
    "docx": Reader("word", "read_docx"),
    "pptx": Reader("slides", "read_pptx"),
    "xlsx": Reader("sheets", "read_xlsx"),
    "epub": Reader("epub", "read_epub"),
    "opendocument": Reader("opendocument", "read_opendocument"),
    "rtf": Reader("rtf", "read_rtf"),
    "mail": Reader("mail", "read_mail"),
    "json": Reader("structured", "read_json", takes_media_type=True),
    "xml": Reader("structured", "read_xml", takes_media_type=True),
    "subtitles": Reader("structured", "read_subtitles", takes_media_type=True),
    "csv": Reader("tables", "read_csv", takes_media_type=True),
    "html": Reader("html", "read_html", takes_media_type=True),
    "markdown": Reader("plain", "read_markdown", takes_media_type=True),
    "text": Reader("plain", "read_text", takes_media_type=True),
}
MODULES = frozenset(reader.module for reader in _READERS.values())


def read(data: bytes, *, name: str, media_type: str | None, most_characters: int) -> FileText:
    """The text of the file. Raises a `DocumentFailed`, and whatever the libraries raise for what they do not understand."""
    kind = kind_of(data, name=name, media_type=media_type)
    extracted = _READERS[kind].read(data, media_type, most_characters)
    if not extracted.text.strip():
        raise FileWithoutText
    return extracted


def main(*, parent: int) -> None:
    """In a fork of the process `parent`."""
    file, answers = os.fdopen(0, "rb", closefd=False), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's output must not mix with the answer
    length = int.from_bytes(_exactly(file, HEAD_BYTES), "big")
    request = msgspec.msgpack.decode(_exactly(file, length), type=Request)
    sandbox.enter(parent=parent)
    imports = NoImports()
    sys.meta_path.insert(0, imports)
    outcome = _outcome(file.read(), request)
    answers.write(msgspec.msgpack.encode(msgspec.structs.replace(outcome, unimported=tuple(imports.refused))))
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
