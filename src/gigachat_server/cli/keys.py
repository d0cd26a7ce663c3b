"""`gigachat keys`: API keys of the account."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click
import msgspec

from gigachat_server.cli.client import connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table
from gigachat_server.settings import Settings


class Key(msgspec.Struct):
    """What the list shows of a key."""

    id: str
    name: str
    last4: str
    created_at: str
    revoked_at: str | None = None


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command()
@click.option("--name", required=True, help="What the key is for; the list shows it.")
@click.option("--scope", "scopes", multiple=True, help="What it may do; repeatable. Default: everything except making keys.")
@click.option("--expires-in-days", type=click.IntRange(1, 36_500), help="Days until it expires. Default: never.")
@with_settings(*EVERYWHERE)
def create(settings: Settings, *, name: str, scopes: tuple[str, ...], expires_in_days: int | None) -> None:
    """Create a key and print only the key on stdout. It cannot be shown again."""

    async def main() -> str:
        async with connected(settings) as api:
            wanted: dict[str, Any] = {"name": name, "expires_in_days": expires_in_days}
            made = await api.post("/api-keys", {**wanted, "scopes": scopes} if scopes else wanted)
            return str(made["key"])

    print(run(main()))
    note(f"The key {name!r} acts for the account {settings.account!r}. Keep it: it is not shown again.")


@keys.command("list")
@as_json
@with_settings(*EVERYWHERE)
def list_(settings: Settings, *, is_json: bool) -> None:
    """List the account's keys, newest first."""

    async def main() -> list[Any]:
        async with connected(settings) as api:
            return await api.list_all("/api-keys")

    found = run(main())
    if is_json:
        print_json(found)
        return
    rows = [
        (key.id, key.name, f"...{key.last4}", day_and_time(key.created_at), day_and_time(key.revoked_at))
        for key in msgspec.convert(found, list[Key])
    ]
    print_table(("ID", "NAME", "ENDS WITH", "CREATED", "REVOKED"), rows, nothing="There are no keys.")


@keys.command()
@click.argument("key_id", metavar="ID")
@with_settings(*EVERYWHERE)
def revoke(settings: Settings, *, key_id: str) -> None:
    """Revoke a key, by the ID that `gigachat keys list` shows; it is refused from now on."""

    async def main() -> None:
        async with connected(settings) as api:
            await api.delete(f"/api-keys/{quote(key_id, safe='')}")

    run(main())
    note(f"Revoked {key_id}.")
