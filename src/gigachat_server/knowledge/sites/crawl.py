"""One crawl of one site: from where it begins, page by page, to the pages that are there no more.

Idea: the frontier is in the store. What comes of a page (its document, its state, the addresses it links to) is one
transaction, so a crawl that is killed is gone on with from exactly there, by whichever node. A page is asked for with what is
known of it, so one that did not change is not even sent.

Invariants: whatever is stored is stored under the lease of this crawl. A document is removed if its page is gone, says that it
is to be none, or was found by no link of a crawl that could read all it had read before; a crawl that failed removes none.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

import msgspec

from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, InvalidRequest, NotFound
from gigachat_server.fetching import web_urls
from gigachat_server.fetching.safe_fetch import TRANSIENT, FetchFailed, FetchResult, SafeFetch
from gigachat_server.fetching.web_urls import UrlRefused, WebUrl
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.knowledge.sites import reading, sitemap
from gigachat_server.knowledge.sites.patterns import is_wanted
from gigachat_server.knowledge.sites.politeness import Politeness
from gigachat_server.knowledge.sites.reading import Reading
from gigachat_server.knowledge.sites.robots import Robots, RobotsUnreachable
from gigachat_server.knowledge.sites.sitemap import SitemapRefused
from gigachat_server.records import Chatbot, Document, PageKind, PageState, Site, SitePage, SiteState
from gigachat_server.store import chatbots, documents, site_pages, sites
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.site_pages import Outcome

LEASE_S = 30
SITEMAP_DEPTH = -1

_BATCH = 20
_MOST_ATTEMPTS = 3
_FIRST_RETRY_S = 2
_LONGEST_RETRY_S = 60
_MOST_FAILURES = 10  # one after the other: the site does not answer any more
_MOST_SITEMAPS = 100  # of one crawl: an index may name others without end
_KNOWN_AT_ONCE = 500
_MOST_NAMED, _LONGEST_NAMED = 5, 200  # pages that could not be read, and characters of an address
_FEWEST_CONTENTS = 3  # different ones, that call the same address their own: then whoever wrote that made a mistake
_INLINE_BYTES = 2_000  # reading more can take longer than others should wait, whatever links it is made of
# A crawl whose entrance ended so has seen nothing of the site.
_SHUT = ("robots", "other_host", "not_text")


class LeaseLost(Exception):
    """Another node has the site now, or it is being deleted: nothing more of this crawl is stored."""


class _Duplicate(Exception):
    """Another page of this crawl has become a document with the same content."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class CrawlLease(msgspec.Struct, frozen=True):
    """A site that this process crawls, and under which lease."""

    chatbot: Chatbot
    site: Site
    lease: str


