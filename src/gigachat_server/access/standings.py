"""How much is left of a limit, as callers are told it: the fields of draft-ietf-httpapi-ratelimit-headers-10.

`RateLimit-Policy: "user";q=20;w=60` says what the limit is, `RateLimit: "user";r=13;t=17` what is left of it, and in how many
seconds all of it is back.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.errors import RateLimited
from gigachat_server.store.rates import Rate

_SECOND = 1_000_000


class Standing(msgspec.Struct, frozen=True):
    """One limit and what is left of it. `retry_s`: in how many seconds it has room again, 0 if it has some."""

    policy: str
    quota: int
    window_s: int
    remaining: int
    reset_s: int
    retry_s: int = 0

    @classmethod
    def of(cls, rate: Rate, full_at: int, *, now_us: int) -> Standing:
        used_us = min(max(0, full_at - now_us), rate.window_us)
        wait_us = used_us + rate.step_us - rate.window_us
        return cls(
            policy=rate.policy,
            quota=rate.quota,
            window_s=rate.window_s,
            remaining=(rate.window_us - used_us) // rate.step_us,
            reset_s=seconds(used_us),
            retry_s=max(0, seconds(wait_us)),
        )


def seconds(duration_us: int) -> int:
    """Rounded up."""
    return -(-duration_us // _SECOND)


def rate_limited(violated: Sequence[str], standings: Sequence[Standing], kind: type[RateLimited] = RateLimited) -> RateLimited:
    """The refusal by those policies, which says what is left of all of them."""
    wait_s = max((standing.retry_s for standing in standings if standing.policy in violated), default=1)
    return kind(retry_after_s=max(1, wait_s), headers=headers(standings), violated=tuple(violated))


def headers(standings: Sequence[Standing]) -> dict[str, str]:
    """What an answer says of limits; nothing where there are none."""
    if not standings:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{each.policy}";q={each.quota};w={each.window_s}' for each in standings),
        "RateLimit": ", ".join(f'"{each.policy}";r={each.remaining};t={each.reset_s}' for each in standings),
    }
