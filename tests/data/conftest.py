"""Databases for commands that make, fill and empty whole stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.postgres import Databases


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What makes databases needs PostgreSQL."""
    for item in items:
        if isinstance(item, pytest.Function):
            chosen = item.callspec.params.values() if hasattr(item, "callspec") else ()
            if "fresh_database" in item.fixturenames or "database" in chosen:
                item.add_marker(pytest.mark.postgres)


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
