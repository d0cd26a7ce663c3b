"""What is counted, without a network: unread answers, turns at long lists, connections of an address."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from gigachat_server.edge.answer import Answer
from gigachat_server.edge.long_lists import LongLists
from gigachat_server.edge.moments import MOST_S, moment
from gigachat_server.serving import unread_answers
from gigachat_server.serving.admission import Admission
from gigachat_server.serving.unread_answers import UnreadAnswers
from gigachat_server.settings import Settings

# --- unread answers ---


class Readers:
    """Each of them is an answer of so many bytes of some owner; `cut` are those that were cut off."""

    def __init__(self, most_bytes: int) -> None:
        self.unread = UnreadAnswers(most_bytes)
        self.cut: list[str] = []
        self._stack = AsyncExitStack()

    async def begin(self, name: str, owner: int, size: int) -> unread_answers.WaitingAnswer:
        return await self._stack.enter_async_context(self.unread.waiting(owner, size, functools.partial(self.cut.append, name)))

    async def end(self) -> None:
        await self._stack.aclose()
        assert self.unread.bytes == 0


async def test_of_one_owner_the_answer_goes_that_moved_least_recently() -> None:
    readers = Readers(100)
    first = await readers.begin("a", 1, 20)
    await readers.begin("b", 1, 20)
    readers.unread.has_moved(first)
    await readers.begin("c", 1, 20)
    assert readers.cut == ["b"]
    await readers.begin("d", 2, 50)
    assert readers.cut == ["b"], "another owner has half of it in any case"
    await readers.end()


async def test_who_has_most_makes_room_for_all() -> None:
    readers = Readers(100)
    await readers.begin("a", 1, 50)
    await readers.begin("b", 2, 20)
    await readers.begin("c", 3, 20)
    await readers.begin("d", 4, 20)
    assert readers.cut == ["a"]
    await readers.end()


async def test_any_answer_may_wait_alone() -> None:
    readers = Readers(100)
    await readers.begin("a", 1, 1000)
    assert (readers.cut, readers.unread.bytes) == ([], 1000)
    await readers.begin("b", 1, 1)
    assert (readers.cut, readers.unread.bytes) == (["a"], 1)
    await readers.end()


async def test_what_can_wait_is_written_once_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_answers, "_LOOK_AGAIN_S", 0)
    unread, cut = UnreadAnswers(100), []
    async with unread.waiting(1, 50, lambda: cut.append("first")):
        waiting = asyncio.create_task(_written(unread))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
    assert cut == []


async def test_what_stands_still_is_cut_for_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_answers, "_LOOK_AGAIN_S", 0)
    monkeypatch.setattr(unread_answers, "_STILL_S", 0)
    unread, cut = UnreadAnswers(100), []
    async with unread.waiting(1, 50, lambda: cut.append("first")):
        await _written(unread)
    assert cut == ["first"]
    assert unread.bytes == 0


async def _written(unread: UnreadAnswers) -> None:
    async with unread.waiting(1, 50, lambda: None, can_wait=True):
        pass


# --- long lists ---


async def test_one_account_has_half_of_the_turns_and_nothing_is_left_of_it() -> None:
    lists, running, may_end = LongLists(4), [], asyncio.Event()

    async def handler(account: str) -> Answer:
        running.append(account)
        await may_end.wait()
        return Answer([account])

    def asking(account: str) -> asyncio.Task[object]:
        return asyncio.create_task(lists.answered(account, functools.partial(handler, account)))

    asked = [asking("a") for _ in range(10)] + [asking("b"), asking("c"), asking("b")]
    for _ in range(10):
        await asyncio.sleep(0)
    assert sorted(running) == ["a", "a", "b", "c"]
    for each in asked[2:6]:
        each.cancel()
    may_end.set()
    await asyncio.wait(asked)
    assert sorted(running) == ["a"] * 6 + ["b", "b", "c"]
    assert vars(lists)["_own"] == {}


def answering(body: object) -> Callable[[], Awaitable[Answer]]:
    async def handler() -> Answer:
        return Answer(body)

    return handler


async def test_a_handler_that_fails_gives_its_turn_back() -> None:
    lists = LongLists(1)

    async def failing() -> Answer:
        raise ValueError

    for _ in range(3):
        with pytest.raises(ValueError):
            await lists.answered("a", failing)
    assert (await lists.answered("b", answering([1]))).body == b"[1]"


@pytest.mark.parametrize("items, expected", [([], b"[]"), ([1], b"[1]"), ([1, {"a": None}, "x"], b'[1,{"a":null},"x"]')])
async def test_items_that_are_made_one_by_one_are_an_array(items: list[object], expected: bytes) -> None:
    answered = await LongLists().answered("a", answering(iter(items)))
    assert answered.body == expected


async def test_work_for_many_gives_way_between_its_pieces() -> None:
    loop = asyncio.get_running_loop()
    iterations = 0

    def count() -> None:
        nonlocal iterations
        iterations += 1
        loop.call_soon(count)

    async def piece() -> None:
        async with moment() as until:
            while loop.time() < until:  # both are the monotonic clock
                pass

    loop.call_soon(count)
    await asyncio.gather(*(piece() for _ in range(20)))
    assert iterations >= 10, f"one of {MOST_S} s each"


# --- connections ---


def test_a_network_of_ipv6_is_one_address_and_a_mapped_one_is_its_own() -> None:
    admission = Admission(Settings(max_connections=100, max_connections_per_address=2))
    assert admission.enter("2001:db8::1") is not None
    assert admission.enter("2001:db8::ffff:2") is not None
    assert admission.enter("2001:db8::3%eth0") is None
    assert admission.enter("2001:db8:0:1::1") is not None
    assert admission.enter("::ffff:192.0.2.1") is not None
    place = admission.enter("192.0.2.1")
    assert place is not None
    assert admission.enter("192.0.2.1") is None
    admission.leave(place)
    assert admission.enter("192.0.2.1") is not None


def test_proxies_share_what_is_there_for_all() -> None:
    admission = Admission(Settings(max_connections=8, max_connections_per_address=1, trusted_proxies="10.0.0.0/8"))
    assert [admission.enter("10.1.2.3") is not None for _ in range(9)] == [True] * 8 + [False]
