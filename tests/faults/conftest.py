"""Prints what the rounds of a fault came to, whichever process ran them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    kills = list(_recorded(terminalreporter, "kill"))
    if kills:
        terminalreporter.section("kill -9 at each step of a turn")
        terminalreporter.write_line(
            "step rounds fired lost duplicates replies>1 calls<= cut-off recovered slowest-ready"  # one line a step
        )
        for step in sorted({kill["step"] for kill in kills}):
            _write_step(terminalreporter, step, [kill for kill in kills if kill["step"] == step])
        _write_step(terminalreporter, "all", kills)
    for test, figures in _figures(terminalreporter):
        terminalreporter.section(test)
        terminalreporter.write_line("; ".join(f"{name} {value}" for name, value in figures.items()))
    shutdowns = list(_recorded(terminalreporter, "shutdown"))
    if shutdowns:
        terminalreporter.section("SIGTERM while streams run")
        terminalreporter.write_line("rounds streams finished told-shutting-down without-end lost slowest-exit")
        totals = [sum(each[name] for each in shutdowns) for name in ("streams", "finished", "cut_off", "without_end", "lost")]
        columns = [len(shutdowns), *totals, f"{max(each['exit_after_s'] for each in shutdowns):.1f} s"]
        terminalreporter.write_line(" ".join(map(str, columns)))


def _figures(terminalreporter: pytest.TerminalReporter) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of tests that say what they came to in words of their own."""
    for report in (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())):
        for key, value in report.user_properties:
            if key == "figures":
                yield report.nodeid.rpartition("::")[2], value


def _recorded(terminalreporter: pytest.TerminalReporter, name: str) -> Iterator[dict[str, Any]]:
    for report in (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())):
        yield from (value for key, value in report.user_properties if key == name)


def _write_step(terminalreporter: pytest.TerminalReporter, step: str, kills: list[dict[str, Any]]) -> None:
    totals = [sum(kill[name] for kill in kills) for name in ("fired", "lost", "duplicates", "extra_replies")]
    widths = (4, 6, 5, 4, 10, 9, 7, 7, 9, 13)
    columns = [
        step,
        len(kills),
        *totals,
        max(kill["most_calls"] for kill in kills),
        *(sum(kill[name] for kill in kills) for name in ("drafted", "recovered")),
        f"{max(kill['ready_after_s'] for kill in kills):.2f} s",
    ]
    line = " ".join(str(column).rjust(width) for column, width in zip(columns, widths, strict=True))
    terminalreporter.write_line(line)
