"""The embedder alone, in a separate process: a `Work` as JSON on stdin, texts per second on stdout.

Invariant: it is called as gigachat calls it, and nothing else runs in this process: this is its top speed.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

import msgspec
import uvloop

from gigachat_server import settings
from gigachat_server.models.embedders import weights
from gigachat_server.models.embedders.built_in import BUILT_IN, DEFAULT
from gigachat_server.models.embedders.local_embedder import LocalEmbedder


class Work(msgspec.Struct, frozen=True):
    """Prompts, embedded by so many callers until the time is over; with `callers` 0 passages, all once in one call."""

    texts: list[str]
    callers: int = 0
    seconds: float = 0.0


async def texts_per_second(work: Work) -> float:
    built_in = BUILT_IN[DEFAULT]
    embedder = LocalEmbedder(built_in, weights.find(built_in.published, configured=settings.load().embedding_folder))
    await embedder.embed_prompt("Is it loaded?")
    began = time.monotonic()
    if work.callers:
        done = await _embed_prompts(embedder, work, began + work.seconds)
    else:
        done = len(await embedder.embed_passages(work.texts))
    took = time.monotonic() - began
    await embedder.aclose()
    return done / took


async def _embed_prompts(embedder: LocalEmbedder, work: Work, until: float) -> int:
    texts, done = itertools.cycle(work.texts), 0

    async def call() -> None:
        nonlocal done
        while time.monotonic() < until:
            await embedder.embed_prompt(next(texts))
            done += 1

    await asyncio.gather(*(call() for _ in range(work.callers)))
    return done


def main() -> None:
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    print(uvloop.run(texts_per_second(work)))  # noqa: T201 - this is its answer


if __name__ == "__main__":
    main()
