"""Who reaches what: every route, with every kind of credential, on what is theirs, on what is another's, and on nothing.

Idea: what is expected follows from the row of the route table and from the column of the credential, never from what the server
does. Invariants: a route without a row in `BODIES` fails; a cell that is refused changes nothing; and an end user cannot tell
what is another's from what is not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from gigachat_server.access.scopes import SCOPES, Scope
from gigachat_server.api.routes import (
    CHATBOT,
    CONVERSATION,
    CONVERSATIONS,
    MESSAGE,
    ROUTES,
    SESSIONS,
    UI,
    UI_MESSAGES,
    UI_STREAM,
    ApiRoute,
)
from gigachat_server.edge.routes import PUBLIC
from tests.access.people import ALICE, BOB, PAGE, People, people
from tests.harness import Api, Reply, gigachat
from tests.turns import rows

MODEL = "the only chatbot"  # in a body of OpenAI's clients
NOWHERE = "01a204e3-15f7-77b1-9db6-d193b16a5979"

# `own`: the caller's account and, of an end user, the caller's conversation; `foreign`: another account's chatbot or, in one's
# own chatbot, another user's conversation; `missing`: none.
Target = Literal["own", "foreign", "missing"]
Expected = Literal["in", 401, 403, 404]


def _of_openai(mount: str) -> dict[tuple[str, str], Any]:
    return {
        ("GET", mount + "/models"): None,
        ("GET", mount + "/models/{model}"): None,
        ("POST", mount + "/chat/completions"): {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]},
        ("POST", mount + "/responses"): {"model": MODEL, "input": "Hello"},
        ("GET", mount + "/responses/{response_id}"): None,
        ("POST", mount + "/responses/{response_id}/cancel"): None,
        ("POST", mount + "/conversations"): {},
        ("GET", mount + "/conversations/{conversation_id}"): None,
        ("GET", mount + "/conversations/{conversation_id}/items"): None,
        ("POST", mount + "/embeddings"): {"model": MODEL, "input": "Hello"},
    }


# The body of each route, by method and path: None where none is read. A row that is missing fails. What an end user does is whole
# and succeeds; of the others it is enough that they are let in.
BODIES: dict[tuple[str, str], Any] = {
    ("GET", "/chatbots"): None,
    ("POST", "/chatbots"): {"name": "x"},
    ("GET", CHATBOT): None,
    ("PATCH", CHATBOT): {},
    ("DELETE", CHATBOT): None,
    ("GET", "/queue"): None,
    ("GET", CHATBOT + "/documents"): None,
    ("POST", CHATBOT + "/documents"): {},
    ("GET", CHATBOT + "/documents/{document_id}"): None,
    ("PUT", CHATBOT + "/documents/{document_id}"): {},
    ("DELETE", CHATBOT + "/documents/{document_id}"): None,
    ("GET", CHATBOT + "/retrieve"): None,
    ("GET", CHATBOT + "/sites"): None,
    ("POST", CHATBOT + "/sites"): {},
    ("GET", CHATBOT + "/sites/{site_id}"): None,
    ("PATCH", CHATBOT + "/sites/{site_id}"): {},
    ("DELETE", CHATBOT + "/sites/{site_id}"): None,
    ("POST", CHATBOT + "/sites/{site_id}/crawl"): None,
    ("GET", CHATBOT + "/sites/{site_id}/pages"): None,
    ("GET", CONVERSATIONS): None,
    ("POST", CONVERSATIONS): {"prompt": "Hello"},
    ("GET", CONVERSATION): None,
    ("PATCH", CONVERSATION): {},
    ("DELETE", CONVERSATION): None,
    ("GET", CONVERSATION + "/messages"): None,
    ("POST", CONVERSATION + "/stop"): None,
    ("POST", CONVERSATION + "/takeover"): {"operator": "eve"},
    ("POST", CONVERSATION + "/release"): None,
    ("POST", CONVERSATION + "/handoff"): {},
    ("GET", CONVERSATION + "/events"): None,
    ("PUT", CONVERSATION + "/read"): {"seq": 1},
    ("POST", CONVERSATION + "/typing"): {},
    ("PUT", CONVERSATION + "/rating"): {"closed_seq": 1, "score": 5},
    ("POST", MESSAGE + "/retry"): {},
    ("PUT", MESSAGE + "/feedback"): {"rating": "up"},
    ("POST", UI): {"id": "chat", "messages": [{"role": "user", "parts": [{"type": "text", "text": "Hello"}]}]},
    ("GET", UI_STREAM): None,
    ("GET", UI_MESSAGES): None,
    ("GET", CONVERSATION + "/notes"): None,
    ("POST", CONVERSATION + "/notes"): {"content": "x"},
    ("DELETE", CONVERSATION + "/notes/{note_id}"): None,
    ("GET", CONVERSATION + "/proposals"): None,
    ("POST", CONVERSATION + "/suggest"): None,
    ("POST", CONVERSATION + "/proposals/{proposal_id}/send"): {},
    ("POST", CONVERSATION + "/proposals/{proposal_id}/discard"): {},
    ("GET", CHATBOT + "/search"): None,
    ("GET", "/operators"): None,
    ("POST", "/operators"): {},
    ("PATCH", "/operators/{operator_id}"): {},
    ("DELETE", "/operators/{operator_id}"): None,
    ("POST", "/operators/{operator_id}/invite"): None,
    ("GET", "/audit"): None,
    ("GET", CHATBOT + "/limits"): None,
    ("GET", CHATBOT + "/events"): None,
    ("GET", CHATBOT + "/canned-replies"): None,
    ("POST", CHATBOT + "/canned-replies"): {},
    ("PUT", CHATBOT + "/canned-replies/{canned_reply_id}"): {},
    ("DELETE", CHATBOT + "/canned-replies/{canned_reply_id}"): None,
    ("GET", "/presence"): None,
    ("PUT", "/presence"): {},
    ("GET", CHATBOT + "/figures"): None,
    ("POST", CONVERSATION + "/transcript"): {},
    ("GET", CHATBOT + "/users/{user_id}"): None,
    ("PATCH", CHATBOT + "/users/{user_id}"): {},
    ("DELETE", CHATBOT + "/users/{user_id}"): None,
    ("POST", CHATBOT + "/users/{user_id}/revoke"): {},
    ("GET", CHATBOT + "/unanswered"): None,
    ("POST", CHATBOT + "/unanswered/{prompt_id}/answer"): {},
    ("POST", CHATBOT + "/unanswered/{prompt_id}/dismiss"): None,
    ("POST", CHATBOT + "/replay"): {},
    ("GET", CHATBOT + "/fixed-answers"): None,
    ("POST", CHATBOT + "/fixed-answers"): {},
    ("GET", CHATBOT + "/fixed-answers/{fixed_answer_id}"): None,
    ("PUT", CHATBOT + "/fixed-answers/{fixed_answer_id}"): {},
    ("DELETE", CHATBOT + "/fixed-answers/{fixed_answer_id}"): None,
    ("GET", CHATBOT + "/identity-keys"): None,
    ("POST", CHATBOT + "/identity-keys"): {},
    ("DELETE", CHATBOT + "/identity-keys/{identity_key_id}"): None,
    ("GET", CHATBOT + "/widget-keys"): None,
    ("POST", CHATBOT + "/widget-keys"): {},
    ("PATCH", CHATBOT + "/widget-keys/{widget_key_id}"): {},
    ("DELETE", CHATBOT + "/widget-keys/{widget_key_id}"): None,
    ("POST", SESSIONS): {},
    ("DELETE", SESSIONS + "/current"): None,
    ("GET", "/api-keys"): None,
    ("POST", "/api-keys"): {"name": "x", "scopes": ["keys:write"]},
    ("DELETE", "/api-keys/{key_id}"): None,
    **_of_openai("/v1"),
    **_of_openai(CHATBOT + "/v1"),
    ("GET", "/livez"): None,
    ("GET", "/readyz"): None,
}
# What a handler asks for besides the scope of its row.
ALSO: dict[tuple[str, str], Scope] = {
    ("POST", CHATBOT + "/replay"): Scope.CHATBOTS_WRITE,
    ("POST", CONVERSATION + "/transcript"): Scope.MESSAGES_INJECT,
}


class Scene(msgspec.Struct):
    """A chatbot with conversations of two users, and one of another account."""

    api: Api
    shop: People
    foreign: str  # the id of a chatbot of another account
    conversations: dict[str, tuple[str, str]]  # by user: the id, and that of its reply
    keys: dict[Scope, str]
    sessions: dict[str, str]

    def path(self, route: ApiRoute, target: Target) -> str:
        """Of one user's own conversation, of another's, or of none; where the route names none, of such a chatbot."""
        in_chatbot = is_in_conversation(route)
        conversation, message = {
            "own": self.conversations[ALICE], "foreign": self.conversations[BOB], "missing": ("cnv_0", NOWHERE),
        }[target]  # fmt: skip
        chatbot = {"own": self.shop.chatbot_id, "foreign": self.foreign, "missing": NOWHERE}[target]
        named = {
            "chatbot_id": self.shop.chatbot_id if in_chatbot else chatbot,
            "conversation_id": conversation,
            "message_id": message,
            "response_id": f"resp_{message}",
            "model": chatbot,
            "user_id": BOB,
        }
        query = "?query=parcels" if route.path.endswith("/retrieve") else ""
        return re.sub(r"\{(\w+)\}", lambda name: named.get(name[1], NOWHERE), route.path) + query


# A browser asks these of chats that nobody has begun: what is another's looks like one of those.
EMPTY = {("GET", UI_STREAM), ("GET", UI_MESSAGES)}


class Column(msgspec.Struct, frozen=True):
    """A credential, and what the row of a route says about it. A column of an operator's role joins `COLUMNS` like any other."""

    name: str
    bearer: Callable[[Scene], Awaitable[str | None]]
    expected: Callable[[ApiRoute, Target], Expected]
    body: Callable[[Any, Scene], Any] = lambda body, _: body
    headers: dict[str, str] = {}
    is_end_user: bool = False


