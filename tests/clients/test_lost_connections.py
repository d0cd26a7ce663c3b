"""Whatever happens to a stream, the client ends with the reply that is stored, and the prompt is stored once."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from gigachat_client import AsyncGigachat, Gigachat, Message, StreamDelta, TurnStream
from tests.clients.cutting import CuttingProxy, death_of, mortal_server, proxying, side_by_side
from tests.faults.serving import KEY

pytestmark = pytest.mark.clients

ROUNDS = 20
PROMPT = "When is it sent? Say it slowly."


async def stream_of(url: str, chatbot: str, conversation: str, half: str) -> tuple[Message, str, str]:
    """The reply, what was told of it in pieces, and what it was thought to be at the end."""
    if half == "async":
        async with AsyncGigachat(url, KEY) as client:
            async with client.say_stream(chatbot, PROMPT, conversation_id=conversation, user_id="ann") as turn:
                pieces = [text async for text in turn.text]
            assert turn.reply is not None
            return turn.reply, "".join(pieces), turn.so_far

    def ask() -> TurnStream:
        with Gigachat(url, KEY) as client:
            with client.say_stream(chatbot, PROMPT, conversation_id=conversation, user_id="ann") as turn:
                said.extend(turn.text)
            return turn

    said: list[str] = []
    turned = await asyncio.to_thread(ask)
    assert turned.reply is not None
    return turned.reply, "".join(said), turned.so_far


async def length_of_a_stream(proxy: CuttingProxy, chatbot: str) -> int:
    """How many bytes the answer to such a prompt has at least, its head included. One that is shorter has fewer digits in it."""
    await stream_of(proxy.url, chatbot, "c", "async")
    return proxy.longest - 20


async def assert_stored(url: str, chatbot: str, conversation: str, reply: Message) -> None:
    async with AsyncGigachat(url, KEY) as client:
        stored = [message async for message in client.conversations.list_messages(chatbot, conversation)]
    assert [message.content for message in stored if message.role == "user"] == [PROMPT]
    assert [message for message in stored if message.role == "assistant" and message.replaced_by is None] == [reply]
    assert reply.content == "Parcels are sent on Mondays."
    assert reply.status == "completed"


@pytest.mark.parametrize("half", ["async", "sync"])
async def test_a_server_that_is_killed_at_any_byte_of_a_stream(tmp_path: Path, half: str) -> None:
    chance = random.Random(f"kill {half}")
    async with mortal_server(tmp_path) as (mortal, proxy):
        async with AsyncGigachat(mortal.server.url, KEY) as client:
            chatbot = (await client.chatbots.create(name="Superbot")).id
        length = await length_of_a_stream(proxy, chatbot)
        for number in range(ROUNDS):
            room = chance.randrange(1, length)
            proxy.arm(room, death_of(mortal, proxy))
            reply, _, so_far = await stream_of(proxy.url, chatbot, f"c{number}", half)
            assert proxy.cuts == number + 1, f"not reached: byte {room}"
            assert so_far == reply.content
            await assert_stored(proxy.url, chatbot, f"c{number}", reply)


@pytest.mark.parametrize("half", ["async", "sync"])
async def test_a_connection_that_is_cut_at_any_byte_of_a_stream(tmp_path: Path, half: str) -> None:
    """No word comes twice and none is left out, since the reply goes on meanwhile."""
    chance = random.Random(f"cut {half}")
    async with mortal_server(tmp_path) as (mortal, proxy):
        async with AsyncGigachat(mortal.server.url, KEY) as client:
            chatbot = (await client.chatbots.create(name="Superbot")).id
        length = await length_of_a_stream(proxy, chatbot)

        async def cut(number: int, room: int) -> None:
            async with proxying(mortal.port) as way:
                way.arm(room)
                reply, told, so_far = await stream_of(way.url, chatbot, f"c{number}", half)
                assert way.cuts == 1
                assert told == so_far == reply.content
                await assert_stored(way.url, chatbot, f"c{number}", reply)

        await side_by_side(cut(number, chance.randrange(1, length)) for number in range(ROUNDS))


async def test_a_follower_misses_nothing_when_servers_die(tmp_path: Path) -> None:
    chance = random.Random("follow")
    async with (
        mortal_server(tmp_path) as (mortal, proxy),
        AsyncGigachat(proxy.url, KEY) as client,
        AsyncGigachat(proxy.url, KEY, tries=8) as speaker,
    ):
        chatbot = (await client.chatbots.create(name="Superbot")).id
        seen: list[int] = []
        for number in range(5):
            await speaker.say(chatbot, PROMPT, conversation_id="c", user_id="ann")
            last = (await client.conversations.get(chatbot, "c")).seq
            proxy.arm(chance.randrange(200, 2_000), death_of(mortal, proxy))
            async for happened in client.follow(chatbot, "c", after=str(seen[-1]) if seen else ""):
                if not isinstance(happened, StreamDelta):
                    seen.append(happened.seq)
                if seen and seen[-1] >= last:
                    break
            assert seen == list(range(1, last + 1)), number
            proxy.arm(10**9)
