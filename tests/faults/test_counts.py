"""What must never happen, tried often enough to believe it: in short for every run, at full count with `-m faults`.

Every test counts how often what it is about took place, and fails if that was too seldom to prove anything.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from gigachat_server.clock import system_clock
from gigachat_server.errors import ModelInterrupted, ModelRejected
from gigachat_server.models.base import ModelEvent, ModelInput, ReplyEnd, TextDelta
from gigachat_server.models.fake import Pause, ScriptedModel, Step
from gigachat_server.serving.server import raise_open_files_limit
from tests.harness import Api, Reply, gigachat, until
from tests.streams import Seen, prompt, streaming

pytestmark = pytest.mark.slow

_log = logging.getLogger("faults")


def counts(short: int, full: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("count", [short, pytest.param(full, marks=pytest.mark.faults)])


class Talker:
    """Says `words` words, or as many as chance has it, and gives way to others as often as chance has it in between."""

    is_generating = True

    def __init__(self, seed: int = 1, *, words: int = 0) -> None:
        self._random = Random(seed)
        self._words = words
        self.calls = 0
        self.inputs: list[ModelInput] = []

    @property
    def name(self) -> str:
        return "talker"

    async def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        self.calls += 1
        self.inputs.append(model_input)
        for number in range(self._words or self._random.randint(1, 40)):
            for _ in range(self._random.choice((0, 0, 5, 50, 200))):
                await asyncio.sleep(0)
            yield TextDelta(0, f"{number}: to {model_input.messages[-1].content}. ")
        yield ReplyEnd(0)

    async def aclose(self) -> None:
        """Nothing to close."""


async def at_once(most: int, work: Iterable[Awaitable[Any]]) -> list[Any]:
    """Not more than so many at a time."""
    slots = asyncio.Semaphore(most)

    async def one(each: Awaitable[Any]) -> Any:
        async with slots:
            return await each

    return await asyncio.gather(*(one(each) for each in work))


async def all_pages(api: Api, path: str) -> list[dict[str, Any]]:
    found, following = [], f"{path}?limit=100&embedding=false"
    while following:
        page = await api.get(following)
        assert page.status == 200, page.text
        found += page.body
        link = re.fullmatch(r"<(.*)>; rel=\"next\"", page.headers.get("Link", ""))
        following = link[1] if link else ""
    return found


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def yielding(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


# --- 1: takeover ---


class Interleaving:
    """A prompt is answered while somebody takes its conversation over, at a moment that chance has chosen."""

    def __init__(self, api: Api, chatbots: dict[str, str], number: int) -> None:
        self.random = Random(number)
        self.api = api
        self.by_message = self.random.random() < 0.5
        self.chatbot = chatbots["takeover" if self.by_message else "inject"]
        self.conversation = f"c{number}"
        self.path = f"{self.chatbot}/conversations/{self.conversation}"
        self.figures: Counter[str] = Counter()
        self.moment = asyncio.Event()  # so many words of the reply were shown
        self.words = self.random.choice((0, 0, 1, 1, 2, 4, 8, 100))

    async def run(self) -> Counter[str]:
        await self.api.say(self.chatbot, "first", conversation=self.conversation)
        follower = asyncio.create_task(self._follow())
        asked = [asyncio.create_task(self._ask("second", streams=self.random.random() < 0.6))]
        if self.random.random() < 0.3:
            await yielding(self.random.randint(0, 200))
            asked.append(asyncio.create_task(self._ask("third", streams=self.random.random() < 0.5)))
        if self.words:
            await self.moment.wait()
        await yielding(self.random.choice((0, 0, 1, 5, 30, 100, 300)))
        await self._take_over()
        if self.random.random() < 0.4:
            assert (await self.api.post(f"{self.path}/release")).status == 200
            (again,) = await self.api.say(self.chatbot, "fourth", conversation=self.conversation)
            assert again["role"] == "assistant", "after release the chatbot answers"
            self.figures["released"] += 1
        answers = await asyncio.gather(*asked)
        await self.api.say(self.chatbot, "END", conversation=self.conversation, user="client:bob")
        self._check_follower(await follower)
        await self._check_stored(answers)
        self.figures["interleavings"] += 1
        return self.figures

    async def _take_over(self) -> None:
        if self.by_message:
            await self.api.say(self.chatbot, "I am here", conversation=self.conversation, user="client:bob")
        else:
            assert (await self.api.post(f"{self.path}/takeover", {"operator": "bob"})).status == 200

    async def _ask(self, text: str, *, streams: bool) -> tuple[str | None, list[dict[str, Any]]]:
        """What was streamed, or None, and the messages it was answered with."""
        body = prompt(text, conversation=self.conversation)
        if not streams:
            reply = await self.api.post(f"{self.chatbot}/conversations", body)
            assert reply.status == 201, reply.text
            self.moment.set()
            return None, reply.body
        async with streaming(self.api, f"{self.chatbot}/conversations", body) as stream:
            assert stream.status == 201
            while await stream.next() is not None:
                if sum(event.name == "delta" for event in stream.seen) >= self.words:
                    self.moment.set()
            self.moment.set()
            names = [event.name for event in stream.seen]
            assert names[-1] == "done" and sum(name in ("done", "error") for name in names) == 1, names
            return stream.texts(), [event.data for event in stream.seen if event.name == "message"]

    async def _follow(self) -> list[Seen]:
        async with streaming(self.api, f"{self.path}/events?embedding=false") as stream:
            await stream.read_until(lambda e: e.name == "message.created" and e.data["message"]["content"] == "END")
            return stream.seen

    def _check_follower(self, seen: list[Seen]) -> None:
        is_taken = False
        for event in seen:
            is_taken = (is_taken or event.name == "conversation.taken_over") and event.name != "conversation.released"
            self.figures["deltas after a takeover"] += is_taken and event.name == "delta"
        seqs = [event.seq for event in seen if event.name != "delta"]
        assert seqs == list(range(1, len(seqs) + 1))

    async def _check_stored(self, answers: list[tuple[str | None, list[dict[str, Any]]]]) -> None:
        stored = {message["id"]: message for message in await all_pages(self.api, f"{self.path}/messages")}
        is_taken, control = False, {}
        for event in await all_pages(self.api, f"{self.path}/events"):
            is_taken = (is_taken or event["type"] == "conversation.taken_over") and event["type"] != "conversation.released"
            control[event["seq"]] = is_taken
        self.figures["replies while taken over"] += sum(m["role"] == "assistant" and control[m["seq"]] for m in stored.values())
        for shown, (answer,) in answers:
            kept = stored[answer["id"]]
            assert answer["content"] == kept["content"]
            if answer["role"] != "assistant":
                assert answer["turn"] == "intercepted" and not shown
                self.figures["ended before a word"] += 1
                continue
            self.figures["stopped" if kept["status"] == "stopped" else "completed"] += 1
            if shown is not None:
                assert kept["content"].startswith(shown), "no more was shown than is stored"
                self.figures["shown in full"] += shown == kept["content"]
                self.figures["shown in part"] += shown != kept["content"]


@counts(25, 1000)
async def test_1_no_word_of_the_chatbot_after_a_takeover(tmp_path: Path, count: int) -> None:
    async with gigachat(tmp_path, model=Talker()) as api:
        chatbots = {mode: await api.chatbot(interception={"mode": mode}) for mode in ("inject", "takeover")}
        found = await at_once(8, (Interleaving(api, chatbots, number).run() for number in range(count)))
        figures: Counter[str] = sum(found, Counter())
        _log.info("1: %s", dict(figures))
        assert figures["interleavings"] == count
        assert (figures["replies while taken over"], figures["deltas after a takeover"]) == (0, 0)
        for kind in ("stopped", "completed", "ended before a word", "released"):
            assert figures[kind] > count / 20, kind
        await nothing_is_left(api)


async def nothing_is_left(api: Api) -> None:
    async def is_so() -> bool:
        live = api.services.turns._live
        return not (list(live) or live._by_conversation or api.services.events._followers or api.services.turns._tasks)

    await until(is_so)


# --- 2: the same request again ---


@counts(20, 2000)
async def test_2_a_request_that_is_sent_again_does_nothing_again(tmp_path: Path, count: int) -> None:
    model = Talker(words=2)

    async def ask(api: Api, number: int, key: str) -> Reply:
        body = prompt(f"prompt {number}", conversation=f"c{number % 200}")
        headers = {"Idempotency-Key": f"key {number}"}
        reply = await api.post(f"{chatbot}/conversations", body, headers=headers, key=key)
        assert reply.status == 201, reply.text
        return reply

    async def twice(api: Api, number: int) -> list[Reply]:
        if number % 2:
            return list(await asyncio.gather(ask(api, number, api.key), ask(api, number, api.key)))
        return [await ask(api, number, api.key), await ask(api, number, api.key)]

    async with gigachat(tmp_path, model=model) as api:
        chatbot, key = await api.chatbot(), api.key
        first = await at_once(32, (twice(api, number) for number in range(count)))
    async with gigachat(tmp_path, model=model) as api:
        last = await at_once(32, (ask(api, number, key) for number in range(count)))
        stored = [m for c in range(min(200, count)) for m in await all_pages(api, f"{chatbot}/conversations/c{c}/messages")]
    for (one, two), three in zip(first, last, strict=True):
        assert one.text == two.text == three.text
        replayed = [reply.headers.get("Idempotent-Replayed") for reply in (one, two)]
        assert sorted(replayed, key=str) == [None, "true"]
        assert three.headers["Idempotent-Replayed"] == "true"
    turns = sum(message["role"] == "user" for message in stored)
    _log.info("2: %d keys x 3, %d turns, %d messages, %d model calls", count, turns, len(stored), model.calls)
    assert (turns, len(stored), model.calls) == (count, 2 * count, count)


# --- 3: order, and the state as events tell it ---


def reduced(events: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The messages, by id, as whoever follows the events knows them."""
    known: dict[str, dict[str, Any]] = {}
    for event in events:
        for message in (event["message"], event["prompt"]):
            if message is not None:
                known[message["id"]] = message
        for message_id in event["data"].get("message_ids", ()) if event["type"] == "messages.deleted" else ():
            known.pop(message_id, None)
    return known


