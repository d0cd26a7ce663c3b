"""Every address of the widget, as data.

Invariant: what is public is the same for everybody who names a live key, and changes nothing; all else is for an end user, by
the session or token in `Authorization`, and a POST comes from our own frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic

from starlette.responses import Response

from gigachat_server.access.scopes import Scope
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import B
from gigachat_server.edge.routes import PUBLIC, AnyRoute
from gigachat_server.widget import conversation, frame
from gigachat_server.widget.context import WidgetContext
from gigachat_server.widget.request import WidgetRequest

Handler = Callable[[WidgetRequest[B], WidgetContext], Awaitable[Answer | Response]]

WIDGET = "/widget/{chatbot_id}"


class PublicRoute(AnyRoute, frozen=True, kw_only=True):
    """What a page loads before anybody has said anything."""

    method: str = "GET"
    scope: str = PUBLIC  # type: ignore[assignment]
    handler: Handler[None]
    request: None = None


class ReadRoute(AnyRoute, frozen=True, kw_only=True):
    method: str = "GET"
    scope: Scope = Scope.CONVERSATIONS_READ
    handler: Handler[None]
    request: None = None
    end_user: str = "own"  # type: ignore[assignment]
    is_guarded: bool = True


class ActRoute(AnyRoute, Generic[B], frozen=True, kw_only=True):
    """What the frame has done."""

    method: str = "POST"
    scope: Scope = Scope.CONVERSATIONS_WRITE
    handler: Handler[B]
    request: type[B]
    end_user: str = "own"  # type: ignore[assignment]
    is_guarded: bool = True


# fmt: off
ROUTES = (
    PublicRoute(path="/widget.js", handler=frame.loader),
    PublicRoute(path=WIDGET, handler=frame.show),
    PublicRoute(path=WIDGET + "/settings.js", handler=frame.settings),
    PublicRoute(path="/chat/{chatbot_id}", handler=frame.show_directly),
    ReadRoute(path=WIDGET + "/conversations", handler=conversation.list_all),
    ReadRoute(path=WIDGET + "/conversation", handler=conversation.show),
    ReadRoute(path=WIDGET + "/events", handler=conversation.follow),
    ActRoute(path=WIDGET + "/session", scope=Scope.TOKENS_WRITE, handler=conversation.open_session,
             request=conversation.SessionInput),
    ActRoute(path=WIDGET + "/prompt", handler=conversation.say, request=conversation.PromptInput, is_prompt=True),
    ActRoute(path=WIDGET + "/retry", handler=conversation.retry, request=conversation.RetryInput, is_prompt=True),
    ActRoute(path=WIDGET + "/stop", handler=conversation.stop, request=conversation.ConversationInput),
    ActRoute(path=WIDGET + "/rate", handler=conversation.rate, request=conversation.RateInput),
    ActRoute(path=WIDGET + "/handoff", handler=conversation.hand_off, request=conversation.ConversationInput),
    ActRoute(path=WIDGET + "/read", handler=conversation.mark_read, request=conversation.ReadInput),
    ActRoute(path=WIDGET + "/typing", handler=conversation.type_, request=conversation.ConversationInput),
    ActRoute(path=WIDGET + "/csat", handler=conversation.score, request=conversation.ScoreInput),
    ActRoute(path=WIDGET + "/profile", handler=conversation.tell, request=conversation.ProfileInput),
)
# fmt: on


class RouteTable:
    """Finds routes by path: at most one segment of each names a chatbot."""

    def __init__(self) -> None:
        self._by_shape: dict[tuple[str, ...], dict[str, AnyRoute]] = {}
        for route in ROUTES:
            shape = tuple("" if segment.startswith("{") else segment for segment in route.path.split("/")[1:])
            self._by_shape.setdefault(shape, {})[route.method] = route

    def find(self, path: str) -> tuple[dict[str, AnyRoute], dict[str, str]] | None:
        """The routes of a path by method, and what it names."""
        segments = tuple(path.split("/")[1:])
        if found := self._by_shape.get(segments):
            return found, {}
        if len(segments) < 2 or not segments[1]:
            return None
        shape = (segments[0], "", *segments[2:])
        return (found, {"chatbot_id": segments[1]}) if (found := self._by_shape.get(shape)) else None
