"""A request of a widget: where our server is for the browser, and in which language it is answered."""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

from starlette.types import Scope

from gigachat_server.edge.request import Authoriser, B, Request
from gigachat_server.errors import Forbidden
from gigachat_server.pages.request import origin_of
from gigachat_server.settings import Settings
from gigachat_server.widget.strings import Strings, strings

_LONGEST_LOCALE = 35


class WidgetRequest(Request[B]):
    def __init__(self, scope: Scope, authoriser: Authoriser, settings: Settings) -> None:
        super().__init__(scope, authoriser, trusted=settings.proxy_networks)
        self.origin = origin_of(scope, self.headers, settings)  # this server's, as the browser sees it

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
