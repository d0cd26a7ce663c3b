"""SQL of conversations, and the one statement that orders everything in them.

Invariant: every write into a conversation first takes its next `seq` and `last_at` here, in the same transaction.
The row lock makes `seq` gap-free, and `greatest(last_at + 1, now)` makes times strictly increasing whatever the clocks
do: wall clocks alone put 3,986 of 8,000 messages out of order with two writers 5 s apart, this put none. Text of the
chatbot takes its place under the `control_epoch` its turn began with, so none is stored after a human took over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from gigachat_server.records import Conversation, ConversationStatus
from gigachat_server.store import mails, message_texts
from gigachat_server.store.database import Reader, Tx

Speaker = Literal["user", "chatbot", "operator"]

_COLUMNS = (
    "chatbot_id, conversation_id, user_id, last_seq, last_at, controlled_by, control_epoch, release_at, "
    "handoff_requested_at, answering, queued, created_at, status, snoozed_until, closed_at, assigned_to, waiting_since, "
    "last_message_seq"
)
_ADVANCE = "last_seq = conversations.last_seq + 1, last_at = greatest(conversations.last_at + 1, :now_us)"
_PLACE = "last_seq, last_at, controlled_by, control_epoch, release_at, handoff_requested_at, answering, queued, opened_seq"
# What an utterance changes besides: whoever speaks opens the conversation again, and a human ends the wait for one.
_REOPEN = (
    ", opened_seq = CASE WHEN conversations.status = 'open' THEN conversations.opened_seq ELSE conversations.last_seq + 1 END, "
    "status = 'open', snoozed_until = NULL, closed_at = NULL"
)
_SPEAK: dict[Speaker | None, str] = {
    None: "",
    "chatbot": ", last_message_seq = conversations.last_seq + 1",
    "operator": f", last_message_seq = conversations.last_seq + 1, waiting_since = NULL{_REOPEN}",
    "user": ", last_message_seq = conversations.last_seq + 1, waiting_since = CASE WHEN conversations.controlled_by <> 'bot' "
    "OR conversations.handoff_requested_at IS NOT NULL "
    f"THEN coalesce(conversations.waiting_since, greatest(conversations.last_at + 1, :now_us)) END{_REOPEN}",
}
# A chatbot that was looked up before may have changed since.
_CHATBOT = (
    "(SELECT knowledge_version FROM chatbots WHERE id = :chatbot_id), (SELECT updated_at FROM chatbots WHERE id = :chatbot_id)"
)
_QUEUED = (
    "(SELECT count(*) FROM messages m WHERE m.chatbot_id = :chatbot_id AND m.conversation_id = :conversation_id "
    "AND m.turn IN ('queued', 'running') AND m.turn = 'queued')"  # the first condition is that of the index
)
_WHICH = "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id"

# A conversation belongs to the account of its chatbot: of a foreign chatbot there is none.
_OWNED = "EXISTS (SELECT 1 FROM chatbots WHERE id = :chatbot_id AND account_id = :account_id)"

_BY = {None: "", True: "AND controlled_by <> 'bot' ", False: "AND controlled_by = 'bot' "}
_WAITING = {None: "", True: "AND waiting_since IS NOT NULL ", False: "AND waiting_since IS NULL "}
_WAITED_FOR = {None: "", True: "AND handoff_requested_at IS NOT NULL ", False: "AND handoff_requested_at IS NULL "}

BOT = "bot"


class Place(msgspec.Struct, frozen=True):
    """A place in the order of a conversation, and how the conversation stood at that moment."""

    seq: int
    at: int
    controlled_by: str
    control_epoch: int
    release_at: int | None
    handoff_requested_at: int | None
    answering: str | None
    queued: int
    opened_seq: int

    @property
    def is_reopening(self) -> bool:
        """Whether what stands here opened a conversation that was closed or snoozed."""
        return self.opened_seq == self.seq


async def open_empty(tx: Tx, chatbot_id: str, conversation_id: str, *, now_us: int) -> None:
    """Have a conversation of that id, in which nothing was said yet if there was none. For those who act before any word."""
    await tx.run(
        "INSERT INTO conversations (chatbot_id, conversation_id, user_id, last_seq, last_at, created_at) "
        "SELECT :chatbot_id, :conversation_id, NULL, 0, :now_us, :now_us FROM chatbots WHERE id = :chatbot_id FOR KEY SHARE "
        "ON CONFLICT (chatbot_id, conversation_id) DO NOTHING",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        now_us=now_us,
    )


async def open_and_advance(
    tx: Tx, chatbot_id: str, conversation_id: str, *, now_us: int, speaker: Speaker | None = None
) -> Place | None:
    """The next place, in a new conversation if there is none of that id; None if the chatbot is gone.

    `speaker`: of the message that will stand there; None for an event that is no message. Prompts have a way of their own.
    """
    row = await tx.one(
        "INSERT INTO conversations (chatbot_id, conversation_id, user_id, last_seq, last_at, last_message_seq, created_at) "
        "SELECT :chatbot_id, :conversation_id, NULL, 1, :now_us, :said, :now_us "
        "FROM chatbots WHERE id = :chatbot_id FOR KEY SHARE "
        f"ON CONFLICT (chatbot_id, conversation_id) DO UPDATE SET {_ADVANCE}{_SPEAK[speaker]} RETURNING {_PLACE}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        said=int(speaker is not None),
        now_us=now_us,
    )
    return Place(*row) if row else None


async def open_for_prompt(
    tx: Tx,
    chatbot_id: str,
    conversation_id: str,
    *,
    user_id: str,
    prompt_id: str,
    lease_until: int,
    most_queued: int,
    now_us: int,
    is_new: bool = True,
) -> tuple[Place, tuple[int, int]] | None:
    """The next place, for a prompt that takes the lease if it is free, and otherwise waits in the queue.

    And the `Chatbot.version` that is in force. `is_new`: it is said now, not to be answered once more.

    None if the chatbot is gone, or if `most_queued` prompts wait already.
    """
    row = await tx.one(
        "INSERT INTO conversations "
        "(chatbot_id, conversation_id, user_id, last_seq, last_at, last_message_seq, answering, lease_until, created_at) "
        "SELECT :chatbot_id, :conversation_id, :user_id, 1, :now_us, 1, :prompt_id, :lease_until, :now_us "
        "FROM chatbots WHERE id = :chatbot_id FOR KEY SHARE "
        f"ON CONFLICT (chatbot_id, conversation_id) DO UPDATE SET {_ADVANCE}{_SPEAK['user' if is_new else None]}, "
        "user_id = coalesce(conversations.user_id, :user_id), "
        "queued = conversations.queued + CASE WHEN conversations.controlled_by = 'bot' AND conversations.answering IS NOT NULL "
        "THEN 1 ELSE 0 END, "
        "answering = CASE WHEN conversations.controlled_by = 'bot' AND conversations.answering IS NULL "
        "THEN :prompt_id ELSE conversations.answering END, "
        "lease_until = CASE WHEN conversations.controlled_by = 'bot' AND conversations.answering IS NULL "
        "THEN :lease_until ELSE conversations.lease_until END "
        "WHERE conversations.controlled_by <> 'bot' OR conversations.answering IS NULL OR conversations.queued < :most_queued "
        f"RETURNING {_PLACE}, {_CHATBOT}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        user_id=user_id,
        prompt_id=prompt_id,
        lease_until=lease_until,
        most_queued=most_queued,
        now_us=now_us,
    )
    return (Place(*row[:-2]), row[-2:]) if row else None


async def advance(
    tx: Tx, chatbot_id: str, conversation_id: str, *, control_epoch: int, now_us: int, is_last: bool
) -> Place | None:
    """The next place for text of the chatbot; None if the conversation is gone or its control_epoch has risen since.

    With the last text of a turn the lease is given up, unless prompts wait: see `hand_on`.
    """
    release = (
        ", answering = CASE WHEN queued = 0 THEN NULL ELSE answering END, "
        "lease_until = CASE WHEN queued = 0 THEN NULL ELSE lease_until END"
        if is_last
        else ""
    )
    row = await tx.one(
        f"UPDATE conversations SET {_ADVANCE}{_SPEAK['chatbot']}{release} {_WHICH} "
        f"AND control_epoch = :control_epoch RETURNING {_PLACE}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        control_epoch=control_epoch,
        now_us=now_us,
    )
    return Place(*row) if row else None


async def hand_on(tx: Tx, chatbot_id: str, conversation_id: str, *, prompt_id: str | None, lease_until: int | None) -> None:
    """Give the lease to that prompt's turn, or free it. Only for the holder, or after raising the control_epoch."""
    await tx.run(
        f"UPDATE conversations SET answering = :prompt_id, lease_until = :lease_until, queued = {_QUEUED} {_WHICH}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        prompt_id=prompt_id,
        lease_until=lease_until,
    )


