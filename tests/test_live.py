"""Events, read and followed: nothing is missed and nothing comes twice, wherever a stream was left and taken up again."""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gigachat_server.access.principal import local_operator
from gigachat_server.api import sse
from gigachat_server.chat import feed
from gigachat_server.chat.answers.speech import Speech
from gigachat_server.chat.turns.progress import Turn
from gigachat_server.chat.turns.reply import replies
from gigachat_server.edge import cursors
from gigachat_server.errors import StorageUnavailable
from gigachat_server.models.base import ModelInput, ReplyEnd, TextDelta
from gigachat_server.models.fake import Pause, ScriptedModel, Step
from gigachat_server.records import Event
from tests.harness import Api, gigachat, until
from tests.streams import Seen, Stream, prompt, streaming

EVENTS = "/conversations/c1/events"
ENDINGS = ("turn.stopped", "turn.intercepted", "turn.interrupted", "turn.failed", "conversation.taken_over")


class Truth(msgspec.Struct):
    """What a follower from the beginning saw: where each place is that it was given an id for."""

    last_seq: int
    turns: list[tuple[int, list[tuple[str, int, str]]]]  # where each began, and its words by character
    places: list[tuple[str, int, int]]  # the id; behind which event; behind how many characters of the turn then running


def words(seen: list[Seen]) -> list[tuple[str, int, str]]:
    """Every character that was streamed: (message_id, offset, character)."""
    return [
        (event.data["message_id"], event.data["offset"] + i, character)
        for event in seen
        if event.name == "delta"
        for i, character in enumerate(event.data["text"])
    ]


def truth_of(seen: list[Seen], started: list[int]) -> Truth:
    """`started` are the seqs at which turns began."""
    truth = Truth(0, [], [("0", 0, 0)])
    for event in seen:
        if event.name == "delta":
            truth.turns[-1][1].extend(words([event]))
        else:
            truth.last_seq = event.seq
            if event.seq in started:
                truth.turns.append((event.seq, []))
        assert event.id is not None
        truth.places.append((event.id, truth.last_seq, len(truth.turns[-1][1])))
    for number, (start, said) in enumerate(truth.turns):
        following = truth.turns[number + 1][0] if number + 1 < len(truth.turns) else truth.last_seq + 1
        truth.places += [
            (f"{seq}.{position}", seq, position) for seq in range(start, following) for position in range(len(said) + 1)
        ]
    return truth


async def check_every_place(api: Api, path: str, truth: Truth, *, is_running: bool) -> AsyncExitStack:
    """Take the stream up again at every place there is, while the last turn is held; the streams stay open."""
    start, said = truth.turns[-1]
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(streaming(api, path, after=place)) for place, _, _ in truth.places]
        for stream, (place, seq, position) in zip(streams, truth.places, strict=True):
            rest = said[position:] if seq >= start else said
            rest = rest if is_running else []
            while len(words(stream.seen)) < len(rest) or (seq < truth.last_seq and not _has(stream, truth.last_seq)):
                assert await stream.next() is not None
            assert words(stream.seen) == rest, place
            assert [e.seq for e in stream.seen if e.seq] == list(range(seq + 1, truth.last_seq + 1)), place
        return stack.pop_all()
    raise AssertionError


def _has(stream: Stream, seq: int) -> bool:
    return any(event.seq == seq for event in stream.seen)


def check_order(seen: list[Seen]) -> None:
    """Deltas of a reply follow each other without a gap, and none comes after the event that ended its turn."""
    reached: dict[str, int] = {}
    ended: set[str] = set()
    for event in seen:
        if event.name == "delta":
            message_id = event.data["message_id"]
            assert message_id not in ended
            assert event.data["offset"] == reached.get(message_id, event.data["offset"])
            reached[message_id] = event.data["offset"] + len(event.data["text"])
        elif event.name in ENDINGS or (event.data["message"] or {}).get("in_reply_to"):
            ended |= reached.keys()


