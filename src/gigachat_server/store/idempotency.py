"""SQL of idempotency: what a request with an `Idempotency-Key` resulted in, for when it is sent again.

Idea: a use case is given the key, a value, and keeps its result under it; what that looks like on the wire is not known here.
Invariant: a row is written in the same transaction as what the request does, so either both are there or neither; and
its scope is the caller, the route and the key, so no caller meets the key of another. A key that was made for a request
without one has a route of its own, so no key that a caller chooses meets it. A row whose route names a conversation is
erased with it, since its result tells of it, too. A row of a new prompt holds no more than an id and a hash, and stays: a client
that has not heard of the erasure, and sends that prompt again, does not have it stored again.
"""

from __future__ import annotations

from typing import Any, Literal, NoReturn, TypeVar

import msgspec

from gigachat_server.errors import IdempotencyInProgress, IdempotencyKeyReused
from gigachat_server.store.database import Reader, Tx
from gigachat_server.store.json_columns import JsonColumn

T = TypeVar("T")

KEPT_US = 24 * 3600 * 1_000_000
IMPLICIT_KEPT_US = 600 * 1_000_000

# What `response` holds: the id of the prompt or document that was stored, the result of the use case as JSON, or (as
# earlier versions kept it) the body of the answer.
Kind = Literal["turn", "document", "result", "answer"]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A client's name for one intended write. `chatbot_id` is the account's id on routes without a chatbot.

    `conversation_id`: the one that the route names.
    """

    chatbot_id: str
    principal: str
    route: str
    key: str
    fingerprint: str
    conversation_id: str | None = None


class ImplicitKey(Key, frozen=True, kw_only=True):
    """Made of a request whose client sends it again by itself and names no key; `key` is a hash of all that it sent.

    `is_repeat`: the client says that it sends it again. Otherwise the same words are meant anew, unless they failed before.
    """

    is_repeat: bool


class IdempotencyRecord(msgspec.Struct, frozen=True):
    """What the request did when it was first sent. `status` counts for answers and documents."""

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
    """Keep it under the key; False if the key is taken, even by the same request. One that was kept too long gives way."""
    return bool(
        await tx.run(
            "INSERT INTO idempotency (chatbot_id, principal, route, key, fingerprint, kind, status, response, "
            "conversation_id, created_at) VALUES (:chatbot_id, :principal, :route, :key, :fingerprint, :kind, :status, "
            ":response, :conversation_id, :now_us) "
            "ON CONFLICT (chatbot_id, principal, route, key) DO UPDATE SET fingerprint = excluded.fingerprint, "
            "kind = excluded.kind, status = excluded.status, response = excluded.response, "
            "conversation_id = excluded.conversation_id, created_at = excluded.created_at "
            "WHERE idempotency.created_at <= :oldest",
            chatbot_id=key.chatbot_id,
            principal=key.principal,
            route=key.route,
            key=key.key,
            fingerprint=key.fingerprint,
            kind=kept.kind,
            status=kept.status,
            response=kept.response,
            conversation_id=key.conversation_id,
            now_us=now_us,
            oldest=now_us - KEPT_US,
        )
    )


async def keep_implicit(tx: Tx, key: ImplicitKey, prompt_id: str, *, now_us: int) -> bool:
    """Have the key stand for that prompt; False if it goes on to stand for the one that it stood for.

    It does if the client repeats itself, or if that prompt failed and is the last of its conversation. The row is dated back,
    since such a key is kept for a shorter time.
    """
    return bool(
        await tx.run(
            "INSERT INTO idempotency (chatbot_id, principal, route, key, fingerprint, kind, status, response, created_at) "
            "VALUES (:chatbot_id, :principal, :route, :key, :fingerprint, 'turn', 201, :prompt_id, :dated_at) "
            "ON CONFLICT (chatbot_id, principal, route, key) DO UPDATE SET response = excluded.response, "
            "created_at = excluded.created_at WHERE idempotency.created_at <= :oldest OR NOT EXISTS (SELECT 1 FROM messages m "
            "WHERE m.chatbot_id = :chatbot_id AND m.id = idempotency.response AND (:is_repeat = 1 OR (m.turn = 'failed' "
            "AND NOT EXISTS (SELECT 1 FROM messages later WHERE later.chatbot_id = :chatbot_id "
            "AND later.conversation_id = m.conversation_id AND later.seq > m.seq AND later.role = 'user'))))",
            chatbot_id=key.chatbot_id,
            principal=key.principal,
            route=key.route,
            key=key.key,
            fingerprint=key.fingerprint,
            prompt_id=prompt_id,
            dated_at=now_us - KEPT_US + IMPLICIT_KEPT_US,
            oldest=now_us - KEPT_US,
            is_repeat=int(key.is_repeat),
        )
    )


async def keep_result(tx: Tx, key: Key | None, result: Any, *, now_us: int) -> None:
    """Keep what a use case resulted in: a struct, or ids. Without a key nothing is kept.

    Raises `IdempotencyInProgress` if the same request was faster: then this transaction leaves nothing, and what that one
    resulted in can be read.
    """
    if key is not None:
        await _keep_or_give_way(tx, key, IdempotencyRecord("result", 200, msgspec.json.encode(result).decode()), now_us=now_us)


async def give_way(tx: Tx, key: Key | None, *, now_us: int) -> None:
    """For what the same request may have made impossible a moment ago: to be asked under the lock that both take.

    Raises `IdempotencyInProgress` if it was faster, `IdempotencyKeyReused`.
    """
    if key is not None and await find(tx, key, now_us=now_us) is not None:
        raise IdempotencyInProgress(retry_after_s=1)


async def keep_document(tx: Tx, key: Key | None, document_id: str, *, is_accepted: bool, now_us: int) -> None:
    """The same for a document, of which its id is kept; `is_accepted`: it is made searchable later."""
    if key is not None:
        await _keep_or_give_way(tx, key, IdempotencyRecord("document", 202 if is_accepted else 201, document_id), now_us=now_us)


async def _keep_or_give_way(tx: Tx, key: Key, kept: IdempotencyRecord, *, now_us: int) -> None:
    if not await keep(tx, key, kept, now_us=now_us):
        raise IdempotencyInProgress(retry_after_s=1)


def read_result(kept: IdempotencyRecord, result: type[T]) -> T:
    """What the use case resulted in. What only a later version can read raises `IdempotencyInProgress`: it is not done twice."""
    if kept.kind != "result":
        _refuse()
    return JsonColumn("idempotency.response", result, otherwise=_refuse).read(kept.response, "a key")


def _refuse() -> NoReturn:
    raise IdempotencyInProgress(retry_after_s=1)


async def erase(tx: Tx, chatbot_id: str, conversation_id: str) -> None:
    """Nothing is kept that tells of the conversation; for a transaction that erases it, or a part of it."""
    await tx.run(
        "DELETE FROM idempotency WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )


async def delete_of(tx: Tx, chatbot_id: str, principal: str) -> None:
    """Forget what that caller was answered."""
    await tx.run(
        "DELETE FROM idempotency WHERE chatbot_id = :chatbot_id AND principal = :principal",
        chatbot_id=chatbot_id,
        principal=principal,
    )


async def delete_old(tx: Tx, *, now_us: int) -> None:
    """Forget what was kept for long enough."""
    await tx.run("DELETE FROM idempotency WHERE created_at <= :oldest", oldest=now_us - KEPT_US)
