"""What a day comes to, counted from what happened on it. Pure: facts go in, in any number of pages, and figures come out.

Each fact counts on the day (UTC) on which it happened, whatever becomes of it later: a reply on the day it was given, a rating on
the day of the rating. So a day that is over has figures that stay. Percentiles are of the nearest rank: values that occurred.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from gigachat_server.models.base import HANDED_OFF
from gigachat_server.records import PricesConfig
from gigachat_server.store.figures import Happened

PERCENTILES = (50, 90)
HANDOFF_REASONS = frozenset(("asked", "unanswered", "review", "silence"))  # any other one counts as `other`
# How a figure without a dimension comes to be: by adding, so that those of several days can be added, too.
ADDED = (
    "conversations",
    "prompts",
    "answered",
    "refused",
    "fixed",
    "failed",
    "takeovers",
    "input_tokens",
    "output_tokens",
    "cost",
)
BY_DIMENSION = ("handoffs", "ratings", "thumbs")  # added as well, for each reason, score, or thumb
MEASURED = ("first_word_ms", "first_human_reply_ms")  # a count, and percentiles

Figure = tuple[str, str, int]  # name, dimension, value


class DayCount:
    """The figures of one day of one chatbot in the making."""

    def __init__(self, prices: PricesConfig) -> None:
        self._prices = prices
        self._added: Counter[str] = Counter()
        self._by_dimension: Counter[tuple[str, str]] = Counter()
        self._measured: dict[str, list[int]] = {name: [] for name in MEASURED}
        self._ratings: dict[tuple[str, int], int] = {}
        self._last_replies: dict[str, tuple[str | None, int]] = {}
        self.rated_messages: set[str] = set()

    def add(self, happened: Iterable[Happened]) -> None:
        """What happened next."""
        for each in happened:
            self._added["conversations"] += each.seq == 1
            match each.type:
                case "message.created" if each.role is not None:
                    self._add_message(each)
                case "message.feedback":
                    self.rated_messages.add(str(_read(each.data).get("message_id")))
                case "turn.failed":
                    self._added["failed"] += 1
                case "handoff.requested":
                    reason = _read(each.data).get("reason")
                    self._by_dimension["handoffs", reason if reason in HANDOFF_REASONS else "other"] += 1
                case "conversation.taken_over":
                    self._added["takeovers"] += 1
                case "conversation.rated":
                    data = _read(each.data)
                    # The last one of the day counts.
                    self._ratings[each.conversation_id, _whole(data.get("closed_seq"))] = _whole(data.get("score"))

    def add_thumbs(self, thumbs: Iterable[bytes | str]) -> None:
        """The ratings of `rated_messages`."""
        for each in thumbs:
            if (rating := _read(each).get("rating")) in ("up", "down"):
                self._by_dimension["thumbs", rating] += 1

    def figures(self) -> list[Figure]:
        """Those that are not 0."""
        self._added["cost"] = self._cost()
        ratings = Counter(("ratings", str(score)) for score in self._ratings.values() if 1 <= score <= 5)
        return [
            *((name, "", value) for name, value in self._added.items() if value),
            *((name, dimension, value) for (name, dimension), value in (self._by_dimension + ratings).items()),
            *(figure for name, values in self._measured.items() for figure in _measured(name, values)),
        ]

    def _add_message(self, said: Happened) -> None:
        if said.role == "user":
            self._added["prompts"] += 1
        elif said.role == "assistant":
            self._add_reply(said)
        if said.answered_after is not None:
            self._measured["first_human_reply_ms"].append(said.answered_after // 1000)

    def _add_reply(self, said: Happened) -> None:
        """Of alternatives, which stand behind each other, the first one counts for all."""
        before = self._last_replies.get(said.conversation_id)
        self._last_replies[said.conversation_id] = (said.in_reply_to, said.seq)
        if before == (said.in_reply_to, said.seq - 1):
            return
        metadata = _read(said.metadata or "{}")
        self._add_tokens(metadata.get("usage"))
        if isinstance(rewrite := metadata.get("rewrite"), dict):
            self._add_tokens(rewrite.get("usage"))
        if isinstance(waited := metadata.get("first_word_ms"), int):
            self._measured["first_word_ms"].append(waited)
        if said.status != "completed":
            return
        if "fixed_answer_id" in metadata:
            self._added["fixed"] += 1
        elif said.is_refusal:
            self._added["refused"] += 1
        elif metadata.get("finish_reason") != HANDED_OFF:
            self._added["answered"] += 1

    def _add_tokens(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._added["input_tokens"] += _whole(usage.get("prompt_tokens"))
            self._added["output_tokens"] += _whole(usage.get("completion_tokens"))

    def _cost(self) -> int:
        """In millionths of the currency of the prices, which are those of a million tokens."""
        spent = self._added["input_tokens"] * self._prices.input + self._added["output_tokens"] * self._prices.output
        return round(spent)


def percentile(values: Sequence[int], percent: int) -> int:
    """Of the nearest rank; `values` are in order, and one at least."""
    return values[-(-len(values) * percent // 100) - 1]


def _measured(name: str, values: list[int]) -> Iterator[Figure]:
    if values:
        values.sort()
        yield name, "count", len(values)
        for percent in PERCENTILES:
            yield name, f"p{percent}", percentile(values, percent)


def _read(data: bytes | str) -> dict[str, Any]:
    try:
        read = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0
