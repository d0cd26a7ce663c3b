"""SQL of searching chunks where they are stored: PostgreSQL's alone, and the only such SQL of a noun.

A small chatbot's chunks are searched in memory. Of a bigger one two kinds of candidates are: the nearest by their vectors,
and those that hold certain sets of stems, which the index `chunks_by_stem` finds. How rare a stem is tells `stem_counts`: a
row a stem, with how many of the chatbot's chunks hold it, and under the empty stem a row for all chunks together. The push
that makes a chatbot outgrow memory counts all its chunks, and from then on each change counts its own (`count_out`,
`count_in`).
Rows that came past them, from another store, are counted when they are first searched (`count`).

Every statement names one chatbot: on tables that are distributed by `chatbot_id` each runs on the node that has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.ids import is_id
from gigachat_server.language.codes import Language
from gigachat_server.store.database import Reader, Tx
from gigachat_server.store.documents import known_language

# Words that a chunk must hold all of; each word is the stems any of which is enough.
WordSet = tuple[tuple[str, ...], ...]

EVERYTHING = ""  # the stem of the row of `stem_counts` that counts all chunks

_FOUND = "SELECT c.id, c.document_id, c.number, c.first_unit, c.last_unit, -(c.embedding <#> :vector), c.stems FROM chunks c "
# The vectors of other documents are of another embedding model: they may even be of another length.
_OF_MODELS = (
    "AND c.document_id IN (SELECT d.id FROM documents d WHERE d.chatbot_id = :chatbot_id AND d.embedding_model = ANY(:models)) "
)
_WITHOUT = "AND c.document_id <> ALL(:without) "
_BY_STEM = "stems_of_chatbot(c.chatbot_id, c.stems)"  # as the index chunks_by_stem has it

_SAID = (
    "SELECT said.stem, count(*) AS chunks, sum(by_count.times) AS occurrences FROM chunks c "
    "CROSS JOIN unnest(string_to_array(c.stems, '|')) WITH ORDINALITY AS by_count(stems, times) "
    "CROSS JOIN unnest(string_to_array(by_count.stems, ' ')) AS said(stem) "
    "WHERE said.stem <> '' AND {which} GROUP BY said.stem"
)
_COUNTED = (
    "WITH said AS (" + _SAID + "), counted AS (SELECT stem, chunks, occurrences FROM said UNION ALL "
    "SELECT '', (SELECT count(*) FROM chunks c WHERE {which}), (SELECT coalesce(sum(occurrences), 0) FROM said))"
)
_OF_CHATBOT = "c.chatbot_id = :chatbot_id"
_OF_DOCUMENT = "c.chatbot_id = :chatbot_id AND c.document_id = :document_id"
_ADD = (
    " INSERT INTO stem_counts AS held (chatbot_id, stem, chunks, occurrences) "
    "SELECT :chatbot_id, stem, chunks, occurrences FROM counted WHERE chunks > 0 OR stem = '' "
    "ON CONFLICT (chatbot_id, stem) DO UPDATE SET chunks = held.chunks + excluded.chunks, "
    "occurrences = held.occurrences + excluded.occurrences"
)
_SUBTRACT = (
    ", emptied AS (DELETE FROM stem_counts held USING counted WHERE held.chatbot_id = :chatbot_id "
    "AND held.stem = counted.stem AND held.chunks <= counted.chunks AND held.stem <> '') "
    "UPDATE stem_counts held SET chunks = held.chunks - counted.chunks, occurrences = held.occurrences - counted.occurrences "
    "FROM counted WHERE held.chatbot_id = :chatbot_id AND held.stem = counted.stem "
    "AND (held.chunks > counted.chunks OR held.stem = '')"
)


class Extent(msgspec.Struct, frozen=True):
    """What there is to search. `chunks` and `length` (in stems) are None where they have not been counted."""

    is_searchable: bool  # something is, in this vector space
    is_mixed: bool  # something else is of another
    chunks: int | None
    length: int | None
    is_small: bool  # there are no more chunks than was asked about
    languages: list[Language | None]  # in which documents are


class FoundChunk(msgspec.Struct, frozen=True):
    """What scoring needs of a chunk: its place in its document, the numbers between which its units are (None: it is one
    itself), the `cosine` of its embedding to the vector searched for, and its terms as they were written."""

    id: str
    document_id: str
    number: int
    first_unit: int | None
    last_unit: int | None
    cosine: float
    stems: str


class FoundUnit(msgspec.Struct, frozen=True):
    """A unit of a chunk that was found."""

    document_id: str
    number: int
    first_chunk: int
    last_chunk: int
    vector: bytes


async def find_extent(reader: Reader, chatbot_id: str, *, models: Sequence[str], most: int) -> Extent:
    """`models`: the names that the vector space goes by."""
    row = await reader.one(
        "SELECT EXISTS (SELECT 1 FROM documents "
        "WHERE chatbot_id = :chatbot_id AND embedding_model = ANY(:models) AND chunk_count > 0), "
        "EXISTS (SELECT 1 FROM documents WHERE chatbot_id = :chatbot_id AND embedding_model <> ALL(:models)), "
        "s.chunks, s.occurrences, "
        "NOT EXISTS (SELECT 1 FROM chunks WHERE chatbot_id = :chatbot_id OFFSET CAST(:most AS BIGINT)), "
        "ARRAY(SELECT DISTINCT language FROM documents "
        "WHERE chatbot_id = :chatbot_id AND embedding_model = ANY(:models) AND chunk_count > 0) "
        "FROM (SELECT 1) AS always LEFT JOIN stem_counts s ON s.chatbot_id = :chatbot_id AND s.stem = ''",
        chatbot_id=chatbot_id,
        models=list(models),
        most=most,
    )
    assert row is not None
    languages = list(dict.fromkeys(map(known_language, row[-1])))
    return Extent(*(*row[:-1], languages))


async def list_counts(reader: Reader, chatbot_id: str, stems: Sequence[str]) -> dict[str, int]:
    """How many of the chatbot's chunks hold each of the stems; those that none holds are left out."""
    rows = await reader.all(
        "SELECT stem, chunks FROM stem_counts WHERE chatbot_id = :chatbot_id AND stem = ANY(:stems)",
        chatbot_id=chatbot_id,
        stems=list(stems),
    )
    return {row[0]: row[1] for row in rows}


