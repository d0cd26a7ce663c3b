"""SQL of the pages of a site. Those that are `pending` are the frontier of its current crawl, in the order of their places."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.records import PageKind, PageState, SitePage, SiteProgress
from gigachat_server.store.database import Reader, Row, Tx

_COLUMNS = (
    "chatbot_id, site_id, url, kind, crawl, depth, hops, state, reason, error, attempts, document_id, content_sha256, etag, "
    "last_modified, fetched_at"
)
_NAMES = tuple(name.strip() for name in _COLUMNS.split(","))
_WITH_DOCUMENT = ", ".join(
    f"CASE WHEN d.state = 'failed' THEN d.{name} ELSE p.{name} END" if name in ("state", "reason", "error") else f"p.{name}"
    for name in _NAMES
)
_OF_SITE = "chatbot_id = :chatbot_id AND site_id = :site_id"


_STATES = frozenset(msgspec.structs.asdict(SiteProgress()))  # a later version may know more


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a page. `links` is what it links to on its site, one a line; None: as it was."""

    state: PageState
    reason: str | None = None
    error: str | None = None
    document_id: str | None = None
    content_sha256: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    links: str | None = None
    instead: str | None = None


async def list_known(reader: Reader, chatbot_id: str, site_id: str, *, crawl: int, urls: Sequence[str]) -> set[str]:
    """Which of them this crawl has found before."""
    rows = await reader.all(
        f"SELECT url FROM site_pages WHERE {_OF_SITE} AND crawl = :crawl AND url = ANY(:urls)",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
        urls=list(urls),
    )
    return {row[0] for row in rows}


async def count_sitemaps(reader: Reader, chatbot_id: str, site_id: str, *, crawl: int) -> int:
    """How many this crawl has found."""
    row = await reader.one(
        f"SELECT count(*) FROM site_pages WHERE {_OF_SITE} AND crawl = :crawl AND kind = 'sitemap'",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
    )
    return 0 if row is None else int(row[0])


async def add(
    tx: Tx, chatbot_id: str, site_id: str, urls: Sequence[str], *, kind: PageKind, crawl: int, depth: int, hops: int, place: int
) -> None:
    """They are to be fetched by this crawl. What an earlier one knew of them stays known."""
    await tx.run_many(
        "INSERT INTO site_pages (chatbot_id, site_id, url, kind, crawl, depth, hops, place, state) "
        "VALUES (:chatbot_id, :site_id, :url, :kind, :crawl, :depth, :hops, :place, 'pending') "
        "ON CONFLICT (chatbot_id, site_id, url) DO UPDATE SET kind = :kind, crawl = :crawl, depth = :depth, hops = :hops, "
        "place = :place, state = 'pending', reason = NULL, error = NULL, attempts = 0, retry_at = 0",
        [
            {
                "chatbot_id": chatbot_id,
                "site_id": site_id,
                "url": url,
                "kind": kind,
                "crawl": crawl,
                "depth": depth,
                "hops": hops,
                "place": place + number,
            }
            for number, url in enumerate(urls)
        ],
    )


