"""A turn as OpenAI's streams tell it: what happens goes in, frames of Server-Sent Events come out. Pure.

Idea: an object of this module is one stream; it knows what it has told, so that at the end it tells what is missing of the stored
reply, which is all of it where the reply was there already. Invariant: what a client puts together from the pieces is what is
stored, unless the model took back what it had said; and a stream that failed does not end as one that is complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gigachat_server.api.openai import wire
from gigachat_server.api.openai.bodies import MESSAGE_PREFIX
from gigachat_server.api.views import Shown
from gigachat_server.records import Chatbot, Message

_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"


def _missing(told: Iterable[str], text: str) -> str:
    """What is to be added to the pieces; nothing if they are no beginning of the text."""
    so_far = "".join(told)
    return text[len(so_far) :] if text.startswith(so_far) else ""


class ChatStream:
    """A chat completion in chunks."""

    def __init__(self, chatbot: Chatbot, prompt: Message, *, message_id: str, with_usage: bool, shown: Shown) -> None:
        self._id = wire.COMPLETION_PREFIX + message_id
        self._created = wire.seconds(prompt)
        self._model = chatbot.id
        self._usage: UnsetType | None = None if with_usage and shown.is_account else UNSET
        self._shown = shown
        self._told: dict[int, list[str]] = {}

    def open(self, count: int) -> bytes:
        return b"".join(self._begin(index) for index in range(max(count, 1)))

    def _begin(self, index: int) -> bytes:
        self._told[index] = []
        return self._chunk(index, wire.OpenAIDelta(role="assistant", content=""))

    def say(self, index: int, text: str) -> bytes:
        begun = b"" if index in self._told else self._begin(index)
        self._told[index].append(text)
        return begun + self._chunk(index, wire.OpenAIDelta(content=text))

    def end(self, replies: list[Message]) -> bytes:
        """With the replies as they are stored; without any, of a prompt without an answer."""
        parts = []
        for reply in replies:
            if missing := _missing(self._told.get(reply.alternative, ()), reply.content):
                parts.append(self.say(reply.alternative, missing))
            delta = wire.OpenAIDelta(
                annotations=wire.url_annotations(reply, self._shown) or UNSET,
                gigachat=wire.of_reply(reply, self._shown),
            )
            parts.append(self._chunk(reply.alternative, delta, wire.finish_reason(reply)))
        ended = {reply.alternative for reply in replies}
        parts += [self._chunk(index, wire.OpenAIDelta(), "stop") for index in self._told if index not in ended]
        if self._usage is None:
            parts.append(self._frame([], wire.usage(replies)))
        return b"".join((*parts, _DONE))

    def fail(self, document: dict[str, Any]) -> bytes:
        return b"data: " + _encode(document) + b"\n\n"

    def _chunk(self, index: int, delta: wire.OpenAIDelta, finish_reason: str | None = None) -> bytes:
        return self._frame([wire.OpenAIChunkChoice(index, delta, finish_reason)], self._usage)

    def _frame(self, choices: list[wire.OpenAIChunkChoice], usage: wire.OpenAIUsage | UnsetType | None) -> bytes:
        return b"data: " + _encode(wire.OpenAIChunk(self._id, self._created, self._model, choices, usage)) + b"\n\n"


class ResponseStream:
    """A response in events. Of several alternatives it is the first."""

    def __init__(self, chatbot: Chatbot, prompt: Message, *, message_id: str | None, previous: str | None, shown: Shown) -> None:
        self._chatbot = chatbot
        self._prompt = prompt
        self._message_id = message_id
        self._previous = previous
        self._shown = shown
        self._number = 0
        self._told: list[str] = []
        self._is_begun = False

    def open(self, count: int) -> bytes:
        response = self._response(None, is_made=False)
        return self._event("created", response=response) + self._event("in_progress", response=response)

    def say(self, index: int, text: str) -> bytes:
        if index:
            return b""
        begun = b"" if self._is_begun else self._begin()
        self._told.append(text)
        return begun + self._part("output_text.delta", delta=text, logprobs=[])

    def end(self, replies: list[Message]) -> bytes:
        """With the replies as they are stored; without any, of a prompt without an answer."""
        reply = replies[0] if replies else None
        parts = [] if reply is None else [self._whole(reply)]
        response = self._response(reply)
        is_whole = response.status == "completed"
        return b"".join((*parts, self._event("completed" if is_whole else "incomplete", response=response)))

    def fail(self, document: dict[str, Any]) -> bytes:
        error = {"code": document["error"]["code"], "message": document["error"]["message"]}
        return self._event("failed", response=self._response(None, error=error))

    def _begin(self) -> bytes:
        self._is_begun = True
        item = {"type": "message", "id": self._item_id, "role": "assistant", "status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return self._event("output_item.added", output_index=0, item=item) + self._part("content_part.added", part=part)

    def _whole(self, reply: Message) -> bytes:
        """The rest of the text, what it cites, and all of it once more."""
        parts = []
        if not self._is_begun:
            self._message_id = reply.id
            parts.append(self._begin())
        if missing := _missing(self._told, reply.content):
            parts.append(self.say(0, missing))
        item = wire.output_item(reply, self._shown)
        [content] = item["content"]
        for number, annotation in enumerate(content["annotations"]):
            parts.append(self._part("output_text.annotation.added", annotation_index=number, annotation=annotation))
        parts.append(self._part("output_text.done", text=reply.content, logprobs=[]))
        parts.append(self._part("content_part.done", part=content))
        parts.append(self._event("output_item.done", output_index=0, item=item))
        return b"".join(parts)

    def _response(
        self, reply: Message | None, *, is_made: bool = True, error: dict[str, Any] | None = None
    ) -> wire.OpenAIResponse:
        return wire.response(
            self._chatbot,
            self._prompt,
            reply,
            message_id=self._message_id,
            is_made=is_made,
            previous=self._previous,
            error=error,
            shown=self._shown,
        )

    @property
    def _item_id(self) -> str:
        return MESSAGE_PREFIX + (self._message_id or self._prompt.id)

    def _part(self, name: str, **fields: Any) -> bytes:
        return self._event(name, item_id=self._item_id, output_index=0, content_index=0, **fields)

    def _event(self, name: str, **fields: Any) -> bytes:
        kind = f"response.{name}"
        data = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + _encode(data) + b"\n\n"