async def count_holding_any(reader: Reader, chatbot_id: str, stems: Sequence[str]) -> int:
    """How many of the chatbot's chunks hold one of these, or several."""
    row = await reader.one(
        "SELECT count(*) FROM chunks c "
        f"WHERE c.chatbot_id = :chatbot_id AND {_BY_STEM} @@ CAST(CAST(:wanted AS TEXT) AS TSQUERY)",
        chatbot_id=chatbot_id,
        wanted=" | ".join(_as_written(chatbot_id, stem) for stem in stems),
    )
    assert row is not None
    return int(row[0])


async def list_units(reader: Reader, chatbot_id: str, found: Sequence[FoundChunk]) -> list[FoundUnit]:
    """Those that belong to the chunks, and few others. One that belongs to several may come several times."""
    built = [chunk for chunk in found if chunk.first_unit is not None]
    rows = await reader.all(
        "SELECT u.document_id, u.number, u.first_chunk, u.last_chunk, u.vector "
        "FROM unnest(CAST(:documents AS TEXT[]), CAST(:first AS BIGINT[]), CAST(:last AS BIGINT[])) "
        "AS wanted(document_id, first_unit, last_unit) JOIN units u ON u.chatbot_id = :chatbot_id "
        "AND u.document_id = wanted.document_id AND u.number BETWEEN wanted.first_unit AND wanted.last_unit",
        chatbot_id=chatbot_id,
        documents=[chunk.document_id for chunk in built],
        first=[chunk.first_unit for chunk in built],
        last=[chunk.last_unit for chunk in built],
    )
    return [FoundUnit(*row) for row in rows]


async def list_languages(reader: Reader, chatbot_id: str, document_ids: Sequence[str]) -> dict[str, Language | None]:
    """In which language each of these documents is."""
    rows = await reader.all(
        "SELECT id, language FROM documents WHERE chatbot_id = :chatbot_id AND id = ANY(:ids)",
        chatbot_id=chatbot_id,
        ids=list(document_ids),
    )
    return {row[0]: known_language(row[1]) for row in rows}


async def has_any(reader: Reader, chatbot_id: str, *, models: Sequence[str]) -> bool:
    """Whether there are chunks of that vector space, of whatever length their vectors are."""
    sql = "SELECT 1 FROM chunks c WHERE c.chatbot_id = :chatbot_id " + _OF_MODELS + "LIMIT 1"
    return await reader.one(sql, chatbot_id=chatbot_id, models=list(models)) is not None