def is_in_conversation(route: ApiRoute) -> bool:
    return "{conversation_id}" in route.path or "{response_id}" in route.path


def lies_elsewhere(route: ApiRoute, target: Target) -> bool:
    """In a chatbot that is not the caller's."""
    names_chatbot = "{chatbot_id}" in route.path or route.chatbot_in == "model"
    return target != "own" and names_chatbot and not is_in_conversation(route)


def for_none(route: ApiRoute, target: Target) -> Expected:
    return "in" if route.scope == PUBLIC else 401


def for_key(scope: Scope) -> Callable[[ApiRoute, Target], Expected]:
    def expected(route: ApiRoute, target: Target) -> Expected:
        if route.scope == PUBLIC:
            return "in"
        if route.scope is not scope and not (scope is Scope.DOCUMENTS_WRITE and route.scope is Scope.LEARNING_WRITE):
            return 403
        if lies_elsewhere(route, target):
            return 404
        return 403 if ALSO.get((route.method, route.path), scope) is not scope else "in"

    return expected


def for_end_user(*scopes: Scope) -> Callable[[ApiRoute, Target], Expected]:
    """Bound to one chatbot, and to their own conversations in it."""

    def expected(route: ApiRoute, target: Target) -> Expected:
        if route.scope == PUBLIC:
            return "in"
        if "{chatbot_id}" not in route.path or lies_elsewhere(route, target):
            return 401  # their credential is one of that chatbot alone
        if route.end_user == "no" or route.scope not in scopes:
            return 403
        return "in" if target == "own" or (route.method, route.path) in EMPTY else 404

    return expected