async def count_queued(tx: Tx, chatbot_id: str, conversation_id: str) -> None:
    """After prompts that waited were deleted."""
    await tx.run(f"UPDATE conversations SET queued = {_QUEUED} {_WHICH}", chatbot_id=chatbot_id, conversation_id=conversation_id)


async def hold(tx: Tx, chatbot_id: str, conversation_id: str, *, control_epoch: int, prompt_id: str) -> bool:
    """Whether that prompt's turn still holds the lease; until the transaction ends, it does."""
    return bool(
        await tx.run(
            f"UPDATE conversations SET queued = queued {_WHICH} AND control_epoch = :control_epoch AND answering = :prompt_id",
            chatbot_id=chatbot_id,
            conversation_id=conversation_id,
            control_epoch=control_epoch,
            prompt_id=prompt_id,
        )
    )


async def raise_epoch(tx: Tx, chatbot_id: str, conversation_id: str, *, lease_was: int | None = None) -> Conversation | None:
    """From now on no text of the running reply is stored. None if it is gone, or its lease is not that one any more."""
    if_lease = "AND (lease_until = :lease_was OR answering IS NULL) " if lease_was is not None else ""
    row = await tx.one(
        f"UPDATE conversations SET control_epoch = control_epoch + 1 {_WHICH} {if_lease}RETURNING {_COLUMNS}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        **({"lease_was": lease_was} if lease_was is not None else {}),
    )
    return Conversation(*row) if row else None


