"""Which documents a prompt's vector can be compared with: those whose chunks the same embedder made.

A document records what it was built with, the embedder and the recipe; where that is not what it would be built with now, it
is built again.
"""

from __future__ import annotations

from gigachat_server.models.base import Embedder

# How documents are cut into units and terms: another name has all of them built anew.
RECIPE = "units-1"


def built_with(embedder: Embedder) -> str:
    """The name under which a document says that it is as this version would make it with this embedder."""
    return f"{embedder.name} {RECIPE}"


def searchable_with(embedder: Embedder) -> tuple[str, ...]:
    """Under which names documents are in this vector space: as they are made now, and as chunks that were embedded whole."""
    return built_with(embedder), embedder.name
