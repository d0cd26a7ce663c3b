"""SQL of figures: what happened in a chatbot on a day (UTC), as it is counted, and what whole days came to.

What happened is read by the time of its event, so each fact belongs to one day for good. A day is its number since 1970.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from gigachat_server.store.database import Reader, Tx

DAY_US = 86_400_000_000
COUNTED = (
    "message.created",
    "message.feedback",
    "turn.failed",
    "handoff.requested",
    "conversation.taken_over",
    "conversation.rated",
)
_TYPES = ", ".join(f"'{each}'" for each in COUNTED)
_SAID = "m.chatbot_id = e.chatbot_id AND m.conversation_id = e.conversation_id"


class Happened(msgspec.Struct, frozen=True):
    """An event, with what the figures need of the message that it tells of. `data` and `metadata` are JSON.

    `answered_after` is how long the end user had waited for this first word of a human; `is_refusal`, whether the prompt that it
    replies to counts as unanswered.
    """

    conversation_id: str
    seq: int
    type: str
    data: str
    at: int
    message_id: str | None
    role: str | None
    status: str | None
    in_reply_to: str | None
    metadata: str | None  # of replies
    answered_after: int | None
    is_refusal: int  # 0 or 1


# The wait ends with the first word of an operator behind the newest handoff; further words end none.
_ANSWERED_AFTER = (
    "CASE WHEN m.role = 'operator' THEN (SELECT e.created_at - h.created_at FROM events h WHERE h.chatbot_id = e.chatbot_id "
    "AND h.conversation_id = e.conversation_id AND h.type = 'handoff.requested' AND h.seq < e.seq AND NOT EXISTS (SELECT 1 "
    "FROM messages o WHERE o.chatbot_id = e.chatbot_id AND o.conversation_id = e.conversation_id AND o.role = 'operator' "
    "AND o.seq > h.seq AND o.seq < e.seq) ORDER BY h.seq DESC LIMIT 1) END"
)
_REFUSED = (
    "CASE WHEN m.in_reply_to IS NULL THEN 0 WHEN EXISTS (SELECT 1 FROM unanswered u WHERE u.chatbot_id = e.chatbot_id "
    "AND u.prompt_id = m.in_reply_to) THEN 1 ELSE 0 END"
)


async def list_happened(
    reader: Reader, chatbot_id: str, *, from_us: int, until_us: int, after: tuple[int, str, int], limit: int
) -> list[Happened]:
    """A page of what is counted, by time; `after` is (at, conversation_id, seq) of the last one before it."""
    at, conversation_id, seq = after
    rows = await reader.all(
        # The page first: what else is wanted is looked up for its events alone.
        "SELECT e.conversation_id, e.seq, e.type, e.data, e.created_at, m.id, m.role, m.status, m.in_reply_to, "
        f"CASE WHEN m.role = 'assistant' THEN m.metadata END, {_ANSWERED_AFTER}, {_REFUSED} FROM ("
        "SELECT chatbot_id, conversation_id, seq, type, data, created_at FROM events "
        "WHERE chatbot_id = :chatbot_id AND created_at >= :from_us AND created_at < :until_us "
        "AND (created_at, conversation_id, seq) > (:at, :conversation_id, :seq) "
        f"AND (type IN ({_TYPES}) OR seq = 1) ORDER BY created_at, conversation_id, seq LIMIT :limit) AS e "
        f"LEFT JOIN messages m ON {_SAID} AND e.type = 'message.created' AND m.seq = e.seq "
        "ORDER BY e.created_at, e.conversation_id, e.seq",
        chatbot_id=chatbot_id,
        from_us=max(from_us, at),  # one bound for the index, so that no page reads those before it again
        until_us=until_us,
        at=at,
        conversation_id=conversation_id,
        seq=seq,
        limit=limit,
    )
    return [Happened(*row) for row in rows]


async def list_thumbs(reader: Reader, chatbot_id: str, message_ids: Collection[str]) -> list[str]:
    """The ratings, `up` or `down`, that these replies have now."""
    rows = await reader.all(
        "SELECT feedback FROM messages WHERE chatbot_id = :chatbot_id AND id = ANY(:ids) AND feedback IS NOT NULL",
        chatbot_id=chatbot_id,
        ids=list(message_ids),
    )
    return [row[0] for row in rows]


# --- whole days ---


async def list_figures(reader: Reader, chatbot_id: str, *, from_day: int, until_day: int) -> list[tuple[int, str, str, int]]:
    """By day, name and dimension, with the value; up to but for the last day."""
    rows = await reader.all(
        "SELECT day, name, dimension, value FROM figures "
        "WHERE chatbot_id = :chatbot_id AND day >= :from_day AND day < :until_day ORDER BY day, name, dimension",
        chatbot_id=chatbot_id,
        from_day=from_day,
        until_day=until_day,
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


async def replace(tx: Tx, chatbot_id: str, day: int, figures: Iterable[tuple[str, str, int]]) -> None:
    """The day has these, and no others."""
    await tx.run("DELETE FROM figures WHERE chatbot_id = :chatbot_id AND day = :day", chatbot_id=chatbot_id, day=day)
    await tx.run_many(
        "INSERT INTO figures (chatbot_id, day, name, dimension, value) VALUES (:chatbot_id, :day, :name, :dimension, :value)",
        [
            {"chatbot_id": chatbot_id, "day": day, "name": name, "dimension": dimension, "value": value}
            for name, dimension, value in figures
        ],
    )


# --- the queue of days ---


async def find_next_day(reader: Reader, chatbot_id: str) -> int | None:
    """The first day that is not counted yet; None if none is."""
    row = await reader.one("SELECT next_day FROM figure_days WHERE chatbot_id = :chatbot_id", chatbot_id=chatbot_id)
    return row[0] if row else None


async def list_due(reader: Reader, *, today: int, now_us: int, limit: int) -> list[str]:
    """Chatbots with whole days that are not counted, and that no worker holds."""
    rows = await reader.all(
        "SELECT c.id FROM chatbots c LEFT JOIN figure_days f ON f.chatbot_id = c.id "
        "WHERE f.chatbot_id IS NULL OR (f.next_day < :today AND f.due_at <= :now_us AND f.lease_until <= :now_us) "
        "ORDER BY c.id LIMIT :limit",
        today=today,
        now_us=now_us,
        limit=limit,
    )
    return [row[0] for row in rows]


async def claim(tx: Tx, chatbot_id: str, *, first_day: int, lease: str, today: int, now_us: int, until_us: int) -> int | None:
    """Hold its days; the number of this attempt. None if another worker does, or none are left.

    `first_day` is that of a chatbot that has none counted yet.
    """
    await tx.run(
        "INSERT INTO figure_days (chatbot_id, next_day, due_at) SELECT :chatbot_id, :first_day, 0 FROM chatbots "
        "WHERE id = :chatbot_id FOR KEY SHARE ON CONFLICT (chatbot_id) DO NOTHING",
        chatbot_id=chatbot_id,
        first_day=first_day,
    )
    row = await tx.one(
        "UPDATE figure_days SET attempts = attempts + 1, lease = :lease, lease_until = :until_us WHERE chatbot_id = :chatbot_id "
        "AND next_day < :today AND due_at <= :now_us AND lease_until <= :now_us RETURNING attempts",
        chatbot_id=chatbot_id,
        today=today,
        lease=lease,
        now_us=now_us,
        until_us=until_us,
    )
    return row[0] if row else None


async def find_held(reader: Reader, chatbot_id: str, *, lease: str) -> int | None:
    """The day to count next, if it is held under this lease."""
    row = await reader.one(
        "SELECT next_day FROM figure_days WHERE chatbot_id = :chatbot_id AND lease = :lease", chatbot_id=chatbot_id, lease=lease
    )
    return row[0] if row else None


async def move_on(tx: Tx, chatbot_id: str, *, lease: str, day: int, next_day: int) -> bool:
    """That day is counted. False if it is not held under this lease any more."""
    return bool(
        await tx.run(
            "UPDATE figure_days SET next_day = :next_day, attempts = 0 WHERE chatbot_id = :chatbot_id AND lease = :lease "
            "AND next_day = :day",
            chatbot_id=chatbot_id,
            lease=lease,
            day=day,
            next_day=next_day,
        )
    )


async def find_first_time(reader: Reader, chatbot_id: str, *, since_us: int) -> int | None:
    """When anything first happened there since then."""
    row = await reader.one(
        "SELECT min(created_at) FROM events WHERE chatbot_id = :chatbot_id AND created_at >= :since_us",
        chatbot_id=chatbot_id,
        since_us=since_us,
    )
    return row[0] if row else None


async def renew(tx: Tx, chatbot_id: str, *, lease: str, until_us: int) -> None:
    await tx.run(
        "UPDATE figure_days SET lease_until = :until_us WHERE chatbot_id = :chatbot_id AND lease = :lease",
        chatbot_id=chatbot_id,
        lease=lease,
        until_us=until_us,
    )


async def release(tx: Tx, chatbot_id: str, *, lease: str, at_us: int, is_counted: bool) -> None:
    await tx.run(
        "UPDATE figure_days SET lease = NULL, lease_until = 0, due_at = :at_us, attempts = greatest(attempts - :given_back, 0) "
        "WHERE chatbot_id = :chatbot_id AND lease = :lease",
        chatbot_id=chatbot_id,
        lease=lease,
        at_us=at_us,
        given_back=0 if is_counted else 1,
    )


async def rest(tx: Tx, chatbot_id: str, *, lease: str, until_us: int) -> bool:
    """None of its days is counted before then; whether it was held under this lease."""
    return bool(
        await tx.run(
            "UPDATE figure_days SET lease = NULL, lease_until = 0, due_at = :until_us, attempts = 0 "
            "WHERE chatbot_id = :chatbot_id AND lease = :lease",
            chatbot_id=chatbot_id,
            lease=lease,
            until_us=until_us,
        )
    )
