"""`gigachat chat`: a conversation in the terminal, or with each line of a pipe as a prompt."""

from __future__ import annotations

import asyncio
import sys
import termios
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click
import msgspec

from gigachat_server.cli.client import ApiClient, ApiProblem, connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import note, printable
from gigachat_server.errors import SetupError
from gigachat_server.ids import new_id
from gigachat_server.settings import Settings


class _Source(msgspec.Struct):
    name: str
    score: float


class _Message(msgspec.Struct):
    id: str
    role: str
    content: str
    sources: list[_Source] = []


@click.command()
@click.option("--chatbot", required=True, metavar="NAME_OR_ID", help="Whom to talk to.")
@click.option("--conversation", metavar="ID", help="Continue this conversation; a new one by default.")
@click.option("--user", default="cli", show_default=True, metavar="ID", help="Who you are; client:NAME speaks as staff.")
@with_settings(*EVERYWHERE)
def chat(settings: Settings, *, chatbot: str, conversation: str | None, user: str) -> None:
    """Talk to a chatbot. /quit or Ctrl-D ends it. From a pipe, each line is a prompt."""
    conversation = conversation or new_id()

    async def main() -> int:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            note(f"Conversation {conversation} with {found.name}")
            speaker = _Speaker(api, f"/chatbots/{found.id}/conversations", conversation, user)
            failed = 0
            with _restored_terminal():
                async for prompt in _prompts():
                    failed += not await speaker.say(prompt)
            return failed

    if failed := run(main()):
        raise SetupError(f"{failed} prompts got no reply.")


class _Speaker:
    """One side of the conversation."""

    def __init__(self, api: ApiClient, path: str, conversation: str, user: str) -> None:
        self._api = api
        self._path = path
        self._body = {"conversation_id": conversation, "user_id": user, "stream": True}

    async def say(self, prompt: str) -> bool:
        """Print the reply as it comes. Whether there was one."""
        printed, first = "", ""
        try:
            async with self._api.stream(self._path, {**self._body, "prompt": prompt}) as events:
                async for name, data in events:
                    if name == "start":
                        first = next(iter(data["message_ids"]), "")
                    elif name == "delta" and data["message_id"] == first:
                        printed += data["text"]
                        print(printable(data["text"]), end="", flush=True)
                    elif name == "message":
                        printed = _print_rest(msgspec.convert(data, _Message), printed)
                    elif name == "error":
                        raise ApiProblem(data["status"], data["code"], data["detail"])
        except ApiProblem as problem:
            if printed:
                print(flush=True)
            note(f"gigachat: {problem}")
            return False
        return True


def _print_rest(message: _Message, printed: str) -> str:
    """What of the reply has not been printed yet, and where it comes from."""
    if message.role != "assistant":
        note("(stored; nobody was asked to reply)")
        return printed
    if not printed:
        print(printable(message.content), end="")
    print(flush=True)
    if names := dict.fromkeys(source.name.rpartition("-")[0] for source in message.sources):
        note(printable("  from: " + ", ".join(names)))
    return ""


async def _prompts() -> AsyncIterator[str]:
    """What is typed, line by line, until /quit or the end of input."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    more = threading.Semaphore(1)

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            for line in _lines(more):
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    # A thread that nobody waits for: no one can take back the wait for a line, and Ctrl-C must end the command.
    threading.Thread(target=read, name="stdin", daemon=True).start()
    while (line := await lines.get()) is not None and line.strip() != "/quit":
        if line.strip():
            yield line.strip()
        more.release()


def _lines(more: threading.Semaphore) -> Iterator[str]:
    """Each line when it is wanted: the prompt sign comes after the reply before it."""
    if not sys.stdin.isatty():
        # Not sys.stdin: Python takes its lock when it ends, which this thread would hold while it waits.
        with open(sys.stdin.fileno(), encoding="utf-8", errors="replace", closefd=False) as piped:
            yield from piped
        return
    import readline  # noqa: F401 - gives input() a history and editing

    while more.acquire():
        try:
            yield input("> ")
        except EOFError:
            return


@contextmanager
def _restored_terminal() -> Iterator[None]:
    """Leaves the terminal as it was, even when Ctrl-C ends the command in the middle of a line."""
    if not sys.stdin.isatty():
        yield
        return
    before: list[Any] = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
