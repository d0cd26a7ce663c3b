"""`gigachat figures`: what a chatbot did, by day, for a person or for a spreadsheet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from gigachat_server.cli.client import connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, print_json, print_table
from gigachat_server.settings import Settings

_COLUMNS = ("DAY", "CONVERSATIONS", "PROMPTS", "ANSWERED", "REFUSED", "FIXED", "FAILED", "HANDOFFS", "FIRST WORD", "COST")


@click.command()
@click.argument("chatbot", metavar="NAME_OR_ID")
@click.option("--from", "first", metavar="YYYY-MM-DD", help="The first day (UTC). Default: 29 days before the last one.")
@click.option("--to", "last", metavar="YYYY-MM-DD", help="The last day. Default: today.")
@as_json
@with_settings(*EVERYWHERE)
def figures(settings: Settings, *, chatbot: str, first: str | None, last: str | None, is_json: bool) -> None:
    """Show what a chatbot did, by day. What is 0 or was not measured is left empty; the last line adds up.

    \b
    gigachat figures Superbot --from 2027-01-01 --to 2027-01-31
    """
    found = run(_read(settings, chatbot, {name: day for name, day in (("from", first), ("to", last)) if day is not None}))
    if is_json:
        print_json(found)
        return
    rows = [_row(each["day"], each, each["first_word_ms"]["p50"]) for each in found["days"]]
    print_table(_COLUMNS, [*rows, _row("total", found["total"], None)], nothing="", always_names_columns=True)


async def _read(settings: Settings, chatbot: str, days: Mapping[str, str]) -> Any:
    async with connected(settings) as api:
        its = await api.find_chatbot(chatbot)
        return await api.get(f"/chatbots/{its.id}/figures", **days)


def _row(name: str, day: Mapping[str, Any], first_word_ms: int | None) -> tuple[str, ...]:
    counted = (day[name] for name in ("conversations", "prompts", "answered", "refused", "fixed", "failed"))
    handoffs = sum(day["handoffs"].values())
    waited = "" if first_word_ms is None else f"{first_word_ms / 1000:.1f} s"
    return (name, *(str(each or "") for each in (*counted, handoffs)), waited, f"{day['cost']:.2f}" if day["cost"] else "")
