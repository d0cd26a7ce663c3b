"""SQL of rates: whether a subject may once more, decided and noted in one statement (GCRA).

Idea: a row holds when the subject's whole quota will be back, `full_at`. Each use moves it a step further, and is refused where
it would then lie more than a window ahead. Invariants: of any number of uses on any number of nodes, exactly a quota is allowed
at once; and a time that no clock within `MOST_SKEW_US` of this one can have noted, such as that of a clock since set back, locks
its subject out no longer: it counts as a quota used up now.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec

from gigachat_server.store.database import Reader, Tx

MOST_SKEW_US = 60_000_000
_KEPT_US = 3_600_000_000  # rows outlast their time by more than clocks differ
_LONGEST_US = 2 * 86_400_000_000  # further ahead than any window
_BATCH = 1_000

_SECOND = 1_000_000


class Rate(msgspec.Struct, frozen=True):
    """A policy as it applies to one subject: at most `quota` uses in any `window_s`."""

    policy: str
    subject: str
    quota: int
    window_s: int

    @property
    def step_us(self) -> int:
        """How long one use takes to come back: rounded up, so that no window has more than the quota."""
        return max(1, -(-self.window_s * _SECOND // self.quota))

    @property
    def window_us(self) -> int:
        """How long the whole quota takes to come back."""
        return self.step_us * self.quota


@functools.lru_cache(maxsize=8)
def _take_sql(count: int) -> str:
    places = range(count)
    rows = ", ".join(f"(:chatbot_id, :policy_{n}, :subject_{n}, :first_{n})" for n in places)

    def by_policy(value: str) -> str:
        return "CASE excluded.policy " + " ".join(f"WHEN :policy_{n} THEN {value.format(n=n)}" for n in places) + " END"

    moved = by_policy("CASE WHEN r.full_at > :wrong_{n} THEN :last_{n} ELSE greatest(r.full_at, :now_us) + :step_{n} END")
    may = by_policy("CASE WHEN r.full_at <= :latest_{n} OR r.full_at > :wrong_{n} THEN 1 ELSE 0 END")
    return (
        f"INSERT INTO rates AS r (chatbot_id, policy, subject, full_at) VALUES {rows} "
        f"ON CONFLICT (chatbot_id, policy, subject) DO UPDATE SET full_at = {moved} WHERE {may} = 1 "
        "RETURNING policy, full_at"
    )


async def take(tx: Tx, chatbot_id: str, rates: Sequence[Rate], *, now_us: int) -> dict[str, int]:
    """Use each of them once: `full_at` by policy of those that had room. Where one had none, the caller rolls all back.

    Each policy is named once, always in the same order, so that no two transactions wait for each other.
    """
    parameters: dict[str, Any] = {"chatbot_id": chatbot_id, "now_us": now_us}
    for n, rate in enumerate(rates):
        parameters |= {
            f"policy_{n}": rate.policy,
            f"subject_{n}": rate.subject,
            f"step_{n}": rate.step_us,
            f"first_{n}": now_us + rate.step_us,
            f"latest_{n}": now_us + rate.window_us - rate.step_us,
            f"last_{n}": now_us + rate.window_us,
            f"wrong_{n}": now_us + rate.window_us + MOST_SKEW_US,
        }
    return {row[0]: row[1] for row in await tx.all(_take_sql(len(rates)), **parameters)}


async def find(reader: Reader, chatbot_id: str, rate: Rate) -> int | None:
    """When the subject's quota will be whole again."""
    row = await reader.one(
        "SELECT full_at FROM rates WHERE chatbot_id = :chatbot_id AND policy = :policy AND subject = :subject",
        chatbot_id=chatbot_id,
        policy=rate.policy,
        subject=rate.subject,
    )
    return row[0] if row else None


async def delete_of_subject(tx: Tx, chatbot_id: str, policy: str, subject: str) -> None:
    await tx.run(
        "DELETE FROM rates WHERE chatbot_id = :chatbot_id AND policy = :policy AND subject = :subject",
        chatbot_id=chatbot_id,
        policy=policy,
        subject=subject,
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
