"""Measurements of embedding: prompts and documents beside the embedder alone, and the extractive model.

Embedding 10,000 chunks would take minutes that say nothing about prompts. The store for that measurement is filled
through the API under the hashing embedder and then, while no server runs, marked as embedded by the real one: the
vectors are of the same size, so searching costs the same; what is found is beside the point, and nothing measures it.
"""

from __future__ import annotations

import contextlib
import functools
import html
import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import msgspec

from gigachat_server.bench import processes
from gigachat_server.bench.embedding import Work
from gigachat_server.bench.load import Load
from gigachat_server.bench.metrics import Budget, Metric, Run, all_answered, median_ms, metric, rate
from gigachat_server.bench.processes import Gigachat
from gigachat_server.bench.texts import Author
from gigachat_server.bench.turns import EVERYTHING_MATCHES, Side
from gigachat_server.knowledge.documents.chunk import split
from gigachat_server.knowledge.search.vector_space import RECIPE
from gigachat_server.models.embedders.built_in import BUILT_IN, DEFAULT

PUSHED_AT_ONCE = 8
_CHUNKS_EACH = 50


def embedded(run: Run) -> list[Metric]:
    """Turns a second with the real embedder in a big chatbot, beside the embedder's own prompts a second."""
    size, data = run.size, run.new_folder("embedded") / "gigachat"
    prompts = Author(7).prompts(2_000)
    ours, floors = [], []
    with processes.endpoint() as url:
        path, key = _fill(run, data, url)
        with processes.gigachat(data, key=key, model_url=url) as server:
            side = Side(server.process, f"{path}/conversations", key)
            side.load(prompts[:100], 1, min(1.0, size.seconds))
            for number in range(size.rounds):
                floors.append(_embedded_alone(Work(prompts, size.clients, size.seconds)))
                ours.append(rate(side.load(prompts, size.clients, size.seconds)))
                run.say(f"embedded, round {number + 1}: {ours[-1]:.0f} turns/s, embedder alone {floors[-1]:.0f}")
            memory = server.process.memory_mb()
    budget = Budget(0.7, is_most=False, of_floor=True)
    return [
        metric(f"turns, {size.chunks} chunks", ours, "/s", floors=floors, budget=budget),
        metric(f"memory, {size.chunks} chunks", [memory], "MB"),
    ]


def extractive(run: Run) -> list[Metric]:
    """A reply made of quoted sentences: of chunks never quoted before, then of the same again."""
    author, topics = Author(8), run.size.topics
    subjects = [author.name() + author.name() for _ in range(topics)]
    with processes.gigachat(run.new_folder("extractive")) as server:
        path = server.new_chatbot("quoting", documents=EVERYTHING_MATCHES)
        _push(server, path, "topic", [author.document(3, subject) for subject in subjects])
        load = Load(
            port=server.process.port,
            path=f"{path}/conversations",
            key=server.key,
            name="fresh",
            texts=[f"How do I return {subject} when it was sent to the wrong address?" for subject in subjects],
            clients=1,
            turns=1,
        )
        server.call("POST", f"{path}/conversations", {"conversation_id": "w", "user_id": "w", "prompt": "Hello"})
        fresh = median_ms(all_answered(load))
        cached = median_ms(all_answered(msgspec.structs.replace(load, name="again")))
        memory = server.process.memory_mb()
    run.say(f"extractive: {fresh:.0f} ms, again {cached:.0f} ms")
    return [
        metric("extractive p50", [fresh], "ms", budget=Budget(200)),
        metric("extractive p50, cached", [cached], "ms", budget=Budget(20)),
        metric("memory with embedder", [memory], "MB", budget=Budget(250)),
    ]


