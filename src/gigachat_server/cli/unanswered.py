"""`gigachat unanswered`: lists prompts that the documents did not answer, and answers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from gigachat_server.cli.client import ApiClient, connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table, printable
from gigachat_server.errors import SetupError
from gigachat_server.settings import Settings

of_chatbot = click.option("--chatbot", required=True, metavar="NAME_OR_ID", help="Whose prompts.")


class Suggestion(msgspec.Struct):
    content: str


class Group(msgspec.Struct):
    """What the list shows of a group."""

    id: str
    prompt: str
    count: int
    newest_at: str
    suggested_answer: Suggestion | None


class Reply(msgspec.Struct):
    content: str
    is_unanswered: bool


class Turn(msgspec.Struct):
    """What is shown of a prompt that was asked again."""

    prompt: str
    changed: str
    old: Reply | None
    new: Reply | None
    error: dict[str, str] | None


@click.group()
def unanswered() -> None:
    """List, answer, dismiss and replay prompts that the documents did not answer."""


@unanswered.command("list")
@of_chatbot
@click.option("--state", type=click.Choice(["open", "answered", "dismissed"]), default="open", show_default=True)
@as_json
@with_settings(*EVERYWHERE)
def list_(settings: Settings, *, chatbot: str, state: str, is_json: bool) -> None:
    """List groups of unanswered prompts that ask much the same, most recently asked first."""
    found = run(_call(settings, chatbot, lambda api, path: api.list_all(f"{path}/unanswered", state=state)))
    if is_json:
        print_json(found)
        return
    rows = [
        (
            group.id,
            str(group.count),
            group.prompt,
            group.suggested_answer.content if group.suggested_answer else "",
            day_and_time(group.newest_at),
        )
        for group in msgspec.convert(found, list[Group])
    ]
    print_table(("ID", "ASKED", "PROMPT", "AN OPERATOR SAID", "LAST"), rows, nothing=f"There are no {state} prompts.")


@unanswered.command()
@click.argument("prompt_id", metavar="ID")
@click.argument("text", metavar="[ANSWER]", required=False)
@of_chatbot
@click.option("--document", "is_document", is_flag=True, help="Push the answer as a document instead of a fixed answer.")
@click.option("--suggested", "is_suggested", is_flag=True, help="Use what an operator replied to the prompt.")
@as_json
@with_settings(*EVERYWHERE)
def answer(
    settings: Settings,
    *,
    prompt_id: str,
    text: str | None,
    chatbot: str,
    is_document: bool,
    is_suggested: bool,
    is_json: bool,
) -> None:
    """Answer a group of unanswered prompts, from now on.

    \b
    gigachat unanswered answer 0198a1f2-7c3e-7d10-9b52-6f0a4c1d2e3f "We open at nine." --chatbot Superbot
    """
    if (text is None) != is_suggested:
        raise click.UsageError("Give either an ANSWER or --suggested.")

    async def send(api: ApiClient, path: str) -> Any:
        said = text if text is not None else await _suggested(api, path, prompt_id)
        body = {"answer": said, "as": "document" if is_document else "fixed_answer"}
        return await api.post_once(f"{path}/unanswered/{prompt_id}/answer", body)

    made = run(_call(settings, chatbot, send))
    if is_json:
        print_json(made)
    else:
        what = made["document"] or made["fixed_answer"]
        print(what["id"])
        note(f"{made['count']} prompts are answered by this {'document' if made['document'] else 'fixed answer'}.")


@unanswered.command()
@click.argument("prompt_ids", nargs=-1, required=True, metavar="ID...")
@of_chatbot
@with_settings(*EVERYWHERE)
def dismiss(settings: Settings, *, prompt_ids: tuple[str, ...], chatbot: str) -> None:
    """Take groups of unanswered prompts off the list."""

    async def send(api: ApiClient, path: str) -> int:
        return sum([(await api.post_once(f"{path}/unanswered/{each}/dismiss"))["count"] for each in dict.fromkeys(prompt_ids)])

    note(f"Dismissed {run(_call(settings, chatbot, send))} prompts.")


@unanswered.command()
@of_chatbot
@click.option("--conversation", "conversations", multiple=True, metavar="ID", help="Replay this conversation's prompts instead.")
@click.option("--newest", type=click.IntRange(1, 200), metavar="N", help="Replay the newest prompts instead, answered or not.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A JSON file with changes to the chatbot for this replay, in the form that PATCH takes.",
)
@as_json
@with_settings(*EVERYWHERE)
def replay(
    settings: Settings, *, chatbot: str, conversations: tuple[str, ...], newest: int | None, config: Path | None, is_json: bool
) -> None:
    """Ask unanswered prompts again and show the new replies. Stores nothing."""
    if conversations and newest is not None:
        raise click.UsageError("Give either --conversation or --newest.")
    body: dict[str, Any] = {"limit": newest or 200, "stream": False}
    if conversations:
        body["conversation_ids"] = list(conversations)
    elif newest is None:
        body["unanswered"] = True
    if config is not None:
        body["config"] = _read_config(config)
    found = run(_call(settings, chatbot, lambda api, path: api.post(f"{path}/replay", body)))
    if "error" in found:
        raise SetupError(f"The replay broke off: {found['error']['detail']}")
    if is_json:
        print_json(found)
        return
    for turn in msgspec.convert(found["turns"], list[Turn]):
        print(f"{turn.changed}: {printable(turn.prompt)}")
        for sign, reply in (("-", turn.old), ("+", turn.new)):
            if reply is not None and turn.changed != "same":
                print(f"  {sign} {printable(reply.content)}")
        if turn.error is not None:
            print(f"  ! {turn.error['detail']}")
    told = found["summary"]
    note(
        f"{told['turns']} prompts, {told['model_calls']} model calls: {told['now_answered']} now answered, "
        f"{told['now_unanswered']} no longer, {told['different']} different, {told['same']} the same, {told['failed']} failed."
    )


def _read_config(file: Path) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes())
    except msgspec.DecodeError as error:
        raise SetupError(f"{file} is not JSON: {error}") from None


async def _suggested(api: ApiClient, path: str, prompt_id: str) -> str:
    for group in msgspec.convert(await api.list_all(f"{path}/unanswered"), list[Group]):
        if group.id == prompt_id and group.suggested_answer is not None:
            return group.suggested_answer.content
    raise SetupError(f"No operator replied to {prompt_id!r}: give the answer itself.")


async def _call(settings: Settings, chatbot: str, call: Callable[[ApiClient, str], Awaitable[Any]]) -> Any:
    async with connected(settings) as api:
        found = await api.find_chatbot(chatbot)
        return await call(api, f"/chatbots/{found.id}")
