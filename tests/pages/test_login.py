"""Who gets in to the pages, for how long, and what the cookie is good for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gigachat_server.access.attempts import ATTEMPTS, MOST_REMEMBERED, AttemptLimit, network_of
from gigachat_server.access.principal import local_operator
from gigachat_server.access.sessions import MOST_SESSIONS
from gigachat_server.pages.context import safe_next
from tests import stores
from tests.pages.pages import pages

pytestmark = pytest.mark.sqlite_only  # a page sees nothing but the API, which is tested on both

SECOND = 1_000_000
HOUR = 3600 * SECOND


class Watch:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


async def test_nothing_is_shown_to_a_stranger(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        await site.api.chatbot(name="Secret chatbot")
        for path in ("/", "/keys", "/?chatbot=x&conversation=1", "/keys?after=x"):
            reply = await site.stranger.get(path)
            assert reply.status == 303
            assert reply.headers["Location"].startswith("/login")
            assert reply.text == ""
        assert (await site.stranger.get("/keys")).headers["Location"] == "/login?next=%2Fkeys"
        for path in ("/keys", "/logout", "/web/chatbots", "/web/keys/revoke"):
            reply = await site.stranger.post(path, name="x", key_id="x")
            assert (reply.status, reply.headers["Location"].partition("?")[0]) == (303, "/login")
        reply = await site.stranger.say("/chatbots/x", "Hello")
        assert (reply.status, reply.code) == (401, "unauthenticated")
        for path in ("/docs", "/login"):
            reply = await site.stranger.get(path)
            assert reply.status == 200
            assert "Secret chatbot" not in reply.text
            assert site.api.key[-4:] not in reply.text


async def test_a_link_signs_in_once_and_looking_at_it_spoils_nothing(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        token = await site.token()
        for _ in range(3):
            page = await site.stranger.get(f"/login?token={token}")
            assert page.status == 200
            assert "Set-Cookie" not in page.headers
        reply = await site.stranger.sign_in(token=token)
        assert (reply.status, reply.headers["Location"]) == (303, "/welcome"), "as long as there is no owner"
        assert (await site.stranger.get("/keys")).status == 200
        site.stranger.cookie = ""
        again = await site.stranger.post("/login", token=token)
        assert again.status == 401
        assert "was used already" in again.text
        assert "was used already" in (await site.stranger.get(f"/login?token={token}")).text


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(tmp_path: Path) -> None:
    async with pages(tmp_path, trusted_proxies="127.0.0.1") as site:
        plain = await site.stranger.post("/login", key=site.api.key)
        attributes = [part.strip() for part in plain.headers["Set-Cookie"].split(";")[1:]]
        assert sorted(attributes) == ["HttpOnly", "Max-Age=604800", "Path=/", "SameSite=lax"]
        headers = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-Proto": "https"}
        secure = await site.stranger.post("/login", headers=headers, key=site.api.key)
        assert "; Secure" in secure.headers["Set-Cookie"]


async def test_only_a_trusted_proxy_says_that_the_browser_speaks_https(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        headers = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-Proto": "https"}
        reply = await site.stranger.post("/login", headers=headers, key=site.api.key)
        assert "Secure" not in reply.headers["Set-Cookie"]


async def test_a_key_signs_in_for_its_own_account(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        ours = await site.api.chatbot(name="Ours")
        other = await site.api.services.key_ring.ensure_account("other")
        _, secret = await site.api.services.key_ring.create(other.id, "theirs")
        assert (await site.stranger.sign_in(key=f" {secret}\n")).status == 303
        assert "Ours" not in (await site.stranger.get("/")).text
        assert site.api.key[-4:] not in (await site.stranger.get("/keys")).text
        chatbot_id = ours.removeprefix("/chatbots/")
        assert (await site.stranger.get(f"/?chatbot={chatbot_id}")).status == 404
        reply = await site.stranger.say(ours, "Hello")
        assert (reply.status, reply.code) == (404, "not_found")


async def test_a_link_that_is_pasted_where_a_key_goes_signs_in_too(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        link = f" {site.visitor.url}/login?token={await site.token()}\n"
        signed_in = await site.stranger.sign_in(key=link)
        assert (signed_in.status, signed_in.headers["Location"]) == (303, "/welcome")
        assert (await site.stranger.get("/keys")).status == 200
        again = await site.stranger.post("/login", key=link)
        assert again.status == 401
        assert "This link was used already" in again.text


async def test_what_is_no_key_is_told_so(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        for key in ("", "x", "gca_" + "0" * 46, "\x00", "é" * 300, "' OR 1=1 --", "x/login?" + "token&" * 99):
            reply = await site.stranger.post("/login", key=key)
            assert reply.status == (422 if key == "\x00" else 401), key
            assert "Set-Cookie" not in reply.headers


async def test_a_revoked_key_ends_its_sessions(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        key, secret = await site.api.services.key_ring.create(site.api.services.account.id, "short")
        await site.stranger.sign_in(key=secret)
        assert (await site.stranger.get("/keys")).status == 200
        await site.api.services.key_ring.revoke(key.account_id, key.id)
        assert (await site.stranger.get("/keys")).status == 303
        assert (await site.visitor.get("/keys")).status == 200


async def test_the_api_does_not_know_the_cookie(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        reply = await site.visitor.get("/chatbots")
        assert (reply.status, reply.code) == (401, "unauthenticated")


async def test_signing_out_ends_the_session_for_whoever_has_the_cookie(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        reply = await site.visitor.post("/logout")
        assert (reply.status, reply.headers["Location"]) == (303, "/login")
        assert 'gigachat_session=""' in reply.headers["Set-Cookie"]
        assert (await site.visitor.get("/keys")).status == 303


async def test_sessions_and_links_end_by_the_clock(tmp_path: Path) -> None:
    clock = Watch()
    async with pages(tmp_path, clock=clock) as site:
        token = await site.token()
        clock.now += 12 * HOUR - SECOND
        assert (await site.visitor.get("/keys")).status == 200
        assert "This link signs you in" in (await site.stranger.get(f"/login?token={token}")).text
        clock.now += 12 * HOUR - SECOND
        assert (await site.visitor.get("/keys")).status == 200, "it was used meanwhile"
        clock.now += 12 * HOUR
        assert (await site.visitor.get("/keys")).status == 303
        assert (await site.stranger.post("/login", token=token)).status == 401


async def test_a_session_ends_after_a_week_however_much_it_is_used(tmp_path: Path) -> None:
    clock = Watch()
    async with pages(tmp_path, clock=clock) as site:
        for _ in range(15):
            clock.now += 11 * HOUR
            assert (await site.visitor.get("/keys")).status == 200
        clock.now += 3 * HOUR
        assert (await site.visitor.get("/keys")).status == 303


async def test_attempts_to_sign_in_are_limited(tmp_path: Path) -> None:
    clock = Watch()
    async with pages(tmp_path, clock=clock) as site:
        clock.now += 61 * SECOND
        for _ in range(ATTEMPTS):
            assert (await site.stranger.post("/login", key="gca_wrong")).status == 401
        refused = await site.stranger.post("/login", key=site.api.key)
        assert refused.status == 429
        assert refused.headers["Retry-After"] == "60"
        assert "Set-Cookie" not in refused.headers
        clock.now += 60 * SECOND
        assert (await site.stranger.post("/login", key=site.api.key)).status == 303


def test_the_limit_is_one_for_each_network_and_takes_bounded_memory() -> None:
    clock = Watch()
    limit = AttemptLimit(clock)
    assert [limit.count(network_of("2001:db8::1")) for _ in range(ATTEMPTS)] == [0] * ATTEMPTS
    assert limit.count(network_of("2001:db8::ffff:2")) == 60
    for another in ("2001:db8:0:1::1", "192.0.2.1", None):
        assert limit.count(network_of(another)) == 0
    for number in range(MOST_REMEMBERED + 10):
        limit.count(str(number))
    assert len(limit._attempts) == MOST_REMEMBERED


async def test_sessions_are_bounded_and_their_ids_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gigachat_server.access.sessions.MOST_SESSIONS", 3)
    clock = Watch()
    async with pages(tmp_path, clock=clock) as site:
        sessions, who = site.api.services.sessions, local_operator(site.api.services.account.id)
        opened = []
        for _ in range(5):
            clock.now += SECOND
            opened.append(await sessions.open(who, peer=None))
        assert [await sessions.recognise(each) is not None for each in opened] == [False, False, True, True, True]
        token = await sessions.mint_login_token()
        kept = repr(stores.current().query(tmp_path, "SELECT * FROM operator_sessions"))
        kept += repr(stores.current().query(tmp_path, "SELECT * FROM one_time_tokens"))
        session = await sessions.recognise(opened[-1])
        assert session is not None
        for secret in (opened[-1], token, session.csrf_token):
            assert len(secret) == 43
            assert secret not in kept
        assert MOST_SESSIONS == 1_000


@pytest.mark.parametrize(
    "wanted, goes_to",
    [
        ("/keys", "/keys"),
        ("/?chatbot=a&conversation=b%2Fc", "/?chatbot=a&conversation=b%2Fc"),
        ("https://evil.test/", "/"),
        ("//evil.test/", "/"),
        ("/\\evil.test", "/"),
        ("///evil.test/keys", "/"),
        ("/keys\r\nSet-Cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
        ("/logout", "/"),
        ("//[", "/"),
        ("", "/"),
    ],
)
def test_the_login_leads_to_our_own_pages_alone(wanted: str, goes_to: str) -> None:
    assert safe_next(wanted) == goes_to