async def list_pending(reader: Reader, chatbot_id: str, site_id: str, *, crawl: int, now_us: int, limit: int) -> list[SitePage]:
    """The next pages to fetch, the shallowest first."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM site_pages WHERE {_OF_SITE} AND state = 'pending' AND crawl = :crawl AND retry_at <= :now_us "
        "ORDER BY depth, place, url LIMIT :limit",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
        now_us=now_us,
        limit=limit,
    )
    return [_page(row) for row in rows]


async def next_retry_at(reader: Reader, chatbot_id: str, site_id: str, *, crawl: int) -> int | None:
    """When the first of the pages that wait may be fetched; None if none waits."""
    row = await reader.one(
        f"SELECT min(retry_at) FROM site_pages WHERE {_OF_SITE} AND state = 'pending' AND crawl = :crawl",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
    )
    return row[0] if row else None


async def get_links(reader: Reader, page: SitePage) -> str:
    """What it linked to when it was last read, one a line."""
    row = await reader.one(
        f"SELECT links FROM site_pages WHERE {_OF_SITE} AND url = :url",
        chatbot_id=page.chatbot_id,
        site_id=page.site_id,
        url=page.url,
    )
    return row[0] if row else ""


async def settle(tx: Tx, page: SitePage, outcome: Outcome, *, now_us: int) -> bool:
    """Store what came of it; False if it is no longer to be fetched by this crawl."""
    return bool(
        await tx.run(
            "UPDATE site_pages SET state = :state, reason = :reason, error = :error, document_id = :document_id, "
            "content_sha256 = :content_sha256, etag = :etag, last_modified = :last_modified, fetched_at = :now_us, "
            "instead = :instead, "
            f"links = coalesce(:links, links) WHERE {_OF_SITE} AND url = :url AND crawl = :crawl AND state = 'pending'",
            chatbot_id=page.chatbot_id,
            site_id=page.site_id,
            url=page.url,
            crawl=page.crawl,
            now_us=now_us,
            **msgspec.structs.asdict(outcome),
        )
    )


async def put_off(tx: Tx, page: SitePage, *, retry_at: int, error: str) -> None:
    """It could not be fetched; another try may come to something else."""
    await tx.run(
        "UPDATE site_pages SET attempts = attempts + 1, retry_at = :retry_at, error = :error "
        f"WHERE {_OF_SITE} AND url = :url AND crawl = :crawl AND state = 'pending'",
        chatbot_id=page.chatbot_id,
        site_id=page.site_id,
        url=page.url,
        crawl=page.crawl,
        retry_at=retry_at,
        error=error,
    )


async def find_same_content(reader: Reader, page: SitePage, *, content_sha256: str) -> str | None:
    """The page that has the same content and is a document in this crawl, or is on the way to be one again."""
    row = await reader.one(
        f"SELECT url FROM site_pages WHERE {_OF_SITE} AND content_sha256 = :content_sha256 AND crawl = :crawl "
        "AND url <> :url AND (state IN ('ready', 'unchanged') OR (state = 'pending' AND document_id IS NOT NULL)) LIMIT 1",
        chatbot_id=page.chatbot_id,
        site_id=page.site_id,
        url=page.url,
        crawl=page.crawl,
        content_sha256=content_sha256,
    )
    return row[0] if row else None


async def reopen_duplicates(tx: Tx, page: SitePage) -> None:
    """Pages that this crawl left out because they are the same as this page was are fetched after all."""
    await tx.run(
        "UPDATE site_pages SET state = 'pending', reason = NULL, error = NULL, attempts = 0, retry_at = 0 "
        f"WHERE {_OF_SITE} AND crawl = :crawl AND state = 'skipped' AND reason = 'duplicate' "
        "AND content_sha256 = :content_sha256",
        chatbot_id=page.chatbot_id,
        site_id=page.site_id,
        crawl=page.crawl,
        content_sha256=page.content_sha256,
    )


class Copy(msgspec.Struct, frozen=True):
    """A page that was left out because it calls another address its own, and what became of that one."""

    page: SitePage
    instead: str
    is_document: bool
    instead_sha256: str | None


async def list_copies(reader: Reader, chatbot_id: str, site_id: str, *, crawl: int) -> list[Copy]:
    """In the order in which they were found."""
    columns = ", ".join(f"p.{name}" for name in _NAMES)
    rows = await reader.all(
        f"SELECT {columns}, p.instead, o.state IN ('ready', 'unchanged'), o.content_sha256 FROM site_pages p "
        "LEFT JOIN site_pages o ON o.chatbot_id = p.chatbot_id AND o.site_id = p.site_id AND o.url = p.instead "
        "AND o.crawl = p.crawl WHERE p.chatbot_id = :chatbot_id AND p.site_id = :site_id AND p.crawl = :crawl "
        "AND p.state = 'skipped' AND p.reason = 'canonical' AND p.instead IS NOT NULL ORDER BY p.depth, p.place, p.url",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
    )
    return [Copy(_page(row[:-3]), row[-3], bool(row[-2]), row[-1]) for row in rows]


async def reopen(tx: Tx, page: SitePage, *, hops: int) -> None:
    """It is fetched after all."""
    await tx.run(
        "UPDATE site_pages SET state = 'pending', reason = NULL, error = NULL, attempts = 0, retry_at = 0, hops = :hops, "
        f"instead = NULL WHERE {_OF_SITE} AND url = :url AND crawl = :crawl AND state = 'skipped'",
        chatbot_id=page.chatbot_id,
        site_id=page.site_id,
        url=page.url,
        crawl=page.crawl,
        hops=hops,
    )


async def list_failed(reader: Reader, chatbot_id: str, site_id: str, *, crawl: int, limit: int) -> list[SitePage]:
    """Pages that could not be read by this crawl, and were there: not those that the server says are gone."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM site_pages WHERE {_OF_SITE} AND crawl = :crawl AND state = 'failed' AND reason <> 'not_found' "
        "ORDER BY url LIMIT :limit",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
        limit=limit,
    )
    return [_page(row) for row in rows]


