"""`gigachat documents`: lists, pushes and deletes a chatbot's documents, and shows what a prompt would find in them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import msgspec

from gigachat_server.cli.client import connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table
from gigachat_server.cli.pushing import Pushing, PushWarning, find_files
from gigachat_server.errors import SetupError
from gigachat_server.settings import Settings

_SHOWN_CHARACTERS = 80
_SHOWN_STEMS = 20
_FOUND = ("SCORE", "USED", "COSINE", "COVERAGE", "LEXICAL", "MARGIN", "PRIOR", "ID", "FOREIGN", "RANK", "NAME", "TEXT")
_ALL_LENIENT = "One passage is relevant enough without leniency, so all are judged leniently."
_JUDGES = {"generating": "generates", "quoting": "quotes"}

of_chatbot = click.option("--chatbot", required=True, metavar="NAME_OR_ID", help="Whose documents.")


class Document(msgspec.Struct):
    """What the list shows of a document."""

    id: str
    name: str
    state: str
    chunk_count: int
    updated_at: str
    progress: int = 0
    reason: str | None = None
    warnings: list[PushWarning] = []


class Queue(msgspec.Struct):
    """What the queue shows of a chatbot."""

    name: str
    waiting: int
    working: int
    bytes: int
    oldest_at: str


class Passage(msgspec.Struct):
    """What a search shows of a chunk."""

    name: str
    content: str
    score: float
    cosine: float
    lexical: float
    coverage: float
    is_foreign: bool
    prior: float
    margin: float
    identified: float
    rank_score: float
    parts: dict[str, float]
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

    @property
    def features(self) -> tuple[str, ...]:
        numbers = (self.cosine, self.coverage, self.lexical, self.margin, self.prior)
        identified = {1.0: "yes", -1.0: "no", 0.0: "-"}.get(self.identified, f"{self.identified:.1f}")
        return (*(f"{number:.3f}" for number in numbers), identified, "yes" if self.is_foreign else "no")

    def told(self, match_threshold: float) -> str:
        """How its relevance adds up, and how much it lacks."""
        summed = sum(self.parts.values())
        # Apart these two say little: an embedder's cosines lie close together, and the bias takes off what all of them have.
        shown = {"cosine and bias": self.parts["cosine"] + self.parts["bias"]}
        shown |= {name: part for name, part in self.parts.items() if name not in ("cosine", "bias")}
        parts = ", ".join(f"{name} {part:+.2f}" for name, part in shown.items() if round(part, 2))
        told = f"{self.name}: {parts} make {summed:+.2f}, which is a score of {self.score:.3f}"
        if self.is_matched or not 0 < match_threshold < 1:
            return told + "."
        return told + f"; it lacks {math.log(match_threshold / (1 - match_threshold)) - summed:.2f} to {match_threshold}."


class Stem(msgspec.Struct):
    stem: str
    idf: float = 0.0


class Retrieval(msgspec.Struct):
    """What a search shows besides."""

    match_count: int
    match_threshold: float
    searched: int
    is_small_talk: bool
    judged_for: str
    is_lenient: bool
    stems: list[Stem]
    added_stems: list[Stem]
    passages: list[Passage]

    @property
    def remarks(self) -> list[str]:
        if self.is_small_talk:
            return ["This is small talk, so no documents are searched."]
        stems = ", ".join(f"{stem.stem} {stem.idf:.2f}" for stem in self.stems[:_SHOWN_STEMS])
        added = ", ".join(stem.stem for stem in self.added_stems[:_SHOWN_STEMS])
        return [
            f"{self.searched} chunks searched for a model that {_JUDGES[self.judged_for]}. "
            f"Used are the first {self.match_count}, if their score is {self.match_threshold}.",
            *([_ALL_LENIENT] if self.is_lenient and self.judged_for == "quoting" else []),
            *(one.told(self.match_threshold) for one in self.passages[: self.match_count]),
            *([f"Stems and how rare each is: {stems}."] if stems else []),
            *([f"Searched together with the conversation, which adds: {added}."] if added else []),
        ]


@click.group()
def documents() -> None:
    """Push, list, search and delete a chatbot's documents."""


