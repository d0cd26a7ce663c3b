"""`gigachat operators`: the people who sign in to the pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click
import msgspec

from gigachat_server.cli.client import ApiClient, connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table
from gigachat_server.errors import SetupError
from gigachat_server.settings import Settings

# Where the links lead that a command prints.
_WHERE = (*EVERYWHERE, "public_url", "host", "port")


class Membership(msgspec.Struct):
    chatbot_id: str
    role: str


class Operator(msgspec.Struct):
    """What the list shows of an operator."""

    id: str
    handle: str
    email: str
    name: str
    role: str
    state: str
    chatbots: list[Membership]
    seen_at: str | None = None


@click.group()
def operators() -> None:
    """Create, list, invite and disable the people who sign in to the pages."""


@operators.command()
@click.option("--email", required=True, help="What they sign in with.")
@click.option("--name", default="", help="How colleagues call them. Default: the handle.")
@click.option("--handle", default="", help="The name under which they answer. Default: what stands before the @.")
@click.option("--role", type=click.Choice(["owner", "admin", "member"]), help="Default: owner for the first one, then member.")
@click.option("--chatbot", "chatbots", multiple=True, help="A member's chatbot, by name or id, to answer in; repeatable.")
@click.option("--reads", multiple=True, help="A member's chatbot to read only; repeatable.")
@with_settings(*_WHERE)
def create(
    settings: Settings, *, email: str, name: str, handle: str, role: str | None, chatbots: tuple[str, ...], reads: tuple[str, ...]
) -> None:
    """Add an operator and print only the link of their invitation on stdout. It works once, for 7 days."""

    async def main() -> str:
        async with connected(settings) as api:
            theirs = [
                {"chatbot_id": (await api.find_chatbot(each)).id, "role": its}
                for its, named in (("operator", chatbots), ("viewer", reads))
                for each in named
            ]
            chosen = role or ("member" if await api.list_all("/operators") else "owner")
            wanted = {"email": email, "name": name, "handle": handle, "role": chosen, "chatbots": theirs}
            made = await api.post("/operators", wanted)
            return str(made["invite_url"])

    print(run(main()))
    note(f"{email} chooses a password there. The link is not shown again; `gigachat operators invite` makes another.")


@operators.command("list")
@as_json
@with_settings(*EVERYWHERE)
def list_(settings: Settings, *, is_json: bool) -> None:
    """List the account's operators."""

    async def main() -> list[Any]:
        async with connected(settings) as api:
            return await api.list_all("/operators")

    found = run(main())
    if is_json:
        print_json(found)
        return
    rows = [
        (each.handle, each.name, each.email, each.role, str(len(each.chatbots) or ""), each.state, day_and_time(each.seen_at))
        for each in msgspec.convert(found, list[Operator])
    ]
    columns = ("HANDLE", "NAME", "E-MAIL", "ROLE", "CHATBOTS", "STATE", "LAST SIGNED IN")
    print_table(columns, rows, nothing="There are no operators. Create the owner: gigachat operators create --email ...")


@operators.command()
@click.argument("who", metavar="HANDLE")
@with_settings(*_WHERE)
def invite(settings: Settings, *, who: str) -> None:
    """Make a new link for an operator, also one who forgot their password, and print only the link on stdout."""

    async def main() -> str:
        async with connected(settings) as api:
            made = await api.post(f"{await _path(api, who)}/invite")
            return str(made["invite_url"])

    print(run(main()))
    note("It works once, for 7 days; earlier links are void.")


@operators.command()
@click.argument("who", metavar="HANDLE")
@with_settings(*EVERYWHERE)
def disable(settings: Settings, *, who: str) -> None:
    """Shut an operator out at once, on every page and stream."""
    _set_state(settings, who, is_disabled=True)
    note(f"Disabled {who}.")


@operators.command()
@click.argument("who", metavar="HANDLE")
@with_settings(*EVERYWHERE)
def enable(settings: Settings, *, who: str) -> None:
    """Let a disabled operator sign in again."""
    _set_state(settings, who, is_disabled=False)
    note(f"Enabled {who}.")


def _set_state(settings: Settings, who: str, *, is_disabled: bool) -> None:
    async def main() -> None:
        async with connected(settings) as api:
            await api.patch(await _path(api, who), {"disabled": is_disabled})

    run(main())


async def _path(api: ApiClient, who: str) -> str:
    """Of the operator with that handle, e-mail address or id. Raises `SetupError`."""
    found = msgspec.convert(await api.list_all("/operators"), list[Operator])
    for operator in found:
        if who in (operator.handle, operator.email, operator.id):
            return f"/operators/{quote(operator.id, safe='')}"
    known = ", ".join(operator.handle for operator in found[:10]) or "there are none yet"
    raise SetupError(f"There is no operator {who!r} ({known}).")
