"""What every section of the settings has: the rail with the sections that the visitor may see, and what was done last.

Invariant: a section that the visitor may not open is not named, and `routes.py` refuses it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from gigachat_server.access.scopes import Scope
from gigachat_server.pages.context import PageContext, redirect
from gigachat_server.pages.request import PageRequest


class Section(msgspec.Struct, frozen=True):
    """`needs`: the scopes without which it is not shown."""

    name: str
    title: str
    group: str
    needs: tuple[Scope, ...]


SECTIONS = (
    Section("", "Overview", "", (Scope.CHATBOTS_READ,)),
    Section("knowledge", "Knowledge", "Teach", (Scope.DOCUMENTS_READ,)),
    Section("relevance", "Relevance", "Teach", (Scope.DOCUMENTS_READ,)),
    Section("answers", "Fixed answers", "Teach", (Scope.DOCUMENTS_READ,)),
    Section("unanswered", "Unanswered", "Teach", (Scope.CONVERSATIONS_READ,)),
    Section("persona", "Persona and model", "Behave", (Scope.CHATBOTS_WRITE,)),
    Section("takeover", "Human takeover", "Behave", (Scope.CHATBOTS_WRITE,)),
    Section("replies", "Canned replies", "Behave", (Scope.MESSAGES_INJECT,)),
    Section("limits", "Limits and prices", "Behave", (Scope.CHATBOTS_WRITE,)),
    Section("compare", "Compare", "Behave", (Scope.CONVERSATIONS_READ, Scope.CHATBOTS_WRITE)),
    Section("access", "Access and widget", "Publish", (Scope.ACCESS_WRITE,)),
)

# What a redirect may say was done.
DONE = {
    "saved": "Saved.",
    "created": "Your chatbot is there. Now give it something to answer from.",
    "pasted": "The text was added. It can be found as soon as it is ready.",
    "document-deleted": "The document was deleted.",
    "site-added": "The crawl has begun.",
    "site-crawled": "It is crawled again.",
    "site-removed": "The site and its documents were removed.",
    "answer-saved": "Saved. The next prompt gets this answer.",
    "answer-deleted": "The fixed answer was deleted.",
    "reply-saved": "Saved. Operators find it in the inbox with / and its shortcut.",
    "reply-deleted": "The canned reply was deleted.",
    "answered": "Answered: the whole group is settled.",
    "dismissed": "Dismissed.",
    "key-saved": "The widget key was saved.",
    "key-revoked": "The key was revoked.",
    "chatbot-deleted": "The chatbot was deleted, with its documents and conversations.",
}


def path_of(request: PageRequest[Any], section: str = "") -> str:
    return f"/settings/{request.chatbot.id}" + (f"/{section}" if section else "")


def done(request: PageRequest[Any], section: str, what: str) -> Response:
    """Back to the section, which says what was done."""
    return redirect(f"{path_of(request, section)}?done={what}")


async def render(
    request: PageRequest[Any],
    context: PageContext,
    section: str,
    *,
    status: int = 200,
    template: str = "",
    **values: Any,
) -> Response:
    """A page of the section, by default the one called as it is."""
    shown = next(each for each in SECTIONS if each.name == section)
    return await context.page(
        request,
        f"settings/{template or section or 'overview'}.html",
        status=status,
        chatbot=request.chatbot,
        section=shown,
        sections=[each for each in SECTIONS if all(request.may(scope) for scope in each.needs)],
        may=request.may,
        done=DONE.get(request.query.get("done", "")) if status == 200 else None,
        **values,
    )
