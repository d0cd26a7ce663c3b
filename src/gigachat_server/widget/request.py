"""A request of a widget: whether our own frame sent it, and in which language it is answered."""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

from starlette.types import Scope

from gigachat_server.edge.request import Authoriser, B, Request
from gigachat_server.errors import Forbidden
from gigachat_server.settings import Settings
from gigachat_server.widget.strings import Strings, strings

_LONGEST_LOCALE = 35


class WidgetRequest(Request[B]):
    def __init__(self, scope: Scope, authoriser: Authoriser, settings: Settings) -> None:
        super().__init__(scope, authoriser, trusted=settings.proxy_networks)

    @functools.cached_property
    def strings(self) -> Strings:
        """As the page wants them, else as the browser does."""
        return strings(self.query.get("locale", "")[:_LONGEST_LOCALE], self.headers.get("accept-language", ""))

    def check_same_origin(self) -> None:
        """Raises `Forbidden` unless our own frame sent it."""
        site = self.headers.get("sec-fetch-site")
        origin = self.headers.get("origin", "")
        if site != "same-origin" and urlsplit(origin).netloc != urlsplit(self.origin).netloc:
            raise Forbidden("This request did not come from a chat of this server.")
