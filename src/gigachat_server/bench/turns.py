"""Measurements of turns beside the floor: many at once, one after the other, streamed, and the first after a start.

The chatbot has documents, and `match_threshold` 0 lets every prompt find three passages, so that a turn is whole:
embedded (by hashing, which costs next to nothing), searched, answered by the endpoint, stored with its sources and
returned with them, vectors included, as the contract has it by default. A conversation has five turns.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gigachat_server.bench import processes
from gigachat_server.bench.load import Load, Outcome
from gigachat_server.bench.metrics import Budget, Metric, Run, all_answered, median_ms, metric, rate
from gigachat_server.bench.processes import Gigachat, Running
from gigachat_server.bench.texts import Author
from gigachat_server.errors import SetupError

DOCUMENTS, CHUNKS_EACH = 20, 5
EVERYTHING_MATCHES = {"results": {"match_threshold": 0}}
_TICKS_S = os.sysconf("SC_CLK_TCK")
_numbers = itertools.count()


class Side(msgspec.Struct, frozen=True):
    """One of those who are measured beside each other: who answers, and where."""

    process: Running
    path: str = "/"
    key: str = ""

    def load(self, prompts: list[str], clients: int, seconds: float) -> Outcome:
        name = f"load-{next(_numbers)}"
        return all_answered(
            Load(
                port=self.process.port,
                path=self.path,
                key=self.key,
                name=name,
                texts=prompts,
                clients=clients,
                seconds=seconds,
            )
        )

    def cpu_s(self) -> float:
        """Processor time that the process has used so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS_S


FLOOR, OURS, WITHOUT_DOCUMENTS, BESIDE = "floor", "ours", "without documents", "other checkout"


@contextlib.contextmanager
def _sides(run: Run, name: str) -> Iterator[dict[str, Side]]:
    """Those that are measured beside each other, at the same endpoint, warm; by their names."""
    folder, author = run.new_folder(name), Author(1)
    documents = [{"name": f"document {number}", "content": author.document(CHUNKS_EACH)} for number in range(DOCUMENTS)]
    with contextlib.ExitStack() as opened:
        url = opened.enter_context(processes.endpoint())

        def server(checkout: Path | None) -> Gigachat:
            data = folder / ("gigachat" if checkout is None else "beside")
            database_url = run.new_database()
            return opened.enter_context(
                processes.gigachat(data, database_url=database_url, model_url=url, embedder="hashing", checkout=checkout)
            )

        ours = server(None)
        sides = {
            FLOOR: Side(opened.enter_context(processes.floor(folder, url, database_url=run.new_database()))),
            OURS: _with_documents(ours, documents),
            WITHOUT_DOCUMENTS: Side(ours.process, f"{ours.new_chatbot('without documents')}/conversations", ours.key),
        }
        if run.beside is not None:
            sides[BESIDE] = _with_documents(server(run.beside), documents)
        for side in sides.values():
            side.load(author.prompts(100), run.size.clients, min(1.0, run.size.seconds))
        yield sides


def _with_documents(server: Gigachat, documents: list[dict[str, str]]) -> Side:
    path = server.new_chatbot("with documents", documents=EVERYTHING_MATCHES)
    for document in documents:
        server.call("POST", f"{path}/documents?embedding=false", document)
    return Side(server.process, f"{path}/conversations", server.key)


def turns(run: Run) -> list[Metric]:
    """Turns a second with all clients at once, and what one costs in processor time."""
    prompts = Author(2).prompts(500)
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    with _sides(run, "turns") as sides:
        for number in range(run.size.rounds):
            for name, side in _in_turn(sides, number):
                before = side.cpu_s()
                outcome = side.load(prompts, run.size.clients, run.size.seconds)
                rates.setdefault(name, []).append(rate(outcome))
                costs.setdefault(name, []).append((side.cpu_s() - before) * 1000 / len(outcome.answered))
            run.say(f"turns, round {number + 1}: {_newest(rates)} a second")
        memory = sides[OURS].process.memory_mb()
    found = [
        metric("turns", rates[OURS], "/s", floors=rates[FLOOR], budget=Budget(0.4, is_most=False, of_floor=True)),
        metric("turns, no documents", rates[WITHOUT_DOCUMENTS], "/s", floors=rates[FLOOR]),
        metric("CPU time of a turn", costs[OURS], "ms", floors=costs[FLOOR]),
        metric("CPU time, no documents", costs[WITHOUT_DOCUMENTS], "ms", floors=costs[FLOOR]),
        metric("memory without embedder", [memory], "MB", budget=Budget(80)),
    ]
    if BESIDE in rates:
        found += [
            metric("turns, beside the other", rates[OURS], "/s", floors=rates[BESIDE]),
            metric("CPU time, beside the other", costs[OURS], "ms", floors=costs[BESIDE]),
        ]
    return found


def latency(run: Run) -> list[Metric]:
    """How long a turn takes without other load."""
    prompts = Author(3).prompts(500)
    medians: dict[str, list[float]] = {}
    with _sides(run, "latency") as sides:
        for number in range(run.size.rounds):
            for name, side in _in_turn(sides, number):
                medians.setdefault(name, []).append(median_ms(side.load(prompts, 1, run.size.seconds / 2)))
            run.say(f"latency, round {number + 1}: {_newest(medians)} ms")
    return [
        metric("latency p50", medians[OURS], "ms", floors=medians[FLOOR], budget=Budget(4, of_floor=True)),
        metric("latency p50, no documents", medians[WITHOUT_DOCUMENTS], "ms", floors=medians[FLOOR]),
    ]


