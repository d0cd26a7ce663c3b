"""Every measurement by name, in the order of a full run."""

from __future__ import annotations

from collections.abc import Callable

from gigachat_server.bench import knowledge, retrieval, turns
from gigachat_server.bench.metrics import Metric, Run

MEASUREMENTS: dict[str, Callable[[Run], list[Metric]]] = {
    "turns": turns.turns,
    "latency": turns.latency,
    "first-token": turns.first_token,
    "streams": turns.streams,
    "start": turns.start,
    "embedded": knowledge.embedded,
    "extractive": knowledge.extractive,
    "ingest": knowledge.ingest,
    "retrieval": retrieval.retrieval,
}

# Those in which the store counts.
ON_POSTGRES = ("turns", "latency", "first-token", "streams", "start", "retrieval")
