"""Separates a reply's text from reasoning and tool calls that some servers leave in it; no I/O.

Servers that do not know a model's template pass on its marks as text: `<think>...</think>` before the reply, only the closing
mark if the template opened the reasoning itself, a tool call between special marks. Invariants: the output depends only on the
text, never on how it was split; a mark in the middle of a reply, in code or in quotes, is text. Text is held back only while it
may be a mark.
"""

from __future__ import annotations

import re

# By opening mark, the closing ones.
_REASONING: dict[str, tuple[str, ...]] = {
    "<think>": ("</think>",),
    "<thinking>": ("</thinking>", "</think>"),
    "<thought>": ("</thought>",),
    "<thoughts>": ("</thoughts>",),
    "<reasoning>": ("</reasoning>",),
    "<reason>": ("</reason>",),
    "<reflection>": ("</reflection>",),
    "<analysis>": ("</analysis>",),
    "<scratchpad>": ("</scratchpad>",),
    "<seed:think>": ("</seed:think>",),
    "<|think|>": ("<|/think|>", "<|end_think|>"),
    "<|begin_of_thought|>": ("<|end_of_thought|>",),
    "<|START_THINKING|>": ("<|END_THINKING|>",),
    "<|inner_prefix|>": ("<|inner_suffix|>",),
    "<unused94>": ("<unused95>",),
    "[THINK]": ("[/THINK]",),
    "◁think▷": ("◁/think▷",),
    "<|channel|>analysis<|message|>": ("<|channel|>final<|message|>",),
    "<|channel>thought": ("<channel|>",),
}
# Marks around the reply itself, which say nothing.
_WRAPPERS = ("<|start|>assistant", "<|channel|>final<|message|>", "<|begin_of_solution|>", "<|START_RESPONSE|>")
_WRAPPERS_AT_END = ("<|end|>", "<|return|>", "<|END_RESPONSE|>", "<|im_end|>", "<|eot_id|>", "<|end_of_solution|>")
_CLOSING = tuple(dict.fromkeys(mark for marks in _REASONING.values() for mark in marks))
_OPENING = tuple(_REASONING)
_CALLS = (
    "<tool_call>",
    "<|tool_call|>",
    "<tool_calls>",
    "<function_call>",
    "<function_calls>",
    "<function=",
    "<|python_tag|>",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<|tool_call_start|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<|channel|>commentary",
    "<|start|>assistant<|channel|>commentary",
    "[TOOL_CALLS]",
    "[TOOL_CALL]",
    "functools[",
)
# A reply that is nothing but a call.
_WHOLE_CALLS = re.compile(
    r"(?:```(?:json|tool_call|python)?\s*)?(?:\[?\s*\{\s*\"(?:name|function|tool|tool_name|type|tool_calls|action)\"\s*:"
    r"|\[?\s*(?:[\w]+[.:])?handoff\s*\()"
)
_MAY_BE_WHOLE_CALL = re.compile(
    r"`{1,3}(?:[a-z_]{0,9}\s{0,9})?$|(?:```(?:json|tool_call|python)?\s*)?(?:\[?\s*(?:\{\s*(?:\"[a-z_]{0,10}\"?\s*)?)?"
    r"|\[?\s*[\w.:]{0,20})$"
)
_FIRST = frozenset(mark[0] for mark in (*_CLOSING, *_CALLS, *_WRAPPERS_AT_END) if mark[0] not in "f")
_FIRST_AT_START = frozenset(mark[0] for mark in (*_OPENING, *_WRAPPERS, *_CALLS))
_FIRST_OF_CALLS = frozenset("`[{" + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_MARK_START = re.compile("[" + re.escape("".join(sorted(_FIRST))) + "]")
_LONGEST_MARK = max(map(len, (*_OPENING, *_CLOSING, *_CALLS, *_WRAPPERS, *_WRAPPERS_AT_END)))
_KEPT = 2 * _LONGEST_MARK  # characters of what was said
_QUOTES = frozenset("`\"'“”‘’«»„‚")
_LONGEST_CALL = 64 << 10
_LONGEST_WAIT = 160  # characters of blanks after a closing mark


class ReplyText:
    """One reply as it arrives. `feed` and `finish` give what is its text.

    `is_taken_back`: all that came out before was reasoning, as its closing mark shows; a caller that showed it must discard it.
    `call`: what stands where a tool is called, as it was written, once `finish` was called. `begins_thinking`: the model is
    known to send only the closing mark, so nothing comes out before it, or, without one, before the end.
    `has_thought`, `closed_only`: reasoning was seen; it had only its closing mark.
    """

    __slots__ = (
        "_closers",
        "_is_call",
        "_may_call",
        "_pending",
        "_said",
        "_state",
        "call",
        "closed_only",
        "has_thought",
        "is_taken_back",
    )

    def __init__(self, *, may_call: bool, begins_thinking: bool = False) -> None:
        self._may_call = may_call
        self._state = "thinking" if begins_thinking else "start"
        self._closers: tuple[str, ...] = _CLOSING
        self._pending = ""
        self._said = _ReplyText()
        self._is_call = False
        self.call = ""
        self.is_taken_back = False
        self.has_thought = False
        self.closed_only = begins_thinking

    @property
    def is_waiting(self) -> bool:
        """Something is held back, or was thought and nothing said since."""
        return self._state in ("calling", "thinking") or bool(self._pending.strip())

    def feed(self, text: str) -> str:
        """What of it is the reply's text, with what was held back until now."""
        is_plain = self._state == "text" and not self._pending and not _MARK_START.search(text)
        if is_plain and not (self._may_call and self._said.may_be_function(text)):
            self._said.add(text)
            return text
        self._pending += text
        return self._read(is_end=False)

    def finish(self) -> str:
        """The rest."""
        if self._state == "text" and not self._pending:
            return ""
        out = self._read(is_end=True)
        if self._state == "calling":
            self.call, self._pending = self._pending, ""
        elif self._state == "thinking" and self.closed_only and not self.has_thought:
            out, self._pending, self.closed_only = self._pending.lstrip(), "", False  # this time it did not think
        return out

    def _read(self, *, is_end: bool) -> str:
        out = ""
        while True:
            state, before = self._state, self._pending
            match state:
                case "start":
                    self._read_start(is_end)
                case "thinking":
                    self._read_thinking()
                case "text":
                    out += self._read_text(is_end)
                    if self.is_taken_back and not self._said.text_length:
                        out = ""
            if state == "calling" or (self._state, self._pending) == (state, before):
                return out

    def _read_start(self, is_end: bool) -> None:
        text = self._pending.lstrip()
        if text and text[0] not in _FIRST_AT_START and not (self._may_call and text[0] in _FIRST_OF_CALLS):
            self._state = "text"
            if self.has_thought:
                self._pending = text
            return
        for mark in _OPENING:
            if text[: len(mark)].lower() == mark.lower():
                self._pending, self._state, self._closers = text[len(mark) :], "thinking", _REASONING[mark]
                self.has_thought = True
                return
        if self._may_call and (text.startswith(_CALLS) or _WHOLE_CALLS.match(text)):
            self._state = "calling"
            return
        for mark in _WRAPPERS:
            if text.startswith(mark):
                self._pending = text[len(mark) :]
                return
        if not is_end and self._may_be_mark(text):
            return
        if text or is_end:
            self._state = "text"
            if self.has_thought:
                self._pending = text

    def _may_be_mark(self, text: str) -> bool:
        if not text:
            return True
        marks = (*_OPENING, *_WRAPPERS, *(_CALLS if self._may_call else ()))
        if len(text) < _LONGEST_MARK and any(mark.lower().startswith(text.lower()) for mark in marks):
            return True
        return self._may_call and len(text) < 64 and text[0] in "`[{hfd" and _MAY_BE_WHOLE_CALL.match(text) is not None

    def _read_thinking(self) -> None:
        found = min(((at, mark) for mark in self._closers if (at := self._pending.lower().find(mark.lower())) >= 0), default=None)
        if found is None:
            if (
                not self.closed_only or len(self._pending) > _LONGEST_CALL * 8
            ):  # of what may yet turn out to be the reply, all is kept
                self._pending = self._pending[-_LONGEST_MARK:]
            return
        at, mark = found
        self._pending = self._pending[at + len(mark) :]
        self.has_thought = True
        self._state = "start"

    def _read_text(self, is_end: bool) -> str:
        """What comes before the next mark, or before what may become one."""
        text = self._pending
        at = 0
        while (match := _next_mark(text, at, self._may_call)) is not None:
            start = match
            rest = text[start:]
            mark = next((mark for mark in _CLOSING if rest.lower().startswith(mark.lower())), None)
            if mark is not None and not self._said.has_opened(text[:start]):
                after = rest[len(mark) :]
                if not is_end and not after.strip() and len(after) < _LONGEST_WAIT:
                    return self._put_out(start)
                if self._said.is_closing(text[:start], after):
                    self._take_back(after)
                    return ""
            elif self._may_call and rest.startswith(_CALLS) and not self._said.is_quoted(text[:start]):
                out = self._put_out(start)
                self._state = "calling"
                return out
            elif rest.startswith(_WRAPPERS_AT_END) and (is_end or len(rest) <= _LONGEST_MARK):
                if not is_end:
                    return self._put_out(start)
                if rest.strip() in _WRAPPERS_AT_END:
                    out = self._put_out(start)
                    self._pending = ""
                    return out
            if not is_end and _may_become_mark(rest, self._may_call):
                return self._put_out(start)
            at = start + 1
        return self._put_out(len(text))

    def _put_out(self, length: int) -> str:
        out, self._pending = self._pending[:length], self._pending[length:]
        self._said.add(out)
        return out

    def _take_back(self, after: str) -> None:
        self._said = _ReplyText()
        self._pending, self._state = after, "start"
        self.is_taken_back = self.has_thought = self.closed_only = True


class _ReplyText:
    """What has to be known of the text that came out, to tell marks from text that is about marks."""

    __slots__ = ("_backticks", "_has_opened", "_tail", "text_length")

    def __init__(self) -> None:
        self._backticks = 0
        self._has_opened = False
        self._tail = ""
        self.text_length = 0

    def add(self, text: str) -> None:
        self.text_length += len(text)
        if "`" in text:
            self._backticks += text.count("`")
        self._tail = tail = (self._tail + text)[-_KEPT:]
        if not self._has_opened and ("<" in tail or "[" in tail or "◁" in tail):
            whole = tail if len(text) < _KEPT else text
            self._has_opened = any(mark in whole for mark in _OPENING)

    def may_be_function(self, text: str) -> bool:
        """The one mark that begins with a letter."""
        return "functools" in self._tail[-9:] + text

    def has_opened(self, before: str) -> bool:
        """Whether an opening mark stands in the text: then a closing one is text as well."""
        return self._has_opened or any(mark in self._tail + before for mark in _OPENING)

    def is_quoted(self, before: str) -> bool:
        backticks = self._backticks + before.count("`")
        last = (self._tail + before)[-1:]
        return backticks % 2 == 1 or (last in _QUOTES and last != "")

    def is_closing(self, before: str, after: str) -> bool:
        """Whether a closing mark without an opening one ends reasoning, rather than being spoken of."""
        if self.is_quoted(before) or (after[:1] in _QUOTES and after):
            return False
        said = self._tail + before
        following = after.lstrip()[:1]
        if not said.strip() or "\n" in said[len(said.rstrip()) :] or after[:1] == "\n":
            return True
        if following and (following.islower() or following in ".,;:!?)"):
            return False
        return not said[-1:].isspace() or said.rstrip()[-1:] in '.!?…。！？:)"”'


def _next_mark(text: str, at: int, may_call: bool) -> int | None:
    match = _MARK_START.search(text, at)
    function = text.find("functools[", at) if may_call else -1
    if function >= 0 and (match is None or function < match.start()):
        return function
    return None if match is None else match.start()


def _may_become_mark(rest: str, may_call: bool) -> bool:
    if len(rest) >= _LONGEST_MARK:
        return False
    lowered = rest.lower()
    marks = (*_CLOSING, *_WRAPPERS_AT_END, *(_CALLS if may_call else ()))
    return any(mark.lower().startswith(lowered) for mark in marks)
