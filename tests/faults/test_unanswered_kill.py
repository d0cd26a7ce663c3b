"""F1 for what goes unanswered: killed at any step of a turn, each unanswered prompt is noted once, and no other."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests import stores
from tests.faults.serving import ROUNDS, Ask, ModelEndpoint, client_of, read_store, server
from tests.faults.test_kill import USABLE_S, ask_all

pytestmark = pytest.mark.slow

PROMPTS = 6


async def kill_at(step: str, wanted_pass: int, data: Path) -> None:
    failpoint = f"{step}@{wanted_pass}:kill"
    with ModelEndpoint().serving() as endpoint:
        with server(data, endpoint, failpoint=failpoint) as killed:
            async with client_of(killed.server) as client:
                chatbot = await client.new_chatbot(documents={"results": {"when_nothing_matches": "refuse"}})
                conversations = [
                    [
                        Ask(chatbot=chatbot, conversation=name, text=f"{name}: do you sell thing {number}?", streams=False)
                        for number in range(PROMPTS // 2)
                    ]
                    for name in ("first", "second")
                ]
                await ask_all(client, conversations)
            assert killed.server.process.wait(30) == -signal.SIGKILL, f"{failpoint} was not reached"
        with server(data, endpoint) as restarted:
            async with client_of(restarted.server) as client, asyncio.timeout(USABLE_S):
                await ask_all(client, conversations)
                (groups,) = [await client.get(f"{chatbot}/unanswered")]
            assert restarted.server.stop()[0] == 0
    prompts = Counter(prompt["id"] for prompt in read_store(data).prompts)
    assert len(prompts) == PROMPTS
    noted = stores.current().query(data, "SELECT prompt_id FROM unanswered")
    told = stores.current().query(data, "SELECT data FROM events WHERE type = 'prompt.unanswered'")
    assert Counter(row["prompt_id"] for row in noted) == prompts
    assert len(told) == PROMPTS
    assert sum(group["count"] for group in groups) == PROMPTS


@pytest.mark.parametrize("step", ["S8"])
async def test_killed_in_the_transaction_of_the_reply_each_unanswered_prompt_is_noted_once(tmp_path: Path, step: str) -> None:
    await kill_at(step, 3, tmp_path / "data")


@pytest.mark.faults
@pytest.mark.parametrize("step", ["S3", "S7", "S8", "S9"])
async def test_killed_time_and_again_each_unanswered_prompt_is_noted_once(tmp_path: Path, step: str) -> None:
    for number in range(ROUNDS):
        await kill_at(step, 1 + number % PROMPTS, tmp_path / f"data-{number}")
