"""SQL of operators and their memberships. There is no getter without an account but for the session that names one.

Invariant: who was deleted is found by nothing but their handle, which stays taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gigachat_server.records import Membership, Operator
from gigachat_server.store.database import Database, Reader, Row, Tx

_FIELDS = "id, account_id, handle, email, name, role, password, oidc_issuer, oidc_subject, created_at, seen_at, disabled_at"
_COLUMNS = ", ".join(f"o.{name}" for name in _FIELDS.split(", "))
_FROM = f"SELECT {_COLUMNS}, m.chatbot_id, m.role FROM operators o LEFT JOIN memberships m ON m.operator_id = o.id"
_THERE = "o.deleted_at IS NULL"


async def insert(tx: Tx, operator: Operator) -> None:
    """With the memberships."""
    tx.forget(f"operator {operator.id}")
    tx.forget(f"owner {operator.account_id}")
    await tx.run(
        f"INSERT INTO operators ({_FIELDS}) VALUES (:id, :account_id, :handle, :email, :name, :role, :password, :oidc_issuer, "
        ":oidc_subject, :created_at, :seen_at, :disabled_at)",
        id=operator.id,
        account_id=operator.account_id,
        handle=operator.handle,
        email=operator.email,
        name=operator.name,
        role=operator.role,
        password=operator.password,
        oidc_issuer=operator.oidc_issuer,
        oidc_subject=operator.oidc_subject,
        created_at=operator.created_at,
        seen_at=operator.seen_at,
        disabled_at=operator.disabled_at,
    )
    await put_memberships(tx, operator.id, operator.memberships)


async def update(tx: Tx, operator: Operator) -> None:
    """All but its id, its account, when it was made and when it was last seen; the memberships have a function of their own."""
    tx.forget(f"operator {operator.id}")
    tx.forget(f"owner {operator.account_id}")
    await tx.run(
        "UPDATE operators SET handle = :handle, email = :email, name = :name, role = :role, password = :password, "
        "oidc_issuer = :oidc_issuer, oidc_subject = :oidc_subject, disabled_at = :disabled_at "
        "WHERE id = :id AND account_id = :account_id",
        id=operator.id,
        account_id=operator.account_id,
        handle=operator.handle,
        email=operator.email,
        name=operator.name,
        role=operator.role,
        password=operator.password,
        oidc_issuer=operator.oidc_issuer,
        oidc_subject=operator.oidc_subject,
        disabled_at=operator.disabled_at,
    )


async def put_memberships(tx: Tx, operator_id: str, memberships: Iterable[Membership]) -> None:
    """These, and no others."""
    tx.forget(f"operator {operator_id}")
    await tx.run("DELETE FROM memberships WHERE operator_id = :operator_id", operator_id=operator_id)
    await tx.run_many(
        "INSERT INTO memberships (chatbot_id, operator_id, role) VALUES (:chatbot_id, :operator_id, :role)",
        [{"chatbot_id": each.chatbot_id, "operator_id": operator_id, "role": each.role} for each in memberships],
    )


async def note_seen(tx: Tx, operator_id: str, *, now_us: int) -> None:
    """They have signed in."""
    tx.forget(f"operator {operator_id}")
    await tx.run("UPDATE operators SET seen_at = :now_us WHERE id = :operator_id", operator_id=operator_id, now_us=now_us)


async def delete(tx: Tx, account_id: str, operator_id: str, *, now_us: int) -> None:
    """What is known of the person is gone; the row keeps their handle."""
    tx.erases()
    tx.forget(f"operator {operator_id}")
    tx.forget(f"owner {account_id}")
    await tx.run("DELETE FROM memberships WHERE operator_id = :operator_id", operator_id=operator_id)
    await tx.run(
        "UPDATE operators SET email = id, name = '', role = 'deleted', password = NULL, oidc_issuer = NULL, oidc_subject = NULL, "
        "seen_at = NULL, deleted_at = :now_us WHERE id = :operator_id AND account_id = :account_id",
        operator_id=operator_id,
        account_id=account_id,
        now_us=now_us,
    )


async def find(reader: Reader, account_id: str, operator_id: str) -> Operator | None:
    return await _find(reader, "o.account_id = :account_id AND o.id = :id", account_id=account_id, id=operator_id)


async def find_remembered(database: Database, operator_id: str) -> Operator | None:
    """Whose session it is, without a query while nothing of them changes; changed elsewhere, it may be so for a moment."""

    async def read(reader: Reader) -> Operator | None:
        return await _find(reader, "o.id = :id", id=operator_id)

    return await database.lookup(f"operator {operator_id}", read, exactly=False)


async def list_by_email(reader: Reader, email: str, *, first_account_id: str) -> list[Operator]:
    """Of every account, that account's first: whom a login that names no account may mean."""
    return _all(
        await reader.all(
            f"{_FROM} WHERE o.email = :email AND {_THERE} "
            "ORDER BY CASE WHEN o.account_id = :first_account_id THEN 0 ELSE 1 END, o.id, m.chatbot_id",
            email=email,
            first_account_id=first_account_id,
        )
    )