async def list_candidates(
    reader: Reader,
    chatbot_id: str,
    vector: bytes,
    word_sets: Sequence[WordSet],
    *,
    models: Sequence[str] | None,
    is_indexed: bool,
    nearest: int,
    most: int,
    without: Sequence[str] = (),
) -> list[FoundChunk]:
    """The `nearest` chunks to the vector, then at most `most` of those that hold every word of some set.

    `without`: none of these documents. `models`: of this vector space alone; None where there is no other. `is_indexed`:
    the nearest come by the chatbot's own index (`chunk_indexes.py`), of which 3 in a hundred may be wrong; else exactly. A
    chunk may come twice.
    """
    of_model = (_OF_MODELS if models is not None else "") + (_WITHOUT if without else "")
    dimension = len(vector) // 4
    # Only of an id that it sees can the planner know that it is a big chatbot's, and not fetch all its rows first.
    chatbot = f"'{chatbot_id}'" if is_indexed and is_id(chatbot_id) else ":chatbot_id"
    if is_indexed and models is None and is_id(chatbot_id):
        near = near_sql(chatbot_id, dimension, _WITHOUT if without else "")
    else:
        near = (
            _FOUND + f"WHERE c.chatbot_id = :chatbot_id AND vector_dims(c.embedding) = {dimension} {of_model}"
            "ORDER BY c.embedding <#> :vector LIMIT CAST(:nearest AS BIGINT)"
        )
    wanted = _any_of(chatbot_id, word_sets)
    holding = (
        _FOUND + f"WHERE c.chatbot_id = {chatbot} AND vector_dims(c.embedding) = {dimension} {of_model}"
        f"AND {_BY_STEM} @@ CAST(CAST(:wanted AS TEXT) AS TSQUERY) LIMIT CAST(:most AS BIGINT)"
    )
    rows = await reader.all(
        f"({near}) UNION ALL ({holding})" if wanted else near,
        chatbot_id=chatbot_id,
        vector=vector,
        models=list(models or ()),
        nearest=nearest,
        wanted=wanted,
        most=most,
        without=list(without),
    )
    return [FoundChunk(*row) for row in rows]


def near_sql(chatbot_id: str, dimension: int, condition: str = "") -> str:
    """The nearest chunks in the words of the chatbot's own index: the id and the length are part of them."""
    if not is_id(chatbot_id):
        raise ValueError("only an id may stand in a statement")
    return (
        f"{_FOUND}WHERE c.chatbot_id = '{chatbot_id}' AND vector_dims(c.embedding) = {dimension} {condition}"
        f"ORDER BY CAST(c.embedding AS HALFVEC({dimension})) <#> CAST(CAST(:vector AS VECTOR) AS HALFVEC({dimension})) "
        "LIMIT CAST(:nearest AS BIGINT)"
    )


def _any_of(chatbot_id: str, word_sets: Sequence[WordSet]) -> str:
    """The text query that wants all words of some set. Sets that begin alike are looked at as one: `a & (b | c)`."""
    by_first: dict[tuple[str, ...], list[WordSet]] = {}
    for first, *rest in word_sets:
        by_first.setdefault(first, []).append(tuple(rest))
    parts = []
    for word, rests in by_first.items():
        written = " | ".join(_as_written(chatbot_id, stem) for stem in word)
        written = f"({written})" if len(word) > 1 else written
        parts.append(written if () in rests else f"{written} & ({_any_of(chatbot_id, rests)})")
    return " | ".join(parts)


def _as_written(chatbot_id: str, stem: str) -> str:
    """As `stems_of_chatbot` writes it."""
    return "'" + f"{chatbot_id[-12:]}:{stem}".replace("\\", "\\\\").replace("'", "''") + "'"


async def is_counted(reader: Reader, chatbot_id: str) -> bool:
    """Whether `stem_counts` has the chatbot's stems."""
    return (
        await reader.one("SELECT 1 FROM stem_counts WHERE chatbot_id = :chatbot_id AND stem = ''", chatbot_id=chatbot_id)
        is not None
    )


async def count(tx: Tx, chatbot_id: str) -> None:
    """From now on the chatbot's stems are counted. Waits for those who change its documents, and they for this."""
    # 100,000 chunks take some 10 s.
    await tx.one("SELECT set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true)")
    found = await tx.one("SELECT 1 FROM chatbots WHERE id = :chatbot_id FOR NO KEY UPDATE", chatbot_id=chatbot_id)
    if found is not None and not await is_counted(tx, chatbot_id):
        await tx.run(_COUNTED.format(which=_OF_CHATBOT) + _ADD, chatbot_id=chatbot_id)


async def count_out(tx: Tx, chatbot_id: str, document_id: str) -> None:
    """The chunks of the document count no more. To be called before they are gone, with the chatbot's row locked."""
    if await is_counted(tx, chatbot_id):
        sql = _COUNTED.format(which=_OF_DOCUMENT) + _SUBTRACT
        await tx.run(sql, chatbot_id=chatbot_id, document_id=document_id)


async def count_in(tx: Tx, chatbot_id: str, document_id: str, *, least: int) -> None:
    """The chunks of the document count, and all others too once the chatbot has `least`. To be called when they are there,
    with the chatbot's row locked."""
    if await is_counted(tx, chatbot_id):
        sql = _COUNTED.format(which=_OF_DOCUMENT) + _ADD
        await tx.run(sql, chatbot_id=chatbot_id, document_id=document_id)
        return
    row = await tx.one(
        "SELECT count(*) FROM (SELECT 1 FROM chunks WHERE chatbot_id = :chatbot_id LIMIT CAST(:least AS BIGINT)) AS first",
        chatbot_id=chatbot_id,
        least=least,
    )
    if row is not None and row[0] >= least:
        await tx.run(_COUNTED.format(which=_OF_CHATBOT) + _ADD, chatbot_id=chatbot_id)
