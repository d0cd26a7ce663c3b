"""`gigachat figures`, as a support lead uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Gigachat

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]


def test_a_support_lead_sees_what_a_chatbot_did(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = server.first_key()
        chatbot = server.call("/chatbots", key, {"name": "Shop"}).body["id"]
        for prompt in ("Hello", "I want to talk to a human"):
            server.call(f"/chatbots/{chatbot}/conversations", key, {"conversation_id": "c", "user_id": "u", "prompt": prompt})
        table = [line.split("\t") for line in gigachat.output("figures", "Shop").splitlines()]
        assert len(table) == 32, "a heading, 30 days, and all of them"
        assert table[0][:3] == ["DAY", "CONVERSATIONS", "PROMPTS"]
        assert table[-1][:3] == ["total", "1", "2"]
        assert table[-1][7] == "1"
        assert gigachat.json("figures", "Shop")["total"]["handoffs"] == {"asked": 1}
        assert "Must be a day" in gigachat.run("figures", "Shop", "--from", "yesterday").stderr
