"""`gigachat limits`: how much a chatbot's callers may use, and what they have used today."""

from __future__ import annotations

import re
from typing import Any

import click
import msgspec

from gigachat_server.cli.client import connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, note, print_json, print_table
from gigachat_server.settings import Settings

NONE = "none"

_RATE = re.compile(r"([0-9]{1,7})/([0-9]{0,5})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Rate(msgspec.Struct):
    quota: int
    window_s: int


class Amounts(msgspec.Struct):
    """Of a budget, or of what was used of it."""

    turns: int | None
    tokens: int | None


class Budgets(msgspec.Struct):
    users: Amounts
    anonymous: Amounts


class Limits(msgspec.Struct):
    user: Rate | None
    address: Rate | None
    sessions: Rate | None
    key: Rate | None
    budgets: Budgets


class Standing(msgspec.Struct):
    """What the server tells of a chatbot's limits."""

    limits: Limits
    day: str
    spent: Budgets


class RateType(click.ParamType[dict[str, int] | None]):
    """`20/60`, `20/m` or `none`."""

    name = "QUOTA/WINDOW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int] | None:
        if value == NONE:
            return None
        found = _RATE.fullmatch(value)
        if found is None or not (found[2] or found[3]):
            self.fail("Write a quota and its window, such as 20/60, 20/m, 10/h or 500/d; or none.", param, ctx)
        return {"quota": int(found[1]), "window_s": int(found[2] or 1) * _SECONDS[found[3]]}


class AmountType(click.ParamType[int | None]):
    """A number or `none`."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == NONE:
            return None
        if not (value.isascii() and value.isdigit()):
            self.fail("Write a number, or none.", param, ctx)
        return int(value)


@click.group()
def limits() -> None:
    """Show and set how much a chatbot's end users and API keys may use."""


@limits.command()
@click.argument("chatbot", metavar="NAME_OR_ID")
@as_json
@with_settings(*EVERYWHERE)
def show(settings: Settings, *, chatbot: str, is_json: bool) -> None:
    """Show a chatbot's limits, and what was used of its budgets today (UTC)."""

    async def main() -> Any:
        async with connected(settings) as api:
            return await api.get(f"/chatbots/{(await api.find_chatbot(chatbot)).id}/limits")

    found = run(main())
    if is_json:
        print_json(found)
        return
    standing = msgspec.convert(found, Standing)
    print_table(("LIMIT", "ALLOWED", "USED TODAY"), _rows(standing), nothing="")
    note(f"Today is {standing.day} (UTC).")


@limits.command("set")
@click.argument("chatbot", metavar="NAME_OR_ID")
@click.option("--user", type=RateType(), help="Prompts of one end user.")
@click.option("--address", type=RateType(), help="Prompts of end users from one address.")
@click.option("--sessions", type=RateType(), help="Anonymous sessions from one address.")
@click.option("--key", type=RateType(), help="Prompts sent with one API key.")
@click.option("--turns", type=AmountType(), help="Prompts of all end users on a day (UTC).")
@click.option("--tokens", type=AmountType(), help="Tokens of all end users on a day.")
@click.option("--anonymous-turns", type=AmountType(), help="Prompts of all anonymous end users on a day.")
@click.option("--anonymous-tokens", type=AmountType(), help="Tokens of all anonymous end users on a day.")
@with_settings(*EVERYWHERE)
@click.pass_context
def set_(ctx: click.Context, /, settings: Settings, *, chatbot: str, **wanted: Any) -> None:
    """Set some of a chatbot's limits; what is not named stays as it is. `none` takes a limit away.

    \b
    gigachat limits set Superbot --user 10/m --anonymous-turns 500
    """
    changes = _changes({name: value for name, value in wanted.items() if _is_given(ctx, name)})
    if not changes:
        raise click.UsageError("Name a limit to set, such as --user 10/m.")

    async def main() -> None:
        async with connected(settings) as api:
            await api.patch(f"/chatbots/{(await api.find_chatbot(chatbot)).id}", {"limits": changes})

    run(main())
    note("Set.")


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT


def _changes(wanted: dict[str, Any]) -> dict[str, Any]:
    """As `PATCH` takes them."""
    changes: dict[str, Any] = {name: value for name, value in wanted.items() if name in ("user", "address", "sessions", "key")}
    for name, value in wanted.items():
        if name in changes:
            continue
        kind, _, amount = name.rpartition("_")
        changes.setdefault("budgets", {}).setdefault(kind or "users", {})[amount] = value
    return changes


def _rows(standing: Standing) -> list[tuple[str, str, str]]:
    found, budgets, spent = standing.limits, standing.limits.budgets, standing.spent
    return [
        ("user: prompts of one end user", _rate(found.user), ""),
        ("address: prompts from one address", _rate(found.address), ""),
        ("sessions: anonymous sessions from one address", _rate(found.sessions), ""),
        ("key: prompts of one API key", _rate(found.key), ""),
        ("turns of all end users", _amount(budgets.users.turns), str(spent.users.turns)),
        ("tokens of all end users", _amount(budgets.users.tokens), str(spent.users.tokens)),
        ("turns of anonymous end users", _amount(budgets.anonymous.turns), str(spent.anonymous.turns)),
        ("tokens of anonymous end users", _amount(budgets.anonymous.tokens), str(spent.anonymous.tokens)),
    ]


def _rate(rate: Rate | None) -> str:
    return NONE if rate is None else f"{rate.quota} in {rate.window_s} s"


def _amount(most: int | None) -> str:
    return NONE if most is None else f"{most} a day"
