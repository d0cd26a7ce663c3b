"""`gigachat move`: copies everything from one store into another."""

from __future__ import annotations

import asyncio
import time

import click

from gigachat_server.cli.backup import quiet
from gigachat_server.cli.locations import Location, filling, reading
from gigachat_server.cli.output import note, print_table
from gigachat_server.cli.progress import shown
from gigachat_server.errors import SetupError
from gigachat_server.store.copies.copying import TableCopy, copy, plan
from gigachat_server.store.copies.sqlite_rows import embedded_tables


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@quiet
def move(*, source: str, target: str, is_quiet: bool) -> None:
    """Copy everything from one store into another, and prove that both are equal.

    FROM and TO are data folders, or URLs such as postgresql://user:password@host/database. TO has to be empty. Stop every
    server first, on either side: none can start meanwhile. What was interrupted goes on where it was when it is run again.
    FROM stays as it is. Each table's SHA-256 is printed: over its rows by their key, so it is the same on both.

    A password in a URL can be seen by others on this machine: leave it out, and set PGPASSWORD.
    """
    there, here = Location.parse(source), Location.parse(target)
    if there == here:
        raise SetupError("FROM and TO are the same store.")
    began = time.monotonic()
    copied = asyncio.run(_move(there, here, is_quiet=is_quiet))
    if not is_quiet:
        rows, seconds = sum(each.rows for each in copied), time.monotonic() - began
        lines = [(each.table, f"{each.rows:,}", each.digest) for each in copied]
        print_table(("TABLE", "ROWS", "SHA-256"), lines, nothing="The store is empty.")
        note(f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 0.001):,.0f} rows/s); {here} holds what {there} holds.")


async def _move(there: Location, here: Location, *, is_quiet: bool) -> list[TableCopy]:
    async with reading(there, "move", stands_still=True) as source, filling(here, there) as target:
        tables = await plan(source, target, embedded_tables())
        total = sum([await source.count(table) for table in tables])
        with shown("move", total, unit="rows", is_quiet=is_quiet) as progress:
            return await copy(source, target, tables, progress)