def first_token(run: Run) -> list[Metric]:
    """How long after the endpoint sent it the first token arrives; the floor asks the endpoint itself."""
    size, prompts = run.size, Author(4).prompts(run.size.first_tokens)
    body = {"model": "stub", "stream": True, "messages": [{"role": "user", "content": "What time is it?"}]}
    with (
        processes.endpoint(stamped=True) as url,
        processes.gigachat(
            run.new_folder("first-token"), database_url=run.new_database(), model_url=url, embedder="hashing"
        ) as server,
    ):
        path = f"{server.new_chatbot('clock')}/conversations"
        streamed = Load(port=server.process.port, path=path, key=server.key, name="token", texts=prompts, clients=1, stream=True)
        direct = Load(
            port=int(url.removesuffix("/v1").rpartition(":")[2]),
            path="/v1/chat/completions",
            kind="raw",
            name="direct",
            texts=[msgspec.json.encode(body).decode()] * size.first_tokens,
            clients=1,
            stream=True,
        )
        floors, ours = _first_tokens_ms(direct), _first_tokens_ms(streamed)
    return [metric("first token after model's", ours, "ms", floors=floors, budget=Budget(2))]


def streams(run: Run) -> list[Metric]:
    """Streams that all overlap: how many were whole, with one terminal event each."""
    count = run.size.streams
    with (
        processes.endpoint(first_delta_s=1.0, between_s=0.25) as url,
        processes.gigachat(
            run.new_folder("streams"), database_url=run.new_database(), model_url=url, embedder="hashing"
        ) as server,
    ):
        outcome = processes.run_load(
            Load(
                port=server.process.port,
                path=f"{server.new_chatbot('slow')}/conversations",
                key=server.key,
                name="stream",
                texts=Author(5).prompts(count),
                clients=count,
                stream=True,
                turns=1,
            )
        )
        memory = server.process.memory_mb()
    whole = [a for a in outcome.answered if a.status == 201 and a.is_done and a.terminals == 1]
    return [
        metric("whole streams", [len(whole)], "", budget=Budget(count, is_most=False)),
        metric("streams at once", [_most_at_once(outcome)], ""),
        metric("memory after streams", [memory], "MB"),
    ]


def start(run: Run) -> list[Metric]:
    """From starting the process to its first 201, which needs the embedder. Files may be in the system's cache."""
    folder, database_url, floors_url = run.new_folder("start"), run.new_database(), run.new_database()
    ours, floors = [], []
    with processes.endpoint() as url:
        with processes.gigachat(folder / "gigachat", database_url=database_url, model_url=url) as server:
            path = server.new_chatbot("cold", documents=EVERYTHING_MATCHES)
            server.call("POST", f"{path}/documents", {"name": "one", "content": Author(6).document(3)})
            key = server.key
        for number in range(run.size.starts):
            with processes.floor(folder, url, database_url=floors_url, ready=False) as process:
                floors.append(_first_answer_s(Side(process)))
            with processes.gigachat(
                folder / "gigachat", database_url=database_url, key=key, model_url=url, ready=False
            ) as server:
                ours.append(_first_answer_s(Side(server.process, f"{path}/conversations", key)))
            run.say(f"start {number + 1}: {ours[-1]:.2f} s, floor {floors[-1]:.2f} s")
    return [metric("start to first reply", ours, "s", floors=floors, budget=Budget(1.5))]


def _in_turn(sides: dict[str, Side], number: int) -> list[tuple[str, Side]]:
    """Forwards in one round, backwards in the next, so that slow changes of the machine favour neither side."""
    return list(sides.items())[:: -1 if number % 2 else 1]


def _newest(figures: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {values[-1]:.1f}" for name, values in figures.items())


def _first_tokens_ms(load: Load) -> list[float]:
    answered = all_answered(load).answered
    found = [each.first_token_ms for each in answered if each.first_token_ms is not None]
    if len(found) < len(answered):
        raise SetupError(f"{len(answered) - len(found)} of {len(answered)} streams brought no first token.")
    return found[len(found) // 10 :]  # the first ones open connections


def _most_at_once(outcome: Outcome) -> int:
    changes = [(each.sent_at, 1) for each in outcome.answered] + [(each.answered_at, -1) for each in outcome.answered]
    return max(itertools.accumulate(change for _, change in sorted(changes)), default=0)


def _first_answer_s(side: Side) -> float:
    """Asks until there is an answer. Raises `SetupError` if there is none in time."""
    body = msgspec.json.encode({"conversation_id": "cold", "user_id": "first", "prompt": "How do I return an order?"})
    headers = {"Authorization": f"Bearer {side.key}", "Content-Type": "application/json"}
    until = side.process.started_at + processes.READY_S
    while time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", side.process.port, timeout=processes.READY_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", side.path, body, headers)
            response = connection.getresponse()
            response.read()
            if response.status == 201:
                return time.monotonic() - side.process.started_at
        time.sleep(0.005)
    raise SetupError("A new server did not reply in time.")
