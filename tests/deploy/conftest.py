"""Prints what streams through a proxy came to, whichever process ran them."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ()))
    found = [value for report in reports for name, value in report.user_properties if name == "proxy"]
    if found:
        terminalreporter.section("streams through nginx")
    for each in found:
        terminalreporter.write_line(
            f"{each['config']}: {each['finished']}/{each['streams']} finished, first event after "
            f"{each['median_first_event_s']:.3f} s (median), {each['slowest_first_event_s']:.3f} s (slowest), "
            f"fewest pings {each['fewest_pings']}"
        )
