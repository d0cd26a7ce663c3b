"""What clients of OpenAI's API send: of all that they can say, the prompt, whose it is, and where it belongs.

Idea: clients add fields every month, so unknown ones are ignored; those that ask for something which is not done here are
refused, and those without effect are named in the answer. A client sends the whole conversation each time, so only its tail is
looked at. Invariant: nothing but the last message, which is the user's, becomes a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from gigachat_server.api.openai.errors import invalid, unsupported
from gigachat_server.chat.conversations import Recounted
from gigachat_server.ids import is_id

LONGEST_PROMPT = 32_000
MESSAGE_PREFIX = "msg_"
_DEEPEST = 256  # earlier messages that are looked at
_TEXTS = ("text", "input_text", "output_text")
_INSTRUCTING = ("system", "developer")

Unused = Annotated[Any, Meta(description="Has no effect here: the chatbot's own setting counts.")]
User = Annotated[str | None, Meta(description="Who speaks: your id of the end user.")]
Metadata = Annotated[
    dict[str, Any] | None, Meta(description="Stored with the prompt. `user_id` and `conversation_id` say whose it is.")
]
Model = Annotated[str | None, Meta(description="The id of a chatbot, or its name; below /chatbots/{chatbot_id} any text.")]
Tools = Annotated[tuple[Raw, ...] | None, Meta(description="Refused unless empty.")]


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class Format(msgspec.Struct, frozen=True):
    type: str = "text"


class TextFormat(msgspec.Struct, frozen=True):
    format: Format | None = None


class ConversationReference(msgspec.Struct, frozen=True):
    id: str


class ChatInput(msgspec.Struct, frozen=True, kw_only=True):
    """A chat completion: the last message is the prompt."""

    messages: Annotated[tuple[Raw, ...], Meta(min_length=1, description="The last one must be the user's, and have text.")]
    model: Model = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: User = None
    safety_identifier: User = None
    metadata: Metadata = None
    n: Annotated[int | None, Meta(description="Refused unless it is the chatbot's own `response.n`.")] = None
    tools: Tools = None
    functions: Tools = None
    response_format: Format | None = None
    modalities: tuple[str, ...] | None = None
    audio: Any = None
    web_search_options: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    store: bool | None = None
    temperature: Unused | UnsetType = UNSET
    top_p: Unused | UnsetType = UNSET
    max_tokens: Unused | UnsetType = UNSET
    max_completion_tokens: Unused | UnsetType = UNSET
    presence_penalty: Unused | UnsetType = UNSET
    frequency_penalty: Unused | UnsetType = UNSET


class ResponseInput(msgspec.Struct, frozen=True, kw_only=True):
    """A response: the input, or its last item, is the prompt."""

    input: Annotated[str | tuple[Raw, ...], Meta(description="A text, or items of which the last one must be the user's.")]
    model: Model = None
    stream: bool | None = None
    conversation: Annotated[str | ConversationReference | None, Meta(description="Which conversation goes on.")] = None
    previous_response_id: str | None = None
    user: User = None
    safety_identifier: User = None
    metadata: Metadata = None
    tools: Tools = None
    text: TextFormat | None = None
    prompt: Any = None
    top_logprobs: int | None = None
    background: bool | None = None
    store: bool | None = None
    instructions: Unused | UnsetType = UNSET
    temperature: Unused | UnsetType = UNSET
    top_p: Unused | UnsetType = UNSET
    max_output_tokens: Unused | UnsetType = UNSET
    max_tool_calls: Unused | UnsetType = UNSET


class ConversationInput(msgspec.Struct, frozen=True, kw_only=True):
    """A new conversation in which nothing was said yet."""

    items: Tools = None
    metadata: Unused | UnsetType = UNSET


class EmbeddingInput(msgspec.Struct, frozen=True, kw_only=True):
    """Texts to embed."""

    input: Annotated[Any, Meta(description="A text, or up to 64 of them. Tokens are refused.")]
    model: Model = None
    encoding_format: Literal["float", "base64"] | None = None
    input_type: Annotated[
        Literal["query", "search_query", "passage", "document", "search_document"] | None,
        Meta(description="What the texts are to the embedding model; null: something that is asked."),
    ] = None
    dimensions: Annotated[int | None, Meta(description="Refused unless it is what the embedding model has.")] = None
    user: Unused | UnsetType = UNSET


class _Part(msgspec.Struct, frozen=True):
    type: str = ""
    text: str = ""


class _Item(msgspec.Struct, frozen=True):
    """A message, or an item of another kind, as far as that is of interest."""

    role: str | None = None
    id: str | None = None
    content: str | tuple[_Part, ...] | None = None


_read_item = msgspec.json.Decoder(_Item).decode


class Said(msgspec.Struct, frozen=True):
    """What a list of messages tells: the prompt, and of the earlier ones ids of ours and what is said to have been said."""

    text: str
    field: str  # where the prompt was found
    message_ids: tuple[str, ...] = ()  # oldest first
    earlier: tuple[Recounted, ...] = ()
    has_earlier: bool = False
    has_instructions: bool = False


def said_in(messages: str | Sequence[Raw], field: str, *, most_earlier: int) -> Said:
    """What there is in the messages of a chat, or the items of an input. Raises `InvalidRequest`, `UnsupportedParameter`."""
    if isinstance(messages, str):
        return Said(messages, field)
    if not messages:
        raise invalid(field, "Must not be empty.")
    last = len(messages) - 1
    where = f"{field}[{last}]"
    text = _prompt_of(messages[last], where)
    ids: list[str] = []
    earlier: list[Recounted] = []
    has_earlier = has_instructions = False
    for raw in reversed(messages[max(0, last - _DEEPEST) : last]):
        item = _lenient(raw)
        if (message_id := our_message_id(item.id)) is not None:
            ids.append(message_id)
        has_instructions |= item.role in _INSTRUCTING
        if item.role in ("user", "assistant"):
            has_earlier = True
            if len(earlier) < most_earlier and (words := _words(item)).strip():
                earlier.append(Recounted(cast("Literal['user', 'assistant']", item.role), words[:LONGEST_PROMPT]))
    if last > _DEEPEST:
        has_instructions |= _lenient(messages[0]).role in _INSTRUCTING
    return Said(text, where, tuple(reversed(ids)), tuple(reversed(earlier)), has_earlier, has_instructions)


def our_message_id(item_id: str | None) -> str | None:
    """The id of the message that an item's id stands for, if that has the form of ours."""
    if item_id is None or not item_id.startswith(MESSAGE_PREFIX):
        return None
    message_id = item_id.removeprefix(MESSAGE_PREFIX)
    return message_id if is_id(message_id) else None


