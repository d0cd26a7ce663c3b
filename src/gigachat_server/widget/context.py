"""What the widget works with: templates, files, and what a widget key opens."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from gigachat_server.pages.static_files import StaticFiles
from gigachat_server.services import Services
from gigachat_server.widget.files import Files

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"


class WidgetContext:
    """Templates are compiled, and their libraries imported, when the first of them is needed."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.root = services.settings.public_path
        self.files = Files(self.root)

    async def render(self, template: str, **values: object) -> str:
        """The template filled in, away from the event loop."""
        return await asyncio.to_thread(lambda: self._templates.get_template(template).render(values))

    @functools.cached_property
    def _templates(self) -> jinja2.Environment:
        return templates_of_widget(self.files)


def templates_of_widget(files: Files) -> jinja2.Environment:
    """Those of the frame, with the addresses of its files."""
    from gigachat_server.pages.rendering import templates_of

    made = templates_of(TEMPLATES)
    made.globals["static"] = files.url
    made.globals["icon_url"] = StaticFiles(files.root).url("icon.svg")
    return made
