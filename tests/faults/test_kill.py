"""F1: killed at any step of a turn, the server loses nothing it has confirmed and does nothing twice.

A client asks until the process is killed, asks again with the same keys once there is another, and then what is stored is
compared with what the client was ever told.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from gigachat_server.triggers import STEPS
from tests.cli.commands import Gigachat
from tests.faults.serving import KEY, ROUNDS, Answered, Ask, Client, ModelEndpoint, Stored, client_of, read_store, server

pytestmark = pytest.mark.slow

PASSES = 7  # a step is passed at least so often by the prompts of a round
READY_S = 5.0  # idle, it takes 0.6; for `make test-faults`, since the machine of a test run may be busy with anything
USABLE_S = 20.0  # by then all is answered; what nobody took up would wait for its lease to run out, 30 s


class Figures(msgspec.Struct):
    """What one kill did."""

    step: str
    fired: int
    lost: int
    duplicates: int
    extra_replies: int
    most_calls: int
    drafted: int  # replies that were cut off after they had been kept as drafts
    recovered: int  # prompts that were answered once more because nothing had been shown
    ready_after_s: float


def prompts_of(plain: str, double: str) -> list[list[Ask]]:
    """Ten prompts in six conversations, some of which queue. Each conversation's are asked in order."""

    def conversation(name: str, chatbot: str, *asks: tuple[str, bool]) -> list[Ask]:
        return [
            Ask(
                chatbot=chatbot,
                conversation=name,
                text=f"{name}, prompt {number}: when is it sent? Say it {pace}.",
                streams=streams,
                alternatives=2 if chatbot == double else 1,
            )
            for number, (pace, streams) in enumerate(asks)
        ]

    return [
        conversation("queueing", plain, ("slowly", True), ("quickly", False), ("quickly", False)),
        conversation("quick", plain, ("quickly", False), ("quickly", True)),
        conversation("slow", plain, ("slowly", True), ("slowly", True)),
        conversation("alternatives", double, ("slowly", True)),
        conversation("plain", plain, ("slowly", False)),
        conversation("short", double, ("quickly", True)),
    ]


async def ask_all(client: Client, conversations: Sequence[Sequence[Ask]]) -> dict[str, Answered]:
    """Ask everything; what the client was told, by prompt. Behind a stream that has started the next prompt queues."""
    told: dict[str, Answered] = {}

    async def ask(each: Ask, started: asyncio.Event) -> None:
        with suppress(aiohttp.ClientError):
            await client.ask(each, told.setdefault(each.text, Answered()), started)

    async def ask_in_order(asks: Sequence[Ask]) -> None:
        async with asyncio.TaskGroup() as asking:
            for each in asks:
                started = asyncio.Event()
                asking.create_task(ask(each, started))
                await started.wait()

    async with asyncio.TaskGroup() as asking:
        for asks in conversations:
            asking.create_task(ask_in_order(asks))
    return told


async def kill_at(step: str, wanted_pass: int, data: Path, record: Callable[[str, object], None]) -> Figures:
    """One round; records what it did, and asserts all that has to be so after it, however fast the machine is."""
    with ModelEndpoint().serving() as endpoint:
        failpoint = f"{step}@{wanted_pass}:kill"
        with server(data, endpoint, failpoint=failpoint) as killed:
            async with client_of(killed.server) as client:
                plain = await client.new_chatbot()
                double = await client.new_chatbot(response={"n": 2})
                conversations = prompts_of(plain, double)
                before = await ask_all(client, conversations)
            assert killed.server.process.wait(30) == -signal.SIGKILL, f"{failpoint} was not reached"
            assert killed.server.stderr.read().count(f"failpoint {failpoint}") == 1
        with server(data, endpoint) as restarted:
            async with client_of(restarted.server) as client:
                async with asyncio.timeout(USABLE_S):
                    after = await ask_all(client, conversations)
                shown = await _shown(client, conversations)
            status, _, log = restarted.server.stop()
            assert status == 0, log
        asks = {each.text: each for asks in conversations for each in asks}
        stored = read_store(data)
        figures = Figures(
            step=step,
            fired=1,
            lost=len(lost(before, stored)),
            duplicates=sum(sum(prompt["content"] == text for prompt in stored.prompts) > 1 for text in asks),
            extra_replies=sum(extra(prompt["id"], stored) for prompt in stored.prompts),
            most_calls=max(endpoint.calls.values()),
            drafted=sum(event["type"] == "turn.failed" for event in stored.events),
            recovered=sum(event["type"] == "turn.recovered" for event in stored.events),
            ready_after_s=restarted.ready_after_s,
        )
    record("kill", msgspec.to_builtins(figures))
    assert (figures.lost, figures.duplicates, figures.extra_replies) == (0, 0, 0), lost(before, stored)
    check_settled(stored, asks)
    for ask in asks.values():
        check_told(ask, before.get(ask.text, Answered()), after[ask.text], shown)
    assert endpoint.calls.keys() == asks.keys()
    assert figures.most_calls <= 2, endpoint.calls
    return figures


