"""Reads questions with known answers, and their documents, from JSON Lines or a table with a heading.

Idea: a folder holds `questions.jsonl` or `questions.csv`, and `documents.jsonl` or a folder `documents` of texts; for a chatbot
that has its documents, a single file of questions is enough. A missing field has an obvious default, or the line is an error.
Invariant: every error names its file and line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gigachat_server.errors import SetupError
from gigachat_server.evaluation.measures import Document, EarlierTurn, Question, numbered_lines, read_lines

COLUMNS = ("question", "answer", "document", "answerable", "kind", "lang", "doc_lang", "reference", "id", "collection")

_TEXTS = (".txt", ".md", ".markdown", ".rst")
_YES, _NO = frozenset({"yes", "true", "1"}), frozenset({"no", "false", "0"})
_SEVERAL = re.compile(r"\s*\|\s*")


class QuestionSet(msgspec.Struct, frozen=True):
    """`documents` is None where none came with the questions."""

    questions: list[Question]
    documents: list[Document] | None
    remarks: list[str]


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """A question as it is written: only its text is required, and whatever says whether it can be answered."""

    question: str
    id: str | int | None = None
    collection: str | None = None
    answerable: bool | None = None
    kind: str | None = None
    lang: str | None = None
    doc_lang: str | None = None
    document: str | None = None
    document_name: str | None = None
    document_names: tuple[str, ...] = ()
    answer: str | None = None
    answers: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    reference: str | None = None
    history: tuple[EarlierTurn, ...] = ()


class _DocumentLine(msgspec.Struct, frozen=True):
    name: str
    content: str
    collection: str | None = None


def read(path: Path) -> QuestionSet:
    """The questions in this file or folder, and the documents beside them. Raises `SetupError`."""
    if not path.is_dir():
        return QuestionSet(_questions(path, collection=path.stem), None, [])
    found = [path / name for name in ("questions.jsonl", "questions.csv") if (path / name).exists()]
    if not found:
        raise SetupError(f"{path} holds neither questions.jsonl nor questions.csv.")
    if len(found) > 1:
        raise SetupError(f"{path} holds both questions.jsonl and questions.csv: name the file you mean.")
    collection = path.resolve().name
    questions = _questions(found[0], collection=collection)
    collections = list(dict.fromkeys(question.collection for question in questions))
    documents = _documents(path, collections=collections, collection=collection)
    return QuestionSet(questions, documents, [] if documents is None else _remarks(questions, documents))


def _questions(path: Path, *, collection: str) -> list[Question]:
    lines = _rows(path) if path.suffix.lower() == ".csv" else iter(numbered_lines(path, _Line))
    questions: dict[str, Question] = {}
    for number, line in lines:
        place = f"{path}, line {number}"
        question = _question(line, place=place, number=number, collection=collection)
        if question.id in questions:
            raise SetupError(f"{place}: another question has the id {question.id!r} too.")
        questions[question.id] = question
    if not questions:
        raise SetupError(f"{path} holds no questions.")
    return list(questions.values())


def _question(line: _Line, *, place: str, number: int, collection: str) -> Question:
    if not line.question.strip():
        raise SetupError(f"{place}: the question is empty.")
    names = line.document_names or tuple(filter(None, (line.document_name or line.document,)))
    answers = line.answers or tuple(filter(None, (line.answer,)))
    is_answerable = line.answerable
    if is_answerable is None:
        if not (names or answers or line.reference):
            raise SetupError(f"{place}: name an answer or a document, or say with answerable that there is none.")
        is_answerable = True
    return Question(
        id=str(number if line.id is None else line.id),
        collection=line.collection or collection,
        question=line.question,
        answerable=is_answerable,
        kind=line.kind or ("answerable" if is_answerable else "unanswerable"),
        lang=line.lang,
        doc_lang=line.doc_lang,
        document_names=names,
        answers=answers,
        evidence=line.evidence,
        reference=line.reference,
        history=line.history,
    )


# --- a table ---


def _rows(path: Path) -> Iterator[tuple[int, _Line]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=",", strict=True)
    try:
        heading = next(reader, [])
        if len(heading) < 2:  # as spreadsheets write it where a comma stands in numbers
            delimiter = max(";\t", key="".join(heading).count)
            reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
            heading = next(reader, [])
        columns = [name.strip().lower() for name in heading]
        _check_heading(path, columns)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                place = f"{path}, line {reader.line_num}"
                if len(cells) > len(columns):
                    raise SetupError(f"{place}: more cells than the heading; put texts with commas into quotes.")
                row = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
                yield reader.line_num, _line_of(row, place)
    except csv.Error as error:
        raise SetupError(f"{path}, line {reader.line_num}: {error}.") from None


def _check_heading(path: Path, columns: list[str]) -> None:
    if "question" not in columns:
        raise SetupError(f"{path}, line 1: no column is named question; there may be {', '.join(COLUMNS)}.")
    for name in columns:
        if name not in COLUMNS:
            raise SetupError(f"{path}, line 1: the column {name!r} is unknown; there may be {', '.join(COLUMNS)}.")
        if columns.count(name) > 1:
            raise SetupError(f"{path}, line 1: the column {name!r} appears twice.")


def _line_of(row: dict[str, str], place: str) -> _Line:
    said = row.get("answerable", "").lower()
    if said and said not in _YES | _NO:
        raise SetupError(f"{place}: answerable is yes or no, or left empty, not {said!r}.")
    return _Line(
        question=row.get("question", ""),
        id=row.get("id") or None,
        collection=row.get("collection") or None,
        answerable=said in _YES if said else None,
        kind=row.get("kind") or None,
        lang=row.get("lang") or None,
        doc_lang=row.get("doc_lang") or None,
        document_names=_several(row.get("document", "")),
        answers=_several(row.get("answer", "")),
        reference=row.get("reference") or None,
    )


def _several(cell: str) -> tuple[str, ...]:
    return tuple(filter(None, _SEVERAL.split(cell)))


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}.") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise SetupError(f"{path}, line {number}: is not UTF-8; save it as CSV UTF-8.") from None


# --- documents ---


def _documents(folder: Path, *, collections: list[str], collection: str) -> list[Document] | None:
    lines, texts = folder / "documents.jsonl", folder / "documents"
    if lines.exists():
        return [Document(line.collection or collection, line.name, line.content) for line in read_lines(lines, _DocumentLine)]
    if not texts.is_dir():
        return None
    if len(collections) > 1:
        raise SetupError(f"{texts} is of one collection, the questions are of {', '.join(collections)}: use documents.jsonl.")
    paths = [path for path in sorted(texts.rglob("*")) if path.is_file() and path.suffix.lower() in _TEXTS]
    return [Document(collections[0], path.relative_to(texts).as_posix(), _text(path)) for path in paths]


def _remarks(questions: list[Question], documents: list[Document]) -> list[str]:
    """What is likely to be a slip of the pen."""
    known = {(document.collection, document.name) for document in documents}
    missing = dict.fromkeys(
        name
        for question in questions
        if question.answerable
        for name in question.gold_documents
        if (question.collection, name) not in known
    )
    if not missing:
        return []
    few = ", ".join(sorted(missing)[:5])
    return [f"Questions name {len(missing)} documents that are not there: {few}."]
