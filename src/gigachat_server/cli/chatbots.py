"""`gigachat chatbots`: the account's chatbots."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from gigachat_server.cli.client import connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table
from gigachat_server.settings import Settings


class Chatbot(msgspec.Struct):
    """What the list shows of a chatbot."""

    id: str
    name: str
    created_at: str


@click.group()
def chatbots() -> None:
    """Create, list, show and delete chatbots."""


@chatbots.command()
@click.argument("name")
@click.option("--persona", help="What the model is told to be. Quote the refusal to use when the documents hold no answer.")
@as_json
@with_settings(*EVERYWHERE)
def create(settings: Settings, *, name: str, persona: str | None, is_json: bool) -> None:
    """Create a chatbot and print its ID."""

    async def main() -> Any:
        async with connected(settings) as api:
            response = {} if persona is None else {"response": {"system_persona": persona}}
            return await api.post("/chatbots", {"name": name, **response})

    made = run(main())
    if is_json:
        print_json(made)
    else:
        print(made["id"])


@chatbots.command("list")
@as_json
@with_settings(*EVERYWHERE)
def list_(settings: Settings, *, is_json: bool) -> None:
    """List the account's chatbots, newest first."""

    async def main() -> list[Any]:
        async with connected(settings) as api:
            return await api.list_all("/chatbots")

    found = run(main())
    if is_json:
        print_json(found)
        return
    rows = [(bot.id, bot.name, day_and_time(bot.created_at)) for bot in msgspec.convert(found, list[Chatbot])]
    print_table(("ID", "NAME", "CREATED"), rows, nothing="There are no chatbots: `gigachat chatbots create NAME`.")


@chatbots.command()
@click.argument("chatbot", metavar="NAME_OR_ID")
@with_settings(*EVERYWHERE)
def show(settings: Settings, *, chatbot: str) -> None:
    """Print a chatbot as the API shows it, in JSON."""

    async def main() -> Any:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            return await api.get(f"/chatbots/{found.id}")

    print_json(run(main()))


@chatbots.command()
@click.argument("chatbot", metavar="NAME_OR_ID")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@with_settings(*EVERYWHERE)
def delete(settings: Settings, *, chatbot: str, is_sure: bool) -> None:
    """Delete a chatbot with all its documents and conversations."""
    if not is_sure and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to confirm on: give --yes.")

    async def main() -> str:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            if not is_sure:
                click.confirm(f"Delete {found.name!r} ({found.id}) with all its documents and conversations?", abort=True)
            await api.delete(f"/chatbots/{found.id}")
            return found.id

    note(f"Deleted {run(main())}.")
