"""Who is calling: one object for every way in, whatever the credential was.

Invariant: only `access/` looks at scopes. Everybody else asks the principal: `require`, `may`, `check_reach`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from gigachat_server.access.scopes import RETIRED, SCOPES, Scope
from gigachat_server.access.speakers import CLIENT_PREFIX
from gigachat_server.errors import Forbidden, NotFound
from gigachat_server.records import Chatbot, Conversation, SourceView


class PrincipalKind(StrEnum):
    KEY = "key"  # an API key: the client's server
    LOCAL = "local"  # whoever operates this machine: its commands, and the login links it hands out
    OPERATOR = "operator"  # a person of the client's staff, signed in to the pages
    WIDGET = "widget"  # a visitor with a widget key, who can open an anonymous session and nothing else
    USER = "user"  # an end user, by a token of the client's server or by a session


class Role(StrEnum):
    """What an operator may do: of the account, or of a chatbot that they are a member of (operator, viewer)."""

    OWNER = "owner"
    ADMIN = "admin"  # all that an owner may, but to owners
    MEMBER = "member"  # what their memberships say
    OPERATOR = "operator"
    VIEWER = "viewer"


_VIEWER = frozenset({Scope.CHATBOTS_READ, Scope.DOCUMENTS_READ, Scope.CONVERSATIONS_READ})
# A member sees that there are chatbots; what they may do in each, their role there says.
SCOPES_OF: Mapping[Role, frozenset[Scope]] = {
    Role.OWNER: frozenset(SCOPES),
    Role.ADMIN: frozenset(SCOPES),
    Role.MEMBER: frozenset({Scope.CHATBOTS_READ}),
    Role.OPERATOR: _VIEWER | {Scope.CONVERSATIONS_WRITE, Scope.MESSAGES_INJECT, Scope.LEARNING_WRITE},
    Role.VIEWER: _VIEWER,
}


class UserAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How an end user, or a visitor with a widget key, is let in, and what of a reply they see. Times are microseconds."""

    session_id: str | None = None  # of a session of ours; None: a token of the client's server, or a widget key
    widget_key_id: str | None = None
    hostnames: tuple[str, ...] | None = None  # on whose pages the widget key is good; None: on those of each of the chatbot's
    needs_page: bool = False  # a request that names no page, as apps send it, is refused
    issued_at: int | None = None  # of a token
    expires_at: int | None = None
    sources: SourceView = "titles"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling, for which account, and what they may do.

    `id` also names the caller in stored idempotency keys: it is the key's id, `local`, or `user:` and the user's, so that a
    user with a fresh token is the same one. A principal bound to a chatbot or
    a user (None: not bound) reaches nothing else of its account. An end user is bound to both, and the front door admits them
    to their own conversations alone. An operator speaks as `operator`, whatever name a request gives.

    A member's `scopes` are what they may do in some chatbot; what they may do in one, `within` tells.
    """

    kind: PrincipalKind
    account_id: str
    id: str
    scopes: frozenset[Scope]
    is_owner: bool = False  # may do all that an account's own key may, for as long
    chatbot_id: str | None = None
    user_id: str | None = None
    conversation_ids: frozenset[str] | None = None  # an end user's token may be narrowed to some
    operator: str | None = None  # the handle of an operator who is signed in
    role: Role | None = None  # theirs in the account
    memberships: Mapping[str, Role] | None = None  # a member's chatbots, with their role in each; None: every chatbot
    address: str | None = None  # of an end user: what limits count as one address
    user_access: UserAccess | None = None  # of an end user, and of a visitor

    @property
    def is_end_user(self) -> bool:
        return self.kind in (PrincipalKind.USER, PrincipalKind.WIDGET)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes

    def require(self, scope: Scope, detail: str = "This needs a key with the scope {scope}.") -> None:
        """Raises `Forbidden`, saying `detail`."""
        if scope not in self.scopes:
            raise Forbidden(detail.format(scope=scope))

    def require_owner(self, detail: str) -> None:
        """Raises `Forbidden` for a key that was given less than an account's own key, or an end."""
        if not self.is_owner:
            raise Forbidden(detail)

    def require_grantable(self, scopes: tuple[str, ...]) -> None:
        """Raises `Forbidden` if one of them is not the principal's to give; those that are retired give nothing."""
        if excess := [scope for scope in scopes if scope not in self.scopes and scope not in RETIRED]:
            raise Forbidden(f"Your key cannot give what it does not have: {excess[0]}.")

    def check_reach(self, chatbot: Chatbot) -> None:
        """Raises `NotFound` for a chatbot that is not the principal's: a foreign one looks like none."""
        is_bound_elsewhere = self.chatbot_id not in (None, chatbot.id)
        is_outsider = self.memberships is not None and chatbot.id not in self.memberships
        if chatbot.account_id != self.account_id or is_bound_elsewhere or is_outsider:
            raise NotFound

    def within(self, chatbot: Chatbot) -> Principal:
        """The principal as they are in that chatbot: a member has the scopes of their role there. Raises `NotFound`."""
        self.check_reach(chatbot)
        if self.memberships is None:
            return self
        role = self.memberships[chatbot.id]
        return msgspec.structs.replace(self, scopes=SCOPES_OF[role], chatbot_id=chatbot.id)

    @property
    def reachable(self) -> tuple[str, ...] | None:
        """The ids of the chatbots that a list may show; None: all of the account."""
        if self.chatbot_id is not None:
            return (self.chatbot_id,)
        return None if self.memberships is None else tuple(self.memberships)

    @property
    def may_manage_owners(self) -> bool:
        """Whether they may make, change or remove owners: a key or an admin could otherwise become one."""
        return self.kind is PrincipalKind.LOCAL or self.role is Role.OWNER

    def check_own(self, conversation_id: str, conversation: Conversation | None) -> None:
        """Raises `NotFound` unless they may enter it: an end user their own ones alone, and of these perhaps some.

        One that names no user is entered by those whose token names it. A foreign one looks like none.
        """
        if not self.is_end_user:
            return
        narrowed = self.conversation_ids
        if conversation is None or (narrowed is not None and conversation_id not in narrowed):
            raise NotFound
        if conversation.user_id != self.user_id and (conversation.user_id is not None or narrowed is None):
            raise NotFound

    @property
    def sources(self) -> SourceView:
        """How much they see of what a reply was made from: the account all of it."""
        return "full" if self.user_access is None else self.user_access.sources

    @property
    def speaks_as(self) -> str | None:
        """The user_id of what they say, read and write: an end user's, an operator's; None: a key says for whom it acts."""
        return self.user_id if self.operator is None else CLIENT_PREFIX + self.operator

    @property
    def limit_key(self) -> str:
        """Whose requests count together."""
        return f"{self.kind}:{self.id}"

    @property
    def actor(self) -> str:
        """Who it was, for the audit log: `operator:ann`, `key:1a2B3c4D`, `local`."""
        if self.kind is PrincipalKind.LOCAL:
            return str(self.kind)
        return f"{self.kind}:{self.operator or self.user_id or self.id}"

    @property
    def log_context(self) -> str:
        """For a line in the log. Names no secret."""
        return f"account={self.account_id} principal={self.limit_key}"


def local_operator(account_id: str) -> Principal:
    """Who commands of this machine speak as: every scope, no key."""
    return Principal(
        kind=PrincipalKind.LOCAL, account_id=account_id, id=PrincipalKind.LOCAL.value, scopes=frozenset(SCOPES), is_owner=True
    )
