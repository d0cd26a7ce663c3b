"""Maps endpoints' finish reasons to ours; no I/O.

Invariant: only a word that is known to mean it ends a reply as "stop". A word for a failure is a failure, however it is spelt;
an unfamiliar word becomes "unknown", which is stored with the reply.
"""

from __future__ import annotations

import re
from typing import Literal

Ending = Literal["stop", "length", "content_filter", "tool_calls", "unknown", "failed"]

_WORDS: dict[Ending, str] = {
    "stop": "stop stopped end_turn stop_sequence stop_token stop_word eos eos_token eos_found end_of_turn end_of_text "
    "end complete "
    "completed finish finished done normal success pause_turn",
    "length": "length max_length max_tokens max_token max_output_tokens max_new_tokens max_completion_tokens model_length "
    "token_limit context_length context_window_exceeded model_context_window_exceeded context_length_exceeded "
    "max_context_length error_limit truncated limit output_limit max_tokens_reached token_limit_reached",
    "content_filter": "content_filter content_filtered content_filter_error safety recitation blocklist "
    "prohibited_content spii "
    "image_safety image_prohibited_content language sensitive sensitive_content guardrail guardrail_intervened refusal refused "
    "blocked moderation moderated error_toxic toxic censored risk",
    "tool_calls": "tool_calls tool_call tool_use function_call function_calls tools function",
    "failed": "error failed failure fail abort aborted cancel cancelled canceled interrupted insufficient_system_resource "
    "network_error malformed_function_call malformed_response unexpected_tool_call missing_thought_signature other repetition "
    "timeout timed_out overloaded server_shutdown disconnected incomplete",
}
_ENDINGS: dict[str, Ending] = {word: ending for ending, words in _WORDS.items() for word in words.split()}
# What is sent with each piece of a reply that goes on.
_NO_END = frozenset(
    [
        "null",
        "none",
        "nil",
        "undefined",
        "unspecified",
        "finish_reason_unspecified",
        "not_finished",
        "unfinished",
        "in_progress",
        "continue",
        "running",
        "nan",
        "false",
        "not_stop",
        "ongoing",
        "streaming",
        "generating",
        "pending",
    ]
)
_FAILURE = re.compile(
    r"rate_?limit|throttl|too_many|denied|unauthori|exceeded|error|fail|abort|cancel|timeout|timed_out|insufficient|overload|exception|interrupt|network|disconnect|malformed"
    r"|unavailable"
    r"|crash|killed|shutdown|exhaust|invalid|internal|lost|resource|broken|incomplete|quota|panic"
)
_LENGTH = re.compile(r"max_?(?:output|new|completion)?_?tokens?|length|token_limit|truncat")
_FILTER = re.compile(r"filter|safety|moderat|prohibit|blocked|guardrail|toxic|censor|policy")


def ending(word: object) -> Ending | None:
    """What the finish_reason means; None if the reply goes on."""
    if not isinstance(word, str):
        return None
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word.strip()).lower().strip("<|>_").replace("-", "_").replace(" ", "_")
    plain = plain.rpartition(".")[2].removeprefix("finish_reason_").removeprefix("finishreason_")
    if not plain or plain in _NO_END:
        return None
    known = _ENDINGS.get(plain)
    if known is not None:
        return known
    for pattern, meaning in ((_FILTER, "content_filter"), (_LENGTH, "length"), (_FAILURE, "failed")):
        if pattern.search(plain):
            return meaning  # type: ignore[return-value]
    return "unknown"
