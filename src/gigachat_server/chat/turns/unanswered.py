"""Noting prompts that got no answer, with their replies.

Invariant: that a prompt is unanswered is stored in the transaction that stores its reply, under the same fence, once.
"""

from __future__ import annotations

from gigachat_server.chat.answers.speech import Answer
from gigachat_server.chat.events.recorder import Events
from gigachat_server.records import Message, PromptUnanswered, UnansweredPrompt
from gigachat_server.store import fixed_answers, unanswered
from gigachat_server.store.database import Tx

BY_REPLY = "reply"  # `answered_by` of a prompt that a retry has answered


async def note(tx: Tx, events: Events, answer: Answer, prompt: Message, *, at: int, is_anew: bool) -> None:
    """Record what came of the prompt, for those who look after the answers. For the transaction that stores its replies."""
    reason, fixed_answer_id = answer.unanswered, answer.facts.fixed_answer_id
    if reason is not None:
        row = UnansweredPrompt(prompt.chatbot_id, prompt.id, prompt.conversation_id, prompt.seq, reason, created_at=at)
        if await unanswered.insert(tx, row):
            happened = PromptUnanswered(prompt_id=prompt.id, reason=reason)
            await events.add(tx, prompt.chatbot_id, prompt.conversation_id, happened)
    elif is_anew:
        await unanswered.settle(tx, prompt.chatbot_id, [prompt.id], "answered", answered_by=BY_REPLY, at=at)
    if fixed_answer_id is not None:
        await fixed_answers.count_use(tx, prompt.chatbot_id, fixed_answer_id)
