"""SQL of chatbots. There is no getter without an account: a foreign chatbot looks like none."""

from __future__ import annotations

from collections.abc import Sequence

from gigachat_server.records import Chatbot, ChatbotConfig, RestrictionsConfig
from gigachat_server.store import message_texts
from gigachat_server.store.database import Database, Reader, Row, Tx
from gigachat_server.store.json_columns import JsonColumn

_COLUMNS = "id, account_id, name, config, knowledge_version, created_at, updated_at"
# In this order: the first two wait for those who are writing into them, and what those wrote is deleted with the rest.
_BELOW = (
    "conversations",
    "documents",
    "events",
    "drafts",
    "idempotency",
    "messages",
    "chunks",
    "units",
    "uploads",
    "made_embeddings",
    "sites",
    "site_pages",
    "unanswered",
    "fixed_answers",
    "fixed_answer_prompts",
    "identity_keys",
    "widget_keys",
    "user_sessions",
    "end_users",
    "memberships",
    "rates",
    "budgets",
    "notes",
    "proposals",
    "canned_replies",
    "mails",
    "figures",
    "figure_days",
    "read_marks",
    "typing",
    "ratings",
)


def _unreadable() -> ChatbotConfig:
    return ChatbotConfig(restrictions=RestrictionsConfig.unreadable())


_CONFIG = JsonColumn("chatbots.config", ChatbotConfig, otherwise=_unreadable)


async def insert(tx: Tx, chatbot: Chatbot) -> None:
    tx.forget(f"chatbot {chatbot.id}")
    await tx.run(
        f"INSERT INTO chatbots ({_COLUMNS}) VALUES "
        "(:id, :account_id, :name, :config, :knowledge_version, :created_at, :updated_at)",
        id=chatbot.id,
        account_id=chatbot.account_id,
        name=chatbot.name,
        config=_CONFIG.write(chatbot.config),
        knowledge_version=chatbot.knowledge_version,
        created_at=chatbot.created_at,
        updated_at=chatbot.updated_at,
    )


async def find(reader: Reader, account_id: str, chatbot_id: str) -> Chatbot | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM chatbots WHERE id = :id AND account_id = :account_id",
        id=chatbot_id,
        account_id=account_id,
    )
    return _chatbot(row) if row else None


async def lock(tx: Tx, account_id: str, chatbot_id: str) -> Chatbot | None:
    """The chatbot as it is, and will be until this transaction changes it or ends."""
    row = await tx.one(
        f"SELECT {_COLUMNS} FROM chatbots WHERE id = :id AND account_id = :account_id FOR NO KEY UPDATE",
        id=chatbot_id,
        account_id=account_id,
    )
    return _chatbot(row) if row else None


async def lock_those(tx: Tx, account_id: str, chatbot_ids: Sequence[str]) -> set[str]:
    """Which of them are the account's; none of these is deleted before this transaction ends."""
    rows = await tx.all(
        "SELECT id FROM chatbots WHERE account_id = :account_id AND id = ANY(:ids) ORDER BY id FOR KEY SHARE",
        account_id=account_id,
        ids=list(chatbot_ids),
    )
    return {row[0] for row in rows}


async def lock_of_any_account(tx: Tx, chatbot_id: str) -> bool:
    """The same for background work; False if it is gone."""
    return await tx.one("SELECT 1 FROM chatbots WHERE id = :id FOR NO KEY UPDATE", id=chatbot_id) is not None


async def exists(reader: Reader, chatbot_id: str) -> bool:
    """Whether a chatbot that was found before is still there."""
    return await reader.one("SELECT 1 FROM chatbots WHERE id = :id", id=chatbot_id) is not None


async def is_owned(reader: Reader, account_id: str, chatbot_id: str) -> bool:
    """Whether it is there and the account's."""
    row = await reader.one(
        "SELECT 1 FROM chatbots WHERE id = :id AND account_id = :account_id", id=chatbot_id, account_id=account_id
    )
    return row is not None


async def find_of_any_account(reader: Reader, chatbot_id: str) -> Chatbot | None:
    """For the ingest worker, and for a preflight, which carries no key and only learns if its own hostname is listed."""
    row = await reader.one(f"SELECT {_COLUMNS} FROM chatbots WHERE id = :id", id=chatbot_id)
    return _chatbot(row) if row else None


