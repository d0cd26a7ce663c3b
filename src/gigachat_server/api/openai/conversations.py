"""Conversations as OpenAI's API has them: the same as on every other route, and so are their ids."""

from __future__ import annotations

from gigachat_server.api.openai import bodies, callers, wire
from gigachat_server.api.openai.errors import invalid, unsupported
from gigachat_server.api.views import shown_to
from gigachat_server.chat.conversations import new_conversation_id
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, query_choice, query_limit
from gigachat_server.records import Conversation
from gigachat_server.services import Services


async def create(request: Request[bodies.ConversationInput], services: Services) -> Answer:
    """Nothing is said in it yet: what is said is a prompt, and has its reply."""
    if request.body.items:
        raise unsupported("items", "A conversation begins with a prompt that is answered: send it as a response.")
    made = request.earlier(Conversation)
    if made is None:
        conversation_id = new_conversation_id(callers.CONVERSATION_PREFIX)
        made = await services.conversations.open(request.principal, request.chatbot, conversation_id, key=request.key)
    return Answer(wire.conversation(made))


async def get(request: Request[None], services: Services) -> Answer:
    found = await services.conversations.read(request.principal, request.chatbot, request.named["conversation_id"])
    return Answer(wire.conversation(found))


async def list_items(request: Request[None], services: Services) -> Answer:
    """Its messages, newest first unless `order=asc`: of several replies to a prompt the first, and none that was replaced."""
    limit = query_limit(request.query, default=20)
    behind = None
    if (after := request.query.get("after")) is not None and (behind := bodies.our_message_id(after)) is None:
        raise invalid("after", "Must be the id of an item of this conversation.")
    found = await services.conversations.page(
        request.principal,
        request.chatbot,
        request.named["conversation_id"],
        behind=behind,
        is_newest_first=query_choice(request.query, "order", ("asc", "desc")) != "asc",
        limit=limit + 1,
    )
    shown = shown_to(request.principal)
    items = [wire.item(message, shown) for message in found[:limit]]
    first_id, last_id = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return Answer(wire.OpenAIItems(items, first_id, last_id, has_more=len(found) > limit))
