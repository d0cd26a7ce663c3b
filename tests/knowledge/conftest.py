"""Databases for what searches in the store itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.libraries import NewDatabase
from tests.postgres import Databases


@pytest.fixture
def new_database(databases: Databases) -> NewDatabase:
    @asynccontextmanager
    async def made() -> AsyncIterator[str]:
        url = databases.fresh(is_migrated=False)
        try:
            yield url
        finally:
            databases.release(url)

    return made
