"""What a turn may cost, and what it did cost, in tokens of its model."""

from __future__ import annotations

import math

from gigachat_server.access.till import Charge
from gigachat_server.chat.turns.progress import Turn, TurnResult
from gigachat_server.errors import ModelError
from gigachat_server.models.base import UsageReport
from gigachat_server.records import ChatbotConfig

_CHARACTERS_PER_TOKEN = 3  # an upper estimate for most scripts; what a turn used beyond it is charged afterwards
_FRAME_TOKENS = 400  # rules, notes, and what a template puts around messages


def most_tokens(config: ChatbotConfig, prompt: str) -> int:
    """What is reserved for a prompt: all that its chatbot may tell the model, and the longest replies."""
    response, documents = config.response, config.documents
    characters = len(response.system_persona) + len(prompt)
    characters += documents.results.match_count * (documents.text_splitter.chunk_size + 100)
    remembered = math.ceil(response.memory_size / 2) * (len(prompt) // _CHARACTERS_PER_TOKEN + response.max_tokens)
    return characters // _CHARACTERS_PER_TOKEN + _FRAME_TOKENS + remembered + response.max_tokens * response.n


def settle(charge: Charge, turn: Turn, *, is_generating: bool) -> None:
    """Give back what a turn that has ended did not use. One that was answered in another turn used nothing.

    `is_generating`: its model costs tokens, so one that reports none has not counted them.
    """
    charge.settle(turns=1 if turn.answered_in is turn else 0, tokens=tokens_of(turn) if is_generating else 0)


def tokens_of(turn: Turn) -> int | None:
    """What a turn that has ended used; None where that is not known, as when its model was stopped before it told."""
    outcome = turn.outcome
    if turn.answered_in is not turn:
        return 0  # the turn that answered it is charged
    if turn.lease is None:
        return _tokens_told(outcome) if isinstance(outcome, TurnResult) else None
    facts = turn.speech.facts
    rewritten = _sum(facts.rewrite.usage) if facts.rewrite is not None else 0
    if used := _sum(facts.usage):
        return used + rewritten
    has_failed_unheard = isinstance(outcome, ModelError) and not turn.speech.length
    return rewritten if has_failed_unheard or not facts.is_model_asked else None


def _tokens_told(result: TurnResult) -> int | None:
    """As the replies tell that another node made."""
    metadata = next((message.metadata for message in result.messages if message.role == "assistant"), None)
    if metadata is None or not isinstance(usage := metadata.get("usage"), dict):
        return None
    rewrite = metadata.get("rewrite")
    rewritten = _counted(rewrite.get("usage")) if isinstance(rewrite, dict) else 0
    used = _counted(usage)
    return used + rewritten if used or "fixed_answer_id" in metadata else None


def _counted(usage: object) -> int:
    counts = (usage.get(name) for name in ("prompt_tokens", "completion_tokens")) if isinstance(usage, dict) else ()
    return sum(count for count in counts if isinstance(count, int))


def _sum(usage: UsageReport | None) -> int:
    return 0 if usage is None else usage.prompt_tokens + usage.completion_tokens
