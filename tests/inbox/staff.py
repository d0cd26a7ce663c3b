"""Operators of an account, as tests of the desk need them."""

from __future__ import annotations

from gigachat_server.access.principal import Principal, PrincipalKind
from gigachat_server.access.scopes import SCOPES
from gigachat_server.ids import new_id
from gigachat_server.store.database import Tx
from tests.harness import Api

_MEMBER = "INSERT INTO memberships (chatbot_id, operator_id, role) VALUES (:chatbot_id, :operator_id, :role)"


async def employ(api: Api, handle: str, *, role: str = "admin", of: dict[str, str] | None = None) -> Principal:
    """A new operator of the account; `of`: their roles by chatbot."""
    operator_id = new_id()

    async def body(tx: Tx) -> None:
        await tx.run(
            "INSERT INTO operators (id, account_id, handle, email, name, role, created_at) "
            "VALUES (:id, :account_id, :handle, :email, :name, :role, 0)",
            id=operator_id,
            account_id=api.services.account.id,
            handle=handle,
            email=f"{handle}@example.com",
            name=handle.title(),
            role=role,
        )
        for chatbot, its in (of or {}).items():
            await tx.run(_MEMBER, chatbot_id=chatbot.rpartition("/")[2], operator_id=operator_id, role=its)

    await api.services.database.transaction("test.employ", body)
    return Principal(
        kind=PrincipalKind.OPERATOR,
        account_id=api.services.account.id,
        id=operator_id,
        scopes=frozenset(SCOPES),
        operator=handle,
    )


async def disable(api: Api, operator: Principal) -> None:
    async def body(tx: Tx) -> None:
        await tx.run("UPDATE operators SET disabled_at = 1 WHERE id = :id", id=operator.id)

    await api.services.database.transaction("test.disable", body)