async def find_by_email(reader: Reader, account_id: str, email: str) -> Operator | None:
    return await _find(reader, "o.account_id = :account_id AND o.email = :email", account_id=account_id, email=email)


async def find_by_handle(reader: Reader, account_id: str, handle: str) -> Operator | None:
    return await _find(reader, "o.account_id = :account_id AND o.handle = :handle", account_id=account_id, handle=handle)


async def are_there_any(reader: Reader, account_id: str) -> bool:
    found = await reader.one(f"SELECT 1 FROM operators o WHERE o.account_id = :account_id AND {_THERE}", account_id=account_id)
    return found is not None


async def find_by_identity(reader: Reader, account_id: str, *, issuer: str, subject: str) -> Operator | None:
    """Whom that provider knows under that name."""
    where = "o.account_id = :account_id AND o.oidc_issuer = :issuer AND o.oidc_subject = :subject"
    return await _find(reader, where, account_id=account_id, issuer=issuer, subject=subject)


async def taken(reader: Reader, account_id: str, *, but: str, handle: str, email: str) -> tuple[bool, bool]:
    """Whether others than `but` have that handle, also those who were deleted; and that e-mail address."""
    rows = await reader.all(
        "SELECT handle, email FROM operators WHERE account_id = :account_id AND id <> :but "
        "AND (handle = :handle OR email = :email)",
        account_id=account_id,
        but=but,
        handle=handle,
        email=email,
    )
    return any(row[0] == handle for row in rows), any(row[1] == email for row in rows)


async def list_operators(reader: Reader, account_id: str, *, after: str | None, limit: int) -> list[Operator]:
    """The one that was made first comes first."""
    return _all(
        await reader.all(
            f"SELECT {_COLUMNS}, m.chatbot_id, m.role FROM (SELECT * FROM operators WHERE account_id = :account_id "
            "AND deleted_at IS NULL AND (CAST(:after AS TEXT) IS NULL OR id > :after) ORDER BY id LIMIT :limit) o "
            "LEFT JOIN memberships m ON m.operator_id = o.id ORDER BY o.id, m.chatbot_id",
            account_id=account_id,
            after=after,
            limit=limit,
        )
    )


async def count_owners(reader: Reader, account_id: str) -> int:
    """Those who can sign in."""
    row = await reader.one(
        "SELECT count(*) FROM operators WHERE account_id = :account_id AND role = 'owner' "
        "AND disabled_at IS NULL AND deleted_at IS NULL",
        account_id=account_id,
    )
    assert row is not None
    return int(row[0])


async def has_owner_remembered(database: Database, account_id: str) -> bool:
    """Whether there is an owner, without a query while no operator changes."""

    async def read(reader: Reader) -> bool:
        return await count_owners(reader, account_id) > 0

    return await database.lookup(f"owner {account_id}", read, exactly=False)


async def _find(reader: Reader, where: str, **named: str) -> Operator | None:
    rows = await reader.all(f"{_FROM} WHERE {where} AND {_THERE} ORDER BY m.chatbot_id", **named)
    return next(iter(_all(rows)), None)


def _all(rows: Sequence[Row]) -> list[Operator]:
    """One for all the rows of each, which follow each other: a row for each membership."""
    width = len(_FIELDS.split(", "))
    fields: dict[str, Row] = {}
    memberships: dict[str, list[Membership]] = {}
    for row in rows:
        fields.setdefault(row[0], row[:width])
        if row[width] is not None:
            memberships.setdefault(row[0], []).append(Membership(row[width], row[width + 1]))
    names = _FIELDS.split(", ")
    return [
        Operator(**dict(zip(names, row, strict=True)), memberships=tuple(memberships.get(operator_id, ())))
        for operator_id, row in fields.items()
    ]