async def renew_leases(tx: Tx, leases: Iterable[tuple[str, str, str]], *, lease_until: int) -> None:
    """Of the turns (chatbot_id, conversation_id, prompt_id) that still hold theirs."""
    await tx.run_many(
        f"UPDATE conversations SET lease_until = :lease_until {_WHICH} AND answering = :prompt_id",
        (
            {"chatbot_id": chatbot_id, "conversation_id": conversation_id, "prompt_id": prompt_id, "lease_until": lease_until}
            for chatbot_id, conversation_id, prompt_id in leases
        ),
    )


async def give_up(tx: Tx, chatbot_id: str, conversation_id: str, *, control_epoch: int, prompt_id: str) -> None:
    """End the lease if that prompt's turn still holds it. The first process to find the conversation settles the rest."""
    await tx.run(
        f"UPDATE conversations SET lease_until = 0 {_WHICH} AND control_epoch = :control_epoch AND answering = :prompt_id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        control_epoch=control_epoch,
        prompt_id=prompt_id,
    )


async def take_over(
    tx: Tx, chatbot_id: str, conversation_id: str, *, operator: str, release_at: int | None, may_take_from: bool
) -> Conversation | None:
    """Give control to the operator and raise the control_epoch; None if another operator has it and keeps it.

    Control that the operator has already is theirs for longer; nothing else changes then.
    """
    row = await tx.one(
        "UPDATE conversations SET control_epoch = control_epoch + CASE WHEN controlled_by = :operator THEN 0 ELSE 1 END, "
        "controlled_by = :operator, release_at = :release_at, handoff_requested_at = NULL, "
        "answering = NULL, lease_until = NULL, queued = 0 "
        f"{_WHICH} AND (controlled_by = 'bot' OR controlled_by = :operator OR :may_take_from = 1) RETURNING {_COLUMNS}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        operator=operator,
        release_at=release_at,
        may_take_from=int(may_take_from),
    )
    return Conversation(*row) if row else None


async def extend_control(tx: Tx, chatbot_id: str, conversation_id: str, *, release_at: int | None) -> None:
    """An operator has spoken: if one is in control, then for as long again."""
    await tx.run(
        f"UPDATE conversations SET release_at = :release_at {_WHICH} AND controlled_by <> 'bot'",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        release_at=release_at,
    )


