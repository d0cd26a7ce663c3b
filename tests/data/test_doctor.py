"""`gigachat doctor` on PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from gigachat_server.store.engines.migrate import migrations
from tests.cli.commands import Gigachat
from tests.data.test_move import Databases

pytestmark = pytest.mark.sqlite_only  # it names its stores itself


def test_doctor_looks_at_postgresql_and_not_at_the_data_folder(tmp_path: Path, fresh_database: Databases) -> None:
    url = fresh_database()
    gigachat = Gigachat(tmp_path / "data", database_url=url)
    first = gigachat.run("doctor").stdout
    assert f"postgresql://{urlsplit(url).netloc.rpartition('@')[2]}{urlsplit(url).path}" in first
    assert "no message store yet" in first
    assert "SQLite" not in first and "data folder" not in first
    assert _extensions(url) == ["plpgsql"], "it changes nothing"
    gigachat.output("migrate")
    with gigachat.serving():
        shown = gigachat.run("doctor").stdout
    assert f"message store of schema {migrations('postgres')[-1].number}" in shown
    assert "pgvector 0." in shown
    assert " by gigachat; a node takes up to 12" in shown
    assert ("acknowledged data is" in shown) == (_setting(url, "fsync") == "on")
    assert ("runs with fsync off" in shown) == (_setting(url, "fsync") == "off")


def test_doctor_never_prints_the_password(tmp_path: Path) -> None:
    told = Gigachat(tmp_path / "data", database_url="postgresql://ann:s3cret@127.0.0.1:9/none").run("doctor")
    assert told.returncode == 1
    assert "127.0.0.1:9/none" in told.stdout
    assert "Is it running" in told.stdout
    assert "s3cret" not in told.stdout + told.stderr


def test_doctor_finds_a_store_that_a_newer_version_has_migrated(tmp_path: Path, fresh_database: Databases) -> None:
    url = fresh_database()
    gigachat = Gigachat(tmp_path / "data", database_url=url)
    gigachat.output("migrate")
    asyncio.run(_query(url, "INSERT INTO schema_migrations VALUES (9999, 'later', 1)"))
    told = gigachat.run("doctor")
    assert (told.returncode, "newer gigachat" in told.stdout) == (1, True)


async def _query(url: str, sql: str) -> list[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(sql)
    await connection.close()
    return [str(row[0]) for row in rows]


def _extensions(url: str) -> list[str]:
    return asyncio.run(_query(url, "SELECT extname FROM pg_extension"))


def _setting(url: str, name: str) -> str:
    return asyncio.run(_query(url, f"SHOW {name}"))[0]
