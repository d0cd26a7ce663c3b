"""Crawls as background work: rows are the queue, a lease says which node crawls a site; see `jobs.py` for documents.

Invariant: a site is crawled by one node at a time; one that dies loses its lease within `LEASE_S`, and another goes on with
the same crawl. A crawl whose time has come begins without anybody asking.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from gigachat_server.clock import Clock
from gigachat_server.errors import GigachatError, StorageUnavailable
from gigachat_server.ids import random_text
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.knowledge.sites.sites import Sites
from gigachat_server.records import Chatbot, PageKind, Site
from gigachat_server.settings import Settings
from gigachat_server.store import chatbots, site_pages, sites
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.sites import Due

if TYPE_CHECKING:
    from gigachat_server.fetching.safe_fetch import SafeFetch
    from gigachat_server.knowledge.sites.crawl import Crawler, CrawlLease

LEASE_S = 30
_RENEW_S = 10
_RETRY_S = 5
_LOOK_EVERY_S = 5.0
_AT_ONCE = 32  # most of them wait, as their robots.txt asks; `Politeness` bounds how many fetch

_log = logging.getLogger("gigachat.sites")


class SiteWorker:
    """Crawls sites that are due, some at a time. `accepted`: a document waits to be ingested."""

    def __init__(
        self, database: Database, sites: Sites, ingest: Ingest, settings: Settings, clock: Clock, accepted: Callable[[], None]
    ) -> None:
        self._database = database
        self._sites = sites
        self._ingest = ingest
        self._settings = settings
        self._clock = clock
        self._accepted = accepted
        self._wake_up = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by site
        self._safe_fetch: SafeFetch | None = None
        self._crawler: Crawler | None = None
        self.first_retry_s = 2.0
        sites.on_due = self.wake_up

    def start(self) -> None:
        self._loop_task = asyncio.create_task(self._loop(), name="site-worker")

    def wake_up(self) -> None:
        """There may be something to do. A process that is no node, but was given something, sees to it from then on."""
        if self._loop_task is None:
            self.start()
        self._wake_up.set()

    async def aclose(self) -> None:
        tasks = [*self._tasks.values(), *([self._loop_task] if self._loop_task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._safe_fetch is not None:
            await self._safe_fetch.aclose()

    async def _loop(self) -> None:
        while True:
            self._wake_up.clear()
            try:
                for due in await self._list_due():
                    self._take_up(due)
            except GigachatError as error:
                _log.warning("cannot look for sites to crawl: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._wake_up.wait()

    async def _list_due(self) -> list[Due]:
        free = _AT_ONCE - len(self._tasks)
        if free <= 0:
            return []

        async def read(reader: Reader) -> list[Due]:
            return await sites.list_due(reader, now_us=self._clock(), limit=_AT_ONCE)

        # Those in hand are in the list until their leases are stored.
        return [due for due in await self._database.read(read) if due.id not in self._tasks][:free]

    def _take_up(self, due: Due) -> None:
        def forget(_: asyncio.Task[None]) -> None:
            del self._tasks[due.id]
            self.wake_up()

        task = self._tasks[due.id] = asyncio.create_task(self._work_off(due), name=f"site {due.id}")
        task.add_done_callback(forget)

    async def _work_off(self, due: Due) -> None:
        lease = random_text(8)
        try:
            claimed = await self._claim(due, lease)
            if claimed is None:
                return
            if claimed == "deleting":
                await self._sites.clear_up(due.chatbot_id, due.id)
                return
            held = await self._begin(due, lease)
            if held is not None:
                await self._crawl(held)
        except StorageUnavailable as error:
            _log.warning("site %s has to wait: %s", due.id, error)
            await self._release(due, lease, after_s=_RETRY_S)
        except asyncio.CancelledError:
            await self._release(due, lease, after_s=0)
            raise
        except Exception:  # noqa: BLE001 - the job loop: a site that fails must not stop the others
            _log.exception("site %s cannot be crawled", due.id)
            await self._fail(due, lease)

    async def _claim(self, due: Due, lease: str) -> str | None:
        async def body(tx: Tx) -> str | None:
            now_us = self._clock()
            return await sites.claim(tx, due, lease=lease, now_us=now_us, until_us=now_us + LEASE_S * 1_000_000)

        return await self._database.transaction("site.claim", body)

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

        renewing = asyncio.create_task(self._renew(held))
        try:
            await self._made_crawler().run(held)
        except LeaseLost:
            _log.info("site %s is crawled by another node, or gone", held.site.id)
        finally:
            renewing.cancel()
            self._sites.wake(held.site.id)

    def _made_crawler(self) -> Crawler:
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
                accepted=self._accepted,
                changed=self._sites.wake,
                first_retry_s=self.first_retry_s,
            )
        return self._crawler

    async def _renew(self, held: CrawlLease) -> None:
        site = held.site

        async def body(tx: Tx) -> None:
            until_us = self._clock() + LEASE_S * 1_000_000
            await sites.hold(tx, site.chatbot_id, site.id, lease=held.lease, until_us=until_us)

        while True:
            await asyncio.sleep(_RENEW_S)
            with contextlib.suppress(StorageUnavailable):  # it is tried again before the lease has run out
                await self._database.transaction("site.hold", body)

    async def _release(self, due: Due, lease: str, *, after_s: int) -> None:
        async def body(tx: Tx) -> None:
            until_us = self._clock() + after_s * 1_000_000
            await sites.release(tx, due.chatbot_id, due.id, lease=lease, until_us=until_us)

        with contextlib.suppress(StorageUnavailable):  # then its lease runs out
            await self._database.transaction("site.release", body)

    async def _fail(self, due: Due, lease: str) -> None:
        async def body(tx: Tx) -> None:
            await sites.finish(
                tx,
                due.chatbot_id,
                due.id,
                lease=lease,
                state="failed",
                reason="internal_error",
                error="Something went wrong on our side; the server's log says more.",
                now_us=self._clock(),
            )

        with contextlib.suppress(StorageUnavailable):
            await self._database.transaction("site.fail", body)
