"""End users: how they get in, and that each sees what is theirs alone."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import jwt
import msgspec
import pytest

from gigachat_server.api.end_user_wire import SHOWN_EVENTS
from gigachat_server.inbox.message_index import MessageIndex
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.records import STAFF_ONLY, EventType
from tests.access.people import ALICE, BOB, PAGE, UNLIMITED, people
from tests.harness import Reply, gigachat
from tests.turns import Clock, rows


async def test_a_visitor_chats_with_a_widget_key(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        bearer, user_id = await shop.visitor()
        assert re.fullmatch(r"gcu_[0-9A-Za-z]{50}", bearer)
        assert re.fullmatch(r"anon:[0-9a-f]{32}", user_id)
        conversation = await shop.ask(bearer)
        assert re.fullmatch(r"cnv_[0-9a-f]{32}", conversation)
        listed = await shop.get("/conversations", bearer=bearer, headers=PAGE)
        assert [each["conversation_id"] for each in listed.body] == [conversation]
        stored = (await shop.get(f"/conversations/{conversation}/messages")).body
        assert [(each["role"], each["user_id"]) for each in stored] == [("user", user_id), ("assistant", user_id)]


async def test_a_user_with_a_token_continues_with_a_fresh_one_or_a_session(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        conversation = await shop.ask(shop.token())
        again = await shop.ask(shop.token(jti="2"), conversation_id=conversation)
        third = await shop.ask(await shop.session(), conversation_id=conversation, user_id=ALICE)
        assert conversation == again == third
        foreign = await shop.post("/conversations", {"prompt": "x", "conversation_id": conversation}, bearer=shop.token(BOB))
        unknown = await shop.post("/conversations", {"prompt": "x", "conversation_id": "cnv_0"}, bearer=shop.token(BOB))
        assert (foreign.status, unknown.status) == (404, 404)
        assert foreign.body["detail"] == unknown.body["detail"]
        named = await shop.post("/conversations", {"prompt": "x", "user_id": ALICE}, bearer=shop.token(BOB))
        assert (named.status, named.code) == (403, "forbidden")
        for user in (shop.token(BOB), await shop.session(BOB)):
            assert (await shop.get("/conversations", bearer=user)).body == []


async def test_a_visitor_who_signs_in_keeps_what_they_said(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        bearer, anonymous = await shop.visitor()
        conversation = await shop.ask(bearer, "Where is my parcel?")
        await MessageIndex(api.services.database).index_all()
        read = await shop.call("PUT", f"/conversations/{conversation}/read", {"seq": 2}, bearer=bearer, headers=PAGE)
        assert read.status < 300, read.text
        claimed = await shop.post("/sessions", {"claim": bearer}, bearer=shop.token())
        assert claimed.status == 201, claimed.text
        found = {user: (await shop.get(f"/search?q=parcel&user_id={quote(user)}")).body for user in (ALICE, anonymous)}
        assert (len(found[ALICE]), found[anonymous]) == (1, []), "it is found as hers"
        marks = await rows(api, "SELECT reader, seq FROM read_marks")
        assert [tuple(mark) for mark in marks] == [(ALICE, 2)], "nothing is unread anew"
        assert (await shop.get("/conversations", bearer=bearer, headers=PAGE)).status == 401
        mine = await shop.get(f"/conversations/{conversation}", bearer=claimed.body["token"])
        assert mine.body["user_id"] == ALICE
        events = (await shop.get(f"/conversations/{conversation}/events", bearer=claimed.body["token"])).body
        assert events[-1]["type"] == "conversation.identified"
        again = await shop.post("/sessions", {"claim": bearer}, bearer=shop.token(BOB))
        assert (again.status, again.code) == (409, "session_not_claimable")
        stored = (await shop.get(f"/conversations/{conversation}/messages")).text
        assert anonymous not in stored


async def test_end_users_see_less_than_the_account(tmp_path: Path) -> None:
    document = "Parcels are shipped on the day of the order, if it comes in before noon. We ship to Norway."
    async with gigachat(tmp_path, model=ScriptedModel(["On that day [1]."])) as api:
        shop = await people(api, documents={"results": {"match_threshold": 0}})
        await api.push(shop.path, "Shipping", document)
        full = (await shop.post("/identity-keys", {"name": "full", "algorithm": "HS256", "sources": "full"})).body
        bearers = {
            "titles": shop.token(),
            "full": jwt.encode(shop.claims(), full["secret"], "HS256", headers={"kid": full["id"]}),
            "none": await shop.session(sources="none"),
        }
        asked = {"prompt": "When are parcels shipped?", "metadata": {"page": "internal"}}
        said = (await shop.post("/conversations?embedding=true", asked, bearer=bearers["titles"])).body[-1]
        below = f"/conversations/{said['conversation_id']}"
        for name, bearer in bearers.items():
            (asked, told) = (await shop.get(f"{below}/messages?embedding=true", bearer=bearer)).body
            assert not {"metadata", "chatbot_id", "embedding"} & told.keys()
            assert asked["user_id"] == ALICE
            contents = [source["content"] for source in told["sources"]]
            assert contents == {"titles": [None], "full": [document], "none": []}[name]
            assert [source["name"] for source in told["sources"]] == ([] if name == "none" else ["Shipping"])
            texts = [citation["text"] for citation in told["citations"]]
            assert texts == {"titles": [None], "none": []}.get(name, texts)
            shown = await shop.get(f"{below}/events?embedding=true", bearer=bearer)
            for word in ("internal", "score", api.services.account.id, "loc"):
                assert word not in shown.text
        kept = (await shop.get(f"{below}/messages")).body
        assert kept[1]["sources"][0]["score"] > 0 and kept[0]["metadata"] == {"page": "internal"}


async def test_an_end_user_is_not_told_what_staff_do_among_themselves(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        token = shop.token()
        below = f"/conversations/{await shop.ask(token)}"
        assert (await shop.post(f"{below}/notes", {"content": "rude", "operator": "eve"})).status in (201, 422)
        assert (await shop.post(f"{below}/handoff", {"note": "about my order"}, bearer=token)).status == 200
        assert (await shop.post(f"{below}/takeover", {"operator": "eve"})).status == 200
        mine, theirs = (await shop.get(f"{below}/events", bearer=token)).body, (await shop.get(f"{below}/events")).body
        assert {each["type"] for each in mine} <= SHOWN_EVENTS.keys()
        assert [each["seq"] for each in mine] == [each["seq"] for each in theirs if each["type"] in SHOWN_EVENTS]
        (handoff,) = (each for each in mine if each["type"] == "handoff.requested")
        assert handoff["data"].keys() == {"message_id"}
        assert mine[-1]["data"] == {"operator": "eve"}


def test_each_type_of_event_is_shown_to_end_users_or_is_not_on_purpose() -> None:
    hidden = {*STAFF_ONLY, "prompt.unanswered"}
    assert set(get_args(EventType)) == SHOWN_EVENTS.keys() | hidden
    assert not SHOWN_EVENTS.keys() & hidden


async def insisting(call: Callable[[], Awaitable[Reply]]) -> Reply:
    """Ask again for as long as a busy machine's store has no connection to spare."""
    while (reply := await call()).status == 503:
        assert reply.code == "storage_unavailable"
    return reply


