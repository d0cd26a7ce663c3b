"""The page on which a chatbot is tried out: ask, watch the reply arrive, open what it is based on.

What is said here is stored like any other conversation. The events it streams are the page's own: their HTML is made
from stored messages by the templates, so the script on the page never builds HTML from what somebody wrote.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from starlette.responses import Response, StreamingResponse

from gigachat_server.api import sse
from gigachat_server.api.access import check_restrictions, client_defined_id, speaker_id
from gigachat_server.api.chatbots import ChatbotInput
from gigachat_server.api.http import decode, problem
from gigachat_server.chat.turn import PromptRequest, Started
from gigachat_server.errors import GigachatError, NotFound
from gigachat_server.ids import is_id, new_id
from gigachat_server.records import Chatbot, Message
from gigachat_server.services import Services
from gigachat_server.store import chatbots, conversations, documents, messages
from gigachat_server.store.database import Reader, Tx
from gigachat_server.web.http import PageRequest, Site, checked, redirect
from gigachat_server.web.views import MessageView, view

DEFAULT_USER_ID = "visitor"
SHOWN_MESSAGES = 100

SAMPLE_CHATBOT = "gigachat docs"
SAMPLE_PROMPTS = (
    "How do I push a document?",
    "How do I start a conversation?",
    "How can my support staff step into a conversation?",
    "What happens when no document matches?",
)

_MOST_LISTED = 100


class ChatInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody says on the page."""

    chatbot_id: str
    conversation_id: str
    user_id: Annotated[str, Meta(min_length=1, max_length=255)]
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]


class ChatbotForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]


class _Shown(msgspec.Struct, kw_only=True):
    """What the page tells of the store, all read at one moment."""

    chatbots: list[Chatbot]
    chatbot: Chatbot | None = None
    document_count: int = 0
    user_id: str = DEFAULT_USER_ID
    messages: list[MessageView] = []
    is_cut: bool = False


async def show(request: PageRequest, site: Site) -> Response:
    request.need("chatbots:read")
    wanted = request.query.get("conversation", "")
    conversation_id = client_defined_id(wanted, "conversation") if wanted else new_id()
    shown = await _read(request, site.services, conversation_id)
    prompts = SAMPLE_PROMPTS if shown.chatbot is not None and shown.chatbot.name == SAMPLE_CHATBOT else ()
    return await site.page(
        request,
        "chat.html",
        shown=shown,
        chatbot=shown.chatbot,
        conversation_id=conversation_id,
        model=_model_name(shown.chatbot, site.services),
        suggestions=prompts if shown.document_count else (),
        most_listed=_MOST_LISTED,
    )


async def create_chatbot(request: PageRequest, site: Site) -> Response:
    request.need("chatbots:write")
    request.form = {**request.form, "name": request.form.get("name", "").strip()}
    form = checked(request, ChatbotForm, site.services.settings)
    now_us = site.services.clock()
    config = ChatbotInput(name=form.name).config()
    chatbot = Chatbot(new_id(), request.signed_in.account_id, form.name, config, 0, now_us, now_us)

    async def body(tx: Tx) -> None:
        await chatbots.insert(tx, chatbot)

    await site.services.database.transaction("chatbot.create", body)
    return redirect("/?" + urlencode({"chatbot": chatbot.id}))


async def say(request: PageRequest, site: Site) -> Response:
    """Store the prompt and stream what follows, under the rules the API has for the same."""
    request.need("conversations:write")
    services = site.services
    wanted = decode(request.body, ChatInput, services.settings)
    prompt = PromptRequest(
        conversation_id=client_defined_id(wanted.conversation_id, "conversation_id"),
        user_id=speaker_id(wanted.user_id, "user_id"),
        text=wanted.prompt,
        metadata={},
    )
    if prompt.operator is not None:
        request.need("messages:inject")

    async def read(reader: Reader) -> Chatbot:
        return await _chatbot(reader, request, wanted.chatbot_id)

    chatbot = await services.database.read(read)
    _check_restrictions(request, chatbot)
    started = await services.turns.start(chatbot, prompt)
    return StreamingResponse(_events(started, request, site), 200, sse.HEADERS, "text/event-stream")


async def _events(started: Started, request: PageRequest, site: Site) -> AsyncIterator[bytes]:
    turn = started.turn
    yield sse.event("start", {"html": await _html(site, started.prompt), "message_ids": turn.message_ids if turn else []})
    if turn is None:
        yield sse.event("done", {})
        return
    async with aclosing(turn.watch(idle_s=sse.PING_S)) as watched:
        async for said in watched:
            yield sse.PING if said is None else sse.event("delta", {"message_id": said.message_id, "text": said.text})
    try:
        stored = await turn.result()
    except GigachatError as error:
        data = problem(error, instance=request.path, request_id="")
        yield sse.event("error", {**data, "is_partly_stored": turn.has_partial_reply})
        return
    for message in stored.messages:
        yield sse.event("message", {"message_id": message.id, "html": await _html(site, message)})
    yield sse.event("done", {})


async def _html(site: Site, message: Message) -> str:
    return await site.render("message.html", message=view(message))


async def _read(request: PageRequest, services: Services, conversation_id: str) -> _Shown:
    account_id, chosen = request.signed_in.account_id, request.query.get("chatbot", "")

    async def read(reader: Reader) -> _Shown:
        shown = _Shown(chatbots=await chatbots.list_chatbots(reader, account_id, after=None, limit=_MOST_LISTED))
        shown.chatbot = await _chatbot(reader, request, chosen) if chosen else next(iter(shown.chatbots), None)
        if shown.chatbot is None:
            return shown
        if shown.chatbot not in shown.chatbots:
            shown.chatbots.append(shown.chatbot)
        chatbot_id = shown.chatbot.id
        found = await documents.list_documents(reader, chatbot_id, after=None, limit=_MOST_LISTED)
        shown.document_count = len(found)
        conversation = await conversations.find(reader, chatbot_id, conversation_id)
        if conversation is not None:
            request.need("conversations:read")
            _check_restrictions(request, shown.chatbot)
            # Each message has a seq of its own, so the newest ones are among the newest seqs.
            after = max(0, conversation.last_seq - SHOWN_MESSAGES)
            listed = await messages.list_messages(reader, chatbot_id, conversation_id, after=after, limit=SHOWN_MESSAGES)
            shown.messages = [view(message) for message in listed]
            shown.is_cut = after > 0
            shown.user_id = conversation.user_id or DEFAULT_USER_ID
        return shown

    return await services.database.read(read)


async def _chatbot(reader: Reader, request: PageRequest, chatbot_id: str) -> Chatbot:
    found = await chatbots.find(reader, request.signed_in.account_id, chatbot_id) if is_id(chatbot_id) else None
    if found is None:
        raise NotFound
    return found


def _check_restrictions(request: PageRequest, chatbot: Chatbot) -> None:
    """The addresses that the chatbot is restricted to hold here too; its hostnames are those of other pages."""
    check_restrictions(chatbot.config.restrictions, peer=request.peer, headers={}, has_key=True)


def _model_name(chatbot: Chatbot | None, services: Services) -> str:
    return (chatbot.config.response.model if chatbot else None) or services.model.name
