"""The front door to conversations: who is let in, as whom they speak, and what they see, whatever way in they took."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gigachat_server.access.principal import Principal, PrincipalKind, local_operator
from gigachat_server.access.scopes import SCOPES, Scope, known_scopes
from gigachat_server.access.speakers import operator_name
from gigachat_server.api.routes import ROUTES
from gigachat_server.chat.conversations import Conversations
from gigachat_server.chat.feed import Place
from gigachat_server.chat.threads import Threads
from gigachat_server.errors import Forbidden, GigachatError, InvalidRequest, NotFound
from gigachat_server.records import Chatbot, Feedback
from gigachat_server.store import chatbots
from tests.harness import Api, gigachat

Call = Callable[[Conversations, Principal, Chatbot], Awaitable[Any]]

SAID: dict[str, Any] = {"conversation_id": "c1", "user_id": "ann", "text": "Hello", "metadata": {}, "key": None}

# Every method, with the scope that it needs, on a conversation that is there.
CALLS: dict[str, tuple[Scope, Call]] = {
    "speak": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.speak(who, bot, **SAID)),
    "try_out": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.try_out(who, bot, "t1", text="Hello", key=None)),
    "retry": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.retry(who, bot, "c1", "none", key=None)),
    "join": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.join(who, bot, "c1")),
    "stop": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.stop(who, bot, "c1", key=None)),
    "rate": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.rate(who, bot, "c1", "none", Feedback(rating="up"))),
    "take_over": (
        Scope.MESSAGES_INJECT,
        lambda door, who, bot: door.take_over(who, bot, "c1", "eve", may_take_from=True, key=None),
    ),
    "release": (Scope.MESSAGES_INJECT, lambda door, who, bot: door.release(who, bot, "c1", key=None)),
    "hand_off": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.hand_off(who, bot, "c1", note="", key=None)),
    "threads.mark_read": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.threads.mark_read(who, bot, "c1", "ann", 1)),
    "threads.note_typing": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.threads.note_typing(who, bot, "c1", "ann")),
    "threads.rate": (
        Scope.CONVERSATIONS_WRITE,
        lambda door, who, bot: door.threads.rate(who, bot, "none", closed_seq=1, score=5, comment=""),
    ),
    "threads.page": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.threads.page(who, bot, "c1", before=None, limit=5)),
    "threads.overview": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.threads.overview(who, bot, limit=5)),
    "read": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.read(who, bot, "c1")),
    "list": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.list(who, bot, after=None, limit=5)),
    "messages": (
        Scope.CONVERSATIONS_READ,
        lambda door, who, bot: door.messages(who, bot, "c1", after=0, limit=5, with_vectors=True),
    ),
    "newest": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.newest(who, bot, "c1", limit=5)),
    "shown": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.shown(who, bot, "c1", before=None, limit=5)),
    "find_prompt": (
        Scope.CONVERSATIONS_WRITE,
        lambda door, who, bot: door.find_prompt(who, bot, "c1", [], metadata_key="name"),
    ),
    "named": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.named(who, bot, "c1", [])),
    "claim": (Scope.TOKENS_WRITE, lambda door, who, bot: door.claim(who, bot, "gcu_none")),
    "recall": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.recall(who, bot, "c1", embedding_model="m")),
    "events": (
        Scope.CONVERSATIONS_READ,
        lambda door, who, bot: door.events(who, bot, "c1", after=0, limit=5, with_vectors=False),
    ),
    "follow": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.follow(who, bot, "c1", Place(), idle_s=1)),
    "follow_all": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.follow_all(who, bot, None, idle_s=1)),
    "open": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.open(who, bot, "c2", key=None)),
    "last_known": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.last_known(who, bot, ["none"], user_id="ann")),
    "turn_of": (Scope.CONVERSATIONS_READ, lambda door, who, bot: door.turn_of(who, bot, "none")),
    "page": (
        Scope.CONVERSATIONS_READ,
        lambda door, who, bot: door.page(who, bot, "c1", behind=None, is_newest_first=True, limit=5),
    ),
    "erase": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.erase(who, bot, "c1")),
    "erase_user": (Scope.CONVERSATIONS_WRITE, lambda door, who, bot: door.erase_user(who, bot, "ann")),
}


def principal(account_id: str, *scopes: Scope, chatbot_id: str | None = None) -> Principal:
    return Principal(kind=PrincipalKind.KEY, account_id=account_id, id="k", scopes=frozenset(scopes), chatbot_id=chatbot_id)


def test_every_method_of_the_front_door_has_a_row_here() -> None:
    public = {name for name, _ in inspect.getmembers(Conversations, inspect.isfunction) if not name.startswith("_")}
    threads = {f"threads.{name}" for name in vars(Threads) if not name.startswith("_")}
    assert public | threads == set(CALLS)
    for name in public:
        assert list(inspect.signature(getattr(Conversations, name)).parameters)[:3] == ["self", "principal", "chatbot"], name


async def _begun(api: Api) -> Chatbot:
    """A chatbot with the conversation c1."""
    path = await api.chatbot()
    await api.say(path, "Hello")
    found = await chatbots.find_remembered(
        api.services.database, api.services.account.id, path.removeprefix("/chatbots/"), exactly=True
    )
    assert found is not None
    return found


async def _refusal(call: Call, door: Conversations, who: Principal, chatbot: Chatbot) -> type[GigachatError] | None:
    try:
        result = await call(door, who, chatbot)
    except GigachatError as error:
        return type(error)
    if inspect.isasyncgen(result):
        await result.aclose()
    return None


async def test_each_method_needs_its_scope_and_no_other(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, door = await _begun(api), api.services.conversations
        for name, (scope, call) in CALLS.items():
            others = principal(chatbot.account_id, *(each for each in SCOPES if each is not scope))
            assert await _refusal(call, door, others, chatbot) is Forbidden, name
        for name, (scope, call) in CALLS.items():
            only = principal(chatbot.account_id, scope)
            assert await _refusal(call, door, only, chatbot) is not Forbidden, name


async def test_what_is_not_the_principals_looks_like_nothing(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, door = await _begun(api), api.services.conversations
        stranger = await api.services.key_ring.ensure_account("stranger")
        missing = msgspec.structs.replace(chatbot, id="01a204e3-15f7-77b1-9db6-d193b16a5979")
        before = (await api.get(f"/chatbots/{chatbot.id}/conversations/c1")).text
        for name, (_, call) in CALLS.items():
            for who in (principal(stranger.id, *SCOPES), principal(chatbot.account_id, *SCOPES, chatbot_id=missing.id)):
                assert await _refusal(call, door, who, chatbot) is NotFound, name
        assert (await api.get(f"/chatbots/{chatbot.id}/conversations/c1")).text == before, "nothing was done"


@pytest.mark.parametrize("name", ["read", "messages", "newest", "events", "follow", "recall", "list", "page"])
async def test_a_read_names_its_account_in_the_statement(tmp_path: Path, name: str) -> None:
    """A chatbot record that claims to be the caller's own opens nothing."""
    async with gigachat(tmp_path) as api:
        chatbot, door = await _begun(api), api.services.conversations
        stranger = principal((await api.services.key_ring.ensure_account("stranger")).id, *SCOPES)
        claimed = msgspec.structs.replace(chatbot, account_id=stranger.account_id)
        if name == "list":
            assert await door.list(stranger, claimed, after=None, limit=5) == []
        else:
            assert await _refusal(CALLS[name][1], door, stranger, claimed) is NotFound


