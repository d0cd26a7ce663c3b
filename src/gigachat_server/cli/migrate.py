"""`gigachat migrate`: migrates the store to this version's schema, or shows what would change."""

from __future__ import annotations

import asyncio
import sys
import time

import click

from gigachat_server import configured
from gigachat_server.cli.locations import Location, having_to_itself, looking_at, opened
from gigachat_server.cli.options import with_settings
from gigachat_server.cli.output import note
from gigachat_server.clock import system_clock
from gigachat_server.errors import SetupError
from gigachat_server.settings import Settings
from gigachat_server.store.database import Reader
from gigachat_server.store.engines.migrate import (
    Migration,
    count_roughly,
    effects,
    migrate,
    migrations,
    missing,
    refuse_half_filled,
    schema_of,
)

_PENDING = 3


@click.command("migrate")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only show what would be done. Servers may run meanwhile.")
@click.option("--no-backup", "is_bold", is_flag=True, help="Skip the backup of a data folder's store.")
@click.option("--citus", "is_distributed", is_flag=True, help="Also distribute the tables over a Citus cluster, by chatbot.")
@with_settings("data", "database_url")
def migrate_store(settings: Settings, *, is_dry: bool, is_bold: bool, is_distributed: bool) -> None:
    """Migrate the store to this version's schema, as the start of a server does.

    A store in a data folder is backed up beside itself first (gigachat-before-NNNN.sqlite3; the newest three are kept), and no
    server may run on it. On PostgreSQL nodes may run, and others may migrate at the same time.

    --citus needs the extension citus in the database, and can be repeated: what is distributed already is left alone. Stop
    every node for it. It was written against the documentation of Citus, and not tried on a cluster.

    Ends with status 0 if there is nothing to do or it was done. With --dry-run: 0 if there is nothing to do, 3 if there is.
    """
    location = Location.of(settings)
    if is_dry:
        sys.exit(asyncio.run(_dry_run(location)))
    if is_distributed and not location.url:
        raise SetupError("--citus is for a store on PostgreSQL: set GIGACHAT_DATABASE_URL.")
    asyncio.run(_migrate(settings, location, is_bold=is_bold))
    if is_distributed:
        asyncio.run(_distribute(location))


async def _migrate(settings: Settings, location: Location, *, is_bold: bool) -> None:
    began = time.monotonic()
    async with opened(location, "migrate") as database:
        done = await migrate(database, system_clock, before=None if is_bold else configured.backing_up(settings, note))
    for migration in done:
        print(f"applied {migration.name}")
    number = migrations(location.dialect)[-1].number
    print(f"{location} has schema {number}" + (f", after {time.monotonic() - began:.1f} s." if done else " already."))


async def _distribute(location: Location) -> None:
    from gigachat_server.store.copies import citus

    async with having_to_itself(location, "migrate") as connection:
        await citus.distribute(connection, print)


async def _dry_run(location: Location) -> int:
    """The exit status."""
    async with looking_at(location) as reader:
        schema = await schema_of(reader, location.dialect)
        refuse_half_filled(schema)
        todo = missing(schema, migrations(location.dialect))
        for migration in todo:
            begun = " (begun)" if migration.number in schema.begun else ""
            print(f"{migration.name}{begun}: {await _told(reader, location, migration)}")
    if not todo:
        print(f"{location} has schema {schema.number}: there is nothing to do.")
        return 0
    print(f"{location} has schema {schema.number}; {len(todo)} to apply. Nothing was done.")
    return _PENDING


async def _told(reader: Reader, location: Location, migration: Migration) -> str:
    parts = []
    for effect in effects(migration):
        rows = await count_roughly(reader, location.dialect, effect.table) if effect.reads_rows else 0
        parts.append(f"{effect.verb} {effect.table}" + (f" ({rows:,} rows)" if rows else ""))
    if migration.step is not None:
        parts.append("continues in batches")
    return ", ".join(parts)
