"""The page on which a chatbot is tried out: ask, watch the reply arrive, open what it is based on, step in.

What is said here is stored like any other conversation. The page is made once, with what is stored by then; what its
script has done, and is told of from there on, is in `conversation.py`.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.restrictions import client_defined_id
from gigachat_server.api.chatbots import ChatbotInput
from gigachat_server.ids import new_id
from gigachat_server.pages.conversation import chatbot_of, check_addresses
from gigachat_server.pages.http import PageRequest, Site, checked, redirect
from gigachat_server.pages.views import ControlView, MessageView, view, view_control
from gigachat_server.records import Chatbot, Document
from gigachat_server.services import Services
from gigachat_server.store import chatbots, conversations, documents, messages
from gigachat_server.store.database import Reader, Tx

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
_MOST_WARNED = 20


class ChatbotForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]


class _Shown(msgspec.Struct, kw_only=True):
    """What the page tells of the store, all read at one moment."""

    chatbots: list[Chatbot]
    chatbot: Chatbot | None = None
    document_count: int = 0
    warned: list[Document] = []  # of which something was not read
    user_id: str = DEFAULT_USER_ID
    messages: list[MessageView] = []
    control: ControlView = view_control(None)
    first_seq: int = 0  # messages up to this one are not shown
    last_seq: int = 0  # what the page is told of begins behind this event


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
        may=request.may,
        suggestions=prompts if shown.document_count else (),
        most_listed=_MOST_LISTED,
        most_warned=_MOST_WARNED,
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


async def _read(request: PageRequest, services: Services, conversation_id: str) -> _Shown:
    account_id, chosen = request.signed_in.account_id, request.query.get("chatbot", "")

    async def read(reader: Reader) -> _Shown:
        shown = _Shown(chatbots=await chatbots.list_chatbots(reader, account_id, after=None, limit=_MOST_LISTED))
        shown.chatbot = await chatbot_of(reader, request, chosen) if chosen else next(iter(shown.chatbots), None)
        if shown.chatbot is None:
            return shown
        if shown.chatbot not in shown.chatbots:
            shown.chatbots.append(shown.chatbot)
        chatbot_id = shown.chatbot.id
        found = await documents.list_documents(reader, chatbot_id, after=None, limit=_MOST_LISTED)
        shown.document_count = len(found)
        shown.warned = await documents.list_documents(
            reader, chatbot_id, states=("ready",), is_warned=True, after=None, limit=_MOST_WARNED
        )
        conversation = await conversations.find(reader, chatbot_id, conversation_id)
        if conversation is not None:
            request.need("conversations:read")
            check_addresses(request, shown.chatbot)
            # Each message has a seq of its own, so the newest ones are among the newest seqs.
            shown.first_seq = max(0, conversation.last_seq - SHOWN_MESSAGES)
            shown.last_seq = conversation.last_seq
            listed = await messages.list_messages(
                reader, chatbot_id, conversation_id, after=shown.first_seq, limit=SHOWN_MESSAGES
            )
            shown.messages = [view(message) for message in listed]
            shown.control = view_control(conversation)
            shown.user_id = conversation.user_id or DEFAULT_USER_ID
        return shown

    return await services.database.read(read)


def _model_name(chatbot: Chatbot | None, services: Services) -> str:
    return (chatbot.config.response.model if chatbot else None) or services.model.name
