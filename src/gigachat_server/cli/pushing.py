"""`gigachat documents push`: sends many files, follows them until they can be found, and sums up.

Invariant: a failed file is reported and the others continue; files pushed before are replaced if they changed, and left alone
if not, so a push can always be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from gigachat_server.cli.client import ApiClient, ApiProblem
from gigachat_server.cli.progress import for_each_staged
from gigachat_server.errors import SetupError

# Which files of a folder are pushed by default. A file named on the command line is pushed whatever its extension.
KINDS = (
    ".txt", ".md", ".markdown", ".rst", ".csv", ".tsv", ".json", ".log", ".html", ".htm", ".xhtml", ".pdf", ".docx", ".pptx",
    ".xlsx", ".epub", ".docm", ".dotx", ".pptm", ".ppsx", ".potx", ".xlsm", ".xltx", ".odt", ".ods", ".odp", ".rtf", ".eml",
    ".mht", ".mhtml", ".jsonl", ".ndjson", ".ipynb", ".xml", ".yaml", ".yml", ".vtt", ".srt",
)  # fmt: skip

_AT_ONCE = 8
_STAGES = ("sent", "read", "searchable")
_SMALL = 4096


class File(msgspec.Struct, frozen=True):
    """A file, and the document that it becomes."""

    path: Path
    name: str


class Failure(msgspec.Struct, frozen=True):
    path: Path
    code: str
    reason: str


class PushWarning(msgspec.Struct, frozen=True):
    """A warning about a document: what was not read."""

    code: str
    count: int
    where: str = ""

    @property
    def shown(self) -> str:
        return f"{self.code} ({self.count}{': ' if self.where else ''}{self.where})"


class NotWhole(msgspec.Struct, frozen=True):
    """A file that was pushed but not fully read."""

    path: Path
    warnings: list[PushWarning]


class _Document(msgspec.Struct):
    id: str
    state: str
    chunk_count: int
    error: str | None = None
    reason: str | None = None
    warnings: list[PushWarning] = []


class Pushing:
    """One push of many files."""

    def __init__(self) -> None:
        self._chunks = 0
        self._pushed = 0
        self._empty = 0
        self.failures: list[Failure] = []
        self.warned: list[NotWhole] = []

    @property
    def summary(self) -> str:
        parts = [f"{self._pushed} documents pushed ({self._chunks} chunks)"]
        if self._empty:
            parts.append(f"{self._empty} empty files skipped")
        if self.warned:
            parts.append(f"{len(self.warned)} with warnings")
        return ", ".join(parts) + "."

    async def push(self, api: ApiClient, path: str, files: Sequence[File]) -> None:
        """Raises `SetupError` when the server is gone."""

        async def one(file: File, reach: Callable[[int], None]) -> None:
            try:
                await self._push_one(api, path, file, reach)
            except ApiProblem as problem:
                self.failures.append(Failure(file.path, problem.code, str(problem)))
            except OSError as error:
                self.failures.append(Failure(file.path, "unreadable", error.strerror or str(error)))

        await for_each_staged(files, one, at_once=_AT_ONCE, stages=_STAGES)

    async def _push_one(self, api: ApiClient, path: str, file: File, reach: Callable[[int], None]) -> None:
        if _is_empty(file.path):
            self._empty += 1
            return
        document = msgspec.convert(await api.upload(path, file.path, file.name), _Document)
        reach(1)
        async for told in api.follow_document(f"{path}/{document.id}"):
            document = msgspec.convert(told, _Document)
            if document.state == "embedding":
                reach(2)
        if document.state == "failed":
            self.failures.append(Failure(file.path, document.error or "", document.reason or ""))
            return
        self._pushed += 1
        if document.warnings:
            self.warned.append(NotWhole(file.path, document.warnings))
        self._chunks += document.chunk_count


def find_files(
    paths: Sequence[Path], *, prefix: str, include: Sequence[str], exclude: Sequence[str]
) -> tuple[list[File], list[Path]]:
    """The files to push, and the files of folders that are skipped for their format. Hidden files are ignored.

    Patterns are matched with the name in the folder, and with its last part. Raises `SetupError` for two of one name.
    """
    files, others = [], []
    seen: dict[str, Path] = {}
    for given in paths:
        for path, name in _walk(given):
            if _matches(name, exclude) or (include and not _matches(name, include)):
                continue
            if not include and given.is_dir() and path.suffix.lower() not in KINDS:
                others.append(path)
                continue
            file = File(path, prefix + name)
            if (other := seen.setdefault(file.name, path)) != path:
                raise SetupError(f"{other} and {path} would both be the document {file.name!r}: push them separately.")
            files.append(file)
    return files, others


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern) for pattern in patterns)


def _walk(given: Path) -> Iterator[tuple[Path, str]]:
    if not given.is_dir():
        yield given, given.name
        return
    for path in sorted(given.rglob("*")):
        name = path.relative_to(given)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield path, name.as_posix()


def _is_empty(path: Path) -> bool:
    return path.stat().st_size <= _SMALL and not path.read_bytes().strip()