def dumped(messages: Iterable[dict[str, Any]]) -> str:
    return json.dumps(sorted(messages, key=lambda message: message["seq"]), sort_keys=True)


class Chatter:
    """Somebody who goes on talking in one conversation until so much has happened, and does all that can be done in it."""

    def __init__(self, api: Api, chatbot: str, number: int, events: int) -> None:
        self.random = Random(number)
        self.api = api
        self.chatbot = chatbot
        self.conversation = f"c{number}"
        self.path = f"{chatbot}/conversations/{self.conversation}"
        self.events = events
        self.does: dict[Callable[[], Awaitable[None]], int] = {self.say: 1}
        if number % 4 == 1:
            self.does = {self.say: 20, self.stop: 2, self.retry: 2, self.rate: 2, self.break_off: 2, self.fail: 1}
        elif number % 4 == 2:
            self.does = {self.say: 20, self.take_over: 2, self.release: 3, self.hand_off: 1, self.speak_as_staff: 2}
        elif number % 4 == 3:
            self.does = {self.say: 10, self.say_two: 4, self.stop: 1, self.erase: 1}

    async def run(self) -> None:
        for do in self.does:
            await do()
        while (await self.api.get(self.path)).body["seq"] < self.events:
            for do in self.random.choices(list(self.does), list(self.does.values()), k=10):
                await do()
        await self.api.say(self.chatbot, "END", conversation=self.conversation, user="client:end")

    async def ask(self, text: str, user: str = "ann") -> None:
        body = prompt(text, conversation=self.conversation, user=user)
        assert (await self.api.post(f"{self.chatbot}/conversations?embedding=false", body)).status in (201, 404, 502)

    async def during_a_reply(self, user: str, work: Callable[[], Awaitable[Reply]]) -> None:
        asked = asyncio.create_task(self.ask("talk", user))

        async def is_answering() -> bool:
            return asked.done() or (await self.api.get(self.path)).body["answering"] is not None

        await until(is_answering)
        await yielding(self.random.randint(0, 200))
        assert (await work()).status in (200, 204)
        await asked

    async def say(self) -> None:
        await self.ask("say")

    async def say_two(self) -> None:
        await asyncio.gather(self.ask("one"), self.ask("two", "bob"))

    async def fail(self) -> None:
        await self.ask("fail")

    async def break_off(self) -> None:
        await self.ask("break off")

    async def stop(self) -> None:
        await self.during_a_reply("ann", lambda: self.api.post(f"{self.path}/stop"))

    async def retry(self) -> None:
        reply = await self.api.post(f"{self.path}/messages/{(await self._newest('user'))['id']}/retry")
        assert reply.status in (201, 502), reply.text

    async def rate(self) -> None:
        rating = {"rating": self.random.choice(("up", "down", None))}
        reply = await self.api.call("PUT", f"{self.path}/messages/{(await self._newest('assistant'))['id']}/feedback", rating)
        assert reply.status == 200

    async def take_over(self) -> None:
        await self.during_a_reply("ann", lambda: self.api.post(f"{self.path}/takeover", {"operator": "bob"}))

    async def release(self) -> None:
        assert (await self.api.post(f"{self.path}/release")).status == 200

    async def hand_off(self) -> None:
        assert (await self.api.post(f"{self.path}/handoff")).status == 200

    async def speak_as_staff(self) -> None:
        await self.ask("I am here", "client:bob")

    async def erase(self) -> None:
        """Somebody who said something here, and nowhere else."""
        user = f"only-in-{self.conversation}"
        await self.ask("forget me", user)
        await self.during_a_reply(user, lambda: self.api.call("DELETE", f"{self.chatbot}/users/{user}"))

    async def _newest(self, role: str) -> dict[str, Any]:
        seq = (await self.api.get(self.path)).body["seq"]
        for after in (max(0, seq - 90), 0):
            page = (await self.api.get(f"{self.path}/messages?limit=100&embedding=false&after={after}")).body
            if found := [message for message in page if message["role"] == role]:
                return dict(found[-1])
        raise AssertionError(f"nobody with the role {role} spoke")


