"""`gigachat backup`: everything that is stored, in one file, while servers run."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import click

from gigachat_server.cli.locations import Location, filling, reading, sqlite_connection
from gigachat_server.cli.options import with_settings
from gigachat_server.cli.output import as_json, print_json
from gigachat_server.cli.progress import shown
from gigachat_server.errors import SetupError
from gigachat_server.settings import Settings
from gigachat_server.store.copies import backup as backups
from gigachat_server.store.copies.backup import Backup
from gigachat_server.store.copies.copying import copy, plan
from gigachat_server.store.copies.sqlite_rows import embedded_tables
from gigachat_server.store.engines.sqlite import FILE_NAME

quiet = click.option("--quiet", "is_quiet", is_flag=True, help="Print only errors.")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--force", "is_forced", is_flag=True, help="Replace FILE if it exists.")
@quiet
@as_json
@with_settings("data", "database_url")
def backup(settings: Settings, *, file: Path, is_forced: bool, is_quiet: bool, is_json: bool) -> None:
    """Back everything up into FILE, as of one moment, while servers keep running.

    FILE is a SQLite database, whether the store is one or is on PostgreSQL: `gigachat restore FILE` puts it into either.
    It holds every text, vector and hashed API key: protect it as you protect the store. It appears under its name when it
    is whole and verified.
    """
    file = file.absolute()
    if file.exists() and not is_forced:
        raise SetupError(f"{file} exists already: name another file, or replace it with --force.")
    if not file.parent.is_dir():
        raise SetupError(f"The folder {file.parent} does not exist.")
    location = Location.of(settings)
    began = time.monotonic()
    made = asyncio.run(_of_postgres(location, file, is_quiet)) if location.url else _of_sqlite(location, file, is_quiet)
    if is_json:
        print_json({"file": str(made.file), "size": made.size, "sha256": made.sha256, "rows": made.rows})
    elif not is_quiet:
        print(summary(made, time.monotonic() - began))


def _of_sqlite(location: Location, file: Path, is_quiet: bool) -> Backup:
    with sqlite_connection(location) as source, shown("backup", 0, unit="bytes", is_quiet=is_quiet) as progress:
        return backups.copy_store(source, file, progress.reach)


async def _of_postgres(location: Location, file: Path, is_quiet: bool) -> Backup:
    """Through a temporary store in a folder beside the file."""
    folder = file.with_name(file.name + ".making")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        async with (
            reading(location, "backup", stands_still=False) as source,
            filling(Location(folder=folder), location) as target,
        ):
            tables = await plan(source, target, embedded_tables())
            total = sum([await source.count(table) for table in tables])
            with shown("backup", total, unit="rows", is_quiet=is_quiet) as progress:
                await copy(source, target, tables, progress)
        return await asyncio.to_thread(backups.make_of, folder / FILE_NAME, file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def summary(made: Backup, seconds: float) -> str:
    rows = sum(made.rows.values())
    return (
        f"{made.file}: {rows:,} rows of {len(made.rows)} tables, {made.size / 1e6:.1f} MB in {seconds:.1f} s "
        f"({made.size / 1e6 / max(seconds, 0.001):.0f} MB/s), verified\nSHA-256 {made.sha256}"
    )
