"""`gigachat keys`, with and without a server on the data."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from tests.cli.commands import Gigachat

pytestmark = pytest.mark.slow


def test_create_prints_the_key_alone_and_it_works_at_once(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        printed = gigachat.output("keys", "create", "--name", "shop")
        assert re.fullmatch(r"gca_\w{46}\n", printed)
        assert server.call("/chatbots", printed.strip()).body == []


def test_create_works_while_no_server_runs(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    printed = gigachat.output("keys", "create", "--name", "early")
    assert re.fullmatch(r"gca_\w{46}\n", printed)
    with gigachat.serving() as server:
        assert server.call("/chatbots", printed.strip()).status == 200
        assert server.stop()[1] == ""  # the account has a key: no other one is made


def test_list_shows_names_and_endings_and_no_secret(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    key = gigachat.output("keys", "create", "--name", "one").strip()
    (listed,) = gigachat.json("keys", "list")
    assert (listed["name"], listed["last4"], listed["revoked_at"]) == ("one", key[-4:], None)
    table = gigachat.output("keys", "list")
    assert listed["id"] in table
    assert key not in table


def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = gigachat.output("keys", "create", "--name", "gone").strip()
        assert server.call("/chatbots", key).status == 200
        listed = next(listed for listed in gigachat.json("keys", "list") if listed["name"] == "gone")
        gigachat.output("keys", "revoke", listed["id"])
        assert server.call("/chatbots", key).status == 401
        unknown = gigachat.run("keys", "revoke", "no/such")
        assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)


def test_another_account_has_its_own_keys_and_chatbots(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        gigachat.output("chatbots", "create", "ours")
        key = gigachat.output("keys", "create", "--name", "theirs", "--account", "Käse & Co").strip()
        assert server.call("/chatbots", key).body == []
        assert gigachat.json("chatbots", "list", "--account", "Käse & Co") == []
        assert [k["name"] for k in gigachat.json("keys", "list", "--account", "Käse & Co")] == ["theirs"]
        assert len(gigachat.json("chatbots", "list")) == 1


def test_the_account_header_means_nothing_over_tcp(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    gigachat.output("chatbots", "create", "ours")
    theirs = gigachat.output("keys", "create", "--name", "theirs", "--account", "other").strip()
    with gigachat.serving() as server:
        headers = {"Authorization": f"Bearer {theirs}", "X-Gigachat-Account": "default"}
        with urllib.request.urlopen(urllib.request.Request(server.url + "/chatbots", headers=headers)) as response:
            assert response.read() == b"[]"


def test_a_key_can_be_given_less_and_for_less_long(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    gigachat.output("keys", "create", "--name", "reader", "--scope", "chatbots:read", "--expires-in-days", "30")
    (listed,) = gigachat.json("keys", "list")
    assert listed["scopes"] == ["chatbots:read"]
    assert listed["expires_at"] is not None
    refused = gigachat.run("keys", "create", "--name", "x", "--scope", "everything")
    assert refused.returncode == 1
    assert "scopes" in refused.stderr
