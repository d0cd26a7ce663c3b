"""What a chatbot answers from: documents and sites, with their states, and what brings more of them.

Idea: a script sends files one by one and asks how those that are not ready yet are doing; rows are HTML that the templates made
of what is stored, so nothing is shown as done that is not. Texts, sites and deletions are plain forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.scopes import Scope
from gigachat_server.api import site_wire
from gigachat_server.api.chatbots import merged_config
from gigachat_server.api.documents import check_text
from gigachat_server.api.sites import SiteInput, new_site
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.body import convert
from gigachat_server.edge.request import query_choice
from gigachat_server.edge.uploads import FileInput
from gigachat_server.errors import Conflict, FieldError, InvalidRequest, NotFound, UnsupportedMediaType
from gigachat_server.ids import is_id
from gigachat_server.knowledge.sites.sites import SiteStatus, see_all
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest, checked
from gigachat_server.pages.settings import forms
from gigachat_server.pages.settings.page import done, render
from gigachat_server.records import WAITING, ChatbotConfig, Document, DocumentState, SitePage
from gigachat_server.store import documents, overviews, site_pages, sites
from gigachat_server.store.database import Reader

_PER_PAGE = 50
_MOST_ASKED_FOR = 100
_SHOWN: dict[str, tuple[DocumentState, ...]] = {"working": WAITING, "failed": ("failed",), "warned": ("ready",)}
_WARNED = "warned"

SPLITTER = (
    forms.field(ChatbotConfig, "documents.text_splitter.chunk_size", "Characters of a passage"),
    forms.field(ChatbotConfig, "documents.text_splitter.chunk_overlap", "Characters that neighbours share"),
)
SITE = (
    forms.field(SiteInput, "url", "Address", kind="text", hint="", placeholder="https://www.example.com/help"),
    forms.field(
        SiteInput,
        "kind",
        "What to read",
        hint="",
        choices={"site": "The site: follow its links", "sitemap": "All pages of a sitemap", "page": "This page alone"},
    ),
    forms.field(SiteInput, "depth", "Links deep"),
    forms.field(SiteInput, "max_pages", "Pages at most"),
    forms.field(SiteInput, "recrawl_hours", "Crawl again every … hours", placeholder="never"),
    forms.field(SiteInput, "include", "Only addresses like"),
    forms.field(SiteInput, "exclude", "No addresses like"),
)
_NEW_SITE = SiteInput(url="", kind="site")


class PasteForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    do: Literal["paste"]
    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    content: str


class _OneForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    do: str
    id: str


class Listed(msgspec.Struct, frozen=True):
    documents: list[Document]
    further: str
    counts: overviews.DocumentCounts
    sites: list[SiteStatus]
    site_views: list[site_wire.WireSite]


async def show(request: PageRequest[None], context: PageContext) -> Response:
    return await _page(request, context)


async def act(request: PageRequest[None], context: PageContext) -> Response:
    """What one of the page's forms asks for. What is refused is shown beside its field, with what was typed."""
    match request.form.get("do"):
        case "paste":
            return await _paste(request, context)
        case "site":
            return await _add_site(request, context)
        case "split":
            return await _split(request, context)
        case "delete":
            await context.services.ingest.delete(request.chatbot.id, _named(request, context))
            return done(request, "knowledge", "document-deleted")
        case "crawl":
            await context.services.sites.crawl_now(request.chatbot.id, _named(request, context), key=None)
            return done(request, "knowledge", "site-crawled")
        case "remove":
            await context.services.sites.remove(request.chatbot.id, _named(request, context))
            return done(request, "knowledge", "site-removed")
        case _:
            raise InvalidRequest(errors=(FieldError("do", "Is not known."),))


async def upload(request: PageRequest[Any], context: PageContext) -> Answer:
    """One file, stored durably and read in the background."""
    if request.file is None or not isinstance(request.body, FileInput):
        raise UnsupportedMediaType("Send a file as multipart/form-data.")
    services, wanted = context.services, request.body
    document = await services.ingest.accept_file(request.chatbot, wanted.name, request.file, media_type=wanted.media_type)
    services.ingest_worker.wake_up()
    return Answer({"id": document.id, "html": await _row(request, context, document)}, 202)


async def state(request: PageRequest[None], context: PageContext) -> Answer:
    """How the named documents and sites are doing, as rows; null for one that is gone."""
    wanted, wanted_sites = _ids(request, "documents"), _ids(request, "sites")
    chatbot_id = request.chatbot.id

    async def read(reader: Reader) -> tuple[list[Document], list[SiteStatus], dict[str, overviews.DocumentCounts]]:
        found = await documents.list_by_id(reader, chatbot_id, wanted) if wanted else []
        listed = await sites.list_sites(reader, chatbot_id, after=None, limit=_MOST_ASKED_FOR) if wanted_sites else []
        seen = await see_all(reader, [site for site in listed if site.id in wanted_sites])
        return found, seen, await overviews.count_documents(reader, (chatbot_id,))

    found, seen, counted = await context.services.database.read(read)
    counts = counted.get(chatbot_id, overviews.DocumentCounts())
    chosen = query_choice(request.query, "show", tuple(_SHOWN))
    return Answer(
        {
            "counts": await _part(request, context, "settings/counts.html", counts=counts, chosen=chosen),
            "documents": dict.fromkeys(wanted) | {each.id: await _row(request, context, each) for each in found},
            "sites": dict.fromkeys(wanted_sites) | {each.site.id: await _site_row(request, context, each) for each in seen},
        }
    )


