"""End users on many nodes and over restarts: what is revoked on one is refused on all, and what is open ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from gigachat_server.api import sse
from gigachat_server.clock import system_clock
from gigachat_server.errors import SetupError
from gigachat_server.models.fake import Pause
from tests.access.people import ALICE, PAGE, People, people
from tests.harness import Api, gigachat, until
from tests.streams import streaming
from tests.turns import answering, rows

WITHIN_S = 5.0


@asynccontextmanager
async def nodes(folder: Path, count: int = 2) -> AsyncIterator[list[Api]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(gigachat(folder)) for _ in range(count)]


def on(node: Api, shop: People) -> People:
    """The same chatbot as another node has it."""
    return People(node, shop.path, shop.keeper, shop.kid, shop.secret, shop.widget_key)


async def turned_out(there: People, bearer: str) -> float:
    """Asks there, as often as a client could, until the bearer is refused; how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def is_refused() -> bool:
        return (await there.get("/conversations", bearer=bearer, headers=PAGE)).status == 401

    await until(is_refused)
    return loop.time() - began


Revoke = Callable[[People], Awaitable[object]]


async def _no_widget_key(shop: People) -> None:
    (key,) = (await shop.get("/widget-keys")).body
    await shop.call("DELETE", f"/widget-keys/{key['id']}")


REVOKED: dict[str, tuple[Callable[[People], Awaitable[str]], Revoke]] = {}


def case(name: str, revoke: Revoke) -> Callable[[Callable[[People], Awaitable[str]]], None]:
    def keep(bearer: Callable[[People], Awaitable[str]]) -> None:
        REVOKED[name] = bearer, revoke

    return keep


@case("a token, by its user", lambda shop: shop.post(f"/users/{ALICE}/revoke", {}))
async def _token(shop: People) -> str:
    return shop.token()


@case("a token, by its key", lambda shop: shop.call("DELETE", f"/identity-keys/{shop.kid}"))
async def _token_of_key(shop: People) -> str:
    return shop.token()


@case("a session, by its user", lambda shop: shop.post(f"/users/{ALICE}/revoke", {"block": True}))
async def _session(shop: People) -> str:
    return await shop.session()


@case("a visitor, by the widget key", _no_widget_key)
async def _visitor(shop: People) -> str:
    return (await shop.visitor())[0]


@pytest.mark.postgres_only
@pytest.mark.parametrize("name", REVOKED)
async def test_what_is_revoked_at_one_node_is_refused_at_the_other(tmp_path: Path, name: str) -> None:
    bearer_of, revoke = REVOKED[name]
    async with nodes(tmp_path) as (a, b):
        here = await people(a)
        there, bearer = on(b, here), await bearer_of(here)
        for shop in (here, there, here, there):
            assert (await shop.get("/conversations", bearer=bearer, headers=PAGE)).status == 200
        await revoke(here)
        assert (await here.get("/conversations", bearer=bearer, headers=PAGE)).status == 401
        assert await turned_out(there, bearer) <= WITHIN_S
        for below in ("", "/cnv_1", "/cnv_1/messages", "/cnv_1/events"):
            assert (await there.get(f"/conversations{below}", bearer=bearer, headers=PAGE)).status == 401
        assert (await there.post("/conversations", {"prompt": "x"}, bearer=bearer, headers=PAGE)).status == 401


