"""Operators: who may be made by whom, what each role reaches, and what two people do at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gigachat_server.access.operators import Draft, principal_of
from gigachat_server.access.principal import Principal, Role, local_operator
from gigachat_server.access.scopes import SCOPES, Scope
from gigachat_server.api.routes import ROUTES
from gigachat_server.errors import Forbidden, GigachatError, NotFound
from gigachat_server.store import operators
from gigachat_server.store.database import Reader, Tx
from tests.harness import Api, gigachat
from tests.operators import PASSWORD, add_operator, as_principal, principals_of_roles, session_of
from tests.turns import rows

ANN = {"email": "Ann@Example.com", "name": "Ann  Archer", "handle": "ann", "role": "owner"}


async def _keeper(api: Api) -> str:
    """A key that may manage operators."""
    _, secret = await api.services.key_ring.create(api.services.account.id, "keeper", scopes=SCOPES)
    return secret


async def test_an_operator_is_made_changed_and_deleted_over_the_api(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = (await api.chatbot()).rpartition("/")[2]
        key = await _keeper(api)
        wanted = {"email": "Bob@Example.com", "chatbots": [{"chatbot_id": chatbot}]}
        made = await api.post("/operators", wanted, key=key)
        assert made.status == 201
        assert made.headers["Location"] == f"/operators/{made.body['id']}"
        assert made.body["invite_url"].startswith(f"{api.url}/invite?token=")
        expected = {
            "email": "bob@example.com",
            "name": "bob",
            "handle": "bob",
            "role": "member",
            "chatbots": [{"chatbot_id": chatbot, "role": "operator"}],
            "state": "invited",
            "signs_in_with": [],
            "seen_at": None,
        }
        assert {name: made.body[name] for name in expected} == expected
        path = f"/operators/{made.body['id']}"
        changed = await api.call(
            "PATCH", path, {"name": "Bob Baker", "chatbots": [{"chatbot_id": chatbot, "role": "viewer"}]}, key=key
        )
        assert (changed.status, changed.body["name"], changed.body["chatbots"][0]["role"]) == (200, "Bob Baker", "viewer")
        assert (await api.call("PATCH", path, {"disabled": True}, key=key)).body["state"] == "disabled"
        assert (await api.post(f"{path}/invite", key=key)).status == 409
        assert (await api.call("PATCH", path, {"disabled": False}, key=key)).body["state"] == "invited"
        assert (await api.post(f"{path}/invite", key=key)).body["invite_url"] != made.body["invite_url"]
        listed = await api.get("/operators", key=key)
        assert [each["handle"] for each in listed.body] == ["bob"]
        assert (await api.call("DELETE", path, key=key)).status == 204
        assert (await api.get("/operators", key=key)).body == []
        for method, missing in (("DELETE", path), ("PATCH", path), ("POST", f"{path}/invite"), ("DELETE", "/operators/x")):
            assert (await api.call(method, missing, {} if method == "PATCH" else None, key=key)).status == 404, missing
        again = await api.post("/operators", wanted, key=key)
        assert (again.status, again.code, again.fields) == (409, "operator_exists", {"handle"}), "handles are for good"
        assert (await api.post("/operators", {**wanted, "handle": "bob2"}, key=key)).status == 201


@pytest.mark.parametrize(
    "wrong, field",
    [
        ({"email": "ann"}, "email"),
        ({"email": "a b@example.com"}, "email"),
        ({"email": "a\u202eb@example.com"}, "email"),
        ({"handle": "Ann"}, "handle"),
        ({"handle": "a" * 65}, "handle"),
        ({"handle": "an/n"}, "handle"),
        ({"handle": "bot"}, "handle"),
        ({"handle": "bоt"}, "handle"),
        ({"name": "Ann\u202e"}, "name"),
        ({"role": "boss"}, "role"),
        ({"role": "operator"}, "role"),
        ({"chatbots": [{"chatbot_id": "01a204e3-15f7-77b1-9db6-d193b16a5979"}]}, "chatbots"),
        ({"chatbots": [{"chatbot_id": "x", "role": "owner"}]}, "chatbots[0].role"),
        ({"chatbots": [{"chatbot_id": "x"}, {"chatbot_id": "x"}]}, "chatbots"),
        ({"password": "x"}, "password"),
    ],
)
async def test_what_is_wrong_with_an_operator_is_told(tmp_path: Path, wrong: dict[str, Any], field: str) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.post("/operators", {**ANN, "role": "member", **wrong}, key=await _keeper(api))
        assert (reply.status, reply.code) == (422, "invalid_request")
        assert field in reply.fields


async def test_a_chatbot_of_another_account_is_none(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        other = await api.services.key_ring.ensure_account("other")
        _, theirs = await api.services.key_ring.create(other.id, "theirs", scopes=SCOPES)
        foreign = (await api.post("/chatbots", {"name": "Theirs"}, key=theirs)).body["id"]
        reply = await api.post(
            "/operators", {"email": "a@example.com", "chatbots": [{"chatbot_id": foreign}]}, key=await _keeper(api)
        )
        assert reply.status == 422
        made = await api.post("/operators", {"email": "a@example.com"}, key=theirs)
        assert (await api.call("DELETE", f"/operators/{made.body['id']}", key=await _keeper(api))).status == 404
        assert (await api.get("/operators", key=await _keeper(api))).body == []


async def test_only_owners_and_the_machine_make_owners(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        key = await _keeper(api)
        assert (await api.post("/operators", ANN, key=key)).code == "forbidden", "or a key could make itself an owner"
        owner = await add_operator(api.services, "owner", "owner")
        admin = principal_of(await add_operator(api.services, "admin", "admin"))
        assert admin is not None
        async with as_principal(api.services, admin) as as_admin:
            assert (await as_admin.post("/operators", ANN)).code == "forbidden"
            for path, method, body in (
                (f"/operators/{owner.id}", "PATCH", {"disabled": True}),
                (f"/operators/{owner.id}", "PATCH", {"role": "member"}),
                (f"/operators/{owner.id}", "PATCH", {"email": "mine@example.com"}),
                (f"/operators/{admin.id}", "PATCH", {"role": "owner"}),
                (f"/operators/{owner.id}", "DELETE", None),
                (f"/operators/{owner.id}/invite", "POST", None),
            ):
                assert (await as_admin.call(method, path, body)).code == "forbidden", (method, body)
            assert (await as_admin.post("/operators", {**ANN, "role": "admin"})).status == 201
        who = principal_of(owner)
        assert who is not None
        async with as_principal(api.services, who) as as_owner:
            assert (await as_owner.call("PATCH", f"/operators/{admin.id}", {"role": "owner"})).status == 200


async def test_what_each_role_may_do(tmp_path: Path) -> None:
    """On every route, with a chatbot that a member belongs to and with another one."""
    async with gigachat(tmp_path) as api:
        theirs, other = await api.chatbot(), await api.chatbot(name="Another")
        conversation = f"{theirs}/conversations/c1"
        await api.say(theirs, "Hello")
        await api.say(other, "Hello")
        roles = await principals_of_roles(api.services, theirs)
        cells = 0
        for name, who in roles.items():
            async with as_principal(api.services, who) as client:
                seen = [each["id"] for each in (await client.get("/chatbots")).body]
                is_member = name in ("operator", "viewer")
                everything = {theirs.rpartition("/")[2], other.rpartition("/")[2]}
                assert set(seen) == (
                    everything if name in ("owner", "admin") else everything - {other.rpartition("/")[2]} if is_member else set()
                )
                for route in ROUTES:
                    if not isinstance(route.scope, Scope) or (route.is_streamed and route.method == "GET"):
                        continue
                    is_deletion = (route.method, route.path) == ("DELETE", "/chatbots/{chatbot_id}")
                    for chatbot in () if is_deletion and name in ("owner", "admin") else (theirs, other):
                        path = route.path.replace("/chatbots/{chatbot_id}", chatbot).replace("{conversation_id}", "none")
                        path = path.replace("{", "").replace("}", "")
                        reply = await client.call(route.method, path, None if route.request is None else {"x": 1})
                        cells += 1
                        if name in ("owner", "admin"):
                            assert reply.status not in (401, 403), (name, route.method, path, reply.text)
                        elif "{chatbot_id}" in route.path and (name == "outsider" or chatbot == other):
                            assert reply.status == (403 if route.scope not in who.scopes else 404), (name, path, reply.text)
                        elif route.chatbot_in not in (None, "path"):
                            is_done = reply.status < 300  # in the one chatbot that they reach
                            assert not is_done or (is_member and route.scope in who.scopes), (name, path, reply.text)
                        elif "{chatbot_id}" in route.path or route.is_filtered:
                            expected = route.scope in who.scopes
                            assert (reply.status != 403) == expected, (name, route.method, path, reply.text)
                        else:
                            assert reply.status == 403, (name, route.method, path, reply.text)
        assert (await api.get(conversation)).status == 200
        assert cells > 900


async def test_a_member_of_two_chatbots_has_the_role_of_each(tmp_path: Path) -> None:
    """What they may do in one they may not do in the other, whichever way they go in."""
    async with gigachat(tmp_path) as api:
        answers, reads = await api.chatbot(), await api.chatbot(name="Other")
        for chatbot in (answers, reads):
            await api.say(chatbot, "Hello")
        made = await add_operator(api.services, "ann", chatbots={answers: "operator", reads: "viewer"})
        who = principal_of(made)
        assert who is not None
        async with as_principal(api.services, who) as client:
            assert (await client.post(f"{answers}/conversations/c1/takeover", {"operator": "someone"})).body[
                "controlled_by"
            ] == "ann"
            assert (await client.post(f"{reads}/conversations/c1/takeover", {"operator": "someone"})).code == "forbidden"
            assert (await client.call("DELETE", f"{reads}/conversations/c1")).code == "forbidden"
            assert (await client.get(f"{reads}/conversations/c1")).status == 200
            for path, status in (("/api-keys", 403), ("/operators", 403), ("/audit", 403), ("/queue", 200), ("/chatbots", 200)):
                assert (await client.get(path)).status == status, path
            assert (await client.post("/chatbots", {"name": "Mine"})).code == "forbidden"


async def test_an_operator_speaks_as_themselves_whatever_name_is_given(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        who = principal_of(await add_operator(api.services, "ann", chatbots={chatbot: "operator"}))
        assert who is not None
        async with as_principal(api.services, who) as client:
            said = {"conversation_id": "c1", "prompt": "I look into it."}
            for user_id in ("client:ann", "client:boss", "client: ann"):
                (message, *_) = (await client.post(f"{chatbot}/conversations", {**said, "user_id": user_id})).body
                assert (message["role"], message["name"], message["user_id"]) == ("operator", "ann", message["user_id"])
            for user_id in ("ann", "ann@example.com", "visitor:ann", "visitor"):
                refused = await client.post(f"{chatbot}/conversations", {**said, "user_id": user_id})
                assert refused.code == "forbidden", "staff are never stored as a customer"
        assert {m["name"] for m in await api.messages(chatbot) if m["role"] == "operator"} == {"ann"}


async def test_a_lowered_role_ends_a_stream_that_is_open(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        made = await add_operator(api.services, "ann", chatbots={chatbot: "operator"})
        services, session_id = api.services, await session_of(api.services, made)

        async def now() -> Principal | None:
            session = await services.sessions.recognise(session_id)
            return None if session is None else session.principal

        held: list[Principal | None] = [await now()]
        async with as_principal(services, lambda: held[0]) as client:
            reading = asyncio.create_task(client.get(f"{chatbot}/events", headers={"Accept": "text/event-stream"}))
            await _until_followed(services)
            local = local_operator(services.account.id)
            await services.operators.change(local, made.id, lambda draft: _without_chatbots(draft))
            held[0] = await now()
            await api.say(chatbot, "Still there?")
            reply = await reading
        assert [name for name, _ in reply.events] == ["error"]
        assert reply.events[0][1]["code"] in ("forbidden", "not_found")


def _without_chatbots(draft: Any) -> Any:
    return msgspec.structs.replace(draft, memberships=())


async def _until_followed(services: Any) -> None:
    while not services.events._followers:  # noqa: ASYNC110 - the test's own limit bounds it
        await asyncio.sleep(0.005)


# --- at the same time ---


async def test_of_two_owners_who_remove_each_other_one_stays(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        people = api.services.operators
        for number in range(10):
            first = await add_operator(api.services, f"a{number}", "owner")
            second = await add_operator(api.services, f"b{number}", "owner")
            for earlier in await people.list(local_operator(first.account_id), after=None, limit=50):
                if earlier.role == Role.OWNER and earlier.id not in (first.id, second.id):
                    await people.delete(local_operator(first.account_id), earlier.id)
            acts = [_removed(api, by, of) for by, of in ((first, second), (second, first))]
            outcomes = await asyncio.gather(*acts)
            assert sorted(outcomes) == ["done", "last_owner"], number

            async def count(reader: Reader, account_id: str = first.account_id) -> int:
                return await operators.count_owners(reader, account_id)

            assert await api.services.database.read(count) == 1


async def _removed(api: Api, by: Any, of: Any) -> str:
    who = principal_of(by)
    assert who is not None
    try:
        await api.services.operators.delete(who, of.id)
    except GigachatError as error:
        return error.code
    return "done"


@pytest.mark.parametrize("change", [{"role": "admin"}, {"is_disabled": True}])
async def test_the_last_owner_stays_one_whatever_becomes_of_the_others(tmp_path: Path, change: dict[str, Any]) -> None:
    async with gigachat(tmp_path) as api:
        people, local = api.services.operators, local_operator(api.services.account.id)
        first, second = [await add_operator(api.services, handle, "owner") for handle in ("ann", "ben")]

        async def lowered(operator_id: str) -> str:
            try:
                await people.change(local, operator_id, lambda draft: msgspec.structs.replace(draft, **change))
            except GigachatError as error:
                return error.code
            return "done"

        assert sorted(await asyncio.gather(lowered(first.id), lowered(second.id))) == ["done", "last_owner"]
        able = [each for each in await people.list(local, after=None, limit=9) if each.role == "owner" and not each.disabled_at]
        assert len(able) == 1
        assert await lowered(able[0].id) == "last_owner"


async def test_of_those_who_make_the_first_owner_at_once_one_does(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        services, local = api.services, local_operator(api.services.account.id)
        opened = [await services.sessions.recognise(await services.sessions.open(local, peer=None)) for _ in range(4)]

        async def made(number: int) -> str:
            session = opened[number]
            assert session is not None
            draft = Draft(email=f"owner-{number}@example.com", name="", handle="", role="owner")
            try:
                return await services.sign_in.create_first_owner(session, draft, PASSWORD, peer=None)
            except GigachatError as error:
                return error.code

        outcomes = await asyncio.gather(*(made(number) for number in range(4)))
        assert outcomes.count("forbidden") == 3
        assert [each.role for each in await services.operators.list(local, after=None, limit=9)] == ["owner"]


async def test_a_lesser_key_makes_no_first_owner(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        services, draft = api.services, Draft(email="ann@example.com", name="", handle="", role="owner")
        lesser = tuple(scope for scope in SCOPES if scope is not Scope.CHATBOTS_WRITE)
        _, secret = await services.key_ring.create(services.account.id, "lesser", scopes=lesser)
        principal = await services.key_ring.authenticate(secret)
        session = await services.sessions.recognise(await services.sessions.open(principal, peer=None))
        assert session is not None
        with pytest.raises(Forbidden):
            await services.sign_in.create_first_owner(session, draft, PASSWORD, peer=None)
        assert await services.operators.list(local_operator(services.account.id), after=None, limit=9) == []


async def test_of_who_is_deleted_no_session_and_no_link_is_kept(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        services, local = api.services, local_operator(api.services.account.id)
        made = await add_operator(services, "ann")
        session_id = await session_of(services, made)
        _, token = await services.operators.invite(local, made.id)
        assert principal_of(msgspec.structs.replace(made, disabled_at=1)) is None, "whatever session may be left"
        await services.operators.delete(local, made.id)
        assert await services.sessions.recognise(session_id) is None
        assert await services.sign_in.accept(token, PASSWORD, peer=None) is None
        for table in ("operator_sessions", "one_time_tokens", "memberships"):
            assert await rows(api, f"SELECT 1 FROM {table} WHERE operator_id = :id", id=made.id) == [], table


async def test_a_change_is_held_to_what_a_new_operator_is_held_to(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        key, made = await _keeper(api), await add_operator(api.services, "ann")
        path = f"/operators/{made.id}"
        foreign = {"chatbots": [{"chatbot_id": "01a204e3-15f7-77b1-9db6-d193b16a5979"}]}
        refused = await api.call("PATCH", path, foreign, key=key)
        assert (refused.status, refused.fields) == (422, {"chatbots"})
        assert (await api.call("PATCH", path, {"handle": "anna"}, key=key)).body["handle"] == "anna", "nobody knows it yet"
        await session_of(api.services, made)
        refused = await api.call("PATCH", path, {"handle": "hannah"}, key=key)
        assert (refused.status, refused.code) == (409, "handle_fixed")
        assert (await api.get("/operators", key=key)).body[0]["handle"] == "anna"


async def test_whoever_chooses_a_password_leaves_no_link_that_would_replace_it(tmp_path: Path) -> None:
    """A link may be out twice: as it was shown, and in a mail."""
    async with gigachat(tmp_path) as api:
        services, sign_in = api.services, api.services.sign_in
        made = await add_operator(services, "ann", "owner")
        local = local_operator(made.account_id)

        async def links() -> tuple[str, str]:
            _, shown = await services.operators.invite(local, made.id)

            async def body(tx: Tx) -> str:
                return await services.operators._invitations.make_link(tx, made)

            return shown, await services.database.transaction("test.link", body)

        used, other = await links()
        assert await sign_in.invited(other) is not None
        session_id = await sign_in.accept(used, PASSWORD, peer=None)
        assert session_id is not None
        assert await sign_in.accept(other, "another long password", peer=None) is None
        left = await links()
        session = await services.sessions.recognise(session_id)
        assert session is not None
        assert await sign_in.change_password(session, PASSWORD, "another long password")
        assert [await sign_in.accept(each, PASSWORD, peer=None) for each in left] == [None, None]


async def test_an_invitation_lets_in_one_browser(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        made = await add_operator(api.services, "ann", "owner")
        local = local_operator(made.account_id)
        _, void = await api.services.operators.invite(local, made.id)
        _, token = await api.services.operators.invite(local, made.id)
        sign_in = api.services.sign_in
        assert await sign_in.accept(void, PASSWORD, peer=None) is None, "a newer link replaced it"
        opened = await asyncio.gather(*(sign_in.accept(token, f"{PASSWORD} {number}", peer=None) for number in range(8)))
        (session_id,) = [each for each in opened if each is not None]
        assert await api.services.sessions.recognise(session_id) is not None
        winner = next(index for index, each in enumerate(opened) if each is not None)
        assert await sign_in.with_password("ANN@example.com", f"{PASSWORD} {winner}", peer=None) is not None
        assert await sign_in.accept(token, PASSWORD, peer=None) is None


async def test_who_is_disabled_while_they_sign_in_is_not_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gigachat(tmp_path) as api:
        await add_operator(api.services, "boss", "owner")
        made = await add_operator(api.services, "ann")
        session_id = await session_of(api.services, made)
        sign_in, local = api.services.sign_in, local_operator(made.account_id)
        checked = sign_in.passwords.matches

        async def matches(kept: str | None, password: str) -> bool:
            found = await checked(kept, password)
            await api.services.operators.change(local, made.id, _disabled)
            return found

        monkeypatch.setattr(sign_in.passwords, "matches", matches)
        assert await sign_in.with_password("ann@example.com", PASSWORD, peer=None) is None
        assert await api.services.sessions.recognise(session_id) is None
        monkeypatch.undo()
        await api.services.operators.change(local, made.id, _enabled)
        assert await api.services.sessions.recognise(session_id) is None, "a session that has ended does not come back"
        assert await sign_in.with_password("ann@example.com", PASSWORD, peer=None) is not None


def _disabled(draft: Any) -> Any:
    return msgspec.structs.replace(draft, is_disabled=True)


def _enabled(draft: Any) -> Any:
    return msgspec.structs.replace(draft, is_disabled=False)


async def test_what_is_done_is_in_the_audit_log(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        key = await _keeper(api)
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello", user="secret@example.com", conversation="secret@example.com")
        await api.post(f"{chatbot}/conversations/secret@example.com/takeover", {"operator": "eve"})
        await api.post(f"{chatbot}/conversations/secret@example.com/release")
        taken_over = (await api.get("/audit?limit=2", key=key)).body[1]
        assert (taken_over["action"], taken_over["detail"]) == ("conversation.taken_over", {"operator": "eve"})
        assert taken_over["target"] == f"conversation:{chatbot.rpartition('/')[2]} secret@example.com"
        await api.call("DELETE", f"{chatbot}/users/secret%40example.com")
        await api.call("DELETE", chatbot)
        made = (await api.post("/operators", {"email": "ann@example.com"}, key=key)).body
        await api.call("PATCH", f"/operators/{made['id']}", {"role": "admin", "email": "a@example.com"}, key=key)
        await api.call("DELETE", f"/operators/{made['id']}", key=key)
        made_key = (await api.post("/api-keys", {"name": "k"}, key=key)).body
        await api.call("DELETE", f"/api-keys/{made_key['id']}", key=key)
        assert (await api.get("/audit")).code == "forbidden"
        entries = (await api.get("/audit?limit=100", key=key)).body
        assert [each["action"] for each in reversed(entries)][-10:] == [
            "chatbot.created",
            "conversation.taken_over",
            "conversation.released",
            "user.deleted",
            "chatbot.deleted",
            "operator.created",
            "operator.changed",
            "operator.deleted",
            "key.created",
            "key.revoked",
        ]
        told = {each["action"]: each for each in entries}
        assert told["operator.changed"]["detail"] == {"role": ["member", "admin"], "fields": ["email"]}
        assert told["operator.deleted"]["target"] == "operator:ann"
        assert told["chatbot.deleted"]["target"] == f"chatbot:{chatbot.rpartition('/')[2]}"
        assert told["conversation.taken_over"]["detail"] == {"operator": "eve"}
        assert told["conversation.taken_over"]["target"] == f"conversation:{chatbot.rpartition('/')[2]} erased"
        assert told["key.revoked"]["actor"].startswith("key:")
        assert "example.com" not in str(entries), "whoever was erased is not named"
        (first, second, *_) = entries
        page = await api.get("/audit?limit=1", key=key)
        assert [each["id"] for each in page.body] == [first["id"]]
        following = page.headers["Link"].partition("after=")[2].partition(">")[0]
        assert [e["id"] for e in (await api.get(f"/audit?limit=1&after={following}", key=key)).body] == [second["id"]]


async def test_an_act_that_fails_leaves_no_entry(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        key = await _keeper(api)
        await add_operator(api.services, "boss", "owner")
        before = (await api.get("/audit?limit=100", key=key)).body
        (boss,) = await api.services.operators.list(local_operator(api.services.account.id), after=None, limit=5)
        with pytest.raises(GigachatError):
            await api.services.operators.delete(local_operator(boss.account_id), boss.id)
        with pytest.raises(NotFound):
            await api.services.operators.delete(local_operator(api.services.account.id), "01a204e3-15f7-77b1-9db6-d193b16a5979")
        assert (await api.post("/operators", {"email": "boss@example.com"}, key=key)).status == 409
        assert (await api.get("/audit?limit=100", key=key)).body == before
