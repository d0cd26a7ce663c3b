"""End users: how they get in, and that each sees what is theirs alone."""

from __future__ import annotations

import re
from pathlib import Path

from tests.access.people import ALICE, BOB, PAGE, people
from tests.harness import gigachat


async def test_a_visitor_chats_with_a_widget_key(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        bearer, user_id = await shop.visitor()
        assert re.fullmatch(r"gcu_[0-9A-Za-z]{50}", bearer)
        assert re.fullmatch(r"anon:[0-9a-f]{32}", user_id)
        conversation = await shop.ask(bearer)
        assert re.fullmatch(r"cnv_[0-9a-f]{32}", conversation)
        listed = await shop.get("/conversations", bearer=bearer, headers=PAGE)
        assert [each["conversation_id"] for each in listed.body] == [conversation]
        stored = (await shop.get(f"/conversations/{conversation}/messages")).body
        assert [(each["role"], each["user_id"]) for each in stored] == [("user", user_id), ("assistant", user_id)]


async def test_a_user_with_a_token_continues_with_a_fresh_one_or_a_session(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        conversation = await shop.ask(shop.token())
        again = await shop.ask(shop.token(jti="2"), conversation_id=conversation)
        third = await shop.ask(await shop.session(), conversation_id=conversation, user_id=ALICE)
        assert conversation == again == third
        foreign = await shop.post("/conversations", {"prompt": "x", "conversation_id": conversation}, bearer=shop.token(BOB))
        unknown = await shop.post("/conversations", {"prompt": "x", "conversation_id": "cnv_0"}, bearer=shop.token(BOB))
        assert (foreign.status, unknown.status) == (404, 404)
        assert foreign.body["detail"] == unknown.body["detail"]
        named = await shop.post("/conversations", {"prompt": "x", "user_id": ALICE}, bearer=shop.token(BOB))
        assert (named.status, named.code) == (403, "forbidden")
        for user in (shop.token(BOB), await shop.session(BOB)):
            assert (await shop.get("/conversations", bearer=user)).body == []


async def test_a_visitor_who_signs_in_keeps_what_they_said(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        bearer, anonymous = await shop.visitor()
        conversation = await shop.ask(bearer)
        claimed = await shop.post("/sessions", {"claim": bearer}, bearer=shop.token())
        assert claimed.status == 201, claimed.text
        assert (await shop.get("/conversations", bearer=bearer, headers=PAGE)).status == 401
        mine = await shop.get(f"/conversations/{conversation}", bearer=claimed.body["token"])
        assert mine.body["user_id"] == ALICE
        events = (await shop.get(f"/conversations/{conversation}/events", bearer=claimed.body["token"])).body
        assert events[-1]["type"] == "conversation.identified"
        again = await shop.post("/sessions", {"claim": bearer}, bearer=shop.token(BOB))
        assert (again.status, again.code) == (409, "session_not_claimable")
        stored = (await shop.get(f"/conversations/{conversation}/messages")).text
        assert anonymous not in stored
