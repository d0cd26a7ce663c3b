"""`gigachat doctor`: checks everything a server needs, and says how to fix what is wrong.

Invariant: it changes nothing and takes no lock that a running server holds, so it is safe at any time.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import click
import msgspec

from gigachat_server import __version__
from gigachat_server.access import secrets
from gigachat_server.cli.client import connected, run
from gigachat_server.cli.locations import Location, looking_at
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.clock import wire_time
from gigachat_server.configured import make_embedder, make_endpoints
from gigachat_server.errors import STORED, GigachatError, ModelUnreachable, SetupError, StorageUnavailable
from gigachat_server.models.embedders import weights
from gigachat_server.models.embedders.built_in import BUILT_IN
from gigachat_server.serving import local_socket
from gigachat_server.settings import Settings
from gigachat_server.store import parked, secret_checks
from gigachat_server.store.database import Reader, Row
from gigachat_server.store.engines.connections import open_reader
from gigachat_server.store.engines.damage import open_unchanging, refuse_damage
from gigachat_server.store.engines.folder import read_note
from gigachat_server.store.engines.migrate import (
    Schema,
    migrations,
    missing,
    refuse_foreign_tables,
    refuse_half_filled,
    schema_of,
)
from gigachat_server.store.engines.sqlite import FILE_NAME, statements_on

_OLDEST_SQLITE = (3, 51, 3)
_LEAST_FREE_BYTES = 200 * 1024 * 1024
_FEW_OPEN_FILES = 4096
_PATIENCE_S = 20.0
_MOST_PARKED = 20
_PARKING = 10  # the migration that has it
_SECRETS = 12  # and what secrets the store was used with
_TRY_AGAIN = {
    "document": "Push it again, or start the server again once the cause is gone: it tries it once more.",
    "site": "Have it crawled again, or start the server again once the cause is gone: it tries it once more.",
}


class Finding(msgspec.Struct, frozen=True):
    """What was checked and its state; `advice` says what to do, and is empty if all is well.

    If `is_urgent` is off, the server works despite it.
    """

    text: str
    advice: str = ""
    is_urgent: bool = True

    @property
    def is_fine(self) -> bool:
        return not self.advice


@click.command()
@with_settings(*EVERYWHERE)
def doctor(settings: Settings) -> None:
    """Check this installation; exits with status 1 if something keeps a server from working."""

    async def main() -> int:
        broken = 0
        async for finding in _findings(settings):
            broken += not finding.is_fine and finding.is_urgent
            print(f"{'✓' if finding.is_fine else '✗' if finding.is_urgent else '!'} {finding.text}", flush=True)
            if finding.advice:
                print(f"    {finding.advice}", flush=True)
        return broken

    if run(main()):
        sys.exit(1)


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    yield Finding(f"gigachat {__version__} on Python {platform.python_version()}")
    async for finding in _of_postgres(settings) if settings.database_url else _of_folder(settings):
        yield finding
    yield _open_files()
    if settings.embedder != "hashing" and not settings.embedding_url:
        yield await asyncio.to_thread(_weights, settings)
    yield await _embedding(settings)
    async for finding in _models(settings):
        yield finding


async def _of_folder(settings: Settings) -> AsyncIterator[Finding]:
    yield _sqlite()
    for finding in _folder(settings.data_folder):
        yield finding
    yield await _server(settings)
    if not local_socket.is_locked(settings.data_folder):
        for finding in await asyncio.to_thread(_store, settings.data_folder):
            yield finding
    for finding in await _stored_in(settings):
        yield finding


async def _of_postgres(settings: Settings) -> AsyncIterator[Finding]:
    from gigachat_server.store.engines.postgres import APPLICATION, examine
    from gigachat_server.store.engines.postgres_check import SPARE_CONNECTIONS

    location = Location.of(settings)
    try:
        found = await examine(settings.database_url, connections=settings.database_connections)
        for problem in found.problems or [""]:
            yield Finding(f"PostgreSQL {found.state.version.partition(' ')[0]}: {location}", problem)
        if found.warning:
            yield Finding("parameters", found.warning, is_urgent=False)
        if (version := found.state.vector) is not None:
            yield Finding(f"pgvector {version}")
        elif (version := found.state.vector_offered) is not None:
            yield Finding(f"pgvector {version}, added to the database at the first start")
        if found.state.is_standby or found.state.is_read_only:
            return
        async with looking_at(location) as reader:
            schema = await schema_of(reader, "postgres")
            yield await _schema(reader, schema)
            yield await _durable(reader)
            yield _connections(
                *await _row(reader, _CONNECTIONS, application=APPLICATION), most=settings.database_connections + SPARE_CONNECTIONS
            )
            for finding in await _stored(reader, schema, settings):
                yield finding
    except SetupError as error:
        yield Finding(f"PostgreSQL: {location}", str(error))


_CONNECTIONS = (
    "SELECT CAST(current_setting('max_connections') AS INTEGER), "
    "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
    "(SELECT count(*) FROM pg_stat_activity WHERE application_name = :application AND datname = current_database())"
)


async def _row(reader: Reader, sql: str, **parameters: Any) -> Row:
    row = await reader.one(sql, **parameters)
    assert row is not None
    return row


async def _schema(reader: Reader, schema: Schema) -> Finding:
    try:
        refuse_half_filled(schema)
        todo = missing(schema, migrations("postgres"))
        if todo:
            await refuse_foreign_tables(reader, "postgres", todo)
    except SetupError as error:
        return Finding("message store", str(error))
    if not schema.number:
        return Finding("no message store yet, made at the first start")
    later = f", migrated to {todo[-1].number} at the next start" if todo else ""
    return Finding(f"message store of schema {schema.number}{later}")


async def _durable(reader: Reader) -> Finding:
    from gigachat_server.store.engines.postgres import durability_of

    try:
        durability = await durability_of(reader)
    except StorageUnavailable as error:
        return Finding("durability", str(error))
    if durability == "replicated":
        return Finding("acknowledged data is also on a standby's disk")
    return Finding("acknowledged data is only on this one server's disk (synchronous_standby_names is empty)")


def _connections(allowed: int, used: int, ours: int, *, most: int) -> Finding:
    text = f"{used} of {allowed} connections in use, {ours} by gigachat; a node takes up to {most}"
    return Finding(text, "Raise max_connections, or lower GIGACHAT_DATABASE_CONNECTIONS." if used + most > allowed else "")


async def _stored_in(settings: Settings) -> list[Finding]:
    """Without the lock of the folder, which would keep a server from starting; what is wrong with the store was said before."""
    folder = settings.data_folder
    file = folder / FILE_NAME
    if not file.exists():
        return []
    try:
        with closing(open_reader(file) if local_socket.is_locked(folder) else open_unchanging(file)) as connection:
            reader = statements_on(connection)
            return await _stored(reader, await schema_of(reader, "sqlite"), settings)
    except (apsw.Error, OSError):
        return []


async def _stored(reader: Reader, schema: Schema, settings: Settings) -> list[Finding]:
    """What the store itself tells."""
    return await _parked(reader, schema) + await _secret(reader, schema, settings)


async def _parked(reader: Reader, schema: Schema) -> list[Finding]:
    """What background work has given up: each with the reason, and what has it tried again."""
    if _PARKING not in schema.applied:
        return []
    found = await parked.list_parked(reader, limit=_MOST_PARKED + 1)
    findings = [
        Finding(
            f"{each.kind} {each.name!r} of chatbot {each.chatbot_id}, given up at {wire_time(each.parked_at)}: {each.reason}",
            _TRY_AGAIN[each.kind],
            is_urgent=False,
        )
        for each in found[:_MOST_PARKED]
    ]
    if len(found) > _MOST_PARKED:
        findings.append(Finding("and more were given up", "Look at these first.", is_urgent=False))
    return findings


def _sqlite() -> Finding:
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < _OLDEST_SQLITE:
        return Finding(f"SQLite {version}", "It can damage a store: pip install --upgrade apsw")
    return Finding(f"SQLite {version}")


def _folder(folder: Path) -> Iterator[Finding]:
    """The data folder, or the place where it will be created."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Finding(f"data folder {folder}", f"{place} cannot be written: change its owner, or set GIGACHAT_DATA.")
        return
    yield Finding(f"data folder {folder}" + ("" if folder.exists() else " (made at the first start)"))
    free = shutil.disk_usage(place).free
    advice = "Make room: a full disk stops the store." if free < _LEAST_FREE_BYTES else ""
    yield Finding(f"{free / 1e9:.1f} GB free for it", advice)


