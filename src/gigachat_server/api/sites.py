"""Sites over HTTP: pages of the web that are documents, crawled in the background."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.api import site_wire, sse, wire
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.body import convert
from gigachat_server.edge.problem import problem
from gigachat_server.edge.request import Request, next_link, query_limit
from gigachat_server.errors import FieldError, GigachatError, InvalidRequest, NotFound
from gigachat_server.fetching import web_urls
from gigachat_server.fetching.address_rule import may_be_reached
from gigachat_server.fetching.web_urls import UrlRefused
from gigachat_server.ids import is_id, new_id
from gigachat_server.knowledge.sites.sites import SiteStatus, see_all
from gigachat_server.records import Chatbot, Site, SiteKind, SitePage
from gigachat_server.services import Services
from gigachat_server.settings import Settings
from gigachat_server.store import site_pages, sites
from gigachat_server.store.database import Reader

_PAGES_OF_ONE = 10  # a page, and what it redirects to

Pattern = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=500,
        description="`*` is any run of characters. With a slash in front it is about the path and query, such as `/help/*`; "
        "otherwise about the whole address.",
    ),
]


class SiteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a site can be changed; it counts from the next crawl on."""

    depth: Annotated[int, Meta(ge=0, le=20, description="For a `site`: how many links away from `url` its pages may be.")] = 5
    max_pages: Annotated[int, Meta(ge=1, le=20_000, description="The most addresses that one crawl reads.")] = 1000
    include: Annotated[
        tuple[Pattern, ...], Meta(max_length=50, description="Read only addresses that match one of these. Empty: all.")
    ] = ()
    exclude: Annotated[tuple[Pattern, ...], Meta(max_length=50, description="Skip addresses that match one of these.")] = ()
    recrawl_hours: Annotated[
        Annotated[int, Meta(ge=1, le=8760)] | None,
        Meta(description="Crawl it again so many hours after a crawl has ended; null: only when you ask for it."),
    ] = None


class SiteInput(SiteSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: Annotated[
        str, Meta(min_length=1, max_length=web_urls.MOST_CHARACTERS, description="The address to start from: http or https.")
    ]
    kind: Annotated[
        SiteKind,
        Meta(description="`page`: that page alone; `sitemap`: all pages it lists; `site`: follow links on the same host."),
    ]


async def create(request: Request[SiteInput], services: Services) -> Answer:
    site = new_site(request.chatbot, request.body, services.settings, now_us=services.clock())
    added = request.earlier(SiteStatus) or await services.sites.add(request.account_id, site, key=request.key)
    return Answer(site_wire.site(added, request.account_id), 202)


def new_site(chatbot: Chatbot, wanted: SiteInput, settings: Settings, *, now_us: int) -> Site:
    """What is to be crawled. Raises `InvalidRequest`."""
    is_page = wanted.kind == "page"
    return Site(
        chatbot_id=chatbot.id,
        id=new_id(),
        url=_checked_url(wanted.url, settings),
        kind=wanted.kind,
        depth=wanted.depth if wanted.kind == "site" else 0,
        max_pages=_PAGES_OF_ONE if is_page else wanted.max_pages,
        include=wanted.include,
        exclude=wanted.exclude,
        recrawl_hours=wanted.recrawl_hours,
        state="pending",
        reason=None,
        error=None,
        crawl=0,
        due_at=now_us,
        crawled_at=None,
        created_at=now_us,
        updated_at=now_us,
    )


async def list_all(request: Request[None], services: Services) -> Answer:
    limit, after = query_limit(request.query), request.query.get("after")

    async def read(reader: Reader) -> tuple[list[SiteStatus], bool]:
        found = await sites.list_sites(reader, request.chatbot.id, after=after, limit=limit + 1)
        return await see_all(reader, found[:limit]), len(found) > limit

    found, has_more = await services.database.read(read)
    headers = next_link(request, found[-1].site.id) if has_more else {}
    return Answer([site_wire.site(seen, request.account_id) for seen in found], headers=headers)


async def get(request: Request[None], services: Services) -> Answer | Response:
    """The site as it is; as an event stream also what becomes of it, until its crawl is over."""
    site_id = _site_id(request)
    seen = await services.sites.see(request.chatbot.id, site_id)
    if request.accepts_events:
        followed = services.sites.follow(request.chatbot.id, site_id, idle_s=sse.PING_S)
        return sse.EventStream(_follow(followed, request))
    return Answer(site_wire.site(seen, request.account_id))


async def change(request: Request[dict[str, Any]], services: Services) -> Answer:
    patch = request.body

    def merged(held: Site) -> Site:
        wanted = convert(patch, SiteSettings)
        return msgspec.structs.replace(held, **{name: getattr(wanted, name) for name in patch})

    changed = await services.sites.change(request.chatbot.id, _site_id(request), merged)
    return Answer(site_wire.site(await services.sites.see(changed.chatbot_id, changed.id), request.account_id))


async def crawl(request: Request[None], services: Services) -> Answer:
    site_id = _site_id(request)
    seen = request.earlier(SiteStatus) or await services.sites.crawl_now(request.chatbot.id, site_id, key=request.key)
    return Answer(site_wire.site(seen, request.account_id), 202)


async def list_pages(request: Request[None], services: Services) -> Answer:
    limit, after, site_id = query_limit(request.query), request.query.get("after"), _site_id(request)

    async def read(reader: Reader) -> list[SitePage]:
        if await sites.find(reader, request.chatbot.id, site_id) is None:
            raise NotFound
        return await site_pages.list_pages(reader, request.chatbot.id, site_id, after=after, limit=limit + 1)

    found = await services.database.read(read)
    headers = next_link(request, found[limit - 1].url) if len(found) > limit else {}
    return Answer([site_wire.page(each) for each in found[:limit]], headers=headers)


async def delete(request: Request[None], services: Services) -> Answer:
    await services.sites.remove(request.chatbot.id, _site_id(request))
    return Answer(None, 204)


async def _follow(followed: AsyncGenerator[SiteStatus | None, None], request: Request[Any]) -> AsyncGenerator[bytes, None]:
    """`site` now and as it changes, `done` once its crawl is over."""
    last: SiteStatus | None = None
    try:
        async with aclosing(followed):
            async for seen in followed:
                await request.reauthorise()
                last = seen or last
                yield sse.PING if seen is None else sse.event("site", site_wire.site(seen, request.account_id))
    except GigachatError as error:
        yield sse.event("error", problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root))
        return
    if last is not None:
        yield sse.event("done", wire.WorkDone(last.site.id, last.site.state))


def _checked_url(text: str, settings: Settings) -> str:
    """Its one form. Raises `InvalidRequest` for what could never be fetched."""
    try:
        url = web_urls.parse(text.strip())
    except UrlRefused as refusal:
        raise InvalidRequest(errors=(FieldError("url", str(refusal)),)) from None
    if not any(url.port in ports for ports in settings.fetch_port_ranges):
        message = f"Port {url.port} is not fetched from; the server's GIGACHAT_FETCH_PORTS lists those that are."
        raise InvalidRequest(errors=(FieldError("url", message),))
    if url.address is not None and not may_be_reached(url.address, settings.fetch_networks):
        message = (
            "Is not on the public internet; the server's GIGACHAT_FETCH_ALLOW lists the networks that may be reached besides."
        )
        raise InvalidRequest(errors=(FieldError("url", message),))
    return url.text


def _site_id(request: Request[Any]) -> str:
    site_id = request.named["site_id"]
    if not is_id(site_id):
        raise NotFound
    return site_id
