"""The AI SDK's UI message stream: what is said in a turn as frames, and stored messages as UI messages. Pure.

Idea: one dialect serves versions 5 to 7 of the AI SDK, which fail on types of frames that they do not know and ignore fields
that they do not. Invariant: a browser that joins a reply, at any time, ends with the message that the store shows; and no message
appears in a browser before there are words for it, so a prompt that an operator gets leaves no empty bubble.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gigachat_server.api import wire
from gigachat_server.api.views import Shown
from gigachat_server.chat.answers.speech import ReplyPiece
from gigachat_server.clock import wire_time
from gigachat_server.records import Message, Source

HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}
DONE = b"data: [DONE]\n\n"
MESSAGE_ID = "ui_message_id"  # where a prompt's metadata keeps the id that the browser gave it

_TYPES = mimetypes.MimeTypes()  # of Python alone: the same on every machine
_FINISHED = {"stop": "stop", "length": "length", "content_filter": "content-filter"}

_encode = msgspec.json.Encoder().encode


class UIMessage(msgspec.Struct, frozen=True):
    """A message as the AI SDK keeps it. An operator's has the role `assistant`, and `metadata.role` tells the difference."""

    id: Annotated[str, Meta(description="Of a prompt that a browser sent: the id that it had there.")]
    role: Annotated[str, Meta(description="`user` or `assistant`.")]
    parts: Annotated[
        list[dict[str, Any]], Meta(description="`text`; of a reply also `source-url` or `source-document`, and more.")
    ]
    metadata: Annotated[
        dict[str, Any], Meta(description="`seq`, `created_at`, `name`, `role`, `status`, and what else is known.")
    ]


class UIFrame(msgspec.Struct, frozen=True):
    """One `data:` line of the stream, which ends with `[DONE]`: see the AI SDK's UI message stream, v1."""

    type: str


def frame(kind: str, **fields: Any) -> bytes:
    return _line({"type": kind, **fields})


def _line(part: dict[str, Any]) -> bytes:
    return b"data: " + _encode(part) + b"\n\n"


class ReplyFrames:
    """The frames of one reply, the first alternative, from its first word to its end."""

    def __init__(self, prompt: Message, shown: Shown) -> None:
        self._prompt = prompt
        self._shown = shown
        self._is_begun = False
        self._text_id = ""  # of the text part that is open: the id of the reply whose words it holds
        self._length = 0  # characters that part has

    def said(self, piece: ReplyPiece, reply_id: str) -> bytes:
        """Words as they come. `reply_id`: of the first alternative; the words of others, and those taken back, are left out."""
        if piece.message_id != reply_id:
            return b""
        return self._open(piece.message_id) + self._add(piece.text)

    def stored(self, messages: Sequence[Message]) -> bytes:
        """What the turn ended with, and the end of the stream."""
        reply = next((each for each in messages if each.in_reply_to is not None and each.alternative == 0), None)
        if reply is None:
            return self._unanswered(messages[-1])
        parts = [self._open(reply.id)]
        if len(reply.content) > self._length:
            parts.append(self._add(reply.content[self._length :]))
        parts.append(frame("text-end", id=self._text_id))
        parts += map(_line, _extras(reply, self._shown))
        parts.append(frame("message-metadata", messageMetadata=_metadata(reply, self._shown)))
        parts.append(frame("finish-step"))
        return b"".join(parts) + _finish(_finish_reason(reply))

    def failed(self, problem: dict[str, Any]) -> bytes:
        """The turn ended with an error: what was said so far stands, and the browser is told what went wrong."""
        ended = frame("text-end", id=self._text_id) if self._text_id else b""
        told = frame("data-problem", data=problem, transient=True)
        return ended + told + frame("error", errorText=problem["title"]) + DONE

    def _unanswered(self, prompt: Message) -> bytes:
        told = frame("data-gigachat", data={"turn": prompt.turn}, transient=True)
        if not self._is_begun:
            return frame("start") + told + _finish("other")
        return frame("text-end", id=self._text_id) + told + frame("finish-step") + _finish("other")

    def _open(self, reply_id: str) -> bytes:
        """The text part of that reply. Where another one's is open, that was taken back: versions 5 and 6 cannot drop it."""
        if self._text_id == reply_id:
            return b""
        parts = []
        if not self._is_begun:
            parts = [frame("start", messageId=reply_id, messageMetadata={"prompt_id": self._prompt.id}), frame("start-step")]
        if self._text_id:
            parts.append(frame("text-end", id=self._text_id))
        self._is_begun, self._text_id, self._length = True, reply_id, 0
        return b"".join((*parts, frame("text-start", id=reply_id)))

    def _add(self, text: str) -> bytes:
        self._length += len(text)
        return frame("text-delta", id=self._text_id, delta=text)


