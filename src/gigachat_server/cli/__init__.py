"""The command `gigachat`: which commands there are, and how they end.

Invariant: a command's module is imported when it is called, so `gigachat --help` answers at once; every error ends in one line
on stderr and an exit status: 1 for a failure, 2 for wrong usage, 130 for Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import NamedTuple

import click

from gigachat_server.errors import SetupError

_INTERRUPTED = 130


class Entry(NamedTuple):
    """A command to import on demand: its module, its attribute, and its line in the list of commands."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "serve": Entry("serve", "serve", "Run the server."),
    "keys": Entry("keys", "keys", "Create, list and revoke API keys."),
    "tokens": Entry("end_users", "tokens", "Open sessions for end users, and turn users out."),
    "identity-keys": Entry(
        "end_users", "identity_keys", "Create, list and revoke the keys that tokens of your users are signed with."
    ),
    "widget-keys": Entry("end_users", "widget_keys", "Create, list, switch and revoke keys for visitors of your pages."),
    "operators": Entry("operators", "operators", "Create, list, invite and disable the people who sign in to the pages."),
    "chatbots": Entry("chatbots", "chatbots", "Create, list, show and delete chatbots."),
    "limits": Entry("limits", "limits", "Show and set how much a chatbot's end users and API keys may use."),
    "documents": Entry("documents", "documents", "Push, list, search and delete a chatbot's documents."),
    "sites": Entry("sites", "sites", "Crawl pages, sitemaps and sites as documents."),
    "chat": Entry("chat", "chat", "Talk to a chatbot."),
    "conversations": Entry("conversations", "conversations", "Read, follow, take over and release conversations."),
    "figures": Entry("figures", "figures", "Show what a chatbot did, by day."),
    "unanswered": Entry("unanswered", "unanswered", "List, answer, dismiss and replay unanswered prompts."),
    "fixed-answers": Entry("fixed_answers", "fixed_answers", "List, add and delete answers that are given word for word."),
    "eval": Entry("evaluate", "evaluate", "Measure how well a chatbot answers a set of questions."),
    "doctor": Entry("doctor", "doctor", "Check this installation and say how to fix it."),
    "backup": Entry("backup", "backup", "Back everything up into one file, while servers run."),
    "restore": Entry("restore", "restore", "Put a backup into a store."),
    "move": Entry("move", "move", "Copy one store into another: SQLite to PostgreSQL, or back."),
    "migrate": Entry("migrate", "migrate_store", "Migrate the store to this version's schema, or show what would change."),
    "bench": Entry("bench", "bench", "Measure how fast this machine serves."),
    "models": Entry("models", "models", "List and test models of endpoints; fetch the embedding model."),
    "version": Entry("version", "version", "Print the version."),
}


class LazyGroup(click.Group):
    """A group that knows its commands only by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        from gigachat_server.settings import prepare_libraries  # `--help` does not need the settings

        prepare_libraries()
        command = getattr(importlib.import_module(f"gigachat_server.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def gigachat() -> None:
    """The self-hosted conversation backend: push documents, get a chatbot that answers from them.

    Commands work while a server runs on the same data folder, and while none does.
    """


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    try:
        status = gigachat.main(arguments, prog_name="gigachat", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except SetupError as error:
        print(f"gigachat: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output closed the pipe; Python must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0
