"""End users as the front door meets them, and prompts that they send."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from gigachat_server.access.limits import network_of
from gigachat_server.access.principal import Principal, PrincipalKind
from gigachat_server.access.scopes import Scope
from gigachat_server.chat.turns.turn import TurnHandle
from gigachat_server.errors import GigachatError
from gigachat_server.models.base import UsageReport
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.records import Chatbot
from gigachat_server.services import Services
from gigachat_server.store import chatbots
from gigachat_server.store.idempotency import Key

MINUTE, DAY = 60_000_000, 86_400_000_000
NOON = 20_000 * DAY + DAY // 2


_AT_ONCE = 16


class Hand:
    """A clock that a test turns."""

    def __init__(self, at: int = NOON) -> None:
        self.at = at

    def __call__(self) -> int:
        return self.at


def end_user(chatbot: Chatbot, user_id: str = "ann", *, peer: str | None = "192.0.2.1") -> Principal:
    return Principal(
        kind=PrincipalKind.USER,
        account_id=chatbot.account_id,
        id=f"user:{user_id}",
        scopes=frozenset((Scope.CONVERSATIONS_READ, Scope.CONVERSATIONS_WRITE)),
        chatbot_id=chatbot.id,
        user_id=user_id,
        address=network_of(peer),
    )


async def chatbot_at(services: Services, path: str) -> Chatbot:
    """As it is stored now."""

    async def read(reader: Any) -> Chatbot | None:
        return await chatbots.find_of_any_account(reader, path.rpartition("/")[2])

    found = await services.database.read(read)
    assert found is not None
    return found


async def prompt(
    services: Services,
    chatbot: Chatbot,
    who: Principal,
    text: str = "Hello",
    *,
    conversation: str | None = None,
    key: str | None = None,
) -> TurnHandle:
    """Say something, in a new conversation unless it is named, and wait for what comes of it."""
    known = Key(chatbot_id=chatbot.id, principal=who.id, route="say", key=key, fingerprint=text) if key else None
    handle = await services.conversations.speak(
        who, chatbot, conversation_id=conversation, user_id=None, text=text, metadata={}, key=known
    )
    await handle.result()
    return handle


async def outcomes(*prompts: Coroutine[Any, Any, Any]) -> Counter[str]:
    """How often each came of them: `ok`, or a code. Some at a time, as a store has connections for."""
    found: Counter[str] = Counter()
    waiting = iter(prompts)

    async def lane() -> list[Any]:
        return [(await asyncio.gather(each, return_exceptions=True))[0] for each in waiting]

    lanes = await asyncio.gather(*(lane() for _ in range(_AT_ONCE)))
    for outcome in (each for lane in lanes for each in lane):
        if isinstance(outcome, BaseException) and not isinstance(outcome, GigachatError):
            raise outcome
        found[outcome.code if isinstance(outcome, GigachatError) else "ok"] += 1
    return found


def costly(prompt_tokens: int = 60, completion_tokens: int = 40) -> ScriptedModel:
    """A model that tells what it cost."""
    return ScriptedModel([UsageReport("costly", prompt_tokens, completion_tokens), "Hi."])