async def _secret(reader: Reader, schema: Schema, settings: Settings) -> list[Finding]:
    """What tokens of end users are verified by: in no backup, so it has to be kept beside them."""
    if _SECRETS not in schema.applied:
        return []
    file = settings.data_folder / secrets.FILE_NAME
    is_file = not settings.secret and not settings.database_url and file.exists()
    if settings.secret or is_file:
        where = f"the secret is in {file}" if is_file else "GIGACHAT_SECRET is set"
        advice = f"Others can read it: chmod 600 {file}" if is_file and file.stat().st_mode & 0o077 else ""
        return [Finding(f"{where}: keep a copy of it, since backups lack it", advice)]
    if await secret_checks.find(reader) is None:
        return [Finding("no secret yet: none of the identity keys needs one")]
    lost = "Set GIGACHAT_SECRET as it was" + (
        "." if settings.database_url else f", or put back the file {file}, which backups lack."
    )
    return [Finding("the secret that this store was used with is missing, so tokens of end users are refused", lost)]


async def _server(settings: Settings) -> Finding:
    if local_socket.is_answered(settings.socket_path):
        try:
            async with connected(settings) as api:
                health = await api.get("/readyz")
        except SetupError as error:
            return Finding("a server runs on it", f"It is not ready: {error}")
        return Finding(f"a server runs on it, version {health['version']}")
    if local_socket.is_locked(settings.data_folder):
        text = "a process holds its lock but does not answer"
        return Finding(text, f"It may be starting, stopping or stuck; its number is in {settings.data_folder / 'lock'}.")
    return Finding("no server runs on it")


