"""Empty databases for a measurement, on an existing PostgreSQL server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from gigachat_server.errors import SetupError
from gigachat_server.ids import random_text


@contextmanager
def new_databases(server_url: str) -> Iterator[Callable[[], str]]:
    """What makes one and gives its URL; all are dropped on leaving. Without a URL it gives nothing. Raises `SetupError`."""
    made: list[str] = []

    def new() -> str:
        if not server_url:
            return ""
        name = f"gigachat_bench_{random_text(10).lower()}"
        _execute(server_url, f'CREATE DATABASE "{name}"')
        made.append(name)
        return urlsplit(server_url)._replace(path=f"/{name}").geturl()

    try:
        yield new
    finally:
        for name in made:
            _execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(server_url: str, sql: str) -> None:
    import asyncpg

    async def run() -> None:
        connection = await asyncpg.connect(server_url, timeout=10)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    try:
        asyncio.run(run())
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise SetupError(f"--database: {error}. It needs a server on which this user may create databases.") from None