def ingest(run: Run) -> list[Metric]:
    """Chunks a second that become searchable, of texts and of uploaded pages, beside the embedder's own passages a second."""
    author = Author(9)
    ours, floors, of_pages = [], [], []
    with processes.gigachat(run.new_folder("ingest")) as server:
        path = server.new_chatbot("reading")
        server.call("POST", f"{path}/documents", {"name": "first", "content": author.document(2)})
        for number in range(run.size.rounds):
            documents = [author.document(4) for _ in range(max(1, run.size.ingested // 4))]
            passages = [piece.text for document in documents for piece in split(document, size=1000, overlap=200)]
            floors.append(_embedded_alone(Work(passages)))
            ours.append(len(passages) / _push(server, path, f"round-{number}", documents))
            of_pages.append(_upload(server, path, f"page-{number}", [author.document(4) for _ in documents]))
            run.say(f"ingest, round {number + 1}: {ours[-1]:.1f} chunks/s, pages {of_pages[-1]:.1f}, embedder {floors[-1]:.1f}")
        memory = server.process.memory_mb()
    budget = Budget(0.85, is_most=False, of_floor=True)
    return [
        metric("ingest", ours, "chunks/s", floors=floors, budget=budget),
        metric("ingest of HTML pages", of_pages, "chunks/s", floors=floors, budget=budget),
        metric("memory after ingest", [memory], "MB", budget=Budget(350)),
    ]


def _fill(run: Run, data: Path, url: str) -> tuple[str, str]:
    """A chatbot of that many chunks, as the real embedder would have left it: its path, and a key."""
    author = Author(10)
    each = min(_CHUNKS_EACH, run.size.chunks)
    with processes.gigachat(data, model_url=url, embedder="hashing") as server:
        path = server.new_chatbot("big", documents=EVERYTHING_MATCHES)
        documents = [author.document(each) for _ in range(run.size.chunks // each)]
        took = _push(server, path, "big", documents)
        run.say(f"filled a chatbot with {each * len(documents)} chunks in {took:.0f} s")
    file = next(data.glob("*.sqlite3"))
    connection = apsw.Connection(str(file))
    connection.execute("UPDATE documents SET embedding_model = ?", (f"{BUILT_IN[DEFAULT].name} {RECIPE}",))
    connection.close()
    return path, server.key


def _push(server: Gigachat, path: str, name: str, documents: list[str]) -> float:
    """Push them, some at once; the seconds from the first byte to the last answer."""
    load = Load(
        port=server.process.port,
        path=f"{path}/documents",
        key=server.key,
        kind="document",
        name=name,
        texts=documents,
        clients=min(PUSHED_AT_ONCE, len(documents)),
    )
    return len(documents) / rate(all_answered(load))


def _upload(server: Gigachat, path: str, name: str, documents: list[str]) -> float:
    """Upload them as HTML pages, some at once; chunks a second, from the first byte to the last that is searchable."""
    names = [f"{name}-{number}" for number in range(len(documents))]
    began = time.monotonic()
    with ThreadPoolExecutor(PUSHED_AT_ONCE) as pool:
        chunks = list(pool.map(functools.partial(_uploaded, server, path), names, documents))
    return sum(chunks) / (time.monotonic() - began)


def _uploaded(server: Gigachat, path: str, name: str, text: str) -> int:
    """Have it be read and embedded; its chunks."""
    paragraphs = "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in text.split("\n\n"))
    page = f"<!doctype html><html><head><title>{name}</title></head><body><main>{paragraphs}</main></body></html>"
    form = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}.html"\r\n\r\n{page}\r\n--x--\r\n'
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "multipart/form-data; boundary=x"}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.process.port, timeout=120)) as connection:
        connection.request("POST", f"{path}/documents", form.encode(), headers)
        where = connection.getresponse()
        where.read()
        document = where.headers["Location"]
        connection.request("GET", document, headers={**headers, "Accept": "text/event-stream"})
        connection.getresponse().read()  # until it is over
    return int(server.call("GET", document)["chunk_count"])


def _embedded_alone(work: Work) -> float:
    return float(processes.run_child("embedding", msgspec.json.encode(work)))