def _store(folder: Path) -> list[Finding]:
    """Check every row of the message store, if there is one and no server writes to it."""
    file = folder / FILE_NAME
    try:
        refuse_damage(file, read_note(folder), is_full=True)
        size = file.stat().st_size if file.exists() else 0
    except OSError as error:
        return [Finding(f"message store {file}", f"It cannot be read ({error.strerror}): run this as its owner.")]
    except SetupError as error:
        # A server that has started meanwhile writes, and what is read half written looks like damage.
        return [] if local_socket.is_locked(folder) else [Finding(f"message store {file}", str(error))]
    return [Finding(f"message store of {size / 1e6:.1f} MB, every row checked")] if size else []


def _open_files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FEW_OPEN_FILES:
        return Finding(f"{hard} open files allowed", "Each stream is one: raise the hard limit (ulimit -Hn, LimitNOFILE=).")
    return Finding(f"{'unlimited' if hard == resource.RLIM_INFINITY else hard} open files allowed")


def _weights(settings: Settings) -> Finding:
    model = BUILT_IN[settings.embedder].published
    try:
        found = weights.find(model, configured=settings.embedding_folder, data_folder=settings.data_folder)
        msgspec.structs.replace(found, stamps=None).verify()  # hashes the files again: that is what a doctor is for
    except SetupError as error:
        return Finding(f"weights of {model.name}", str(error))
    return Finding(f"weights of {model.name} in {found.folder}, SHA-256 as expected")


async def _embedding(settings: Settings) -> Finding:
    """Embeds a word, as the server would."""
    text = f"embedding with {settings.embedding_model or settings.embedder}"
    try:
        embedder = make_embedder(settings)
    except SetupError as error:
        return Finding(text, str(error))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            vector = await embedder.embed_prompt("hello")
    except GigachatError as error:
        return Finding(text, str(error))
    except TimeoutError:
        return Finding(text, f"No vector came within {_PATIENCE_S:.0f} seconds.")
    finally:
        await embedder.aclose()
    return Finding(f"{text}: {len(vector)} dimensions")


async def _models(settings: Settings) -> AsyncIterator[Finding]:
    """Ask each endpoint for a few words, as a turn would."""
    if not settings.model_url and not settings.model_providers:
        yield Finding("built-in extractive model (GIGACHAT_MODEL_URL names another)")
        return
    from gigachat_server.models.endpoints.probe import probe

    try:
        default, others = make_endpoints(settings)
    except SetupError as error:
        yield Finding("model endpoint", str(error))
        return
    named = {settings.model_url: default} if default is not None else {}
    for name, model in {**named, **others}.items():
        text = f"model endpoint {name}"
        if not model.name:
            yield Finding(f"{text}: not called, because its table names no models")
            continue
        found = await probe(model)
        await model.aclose()
        if isinstance(found.error, ModelUnreachable):
            yield Finding(text, "It cannot be reached: check GIGACHAT_MODEL_URL.")
        elif found.error is not None:
            yield Finding(text, f"{found.error.code}: {str(found.error).replace(STORED, '').strip()}")
        else:
            yield Finding(f"{text}, model {found}")
