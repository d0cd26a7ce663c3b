"""Sites as their owner sees them: adding, changing, crawling again, removing, and watching a crawl.

Invariant: a site that was removed is gone for everybody at once, and its documents go with it, whatever was being crawled; what
a crash leaves of them is cleared up by the next worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

import msgspec

from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, NotFound, ShuttingDown, StorageUnavailable
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.records import Site, SiteProgress
from gigachat_server.store import chatbots, idempotency, site_pages, sites
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.work.waking import Watchers, is_set_within

MOST_SITES = 100  # of one chatbot

_LOOK_EVERY_S = 0.5  # other nodes crawl, too, and documents become ready without a word
_DELETED_AT_ONCE = 50


class SiteExists(Conflict):
    code = "site_exists"
    message = "This chatbot has that site already: have it crawled again, or change it."


class TooManySites(Conflict):
    code = "too_many_sites"
    message = f"A chatbot may have {MOST_SITES} sites; remove one."


class SiteStatus(msgspec.Struct, frozen=True):
    """A site and how far its crawl is."""

    site: Site
    progress: SiteProgress

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen by itself: what could be read can be found, or it has failed."""
        return self.site.state == "failed" or (self.site.state == "ready" and not self.progress.indexing)


class Sites:
    """`due` is set when there may be a site to crawl or to clear up."""

    def __init__(self, database: Database, ingest: Ingest, clock: Clock, due: asyncio.Event) -> None:
        self._database = database
        self._ingest = ingest
        self._clock = clock
        self._due = due
        self._watchers: Watchers[str] = Watchers()

    async def add(self, account_id: str, site: Site, *, key: idempotency.Key | None) -> SiteStatus:
        """Have it crawled; with a key, its status is kept under it. Raises `NotFound`, `SiteExists`, `TooManySites`."""
        added = SiteStatus(site, SiteProgress())

        async def body(tx: Tx) -> None:
            if await chatbots.lock(tx, account_id, site.chatbot_id) is None:
                raise NotFound
            # First: the same request may have added it, and is then told so, not that it exists.
            await idempotency.keep_result(tx, key, added, now_us=self._clock())
            if await sites.find_by_url(tx, site.chatbot_id, site.kind, site.url) is not None:
                raise SiteExists
            if await sites.count(tx, site.chatbot_id) >= MOST_SITES:
                raise TooManySites
            await sites.insert(tx, site)

        await self._database.transaction("site.add", body)
        self._due.set()
        return added

    async def change(self, chatbot_id: str, site_id: str, change: Callable[[Site], Site]) -> Site:
        """What it becomes counts from its next crawl on, which its schedule may bring now. Raises `NotFound`."""
        now_us = self._clock()

        async def body(tx: Tx) -> Site:
            held = await sites.lock(tx, chatbot_id, site_id)
            if held is None:
                raise NotFound
            changed = msgspec.structs.replace(change(held), updated_at=max(held.updated_at + 1, now_us))
            if held.state in ("ready", "failed"):
                changed = msgspec.structs.replace(changed, due_at=next_due_at(changed))
            await sites.update(tx, changed)
            return changed

        changed = await self._database.transaction("site.change", body)
        self._due.set()
        return changed

    async def crawl_now(self, chatbot_id: str, site_id: str, *, key: idempotency.Key | None) -> SiteStatus:
        """It is crawled as soon as a worker is free; one that is being crawled goes on. Raises `NotFound`.

        With a key, its status is kept under it.
        """

        async def body(tx: Tx) -> SiteStatus:
            await sites.ask_for_crawl(tx, chatbot_id, site_id, now_us=self._clock())
            site = await sites.find(tx, chatbot_id, site_id)
            if site is None:
                raise NotFound
            (seen,) = await see_all(tx, [site])
            await idempotency.keep_result(tx, key, seen, now_us=self._clock())
            return seen

        seen = await self._database.transaction("site.crawl", body)
        self._due.set()
        return seen

    async def remove(self, chatbot_id: str, site_id: str) -> None:
        """The site and its documents are gone. Raises `NotFound`."""

        async def body(tx: Tx) -> bool:
            return await sites.mark_deleting(tx, chatbot_id, site_id, now_us=self._clock())

        if not await self._database.transaction("site.remove", body):
            raise NotFound
        self.wake(site_id)
        await self.clear_up(chatbot_id, site_id)

    async def clear_up(self, chatbot_id: str, site_id: str) -> None:
        """Nothing is left of a site that was removed."""

        async def body(tx: Tx) -> bool:
            await chatbots.raise_knowledge_version(tx, chatbot_id)
            pages = await site_pages.list_with_document(tx, chatbot_id, site_id, limit=_DELETED_AT_ONCE)
            for page in pages:
                assert page.document_id is not None
                if not await site_pages.is_shared(tx, chatbot_id, site_id, page.document_id):
                    await self._ingest.delete_in(tx, chatbot_id, page.document_id)
                await site_pages.forget_document(tx, page)
            if pages:
                return True
            await site_pages.delete_all(tx, chatbot_id, site_id)
            await sites.delete(tx, chatbot_id, site_id)
            return False

        while await self._database.transaction("site.clear", body):
            pass

    # --- watching ---

    async def see(self, chatbot_id: str, site_id: str) -> SiteStatus:
        """Raises `NotFound`."""

        async def read(reader: Reader) -> SiteStatus:
            site = await sites.find(reader, chatbot_id, site_id)
            if site is None:
                raise NotFound
            return (await see_all(reader, [site]))[0]

        return await self._database.read(read)

    async def follow(self, chatbot_id: str, site_id: str, *, idle_s: float) -> AsyncGenerator[SiteStatus | None, None]:
        """The site now and whenever something of it has changed, until it is over; None when nothing did for so long.

        Raises `NotFound` when it is removed, `ShuttingDown` when this process stops.
        """
        loop = asyncio.get_running_loop()
        shown: SiteStatus | None = None
        told_at = loop.time()
        with self._watchers.watching(site_id) as woken:
            while True:
                if self._watchers.is_closed:
                    raise ShuttingDown(retry_after_s=5)
                woken.clear()
                seen: SiteStatus | None = None
                with suppress(StorageUnavailable):  # for now: a follower waits
                    seen = await self.see(chatbot_id, site_id)
                if seen is not None and seen != shown:
                    shown, told_at = seen, loop.time()
                    yield seen
                    if seen.is_over:
                        return
                elif loop.time() - told_at >= idle_s:
                    told_at = loop.time()
                    yield None
                await is_set_within(woken, _LOOK_EVERY_S)

    def close(self) -> None:
        """Every follower ends with `ShuttingDown`."""
        self._watchers.close()

    def wake(self, site_id: str) -> None:
        """Something of it has changed."""
        self._watchers.wake(site_id)


async def see_all(reader: Reader, found: list[Site]) -> list[SiteStatus]:
    """Sites of one chatbot, each with how far its crawl is."""
    if not found:
        return []
    counted = await site_pages.count_by_state(reader, found[0].chatbot_id, {site.id: site.crawl for site in found})
    return [SiteStatus(site, counted[site.id]) for site in found]


def next_due_at(site: Site) -> int | None:
    """When a site that is not being crawled is to be crawled next."""
    if site.recrawl_hours is None:
        return None
    return (site.crawled_at or site.created_at) + site.recrawl_hours * 3_600_000_000