async def show_site(request: PageRequest[None], context: PageContext) -> Response:
    """The pages of a site, and what came of each."""
    site_id, chatbot_id, after = request.named["site_id"], request.chatbot.id, request.query.get("after")
    if not is_id(site_id):
        raise NotFound
    seen = await context.services.sites.see(chatbot_id, site_id)

    async def read(reader: Reader) -> tuple[list[SitePage], list[SitePage]]:
        failed = await site_pages.list_failed(reader, chatbot_id, site_id, crawl=seen.site.crawl, limit=_PER_PAGE)
        return failed, await site_pages.list_pages(reader, chatbot_id, site_id, after=after, limit=_PER_PAGE + 1)

    failed, pages = await context.services.database.read(read)
    return await render(
        request,
        context,
        "knowledge",
        template="site",
        seen=seen,
        shown=site_wire.site(seen, request.account_id),
        failed=[] if after else failed,
        pages=pages[:_PER_PAGE],
        further=pages[_PER_PAGE - 1].url if len(pages) > _PER_PAGE else "",
    )


# --- forms ---


async def _paste(request: PageRequest[None], context: PageContext) -> Response:
    services = context.services
    request.form = {**request.form, "name": request.form.get("name", "").strip()}
    try:
        wanted = checked(request, PasteForm, services.settings)
        check_text(wanted.name, wanted.content, services.settings)
        await services.ingest.accept(request.chatbot, wanted.name, wanted.content.replace("\r\n", "\n"))
    except (InvalidRequest, Conflict) as error:
        return await _page(request, context, status=error.status, refused="paste", errors=_errors(error, "name"))
    services.ingest_worker.wake_up()
    return done(request, "knowledge", "pasted")


async def _add_site(request: PageRequest[None], context: PageContext) -> Response:
    services = context.services
    try:
        wanted = convert(forms.patch_of(SITE, request.form), SiteInput)
        site = new_site(request.chatbot, wanted, services.settings, now_us=services.clock())
        await services.sites.add(request.account_id, site, key=None)
    except (InvalidRequest, Conflict) as error:
        return await _page(request, context, status=error.status, refused="site", errors=_errors(error, "url"))
    return done(request, "knowledge", "site-added")


async def _split(request: PageRequest[None], context: PageContext) -> Response:
    """Documents are cut anew in the background."""
    request.principal.require(Scope.CHATBOTS_WRITE)
    try:
        patch = forms.patch_of(SPLITTER, request.form)
        await context.services.chatbots.change(
            request.principal,
            request.chatbot.id,
            lambda held: msgspec.structs.replace(held, config=merged_config(held, patch)[1]),
        )
    except InvalidRequest as error:
        return await _page(request, context, status=error.status, refused="split", errors=error.errors)
    return done(request, "knowledge", "saved")


def _named(request: PageRequest[None], context: PageContext) -> str:
    """The document or site that a form is about."""
    named = checked(request, _OneForm, context.services.settings).id
    if not is_id(named):
        raise NotFound
    return named


def _errors(error: InvalidRequest | Conflict, otherwise: str) -> tuple[FieldError, ...]:
    return error.errors or (FieldError(otherwise, error.detail or error.message),)


# --- what is shown ---


async def _page(
    request: PageRequest[None],
    context: PageContext,
    *,
    status: int = 200,
    refused: str = "",
    errors: Sequence[FieldError] = (),
) -> Response:
    """`refused`: the form whose text was, which is shown again."""
    chosen = query_choice(request.query, "show", tuple(_SHOWN))
    listed = await _list(request, context, chosen)
    typed = request.form
    return await render(
        request,
        context,
        "knowledge",
        status=status,
        listed=listed,
        chosen=chosen,
        refused=refused,
        problems={error.field: error.message for error in errors},
        typed=typed if refused == "paste" else {},
        site=forms.show_again(SITE, typed, errors) if refused == "site" else forms.show(SITE, _NEW_SITE),
        splitter=(
            forms.show_again(SPLITTER, typed, errors) if refused == "split" else forms.show(SPLITTER, request.chatbot.config)
        ),
        most_bytes=context.services.settings.max_upload_bytes,
    )


async def _list(request: PageRequest[None], context: PageContext, chosen: str | None) -> Listed:
    chatbot_id, after = request.chatbot.id, request.query.get("after")

    async def read(reader: Reader) -> Listed:
        found = await documents.list_documents(
            reader,
            chatbot_id,
            states=None if chosen is None else _SHOWN[chosen],
            is_warned=True if chosen == _WARNED else None,
            after=after,
            limit=_PER_PAGE + 1,
        )
        counted = await overviews.count_documents(reader, (chatbot_id,))
        crawled = await see_all(reader, await sites.list_sites(reader, chatbot_id, after=None, limit=_MOST_ASKED_FOR))
        return Listed(
            documents=found[:_PER_PAGE],
            further=found[_PER_PAGE - 1].id if len(found) > _PER_PAGE else "",
            counts=counted.get(chatbot_id, overviews.DocumentCounts()),
            sites=crawled,
            site_views=[site_wire.site(each, request.account_id) for each in crawled],
        )

    return await context.services.database.read(read)


async def _row(request: PageRequest[Any], context: PageContext, document: Document) -> str:
    return await _part(request, context, "settings/document.html", document=document)


async def _site_row(request: PageRequest[Any], context: PageContext, seen: SiteStatus) -> str:
    return await _part(request, context, "settings/site_row.html", shown=site_wire.site(seen, request.account_id))


async def _part(request: PageRequest[Any], context: PageContext, template: str, **values: object) -> str:
    return await context.render(
        template, request=request, session=request.session, chatbot=request.chatbot, may=request.may, Scope=Scope, **values
    )


def _ids(request: PageRequest[Any], name: str) -> list[str]:
    return [each for each in request.query.get(name, "").split(",")[:_MOST_ASKED_FOR] if is_id(each)]
