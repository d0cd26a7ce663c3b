"""From which pages and apps end users are let in: from those that are listed, and from no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.access.people import BOB, PAGE, People, people
from tests.harness import Reply, gigachat

OTHER_PAGES = (
    "https://evil.example", "https://www.example.com.evil.example", "https://evilwww.example.com", "null", "https://example.com",
    "https://sub.www.example.com", "file://www.example.com", "http://", "https://www.example.com@evil.example", "",
)  # fmt: skip


async def of_each(shop: People, headers: dict[str, str]) -> dict[str, Reply]:
    """A call with each kind of credential of an end user."""
    visitor, _ = await shop.visitor()
    return {
        "widget key": await shop.post("/sessions", {}, bearer=shop.widget_key, headers=headers),
        "visitor": await shop.get("/conversations", bearer=visitor, headers=headers),
        "session": await shop.get("/conversations", bearer=await shop.session(), headers=headers),
        "token": await shop.get("/conversations", bearer=shop.token(), headers=headers),
    }


@pytest.mark.parametrize("origin", OTHER_PAGES)
async def test_a_page_that_is_not_listed_is_refused(tmp_path: Path, origin: str) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        for name, reply in (await of_each(shop, {"Origin": origin})).items():
            assert (reply.status, reply.code) == (403, "hostname_refused"), name


async def test_a_page_that_is_listed_is_let_in_and_may_read_the_answer(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api, restrictions={"hostnames": ["*.shop.example"]})
        for origin in (PAGE["Origin"], "http://www.example.com:8080", "https://de.shop.example"):
            for name, reply in (await of_each(shop, {"Origin": origin})).items():
                assert reply.status in (200, 201), name
                assert reply.headers["Access-Control-Allow-Origin"] == origin
        account = await shop.get("/conversations", headers={"Origin": "https://de.shop.example"})
        assert account.headers["Access-Control-Allow-Origin"] == "https://de.shop.example"
        theirs = await shop.get("/conversations", headers=PAGE)
        assert (theirs.status, theirs.code) == (403, "hostname_refused"), "a widget key lists no page for the account's key"


async def test_without_a_widget_key_and_restrictions_no_page_is_let_in(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        (key,) = (await shop.get("/widget-keys")).body
        assert (await shop.get("/conversations", bearer=shop.token(), headers=PAGE)).status == 200
        assert (await shop.call("DELETE", f"/widget-keys/{key['id']}")).status == 204
        refused = await shop.get("/conversations", bearer=shop.token(), headers=PAGE)
        assert (refused.status, refused.code) == (403, "hostname_refused")
        assert (await shop.get("/conversations", bearer=shop.token())).status == 200, "from an app or a server"


async def test_what_names_no_page_is_let_in_with_a_token_or_by_a_key_for_apps(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        replies = await of_each(shop, {})
        assert {name: reply.status for name, reply in replies.items()} == {
            "widget key": 403, "visitor": 403, "session": 200, "token": 200,
        }  # fmt: skip
        (key,) = (await shop.get("/widget-keys")).body
        changed = await shop.call("PATCH", f"/widget-keys/{key['id']}", {"settings": {"allow_apps": True}})
        assert changed.body["settings"] == key["settings"] | {"allow_apps": True}
        replies = await of_each(shop, {})
        assert {reply.status for reply in replies.values()} == {200, 201}


async def test_addresses_hold_for_all(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        visitor, _ = await shop.visitor()
        held = [shop.token(), await shop.session(), visitor]
        patched = await api.call("PATCH", shop.path, {"restrictions": {"ip_addresses": ["192.0.2.1"]}})
        assert patched.status == 200
        for bearer in (*held, shop.keeper):
            reply = await shop.get("/conversations", bearer=bearer, headers=PAGE)
            assert (reply.status, reply.code) == (403, "address_refused")
        assert (await shop.get("/widget-keys")).status == 200, "who manages the chatbot is not kept out"


async def test_a_widget_key_that_is_switched_off_lets_no_one_in_until_it_is_on_again(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        visitor, _ = await shop.visitor()
        (key,) = (await shop.get("/widget-keys")).body

        async def statuses() -> list[int]:
            opened = await shop.post("/sessions", {}, bearer=shop.widget_key, headers=PAGE)
            return [opened.status, (await shop.get("/conversations", bearer=visitor, headers=PAGE)).status]

        assert await statuses() == [201, 200]
        for is_enabled, expected in ((False, [401, 401]), (True, [201, 200])):
            await shop.call("PATCH", f"/widget-keys/{key['id']}", {"is_enabled": is_enabled})
            assert await statuses() == expected
        assert (await shop.call("DELETE", f"/widget-keys/{key['id']}")).status == 204
        assert await statuses() == [401, 401]
        assert (await shop.call("PATCH", f"/widget-keys/{key['id']}", {"is_enabled": True})).status == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hostnames": ["*"]}, "hostnames[0]"),
        ({"hostnames": ["https://www.example.com"]}, "hostnames[0]"),
        ({"hostnames": ["www.example.com", "www.example.com:8080"]}, "hostnames[1]"),
        ({"hostnames": ["www.example.com/path"]}, "hostnames[0]"),
        ({"hostnames": ["a.*.example.com"]}, "hostnames[0]"),
        ({"hostnames": []}, "hostnames"),
        ({"hostnames": ["a.example"] * 101}, "hostnames"),
        ({"name": ""}, "name"),
        ({"settings": {"sources": "all"}}, "settings.sources"),
        ({"settings": {"unknown": 1}}, "settings.unknown"),
        ({"key": "gcp_mine"}, "key"),
    ],
)
async def test_a_widget_key_that_could_not_hold_is_refused(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        (key,) = (await shop.get("/widget-keys")).body
        made = await shop.post("/widget-keys", {"name": "k", "hostnames": ["a.example"], **change})
        assert (made.status, made.fields) == (422, {field})
        changed = await shop.call("PATCH", f"/widget-keys/{key['id']}", change)
        assert (changed.status, changed.fields) == (422, {field})
        assert (await shop.get("/widget-keys")).body == [key]


async def test_a_preflight_says_the_same_for_every_chatbot(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        told = []
        for path in (shop.path, "/chatbots/01a204e3-15f7-77b1-9db6-d193b16a5979"):
            for origin in (PAGE["Origin"], "https://evil.example"):
                reply = await api.call("OPTIONS", f"{path}/sessions", headers={"Origin": origin, **asked}, key=None)
                assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (204, origin)
                told.append({name: value for name, value in reply.headers.items() if name.startswith("Access-Control-Allow-M")})
        assert all(each == told[0] for each in told)
        refused = await shop.get("/conversations", bearer=shop.token(BOB), headers={"Origin": "https://evil.example"})
        assert refused.headers["Access-Control-Allow-Origin"] == "https://evil.example", "it may read that it may not"
