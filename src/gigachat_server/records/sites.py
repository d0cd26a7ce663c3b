"""Sites: pages of the web that are documents, and what became of each."""

from __future__ import annotations

from typing import Literal

import msgspec

SiteKind = Literal["page", "sitemap", "site"]
SiteState = Literal["pending", "crawling", "ready", "failed", "deleting"]
PageKind = Literal["page", "sitemap"]
# `ready`: it is a document; `unchanged`: it was, and is as it was; `skipped`: it is to be none; `removed`: it was one.
PageState = Literal["pending", "ready", "unchanged", "skipped", "failed", "removed"]


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Pages of the web that are documents of a chatbot, and are read again. See `knowledge/sites/crawl.py`.

    `reason` is the code of why it failed, or of what the last crawl had to leave out; `error` says it to a person. `due_at`:
    when a worker next has to crawl or delete it.
    """

    chatbot_id: str
    id: str
    url: str
    kind: SiteKind
    depth: int
    max_pages: int
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    recrawl_hours: int | None
    state: SiteState
    reason: str | None
    error: str | None
    crawl: int
    due_at: int | None
    crawled_at: int | None
    created_at: int
    updated_at: int


class SitePage(msgspec.Struct, frozen=True, kw_only=True):
    """An address on a site, and what came of it in its last crawl."""

    chatbot_id: str
    site_id: str
    url: str
    kind: PageKind
    crawl: int
    depth: int
    hops: int  # how many redirects and canonical links led to it
    state: PageState
    reason: str | None
    error: str | None
    attempts: int
    document_id: str | None
    content_sha256: str | None
    etag: str | None
    last_modified: str | None
    fetched_at: int | None


class SiteProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the current crawl of a site is, in pages.

    Of those that are documents: `indexing` cannot be found yet, and of `unreadable` no text can be had.
    """

    found: int = 0
    pending: int = 0
    ready: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    removed: int = 0
    indexing: int = 0
    unreadable: int = 0
