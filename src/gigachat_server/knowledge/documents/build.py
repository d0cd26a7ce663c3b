"""What a document is built into: chunks, which are handed on; units, which are embedded; and the terms that words find it by.

The idea: a chunk's own embedding is the mean of its units' directions, so that nothing is embedded twice; it shows on the wire,
and leads a store to the chunks whose units are worth comparing. A document records what it was built with, the embedder and
this recipe, and is rebuilt where it would be built with something else now.

Invariant: pure; every chunk has a unit, itself if there is no smaller one, and all of its units are between its `first_unit`
and its `last_unit`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from gigachat_server.knowledge.documents.chunk import TextChunk, split
from gigachat_server.knowledge.documents.units import CHARACTERS, placed, units
from gigachat_server.knowledge.extraction.extracted import Place, locate
from gigachat_server.knowledge.search.directions import Directions, inverse_norms, means
from gigachat_server.knowledge.search.members import Members
from gigachat_server.knowledge.search.scoring import dump_stems
from gigachat_server.language.codes import Language
from gigachat_server.language.detect import language
from gigachat_server.language.terms import terms
from gigachat_server.models.base import Matrix
from gigachat_server.records import TextSplitterConfig
from gigachat_server.store.json_columns import JsonColumn
from gigachat_server.store.units import UnitRow, text_hash

_PLACES: JsonColumn[list[Place]] = JsonColumn("documents.places", list[Place], otherwise=list)


class Text(msgspec.Struct, frozen=True):
    """What is made searchable; `places` is JSON, as it is stored."""

    content: str
    places: str | None = None


class PlacedUnit(msgspec.Struct, frozen=True):
    """A text that is embedded, and the chunks that it speaks for, by their numbers."""

    text: str
    first_chunk: int
    last_chunk: int


class CutText(msgspec.Struct, frozen=True):
    """A text in its pieces. `located`, `terms`: of each chunk, as they are stored."""

    chunks: list[TextChunk]
    located: list[Place]
    terms: list[str]
    units: list[PlacedUnit]
    language: Language | None


class BuiltText(msgspec.Struct, frozen=True):
    """What the directions of a cut make of it: its units as they are stored, and of each chunk its embedding and its units."""

    units: list[UnitRow]
    embeddings: Matrix
    spans: list[tuple[int, int]]


def cut(text: Text, splitter: TextSplitterConfig) -> CutText:
    """A blank text has no chunks, and no units."""
    chunks = split(text.content, size=splitter.chunk_size, overlap=splitter.chunk_overlap)
    places = _PLACES.read(text.places, "a document") if text.places else []
    spoken = language(text.content)
    return CutText(
        chunks=chunks,
        located=locate(places, [chunk.start for chunk in chunks]),
        terms=[dump_stems(terms(chunk.text, spoken)) for chunk in chunks],
        units=_placed_units(text.content, chunks, size=splitter.chunk_size) if chunks else [],
        language=spoken,
    )


def _placed_units(content: str, chunks: Sequence[TextChunk], *, size: int) -> list[PlacedUnit]:
    """In the order of the chunks. One without any, nothing but a heading, is a unit itself, as all are that are to be small."""
    found = units(content) if size >= CHARACTERS else []
    made = [PlacedUnit(unit.text, first, last) for unit, (first, last) in zip(found, placed(found, chunks), strict=True)]
    missing = set(range(len(chunks)))
    for unit in made:
        missing.difference_update(range(unit.first_chunk, unit.last_chunk + 1))
    made += [PlacedUnit(" ".join(chunks[number].text.split()), number, number) for number in missing]
    made.sort(key=lambda unit: (unit.first_chunk, unit.last_chunk))
    return made


def build(cut: CutText, directions: Directions) -> BuiltText:
    """`directions`: of the units, in their order."""
    first = np.array([unit.first_chunk for unit in cut.units], np.intp)
    last = np.array([unit.last_chunk for unit in cut.units], np.intp)
    members = Members.of(first, last, len(cut.chunks))
    embeddings = means(directions[members.units], inverse_norms(directions)[members.units], members.starts[:-1])
    return BuiltText(
        units=[
            UnitRow(number, unit.first_chunk, unit.last_chunk, text_hash(unit.text), direction.tobytes())
            for number, (unit, direction) in enumerate(zip(cut.units, directions, strict=True))
        ],
        embeddings=embeddings,
        spans=[(int(own.min()), int(own.max())) for own in np.split(members.units, members.starts[1:-1])] if cut.chunks else [],
    )