def _prompt_of(raw: Raw, where: str) -> str:
    try:
        item = _read_item(raw)
    except msgspec.ValidationError:
        raise invalid(where, "Must be a message: an object with role and content.") from None
    except msgspec.DecodeError:
        raise invalid(where, "Must be text in UTF-8, without lone surrogates.") from None
    if item.role != "user":
        raise invalid(f"{where}.role", "The last message must be the user's: it is the prompt.")
    if isinstance(item.content, tuple):
        for number, part in enumerate(item.content):
            if part.type not in _TEXTS:
                raise unsupported(f"{where}.content[{number}]", "Only text is read: no images, audio or files.")
    return _words(item)


def _lenient(raw: Raw) -> _Item:
    try:
        return _read_item(raw)
    except (msgspec.DecodeError, RecursionError):
        return _Item()


def _words(item: _Item) -> str:
    if isinstance(item.content, tuple):
        return "\n".join(part.text for part in item.content if part.type in _TEXTS)
    return item.content or ""


def refuse_unsupported_chat(body: ChatInput, *, n: int) -> None:
    """Raises `UnsupportedParameter` for what it would be a lie to ignore."""
    wrong = {
        "tools": body.tools,
        "functions": body.functions,
        "response_format": body.response_format is not None and body.response_format.type != "text",
        "modalities": body.modalities is not None and set(body.modalities) != {"text"},
        "audio": body.audio is not None,
        "web_search_options": body.web_search_options is not None,
        "n": body.n is not None and body.n != n,
        "logprobs": body.logprobs,
        "top_logprobs": body.top_logprobs,
        "store": body.store is False,
    }
    _refuse(wrong)


def refuse_unsupported_response(body: ResponseInput) -> None:
    """Likewise."""
    wrong = {
        "tools": body.tools,
        "text.format": body.text is not None and body.text.format is not None and body.text.format.type != "text",
        "prompt": body.prompt is not None,
        "top_logprobs": body.top_logprobs,
        "background": body.background,
        "store": body.store is False,
    }
    _refuse(wrong)


def _refuse(wrong: dict[str, Any]) -> None:
    for param, is_wrong in wrong.items():
        if is_wrong:
            raise unsupported(param)


def ignored_fields(body: ChatInput | ResponseInput, said: Said) -> list[str]:
    """The names of what was sent and has no effect."""
    named = [name for name in _UNUSED[type(body)] if getattr(body, name) not in (UNSET, None)]
    return [*named, "system"] if said.has_instructions else named


_UNUSED = {
    kind: tuple(field.name for field in msgspec.structs.fields(kind) if field.default is UNSET)
    for kind in (ChatInput, ResponseInput)
}
