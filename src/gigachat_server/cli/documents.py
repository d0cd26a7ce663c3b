"""`gigachat documents`: a chatbot's documents, pushing files as such, and what a prompt would find in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from gigachat_server.cli.client import ApiClient, ApiProblem, connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table
from gigachat_server.cli.progress import for_each
from gigachat_server.errors import SetupError
from gigachat_server.settings import Settings

TEXTS = (".txt", ".md", ".markdown", ".rst", ".csv", ".json", ".log")

_AT_ONCE = 8
_SHOWN_CHARACTERS = 80
_SHOWN_STEMS = 20

of_chatbot = click.option("--chatbot", required=True, metavar="NAME_OR_ID", help="Whose documents.")


class Document(msgspec.Struct):
    """What the list shows of a document."""

    id: str
    name: str
    state: str
    chunk_count: int
    updated_at: str
    error: str | None = None


class Passage(msgspec.Struct):
    """What a search shows of a chunk."""

    name: str
    content: str
    score: float
    cosine: float
    lexical: float
    coverage: float
    rank_score: float
    is_matched: bool
    is_source: bool

    @property
    def use(self) -> str:
        if self.is_source:
            return "yes"
        return "too many" if self.is_matched else "no"

    @property
    def beginning(self) -> str:
        return " ".join(self.content.partition("\n\n---\n\n")[2][:_SHOWN_CHARACTERS].split())


class Stem(msgspec.Struct):
    stem: str
    idf: float = 0.0


class Retrieval(msgspec.Struct):
    """What a search shows besides."""

    match_count: int
    match_threshold: float
    searched: int
    is_small_talk: bool
    stems: list[Stem]
    added_stems: list[Stem]
    passages: list[Passage]

    @property
    def remarks(self) -> list[str]:
        if self.is_small_talk:
            return ["This is small talk, for which no documents are searched."]
        stems = ", ".join(f"{stem.stem} {stem.idf:.2f}" for stem in self.stems[:_SHOWN_STEMS])
        added = ", ".join(stem.stem for stem in self.added_stems[:_SHOWN_STEMS])
        return [
            f"{self.searched} chunks searched. Used are the first {self.match_count}, if their score is {self.match_threshold}.",
            *([f"Stems and how rare each is: {stems}."] if stems else []),
            *([f"Searched together with the conversation, which adds: {added}."] if added else []),
        ]


class File(msgspec.Struct, frozen=True):
    """A file, and the document that it is to be."""

    path: Path
    name: str


@click.group()
def documents() -> None:
    """Push, list, search and delete a chatbot's documents."""


@documents.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH...")
@of_chatbot
@click.option("--name-prefix", default="", help="Put before every document's name: the URL of the site, say.")
@with_settings(*EVERYWHERE)
def push(settings: Settings, *, paths: tuple[Path, ...], chatbot: str, name_prefix: str) -> None:
    """Push files, and folders with all below them, as documents named after their paths in the folder.

    What was pushed before is replaced if it changed, and left alone if not. Text files only: .txt .md .markdown .rst .csv
    .json .log; others are skipped.
    """
    files, others = _found(paths, name_prefix)
    if others:
        kinds = ", ".join(sorted({path.suffix or path.name for path in others})[:10])
        note(f"Skipped {len(others)} files that are not text ({kinds}).")
    pushing = Pushing(settings)
    pushing.refuse_namesakes(files)

    async def main() -> None:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            await pushing.push(api, f"/chatbots/{found.id}/documents", files)

    run(main())
    for failure in pushing.failures:
        note(f"gigachat: {failure}")
    note(pushing.summary)
    if pushing.failures:
        raise SetupError(f"{len(pushing.failures)} of {len(files)} files were not pushed.")


