"""Turns the bytes of a chat completion, streamed or whole, into model events; no I/O, no clock.

Invariant: the events depend on the bytes alone, never on where the network cut them; every text that leaves here is
valid Unicode without NUL, and no alternative is longer than its limit. A body says itself what it is: one that opens
with `{` or `[` is a plain JSON completion, everything else has to be server-sent events. A call of the handoff tool, where
it was offered, counts as output like text does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import msgspec

from gigachat_server.errors import ModelEmpty, ModelError, ModelFiltered, ModelInterrupted, ModelMalformed
from gigachat_server.models.base import HANDED_OFF, ModelEvent, ReplyEnd, TakenBack, TextDelta, UsageReport
from gigachat_server.models.endpoints.completion_chunk import Choice, Chunk, Content, Read, Unreadable, Usage, read_chunks
from gigachat_server.models.endpoints.endings import Ending, ending
from gigachat_server.models.endpoints.errors import failure_said
from gigachat_server.models.endpoints.handoff_call import ToolCalls
from gigachat_server.models.endpoints.said import ErrorContent, said, said_in
from gigachat_server.models.endpoints.text import ReplyText


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one call may bring, whatever the endpoint sends. `bytes_per_token` times `max_tokens` caps a text."""

    bytes_per_token: int = 8
    line_bytes: int = 1 << 20
    body_bytes: int = 1 << 20  # a completion that comes as one JSON object: its text may take ten times that while it is read
    stream_bytes: int = 64 << 20  # a whole event stream, with its reasoning and keep-alives


class _Alternative:
    """What is known of one reply while it arrives. Its leading whitespace is held back: it may be all there is."""

    __slots__ = ("finish_reason", "half", "held", "is_ended", "is_refusal", "is_shown", "room", "text", "tool_calls")

    def __init__(self, room: int, text: ReplyText) -> None:
        self.room = room
        self.text = text
        self.held = ""
        self.half = ""  # the first half of a character that was cut in two
        self.is_shown = False
        self.is_ended = False
        self.is_refusal = False
        self.finish_reason: str | None = None
        self.tool_calls: ToolCalls | None = None

    @property
    def is_there(self) -> bool:
        """It says something or hands off."""
        return self.is_shown or (self.tool_calls is not None and self.tool_calls.is_handoff)


_HELD_CHARACTERS = 1024
_MOST_JOINED = 64  # lines of one event
_BOM = b"\xef\xbb\xbf"


