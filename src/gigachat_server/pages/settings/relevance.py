"""What counts as an answer: the threshold and what stands beside it, with a live test before anything is saved.

Idea: the test is the search of a turn (`api/retrieval.py`) for the chatbot as the form describes it, so what is shown is what
would happen. Nothing of a test is stored.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec
from starlette.responses import Response

from gigachat_server.api import retrieval
from gigachat_server.api.chatbots import merged_config
from gigachat_server.api.wire import WirePassage, WireRetrieval
from gigachat_server.errors import ChangedMeanwhile, FieldError, InvalidRequest
from gigachat_server.language.markup import readable
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest
from gigachat_server.pages.settings import forms
from gigachat_server.pages.settings.config import problems_of, save_config
from gigachat_server.pages.settings.page import done, render
from gigachat_server.records import Chatbot, ChatbotConfig, FixedAnswer
from gigachat_server.services import Services

_field = functools.partial(forms.field, ChatbotConfig)

THRESHOLD = _field("documents.results.match_threshold", "Threshold")
REFUSAL = (
    _field(
        "documents.results.when_nothing_matches",
        "When nothing reaches it",
        hint="",
        choices={"model": "the model answers without passages", "refuse": "the chatbot refuses, and no model is asked"},
    ),
    _field("documents.results.refusal", "What a refusal says", placeholder="as the persona tells"),
    _field("documents.results.suggest", "Name documents that may help"),
)
SEARCH = (
    _field("documents.results.match_count", "Passages at most"),
    _field(
        "documents.results.prompts",
        "What is asked here",
        hint="Small talk, trivia and homework then need a clearer match.",
        choices={"customers": "what people ask a business", "any": "anything, as of an encyclopedia"},
    ),
    _field(
        "documents.results.rewrite",
        "How a follow-up is searched for",
        hint="",
        choices={"rules": "together with what was said before", "model": "as the model rewrites it: one more call"},
    ),
    _field("documents.results.fixed_answer_threshold", "How near to a fixed answer", placeholder="the model’s own measure"),
)
FIELDS = (THRESHOLD, *REFUSAL, *SEARCH)

_SHOWN_PASSAGES = 8
# What each part of a relevance says, in words.
_PARTS = {
    "cosine": "Means the same",
    "coverage": "Uses the same words",
    "foreign": "Is in another language",
    "prior": "Sounds like a customer’s question",
    "margin": "Stands out from the others",
    "size": "So many to choose from",
    "identified": "Numbers and codes",
    "bias": "Where each begins",
}
_HALF = 100  # of a bar's picture, in its own units
_LARGEST = 8.0  # a part, or more, that fills half of the picture


class Part(msgspec.Struct, frozen=True):
    """What adds to a relevance, with the place of its bar in the picture."""

    name: str
    value: str
    x: float
    width: float
    is_positive: bool


class Found(msgspec.Struct, frozen=True):
    """A passage, with its relevance in percent of the picture's width."""

    passage: WirePassage
    place: int
    text: str  # without the header that a model reads
    parts: list[Part]
    total: str

    @property
    def where(self) -> str:
        lines = self.passage.metadata.loc.lines
        return f"line {lines.from_}" if lines.from_ == lines.to else f"lines {lines.from_}–{lines.to}"


class Trial(msgspec.Struct, frozen=True):
    """What a prompt would find and what would come of it. `verdict`: `answered`, `fixed`, `model`, `refused` or `talk`."""

    found: WireRetrieval
    passages: list[Found]
    verdict: str
    best: float | None
    fixed: FixedAnswer | None = None

    @property
    def source_count(self) -> int:
        return sum(each.passage.is_source for each in self.passages)

    @property
    def threshold_place(self) -> int:
        return round(self.found.match_threshold * 100)


async def show(request: PageRequest[None], context: PageContext) -> Response:
    return await _page(request, context, forms.show(FIELDS, request.chatbot.config))