def chatting(model_input: ModelInput) -> list[Step]:
    match model_input.messages[-1].content:
        case "fail":
            return [ModelRejected()]
        case "break off":
            return ["Half a", ModelInterrupted()]
        case _:
            return ["Yes, ", "of course."]


class Chatting(Talker):
    """Plays `chatting`, but gives way often where it is to talk."""

    is_generating = True

    async def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        talks = model_input.messages[-1].content == "talk"
        async for event in super().stream(model_input) if talks else ScriptedModel(chatting).stream(model_input):
            yield event
        self.inputs.clear()


@counts(400, 20_000)
async def test_3_order_holds_and_events_tell_all(tmp_path: Path, count: int) -> None:
    chance = Random(3)

    def stepping() -> int:
        return system_clock() + chance.randint(-5_000_000, 5_000_000)

    async def follow(path: str) -> list[dict[str, Any]]:
        async with streaming(api, f"{path}/events?embedding=false") as stream:
            await stream.read_until(lambda e: e.name == "message.created" and (e.data["message"] or {}).get("content") == "END")
            return [event.data for event in stream.seen if event.name != "delta"]

    async with gigachat(tmp_path, model=Chatting(), clock=stepping) as api:
        chatbot = await api.chatbot(response={"memory_size": 2})
        chatters = [Chatter(api, chatbot, number, count * 115 // 2000) for number in range(20)]
        for chatter in chatters:
            await chatter.say()
        following = [asyncio.create_task(follow(chatter.path)) for chatter in chatters]
        await asyncio.gather(*(chatter.run() for chatter in chatters))
        followed = await asyncio.gather(*following)
        figures: Counter[str] = Counter()
        for chatter, live in zip(chatters, followed, strict=True):
            history = await all_pages(api, f"{chatter.path}/messages")
            paged = await all_pages(api, f"{chatter.path}/events")
            times = [message["created_at"] for message in history]
            figures["messages"] += len(history)
            figures["events"] += len(paged)
            figures["order violations"] += sum(one > two for one, two in itertools.pairwise(times))
            figures["equal timestamps"] += len(times) - len(set(times))
            for seen in live, paged:
                figures["gaps"] += [event["seq"] for event in seen] != list(range(1, len(paged) + 1))
            figures["rebuilt otherwise"] += dumped(reduced(live).values()) != dumped(history)
            figures["rebuilt otherwise"] += dumped(reduced(paged).values()) != dumped(history)
            figures.update(event["type"] for event in paged)
        _log.info("3: %s", dict(figures))
        assert figures["messages"] >= count
        assert [figures[name] for name in ("order violations", "equal timestamps", "gaps", "rebuilt otherwise")] == [0] * 4
        for kind in ("turn.stopped", "message.replaced", "message.feedback", "turn.failed", "turn.intercepted", "turn.started"):
            assert figures[kind], kind
        for kind in ("conversation.taken_over", "conversation.released", "handoff.requested", "messages.deleted"):
            assert figures[kind], kind
        await nothing_is_left(api)


# --- 4: callers who go away ---


class Leaving:
    """A caller who goes away at a moment that chance has chosen."""

    def __init__(self, api: Api, chatbot: str, number: int, model: Talker) -> None:
        self.random = Random(number)
        self.api = api
        self.chatbot = chatbot
        self.number = number
        self.model = model
        self.kind = ("before the answer", "mid-stream", "half-closed")[number % 3]

    async def run(self) -> str:
        body = prompt(f"prompt {self.number}", conversation=f"c{self.number}", stream=self.kind != "before the answer")
        raw = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.api.url.rpartition(":")[2]))
        head = [f"POST {self.chatbot}/conversations HTTP/1.1", "Host: x", f"Authorization: Bearer {self.api.key}"]
        head += ["Content-Type: application/json", f"Content-Length: {len(raw)}", "", ""]
        writer.write("\r\n".join(head).encode() + raw)
        await writer.drain()
        if self.kind == "before the answer":
            await until(self._was_called)
            writer.transport.abort()
        else:
            await reader.readuntil(b"event: start")
            if self.random.random() < 0.7:
                await reader.read(self.random.randint(1, 2000))
            if self.kind == "half-closed":
                writer.write_eof()
                await yielding(self.random.randint(0, 100))
                writer.close()
            else:
                writer.transport.abort()
        return self.kind

    async def _was_called(self) -> bool:
        return any(each.messages[-1].content == f"prompt {self.number}" for each in self.model.inputs[-100:])