async def _shown(client: Client, conversations: Sequence[Sequence[Ask]]) -> dict[str, Any]:
    """Every message that the API shows, by id."""
    paths = [f"{asks[0].chatbot}/conversations/{asks[0].conversation}/messages?limit=100" for asks in conversations]
    return {message["id"]: message for path in paths for message in await client.get(path)}


def check_told(ask: Ask, before: Answered, now: Answered, shown: dict[str, Any]) -> None:
    """Whoever asks again is told what was promised before, and what they are told is what the conversation shows."""
    assert (now.status, now.error, now.is_ended) == (201, None, True), (ask.text, now)
    assert now.prompt_id is not None
    assert len(now.stored) == ask.alternatives
    assert shown[now.prompt_id]["turn"] == "done"
    assert {message_id: shown[message_id]["content"] for message_id in now.stored} == now.stored
    if before.prompt_id is not None:
        assert now.is_replayed
        assert now.prompt_id == before.prompt_id
    if before.stored:
        assert now.stored == before.stored


def lost(told: dict[str, Answered], stored: Stored) -> list[str]:
    """What a client was told is stored, and is not."""
    contents = {message["id"]: message["content"] for message in stored.messages}
    promised = [(answered.prompt_id, text) for text, answered in told.items() if answered.prompt_id is not None]
    promised += [reply for answered in told.values() for reply in answered.stored.items()]
    return [text for message_id, text in promised if contents.get(message_id) != text]


def extra(prompt_id: str, stored: Stored) -> int:
    alternatives = [reply["alternative"] for reply in stored.replies_to(prompt_id)]
    return len(alternatives) - len(set(alternatives))


def check_settled(stored: Stored, asks: dict[str, Ask]) -> None:
    """Every prompt was answered, nobody answers or waits, and nothing is left of what is only there meanwhile."""
    assert stored.damage == []
    assert {prompt["content"]: prompt["turn"] for prompt in stored.prompts} == dict.fromkeys(asks, "done")
    for prompt in stored.prompts:
        replies = stored.replies_to(prompt["id"])
        assert [reply["status"] for reply in replies] == ["completed"] * asks[prompt["content"]].alternatives
    assert stored.drafts == []
    held = [each for each in stored.conversations if each["answering"] or each["lease_until"] or each["queued"]]
    assert held == []
    assert len(stored.idempotency) == len(asks)
    assert stored.disorder() == []


@pytest.mark.faults
@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_any_step_and_pass(
    step: str, number: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    figures = await kill_at(step, 1 + number % PASSES, tmp_path / "data", record_property)
    assert figures.ready_after_s <= READY_S


@pytest.mark.parametrize("step", ["S2", "S5", "S6", "S8", "S9"])
async def test_a_kill_loses_nothing_and_does_nothing_twice(
    step: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    await kill_at(step, 3, tmp_path / "data", record_property)


async def test_a_prompt_that_kills_its_process_every_time_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ModelEndpoint().serving() as endpoint:

        async def ask(client: Client, asked: Ask) -> Answered:
            answered = Answered()
            with suppress(aiohttp.ClientError):
                await client.ask(asked, answered)
            return answered

        with server(data, endpoint, failpoint="S5:kill") as first:
            async with client_of(first.server) as client:
                poison = Ask(chatbot=await client.new_chatbot(), conversation="c1", text="poison", streams=True)
                await ask(client, poison)
            assert first.server.process.wait(30) == -signal.SIGKILL
        second = Gigachat(data, api_key=KEY, model_url=endpoint.url, model="stub", failpoint="S5:kill").start(
            "serve", "--port", "0"
        )
        second.communicate(timeout=30)
        assert second.returncode == -signal.SIGKILL, "it is answered once more, whether anybody asks or not"
        with server(data, endpoint, failpoint="S5:kill") as third:
            async with client_of(third.server) as client:
                (prompt,) = await client.get(f"{poison.chatbot}/conversations/c1/messages")
                assert (prompt["turn"], prompt["error"]) == ("failed", "reply_cut_off")
        with server(data, endpoint) as harmless:
            async with client_of(harmless.server) as client:
                answered = await ask(client, poison)
            assert (answered.prompt_id, answered.error, len(answered.stored)) == (prompt["id"], None, 1)
            assert harmless.server.stop()[0] == 0
    check_settled(read_store(data), {poison.text: poison})