async def release(tx: Tx, chatbot_id: str, conversation_id: str, *, due_at: int | None = None) -> Conversation | None:
    """Give control back to the chatbot; None if it has it.

    With `due_at`, only if it was to be given back by then; and who waits for a human waits on: see `end_wait`.
    """
    if_due, if_done = ("AND release_at <= :due_at ", "") if due_at is not None else ("", ", waiting_since = NULL")
    row = await tx.one(
        "UPDATE conversations SET controlled_by = 'bot', control_epoch = control_epoch + 1, release_at = NULL"
        f"{if_done} {_WHICH} "
        f"AND controlled_by <> 'bot' {if_due}RETURNING {_COLUMNS}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        **({"due_at": due_at} if due_at is not None else {}),
    )
    return Conversation(*row) if row else None


async def end_wait(tx: Tx, chatbot_id: str, conversation_id: str) -> None:
    """No human is waited for."""
    await tx.run(
        f"UPDATE conversations SET waiting_since = NULL {_WHICH}", chatbot_id=chatbot_id, conversation_id=conversation_id
    )


async def request_handoff(tx: Tx, chatbot_id: str, conversation_id: str, *, at: int) -> bool:
    """Note that a human is wanted; False if that is known already, or a human is there."""
    return bool(
        await tx.run(
            f"UPDATE conversations SET handoff_requested_at = :at, waiting_since = coalesce(waiting_since, :at) {_WHICH} "
            "AND handoff_requested_at IS NULL AND controlled_by = 'bot'",
            chatbot_id=chatbot_id,
            conversation_id=conversation_id,
            at=at,
        )
    )


async def reopen(tx: Tx, chatbot_id: str, conversation_id: str, *, due_at: int | None = None) -> bool:
    """Open it if it is closed or snoozed; whether it was. With `due_at`, only if it was snoozed until then."""
    if_due = "AND status = 'snoozed' AND snoozed_until <= :due_at" if due_at is not None else "AND status <> 'open'"
    return bool(
        await tx.run(
            f"UPDATE conversations SET status = 'open', snoozed_until = NULL, closed_at = NULL {_WHICH} {if_due}",
            chatbot_id=chatbot_id,
            conversation_id=conversation_id,
            **({"due_at": due_at} if due_at is not None else {}),
        )
    )


async def snooze(tx: Tx, chatbot_id: str, conversation_id: str, *, until: int) -> None:
    await tx.run(
        f"UPDATE conversations SET status = 'snoozed', snoozed_until = :until, closed_at = NULL {_WHICH}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        until=until,
    )


async def close(tx: Tx, chatbot_id: str, conversation_id: str, *, at: int) -> None:
    """It is closed until the next message."""
    await tx.run(
        "UPDATE conversations SET status = 'closed', closed_at = :at, snoozed_until = NULL, waiting_since = NULL, "
        f"handoff_requested_at = NULL {_WHICH}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        at=at,
    )


async def assign(tx: Tx, chatbot_id: str, conversation_id: str, *, operator: str | None) -> None:
    await tx.run(
        f"UPDATE conversations SET assigned_to = :operator {_WHICH}",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        operator=operator,
    )


async def list_snoozed_until(reader: Reader, *, now_us: int) -> list[tuple[str, str]]:
    """Conversations (chatbot_id, conversation_id) that are to be looked at again by now."""
    rows = await reader.all(
        "SELECT chatbot_id, conversation_id FROM conversations WHERE snoozed_until IS NOT NULL AND snoozed_until <= :now_us",
        now_us=now_us,
    )
    return [(row[0], row[1]) for row in rows]


async def end_leases(tx: Tx) -> None:
    """End every lease. Only for a process that is alone on the store and has not begun any turn."""
    await tx.run(
        "UPDATE conversations SET lease_until = 0 WHERE answering IS NOT NULL AND (chatbot_id, conversation_id) IN "
        "(SELECT chatbot_id, conversation_id FROM messages WHERE turn IN ('queued', 'running'))"
    )


