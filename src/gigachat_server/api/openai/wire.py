"""Turns, messages and chatbots as OpenAI's API shows them. Pure.

Invariants: an id is a prefix and the id of the message that every other route shows, so `chatcmpl-`, `resp_` and `msg_` of one
reply are the same reply; whatever a stream tells at its end, a JSON answer and a later GET tell in the same form; and an end
user sees no metadata, count or setting, and of the sources as much as on every other route.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gigachat_server.api.openai.bodies import MESSAGE_PREFIX
from gigachat_server.api.views import Shown
from gigachat_server.edge.chatbot_names import RESPONSE_PREFIX
from gigachat_server.records import Chatbot, Citation, Conversation, Message

COMPLETION_PREFIX = "chatcmpl-"
_SECOND_US = 1_000_000
_CUT_SHORT = {"length": "max_output_tokens", "content_filter": "content_filter"}

Extension = Annotated[dict[str, Any], Meta(description="What only gigachat tells: the conversation, the prompt, every citation.")]
Annotations = Annotated[list[dict[str, Any]], Meta(description="What the text cites.")]


class OpenAIModel(msgspec.Struct, frozen=True):
    """A chatbot."""

    id: str
    created: int
    owned_by: str
    name: str
    object: str = "model"


class OpenAIModels(msgspec.Struct, frozen=True):
    data: list[OpenAIModel]
    object: str = "list"


class OpenAIUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class OpenAIChatMessage(msgspec.Struct, frozen=True):
    content: str
    annotations: Annotations
    gigachat: Extension
    role: str = "assistant"
    refusal: None = None


class OpenAIChoice(msgspec.Struct, frozen=True):
    index: int
    message: OpenAIChatMessage
    finish_reason: str
    logprobs: None = None


class OpenAIChatCompletion(msgspec.Struct, frozen=True):
    """The replies to a prompt, each a choice."""

    id: str
    created: int
    model: str
    choices: list[OpenAIChoice]
    usage: Annotated[OpenAIUsage | None, Meta(description="Null for end users.")]
    gigachat: Extension
    object: str = "chat.completion"


class OpenAIDelta(msgspec.Struct, frozen=True):
    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    annotations: list[dict[str, Any]] | UnsetType = UNSET
    gigachat: dict[str, Any] | UnsetType = UNSET


class OpenAIChunkChoice(msgspec.Struct, frozen=True):
    index: int
    delta: OpenAIDelta
    finish_reason: str | None = None
    logprobs: None = None


class OpenAIChunk(msgspec.Struct, frozen=True):
    """A piece of a streamed chat completion."""

    id: str
    created: int
    model: str
    choices: list[OpenAIChunkChoice]
    usage: OpenAIUsage | UnsetType | None = UNSET
    object: str = "chat.completion.chunk"


class OpenAIResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The first reply to a prompt."""

    id: str
    object: str = "response"
    created_at: int
    status: str
    model: str
    output: Annotated[list[dict[str, Any]], Meta(description="The reply's message; empty while it is made, or if there is none.")]
    conversation: dict[str, Any]
    previous_response_id: str | None = None
    error: dict[str, Any] | None = None
    incomplete_details: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    metadata: dict[str, Any]
    temperature: Annotated[float | None, Meta(description="The chatbot's, as are the next two; null for end users.")]
    top_p: float | None
    max_output_tokens: int | None
    instructions: None = None
    tools: list[dict[str, Any]] = []
    tool_choice: str = "auto"
    parallel_tool_calls: bool = False
    truncation: str = "disabled"
    text: dict[str, Any] = msgspec.field(default_factory=lambda: {"format": {"type": "text"}})
    background: bool = False
    store: bool = True
    gigachat: Extension


class OpenAIResponseEvent(msgspec.Struct, frozen=True):
    """An event of a streamed response; the other fields depend on its type."""

    type: str
    sequence_number: int


class OpenAIConversation(msgspec.Struct, frozen=True):
    id: str
    created_at: int
    metadata: dict[str, Any] = {}
    object: str = "conversation"


