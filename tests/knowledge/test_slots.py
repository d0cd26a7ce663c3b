"""Places for work: shared fairly, and given back whatever happens."""

from __future__ import annotations

import asyncio

from gigachat_server.knowledge.extraction.slots import FairSlots
from gigachat_server.language.graphemes import cut


async def test_nobody_has_all_places_and_turns_are_taken() -> None:
    slots = FairSlots(3, most_each=2)
    begun: list[str] = []
    go = {name: asyncio.Event() for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1")}

    async def work(name: str) -> None:
        async with slots.one(name[0]):
            begun.append(name)
            await go[name].wait()

    tasks = [asyncio.create_task(work(name)) for name in go]
    await asyncio.sleep(0)
    assert begun == ["a1", "a2", "b1"]
    go["a1"].set()
    await tasks[0]
    await asyncio.sleep(0)
    assert begun[3:] == ["c1"], "it has none yet"
    go["b1"].set()
    await tasks[4]
    await asyncio.sleep(0)
    assert begun[4:] == ["b2"]
    tasks[2].cancel()
    await asyncio.sleep(0)
    for event in go.values():
        event.set()
    await asyncio.wait(tasks)
    assert begun[5:] == ["a4"], "what is cancelled takes no place"
    async with slots.one("x"), slots.one("x"), slots.one("y"):
        pass


async def test_a_place_that_is_given_to_what_is_cancelled_is_given_back() -> None:
    slots = FairSlots(1, most_each=1)
    entered = slots.one("a")
    await entered.__aenter__()
    waiting = asyncio.create_task(slots.one("b").__aenter__())
    await asyncio.sleep(0)
    await entered.__aexit__(None, None, None)
    waiting.cancel()
    await asyncio.wait([waiting])
    async with slots.one("c"):
        pass


def test_no_emoji_is_cut() -> None:
    family, flag, accent = "👩\u200d👩\u200d👧", "🇳🇴", "e\u0301"
    assert cut(f"ab{family}", 4) == "ab"
    assert cut(f"a{flag}{flag}", 4) == f"a{flag}"
    assert cut(f"a{accent}", 2) == "a"
    assert cut("👍🏽!", 1) == ""
    assert cut("abc", 2) == "ab"
    assert cut("\u0301" * 100, 50) == "\u0301" * 50
