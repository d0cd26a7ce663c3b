"""A turn is gone as soon as nobody needs it: nothing of it waits for the cycle collector, whose passes hold up everyone."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gigachat_server.chat.turns.intake import PromptRequest
from gigachat_server.errors import ModelInterrupted, ModelUnreachable
from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, ScriptedModel, Step
from gigachat_server.store import chatbots
from tests.harness import Api, gigachat, until
from tests.streams import prompt, streaming
from tests.turns import ask, asking_held

ROUNDS = 3
TURNS = 50


class Left:
    """What the cycle collector found, once it has looked: how many objects, and how many of them of our own types."""

    objects = 0
    ours = 0


@contextmanager
def uncollected() -> Iterator[Left]:
    """The cycle collector looks before and after the block, and not within it."""
    left = Left()
    gc.collect()
    gc.disable()
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        left.objects = gc.collect()
        left.ours = sum(type(each).__module__.startswith("gigachat_server") for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


class Talk:
    """Says something, in each of the ways that end differently. The newest of `pauses` holds the prompt "hold"."""

    def __init__(self, api: Api, chatbot: str, pauses: list[Pause]) -> None:
        self.api, self.chatbot, self.pauses = api, chatbot, pauses

    async def in_process(self, number: int) -> None:
        services = self.api.services
        chatbot = await chatbots.find_remembered(
            services.database, services.account.id, self.chatbot.split("/")[-1], exactly=True
        )
        assert chatbot is not None
        request = PromptRequest(conversation_id=f"c{number // 5}", user_id="ann", text="When do parcels ship?", metadata={})
        started = await services.turns.start(chatbot, request)
        assert started.turn is not None
        async for _ in started.turn.watch(idle_s=60):
            pass
        assert (await started.result()).messages[0].status == "completed"

    async def as_json(self, number: int) -> None:
        assert (await ask(self.api, self.chatbot, "When do parcels ship?", conversation=f"c{number // 5}")).status == 201

    async def as_stream(self, number: int) -> None:
        path = f"{self.chatbot}/conversations"
        said = prompt("When do parcels ship?", conversation=f"c{number // 5}")
        async with streaming(self.api, path, said, session=self.api._session) as stream:
            assert (await stream.read_all())[-1].name == "done"

    async def that_fail(self, number: int) -> None:
        assert (await ask(self.api, self.chatbot, "fail", conversation=f"c{number // 5}")).code == "upstream_unreachable"

    async def that_break_off(self, number: int) -> None:
        path = f"{self.chatbot}/conversations"
        async with streaming(self.api, path, prompt("break off"), session=self.api._session) as stream:
            assert (await stream.read_all())[-1].name == "error"

    async def that_are_replayed(self, number: int) -> None:
        for _ in range(2):
            assert (await ask(self.api, self.chatbot, "Hi", idempotency_key=f"key {number}")).status == 201

    async def that_are_stopped(self, number: int) -> None:
        self.pauses.append(Pause())
        asked = await asking_held(self.api, self.chatbot, self.pauses[-1], "hold")
        assert (await self.api.post(f"{self.chatbot}/conversations/c1/stop")).status == 200
        assert (await asked).status == 201

    async def that_are_followed_and_left(self, number: int) -> None:
        await self.as_json(0)
        path = f"{self.chatbot}/conversations/c0/events"
        async with streaming(self.api, path, session=self.api._session) as stream:
            await stream.next()
            stream.close()

        async def is_left() -> bool:
            return not self.api.services.events._followers

        await until(is_left)


KINDS: dict[str, Callable[[Talk, int], Awaitable[None]]] = {
    "in process": Talk.in_process,
    "as JSON": Talk.as_json,
    "as a stream": Talk.as_stream,
    "that fail": Talk.that_fail,
    "that break off": Talk.that_break_off,
    "that are replayed": Talk.that_are_replayed,
    "that are stopped": Talk.that_are_stopped,
    "that are followed and left": Talk.that_are_followed_and_left,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_turns_leave_nothing_to_the_cycle_collector(tmp_path: Path, kind: str) -> None:
    pauses = [Pause()]

    def script(model_input: ModelInput) -> list[Step]:
        scripts: dict[str, list[Step]] = {
            "fail": [ModelUnreachable()],
            "break off": ["half", ModelInterrupted()],
            "hold": ["half", pauses[-1]],
        }
        return scripts.get(model_input.messages[-1].content, ["On ", "Monday."])

    async with gigachat(tmp_path, model=ScriptedModel(script)) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0}})
        await api.push(chatbot, "shipping", "Parcels ship on Monday.")
        talk = Talk(api, chatbot, pauses)
        await KINDS[kind](talk, -1)  # what is made once, by the first
        for start in range(0, ROUNDS * TURNS, TURNS):
            with uncollected() as left:
                for number in range(start, start + TURNS):
                    await KINDS[kind](talk, number)
            # A connection that breaks off leaves the event loop's own objects.
            found = left.ours if kind == "that are followed and left" else left.objects
            if found < TURNS:
                break  # what each turn leaves, each round would: a connection that was opened meanwhile leaves its own but once
        assert found < TURNS, f"{found / TURNS} for each turn"
