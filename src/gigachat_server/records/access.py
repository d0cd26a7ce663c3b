"""Who may reach a chatbot besides API keys: its end users, and what lets them in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Algorithm = Literal["HS256", "EdDSA", "ES256", "RS256"]
SourceView = Literal["full", "titles", "none"]


class IdentityKey(msgspec.Struct, frozen=True):
    """What verifies the tokens that a client's server signs for its users. A shared secret is derived, from `version`."""

    chatbot_id: str
    id: str
    algorithm: Algorithm
    public_key: str | None
    version: int
    name: str
    sources: SourceView
    created_at: int
    revoked_at: int | None


class WidgetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the holder of a widget key decides for the visitors who come with it."""

    sources: Annotated[
        SourceView,
        Meta(description="What visitors see of the sources of a reply: their text (`full`), their names (`titles`) or `none`."),
    ] = "titles"
    allow_apps: Annotated[
        bool, Meta(description="Whether requests without an `Origin`, as apps send them, are let in with this key.")
    ] = False


class WidgetKey(msgspec.Struct, frozen=True):
    """What a visitor's browser shows of the page it is on: public, and good on `hostnames` alone."""

    chatbot_id: str
    id: str
    key: str
    name: str
    hostnames: tuple[str, ...]
    settings: WidgetSettings
    is_enabled: bool
    created_at: int
    revoked_at: int | None

    @property
    def is_live(self) -> bool:
        return self.is_enabled and self.revoked_at is None


class UserSession(msgspec.Struct, frozen=True, kw_only=True):
    """One end user of one chatbot, signed in. `conversation_ids` narrows it to some; `sources` None: as its widget key says."""

    chatbot_id: str
    id: str
    secret_sha256: bytes
    user_id: str
    widget_key_id: str | None
    conversation_ids: tuple[str, ...] | None
    sources: SourceView | None
    created_at: int
    seen_at: int
    expires_at: int
    revoked_at: int | None


class EndUser(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an end user; `is_verified`: the client's server said so. Tokens issued before `tokens_valid_from` are
    refused, and all of a user who is blocked."""

    chatbot_id: str
    user_id: str
    name: str | None = None
    email: str | None = None
    metadata: dict[str, Any] | None = None
    is_verified: bool = False
    tokens_valid_from: int = 0
    blocked_at: int | None = None
    profile_at: int = 0
    seen_at: int = 0
    created_at: int = 0
