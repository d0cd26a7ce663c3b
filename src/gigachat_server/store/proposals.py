"""SQL of proposals: replies that an operator looks at before the end user does.

Invariant: a proposal is decided once, by a statement that names the state it was in and the `control_epoch` it was made under.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gigachat_server.records import Citation, Proposal, ProposalState, Source
from gigachat_server.store.database import Reader, Row, Tx
from gigachat_server.store.json_columns import JsonColumn

_PROPOSAL = (
    "chatbot_id, conversation_id, prompt_id, id, content, sources, citations, metadata, control_epoch, state, decided_by, "
    "message_id, created_at, decided_at"
)
_WHICH = "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND id = :id"

_UNSEEN = (
    "proposals p JOIN conversations c ON c.chatbot_id = p.chatbot_id AND c.conversation_id = p.conversation_id "
    "JOIN messages m ON m.chatbot_id = p.chatbot_id AND m.id = p.prompt_id WHERE p.chatbot_id = :chatbot_id "
    "AND p.state = 'open' AND p.created_at <= :before_us AND m.turn = 'proposed' AND c.controlled_by = 'bot' "
    "AND c.handoff_requested_at IS NULL"
)

_SOURCES: JsonColumn[tuple[Source, ...]] = JsonColumn("proposals.sources", tuple[Source, ...], otherwise=tuple, is_numbered=True)
_CITATIONS: JsonColumn[tuple[Citation, ...]] = JsonColumn("proposals.citations", tuple[Citation, ...], otherwise=tuple)
_METADATA: JsonColumn[dict[str, Any]] = JsonColumn("proposals.metadata", dict[str, Any], otherwise=dict)


class ProposalRef(msgspec.Struct, frozen=True):
    """Which proposal, as an entry of the queue of those that are wanted."""

    chatbot_id: str
    conversation_id: str
    id: str

    @property
    def named(self) -> dict[str, str]:
        return {"chatbot_id": self.chatbot_id, "conversation_id": self.conversation_id, "id": self.id}


def ref(proposal: Proposal) -> ProposalRef:
    return ProposalRef(proposal.chatbot_id, proposal.conversation_id, proposal.id)


async def insert(tx: Tx, proposal: Proposal) -> None:
    await tx.run(
        f"INSERT INTO proposals ({_PROPOSAL}) VALUES (:chatbot_id, :conversation_id, :prompt_id, :id, :content, :sources, "
        ":citations, :metadata, :control_epoch, :state, :decided_by, :message_id, :created_at, :decided_at)",
        chatbot_id=proposal.chatbot_id,
        conversation_id=proposal.conversation_id,
        prompt_id=proposal.prompt_id,
        id=proposal.id,
        content=proposal.content,
        sources=_SOURCES.write(proposal.sources),
        citations=_CITATIONS.write(proposal.citations),
        metadata=_METADATA.write(proposal.metadata),
        control_epoch=proposal.control_epoch,
        state=proposal.state,
        decided_by=proposal.decided_by,
        message_id=proposal.message_id,
        created_at=proposal.created_at,
        decided_at=proposal.decided_at,
    )


async def find(reader: Reader, which: ProposalRef) -> Proposal | None:
    row = await reader.one(f"SELECT {_PROPOSAL} FROM proposals {_WHICH}", **which.named)
    return _proposal(row) if row else None


async def list_proposals(reader: Reader, chatbot_id: str, conversation_id: str, *, after: str, limit: int) -> list[Proposal]:
    """Oldest first, from behind that id."""
    rows = await reader.all(
        f"SELECT {_PROPOSAL} FROM proposals WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id "
        "AND id > :after ORDER BY id LIMIT :limit",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        after=after,
        limit=limit,
    )
    return [_proposal(row) for row in rows]


async def list_undecided(reader: Reader, chatbot_id: str, conversation_id: str) -> list[Proposal]:
    rows = await reader.all(
        f"SELECT {_PROPOSAL} FROM proposals WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id "
        "AND state IN ('wanted', 'open') ORDER BY id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )
    return [_proposal(row) for row in rows]


async def decide(
    tx: Tx,
    which: ProposalRef,
    state: ProposalState,
    *,
    at: int,
    by: str | None = None,
    message_id: str | None = None,
    control_epoch: int | None = None,
) -> bool:
    """Whether it was undecided, and (if that is given) made under this `control_epoch`."""
    if_epoch = "AND state = 'open' AND control_epoch = :control_epoch" if control_epoch is not None else ""
    return bool(
        await tx.run(
            "UPDATE proposals SET state = :state, decided_by = :by, message_id = :message_id, decided_at = :at "
            f"{_WHICH} AND state IN ('wanted', 'open') {if_epoch}",
            **which.named,
            state=state,
            at=at,
            by=by,
            message_id=message_id,
            **({"control_epoch": control_epoch} if control_epoch is not None else {}),
        )
    )


async def list_chatbots_with_open(reader: Reader) -> list[str]:
    rows = await reader.all("SELECT DISTINCT chatbot_id FROM proposals WHERE state = 'open' ORDER BY chatbot_id")
    return [row[0] for row in rows]


async def list_unseen_since(reader: Reader, chatbot_id: str, *, before_us: int, limit: int) -> list[str]:
    """Conversations in which a reply is proposed instead of said, and no human is, nor was asked for; the longest first."""
    rows = await reader.all(
        f"SELECT p.conversation_id FROM {_UNSEEN} GROUP BY p.conversation_id ORDER BY min(p.created_at) LIMIT :limit",
        chatbot_id=chatbot_id,
        before_us=before_us,
        limit=limit,
    )
    return [row[0] for row in rows]


async def is_unseen_since(reader: Reader, chatbot_id: str, conversation_id: str, *, before_us: int) -> bool:
    """Whether that is one of them."""
    row = await reader.one(
        f"SELECT 1 FROM {_UNSEEN} AND p.conversation_id = :conversation_id LIMIT 1",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        before_us=before_us,
    )
    return row is not None


async def delete_of_prompts(tx: Tx, chatbot_id: str, conversation_id: str, prompt_ids: Sequence[str]) -> None:
    """Replies to prompts that are deleted go with them."""
    await tx.run(
        "DELETE FROM proposals WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id "
        "AND prompt_id = ANY(:prompt_ids)",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        prompt_ids=list(prompt_ids),
    )


# --- the queue of those that are wanted ---


async def list_wanted(reader: Reader, *, now_us: int, limit: int) -> list[ProposalRef]:
    rows = await reader.all(
        "SELECT chatbot_id, conversation_id, id FROM proposals WHERE state = 'wanted' AND lease_until <= :now_us "
        "ORDER BY lease_until, id LIMIT :limit",
        now_us=now_us,
        limit=limit,
    )
    return [ProposalRef(*row) for row in rows]


async def claim(tx: Tx, which: ProposalRef, *, lease: str, now_us: int, until_us: int) -> int | None:
    """Hold it until the lease ends: how often it was tried with this. None if another was faster."""
    row = await tx.one(
        f"UPDATE proposals SET lease = :lease, lease_until = :until_us, tries = tries + 1 {_WHICH} AND state = 'wanted' "
        "AND lease_until <= :now_us RETURNING tries",
        **which.named,
        lease=lease,
        now_us=now_us,
        until_us=until_us,
    )
    return int(row[0]) if row else None


async def renew(tx: Tx, which: ProposalRef, *, lease: str, until_us: int) -> None:
    await tx.run(
        f"UPDATE proposals SET lease_until = :until_us {_WHICH} AND lease = :lease", **which.named, lease=lease, until_us=until_us
    )


async def release(tx: Tx, which: ProposalRef, *, lease: str, at_us: int, is_counted: bool) -> None:
    await tx.run(
        "UPDATE proposals SET lease = NULL, lease_until = :at_us, tries = greatest(tries - :given_back, 0) "
        f"{_WHICH} AND lease = :lease",
        **which.named,
        lease=lease,
        at_us=at_us,
        given_back=int(not is_counted),
    )


async def park(tx: Tx, which: ProposalRef, *, lease: str, at: int) -> bool:
    """It could not be made."""
    return bool(
        await tx.run(
            f"UPDATE proposals SET state = 'failed', decided_at = :at, lease = NULL {_WHICH} AND lease = :lease "
            "AND state = 'wanted'",
            **which.named,
            lease=lease,
            at=at,
        )
    )


async def fill(tx: Tx, proposal: Proposal, *, lease: str) -> bool:
    """Open one that was wanted, if it is still held under this lease."""
    return bool(
        await tx.run(
            "UPDATE proposals SET state = 'open', content = :content, sources = :sources, citations = :citations, "
            f"metadata = :metadata, created_at = :created_at, lease = NULL {_WHICH} AND state = 'wanted' AND lease = :lease",
            **ref(proposal).named,
            content=proposal.content,
            sources=_SOURCES.write(proposal.sources),
            citations=_CITATIONS.write(proposal.citations),
            metadata=_METADATA.write(proposal.metadata),
            created_at=proposal.created_at,
            lease=lease,
        )
    )


def _proposal(row: Row) -> Proposal:
    where = f"{row[1]} {row[3]}"
    sources = _SOURCES.read(row[5], where)
    return Proposal(
        chatbot_id=row[0],
        conversation_id=row[1],
        prompt_id=row[2],
        id=row[3],
        content=row[4],
        sources=sources,
        citations=_CITATIONS.read(row[6], where),
        metadata=_METADATA.read(row[7], where),
        control_epoch=row[8],
        state=row[9],
        decided_by=row[10],
        message_id=row[11],
        created_at=row[12],
        decided_at=row[13],
    )
