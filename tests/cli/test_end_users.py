"""`gigachat tokens`, `identity-keys` and `widget-keys`, with and without a server on the data."""

from __future__ import annotations

import re
import time
from pathlib import Path

import jwt
import pytest

from tests.cli.commands import Gigachat

pytestmark = pytest.mark.slow


def test_a_server_can_let_its_users_in_from_the_command_line(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    gigachat.output("chatbots", "create", "Superbot")
    of = ("--chatbot", "Superbot")
    bearer = gigachat.output("tokens", "create", *of, "--user", "ann@example.com").strip()
    assert re.fullmatch(r"gcu_\w{50}", bearer)
    key_id, secret = gigachat.output("identity-keys", "create", *of, "--name", "shop").split()
    widget_key = gigachat.output("widget-keys", "create", *of, "--name", "shop", "--hostname", "www.example.com").strip()
    assert re.fullmatch(r"gcp_\w{50}", widget_key)
    (identity,) = gigachat.json("identity-keys", "list", *of)
    (widget,) = gigachat.json("widget-keys", "list", *of)
    assert (identity["id"], widget["key"], widget["hostnames"]) == (key_id, widget_key, ["www.example.com"])
    assert secret not in gigachat.output("identity-keys", "list", *of)
    assert "keep a copy of it" in gigachat.run("doctor").stdout
    with gigachat.serving() as server:
        path = f"/chatbots/{identity['chatbot_id']}/conversations"
        now = int(time.time())
        claims = {"aud": identity["chatbot_id"], "sub": "ann@example.com", "iat": now, "exp": now + 600}
        token = jwt.encode(claims, secret, "HS256", headers={"kid": key_id})
        assert [server.call(path, each).status for each in (bearer, token)] == [200, 200]
        gigachat.output("tokens", "revoke", *of, "--user", "ann@example.com", "--block")
        assert [server.call(path, each).status for each in (bearer, token)] == [401, 401]
        gigachat.output("widget-keys", "disable", *of, widget["id"])
        assert gigachat.json("widget-keys", "list", *of)[0]["is_enabled"] is False
        gigachat.output("widget-keys", "enable", *of, widget["id"])
        gigachat.output("widget-keys", "revoke", *of, widget["id"])
        gigachat.output("identity-keys", "revoke", *of, key_id)
        assert gigachat.json("widget-keys", "list", *of) == gigachat.json("identity-keys", "list", *of) == []


@pytest.mark.sqlite_only
def test_a_secret_that_a_store_was_used_with_and_lacks_is_found(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    gigachat.output("chatbots", "create", "Superbot")
    gigachat.output("identity-keys", "create", "--chatbot", "Superbot", "--name", "shop")
    secret = tmp_path / "data" / "secret"
    secret.chmod(0o644)
    assert "chmod 600" in gigachat.run("doctor").stdout
    secret.unlink()
    found = gigachat.run("doctor")
    assert found.returncode == 1 and "put back the file" in found.stdout
