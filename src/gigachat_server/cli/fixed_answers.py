"""`gigachat fixed-answers`: answers that are given word for word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec

from gigachat_server.cli.client import ApiClient, connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table
from gigachat_server.settings import Settings

of_chatbot = click.option("--chatbot", required=True, metavar="NAME_OR_ID", help="Whose answers.")


class FixedAnswer(msgspec.Struct):
    """What the list shows of a fixed answer."""

    id: str
    prompts: list[str]
    answer: str
    is_enabled: bool
    use_count: int
    updated_at: str


@click.group()
def fixed_answers() -> None:
    """List, add, switch and delete answers that are given word for word."""


@fixed_answers.command("list")
@of_chatbot
@as_json
@with_settings(*EVERYWHERE)
def list_(settings: Settings, *, chatbot: str, is_json: bool) -> None:
    """List a chatbot's fixed answers, newest first."""
    found = run(_call(settings, chatbot, lambda api, path: api.list_all(path)))
    if is_json:
        print_json(found)
        return
    rows = [
        (
            each.id,
            " / ".join(each.prompts),
            each.answer,
            str(each.use_count) if each.is_enabled else f"{each.use_count}, disabled",
            day_and_time(each.updated_at),
        )
        for each in msgspec.convert(found, list[FixedAnswer])
    ]
    print_table(("ID", "PROMPTS", "ANSWER", "USED", "CHANGED"), rows, nothing="There are no fixed answers.")


@fixed_answers.command()
@click.argument("answer")
@of_chatbot
@click.option(
    "--prompt", "prompts", multiple=True, required=True, metavar="TEXT", help="A prompt that it answers; repeat for each wording."
)
@as_json
@with_settings(*EVERYWHERE)
def add(settings: Settings, *, answer: str, chatbot: str, prompts: tuple[str, ...], is_json: bool) -> None:
    """Give ANSWER to everyone who asks one of the prompts or means the same; prints its ID.

    \b
    gigachat fixed-answers add "We open at nine." --prompt "When do you open?" --chatbot Superbot
    """
    body = {"prompts": list(prompts), "answer": answer}
    made = run(_call(settings, chatbot, lambda api, path: api.post_once(path, body)))
    if is_json:
        print_json(made)
    else:
        print(made["id"])


@fixed_answers.command()
@click.argument("fixed_answer_id", metavar="ID")
@of_chatbot
@with_settings(*EVERYWHERE)
def enable(settings: Settings, *, fixed_answer_id: str, chatbot: str) -> None:
    """Use a fixed answer again."""
    run(_call(settings, chatbot, lambda api, path: _switch(api, f"{path}/{fixed_answer_id}", is_enabled=True)))


@fixed_answers.command()
@click.argument("fixed_answer_id", metavar="ID")
@of_chatbot
@with_settings(*EVERYWHERE)
def disable(settings: Settings, *, fixed_answer_id: str, chatbot: str) -> None:
    """Keep a fixed answer without using it."""
    run(_call(settings, chatbot, lambda api, path: _switch(api, f"{path}/{fixed_answer_id}", is_enabled=False)))


@fixed_answers.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@of_chatbot
@with_settings(*EVERYWHERE)
def delete(settings: Settings, *, ids: tuple[str, ...], chatbot: str) -> None:
    """Delete fixed answers; they are no longer used."""

    async def send(api: ApiClient, path: str) -> None:
        for each in dict.fromkeys(ids):
            await api.delete(f"{path}/{each}")

    run(_call(settings, chatbot, send))
    note(f"Deleted {len(set(ids))}.")


async def _switch(api: ApiClient, path: str, *, is_enabled: bool) -> None:
    held = await api.get(path)
    await api.put(path, {"prompts": held["prompts"], "answer": held["answer"], "is_enabled": is_enabled})


async def _call(settings: Settings, chatbot: str, call: Callable[[ApiClient, str], Awaitable[Any]]) -> Any:
    async with connected(settings) as api:
        found = await api.find_chatbot(chatbot)
        return await call(api, f"/chatbots/{found.id}/fixed-answers")