class _NotAnswering(Exception):
    """Too many pages could not be had, one after the other."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


class Crawler:
    """`accepted` is called when a document waits to be ingested, `changed` with a site's id when something of it did."""

    def __init__(
        self,
        database: Database,
        ingest: Ingest,
        clock: Clock,
        safe_fetch: SafeFetch,
        *,
        accepted: Callable[[], None],
        changed: Callable[[str], None],
        first_retry_s: float = _FIRST_RETRY_S,
    ) -> None:
        self._database = database
        self._ingest = ingest
        self._clock = clock
        self._safe_fetch = safe_fetch
        self._politeness = Politeness()
        self._accepted = accepted
        self._changed = changed
        self._first_retry_s = first_retry_s

    async def run(self, held: CrawlLease) -> None:
        """Go on with the site's current crawl until it is over. Raises `LeaseLost`."""
        crawl = _Crawl(held, Robots(self._safe_fetch))
        try:
            while (pages := await self._next(held)) is not None or await self._reopen_copies(held):
                if pages is None:
                    continue
                done = await asyncio.gather(*(self._work_off(crawl, page) for page in pages), return_exceptions=True)
                if errors := [each for each in done if isinstance(each, BaseException)]:
                    raise errors[0]
        except _NotAnswering as trouble:
            await self._finish(held, "failed", trouble.reason, f"The site does not answer any more: {trouble}")
            return
        await self._complete(held)

    async def _next(self, held: CrawlLease) -> list[SitePage] | None:
        """The next pages; None if there are no more. Waits for those that are to be tried again later."""
        site = held.site
        while True:
            now_us = self._clock()

            async def read(reader: Reader, now_us: int = now_us) -> tuple[list[SitePage], int | None]:
                pages = await site_pages.list_pending(
                    reader, site.chatbot_id, site.id, crawl=site.crawl, now_us=now_us, limit=_BATCH
                )
                if pages:
                    return pages, None
                return [], await site_pages.next_retry_at(reader, site.chatbot_id, site.id, crawl=site.crawl)

            pages, retry_at = await self._database.read(read)
            if pages:
                return pages
            if retry_at is None:
                return None
            await asyncio.sleep(min(max(retry_at - now_us, 0) / 1e6, LEASE_S))

    # --- one page ---

    async def _work_off(self, crawl: _Crawl, page: SitePage) -> None:
        url = web_urls.parse(page.url)
        try:
            rules = await crawl.robots.of(url)
            if not await rules.allow(url):
                refused = Reading(fate="skipped", reason="robots", error="robots.txt asks to leave it alone.", links=())
                await self._settle(crawl.held, page, refused)
                return
            # Until all that came of it is stored: what is fetched and not stored yet would fill the memory.
            async with self._politeness.turn(url.netloc, rules.delay_s):
                await self._read(crawl, page, url)
        except RobotsUnreachable:
            unknown = "Its robots.txt cannot be read, so nothing else is."
            await self._try_again(crawl, page, Reading(fate="again", reason="robots_unreachable", error=unknown))
        except FetchFailed as error:
            failed = Reading(fate="failed", reason=error.reason, error=str(error))
            if error.reason in TRANSIENT:
                await self._try_again(crawl, page, failed)
            else:
                await self._settle(crawl.held, page, failed)

    async def _read(self, crawl: _Crawl, page: SitePage, url: WebUrl) -> None:
        """Fetch it, and store what came of that. Raises `FetchFailed`."""
        known = page if await self._has_document(page) else msgspec.structs.replace(page, content_sha256=None)
        fetched = await self._fetch(url, known)
        if page.kind == "sitemap" and fetched.status == 200:
            await self._read_sitemap(crawl, page, fetched)
            return
        if len(fetched.body) <= _INLINE_BYTES:
            found = reading.read(fetched, crawl.held.site, known)
        else:
            found = await asyncio.to_thread(reading.read, fetched, crawl.held.site, known)
        if found.fate == "again":
            await self._try_again(crawl, page, found)
            return
        crawl.failures = 0
        if found.fate == "document":
            await self._make_document(crawl.held, page, fetched, found)
        else:
            await self._settle(crawl.held, page, found)

    async def _fetch(self, url: WebUrl, known: SitePage) -> FetchResult:
        if known.kind == "sitemap":
            return await self._safe_fetch.fetch(url, most_bytes=sitemap.MOST_BYTES)
        conditions = {}
        if known.content_sha256 is not None:
            given = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
            conditions = {name: value for name, value in given.items() if value is not None}
        return await self._safe_fetch.fetch(url, headers=conditions, most_redirects=0, wants=reading.wants)

    async def _has_document(self, page: SitePage) -> bool:
        """Whether what was known of it still counts: there is a document of it, and nothing went wrong with that."""
        document_id = page.document_id
        if document_id is None:
            return False

        async def read(reader: Reader) -> Document | None:
            return await documents.find(reader, page.chatbot_id, document_id)

        document = await self._database.read(read)
        return document is not None and document.state != "failed"

    async def _try_again(self, crawl: _Crawl, page: SitePage, found: Reading) -> None:
        """Later, or never: then it has failed. Raises `_NotAnswering`."""
        crawl.failures += 1
        if page.attempts + 1 >= _MOST_ATTEMPTS:
            await self._settle(crawl.held, page, msgspec.structs.replace(found, fate="failed"))
        else:
            wait_s = self._first_retry_s * 4**page.attempts
            if found.retry_after_s is not None:
                wait_s = max(wait_s, found.retry_after_s)
            retry_at = self._clock() + int(min(wait_s, _LONGEST_RETRY_S) * 1_000_000)

            async def body(tx: Tx) -> None:
                await self._hold(tx, crawl.held)
                await site_pages.put_off(tx, page, retry_at=retry_at, error=found.error or "")

            await self._database.transaction("site.put_off", body)
        if crawl.failures >= _MOST_FAILURES:
            raise _NotAnswering(found.reason or "unreachable", found.error or "")

    async def _make_document(self, held: CrawlLease, page: SitePage, fetched: FetchResult, found: Reading) -> None:
        """The page is the document of its URL, and is stored as read, in one transaction with it."""

        async def store_page(tx: Tx, document: Document) -> None:
            assert found.content_sha256 is not None
            if (same := await site_pages.find_same_content(tx, page, content_sha256=found.content_sha256)) is not None:
                raise _Duplicate(same)
            outcome = Outcome(
                state="ready",
                document_id=document.id,
                content_sha256=found.content_sha256,
                etag=found.etag,
                last_modified=found.last_modified,
                links=_lines(found.links),
            )
            await self._store(tx, held, page, outcome, found)

        try:
            await self._ingest.accept_file(
                held.chatbot,
                page.url,
                fetched.body,
                media_type=fetched.headers["content-type"],
                origin=page.url,
                besides=store_page,
            )
        except _Duplicate as duplicate:
            error = f"It is the same as {duplicate.url}."
            same = Reading(fate="skipped", reason="duplicate", error=error, links=(), content_sha256=found.content_sha256)
            await self._settle(held, page, same)
        except (InvalidRequest, Conflict) as refusal:
            reasons = "; ".join(error.message for error in refusal.errors) or str(refusal)
            await self._settle(held, page, Reading(fate="failed", reason="refused", error=reasons, links=found.links))
        except NotFound:
            raise LeaseLost from None  # the chatbot is gone
        else:
            self._accepted()
            self._changed(held.site.id)

    async def _read_sitemap(self, crawl: _Crawl, page: SitePage, fetched: FetchResult) -> None:
        held = crawl.held
        try:
            # Tens of thousands of addresses: too many to look at between two words of somebody's reply.
            sitemaps, pages = await asyncio.to_thread(_listed, fetched, held.site)
        except SitemapRefused as refusal:
            await self._settle(held, page, Reading(fate="failed", reason="not_a_sitemap", error=str(refusal)))
            return
        crawl.failures = 0
        if page.hops >= reading.MOST_HOPS:
            sitemaps = []
        outcome = Outcome(state="ready")

        async def body(tx: Tx) -> None:
            room = await self._hold(tx, held)
            if await site_pages.settle(tx, page, outcome, now_us=self._clock()):
                await self._add(tx, held, room, sitemaps, kind="sitemap", depth=SITEMAP_DEPTH, hops=page.hops + 1)
                await self._add(tx, held, room, pages, kind="page", depth=0, hops=0)

        await self._database.transaction("site.sitemap", body)
        self._changed(held.site.id)

    # --- what is stored ---

    async def _settle(self, held: CrawlLease, page: SitePage, found: Reading) -> None:
        """Store what came of a page that did not become another document. One that it was before goes if it is to be none."""
        is_copy = found.reason == "canonical"  # until it is known what became of the other, its document stays
        is_kept = found.fate in ("unchanged", "failed")
        is_removed = found.fate == "gone" and page.document_id is not None
        outcome = Outcome(
            state="unchanged" if found.fate == "unchanged" else "removed" if is_removed else _STATES[found.fate],
            reason=found.reason,
            error=found.error,
            document_id=page.document_id if is_kept or is_copy else None,
            instead=found.instead.text if is_copy and found.instead is not None else None,
            content_sha256=(found.content_sha256 or page.content_sha256) if is_kept else found.content_sha256,
            etag=(found.etag or page.etag) if is_kept else None,
            last_modified=(found.last_modified or page.last_modified) if is_kept else None,
            links=_lines(found.links),
        )

        async def body(tx: Tx) -> None:
            if outcome.document_id is None:
                await self._drop_document(tx, page)
            await self._store(tx, held, page, outcome, found)

        await self._database.transaction("site.page", body)
        self._changed(held.site.id)

    async def _store(self, tx: Tx, held: CrawlLease, page: SitePage, outcome: Outcome, found: Reading) -> None:
        """Within a transaction: what came of the page, and what it led to. Raises `LeaseLost`."""
        site = held.site
        room = await self._hold(tx, held)
        if not await site_pages.settle(tx, page, outcome, now_us=self._clock()):
            return  # by whoever held the site when this process was taken for dead
        if page.document_id is not None and outcome.content_sha256 != page.content_sha256:
            # It no longer says what others were left out for: a page that moved must not take its text with it.
            await site_pages.reopen_duplicates(tx, page)
        instead = found.instead
        if instead is not None and is_wanted(instead, site.include, site.exclude):
            room = await self._add(tx, held, room, [instead], kind="page", depth=page.depth, hops=page.hops + 1)
        if site.kind != "site":
            return
        links = found.links
        if links is None and outcome.state == "unchanged":
            links = tuple(map(web_urls.parse, (await site_pages.get_links(tx, page)).split()))
        wanted = [link for link in links or () if is_wanted(link, site.include, site.exclude)]
        await self._add(tx, held, room, wanted, kind="page", depth=page.depth + 1, hops=0)

    async def _add(
        self, tx: Tx, held: CrawlLease, room: sites.Room, urls: Sequence[WebUrl], *, kind: PageKind, depth: int, hops: int
    ) -> sites.Room:
        """These are to be fetched, too, unless they are known, or a limit is reached; how much room there is then."""
        site = held.site
        texts = list(dict.fromkeys(url.text for url in urls))
        known: set[str] = set()
        for start in range(0, len(texts), _KNOWN_AT_ONCE):
            some = texts[start : start + _KNOWN_AT_ONCE]
            known |= await site_pages.list_known(tx, site.chatbot_id, site.id, crawl=site.crawl, urls=some)
        new = [text for text in texts if text not in known]
        if not new:
            return room
        limit_reached, most = None, len(new)
        if kind == "sitemap":
            count = await site_pages.count_sitemaps(tx, site.chatbot_id, site.id, crawl=site.crawl)
            most = max(_MOST_SITEMAPS - count, 0) if room.found < room.max_pages else 0
        else:
            is_too_deep = depth > site.depth
            most = 0 if is_too_deep else max(room.max_pages - room.found, 0)
            if len(new) > most:
                limit_reached = "depth" if is_too_deep else "max_pages"
        new = new[:most]
        where = {"kind": kind, "crawl": site.crawl, "depth": depth, "hops": hops, "place": room.found}
        await site_pages.add(tx, site.chatbot_id, site.id, new, **where)  # type: ignore[arg-type]
        if kind == "sitemap":
            return room
        await sites.add_found(tx, site.chatbot_id, site.id, number=len(new), limit_reached=limit_reached)
        return sites.Room(room.found + len(new), room.max_pages)

    async def _hold(self, tx: Tx, held: CrawlLease) -> sites.Room:
        until_us = self._clock() + LEASE_S * 1_000_000
        room = await sites.hold(tx, held.site.chatbot_id, held.site.id, lease=held.lease, until_us=until_us)
        if room is None:
            raise LeaseLost
        return room

    async def _drop_document(self, tx: Tx, page: SitePage) -> None:
        """Its document is found no more, unless another site has the page, too. First in its transaction: see `Ingest`."""
        if page.document_id is None or await site_pages.is_shared(tx, page.chatbot_id, page.site_id, page.document_id):
            return
        await self._ingest.delete_in(tx, page.chatbot_id, page.document_id)

    # --- copies ---

    async def _reopen_copies(self, held: CrawlLease) -> bool:
        """Pages that were left out for another address are fetched after all if nothing came of that one, or if they are no
        copies of it. False if there are none: then those that are copies are documents no more."""
        site = held.site

        async def body(tx: Tx) -> bool:
            if await chatbots.raise_knowledge_version(tx, site.chatbot_id) is None:
                raise LeaseLost
            await self._hold(tx, held)
            copies = await site_pages.list_copies(tx, site.chatbot_id, site.id, crawl=site.crawl)
            wrong = _no_copies(copies)
            for page in wrong:
                await site_pages.reopen(tx, page, hops=reading.MOST_HOPS)
            for copy in copies if not wrong else ():
                if copy.page.document_id is not None:
                    await self._drop_document(tx, copy.page)
                    await site_pages.forget_document(tx, copy.page)
            return bool(wrong)

        async def read(reader: Reader) -> bool:
            return bool(await site_pages.list_copies(reader, site.chatbot_id, site.id, crawl=site.crawl))

        return await self._database.read(read) and await self._database.transaction("site.copies", body)

    # --- the end ---

    async def _complete(self, held: CrawlLease) -> None:
        """All pages are settled: remove what this crawl did not find, if it could have found it."""
        site = held.site

        async def read(reader: Reader) -> tuple[list[SitePage], bool, bool]:
            depth = SITEMAP_DEPTH if site.kind == "sitemap" else 0
            entrances = await site_pages.list_entrances(reader, site.chatbot_id, site.id, crawl=site.crawl, depth=depth)
            has_lost_links = await site_pages.has_lost_links(reader, site.chatbot_id, site.id, crawl=site.crawl)
            return entrances, has_lost_links, await sites.has_reached_most_pages(reader, site.chatbot_id, site.id)

        entrances, has_lost_links, is_full = await self._database.read(read)
        failed_pages = await self._failed_pages(site)
        if (failed := await self._failure(site, entrances)) is not None:
            await self._finish(held, "failed", *failed)
            return
        if has_lost_links:
            error = "Some pages could not be read, so those that nothing links to any more were kept."
            await self._finish(held, "ready", "incomplete", f"{error} {failed_pages or ''}".rstrip())
            return
        # Which pages fit depends on which answered first: those that did not are still there, for all that is known.
        while not is_full and await self._remove_some(held):
            self._changed(site.id)
        await self._finish(held, "ready", "pages_failed" if failed_pages and not is_full else None, failed_pages)

    async def _failed_pages(self, site: Site) -> str | None:
        """Which pages could not be read, in words; None if none."""

        async def read(reader: Reader) -> list[SitePage]:
            return await site_pages.list_failed(reader, site.chatbot_id, site.id, crawl=site.crawl, limit=_MOST_NAMED + 1)

        failed = await self._database.read(read)
        if not failed:
            return None
        named = ", ".join(f"{page.url[:_LONGEST_NAMED]} ({page.reason})" for page in failed[:_MOST_NAMED])
        return f"Could not be read: {named}{' and more' if len(failed) > _MOST_NAMED else ''}."

    async def _failure(self, site: Site, entrances: Sequence[SitePage]) -> tuple[str, str] | None:
        """Why nothing was seen of the site: reason and words. None if something was."""
        if site.kind == "sitemap":
            entrances = [page for page in entrances if page.url == site.url]
        for page in entrances:
            is_shut = page.state in ("failed", "removed") or (page.state == "skipped" and page.reason in _SHUT)
            if not is_shut and page.reason != "redirected":
                break
        else:
            last = entrances[-1]
            return last.reason or "failed", last.error or "It could not be read."
        if site.kind == "sitemap" and not await self._has_pages(site):
            return "empty", "The sitemap lists no page that is wanted."
        return None

    async def _has_pages(self, site: Site) -> bool:
        async def read(reader: Reader) -> bool:
            counted = await site_pages.count_by_state(reader, site.chatbot_id, {site.id: site.crawl})
            return bool(counted[site.id].found)

        return await self._database.read(read)

    async def _remove_some(self, held: CrawlLease) -> bool:
        """Remove documents whose pages were not found; False if there are none. Raises `LeaseLost`."""
        site = held.site

        async def body(tx: Tx) -> bool:
            if await chatbots.raise_knowledge_version(tx, site.chatbot_id) is None:
                raise LeaseLost
            await self._hold(tx, held)
            unlinked = await site_pages.list_unlinked(tx, site.chatbot_id, site.id, crawl=site.crawl, limit=_BATCH)
            for page in unlinked:
                await self._drop_document(tx, page)
                await site_pages.mark_removed(tx, page, crawl=site.crawl, reason="unlinked")
            return bool(unlinked)

        return await self._database.transaction("site.remove", body)

    async def _finish(self, held: CrawlLease, state: SiteState, reason: str | None, error: str | None) -> None:
        site = held.site

        async def body(tx: Tx) -> None:
            await self._hold(tx, held)
            await site_pages.forget_others(tx, site.chatbot_id, site.id, crawl=site.crawl)
            end = functools.partial(sites.finish, tx, site.chatbot_id, site.id, lease=held.lease)
            await end(state=state, reason=reason, error=error, now_us=self._clock())

        await self._database.transaction("site.finish", body)
        self._changed(site.id)


