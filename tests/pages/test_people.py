"""People on the pages: the first owner, invitations, passwords, what each sees, and sessions on every node."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.access.passwords import AT_ONCE, MOST_WAITING, Passwords
from gigachat_server.access.principal import local_operator
from gigachat_server.errors import RateLimited
from tests.harness import gigachat
from tests.operators import PASSWORD, add_operator, session_of
from tests.pages.pages import Page, Pages, Visitor, pages
from tests.pages.test_login import HOUR, SECOND, Watch

pytestmark = pytest.mark.sqlite_only  # the pages see nothing of the store; what they call is tested on both


async def _accept(site: Pages, visitor: Visitor, link: str, password: str = PASSWORD) -> None:
    token = link.partition("token=")[2]
    assert "Choose" in (await visitor.get(f"/invite?token={token}")).text
    reply = await visitor.post("/invite", token=token, password=password, again=password)
    assert reply.status == 303, Page(reply.text).text
    await _keep_cookie(visitor, reply.headers["Set-Cookie"])


async def _keep_cookie(visitor: Visitor, header: str) -> None:
    visitor.cookie = re.findall(r"gigachat_session=([\w-]+);", header)[0]
    visitor.csrf = re.findall(r'name="csrf" value="([\w-]+)"', (await visitor.get("/profile")).text)[0]


async def test_the_first_link_leads_to_the_first_owner_who_invites_the_others(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        ours, theirs = await site.api.chatbot(name="Ours"), await site.api.chatbot(name="Theirs")
        owner: dict[str, Any] = {"email": "Ann@example.com", "name": "Ann Archer", "password": PASSWORD, "again": PASSWORD}
        for wrong, told in (
            ({"again": "x" * 20}, "differ"),
            ({"password": "short", "again": "short"}, "12 to 256"),
            ({"password": "a" * 12, "again": "a" * 12}, "same few characters"),
            ({"email": "ann"}, "e-mail address"),
        ):
            refused = await site.visitor.post("/welcome", **{**owner, **wrong})
            assert refused.status == 422
            assert told in Page(refused.text).text
        earlier = site.visitor.cookie
        made = await site.visitor.post("/welcome", **owner)
        assert (made.status, made.headers["Location"]) == (303, "/operators")
        await _keep_cookie(site.visitor, made.headers["Set-Cookie"])
        assert await site.api.services.sessions.recognise(earlier) is None, "it was replaced"
        assert (await site.visitor.get("/welcome")).headers["Location"] == "/"

        chatbot_id = ours.rpartition("/")[2]
        form: dict[str, Any] = {"email": "bob@example.com", "name": "Bob", "role": "member", f"chatbot.{chatbot_id}": "operator"}
        invited = await site.visitor.post("/web/operators/invite", **form)
        assert invited.status == 201
        link = re.findall(r"http://[^<\s]+/invite\?token=[\w-]+", invited.text)[0]
        assert link.startswith(site.visitor.url)
        await _accept(site, site.stranger, link)
        shown = await site.stranger.get("/")
        assert "Ours" in shown.text
        assert "Theirs" not in shown.text
        assert (await site.stranger.get(f"/?chatbot={theirs.rpartition('/')[2]}")).status == 404
        for path in ("/keys", "/models", "/operators", "/audit"):
            assert (await site.stranger.get(path, Accept="text/html")).status == 403, path
        assert (await site.stranger.post("/web/operators/invite", **form)).status == 403
        assert (await site.stranger.say(theirs, "Hello")).code == "not_found"

        operator_id = re.findall(
            r'name="operator_id" value="([\w-]+)"', (await site.visitor.get("/operators", Accept="text/html")).text
        )[-1]
        await site.visitor.post("/web/operators/state", operator_id=operator_id, disabled="true")
        assert (await site.stranger.get("/")).headers["Location"] == "/login"


async def test_a_password_signs_in_and_a_key_no_longer_does(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        await site.stranger.sign_in(key=site.api.key)
        assert (await site.stranger.get("/keys")).status == 200
        made = await add_operator(site.api.services, "ann", "owner")
        assert (await site.stranger.get("/keys")).status == 303, "its session ends as well"
        refused = await site.stranger.post("/login", key=site.api.key)
        assert (refused.status, "no longer sign people in" in refused.text) == (401, True)
        assert 'name="key"' not in (await site.stranger.get("/login")).text
        await session_of(site.api.services, made)
        for email, password in ((made.email, "x" * 20), ("nobody@example.com", PASSWORD), (made.email, ""), ("", PASSWORD)):
            wrong = await site.stranger.post("/login", email=email, password=password)
            assert (wrong.status, "do not match" in wrong.text) == (401, True)
        right = await site.stranger.post("/login", email=" ANN@example.com ", password=PASSWORD, next="/audit")
        assert (right.status, right.headers["Location"]) == (303, "/audit")
    async with pages(tmp_path, key_sign_in="always") as site:
        assert (await site.stranger.post("/login", key=site.api.key)).status == 303


async def test_attempts_on_one_address_are_limited_from_wherever_they_come(tmp_path: Path) -> None:
    clock = Watch()
    async with pages(tmp_path, clock=clock, trusted_proxies="127.0.0.1") as site:
        made = await add_operator(site.api.services, "ann", "owner")
        await session_of(site.api.services, made)
        statuses = []
        for number in range(32):
            headers = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-For": f"192.0.2.{number}"}
            statuses.append((await site.stranger.post("/login", headers=headers, email=made.email, password="wrong")).status)
        assert statuses == [401] * 30 + [429] * 2
        clock.now += 60 * SECOND
        assert (await site.stranger.post("/login", email=made.email, password=PASSWORD)).status == 303


async def test_a_forgotten_password_is_replaced_by_a_link_and_a_known_one_by_its_holder(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        made = await add_operator(site.api.services, "ann", "owner")
        old = await session_of(site.api.services, made)
        _, token = await site.api.services.operators.invite(local_operator(made.account_id), made.id)
        page = await site.stranger.get(f"/invite?token={token}")
        assert "Choose a new password" in page.text
        assert "Set-Cookie" not in page.headers
        other = "another long password"
        await _accept(site, site.stranger, f"/invite?token={token}", other)
        assert await site.api.services.sessions.recognise(old) is None
        assert "This link is void" in (await site.stranger.get(f"/invite?token={token}")).text
        assert (await site.stranger.post("/invite", token=token, password=PASSWORD, again=PASSWORD)).status == 401
        elsewhere = await site.api.services.sign_in.with_password(made.email, other, peer="192.0.2.7")
        assert elsewhere is not None
        assert "192.0.2.7" in (await site.stranger.get("/profile")).text
        wrong = await site.stranger.post("/profile", old="wrong password", password=PASSWORD, again=PASSWORD)
        assert wrong.status == 403
        right = await site.stranger.post("/profile", old=other, password=PASSWORD, again=PASSWORD)
        assert (right.status, "is changed" in right.text) == (200, True)
        assert await site.api.services.sessions.recognise(elsewhere) is None
        assert (await site.stranger.get("/profile")).status == 200


async def test_a_shared_address_is_a_page_for_people_and_the_api_for_programs(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        for path in ("/operators", "/audit"):
            page = await site.visitor.get(path, Accept="text/html,*/*")
            assert (page.status, "<!doctype html>" in page.text) == (200, True)
            program = await site.api.get(path)
            assert (program.status, program.code) == (403, "forbidden")
            assert (await site.stranger.get(path, Accept="text/html")).headers["Location"] == f"/login?next=%2F{path[1:]}"


async def test_staff_do_not_write_as_a_customer_on_the_page(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await site.api.say(chatbot, "Where is my parcel?", conversation="theirs", user="customer@example.com")
        made = await add_operator(site.api.services, "ann", chatbots={chatbot: "operator"})
        site.stranger.cookie = await session_of(site.api.services, made)
        site.stranger.csrf = re.findall(r'name="csrf" value="([\w-]+)"', (await site.stranger.get("/profile")).text)[0]
        page = (await site.stranger.get(f"/?chatbot={chatbot.rpartition('/')[2]}&conversation=theirs")).text
        assert 'value="visitor"' not in page
        refused = await site.stranger.say(chatbot, "I am the customer", conversation="theirs")
        assert (refused.status, refused.code) == (403, "forbidden")
        assert (await site.visitor.say(chatbot, "I am the customer", conversation="theirs")).code == "forbidden"
        assert (await site.stranger.say(chatbot, "I look.", conversation="theirs", operator="boss")).status == 201
        assert (await site.api.messages(chatbot, "theirs"))[-1]["name"] == "ann"
        tried = await site.stranger.ask(chatbot, "Just trying", conversation="mine")
        assert tried
        assert (await site.api.messages(chatbot, "mine"))[0]["user_id"] == "visitor:ann"
        assert (await site.visitor.say(chatbot, "Me too", conversation="mine")).code == "forbidden"


async def test_a_release_by_another_asks_first_and_shows_in_the_thread(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await site.api.say(chatbot, "Hello", conversation="c1", user="customer")
        for handle in ("ann", "bob"):
            made = await add_operator(site.api.services, handle, chatbots={chatbot: "operator"})
            visitor = site.stranger if handle == "ann" else site.visitor
            visitor.cookie = await session_of(site.api.services, made)
            visitor.csrf = re.findall(r'name="csrf" value="([\w-]+)"', (await visitor.get("/profile")).text)[0]
        assert (await site.stranger.send("/web/chat/takeover", chatbot)).body["controlled_by"] == "ann"
        address = f"/?chatbot={chatbot.rpartition('/')[2]}&conversation=c1"
        assert "You answer this conversation." in Page((await site.stranger.get(address)).text).text
        assert "ann answers this conversation." in Page((await site.visitor.get(address)).text).text
        refused = await site.visitor.send("/web/chat/release", chatbot, operator="ann")
        assert refused.code == "conversation_already_taken_over", "whatever name is given"
        released = await site.visitor.send("/web/chat/release", chatbot, force=True)
        assert released.body["controlled_by"] == "bot"
        shown = Page((await site.stranger.get(address)).text).text
        assert shown.index("Hello") < shown.index("ann took over.") < shown.index("bob released the conversation.")
        events = (await site.api.get(f"{chatbot}/conversations/c1/events")).body
        assert events[-1]["data"] == {"reason": "released", "operator": "bob"}


async def test_a_session_holds_after_a_restart(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        made = await add_operator(site.api.services, "ann", "owner")
        cookie = await session_of(site.api.services, made)
    async with pages(tmp_path) as site:
        site.stranger.cookie = cookie
        assert (await site.stranger.get("/profile")).status == 200


async def test_passwords_are_hashed_two_at_once_and_a_crowd_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, running, most = Passwords(), 0, 0
    held = asyncio.Event()

    async def to_thread(work: object) -> bool:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await held.wait()
        running -= 1
        return False

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    waiting = [asyncio.create_task(passwords.matches("x", "y")) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await passwords.matches("x", "y")
    held.set()
    assert not any(await asyncio.gather(*waiting))
    assert most == AT_ONCE


async def test_sessions_and_links_that_ended_are_swept_and_old_entries_with_them(tmp_path: Path) -> None:
    clock = Watch()
    async with gigachat(tmp_path, clock=clock) as api:
        made = await add_operator(api.services, "ann", "owner")
        await session_of(api.services, made)
        await api.services.sessions.mint_login_token()
        clock.now += 366 * 24 * HOUR
        await api.services.access_upkeep.forget()
        await api.services.access_worker.forget()

        async def left(reader: object) -> list[int]:
            tables = ("operator_sessions", "one_time_tokens", "audit", "operators")
            return [(await reader.one(f"SELECT count(*) FROM {table}"))[0] for table in tables]  # type: ignore[attr-defined]

        assert await api.services.database.read(left) == [0, 0, 0, 1]
