"""Nodes that stand still, are killed, are restarted, or are asked the same things at once: a conversation stays one."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest

from tests import stores
from tests.faults.cluster import (
    LEASE_S,
    Load,
    Node,
    assert_whole,
    compared,
    is_answered,
    loading,
    serving_nodes,
    until,
)
from tests.faults.serving import ROUNDS, Answered, Ask, ModelEndpoint, read_store
from tests.faults.test_counts import at_once, counts
from tests.faults.test_kill import Figures, check_settled, extra, lost, prompts_of

pytestmark = pytest.mark.postgres_only

Record = Callable[[str, object], None]


def rows(folder: Path, sql: str) -> list[dict[str, object]]:
    return stores.current().query(folder, sql)


def end_leases(folder: Path) -> None:
    """As if so much time had gone by."""
    rows(folder, "UPDATE conversations SET lease_until = 0 WHERE answering IS NOT NULL")


# --- takeover at another node ---

_TRANSPORT_S = 0.25  # what a busy client may be late in reading


class Race:
    """A prompt is answered at one node while somebody takes its conversation over at another, at a moment chance has chosen."""

    def __init__(self, load: Load, nodes: Sequence[Node], number: int) -> None:
        random = Random(number)
        self.conversation = f"c{number}"
        self.by_message = number % 2 == 0
        self.figures: Counter[str] = Counter()
        self._load = load
        self._at, self._by = random.sample(list(nodes), 2)
        self._after_s = random.choice((0.0, random.random() * 0.05, random.random() * 0.6))
        self._arrived: list[tuple[float, str]] = []
        self._names: list[str] = []

    async def run(self) -> Counter[str]:
        started = asyncio.Event()
        streaming = asyncio.create_task(self._stream(started))
        await started.wait()
        await asyncio.sleep(self._after_s)
        await self._take_over()
        taken_at = time.monotonic()
        at_takeover = await self._said()
        await streaming
        stored = await self._said()
        shown = "".join(text for _, text in self._arrived)
        self.figures["races"] += 1
        self.figures["stored after the takeover"] += stored != at_takeover
        self.figures["shown but not stored"] += not stored.startswith(shown)
        self.figures["streamed after the takeover"] += sum(at > taken_at + _TRANSPORT_S for at, _ in self._arrived)
        self.figures["without end"] += self._names[-1:] != ["done"]
        self.figures["ended before a word" if not stored else "cut" if len(stored) < _WHOLE else "whole"] += 1
        return self.figures

    async def _stream(self, started: asyncio.Event) -> None:
        body = {"conversation_id": self.conversation, "user_id": "ann", "prompt": "Tell it at length.", "stream": True}
        async for name, data in self._load.stream(self._at, "/conversations", body):
            started.set()
            self._names.append(name)
            if name == "delta":
                self._arrived.append((time.monotonic(), data["text"]))

    async def _take_over(self) -> None:
        if self.by_message:
            body = {"conversation_id": self.conversation, "user_id": "client:eve", "prompt": "I am here."}
            assert await self._load.post(self._by, "/conversations", body) == 201
        else:
            assert await self._load.post(self._by, f"/conversations/{self.conversation}/takeover", {"operator": "eve"}) == 200

    async def _said(self) -> str:
        found = await self._load.get(self._by, f"/conversations/{self.conversation}/messages?embedding=false")
        return "".join(message["content"] for message in found if message["role"] == "assistant")


_WHOLE = len("".join(f"word{number} " for number in range(60)))


@counts(24, 1000)
async def test_no_word_is_shown_or_stored_after_a_takeover_at_another_node(
    tmp_path: Path, count: int, record_property: Record
) -> None:
    with ModelEndpoint().serving() as endpoint, serving_nodes(tmp_path, endpoint, 2) as nodes:
        async with loading(nodes, interception={"mode": "takeover"}) as load:
            found = await at_once(6, (Race(load, nodes, number).run() for number in range(count)))
        figures: Counter[str] = sum(found, Counter())
        record_property("figures", dict(figures))
        assert figures["races"] == count
        wrong = ("stored after the takeover", "shown but not stored", "streamed after the takeover", "without end")
        assert [figures[name] for name in wrong] == [0, 0, 0, 0]
        assert figures["cut"] > count / 5
        assert read_store(tmp_path).disorder() == []


# --- F42: nodes are restarted one after the other ---


class Balanced:
    """Sends each request to the next node that takes connections, and once more, to another, if it was not answered."""

    def __init__(self, load: Load) -> None:
        self.failed: list[str] = []
        self.retried = 0
        self._load = load

    async def ask(self, ask: Ask) -> None:
        if is_answered(told := await self._load.ask(ask)):
            return
        self.retried += 1
        await asyncio.sleep(0.2)
        if not is_answered(again := await self._load.ask(ask, but=told.node)):
            self.failed.append(f"{ask.text}: {again.answered} {again.failure}")

    async def talk(self, number: int, pace: str) -> None:
        """Two at a time in one conversation: one of them waits, often at another node."""
        said = 0
        while not self._load.is_over:
            asks = [
                Ask(
                    chatbot=self._load.chatbot,
                    conversation=f"c{number}",
                    text=f"{pace} prompt {said + each} of {number}",
                    streams=each == 0,
                )
                for each in range(2)
            ]
            await asyncio.gather(*map(self.ask, asks))
            said += 2


MORE_ROUNDS = 4  # at most, until somebody has felt one


async def restart_one_after_the_other(rounds: int, folder: Path, record: Record, *, timeout_s: float) -> None:
    with (
        ModelEndpoint().serving() as endpoint,
        serving_nodes(folder, endpoint, 3, shutdown_timeout_s=str(timeout_s)) as nodes,
    ):
        async with loading(nodes) as load:
            balanced = Balanced(load)
            exits: list[int] = []
            async with asyncio.TaskGroup() as talking:
                for number in range(5):
                    talking.create_task(balanced.talk(number, "slowly" if number % 3 == 0 else "quickly"))
                for place in itertools.chain([*range(3)] * rounds, [*range(3)] * MORE_ROUNDS):
                    if len(exits) >= 3 * rounds and balanced.retried:
                        break  # a restart between two requests is felt by nobody, and shows nothing
                    await load.talked(5)
                    leaving = nodes[place]
                    leaving.signal(signal.SIGTERM)
                    exits.append(await asyncio.to_thread(leaving.process.wait, 60))
                    leaving.end()
                    nodes[place] = Node(folder / f"node{place}", endpoint, store=folder, shutdown_timeout_s=str(timeout_s))
                    await asyncio.to_thread(nodes[place].listens)
                load.is_over = True
        stored = read_store(folder)
        figures = {
            "restarts": len(exits),
            "requests": len(load.told),
            "retried": balanced.retried,
            "failed": len(balanced.failed),
            "told": dict(Counter(str(each.answered.error) for each in load.told)),
            "connections lost": sum(bool(each.failure) for each in load.told),
            "found": str(compared(load, stored)),
        }
        record("figures", figures)
        assert exits == [0] * len(exits) and len(exits) >= 3 * rounds
        assert balanced.retried, "it was felt"
        assert balanced.failed == []
        assert_whole(load, stored)


@pytest.mark.faults
@pytest.mark.parametrize("timeout_s", [30.0, 0.3])
async def test_three_nodes_are_restarted_one_after_the_other_under_load(
    tmp_path: Path, timeout_s: float, record_property: Record
) -> None:
    await restart_one_after_the_other(max(1, ROUNDS // 4), tmp_path, record_property, timeout_s=timeout_s)


async def test_nodes_are_restarted_one_after_the_other(tmp_path: Path, record_property: Record) -> None:
    await restart_one_after_the_other(1, tmp_path, record_property, timeout_s=0.3)


# --- F16: a node stands still ---


async def freeze(conversations: int, folder: Path, record: Record, *, frozen_s: float | None) -> None:
    """`frozen_s`: None spares the wait, and ends the leases."""
    with ModelEndpoint().serving() as endpoint, serving_nodes(folder, endpoint, 2) as nodes:
        async with loading(nodes) as load:
            frozen, _ = nodes
            asks = [
                Ask(chatbot=load.chatbot, conversation=f"c{number}", text=f"{pace} prompt {number}", streams=number % 4 < 2)
                for number in range(conversations)
                for pace in [("held", "mute")[number % 2]]
            ]
            asking = [asyncio.create_task(load.ask(each, frozen)) for each in asks]
            held = [each for each in asks if "held" in each.text]
            await until(lambda: len(rows(folder, "SELECT 1 FROM drafts")) == len(held) and endpoint.calls.total() == len(asks))
            with frozen.stopped():
                began = time.monotonic()
                if frozen_s is None:
                    end_leases(folder)
                endpoint.release("mute")
                await until(lambda: {row["turn"] for row in rows(folder, _TURNS)} == {"failed", "done"}, patience_s=LEASE_S + 60)
                taken_up_s = time.monotonic() - began
                shown = [told.answered.shown for told in load.told]
                endpoint.release("held")
                await asyncio.sleep(max(0.0, (frozen_s or 2.0) - taken_up_s))  # no lease runs out in the second it goes unnoticed
            told = await asyncio.gather(*asking)
            errors = Counter("nothing" if not each.answered.error else each.answered.error for each in told)
            more = sum(each.answered.shown != before for each, before in zip(load.told, shown, strict=True) if each.ask in held)
            stored = read_store(folder)
            replies = Counter(len(stored.replies_to(prompt["id"])) for prompt in stored.prompts)
            figures = {
                "conversations": len(asks),
                "taken up after, s": round(taken_up_s, 1),
                "replies per prompt": dict(replies),
                "errors told": dict(errors),
                "more was shown": more,
            }
            record("figures", figures)
            assert replies == {1: len(asks)}
            assert more == 0
            for each in told:
                if each.answered.prompt_id is None:  # of an answer that is a problem
                    continue
                kept = stored.replies_to(str(each.answered.prompt_id))[0]["content"]
                assert kept.startswith(each.answered.shown), "what was shown is what is stored"
                assert all(text == kept for text in each.answered.stored.values())
            assert errors == {"reply_cut_off": len(held), "nothing": len(asks) - len(held)}
            await asyncio.gather(*(load.ask_until_answered(each) for each in held))
        assert_whole(load, read_store(folder))


_TURNS = "SELECT turn FROM messages WHERE role = 'user'"


@pytest.mark.faults
async def test_a_node_stands_still_for_longer_than_its_leases(tmp_path: Path, record_property: Record) -> None:
    await freeze(50, tmp_path, record_property, frozen_s=60)


async def test_a_node_that_stood_still_finds_its_turns_answered(tmp_path: Path, record_property: Record) -> None:
    await freeze(8, tmp_path, record_property, frozen_s=None)


# --- F19: two prompts at once ---


@counts(10, 500)
async def test_two_prompts_at_once_at_two_nodes(tmp_path: Path, count: int, record_property: Record) -> None:
    with ModelEndpoint().serving() as endpoint, serving_nodes(tmp_path, endpoint, 2) as nodes:
        async with loading(nodes) as load:

            async def pair(number: int) -> None:
                asks = [
                    Ask(chatbot=load.chatbot, conversation=f"c{number}", text=f"{name} of {number}", streams=False)
                    for name in ("one", "two")
                ]
                told = await asyncio.gather(*(load.ask(*each) for each in zip(asks, nodes, strict=True)))
                assert all(map(is_answered, told)), told

            await at_once(8, (pair(number) for number in range(count)))
        stored = read_store(tmp_path)
        seen = interleaved = 0
        by_conversation: dict[str, list[dict[str, object]]] = {}
        for message in stored.messages:
            by_conversation.setdefault(message["conversation_id"], []).append(message)
        for messages in by_conversation.values():
            prompts = [message for message in messages if message["role"] == "user"]
            replies = [message for message in messages if message["role"] == "assistant"]
            interleaved += [reply["in_reply_to"] for reply in replies] != [prompt["id"] for prompt in prompts]
            seen += endpoint.heard[str(prompts[1]["content"])][-2:] == [prompts[0]["content"], replies[0]["content"]]
        answers = sum(message["role"] == "assistant" for message in stored.messages)
        record_property("figures", {"pairs": count, "answers": answers, "second saw the first": seen, "interleaved": interleaved})
        assert (answers, seen, interleaved) == (2 * count, count, 0)
        assert_whole(load, stored)


# --- F37: the same request again, at every node ---


@counts(12, 300)
async def test_a_key_that_is_tried_at_three_nodes_is_one_turn(tmp_path: Path, count: int, record_property: Record) -> None:
    with ModelEndpoint().serving() as endpoint:
        with serving_nodes(tmp_path, endpoint, 3) as nodes:
            async with loading(nodes) as load:
                chatbot = load.chatbot
                asks = [
                    Ask(chatbot=chatbot, conversation=f"c{number % 50}", text=f"prompt {number}", streams=number % 2 == 0)
                    for number in range(count)
                ]

                async def thrice(ask: Ask) -> None:
                    told = await asyncio.gather(*(load.ask(ask, node) for node in nodes))
                    assert all(map(is_answered, told)), told

                await at_once(10, (thrice(each) for each in asks))
                first = load.told
        with serving_nodes(tmp_path, endpoint, 3) as nodes:
            async with loading(nodes) as load:
                load.told = first
                for each in asks:
                    assert is_answered(await load.ask(each))
        stored = read_store(tmp_path)
        replies: dict[str, set[str]] = {told.ask.text: set() for told in load.told}
        for told in load.told:
            replies[told.ask.text] |= told.answered.stored.keys()
        record_property("figures", {"keys": count, "requests": len(load.told), "turns": len(stored.prompts),
                                    "model calls": endpoint.calls.total()})  # fmt: skip
        assert (len(stored.prompts), endpoint.calls.total()) == (count, count)
        assert {len(each) for each in replies.values()} == {1}
        assert_whole(load, stored)


# --- F1 with two nodes ---


async def kill_at(step: str, folder: Path, record: Record, *, waits: bool) -> None:
    """As in test_kill.py; but what was left is taken up by a node that was there all the time."""
    with ModelEndpoint().serving() as endpoint, serving_nodes(folder, endpoint, 1) as nodes:
        killed = Node(folder / "killed", endpoint, store=folder, failpoint=f"{step}@3:kill")
        nodes.append(killed)
        killed.listens()
        async with loading(nodes) as load:
            double = await load.new_chatbot(nodes[0], response={"n": 2})
            conversations = prompts_of(load.chatbot, double)
            before = await load.ask_in_order(conversations, killed)
            assert await asyncio.to_thread(killed.process.wait, 30) == -signal.SIGKILL
            assert killed.log.read_text().count(f"failpoint {step}@3:kill") == 1
            if not waits:
                end_leases(folder)
            began = time.monotonic()
            after = await load.ask_in_order(conversations, nodes[0])
            settled_s = time.monotonic() - began
        asks = {each.text: each for asks in conversations for each in asks}
        stored = read_store(folder)
        figures = Figures(
            step=step,
            fired=1,
            lost=len(lost(before, stored)),
            duplicates=sum(sum(prompt["content"] == text for prompt in stored.prompts) > 1 for text in asks),
            extra_replies=sum(extra(prompt["id"], stored) for prompt in stored.prompts),
            most_calls=max(endpoint.calls.values()),
            drafted=sum(event["type"] == "turn.failed" for event in stored.events),
            recovered=sum(event["type"] == "turn.recovered" for event in stored.events),
            ready_after_s=settled_s,
        )
        record("figures", msgspec.to_builtins(figures))
        assert (figures.lost, figures.duplicates, figures.extra_replies) == (0, 0, 0), lost(before, stored)
        for ask in asks.values():
            was, now = before.get(ask.text, Answered()), after[ask.text]
            assert (now.status, now.error, now.is_ended) == (201, None, True), (ask.text, now)
            assert was.prompt_id in (None, now.prompt_id)
        check_settled(stored, asks)
        assert settled_s < LEASE_S + 15


@pytest.mark.faults
@pytest.mark.parametrize("number", range(max(1, ROUNDS // 5)))
@pytest.mark.parametrize("step", ["S2", "S5", "S6", "S8", "S9"])
async def test_a_node_is_killed_and_another_goes_on(step: str, number: int, tmp_path: Path, record_property: Record) -> None:
    await kill_at(step, tmp_path, record_property, waits=True)


@pytest.mark.parametrize("step", ["S5", "S8"])
async def test_a_node_is_killed(step: str, tmp_path: Path, record_property: Record) -> None:
    await kill_at(step, tmp_path, record_property, waits=False)
