"""SQL of rates: when each subject's whole quota of a policy will be back, `full_at` (GCRA).

Idea: each use moves `full_at` a step further, and is refused where it would then lie more than a window ahead. A row is locked
first and written afterwards, so that what is read of it holds until the commit, whichever node asks. Invariants: of any number
of uses on any number of nodes, exactly a quota is allowed at once; and a time that no clock within `MOST_SKEW_US` of this one
can have noted, such as that of a clock since set back, counts as a quota used up now, and locks its subject out no longer.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from gigachat_server.store.database import Tx

MOST_SKEW_US = 60_000_000
NEVER_USED = 0
_KEPT_US = 3_600_000_000  # rows outlast their time by more than clocks differ
_LONGEST_US = 2 * 86_400_000_000  # further ahead than any window
_BATCH = 1_000
_MOST_ROWS = 32  # of one statement

_SECOND = 1_000_000

Subject = tuple[str, str]  # the policy, and whom it limits


class Rate(msgspec.Struct, frozen=True):
    """A policy as it applies to one subject: at most `quota` uses in any `window_s`."""

    policy: str
    subject: str
    quota: int
    window_s: int

    @property
    def key(self) -> Subject:
        return self.policy, self.subject

    @property
    def step_us(self) -> int:
        """How long one use takes to come back: rounded up, so that no window has more than the quota."""
        return max(1, -(-self.window_s * _SECOND // self.quota))

    @property
    def window_us(self) -> int:
        """How long the whole quota takes to come back."""
        return self.step_us * self.quota

    def used_once(self, full_at: int, *, now_us: int) -> int | None:
        """What `full_at` is after one more use; None where it has no room."""
        ahead_us, window_us, step_us = full_at - now_us, self.window_us, self.step_us
        if ahead_us > window_us + MOST_SKEW_US:
            return now_us + window_us
        return max(full_at, now_us) + step_us if ahead_us <= window_us - step_us else None


@functools.lru_cache(maxsize=16)
def _lock_sql(count: int) -> str:
    rows = ", ".join(f"(:chatbot_id, :policy_{n}, :subject_{n}, {NEVER_USED})" for n in range(count))
    return (
        f"INSERT INTO rates AS r (chatbot_id, policy, subject, full_at) VALUES {rows} "
        "ON CONFLICT (chatbot_id, policy, subject) DO UPDATE SET full_at = r.full_at RETURNING policy, subject, full_at"
    )


async def lock(tx: Tx, chatbot_id: str, subjects: Sequence[Subject]) -> dict[Subject, int]:
    """`full_at` of each, `NEVER_USED` where it had none. Sorted, so that no two transactions wait for each other."""
    found: dict[Subject, int] = {}
    for some in _in_powers_of_two(sorted(subjects)):
        parameters = {"chatbot_id": chatbot_id}
        for n, (policy, subject) in enumerate(some):
            parameters[f"policy_{n}"], parameters[f"subject_{n}"] = policy, subject
        for policy, subject, full_at in await tx.all(_lock_sql(len(some)), **parameters):
            found[policy, subject] = full_at
    return found


def _in_powers_of_two(subjects: Sequence[Subject]) -> Iterator[Sequence[Subject]]:
    """So many at a time that there are few different statements to prepare."""
    at, size = 0, _MOST_ROWS
    while at < len(subjects):
        while size > len(subjects) - at:
            size //= 2
        yield subjects[at : at + size]
        at += size


async def put(tx: Tx, chatbot_id: str, full_at: Mapping[Subject, int]) -> None:
    """Of subjects that this transaction has locked."""
    await tx.run_many(
        "UPDATE rates SET full_at = :full_at WHERE chatbot_id = :chatbot_id AND policy = :policy AND subject = :subject",
        [
            {"chatbot_id": chatbot_id, "policy": policy, "subject": subject, "full_at": at}
            for (policy, subject), at in sorted(full_at.items())
        ],
    )


async def delete(tx: Tx, chatbot_id: str, subjects: Sequence[Subject]) -> None:
    """Forget them: each has its whole quota."""
    await tx.run_many(
        "DELETE FROM rates WHERE chatbot_id = :chatbot_id AND policy = :policy AND subject = :subject",
        [{"chatbot_id": chatbot_id, "policy": policy, "subject": subject} for policy, subject in sorted(subjects)],
    )


async def delete_old(tx: Tx, *, now_us: int) -> bool:
    """Forget subjects whose quota is long whole again, some at a time; whether there may be more."""
    rows = await tx.all(
        "SELECT chatbot_id, policy, subject, full_at FROM rates WHERE full_at < :long_ago OR full_at > :never LIMIT :most",
        long_ago=now_us - _KEPT_US,
        never=now_us + _LONGEST_US,
        most=_BATCH,
    )
    # One that is used meanwhile has another `full_at`, and stays.
    await tx.run_many(
        "DELETE FROM rates WHERE chatbot_id = :chatbot_id AND policy = :policy AND subject = :subject AND full_at = :full_at",
        [dict(zip(("chatbot_id", "policy", "subject", "full_at"), row, strict=True)) for row in sorted(rows)],
    )
    return len(rows) == _BATCH