@counts(30, 1000)
async def test_4_callers_who_go_away_find_their_reply(tmp_path: Path, count: int) -> None:
    model = Talker(words=8)
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello", conversation="warm")
        model.calls = 0
        tasks, files = len(asyncio.all_tasks()), open_files()
        kinds = Counter(await at_once(20, (Leaving(api, chatbot, number, model).run() for number in range(count))))
        await nothing_is_left(api)
        stored = [await api.messages(chatbot, f"c{number}") for number in range(count)]
        whole = sum([m["role"] for m in each] == ["user", "assistant"] and each[1]["status"] == "completed" for each in stored)

        async def is_as_before() -> bool:
            return abs(len(asyncio.all_tasks()) - tasks) <= 5 and abs(open_files() - files) <= 5

        await until(is_as_before)
        _log.info("4: %s, %d stored, %d model calls", dict(kinds), whole, model.calls)
        _log.info("4: tasks and files before %s, after %s", (tasks, files), (len(asyncio.all_tasks()), open_files()))
        assert (whole, model.calls, sum(kinds.values()), len(kinds)) == (count, count, count, 3)


# --- 5: many streams ---


@counts(40, 500)
async def test_5_streams_at_once_all_end_once(tmp_path: Path, count: int) -> None:
    raise_open_files_limit()
    pause = Pause()
    started: set[int] = set()

    async def stream(number: int) -> list[str]:
        async with streaming(api, f"{chatbot}/conversations", prompt(conversation=f"c{number}"), session=session) as one:
            await one.read_until(lambda e: e.name == "delta")
            started.add(number)
            if len(started) == count:
                pause.resume()
            await one.read_all()
            assert one.texts() == "Hello you"
            return [event.name for event in one.seen]

    async with (
        gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo ", "you"])) as api,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        chatbot = await api.chatbot()
        found = await asyncio.gather(*(stream(number) for number in range(count)))
        ends = Counter(sum(name in ("done", "error") for name in names) for names in found)
        _log.info("5: %d streams open at once, terminal events in each: %s", len(started), dict(ends))
        assert (ends, {names[-1] for names in found}) == ({1: count}, {"done"})
        await nothing_is_left(api)


# --- 6: staff speaks while the chatbot does ---


@counts(10, 200)
async def test_6_staff_is_heard_at_once_while_the_chatbot_speaks(tmp_path: Path, count: int) -> None:
    pauses = [Pause() for _ in range(count)]

    def script(model_input: ModelInput) -> list[Step]:
        return ["Just a ", pauses[int(model_input.messages[-1].content)], "moment."]

    took_s = []
    figures: Counter[str] = Counter()
    model = ScriptedModel(script)
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        for number, pause in enumerate(pauses):
            conversation = f"c{number}"
            asked = asyncio.create_task(api.say(chatbot, str(number), conversation=conversation))
            await pause.reached.wait()
            began_s = time.perf_counter()
            (said,) = await api.say(chatbot, "I am here", conversation=conversation, user="client:bob")
            took_s.append(time.perf_counter() - began_s)
            assert not asked.done()
            pause.resume()
            (reply,) = await asked
            stored = await api.messages(chatbot, conversation)
            figures["replies to staff"] += sum(m["in_reply_to"] == said["id"] for m in stored)
            figures["order violations"] += [m["role"] for m in stored] != ["user", "operator", "assistant"]
            figures["cut short"] += reply["content"] != "Just a moment."
        p99_ms = sorted(took_s)[int(len(took_s) * 0.99) - 1] * 1000
        _log.info("6: %d times, p99 %.1f ms, %s, %d model calls", count, p99_ms, dict(figures), len(model.calls))
        assert (p99_ms < 200, len(model.calls), +figures) == (True, count, Counter())


# --- 7: prompts at once ---


@counts(15, 500)
async def test_7_prompts_at_once_are_answered_one_after_the_other(tmp_path: Path, count: int) -> None:
    model = Talker(words=2)
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()

        async def pair(number: int) -> int:
            ask = [api.say(chatbot, f"{name} of {number}", conversation=f"c{number}") for name in ("one", "two")]
            await asyncio.gather(*ask)
            first, *_ = stored = await api.messages(chatbot, f"c{number}")
            prompts = [m for m in stored if m["role"] == "user"]
            replies = [m for m in stored if m["role"] == "assistant"]
            assert [m["in_reply_to"] for m in replies] == [m["id"] for m in prompts], "in the order they came"
            assert first is prompts[0] and len(stored) == 4
            heard = next(each for each in model.inputs if each.messages[-1].content == prompts[1]["content"])
            return int(replies[0]["content"] in [message.content for message in heard.messages])

        seen = sum(await at_once(8, (pair(number) for number in range(count))))
        _log.info("7: %d pairs, the second saw the first's answer %d times, %d model calls", count, seen, model.calls)
        assert (seen, model.calls) == (count, 2 * count)


async def test_7_more_prompts_than_may_wait_are_refused_unstored(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel([pause, "Yes."])) as api:
        chatbot = await api.chatbot()
        refused: list[Reply] = []

        async def ask(number: int) -> Reply:
            reply = await api.post(f"{chatbot}/conversations", prompt(f"prompt {number}"))
            if reply.status == 409:
                refused.append(reply)
                if len(refused) == 41:
                    pause.resume()
            return reply

        statuses = Counter([reply.status for reply in await asyncio.gather(*(ask(number) for number in range(50)))])
        stored = Counter(message["role"] for message in await api.messages(chatbot))
        _log.info("7: 50 at once: %s, stored %s", dict(statuses), dict(stored))
        assert {reply.code for reply in refused} == {"conversation_busy"}
        assert (statuses, stored) == ({201: 9, 409: 41}, {"user": 9, "assistant": 9})
