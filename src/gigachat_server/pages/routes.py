"""Every address of the pages, as data.

Invariant: a page is shown to whoever is signed in unless it says `is_public`; an address that takes a POST goes through
the same-origin and CSRF checks before its handler is called (the login, which has no session yet, through the first).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.responses import Response

from gigachat_server.pages import chat, conversation, docs, keys, login, models
from gigachat_server.pages.http import PageRequest, Site

Handler = Callable[[PageRequest, Site], Awaitable[Response]]

STATIC = "/static/"


class PageRoute(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str
    handler: Handler
    is_public: bool = False
    is_json: bool = False  # for our scripts: JSON comes in, and problems go out as JSON


ROUTES: tuple[PageRoute, ...] = (
    PageRoute(method="GET", path="/", handler=chat.show),
    PageRoute(method="POST", path="/web/chat", handler=conversation.say, is_json=True),
    PageRoute(method="GET", path="/web/chat/events", handler=conversation.follow, is_json=True),
    PageRoute(method="POST", path="/web/chat/stop", handler=conversation.stop, is_json=True),
    PageRoute(method="POST", path="/web/chat/retry", handler=conversation.retry, is_json=True),
    PageRoute(method="POST", path="/web/chat/rate", handler=conversation.rate, is_json=True),
    PageRoute(method="POST", path="/web/chat/takeover", handler=conversation.take_over, is_json=True),
    PageRoute(method="POST", path="/web/chat/release", handler=conversation.release, is_json=True),
    PageRoute(method="POST", path="/web/chatbots", handler=chat.create_chatbot),
    PageRoute(method="GET", path="/keys", handler=keys.show),
    PageRoute(method="POST", path="/keys", handler=keys.create),
    PageRoute(method="POST", path="/web/keys/revoke", handler=keys.revoke),
    PageRoute(method="GET", path="/models", handler=models.show),
    PageRoute(method="POST", path="/models", handler=models.test),
    PageRoute(method="GET", path="/login", handler=login.show, is_public=True),
    PageRoute(method="POST", path="/login", handler=login.sign_in, is_public=True),
    PageRoute(method="POST", path="/logout", handler=login.sign_out),
    PageRoute(method="GET", path="/docs", handler=docs.show, is_public=True),
)
