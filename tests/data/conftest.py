"""Databases for commands that make, fill and empty whole stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.postgres import Databases


@pytest.fixture
def fresh_database(databases: Databases) -> Iterator[Callable[[], str]]:
    """Makes the URLs of databases in which there is nothing, not even a schema."""
    made: list[str] = []

    def make() -> str:
        made.append(databases.fresh(is_migrated=False))
        return made[-1]

    yield make
    for url in made:
        databases.release(url)
