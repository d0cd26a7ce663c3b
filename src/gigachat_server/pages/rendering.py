"""Templates to HTML. Invariant: whatever is put into a template is escaped, unless `markdown` or another template made it.

Importing this module costs a tenth of a second: only `Site.render` does, when the first page is asked for.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from gigachat_server.clock import wire_time
from gigachat_server.language.invisible import without_misleading
from gigachat_server.pages.markdown import markdown
from gigachat_server.pages.static_files import StaticFiles
from gigachat_server.pages.views import shown_score

FOLDER = Path(__file__).parent / "templates"


@functools.lru_cache(maxsize=1)
def environment(static: StaticFiles) -> jinja2.Environment:
    """The pages' templates."""
    templates = templates_of(FOLDER)
    templates.globals["static"] = static.url
    templates.globals["root"] = static.root
    return templates


def templates_of(folder: Path) -> jinja2.Environment:
    """Those in a folder, with the filters that ours use."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters["markdown"] = markdown
    templates.filters["prose"] = _prose
    templates.filters["when"] = _when
    templates.filters["wire_time"] = wire_time
    templates.filters["initials"] = _initials
    templates.filters["relevance"] = shown_score
    templates.filters["visible"] = without_misleading  # for attributes, where no `<bdi>` can stand
    return templates


def _prose(text: str) -> Markup:
    """A line of our own documentation: what stands between backquotes is code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def _initials(name: str) -> str:
    """Of the first and the last word of a name: two letters at most."""
    words = [word for word in without_misleading(name).split() if word[0].isalnum()] or [name]
    return "".join(word[0] for word in dict.fromkeys((words[0], words[-1]))).upper()


def _when(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime("%d %b %Y, %H:%M UTC")
