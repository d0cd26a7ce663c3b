"""SQL of widget keys: what a visitor's browser shows of the page it is on."""

from __future__ import annotations

from gigachat_server.records import WidgetKey, WidgetSettings
from gigachat_server.store.database import Database, Reader, Row, Tx
from gigachat_server.store.json_columns import JsonColumn

_HOSTNAMES: JsonColumn[tuple[str, ...]] = JsonColumn("widget_keys.hostnames", tuple[str, ...], otherwise=tuple)
_SETTINGS: JsonColumn[WidgetSettings] = JsonColumn("widget_keys.settings", WidgetSettings, otherwise=WidgetSettings)
_COLUMNS = "chatbot_id, id, key, name, hostnames, settings, is_enabled, created_at, revoked_at"
_WHICH = "WHERE chatbot_id = :chatbot_id AND id = :id"


async def insert(tx: Tx, key: WidgetKey) -> None:
    tx.forget(_remembered(key.chatbot_id))
    await tx.run(
        f"INSERT INTO widget_keys ({_COLUMNS}) VALUES "
        "(:chatbot_id, :id, :key, :name, :hostnames, :settings, :is_enabled, :created_at, :revoked_at)",
        chatbot_id=key.chatbot_id,
        id=key.id,
        key=key.key,
        name=key.name,
        hostnames=_HOSTNAMES.write(key.hostnames),
        settings=_SETTINGS.write(key.settings),
        is_enabled=int(key.is_enabled),
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )


async def lock(tx: Tx, chatbot_id: str, key_id: str) -> WidgetKey | None:
    """The key as it is, and will be until this transaction changes it or ends; None if it was revoked."""
    row = await tx.one(
        f"SELECT {_COLUMNS} FROM widget_keys {_WHICH} AND revoked_at IS NULL FOR UPDATE", chatbot_id=chatbot_id, id=key_id
    )
    return _key(row) if row else None


async def update(tx: Tx, key: WidgetKey) -> None:
    """Store its name, hostnames, settings and whether it is enabled; what a later version added to the settings stays.

    For a key that this transaction has locked.
    """
    tx.forget(_remembered(key.chatbot_id))
    row = await tx.one(f"SELECT settings FROM widget_keys {_WHICH}", chatbot_id=key.chatbot_id, id=key.id)
    assert row is not None, "a key that is locked is there"
    await tx.run(
        "UPDATE widget_keys SET name = :name, hostnames = :hostnames, settings = :settings, is_enabled = :is_enabled " + _WHICH,
        chatbot_id=key.chatbot_id,
        id=key.id,
        name=key.name,
        hostnames=_HOSTNAMES.write(key.hostnames),
        settings=_SETTINGS.rewrite(row[0], key.settings, key.id),
        is_enabled=int(key.is_enabled),
    )


async def list_live(reader: Reader, chatbot_id: str) -> tuple[WidgetKey, ...]:
    """Those that were not revoked, newest first."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM widget_keys WHERE chatbot_id = :chatbot_id AND revoked_at IS NULL "
        "ORDER BY created_at DESC, id DESC",
        chatbot_id=chatbot_id,
    )
    return tuple(map(_key, rows))


async def list_live_remembered(database: Database, chatbot_id: str) -> tuple[WidgetKey, ...]:
    """The same without a query while none of them changes. Changed elsewhere, one may be so for a moment."""

    async def read(reader: Reader) -> tuple[WidgetKey, ...]:
        return await list_live(reader, chatbot_id)

    return await database.lookup(_remembered(chatbot_id), read, exactly=False)


async def revoke(tx: Tx, chatbot_id: str, key_id: str, *, now_us: int) -> bool:
    """Whether it was live until now."""
    tx.forget(_remembered(chatbot_id))
    revoked = await tx.run(
        f"UPDATE widget_keys SET revoked_at = :now_us {_WHICH} AND revoked_at IS NULL",
        chatbot_id=chatbot_id,
        id=key_id,
        now_us=now_us,
    )
    return bool(revoked)


def _remembered(chatbot_id: str) -> str:
    return f"widget-keys {chatbot_id}"


def _key(row: Row) -> WidgetKey:
    return WidgetKey(
        chatbot_id=row[0],
        id=row[1],
        key=row[2],
        name=row[3],
        hostnames=_HOSTNAMES.read(row[4], row[1]),
        settings=_SETTINGS.read(row[5], row[1]),
        is_enabled=bool(row[6]),
        created_at=row[7],
        revoked_at=row[8],
    )
