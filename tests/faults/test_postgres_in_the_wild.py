"""Servers, roles and URLs as hosting providers have them: each works, or a start says in one line what to do.

What `serve` refuses, `gigachat doctor` says in the same words.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import asyncpg
import pytest

from gigachat_server.errors import SetupError
from gigachat_server.store.chunk_search import FoundChunk, list_candidates
from gigachat_server.store.database import Reader, Tx
from gigachat_server.store.engines.postgres import PostgresDatabase, connect, open_postgres
from tests import stores
from tests.cli.commands import Gigachat
from tests.faults.cluster import ServerStores
from tests.harness import gigachat
from tests.pgbouncer import PROGRAM, pgbouncer
from tests.postgres_server import PostgresServer, temporary_folder, temporary_server

pytestmark = [pytest.mark.sqlite_only, pytest.mark.postgres]  # it names its stores itself


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """With databases and roles of many kinds. Each test uses its own."""
    with temporary_server() as started:
        yield started


_numbers = itertools.count()


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The name of a new database, which is also that of a role that may do anything in it but be a superuser."""
    name = f"shop{next(_numbers)}"
    for sql in (f"CREATE ROLE {name} LOGIN", f"CREATE DATABASE {name} OWNER {name}"):
        server.query(sql)
    server.query("CREATE EXTENSION vector", name)
    return name


def url_of(server: PostgresServer, role: str, database: str, *parameters: str) -> str:
    return "&".join((server.dsn(database).replace("postgres@", f"{role}@"), *parameters))


def refused(folder: Path, url: str, **settings: str) -> str:
    """The one line with which a start ends, and which doctor says, too."""
    command = Gigachat(folder / "data", database_url=url, **settings)
    started, examined = command.run("serve", "--port", "0"), command.run("doctor")
    assert (started.returncode, started.stdout, examined.returncode) == (1, "", 1), started.stderr + examined.stdout
    lines = [line for line in started.stderr.splitlines() if " are ignored" not in line and " is ignored" not in line]
    assert len(lines) == 1, started.stderr
    line = lines[0].removeprefix("gigachat: ")
    assert line in examined.stdout, (line, examined.stdout)
    assert examined.stderr == ""
    return line


async def works(folder: Path, url: str) -> None:
    """A document is pushed, a prompt is answered from it, its chunks are found by vector and by word, and others are heard."""
    with stores.using(ServerStores(lambda: url)):
        async with gigachat(folder) as api:
            chatbot = await api.chatbot()
            await api.push(chatbot, "hours.txt", "The office is open from nine to five.")
            said = await api.say(chatbot, "When is the office open?")
            assert [source["name"] for source in said[-1]["sources"]] == ["hours.txt-0"]

            async def search(reader: Reader) -> list[FoundChunk]:
                vector, chatbot_id = bytes(4 * 384), chatbot.rpartition("/")[2]
                words = [(("offic",),)]
                return await list_candidates(
                    reader, chatbot_id, vector, words, models=None, is_indexed=True, nearest=1, most=1
                )  # fmt: skip

            assert len(await api.services.database.read(search)) == 2
            assert api.services.database.hears


