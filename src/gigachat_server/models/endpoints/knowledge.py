"""What calls have taught about a model: refused parameters, reasoning marks, context length; no I/O.

Invariant: everything here only improves the guess for the next call, so losing it with the process does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from gigachat_server.models.base import ChatMessage, LeftOut, ModelInput
from gigachat_server.models.endpoints.messages import CHARACTERS_PER_TOKEN, fitting, weight
from gigachat_server.models.endpoints.refusals import Adjustment

_LEAST_CONTEXT, _MOST_CONTEXT = 256, 20_000_000
_LEAST_DENSE, _MOST_DENSE = 0.5, 8.0  # characters a token, of any model and script
_CONTEXT_TOKENS = re.compile(
    r"(?:maximum context length|context (?:length|window|size)|max(?:imum)?[ _](?:model|seq|prompt|sequence"
    r"|input)\w*[ _]?(?:len\w*)?"
    r"|context[_ ]limit|n_ctx|limit(?:ed)? (?:of|to|is)|exceeds? (?:the )?(?:limit|maximum)|less than|must be (?:at most"
    r"|less)|up to)"
    r"[^0-9\n]{0,60}?(\d[\d,_]{2,})|>\s*(\d[\d,_]{2,})\s*(?:maximum|tokens?)?|(\d[\d,_]{2,})[- ]token(?:s)? (?:context|limit"
    r"|maximum)",
    re.IGNORECASE,
)


def context_tokens_in(prose: str) -> int | None:
    """How many tokens the model takes, as its endpoint says in refusing more; None if it does not."""
    for match in _CONTEXT_TOKENS.finditer(prose):
        number = int(next(filter(None, match.groups())).replace(",", "").replace("_", ""))
        if _LEAST_CONTEXT <= number <= _MOST_CONTEXT:
            return number
    return None


class Knowledge(msgspec.Struct):
    """Of one model. `context_tokens`: how long input and reply may be together; 0 is unknown."""

    adjustment: Adjustment = Adjustment()
    begins_thinking: bool = False  # its replies begin with reasoning that has only a closing mark
    context_tokens: int = 0
    characters_per_token: float = CHARACTERS_PER_TOKEN

    def left_out(self, model_input: ModelInput) -> LeftOut:
        """What has to be left out of the input, as far as is known."""
        return fitting(model_input, self.context_tokens, self.characters_per_token) if self.context_tokens else LeftOut()

    def half_left_out(self, model_input: ModelInput, before: LeftOut) -> LeftOut:
        """Without half of the memory that was told, or, where there was none, of the passages."""
        memory = sum(message.role != "system" for message in model_input.messages[:-1]) - before.messages
        passages = len(model_input.passages if model_input.sections is None else model_input.sections.passages) - before.passages
        if memory > 0:
            return LeftOut(before.messages + (memory + 1) // 2, before.passages)
        return LeftOut(before.messages, before.passages + max(0, passages) // 2)

    def learn_context(self, tokens: int | None) -> None:
        """The endpoint refused an input as too long, and may have said what it takes."""
        if self.context_tokens:
            self.characters_per_token *= 0.75  # it was taken to fit, and did not
        if tokens is not None and (not self.context_tokens or tokens < self.context_tokens):
            self.context_tokens = tokens

    def note(self, prompt_tokens: int, messages: Sequence[ChatMessage]) -> None:
        """The endpoint counted so many tokens in what it was told."""
        dense = others = 0
        for message in messages:
            each = weight(message.content)
            dense, others = dense + each[0], others + each[1]
        counted = prompt_tokens - dense
        if others < 400 or counted <= 0:  # too short to tell
            return
        measured = others / counted
        if not _LEAST_DENSE < measured < _MOST_DENSE:  # this endpoint does not count
            return
        # Worse news is believed at once, better ones slowly.
        self.characters_per_token = min(measured, self.characters_per_token * 0.8 + measured * 0.2)
