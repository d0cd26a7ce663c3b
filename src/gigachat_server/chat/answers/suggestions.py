"""What may be said behind a refusal: which documents are near what was asked. Pure.

Idea: a refusal that names where to look helps more than one that names nothing, and claims nothing either. Invariant: it is no
answer: nothing of a document is said but its name and a heading.
"""

from __future__ import annotations

from collections.abc import Sequence

from gigachat_server.records import Source

NEAR = 0.85  # share of the threshold from which on a passage is near: of prompts off topic few come so far
_MOST = 3
_LONGEST_NAME = 200


def suggestion(sources: Sequence[Source], *, match_threshold: float, label: str) -> str:
    """The documents of those that are near enough, each once, behind the label; empty where none is."""
    names: dict[str, str] = {}
    for source in sources:
        if source.score >= NEAR * match_threshold and source.document_id not in names and len(names) < _MOST:
            names[source.document_id] = _named(source)
    separator = "" if label.endswith("：") else " "
    return f"{label}{separator}{', '.join(names.values())}" if names else ""


def _named(source: Source) -> str:
    name = " ".join(source.document_name.split())[:_LONGEST_NAME]
    heading = " ".join((source.heading or "").split())[:_LONGEST_NAME]
    return f"{heading} ({name})" if heading and heading.casefold() not in name.casefold() else name
