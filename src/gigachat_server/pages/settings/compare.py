"""Replaying stored prompts for a chatbot as it might be: what would change, before anything is published.

Idea: the draft is a form like any other, kept nowhere; its results arrive one by one, as HTML. Publishing the draft is saving it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
from starlette.responses import Response

from gigachat_server.api import learning_wire, sse
from gigachat_server.api.chatbots import merged_config
from gigachat_server.edge.problem import problem
from gigachat_server.errors import ChangedMeanwhile, FieldError, GigachatError, InvalidRequest
from gigachat_server.learning.replay import ReplayResult, Selection
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest
from gigachat_server.pages.settings import forms
from gigachat_server.pages.settings.config import PERSONA, problems_of, save_config
from gigachat_server.pages.settings.page import done, render
from gigachat_server.pages.settings.relevance import FIELDS as RELEVANCE
from gigachat_server.records import Chatbot

FIELDS = (*PERSONA.fields, *RELEVANCE)
_SHOWN = (
    "response.system_persona",
    "response.model",
    "response.temperature",
    "documents.results.match_threshold",
    "documents.results.match_count",
    "documents.results.when_nothing_matches",
)
COUNTS = ("10", "25", "50", "100")


async def show(request: PageRequest[None], context: PageContext) -> Response:
    return await _page(request, context, forms.show(FIELDS, request.chatbot.config))


async def act(request: PageRequest[None], context: PageContext) -> Response:
    """Show a draft that another section's form holds, or put one in place."""
    fields = _fields(request)
    typed = forms.show(FIELDS, request.chatbot.config) | forms.show_again(fields, request.form, ())
    try:
        if request.form.get("do") == "draft":
            _draft(request, fields)
            return await _page(request, context, typed)
        await save_config(request, context, fields)
    except (InvalidRequest, ChangedMeanwhile) as error:
        typed |= forms.show_again(fields, request.form, error.errors)
        return await _page(request, context, typed, status=error.status, problems=problems_of(error, fields))
    return done(request, "compare", "saved")


async def run(request: PageRequest[None], context: PageContext) -> Response:
    """The results for the draft, each as it comes."""
    replay, form = context.services.replay, request.form
    replay.admit(request.principal, request.chatbot)
    draft = _draft(request, _fields(request))
    limit = form.get("limit", "")
    if limit not in COUNTS:
        raise InvalidRequest(errors=(FieldError("limit", f"Must be one of {', '.join(COUNTS)}."),))
    selection = Selection(limit=int(limit), is_of_unanswered=form.get("which") == "unanswered")
    prompts = await replay.select(draft.id, selection)
    running = replay.run(draft, prompts, idle_s=sse.PING_S)
    return sse.EventStream(_results(request, context, running, len(prompts)))


async def _results(
    request: PageRequest[None], context: PageContext, running: AsyncGenerator[ReplayResult | None, None], count: int
) -> AsyncGenerator[bytes, None]:
    told: list[ReplayResult] = []
    yield sse.event("start", {"count": count})
    try:
        async with aclosing(running):
            async for each in running:
                if each is None:
                    yield sse.PING
                    continue
                await request.reauthorise()
                told.append(each)
                html = await context.render("settings/replayed.html", turn=learning_wire.replayed(each))
                yield sse.event("turn", {"changed": each.comparison.changed, "html": html})
    except GigachatError as error:
        told_of = problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root)
        yield sse.event("error", told_of)
        return
    yield sse.event("done", {"html": await context.render("settings/replay_summary.html", summary=learning_wire.summary(told))})


def _fields(request: PageRequest[None]) -> tuple[forms.Field, ...]:
    """Those that the form has: boxes that are not ticked are not sent, so their section tells."""
    sent = request.form
    persona = PERSONA.fields if PERSONA.fields[0].path in sent and "response.overlap" in sent else ()
    relevance = RELEVANCE if RELEVANCE[0].path in sent and "documents.results.prompts" in sent else ()
    return (*persona, *relevance) or tuple(each for each in FIELDS if each.path in _SHOWN)


def _draft(request: PageRequest[None], fields: Sequence[forms.Field]) -> Chatbot:
    """The chatbot as the form describes it. Raises `InvalidRequest`."""
    _, config = merged_config(request.chatbot, forms.patch_of(fields, request.form))
    return msgspec.structs.replace(request.chatbot, config=config)


async def _page(
    request: PageRequest[None],
    context: PageContext,
    controls: forms.Controls,
    *,
    status: int = 200,
    problems: Sequence[str] = (),
) -> Response:
    held = forms.show(FIELDS, request.chatbot.config)
    return await render(
        request,
        context,
        "compare",
        status=status,
        shown=[controls[path] for path in _SHOWN],
        others=[control for path, control in controls.items() if path not in _SHOWN],
        changed=[control.field.label for path, control in controls.items() if control.value != held[path].value],
        counts=COUNTS,
        problems=problems,
    )