async def list_abandoned(reader: Reader, *, now_us: int) -> list[tuple[str, str, int]]:
    """Conversations whose open prompts no process is answering: (chatbot_id, conversation_id, when the lease ended)."""
    rows = await reader.all(
        "SELECT DISTINCT c.chatbot_id, c.conversation_id, coalesce(c.lease_until, 0) FROM messages m JOIN conversations c "
        "ON c.chatbot_id = m.chatbot_id AND c.conversation_id = m.conversation_id "
        "WHERE m.turn IN ('queued', 'running') AND (c.answering IS NULL OR c.lease_until < :now_us)",
        now_us=now_us,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def list_due_for_release(reader: Reader, *, now_us: int) -> list[tuple[str, str]]:
    """Conversations (chatbot_id, conversation_id) whose operator has been silent for too long."""
    rows = await reader.all(
        "SELECT chatbot_id, conversation_id FROM conversations WHERE release_at IS NOT NULL AND release_at <= :now_us",
        now_us=now_us,
    )
    return [(row[0], row[1]) for row in rows]


async def find(reader: Reader, chatbot_id: str, conversation_id: str) -> Conversation | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM conversations WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )
    return Conversation(*row) if row else None


async def find_owned(reader: Reader, account_id: str, chatbot_id: str, conversation_id: str) -> Conversation | None:
    """The same for a caller: None if it is another account's."""
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM conversations {_WHICH} AND {_OWNED}",
        account_id=account_id,
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )
    return Conversation(*row) if row else None


async def lock(tx: Tx, chatbot_id: str, conversation_id: str) -> Conversation | None:
    """The conversation as it is, and will be until this transaction changes it or ends. For those who read before they write."""
    row = await tx.one(
        f"SELECT {_COLUMNS} FROM conversations {_WHICH} FOR UPDATE", chatbot_id=chatbot_id, conversation_id=conversation_id
    )
    return Conversation(*row) if row else None


async def find_answering(reader: Reader, chatbot_id: str, conversation_id: str, *, now_us: int) -> str | None:
    """The prompt whose turn holds the lease; None if the lease is free, or has run out."""
    row = await reader.one(
        f"SELECT answering FROM conversations {_WHICH} AND lease_until > :now_us",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        now_us=now_us,
    )
    return row[0] if row else None


class ConversationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which conversations are listed; None: whatever they are.

    `by_human`: an operator has control; `handoff_requested`: a human was asked for and has not come; `is_waiting`: the end user
    waits for a human's answer; `assigned_to`: that operator, or "" for the unassigned; `owned_by`: that end user's own, and
    `among`: of these ids alone, but then also those that are no user's.
    """

    by_human: bool | None = None
    controlled_by: str | None = None
    handoff_requested: bool | None = None
    status: ConversationStatus | None = None
    is_waiting: bool | None = None
    assigned_to: str | None = None
    user_id: str | None = None
    owned_by: str | None = None
    among: frozenset[str] | None = None

    def conditions(self) -> tuple[str, dict[str, Any]]:
        """As SQL, and its parameters."""
        wanted = {"status": self.status, "controlled_by": self.controlled_by, "user_id": self.user_id}
        named: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        sql = "".join(f"AND {name} = :{name} " for name in named) + _BY[self.by_human] + _WAITED_FOR[self.handoff_requested]
        if self.controlled_by not in (None, BOT):
            sql += _BY[True]  # says what follows from the name, for the index of those
        sql += _WAITING[self.is_waiting]
        if self.assigned_to == "":
            sql += "AND assigned_to IS NULL "
        elif self.assigned_to is not None:
            sql += "AND assigned_to = :assigned_to "
            named["assigned_to"] = self.assigned_to
        if self.owned_by is not None:
            sql += "AND user_id = :owned_by " if self.among is None else "AND (user_id = :owned_by OR user_id IS NULL) "
            named["owned_by"] = self.owned_by
        if self.among is not None:
            sql += "AND conversation_id = ANY(:among) "
            named["among"] = sorted(self.among)
        return sql, named


async def list_conversations(
    reader: Reader,
    account_id: str,
    chatbot_id: str,
    *,
    before: tuple[int, str] | None,
    limit: int,
    which: ConversationFilter = ConversationFilter(),  # noqa: B008 - frozen
) -> list[Conversation]:
    """Of the account's own chatbot, the one that spoke last first; `before` is (last_at, conversation_id) of the last seen."""
    at, conversation_id = before or (2**62, "")
    conditions, named = which.conditions()
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM conversations WHERE chatbot_id = :chatbot_id AND {_OWNED} "
        f"AND (last_at, conversation_id) < (:at, :conversation_id) {conditions}"
        "ORDER BY last_at DESC, conversation_id DESC LIMIT :limit",
        account_id=account_id,
        chatbot_id=chatbot_id,
        at=at,
        conversation_id=conversation_id,
        limit=limit,
        **named,
    )
    return [Conversation(*row) for row in rows]