@documents.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH...")
@of_chatbot
@click.option("--name-prefix", default="", help="Prefix for every document's name, such as the URL of the site.")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Only files that match, such as '*.pdf' or 'guides/*'. Repeatable."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No files that match. Repeatable; overrides --include.")
@with_settings(*EVERYWHERE)
def push(
    settings: Settings,
    *,
    paths: tuple[Path, ...],
    chatbot: str,
    name_prefix: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
) -> None:
    """Push files, and whole folders, as documents named after their paths in the folder.

    Text, Markdown, HTML, PDF, DOCX, PPTX, XLSX, CSV and EPUB; of folders, other files are skipped. What was pushed before is
    replaced if it changed, and left alone if not. What was not read whole is named; what failed is listed at the end, and the
    status is 1.
    """
    files, others = find_files(paths, prefix=name_prefix, include=include, exclude=exclude)
    if others:
        kinds = ", ".join(sorted({path.suffix or path.name for path in others})[:10])
        note(f"Skipped {len(others)} files of other formats ({kinds}).")
    pushing = Pushing()

    async def main() -> None:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            await pushing.push(api, f"/chatbots/{found.id}/documents", files)

    run(main())
    note(pushing.summary)
    for document in pushing.warned:
        note(f"{document.path}: not fully read: {', '.join(warning.shown for warning in document.warnings)}")
    if pushing.failures:
        rows = [(str(failure.path), failure.code, failure.reason) for failure in pushing.failures]
        print_table(("FILE", "ERROR", "REASON"), rows, nothing="")
        raise SetupError(f"{len(pushing.failures)} of {len(files)} files were not pushed.")


@documents.command("list")
@of_chatbot
@click.option("--warned", is_flag=True, help="Only documents with warnings: not fully or not reliably read.")
@as_json
@with_settings(*EVERYWHERE)
def list_(settings: Settings, *, chatbot: str, warned: bool, is_json: bool) -> None:
    """List a chatbot's documents, newest first, with their warnings."""

    async def main() -> list[Any]:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            return await api.list_all(f"/chatbots/{found.id}/documents", **({"warned": "true"} if warned else {}))

    found = run(main())
    if is_json:
        print_json(found)
        return
    rows = [
        (
            document.id,
            document.name,
            document.state,
            f"{document.progress} %",
            str(document.chunk_count),
            day_and_time(document.updated_at),
            document.reason or "",
            ", ".join(warning.shown for warning in document.warnings),
        )
        for document in msgspec.convert(found, list[Document])
    ]
    columns = ("ID", "NAME", "STATE", "PROGRESS", "CHUNKS", "CHANGED", "REASON", "WARNINGS")
    print_table(columns, rows, nothing="There are no documents.")


@documents.command()
@as_json
@with_settings(*EVERYWHERE)
def queue(settings: Settings, *, is_json: bool) -> None:
    """Show how many documents wait for ingest, by chatbot, longest waiting first."""

    async def main() -> Any:
        async with connected(settings) as api:
            return await api.get("/queue")

    found = run(main())
    if is_json:
        print_json(found)
        return
    rows = [
        (each.name, str(each.waiting), str(each.working), f"{each.bytes / 1e6:.1f} MB", day_and_time(each.oldest_at))
        for each in msgspec.convert(found, list[Queue])
    ]
    print_table(("CHATBOT", "WAITING", "WORKING", "SIZE", "SINCE"), rows, nothing="Nothing waits.")


@documents.command()
@click.argument("wanted", nargs=-1, required=True, metavar="NAME_OR_ID...")
@of_chatbot
@with_settings(*EVERYWHERE)
def delete(settings: Settings, *, wanted: tuple[str, ...], chatbot: str) -> None:
    """Delete documents, by id or full name; they can no longer be found."""

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
@click.option("--conversation", default="", metavar="ID", help="Search as if the prompt came next in that conversation.")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Passages to show.")
@click.option(
    "--for",
    "judged_for",
    type=click.Choice(("configured", "generating", "quoting")),
    default="configured",
    show_default=True,
    help="Judge passages for that kind of model; a generating model needs less relevance.",
)
@as_json
@with_settings(*EVERYWHERE)
def find(settings: Settings, *, query: str, chatbot: str, conversation: str, limit: int, judged_for: str, is_json: bool) -> None:
    """Show what a prompt would find, best first, and why, including passages that are not relevant enough."""

    async def main() -> Any:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            more = {"for": judged_for} | ({"conversation_id": conversation} if conversation else {})
            return await api.get(f"/chatbots/{found.id}/retrieve", query=query, limit=str(limit), **more)

    answer = run(main())
    if is_json:
        print_json(answer)
        return
    found = msgspec.convert(answer, Retrieval)
    rows = [
        (f"{one.score:.3f}", one.use, *one.features, f"{one.rank_score:.3f}", one.name, one.beginning) for one in found.passages
    ]
    print_table(_FOUND, rows, nothing="No passage was found.")
    for remark in found.remarks:
        note(remark)
