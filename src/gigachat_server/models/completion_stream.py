"""Turns the bytes of a chat completion, streamed or whole, into model events; no I/O, no clock.

Invariant: the events depend on the bytes alone, never on where the network cut them; every text that leaves here is
valid Unicode without NUL, and no alternative is longer than its limit. A body says itself what it is: one that opens
with `{` or `[` is a plain JSON completion, everything else has to be server-sent events. A call of the handoff tool, where
it was offered, counts as output like text does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from gigachat_server.errors import ModelEmpty, ModelError, ModelInterrupted, ModelMalformed
from gigachat_server.models.base import HANDED_OFF, ModelEvent, ReplyEnd, TextDelta, UsageReport
from gigachat_server.models.endpoint_errors import EndpointError, failure_named
from gigachat_server.models.handoff_call import ToolCalls
from gigachat_server.models.mended_json import decode_mended

FINISH_REASONS = frozenset({"stop", "length", "content_filter", "tool_calls"})  # what endpoints say


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one call may bring, whatever the endpoint sends. `bytes_per_token` times `max_tokens` caps a text."""

    bytes_per_token: int = 8
    line_bytes: int = 1 << 20
    body_bytes: int = 1 << 20  # a completion that comes as one JSON object: its text may take ten times that while it is read
    stream_bytes: int = 64 << 20  # a whole event stream, with its reasoning and keep-alives


