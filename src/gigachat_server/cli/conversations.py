"""`gigachat conversations`: reads, follows and takes over conversations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import click
import msgspec

from gigachat_server.cli.client import ApiClient, Happening, connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table, printable
from gigachat_server.settings import Settings

of_chatbot = click.option("--chatbot", required=True, metavar="NAME_OR_ID", help="Whose conversations.")
as_operator = click.option("--as", "operator", required=True, metavar="NAME", help="Who you are, as the end user sees it.")
conversation_id = click.argument("conversation", metavar="CONVERSATION")

_BOT = "bot"


class Conversation(msgspec.Struct):
    """What the list shows of a conversation."""

    conversation_id: str
    user_id: str | None
    controlled_by: str
    handoff_requested_at: str | None
    updated_at: str


class Message(msgspec.Struct):
    """What is shown of a message."""

    id: str
    seq: int
    role: str
    user_id: str
    name: str
    content: str
    status: str
    turn: str | None
    replaced_by: str | None
    created_at: str


@click.group()
def conversations() -> None:
    """Read, follow, take over and release conversations."""


@conversations.command("list")
@of_chatbot
@as_json
@with_settings(*EVERYWHERE)
def list_(settings: Settings, *, chatbot: str, is_json: bool) -> None:
    """List a chatbot's conversations, most recently active first."""
    found = run(_call(settings, chatbot, lambda api, path: api.list_all(path)))
    if is_json:
        print_json(found)
        return
    rows = [
        (
            each.conversation_id,
            each.user_id or "",
            each.controlled_by,
            day_and_time(each.handoff_requested_at),
            day_and_time(each.updated_at),
        )
        for each in msgspec.convert(found, list[Conversation])
    ]
    columns = ("CONVERSATION", "USER", "ANSWERED BY", "ASKED FOR A HUMAN", "CHANGED")
    print_table(columns, rows, nothing="There are no conversations.")


@conversations.command()
@conversation_id
@of_chatbot
@as_json
@with_settings(*EVERYWHERE)
def show(settings: Settings, *, conversation: str, chatbot: str, is_json: bool) -> None:
    """Print a conversation from its first message to its last."""

    def messages(api: ApiClient, path: str) -> Awaitable[Any]:
        return api.list_all(f"{_below(path, conversation)}/messages", embedding="false")

    found = run(_call(settings, chatbot, messages))
    if is_json:
        print_json(found)
        return
    for message in msgspec.convert(found, list[Message]):
        print(_heading(message))
        print(printable(message.content) + "\n")


@conversations.command()
@click.argument("conversation", required=False, metavar="[CONVERSATION]")
@of_chatbot
@click.option("--after", default="", metavar="ID", help="Resume after this event, by the id that --json shows.")
@as_json
@with_settings(*EVERYWHERE)
def follow(settings: Settings, *, conversation: str | None, chatbot: str, after: str, is_json: bool) -> None:
    """Print events as they happen.

    In one conversation from its start, else in all from now on, until Ctrl-C. A connection that breaks is taken up again where
    it was, in the middle of a word if need be.

    \b
    gigachat conversations follow --chatbot Superbot
    gigachat conversations follow 12345 --chatbot Superbot --json | jq .type
    """
    shown = _print_event if is_json else _Told(is_one=conversation is not None).tell

    async def main() -> None:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            path = f"/chatbots/{found.id}"
            followed = f"{_below(f'{path}/conversations', conversation)}/events" if conversation else f"{path}/events"
            async for happening in api.follow(followed, after=after):
                shown(happening)

    run(main())


@conversations.command()
@conversation_id
@of_chatbot
@as_operator
@click.option("--force", is_flag=True, help="Take it from another operator too.")
@with_settings(*EVERYWHERE)
def takeover(settings: Settings, *, conversation: str, chatbot: str, operator: str, force: bool) -> None:
    """Take a conversation over from the chatbot.

    It falls silent at once, in the middle of a word if need be; prompts are stored and left to you until release.

    \b
    gigachat conversations takeover 12345 --chatbot Superbot --as bob
    gigachat conversations say 12345 "Hello, this is Bob." --chatbot Superbot --as bob
    gigachat conversations release 12345 --chatbot Superbot
    """
    body = {"operator": operator, "force": force}
    taken = run(_call(settings, chatbot, lambda api, path: api.post_once(f"{_below(path, conversation)}/takeover", body)))
    note(f"{printable(taken['controlled_by'])} answers {printable(conversation)}; the chatbot is silent until release.")


