"""SQL of the inbox's lists: conversations of several chatbots in one order, each with what a row of a list shows.

Idea: one statement whatever the number of chatbots: a part for each, which an index of that chatbot serves, and no part reads
more than the list shows. Only for chatbots that the caller may look into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

from gigachat_server.records import Conversation
from gigachat_server.store.database import Reader

View = Literal["waiting", "mine", "unassigned", "open", "snoozed", "closed"]
VIEWS: tuple[View, ...] = get_args(View)
MOST_COUNTED = 100
MOST_CHATBOTS = 100

# The conditions of each view; those of `mine` are two, since each has an index of its own. They exclude the other statuses, as a
# store that does not know how many conversations are open might look through all of those instead.
_WHERE: dict[View, tuple[str, ...]] = {
    "waiting": ("waiting_since IS NOT NULL AND status = 'open'",),
    "mine": (
        "status NOT IN ('snoozed', 'closed') AND controlled_by <> 'bot' AND controlled_by = :me",
        "status NOT IN ('snoozed', 'closed') AND assigned_to IS NOT NULL AND assigned_to = :me AND controlled_by <> :me",
    ),
    "unassigned": ("status = 'open' AND assigned_to IS NULL AND controlled_by = 'bot'",),
    "open": ("status = 'open'",),
    "snoozed": ("status = 'snoozed'",),
    "closed": ("status = 'closed'",),
}
_COLUMNS = ", ".join(Conversation.__struct_fields__)  # which are those of the table
_LONGEST_FIRST = "waiting_since, chatbot_id, conversation_id"
_NEWEST_FIRST = "last_at DESC, chatbot_id, conversation_id"
_PREVIEW = 160


class Listed(msgspec.Struct, frozen=True):
    """A conversation with its last message, as far as a list shows it, and the name of its end user, if that is known."""

    conversation: Conversation
    said: str
    said_by: str  # the role
    name: str
    read_seq: int = 0  # how far who looks has read


class Wait(msgspec.Struct, frozen=True):
    """Somebody waits there for a human; `operator` is who is there or looks after it, empty if there is none."""

    chatbot_id: str
    conversation_id: str
    since: int
    operator: str


async def list_view(
    reader: Reader, chatbot_ids: Sequence[str], view: View, *, me: str, limit: int, marks_of: str = ""
) -> list[Listed]:
    """The first of them: who has waited longest, or else what was last spoken in. `marks_of`: whose read marks."""
    if not chatbot_ids:
        return []
    order = _LONGEST_FIRST if view == "waiting" else _NEWEST_FIRST
    parts, named = _parts(chatbot_ids, _WHERE[view], _COLUMNS, order)
    return await _listed(reader, parts, order, **named, **({"me": me} if view == "mine" else {}), limit=limit, marks_of=marks_of)


async def list_named(reader: Reader, keys: Sequence[tuple[str, str]], *, marks_of: str = "") -> list[Listed]:
    """These (chatbot_id, conversation_id), in no order."""
    if not keys:
        return []
    named = {f"{letter}{number}": part for number, key in enumerate(keys) for letter, part in zip("bc", key, strict=True)}
    parts = " UNION ALL ".join(
        f"SELECT {_COLUMNS} FROM conversations WHERE chatbot_id = :b{number} AND conversation_id = :c{number}"
        for number in range(len(keys))
    )
    return await _listed(reader, parts, _NEWEST_FIRST, **named, limit=len(keys), marks_of=marks_of)


async def list_waits(reader: Reader, chatbot_ids: Sequence[str]) -> list[Wait]:
    """Where somebody waits, longest first; `MOST_COUNTED` at most."""
    if not chatbot_ids:
        return []
    columns = "chatbot_id, conversation_id, waiting_since, controlled_by, assigned_to"
    parts, named = _parts(chatbot_ids, _WHERE["waiting"], columns, _LONGEST_FIRST)
    rows = await reader.all(f"SELECT * FROM ({parts}) AS w ORDER BY {_LONGEST_FIRST} LIMIT :limit", **named, limit=MOST_COUNTED)
    return [Wait(row[0], row[1], row[2], row[3] if row[3] != "bot" else row[4] or "") for row in rows]


async def count_mine(reader: Reader, chatbot_ids: Sequence[str], me: str) -> int:
    """Up to `MOST_COUNTED`."""
    if not chatbot_ids or not me:
        return 0
    parts, named = _parts(chatbot_ids, _WHERE["mine"], "chatbot_id, conversation_id, last_at", _NEWEST_FIRST)
    row = await reader.one(
        f"SELECT count(*) FROM (SELECT 1 FROM ({parts}) AS m LIMIT :limit) AS n", **named, me=me, limit=MOST_COUNTED
    )
    return int(row[0]) if row else 0


def _parts(chatbot_ids: Sequence[str], wheres: Sequence[str], columns: str, order: str) -> tuple[str, dict[str, Any]]:
    """What each chatbot contributes, as SQL, and its parameters."""
    parts = [
        f"SELECT * FROM (SELECT {columns} FROM conversations WHERE chatbot_id = :b{number} AND {where} "
        f"ORDER BY {order} LIMIT :limit) AS p{number}_{branch}"
        for number in range(len(chatbot_ids))
        for branch, where in enumerate(wheres)
    ]
    return " UNION ALL ".join(parts), {f"b{number}": each for number, each in enumerate(chatbot_ids)}


async def _listed(reader: Reader, parts: str, order: str, **named: Any) -> list[Listed]:
    columns = ", ".join(f"c.{name}" for name in _COLUMNS.split(", "))
    rows = await reader.all(
        f"SELECT {columns}, substr(m.content, 1, {_PREVIEW}), m.role, u.name, r.seq "
        f"FROM (SELECT * FROM ({parts}) AS a ORDER BY {order} LIMIT :limit) AS c "
        "LEFT JOIN messages m ON m.chatbot_id = c.chatbot_id AND m.conversation_id = c.conversation_id "
        "AND m.seq = c.last_message_seq "
        "LEFT JOIN end_users u ON u.chatbot_id = c.chatbot_id AND u.user_id = c.user_id "
        "LEFT JOIN read_marks r ON r.chatbot_id = c.chatbot_id AND r.conversation_id = c.conversation_id "
        "AND r.reader = :marks_of "
        f"ORDER BY {', '.join(f'c.{name}' for name in order.split(', '))}",
        **named,
    )
    return [Listed(Conversation(*row[:-4]), row[-4] or "", row[-3] or "", row[-2] or "", row[-1] or 0) for row in rows]
