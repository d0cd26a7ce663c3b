"""Crawls as background work: which site is next, and what becomes of a try; `work/leased.py` has the policy.

Invariant: a site is crawled by one node at a time; when that node dies, another goes on with the same crawl. A crawl whose
time has come begins without anybody asking.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from gigachat_server.clock import Clock
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.knowledge.sites.sites import Sites
from gigachat_server.records import Chatbot, PageKind, Site
from gigachat_server.settings import Settings
from gigachat_server.store import chatbots, site_pages, sites
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.sites import Due
from gigachat_server.work.background import Background

if TYPE_CHECKING:
    from gigachat_server.fetching.safe_fetch import SafeFetch
    from gigachat_server.knowledge.sites.crawl import Crawler, CrawlLease

_LOOK_EVERY_S = 5.0
_AT_ONCE = 32  # most of them wait, as their robots.txt asks; `Politeness` bounds how many fetch
_DELETE_AGAIN_US = 3_600_000_000
_PARKED = "Something went wrong on our side each time; `gigachat doctor` says what. Ask for another crawl to try again."

_log = logging.getLogger("gigachat.sites")


class SiteQueue:
    """The sites that are due. `make_crawler` is called once there is something to crawl."""

    def __init__(self, database: Database, sites: Sites, clock: Clock, make_crawler: Callable[[], Crawler]) -> None:
        self._database = database
        self._sites = sites
        self._clock = clock
        self._make_crawler = make_crawler

    async def find_next(self, running: Collection[Due], without: Collection[Due]) -> Due | None:
        async def read(reader: Reader) -> list[Due]:
            return await sites.list_due(reader, now_us=self._clock(), limit=1 + len(without))

        return next((due for due in await self._database.read(read) if due not in without), None)

    async def claim(self, due: Due, lease: str, *, now_us: int, until_us: int) -> int | None:
        async def body(tx: Tx) -> int | None:
            return await sites.claim(tx, due, lease=lease, now_us=now_us, until_us=until_us)

        return await self._database.transaction("site.claim", body)

    async def renew(self, due: Due, lease: str, *, until_us: int) -> None:
        async def body(tx: Tx) -> None:
            await sites.renew(tx, due, lease=lease, until_us=until_us)

        await self._database.transaction("site.renew", body)

    async def work_off(self, due: Due, lease: str) -> None:
        async def read(reader: Reader) -> str | None:
            return await sites.find_held_state(reader, due, lease=lease)

        state = await self._database.read(read)
        if state == "deleting":
            await self._sites.clear_up(due.chatbot_id, due.id)
        elif state is not None and (held := await self._begin(due, lease)) is not None:
            await self._crawl(held)

    async def _begin(self, due: Due, lease: str) -> CrawlLease | None:
        """The site with its crawl begun, or gone on with; None if the chatbot is gone."""
        from gigachat_server.knowledge.sites.crawl import SITEMAP_DEPTH, CrawlLease

        async def body(tx: Tx) -> tuple[Chatbot, Site] | None:
            chatbot = await chatbots.find_of_any_account(tx, due.chatbot_id)
            is_new = await sites.begin_crawl(tx, due, lease=lease, now_us=self._clock())
            site = await sites.find(tx, due.chatbot_id, due.id)
            if chatbot is None or site is None:
                return None
            if is_new:
                kind: PageKind = "sitemap" if site.kind == "sitemap" else "page"
                depth = SITEMAP_DEPTH if kind == "sitemap" else 0
                await site_pages.add(
                    tx, site.chatbot_id, site.id, [site.url], kind=kind, crawl=site.crawl, depth=depth, hops=0, place=0
                )
                if kind == "page":
                    await sites.add_found(tx, site.chatbot_id, site.id, number=1, limit_reached=None)
            return chatbot, site

        begun = await self._database.transaction("site.begin", body)
        if begun is None:
            return None
        self._sites.wake(due.id)
        return CrawlLease(*begun, lease)

    async def _crawl(self, held: CrawlLease) -> None:
        from gigachat_server.knowledge.sites.crawl import LeaseLost

        try:
            await self._make_crawler().run(held)
        except LeaseLost:
            _log.info("site %s is crawled by another node, or gone", held.site.id)
        finally:
            self._sites.wake(held.site.id)

    async def release(self, due: Due, lease: str, *, at_us: int, reason: str | None, is_counted: bool) -> None:
        async def body(tx: Tx) -> None:
            await sites.release(tx, due, lease=lease, at_us=at_us, is_counted=is_counted)

        await self._database.transaction("site.release", body)

    async def park(self, due: Due, lease: str, *, tries: int, now_us: int, reason: str) -> bool:
        async def body(tx: Tx) -> bool:
            tx.after_commit(functools.partial(self._sites.wake, due.id))
            return await sites.park(
                tx,
                due,
                lease=lease,
                tries=tries,
                reason="internal_error",
                error=_PARKED,
                why=reason,
                now_us=now_us,
                deleting_at_us=now_us + _DELETE_AGAIN_US,
            )

        return await self._database.transaction("site.park", body)


class SiteWorker:
    """Crawls sites that are due, some at a time. `due` wakes it; it sets `accepted` when a document waits to be ingested."""

    def __init__(
        self,
        database: Database,
        sites: Sites,
        ingest: Ingest,
        settings: Settings,
        clock: Clock,
        background: Background,
        *,
        due: asyncio.Event,
        accepted: asyncio.Event,
    ) -> None:
        self._database = database
        self._sites = sites
        self._ingest = ingest
        self._settings = settings
        self._clock = clock
        self._accepted = accepted
        self._safe_fetch: SafeFetch | None = None
        self._crawler: Crawler | None = None
        self.first_retry_s = 2.0
        queue = SiteQueue(database, sites, clock, self._make_crawler)
        self._leased = background.leased("crawls", queue, at_once=_AT_ONCE, every_s=_LOOK_EVERY_S, wake=due)

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, and works only once it was given something itself."""
        self._leased.start(is_dormant=is_dormant)

    def wake_up(self) -> None:
        """There may be something to do."""
        self._leased.wake_up()

    def drain(self) -> None:
        self._leased.drain()

    async def aclose(self) -> None:
        await self._leased.aclose()
        if self._safe_fetch is not None:
            await self._safe_fetch.aclose()

    def _make_crawler(self) -> Crawler:
        if self._crawler is None:
            # The HTTP client takes 0.2 s and 9 MB to import, so only those who crawl do.
            from gigachat_server.fetching.safe_fetch import SafeFetch
            from gigachat_server.knowledge.sites.crawl import Crawler

            self._safe_fetch = SafeFetch(allowed=self._settings.fetch_networks, ports=self._settings.fetch_port_ranges)
            self._crawler = Crawler(
                self._database,
                self._ingest,
                self._clock,
                self._safe_fetch,
                accepted=self._accepted.set,
                changed=self._sites.wake,
                first_retry_s=self.first_retry_s,
            )
        return self._crawler