async def list_longest_waiting(
    reader: Reader,
    account_id: str,
    chatbot_id: str,
    *,
    after: tuple[int, str] | None,
    limit: int,
    which: ConversationFilter = ConversationFilter(),  # noqa: B008 - frozen
) -> list[Conversation]:
    """Those in which somebody waits for a human, longest first; `after` is (waiting_since, conversation_id) of the last seen."""
    since, conversation_id = after or (-1, "")
    conditions, named = which.conditions()
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM conversations WHERE chatbot_id = :chatbot_id AND {_OWNED} AND waiting_since IS NOT NULL "
        f"AND (waiting_since, conversation_id) > (:since, :conversation_id) {conditions}"
        "ORDER BY waiting_since, conversation_id LIMIT :limit",
        account_id=account_id,
        chatbot_id=chatbot_id,
        since=since,
        conversation_id=conversation_id,
        limit=limit,
        **named,
    )
    return [Conversation(*row) for row in rows]


async def delete(tx: Tx, chatbot_id: str, conversation_id: str) -> bool:
    """Remove it and all it holds; False if there is none."""
    tx.erases()
    # Its row first: this waits for those who are writing into it, and deletes what they wrote with the rest.
    if not await tx.run(f"DELETE FROM conversations {_WHICH}", chatbot_id=chatbot_id, conversation_id=conversation_id):
        return False
    await message_texts.delete_of_conversation(tx, chatbot_id, conversation_id)
    await mails.delete_about(tx, chatbot_id, conversation_id)
    for table in ("events", "drafts", "unanswered", "notes", "proposals", "messages", "read_marks", "typing", "ratings"):
        await tx.run(f"DELETE FROM {table} {_WHICH}", chatbot_id=chatbot_id, conversation_id=conversation_id)
    return True


async def list_of_user(reader: Reader, chatbot_id: str, user_id: str) -> list[tuple[str, bool]]:
    """Ids of the conversations this end user spoke in or opened, each with whether other end users spoke in it too."""
    rows = await reader.all(
        "SELECT c.conversation_id, EXISTS (SELECT 1 FROM messages m WHERE m.chatbot_id = :chatbot_id "
        "AND m.conversation_id = c.conversation_id AND m.role = 'user' AND m.user_id <> :user_id) FROM "
        "(SELECT conversation_id FROM conversations WHERE chatbot_id = :chatbot_id AND user_id = :user_id "
        "UNION SELECT conversation_id FROM messages WHERE chatbot_id = :chatbot_id AND user_id = :user_id) AS c",
        chatbot_id=chatbot_id,
        user_id=user_id,
    )
    return [(row[0], bool(row[1])) for row in rows]


async def give_to(tx: Tx, chatbot_id: str, was: str, user_id: str, *, most: int) -> list[str]:
    """The newest conversations of one end user become another's; their ids."""
    rows = await tx.all(
        "SELECT conversation_id FROM conversations WHERE chatbot_id = :chatbot_id AND user_id = :was "
        "ORDER BY last_at DESC, conversation_id DESC LIMIT :most FOR UPDATE",
        chatbot_id=chatbot_id,
        was=was,
        most=most,
    )
    ids = sorted(row[0] for row in rows)
    await tx.run(
        "UPDATE conversations SET user_id = :user_id WHERE chatbot_id = :chatbot_id AND conversation_id = ANY(:ids)",
        chatbot_id=chatbot_id,
        user_id=user_id,
        ids=ids,
    )
    return ids


async def forget_opener(tx: Tx, chatbot_id: str, conversation_id: str, user_id: str) -> None:
    """The conversation goes on without naming this end user."""
    await tx.run(
        "UPDATE conversations SET user_id = NULL "
        "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND user_id = :user_id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        user_id=user_id,
    )