@conversations.command()
@conversation_id
@of_chatbot
@with_settings(*EVERYWHERE)
def release(settings: Settings, *, conversation: str, chatbot: str) -> None:
    """Give a conversation back to the chatbot.

    It answers the next prompt.
    """
    run(_call(settings, chatbot, lambda api, path: api.post_once(f"{_below(path, conversation)}/release")))
    note(f"The chatbot answers {printable(conversation)} again.")


@conversations.command()
@conversation_id
@of_chatbot
@with_settings(*EVERYWHERE)
def stop(settings: Settings, *, conversation: str, chatbot: str) -> None:
    """Stop the running reply.

    What was said of it is kept; what waits behind it is not begun.
    """

    def ended_by(api: ApiClient, path: str) -> Awaitable[Any]:
        return api.post_once(f"{_below(path, conversation)}/stop", embedding="false")

    ended = run(_call(settings, chatbot, ended_by))
    note(f"Stopped; {len(ended)} messages were stored." if ended else "No reply was running.")


@conversations.command()
@conversation_id
@click.argument("text", metavar="TEXT")
@of_chatbot
@as_operator
@with_settings(*EVERYWHERE)
def say(settings: Settings, *, conversation: str, text: str, chatbot: str, operator: str) -> None:
    """Speak in a conversation as an operator.

    The message is stored at once, seen by the end user and by the chatbot, and not answered.
    """
    body = {"conversation_id": conversation, "user_id": f"client:{operator}", "prompt": text}
    said = run(_call(settings, chatbot, lambda api, path: api.post_once(path, body, embedding="false")))
    note(f"Stored as message {said[0]['seq']} of {printable(conversation)}.")


async def _call(settings: Settings, chatbot: str, call: Callable[[ApiClient, str], Awaitable[Any]]) -> Any:
    """What the call answers; it is given the path of that chatbot's conversations."""
    async with connected(settings) as api:
        found = await api.find_chatbot(chatbot)
        return await call(api, f"/chatbots/{found.id}/conversations")


def _below(path: str, conversation: str) -> str:
    return f"{path}/{quote(conversation, safe='')}"


# --- for people ---


def _heading(message: Message) -> str:
    """Who spoke, when, and the message's state."""
    who = message.name or message.user_id
    states = [message.role, message.turn if message.turn != "done" else None]
    states += [message.status if message.status != "completed" else None, "replaced" if message.replaced_by else None]
    known = ", ".join(state for state in states if state)
    return printable(f"[{message.seq}] {day_and_time(message.created_at)} {who} ({known})")


def _print_event(happening: Happening) -> None:
    print(msgspec.json.encode({"id": happening.place, **_typed(happening)}).decode(), flush=True)


def _typed(happening: Happening) -> dict[str, Any]:
    """A piece of a reply looks like an event too."""
    data: dict[str, Any] = happening.data
    return {"type": "delta", **data} if happening.name == "delta" else data


class _Told:
    """Prints events for a person: the words of a reply as they come, everything else on a line each."""

    def __init__(self, *, is_one: bool) -> None:
        self._is_one = is_one
        self._writing = ""  # the id of the message whose words came last

    def tell(self, happening: Happening) -> None:
        data = happening.data
        if happening.name == "delta":
            if self._writing != data["message_id"]:
                self._end_line()
                self._writing = data["message_id"]
            print(printable(data["text"]), end="", flush=True)
            return
        if happening.name == "message.created" and data["message"] is not None:
            self._tell_message(msgspec.convert(data["message"], Message), data["conversation_id"])
        else:
            self._end_line()
            print(self._line(data), flush=True)

    def _tell_message(self, message: Message, conversation: str) -> None:
        was_told = self._writing == message.id
        self._end_line()
        where = "" if self._is_one else f"{printable(conversation)} "
        print(where + _heading(message), flush=True)
        if not was_told:
            print(printable(message.content), flush=True)

    def _line(self, data: dict[str, Any]) -> str:
        where = "" if self._is_one else f"{data['conversation_id']} "
        told = [str(value) for name, value in data["data"].items() if value and not name.endswith("_id")]
        return printable(f"{where}[{data['seq']}] {day_and_time(data['created_at'])} {' '.join([data['type'], *told])}")

    def _end_line(self) -> None:
        if self._writing:
            print(flush=True)
            self._writing = ""