class _Part(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None


class _Content(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    # Raw: only whether the model is at work matters, so their shape (which differs by provider) is nobody's business;
    # tool calls are looked into only where a tool was offered.
    reasoning_content: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()
    tool_calls: msgspec.Raw = msgspec.Raw()


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: _Content | None = None
    message: _Content | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, gc=False):
    """One `data:` line, or the whole JSON body: the two differ in `delta` and `message` only."""

    object: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: EndpointError | str | None = None
    code: int | str | None = None


class _Alternative:
    """What is known of one reply while it arrives. Its leading whitespace is held back: it may be all there is."""

    __slots__ = ("finish_reason", "held", "is_ended", "is_shown", "room", "tool_calls")

    def __init__(self, room: int) -> None:
        self.room = room
        self.held = ""
        self.is_shown = False
        self.is_ended = False
        self.finish_reason: str | None = None
        self.tool_calls: ToolCalls | None = None

    @property
    def is_there(self) -> bool:
        """It says something or hands off."""
        return self.is_shown or (self.tool_calls is not None and self.tool_calls.is_handoff)


_decoder = msgspec.json.Decoder(_Chunk)
_ABSENT = frozenset({b"", b"null", b'""', b"[]"})
_HELD_CHARACTERS = 1024
_BOM = b"\xef\xbb\xbf"


class CompletionParser:
    """Parses one body. `feed` gives events in order of arrival; `failure` is set when nothing sound can follow them.

    `is_finished`: everything that matters is here, the connection may go. `progress` rises with each sign that the
    model is at work: text, reasoning or an end, not a keep-alive. `has_output`: text or a handoff was among the events.
    `may_hand_off`: the handoff tool was offered; the first alternative to end with a call of it brings the request.
    """

    def __init__(
        self,
        *,
        n: int = 1,
        max_tokens: int = 200,
        model: str = "",
        limits: Limits | None = None,
        may_hand_off: bool = False,
    ) -> None:
        self._may_hand_off = may_hand_off
        self._has_handed_off = False
        self._limits = limits or Limits()
        self._n = n
        self._text_bytes = max(1, max_tokens) * self._limits.bytes_per_token
        self._model = model
        self._usage = _Usage()
        self._alternatives: dict[int, _Alternative] = {}
        self._pending = bytearray()
        self._received = 0
        self._is_json: bool | None = None  # None: no byte yet that tells
        self._has_chunk = False
        self._is_cut = False  # an alternative reached its limit
        self._is_strange = False  # JSON came that is no chunk
        self.failure: ModelError | None = None
        self.is_finished = False
        self.is_done_seen = False
        self.has_output = False
        self.progress = 0

    @property
    def are_all_ended(self) -> bool:
        """Every alternative that was asked for has come to its end."""
        return len(self._alternatives) >= self._n and self._are_begun_ended

    @property
    def is_complete(self) -> bool:
        """There is a reply, and none that began is without its end."""
        return self.has_output and self._are_begun_ended

    @property
    def _are_begun_ended(self) -> bool:
        return all(alternative.is_ended for alternative in self._alternatives.values())

    def feed(self, data: bytes) -> list[ModelEvent]:
        """The events that became complete with `data`."""
        events: list[ModelEvent] = []
        if self.is_finished or self.failure is not None:
            return events
        self._received += len(data)
        if self._is_json is None:
            data = self._recognise(data)
        if self._is_json:
            self._pending += data
            if len(self._pending) > self._limits.body_bytes:
                self.failure = ModelMalformed()
        elif self._is_json is False:
            self._feed_lines(data, events)
            if self._received > self._limits.stream_bytes and not self.is_finished and self.failure is None:
                self._stop_flood(events)
        return events

    def finish(self) -> list[ModelEvent]:
        """The last events, once the body is over: `ReplyEnd`s that were left out, then the `UsageReport`."""
        events: list[ModelEvent] = []
        if self.failure is None and not self.is_finished:
            if self._is_json:
                self._read(bytes(self._pending), events)
                self.is_done_seen = self._has_chunk
            elif self._pending:
                self._read_last_line(bytes(self._pending), events)
        if self.failure is None:
            self._close(events)
        return events

    def break_off(self) -> list[ModelEvent]:
        """The connection broke: what was complete by then still counts, anything else is an interruption."""
        if self._is_json or not self._alternatives or not self._are_begun_ended:
            self.failure = self.failure or ModelInterrupted()
            return []
        self._pending.clear()
        return self.finish()

    def _recognise(self, data: bytes) -> bytes:
        """Decides by the first visible byte whether this is JSON or a stream; blanks and a byte order mark pass."""
        self._pending += data
        start = bytes(self._pending).lstrip()
        if _BOM.startswith(start[:3]):
            if len(start) < len(_BOM):
                self._pending[:] = start  # blank so far, or the first bytes of a mark
                return b""
            start = start[len(_BOM) :].lstrip()
            if not start:
                self._pending[:] = _BOM
                return b""
        self._pending.clear()
        self._is_json = start[:1] in (b"{", b"[")
        return start

    def _feed_lines(self, data: bytes, events: list[ModelEvent]) -> None:
        if b"\r" in data:
            data = data.replace(b"\r", b"\n")  # CRLF then brings empty lines, which mean nothing here
        if b"\n" not in data:
            self._pending += data
        else:
            lines = (bytes(self._pending) + data).split(b"\n") if self._pending else data.split(b"\n")
            self._pending[:] = lines.pop()
            for line in lines:
                if line:
                    self._read_line(line, events)
                    if self.is_finished or self.failure is not None:
                        return
        if len(self._pending) > self._limits.line_bytes:
            self.failure = ModelMalformed()

    def _read_line(self, line: bytes, events: list[ModelEvent]) -> None:
        """One line of an event stream. Each `data:` line stands alone: no endpoint spreads a chunk over several."""
        if len(line) > self._limits.line_bytes:
            self.failure = ModelMalformed()
        elif line.startswith(b"data:"):
            payload = line[5:].strip()
            if payload == b"[DONE]":
                self.is_done_seen = self.is_finished = True
            elif payload:
                self._read(payload, events)
        elif line.startswith(b"error:"):  # a field of its own in older llama.cpp servers
            self._fail(ModelError())
        elif not self._has_chunk and not line.startswith((b":", b"event", b"id", b"retry")) and line.strip():
            self.failure = ModelMalformed()  # a page, a log, anything but an event stream

    def _read_last_line(self, line: bytes, events: list[ModelEvent]) -> None:
        """A line without its end: as good as any if it is whole, else the sign of a broken stream."""
        self._read_line(line, events)
        if isinstance(self.failure, ModelMalformed) and line.startswith(b"data:"):
            self.failure = ModelInterrupted()

    def _read(self, payload: bytes, events: list[ModelEvent]) -> None:
        chunk = decode_mended(_decoder, payload)
        if chunk is None:
            self._fail(ModelMalformed())
            return
        if chunk.error is not None or chunk.object == "error":
            error = chunk.error if isinstance(chunk.error, EndpointError) else EndpointError(code=chunk.code)
            self._fail(failure_named(error))
            return
        if chunk.model:
            self._model = chunk.model
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.choices is None:
            self._is_strange |= chunk.usage is None
            return
        self._has_chunk = True
        for position, choice in enumerate(chunk.choices):
            index = position if choice.index is None else choice.index
            if 0 <= index < self._n:
                self._read_choice(index, choice, events)
        if self._is_cut and self._are_begun_ended:
            self.is_finished = True  # whoever does not stop at the limit is not waited for

    def _fail(self, failure: ModelError) -> None:
        """A failure counts unless every reply that began is complete already: then it costs the usage at most."""
        if self.is_complete:
            self.is_finished = True
        else:
            self.failure = failure

    def _read_choice(self, index: int, choice: _Choice, events: list[ModelEvent]) -> None:
        alternative = self._alternatives.get(index)
        if alternative is None:
            alternative = self._alternatives[index] = _Alternative(self._text_bytes)
        if alternative.is_ended:
            return
        content = choice.delta
        if content is None and not alternative.is_there:
            content = choice.message  # an event stream may bring a reply as one message, too
        if content is not None:
            self._read_content(index, alternative, content, events)
        if choice.finish_reason and not alternative.is_ended:
            self.progress += 1
            self._end(index, alternative, choice.finish_reason, events)

    def _read_content(self, index: int, alternative: _Alternative, content: _Content, events: list[ModelEvent]) -> None:
        text = content.content
        if text:
            self.progress += 1
            self._add_text(index, alternative, text if isinstance(text, str) else _join(text), events)
        elif not (
            bytes(content.reasoning_content) in _ABSENT
            and bytes(content.reasoning) in _ABSENT
            and bytes(content.tool_calls) in _ABSENT
        ):
            self.progress += 1
        if self._may_hand_off and not alternative.is_ended and bytes(content.tool_calls) not in _ABSENT:
            calls = alternative.tool_calls = alternative.tool_calls or ToolCalls()
            calls.add(bytes(content.tool_calls))
            if calls.is_over and calls.is_handoff:
                self._is_cut = True
                self._end(index, alternative, "length", events)

    def _add_text(self, index: int, alternative: _Alternative, text: str, events: list[ModelEvent]) -> None:
        if "\x00" in text:
            text = text.replace("\x00", "\ufffd")
        if text.isascii():
            size = len(text)
            is_over = size > alternative.room
            if is_over:
                text = text[: alternative.room]
        else:
            encoded = text.encode()
            size = len(encoded)
            is_over = size > alternative.room
            if is_over:
                text = encoded[: alternative.room].decode(errors="ignore")
        alternative.room -= size
        if not alternative.is_shown:
            text = alternative.held + text
            if not text or text.isspace():
                alternative.held = text[:_HELD_CHARACTERS]
                text = ""
        if text:
            alternative.is_shown = self.has_output = True
            events.append(TextDelta(index, text))
        if is_over:
            self._is_cut = True
            self._end(index, alternative, "length", events)

    def _end(self, index: int, alternative: _Alternative, finish_reason: str, events: list[ModelEvent]) -> None:
        """Ends an alternative under a known finish_reason. One without text or handoff is not announced: it is not there."""
        request = None if alternative.tool_calls is None else alternative.tool_calls.request()
        if request is not None and not self._has_handed_off:
            self._has_handed_off = self.has_output = True
            events.append(request)
        if request is not None and finish_reason not in ("length", "content_filter"):
            finish_reason = HANDED_OFF
        elif finish_reason == "function_call":
            finish_reason = "tool_calls"
        elif finish_reason not in FINISH_REASONS:
            finish_reason = "stop"
        alternative.is_ended = True
        alternative.finish_reason = finish_reason
        if alternative.is_there:
            events.append(ReplyEnd(index, finish_reason))

    def _stop_flood(self, events: list[ModelEvent]) -> None:
        if not self.has_output:
            self.failure = ModelMalformed()
            return
        for index, alternative in self._alternatives.items():
            if not alternative.is_ended:
                self._end(index, alternative, "length", events)
        self.is_finished = True

    def _close(self, events: list[ModelEvent]) -> None:
        shown = {index: each for index, each in self._alternatives.items() if each.is_there}
        if shown and not self.is_done_seen and not all(each.is_ended for each in shown.values()):
            self.failure = ModelInterrupted()  # neither [DONE] nor a finish_reason: nobody said that this is all
            return
        if not shown:
            if self._received and not self._has_chunk and (self._is_strange or not self.is_done_seen):
                self.failure = ModelMalformed()
            else:
                self.failure = ModelEmpty(_why_empty({each.finish_reason for each in self._alternatives.values()}))
            return
        for index, alternative in shown.items():
            if not alternative.is_ended:
                self._end(index, alternative, "stop", events)
        self.is_finished = True
        events.append(
            UsageReport(
                self._model.replace("\x00", "\ufffd")[:200],
                _count(self._usage.prompt_tokens),
                _count(self._usage.completion_tokens),
            )
        )


def joined(events: Sequence[ModelEvent]) -> Iterator[ModelEvent]:
    """The same events with neighbouring deltas of one alternative in one: what arrived together is passed on together."""
    for index, run in itertools.groupby(events, key=lambda event: event.index if isinstance(event, TextDelta) else -1):
        if index < 0:
            yield from run
        else:
            yield TextDelta(index, "".join(delta.text for delta in run if isinstance(delta, TextDelta)))


def _join(parts: list[_Part]) -> str:
    return "".join(part.text for part in parts if part.text and part.type in ("text", None))


def _why_empty(finish_reasons: set[str | None]) -> str | None:
    if "tool_calls" in finish_reasons:
        return "The model asked for a tool instead of answering; the prompt is stored."
    if "content_filter" in finish_reasons:
        return "The provider's content filter held back the whole reply; the prompt is stored."
    if "length" in finish_reasons:
        return "The model used up max_tokens before it wrote any text; allow more. The prompt is stored."
    return None


def _count(tokens: int | None) -> int:
    return min(max(tokens or 0, 0), (1 << 31) - 1)  # fits an integer column, whatever was claimed