# --- databases ---


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1252"])
def test_a_database_that_cannot_hold_every_text_is_refused(tmp_path: Path, server: PostgresServer, encoding: str) -> None:
    name = f"in_{encoding.lower()}"
    server.query(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    assert f"has the encoding {encoding}" in refused(tmp_path, server.dsn(name))


def test_pgvector_that_the_role_may_not_add_is_asked_for(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query("DROP EXTENSION vector", database)
    command = Gigachat(tmp_path / "data", database_url=url_of(server, database, database))
    started = command.run("serve", "--port", "0")
    assert started.returncode == 1
    assert "CREATE EXTENSION vector" in started.stderr
    assert len(started.stderr.splitlines()) == 1


async def test_pgvector_in_a_schema_that_is_not_searched(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query(f'CREATE SCHEMA "Extra\'s"; GRANT USAGE ON SCHEMA "Extra\'s" TO {database}', database)
    server.query('ALTER EXTENSION vector SET SCHEMA "Extra\'s"', database)
    url = url_of(server, database, database)
    await works(tmp_path, url)
    async with aclosing(await open_postgres(url, connections=2)) as opened:

        async def index(statements: Tx) -> None:
            await statements.run("CREATE INDEX CONCURRENTLY near ON chunks USING hnsw ((embedding::halfvec(384)) halfvec_ip_ops)")

        await opened.apart(index)  # type: ignore[arg-type]
    with stores.using(ServerStores(lambda: url)):
        assert "✗" not in Gigachat(tmp_path / "data", database_url=url).run("doctor").stdout


def test_pgvector_in_a_schema_that_the_role_may_not_use(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query("CREATE SCHEMA extra", database)
    server.query("ALTER EXTENSION vector SET SCHEMA extra", database)
    assert f"GRANT USAGE ON SCHEMA extra TO {database}" in refused(tmp_path, url_of(server, database, database))


async def test_tables_in_a_schema_of_their_own(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query(f"CREATE SCHEMA chat AUTHORIZATION {database}", database)
    await works(tmp_path, url_of(server, database, database, "options=-c%20search_path%3Dchat"))
    assert server.query("SELECT schemaname FROM pg_tables WHERE tablename = 'messages'", database) == "chat"


# --- roles ---


def test_a_role_that_may_make_no_tables_is_told_what_to_grant(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query(f"CREATE ROLE poor_{database} LOGIN")
    line = refused(tmp_path, url_of(server, f"poor_{database}", database))
    assert f"GRANT CREATE, USAGE ON SCHEMA public TO poor_{database}" in line


def test_a_role_that_searches_no_schema(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query(f"ALTER ROLE {database} SET search_path = nowhere")
    assert "search_path" in refused(tmp_path, url_of(server, database, database))


def test_a_role_without_rights_to_the_tables(tmp_path: Path, server: PostgresServer, database: str) -> None:
    Gigachat(tmp_path / "data", database_url=url_of(server, database, database)).output("migrate")
    server.query(f"CREATE ROLE guest_{database} LOGIN")
    assert "GRANT ALL ON ALL TABLES" in refused(tmp_path, url_of(server, f"guest_{database}", database))


def test_a_role_that_does_not_own_the_tables_serves_them_and_does_not_migrate_them(
    tmp_path: Path, server: PostgresServer, database: str
) -> None:
    Gigachat(tmp_path / "data", database_url=url_of(server, database, database)).output("migrate")
    guest = f"guest_{database}"
    server.query(f"CREATE ROLE {guest} LOGIN")
    server.query(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {guest}", database)
    url = url_of(server, guest, database)
    with Gigachat(tmp_path / "data", database_url=url).serving() as serving:
        assert serving.url
    server.query("DELETE FROM schema_migrations WHERE number = (SELECT max(number) FROM schema_migrations)", database)
    assert f"run `gigachat migrate` as {database}" in refused(tmp_path, url)


def test_a_role_from_which_rows_are_hidden(tmp_path: Path, server: PostgresServer, database: str) -> None:
    Gigachat(tmp_path / "data", database_url=url_of(server, database, database)).output("migrate")
    server.query("ALTER TABLE messages ENABLE ROW LEVEL SECURITY; ALTER TABLE messages FORCE ROW LEVEL SECURITY", database)
    assert "Row-level security" in refused(tmp_path, url_of(server, database, database))


def test_a_role_that_may_not_connect(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query(f"CREATE ROLE stranger_{database} LOGIN; REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    assert "permission denied for database" in refused(tmp_path, url_of(server, f"stranger_{database}", database))


def test_a_role_that_only_reads(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query(f"ALTER ROLE {database} SET default_transaction_read_only = on")
    line = refused(tmp_path, url_of(server, database, database))
    assert f"ALTER ROLE {database} RESET default_transaction_read_only" in line


def test_a_database_that_only_reads(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    line = refused(tmp_path, url_of(server, database, database))
    assert f"ALTER DATABASE {database} RESET default_transaction_read_only" in line


def test_fewer_connections_than_a_node_takes(tmp_path: Path, server: PostgresServer, database: str) -> None:
    server.query(f"ALTER ROLE {database} CONNECTION LIMIT 6")
    url = url_of(server, database, database)
    line = refused(tmp_path, url)
    assert "GIGACHAT_DATABASE_CONNECTIONS=4" in line
    with Gigachat(tmp_path / "data", database_url=url, database_connections="4").serving() as serving:
        assert serving.url


async def test_no_connection_left(server: PostgresServer, database: str) -> None:
    server.query(f"ALTER ROLE {database} CONNECTION LIMIT 12")
    url = url_of(server, database, database)
    others = [await asyncpg.connect(url) for _ in range(12)]
    with pytest.raises(SetupError, match="no connection left"):
        await open_postgres(url, connections=10)
    for other in others:
        await other.close()


DEFAULTS = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "300",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "50",
    "idle_session_timeout": "500",
    "transaction_timeout": "300",
    "search_path": '"$user", public, elsewhere',
    "timezone": "Asia/Kathmandu",
    "datestyle": "German, DMY",
    "intervalstyle": "iso_8601",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "transform_null_equals": "on",
    "bytea_output": "escape",
    "row_security": "off",
    "client_encoding": "latin1",
    "extra_float_digits": "-15",
    "synchronous_commit": "off",
}


async def test_a_role_with_defaults_of_its_own(tmp_path: Path, server: PostgresServer, database: str) -> None:
    for name, value in DEFAULTS.items():
        if server.query(f"SELECT 1 FROM pg_settings WHERE name = '{name}'"):
            quoted = value if name == "search_path" else f"'{value}'"
            server.query(f"ALTER ROLE {database} SET {name} = {quoted}")
    url = url_of(server, database, database)
    await works(tmp_path, url)
    async with aclosing(await open_postgres(url, connections=2)) as opened:
        await _increment_together(opened)
        await opened.apart(_sleep)
    command = await connect(url, "test")
    await command.fetchval("SELECT pg_sleep(0.6)")
    command.terminate()


async def _sleep(statements: Reader) -> None:
    await statements.one("SELECT pg_sleep(0.6)")


async def _increment_together(database: PostgresDatabase) -> None:
    """Transactions that read what others change do not fail: they wait for each other, and see it."""

    async def make(tx: Tx) -> None:
        await tx.run("INSERT INTO accounts (id, name, created_at) VALUES ('counter', 'counter', 0)")

    async def add(tx: Tx) -> None:
        await tx.one("SELECT created_at FROM accounts WHERE id = 'counter' FOR UPDATE")
        await tx.one("SELECT pg_sleep(0.03)")
        await tx.run("UPDATE accounts SET created_at = created_at + 1 WHERE id = 'counter'")

    async def read(reader: Reader) -> int:
        row = await reader.one("SELECT created_at FROM accounts WHERE id = 'counter'")
        assert row is not None
        return int(row[0])

    await database.transaction("make", make)
    await asyncio.gather(*(database.transaction("add", add) for _ in range(12)))
    assert await database.read(read) == 12


# --- servers ---


def test_a_standby_is_refused_by_name(tmp_path: Path) -> None:
    with temporary_server(durable=True) as primary, temporary_folder() as folder:
        standby = primary.make_standby(folder / "standby", is_synchronous=False)
        try:
            for parameters in ([], ["target_session_attrs=any"]):
                assert "is a standby" in refused(tmp_path, "&".join((standby.dsn(), *parameters)))
            assert "takes no writes" in refused(tmp_path, standby.dsn() + "&target_session_attrs=standby")
        finally:
            standby.stop("immediate")


# --- URLs ---


@pytest.mark.parametrize(
    "parameters",
    [
        ("channel_binding=require", "connect_timeout=15"),  # Neon
        ("application_name=shop", "options=-c%20statement_timeout%3D300ms", "connect_timeout=0"),
        ("pgbouncer=true", "connection_limit=1", "pool_timeout=0", "schema=public"),  # as Supabase writes them for Prisma
        ("keepalives=1", "keepalives_idle=30", "tcp_user_timeout=9", "gssencmode=disable", "load_balance_hosts=random"),
        ("target_session_attrs=any", "fallback_application_name=x", "client_encoding=latin1", "replication=database"),
        ("sslcompression=0", "sslsni=1", "ssl_min_protocol_version=TLSv1.2", "sslcert=", "unheard_of=1", "passfile=%2Fnone"),
    ],
    ids=lambda each: each[0],
)
async def test_parameters_of_a_url(
    server: PostgresServer, database: str, parameters: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    url = url_of(server, database, database, *parameters).replace("postgresql://", "postgres://")
    async with aclosing(await open_postgres(url, connections=2)) as opened:
        await opened.prove_writable()
    assert len([record for record in caplog.records if "ignored" in record.message]) == 1


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ("sslmode=require", "offers no TLS"),
        ("sslmode=verify-full&sslrootcert=system", "offers no TLS"),
        ("sslmode=verify-full&sslrootcert=%2Fnone.pem", "No such file"),
        ("sslmode=verify-full", "sslrootcert=system"),
        ("sslmode=maybe", "sslmode has to be one of"),
        ("options=-c%20no.such%3D1%20-c%20nosuch%3D1", "nosuch"),
    ],
)
async def test_parameters_that_do_not_fit_the_server(
    server: PostgresServer, parameter: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    url = server.dsn().partition("?")[0] + "?" + parameter
    with pytest.raises(SetupError, match=says) as refusal:
        await open_postgres(url, connections=2)
    assert "\n" not in str(refusal.value)


# --- poolers ---

pooled = pytest.mark.skipif(PROGRAM is None and not os.environ.get("REQUIRE_ALL"), reason="pgbouncer is not installed")


@pooled
@pytest.mark.parametrize(
    "config",
    [
        {"pool_mode": "transaction"},
        {"pool_mode": "transaction", "default_pool_size": 1},
        {"pool_mode": "transaction", "server_round_robin": 1, "min_pool_size": 5},
        {"pool_mode": "statement"},
    ],
    ids=lambda each: "-".join(map(str, each.values())),
)
def test_a_pooler_that_shares_sessions_is_refused(tmp_path: Path, server: PostgresServer, config: dict[str, str | int]) -> None:
    with pgbouncer(server, **config) as url:
        assert "pool_mode = session" in refused(tmp_path, url)


@pooled
def test_a_pooler_with_fewer_sessions_than_a_node_takes(tmp_path: Path, server: PostgresServer) -> None:
    with pgbouncer(server, pool_mode="session", default_pool_size=5) as url:
        assert "default_pool_size" in refused(tmp_path, url)


@pooled
async def test_a_pooler_that_keeps_sessions_works(tmp_path: Path, server: PostgresServer, database: str) -> None:
    with pgbouncer(server, pool_mode="session") as url:
        await works(tmp_path, url.replace("/postgres?", f"/{database}?"))
