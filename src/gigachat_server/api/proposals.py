"""Proposed replies over HTTP: operators send, edit or discard them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gigachat_server.api import wire
from gigachat_server.chat.conversations import Transcript
from gigachat_server.clock import wire_time
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, next_link, query_flag, query_limit
from gigachat_server.errors import NotFound
from gigachat_server.ids import is_id
from gigachat_server.records import Proposal, ProposalState
from gigachat_server.services import Services

Operator = Annotated[
    Annotated[str, Meta(min_length=1, max_length=255)] | None,
    Meta(description="Who decides; an operator who is signed in decides as themselves."),
]


class SendInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content: Annotated[
        Annotated[str, Meta(min_length=1, max_length=32_000)] | None,
        Meta(description="The reply as the operator has edited it; null: as it is."),
    ] = None
    operator: Operator = None


class DiscardInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operator: Operator = None


class WireProposal(msgspec.Struct, frozen=True):
    """A reply that is not said yet. `wanted`: it is being made, and has no content."""

    id: str
    conversation_id: str
    prompt_id: str
    state: ProposalState
    content: str
    sources: list[wire.WireSource]
    citations: list[wire.WireCitation]
    decided_by: str | None
    message_id: Annotated[str | None, Meta(description="Of the reply that it became.")]
    created_at: wire.Moment
    decided_at: wire.Moment | None


async def list_all(request: Request[None], services: Services) -> Answer:
    limit, after = query_limit(request.query), request.query.get("after", "")
    found = await services.proposals.list(
        request.principal, request.chatbot, request.named["conversation_id"], after=after, limit=limit + 1
    )
    headers = next_link(request, found[limit - 1].id) if len(found) > limit else {}
    return Answer([_proposal(each, request.account_id) for each in found[:limit]], headers=headers)


async def suggest(request: Request[None], services: Services) -> Answer:
    """Answers at once; an event tells when the proposal is open."""
    wanted = request.earlier(Proposal) or await services.proposals.suggest(
        request.principal, request.chatbot, request.named["conversation_id"], key=request.key
    )
    return Answer(_proposal(wanted, request.account_id), 202)


async def send(request: Request[SendInput], services: Services) -> Answer:
    with_embedding = query_flag(request.query, "embedding", default=True)
    ids, who, chatbot = request.earlier(list[str]), request.principal, request.chatbot
    if ids is None:
        said = await services.proposals.send(
            who,
            chatbot,
            request.named["conversation_id"],
            _id(request),
            content=request.body.content,
            operator=request.body.operator,
            key=request.key,
        )
        ids = [said.id]
    found: Transcript = await services.conversations.named(who, chatbot, request.named["conversation_id"], ids)
    (message,) = wire.messages(found, request.account_id, with_embedding=with_embedding)
    return Answer(message, 201)


async def discard(request: Request[DiscardInput], services: Services) -> Answer:
    dropped = request.earlier(Proposal) or await services.proposals.discard(
        request.principal,
        request.chatbot,
        request.named["conversation_id"],
        _id(request),
        operator=request.body.operator,
        key=request.key,
    )
    return Answer(_proposal(dropped, request.account_id))


def _proposal(record: Proposal, account_id: str) -> WireProposal:
    return WireProposal(
        id=record.id,
        conversation_id=record.conversation_id,
        prompt_id=record.prompt_id,
        state=record.state,
        content=record.content,
        sources=[wire.source(each, record.chatbot_id, account_id, {}) for each in record.sources],
        citations=[wire.citation(each, record.sources) for each in record.citations],
        decided_by=record.decided_by,
        message_id=record.message_id,
        created_at=wire_time(record.created_at),
        decided_at=None if record.decided_at is None else wire_time(record.decided_at),
    )


def _id(request: Request[Any]) -> str:
    proposal_id = request.named["proposal_id"]
    if not is_id(proposal_id):
        raise NotFound
    return proposal_id
