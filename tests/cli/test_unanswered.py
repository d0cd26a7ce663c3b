"""Commands for what got no answer, and for fixed answers, as an operator uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import Gigachat

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]  # a client of the API; test_keys, test_serve and test_commands open both


def test_an_operator_goes_from_what_was_asked_to_what_is_said(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = server.first_key()
        chatbot = server.call("/chatbots", key, {"name": "Shop"}).body["id"]
        server.call(f"/chatbots/{chatbot}/documents", key, {"name": "d", "content": "Parcels ship on Monday."})
        said = f"/chatbots/{chatbot}/conversations"
        for conversation, user, prompt in (
            ("c1", "ann", "Do you sell llamas?"),
            ("c1", "client:eve", "No, only camels."),
            ("c2", "bob", "Where are your offices?"),
        ):
            server.call(said, key, {"conversation_id": conversation, "user_id": user, "prompt": prompt})
        of_shop = ("--chatbot", "Shop")
        offices, llamas = gigachat.json("unanswered", "list", *of_shop)
        table = gigachat.output("unanswered", "list", *of_shop).splitlines()
        assert table[1].split("\t")[:4] == [llamas["id"], "1", "Do you sell llamas?", "No, only camels."]

        made = gigachat.output("unanswered", "answer", llamas["id"], "--suggested", *of_shop).strip()
        (fixed,) = gigachat.json("fixed-answers", "list", *of_shop)
        assert (fixed["id"], fixed["answer"]) == (made, "No, only camels.")
        assert "no longer" in gigachat.run("unanswered", "replay", *of_shop).stderr

        config = tmp_path / "proposed.json"
        config.write_text(json.dumps({"documents": {"results": {"match_threshold": 0.0}}}))
        shown = gigachat.output("unanswered", "replay", "--config", config, *of_shop)
        assert "now_answered: Where are your offices?" in shown
        assert "+ Parcels ship on Monday." in shown
        replayed = gigachat.json("unanswered", "replay", "--conversation", "c1", *of_shop)
        assert [turn["changed"] for turn in replayed["turns"]] == ["now_answered"]

        gigachat.output("unanswered", "dismiss", offices["id"], *of_shop)
        assert gigachat.json("unanswered", "list", *of_shop) == []
        assert len(gigachat.json("unanswered", "list", "--state", "dismissed", *of_shop)) == 1

        added = gigachat.output(
            "fixed-answers", "add", "At nine.", "--prompt", "When do you open?", "--prompt", "Hours?", *of_shop
        )
        gigachat.output("fixed-answers", "disable", added.strip(), *of_shop)
        assert gigachat.json("fixed-answers", "list", *of_shop)[0]["is_enabled"] is False
        gigachat.output("fixed-answers", "enable", added.strip(), *of_shop)
        assert gigachat.json("fixed-answers", "list", *of_shop)[0]["prompts"] == ["When do you open?", "Hours?"]
        gigachat.output("fixed-answers", "delete", added.strip(), made, *of_shop)
        assert gigachat.json("fixed-answers", "list", *of_shop) == []


def test_wrong_usage_is_told_in_a_line(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path)
    for arguments in (
        ("answer", "x"),
        ("answer", "x", "text", "--suggested"),
        ("replay", "--newest", "3", "--conversation", "c"),
    ):
        ended = gigachat.run("unanswered", *arguments, "--chatbot", "Shop")
        assert (ended.returncode, "Give either" in ended.stderr) == (2, True)
