"""Conversations of many days, made up and written past the server, and what they come to: counted as they are made.

The figures here share nothing with those of the server: a fact is added to its day when it is made, and a percentile is the
smallest value that so many percent of the values do not exceed.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from gigachat_server.ids import new_id
from gigachat_server.store.database import Database, Tx

DAY_US = 86_400_000_000
PRICES = {"input": 0.5, "output": 2.0}

_MESSAGE = (
    "INSERT INTO messages (chatbot_id, conversation_id, seq, id, role, user_id, name, content, status, in_reply_to, "
    "alternative, feedback, metadata, sources, created_at, updated_at) "
    "VALUES (:chatbot_id, :conversation_id, :seq, :id, :role, 'u', 'n', 'c', :status, :in_reply_to, "
    ":alternative, :feedback, :metadata, '[]', :at, :at)"
)
_EVENT = (
    "INSERT INTO events (chatbot_id, conversation_id, seq, type, data, created_at) "
    "VALUES (:chatbot_id, :conversation_id, :seq, :type, :data, :at)"
)
_UNANSWERED = (
    "INSERT INTO unanswered (chatbot_id, prompt_id, conversation_id, seq, reason, state, created_at, updated_at) "
    "VALUES (:chatbot_id, :prompt_id, :conversation_id, :seq, 'nothing_found', 'open', :at, :at)"
)


class MadeDays:
    """`expected` is what each day comes to, by (name, dimension)."""

    def __init__(self, chatbot_id: str, *, first_day: int, days: int, seed: int) -> None:
        self._chatbot_id = chatbot_id
        self._first_us, self._span_us = first_day * DAY_US, days * DAY_US
        self._random = random.Random(seed)
        self._messages: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._unanswered: list[dict[str, Any]] = []
        self._counts: dict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
        self._waits: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))

    async def write(self, database: Database, conversations: int) -> None:
        for number in range(conversations):
            _Conversation(self, f"c{number}").make()

        async def body(tx: Tx) -> None:
            await tx.run_many(_MESSAGE, self._messages)
            await tx.run_many(_EVENT, self._events)
            await tx.run_many(_UNANSWERED, self._unanswered)
            # To the server these days were always there, also if its worker has come by already.
            await tx.run("DELETE FROM figure_days WHERE chatbot_id = :chatbot_id", chatbot_id=self._chatbot_id)

        await database.transaction("test.days", body, patience_s=60)

    @property
    def expected(self) -> dict[int, dict[tuple[str, str], int]]:
        found = {}
        for day, counts in self._counts.items():
            figures = Counter({key: value for key, value in counts.items() if value})
            spent = counts["input_tokens", ""] * PRICES["input"] + counts["output_tokens", ""] * PRICES["output"]
            if round(spent):
                figures["cost", ""] = round(spent)
            for name, waits in self._waits[day].items():
                figures[name, "count"] = len(waits)
                for percent in (50, 90):
                    reached = [wait for wait in waits if sum(w <= wait for w in waits) >= len(waits) * percent / 100]
                    figures[name, f"p{percent}"] = min(reached)
            found[day] = dict(figures)
        return found


class _Conversation:
    """One in the making: each step adds rows, and counts what they mean."""

    def __init__(self, made: MadeDays, name: str) -> None:
        self.made, self.name, self.random = made, name, made._random
        self.seq = 0
        self.at = made._first_us + int(self.random.random() * made._span_us)
        self.asked_at: int | None = None  # when a human was asked for

    def make(self) -> None:
        for _ in range(self.random.randint(1, 5)):
            self.wait()
            self.random.choice(list(self.steps()))()

    def steps(self) -> Iterator[Any]:
        for _ in range(3):
            yield self.answered
        yield from (self.refused, self.fixed, self.failed, self.stopped, self.handed_off, self.asked, self.human, self.rated)

    def wait(self) -> None:
        self.at += int(self.random.expovariate(1 / 600)) * 1_000_000 + self.random.randint(1, 999_999)

    def count(self, name: str, dimension: str = "", by: int = 1) -> None:
        self.made._counts[self.at // DAY_US][name, dimension] += by

    def measure(self, name: str, value: int) -> None:
        self.made._waits[self.at // DAY_US][name].append(value)

    def event(self, type_: str, **data: Any) -> None:
        self.seq, self.at = self.seq + 1, self.at + 1
        if self.seq == 1:
            self.count("conversations")
        row = {"chatbot_id": self.made._chatbot_id, "conversation_id": self.name, "seq": self.seq, "at": self.at}
        self.made._events.append({**row, "type": type_, "data": json.dumps(data)})

    def message(self, role: str, *, prompt_id: str | None = None, status: str = "completed", **more: Any) -> str:
        message_id = new_id()
        self.event("message.created", message_id=message_id, prompt_id=prompt_id)
        row = {"chatbot_id": self.made._chatbot_id, "conversation_id": self.name, "seq": self.seq, "at": self.at}
        metadata = json.dumps(more.get("metadata", {}))
        row |= {"id": message_id, "role": role, "status": status, "in_reply_to": prompt_id, "metadata": metadata}
        self.made._messages.append({**row, "alternative": more.get("alternative", 0), "feedback": more.get("feedback")})
        return message_id

    def prompt(self) -> str:
        prompt_id = self.message("user", metadata={"usage": {"prompt_tokens": 7}, "fixed_answer_id": "a client says so"})
        self.count("prompts")
        self.wait()
        return prompt_id

    def reply(self, prompt_id: str, *, status: str = "completed", **metadata: Any) -> str:
        tokens = {"prompt_tokens": self.random.randint(1, 900), "completion_tokens": self.random.randint(1, 300)}
        metadata |= {"usage": tokens}
        if self.random.random() < 0.7:
            metadata["first_word_ms"] = self.random.randint(1, 5_000)
        thumb = self.random.choice(["up", "down", None, None, None])
        feedback = None if thumb is None else json.dumps({"rating": thumb})
        first = self.message("assistant", prompt_id=prompt_id, status=status, metadata=metadata, feedback=feedback)
        self.count("input_tokens", by=tokens["prompt_tokens"])
        self.count("output_tokens", by=tokens["completion_tokens"])
        if "first_word_ms" in metadata:
            self.measure("first_word_ms", metadata["first_word_ms"])
        for alternative in range(1, self.random.choice([1, 1, 1, 3])):
            self.message("assistant", prompt_id=prompt_id, status=status, metadata=metadata, alternative=alternative)
        if thumb is not None:
            self.event("message.feedback", message_id=first)
            self.event("message.feedback", message_id=first)  # changed their mind: one thumb
            self.count("thumbs", thumb)
        return first

    def answered(self) -> None:
        prompt_id = self.prompt()
        self.at += 1
        self.count("answered")
        self.at -= 1
        self.reply(prompt_id, rewrite={"text": "x", "usage": {}})

    def refused(self) -> None:
        prompt_id = self.prompt()
        row = {"chatbot_id": self.made._chatbot_id, "conversation_id": self.name, "seq": self.seq, "at": self.at}
        self.made._unanswered.append({**row, "prompt_id": prompt_id})
        self.at += 1
        self.count("refused")
        self.at -= 1
        self.reply(prompt_id)
        self.event("prompt.unanswered", prompt_id=prompt_id, reason="nothing_found")

    def fixed(self) -> None:
        prompt_id = self.prompt()
        self.at += 1
        self.count("fixed")
        self.at -= 1
        self.reply(prompt_id, fixed_answer_id="f", finish_reason="fixed_answer")

    def failed(self) -> None:
        self.event("turn.failed", prompt_id=self.prompt(), code="model_error")
        self.count("failed")

    def stopped(self) -> None:
        self.reply(self.prompt(), status="stopped")

    def handed_off(self) -> None:
        self.reply(self.prompt(), finish_reason="handoff")
        self.asked()

    def asked(self) -> None:
        reason = self.random.choice(["asked", "unanswered", "review", "silence", "other", "of a later version"])
        self.message("system")
        self.event("handoff.requested", reason=reason, note="", message_id="m")
        self.asked_at = self.at
        self.count("handoffs", "other" if reason == "of a later version" else reason)

    def human(self) -> None:
        self.event("conversation.taken_over", operator="eve")
        self.count("takeovers")
        for _ in range(self.random.randint(0, 3)):
            self.wait()
            self.message("operator")
            if self.asked_at is not None:
                self.measure("first_human_reply_ms", (self.at - self.asked_at) // 1_000)
                self.asked_at = None

    def rated(self) -> None:
        closed_seq, score = self.seq, self.random.randint(1, 5)
        self.event("conversation.rated", closed_seq=closed_seq, score=6 - score)
        day = self.at // DAY_US
        self.event("conversation.rated", closed_seq=closed_seq, score=score)
        if day != self.at // DAY_US:  # then both count
            self.made._counts[day]["ratings", str(6 - score)] += 1
        self.count("ratings", str(score))
