"""The tools of the MCP server: what each takes, needs and does. Order and names are part of the interface.

Idea: a tool is a thin translation of what the native API does, and goes through the same doors. Invariant: a tool whose scopes
the caller lacks does not exist for them; and staff speak by `reply_as_operator` alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import CLIENT_PREFIX, operator_name
from gigachat_server.api import documents, learning_wire, retrieval, unanswered, wire
from gigachat_server.api.unanswered import AnswerInput
from gigachat_server.chat.conversations import ConversationFilter
from gigachat_server.chat.turns.turn import TurnHandle
from gigachat_server.edge import cursors
from gigachat_server.edge.idempotency import fingerprint
from gigachat_server.errors import FieldError, InvalidRequest, NotFound
from gigachat_server.ids import is_id, new_id
from gigachat_server.records import Chatbot
from gigachat_server.services import Services
from gigachat_server.store.idempotency import Key

I = TypeVar("I")  # noqa: E741 - what a tool takes
Limit = Annotated[int, Meta(ge=1, le=100, description="How many at most.")]
Cursor = Annotated[str | None, Meta(description="Where to go on: `next` of the answer before.")]
_ConversationId = Annotated[str, Meta(min_length=1, max_length=255, description="Which conversation.")]


class Call(msgspec.Struct, frozen=True):
    """Who calls a tool, on which chatbot. `key`: the name that the caller gave this write, so as not to do it twice."""

    principal: Principal
    chatbot: Chatbot
    services: Services
    key: str | None

    def idempotency_key(self, tool: str, target: str, arguments: Any) -> Key | None:
        if self.key is None:
            return None
        route = f"MCP {tool} {quote(target, safe='')}".strip()
        return Key(
            chatbot_id=self.chatbot.id,
            principal=self.principal.id,
            route=route,
            key=self.key,
            fingerprint=fingerprint(arguments),
        )


class Tool(msgspec.Struct, Generic[I], frozen=True, kw_only=True):
    """One tool. `run` gives its output, or the turn that a prompt began."""

    name: str
    title: str
    description: str
    needs: tuple[Scope, ...]
    takes: type[I]
    gives: type[msgspec.Struct]
    run: Callable[[Call, I], Awaitable[msgspec.Struct | TurnHandle]]
    is_guarded: bool = True  # end users reach what it is about: the chatbot's restrictions apply
    is_read_only: bool = False
    is_repeatable: bool = False  # doing it again changes nothing


# --- asking ---


class AskInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000, description="What to ask the chatbot, in full sentences.")]
    conversation_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | None,
        Meta(description="The conversation to continue; left out, a new one begins, and the answer has its id."),
    ] = None
    user_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | None, Meta(description="On whose behalf you ask.")
    ] = None


class AskOutput(msgspec.Struct, frozen=True):
    """The replies; or the prompt itself where there is nothing to answer, since an operator has the conversation."""

    conversation_id: str
    messages: list[wire.WireMessage]


async def _ask(call: Call, wanted: AskInput) -> TurnHandle:
    user_id = call.principal.user_id or wanted.user_id or f"mcp:{call.principal.id}"
    if user_id.startswith(CLIENT_PREFIX):
        raise InvalidRequest(errors=(FieldError("user_id", "Must be an end user: staff speaks with reply_as_operator."),))
    return await call.services.conversations.speak(
        call.principal,
        call.chatbot,
        conversation_id=wanted.conversation_id or f"mcp:{new_id()}",
        user_id=user_id,
        text=wanted.prompt,
        metadata={},
        key=call.idempotency_key("ask", wanted.conversation_id or "", wanted),
    )


# --- documents ---


class SearchInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: Annotated[str, Meta(min_length=1, max_length=32_000, description="What to look for, as a user would ask it.")]
    limit: Limit = 5
    conversation_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | None, Meta(description="In which conversation it would be asked.")
    ] = None


async def _search(call: Call, wanted: SearchInput) -> wire.WireRetrieval:
    retrieval.check_query(wanted.query)
    services, chatbot = call.services, call.chatbot
    history = await retrieval.earlier(services, call.principal, chatbot, wanted.conversation_id)
    judged_for = retrieval.configured(services)
    return await retrieval.search(services, chatbot, wanted.query, history, judged_for=judged_for, limit=wanted.limit)


async def _push(call: Call, wanted: documents.DocumentInput) -> wire.WireDocument:
    documents.check_text(wanted.name, wanted.content, call.services.settings)
    pushed = await call.services.ingest.push(call.chatbot, wanted.name, wanted.content)
    if pushed.document.state != "ready":
        call.services.ingest_worker.wake_up()
    return wire.document(pushed.document, call.chatbot.account_id)


# --- conversations ---


class ListConversationsInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Limit = 20
    after: Cursor = None
    controlled_by: Annotated[
        Literal["human", "bot"] | None, Meta(description="Only those in which an operator has control, or the chatbot.")
    ] = None
    handoff_requested: Annotated[
        bool | None, Meta(description="true: only those in which a human was asked for and none has come yet.")
    ] = None


class ListConversationsOutput(msgspec.Struct, frozen=True):
    """The one that was active last comes first."""

    conversations: list[wire.WireConversation]
    next: str | None


async def _list_conversations(call: Call, wanted: ListConversationsInput) -> ListConversationsOutput:
    found = await call.services.conversations.list(
        call.principal,
        call.chatbot,
        after=cursors.load(wanted.after),
        limit=wanted.limit + 1,
        which=ConversationFilter(
            by_human=None if wanted.controlled_by is None else wanted.controlled_by == "human",
            handoff_requested=wanted.handoff_requested,
        ),
    )
    following = None
    if len(found) > wanted.limit:
        last = found[wanted.limit - 1]
        following = cursors.dump(last.last_at, last.conversation_id)
    return ListConversationsOutput([wire.conversation(each) for each in found[: wanted.limit]], following)


class ReadConversationInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    conversation_id: _ConversationId
    limit: Limit = 50
    before: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Only messages before this `seq`: `before` of the answer before.")
    ] = None


class ReadConversationOutput(msgspec.Struct, frozen=True):
    """The newest messages, oldest first; `before` goes on to older ones."""

    conversation: wire.WireConversation
    messages: list[wire.WireMessage]
    before: int | None


async def _read_conversation(call: Call, wanted: ReadConversationInput) -> ReadConversationOutput:
    door = call.services.conversations
    conversation = await door.read(call.principal, call.chatbot, wanted.conversation_id)
    found = await door.shown(call.principal, call.chatbot, wanted.conversation_id, before=wanted.before, limit=wanted.limit + 1)
    newest = found[-wanted.limit :]
    return ReadConversationOutput(
        wire.conversation(conversation),
        [wire.message(each, call.chatbot.account_id, {}) for each in newest],
        newest[0].seq if len(found) > wanted.limit else None,
    )


class ReplyInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    conversation_id: _ConversationId
    operator: Annotated[str, Meta(min_length=1, max_length=248, description="Who of the staff speaks, such as `support_01`.")]
    text: Annotated[str, Meta(min_length=1, max_length=32_000, description="What the end user gets to read.")]


class ReplyOutput(msgspec.Struct, frozen=True):
    message: wire.WireMessage


async def _reply(call: Call, wanted: ReplyInput) -> ReplyOutput:
    door = call.services.conversations
    await door.named(call.principal, call.chatbot, wanted.conversation_id, ())  # it is there: none is begun by a mistake
    started = await door.speak(
        call.principal,
        call.chatbot,
        conversation_id=wanted.conversation_id,
        user_id=CLIENT_PREFIX + operator_name(wanted.operator, "operator"),
        text=wanted.text,
        metadata={},
        key=call.idempotency_key("reply_as_operator", wanted.conversation_id, wanted),
    )
    return ReplyOutput(wire.message(started.prompt, call.chatbot.account_id, {}))


# --- what was not answered ---


class ListUnansweredInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: Annotated[Literal["open", "answered", "dismissed"], Meta(description="What became of them.")] = "open"
    limit: Limit = 20
    after: Cursor = None


class ListUnansweredOutput(msgspec.Struct, frozen=True):
    """Groups of prompts that ask the same, the group with the newest prompt first."""

    groups: list[learning_wire.WireUnanswered]
    next: str | None


async def _list_unanswered(call: Call, wanted: ListUnansweredInput) -> ListUnansweredOutput:
    learning, chatbot = call.services.learning, call.chatbot
    page = await learning.page(chatbot.id, wanted.state, before=cursors.load(wanted.after), limit=wanted.limit)
    suggestions = await learning.suggestions(chatbot.id, page.groups)
    groups = [learning_wire.group(each, suggestions.get(each.id)) for each in page.groups]
    return ListUnansweredOutput(groups, None if page.last is None else cursors.dump(*page.last))


class AnswerUnansweredInput(AnswerInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt_id: Annotated[str, Meta(description="The `id` of the group.")]


async def _answer_unanswered(call: Call, wanted: AnswerUnansweredInput) -> learning_wire.WireSettled:
    unanswered.check_answer(wanted)
    if not is_id(wanted.prompt_id):
        raise NotFound
    settled = await unanswered.settle(call.services, call.chatbot, wanted.prompt_id, wanted, key=None)
    return learning_wire.settled(settled, call.chatbot.account_id)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        name="ask",
        title="Ask the chatbot",
        description="Ask the chatbot something. It answers from its documents, with citations. Prompt and reply are stored in "
        "the conversation, which an operator may have taken over: then nothing is answered.",
        needs=(Scope.CONVERSATIONS_WRITE,),
        takes=AskInput,
        gives=AskOutput,
        run=_ask,
    ),
    Tool(
        name="search_documents",
        title="Search the documents",
        description="Find the passages of the chatbot's documents that answer a question, the best first. Nothing is stored.",
        needs=(Scope.DOCUMENTS_READ,),
        takes=SearchInput,
        gives=wire.WireRetrieval,
        run=_search,
        is_read_only=True,
    ),
    Tool(
        name="push_document",
        title="Push a document",
        description="Add a text to the chatbot's documents, or replace the document of that name. It can be found on return.",
        needs=(Scope.DOCUMENTS_WRITE,),
        takes=documents.DocumentInput,
        gives=wire.WireDocument,
        run=_push,
        is_guarded=False,
        is_repeatable=True,
    ),
    Tool(
        name="list_conversations",
        title="List conversations",
        description="List the chatbot's conversations, the one that was active last first.",
        needs=(Scope.CONVERSATIONS_READ,),
        takes=ListConversationsInput,
        gives=ListConversationsOutput,
        run=_list_conversations,
        is_read_only=True,
    ),
    Tool(
        name="read_conversation",
        title="Read a conversation",
        description="Read the newest messages of a conversation, oldest first, and who answers in it.",
        needs=(Scope.CONVERSATIONS_READ,),
        takes=ReadConversationInput,
        gives=ReadConversationOutput,
        run=_read_conversation,
        is_read_only=True,
    ),
    Tool(
        name="list_unanswered",
        title="List unanswered prompts",
        description="List what end users asked and the documents did not answer, in groups of prompts that ask the same.",
        needs=(Scope.CONVERSATIONS_READ,),
        takes=ListUnansweredInput,
        gives=ListUnansweredOutput,
        run=_list_unanswered,
        is_read_only=True,
    ),
    Tool(
        name="answer_unanswered",
        title="Answer unanswered prompts",
        description="Answer a group of unanswered prompts for the future, with a fixed answer or a document.",
        needs=(Scope.LEARNING_WRITE,),
        takes=AnswerUnansweredInput,
        gives=learning_wire.WireSettled,
        run=_answer_unanswered,
    ),
    Tool(
        name="reply_as_operator",
        title="Reply as an operator",
        description="Write to the end user of a conversation in the name of the client's staff. With the chatbot's setting "
        "`interception.mode: takeover` this also takes the conversation over.",
        needs=(Scope.CONVERSATIONS_WRITE, Scope.MESSAGES_INJECT),
        takes=ReplyInput,
        gives=ReplyOutput,
        run=_reply,
    ),
)


def tools_for(principal: Principal) -> list[Tool[Any]]:
    """Those that the principal may call, in their order."""
    return [tool for tool in TOOLS if all(principal.may(scope) for scope in tool.needs)]