def with_user(body: Any, _: Scene) -> Any:
    """What an API key has to name in a prompt, and in a session."""
    if body == BODIES["POST", CONVERSATIONS]:
        return {**body, "conversation_id": "c", "user_id": "carol"}
    return body


def with_scope(scope: Scope) -> Callable[[Scene], Awaitable[str | None]]:
    async def bearer(scene: Scene) -> str:
        return scene.keys[scope]

    return bearer


async def no_bearer(_: Scene) -> None:
    return None


async def the_widget_key(scene: Scene) -> str:
    return scene.shop.widget_key


async def a_token(scene: Scene) -> str:
    return scene.shop.token(email="them@example.com")


async def a_session(scene: Scene) -> str:
    return scene.sessions[ALICE]


async def a_session_that_ended(scene: Scene) -> str:
    return scene.sessions["ended"]


def for_nobody(route: ApiRoute, target: Target) -> Expected:
    return "in" if route.scope == PUBLIC else 401


CONVERSING = (Scope.CONVERSATIONS_READ, Scope.CONVERSATIONS_WRITE)
COLUMNS = (
    Column("none", no_bearer, for_none),
    *(Column(f"key {scope}", with_scope(scope), for_key(scope), with_user) for scope in SCOPES),
    Column("widget key", the_widget_key, for_end_user(Scope.TOKENS_WRITE), headers=PAGE, is_end_user=True),
    Column("token", a_token, for_end_user(*CONVERSING, Scope.TOKENS_WRITE), is_end_user=True),
    Column("session", a_session, for_end_user(*CONVERSING), is_end_user=True),
    Column("ended session", a_session_that_ended, for_nobody, is_end_user=True),
)


