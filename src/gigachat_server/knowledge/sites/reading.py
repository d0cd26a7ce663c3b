"""What is to become of a page that was answered: pure, from the answer and what was known of the page.

A page is read for two things: what it links to, and whether it is a document. It says itself that it wants to be none
(`noindex`), or that another address is its own (`canonical`); and what is no text, or another page word for word, is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from gigachat_server.fetching.safe_fetch import FetchFailed, FetchResult, redirect_of
from gigachat_server.fetching.web_urls import WebUrl
from gigachat_server.knowledge.sites import html_facts
from gigachat_server.knowledge.sites.patterns import is_wanted
from gigachat_server.records import Site, SitePage

MOST_HOPS = 3
HTML = ("text/html", "application/xhtml+xml")
DOCUMENTS = (*HTML, "text/plain", "text/markdown", "application/pdf")

_GONE = (404, 410)
_LONGEST_HEADER = 500
_DEEPEST_PATH = 20
_MOST_REPEATED = 3

Fate = Literal["document", "unchanged", "skipped", "failed", "gone", "again"]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """`again`: another try may come to something else. `instead`: the address that the page sends on to."""

    fate: Fate
    reason: str | None = None
    error: str | None = None
    links: tuple[WebUrl, ...] | None = None  # None: those that it had
    instead: WebUrl | None = None
    content_sha256: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    retry_after_s: int | None = None


def wants(status: int, media_type: str) -> bool:
    """Whether the body of such an answer is looked at."""
    return status == 200 and media_type in DOCUMENTS


def read(fetched: FetchResult, site: Site, page: SitePage) -> Reading:
    status = fetched.status
    if status == 304:
        return Reading(fate="unchanged", content_sha256=page.content_sha256, etag=page.etag, last_modified=page.last_modified)
    if status in _GONE:
        return Reading(fate="gone", reason="not_found", error=f"The server says that it is gone ({status}).", links=())
    if status == 429 or status >= 500:
        text = fetched.headers.get("retry-after", "")
        wait_s = int(text) if text.isdigit() and len(text) < 6 else None
        return Reading(fate="again", reason=f"http_{status}", error=f"The server answered {status}.", retry_after_s=wait_s)
    if 300 <= status < 400:
        return _read_redirect(fetched, site, page)
    if status != 200:
        return Reading(fate="failed", reason=f"http_{status}", error=f"The server answered {status}.")
    if fetched.media_type not in DOCUMENTS:
        return _skipped("not_text", f"It is {fetched.media_type[:100] or 'of no type'}, which is not read.", links=())
    return _read_page(fetched, site, page)


def _read_redirect(fetched: FetchResult, site: Site, page: SitePage) -> Reading:
    try:
        target = redirect_of(fetched)
    except FetchFailed as error:
        return Reading(fate="failed", reason=error.reason, error=str(error))
    if target is None:
        return Reading(fate="failed", reason=f"http_{fetched.status}", error=f"The server answered {fetched.status}.")
    if target.site != fetched.url.site:
        return _skipped("other_host", f"It redirects to {target.origin}, which is another site.", links=())
    if target == fetched.url or page.hops >= MOST_HOPS:
        return Reading(fate="failed", reason="too_many_redirects", error="It redirects in a circle, or too often.")
    return _skipped("redirected", f"It redirects to {target.text}.", links=(), instead=target)


def _read_page(fetched: FetchResult, site: Site, page: SitePage) -> Reading:
    url, links, canonical, is_kept_out = fetched.url, tuple[WebUrl, ...](), None, False
    header = fetched.headers.get("x-robots-tag", "")
    if fetched.media_type in HTML:
        text = html_facts.decoded(fetched.body, fetched.headers.get("content-type", ""))
        facts = html_facts.read(text, url, robots_header=header)
        links, canonical, is_kept_out = on_site(facts.links, url), facts.canonical, facts.is_kept_out
    elif header:
        is_kept_out = html_facts.read("", url, robots_header=header).is_kept_out
    if is_kept_out:
        return _skipped("noindex", "It asks not to be kept.", links=links)
    if canonical is not None and canonical != url and page.hops < MOST_HOPS:
        if canonical.site != url.site:
            return _skipped("canonical_elsewhere", f"It is a copy of {canonical.text}, on another site.", links=links)
        same = _skipped("canonical", f"It is the same as {canonical.text}.", links=links, instead=canonical)
        return msgspec.structs.replace(same, content_sha256=_content_hash(fetched))
    if not is_wanted(url, site.include, site.exclude):
        return _skipped("excluded", "The site's patterns leave it out.", links=links)
    sha256 = _content_hash(fetched)
    # Of one that calls another address its own it is to be seen again whether it does: it must be sent.
    is_own = canonical is None or canonical == url
    return Reading(
        fate="unchanged" if sha256 == page.content_sha256 else "document",
        links=links,
        content_sha256=sha256,
        etag=_header(fetched, "etag") if is_own else None,
        last_modified=_header(fetched, "last-modified") if is_own else None,
    )


def _content_hash(fetched: FetchResult) -> str:
    """Of what a page says: that of two pages which differ in nothing but ids of sessions, say, is the same."""
    if fetched.media_type not in HTML:
        return hashlib.sha256(fetched.body).hexdigest()
    text = html_facts.decoded(fetched.body, fetched.headers.get("content-type", ""))
    return hashlib.sha256(html_facts.said(text).encode("utf-8", "replace")).hexdigest()


def _skipped(reason: str, error: str, *, links: tuple[WebUrl, ...], instead: WebUrl | None = None) -> Reading:
    return Reading(fate="skipped", reason=reason, error=error, links=links, instead=instead)


def on_site(links: Sequence[WebUrl], url: WebUrl) -> tuple[WebUrl, ...]:
    """Those that lead to pages of the same site, without what only a trap for crawlers looks like."""
    return tuple(link for link in links if link.site == url.site and not _is_trap(link))


def _is_trap(url: WebUrl) -> bool:
    """Paths that repeat themselves without end come from wrong relative links."""
    parts = [part for part in url.path.split("/") if part]
    return len(parts) > _DEEPEST_PATH or any(parts.count(part) > _MOST_REPEATED for part in set(parts))


def _header(fetched: FetchResult, name: str) -> str | None:
    """A header that can be sent back as it is."""
    value = fetched.headers.get(name, "")
    return value if 0 < len(value) <= _LONGEST_HEADER and value.isascii() and value.isprintable() else None
