"""What a fault needs around it: a model endpoint that counts, a server as a process, a client that never gives up.

Invariant: nothing here knows what gigachat does inside. The endpoint is in a thread of its own, the client speaks HTTP, and
what is stored is read past the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from tests import stores
from tests.cli.commands import Gigachat, Server

KEY = "a-key-of-the-fault-tests-0123456789"
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "20"))
_PIECES = ("Parcels ", "are ", "sent ", "on ", "Mondays.")
_BETWEEN_S = 0.15  # a slow reply lasts long enough to be kept as a draft: from 250 ms on, within another 250 ms


_LONG = tuple(f"word{number} " for number in range(60))
_BETWEEN_WORDS_S = 0.008
_HOLDS = {"held": 2, "endless": 2, "mute": 0}  # before which piece


class ModelEndpoint:
    """An OpenAI-compatible endpoint. A prompt that says "slowly" is answered so, one that says "at length" with many words;
    "held" and "endless" wait in the middle, and "mute" before the first word, until `release` is called with that word."""

    def __init__(self, *, takes_s: float = 0.0) -> None:
        self.calls: Counter[str] = Counter()  # by prompt
        self.heard: dict[str, list[str]] = {}  # by prompt: what the model was told besides, the last time
        self.url = ""
        self._takes_s = takes_s
        self._loop = asyncio.new_event_loop()
        self._releases = {word: asyncio.Event() for word in _HOLDS}

    def release(self, word: str) -> None:
        """From now on prompts that say this word are answered to the end."""
        self._loop.call_soon_threadsafe(self._releases[word].set)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        prompt = asked["messages"][-1]["content"].rpartition("\n\n")[2]  # behind the context sections
        self.calls[prompt] += 1
        self.heard[prompt] = [message["content"] for message in asked["messages"][:-1]]
        pieces, between_s = (_LONG, _BETWEEN_WORDS_S) if "at length" in prompt else (_PIECES, 0.0)
        between_s = _BETWEEN_S if "slowly" in prompt else between_s
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with suppress(ConnectionError):  # a killed server hangs up
            await response.prepare(request)
            if self._takes_s:
                await asyncio.sleep(self._takes_s)
            for number, piece in enumerate(pieces):
                if number and between_s:
                    await asyncio.sleep(between_s)
                for word, released in self._releases.items():
                    if number == _HOLDS[word] and word in prompt:
                        await released.wait()
                await response.write(b"".join(_chunk(index, piece) for index in range(asked.get("n", 1))))
            ends = [_chunk(index, None) for index in range(asked.get("n", 1))]
            await response.write(b"".join(ends) + b"data: [DONE]\n\n")
        return response

    @contextmanager
    def serving(self) -> Iterator[ModelEndpoint]:
        is_listening, is_over = threading.Event(), asyncio.Event()

        async def serve() -> None:
            app = web.Application()
            app.router.add_post("/v1/chat/completions", self._complete)
            runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            is_listening.set()
            await is_over.wait()
            await runner.cleanup()

        thread = threading.Thread(target=lambda: self._loop.run_until_complete(serve()))
        thread.start()
        try:
            assert is_listening.wait(30)
            yield self
        finally:
            self._loop.call_soon_threadsafe(is_over.set)
            thread.join()
            self._loop.close()


def _chunk(index: int, piece: str | None) -> bytes:
    delta = {} if piece is None else {"content": piece}
    choice = {"index": index, "delta": delta, "finish_reason": "stop" if piece is None else None}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


class Started(msgspec.Struct):
    """A server process and how many seconds it took until it was ready."""

    server: Server
    ready_after_s: float


@contextmanager
def server(data: Path, endpoint: ModelEndpoint, *flags: str, **settings: str) -> Iterator[Started]:
    """`gigachat serve` on that data, once `/readyz` says so."""
    began = time.monotonic()
    gigachat = Gigachat(data, api_key=KEY, model_url=endpoint.url, model="stub", **settings)
    with gigachat.serving(*flags) as running:
        while running.call("/readyz", KEY).status != 200:
            pass
        yield Started(running, time.monotonic() - began)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt that a client wants answered, however often it has to ask."""

    chatbot: str
    conversation: str
    text: str
    streams: bool
    alternatives: int = 1


class Answered(msgspec.Struct):
    """What a client was told by one request."""

    status: int = 0  # 0: it was never told any
    prompt_id: str | None = None
    shown: str = ""  # of all alternatives together
    stored: dict[str, str] = {}  # replies it was told are stored: their text, by id
    error: str | None = None
    is_ended: bool = False  # it was told how it ended
    is_replayed: bool = False


