"""Write the pages of docs/ that are made from the program itself: write_docs.py [--check]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import write_api_reference
import write_file_table
from gigachat_server import settings

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.mistakes import ID, Mistake  # noqa: E402
from tests.mistakes import MISTAKES as TABLE  # noqa: E402

SETTINGS = """\
# Settings

Every setting is a flag of `gigachat serve` and an environment variable; the flag wins, and an empty variable counts as
unset. An unknown variable that starts with `GIGACHAT_` stops the start, because it is probably a typing error. Commands
other than `serve` take `--data` and `--account` as flags and read everything else from the variables.

Everyone on the machine can see flags, so pass secrets as variables.

"""


def settings_page() -> str:
    return SETTINGS + "\n".join(_settings_table()) + "\n"


def _settings_table() -> Iterator[str]:
    yield "| variable | flag | default | meaning |"
    yield "|---|---|---|---|"
    for info in settings.table():
        default = f"`{info.default}`" if info.default != "" else ""
        yield f"| `{info.variable}` | `{info.flag}` | {default} | {_meaning(info)} |"


def _meaning(info: settings.SettingInfo) -> str:
    choices = [f"`{choice}`" for choice in get_args(info.type.__origin__)]
    allowed = f" One of {', '.join(choices)}." if choices else ""
    secret = " A secret." if info.secret else ""
    return (info.description + allowed + secret).replace("|", "\\|")


DECISIONS = """\
# Decisions

Each page records one decision that is hard to undo: its context, its consequences, and the alternatives with what was measured.
A page describes the day it was written; where a later decision changes it, the later one says so.

"""


def decisions_page() -> str:
    """A list of the decisions by number, from the pages' own titles."""
    pages = sorted(path for path in (ROOT / "docs" / "decisions").glob("*.md") if path.name != "README.md")
    titles = [path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in pages]
    return DECISIONS + "".join(f"- [{title}]({path.name})\n" for title, path in zip(titles, pages, strict=True))


MISTAKES = """\
# Mistakes

What people get wrong when they first call the API, and what the answer tells them: in `detail`, or for a field in `errors`.
Without a key an answer says nothing about what is stored. Each row is tested.

| mistake | request | answer |
|---|---|---|
"""


def mistakes_page() -> str:
    return MISTAKES + "".join(
        f"| {each.what} | {_request(each)} | {each.status} `{each.code}`: {_cell(each.told)} |\n" for each in TABLE
    )


def _request(mistake: Mistake) -> str:
    path = mistake.path.replace("$BOT", "/chatbots/ID").replace(ID, "ID")
    return f"`{mistake.method} {path}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/settings.md": settings_page,
    "docs/reference/api.md": write_api_reference.page,
    "docs/reference/mistakes.md": mistakes_page,
    "docs/decisions/README.md": decisions_page,
    "docs/explanation/architecture.md": write_file_table.page,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not what would be written")
    is_check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path = ROOT / name
        if not is_check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(page(), encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != page():
            stale.append(name)
    if stale:
        sys.exit(f"{', '.join(stale)}: not up to date; run `make docs`.")


if __name__ == "__main__":
    main()
