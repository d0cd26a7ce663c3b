"""Signing in with a provider of identities: who gets in, and which answers are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gigachat_server.access.one_way import derived, new_secret
from gigachat_server.clock import system_clock
from tests import stores
from tests.harness import Reply
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, StubProvider, new_key, provider
from tests.operators import PASSWORD, add_operator
from tests.pages.pages import Pages, Visitor, pages
from tests.pages.test_login import HOUR, SECOND, Watch

pytestmark = pytest.mark.sqlite_only  # the pages see nothing of the store

Broken = Callable[[StubProvider, dict[str, str]], None]


def _settings(stub: StubProvider, **more: str) -> dict[str, Any]:
    return {"oidc_issuer": stub.url, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET, **more}


async def _leave(visitor: Visitor, wanted: str = "/") -> tuple[str, str]:
    """The address at the provider that the browser is sent to, and what its cookie holds meanwhile."""
    reply = await visitor.get("/login/oidc?" + urlencode({"next": wanted}))
    assert reply.status == 303
    found = re.match(r"gigachat_oidc=([\w-]+); HttpOnly; Max-Age=600; Path=/login; SameSite=lax", reply.headers["Set-Cookie"])
    assert found is not None, reply.headers["Set-Cookie"]
    return reply.headers["Location"], found[1]


async def _come_back(visitor: Visitor, answer: dict[str, str], cookie: str) -> Reply:
    visitor.cookie = ""  # or it would be sent instead
    reply = await visitor.get("/login/oidc/callback?" + urlencode(answer), Cookie=f"gigachat_oidc={cookie}")
    found = re.search(r"gigachat_session=([\w-]{43});", reply.headers.get("Set-Cookie", ""))
    visitor.cookie = found[1] if found else ""
    return reply


async def _sign_in(site: Pages, stub: StubProvider, wanted: str = "/") -> Reply:
    address, cookie = await _leave(site.stranger, wanted)
    return await _come_back(site.stranger, stub.answer(address), cookie)


async def test_an_invited_operator_signs_in_with_their_provider(tmp_path: Path) -> None:
    clock = Watch()
    async with provider(clock) as stub, pages(tmp_path, clock=clock, **_settings(stub)) as site:
        made = await add_operator(site.api.services, "ann", "admin")
        assert (await _sign_in(site, stub, "/keys")).headers["Location"] == "/keys"
        assert "Ann" in (await site.stranger.get("/profile")).text
        stub.user["email"] = "changed@example.com"  # linked once: from now on the subject counts
        assert (await _sign_in(site, stub)).status == 303
        clock.now += 12 * HOUR - 60 * SECOND
        assert (await site.stranger.get("/profile")).status == 200
        clock.now += 61 * SECOND
        assert (await site.stranger.get("/profile")).status == 303, "12 hours at most, however much it is used"
        stub.user = {"sub": "u-2", "email": made.email, "email_verified": True}
        refused = await _sign_in(site, stub)
        assert (refused.status, site.stranger.cookie) == (403, ""), "another subject with the same address is somebody else"
        assert stub.fetches.count("metadata") == 2, "known for an hour"


def _says(**claims: Any) -> Broken:
    return lambda stub, answer: stub.claims.update(claims)


def _is(**fields: Any) -> Broken:
    def break_it(stub: StubProvider, answer: dict[str, str]) -> None:
        for name, value in fields.items():
            setattr(stub, name, value)

    return break_it


def _answers(**fields: str | None) -> Broken:
    def break_it(stub: StubProvider, answer: dict[str, str]) -> None:
        for name, value in fields.items():
            answer.pop(name)
            answer.update({} if value is None else {name: value})

    return break_it


NOW_S = system_clock() // SECOND
WRONG: dict[str, Broken] = {
    "state of another login": _answers(state=derived(new_secret(), "state")),
    "no state": _answers(state=None),
    "no code": _answers(code=None),
    "a code of nobody": _answers(code="x"),
    "issuer in the address": _answers(iss="https://evil.test"),
    "nonce": _says(nonce="other"),
    "no nonce": _says(nonce=None),
    "issuer": _says(iss="https://evil.test"),
    "audience": _says(aud="other"),
    "audiences without azp": _says(aud=[CLIENT_ID, "other"]),
    "azp": _says(aud=[CLIENT_ID, "other"], azp="other"),
    "expired": _says(exp=NOW_S - 120),
    "expires as text": _says(exp="9999999999"),
    "expires never": _says(exp=None),
    "issued in the future": _says(iat=NOW_S + 3600),
    "no subject": _says(sub=""),
    "subject as a number": _says(sub=7),
    "signed by another key": _is(signed_by=new_key()),
    "unknown key": _is(header={"kid": "k9"}),
    "crit": _is(header={"crit": ["exp"], "exp": 1}),
    "shared secret": _is(signed_by="x" * 32, algorithm="HS256"),
    "no signature": _is(signed_by="", algorithm="none"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_not_the_answer_to_this_login_is_refused(tmp_path: Path, name: str) -> None:
    async with provider() as stub, pages(tmp_path, **_settings(stub)) as site:
        await add_operator(site.api.services, "ann", "admin")
        address, cookie = await _leave(site.stranger)
        answer = stub.answer(address)
        WRONG[name](stub, answer)
        refused = await _come_back(site.stranger, answer, cookie)
        assert (refused.status, site.stranger.cookie) == (401, ""), refused.text
        assert "does not belong to this login" in refused.text
        stub.claims, stub.header, stub.signed_by, stub.algorithm = {}, {}, None, "RS256"
        assert (await _sign_in(site, stub)).status == 303, "and the right path is open"


async def test_an_answer_counts_once_and_in_its_own_browser(tmp_path: Path) -> None:
    async with provider() as stub, pages(tmp_path, **_settings(stub)) as site:
        await add_operator(site.api.services, "ann", "admin")
        address, cookie = await _leave(site.stranger)
        answer = stub.answer(address)
        assert (await _come_back(site.stranger, answer, new_secret())).status == 401, "another's browser"
        assert (await _come_back(site.stranger, answer, "")).status == 401
        assert (await _come_back(site.stranger, answer, cookie)).status == 303
        assert (await _come_back(site.stranger, answer, cookie)).status == 401
        kept = str(stores.current().query(tmp_path, "SELECT * FROM oidc_logins")) + address
        assert cookie not in kept


@pytest.mark.parametrize(
    "user",
    [
        {"sub": "u-1", "email": "ann@example.com", "email_verified": False},
        {"sub": "u-1", "email": "ann@example.com"},
        {"sub": "u-1"},
        {"sub": "u-1", "email": "eve@example.com", "email_verified": True},
    ],
)
async def test_only_a_verified_address_that_was_invited_opens(tmp_path: Path, user: dict[str, Any]) -> None:
    async with provider() as stub, pages(tmp_path, **_settings(stub)) as site:
        await add_operator(site.api.services, "ann", "admin")
        stub.user = user
        refused = await _sign_in(site, stub)
        assert (refused.status, site.stranger.cookie) == (403, "")
        assert "You are not invited here" in refused.text


async def test_with_a_role_strangers_whom_the_provider_knows_come_in(tmp_path: Path) -> None:
    async with provider() as stub, pages(tmp_path, **_settings(stub, oidc_role="member")) as site:
        await add_operator(site.api.services, "eve", "owner")
        stub.user = {"sub": "u-7", "email": "Eve@elsewhere.example", "email_verified": True, "name": "Eve E."}
        assert (await _sign_in(site, stub)).status == 303
        profile = (await site.stranger.get("/profile")).text
        assert "Eve E." in profile
        assert "<code>eve2</code>" in profile, "a handle belongs to one person"
        assert "No chatbot yet" in (await site.stranger.get("/")).text


async def test_who_is_disabled_is_not_let_in_by_the_provider(tmp_path: Path) -> None:
    async with provider() as stub, pages(tmp_path, **_settings(stub)) as site:
        made = await add_operator(site.api.services, "ann", "admin")
        assert (await _sign_in(site, stub)).status == 303
        await site.visitor.post("/web/operators/state", operator_id=made.id, disabled="true")
        assert (await site.stranger.get("/profile")).status == 303
        assert (await _sign_in(site, stub)).status == 403


async def test_a_new_key_of_the_provider_is_found_and_not_asked_for_too_often(tmp_path: Path) -> None:
    clock = Watch()
    async with provider(clock) as stub, pages(tmp_path, clock=clock, **_settings(stub)) as site:
        await add_operator(site.api.services, "ann", "admin")
        assert (await _sign_in(site, stub)).status == 303
        stub.keys, stub.kid = {"k2": new_key()}, "k2"
        assert (await _sign_in(site, stub)).status == 401, "asked a moment ago"
        clock.now += 61 * SECOND
        assert (await _sign_in(site, stub)).status == 303
        assert stub.fetches.count("keys") == 2


async def test_a_provider_that_is_away_leaves_passwords(tmp_path: Path) -> None:
    async with provider() as stub:
        settings = _settings(stub)
    async with pages(tmp_path, **settings) as site:
        assert (await site.stranger.get("/login/oidc")).status == 502
        made = await add_operator(site.api.services, "ann", "owner")
        reply = await site.visitor.post("/web/operators/link", operator_id=made.id)
        token = re.findall(r"/invite\?token=([\w-]+)", reply.text)[0]
        assert (await site.stranger.post("/invite", token=token, password=PASSWORD, again=PASSWORD)).status == 303
        assert (await site.stranger.post("/login", email=made.email, password=PASSWORD)).status == 303


async def test_without_a_provider_there_is_no_way_to_one(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        assert (await site.stranger.get("/login/oidc")).status == 404
        assert (await site.stranger.get("/login/oidc/callback?state=x&code=y")).status == 404
