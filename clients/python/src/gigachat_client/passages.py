"""What other frameworks are told of a passage."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from gigachat_client.types import Passage, Retrieval


def kept(found: Retrieval, *, matched_only: bool) -> list[Passage]:
    return [passage for passage in found.passages if passage.is_matched or not matched_only]


def facts_of(passage: Passage) -> dict[str, Any]:
    """`source` is the document's name, as such frameworks call it; `page` and `heading` where the document has them."""
    place = passage.metadata.loc
    facts = {
        "source": passage.name.rpartition("-")[0],
        "document_id": passage.document_id,
        "chatbot_id": passage.chatbot_id,
        "from_line": place.lines.from_,
        "to_line": place.lines.to,
        "page": place.page,
        "heading": place.heading,
    }
    return {name: value for name, value in facts.items() if value is not UNSET}
