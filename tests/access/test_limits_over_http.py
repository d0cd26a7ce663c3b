"""Limits as end users meet them: sessions of a widget key, tokens, answers' headers, and streams that stay open."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.clock import Clock, system_clock
from gigachat_server.models.fake import ScriptedModel
from tests import stores
from tests.access.people import PAGE, People, people
from tests.harness import Api, gigachat
from tests.test_limits import nodes

_DAY_US = 86_400_000_000
FREE: dict[str, Any] = {"user": None, "address": None, "sessions": None}


def today() -> Clock:
    """A clock that stays in the day, whose budget would otherwise be another one from midnight on."""
    ends_at = (system_clock() // _DAY_US + 1) * _DAY_US
    return lambda: min(system_clock(), ends_at - 1)


async def say(api: Api, shop: People, bearer: str, **options: Any) -> int:
    reply = await api.post(f"{shop.path}/conversations", {"prompt": "Hello"}, key=bearer, headers=PAGE, **options)
    if reply.status == 429:
        assert reply.code == "budget_spent"
        assert reply.body["violated-policies"] == ["anonymous"]
        assert 0 < int(reply.headers["Retry-After"]) <= 86_400
    return reply.status


async def in_lanes(asking: list[Any], lanes: int = 16) -> list[Any]:
    waiting = iter(asking)

    async def lane() -> list[Any]:
        return [await each for each in waiting]

    return [each for done in await asyncio.gather(*(lane() for _ in range(lanes))) for each in done]


async def test_1000_visitors_cannot_spend_more_than_a_budget_of_500(tmp_path: Path) -> None:
    model = ScriptedModel(["Hi."])
    async with gigachat(tmp_path, model=model, clock=today()) as api:
        shop = await people(api, limits={**FREE, "budgets": {"anonymous": {"turns": 500}}})
        visitors = [bearer for bearer, _ in await in_lanes([shop.visitor() for _ in range(1_000)])]
        answers = await in_lanes([say(api, shop, bearer) for bearer in visitors])
        assert (answers.count(201), answers.count(429)) == (500, 500)
        assert len(model.calls) == 500
        assert (await shop.ask(shop.token())).startswith("cnv_"), "named users are not held up by visitors"


@pytest.mark.postgres_only
async def test_1000_visitors_of_two_nodes_cannot_either(tmp_path: Path) -> None:
    models = ScriptedModel(["Hi."]), ScriptedModel(["Hi."])
    async with nodes(tmp_path, *models, clock=today()) as found:
        shop = await people(found[0], limits={**FREE, "budgets": {"anonymous": {"turns": 500}}})
        visitors = [bearer for bearer, _ in await in_lanes([shop.visitor() for _ in range(1_000)])]
        answers = await in_lanes([say(found[n % 2], shop, bearer) for n, bearer in enumerate(visitors)])
        assert (answers.count(201), answers.count(429)) == (500, 500)
        assert sum(len(model.calls) for model in models) == 500


async def test_an_address_opens_10_anonymous_sessions_an_hour(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        replies = [await shop.post("/sessions", {}, bearer=shop.widget_key, headers=PAGE) for _ in range(12)]
        assert [reply.status for reply in replies] == [201] * 10 + [429] * 2
        assert replies[0].headers["Ratelimit"] == '"sessions";r=9;t=360'
        assert replies[11].code == "rate_limited"
        assert replies[11].body["violated-policies"] == ["sessions"]
        assert 350 <= int(replies[11].headers["Retry-After"]) <= 360
        (rows,) = stores.current().query(tmp_path, "SELECT COUNT(*) AS n FROM user_sessions")
        assert rows["n"] == 10
        assert (await shop.post("/sessions", {"user_id": "ann"})).status == 201, "those that a server opens are not limited"


async def test_a_user_is_told_what_is_left_and_is_one_user_whatever_the_token(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api, limits={"user": {"quota": 3}})
        bearers = shop.token(), shop.token(jti="2"), await shop.session()
        replies = [await shop.post("/conversations", {"prompt": "Hello"}, bearer=bearer, headers=PAGE) for bearer in bearers]
        assert [reply.status for reply in replies] == [201] * 3
        assert replies[0].headers["Ratelimit-Policy"] == '"address";q=60;w=60, "user";q=3;w=60'
        assert replies[0].headers["Ratelimit"] == '"address";r=59;t=1, "user";r=2;t=20'
        streamed = await shop.post("/conversations", {"prompt": "Hello", "stream": True}, bearer=bearers[0], headers=PAGE)
        assert (streamed.status, streamed.code) == (429, "rate_limited")
        assert streamed.body["violated-policies"] == ["user"]
        assert "RateLimit" in streamed.headers["Access-Control-Expose-Headers"]
        other = await shop.post("/conversations", {"prompt": "Hello", "stream": True}, bearer=shop.token("bob"), headers=PAGE)
        assert other.status == 201
        assert '"user";r=2' in other.headers["Ratelimit"]


async def test_a_forwarded_address_counts_only_from_a_trusted_proxy(tmp_path: Path) -> None:
    async with gigachat(tmp_path, trusted_proxies="127.0.0.1") as api:
        shop = await people(api, limits={"user": None, "address": {"quota": 1, "window_s": 3600}})

        async def ask(forwarded: str) -> int:
            headers = {**PAGE, "X-Forwarded-For": forwarded}
            return (await shop.post("/conversations", {"prompt": "Hello"}, bearer=shop.token(), headers=headers)).status

        assert [await ask(peer) for peer in ("192.0.2.1", "192.0.2.1", "192.0.2.2")] == [201, 429, 201]
        assert [await ask(peer) for peer in ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1")] == [201, 429, 201]
        assert [await ask(peer) for peer in ("::ffff:192.0.2.9", "192.0.2.9")] == [201, 429]
    async with gigachat(tmp_path) as api:
        shop = await people(api, limits={"user": None, "address": {"quota": 1, "window_s": 3600}})
        assert [await ask(peer) for peer in ("192.0.2.3", "192.0.2.4")] == [201, 429], "anyone can claim an address"


async def test_streams_that_are_left_make_room(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        bearer = shop.token()
        begun = await shop.ask(bearer)
        url = f"{api.url}{shop.path}/conversations/{begun}/events"
        headers = {"Authorization": f"Bearer {bearer}", "Accept": "text/event-stream", **PAGE}
        opened = [await api._session.get(url, headers=headers) for _ in range(4)]
        assert [each.status for each in opened] == [200] * 4
        refused = await shop.get(f"/conversations/{begun}/events", bearer=bearer, headers={**PAGE, "Accept": "text/event-stream"})
        assert (refused.status, refused.body["violated-policies"]) == (429, ["streams"])
        assert (await shop.get(f"/conversations/{begun}/events", bearer=bearer, headers=PAGE)).status == 200, (
            "a list is no stream"
        )
        opened.pop().close()
        status = 429
        while status == 429:  # the server sees that it was left
            again = await api._session.get(url, headers=headers)
            status = again.status
            again.close()
        assert status == 200
        for each in opened:
            each.close()
