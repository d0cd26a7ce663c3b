"""`gigachat restore`: puts a backup into an empty store, or replaces one."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import click

from gigachat_server.cli.backup import quiet
from gigachat_server.cli.locations import Location, opened, replacing, schema_in
from gigachat_server.cli.options import with_settings
from gigachat_server.cli.output import note
from gigachat_server.cli.progress import ProgressLine, shown
from gigachat_server.clock import system_clock
from gigachat_server.errors import SetupError
from gigachat_server.settings import Settings
from gigachat_server.store.copies import backup as backups
from gigachat_server.store.copies.backup import Backup
from gigachat_server.store.copies.copying import Rows, copy, plan
from gigachat_server.store.copies.sqlite_rows import SQLiteRows, embedded_tables
from gigachat_server.store.engines import folder as data_folder
from gigachat_server.store.engines.damage import open_unchanging
from gigachat_server.store.engines.migrate import migrate, migrations, missing, refuse_half_filled


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--force", "is_forced", is_flag=True, help="Replace what is stored. Without it, the terminal asks.")
@quiet
@with_settings("data", "database_url")
def restore(settings: Settings, *, file: Path, is_forced: bool, is_quiet: bool) -> None:
    """Restore FILE, a backup made by `gigachat backup`, into the store. Stop every server first.

    FILE is read as a whole before anything is changed. A folder's former files are kept beside the restored ones; a
    database's former rows are gone once the new ones are there, all at once. The backup of an older version is migrated.
    """
    asyncio.run(_restore(Location.of(settings), file.absolute(), is_forced=is_forced, is_quiet=is_quiet))


async def _restore(location: Location, file: Path, *, is_forced: bool, is_quiet: bool) -> None:
    began = time.monotonic()
    found = await _verified(file, is_quiet=is_quiet)
    restoring = _into_postgres if location.url else _into_folder
    with shown("restore", found.size, unit="rows" if location.url else "bytes", is_quiet=is_quiet) as progress:
        former = await restoring(found, location, progress, is_forced=is_forced)
    if is_quiet:
        return
    rows, seconds = sum(found.rows.values()), time.monotonic() - began
    print(f"{location}: {rows:,} rows of {len(found.rows)} tables, {found.size / 1e6:.1f} MB in {seconds:.1f} s")
    print(f"SHA-256 of the backup {found.sha256}")
    if former is not None:
        note(f"The previous store is in {former}; remove it when you no longer need it.")


async def _verified(file: Path, *, is_quiet: bool) -> Backup:
    with shown("verifying", 1, is_quiet=is_quiet) as progress:
        found = backups.examine(file)
        progress.advance()
    schema = await schema_in(file)
    refuse_half_filled(schema)
    missing(schema, migrations("sqlite"))  # raises if it is of a newer version
    return found


async def _into_folder(found: Backup, location: Location, progress: ProgressLine, *, is_forced: bool) -> Path | None:
    lock = data_folder.take(location.folder)
    try:
        if not backups.is_empty(location.folder):
            _ask(f"{location.folder} holds a message store", is_forced=is_forced)
        former = backups.put_in_place(found, location.folder, lock=lock, watching=progress.reach)
    finally:
        lock.release()
    async with opened(location, "restore") as database:
        await migrate(database, system_clock)
    return former


async def _into_postgres(found: Backup, location: Location, progress: ProgressLine, *, is_forced: bool) -> None:
    def ask(held: str) -> None:
        _ask(f"{location} is not empty ({held})", is_forced=is_forced)

    async with _rows_of(found) as source, replacing(location, ask) as target:
        tables = await plan(source, target, embedded_tables())
        progress.reach(0, sum([await source.count(table) for table in tables]))
        await copy(source, target, tables, progress)


@asynccontextmanager
async def _rows_of(found: Backup) -> AsyncIterator[Rows]:
    """The backup's contents, in this version's schema."""
    if not missing(await schema_in(found.file), migrations("sqlite")):
        with closing(open_unchanging(found.file)) as connection:
            yield SQLiteRows(connection)
        return
    with tempfile.TemporaryDirectory(prefix="gigachat-", dir=found.file.parent) as folder:
        copied = Location(folder=Path(folder))
        lock = data_folder.take(copied.folder)
        try:
            backups.put_in_place(found, copied.folder, lock=lock)
        finally:
            lock.release()
        async with opened(copied, "restore") as database:
            await migrate(database, system_clock)
        with closing(open_unchanging(backups.store_in(copied.folder))) as connection:
            yield SQLiteRows(connection)


def _ask(what: str, *, is_forced: bool) -> None:
    """Continue only if the user agrees to replace it."""
    if is_forced:
        return
    if not sys.stdin.isatty():
        raise SetupError(f"{what}: replace it with --force.")
    click.confirm(f"{what}. Replace it?", abort=True, err=True)
