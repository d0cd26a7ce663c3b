"""How conversations look to who asks: to the account, whole; to an end user, as `end_user_wire.py` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.api import wire
from gigachat_server.api.end_user_wire import EndUserView
from gigachat_server.chat.conversations import Transcript
from gigachat_server.chat.feed import FeedEvent
from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.edge.request import Request, query_flag
from gigachat_server.records import Conversation, Message, SourceView


class Shown(msgspec.Struct, frozen=True):
    """How much of replies, and of what made them, the caller sees in the words of another protocol."""

    sources: SourceView = "full"
    is_account: bool = True


def shown_to(principal: Principal) -> Shown:
    return Shown(principal.sources, not principal.is_end_user)


class View(Protocol):
    with_embedding: bool
    """Whether the vectors of sources are shown."""

    def messages(self, found: TurnResult | Transcript) -> list[Any]: ...

    def message(self, record: Message, vectors: Mapping[str, bytes] = {}) -> Any: ...

    def conversation(self, record: Conversation) -> Any: ...

    def event(self, happened: FeedEvent) -> Any:
        """None for one that is not shown."""


class AccountView:
    """How records look to those who act for the account."""

    def __init__(self, account_id: str, *, with_embedding: bool) -> None:
        self._account_id = account_id
        self.with_embedding = with_embedding

    def messages(self, found: TurnResult | Transcript) -> list[wire.WireMessage]:
        return wire.messages(found, self._account_id, with_embedding=self.with_embedding)

    def message(self, record: Message, vectors: Mapping[str, bytes] = {}) -> wire.WireMessage:
        return wire.message(record, self._account_id, vectors)

    def conversation(self, record: Conversation) -> wire.WireConversation:
        return wire.conversation(record)

    def event(self, happened: FeedEvent) -> wire.WireEvent:
        return wire.event(happened, self._account_id, with_embedding=self.with_embedding)


def view_of(request: Request[Any], *, with_embedding: bool = True) -> View:
    """`with_embedding`: whether vectors are shown unless the request says so itself."""
    wanted = query_flag(request.query, "embedding", default=with_embedding)
    if request.principal.is_end_user:
        return EndUserView(request.principal)
    return AccountView(request.account_id, with_embedding=wanted)
