"""`gigachat limits`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Gigachat

pytestmark = pytest.mark.slow


def test_limits_are_shown_and_set_one_by_one(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving():
        gigachat.output("chatbots", "create", "Superbot")
        table = gigachat.output("limits", "show", "Superbot")
        assert "20 in 60 s" in table
        assert "2000 a day" in table
        gigachat.output(
            "limits", "set", "Superbot", "--user", "5/m", "--key", "9/2h", "--anonymous-turns", "none", "--tokens", "0"
        )
        found = gigachat.json("limits", "show", "Superbot")["limits"]
        assert found["user"] == {"quota": 5, "window_s": 60}
        assert found["key"] == {"quota": 9, "window_s": 7200}
        assert found["address"] == {"quota": 60, "window_s": 60}
        assert found["budgets"] == {"users": {"turns": None, "tokens": 0}, "anonymous": {"turns": None, "tokens": None}}
        gigachat.output("limits", "set", "Superbot", "--user", "none")
        assert gigachat.json("limits", "show", "Superbot")["limits"]["user"] is None


@pytest.mark.parametrize(
    "wanted", [(), ("--user", "many"), ("--user", "5"), ("--user", "5/"), ("--turns", "-1"), ("--user", "0/m")]
)
def test_what_cannot_be_set_is_told(tmp_path: Path, wanted: tuple[str, ...]) -> None:
    gigachat = Gigachat(tmp_path / "data")
    gigachat.output("chatbots", "create", "Superbot")
    result = gigachat.run("limits", "set", "Superbot", *wanted)
    assert result.returncode in (1, 2)
    assert "Traceback" not in result.stderr
