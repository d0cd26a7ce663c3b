"""Search in conversations over HTTP."""

from __future__ import annotations

from typing import cast, get_args

from gigachat_server.access.speakers import client_defined_id
from gigachat_server.api import wire
from gigachat_server.edge import cursors
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, next_link, query_choice, query_limit
from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.records import MessageRole
from gigachat_server.services import Services

LONGEST = 500


async def search(request: Request[None], services: Services) -> Answer:
    """Messages that hold all words of `q`, newest first. What was said a moment ago is found some seconds later."""
    text, user_id = request.query.get("q", ""), request.query.get("user_id")
    if not 1 <= len(text) <= LONGEST:
        raise InvalidRequest(errors=(FieldError("q", f"Must have 1 to {LONGEST} characters."),))
    found = await services.message_search.search(
        request.principal,
        request.chatbot,
        text,
        before=cursors.load(request.query.get("after")),
        limit=query_limit(request.query),
        role=cast("MessageRole | None", query_choice(request.query, "role", get_args(MessageRole))),
        user_id=None if user_id is None else client_defined_id(user_id, "user_id"),
    )
    headers = {} if found.next is None else next_link(request, cursors.dump(*found.next))
    return Answer([wire.message(each, request.account_id, {}) for each in found.messages], headers=headers)