class Client:
    """Sends prompts, each with an `Idempotency-Key` of its own that is the same whenever it is sent again."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def ask(self, ask: Ask, answered: Answered, started: asyncio.Event | None = None) -> None:
        """Fills in what it was told; `started` is set once the prompt is stored, or nothing more will be heard of it.

        Raises `aiohttp.ClientError` when the connection is cut.
        """
        body = {"conversation_id": ask.conversation, "user_id": "ann", "prompt": ask.text, "stream": ask.streams}
        headers = {"Idempotency-Key": f"key of {ask.text}"}
        try:
            async with self._session.post(self._url + ask.chatbot + "/conversations", json=body, headers=headers) as response:
                answered.status = response.status
                answered.is_replayed = "Idempotent-Replayed" in response.headers
                if response.content_type == "text/event-stream":
                    async for name, data in events(response):
                        _note(answered, name, data)
                        if started is not None:
                            started.set()
                elif response.status == 201:
                    _note_stored(answered, *await response.json())
                    answered.is_ended = True
                else:
                    answered.error = (await response.json())["code"]
                    answered.is_ended = True
        finally:
            if started is not None:
                started.set()

    async def say(self, chatbot: str, text: str) -> int:
        """The status of a prompt without a key."""
        body = {"conversation_id": "c1", "user_id": "ann", "prompt": text}
        async with self._session.post(self._url + chatbot + "/conversations", json=body) as response:
            await response.read()
            return response.status

    async def get(self, path: str) -> Any:
        async with self._session.get(self._url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def follow(self, path: str, connected: asyncio.Event) -> list[tuple[str, Any]]:
        """All events of a stream, once it has ended; `connected` is set when it has begun."""
        async with self._session.get(self._url + path, headers={"Accept": "text/event-stream"}) as response:
            connected.set()
            return [each async for each in events(response)]

    async def readiness(self) -> int | None:
        """The status of `/readyz`, asked on a connection of its own; None if nobody listens any more."""
        try:
            async with self._session.get(self._url + "/readyz", headers={"Connection": "close"}) as response:
                return response.status
        except aiohttp.ClientError:
            return None

    async def new_chatbot(self, **properties: Any) -> str:
        async with self._session.post(self._url + "/chatbots", json={"name": "Superbot", **properties}) as response:
            assert response.status == 201
            return f"/chatbots/{(await response.json())['id']}"


@asynccontextmanager
async def client_of(running: Server) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as session:
        yield Client(running.url, session)


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """(name, data) of each event as it comes."""
    name = ""
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def _note(answered: Answered, name: str, data: Any) -> None:
    match name:
        case "start":
            answered.prompt_id = data["prompt"]["id"]
        case "delta":
            answered.shown += data["text"]
        case "message":
            _note_stored(answered, data)
        case "done":
            assert not answered.is_ended
            answered.is_ended = True
        case "error":
            assert not answered.is_ended
            answered.error = data["code"]
            answered.is_ended = True


def _note_stored(answered: Answered, *messages: Any) -> None:
    for message in messages:
        if message["in_reply_to"] is None:
            answered.prompt_id = message["id"]
        else:
            answered.prompt_id = message["in_reply_to"]
            answered.stored[message["id"]] = message["content"]


class Stored(msgspec.Struct):
    """What a store holds."""

    messages: list[dict[str, Any]]
    events: list[dict[str, Any]]
    conversations: list[dict[str, Any]]
    drafts: list[dict[str, Any]]
    idempotency: list[dict[str, Any]]
    damage: list[str]

    @property
    def prompts(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["role"] == "user"]

    def replies_to(self, prompt_id: str) -> list[dict[str, Any]]:
        """Those that nothing replaced."""
        return [each for each in self.messages if each["in_reply_to"] == prompt_id and each["replaced_by"] is None]

    def disorder(self) -> list[str]:
        """Where `seq` has a gap, or time does not go on."""
        found = []
        events, messages = _by_conversation(self.events), _by_conversation(self.messages)
        for conversation in self.conversations:
            which = (conversation["chatbot_id"], conversation["conversation_id"])
            seqs = [event["seq"] for event in events[which]]
            if seqs != list(range(1, conversation["last_seq"] + 1)):
                found.append(f"{which[1]}: events {seqs}, last_seq {conversation['last_seq']}")
            for rows in (events[which], messages[which]):
                times = [row["created_at"] for row in rows]
                if any(later <= earlier for earlier, later in pairwise(times)):
                    found.append(f"{which[1]}: created_at {times}")
        return found


def _by_conversation(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found = defaultdict(list)
    for row in rows:
        found[row["chatbot_id"], row["conversation_id"]].append(row)
    return found


def read_store(data: Path) -> Stored:
    """All that is stored, in the order of each conversation."""

    def rows(table: str) -> list[dict[str, Any]]:
        order = " ORDER BY chatbot_id, conversation_id, seq" if table in ("messages", "events") else ""
        return stores.current().query(data, f"SELECT * FROM {table}{order}")

    return Stored(
        messages=rows("messages"),
        events=rows("events"),
        conversations=rows("conversations"),
        drafts=rows("drafts"),
        idempotency=rows("idempotency"),
        damage=stores.current().damage(data),
    )
