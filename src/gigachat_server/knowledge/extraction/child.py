"""The process that reads one file: a fork of `forker.py`, a request in, an answer out.

Idea: whatever a file does to a parser, it does it here. Standard input is a frame with a `Request`, then the file; standard
output is an `Outcome`. Invariant: it answers with one `Outcome`, or the kernel ended it.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

import msgspec

from gigachat_server.errors import DocumentFailed, FileDamaged, FileTooComplex, FileWithoutText
from gigachat_server.knowledge.extraction import sandbox
from gigachat_server.knowledge.extraction.extracted import Extracted
from gigachat_server.knowledge.extraction.kinds import kind_of

HEAD_BYTES = 4  # how long the request is, big-endian


class Request(msgspec.Struct, frozen=True):
    """What is known of a file besides its content. `most_characters`: how long its text may be."""

    name: str
    media_type: str | None
    most_characters: int


class Outcome(msgspec.Struct, frozen=True):
    """Its text, or why there is none: the code of a `DocumentFailed`, and a sentence. `imported`: what that needed besides."""

    extracted: Extracted | None = None
    code: str = ""
    reason: str = ""
    imported: tuple[str, ...] = ()


def read(data: bytes, *, name: str, media_type: str | None, most_characters: int) -> Extracted:
    """The text of the file. Raises a `DocumentFailed`, and whatever the libraries raise for what they do not understand."""
    kind = kind_of(data, name=name, media_type=media_type)
    # Each of them is imported when it is needed: a process reads one file.
    if kind == "pdf":
        from gigachat_server.knowledge.extraction.pdf import read_pdf

        extracted = read_pdf(data, most_characters)
    elif kind in ("docx", "pptx"):
        from gigachat_server.knowledge.extraction.office import read_docx, read_pptx

        extracted = (read_docx if kind == "docx" else read_pptx)(data, most_characters)
    elif kind in ("xlsx", "csv"):
        from gigachat_server.knowledge.extraction.tables import read_csv, read_xlsx

        extracted = read_xlsx(data, most_characters) if kind == "xlsx" else read_csv(data, media_type, most_characters)
    elif kind == "epub":
        from gigachat_server.knowledge.extraction.epub import read_epub

        extracted = read_epub(data, most_characters)
    elif kind == "html":
        from gigachat_server.knowledge.extraction.html import read_html

        extracted = read_html(data, media_type, most_characters)
    else:
        from gigachat_server.knowledge.extraction.plain import read_markdown, read_text

        extracted = (read_markdown if kind == "markdown" else read_text)(data, media_type, most_characters)
    if not extracted.text.strip():
        raise FileWithoutText
    return extracted


def main(*, parent: int) -> None:
    """In a fork of the process `parent`."""
    before = set(sys.modules)
    file, answers = os.fdopen(0, "rb", closefd=False), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
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
        sys.exit(1)  # whoever asked is gone
    return data
