"""SQL of the vector indexes of big chatbots: PostgreSQL's alone.

Idea: each big chatbot has an HNSW index over its own chunks, `WHERE chatbot_id = '<its id>' AND vector_dims(embedding) = 384`.
One index over everybody's would have to pass over all foreign neighbours, and every small chatbot's write would pay for it.
It is made and dropped CONCURRENTLY, so that no query waits. What a crash left half made is `invalid`: never used, and replaced.

Where the table is distributed by `chatbot_id`, the same statements make the index on every shard, empty but on the one that
has the chatbot; `indisvalid` then speaks for the node that is asked, so after a crash there drop the index by its name.
"""

from __future__ import annotations

import hashlib

import msgspec

from gigachat_server.ids import is_id
from gigachat_server.store.database import Reader, Statements

LARGEST_DIMENSION = 4_000  # of the half-precision vectors that pgvector indexes

_PREFIX = "chunks_near_"
_LOCK = 0x676967616E656172  # "giganear", as an advisory lock
_LEAST_MEMORY_MB, _MOST_MEMORY_MB = 64, 1024
_NEIGHBOURS, _CONSIDERED = 24, 128  # pgvector's own 16 and 64 miss twice as many of the ten nearest
_GRAPH_BYTES = 1_500  # of a chunk in the graph while it is made, beside its vector


class Big(msgspec.Struct, frozen=True):
    """A chatbot with many chunks of one embedding model."""

    chatbot_id: str
    dimension: int
    chunks: int

    @property
    def index(self) -> str:
        """The name of its index: the same on every node."""
        return f"{_PREFIX}{hashlib.sha256(self.chatbot_id.encode()).hexdigest()[:16]}_{self.dimension}"


async def list_big(reader: Reader, *, least: int) -> list[Big]:
    """Chatbots with at least that many chunks which an index can hold."""
    rows = await reader.all(
        "SELECT big.chatbot_id, big.chunks, (SELECT vector_dims(c.embedding) FROM chunks c WHERE c.chatbot_id = big.chatbot_id "
        "AND c.document_id = big.document_id LIMIT 1) FROM (SELECT chatbot_id, embedding_model, CAST(sum(chunk_count) AS BIGINT) "
        "AS chunks, max(id) AS document_id FROM documents WHERE chunk_count > 0 GROUP BY chatbot_id, embedding_model "
        "HAVING sum(chunk_count) >= :least) AS big",
        least=least,
    )
    return [
        Big(chatbot_id, dimension, chunks)
        for chatbot_id, chunks, dimension in rows
        if dimension is not None and dimension <= LARGEST_DIMENSION and is_id(chatbot_id)
    ]


async def list_existing(reader: Reader) -> dict[str, bool]:
    """The names of these indexes, and whether each is whole."""
    rows = await reader.all(
        "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = to_regclass('chunks') AND starts_with(c.relname, :prefix)",
        prefix=_PREFIX,
    )
    return {row[0]: row[1] for row in rows}


async def lock(statements: Statements) -> bool:
    """Whether this connection is now the only one that makes indexes. Never waits: a statement that did would be waited for."""
    row = await statements.one(f"SELECT pg_try_advisory_lock({_LOCK})")
    return row is not None and row[0]


async def create(statements: Statements, big: Big) -> None:
    """The chatbot has its index."""
    if not is_id(big.chatbot_id):
        raise ValueError("only an id may stand in a statement")
    needed = big.chunks * (2 * big.dimension + _GRAPH_BYTES) * 5 // 4 // (1 << 20)
    memory = f"{min(max(needed, _LEAST_MEMORY_MB), _MOST_MEMORY_MB)}MB"
    # Parallel workers would want as much shared memory, of which a container has 64 MB unless it is told otherwise.
    await statements.one(
        "SELECT set_config('maintenance_work_mem', :memory, false), set_config('max_parallel_maintenance_workers', '0', false)",
        memory=memory,
    )
    await statements.run(
        f"CREATE INDEX CONCURRENTLY {big.index} ON chunks "
        f"USING hnsw ((CAST(embedding AS HALFVEC({big.dimension}))) halfvec_ip_ops) "
        f"WITH (m = {_NEIGHBOURS}, ef_construction = {_CONSIDERED}) "
        f"WHERE chatbot_id = '{big.chatbot_id}' AND vector_dims(embedding) = {big.dimension}"
    )


async def drop(statements: Statements, index: str) -> None:
    """There is no such index."""
    await statements.run(f'DROP INDEX CONCURRENTLY IF EXISTS "{index}"')
