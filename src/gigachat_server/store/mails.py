"""SQL of mails: what is to be sent, each held by one worker at a time, with a lease. What was sent, or has no point now, is gone.

Invariant: a row holds no words of a mail, so what was erased meanwhile is in none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from gigachat_server.store.database import Reader, Tx

_WHICH = "WHERE chatbot_id = :chatbot_id AND id = :id"


class Mail(msgspec.Struct, frozen=True):
    """`recipient` is an address, or the id of an operator or an end user, as its `kind` has it; `ref`, what it is about."""

    chatbot_id: str
    id: str
    kind: str
    recipient: str
    ref: str
    created_at: int


class MailRef(msgspec.Struct, frozen=True):
    chatbot_id: str
    id: str


async def insert(tx: Tx, wanted: Sequence[Mail]) -> None:
    """They wait from now on."""
    await tx.run_many(
        "INSERT INTO mails (chatbot_id, id, kind, recipient, ref, state, due_at, created_at) "
        "VALUES (:chatbot_id, :id, :kind, :recipient, :ref, 'waiting', :created_at, :created_at)",
        [msgspec.structs.asdict(each) for each in wanted],
    )


async def is_waiting(reader: Reader, chatbot_id: str, *, kind: str, recipient: str, ref: str) -> bool:
    """Whether the same mail is to be sent already."""
    row = await reader.one(
        "SELECT 1 FROM mails WHERE chatbot_id = :chatbot_id AND ref = :ref AND kind = :kind AND recipient = :recipient "
        "AND state = 'waiting' LIMIT 1",
        chatbot_id=chatbot_id,
        kind=kind,
        recipient=recipient,
        ref=ref,
    )
    return row is not None


async def list_due(reader: Reader, *, now_us: int, limit: int) -> list[MailRef]:
    """Those that no worker holds, longest due first."""
    rows = await reader.all(
        "SELECT chatbot_id, id FROM mails WHERE state = 'waiting' AND due_at <= :now_us AND lease_until <= :now_us "
        "ORDER BY due_at, id LIMIT :limit",
        now_us=now_us,
        limit=limit,
    )
    return [MailRef(*row) for row in rows]


async def claim(tx: Tx, mail: MailRef, *, lease: str, now_us: int, until_us: int) -> int | None:
    """Hold it; the number of this attempt. None if another one holds it, or it was sent."""
    row = await tx.one(
        f"UPDATE mails SET attempts = attempts + 1, lease = :lease, lease_until = :until_us {_WHICH} AND state = 'waiting' "
        "AND due_at <= :now_us AND lease_until <= :now_us RETURNING attempts",
        chatbot_id=mail.chatbot_id,
        id=mail.id,
        lease=lease,
        now_us=now_us,
        until_us=until_us,
    )
    return row[0] if row else None


async def renew(tx: Tx, mail: MailRef, *, lease: str, until_us: int) -> None:
    await tx.run(
        f"UPDATE mails SET lease_until = :until_us {_WHICH} AND lease = :lease",
        chatbot_id=mail.chatbot_id,
        id=mail.id,
        lease=lease,
        until_us=until_us,
    )


async def find_held(reader: Reader, mail: MailRef, *, lease: str) -> Mail | None:
    """What is held under this lease."""
    row = await reader.one(
        f"SELECT chatbot_id, id, kind, recipient, ref, created_at FROM mails {_WHICH} AND lease = :lease AND state = 'waiting'",
        chatbot_id=mail.chatbot_id,
        id=mail.id,
        lease=lease,
    )
    return Mail(*row) if row else None


async def delete(tx: Tx, mail: MailRef, *, lease: str) -> None:
    """It was sent, or is not to be sent any more."""
    tx.erases()
    await tx.run(f"DELETE FROM mails {_WHICH} AND lease = :lease", chatbot_id=mail.chatbot_id, id=mail.id, lease=lease)


async def release(tx: Tx, mail: MailRef, *, lease: str, at_us: int, reason: str | None, is_counted: bool) -> None:
    """It is due again from then on; an attempt that is not counted was none."""
    await tx.run(
        f"UPDATE mails SET lease = NULL, lease_until = 0, due_at = :at_us, reason = coalesce(CAST(:reason AS TEXT), reason), "
        f"attempts = attempts - :given_back {_WHICH} AND lease = :lease",
        chatbot_id=mail.chatbot_id,
        id=mail.id,
        lease=lease,
        at_us=at_us,
        reason=reason,
        given_back=0 if is_counted else 1,
    )


async def park(tx: Tx, mail: MailRef, *, lease: str, now_us: int, reason: str) -> bool:
    """It is not tried again by itself: `gigachat doctor` tells of it."""
    return bool(
        await tx.run(
            "UPDATE mails SET state = 'failed', lease = NULL, lease_until = 0, due_at = :now_us, reason = :reason "
            f"{_WHICH} AND lease = :lease",
            chatbot_id=mail.chatbot_id,
            id=mail.id,
            lease=lease,
            now_us=now_us,
            reason=reason,
        )
    )


async def retry_failed(tx: Tx, *, but: str, now_us: int) -> None:
    """All that failed, for another reason than that, is due once more."""
    await tx.run(
        "UPDATE mails SET state = 'waiting', attempts = 0, due_at = :now_us WHERE state = 'failed' AND reason <> :but",
        but=but,
        now_us=now_us,
    )


async def delete_about(tx: Tx, chatbot_id: str, ref: str) -> None:
    """What they are about is gone."""
    await tx.run("DELETE FROM mails WHERE chatbot_id = :chatbot_id AND ref = :ref", chatbot_id=chatbot_id, ref=ref)


async def delete_to(tx: Tx, chatbot_id: str, recipients: Collection[str]) -> None:
    """For whom they are is to be forgotten."""
    await tx.run(
        "DELETE FROM mails WHERE chatbot_id = :chatbot_id AND recipient = ANY(:recipients)",
        chatbot_id=chatbot_id,
        recipients=list(recipients),
    )
