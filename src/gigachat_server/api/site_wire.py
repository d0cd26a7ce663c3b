"""The wire form of sites and their pages: what is shown of a crawl, made from what the store counts."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gigachat_server.api.wire import Moment
from gigachat_server.clock import wire_time
from gigachat_server.knowledge.sites.sites import SiteStatus
from gigachat_server.records import PageState, SiteKind, SitePage, SiteProgress


class WireSiteProgress(msgspec.Struct, frozen=True):
    """The current crawl, or the last one, in pages."""

    percent: Annotated[
        int, Meta(description="100 once everything read is searchable. It may fall when more addresses are found.")
    ]
    found: Annotated[int, Meta(description="Addresses found so far.")]
    fetched: Annotated[int, Meta(description="Addresses read, changed or not.")]
    documents: Annotated[int, Meta(description="Of the addresses read, those that are documents.")]
    unchanged: Annotated[int, Meta(description="Of these documents, those that have not changed, so nothing was embedded.")]
    skipped: Annotated[int, Meta(description="Addresses left out: each page's `reason` says why.")]
    failed: Annotated[int, Meta(description="Addresses that could not be read, or hold no text.")]
    removed: Annotated[int, Meta(description="Documents deleted because their pages are gone.")]
    pending: Annotated[int, Meta(description="Addresses still to read.")]
    indexing: Annotated[int, Meta(description="Documents read, but not searchable yet.")]


class WireSite(msgspec.Struct, frozen=True):
    """Pages of the web that are a chatbot's documents."""

    id: str
    chatbot_id: str
    user_id: str
    url: str
    kind: SiteKind
    depth: int
    max_pages: int
    include: list[str]
    exclude: list[str]
    recrawl_hours: int | None
    state: Annotated[str, Meta(description="`pending`, `crawling`, `ready` or `failed`.")]
    reason: Annotated[
        str | None,
        Meta(
            description="The code of why it failed; or, of one that is `ready`, what the crawl left out: `max_pages`, `depth`, "
            "`incomplete`, `pages_failed`."
        ),
    ]
    error: Annotated[str | None, Meta(description="The same for a person.")]
    progress: WireSiteProgress
    crawled_at: Moment | None
    next_crawl_at: Moment | None
    created_at: Moment
    updated_at: Moment


class WireSitePage(msgspec.Struct, frozen=True):
    """An address on a site, and what came of it in its last crawl."""

    url: str
    state: Annotated[
        PageState,
        Meta(description="`pending`, `ready` (a document), `unchanged` (still one), `skipped`, `failed` or `removed`."),
    ]
    reason: Annotated[str | None, Meta(description="Why the page was left out, as a code.")]
    error: Annotated[str | None, Meta(description="The same for a person.")]
    document_id: str | None
    depth: int
    fetched_at: Moment | None


def site(seen: SiteStatus, account_id: str) -> WireSite:
    record, is_settled = seen.site, seen.site.state in ("ready", "failed")
    return WireSite(
        id=record.id,
        chatbot_id=record.chatbot_id,
        user_id=account_id,
        url=record.url,
        kind=record.kind,
        depth=record.depth,
        max_pages=record.max_pages,
        include=list(record.include),
        exclude=list(record.exclude),
        recrawl_hours=record.recrawl_hours,
        state="crawling" if is_settled and not seen.is_over else record.state,
        reason=record.reason,
        error=record.error,
        progress=_progress(seen.progress, is_over=seen.is_over),
        crawled_at=_time(record.crawled_at),
        next_crawl_at=_time(record.due_at) if is_settled else None,
        created_at=wire_time(record.created_at),
        updated_at=wire_time(record.updated_at),
    )


def page(record: SitePage) -> WireSitePage:
    return WireSitePage(
        url=record.url,
        state=record.state,
        reason=record.reason,
        error=record.error,
        document_id=record.document_id,
        depth=record.depth,
        fetched_at=_time(record.fetched_at),
    )


def _progress(counted: SiteProgress, *, is_over: bool) -> WireSiteProgress:
    """A page is half done when it was read, and wholly when it can be found."""
    found = counted.found - counted.removed
    read = found - counted.pending
    percent = 100 if is_over else min(99, 50 * (2 * read - counted.indexing) // max(found, 1))
    return WireSiteProgress(
        percent=max(percent, 0),
        found=found,
        fetched=counted.ready + counted.unchanged + counted.skipped,
        documents=counted.ready + counted.unchanged - counted.unreadable,
        unchanged=counted.unchanged,
        skipped=counted.skipped,
        failed=counted.failed + counted.unreadable,
        removed=counted.removed,
        pending=counted.pending,
        indexing=counted.indexing,
    )


def _time(at: int | None) -> str | None:
    return None if at is None else wire_time(at)
