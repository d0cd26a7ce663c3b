"""SQL of idempotency: what a request with an `Idempotency-Key` did, for whoever sends it again.

Invariant: a row is written in the same transaction as what the request does, so either both are there or neither; and
its scope is the caller, the route and the key, so nobody meets the key of another.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gigachat_server.errors import IdempotencyKeyReused
from gigachat_server.store.database import Reader, Tx

KEPT_US = 24 * 3600 * 1_000_000

# What `response` holds: the answer's body, or the id of the prompt or document that the answer is made from.
Kind = Literal["answer", "turn", "document"]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A client's name for one intended write. `chatbot_id` is the account's id on routes without a chatbot."""

    chatbot_id: str
    principal: str
    route: str
    key: str
    fingerprint: str


class IdempotencyRecord(msgspec.Struct, frozen=True):
    """What the request did when it was first sent."""

    kind: Kind
    status: int
    response: str


async def find(reader: Reader, key: Key, *, now_us: int) -> IdempotencyRecord | None:
    """What was kept under the key. Raises `IdempotencyKeyReused` if that was for another body."""
    row = await reader.one(
        "SELECT kind, status, response, fingerprint FROM idempotency WHERE chatbot_id = :chatbot_id "
        "AND principal = :principal AND route = :route AND key = :key AND created_at > :oldest",
        chatbot_id=key.chatbot_id,
        principal=key.principal,
        route=key.route,
        key=key.key,
        oldest=now_us - KEPT_US,
    )
    if row is None:
        return None
    if row[3] != key.fingerprint:
        raise IdempotencyKeyReused
    return IdempotencyRecord(*row[:3])


async def keep(tx: Tx, key: Key, kept: IdempotencyRecord, *, now_us: int) -> bool:
    """Keep it under the key; False if the key is taken, be it by the same request. One that was kept too long gives way."""
    return bool(
        await tx.run(
            "INSERT INTO idempotency (chatbot_id, principal, route, key, fingerprint, kind, status, response, created_at) "
            "VALUES (:chatbot_id, :principal, :route, :key, :fingerprint, :kind, :status, :response, :now_us) "
            "ON CONFLICT (chatbot_id, principal, route, key) DO UPDATE SET fingerprint = excluded.fingerprint, "
            "kind = excluded.kind, status = excluded.status, response = excluded.response, created_at = excluded.created_at "
            "WHERE idempotency.created_at <= :oldest",
            chatbot_id=key.chatbot_id,
            principal=key.principal,
            route=key.route,
            key=key.key,
            fingerprint=key.fingerprint,
            kind=kept.kind,
            status=kept.status,
            response=kept.response,
            now_us=now_us,
            oldest=now_us - KEPT_US,
        )
    )


async def delete_old(tx: Tx, *, now_us: int) -> None:
    """Forget what was kept for long enough."""
    await tx.run("DELETE FROM idempotency WHERE created_at <= :oldest", oldest=now_us - KEPT_US)
