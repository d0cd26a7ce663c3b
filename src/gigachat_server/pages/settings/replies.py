"""Canned replies: words that operators often need, which the inbox offers by their shortcut."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from gigachat_server.api.inbox import CannedReplyInput
from gigachat_server.edge.body import convert
from gigachat_server.errors import Conflict, FieldError, InvalidRequest, NotFound
from gigachat_server.ids import is_id
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest
from gigachat_server.pages.settings import forms
from gigachat_server.pages.settings.page import done, render
from gigachat_server.records import CannedReply

FIELDS = (
    forms.field(
        CannedReplyInput, "shortcut", "Shortcut", hint="One word. Operators type / and its beginning.", placeholder="refund"
    ),
    forms.field(
        CannedReplyInput,
        "content",
        "What it says",
        rows=5,
        hint="`{name}` becomes the end user’s name, `{operator}` the operator’s, and `{chatbot}` the chatbot’s.",
    ),
)
_NEW = CannedReplyInput(shortcut="", content="")
_PER_PAGE = 50


class ReplyView(msgspec.Struct, frozen=True):
    """A canned reply, and its form. `is_refused`: the form holds what was typed and refused."""

    reply: CannedReply
    controls: forms.Controls
    is_refused: bool = False


async def show(request: PageRequest[None], context: PageContext) -> Response:
    return await _page(request, context)


async def act(request: PageRequest[None], context: PageContext) -> Response:
    """Save a new one, or what becomes of the one that the form names; or delete that."""
    replies, form = context.services.canned_replies, request.form
    reply_id = form.get("id", "")
    if reply_id and not is_id(reply_id):
        raise NotFound
    match form.get("do"):
        case "save":
            try:
                wanted = convert(forms.patch_of(FIELDS, form), CannedReplyInput)
                await replies.put(
                    request.principal, request.chatbot, reply_id or None, shortcut=wanted.shortcut, content=wanted.content
                )
            except (InvalidRequest, Conflict) as error:
                errors = error.errors or (FieldError("shortcut", error.detail or error.message),)
                return await _page(request, context, status=error.status, refused=forms.show_again(FIELDS, form, errors))
            return done(request, "replies", "reply-saved")
        case "delete":
            await replies.delete(request.principal, request.chatbot, reply_id)
            return done(request, "replies", "reply-deleted")
        case _:
            raise InvalidRequest(errors=(FieldError("do", "Is not known."),))


async def _page(
    request: PageRequest[None], context: PageContext, *, status: int = 200, refused: forms.Controls | None = None
) -> Response:
    after = request.query.get("after", "")
    found = await context.services.canned_replies.list(request.principal, request.chatbot, after=after, limit=_PER_PAGE + 1)
    refused_id = None if refused is None else request.form.get("id", "")
    views = [
        ReplyView(each, refused, is_refused=True)
        if refused is not None and each.id == refused_id
        else ReplyView(each, forms.show(FIELDS, each))
        for each in found[:_PER_PAGE]
    ]
    return await render(
        request,
        context,
        "replies",
        status=status,
        views=views,
        further=found[_PER_PAGE - 1].shortcut if len(found) > _PER_PAGE else "",
        new=refused if refused is not None and not refused_id else forms.show(FIELDS, _NEW),
        is_new_open=refused_id == "" or not (found or after),
    )
