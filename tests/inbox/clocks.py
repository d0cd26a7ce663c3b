"""A clock that a test sets forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gigachat_server.clock import system_clock


class SteppedClock:
    def __init__(self) -> None:
        self._ahead_us = 0

    def __call__(self) -> int:
        return system_clock() + self._ahead_us

    def step(self, **time: float) -> None:
        self._ahead_us += int(timedelta(**time).total_seconds() * 1_000_000)

    def moment(self, **time: float) -> str:
        """So much later than now, as on the wire."""
        return (datetime.fromtimestamp(self() / 1_000_000, UTC) + timedelta(**time)).isoformat()
