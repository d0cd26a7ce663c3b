"""F34: killed at any step between a file's first byte and its last chunk, a server leaves no part of a document to be found.

A client uploads a new version of a long document and a second document until the process is killed, and again with the same
keys once there is another. What is stored is looked at past the server after the kill, and when all is done.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gigachat_server.knowledge.documents.text_vectors import BATCH
from gigachat_server.triggers import INGEST_STEPS
from tests import stores
from tests.faults.serving import KEY, ROUNDS, ModelEndpoint, server
from tests.harness import until

pytestmark = pytest.mark.slow

CHUNKS = 3 * BATCH + 10  # of each file: three times something is stored before its chunks are
LINES = 9  # of a chunk
PASSES = {"I1": 2, "I2": 2, "I3": 2, "I4": 4, "I5": 3, "I6": 3}  # so often is a step passed; I5 and I6 by the first version, too
USABLE_S = 60.0


def version(word: str, *, chunks: int = CHUNKS) -> str:
    return "\n\n".join("\n".join(f"{word} {n} line {line} tells of parcels." for line in range(LINES)) for n in range(chunks))


FILES = {"long.txt": version("new"), "second.md": "# Second\n\n" + version("second")}


async def _upload(session: aiohttp.ClientSession, url: str, name: str) -> None:
    form = aiohttp.FormData()
    form.add_field("file", FILES[name].encode(), filename=name)
    async with session.post(url, data=form, headers={"Idempotency-Key": f"key of {name}"}) as response:
        assert response.status == 202, await response.text()


def _partial(data: Path) -> list[dict[str, Any]]:
    """Documents whose chunks are not all those of one version."""
    return stores.current().query(
        data,
        "SELECT d.name, d.chunk_count, count(c.id) AS found, count(DISTINCT c.created_at) AS versions FROM documents d "
        "LEFT JOIN chunks c ON c.chatbot_id = d.chatbot_id AND c.document_id = d.id GROUP BY d.chatbot_id, d.id, d.name, "
        "d.chunk_count HAVING count(c.id) <> d.chunk_count OR count(DISTINCT c.created_at) > 1",
    )


def _mixed(data: Path) -> list[dict[str, Any]]:
    """Chunks of the first document that are of another version than most."""
    rows = stores.current().query(
        data, "SELECT c.content FROM chunks c JOIN documents d ON d.id = c.document_id AND d.name = 'long.txt'"
    )
    words = {row["content"].split()[0] for row in rows}
    return rows if len(words) > 1 else []


async def kill_at(step: str, wanted_pass: int, data: Path) -> int:
    """One round; how many embeddings were kept from before the kill."""
    with ModelEndpoint().serving() as endpoint:
        failpoint = f"{step}@{wanted_pass}:kill"
        headers = {"Authorization": f"Bearer {KEY}"}
        with server(data, endpoint, failpoint=failpoint) as killed:
            async with aiohttp.ClientSession(killed.server.url, headers=headers) as session:
                async with session.post(
                    "/chatbots", json={"name": "b", "documents": {"text_splitter": {"chunk_size": 400}}}
                ) as made:
                    path = f"/chatbots/{(await made.json())['id']}/documents"
                with suppress(aiohttp.ClientError):
                    await (await session.post(path, json={"name": "long.txt", "content": version("old")})).read()
                    for name in FILES:
                        await _upload(session, path, name)
            assert killed.server.process.wait(60) == -signal.SIGKILL, f"{failpoint} was not reached"
        assert (_partial(data), _mixed(data)) == ([], [])
        kept = len(stores.current().query(data, "SELECT text_sha256 FROM made_embeddings"))
        with server(data, endpoint) as restarted:
            async with aiohttp.ClientSession(restarted.server.url, headers=headers) as session, asyncio.timeout(USABLE_S):
                for name in FILES:
                    await _upload(session, path, name)
                await until(lambda: _are_ready(session, path))
            assert restarted.server.stop()[0] == 0
    assert (_partial(data), _mixed(data)) == ([], [])
    stored = stores.current().query(data, "SELECT name, content FROM documents")
    assert {row["name"]: row["content"] for row in stored} == FILES
    assert stores.current().query(data, "SELECT id FROM uploads WHERE number > 0") == []
    assert stores.current().query(data, "SELECT text_sha256 FROM made_embeddings") == []
    assert stores.current().damage(data) == []
    return kept


async def _are_ready(session: aiohttp.ClientSession, path: str) -> bool:
    async with session.get(path) as response:
        documents = await response.json()
    assert "failed" not in {document["state"] for document in documents}, documents
    return {document["state"] for document in documents} == {"ready"}


@pytest.mark.faults
@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("step", INGEST_STEPS)
async def test_killed_at_any_step_of_ingest(step: str, number: int, tmp_path: Path) -> None:
    await kill_at(step, 1 + number % PASSES.get(step, 1), tmp_path / "data")


@pytest.mark.sqlite_only  # it is slow, and all rounds of `make test-faults` run on both
@pytest.mark.parametrize(("step", "wanted_pass"), [("I4", 2), ("I5", 2)])
async def test_a_kill_leaves_no_part_of_a_document(step: str, wanted_pass: int, tmp_path: Path) -> None:
    kept = await kill_at(step, wanted_pass, tmp_path / "data")
    assert kept >= BATCH, "what was embedded before the kill is there after it"