class _Crawl:
    """What a process knows of a crawl that it carries on, beside the store."""

    def __init__(self, held: CrawlLease, robots: Robots) -> None:
        self.held = held
        self.robots = robots
        self.failures = 0  # pages that could not be had, one after the other


def _no_copies(copies: Sequence[site_pages.Copy]) -> list[SitePage]:
    """Pages of which the address that they call their own came to nothing, or which say something else than that one.

    Of pages that call each other's addresses their own the first is one, and the others are its copies until it is known.
    """
    contents: dict[str, set[str | None]] = {}
    for copy in copies:
        if copy.page.content_sha256 != copy.instead_sha256 and _path(copy.page.url) != _path(copy.instead):
            contents.setdefault(copy.instead, set()).add(copy.page.content_sha256)
    found: dict[str, SitePage] = {}
    for copy in copies:
        if not copy.is_document:
            if copy.instead not in found:
                found[copy.page.url] = copy.page
            continue
        others = contents.get(copy.instead, set())
        is_other = copy.page.content_sha256 in others and _path(copy.page.url) != _path(copy.instead)
        if is_other and (len(others) >= _FEWEST_CONTENTS or _path(copy.instead) == "/"):
            found[copy.page.url] = copy.page
    return list(found.values())


def _path(url: str) -> str:
    return web_urls.parse(url).path or "/"


_STATES: dict[str, PageState] = {"skipped": "skipped", "failed": "failed", "gone": "failed"}


def _listed(fetched: FetchResult, site: Site) -> tuple[list[WebUrl], list[WebUrl]]:
    """The sitemaps and the wanted pages that a sitemap lists. Raises `SitemapRefused`."""
    found = sitemap.read(fetched.body)
    pages = [url for url in _joined(fetched.url, found.pages) if is_wanted(url, site.include, site.exclude)]
    return _joined(fetched.url, found.sitemaps[:_MOST_SITEMAPS]), pages


def _joined(base: WebUrl, references: Sequence[str]) -> list[WebUrl]:
    """Of the same site: a sitemap may only speak for its own."""
    found = []
    for reference in references:
        try:
            url = web_urls.join(base, reference)
        except UrlRefused:
            continue
        if url.site == base.site:
            found.append(url)
    return found


def _lines(links: Sequence[WebUrl] | None) -> str | None:
    return None if links is None else "\n".join(link.text for link in links)
