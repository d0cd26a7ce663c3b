"""Transcripts over HTTP: a conversation, sent by mail."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request
from gigachat_server.services import Services


class TranscriptInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it goes."""

    email: Annotated[
        Annotated[str, Meta(min_length=3, max_length=254)] | None,
        Meta(description="null: to the verified address of the conversation's end user, where an end user's own goes always."),
    ] = None


class WireTranscript(msgspec.Struct, frozen=True):
    state: Annotated[str, Meta(description="`waiting`: it is sent as soon as the mail server takes it.")] = "waiting"


async def send(request: Request[TranscriptInput], services: Services) -> Answer:
    if request.earlier(list[str]) is None:
        await services.transcripts.send(
            request.principal, request.chatbot, request.named["conversation_id"], request.body.email, key=request.key
        )
    return Answer(WireTranscript(), 202)