@asynccontextmanager
async def asking(api: Api, chatbot: str, text: str = "Hello", **more: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """A prompt on its way while the block runs; it is answered at its end."""
    asked = asyncio.create_task(api.say(chatbot, text, **more))
    yield asked
    await asked


async def nobody_follows(api: Api) -> None:
    """Nothing is kept of streams that ended."""

    async def is_so() -> bool:
        return not api.services.events._followers and not list(api.services.turns._live)

    await until(is_so)
    assert not api.services.turns._live._by_conversation


# --- pages ---


async def test_events_are_listed_in_pages_with_the_messages_they_name(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "Hello")
        await api.call("PUT", f"{chatbot}/conversations/c1/messages/{reply['id']}/feedback", {"rating": "up"})
        path, found = f"{chatbot}{EVENTS}?limit=2", []
        while path:
            page = await api.get(path)
            assert page.status == 200 and page.headers["Content-Type"] == "application/json"
            found += page.body
            link = re.fullmatch(r"<(.*)>; rel=\"next\"", page.headers.get("Link", ""))
            path = link[1] if link else ""
        assert [(e["seq"], e["type"]) for e in found] == [(1, "message.created"), (2, "message.created"), (3, "message.feedback")]
        asked, answered = await api.messages(chatbot)
        assert [(e["message"], e["prompt"]) for e in found] == [(asked, None), (answered, asked), (answered, None)]
        assert [e["data"].get("message_id") for e in found] == [asked["id"], answered["id"], answered["id"]]
        assert {e["conversation_id"] for e in found} == {"c1"}
        async with streaming(api, f"{chatbot}{EVENTS}") as stream:
            assert [e.data for e in await stream.read_to(3)] == found, "followed and listed, an event is the same"
            assert [e.id for e in stream.seen] == ["1", "2", "3"]
            assert [e.name for e in stream.seen] == [e["type"] for e in found]


async def test_events_of_what_is_foreign_or_missing_look_the_same(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, other = await api.chatbot(), await api.chatbot()
        await api.say(chatbot, "Hello")
        stranger = await api.services.key_ring.ensure_account("stranger")
        _, key = await api.services.key_ring.create(stranger.id, "theirs")
        for accept in ("application/json", "text/event-stream"):
            headers = {"Accept": accept, "X-Request-Id": "same"}
            no_chatbot = [
                await api.get(f"{chatbot}{EVENTS}", headers=headers, key=key),
                await api.get(f"{chatbot}/events", headers=headers, key=key),
                await api.get(f"/chatbots/{'0' * 8}-0000-7000-8000-{'0' * 12}/events", headers=headers),
            ]
            no_conversation = [
                await api.get(f"{other}{EVENTS}", headers=headers),
                await api.get(f"{chatbot}/conversations/c2/events", headers=headers),
            ]
            for missing in (no_chatbot, no_conversation):
                assert {(reply.status, reply.code) for reply in missing} == {(404, "not_found")}
                assert len({str({**reply.body, "instance": ""}) for reply in missing}) == 1


async def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """One that is not there yet, too: followers of a conversation that was deleted and made anew would wait for ever."""
    malformed = ["-1", "1.2.3", "1.-2", "x", "", ".5", "1e3", " 1 2", "\u0663", "9" * 19, "1." + "9" * 19]
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        for place in [*malformed, "3", "4.7", "999999999999999999", "999999999999999999.5"]:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": place}
            reply = await api.get(f"{chatbot}{EVENTS}", headers=headers)
            assert (reply.status, reply.fields) == (422, {"Last-Event-ID"}), place
        for cursor in "", "x", "!!!", "ü", "a" * 400, "-1":
            assert (await api.get(f"{chatbot}/events", headers={"Last-Event-ID": cursor})).status == 422, cursor


async def test_more_characters_than_were_said_are_none(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        async with asking(api, chatbot):
            await pause.reached.wait()
            async with streaming(api, f"{chatbot}{EVENTS}", after="1.99999999") as stream:
                await stream.read_until(lambda e: stream.texts() == "Hel")
                pause.resume()
                await stream.read_to(2)
        check_order(stream.seen)


# --- going on ---


def two_turns(first: Pause, second: Pause, third: Pause) -> ScriptedModel:
    def script(model_input: ModelInput) -> list[Step]:
        if model_input.messages[-1].content != "Hello":
            return ["And ", third, "more"]
        return [
            TextDelta(0, "Hel🦄"),
            TextDelta(1, "Sa"),
            TextDelta(0, "l"),
            first,
            TextDelta(0, "o "),
            TextDelta(1, "lut"),
            second,
            " end",
        ]

    return ScriptedModel(script)


async def end_turn(api: Api, chatbot: str, ending: str, second: Pause) -> None:
    """Have the first turn end this way, and the conversation open to a second."""
    conversation = f"{chatbot}/conversations/c1"
    if ending == "stopped":
        assert (await api.post(f"{conversation}/stop")).status == 200
    elif ending == "taken over":
        assert (await api.post(f"{conversation}/takeover", {"operator": "bob"})).status == 200
        assert (await api.post(f"{conversation}/release")).status == 200
    else:
        second.resume()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["done", "queued", "stopped", "taken over"])
async def test_a_stream_goes_on_from_every_place(tmp_path: Path, ending: str) -> None:
    first, second, third = Pause(), Pause(), Pause()
    async with gigachat(tmp_path, model=two_turns(first, second, third)) as api, AsyncExitStack() as stack:
        chatbot = await api.chatbot(response={"n": 2})
        path = f"{chatbot}{EVENTS}"
        asked = [asyncio.create_task(api.say(chatbot, "Hello"))]
        await first.reached.wait()
        always = await stack.enter_async_context(streaming(api, path))
        await always.read_until(lambda e: len(always.texts()) == 7)
        await api.say(chatbot, "I see you.", user="client:bob")
        if ending == "queued":
            asked.append(asyncio.create_task(api.say(chatbot, "Go on")))
        await always.read_to(1 + len(asked))
        first.resume()
        await always.read_until(lambda e: len(always.texts()) == 12)
        truth = truth_of(always.seen, [1])
        await stack.enter_async_context(await check_every_place(api, path, truth, is_running=True))

        await end_turn(api, chatbot, ending, second)
        await asked[0]
        if ending != "queued":
            asked.append(asyncio.create_task(api.say(chatbot, "Go on")))
        await third.reached.wait()
        spoken = len(always.texts())
        started = (await api.get(path)).body[-1]["seq"]
        await always.read_until(lambda e: always.texts()[spoken:].endswith("And And "))
        truth = truth_of(always.seen, [1, started])
        streams = await check_every_place(api, path, truth, is_running=True)
        await stack.enter_async_context(streams)
        third.resume()
        await asked[1]
        (said,) = await api.say(chatbot, "That is all.", user="client:bob")
        await always.read_to(said["seq"])
        check_order(always.seen)
        await stack.enter_async_context(await check_every_place(api, path, truth_of(always.seen, [1, started]), is_running=False))
        stored = {message["id"]: message["content"] for message in await api.messages(chatbot)}
        for message_id, content in stored.items():
            assert content.startswith(always.text(message_id))
        await stack.aclose()
        await nobody_follows(api)


async def test_a_turn_s_own_stream_is_taken_up_again_as_events(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", "lo ", pause, "you"])) as api:
        chatbot = await api.chatbot()
        async with streaming(api, f"{chatbot}/conversations", prompt()) as posted:
            await posted.read_until(lambda e: posted.texts() == "Hello ")
            places = [event.id for event in posted.seen]
            assert places[0] == "1" and places[-1] == "1.6"
            for place, text in ("1", "Hello "), ("1.2", "llo "), (places[-1], ""):
                async with streaming(api, f"{chatbot}{EVENTS}", after=place) as stream:
                    while stream.texts() != text:
                        assert await stream.next() is not None
                    assert len(words(stream.seen)) == len(text)
            pause.resume()
            await posted.read_all()
            assert [(e.name, e.id) for e in posted.seen[-3:]] == [("delta", "1.9"), ("message", "2"), ("done", None)]
            stored = await api.messages(chatbot)
            assert posted.texts() == stored[1]["content"] == "Hello you"


async def test_prompts_that_are_answered_together_are_followed_like_one(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Both ", pause, "of you"])) as api, AsyncExitStack() as stack:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 500})
        path = f"{chatbot}{EVENTS}"
        asked = [await stack.enter_async_context(streaming(api, f"{chatbot}/conversations", prompt("one")))]
        always = await stack.enter_async_context(streaming(api, path))
        await always.read_to(1)
        asked.append(await stack.enter_async_context(streaming(api, f"{chatbot}/conversations", prompt("two"))))
        await pause.reached.wait()
        await always.read_until(lambda e: always.texts() == "Both ")
        for each in asked:
            await each.read_until(lambda e, each=each: each.texts() == "Both ")  # type: ignore[misc]
            async with streaming(api, path, after=each.seen[-1].id) as stream:
                pause_position = int(str(each.seen[-1].id).partition(".")[2])
                assert pause_position == 5
                await api.say(chatbot, "Look", user="client:bob")
                await stream.read_until(lambda e: e.data["message"] is not None and e.data["message"]["content"] == "Look")
                assert stream.texts() == "", "its words were shown before"
        pause.resume()
        answers = [(await each.read_all())[-2].data for each in asked]
        assert answers[0] == answers[1]
        assert [each.texts() for each in asked] == ["Both of you"] * 2


async def test_a_stream_goes_on_after_a_restart(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        async with streaming(api, f"{chatbot}/conversations", prompt()) as posted:
            await posted.read_until(lambda e: posted.texts() == "Hel")
            await api.services.turns.drain(0)
            await posted.read_all()
            assert posted.seen[-1].data["code"] == "shutting_down"
    for place in "1", "1.2", "1.3":
        async with gigachat(tmp_path) as api, streaming(api, f"{chatbot}{EVENTS}", after=place) as stream:
            await stream.read_to(3)
            assert [(e.id, e.name) for e in stream.seen] == [("2", "message.created"), ("3", "turn.failed")]
            assert stream.seen[0].data["message"]["content"] == "Hel"


async def test_a_retry_is_followed_from_its_first_word(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["First try."], ["Next ", pause, "try."])) as api:
        chatbot = await api.chatbot()
        (first,) = await api.say(chatbot, "Hello")
        async with streaming(api, f"{chatbot}{EVENTS}", after="1") as stream:
            await stream.read_to(2)
            path = f"{chatbot}/conversations/c1/messages/{first['id']}/retry"
            async with streaming(api, path, {}) as retried:
                await retried.read_until(lambda e: retried.texts() == "Next ")
                await stream.read_until(lambda e: stream.texts() == "Next ")
                assert retried.seen[-1].id == stream.seen[-1].id == "3.5"
                pause.resume()
                assert (await retried.read_all())[-1].name == "done"
            await stream.read_until(lambda e: e.name == "message.replaced")
            assert stream.seen[-1].data["message"]["replaced_by"] == retried.seen[-2].data["id"]
        check_order(stream.seen)


async def test_no_word_comes_after_the_end_was_seen_though_the_turn_does_not_know_yet(tmp_path: Path) -> None:
    """The store is ahead of this process for as long as it takes to tell the turn that it is stored."""
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        async with asking(api, chatbot):
            await pause.reached.wait()
            (turn,) = turns = list(api.services.turns._live)
            listener = feed._Listener(feed.Place(1, 1), asyncio.Event())
            listener.listen(turns)
            assert listener.position == 1
            ended = Event(turn.chatbot_id, "c1", 2, "message.created", {"message_id": "x", "prompt_id": turn.prompt_id}, 1)
            listener.see(ended)
            listener.listen(turns)
            assert (turn.is_running, listener.hear(), listener.position, turn.speech._watchers) == (True, None, 0, set())
            listener.see(msgspec.structs.replace(ended, seq=3, type="turn.started"))
            listener.listen(turns)
            assert listener.hear() is not None, "a retry is heard again"
            listener.close()
            pause.resume()


async def test_words_come_once_whoever_else_speaks_meanwhile(tmp_path: Path) -> None:
    """The place behind an event that came in the middle of a reply is in the middle of that reply."""
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        async with asking(api, chatbot):
            await pause.reached.wait()
            async with streaming(api, f"{chatbot}{EVENTS}") as stream:
                await stream.read_until(lambda e: stream.texts() == "Hel")
                await api.say(chatbot, "Me too", user="client:bob")
                place = (await stream.read_to(2))[-1].id
            async with streaming(api, f"{chatbot}{EVENTS}", after=place) as stream:
                await api.say(chatbot, "And me", user="client:bob")
                await stream.read_to(3)
                assert stream.texts() == ""
                pause.resume()
                await stream.read_to(4)
                assert stream.texts() in ("", "lo")
        check_order(stream.seen)


# --- how streams end ---


async def test_followers_of_a_deleted_conversation_are_told(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        async with streaming(api, f"{chatbot}{EVENTS}") as stream:
            await stream.read_to(2)
            assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
            last = (await stream.read_all())[-1]
            assert (last.name, last.data["status"], last.data["code"]) == ("error", 404, "not_found")
        await nobody_follows(api)


async def test_followers_of_a_conversation_that_is_made_anew_are_told(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for _ in range(10):
            await api.say(chatbot, "Hello")
            async with streaming(api, f"{chatbot}{EVENTS}", after="1") as stream:
                await stream.read_to(2)
                deleted = asyncio.create_task(api.call("DELETE", f"{chatbot}/conversations/c1"))
                again = [asyncio.create_task(api.post(f"{chatbot}/conversations", prompt("Hello again"))) for _ in range(3)]
                assert (await deleted).status == 204
                # Whoever was in the old one still goes with it.
                assert {reply.status for reply in await asyncio.gather(*again)} <= {201, 404}
                await api.say(chatbot, "Hello again")
                assert (await stream.read_all())[-1].data["code"] == "not_found"
            await api.call("DELETE", f"{chatbot}/conversations/c1")


async def test_words_of_a_deleted_conversation_are_not_heard_in_its_successor(tmp_path: Path) -> None:
    pause = Pause()

    def script(model_input: ModelInput) -> list[Step]:
        return ["Ann's secret", pause, "!"] if model_input.messages[-1].content == "Hello" else ["Hi Bob."]

    async with gigachat(tmp_path, model=ScriptedModel(script)) as api:
        chatbot = await api.chatbot()
        asked = asyncio.create_task(api.post(f"{chatbot}/conversations", prompt()))
        await pause.reached.wait()
        assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
        assert (await asked).status == 404, "who asked is told at once"
        await api.say(chatbot, "Anybody?", user="client:carol")
        async with streaming(api, f"{chatbot}{EVENTS}") as stream:
            await stream.read_to(1)
            await api.say(chatbot, "I am Bob", user="bob")
            await stream.read_to(3)
            assert "secret" not in stream.texts()
        pause.resume()
        await nobody_follows(api)


async def test_erasing_a_user_whose_prompt_is_answered_lets_the_others_go_on(tmp_path: Path) -> None:
    pause = Pause()

    def script(model_input: ModelInput) -> list[Step]:
        return ["Dear Ann", pause, "!"] if model_input.messages[-1].content == "Hello" else ["Hi Bob."]

    async with gigachat(tmp_path, model=ScriptedModel(script)) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "I am Bob", user="bob")
        asked = asyncio.create_task(api.post(f"{chatbot}/conversations", prompt()))
        await pause.reached.wait()
        waiting = asyncio.create_task(api.say(chatbot, "Bob again", user="bob"))
        async with streaming(api, f"{chatbot}{EVENTS}") as stream:
            await stream.read_until(lambda e: stream.texts() == "Dear Ann" and len(stream.seen) >= 5)
            ours = {m["id"] for m in await api.messages(chatbot) if m["user_id"] == "ann"}
            assert (await api.call("DELETE", f"{chatbot}/users/ann")).status == 204
            assert (await asked).status == 404
            assert (await waiting)[0]["content"] == "Hi Bob."
            await stream.read_until(lambda e: e.name == "messages.deleted")
            assert set(stream.seen[-1].data["data"]["message_ids"]) == ours
            (last,) = await api.say(chatbot, "That is all.", user="client:bob")
            await stream.read_to(last["seq"])
            assert stream.texts().removeprefix("Dear Ann") in ("", "Hi Bob.")
        pause.resume()
        assert {m["user_id"] for m in await api.messages(chatbot)} == {"bob", "client:bob"}
        await nobody_follows(api)


async def test_erasing_a_user_ends_the_streams_of_their_own_conversation(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello", user="ann")
        async with streaming(api, f"{chatbot}{EVENTS}") as stream:
            await stream.read_to(2)
            assert (await api.call("DELETE", f"{chatbot}/users/ann")).status == 204
            assert (await stream.read_all())[-1].data["code"] == "not_found"


async def test_followers_of_a_deleted_chatbot_are_told(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        async with streaming(api, f"{chatbot}{EVENTS}") as one, streaming(api, f"{chatbot}/events") as all_of_it:
            await one.read_to(2)
            assert (await api.call("DELETE", chatbot)).status == 204
            for stream in one, all_of_it:
                assert (await stream.read_all())[-1].data["code"] == "not_found"
        await nobody_follows(api)


@pytest.mark.parametrize("of", [EVENTS, "/events"])
async def test_a_revoked_key_follows_nothing_any_more(tmp_path: Path, of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.05)
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        made, key = await api.services.key_ring.create(api.services.account.id, "lost")
        async with streaming(api, f"{chatbot}{of}", key=key) as stream, streaming(api, f"{chatbot}{of}") as other:
            await stream.ping()
            await api.services.key_ring.revoke(api.services.account.id, made.id)
            last = (await stream.read_all())[-1]
            assert (last.name, last.data["status"], last.data["code"]) == ("error", 401, "unauthenticated")
            await api.say(chatbot, "Still there?")
            await other.read_until(lambda e: e.name == "message.created")


@pytest.mark.parametrize("of", [EVENTS, "/events"])
async def test_followers_are_told_of_the_shutdown(tmp_path: Path, of: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        async with streaming(api, f"{chatbot}{of}") as stream:
            await stream.ping()
            api.services.feed.close()
            last = (await stream.read_all())[-1]
            assert (last.name, last.data["status"], last.data["code"]) == ("error", 503, "shutting_down")
        await nobody_follows(api)


async def test_streams_have_the_headers_that_proxies_need_and_ping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.05)
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Staff", user="client:bob")
        async with (
            streaming(api, f"{chatbot}{EVENTS}", after="1") as one,
            streaming(api, f"{chatbot}/events") as all_of_it,
            streaming(api, f"{chatbot}/conversations", prompt()) as turn,
        ):
            assert (one.status, all_of_it.status, turn.status) == (200, 200, 201)
            for stream in one, all_of_it, turn:
                assert stream.headers["Content-Type"].startswith("text/event-stream")
                assert stream.headers["Cache-Control"] == "no-store"
                assert stream.headers["X-Accel-Buffering"] == "no"
                assert "Content-Encoding" not in stream.headers
                assert "Content-Length" not in stream.headers
            await turn.read_until(lambda e: e.name == "delta")
            await one.read_until(lambda e: e.name == "delta")
            await all_of_it.read_until(lambda e: e.seq == 2)
            for stream in one, all_of_it, turn:
                before = stream.pings
                await stream.ping()
                await stream.ping()
                assert stream.pings >= before + 2
            pause.resume()
            await turn.read_all()
        await nobody_follows(api)


async def test_head_of_a_stream_is_its_head_alone(tmp_path: Path) -> None:
    """One that never ended would hold up whatever its connection is used for next."""
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        for path in f"{chatbot}{EVENTS}", f"{chatbot}/events":
            reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
            for method in "HEAD", "GET":
                target = path if method == "HEAD" else "/livez"
                head = [f"{method} {target} HTTP/1.1", "Host: x", f"Authorization: Bearer {api.key}", "Accept: text/event-stream"]
                writer.write("\r\n".join([*head, "", ""]).encode())
                status = await reader.readuntil(b"\r\n\r\n")
                assert status.startswith(b"HTTP/1.1 200"), status
            writer.close()
            await writer.wait_closed()
        await nobody_follows(api)


# --- a turn's watchers ---


async def test_a_turn_that_begins_while_its_conversation_is_frozen_is_frozen_too(tmp_path: Path) -> None:
    """After a restart, waiting prompts have no turn here before they are handed the lease."""
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel([pause, "Hi."])) as api:
        chatbot = await api.chatbot()
        async with asking(api, chatbot):
            await pause.reached.wait()
            live = api.services.turns._live
            (turn,) = live
            resumed = Turn(turn.chatbot_id, "c1", "waiting", Speech(1))
            with live.frozen(turn.chatbot_id, "c1") as frozen:
                live.add(resumed)
                resumed.speech.say(TextDelta(0, "Words"))
                assert resumed.speech.after(0) is None
                assert (frozen.find(turn.prompt_id), frozen.find("waiting")) == (turn, resumed)
            assert resumed.speech.after(0) is not None
            assert not live._freezes
            live.discard(resumed)
            pause.resume()


async def test_nothing_is_kept_of_those_who_watched(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        async with asking(api, chatbot):
            await pause.reached.wait()
            (turn,) = api.services.turns._live
            for _ in range(5):
                async with streaming(api, f"{chatbot}{EVENTS}") as stream:
                    await stream.read_until(lambda e: e.name == "delta")
                    assert turn.speech._watchers

            async def is_unwatched() -> bool:
                return not turn.speech._watchers and not api.services.events._followers

            await until(is_unwatched)
            async with streaming(api, f"{chatbot}{EVENTS}") as stream:
                await stream.read_until(lambda e: e.name == "delta")
                pause.resume()
                await stream.read_to(2)

                async def is_left() -> bool:
                    return not turn.speech._watchers

                await until(is_left)
        await nobody_follows(api)


# --- all of a chatbot's ---


def key_of(event: Seen) -> tuple[str, int]:
    return event.data["conversation_id"], event.seq


async def all_events(api: Api, chatbot: str) -> set[tuple[str, int]]:
    found = set()
    for conversation in (await api.get(f"{chatbot}/conversations?limit=100")).body:
        found |= {(conversation["conversation_id"], seq) for seq in range(1, conversation["seq"] + 1)}
    return found


async def test_who_follows_a_chatbot_misses_nothing_from_the_head_of_the_answer_on(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, other = await api.chatbot(), await api.chatbot()
        await api.say(chatbot, "before")
        await api.say(other, "before")
        for i in range(8):
            async with streaming(api, f"{chatbot}/events") as stream:
                said = {m["seq"] for m in await api.say(chatbot, f"after {i}")}
                await api.say(other, "elsewhere", conversation=f"other {i}")
                seen = await stream.read_until(lambda e, said=said: e.seq in said)  # type: ignore[misc]
                assert [e.seq for e in seen] == [2 * i + 3, 2 * i + 4], "from now on, and each once"
                assert {e.data["conversation_id"] for e in seen} == {"c1"}
        await nobody_follows(api)


async def test_what_happens_while_the_stream_is_being_opened_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head tells the caller that they are connected: what they do then, they see."""
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        follow = sse._follow

        async def slowly(*arguments: Any) -> AsyncIterator[bytes]:
            await said.wait()
            async for piece in follow(*arguments):
                yield piece

        said = asyncio.Event()
        monkeypatch.setattr(sse, "_follow", slowly)
        async with streaming(api, f"{chatbot}/events") as stream:
            await api.say(chatbot, "Hello")
            said.set()
            assert [e.seq for e in await stream.read_until(lambda e: e.seq == 2)] == [1, 2]


@pytest.mark.parametrize("kind", ["steps", "pinned", "hour back", "hour ahead and back"])
async def test_who_follows_a_chatbot_misses_nothing_whatever_the_clock_does(tmp_path: Path, kind: str) -> None:
    hour, now, ticks, jump = 3_600_000_000, 1_700_000_000_000_000, itertools.count(), 0

    def clock() -> int:
        tick = next(ticks)
        return now + jump + tick * 1000 + ((5_000_000 if tick % 2 else -5_000_000) if kind == "steps" else 0)

    async with gigachat(tmp_path, clock=clock) as api:
        chatbot, other = await api.chatbot(), await api.chatbot()
        if kind == "pinned":
            jump = hour
            await api.say(chatbot, "Hello", conversation="pinned")
            jump = 0
        names = ["pinned", "a", "b", "c"]
        async with streaming(api, f"{chatbot}/events") as stream:
            before = await all_events(api, chatbot)
            for i in range(28):
                if i == 8 and kind != "pinned" and kind != "steps":
                    jump = -hour if kind == "hour back" else hour
                if i == 16 and kind == "hour ahead and back":
                    jump = 0
                await api.say(chatbot, "Hello", conversation=f"{names[i % 4]}{i // 14}" if i % 4 else "pinned")
                await api.say(other, "Hello", conversation="other")
            wanted = await all_events(api, chatbot) - before
            await stream.read_until(lambda e: {key_of(e) for e in stream.seen} >= wanted)
            places = [event.id for event in stream.seen]
        assert {key_of(e) for e in stream.seen} == wanted
        for left_at in range(0, len(places), 9):
            unseen = wanted - {key_of(e) for e in stream.seen[: left_at + 1]}
            async with streaming(api, f"{chatbot}/events", after=places[left_at]) as again:
                await again.read_until(lambda e, again=again, unseen=unseen: {key_of(e) for e in again.seen} >= unseen)  # type: ignore[misc]
                assert {key_of(e) for e in again.seen} <= wanted | before


async def test_who_follows_a_chatbot_sees_a_conversation_that_is_made_anew(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        async with streaming(api, f"{chatbot}/events") as stream:
            await api.say(chatbot, "Hello")
            await stream.read_until(lambda e: e.seq == 2)
            assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
            await api.say(chatbot, "Hello again")
            seen = await stream.read_until(lambda e: e.seq == 2)
            assert [e.seq for e in seen] == [1, 2]
            assert seen[0].data["message"]["content"] == "Hello again"


async def test_a_long_way_back_is_followed_in_pages(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for i in range(75):
            await api.say(chatbot, "Hello", conversation=f"c{i % 7}")
        async with streaming(api, f"{chatbot}/events", after=cursors.dump(1, "")) as stream:
            await stream.read_until(lambda e: len(stream.seen) == 150)
            (last,) = await api.say(chatbot, "That is all.", user="client:bob")
            await stream.read_until(lambda e: e.seq == last["seq"] and e.data["message"]["content"] == "That is all.")
            assert len({key_of(e) for e in stream.seen}) == len(stream.seen) == 151, "each once"


async def test_words_said_after_a_freeze_are_in_no_partial(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel([pause, "Hi."])) as api:
        chatbot = await api.chatbot()
        async with asking(api, chatbot):
            await pause.reached.wait()
            live = api.services.turns._live
            (turn,) = live
            assert turn.lease is not None
            made = functools.partial(replies, prompt=turn.lease.prompt, chatbot_name="Superbot")
            turn.speech.say(TextDelta(0, "Shown"))
            with live.frozen(turn.chatbot_id, "c1"):
                turn.speech.say(TextDelta(0, " and never shown"))
                turn.speech.facts.ends[0] = ReplyEnd(0)
                (partial,) = made(turn.speech.shown(), unfinished="stopped")
                assert (partial.content, partial.status) == ("Shown", "stopped")
                (whole,) = made(turn.speech.so_far(), unfinished="completed")
                assert (whole.content, whole.status) == ("Shown and never shown", "completed")
            turn.speech.facts.ends.clear()
            pause.resume()


async def test_a_follower_waits_for_a_store_that_cannot_be_read_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_LOOK_AGAIN_S", 0.01)
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        chatbot_id = chatbot.removeprefix("/chatbots/")
        read = api.services.database.read
        failures = 3

        async def failing(body: Any) -> Any:
            nonlocal failures
            if failures:
                failures -= 1
                raise StorageUnavailable
            return await read(body)

        monkeypatch.setattr(api.services.database, "read", failing)
        followed = api.services.feed.follow_conversation(
            local_operator(api.services.account.id), chatbot_id, "c1", feed.Place(), idle_s=15
        )
        seen = [await anext(followed) for _ in range(4)]
        assert seen[:3] == [None] * 3
        assert isinstance(seen[3], feed.FeedEvent)
        await followed.aclose()
        assert failures == 0


def test_a_frozen_speech_is_kept_as_it_was_shown() -> None:
    """Also where the model takes it back meanwhile: a follower has seen it, under its id."""
    speech = Speech(1)
    speech.say(TextDelta(0, "Shown"))
    shown_as = speech.message_ids[0]
    with speech.frozen():
        speech.take_back(0)
        speech.say(TextDelta(0, "Anew"))
        speech.facts.ends[0] = ReplyEnd(0)
        assert speech.after(len("Shown")) is None
        assert [(each.message_id, each.text, each.end) for each in speech.shown().replies] == [(shown_as, "Shown", None)]
    assert [(each.text, each.end) for each in speech.shown().replies] == [("Anew", ReplyEnd(0))]
    assert speech.message_ids != [shown_as]
