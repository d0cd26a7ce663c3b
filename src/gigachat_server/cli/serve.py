"""`gigachat serve`: runs the server, and prints what its operator needs at start."""

from __future__ import annotations

import asyncio
import sys

import click

from gigachat_server import sample
from gigachat_server.cli.options import with_settings
from gigachat_server.services import Services
from gigachat_server.serving import logs, server
from gigachat_server.settings import Settings
from gigachat_server.store import keys
from gigachat_server.store.database import Reader
from gigachat_server.work.tasks import observed


@click.command()
@click.option("--sample", "with_sample", is_flag=True, help="Add a chatbot that answers from gigachat's own documentation.")
@with_settings()
def serve(settings: Settings, *, with_sample: bool) -> None:
    """Run the server until SIGTERM or Ctrl-C, which lets running replies finish; a second Ctrl-C quits at once.

    Every setting is a flag here and a variable, shown in brackets; the flag wins. Ends with status 1 when the disk fails
    to confirm a write: start it again then, as a service manager does.
    """
    logs.configure(settings)
    if not server.run(_serve(settings, with_sample=with_sample)):
        sys.exit(1)


async def _serve(settings: Settings, *, with_sample: bool) -> bool:
    """Whether it stopped on request; otherwise its store is broken, and a new process must check the disk."""
    async with server.serving(settings) as serving:
        services = serving.services
        first_key = await _first_key(services)
        address = settings.public_url.rstrip("/") or serving.url  # what people type
        login = address + await serving.app.web.login_path() if first_key or with_sample else None
        print(_welcome(serving.url, address, first_key, login), flush=True)
        loading = observed(sample.load(services), name="sample") if with_sample else None
        try:
            await serving.stopped.wait()
        finally:
            if loading is not None:
                loading.cancel()
                await asyncio.wait({loading})
        return not services.database.broken.is_set()


async def _first_key(services: Services) -> str | None:
    """A key for an account that never had one; None for any other."""

    async def read(reader: Reader) -> bool:
        return bool(await keys.list_keys(reader, services.account.id, before=None, limit=1))

    if await services.database.read(read):
        return None
    _, secret = await services.key_ring.create(services.account.id, "first key")
    return secret


def _welcome(url: str, address: str, first_key: str | None, login: str | None) -> str:
    lines = [f"gigachat serves {url}"]
    if address != url:
        lines.append(f"People reach it at {address}")
    if first_key is not None:
        lines += [
            "",
            "Your first API key, shown once; keep it, and make others with `gigachat keys create`:",
            f"  {first_key}",
            "Try it:",
            f'  curl {address}/chatbots -H "Authorization: Bearer {first_key}"',
        ]
    if login is not None:
        lines += ["", "Web pages (this link logs in once):", f"  {login}"]
    return "\n".join(lines)
