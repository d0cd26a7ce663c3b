"""`gigachat operators`: the first owner is made on the server's machine, whether a server runs or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.commands import Gigachat

pytestmark = pytest.mark.slow

LINK = r"http://127\.0\.0\.1:\d+/invite\?token=[\w-]{43}\n"


def test_people_are_created_listed_invited_and_shut_out(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    first = gigachat.output("operators", "create", "--email", "Ann@example.com", "--name", "Ann Archer", "--port", "8123")
    assert re.fullmatch(LINK, first)
    assert ":8123/" in first
    with gigachat.serving():
        gigachat.output("chatbots", "create", "shop")
        second = gigachat.output("operators", "create", "--email", "bob@example.com", "--chatbot", "shop")
        ann, bob = gigachat.json("operators", "list")
        assert (ann["handle"], ann["role"], ann["state"]) == ("ann", "owner", "invited")
        assert (bob["role"], [each["role"] for each in bob["chatbots"]]) == ("member", ["operator"])
        again = gigachat.output("operators", "invite", "bob")
        assert re.fullmatch(LINK, again)
        assert again != second
        gigachat.output("operators", "disable", "bob@example.com")
        assert [each["state"] for each in gigachat.json("operators", "list")] == ["invited", "disabled"]
        gigachat.output("operators", "enable", "bob")
        for wrong, told in (
            (("disable", "ann"), "last owner"),
            (("disable", "eve"), "There is no operator 'eve' (ann, bob)"),
            (("create", "--email", "bob@example.com"), "taken"),
            (("create", "--email", "nobody"), "e-mail address"),
        ):
            refused = gigachat.run("operators", *wrong)
            assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), wrong
            assert told in refused.stderr
        table = gigachat.output("operators", "list")
        assert "Ann Archer" in table
        assert "token" not in table
