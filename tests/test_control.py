"""Who answers: the chatbot, or an operator who took over; and how a human is asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.access import keys
from gigachat_server.errors import ModelInterrupted
from gigachat_server.models.base import HandoffRequest, ModelInput, ReplyEnd, TextDelta
from gigachat_server.models.fake import Pause, ScriptedModel
from tests.harness import Api, Reply, gigachat
from tests.turns import (
    Clock,
    answering,
    ask,
    asking_held,
    assert_at_rest,
    contents,
    history,
    queueing,
    rows,
    state,
    told,
)

FOREIGN = "01a204e3-15f7-77b1-9db6-d193b16a5979"
TAKEN = "Here a human of the support staff took over this conversation, and you fell silent."
GIVEN_BACK = "Here the human gave the conversation back to you: you are the one who answers again."
HANDOFF_MESSAGE = "I have asked a colleague to join us here."


async def take_over(api: Api, chatbot: str, operator: Any = "eve", conversation: str = "c1", **more: Any) -> Reply:
    return await api.post(f"{chatbot}/conversations/{conversation}/takeover", {"operator": operator, **more})


async def release(api: Api, chatbot: str, conversation: str = "c1") -> Reply:
    return await api.post(f"{chatbot}/conversations/{conversation}/release")


async def event_types(api: Api, conversation: str = "c1") -> list[str]:
    found = await rows(api, "SELECT type FROM events WHERE conversation_id = :id ORDER BY seq", id=conversation)
    return [row[0] for row in found]


# --- takeover and release ---


async def test_a_takeover_ends_what_is_being_said_and_nothing_more_is_said(tmp_path: Path) -> None:
    pause = Pause()
    model = answering({"a": ["half", pause, " never"]})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        waiting = await queueing(api, chatbot, "b", "c")
        taken = await take_over(api, chatbot)
        assert taken.status == 200
        assert taken.body == await state(api, chatbot)
        assert {name: taken.body[name] for name in ("controlled_by", "release_at", "answering", "queued")} == {
            "controlled_by": "eve",
            "release_at": None,
            "answering": None,
            "queued": 0,
        }
        assert [(m["content"], m["status"]) for m in (await first).body] == [("half", "stopped")]
        assert [contents(await each) for each in waiting] == [["b"], ["c"]]
        pause.resume()
        for prompt in ("d", "e"):
            (stored,) = (await ask(api, chatbot, prompt)).body
            assert (stored["content"], stored["turn"], stored["status"]) == (prompt, "intercepted", "completed")
        streamed = (await ask(api, chatbot, "f", stream=True)).events
        assert [name for name, _ in streamed] == ["start", "message", "done"]
        assert [m["turn"] for m in await api.messages(chatbot) if m["role"] == "user"] == ["intercepted"] * 6
        assert len(model.calls) == 1
        await assert_at_rest(api, chatbot)


async def test_after_release_the_model_is_told_of_the_human_stretch(tmp_path: Path) -> None:
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "a")
        await take_over(api, chatbot)
        await api.say(chatbot, "is anyone there?")
        await api.say(chatbot, "I am", user="client:eve")
        epoch = (await state(api, chatbot))["control_epoch"]
        released = await release(api, chatbot)
        assert (released.status, released.body["controlled_by"]) == (200, "bot")
        assert released.body["control_epoch"] == epoch + 1
        again = await release(api, chatbot)
        assert again.body == released.body, "twice is once"
        assert contents(await ask(api, chatbot, "and now?")) == ["re: and now?"]
        assert told(model.calls[-1]) == [
            "a",
            "re: a",
            TAKEN,
            "is anyone there?",
            "[eve, human support] I am",
            GIVEN_BACK,
            "and now?",
        ]
        types = [each for each in await event_types(api) if each.startswith("conversation.")]
        assert types == ["conversation.taken_over", "conversation.released"]
        await assert_at_rest(api, chatbot)


async def test_a_conversation_nobody_has_spoken_in_can_be_taken_over(tmp_path: Path) -> None:
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        taken = await take_over(api, chatbot, conversation="new")
        assert (taken.status, taken.body["user_id"], taken.body["seq"]) == (200, None, 1)
        assert (await ask(api, chatbot, "Hello", conversation="new")).body[0]["turn"] == "intercepted"
        assert (await state(api, chatbot, "new"))["user_id"] == "ann"
        assert (await release(api, chatbot, "unknown")).code == "not_found"
        assert [c["conversation_id"] for c in (await api.get(f"{chatbot}/conversations")).body] == ["new"]
        await release(api, chatbot, "new")
        assert contents(await ask(api, chatbot, "Again", conversation="new")) == ["re: Again"]
        await assert_at_rest(api, chatbot, "new")


async def test_only_one_operator_has_control(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        names = [f"op{i}" for i in range(8)]
        replies = await asyncio.gather(*(take_over(api, chatbot, name) for name in names))
        (winner,) = [name for name, reply in zip(names, replies, strict=True) if reply.status == 200]
        refused = [reply for reply in replies if reply.status != 200]
        assert {(reply.status, reply.code) for reply in refused} == {(409, "conversation_already_taken_over")}
        held = await state(api, chatbot)
        assert (held["controlled_by"], held["control_epoch"]) == (winner, 1)
        own = await take_over(api, chatbot, f"client:{winner}")
        assert (own.status, own.body["control_epoch"]) == (200, 1), "one's own stays one's own"
        forced = await take_over(api, chatbot, "boss", force=True)
        assert (forced.body["controlled_by"], forced.body["control_epoch"]) == ("boss", 2)
        assert (await event_types(api)).count("conversation.taken_over") == 2


async def test_whoever_takes_over_can_speak_under_that_name(tmp_path: Path) -> None:
    names = ["eve", "Bot", "client:eve", "Å", "🦄 é/..", "x" * 248]
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(interception={"mode": "takeover", "release_after_minutes": 1})
        for number, name in enumerate(names):
            conversation = f"c{number}"
            taken = await take_over(api, chatbot, f"client:{name}", conversation)
            assert taken.body["controlled_by"] == name, taken.text
            (said,) = await api.say(chatbot, "Hello", user=f"client:{name}", conversation=conversation)
            assert (said["role"], said["name"]) == ("operator", name)
            assert (await state(api, chatbot, conversation))["controlled_by"] == name
        assert (await take_over(api, chatbot, "eve", "plain")).body["controlled_by"] == "eve"


async def test_names_that_no_operator_can_have(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for name in (
            "",
            "bot",
            "client:bot",
            "client:",
            "client: ",
            "\u200b",
            ".\n",
            "a\x00",
            "\ud800",
            "x" * 256,
            5,
            None,
            ["eve"],
        ):
            refused = await take_over(api, chatbot, name)
            assert (refused.status, refused.fields) == (422, {"operator"}), name
        for body, field in (({}, "operator"), ({"operator": "eve", "force": 1}, "force"), ({"operator": "eve", "x": 1}, "x")):
            assert (await api.post(f"{chatbot}/conversations/c1/takeover", body)).fields == {field}
        assert (await api.post(f"{chatbot}/conversations/c1/takeover", raw=b"")).status == 400
        assert (await api.get(f"{chatbot}/conversations")).body == []


async def test_the_routes_of_control_are_the_accounts_own(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "a")
        other = await api.services.key_ring.ensure_account("other")
        _, foreign = await api.services.key_ring.create(other.id, "foreign")
        seen = set()
        for path, body in (
            ("takeover", {"operator": "eve"}),
            ("release", None),
            ("handoff", {}),
            ("stop", None),
            ("messages/" + FOREIGN + "/retry", {}),
            ("events", None),
        ):
            method = "GET" if path == "events" else "POST"
            for whose in (chatbot, f"/chatbots/{FOREIGN}", "/chatbots/nonsense", "/chatbots/%00"):
                reply = await api.call(method, f"{whose}/conversations/c1/{path}", body, key=foreign)
                assert reply.code == "not_found"
                seen.add(str({name: value for name, value in reply.body.items() if name not in ("instance", "request_id")}))
            for conversation in ("%FF", "%00", "%2E%2E", "x" * 256):
                reply = await api.call(method, f"{chatbot}/conversations/{conversation}/{path}", body)
                assert reply.status == 422, (conversation, path, reply.text)
        assert len(seen) == 1
        assert (await state(api, chatbot))["controlled_by"] == "bot"


async def test_control_needs_the_scope_to_inject_and_asking_for_a_human_does_not(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(interception={"mode": "takeover"})
        await api.say(chatbot, "a")
        scopes = tuple(scope for scope in keys.SCOPES if scope != "messages:inject")
        _, widget = await api.services.key_ring.create(api.services.account.id, "widget", scopes=scopes)
        path = f"{chatbot}/conversations/c1"
        for name, body in (("takeover", {"operator": "eve"}), ("release", None)):
            assert (await api.post(f"{path}/{name}", body, key=widget)).code == "forbidden"
        assert (await ask(api, chatbot, "x", user="client:eve", key=widget)).code == "forbidden"
        assert (await state(api, chatbot))["controlled_by"] == "bot"
        assert (await api.post(f"{path}/handoff", key=widget)).status == 200
        assert (await api.post(f"{path}/stop", key=widget)).status == 200
        _, reader = await api.services.key_ring.create(api.services.account.id, "r", scopes=("conversations:read",))
        for name in ("handoff", "stop", "takeover", f"messages/{FOREIGN}/retry"):
            assert (await api.post(f"{path}/{name}", key=reader)).code == "forbidden"


# --- interception.mode ---


async def test_in_takeover_mode_an_operators_word_takes_control(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": ["half", pause, " never"]})) as api:
        chatbot = await api.chatbot(interception={"mode": "takeover"})
        first = await asking_held(api, chatbot, pause, "a")
        (said,) = await api.say(chatbot, "I take this", user="client:eve")
        assert said["role"] == "operator"
        assert contents(await first) == ["half"]
        assert (await state(api, chatbot))["controlled_by"] == "eve"
        assert contents(await ask(api, chatbot, "b")) == ["b"]
        assert (await ask(api, chatbot, "me too", user="client:bob")).status == 201
        assert (await state(api, chatbot))["controlled_by"] == "eve", "speaking takes nothing from another operator"
        assert await history(api, chatbot) == [
            ("a", "completed", "intercepted"),
            ("half", "stopped", "assistant"),
            ("I take this", "completed", "operator"),
            ("b", "completed", "intercepted"),
            ("me too", "completed", "operator"),
        ]
        await assert_at_rest(api, chatbot)


async def test_an_operator_called_bot_takes_nothing(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": [pause, "re: a"]})) as api:
        chatbot = await api.chatbot(interception={"mode": "takeover"})
        first = await asking_held(api, chatbot, pause, "a")
        waiting = await queueing(api, chatbot, "b")
        refused = await ask(api, chatbot, "x", user="client:bot")
        assert (refused.status, refused.fields) == (422, {"user_id"})
        assert ((await state(api, chatbot))["controlled_by"], (await state(api, chatbot))["queued"]) == ("bot", 1)
        pause.resume()
        assert contents(await first) == ["re: a"]
        assert contents(await waiting[0]) == ["re: b"]


async def test_in_inject_mode_an_operators_word_changes_nothing_for_the_reply_in_the_making(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": ["one ", pause, "two"]})) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        await api.say(chatbot, "I am here", user="client:eve")
        pause.resume()
        assert contents(await first) == ["one two"]
        assert [m["content"] for m in await api.messages(chatbot)] == ["a", "I am here", "one two"]
        assert (await state(api, chatbot))["controlled_by"] == "bot"


# --- release by time ---


async def test_silence_gives_control_back_and_words_keep_it(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, model=answering({}), clock=clock) as api:
        chatbot = await api.chatbot(interception={"release_after_minutes": 10})
        taken = await take_over(api, chatbot)
        assert taken.body["release_at"] is not None
        clock.move(minutes=9)
        await api.say(chatbot, "I am here", user="client:eve")
        assert (await state(api, chatbot))["release_at"] > taken.body["release_at"]
        clock.move(minutes=9)
        await api.services.control.release_due()
        assert contents(await ask(api, chatbot, "a")) == ["a"]
        clock.move(minutes=2)
        assert contents(await ask(api, chatbot, "b")) == ["re: b"], "the next prompt finds it due"
        held = await state(api, chatbot)
        assert (held["controlled_by"], held["release_at"]) == ("bot", None)
        await take_over(api, chatbot)
        clock.move(minutes=11)
        await asyncio.gather(api.services.control.release_due(), api.services.control.release_due())
        assert (await state(api, chatbot))["controlled_by"] == "bot"
        (first, second) = await rows(api, "SELECT data FROM events WHERE type = 'conversation.released'")
        assert "silence" in first[0] and "silence" in second[0]
        await assert_at_rest(api, chatbot)


async def test_without_a_time_control_stays_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await api.chatbot()
        assert (await take_over(api, chatbot)).body["release_at"] is None
        clock.move(minutes=1_000_000)
        key = (await api.services.key_ring.create(api.services.account.id, "later"))[1]
        await api.services.control.release_due()
        assert (await ask(api, chatbot, "a", key=key)).body[0]["turn"] == "intercepted"


async def test_taking_over_again_starts_the_time_anew(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await api.chatbot(interception={"release_after_minutes": 10})
        first = (await take_over(api, chatbot)).body
        clock.move(minutes=5)
        second = (await take_over(api, chatbot)).body
        assert second["release_at"] > first["release_at"]
        assert second["control_epoch"] == first["control_epoch"]


# --- handoff ---


async def test_asking_for_a_human_is_visible_and_done_once(tmp_path: Path) -> None:
    clock = Clock()
    model = answering({})
    async with gigachat(tmp_path, model=model, clock=clock) as api:
        chatbot = await api.chatbot(interception={"handoff_message": "Somebody comes."})
        await api.say(chatbot, "a")
        path = f"{chatbot}/conversations/c1/handoff"
        asked = await api.post(path, {"note": "about a parcel"})
        assert asked.status == 200
        assert asked.body["handoff_requested_at"] is not None
        message = (await api.messages(chatbot))[-1]
        assert (message["role"], message["content"], message["turn"]) == ("system", "Somebody comes.", None)
        clock.move(minutes=1)
        assert (await api.post(path)).body == asked.body
        assert len(await api.messages(chatbot)) == 3
        events = (await api.get(f"{chatbot}/conversations/c1/events")).body
        (requested,) = [event for event in events if event["type"] == "handoff.requested"]
        assert requested["data"] == {"reason": "asked", "note": "about a parcel", "message_id": message["id"]}
        assert contents(await ask(api, chatbot, "b")) == ["re: b"], "the chatbot goes on until somebody comes"
        assert told(model.calls[-1]) == ["a", "re: a", "Somebody comes.", "b"]
        assert (await take_over(api, chatbot)).body["handoff_requested_at"] is None
        assert (await api.post(path)).body["handoff_requested_at"] is None, "a human is there"
        await release(api, chatbot)
        assert (await api.post(path)).body["handoff_requested_at"] is not None, "and may be asked for again"
        await assert_at_rest(api, chatbot)


async def test_a_human_can_be_asked_for_before_a_word_was_said(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        path = f"{chatbot}/conversations/new/handoff"
        replies = await asyncio.gather(*(api.post(path) for _ in range(5)))
        assert {reply.status for reply in replies} == {200}
        assert [m["role"] for m in await api.messages(chatbot, "new")] == ["system"]
        bodies: list[Any] = [{"note": 5}, {"note": "x" * 2001}, {"note": "\x00"}, {"reason": "x"}, []]
        for body in bodies:
            assert (await api.post(path, body)).status == 422


REQUEST = HandoffRequest("asked", "wants a refund")


@pytest.mark.parametrize(
    ("script", "replies"),
    [
        (["Let me see.", REQUEST], [f"Let me see.\n\n{HANDOFF_MESSAGE}"] * 2),
        ([REQUEST], [HANDOFF_MESSAGE] * 2),
        ([TextDelta(1, "Hm."), REQUEST], [HANDOFF_MESSAGE, f"Hm.\n\n{HANDOFF_MESSAGE}"]),
        ([" ", REQUEST, ReplyEnd(0), ReplyEnd(1)], [HANDOFF_MESSAGE] * 2),
    ],
)
async def test_a_model_that_asks_for_a_human_says_so(tmp_path: Path, script: list[Any], replies: list[str]) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(script, ["Hi."])) as api:
        chatbot = await api.chatbot(interception={"handoff": True}, response={"n": 2})
        got = await ask(api, chatbot, "a")
        assert [text.strip() for text in contents(got)] == replies
        assert got.body[0]["metadata"]["handoff"] == {"reason": "asked", "note": "wants a refund"}
        events = (await api.get(f"{chatbot}/conversations/c1/events")).body
        (requested,) = [event for event in events if event["type"] == "handoff.requested"]
        assert requested["data"] == {"reason": "asked", "note": "wants a refund", "message_id": got.body[0]["id"]}
        assert (await state(api, chatbot))["handoff_requested_at"] is not None
        await assert_at_rest(api, chatbot)


async def test_a_human_is_offered_to_the_model_only_while_none_was_asked_for(tmp_path: Path) -> None:
    def script(model_input: ModelInput) -> list[Any]:
        return ["One moment.", REQUEST]

    model = ScriptedModel(script)
    async with gigachat(tmp_path, model=model) as api:
        without, chatbot = await api.chatbot(), await api.chatbot(interception={"handoff": True})
        got = await ask(api, without, "a")
        assert contents(got) == ["One moment."], "whatever the model wants"
        assert "handoff" not in got.body[0]["metadata"]
        assert (await state(api, without))["handoff_requested_at"] is None
        assert contents(await ask(api, chatbot, "a")) == [f"One moment.\n\n{HANDOFF_MESSAGE}"]
        assert contents(await ask(api, chatbot, "b")) == ["One moment."]
        offers = [call.handoff for call in model.calls]
        assert [offer is not None for offer in offers] == [False, True, False]
        await take_over(api, chatbot)
        await release(api, chatbot)
        assert contents(await ask(api, chatbot, "c")) == [f"One moment.\n\n{HANDOFF_MESSAGE}"]
        types = await event_types(api)
        assert types.count("handoff.requested") == 2


async def test_a_human_is_not_asked_for_behind_the_end_users_back(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Let me", REQUEST, ModelInterrupted()])) as api:
        chatbot = await api.chatbot(interception={"handoff": True})
        assert (await ask(api, chatbot, "a")).code == "upstream_interrupted"
        assert (await state(api, chatbot))["handoff_requested_at"] is None
        assert "handoff" not in (await api.messages(chatbot))[1]["metadata"]


@pytest.mark.parametrize("ending", ["stop", "takeover"])
async def test_what_was_said_when_a_reply_was_ended_tells_of_no_handoff(tmp_path: Path, ending: str) -> None:
    pause = Pause()
    script: list[Any] = ["Let me", TextDelta(1, " see."), ReplyEnd(1), REQUEST, pause, " never"]
    async with gigachat(tmp_path, model=ScriptedModel(script)) as api:
        chatbot = await api.chatbot(interception={"handoff": True}, response={"n": 2})
        first = await asking_held(api, chatbot, pause, "a")
        body = {"operator": "eve"} if ending == "takeover" else None
        assert (await api.post(f"{chatbot}/conversations/c1/{ending}", body)).status == 200
        got = await first
        assert [(m["content"], m["status"]) for m in got.body] == [("Let me", "stopped"), ("Let me see.", "completed")]
        assert ["handoff" in m["metadata"] for m in got.body] == [False, False], "nobody was asked"
        assert (await state(api, chatbot))["handoff_requested_at"] is None


async def test_a_takeover_before_the_handoff_is_stored_wins(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Let me", REQUEST, pause, " see"])) as api:
        chatbot = await api.chatbot(interception={"handoff": True})
        first = await asking_held(api, chatbot, pause, "a")
        taken = await take_over(api, chatbot)
        assert taken.body["handoff_requested_at"] is None
        assert contents(await first) == ["Let me"]
        assert "handoff.requested" not in await event_types(api)


async def test_refusals_in_a_row_ask_for_a_human(tmp_path: Path) -> None:
    model = ScriptedModel(["I make things up."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(
            documents={"results": {"when_nothing_matches": "refuse"}},
            interception={"handoff": True, "handoff_after_unanswered": 2},
        )
        (first,) = await api.say(chatbot, "What is the meaning of life?")
        assert HANDOFF_MESSAGE not in first["content"]
        (second,) = await api.say(chatbot, "And of death?")
        assert second["content"].endswith(HANDOFF_MESSAGE)
        assert second["metadata"]["handoff"]["reason"] == "unanswered"
        (third,) = await api.say(chatbot, "And of parcels?")
        assert HANDOFF_MESSAGE not in third["content"]
        assert model.calls == []