class OpenAIItems(msgspec.Struct, frozen=True):
    """Messages of a conversation."""

    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: str = "list"


class OpenAIEmbedding(msgspec.Struct, frozen=True):
    index: int
    embedding: list[float] | str
    object: str = "embedding"


class OpenAIEmbeddings(msgspec.Struct, frozen=True):
    data: list[OpenAIEmbedding]
    model: str
    usage: dict[str, int]
    object: str = "list"


class OpenAIErrorDetail(msgspec.Struct, frozen=True):
    message: str
    type: Literal["invalid_request_error", "permission_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str


class OpenAIError(msgspec.Struct, frozen=True):
    """Every error of these routes. Programs act on `code`, which means the same as on every other route."""

    error: OpenAIErrorDetail


# --- chatbots and conversations ---


def model(chatbot: Chatbot) -> OpenAIModel:
    return OpenAIModel(chatbot.id, chatbot.created_at // _SECOND_US, chatbot.account_id, chatbot.name)


def conversation(record: Conversation) -> OpenAIConversation:
    return OpenAIConversation(record.conversation_id, record.created_at // _SECOND_US)


def item(message: Message, shown: Shown) -> dict[str, Any]:
    """A message as an item of its conversation. Staff speaks for the side of the assistant."""
    if message.role == "user":
        content = {"type": "input_text", "text": message.content}
        return _item(message, "user", content)
    if message.role == "system":
        return _item(message, "system", {"type": "input_text", "text": message.content})
    found = _item(message, "assistant", _output_text(message, shown))
    found["gigachat"] = {"role": message.role, "name": message.name, "citations": citations(message, shown)}
    return found


def _item(message: Message, role: str, content: dict[str, Any]) -> dict[str, Any]:
    status = "completed" if message.status == "completed" else "incomplete"
    return {"type": "message", "id": MESSAGE_PREFIX + message.id, "role": role, "status": status, "content": [content]}


# --- what a reply cites ---


def cited(message: Message, shown: Shown) -> list[dict[str, Any]]:
    """As a response has them: pages by their address, other documents as files."""
    return [] if shown.sources == "none" else [_annotation(each, message) for each in message.citations]


def _annotation(citation: Citation, message: Message) -> dict[str, Any]:
    source = message.sources[citation.number - 1]
    if _is_page(source.document_name):
        return {
            "type": "url_citation",
            "start_index": citation.marker_start,
            "end_index": citation.marker_end,
            "url": source.document_name,
            "title": source.heading or source.document_name,
        }
    return {
        "type": "file_citation",
        "index": citation.marker_start,
        "file_id": f"file-{source.document_id}",
        "filename": source.document_name,
    }


def _is_page(document_name: str) -> bool:
    return document_name.startswith(("https://", "http://"))


def url_annotations(message: Message, shown: Shown) -> list[dict[str, Any]]:
    """As a chat completion has them: it knows pages alone, and nests what it says of them."""
    return [
        {"type": "url_citation", "url_citation": {name: value for name, value in each.items() if name != "type"}}
        for each in cited(message, shown)
        if each["type"] == "url_citation"
    ]


def citations(message: Message, shown: Shown) -> list[dict[str, Any]]:
    """All of them, with the words of the documents where those are shown."""
    found = []
    for each in message.citations if shown.sources != "none" else ():
        source = message.sources[each.number - 1]
        told: dict[str, Any] = {
            "number": each.number,
            "document_id": source.document_id,
            "document_name": source.document_name,
            "marker_start": each.marker_start,
            "marker_end": each.marker_end,
        }
        if shown.sources == "full":
            told["text"] = each.text(message.sources)
        found.append(told)
    return found


# --- chat completions ---


def finish_reason(message: Message) -> str:
    reason = message.metadata.get("finish_reason")
    return str(reason) if reason in _CUT_SHORT else "stop"


def usage(replies: list[Message]) -> OpenAIUsage:
    """What the model's endpoint counted, for all replies together."""
    counted = replies[0].metadata.get("usage") if replies else None
    told = counted if isinstance(counted, dict) else {}
    prompt, completion = int(told.get("prompt_tokens", 0)), int(told.get("completion_tokens", 0))
    return OpenAIUsage(prompt, completion, prompt + completion)


def extension(prompt: Message) -> dict[str, Any]:
    return {"conversation_id": prompt.conversation_id, "prompt_id": prompt.id}


def of_reply(message: Message, shown: Shown) -> dict[str, Any]:
    return {"message_id": message.id, "status": message.status, "citations": citations(message, shown)}


def chat_completion(chatbot: Chatbot, prompt: Message, replies: list[Message], shown: Shown) -> OpenAIChatCompletion:
    """A prompt that the chatbot leaves to an operator has one choice that says nothing."""
    choices = [
        OpenAIChoice(
            each.alternative,
            OpenAIChatMessage(each.content, url_annotations(each, shown), of_reply(each, shown)),
            finish_reason(each),
        )
        for each in replies
    ]
    return OpenAIChatCompletion(
        id=COMPLETION_PREFIX + (replies[0].id if replies else prompt.id),
        created=seconds(prompt),
        model=chatbot.id,
        choices=choices or [OpenAIChoice(0, OpenAIChatMessage("", [], {}), "stop")],
        usage=usage(replies) if shown.is_account else None,
        gigachat=extension(prompt),
    )


def seconds(message: Message) -> int:
    return message.created_at // _SECOND_US


# --- responses ---


def response(
    chatbot: Chatbot,
    prompt: Message,
    reply: Message | None,
    *,
    message_id: str | None = None,
    is_made: bool = True,
    previous: str | None = None,
    error: dict[str, Any] | None = None,
    shown: Shown,
) -> OpenAIResponse:
    """`is_made`: nothing more is said. Until then `message_id` is what the reply will be called."""
    reason = None if reply is None else _CUT_SHORT.get(finish_reason(reply))
    status = "failed" if error is not None else _status(reply, reason) if is_made else "in_progress"
    known = reply.id if reply else message_id or prompt.id
    config = chatbot.config.response if shown.is_account else None
    return OpenAIResponse(
        id=RESPONSE_PREFIX + known,
        created_at=seconds(prompt),
        status=status,
        model=chatbot.id,
        output=[output_item(reply, shown)] if reply is not None else [],
        conversation={"id": prompt.conversation_id},
        previous_response_id=previous,
        error=error,
        incomplete_details=_incomplete(status, reason),
        usage=_response_usage(reply) if is_made and error is None and shown.is_account else None,
        metadata={name: value for name, value in prompt.metadata.items() if name != "is_unnamed"} if shown.is_account else {},
        temperature=config.temperature if config else None,
        top_p=config.top_p if config else None,
        max_output_tokens=config.max_tokens if config else None,
        gigachat={**extension(prompt), **(of_reply(reply, shown) if reply is not None else {})},
    )


def _status(reply: Message | None, cut_short: str | None) -> str:
    if reply is None:
        return "completed"
    if reply.status == "stopped":
        return "cancelled"
    return "incomplete" if cut_short is not None or reply.status == "incomplete" else "completed"


def _incomplete(status: str, cut_short: str | None) -> dict[str, Any] | None:
    if status != "incomplete":
        return None
    return {"reason": cut_short or "interrupted"}


def output_item(reply: Message, shown: Shown) -> dict[str, Any]:
    return _item(reply, "assistant", _output_text(reply, shown))


def _output_text(message: Message, shown: Shown) -> dict[str, Any]:
    return {"type": "output_text", "text": message.content, "annotations": cited(message, shown), "logprobs": []}


def _response_usage(reply: Message | None) -> dict[str, Any]:
    counted = usage([reply] if reply is not None else [])
    told = reply.metadata.get("usage") if reply is not None else None
    reasoning = told.get("reasoning_tokens", 0) if isinstance(told, dict) else 0
    return {
        "input_tokens": counted.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": counted.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": counted.total_tokens,
    }
