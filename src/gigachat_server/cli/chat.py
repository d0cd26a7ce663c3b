"""`gigachat chat`: a conversation in the terminal, or with each line of a pipe as a prompt."""

from __future__ import annotations

import asyncio
import signal
import sys
import termios
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from textwrap import shorten
from typing import Any
from urllib.parse import quote

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


class _Citation(msgspec.Struct):
    number: int
    text: str | None


class _Message(msgspec.Struct):
    id: str
    role: str
    content: str
    status: str = "completed"
    turn: str | None = None
    sources: list[_Source] = []
    citations: list[_Citation] = []


_LONGEST_QUOTE = 160  # characters

# What is printed instead of a reply, by the state of the prompt's turn.
_UNANSWERED = {
    None: "(stored; no reply was requested)",
    "intercepted": "(stored; an operator answers this conversation)",
    "interrupted": "(interrupted by a newer prompt)",
    "stopped": "(stopped)",
}


@click.command()
@click.option("--chatbot", required=True, metavar="NAME_OR_ID", help="The chatbot to talk to.")
@click.option("--conversation", metavar="ID", help="Conversation to continue. Default: a new one.")
@click.option("--user", default="cli", show_default=True, metavar="ID", help="Who you are; client:NAME speaks as staff.")
@with_settings(*EVERYWHERE)
def chat(settings: Settings, *, chatbot: str, conversation: str | None, user: str) -> None:
    """Talk to a chatbot. /quit or Ctrl-D ends it. From a pipe, each line is a prompt.

    Ctrl-C stops the reply that is being written, and keeps what was said; a second one leaves. Where the connection breaks,
    the prompt is sent again, but stored only once.
    """
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
        self._stop_path = f"{path}/{quote(conversation, safe='')}/stop"
        self._body = {"conversation_id": conversation, "user_id": user, "stream": True}

    async def say(self, prompt: str) -> bool:
        """Print the reply as it comes. Whether it went well."""
        printed, first = "", ""
        async with _interrupted_by(self._stop):
            try:
                async for event in self._api.converse(self._path, {**self._body, "prompt": prompt}):
                    if event.name == "start":
                        first = next(iter(event.data["message_ids"]), "")
                    elif event.name == "delta" and event.data["message_id"] == first:
                        # After a break it is told from its start again.
                        fresh = event.data["text"][max(0, len(printed) - event.data["offset"]) :]
                        printed += fresh
                        print(printable(fresh), end="", flush=True)
                    elif event.name == "message":
                        printed = _print_rest(msgspec.convert(event.data, _Message), printed)
                    elif event.name == "error":
                        raise ApiProblem(event.data["status"], event.data["code"], event.data["detail"])
            except ApiProblem as problem:
                if printed:
                    print(flush=True)
                note(f"gigachat: {problem}")
                return False
        return True

    async def _stop(self) -> None:
        """Stop the reply, if it is still running; the stream reports the outcome."""
        with suppress(SetupError):
            await self._api.post(self._stop_path, embedding="false")


@asynccontextmanager
async def _interrupted_by(stop: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Within this block the first Ctrl-C calls `stop`; the next does what it does elsewhere, which is to end the command."""
    loop, usual = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
    stopping: list[asyncio.Task[None]] = []

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, usual)
        stopping.append(asyncio.create_task(stop()))

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, usual)
        await asyncio.gather(*stopping)  # or it might stop the reply to the next prompt


def _print_rest(message: _Message, printed: str) -> str:
    """What of the reply has not been printed yet, what became of it, and where it comes from."""
    if message.role != "assistant":
        note(_UNANSWERED.get(message.turn, _UNANSWERED[None]))
        return printed
    rest = message.content.removeprefix(printed) if printed else message.content
    print(printable(rest), flush=True)
    if message.status == "stopped":
        note("  (stopped)")
    for line in _evidence(message):
        note(printable(f"  {line}"))
    return ""


def _evidence(message: _Message) -> Iterator[str]:
    """What each marker stands for, each span once; of a reply that cites nothing, the documents it was made from."""
    names = [source.name.rpartition("-")[0] for source in message.sources]
    for number, text in dict.fromkeys((each.number, each.text) for each in message.citations):
        quoted = shorten(text, _LONGEST_QUOTE, placeholder=" …") if text else ""
        yield f"[{number}] {names[number - 1]}" + (f": “{quoted}”" if quoted else "")
    if names and not message.citations:
        yield "from: " + ", ".join(dict.fromkeys(names))


async def _prompts() -> AsyncIterator[str]:
    """What is typed, line by line, until /quit or the end of input."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    more = threading.Semaphore(1)

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed
            for line in _lines(more):
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    # A daemon thread: waiting for a line cannot be cancelled, and Ctrl-C must end the command.
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
