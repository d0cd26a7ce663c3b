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
    allow_direct: Annotated[
        bool, Meta(description="Whether anyone with the link `/chat/{chatbot_id}` can chat, without a site.")
    ] = False
    accent: Annotated[
        str, Meta(pattern="^#[0-9a-fA-F]{6}$", description="The colour of buttons; white text on it has to be readable.")
    ] = "#0f766e"
    theme: Annotated[Literal["auto", "light", "dark"], Meta(description="`auto`: as the visitor's device.")] = "auto"
    side: Annotated[Literal["right", "left"], Meta(description="Where the button is.")] = "right"
    offset_x: Annotated[int, Meta(ge=0, le=400, description="Its distance from that side, in pixels.")] = 20
    offset_y: Annotated[int, Meta(ge=0, le=400, description="Its distance from the bottom, in pixels.")] = 20
    greeting: Annotated[
        Annotated[str, Meta(min_length=1, max_length=300)] | None,
        Meta(description="What stands above an empty conversation; null: a greeting in the visitor's language."),
    ] = None
    starters: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...],
        Meta(max_length=4, description="Prompts that a visitor can begin with."),
    ] = ()
    handoff_button: Annotated[bool, Meta(description="Whether the menu has a button that asks for a human.")] = True
    ask_contact: Annotated[
        Literal["never", "handoff", "start"],
        Meta(description="When a visitor is asked for name and e-mail address; what they say stays unverified."),
    ] = "handoff"
    csat: Annotated[bool, Meta(description="Whether a visitor is asked for a rating when a human has ended their part.")] = True


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
