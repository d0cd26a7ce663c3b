"""A migration in batches, and a process that is killed in it: batched.py LOCATION N.

It raises each conversation's control_epoch by one. N counts what happens: before a batch is committed, and after.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from gigachat_server.cli.locations import Location, opened
from gigachat_server.clock import system_clock
from gigachat_server.store.database import Database, Tx
from gigachat_server.store.engines.migrate import Migration, Step, migrate, migrations

NUMBER = 9001
_BATCH = 20


async def step(tx: Tx, reached: str) -> str | None:
    rows = await tx.all(
        "SELECT chatbot_id, conversation_id FROM conversations WHERE chatbot_id || '/' || conversation_id > :reached "
        "ORDER BY chatbot_id || '/' || conversation_id LIMIT :most",
        reached=reached,
        most=_BATCH,
    )
    for chatbot_id, conversation_id in rows:
        await tx.run(
            "UPDATE conversations SET control_epoch = control_epoch + 1, flag = 'done' "
            "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id",
            chatbot_id=chatbot_id,
            conversation_id=conversation_id,
        )
    return f"{rows[-1][0]}/{rows[-1][1]}" if rows else None


def known(database: Database, step: Step = step) -> list[Migration]:
    sql = "ALTER TABLE conversations ADD COLUMN flag TEXT;\nCREATE INDEX conversations_by_flag ON conversations (flag);\n"
    return [*migrations(database.dialect), Migration(NUMBER, "9001_flag.sql", sql, step)]


async def main(location: Location, moment: int) -> None:
    def happens() -> None:
        nonlocal moment
        moment -= 1
        if not moment:
            os.kill(os.getpid(), signal.SIGKILL)

    async def killing(tx: Tx, reached: str) -> str | None:
        found = await step(tx, reached)
        happens()
        tx.after_commit(happens)
        return found

    async with opened(location, "test") as database:
        await migrate(database, system_clock, known=known(database, killing))


if __name__ == "__main__":
    asyncio.run(main(Location.parse(sys.argv[1]), int(sys.argv[2])))
