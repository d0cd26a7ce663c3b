"""What a store is to the rest of gigachat: named transactions whose bodies await nothing but SQL.

Idea: a body is written once, as `async def body(tx)`, and each store runs it its own way (`sqlite.py` drives it to its
end in the writer's thread, `postgres.py` awaits it on a connection). Invariant: when `transaction` returns, everything the
body wrote is durable; when it raises, nothing is.

SQL is written in the common subset of SQLite and PostgreSQL, with `:name` parameters, `greatest(a, b)`,
`column = ANY(:list)`, and `FOR UPDATE` and its like after a SELECT; each store translates what differs, once for each text.

Where several nodes write, a statement sees what others had committed when it began, and a row belongs to the one who changed
it, or read it `FOR UPDATE`, until that transaction ends. So a body takes its row first and reads afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeVar

T = TypeVar("T")

Row = tuple[Any, ...]

Dialect = Literal["sqlite", "postgres"]

# Where what is acknowledged is: on the disk of one machine, or also on that of a standby that confirmed it.
Durability = Literal["local", "replicated"]


class Reader(Protocol):
    """Statements that see one consistent state of the store."""

    async def all(self, sql: str, **parameters: Any) -> list[Row]: ...

    async def one(self, sql: str, **parameters: Any) -> Row | None: ...


class Statements(Reader, Protocol):
    """Statements that may write."""

    async def run(self, sql: str, **parameters: Any) -> int:
        """Execute one statement; the number of rows it changed."""


class Tx(Statements, Protocol):
    """An open transaction."""

    async def run_many(self, sql: str, rows: Iterable[dict[str, Any]]) -> None:
        """Execute one statement for each row of parameters."""

    async def add(self, sql: str, **parameters: Any) -> None:
        """Execute one INSERT or UPDATE whose result is not needed.

        Those that follow each other directly may become one statement: none of them touches a row of another.
        """

    def forget(self, key: str) -> None:
        """This transaction changes what `Database.lookup` remembers under that key."""

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back on the event loop once everything is durable; never if the transaction fails."""

    def erases(self) -> None:
        """What this transaction deletes is to leave the disk as well: the file, the log, later backups.

        For stores that keep their own files. PostgreSQL frees the space of deleted rows when it vacuums.
        """

    def proven_by(self, sql: str, **parameters: Any) -> None:
        """That this statement finds a row proves that this transaction was committed. The first one counts.

        For stores that may lose the answer to a COMMIT; the row has an id that was made for it beforehand.
        """


class Database(Protocol):
    dialect: Dialect
    """Whose migrations it takes."""

    is_shared: bool
    """Whether other processes may work on it at the same time."""

    broken: asyncio.Event
    """Set once the disk failed to confirm a write: nothing is written any more, and this process has to end.

    What is on the disk only a new process can know, which reads it anew.
    """

    async def read(self, body: Callable[[Reader], Awaitable[T]]) -> T:
        """Run a body that only reads."""

    async def lookup(self, key: str, body: Callable[[Reader], Awaitable[T]], *, exactly: bool = True) -> T:
        """What the body reads with one statement, remembered under that key until a transaction has it forgotten.

        For single rows that stand in the way of every request. Never older than the last transaction that returned; unless
        `exactly`, what another process has changed may be so for a moment.
        """

    async def transaction(
        self, name: str, body: Callable[[Tx], Awaitable[T]], *, patience_s: float = 2.0, may_be_lost: bool = False
    ) -> T:
        """Run a body that writes, all or nothing. `name` says which step it is (`turn.finish`).

        A body may be run more than once before it is done: it has no effect but through `tx`. `patience_s` says how long
        to try where the store is another machine, which may be away for a moment. `may_be_lost`: not worth waiting for the
        disk; if the store's machine fails within a second, it may be as if it had never been.

        Raises what the body raises, or `StorageUnavailable` when the store cannot make it durable.
        """

    async def apart(self, body: Callable[[Statements], Awaitable[T]]) -> T:
        """Run a body on a connection of its own, outside any transaction: each statement by itself, however long it takes.

        For building what only makes the store faster. Raises `StorageUnavailable`; what was done until then stays.
        """

    async def prove_writable(self) -> None:
        """Something has become durable a moment ago, or now. Raises `StorageUnavailable` where nothing can.

        Cheap to ask often: the proof is remembered for a second or two.
        """

    def arriving(self) -> AbstractAsyncContextManager[bool]:
        """Be one of the processes on this store; what the block gets is whether it is the only one.

        If it is, no other one comes in before the block has ended. One that stands still is there; one that was killed is not.
        Raises `StorageUnavailable`.
        """

    @property
    def hears(self) -> bool:
        """Whether what other processes tell can reach this one now."""

    async def durability(self) -> Durability:
        """Where what is acknowledged is. Raises `StorageUnavailable` if it may be nowhere."""

    def tell(self, topic: str) -> None:
        """Wake the other processes: something about this has changed, durably. It may not reach them."""

    def on_told(self, callback: Callable[[str | None], None]) -> None:
        """Have this called on the event loop for each topic that another process tells; None: for any of them, perhaps."""

    async def aclose(self) -> None: ...