async def is_shared(reader: Reader, chatbot_id: str, site_id: str, document_id: str) -> bool:
    """Whether another site of the chatbot has a page that is the same document."""
    row = await reader.one(
        "SELECT 1 FROM site_pages WHERE chatbot_id = :chatbot_id AND document_id = :document_id AND site_id <> :site_id LIMIT 1",
        chatbot_id=chatbot_id,
        site_id=site_id,
        document_id=document_id,
    )
    return row is not None


async def list_pages(reader: Reader, chatbot_id: str, site_id: str, *, after: str | None, limit: int) -> list[SitePage]:
    """By URL; sitemaps are none. A page whose document cannot be made of it has failed, with the document's reason."""
    rows = await reader.all(
        f"SELECT {_WITH_DOCUMENT} FROM site_pages p "
        "LEFT JOIN documents d ON d.chatbot_id = p.chatbot_id AND d.id = p.document_id "
        "WHERE p.chatbot_id = :chatbot_id AND p.site_id = :site_id AND p.kind = 'page' "
        "AND (CAST(:after AS TEXT) IS NULL OR p.url > :after) ORDER BY p.url LIMIT :limit",
        chatbot_id=chatbot_id,
        site_id=site_id,
        after=after,
        limit=limit,
    )
    return [_page(row) for row in rows]


async def list_entrances(reader: Reader, chatbot_id: str, site_id: str, *, crawl: int, depth: int) -> list[SitePage]:
    """Where a crawl began, with where that redirected."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM site_pages WHERE {_OF_SITE} AND crawl = :crawl AND depth = :depth ORDER BY place",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
        depth=depth,
    )
    return [_page(row) for row in rows]


async def has_lost_links(reader: Reader, chatbot_id: str, site_id: str, *, crawl: int) -> bool:
    """Whether what told of other pages before could not be read by this crawl."""
    row = await reader.one(
        f"SELECT 1 FROM site_pages WHERE {_OF_SITE} AND crawl = :crawl AND state = 'failed' "
        "AND (content_sha256 IS NOT NULL OR links <> '' OR kind = 'sitemap') LIMIT 1",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
    )
    return row is not None


async def list_unlinked(reader: Reader, chatbot_id: str, site_id: str, *, crawl: int, limit: int) -> list[SitePage]:
    """Pages that are documents and that this crawl did not find."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM site_pages WHERE {_OF_SITE} AND crawl < :crawl AND document_id IS NOT NULL ORDER BY url "
        "LIMIT :limit",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
        limit=limit,
    )
    return [_page(row) for row in rows]


