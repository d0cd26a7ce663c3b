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

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import client_defined_id
from gigachat_server.chat.conversations import trial_id
from gigachat_server.errors import NotFound
from gigachat_server.ids import is_id, new_id
from gigachat_server.pages.context import PageContext, redirect
from gigachat_server.pages.request import PageRequest, checked, me_of
from gigachat_server.pages.views import ControlView, LineView, MessageView, view, view_control, view_line
from gigachat_server.records import Chatbot, ChatbotConfig, Document
from gigachat_server.services import Services
from gigachat_server.store import chatbots, documents
from gigachat_server.store.database import Reader

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
    """What the page tells of the store; the conversation is read at one moment, and the rest at another."""

    chatbots: list[Chatbot]
    chatbot: Chatbot | None = None
    document_count: int = 0
    warned: list[Document] = []  # of which something was not read
    who: Principal  # the visitor, as they are in that chatbot
    opener: str | None = None  # the end user whose conversation it is
    is_missing: bool = False  # that conversation was wanted, and there is none
    thread: list[MessageView | LineView] = []
    control: ControlView = view_control(None)
    first_seq: int = 0  # messages up to this one are not shown
    last_seq: int = 0  # what the page is told of begins behind this event


async def show(request: PageRequest[None], context: PageContext) -> Response:
    wanted = request.query.get("conversation", "")
    named = client_defined_id(wanted, "conversation") if wanted else None
    shown = await _read(request, context.services)
    if shown.chatbot is not None and named is not None:
        await _read_conversation(request, context.services, shown, shown.chatbot, named)
    prompts = SAMPLE_PROMPTS if shown.chatbot is not None and shown.chatbot.name == SAMPLE_CHATBOT else ()
    return await context.page(
        request,
        "chat.html",
        status=404 if shown.is_missing else 200,
        shown=shown,
        chatbot=shown.chatbot,
        conversation_id=named or new_id(),
        model=_model_name(shown.chatbot, context.services),
        may=shown.who.may,
        me=me_of(request),
        visitor=trial_id(shown.who),
        is_customers=shown.opener not in (None, trial_id(shown.who)),
        suggestions=prompts if shown.document_count else (),
        most_listed=_MOST_LISTED,
        most_warned=_MOST_WARNED,
    )


async def create_chatbot(request: PageRequest[None], context: PageContext) -> Response:
    request.form = {**request.form, "name": request.form.get("name", "").strip()}
    form = checked(request, ChatbotForm, context.services.settings)
    created = await context.services.chatbots.create(request.principal, form.name, ChatbotConfig())
    return redirect("/?" + urlencode({"chatbot": created.id}))


async def _read(request: PageRequest[None], services: Services) -> _Shown:
    who, account_id, chosen = request.principal, request.account_id, request.query.get("chatbot", "")

    async def read(reader: Reader) -> _Shown:
        found = await chatbots.list_chatbots(reader, account_id, among=who.reachable, after=None, limit=_MOST_LISTED)
        shown = _Shown(chatbots=found, who=who)
        shown.chatbot = next(iter(shown.chatbots), None)
        if chosen:
            shown.chatbot = await chatbots.find(reader, account_id, chosen) if is_id(chosen) else None
            if shown.chatbot is None:
                raise NotFound
        if shown.chatbot is None:
            return shown
        shown.who = who.within(shown.chatbot)
        if shown.chatbot not in shown.chatbots:
            shown.chatbots.append(shown.chatbot)
        if not shown.who.may(Scope.DOCUMENTS_READ):
            return shown
        chatbot_id = shown.chatbot.id
        listed = await documents.list_documents(reader, chatbot_id, after=None, limit=_MOST_LISTED)
        shown.document_count = len(listed)
        shown.warned = await documents.list_documents(
            reader, chatbot_id, states=("ready",), is_warned=True, after=None, limit=_MOST_WARNED
        )
        return shown

    return await services.database.read(read)


async def _read_conversation(
    request: PageRequest[None], services: Services, shown: _Shown, chatbot: Chatbot, conversation_id: str
) -> None:
    """What was said in it, or that there is none."""
    request.check_addresses(chatbot.config.restrictions)
    try:
        recent = await services.conversations.newest(request.principal, chatbot, conversation_id, limit=SHOWN_MESSAGES)
    except NotFound:
        shown.is_missing = True
        return
    shown.first_seq, shown.last_seq = recent.first_seq, recent.conversation.last_seq
    thread: list[MessageView | LineView] = [*map(view, recent.messages), *map(view_line, recent.changes)]
    shown.thread = sorted(thread, key=lambda each: each.seq)
    shown.control = view_control(recent.conversation)
    shown.opener = recent.conversation.user_id


def _model_name(chatbot: Chatbot | None, services: Services) -> str:
    return (chatbot.config.response.model if chatbot else None) or services.model.name
