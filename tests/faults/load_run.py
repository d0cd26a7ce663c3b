"""A load that does not wait: so many turns a second on three nodes and one PostgreSQL; then all that is stored is checked.

`make test-load`; LOAD_SECONDS=600, LOAD_RATE=80, LOAD_NODES=3. Arrivals are open-loop: a request is sent when its time has come,
however many are on their way, and its latency counts from then. Exits with 1 if anything failed, was lost, came twice or
out of order.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop

from tests.faults.cluster import Load, compared, is_answered, loading, on_a_server_of_its_own, serving_nodes
from tests.faults.serving import Ask, ModelEndpoint, read_store

SECONDS = float(os.environ.get("LOAD_SECONDS", "600"))
RATE = float(os.environ.get("LOAD_RATE", "80"))
NODES = int(os.environ.get("LOAD_NODES", "3"))
MODEL_S = 0.05
CONVERSATIONS = 2000
P99_S = 0.8
_WARM_UP_S = 3.0


async def run(load: Load) -> list[float]:
    """How long each turn took from when it was due."""
    began, took_s, sending = time.monotonic() + 0.1, list[float](), set[asyncio.Task[None]]()

    async def ask(number: int, due: float) -> None:
        conversation = f"c{number % CONVERSATIONS}"
        told = await load.ask(
            Ask(chatbot=load.chatbot, conversation=conversation, text=f"prompt {number}", streams=number % 4 == 0)
        )
        if is_answered(told) and due > began + _WARM_UP_S:
            took_s.append(time.monotonic() - due)

    for number in range(int(SECONDS * RATE)):
        due = began + number / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(ask(number, due))
        sending.add(task)
        task.add_done_callback(sending.discard)
    await asyncio.gather(*sending)
    return sorted(took_s)


async def main(folder: Path) -> int:
    _say(f"{RATE:.0f} turns/s for {SECONDS:.0f} s on {NODES} nodes; a model that takes {MODEL_S * 1000:.0f} ms; {_machine()}")
    with on_a_server_of_its_own(), ModelEndpoint(takes_s=MODEL_S).serving() as endpoint:
        with serving_nodes(folder, endpoint, NODES) as nodes:
            async with loading(nodes) as load:
                began = time.monotonic()
                took_s = await run(load)
                lasted_s = time.monotonic() - began
        unanswered = sum(not is_answered(told) for told in load.told)
        found = compared(load, read_store(folder))
    p50, p99 = (took_s[int(len(took_s) * share)] * 1000 for share in (0.5, 0.99))
    answered = len(load.told) - unanswered
    _say(f"answered {answered} of {len(load.told)} in {lasted_s:.1f} s: {answered / lasted_s:.1f} turns/s")
    _say(f"p50 {p50:.0f} ms, p99 {p99:.0f} ms (bar: {P99_S * 1000:.0f} ms), slowest {took_s[-1] * 1000:.0f} ms; {_machine()}")
    _say(f"errors {unanswered} {dict(load.errors())}; store: {msgspec.to_builtins(found)}")
    here, nodes_and_database = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = [f"{(each.ru_utime + each.ru_stime) / len(load.told) * 1000:.1f} ms" for each in (nodes_and_database, here)]
    _say(f"processor time of a turn: nodes and PostgreSQL {spent[0]}, clients and model {spent[1]}")
    wrong = unanswered + found.lost + found.duplicates + found.without_reply + found.extra_replies + found.disorder
    return int(wrong > 0 or p99 >= P99_S * 1000)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _machine() -> str:
    return f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main(Path(temporary))))
