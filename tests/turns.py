"""What tests of turns share: prompts in flight, and what is to be seen of a conversation from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, ScriptedModel, Step
from gigachat_server.store.database import Reader, Row
from tests.harness import Api, Reply, until


class Clock:
    """A clock that stands still until it is moved. Each look is a microsecond later, as looks are."""

    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000

    def __call__(self) -> int:
        self.now_us += 1
        return self.now_us

    def move(self, *, minutes: float) -> None:
        self.now_us += int(minutes * 60_000_000)


def answering(scripts: Mapping[str, list[Step]]) -> ScriptedModel:
    """A model that plays the script of the prompt, and answers any other with `re: ` and the prompt."""

    def script(model_input: ModelInput) -> list[Step]:
        prompt = model_input.messages[-1].content
        return scripts.get(prompt, [f"re: {prompt}"])

    return ScriptedModel(script)


async def ask(
    api: Api,
    chatbot: str,
    prompt: str,
    *,
    conversation: str = "c1",
    user: str = "ann",
    idempotency_key: str | None = None,
    key: str = "",
    **more: Any,
) -> Reply:
    body = {"conversation_id": conversation, "user_id": user, "prompt": prompt, **more}
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    return await api.post(f"{chatbot}/conversations", body, headers=headers, key=key)


def asking(api: Api, chatbot: str, prompt: str, **more: Any) -> asyncio.Task[Reply]:
    return asyncio.create_task(ask(api, chatbot, prompt, **more))


async def asking_held(api: Api, chatbot: str, pause: Pause, prompt: str, **more: Any) -> asyncio.Task[Reply]:
    """The prompt's turn has come to that pause."""
    asked = asking(api, chatbot, prompt, **more)
    await pause.reached.wait()
    return asked


async def queueing(api: Api, chatbot: str, *prompts: str, **more: Any) -> list[asyncio.Task[Reply]]:
    """Prompts that wait, in this order, behind the one being answered."""
    tasks = []
    waiting = (await state(api, chatbot))["queued"]
    for number, prompt in enumerate(prompts, start=1):
        tasks.append(asking(api, chatbot, prompt, **more))

        async def is_queued(wanted: int = waiting + number) -> bool:
            return bool((await state(api, chatbot))["queued"] == wanted)

        await until(is_queued)
    return tasks


async def state(api: Api, chatbot: str, conversation: str = "c1") -> dict[str, Any]:
    reply = await api.get(f"{chatbot}/conversations/{conversation}")
    assert reply.status == 200, reply.text
    found: dict[str, Any] = reply.body
    return found


async def until_settled(api: Api, chatbot: str, conversation: str = "c1") -> None:
    async def is_settled() -> bool:
        found = await api.messages(chatbot, conversation)
        return all(message["turn"] not in ("queued", "running") for message in found)

    await until(is_settled)


async def history(api: Api, chatbot: str, conversation: str = "c1") -> list[tuple[str, str, str]]:
    """Of each message its content, its status, and, of a prompt, what became of it."""
    return [(m["content"], m["status"], m["turn"] or m["role"]) for m in await api.messages(chatbot, conversation)]


def contents(reply: Reply) -> list[str]:
    assert reply.status in (200, 201), reply.text
    return [message["content"] for message in reply.body]


def told(model_input: ModelInput) -> list[str]:
    """What the model saw of the conversation, without the persona."""
    return [message.content for message in model_input.messages[1:]]


async def rows(api: Api, sql: str, **parameters: Any) -> list[Row]:
    """Look into the store, where the wire shows nothing on purpose."""

    async def read(reader: Reader) -> list[Row]:
        return await reader.all(sql, **parameters)

    return await api.services.database.read(read)


async def assert_at_rest(api: Api, chatbot: str, conversation: str = "c1") -> None:
    """Nobody answers, nobody waits, and nothing is left of what was in the making."""
    found = await state(api, chatbot, conversation)
    assert (found["answering"], found["queued"]) == (None, 0)
    assert await rows(api, "SELECT * FROM drafts") == []
    seqs = [row[0] for row in await rows(api, "SELECT seq FROM events WHERE conversation_id = :id ORDER BY seq", id=conversation)]
    assert seqs == list(range(1, len(seqs) + 1)), "gap-free"


@asynccontextmanager
async def one_group(api: Api) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """The store is busy meanwhile, so all that is to be written waits, and is then written in its order, at once.

    In one group, on SQLite; one after the other where each waits for the conversation, on PostgreSQL. What it gives waits
    until so many transactions do.
    """
    holding = _hold_rows(api) if api.services.database.is_shared else _hold_writer(api)
    async with holding as count:

        async def waiting(wanted: int) -> None:
            async def are_waiting() -> bool:
                return await count() >= wanted

            await until(are_waiting)

        yield waiting


@asynccontextmanager
async def _hold_writer(api: Api) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    database: Any = api.services.database
    loop, is_busy, gate = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    async def body(tx: Any) -> None:
        loop.call_soon_threadsafe(is_busy.set)
        gate.wait(10)

    async def count() -> int:
        return int(database._writes.qsize())

    holding = asyncio.create_task(database.transaction("test.hold", body))
    await is_busy.wait()
    try:
        yield count
    finally:
        gate.set()
        await holding


@asynccontextmanager
async def _hold_rows(api: Api) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    database = api.services.database
    is_busy, gate = asyncio.Event(), asyncio.Event()

    async def body(tx: Any) -> None:
        await tx.all("SELECT 1 FROM conversations FOR UPDATE")
        is_busy.set()
        await gate.wait()

    async def count() -> int:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return int((await rows(api, waiting))[0][0])

    holding = asyncio.create_task(database.transaction("test.hold", body))
    await is_busy.wait()
    try:
        yield count
    finally:
        gate.set()
        await holding


async def rows_as_bytes(api: Api) -> bytes:
    """Every value of every table of PostgreSQL."""
    tables = await rows(api, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    values = [value for (table,) in tables for row in await rows(api, f"SELECT * FROM {table}") for value in row]
    return b" ".join(value if isinstance(value, bytes) else str(value).encode() for value in values)
