"""What differs between the reply that was stored and the one that would be made now. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from gigachat_server.language.words import sentences
from gigachat_server.records import Message, Source

Changed = Literal["same", "different", "now_answered", "now_unanswered", "failed"]


class KeptSource(msgspec.Struct, frozen=True):
    """A passage that both replies were made from."""

    old: Source
    new: Source


class Comparison(msgspec.Struct, frozen=True):
    """`only_old` and `only_new` are sentences, in the order of their reply."""

    changed: Changed
    added: list[Source]
    removed: list[Source]
    kept: list[KeptSource]
    only_old: list[str]
    only_new: list[str]


def compare(old: Message | None, new: Message | None, *, was_unanswered: bool, is_unanswered: bool) -> Comparison:
    """`old`: what was replied, if anything was; `new`: what would be, if that did not fail."""
    before = {_key(source): source for source in (old.sources if old else ())}
    after = {_key(source): source for source in (new.sources if new else ())}
    said, would_say = _sentences(old), _sentences(new)
    return Comparison(
        changed=_changed(old, new, was_unanswered=was_unanswered, is_unanswered=is_unanswered),
        added=[source for key, source in after.items() if key not in before],
        removed=[source for key, source in before.items() if key not in after],
        kept=[KeptSource(before[key], source) for key, source in after.items() if key in before],
        only_old=_without(said, would_say),
        only_new=_without(would_say, said),
    )


def _changed(old: Message | None, new: Message | None, *, was_unanswered: bool, is_unanswered: bool) -> Changed:
    if new is None:
        return "failed"
    if was_unanswered != is_unanswered:
        return "now_unanswered" if is_unanswered else "now_answered"
    return "same" if old is not None and old.content.strip() == new.content.strip() else "different"


def _key(source: Source) -> tuple[str, str]:
    """Pushed again, or cut again, the same passage has another id."""
    return source.document_name, source.content


def _sentences(message: Message | None) -> list[str]:
    return [message.content[start:end] for start, end in sentences(message.content)] if message else []


def _without(said: Sequence[str], others: Sequence[str]) -> list[str]:
    left, found = Counter(others), []
    for sentence in said:
        if left[sentence]:
            left[sentence] -= 1
        else:
            found.append(sentence)
    return found