class CompletionParser:
    """Parses one body. `feed` gives events in order of arrival; `failure` is set when nothing sound can follow them.

    `is_finished`: everything that matters is here, the connection may go. `progress` rises with each sign that the
    model is at work: text, reasoning or an end; `life` with anything at all that is whole, so with a keep-alive, too.
    `has_output`: text or a handoff was among the events. `may_hand_off`: the handoff tool was offered; the first alternative
    to end with a call of it brings the request. `begins_thinking`: see `ReplyText`. `told` is what the endpoint said of the
    failure, if it did.
    """

    def __init__(
        self,
        *,
        n: int = 1,
        max_tokens: int = 200,
        model: str = "",
        limits: Limits | None = None,
        may_hand_off: bool = False,
        begins_thinking: bool = False,
        sent: Sequence[str] = (),
        read: Callable[[bytes], Sequence[Read] | None] = read_chunks,
    ) -> None:
        self._read_payload = read
        self._may_hand_off = may_hand_off
        self._begins_thinking = begins_thinking
        self._sent = sent
        self._has_handed_off = False
        self._limits = limits or Limits()
        self._n = n
        self._text_bytes = max(1, max_tokens) * self._limits.bytes_per_token
        self._model = model
        self._usage = Usage()
        self._alternatives: dict[int, _Alternative] = {}
        self._pending = bytearray()
        self._partial: list[bytes] = []  # the lines so far of an event that is spread over several
        self._event = b""  # its name
        self._ends_in_cr = False
        self._received = 0
        self._is_json: bool | None = None  # None: no byte yet that tells
        self._has_chunk = False
        self._is_cut = False  # an alternative reached its limit
        self._is_strange = False  # something other than a chunk came
        self.failure: ModelError | None = None
        self.told: ErrorContent | None = None
        self.unknown_ending = ""
        self.is_finished = False
        self.is_done_seen = False
        self.has_output = False
        self.closed_only = False  # a reply had only the closing mark of its reasoning
        self.progress = 0
        self.life = 0

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
                if not self._read(bytes(self._pending), events):
                    self._fail(ModelMalformed())
                self.is_done_seen = self._has_chunk
            else:
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
        self._partial.clear()
        return self.finish()

    def _recognise(self, data: bytes) -> bytes:
        """Decides by the first visible byte whether this is JSON or a stream; blanks and a byte order mark pass."""
        self.life += data.count(b"\n")  # empty lines keep a connection alive until the reply is there
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
        if self._ends_in_cr and data[:1] == b"\n":
            data = data[1:]
        if data:
            self._ends_in_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            self._pending += data
        else:
            lines = (bytes(self._pending) + data).split(b"\n") if self._pending else data.split(b"\n")
            self._pending[:] = lines.pop()
            self.life += len(lines)
            for line in lines:
                if line:
                    self._read_line(line, events)
                else:
                    self._end_event()
                if self.is_finished or self.failure is not None:
                    return
        if len(self._pending) > self._limits.line_bytes:
            self.failure = ModelMalformed()

    def _end_event(self) -> None:
        """An empty line."""
        self._event = b""
        if self._partial:
            self._partial.clear()
            self._fail(ModelMalformed())

    def _read_line(self, line: bytes, events: list[ModelEvent]) -> None:
        """One line of an event stream. Most often a `data:` line is a chunk by itself, whatever stands between them."""
        if len(line) > self._limits.line_bytes:
            self.failure = ModelMalformed()
        elif line.startswith(b"data:"):
            payload = line[5:].strip()
            if self._event or self._partial or not payload.startswith(b"{"):
                self._read_data(payload, events)
            elif not self._read(payload, events):
                self._partial = [payload]
        elif line.startswith(b"error:"):  # a field of its own in older llama.cpp servers
            self._fail_as_told(said(line[6:], self._sent))
        elif line.startswith(b"event:"):
            self._event = line[6:].strip().lower()
        elif not self._has_chunk and not line.startswith((b":", b"event", b"id", b"retry")) and line.strip():
            self.failure = ModelMalformed()  # a page, a log, anything but an event stream

    def _read_data(self, payload: bytes, events: list[ModelEvent]) -> None:
        if not payload:
            return
        if self._event and self._event in (b"error", b"exception"):
            self._fail_as_told(said(payload, self._sent))
        elif self._partial:
            self._read_joined(payload, events)
        elif payload == b"[DONE]":
            self.is_done_seen = self.is_finished = True
        elif not self._read(payload, events):
            if payload.startswith(b"{"):
                self._partial = [payload]
            else:
                self._is_strange = True  # a word that keeps the connection alive, most likely

    def _read_joined(self, payload: bytes, events: list[ModelEvent]) -> None:
        """One more line of an event that is spread over several."""
        if payload == b"[DONE]" or len(self._partial) >= _MOST_JOINED:
            self._end_event()
            return
        self._partial.append(payload)
        if sum(map(len, self._partial)) > self._limits.line_bytes:
            self._end_event()
        elif self._read(b"\n".join(self._partial), events) or self._read(b"".join(self._partial), events):
            self._partial.clear()

    def _read_last_line(self, line: bytes, events: list[ModelEvent]) -> None:
        """A line without its end: as good as any if it is whole, else the sign of a broken stream."""
        if line:
            self._read_line(line, events)
        if self._partial and self.failure is None:
            self._partial.clear()
            self._fail(ModelInterrupted() if line else ModelMalformed())

    def _read(self, payload: bytes, events: list[ModelEvent]) -> bool:
        """Take in a chunk, or anything else. False if it is not JSON."""
        try:
            found = self._read_payload(payload)
            if found is None:
                return False
            for read in found:
                if read.error is not None:
                    self._fail_as_told(said_in(read.error, self._sent))
                elif read.chunk is not None:
                    self._read_chunk(read.chunk, events)
                elif read.is_done:
                    self.is_done_seen = self.is_finished = True
                else:
                    self._is_strange |= not read.is_keep_alive
                if self.failure is not None:
                    break
        except Unreadable:
            self._fail(ModelMalformed())
        return True

    def _read_chunk(self, chunk: Chunk, events: list[ModelEvent]) -> None:
        if chunk.model:
            self._model = chunk.model
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.choices is None:
            return
        self._has_chunk = True
        for position, choice in enumerate(chunk.choices):
            index = position if choice.index is None else choice.index
            alternative, delta = self._alternatives.get(index), choice.delta
            if alternative is not None and delta is not None and delta.is_text_alone and choice.is_going_on:
                if not alternative.is_ended and self.failure is None:
                    self.progress += 1
                    self._add(index, alternative, delta.content or "", events)
            elif 0 <= index < self._n and self.failure is None:
                self._read_choice(index, choice, events)
        if self._is_cut and self._are_begun_ended:
            self.is_finished = True  # an endpoint that ignores the limit is not waited for

    def _fail(self, failure: ModelError) -> None:
        """A failure counts unless every reply that began is complete already: then it costs the usage at most."""
        if self.is_complete:
            self.is_finished = True
        else:
            self.failure = failure

    def _fail_as_told(self, told: ErrorContent) -> None:
        self.told = told
        self._fail(failure_said(told))

    def _read_choice(self, index: int, choice: Choice, events: list[ModelEvent]) -> None:
        alternative = self._alternatives.get(index)
        if alternative is None:
            text = ReplyText(may_call=self._may_hand_off, begins_thinking=self._begins_thinking)
            alternative = self._alternatives[index] = _Alternative(self._text_bytes, text)
        if alternative.is_ended:
            return
        content = choice.delta
        if content is None and not alternative.is_there:
            content = choice.message  # an event stream may bring a reply as one message, too
        if content is None and choice.text:
            content = Content(choice.text)
        if content is not None:
            self._read_content(index, alternative, content, events)
        if choice.error and (failure := choice.failure) is not None:
            self._fail_as_told(said_in(failure, self._sent))
        elif choice.finish_reason and not alternative.is_ended and (ended := ending(choice.finish_reason)) is not None:
            self.progress += 1
            if ended == "unknown":
                self.unknown_ending = choice.finish_reason
            self._end(index, alternative, ended, events)

    def _read_content(self, index: int, alternative: _Alternative, content: Content, events: list[ModelEvent]) -> None:
        calls = content.calls if content.tool_calls else None
        function = content.called_function if content.function_call else None
        if content.content:
            self.progress += 1
            self._add(index, alternative, content.content, events)
        elif content.has_reasoning or calls is not None or function is not None:
            self.progress += 1
        if content.refusal:
            self.progress += 1
            alternative.is_refusal = True
            self._add(index, alternative, content.refusal, events)
        if self._may_hand_off and not alternative.is_ended and (calls is not None or function is not None):
            kept = alternative.tool_calls = alternative.tool_calls or ToolCalls()
            kept.add(calls)
            kept.add_function(function)
            if kept.is_over and kept.is_handoff:
                self._is_cut = True
                self._end(index, alternative, "length", events)

    def _add(self, index: int, alternative: _Alternative, text: str, events: list[ModelEvent]) -> None:
        """What of it is the reply's text is added to the reply."""
        if "\x00" in text:
            text = text.replace("\x00", "\ufffd")
        if not text.isascii():
            text, alternative.half = _mended(alternative.half + text)
        elif alternative.half:
            text, alternative.half = f"\ufffd{text}", ""
        visible = alternative.text.feed(text)
        if alternative.text.is_taken_back:
            self._take_back(index, alternative, events)
        if visible:
            self._add_text(index, alternative, visible, events)

    def _take_back(self, index: int, alternative: _Alternative, events: list[ModelEvent]) -> None:
        """What was shown turned out to be reasoning."""
        alternative.text.is_taken_back = False
        alternative.held = ""
        alternative.room = self._text_bytes
        if alternative.is_shown:
            alternative.is_shown = False
            events.append(TakenBack(index))

    def _add_text(self, index: int, alternative: _Alternative, text: str, events: list[ModelEvent]) -> None:
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
        if is_over and not alternative.is_ended:
            self._is_cut = True
            self._end(index, alternative, "length", events)

    def _end(self, index: int, alternative: _Alternative, ended: Ending, events: list[ModelEvent]) -> None:
        """Ends an alternative. One without text or handoff is not announced: it is not there."""
        alternative.is_ended = True
        self._finish_text(index, alternative, events)
        request = None if alternative.tool_calls is None else alternative.tool_calls.request()
        if ended == "failed":
            alternative.is_ended = False
            self._fail(ModelInterrupted() if self.has_output else ModelError())
            return
        if request is not None and not self._has_handed_off:
            self._has_handed_off = self.has_output = True
            events.append(request)
        finish_reason: str = ended
        if request is not None and ended not in ("length", "content_filter"):
            finish_reason = HANDED_OFF
        elif alternative.is_refusal and ended in ("stop", "unknown"):
            finish_reason = "content_filter"
        alternative.finish_reason = finish_reason
        if alternative.is_there:
            events.append(ReplyEnd(index, finish_reason))

    def _finish_text(self, index: int, alternative: _Alternative, events: list[ModelEvent]) -> None:
        """What was held back comes out, or turns out to be a call."""
        if alternative.half:
            alternative.half = ""
            self._add_text(index, alternative, alternative.text.feed("\ufffd"), events)
        rest = alternative.text.finish()
        if alternative.text.is_taken_back:
            self._take_back(index, alternative, events)
        self._add_text(index, alternative, rest, events)
        self.closed_only |= alternative.text.closed_only
        call = alternative.text.call
        if call:
            calls = alternative.tool_calls = alternative.tool_calls or ToolCalls()
            if not calls.add_written(call):
                self._add_text(index, alternative, call, events)

    def _stop_flood(self, events: list[ModelEvent]) -> None:
        if not self.has_output:
            self.failure = ModelMalformed()
            return
        for index, alternative in self._alternatives.items():
            if not alternative.is_ended:
                self._end(index, alternative, "length", events)
        self.is_finished = True

    def _close(self, events: list[ModelEvent]) -> None:
        begun = [each for each in self._alternatives.values() if each.is_there or each.text.is_waiting]
        if begun and not self.is_done_seen and not all(each.is_ended for each in begun):
            self.failure = ModelInterrupted()  # neither [DONE] nor a finish_reason: it may be incomplete
            return
        if self.is_done_seen:
            for index, alternative in self._alternatives.items():
                if not alternative.is_ended:
                    self._end(index, alternative, "stop", events)
        if not any(each.is_there for each in self._alternatives.values()):
            self.failure = self._why_empty()
            return
        self.is_finished = True
        details = self._usage.completion_tokens_details
        events.append(
            UsageReport(
                self._model.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:200],
                _count(self._usage.prompt_tokens),
                _count(self._usage.completion_tokens),
                _count(details.reasoning_tokens if details is not None else None),
            )
        )

    def _why_empty(self) -> ModelError:
        finish_reasons = {each.finish_reason for each in self._alternatives.values()}
        if self._is_strange or (self._received and not self._has_chunk and not self.is_done_seen):
            return ModelMalformed()
        if "content_filter" in finish_reasons:
            return ModelFiltered("The provider's content filter held back the whole reply: rephrase it. The prompt is stored.")
        if "tool_calls" in finish_reasons:
            return ModelEmpty("The model asked for a tool instead of answering. The prompt is stored.")
        if "length" in finish_reasons:
            return ModelEmpty("The model used up max_tokens before it wrote any text; allow more. The prompt is stored.")
        return ModelEmpty()


def joined(events: Sequence[ModelEvent]) -> Iterator[ModelEvent]:
    """The same events with neighbouring deltas of one alternative in one: what arrived together is passed on together."""
    for index, run in itertools.groupby(events, key=lambda event: event.index if isinstance(event, TextDelta) else -1):
        if index < 0:
            yield from run
        else:
            yield TextDelta(index, "".join(delta.text for delta in run if isinstance(delta, TextDelta)))


def _mended(text: str) -> tuple[str, str]:
    """The text with the halves of characters put together, and the half that it ends with, if it does."""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    text = text[: len(text) - len(half)]
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text, half


def _count(tokens: int | None) -> int:
    return min(max(tokens or 0, 0), (1 << 31) - 1)  # fits an integer column, whatever was claimed