async def find_remembered(database: Database, account_id: str, chatbot_id: str, *, exactly: bool) -> Chatbot | None:
    """The same as `find`, without a query while nothing of it changes: every request for a chatbot starts here."""
    chatbot = await find_remembered_of_any_account(database, chatbot_id, exactly=exactly)
    return chatbot if chatbot is not None and chatbot.account_id == account_id else None


async def find_remembered_of_any_account(database: Database, chatbot_id: str, *, exactly: bool = False) -> Chatbot | None:
    """The same for a preflight."""

    async def read(reader: Reader) -> Chatbot | None:
        return await find_of_any_account(reader, chatbot_id)

    return await database.lookup(f"chatbot {chatbot_id}", read, exactly=exactly)


async def find_by_name(reader: Reader, account_id: str, name: str) -> Chatbot | None:
    """The newest of that name: names need not be unique."""
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM chatbots WHERE account_id = :account_id AND name = :name ORDER BY id DESC LIMIT 1",
        account_id=account_id,
        name=name,
    )
    return _chatbot(row) if row else None


async def list_ids(reader: Reader, account_id: str, *, among: Sequence[str] | None, name: str | None = None) -> list[str]:
    """Those of that name, or all; two at most, which tells whether there is one alone. `among`: as in `list_chatbots`."""
    where = "AND name = :name " if name is not None else ""
    where += "AND id = ANY(:among) " if among is not None else ""
    rows = await reader.all(
        f"SELECT id FROM chatbots WHERE account_id = :account_id {where}LIMIT 2",
        account_id=account_id,
        **({"name": name} if name is not None else {}),
        **({"among": list(among)} if among is not None else {}),
    )
    return [row[0] for row in rows]


async def list_chatbots(
    reader: Reader, account_id: str, *, among: Sequence[str] | None, after: str | None, limit: int
) -> list[Chatbot]:
    """Newest first; `among`: those with these ids alone."""
    only = "AND id = ANY(:among) " if among is not None else ""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM chatbots WHERE account_id = :account_id {only}"
        "AND (CAST(:after AS TEXT) IS NULL OR id < :after) ORDER BY id DESC LIMIT :limit",
        account_id=account_id,
        after=after,
        limit=limit,
        **({"among": list(among)} if among is not None else {}),
    )
    return [_chatbot(row) for row in rows]


async def update(tx: Tx, chatbot: Chatbot) -> bool:
    """Store its name, config and updated_at; False if it is gone. What a later version added to the config stays.

    For a chatbot that this transaction has locked.
    """
    tx.forget(f"chatbot {chatbot.id}")
    row = await tx.one(
        "SELECT config FROM chatbots WHERE id = :id AND account_id = :account_id", id=chatbot.id, account_id=chatbot.account_id
    )
    return row is not None and bool(
        await tx.run(
            "UPDATE chatbots SET name = :name, config = :config, updated_at = :updated_at "
            "WHERE id = :id AND account_id = :account_id",
            id=chatbot.id,
            account_id=chatbot.account_id,
            name=chatbot.name,
            config=_CONFIG.rewrite(row[0], chatbot.config, chatbot.id),
            updated_at=chatbot.updated_at,
        )
    )


async def raise_knowledge_version(tx: Tx, chatbot_id: str) -> tuple[int, ChatbotConfig] | None:
    """The new version and the config in force, for a write to the chatbot's documents; None if the chatbot is gone."""
    tx.forget(f"chatbot {chatbot_id}")
    row = await tx.one(
        "UPDATE chatbots SET knowledge_version = knowledge_version + 1 WHERE id = :id RETURNING knowledge_version, config",
        id=chatbot_id,
    )
    return (row[0], _CONFIG.read(row[1], chatbot_id)) if row else None


async def delete(tx: Tx, account_id: str, chatbot_id: str) -> bool:
    """Remove the chatbot and all below it; False if there is none."""
    tx.erases()
    tx.forget(f"chatbot {chatbot_id}")
    deleted = await tx.run(
        "DELETE FROM chatbots WHERE id = :id AND account_id = :account_id", id=chatbot_id, account_id=account_id
    )
    if not deleted:
        return False
    await message_texts.delete_of_chatbot(tx, chatbot_id)
    for table in _BELOW:
        await tx.run(f"DELETE FROM {table} WHERE chatbot_id = :id", id=chatbot_id)
    return True


def _chatbot(row: Row) -> Chatbot:
    return Chatbot(row[0], row[1], row[2], _CONFIG.read(row[3], row[0]), *row[4:])
