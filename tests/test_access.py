"""Keys, scopes and restrictions: who gets in, from where."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any, cast

import pytest
from multidict import CIMultiDict

from gigachat_server.access import keys
from gigachat_server.access.bearers import API_KEY
from gigachat_server.access.restrictions import hostname_of, is_listed, peer_address
from gigachat_server.access.scopes import DEFAULT_SCOPES, RETIRED, Scope
from gigachat_server.api.routes import MCP_ROUTES, ROUTES, Route, RouteTable
from gigachat_server.settings import Settings
from tests.harness import gigachat
from tests.turns import rows_as_bytes

PROMPT = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello"}


def test_a_key_can_be_recognised_and_a_typo_is_refused_without_a_query() -> None:
    key = API_KEY.mint()
    assert re.fullmatch(r"\bgca_[0-9A-Za-z]{46}\b", key)
    assert API_KEY.is_well_formed(key)
    for position in range(4, len(key)):
        other = secrets.choice([c for c in "0123456789ABCxyz" if c != key[position]])
        assert not API_KEY.is_well_formed(key[:position] + other + key[position + 1 :])


def _bytes_below(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


async def test_no_secret_is_in_the_store(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        await api.chatbot()
        secret = api.key
        stored = await rows_as_bytes(api) if api.services.database.is_shared else b""
    stored += _bytes_below(tmp_path)
    assert b"Superbot" in stored
    assert secret.encode() not in stored
    assert secret[12:44].encode() not in stored


async def test_a_configured_key_works_and_can_be_revoked(tmp_path: Path) -> None:
    chosen = "my-own-key-of-some-length"
    for _ in range(2):
        async with gigachat(tmp_path, api_key=chosen) as api:
            assert (await api.get("/chatbots", key=chosen)).status == 200
    async with gigachat(tmp_path, api_key=chosen) as api:
        await api.services.key_ring.revoke(api.services.account.id, keys._configured_id(chosen))
        assert (await api.get("/chatbots", key=chosen)).status == 401
    async with gigachat(tmp_path, api_key=chosen) as api:
        assert (await api.get("/chatbots", key=chosen)).status == 401, "a restart does not bring it back"


async def test_a_plain_key_cannot_make_keys(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        for method, path in (("GET", "/api-keys"), ("POST", "/api-keys"), ("DELETE", "/api-keys/abc")):
            reply = await api.call(method, path, {"name": "x"} if method == "POST" else None)
            assert (reply.status, reply.code) == (403, "forbidden")


async def test_keys_are_made_listed_without_secrets_and_revoked(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        _, keeper = await api.services.key_ring.create(api.services.account.id, "keeper", scopes=keys.SCOPES)
        created = (await api.post("/api-keys", {"name": "shop"}, key=keeper)).body
        assert (await api.get("/chatbots", key=created["key"])).status == 200
        listed = await api.get("/api-keys", key=keeper)
        assert [key["name"] for key in listed.body] == ["shop", "keeper", "test"]
        assert created["key"][12:] not in listed.text
        assert listed.body[0]["last4"] == created["key"][-4:]
        assert (await api.call("DELETE", f"/api-keys/{created['id']}", key=keeper)).status == 204
        assert (await api.get("/chatbots", key=created["key"])).status == 401, "at once"
        assert (await api.call("DELETE", "/api-keys/nothing", key=keeper)).code == "not_found"


async def test_a_key_can_be_given_less_and_for_less_long(tmp_path: Path) -> None:
    now = 1_800_000_000_000_000
    async with gigachat(tmp_path, clock=lambda: now) as api:
        _, keeper = await api.services.key_ring.create(api.services.account.id, "keeper", scopes=keys.SCOPES)
        wanted = {"name": "reader", "scopes": ["chatbots:read"], "expires_in_days": 30}
        made = (await api.post("/api-keys", wanted, key=keeper)).body
        assert made["scopes"] == ["chatbots:read"]
        assert made["expires_at"] == "2027-02-14T08:00:00.000000+00:00"
        assert (await api.get("/chatbots", key=made["key"])).status == 200
        assert (await api.post("/chatbots", {"name": "x"}, key=made["key"])).status == 403
        bad: dict[str, Any]
        for bad in ({"scopes": ["everything"]}, {"scopes": []}, {"expires_in_days": 0}):
            assert (await api.post("/api-keys", {"name": "x", **bad}, key=keeper)).fields == set(bad)


async def test_speaking_as_client_needs_its_scope(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        scopes = tuple(scope for scope in keys.SCOPES if scope != "messages:inject")
        _, key = await api.services.key_ring.create(api.services.account.id, "widget", scopes=scopes)
        assert (await api.post(f"{chatbot}/conversations", PROMPT, key=key)).status == 201
        refused = await api.post(f"{chatbot}/conversations", {**PROMPT, "user_id": "client:boss"}, key=key)
        assert (refused.status, refused.code) == (403, "forbidden")
        assert len(await api.messages(chatbot)) == 2


def test_a_route_without_a_scope_does_not_start() -> None:
    forgotten = Route(method="GET", path="/x", scope=cast("Scope", ""), handler=ROUTES[0].handler, summary="")
    with pytest.raises(ValueError, match="GET /x"):
        RouteTable((*ROUTES, forgotten))


def test_every_route_below_a_chatbot_that_end_users_reach_is_guarded() -> None:
    for route in (*ROUTES, *(each for each in MCP_ROUTES if each.chatbot_in == "path")):
        # The last ones show what is said in conversations, too.
        reached = any(
            part in route.path
            for part in (
                "/conversations",
                "/ui",
                "/mcp",
                "/sessions",
                "/users",
                "/events",
                "/retrieve",
                "/replay",
                "/unanswered",
                "/search",
            )
        )
        reached &= not route.path.endswith("/users/{user_id}/revoke")  # or who turns a user out could be kept out
        if route.is_openai:
            reached = route.path != "/v1/models"  # the account's list, which names no chatbot
        assert route.is_guarded == reached, f"{route.method} {route.path}"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "https://www.example.com"}, True),
        ({"Origin": "https://WWW.EXAMPLE.COM:8443"}, True),
        ({"Origin": "https://shop.example.org"}, True),
        ({"Origin": "https://a.b.example.org"}, True),
        ({"Referer": "https://www.example.com/pricing?x=1"}, True),
        ({"Origin": "https://example.com"}, False),
        ({"Origin": "https://example.org"}, False),
        ({"Origin": "https://www.example.com.evil.test"}, False),
        ({"Origin": "https://evilexample.org"}, False),
        ({"Origin": "https://evil.test/www.example.com"}, False),
        ({"Origin": "https://www.example.com@evil.test"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "file://www.example.com"}, False),
        ({"Origin": "https://evil.test", "Referer": "https://www.example.com/"}, False),
        ({"Referer": "https://evil.test/?https://www.example.com"}, False),
    ],
)
async def test_hostnames_decide_which_pages_may_converse(tmp_path: Path, headers: dict[str, str], *, allowed: bool) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(restrictions={"hostnames": ["www.example.com", "*.example.org"]})
        reply = await api.post(f"{chatbot}/conversations", PROMPT, headers=headers)
        if allowed:
            assert reply.status == 201
        else:
            assert (reply.status, reply.code) == (403, "hostname_refused")
            assert (await api.get(f"{chatbot}/conversations", headers=headers)).status == 403, "reading is guarded too"
        assert (await api.get(chatbot, headers=headers)).status == 200, "managing is not: nobody locks themselves out"
        assert (await api.get(f"{chatbot}/documents", headers=headers)).status == 200


async def test_ip_addresses_are_compared_with_the_real_peer(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        inside = await api.chatbot(restrictions={"ip_addresses": ["127.0.0.0/8"]})
        outside = await api.chatbot(restrictions={"ip_addresses": ["10.1.2.3", "2001:db8::/32"]})
        assert (await api.post(f"{inside}/conversations", PROMPT)).status == 201
        refused = await api.post(f"{outside}/conversations", PROMPT, headers={"X-Forwarded-For": "10.1.2.3"})
        assert (refused.status, refused.code) == (403, "address_refused")
    async with gigachat(tmp_path, trusted_proxies="127.0.0.1") as api:
        behind = await api.post(f"{outside}/conversations", PROMPT, headers={"X-Forwarded-For": "6.6.6.6, 10.1.2.3"})
        assert behind.status == 201
        spoofed = await api.post(f"{outside}/conversations", PROMPT, headers={"X-Forwarded-For": "10.1.2.3, 6.6.6.6"})
        assert spoofed.code == "address_refused"
        twice = CIMultiDict([("X-Forwarded-For", "10.1.2.3"), ("X-Forwarded-For", "6.6.6.6")])
        assert (await api.post(f"{outside}/conversations", PROMPT, headers=twice)).code == "address_refused"
        pages = CIMultiDict([("Origin", "https://www.example.com"), ("Origin", "https://evil.test")])
        hosted = await api.chatbot(restrictions={"hostnames": ["www.example.com"]})
        assert (await api.post(f"{hosted}/conversations", PROMPT, headers=pages)).code == "hostname_refused"


@pytest.mark.parametrize(
    ("client", "forwarded", "peer"),
    [
        ("203.0.113.9", "10.0.0.1", "203.0.113.9"),
        ("10.9.9.9", None, "10.9.9.9"),
        ("10.9.9.9", "1.2.3.4", "1.2.3.4"),
        ("10.9.9.9", "1.2.3.4, 10.8.8.8", "1.2.3.4"),
        ("10.9.9.9", "9.9.9.9, 1.2.3.4", "1.2.3.4"),
        ("::ffff:10.9.9.9", "::ffff:1.2.3.4", "1.2.3.4"),
        ("10.9.9.9", "1.2.3.4:5678", "1.2.3.4"),
        ("10.9.9.9", "[2001:db8::1]:443", "2001:db8::1"),
        ("10.9.9.9", "unknown", "10.9.9.9"),
        ("10.9.9.9", "1.2.3.4, garbage", "10.9.9.9"),
        (None, "1.2.3.4", None),
    ],
)
def test_the_peer_is_the_last_hop_that_nobody_trusted_wrote(client: str | None, forwarded: str | None, peer: str | None) -> None:
    trusted = Settings(trusted_proxies="10.0.0.0/8").proxy_networks
    assert peer_address(client, forwarded, trusted) == peer


@pytest.mark.parametrize(
    ("page", "host"),
    [
        ("https://Bücher.example/", "xn--bcher-kva.example"),
        ("https://example.com./", "example.com"),
        ("https://user:pw@example.com:1/", "example.com"),
        ("example.com", ""),
        ("javascript://example.com/%0a", ""),
        ("https://[::1", ""),
        ("", ""),
    ],
)
def test_hostnames_are_compared_in_one_form(page: str, host: str) -> None:
    assert hostname_of(page) == host
    assert not host or is_listed(page, [host.upper()])


async def test_who_has_no_key_cannot_tell_by_the_headers_whether_a_chatbot_exists(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        there = await api.chatbot(restrictions={"hostnames": ["www.example.com"]})
        open_to_all = await api.chatbot()
        other = await api.services.key_ring.ensure_account("other")
        _, theirs = await api.services.key_ring.create(other.id, "theirs")
        missing = "/chatbots/01a204e3-15f7-77b1-9db6-d193b16a5979"
        for origin in ("https://www.example.com", "https://evil.test"):
            for method, key in (("OPTIONS", None), ("POST", None), ("POST", "gca_" + "0" * 46), ("GET", theirs)):
                seen = set()
                for chatbot in (there, open_to_all, missing):
                    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "X-Request-Id": "r"}
                    reply = await api.call(method, f"{chatbot}/conversations", key=key, headers=asked)
                    fields = {name: value for name, value in reply.headers.items() if name not in ("Date", "Content-Length")}
                    seen.add((reply.status, str(fields), reply.text.replace(chatbot, "")))
                assert len(seen) == 1, (origin, method, seen)


async def test_a_page_on_the_chatbots_hostnames_may_read_its_answers(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(restrictions={"hostnames": ["www.example.com"]})
        asked = {"Origin": "https://www.example.com", "Access-Control-Request-Method": "POST"}
        reply = await api.call("OPTIONS", f"{chatbot}/conversations", key=None, headers=asked)
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == "https://www.example.com"
        assert "Authorization" in reply.headers["Access-Control-Allow-Headers"]
        got = await api.get(chatbot, headers={"Origin": "https://evil.test"})
        assert got.status == 200 and "Access-Control-Allow-Origin" not in got.headers
        said = await api.post(f"{chatbot}/conversations", PROMPT, headers={"Origin": "https://www.example.com"})
        assert said.headers["Access-Control-Allow-Origin"] == "https://www.example.com"
        assert said.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "origin", ["https://a<b>", "javascript:alert(1)", "https://" + "a" * 263, "null", "https://a, https://b"]
)
async def test_an_origin_that_no_browser_would_write_is_not_repeated(tmp_path: Path, origin: str) -> None:
    async with gigachat(tmp_path) as api:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        reply = await api.call("OPTIONS", f"{await api.chatbot()}/conversations", key=None, headers=asked)
        assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("name", ["client:\u200b", "client: ", "client:\u00a0\u200d"])
async def test_an_operator_has_a_name_that_can_be_seen(tmp_path: Path, name: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        assert (await api.post(f"{chatbot}/conversations", {**PROMPT, "user_id": name})).fields == {"user_id"}


async def test_mapped_networks_match_and_a_limit_has_three_digits(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(restrictions={"ip_addresses": ["::ffff:127.0.0.1"]})
        assert (await api.post(f"{chatbot}/conversations", PROMPT)).status == 201
        for limit in ("000000001" + "0" * 20, "0000000019999"):
            assert (await api.get(f"/chatbots?limit={limit}")).status == 422
        assert (await api.post("/openapi.json", {})).status == 404


async def test_a_key_gives_only_what_it_has(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        _, maker = await api.services.key_ring.create(api.services.account.id, "maker", scopes=("keys:write",))
        refused = await api.post("/api-keys", {"name": "x", "scopes": ["chatbots:write"]}, key=maker)
        assert (refused.status, refused.code) == (403, "forbidden")
        assert (await api.post("/api-keys", {"name": "x", "scopes": ["keys:write"]}, key=maker)).status == 201


async def test_a_scope_without_a_meaning_is_in_no_key_by_default_and_never_gains_one(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        assert set(DEFAULT_SCOPES) == {
            "chatbots:read", "chatbots:write", "documents:read", "documents:write", "conversations:read", "conversations:write",
            "messages:inject",
        }  # fmt: skip
        old, secret = await api.services.key_ring.create(
            api.services.account.id, "old", scopes=(*DEFAULT_SCOPES, "webhooks:write")
        )
        assert (await api.get("/chatbots", key=secret)).status == 200, "a key that has it stays valid"
        principal = await api.services.key_ring.authenticate(secret)
        assert {scope.value for scope in principal.scopes} == {*DEFAULT_SCOPES, "learning:write"}, "what documents:write includes"
        assert principal.is_owner and old.scopes[-1] == "webhooks:write"
        named, _ = await api.services.key_ring.grant(principal, "named", scopes=("chatbots:read", "webhooks:write"))
        assert named.scopes == ("chatbots:read", "webhooks:write"), "a script that names it goes on working"
        assert RETIRED.isdisjoint(scope.value for scope in Scope), "no scope may be called so again: old keys would get it"


async def test_settling_an_unanswered_prompt_is_guarded_as_the_list_is(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(restrictions={"ip_addresses": ["192.0.2.0/24"]})
        for path, body in (("answer", {"answer": "Nine."}), ("dismiss", None)):
            reply = await api.post(f"{chatbot}/unanswered/01a204e3-15f7-77b1-9db6-d193b16a5979/{path}", body)
            assert reply.code == "address_refused", path