async def act(request: PageRequest[None], context: PageContext) -> Response:
    """Try a prompt with what the form says, or save that."""
    fields = _fields(request)
    try:
        if request.form.get("do") == "ask":
            return await _try(request, context, fields)
        await save_config(request, context, fields)
    except (InvalidRequest, ChangedMeanwhile) as error:
        controls = forms.show(FIELDS, request.chatbot.config) | forms.show_again(fields, request.form, error.errors)
        query_problem = next((each.message for each in error.errors if each.field == "query"), "")
        others = [] if query_problem else problems_of(error, fields)
        return await _page(request, context, controls, status=error.status, problems=others, query_problem=query_problem)
    return done(request, "relevance", "saved")


def _fields(request: PageRequest[None]) -> Sequence[forms.Field]:
    """Those that the form has: of somebody who may only try, the threshold alone."""
    return FIELDS if REFUSAL[0].path in request.form else (THRESHOLD,)


async def _try(request: PageRequest[None], context: PageContext, fields: Sequence[forms.Field]) -> Response:
    query = request.form.get("query", "")
    if not query.strip():
        raise InvalidRequest(errors=(FieldError("query", "Type what somebody might ask."),))
    _, config = merged_config(request.chatbot, forms.patch_of(fields, request.form))
    trial = await _trial(context.services, msgspec.structs.replace(request.chatbot, config=config), query)
    controls = forms.show(FIELDS, request.chatbot.config) | forms.show_again(fields, request.form, ())
    return await _page(request, context, controls, trial=trial)


async def _trial(services: Services, chatbot: Chatbot, query: str) -> Trial:
    retrieval.check_query(query)
    fixed = await _fixed_answer(services, chatbot, query)
    found = await retrieval.search(services, chatbot, query, (), judged_for=retrieval.configured(services), limit=_SHOWN_PASSAGES)
    passages = [_found(each) for each in found.passages]
    may_refuse = not services.model.is_generating or chatbot.config.documents.results.when_nothing_matches == "refuse"
    if fixed is not None:
        verdict = "fixed"
    elif found.is_small_talk:
        verdict = "talk"
    elif any(each.is_source for each in found.passages):
        verdict = "answered"
    else:
        verdict = "refused" if may_refuse else "model"
    return Trial(found, passages, verdict, max((each.score for each in found.passages), default=None), fixed)


async def _fixed_answer(services: Services, chatbot: Chatbot, query: str) -> FixedAnswer | None:
    """The one that would be said instead of any search."""
    known = await services.fixed_answers.known(chatbot)
    found = known.find_exact(query)
    if found is None and known.has_vectors:
        vector = await services.embedder.embed_prompt(query)
        least = services.fixed_answers.least_cosine(chatbot)
        found = known.find_nearest(query, vector, least_cosine=least, is_follow_up=False)
    return None if found is None else await services.fixed_answers.find(chatbot, found)


def _found(passage: WirePassage) -> Found:
    parts = [_part(name, value) for name, value in passage.parts.items() if value or name == "bias"]
    text, _ = readable(passage.content.partition("\n---\n\n")[2] or passage.content)
    lines = "\n".join(line for line in text.splitlines() if line.strip())
    return Found(passage, round(passage.score * 100), lines, parts, f"{sum(passage.parts.values()):+.2f}")


def _part(name: str, value: float) -> Part:
    width = round(min(abs(value) / _LARGEST, 1) * _HALF, 1)
    x = _HALF if value >= 0 else round(_HALF - width, 1)
    return Part(_PARTS.get(name, name), f"{value:+.2f}", x, width, value >= 0)


async def _page(
    request: PageRequest[None],
    context: PageContext,
    controls: forms.Controls,
    *,
    status: int = 200,
    trial: Trial | None = None,
    problems: Sequence[str] = (),
    query_problem: str = "",
) -> Response:
    return await render(
        request,
        context,
        "relevance",
        status=status,
        controls=controls,
        threshold=controls[THRESHOLD.path],
        refusal=[each.path for each in REFUSAL],
        search=[each.path for each in SEARCH],
        names={},
        trial=trial,
        query=request.form.get("query", ""),
        query_problem=query_problem,
        problems=problems,
        has_documents=await context.services.searcher.has_documents(request.chatbot),
    )