class Pushing:
    """One push of many files: a file that fails is noted and the others go on."""

    def __init__(self, settings: Settings) -> None:
        # No text that the server accepts is longer, at 4 bytes a character.
        self._most_bytes = 4 * settings.max_document_characters
        self._chunks = 0
        self._pushed = 0
        self._pending = 0
        self._empty = 0
        self.failures: list[str] = []

    @property
    def summary(self) -> str:
        parts = [f"{self._pushed} documents pushed ({self._chunks} chunks)"]
        if self._pending:
            parts.append(f"{self._pending} accepted, to be searchable soon")
        if self._empty:
            parts.append(f"{self._empty} empty files skipped")
        return ", ".join(parts) + "."

    def refuse_namesakes(self, files: Sequence[File]) -> None:
        """Two files of one name would replace each other. Raises `SetupError`."""
        seen: dict[str, Path] = {}
        for file in files:
            other = seen.setdefault(file.name, file.path)
            if other != file.path:
                raise SetupError(f"{other} and {file.path} would both be the document {file.name!r}: push them apart.")

    async def push(self, api: ApiClient, path: str, files: Sequence[File]) -> None:
        async def one(file: File) -> None:
            try:
                await self._push_one(api, path, file)
            except (SetupError, OSError) as error:
                if isinstance(error, SetupError) and not isinstance(error, ApiProblem):
                    raise  # the server is gone: the other files cannot be pushed either
                self.failures.append(f"{file.path}: {error.strerror if isinstance(error, OSError) else error}")

        await for_each(files, one, at_once=_AT_ONCE, label="documents")

    async def _push_one(self, api: ApiClient, path: str, file: File) -> None:
        if file.path.stat().st_size > self._most_bytes:
            raise OSError(0, f"has more than {self._most_bytes // 4} characters; split it")
        try:
            text = file.path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise OSError(0, f"is not UTF-8 text (byte {error.start})") from None
        if not text.strip():
            self._empty += 1
            return
        answer = await api.post(path, {"name": file.name, "content": text}, embedding="false")
        if isinstance(answer, list):
            self._pushed += 1
            self._chunks += len(answer)
        else:  # the document itself: the embedder cannot be reached now
            self._pending += 1


def _found(paths: Sequence[Path], prefix: str) -> tuple[list[File], list[Path]]:
    """The files to push, and those that are not text. What is hidden is not even looked at."""
    files, others = [], []
    for given in paths:
        for path, name in _walk(given):
            if path.suffix.lower() in TEXTS:
                files.append(File(path, prefix + name))
            else:
                others.append(path)
    return files, others


def _walk(given: Path) -> Iterator[tuple[Path, str]]:
    if not given.is_dir():
        yield given, given.name
        return
    for path in sorted(given.rglob("*")):
        name = path.relative_to(given)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield path, name.as_posix()


@documents.command("list")
@of_chatbot
@as_json
@with_settings(*EVERYWHERE)
def list_(settings: Settings, *, chatbot: str, is_json: bool) -> None:
    """List a chatbot's documents, newest first."""

    async def main() -> list[Any]:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            return await api.list_all(f"/chatbots/{found.id}/documents")

    found = run(main())
    if is_json:
        print_json(found)
        return
    rows = [
        (
            document.id,
            document.name,
            document.error or document.state,
            str(document.chunk_count),
            day_and_time(document.updated_at),
        )
        for document in msgspec.convert(found, list[Document])
    ]
    print_table(("ID", "NAME", "STATE", "CHUNKS", "CHANGED"), rows, nothing="There are no documents.")


@documents.command()
@click.argument("wanted", nargs=-1, required=True, metavar="NAME_OR_ID...")
@of_chatbot
@with_settings(*EVERYWHERE)
def delete(settings: Settings, *, wanted: tuple[str, ...], chatbot: str) -> None:
    """Delete documents: they are found no more. Names must be whole."""

    async def main() -> None:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            path = f"/chatbots/{found.id}/documents"
            held = msgspec.convert(await api.list_all(path), list[Document])
            by_name = {document.name: document.id for document in held} | {document.id: document.id for document in held}
            if missing := [name for name in wanted if name not in by_name]:
                raise SetupError(f"The chatbot has no document {missing[0]!r}; nothing was deleted.")
            for document_id in dict.fromkeys(by_name[name] for name in wanted):
                await api.delete(f"{path}/{document_id}")

    run(main())
    note(f"Deleted {len(set(wanted))}.")


@documents.command()
@click.argument("query")
@of_chatbot
@click.option("--conversation", default="", metavar="ID", help="As if it were said next in that conversation.")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Passages to show.")
@as_json
@with_settings(*EVERYWHERE)
def find(settings: Settings, *, query: str, chatbot: str, conversation: str, limit: int, is_json: bool) -> None:
    """Show what a prompt would find, best first, and why: also what is too far from it to be used."""

    async def main() -> Any:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            more = {"conversation_id": conversation} if conversation else {}
            return await api.get(f"/chatbots/{found.id}/retrieve", query=query, limit=str(limit), **more)

    answer = run(main())
    if is_json:
        print_json(answer)
        return
    found = msgspec.convert(answer, Retrieval)
    rows = [
        (
            *(f"{number:.3f}" for number in (one.score, one.cosine, one.coverage, one.lexical, one.rank_score)),
            one.use,
            one.name,
            one.beginning,
        )
        for one in found.passages
    ]
    print_table(("SCORE", "COSINE", "COVERAGE", "LEXICAL", "RANK", "USED", "NAME", "TEXT"), rows, nothing="Nothing was found.")
    for remark in found.remarks:
        note(remark)
