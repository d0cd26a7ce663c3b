"""SQL of sites. Rows with a `due_at` are the queue of crawls: who takes one holds it by a lease with a name of its own.

Invariant: every write of a crawl names its lease, and changes nothing once another crawl has taken the site.
"""

from __future__ import annotations

import msgspec

from gigachat_server.records import Site, SiteState
from gigachat_server.store.database import Reader, Row, Tx
from gigachat_server.store.json_columns import JsonColumn

_COLUMNS = (
    "chatbot_id, id, url, kind, depth, max_pages, include, exclude, recrawl_hours, state, reason, error, crawl, due_at, "
    "crawled_at, created_at, updated_at"
)
_NAMES = tuple(name.strip() for name in _COLUMNS.split(","))

_PATTERNS: dict[str, JsonColumn[tuple[str, ...]]] = {
    name: JsonColumn(f"sites.{name}", tuple[str, ...], otherwise=tuple) for name in ("include", "exclude")
}


class Due(msgspec.Struct, frozen=True):
    """A site that is to be crawled, or cleared up."""

    chatbot_id: str
    id: str

    def __str__(self) -> str:
        return f"site {self.id}"


class Room(msgspec.Struct, frozen=True):
    """What a crawl, which still holds its site, may add to it."""

    found: int
    max_pages: int


async def insert(tx: Tx, site: Site) -> None:
    await tx.run(
        f"INSERT INTO sites ({_COLUMNS}, found) VALUES (:chatbot_id, :id, :url, :kind, :depth, :max_pages, :include, :exclude, "
        ":recrawl_hours, :state, :reason, :error, :crawl, :due_at, :crawled_at, :created_at, :updated_at, 0)",
        **_parameters(site),
    )


async def find(reader: Reader, chatbot_id: str, site_id: str) -> Site | None:
    """One that is being deleted is gone."""
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM sites WHERE chatbot_id = :chatbot_id AND id = :id AND state <> 'deleting'",
        chatbot_id=chatbot_id,
        id=site_id,
    )
    return _site(row) if row else None


async def lock(tx: Tx, chatbot_id: str, site_id: str) -> Site | None:
    """The site as it is, and will be until this transaction changes it or ends."""
    row = await tx.one(
        f"SELECT {_COLUMNS} FROM sites WHERE chatbot_id = :chatbot_id AND id = :id AND state <> 'deleting' FOR UPDATE",
        chatbot_id=chatbot_id,
        id=site_id,
    )
    return _site(row) if row else None


async def find_by_url(reader: Reader, chatbot_id: str, kind: str, url: str) -> str | None:
    """Its id, also while it is being deleted."""
    row = await reader.one(
        "SELECT id FROM sites WHERE chatbot_id = :chatbot_id AND kind = :kind AND url = :url",
        chatbot_id=chatbot_id,
        kind=kind,
        url=url,
    )
    return row[0] if row else None


async def count(reader: Reader, chatbot_id: str) -> int:
    row = await reader.one("SELECT count(*) FROM sites WHERE chatbot_id = :chatbot_id", chatbot_id=chatbot_id)
    return int(row[0]) if row else 0


