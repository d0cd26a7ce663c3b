"""Passwords of operators: how they are hashed, and what one must be.

Idea: argon2id with the parameters that OWASP names for 19 MiB costs a tenth of a second of one core, so it runs in a thread,
at most two at once, and those who wait beyond a bound are asked to come again. Invariant: a password that is checked against
no operator takes as long as one that is checked against one.
"""

from __future__ import annotations

import asyncio
import functools
import unicodedata
from typing import TypeVar

import argon2

from gigachat_server.errors import FieldError, InvalidRequest, RateLimited

_T = TypeVar("_T")

SHORTEST = 12
LONGEST = 256
AT_ONCE = 2
MOST_WAITING = 32
_FEWEST_DIFFERENT = 4

_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=argon2.Type.ID)


class Passwords:
    """Hashes and checks passwords, for one event loop."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def hashed(self, password: str) -> str:
        """What the store keeps. Raises `InvalidRequest`, `RateLimited`."""
        return await self._in_turn(functools.partial(_HASHER.hash, checked(password)))

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether it is the password that was kept; where none was, no, after the same time. Raises `RateLimited`."""
        if len(password) > LONGEST:
            return False
        matches = await self._in_turn(functools.partial(_verify, kept or _nobodys_password(), _normal(password)))
        return matches and kept is not None

    async def _in_turn(self, work: functools.partial[_T]) -> _T:
        if self._waiting >= MOST_WAITING:
            raise RateLimited(retry_after_s=5)
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def checked(password: str) -> str:
    """In the form that is hashed, whichever keyboard it was typed on. Raises `InvalidRequest`."""
    password = _normal(password)
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidRequest(errors=(FieldError("password", f"Must have {SHORTEST} to {LONGEST} characters."),))
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise InvalidRequest(errors=(FieldError("password", "Must not repeat the same few characters."),))
    return password


def is_outdated(kept: str) -> bool:
    """Whether it was hashed with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _verify(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


@functools.lru_cache(maxsize=1)
def _nobodys_password() -> str:
    """A hash that no password is checked against in earnest."""
    return _HASHER.hash("nobody signs in with this")
