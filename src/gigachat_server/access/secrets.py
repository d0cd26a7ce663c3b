"""The server's own secret, and what is derived from it: secrets that must be known again, and are stored nowhere.

Idea: HMAC-SHA256 of what a secret is for, under GIGACHAT_SECRET. A row holds which version it is, so it can be replaced.
Invariants: nothing in the store, a backup or a log can be turned back into a secret; and a server whose own secret is another
one than the store's rows were made with does not start, or a signature would fail without a word.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from gigachat_server.clock import Clock
from gigachat_server.errors import SecretMissing, SetupError
from gigachat_server.store import secret_checks
from gigachat_server.store.database import Database, Tx

FILE_NAME = "secret"
_SHORTEST = 32
_CHECK = "check"  # the purpose of the value that the store keeps
_PSEUDONYM = "pseudonym"

_LOST = (
    "The store was used with a secret that is not here: put back the file `secret` of its data folder, which backups lack, or "
    "set GIGACHAT_SECRET as it was."
)


class Secrets:
    """Derives secrets. `folder`: where one is made at first need, for a store that belongs to this process alone."""

    def __init__(self, database: Database, clock: Clock, *, configured: str, folder: Path | None) -> None:
        self._database = database
        self._clock = clock
        self._root = configured
        self._folder = folder
        self._making = asyncio.Lock()

    async def open(self) -> None:
        """At the start: the secret that this server has, if any, is the store's. Raises `SetupError`."""
        if not self._root and self._folder is not None:
            self._root = await asyncio.to_thread(_read, self._folder)
        if self._root and len(self._root) < _SHORTEST:
            raise SetupError(
                f"GIGACHAT_SECRET, or the file `secret` of the data folder, has {len(self._root)} characters: "
                f"it takes {_SHORTEST} or more, such as `openssl rand -hex 32` makes."
            )
        if not self._root:
            return
        if await self._check_value() != self._own_check_value():
            raise SetupError(
                "GIGACHAT_SECRET, or the file `secret` of the data folder, is another one than this store was used with: every "
                "signing secret that was handed out would stop to work. Set it as it was on the other nodes."
            )

    async def derive(self, purpose: str, chatbot_id: str, secret_id: str, version: int) -> bytes:
        """The same 32 bytes for the same names, on each node and at any time. Raises `SecretMissing`."""
        if not self._root:
            await self._make()
        return self._derived(purpose, chatbot_id, secret_id, str(version))

    def pseudonym(self, chatbot_id: str, client_id: str) -> str | None:
        """What can be kept of an id that a client made up and that was erased: it tells two from each other, and nothing else.

        An address can be guessed from its hash, but not without the server's secret; where there is none, there is none of these.
        """
        return f"hmac:{self._derived(_PSEUDONYM, chatbot_id, client_id).hex()[:32]}" if self._root else None

    async def is_missing(self) -> bool:
        """Whether the store's rows were made with a secret that is not here."""
        return not self._root and await self._database.read(secret_checks.find) is not None

    def _derived(self, *names: str) -> bytes:
        return hmac.digest(self._root.encode(), "\0".join(names).encode(), hashlib.sha256)

    def _own_check_value(self) -> str:
        return self._derived(_CHECK).hex()

    async def _check_value(self) -> str:
        """The store's, which is this server's if there was none."""
        stored = await self._database.read(secret_checks.find)
        if stored is not None:
            return stored

        async def body(tx: Tx) -> str:
            return await secret_checks.keep(tx, self._own_check_value(), now_us=self._clock())

        return await self._database.transaction("secret.keep", body)

    async def _make(self) -> None:
        if self._folder is None:
            raise SecretMissing
        async with self._making:
            if self._root:
                return
            if await self._database.read(secret_checks.find) is not None:
                raise SecretMissing(_LOST)
            self._root = await asyncio.to_thread(_made_in, self._folder)
            await self._check_value()


def text_of(derived: bytes, prefix: str) -> str:
    """A derived secret as people copy it."""
    return prefix + base64.urlsafe_b64encode(derived).decode().rstrip("=")


def _read(folder: Path) -> str:
    """Empty if there is none. Raises `SetupError`."""
    file = folder / FILE_NAME
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"Cannot read {file}: {error}") from None


def _made_in(folder: Path) -> str:
    """Durable, and readable by its owner alone, before anything is derived from it."""
    root, made = secrets.token_hex(32), folder / f"{FILE_NAME}.new"
    made.unlink(missing_ok=True)  # of a process that was killed here
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as written:
        written.write(root + "\n")
        written.flush()
        os.fsync(written.fileno())
    made.rename(folder / FILE_NAME)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return root
