"""API keys on their page: made, shown once, revoked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.access.bearers import API_KEY
from gigachat_server.access.keys import DEFAULT_SCOPES
from tests.pages.pages import Page, field, pages

pytestmark = pytest.mark.sqlite_only  # a page sees nothing but the API, which is tested on both


async def test_a_key_is_shown_once_and_works_until_it_is_revoked(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        made = await site.visitor.post("/keys", name="my server")
        assert made.status == 201
        secret = re.findall(r'id="secret"[^>]*>(\w+)<', made.text)[0]
        assert API_KEY.is_well_formed(secret)
        assert (await site.api.get("/chatbots", key=secret)).status == 200
        listed = await site.visitor.get("/keys")
        assert secret not in listed.text
        assert f"my server …{secret[-4:]}" in Page(listed.text).text
        revoked = await site.visitor.post("/web/keys/revoke", key_id=secret[4:12])
        assert (revoked.status, revoked.headers["Location"]) == (303, "/keys")
        assert (await site.api.get("/chatbots", key=secret)).status == 401
        assert "Revoked" in (await site.visitor.get("/keys")).text


async def test_a_key_of_the_page_has_the_scopes_of_one_of_the_command_line(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        await site.visitor.post("/keys", name="k")
        listed = (await site.api.get("/api-keys")).code
        assert listed == "forbidden"  # the fixture's key has the same scopes: it cannot list keys
        assert "keys:write" not in DEFAULT_SCOPES


async def test_keys_of_other_accounts_are_out_of_reach(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        other = await site.api.services.key_ring.ensure_account("other")
        key, secret = await site.api.services.key_ring.create(other.id, "theirs")
        assert "theirs" not in (await site.visitor.get("/keys")).text
        foreign = await site.visitor.post("/web/keys/revoke", key_id=key.id)
        missing = await site.visitor.post("/web/keys/revoke", key_id="none")
        assert foreign.status == missing.status == 404
        assert foreign.text == missing.text
        assert (await site.api.get("/chatbots", key=secret)).status == 200


async def test_revoking_the_key_one_signed_in_with_signs_out(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        await site.stranger.sign_in(key=site.api.key)
        page = await site.stranger.get("/keys")
        assert "so this signs you out" in page.text
        await site.stranger.post("/web/keys/revoke", key_id=field(page.text, "key_id"))
        assert (await site.stranger.get("/keys")).status == 303


async def test_a_bad_name_is_told_on_the_page(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        reply = await site.visitor.post("/keys", name="   ")
        assert reply.status == 422
        assert 'role="alert">name: ' in reply.text


async def test_older_keys_are_on_further_pages(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        ring, account_id = site.api.services.key_ring, site.api.services.account.id
        names = [f"key-{number:02}" for number in range(60)]
        for name in names:
            await ring.create(account_id, name)
        seen, address = set(), "/keys"
        while address:
            page = await site.visitor.get(address)
            seen |= set(re.findall(r"key-\d\d", page.text))
            following = re.findall(r'href="(/keys\?after=[^"]+)"', page.text)
            address = following[0] if following else ""
        assert seen == set(names)


@pytest.mark.parametrize("given", [{"scopes": ("chatbots:read",)}, {"expires_at": 9_000_000_000_000_000}])
async def test_a_key_that_may_do_less_sees_neither_keys_nor_endpoints(tmp_path: Path, given: dict[str, Any]) -> None:
    async with pages(tmp_path) as site:
        ring, account_id = site.api.services.key_ring, site.api.services.account.id
        await ring.create(account_id, "of the accountant")
        _, secret = await ring.create(account_id, "narrow", **given)
        await site.stranger.sign_in(key=secret)
        for reply in (await site.stranger.get("/keys"), await site.stranger.post("/keys", name=" ")):
            assert reply.status == 403
            assert "of the accountant" not in reply.text
        assert (await site.stranger.get("/models")).status == 403


async def test_a_key_that_may_not_read_documents_sees_none_on_the_chat_page(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await site.api.push(chatbot, "secret plan", "Nine.")
        ring = site.api.services.key_ring
        _, secret = await ring.create(site.api.services.account.id, "narrow", scopes=("chatbots:read", "conversations:read"))
        await site.stranger.sign_in(key=secret)
        shown = Page((await site.stranger.get("/")).text).text
        assert "document" not in shown, shown