async def mark_removed(tx: Tx, page: SitePage, *, crawl: int, reason: str) -> None:
    """That crawl saw that it is gone."""
    await tx.run(
        "UPDATE site_pages SET state = 'removed', reason = :reason, error = NULL, document_id = NULL, content_sha256 = NULL, "
        f"etag = NULL, last_modified = NULL, links = '', crawl = :crawl WHERE {_OF_SITE} AND url = :url",
        chatbot_id=page.chatbot_id,
        site_id=page.site_id,
        url=page.url,
        crawl=crawl,
        reason=reason,
    )


async def forget_others(tx: Tx, chatbot_id: str, site_id: str, *, crawl: int) -> None:
    """Drop what earlier crawls found and no document was left of."""
    await tx.run(
        f"DELETE FROM site_pages WHERE {_OF_SITE} AND crawl < :crawl AND document_id IS NULL",
        chatbot_id=chatbot_id,
        site_id=site_id,
        crawl=crawl,
    )


async def list_with_document(reader: Reader, chatbot_id: str, site_id: str, *, limit: int) -> list[SitePage]:
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM site_pages WHERE {_OF_SITE} AND document_id IS NOT NULL ORDER BY url LIMIT :limit",
        chatbot_id=chatbot_id,
        site_id=site_id,
        limit=limit,
    )
    return [_page(row) for row in rows]


async def forget_document(tx: Tx, page: SitePage) -> None:
    await tx.run(
        f"UPDATE site_pages SET document_id = NULL WHERE {_OF_SITE} AND url = :url",
        chatbot_id=page.chatbot_id,
        site_id=page.site_id,
        url=page.url,
    )


async def delete_all(tx: Tx, chatbot_id: str, site_id: str) -> None:
    await tx.run(f"DELETE FROM site_pages WHERE {_OF_SITE}", chatbot_id=chatbot_id, site_id=site_id)


# --- progress ---


async def count_by_state(reader: Reader, chatbot_id: str, crawls: dict[str, int]) -> dict[str, SiteProgress]:
    """Of each of these sites, by its id, how far its crawl of that number is."""
    rows = await reader.all(
        "SELECT site_id, crawl, state, count(*) FROM site_pages WHERE chatbot_id = :chatbot_id AND site_id = ANY(:site_ids) "
        "AND kind = 'page' GROUP BY site_id, crawl, state",
        chatbot_id=chatbot_id,
        site_ids=list(crawls),
    )
    counted: dict[str, dict[str, int]] = {site_id: {} for site_id in crawls}
    for site_id, crawl, state, number in rows:
        if crawl == crawls[site_id]:
            counted[site_id][state] = number
    not_ready = await _count_not_ready(reader, chatbot_id, list(crawls))
    return {
        site_id: SiteProgress(
            **{state: number for state, number in states.items() if state in _STATES},
            found=sum(states.values()),
            unreadable=not_ready.get((site_id, "failed"), 0),
            indexing=sum(number for (of, state), number in not_ready.items() if of == site_id and state != "failed"),
        )
        for site_id, states in counted.items()
    }


async def _count_not_ready(reader: Reader, chatbot_id: str, site_ids: list[str]) -> dict[tuple[str, str], int]:
    """How many of the sites' documents are on their way to be found, or never will be: by site and state."""
    rows = await reader.all(
        "SELECT p.site_id, d.state, count(*) FROM documents d "
        "JOIN site_pages p ON p.chatbot_id = d.chatbot_id AND p.document_id = d.id "
        "WHERE d.chatbot_id = :chatbot_id AND d.state <> 'ready' AND p.site_id = ANY(:site_ids) GROUP BY p.site_id, d.state",
        chatbot_id=chatbot_id,
        site_ids=site_ids,
    )
    return {(row[0], row[1]): row[2] for row in rows}


def _page(row: Row) -> SitePage:
    return SitePage(**dict(zip(_NAMES, row, strict=True)))