def cells() -> Iterator[tuple[ApiRoute, Column, Target]]:
    """What deletes the ground under the others comes last."""
    order = sorted(ROUTES, key=lambda route: (route.method == "DELETE", route.method == "DELETE" and route.path == CHATBOT))
    targets: tuple[Target, ...] = ("own", "foreign", "missing")
    for route in order:
        for target in targets if "{" in route.path else targets[:1]:
            for column in COLUMNS:
                yield route, column, target


async def scene_of(api: Api) -> Scene:
    shop = await people(api)
    stranger = await api.services.key_ring.ensure_account("stranger")
    _, other = await api.services.key_ring.create(stranger.id, "stranger")
    foreign = (await api.post("/chatbots", {"name": "theirs"}, key=other)).body["id"]
    conversations = {}
    for user in (ALICE, BOB):
        said = (await shop.post("/conversations", {"prompt": "Hello"}, bearer=shop.token(user, email="them@example.com"))).body
        conversations[user] = (said[-1]["conversation_id"], said[-1]["id"])
    keys = {scope: (await api.services.key_ring.create(api.services.account.id, scope, scopes=(scope,)))[1] for scope in SCOPES}
    sessions = {ALICE: await shop.session(), "ended": await shop.session()}
    assert (await shop.call("DELETE", "/sessions/current", bearer=sessions["ended"])).status == 204
    return Scene(api, shop, foreign, conversations, keys, sessions)


async def _tried(scene: Scene, route: ApiRoute, column: Column, target: Target) -> Reply:
    is_endless = route.path == CHATBOT + "/events"
    method = "HEAD" if is_endless else route.method
    body = column.body(BODIES[route.method, route.path], scene)
    if isinstance(body, dict) and body.get("model") == MODEL:
        body = {**body, "model": scene.shop.chatbot_id}
    path = scene.path(route, target)
    return await scene.api.call(method, path, body, key=await column.bearer(scene), headers=column.headers)


async def _stored(api: Api) -> list[Any]:
    tables = ("chatbots", "conversations", "messages", "documents", "user_sessions", "identity_keys", "widget_keys", "api_keys")
    return [await rows(api, f"SELECT count(*) FROM {table}") for table in tables]


def test_every_route_has_a_row() -> None:
    assert set(BODIES) == {(route.method, route.path) for route in ROUTES}


def test_the_matrix_is_large() -> None:
    assert sum(1 for _ in cells()) >= 900


@pytest.mark.slow
async def test_each_credential_reaches_what_its_column_says_and_nothing_else(tmp_path: Path) -> None:
    async with gigachat(tmp_path, smtp_url="smtp://127.0.0.1:9", mail_from="support@shop.example") as api:
        scene = await scene_of(api)
        wrong: list[tuple[Any, ...]] = []
        refusals: dict[tuple[str, str], set[str]] = {}
        before = await _stored(api)
        for route, column, target in cells():
            expected = column.expected(route, target)
            if expected == "in":
                continue
            reply = await _tried(scene, route, column, target)
            if reply.status != expected:
                wrong.append((route.method, route.path, column.name, target, expected, reply.status))
            elif column.is_end_user and expected == 404:
                told = {name: value for name, value in json.loads(reply.text).items() if name not in ("instance", "request_id")}
                refusals.setdefault((route.method, route.path), set()).add(json.dumps(told))
        assert wrong == []
        assert await _stored(api) == before, "what was refused did nothing"
        assert refusals and all(len(each) == 1 for each in refusals.values()), "foreign and missing look the same"
        for route, column, target in cells():
            if column.expected(route, target) == "in":
                reply = await _tried(scene, route, column, target)
                is_refused = reply.status in (401, 403) or (column.is_end_user and not 200 <= reply.status < 300)
                if column.name == "token" and route.path == SESSIONS + "/current":
                    is_refused = reply.status != 404  # a token has no session to end
                if column.is_end_user and route.path == CONVERSATION + "/rating":
                    is_refused = reply.status != 422  # no human has closed it
                if is_refused:
                    wrong.append((route.method, route.path, column.name, target, "in", reply.status))
        assert wrong == []