@pytest.mark.postgres_only
async def test_a_visitor_who_signs_out_or_is_claimed_at_one_node_is_out_at_the_other(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (a, b):
        here = await people(a)
        there = on(b, here)
        out, claimed = (await here.visitor())[0], (await here.visitor())[0]
        for bearer in (out, claimed):
            assert (await there.get("/conversations", bearer=bearer, headers=PAGE)).status == 200
        await here.call("DELETE", "/sessions/current", bearer=out, headers=PAGE)
        await here.post("/sessions", {"claim": claimed}, bearer=here.token())
        assert await turned_out(there, out) <= WITHIN_S
        assert await turned_out(there, claimed) <= WITHIN_S


@pytest.mark.postgres_only
async def test_two_nodes_that_claim_one_session_have_one_winner(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (a, b):
        here = await people(a)
        there = on(b, here)
        for number in range(10):
            bearer, _ = await here.visitor()
            conversation = await here.ask(bearer)
            users = [f"{number}-a", f"{number}-b"]
            replies = await asyncio.gather(
                here.post("/sessions", {"claim": bearer}, bearer=here.token(users[0])),
                there.post("/sessions", {"claim": bearer}, bearer=here.token(users[1])),
            )
            assert sorted(reply.status for reply in replies) == [201, 409]
            winner = users[0] if replies[0].status == 201 else users[1]
            assert (await here.get(f"/conversations/{conversation}")).body["user_id"] == winner


async def test_sessions_tokens_and_keys_hold_over_a_restart(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        held = [shop.token(), await shop.session(), (await shop.visitor())[0]]
    async with gigachat(tmp_path) as api:
        again = on(api, shop)
        for bearer in held:
            assert (await again.get("/conversations", bearer=bearer, headers=PAGE)).status == 200
        assert (await again.get("/conversations", bearer=again.token())).status == 200


async def test_a_node_with_another_secret_does_not_start(tmp_path: Path) -> None:
    secret = "of thirty-two characters or more"
    async with gigachat(tmp_path, secret=secret) as api:
        shop = await people(api)
        token = shop.token()
    with pytest.raises(SetupError, match="GIGACHAT_SECRET"):
        async with gigachat(tmp_path, secret=secret + "!"):
            pass
    with pytest.raises(SetupError, match="has 5 characters"):
        async with gigachat(tmp_path, secret="short"):
            pass
    async with gigachat(tmp_path, secret=secret) as api:
        assert (await on(api, shop).get("/conversations", bearer=token)).status == 200
    async with gigachat(tmp_path, secret="") as api:  # started without it: nothing is made up in its place
        again = on(api, shop)
        assert (await again.get("/conversations", bearer=token)).code == "secret_missing"
        made = await again.post("/identity-keys", {"name": "k", "algorithm": "HS256"})
        assert (made.status, made.code) == (503, "secret_missing")
        session = await again.post("/sessions", {}, bearer=shop.widget_key, headers=PAGE)
        assert session.status == 201, "what needs no secret goes on"


@pytest.mark.sqlite_only
async def test_a_secret_is_made_when_it_is_first_needed_and_no_copy_of_the_store_has_it(tmp_path: Path) -> None:
    async with gigachat(tmp_path / "a") as api:
        path = await api.chatbot()
        assert not (tmp_path / "a" / "secret").exists(), path
        shop = await people(api)
        made = (tmp_path / "a" / "secret").read_text()
        assert len(made.strip()) == 64
        token = shop.token()
        (check,) = await rows(api, "SELECT check_value FROM secret_checks")
        assert made.strip() not in check[0]
    (tmp_path / "a" / "secret").unlink()
    async with gigachat(tmp_path / "a") as api:
        assert await api.services.secrets.is_missing()
        assert (await on(api, shop).get("/conversations", bearer=token)).code == "secret_missing"
        assert not (tmp_path / "a" / "secret").exists()
    (tmp_path / "a" / "secret").write_text(made)
    async with gigachat(tmp_path / "a") as api:
        assert (await on(api, shop).get("/conversations", bearer=token)).status == 200


@pytest.mark.parametrize("name", REVOKED)
async def test_streams_of_who_is_turned_out_end(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.05)
    bearer_of, revoke = REVOKED[name]
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"Tell": ["Once ", pause, "upon"]})) as api:
        shop = await people(api, restrictions={"hostnames": ["127.0.0.1"]})
        (key,) = (await shop.get("/widget-keys")).body
        await shop.call("PATCH", f"/widget-keys/{key['id']}", {"settings": {"allow_apps": True}})
        bearer = await bearer_of(shop)
        conversation = await shop.ask(bearer)
        path = f"{shop.path}/conversations"
        async with streaming(api, f"{path}/{conversation}/events", key=bearer) as followed:
            await followed.read_to(2)
            said = {"prompt": "Tell", "conversation_id": conversation, "stream": True}
            async with streaming(api, path, said, key=bearer) as turn:
                await turn.read_until(lambda event: event.name == "delta")
                await revoke(shop)
                for stream in (turn, followed):
                    last = (await stream.read_all())[-1]
                    assert (last.name, last.data["code"]) == ("error", "unauthenticated")
        pause.resume()
        await until(lambda: _is_answered(shop, conversation))


async def _is_answered(shop: People, conversation: str) -> bool:
    """What was asked is answered all the same: its operators see it."""
    return len((await shop.get(f"/conversations/{conversation}/messages")).body) == 4


@pytest.mark.sqlite_only
async def test_a_stream_of_a_token_ends_when_the_token_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.05)
    moved = [0]
    async with gigachat(tmp_path, clock=lambda: system_clock() + moved[0]) as api:
        shop = await people(api)
        token = shop.token()
        below = f"{shop.path}/conversations/{await shop.ask(token)}/events"
        async with streaming(api, below, key=token) as followed:
            await followed.read_to(2)
            moved[0] = 2 * 3600 * 1_000_000
            last = (await followed.read_all())[-1]
            assert (last.name, last.data["code"]) == ("error", "token_expired")
