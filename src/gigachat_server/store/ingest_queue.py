"""SQL of the ingest queue: documents that are not searchable yet, each held by one worker at a time, with a lease.

Invariants: a claim moves a document from waiting (`uploaded`, `pending`) to being worked on (`extracting`, `embedding`), and
counts as a try; what a worker that died left there is claimed again once its lease has run out. Whatever a worker stores about
its try it stores under the claim's lease, which ends when the document is pushed again.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.store.database import Reader, Tx

# As the index of the queue has it, word by word.
_WAITS = "state IN ('uploaded', 'pending', 'extracting', 'embedding')"
_SMALL = 256 * 1024  # bytes of a file, or characters of a text
_HELD = f"chatbot_id = :chatbot_id AND id = :id AND lease = :lease AND {_WAITS}"
# What a document has that begins anew.
_FRESH = (
    "error = NULL, reason = NULL, progress = 0, lease = NULL, lease_until = 0, tries = 0, parked_at = NULL, parked_reason = NULL"
)
_BACK = "CASE state WHEN 'extracting' THEN 'uploaded' WHEN 'embedding' THEN 'pending' ELSE state END"


class Waiting(msgspec.Struct, frozen=True):
    """A document whose turn to be ingested has come."""

    chatbot_id: str
    id: str

    def __str__(self) -> str:
        return f"document {self.id}"


class Queue(msgspec.Struct, frozen=True):
    """What of a chatbot waits or is being worked on. `oldest_at`: when the one was pushed that waits longest."""

    chatbot_id: str
    name: str
    waiting: int
    working: int
    bytes: int
    oldest_at: int


async def find_next(
    reader: Reader, *, now_us: int, without_chatbots: Sequence[str], without: Sequence[str], is_small: bool
) -> Waiting | None:
    """The document to ingest that waits longest and that no worker holds, but for some; `is_small`: only a small one."""
    row = await reader.one(
        f"SELECT chatbot_id, id FROM documents WHERE {_WAITS} AND lease_until <= :now_us "
        "AND NOT (chatbot_id = ANY(:without_chatbots)) AND NOT (id = ANY(:without)) AND (:is_small = 0 OR size <= :small) "
        "ORDER BY lease_until, id LIMIT 1",
        now_us=now_us,
        without_chatbots=list(without_chatbots),
        without=list(without),
        is_small=int(is_small),
        small=_SMALL,
    )
    return Waiting(*row) if row else None


async def list_queues(reader: Reader, account_id: str, *, among: Sequence[str] | None) -> list[Queue]:
    """Of each chatbot of the account of which something waits, the longest waiting first; `among`: of those alone."""
    only = "" if among is None else "AND c.id = ANY(:among) "
    rows = await reader.all(
        "SELECT c.id, c.name, sum(CASE WHEN d.state IN ('uploaded', 'pending') THEN 1 ELSE 0 END), "
        "sum(CASE WHEN d.state IN ('uploaded', 'pending') THEN 0 ELSE 1 END), sum(d.size), min(d.updated_at) "
        "FROM documents d JOIN chatbots c ON c.id = d.chatbot_id WHERE c.account_id = :account_id "
        f"{only}AND d.state IN ('uploaded', 'pending', 'extracting', 'embedding') GROUP BY c.id, c.name ORDER BY 6, 1",
        account_id=account_id,
        **({} if among is None else {"among": list(among)}),
    )
    return [Queue(row[0], row[1], *(int(number) for number in row[2:])) for row in rows]


async def claim(tx: Tx, chatbot_id: str, document_id: str, *, lease: str, now_us: int, until_us: int) -> int | None:
    """Hold the document until the lease ends: how often it was tried with this. None if another was faster."""
    row = await tx.one(
        "UPDATE documents SET lease = :lease, lease_until = :until_us, tries = tries + 1, parked_at = NULL, "
        "parked_reason = NULL, state = CASE WHEN upload_id IS NULL THEN 'embedding' ELSE 'extracting' END "
        f"WHERE chatbot_id = :chatbot_id AND id = :id AND {_WAITS} AND lease_until <= :now_us RETURNING tries",
        chatbot_id=chatbot_id,
        id=document_id,
        lease=lease,
        now_us=now_us,
        until_us=until_us,
    )
    return row[0] if row else None


async def is_held(reader: Reader, chatbot_id: str, document_id: str, *, lease: str) -> bool:
    """Whether the document is still the one that was claimed under this lease."""
    row = await reader.one(
        f"SELECT 1 FROM documents WHERE {_HELD}",
        chatbot_id=chatbot_id,
        id=document_id,
        lease=lease,
    )
    return row is not None


async def renew(tx: Tx, chatbot_id: str, document_id: str, *, lease: str, until_us: int) -> None:
    await tx.run(
        f"UPDATE documents SET lease_until = :until_us WHERE {_HELD}",
        chatbot_id=chatbot_id,
        id=document_id,
        lease=lease,
        until_us=until_us,
    )


async def release(
    tx: Tx, chatbot_id: str, document_id: str, *, lease: str, at_us: int, reason: str | None, is_counted: bool
) -> bool:
    """It waits again, and may be claimed from then on; unless the try counts, it is as if there had been none.

    `reason` says to a person why. False if it is not held under this lease any more.
    """
    return bool(
        await tx.run(
            f"UPDATE documents SET lease = NULL, lease_until = :at_us, reason = :reason, state = {_BACK}, "
            "tries = greatest(tries - :given_back, 0) "
            f"WHERE {_HELD}",
            chatbot_id=chatbot_id,
            id=document_id,
            lease=lease,
            at_us=at_us,
            reason=reason,
            given_back=0 if is_counted else 1,
        )
    )


async def park(
    tx: Tx, chatbot_id: str, document_id: str, *, lease: str, tries: int, error: str, reason: str, why: str, now_us: int
) -> bool:
    """Give up after so many tries: `failed` to its owner, with `error` and `reason`; `why` is for who runs this server.

    Its file is kept, so that it can be tried again. False if it is not held under this lease, or was tried less often, since
    something came of it meanwhile.
    """
    return bool(
        await tx.run(
            "UPDATE documents SET state = 'failed', error = :error, reason = :reason, lease = NULL, lease_until = 0, tries = 0, "
            f"parked_at = :now_us, parked_reason = :why, updated_at = :now_us WHERE {_HELD} AND tries >= :tries",
            chatbot_id=chatbot_id,
            id=document_id,
            lease=lease,
            tries=tries,
            error=error,
            reason=reason,
            why=why,
            now_us=now_us,
        )
    )


async def retry_parked(tx: Tx, *, but: str) -> int:
    """Have every parked document tried again, but those that were parked for this reason."""
    return await tx.run(
        f"UPDATE documents SET state = CASE WHEN upload_id IS NULL THEN 'pending' ELSE 'uploaded' END, {_FRESH} "
        "WHERE state = 'failed' AND parked_at IS NOT NULL AND parked_reason <> :but",
        but=but,
    )


async def release_all(tx: Tx) -> None:
    """No document is being worked on: for a store that one process has to itself, when it starts."""
    await tx.run(f"UPDATE documents SET lease = NULL, lease_until = 0, state = {_BACK} WHERE {_WAITS}")


async def advance(tx: Tx, chatbot_id: str, document_id: str, *, content_sha256: str, progress: int) -> bool:
    """So much of it is embedded; False if it is not this text any more that is wanted."""
    return bool(
        await tx.run(
            "UPDATE documents SET progress = :progress, tries = 0 WHERE chatbot_id = :chatbot_id AND id = :id "
            "AND content_sha256 = :content_sha256 AND state IN ('pending', 'embedding')",
            chatbot_id=chatbot_id,
            id=document_id,
            content_sha256=content_sha256,
            progress=progress,
        )
    )


async def mark_all_waiting(tx: Tx, chatbot_id: str) -> int:
    """Have every document of the chatbot cut and embedded again; unread files once they are read.

    What failed stays failed, but for what another way to cut, or another try, may help.
    """
    return await tx.run(
        f"UPDATE documents SET state = CASE WHEN upload_id IS NULL THEN 'pending' ELSE 'uploaded' END, {_FRESH}, "
        "chunks_sha256 = NULL "
        "WHERE chatbot_id = :chatbot_id AND (state <> 'failed' OR error = 'too_many_chunks' OR parked_at IS NOT NULL)",
        chatbot_id=chatbot_id,
    )


async def mark_foreign_vectors_waiting(tx: Tx, *, embedding_model: str) -> int:
    """Rebuild every document that was built with anything else."""
    return await tx.run(
        f"UPDATE documents SET state = 'pending', {_FRESH} WHERE state = 'ready' AND embedding_model <> :embedding_model",
        embedding_model=embedding_model,
    )


async def retry_failed(tx: Tx, *, error: str) -> int:
    """Have every document embedded again that failed for this, since it may pass now."""
    return await tx.run(
        f"UPDATE documents SET state = 'pending', {_FRESH} WHERE state = 'failed' AND error = :error AND upload_id IS NULL",
        error=error,
    )


async def mark_failed(tx: Tx, chatbot_id: str, document_id: str, *, error: str, reason: str, now_us: int) -> bool:
    """Give up on this version; earlier chunks, if any, still answer. False if it no longer waits."""
    return bool(
        await tx.run(
            "UPDATE documents SET state = 'failed', error = :error, reason = :reason, upload_id = NULL, lease = NULL, "
            "tries = 0, updated_at = :now_us "
            f"WHERE chatbot_id = :chatbot_id AND id = :id AND {_WAITS}",
            chatbot_id=chatbot_id,
            id=document_id,
            error=error,
            reason=reason,
            now_us=now_us,
        )
    )