async def list_sites(reader: Reader, chatbot_id: str, *, after: str | None, limit: int) -> list[Site]:
    """Newest first."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM sites WHERE chatbot_id = :chatbot_id AND state <> 'deleting' "
        "AND (CAST(:after AS TEXT) IS NULL OR id < :after) ORDER BY id DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        after=after,
        limit=limit,
    )
    return [_site(row) for row in rows]


async def update(tx: Tx, site: Site) -> None:
    """Store how it is to be crawled, and when next. For a site that this transaction has locked."""
    row = await tx.one(
        "SELECT include, exclude FROM sites WHERE chatbot_id = :chatbot_id AND id = :id", chatbot_id=site.chatbot_id, id=site.id
    )
    if row is None:
        return
    await tx.run(
        "UPDATE sites SET depth = :depth, max_pages = :max_pages, include = :include, exclude = :exclude, "
        "recrawl_hours = :recrawl_hours, due_at = :due_at, updated_at = :updated_at "
        "WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=site.chatbot_id,
        id=site.id,
        depth=site.depth,
        max_pages=site.max_pages,
        include=_PATTERNS["include"].rewrite(row[0], site.include, site.id),
        exclude=_PATTERNS["exclude"].rewrite(row[1], site.exclude, site.id),
        recrawl_hours=site.recrawl_hours,
        due_at=site.due_at,
        updated_at=site.updated_at,
    )


async def ask_for_crawl(tx: Tx, chatbot_id: str, site_id: str, *, now_us: int) -> bool:
    """Have it crawled now; False if that is so already, or it is gone."""
    return bool(
        await tx.run(
            "UPDATE sites SET state = 'pending', due_at = :now_us, tries = 0, parked_at = NULL, parked_reason = NULL, "
            "updated_at = :now_us "
            "WHERE chatbot_id = :chatbot_id AND id = :id AND state IN ('ready', 'failed')",
            chatbot_id=chatbot_id,
            id=site_id,
            now_us=now_us,
        )
    )


async def mark_deleting(tx: Tx, chatbot_id: str, site_id: str, *, now_us: int) -> bool:
    """From now on it is gone for everyone but who clears up behind it; its crawl, if one runs, ends."""
    return bool(
        await tx.run(
            "UPDATE sites SET state = 'deleting', due_at = :now_us, lease = NULL, lease_until = 0, tries = 0 "
            "WHERE chatbot_id = :chatbot_id AND id = :id AND state <> 'deleting'",
            chatbot_id=chatbot_id,
            id=site_id,
            now_us=now_us,
        )
    )


async def delete(tx: Tx, chatbot_id: str, site_id: str) -> None:
    tx.erases()
    await tx.run("DELETE FROM sites WHERE chatbot_id = :chatbot_id AND id = :id", chatbot_id=chatbot_id, id=site_id)


# --- the queue ---


async def list_due(reader: Reader, *, now_us: int, limit: int) -> list[Due]:
    """Due sites without a lease, the longest waiting first."""
    rows = await reader.all(
        "SELECT chatbot_id, id FROM sites WHERE due_at <= :now_us AND lease_until <= :now_us ORDER BY due_at, id LIMIT :limit",
        now_us=now_us,
        limit=limit,
    )
    return [Due(*row) for row in rows]


async def claim(tx: Tx, due: Due, *, lease: str, now_us: int, until_us: int) -> int | None:
    """Hold the site until the lease ends: how often it was tried with this. None if another was faster."""
    row = await tx.one(
        "UPDATE sites SET lease = :lease, lease_until = :until_us, tries = tries + 1, parked_at = NULL, parked_reason = NULL "
        "WHERE chatbot_id = :chatbot_id AND id = :id AND due_at <= :now_us AND lease_until <= :now_us RETURNING tries",
        chatbot_id=due.chatbot_id,
        id=due.id,
        lease=lease,
        now_us=now_us,
        until_us=until_us,
    )
    return row[0] if row else None


async def find_held_state(reader: Reader, due: Due, *, lease: str) -> SiteState | None:
    """The state of a site; None if it is not held under this lease any more."""
    row = await reader.one(
        "SELECT state FROM sites WHERE chatbot_id = :chatbot_id AND id = :id AND lease = :lease",
        chatbot_id=due.chatbot_id,
        id=due.id,
        lease=lease,
    )
    return row[0] if row else None


async def release_all(tx: Tx) -> None:
    """No site has a lease. Only for a store that this process has to itself: every earlier holder is dead."""
    await tx.run("UPDATE sites SET lease = NULL, lease_until = 0 WHERE lease_until > 0")


async def release(tx: Tx, due: Due, *, lease: str, at_us: int, is_counted: bool) -> None:
    """It may be claimed from then on; unless the try counts, it is as if there had been none.

    What is still on its way under this lease is not stored.
    """
    await tx.run(
        "UPDATE sites SET lease = NULL, lease_until = :at_us, tries = greatest(tries - :given_back, 0) "
        "WHERE chatbot_id = :chatbot_id AND id = :id AND lease = :lease",
        chatbot_id=due.chatbot_id,
        id=due.id,
        lease=lease,
        at_us=at_us,
        given_back=0 if is_counted else 1,
    )


async def park(
    tx: Tx, due: Due, *, lease: str, tries: int, reason: str, error: str, why: str, now_us: int, deleting_at_us: int
) -> bool:
    """Give up after so many tries: `failed` to its owner, with `reason` and `error`; `why` is for who runs this server.

    It is tried again when its next crawl is due, or asked for; what is to be deleted, from `deleting_at_us` on. False if it is
    not held under this lease, or was tried less often, since something came of it meanwhile.
    """
    return bool(
        await tx.run(
            "UPDATE sites SET reason = :reason, error = :error, lease = NULL, lease_until = 0, tries = 0, parked_at = :now_us, "
            "parked_reason = :why, updated_at = :now_us, "
            "crawled_at = CASE state WHEN 'deleting' THEN crawled_at ELSE :now_us END, "
            "due_at = CASE state WHEN 'deleting' THEN :deleting_at_us ELSE :now_us + recrawl_hours * 3600000000 END, "
            "state = CASE state WHEN 'deleting' THEN state ELSE 'failed' END "
            "WHERE chatbot_id = :chatbot_id AND id = :id AND lease = :lease AND tries >= :tries",
            chatbot_id=due.chatbot_id,
            id=due.id,
            lease=lease,
            tries=tries,
            reason=reason,
            error=error,
            why=why,
            now_us=now_us,
            deleting_at_us=deleting_at_us,
        )
    )


async def retry_parked(tx: Tx, *, but: str, now_us: int) -> None:
    """Have every parked site tried again now, but those that were parked for this reason."""
    await tx.run(
        "UPDATE sites SET due_at = :now_us, parked_at = NULL, parked_reason = NULL, "
        "state = CASE state WHEN 'deleting' THEN state ELSE 'pending' END "
        "WHERE parked_at IS NOT NULL AND parked_reason <> :but",
        now_us=now_us,
        but=but,
    )


async def begin_crawl(tx: Tx, due: Due, *, lease: str, now_us: int) -> bool:
    """Its next crawl begins, unless it is in the middle of one: False."""
    return bool(
        await tx.run(
            "UPDATE sites SET state = 'crawling', reason = NULL, error = NULL, crawl = crawl + 1, found = 0, "
            "limit_reached = NULL, updated_at = :now_us "
            "WHERE chatbot_id = :chatbot_id AND id = :id AND lease = :lease AND state IN ('pending', 'ready', 'failed')",
            chatbot_id=due.chatbot_id,
            id=due.id,
            lease=lease,
            now_us=now_us,
        )
    )


async def hold(tx: Tx, chatbot_id: str, site_id: str, *, lease: str, until_us: int) -> Room | None:
    """Renew the lease, and have the row for this transaction, which stores what came of the crawl, and resets its tries.

    None if the site is no longer held under it.
    """
    row = await tx.one(
        "UPDATE sites SET lease_until = :until_us, tries = 0 WHERE chatbot_id = :chatbot_id AND id = :id AND lease = :lease "
        "RETURNING found, max_pages",
        chatbot_id=chatbot_id,
        id=site_id,
        lease=lease,
        until_us=until_us,
    )
    return Room(*row) if row else None


async def renew(tx: Tx, due: Due, *, lease: str, until_us: int) -> None:
    await tx.run(
        "UPDATE sites SET lease_until = :until_us WHERE chatbot_id = :chatbot_id AND id = :id AND lease = :lease",
        chatbot_id=due.chatbot_id,
        id=due.id,
        lease=lease,
        until_us=until_us,
    )


async def has_reached_most_pages(reader: Reader, chatbot_id: str, site_id: str) -> bool:
    """Whether its crawl has left out pages for want of room."""
    row = await reader.one(
        "SELECT 1 FROM sites WHERE chatbot_id = :chatbot_id AND id = :id AND limit_reached = 'max_pages'",
        chatbot_id=chatbot_id,
        id=site_id,
    )
    return row is not None


async def add_found(tx: Tx, chatbot_id: str, site_id: str, *, number: int, limit_reached: str | None) -> None:
    """So many more pages were found; of limits that were reached the number of pages counts before the depth."""
    await tx.run(
        "UPDATE sites SET found = found + :number, limit_reached = CASE WHEN limit_reached = 'max_pages' "
        "THEN limit_reached ELSE coalesce(:limit_reached, limit_reached) END WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=chatbot_id,
        id=site_id,
        number=number,
        limit_reached=limit_reached,
    )


async def finish(
    tx: Tx, chatbot_id: str, site_id: str, *, lease: str, state: SiteState, reason: str | None, error: str | None, now_us: int
) -> None:
    """The crawl is over; the next one is due as its schedule says. Without a reason, that is the limit it ran into."""
    await tx.run(
        "UPDATE sites SET state = :state, reason = coalesce(CAST(:reason AS TEXT), limit_reached), error = :error, lease = NULL, "
        "lease_until = 0, tries = 0, due_at = :now_us + recrawl_hours * 3600000000, crawled_at = :now_us, updated_at = :now_us "
        "WHERE chatbot_id = :chatbot_id AND id = :id AND lease = :lease",
        chatbot_id=chatbot_id,
        id=site_id,
        lease=lease,
        state=state,
        reason=reason,
        error=error,
        now_us=now_us,
    )


def _parameters(site: Site) -> dict[str, object]:
    values: dict[str, object] = msgspec.structs.asdict(site)
    patterns = {name: column.write(getattr(site, name)) for name, column in _PATTERNS.items()}
    return {**values, **patterns}


def _site(row: Row) -> Site:
    values = dict(zip(_NAMES, row, strict=True))
    patterns = {name: column.read(values[name], values["id"]) for name, column in _PATTERNS.items()}
    return Site(**{**values, **patterns})
