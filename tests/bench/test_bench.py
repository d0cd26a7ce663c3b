"""The benchmark measures what it says: the floor loses nothing, the figures have their form, nothing is left running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw
import msgspec
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gigachat_server.bench import processes
from gigachat_server.bench.filled import Exact
from gigachat_server.bench.floor import Floor, SQLiteMessages
from gigachat_server.bench.load import Load, since_stamp
from gigachat_server.bench.metrics import Budget, Report, all_answered, metric
from gigachat_server.bench.texts import Author
from gigachat_server.errors import SetupError
from gigachat_server.knowledge.documents.chunk import split
from gigachat_server.models.endpoints.stub_endpoint import DELTAS


def test_what_the_floor_acknowledged_survives_its_sudden_end(tmp_path: Path) -> None:
    with processes.endpoint() as url, processes.floor(tmp_path, url) as floor:
        load = Load(port=floor.port, name="c", texts=["one", "two", "three"] * 10, clients=4)
        outcome = all_answered(load)
        os.kill(floor.pid, signal.SIGKILL)
    connection = apsw.Connection(str(tmp_path / "floor.sqlite3"))
    stored = connection.execute("SELECT role, content FROM messages").fetchall()
    connection.close()
    assert len(outcome.answered) == 30
    assert sorted(str(content) for role, content in stored if role == "user") == sorted(load.texts)
    assert [content for role, content in stored if role == "assistant"] == ["".join(DELTAS)] * 30


def test_the_floor_reads_the_endpoints_stream_as_it_comes(tmp_path: Path) -> None:
    """A stream in many pieces, and its events cut anywhere, is the reply that was spoken."""
    spoken = b"".join(
        b"data: " + msgspec.json.encode({"choices": [{"index": 0, "delta": {"content": each}}]}) + b"\n\n" for each in DELTAS
    )
    spoken += b'data: {"choices":[],"usage":{"total_tokens":9}}\n\ndata: [DONE]\n\n'
    asked: list[dict[str, object]] = []

    async def drive() -> str:
        async def answer(request: web.Request) -> web.StreamResponse:
            asked.append(await request.json())
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for first in range(0, len(spoken), 7):
                await response.write(spoken[first : first + 7])
            return response

        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        async with TestServer(app) as server:
            floor = Floor(SQLiteMessages(tmp_path / "floor.sqlite3"), str(server.make_url("/v1")))
            try:
                return await floor.complete("Hello")
            finally:
                await floor.aclose()

    assert asyncio.run(drive()) == "".join(DELTAS)
    assert asked[0]["stream"] is True and asked[0]["stream_options"] == {"include_usage": True}


@pytest.mark.slow
def test_turns_are_measured_beside_another_checkout(tmp_path: Path) -> None:
    file, checkout = tmp_path / "figures.json", Path(__file__).parents[2]
    command = [sys.executable, "-m", "gigachat_server", "bench", "--size", "tiny", "--only", "turns", "--beside", str(checkout)]
    done = subprocess.run([*command, "--json", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = {each.name: each for each in msgspec.json.decode(file.read_bytes(), type=Report).metrics}
    beside = figures["turns, beside the other"]
    assert beside.value == figures["turns"].value and beside.floor and beside.floor != figures["turns"].floor
    assert "other checkout" in done.stderr


@pytest.mark.slow
def test_a_tiny_run_reports_every_figure_beside_its_floor(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "gigachat_server", "bench", "--size", "tiny", "--only", "turns,first-token"]
    done = subprocess.run([*command, "--json", str(file), "--folder", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(file.read_bytes(), type=Report)
    assert report.machine.cores >= 1
    figures = {each.name: each for each in report.metrics}
    turns = figures["turns"]
    assert turns.floor and turns.floor > 0
    assert turns.value > 0 and turns.ratio is not None and turns.budget == ">= 40%" and turns.ok is not None
    assert figures["first token after model's"].value > 0
    assert figures["turns, no documents"].ok is None
    assert "turns, round 1" in done.stderr and "turns" in done.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["figures.json"]


def test_an_unknown_measurement_is_refused() -> None:
    command = [sys.executable, "-m", "gigachat_server", "bench", "--only", "everything"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "everything" in done.stderr


def test_search_in_memory_is_measured_beside_the_exact_one(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "gigachat_server", "bench", "--size", "tiny", "--only", "retrieval", "--chunks", "300"]
    done = subprocess.run([*command, "--json", str(file), "--folder", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = {each.name: each for each in msgspec.json.decode(file.read_bytes(), type=Report).metrics}
    recall = figures["recall of the 10 nearest, 300 chunks"]
    assert recall.value == 1.0 and recall.ok and recall.budget == ">= 0.97"
    assert figures["nearest, 300 chunks, p50"].budget == "<= 15 ms"
    assert figures["retrieval, 300 chunks, p50"].value > 0
    assert figures["the index in memory, 300 chunks"].value > 300 * 384 * 4 / 1e6


def test_the_exact_nearest_are_those_of_all_that_was_seen() -> None:
    draw = np.random.default_rng(0)
    chunks, prompts = draw.normal(size=(2, 100, 8)).astype(np.float32)
    exact = Exact(list(prompts[:3]), limit=5)
    for start in range(0, 100, 30):
        exact.see([str(row) for row in range(start, min(start + 30, 100))], chunks[start : start + 30])
    nearest = {place: [str(row) for row in np.argsort(-(chunks @ prompts[place]))[:5]] for place in range(3)}
    assert exact.recall(nearest) == 1.0
    assert exact.recall({place: ids[:4] for place, ids in nearest.items()}) == pytest.approx(0.8)


def test_streams_that_overlap_end_once_each(tmp_path: Path) -> None:
    with (
        processes.endpoint(first_delta_s=0.2) as url,
        processes.gigachat(tmp_path, model_url=url, embedder="hashing") as server,
    ):
        path = f"{server.new_chatbot('slow')}/conversations"
        outcome = all_answered(
            Load(
                port=server.process.port,
                path=path,
                key=server.key,
                name="s",
                texts=["Hello"] * 6,
                clients=6,
                stream=True,
            )
        )
    assert [(each.terminals, each.is_done) for each in outcome.answered] == [(1, True)] * 6
    assert max(each.sent_at for each in outcome.answered) < min(each.answered_at for each in outcome.answered)


def test_a_refused_load_is_no_figure(tmp_path: Path) -> None:
    with processes.gigachat(tmp_path, embedder="hashing") as server:
        load = Load(port=server.process.port, path="/chatbots/none/conversations", name="x", texts=["?"], clients=1)
        with pytest.raises(SetupError, match="401"):
            all_answered(load)


def test_a_process_ends_with_its_block_even_when_interrupted(tmp_path: Path) -> None:
    pids = []

    def interrupted() -> None:
        with processes.endpoint() as url, processes.floor(tmp_path, url) as floor:
            pids.append(floor.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not Path(f"/proc/{pids[0]}").exists()


def test_a_process_that_cannot_start_says_why() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no disk')"]
    with pytest.raises(SetupError, match="no disk"), processes.started(command, port=processes.free_port()):
        pass


@pytest.mark.parametrize(
    ("budget", "value", "floor", "ok"),
    [
        (Budget(2), 2.0, None, True),
        (Budget(2), 2.1, None, False),
        (Budget(0.4, is_most=False, of_floor=True), 40.0, 100.0, True),
        (Budget(0.4, is_most=False, of_floor=True), 39.0, 100.0, False),
        (Budget(4, of_floor=True), 8.0, 2.0, True),
        (Budget(4, of_floor=True), 9.0, 2.0, False),
    ],
)
def test_a_budget_is_held_against_the_value_or_its_ratio(budget: Budget, value: float, floor: float | None, ok: bool) -> None:
    assert metric("it", [value], "ms", floors=[floor] if floor else (), budget=budget).ok is ok


def test_a_ratio_is_of_the_rounds_not_of_their_medians() -> None:
    found = metric("it", [10.0, 100.0, 30.0], "/s", floors=[20.0, 200.0, 30.0])
    assert (found.value, found.floor, found.ratio) == (30.0, 30.0, 0.5)


@pytest.mark.parametrize("chunks", [1, 2, 3, 5, 20])
def test_a_document_has_the_chunks_it_was_asked_for(chunks: int) -> None:
    document = Author(1).document(chunks)
    assert len(split(document, size=1000, overlap=200)) == chunks
    assert document == Author(1).document(chunks)


def test_a_stamp_is_read_from_our_streams_and_from_an_endpoints() -> None:
    sent_at = time.monotonic_ns()
    ours = b'event: delta\ndata: {"message_id":"7","offset":0,"text":"%d"}\n\n' % sent_at
    theirs = b'data: {"choices":[{"index":0,"delta":{"content":"%d"},"finish_reason":null}]}\n\n' % sent_at
    assert since_stamp(ours, sent_at + 2_000_000) == 2.0
    assert since_stamp(theirs, sent_at + 2_000_000) == 2.0
    assert since_stamp(b'event: start\ndata: {"text":"Hello"}\n\n', sent_at) is None