async def test_guessing_the_ids_of_conversations_finds_none(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        theirs = await shop.ask(shop.token(BOB))
        mine, told = shop.token(), set()
        guesses = [theirs, *(f"cnv_{secrets.token_hex(16)}" for _ in range(10_000 - 1))]

        async def guess(conversation: str) -> None:
            reply = await insisting(lambda: shop.get(f"/conversations/{conversation}", bearer=mine))
            told.add((reply.status, reply.body["detail"], reply.code))

        for first in range(0, len(guesses), 40):
            await asyncio.gather(*map(guess, guesses[first : first + 40]))
        assert len(told) == 1
        assert next(iter(told))[0] == 404


async def test_a_handoff_opens_no_conversation_for_an_end_user(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        for bearer in (shop.token(), await shop.session()):
            assert (await shop.post("/conversations/cnv_1/handoff", {}, bearer=bearer)).status == 404
        assert await rows(api, "SELECT 1 FROM conversations") == []
        assert (await shop.post("/conversations/cnv_1/handoff", {})).status == 200


@pytest.mark.parametrize("act", ["handoff", "stop", "transcript"])
async def test_what_an_act_came_to_is_told_again_to_those_alone_who_may_still_enter(tmp_path: Path, act: str) -> None:
    """A user's key is theirs whatever token they come with, and a token may be for less than the one before."""
    async with gigachat(tmp_path, smtp_url="smtp://127.0.0.1:9", mail_from="shop@example.com") as api:
        shop = await people(api)
        whole = shop.token(email=ALICE)
        one, two = [await shop.ask(whole) for _ in range(2)]

        async def again(bearer: str) -> Reply:
            body: dict[str, Any] | None = None if act == "stop" else {}
            headers = {**PAGE, "Idempotency-Key": "k"}
            return await shop.post(f"/conversations/{one}/{act}", body, bearer=bearer, headers=headers)

        first = await again(whole)
        assert first.status in (200, 202), first.text
        for narrowed in (shop.token(conversation_ids=[one]), await shop.session(conversation_ids=[one]), whole):
            repeated = await again(narrowed)
            assert (repeated.status, repeated.body) == (first.status, first.body)
            assert repeated.headers["Idempotent-Replayed"] == "true"
        for narrowed in (shop.token(conversation_ids=[two]), await shop.session(conversation_ids=[two])):
            repeated = await again(narrowed)
            assert (repeated.status, repeated.body.get("code")) == (404, "not_found"), repeated.text


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_prompt_is_told_again_to_those_alone_who_may_still_enter(tmp_path: Path, is_named: bool) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        one, two = [await shop.ask(shop.token()) for _ in range(2)]
        said, headers = {"prompt": "Mine", **({"conversation_id": one} if is_named else {})}, {**PAGE, "Idempotency-Key": "k"}
        first = await shop.post("/conversations", said, bearer=shop.token(), headers=headers)
        assert (await shop.post("/conversations", said, bearer=shop.token(), headers=headers)).body == first.body
        for narrowed in (shop.token(conversation_ids=[two]), await shop.session(conversation_ids=[two])):
            repeated = await shop.post("/conversations", said, bearer=narrowed, headers=headers)
            assert repeated.status == (404 if is_named else 403) and "Mine" not in repeated.text


async def test_a_narrowed_token_reaches_those_conversations_alone(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        one, two = await shop.ask(shop.token()), await shop.ask(shop.token())
        await api.say(shop.path, "Hello", conversation="order-1", user="client:eve")
        await api.say(shop.path, "Hello", conversation="order-2", user="client:eve")
        for narrowed in (
            shop.token(conversation_ids=[one, "order-1"]),
            await shop.session(conversation_ids=[one, "order-1"]),
        ):
            listed = (await shop.get("/conversations", bearer=narrowed)).body
            assert {each["conversation_id"] for each in listed} == {one, "order-1"}
            assert (await shop.get(f"/conversations/{two}", bearer=narrowed)).status == 404
            assert (await shop.get("/conversations/order-2", bearer=narrowed)).status == 404
            assert (await shop.get("/conversations/order-1/messages", bearer=narrowed)).status == 200
            assert (await shop.post("/conversations", {"prompt": "x"}, bearer=narrowed)).status == 403
        other = shop.token(BOB, conversation_ids=[one])
        assert (await shop.get(f"/conversations/{one}", bearer=other)).status == 404
        assert (await shop.get("/conversations/order-1", bearer=shop.token())).status == 404
        narrowed = shop.token(conversation_ids=["order-1", "unknown"])
        assert await shop.ask(narrowed, conversation_id="order-1") == "order-1"
        said = {"prompt": "x", "conversation_id": "unknown"}
        assert (await shop.post("/conversations", said, bearer=narrowed)).status == 404
        assert (await shop.get("/conversations/order-1", bearer=shop.token())).status == 200, "it is hers by now"


async def test_a_repeated_prompt_is_found_with_a_fresh_token(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        named = {"Idempotency-Key": "k1"}
        first = await shop.post("/conversations", {"prompt": "Hello"}, bearer=shop.token(), headers=named)
        again = await shop.post("/conversations", {"prompt": "Hello"}, bearer=shop.token(jti="2"), headers=named)
        in_session = await shop.post("/conversations", {"prompt": "Hello"}, bearer=await shop.session(), headers=named)
        assert first.text == again.text == in_session.text
        assert again.headers["Idempotent-Replayed"] == "true"
        other = await shop.post("/conversations", {"prompt": "Hello"}, bearer=shop.token(BOB), headers=named)
        assert other.body[0]["conversation_id"] != first.body[0]["conversation_id"]
        assert len(await rows(api, "SELECT 1 FROM conversations")) == 2


async def test_a_visitors_session_goes_on_while_it_is_used(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, clock=clock) as api:
        shop = await people(api)
        used, left = (await shop.visitor())[0], (await shop.visitor())[0]
        for _ in range(3):
            clock.move(minutes=20 * 24 * 60)
            assert (await shop.get("/conversations", bearer=used, headers=PAGE)).status == 200
        assert (await shop.get("/conversations", bearer=left, headers=PAGE)).status == 401
        assert (await shop.post("/sessions", {"claim": left}, bearer=shop.token())).code == "session_not_claimable"
        clock.move(minutes=8 * 24 * 60)
        await api.services.access_worker.forget()
        assert len(await rows(api, "SELECT 1 FROM user_sessions")) == 1


async def test_a_named_session_ends_when_it_says_and_never_after_the_token_it_was_opened_with(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, clock=clock) as api:
        shop = await people(api)
        now = clock() // 1_000_000
        own = (await shop.post("/sessions", {}, bearer=shop.token(exp=now + 600))).body
        assert own["user_id"] == ALICE
        named = await shop.session(expires_in_s=300)
        assert (await shop.get("/conversations", bearer=named)).status == 200
        clock.move(minutes=6)
        assert (await shop.get("/conversations", bearer=named)).status == 401
        assert (await shop.get("/conversations", bearer=own["token"])).status == 200
        clock.move(minutes=5)
        assert (await shop.get("/conversations", bearer=own["token"])).status == 401
        for wrong in ({"user_id": "x", "expires_in_s": 86_401}, {"user_id": "anon:1"}, {}, {"claim": own["token"]}):
            assert (await shop.post("/sessions", wrong)).status == 422


async def test_whoever_signs_out_is_out(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        bearer, other = await shop.session(), await shop.session()
        assert (await shop.call("DELETE", "/sessions/current", bearer=bearer)).status == 204
        assert [(await shop.get("/conversations", bearer=each)).status for each in (bearer, other)] == [401, 200]
        assert (await shop.call("DELETE", "/sessions/current", bearer=shop.token())).status == 404
        assert (await shop.call("DELETE", "/sessions/current")).status == 404


async def test_a_session_opens_no_session_and_a_visitor_names_no_one(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        visitor, _ = await shop.visitor()
        for bearer in (await shop.session(), visitor):
            assert (await shop.post("/sessions", {}, bearer=bearer, headers=PAGE)).status == 403
        for body in ({"user_id": BOB}, {"expires_in_s": 600}, {"claim": visitor}, {"sources": "full"}):
            assert (await shop.post("/sessions", body, bearer=shop.widget_key, headers=PAGE)).status == 422
        assert (await shop.post("/sessions", {"user_id": BOB}, bearer=shop.token())).status == 422
        named = await shop.session(BOB)
        assert (await shop.post("/sessions", {"claim": named}, bearer=shop.token())).code == "session_not_claimable"
        assert (await shop.get("/conversations", bearer=named)).status == 200


async def test_of_two_hundred_claims_of_one_session_one_succeeds_and_erasure_finds_all(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api, limits=UNLIMITED)
        bearer, anonymous = await shop.visitor()
        conversations = [await shop.ask(bearer) for _ in range(3)]
        users = [f"user-{number}@example.com" for number in range(200)]

        async def claim(user: str) -> Reply:
            return await shop.post("/sessions", {"claim": bearer}, bearer=shop.token(user))

        replies = await asyncio.gather(
            *(insisting(functools.partial(claim, user)) for user in users),
            *(shop.post("/conversations", {"prompt": "late"}, bearer=bearer, headers=PAGE) for _ in range(20)),
        )
        claims, prompts = replies[:200], replies[200:]
        (winner,) = (user for user, reply in zip(users, claims, strict=True) if reply.status == 201)
        assert {reply.code for reply in claims if reply.status != 201} == {"session_not_claimable"}
        late = {reply.body[-1]["conversation_id"] for reply in prompts if reply.status == 201}
        assert {reply.status for reply in prompts} <= {201, 401, 503}
        owned = await rows(api, "SELECT conversation_id, user_id FROM conversations")
        assert dict(owned) == dict.fromkeys([*conversations, *late], winner)
        assert (await shop.call("DELETE", f"/users/{winner}")).status == 204
        for table in ("conversations", "messages", "events"):
            assert await rows(api, f"SELECT 1 FROM {table}") == []
        for table in ("user_sessions", "end_users", "conversations", "messages"):
            assert await rows(api, f"SELECT 1 FROM {table} WHERE user_id = '{winner}'") == []
        assert anonymous not in {user for (user,) in await rows(api, "SELECT user_id FROM end_users")}


async def test_of_many_conversations_a_claim_moves_the_newest_fifty(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api, limits=UNLIMITED)
        bearer, anonymous = await shop.visitor()
        conversations = [await shop.ask(bearer) for _ in range(52)]
        assert (await shop.post("/sessions", {"claim": bearer}, bearer=shop.token())).status == 201
        left = await rows(api, f"SELECT conversation_id FROM conversations WHERE user_id = '{anonymous}'")
        assert {each for (each,) in left} == set(conversations[:2])


async def test_a_user_who_is_turned_out_is_out_with_all_they_have(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, clock=clock) as api:
        shop = await people(api)
        held = [shop.token(), await shop.session(), (await shop.post("/sessions", {}, bearer=shop.token())).body["token"]]
        bobs = shop.token(BOB)

        async def statuses(bearers: list[str]) -> list[int]:
            return [(await shop.get("/conversations", bearer=bearer)).status for bearer in bearers]

        assert await statuses(held) == [200, 200, 200]
        assert (await shop.post(f"/users/{ALICE}/revoke", {})).status == 200
        assert await statuses([*held, bobs]) == [401, 401, 401, 200]
        assert (await shop.post("/sessions", {}, bearer=held[0])).status == 401
        clock.move(minutes=1)
        held = [shop.token(), await shop.session()]
        assert await statuses(held) == [200, 200]
        blocked = await shop.post(f"/users/{ALICE}/revoke", {"block": True})
        assert blocked.body["blocked_at"] is not None
        clock.move(minutes=1)
        assert await statuses([*held, shop.token()]) == [401, 401, 401]
        assert (await shop.post("/sessions", {"user_id": ALICE})).status == 403
        assert (await shop.post(f"/users/{ALICE}/revoke", {"block": False})).body["blocked_at"] is None
        clock.move(minutes=1)
        assert await statuses([shop.token()]) == [200]
        acts = await rows(api, "SELECT action, target FROM audit WHERE action LIKE 'user.%' ORDER BY at")
        assert acts == [(act, f"user:{shop.chatbot_id} {ALICE}") for act in ("user.revoked", "user.blocked", "user.revoked")]
        assert (await shop.call("DELETE", f"/users/{ALICE}")).status == 204
        erased = await rows(api, "SELECT DISTINCT target FROM audit WHERE action LIKE 'user.%' AND target LIKE 'user:%'")
        assert erased == [(f"user:{shop.chatbot_id} erased",)]
        assert [value for row in await rows(api, "SELECT * FROM audit") for value in row if ALICE in str(value)] == []


async def test_the_audit_log_tells_of_nobody_who_was_erased_and_cannot_be_made_to_by_guessing(tmp_path: Path) -> None:
    async with gigachat(tmp_path, secret="s" * 32) as api:
        shop = await people(api)
        for name in (ALICE, BOB, BOB):
            await api.say(shop.path, "Hello", user=name, conversation=name)
            assert (await api.call("DELETE", f"{shop.path}/conversations/{name}")).status == 204
            assert (await api.call("DELETE", f"{shop.path}/users/{name}")).status == 204
        kept = await rows(api, "SELECT action, detail FROM audit WHERE action LIKE '%.deleted' ORDER BY at, id")
        hashes = [msgspec.json.decode(detail) for _, detail in kept]
        assert [list(each) for each in hashes] == [["conversation"], ["user"]] * 3
        assert hashes[0] != hashes[2] and hashes[1] != hashes[3], "two are told from each other"
        assert hashes[2:4] == hashes[4:6], "and the same one is the same"
        for name in (ALICE, BOB):
            for guessed in (hashlib.sha256, hashlib.sha1, hashlib.md5, hashlib.blake2b):
                for salt in ("", shop.chatbot_id, api.services.account.id, f"{shop.chatbot_id}\0"):
                    assert guessed((salt + name).encode()).hexdigest()[:16] not in str(kept)
        assert await rows(api, "SELECT id FROM audit WHERE target LIKE '%@%' OR detail LIKE '%@%'") == []


async def test_without_a_secret_of_the_server_nothing_is_kept_of_an_erased_id(tmp_path: Path) -> None:
    async with gigachat(tmp_path, secret="") as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello", user=ALICE, conversation=ALICE)
        assert (await api.call("DELETE", f"{chatbot}/users/{ALICE}")).status == 204
        assert await rows(api, "SELECT detail FROM audit WHERE action = 'user.deleted'") == [(None,)]


async def test_with_a_chatbot_its_users_leave_the_audit_log(tmp_path: Path) -> None:
    """Nobody could erase them there afterwards: their chatbot is gone."""
    async with gigachat(tmp_path) as api:
        shop, other = await people(api), await people(api)
        for each in (shop, other):
            await each.session()
            await each.post(f"/users/{ALICE}/revoke", {})
            await api.say(each.path, "Hello", user=ALICE, conversation=ALICE)
            await each.post(f"/conversations/{ALICE}/takeover", {"operator": "eve"})
        assert (await api.call("DELETE", shop.path)).status == 204
        kept = await rows(api, "SELECT DISTINCT target FROM audit WHERE target LIKE 'user:%' OR target LIKE 'conversation:%'")
        assert sorted(kept) == sorted(
            (f"{kind}:{each.chatbot_id} {name}",)
            for kind in ("user", "conversation")
            for each, name in ((shop, "erased"), (other, ALICE))
        )


async def test_what_is_done_to_keys_stands_in_the_audit_log(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        (widget,) = (await shop.get("/widget-keys")).body
        await shop.call("PATCH", f"/widget-keys/{widget['id']}", {"is_enabled": False})
        await shop.call("DELETE", f"/widget-keys/{widget['id']}")
        await shop.call("DELETE", f"/identity-keys/{shop.kid}")
        found = await rows(api, "SELECT action, actor, target, detail FROM audit WHERE action LIKE '%_key.%' ORDER BY at, id")
        assert [action for action, *_ in found] == [
            "identity_key.created", "widget_key.created", "widget_key.changed", "widget_key.revoked", "identity_key.revoked",
        ]  # fmt: skip
        assert {target for _, _, target, _ in found} == {f"chatbot:{shop.chatbot_id}"}
        assert all(actor.startswith("key:") for _, actor, _, _ in found)
        assert '"changed":["is_enabled"]' in found[2][3].replace(" ", "")


@pytest.mark.parametrize("how", ["conversation", "user", "chatbot"])
async def test_what_is_erased_leaves_none_of_the_new_tables_behind(tmp_path: Path, how: str) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        conversation = await shop.ask(shop.token(name="Alice"))
        await shop.session()
        path = {"conversation": f"/conversations/{conversation}", "user": f"/users/{ALICE}", "chatbot": ""}[how]
        assert (await shop.call("DELETE", path)).status == 204
        left = {
            table: len(await rows(api, f"SELECT 1 FROM {table} WHERE chatbot_id = '{shop.chatbot_id}'"))
            for table in ("conversations", "user_sessions", "end_users", "identity_keys", "widget_keys")
        }
        expected = {"conversation": [0, 1, 1, 1, 1], "user": [0, 0, 0, 1, 1], "chatbot": [0, 0, 0, 0, 0]}[how]
        assert [*left.values()] == expected
