"""F41: told to stop while many streams run, the server takes nothing new, ends every stream in words, and loses nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.faults.serving import ROUNDS, Answered, Ask, Client, ModelEndpoint, client_of, read_store, server

pytestmark = pytest.mark.slow

TIMEOUT_S = 2.0  # GIGACHAT_SHUTDOWN_TIMEOUT_S; by default 30
EXIT_S = TIMEOUT_S + 5.0  # by default 35
READY_S = 1.0  # for so long after the signal it may still say that it is ready


class Figures(msgspec.Struct):
    """What one SIGTERM did."""

    streams: int
    finished: int
    cut_off: int
    without_end: int
    lost: int
    exit_after_s: float


async def stop_while_streaming(streams: int, data: Path, record: Callable[[str, object], None]) -> None:
    """One round: half of the replies can end in time, the other half cannot."""
    with ModelEndpoint().serving() as endpoint:
        with server(data, endpoint, shutdown_timeout_s=str(TIMEOUT_S)) as stopped:
            async with client_of(stopped.server) as client:
                chatbot = await client.new_chatbot()
                asks = [_ask(chatbot, number, "held" if number % 2 else "endless") for number in range(streams)]
                told = [Answered() for _ in asks]
                asking = [asyncio.create_task(client.ask(*each)) for each in zip(asks, told, strict=True)]
                await _until(lambda: all(answered.shown for answered in told))
                behind, told_behind = await _queue_behind(client, asks[:8:2], asking)
                asks, told = asks + behind, told + told_behind
                following = await _followers(client, chatbot, asks[:6])
                began = time.monotonic()
                stopped.server.process.send_signal(signal.SIGTERM)
                while (status := await client.readiness()) == 200:
                    assert time.monotonic() - began < READY_S, "still ready"
                assert status in (None, 503)
                await _is_refused(client, chatbot)
                endpoint.release("held")
                await asyncio.gather(*asking)
                ends = [(await follower)[-1] for follower in following]
                assert await asyncio.to_thread(stopped.server.process.wait, 60) == 0, stopped.server.stderr.read()
                exit_after_s = time.monotonic() - began
        assert "late" not in endpoint.calls
        stored = {message["id"]: message["content"] for message in read_store(data).messages}
        figures = Figures(
            streams=len(asks),
            finished=sum(answered.is_ended and answered.error is None for answered in told),
            cut_off=sum(answered.error == "shutting_down" for answered in told),
            without_end=sum(not answered.is_ended for answered in told),
            lost=sum(stored.get(str(answered.prompt_id)) != ask.text for ask, answered in zip(asks, told, strict=True))
            + sum(stored.get(reply) != text for answered in told for reply, text in answered.stored.items()),
            exit_after_s=exit_after_s,
        )
        record("shutdown", msgspec.to_builtins(figures))
        assert (figures.lost, figures.without_end) == (0, 0)
        assert (figures.finished, figures.cut_off) == (streams // 2, len(asks) - streams // 2)
        assert exit_after_s <= EXIT_S
        assert [(name, problem["code"]) for name, problem in ends] == [("error", "shutting_down")] * len(following)
        endpoint.release("endless")
        await _ask_again(data, endpoint, asks, told)


def _ask(chatbot: str, number: int, pace: str, *, conversation: str | None = None) -> Ask:
    text = f"{pace} prompt {number}" if conversation is None else f"{pace} prompt that waits in {conversation}"
    return Ask(chatbot=chatbot, conversation=conversation or f"c{number}", text=text, streams=True)


async def _until(holds: Callable[[], bool]) -> None:
    """What the client is told is told in the background. The test's own limit bounds this."""
    while not holds():  # noqa: ASYNC110 - what is awaited comes over many connections
        await asyncio.sleep(0.005)


async def _followers(client: Client, chatbot: str, asks: Sequence[Ask]) -> list[asyncio.Task[list[tuple[str, Any]]]]:
    """Streams of events, of some conversations and of the chatbot, that have begun."""
    paths = [f"{chatbot}/events", *(f"{chatbot}/conversations/{ask.conversation}/events" for ask in asks)]
    following = []
    for path in paths:
        connected = asyncio.Event()
        following.append(asyncio.create_task(client.follow(path, connected)))
        await connected.wait()
    return following


async def _queue_behind(
    client: Client, asks: Sequence[Ask], asking: list[asyncio.Task[None]]
) -> tuple[list[Ask], list[Answered]]:
    """More prompts, stored but not begun, behind those."""
    behind = [_ask(ask.chatbot, 0, "endless", conversation=ask.conversation) for ask in asks]
    told = [Answered() for _ in behind]
    asking += [asyncio.create_task(client.ask(*each)) for each in zip(behind, told, strict=True)]
    await _until(lambda: all(answered.prompt_id for answered in told))
    return behind, told


async def _is_refused(client: Client, chatbot: str) -> None:
    """A new prompt is, by a server that was told to stop: with a 503, or because nobody listens."""
    answered = Answered(status=503, error="shutting_down")
    with suppress(aiohttp.ClientError):
        await client.ask(Ask(chatbot=chatbot, conversation="late", text="late", streams=False), answered)
    assert (answered.status, answered.error) == (503, "shutting_down")


async def _ask_again(data: Path, endpoint: ModelEndpoint, asks: Sequence[Ask], told: Sequence[Answered]) -> None:
    """Under the same keys, after a restart: every prompt has its one reply in the end, the cut off ones too."""
    again = [Answered() for _ in asks]
    with server(data, endpoint) as restarted:
        async with client_of(restarted.server) as client:
            await asyncio.gather(*(client.ask(*each) for each in zip(asks, again, strict=True)))
        assert restarted.server.stop()[0] == 0
    stored = read_store(data)
    for earlier, now in zip(told, again, strict=True):
        assert (now.status, now.error, now.is_ended, now.is_replayed) == (201, None, True, True)
        assert now.prompt_id == earlier.prompt_id is not None
        assert [reply["id"] for reply in stored.replies_to(str(now.prompt_id))] == list(now.stored)
        assert not earlier.stored or now.stored == earlier.stored
    assert {prompt["turn"] for prompt in stored.prompts} == {"done"}
    assert (stored.drafts, stored.disorder(), stored.damage) == ([], [], [])


@pytest.mark.faults
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_told_to_stop_while_200_streams_run(
    number: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    await stop_while_streaming(200, tmp_path / "data", record_property)


async def test_told_to_stop_while_streams_run_it_ends_them_and_loses_nothing(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    await stop_while_streaming(50, tmp_path / "data", record_property)