def ui_messages(stored: Sequence[Message], shown: Shown) -> list[UIMessage]:
    """As a browser that was there all the time has them. Of prompts with one browser's id, as of an edit, the last keeps it."""
    last = {_browser_id(each): each.id for each in stored if each.role == "user"}
    return [_ui_message(each, shown, has_own_id=last.get(_browser_id(each)) == each.id) for each in stored]


def _ui_message(stored: Message, shown: Shown, *, has_own_id: bool) -> UIMessage:
    text = {"type": "text", "text": stored.content}
    if stored.role == "user":
        return UIMessage(_browser_id(stored) if has_own_id else stored.id, "user", [text], _metadata(stored, shown))
    begun = [{"type": "step-start"}] if stored.in_reply_to is not None else []
    parts = [*begun, {**text, "state": "done"}, *_extras(stored, shown)]
    return UIMessage(stored.id, "assistant", parts, _metadata(stored, shown))


def _browser_id(prompt: Message) -> str:
    given = prompt.metadata.get(MESSAGE_ID)
    return given if isinstance(given, str) and given else prompt.id


def _metadata(stored: Message, shown: Shown) -> dict[str, Any]:
    known: dict[str, Any] = {
        "seq": stored.seq,
        "created_at": wire_time(stored.created_at),
        "name": stored.name,
        "role": stored.role,
        "status": stored.status,
    }
    if stored.in_reply_to is not None:
        usage = {"usage": stored.metadata.get("usage")} if shown.is_account else {}
        return {"prompt_id": stored.in_reply_to, **known, **usage}
    if stored.role == "user":
        return {**known, "prompt_id": stored.id, "turn": stored.turn}
    return known


def _extras(reply: Message, shown: Shown) -> list[dict[str, Any]]:
    """What a reply is made from, one part a source in their order, so that `[1]` is the first; and what it cites."""
    if shown.sources == "none":
        return []
    parts = [_source(each) for each in reply.sources]
    if reply.citations:
        cited = [wire.citation(each, reply.sources) for each in reply.citations]
        if shown.sources == "titles":
            cited = [msgspec.structs.replace(each, start=None, end=None, text=None) for each in cited]
        parts.append({"type": "data-citations", "id": reply.id, "data": msgspec.to_builtins(cited)})
    return parts


def _source(source: Source) -> dict[str, Any]:
    name = source.document_name
    if name.startswith(("https://", "http://")):
        return {"type": "source-url", "sourceId": source.id, "url": name, "title": source.heading or name}
    media_type = _TYPES.guess_type(name, strict=False)[0] or "text/plain"
    return {"type": "source-document", "sourceId": source.id, "mediaType": media_type, "title": name, "filename": name}


def _finish_reason(reply: Message) -> str:
    if reply.status != "completed":
        return "other"  # stopped, or interrupted
    return _FINISHED.get(str(reply.metadata.get("finish_reason")), "stop")


def _finish(reason: str) -> bytes:
    return frame("finish", finishReason=reason) + DONE