async def test_who_speaks_is_checked_once_for_every_way_in(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, door = await _begun(api), api.services.conversations
        writer = principal(chatbot.account_id, Scope.CONVERSATIONS_WRITE)
        with pytest.raises(Forbidden, match="messages:inject"):
            await door.speak(writer, chatbot, **{**SAID, "user_id": "client:eve"})
        for user_id in ("Client:eve", "client:", "client:bot", "\u200bclient:eve", "cli\u00adent:eve", "ｃlient:eve", "", "."):
            with pytest.raises(InvalidRequest):
                await door.speak(local_operator(chatbot.account_id), chatbot, **{**SAID, "user_id": user_id})
        with pytest.raises(InvalidRequest):
            await door.speak(writer, chatbot, **{**SAID, "metadata": {"a": "x" * 20_000}})
        for operator in ("", "bot", "client:bot", "\u200b"):
            with pytest.raises(InvalidRequest):
                await door.take_over(local_operator(chatbot.account_id), chatbot, "c1", operator, may_take_from=False, key=None)
        assert [message["content"] for message in await api.messages(f"/chatbots/{chatbot.id}")] == ["Hello", "Hi."]


async def test_a_place_that_was_not_reached_is_no_place(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, door = await _begun(api), api.services.conversations
        who = local_operator(chatbot.account_id)
        with pytest.raises(InvalidRequest):
            await door.follow(who, chatbot, "c1", Place(99), idle_s=1)
        with pytest.raises(NotFound):
            await door.follow(who, chatbot, "none", Place(), idle_s=1)


def test_each_route_needs_the_scope_that_the_front_door_asks_for() -> None:
    methods = {
        "say": "speak", "retry": "retry", "stop": "stop", "take_over": "take_over", "release": "release", "hand_off": "hand_off",
        "give_feedback": "rate", "list_events": "follow", "follow_chatbot": "follow_all", "list_all": "list", "get": "read",
        "list_messages": "messages", "delete": "erase", "delete_user": "erase_user", "mark_read": "threads.mark_read",
        "note_typing": "threads.note_typing", "rate": "threads.rate",
    }  # fmt: skip
    routes = [route for route in ROUTES if route.handler.__module__.endswith("api.conversations")]
    assert {route.handler.__name__ for route in routes} == set(methods), "no route without a row"
    for route in routes:
        assert route.scope == CALLS[methods[route.handler.__name__]][0], route.path


def test_a_principal_says_who_it_is_and_whose_limits_count() -> None:
    local, key = local_operator("acc"), principal("acc", Scope.CHATBOTS_READ)
    assert (local.id, local.limit_key) == ("local", "local:local"), "stored idempotency keys name it so"
    assert (key.id, key.limit_key, key.log_context) == ("k", "key:k", "account=acc principal=key:k")
    assert local.may(Scope.KEYS_WRITE) and local.is_owner
    assert not key.may(Scope.KEYS_WRITE)
    with pytest.raises(Forbidden, match="chatbots:write"):
        key.require(Scope.CHATBOTS_WRITE)


def test_a_scope_of_a_later_version_grants_nothing_here() -> None:
    assert known_scopes(("chatbots:read", "galaxies:write")) == {Scope.CHATBOTS_READ}


@pytest.mark.parametrize(("given", "name"), [("eve", "eve"), ("client:eve", "eve"), ("client:client:eve", "client:eve")])
def test_an_operator_is_named_with_or_without_the_prefix(given: str, name: str) -> None:
    assert operator_name(given, "operator") == name
