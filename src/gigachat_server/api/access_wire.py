"""The wire form of what lets end users in: identity keys, widget keys, sessions, and the users themselves."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gigachat_server.access.identity_keys import NewIdentityKey
from gigachat_server.access.user_sessions import NewSession
from gigachat_server.api.wire import Moment
from gigachat_server.clock import wire_time
from gigachat_server.records import Algorithm, EndUser, IdentityKey, SourceView, WidgetKey, WidgetSettings


class WireIdentityKey(msgspec.Struct, frozen=True):
    id: Annotated[str, Meta(description="The `kid` of the tokens that it verifies.")]
    chatbot_id: str
    name: str
    algorithm: Algorithm
    public_key: Annotated[str | None, Meta(description="In PEM; null for a shared secret.")]
    sources: SourceView
    created_at: Moment


class WireNewIdentityKey(WireIdentityKey, frozen=True):
    """`secret` is shown this once: the text itself, not what it might decode to, is the key of HS256."""

    secret: str | None


class WireWidgetKey(msgspec.Struct, frozen=True):
    """`key` is public: it stands in the page."""

    id: str
    chatbot_id: str
    key: str
    name: str
    hostnames: list[str]
    is_enabled: bool
    settings: WidgetSettings
    created_at: Moment


class WireSession(msgspec.Struct, frozen=True):
    """`token` is shown this once: send it as `Authorization: Bearer gcu_...`."""

    token: str
    user_id: str
    expires_at: Moment


class WireEndUser(msgspec.Struct, frozen=True):
    user_id: str
    chatbot_id: str
    name: str | None
    email: str | None
    metadata: dict[str, Any]
    is_verified: Annotated[bool, Meta(description="Whether your server said so, in a token or here, rather than the user.")]
    blocked_at: Moment | None
    tokens_valid_from: Annotated[Moment | None, Meta(description="Tokens that were issued before are refused.")]
    seen_at: Moment
    created_at: Moment


def identity_key(record: IdentityKey) -> WireIdentityKey:
    return WireIdentityKey(**_key_fields(record))


def new_identity_key(made: NewIdentityKey) -> WireNewIdentityKey:
    return WireNewIdentityKey(**_key_fields(made.key), secret=made.secret)


def _key_fields(record: IdentityKey) -> dict[str, Any]:
    return {
        "id": record.id,
        "chatbot_id": record.chatbot_id,
        "name": record.name,
        "algorithm": record.algorithm,
        "public_key": record.public_key,
        "sources": record.sources,
        "created_at": wire_time(record.created_at),
    }


def widget_key(record: WidgetKey) -> WireWidgetKey:
    return WireWidgetKey(
        id=record.id,
        chatbot_id=record.chatbot_id,
        key=record.key,
        name=record.name,
        hostnames=list(record.hostnames),
        is_enabled=record.is_enabled,
        settings=record.settings,
        created_at=wire_time(record.created_at),
    )


def session(made: NewSession) -> WireSession:
    return WireSession(made.bearer, made.session.user_id, wire_time(made.session.expires_at))


def end_user(record: EndUser) -> WireEndUser:
    return WireEndUser(
        user_id=record.user_id,
        chatbot_id=record.chatbot_id,
        name=record.name,
        email=record.email,
        metadata=record.metadata or {},
        is_verified=record.is_verified,
        blocked_at=None if record.blocked_at is None else wire_time(record.blocked_at),
        tokens_valid_from=wire_time(record.tokens_valid_from) if record.tokens_valid_from else None,
        seen_at=wire_time(record.seen_at),
        created_at=wire_time(record.created_at),
    )
