"""Rates, budgets and streams: nothing more than a limit is ever allowed, whoever asks how often on which node."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.access.limits import network_of
from gigachat_server.access.streams import MOST_OF_ADDRESS, MOST_OF_USER
from gigachat_server.access.till import Till
from gigachat_server.chat.feed import Place
from gigachat_server.chat.turns.spending import most_tokens
from gigachat_server.errors import BudgetSpent, ModelUnreachable, RateLimited, StorageUnavailable
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.records import BudgetConfig, Spending
from gigachat_server.store import rates
from gigachat_server.store.database import Tx
from gigachat_server.store.rates import MOST_SKEW_US, Rate
from tests import stores
from tests.harness import Api, gigachat
from tests.limits import DAY, MINUTE, NOON, Hand, chatbot_at, costly, end_user, outcomes, prompt

SAID = {"conversation_id": "c1", "user_id": "ann", "prompt": "Hello"}
NO_RATES: dict[str, Any] = {"user": None, "address": None}


@asynccontextmanager
async def nodes(folder: Path, *models: ScriptedModel, **settings: Any) -> AsyncIterator[list[Api]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(gigachat(folder, model=model, **settings)) for model in models]


async def spent(api: Api, chatbot: str) -> dict[str, tuple[int, int]]:
    """Turns and tokens by budget, once all is settled."""
    await api.services.till.settle()
    reply = await api.get(f"{chatbot}/limits")
    assert reply.status == 200, reply.text
    return {kind: (each["turns"], each["tokens"]) for kind, each in reply.body["spent"].items()}


# --- rates ---


async def test_a_user_has_20_prompts_a_minute_which_come_back_one_by_one(tmp_path: Path) -> None:
    clock = Hand()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await chatbot_at(api.services, await api.chatbot())
        ann, bob = end_user(chatbot), end_user(chatbot, "bob")
        first = await prompt(api.services, chatbot, ann)
        user = {standing.policy: standing for standing in first.standings}["user"]
        assert (user.quota, user.window_s, user.remaining, user.reset_s) == (20, 60, 19, 3)
        found = await outcomes(*(prompt(api.services, chatbot, ann) for n in range(30)))
        assert found == {"ok": 19, "rate_limited": 11}
        assert await outcomes(prompt(api.services, chatbot, bob)) == {"ok": 1}, "another user's quota is his own"
        clock.at += 3_000_000 - 1
        with pytest.raises(RateLimited) as refused:
            await prompt(api.services, chatbot, ann)
        assert (refused.value.retry_after_s, refused.value.violated) == (1, ("user",))
        clock.at += 1
        assert await outcomes(*(prompt(api.services, chatbot, ann) for _ in range(2))) == {"ok": 1, "rate_limited": 1}
        clock.at += 60 * MINUTE
        assert (await outcomes(*(prompt(api.services, chatbot, ann) for n in range(25))))["ok"] == 20


async def test_an_address_is_limited_whoever_asks_from_it(tmp_path: Path) -> None:
    async with gigachat(tmp_path, clock=Hand()) as api:
        chatbot = await chatbot_at(api.services, await api.chatbot())
        crowd = [end_user(chatbot, f"u{n}", peer=f"2001:db8:1:2:{n:x}::1") for n in range(90)]
        assert await outcomes(*(prompt(api.services, chatbot, who) for who in crowd)) == {"ok": 60, "rate_limited": 30}
        elsewhere = end_user(chatbot, "u91", peer="2001:db8:1:3::1")
        assert await outcomes(prompt(api.services, chatbot, elsewhere)) == {"ok": 1}
        rows = stores.current().query(tmp_path, "SELECT policy, subject FROM rates WHERE policy = 'user'")
        assert len(rows) == 61, "a refusal by one policy charges no other"


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        (None, "unknown"),
        ("", "unknown"),
    ],
)
def test_an_address_is_an_ipv4_address_or_a_64(peer: str | None, network: str) -> None:
    assert network_of(peer) == network


async def test_of_3000_prompts_at_quota_500_exactly_500_are_stored(tmp_path: Path) -> None:
    limits = {"user": {"quota": 500, "window_s": 86_400}, "address": None, "budgets": {"anonymous": {"turns": None}}}
    async with gigachat(tmp_path, clock=Hand()) as api:
        path = await api.chatbot(limits=limits)
        chatbot = await chatbot_at(api.services, path)
        ann = end_user(chatbot)
        found = await outcomes(*(prompt(api.services, chatbot, ann) for n in range(3_000)))
        assert found == {"ok": 500, "rate_limited": 2_500}
        (stored,) = stores.current().query(tmp_path, "SELECT COUNT(*) AS n FROM messages WHERE role = 'user'")
        assert stored["n"] == 500


@pytest.mark.postgres_only
async def test_a_quota_holds_over_nodes(tmp_path: Path) -> None:
    clock = Hand()
    async with nodes(tmp_path, ScriptedModel(["Hi."]), ScriptedModel(["Hi."]), clock=clock) as found:
        chatbot = await chatbot_at(found[0].services, await found[0].chatbot(limits={"user": {"quota": 50}, "address": None}))
        ann = end_user(chatbot)
        asked = (prompt(found[n % 2].services, chatbot, ann) for n in range(200))
        assert await outcomes(*asked) == {"ok": 50, "rate_limited": 150}


async def test_a_prompt_that_is_sent_again_is_free_even_with_nothing_left(tmp_path: Path) -> None:
    limits = {"user": {"quota": 2, "window_s": 60}, "budgets": {"users": {"turns": 2}}}
    model = ScriptedModel(["Hi."])
    async with gigachat(tmp_path, clock=Hand(), model=model) as api:
        path = await api.chatbot(limits=limits)
        chatbot = await chatbot_at(api.services, path)
        ann = end_user(chatbot)
        for _ in range(3):
            handle = await prompt(api.services, chatbot, ann, key="k1")
        assert handle.is_replayed and not handle.standings
        await prompt(api.services, chatbot, ann, key="k2")
        assert (await spent(api, path))["users"][0] == 2
        again = [prompt(api.services, chatbot, ann, key=key) for key in ("k1", "k2") * 5]
        assert await outcomes(*again, prompt(api.services, chatbot, ann, key="k3")) == {"ok": 10, "rate_limited": 1}
        assert await outcomes(prompt(api.services, chatbot, ann, key="k3")) == {"rate_limited": 1}, "a refused key stays free"
        assert (await api.call("PATCH", path, {"limits": {"user": None}})).status == 200
        chatbot = await chatbot_at(api.services, path)
        for _ in range(2):
            assert await outcomes(prompt(api.services, chatbot, ann, key="k3")) == {"budget_spent": 1}
            assert await outcomes(prompt(api.services, chatbot, ann, key="k1")) == {"ok": 1}
        assert len(model.calls) == 2
        assert (await spent(api, path))["users"][0] == 2


async def test_a_retry_counts_and_so_does_a_failed_prompt_that_is_sent_again(tmp_path: Path) -> None:
    model = ScriptedModel([ModelUnreachable()])
    async with gigachat(tmp_path, clock=Hand(), model=model) as api:
        chatbot = await chatbot_at(api.services, await api.chatbot(limits={"user": {"quota": 3, "window_s": 60}}))
        ann = end_user(chatbot)
        found = await outcomes(*(prompt(api.services, chatbot, ann, key="k1") for _ in range(1)))
        for _ in range(4):
            found += await outcomes(prompt(api.services, chatbot, ann, key="k1"))
        assert found == {"upstream_unreachable": 3, "rate_limited": 2}
        assert len(model.calls) == 3, "no more calls than the quota, however a failed prompt is repeated"


async def test_an_api_key_is_limited_only_where_its_chatbot_says_so(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        free, held = await api.chatbot(), await api.chatbot(limits={"key": {"quota": 2, "window_s": 3600}})
        for n in range(30):
            await api.say(free, "Hello", conversation=f"c{n}")
        assert stores.current().query(tmp_path, "SELECT * FROM rates") == []
        replies = [await api.post(f"{held}/conversations", {**SAID, "conversation_id": f"c{n}"}) for n in range(3)]
        assert [reply.status for reply in replies] == [201, 201, 429]
        assert replies[0].headers["Ratelimit-Policy"] == '"key";q=2;w=3600'
        assert [reply.headers["Ratelimit"] for reply in replies[:2]] == ['"key";r=1;t=1800', '"key";r=0;t=3600']
        refused = replies[2]
        assert refused.code == "rate_limited"
        assert refused.body["violated-policies"] == ["key"]
        assert 1700 < int(refused.headers["Retry-After"]) <= 1800
        assert refused.headers["Ratelimit"].startswith('"key";r=0;t=3')
        stream = await api.post(f"{free}/conversations", {**SAID, "stream": True})
        assert "Ratelimit" not in stream.headers
        _, other = await api.services.key_ring.create(api.services.account.id, "other")
        assert (await api.post(f"{held}/conversations", SAID, key=other)).status == 201, "each key has its own quota"


async def test_pages_may_read_what_is_left(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        path = await api.chatbot(limits={"key": {"quota": 1}}, restrictions={"hostnames": ["shop.example"]})
        for status in (201, 429):
            reply = await api.post(f"{path}/conversations", SAID, headers={"Origin": "https://shop.example"})
            assert reply.status == status
            exposed = {name.strip() for name in reply.headers["Access-Control-Expose-Headers"].split(",")}
            assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= exposed
            assert '"key";q=1;w=60' in reply.headers["Ratelimit-Policy"]


async def test_anonymous_sessions_are_charged_to_their_address(tmp_path: Path) -> None:
    clock = Hand()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await chatbot_at(api.services, await api.chatbot())

        async def open_session(peer: str) -> Any:
            async def body(tx: Tx) -> Any:
                return await api.services.limits.take_session(tx, chatbot, network_of(peer))

            return await api.services.database.transaction("session.open", body)

        assert await outcomes(*(open_session("192.0.2.7") for _ in range(25))) == {"ok": 10, "rate_limited": 15}
        assert await outcomes(open_session("192.0.2.8")) == {"ok": 1}
        clock.at += 6 * MINUTE
        assert await outcomes(*(open_session("192.0.2.7") for _ in range(2))) == {"ok": 1, "rate_limited": 1}


# --- budgets ---


async def test_a_budget_is_shared_by_all_and_refuses_until_midnight(tmp_path: Path) -> None:
    clock, model = Hand(), ScriptedModel(["Hi."])
    async with gigachat(tmp_path, clock=clock, model=model) as api:
        path = await api.chatbot(limits={**NO_RATES, "budgets": {"anonymous": {"turns": 50}}})
        chatbot = await chatbot_at(api.services, path)
        crowd = [end_user(chatbot, f"anon:{n}") for n in range(120)]
        assert await outcomes(*(prompt(api.services, chatbot, who) for who in crowd)) == {"ok": 50, "budget_spent": 70}
        assert len(model.calls) == 50
        assert await outcomes(prompt(api.services, chatbot, end_user(chatbot, "ann"))) == {"ok": 1}, "named users go on"
        with pytest.raises(BudgetSpent) as refused:
            await prompt(api.services, chatbot, crowd[0])
        assert refused.value.retry_after_s == DAY // 2 // 1_000_000
        assert refused.value.violated == ("anonymous",)
        assert refused.value.headers["RateLimit"] == '"anonymous";r=0;t=43200'
        clock.at += DAY // 2
        assert await outcomes(prompt(api.services, chatbot, crowd[0])) == {"ok": 1}
        assert (await spent(api, path))["anonymous"][0] == 1


async def test_anonymous_users_have_2000_turns_a_day_unless_told_otherwise(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        limits = (await api.get(await api.chatbot())).body["limits"]
        assert limits == {
            "user": {"quota": 20, "window_s": 60},
            "address": {"quota": 60, "window_s": 60},
            "sessions": {"quota": 10, "window_s": 3600},
            "key": None,
            "budgets": {"users": {"turns": None, "tokens": None}, "anonymous": {"turns": 2000, "tokens": None}},
        }


@pytest.mark.postgres_only
async def test_1000_sessions_on_two_nodes_with_a_budget_of_500_call_the_model_500_times(tmp_path: Path) -> None:
    models = ScriptedModel(["Hi."]), ScriptedModel(["Hi."])
    async with nodes(tmp_path, *models, clock=Hand()) as found:
        path = await found[0].chatbot(limits={**NO_RATES, "budgets": {"anonymous": {"turns": 500}}})
        chatbot = await chatbot_at(found[0].services, path)
        asked = (prompt(found[n % 2].services, chatbot, end_user(chatbot, f"anon:{n}")) for n in range(1_000))
        assert await outcomes(*asked) == {"ok": 500, "budget_spent": 500}
        assert sum(len(model.calls) for model in models) == 500


@pytest.mark.postgres_only
async def test_tokens_reserved_on_two_nodes_are_never_more_than_the_budget(tmp_path: Path) -> None:
    clock = Hand()
    async with nodes(tmp_path, ScriptedModel(["Hi."]), ScriptedModel(["Hi."]), clock=clock) as found:
        path = await found[0].chatbot(limits=NO_RATES)
        limits = {"users": BudgetConfig(tokens=10_000)}
        asked = [found[n % 2].services.till.charge(path[10:], (), limits, 1 + n % 700) for n in range(300)]
        found_granted = await asyncio.gather(*asked, return_exceptions=True)
        granted = [1 + n % 700 for n, each in enumerate(found_granted) if not isinstance(each, BudgetSpent)]
        reserved = sum(granted)
        assert 9_300 < reserved <= 10_000
        assert (await found[1].services.till.spent_today(path[10:]))["users"] == Spending(len(granted), reserved)


async def test_what_was_not_used_is_given_back(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, clock=Hand(), model=costly(60, 40)) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"tokens": 1_000_000}}}, response={"memory_size": 0, "n": 2})
        chatbot = await chatbot_at(api.services, path)
        reserved = most_tokens(chatbot.config, "Hello")
        assert reserved > 2 * chatbot.config.response.max_tokens
        await prompt(api.services, chatbot, end_user(chatbot))
        assert (await spent(api, path))["users"] == (1, 100)
        api.services.model._scripts = (["Hel", pause, "lo"],)  # type: ignore[attr-defined]
        asking = asyncio.create_task(prompt(api.services, chatbot, end_user(chatbot)))
        await pause.reached.wait()
        assert (await spent(api, path))["users"] == (2, 100 + reserved), "while it runs, all of it is charged"
        pause.resume()
        await asking
        assert (await spent(api, path))["users"] == (2, 100 + reserved), "what a model did not tell may all have been used"


async def test_what_was_used_beyond_is_charged(tmp_path: Path) -> None:
    async with gigachat(tmp_path, clock=Hand(), model=costly(50_000, 4_000)) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"tokens": 20_000}}})
        chatbot = await chatbot_at(api.services, path)
        await prompt(api.services, chatbot, end_user(chatbot))
        assert (await spent(api, path))["users"] == (1, 54_000)
        assert await outcomes(prompt(api.services, chatbot, end_user(chatbot))) == {"budget_spent": 1}


async def test_a_model_that_failed_without_a_word_costs_a_turn_and_no_tokens(tmp_path: Path) -> None:
    async with gigachat(tmp_path, clock=Hand(), model=ScriptedModel([ModelUnreachable()])) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"tokens": 20_000}}})
        chatbot = await chatbot_at(api.services, path)
        assert await outcomes(prompt(api.services, chatbot, end_user(chatbot))) == {"upstream_unreachable": 1}
        assert (await spent(api, path))["users"] == (1, 0)


async def test_the_built_in_model_costs_turns_and_no_tokens(tmp_path: Path) -> None:
    async with gigachat(tmp_path, clock=Hand(), model=ScriptedModel(["Hi."], is_generating=False)) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"turns": 5, "tokens": 20_000}}})
        chatbot = await chatbot_at(api.services, path)
        await prompt(api.services, chatbot, end_user(chatbot))
        assert (await spent(api, path))["users"] == (1, 0)


async def test_a_prompt_that_an_operator_will_answer_costs_nothing_of_the_budget(tmp_path: Path) -> None:
    async with gigachat(tmp_path, clock=Hand()) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"turns": 5}}})
        chatbot = await chatbot_at(api.services, path)
        begun = (await prompt(api.services, chatbot, end_user(chatbot))).prompt.conversation_id
        assert (await api.post(f"{path}/conversations/{begun}/takeover", {"operator": "eve"})).status == 200
        for _ in range(8):
            await prompt(api.services, chatbot, end_user(chatbot), conversation=begun)
        assert (await spent(api, path))["users"][0] == 1


async def test_prompts_answered_together_cost_one_turn(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=costly()) as api:
        response = {"overlap": "coalesce", "coalesce_ms": 200}
        path = await api.chatbot(limits={"budgets": {"users": {"tokens": 1_000_000}}}, response=response)
        chatbot = await chatbot_at(api.services, path)
        ann = end_user(chatbot)
        begun = (await prompt(api.services, chatbot, ann)).prompt.conversation_id
        await outcomes(*(prompt(api.services, chatbot, ann, f"Hello {n}", conversation=begun) for n in range(4)))
        calls = len(api.services.model.calls)  # type: ignore[attr-defined]
        assert (await spent(api, path))["users"] == (calls, 100 * calls)


async def test_a_turn_over_midnight_gives_back_to_the_day_it_was_charged_to(tmp_path: Path) -> None:
    pause, clock = Pause(), Hand(NOON + DAY // 2 - 1)
    model = costly()
    model._scripts = ([*model._scripts[0], pause],)  # type: ignore[misc]
    async with gigachat(tmp_path, clock=clock, model=model) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"tokens": 1_000_000}}})
        chatbot = await chatbot_at(api.services, path)
        asking = asyncio.create_task(prompt(api.services, chatbot, end_user(chatbot)))
        await pause.reached.wait()
        clock.at += 1
        assert (await spent(api, path))["users"] == (0, 0), "a new day"
        pause.resume()
        await asking
        assert (await spent(api, path))["users"] == (0, 0)
        rows = stores.current().query(tmp_path, "SELECT day, turns, tokens FROM budgets WHERE kind = 'users'")
        assert rows == [{"day": NOON // DAY, "turns": 1, "tokens": 100}]


async def test_a_crash_between_reserve_and_refund_leaves_it_charged(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, clock=Hand(), model=ScriptedModel(["Hel", pause])) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"turns": 1, "tokens": 100_000}}})
        chatbot = await chatbot_at(api.services, path)
        asking = asyncio.create_task(outcomes(prompt(api.services, chatbot, end_user(chatbot))))
        await pause.reached.wait()
        stores.current().copy(tmp_path, tmp_path.with_name(f"{tmp_path.name}-killed"))
        pause.resume()
        await asking
    async with gigachat(tmp_path.with_name(f"{tmp_path.name}-killed"), clock=Hand()) as api:
        assert (await spent(api, path))["users"] == (1, most_tokens(chatbot.config, "Hello"))
        assert await outcomes(prompt(api.services, chatbot, end_user(chatbot))) == {"budget_spent": 1}


async def test_a_caller_who_leaves_while_it_is_reserved_is_not_charged(tmp_path: Path) -> None:
    async with gigachat(tmp_path, clock=Hand()) as api:
        path = await api.chatbot()
        limits = {"users": BudgetConfig(turns=10)}
        leaving = [asyncio.create_task(api.services.till.charge(path[10:], (), limits, 7)) for _ in range(5)]
        await asyncio.sleep(0)
        for each in leaving:
            each.cancel()
        await asyncio.wait(leaving)
        assert (await spent(api, path))["users"] == (0, 0)


async def test_other_limits_on_the_same_store_share_its_budgets(tmp_path: Path) -> None:
    """As another node has them: nothing of a budget is known in memory alone."""
    async with gigachat(tmp_path, clock=Hand()) as api:
        path = await api.chatbot()
        two = [Till(api.services.database, api.services.clock) for _ in range(2)]
        limits = {"anonymous": BudgetConfig(turns=100), "users": BudgetConfig(tokens=3_000)}
        found = await outcomes(*(two[n % 2].charge(path[10:], (), limits, 29) for n in range(400)))
        assert found == {"ok": 100, "budget_spent": 300}
        assert await two[0].spent_today(path[10:]) == {kind: Spending(100, 2_900) for kind in limits}


async def test_what_could_not_be_given_back_is_given_back_later(tmp_path: Path) -> None:
    async with gigachat(tmp_path, clock=Hand(), model=costly()) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"tokens": 1_000_000}}})
        till, transaction = api.services.till, api.services.database.transaction
        charge = await till.charge(path[10:], (), {"users": BudgetConfig(tokens=1_000)}, 700)

        async def away(*_: Any, **__: Any) -> Any:
            raise StorageUnavailable(retry_after_s=1)

        api.services.database.transaction = away  # type: ignore[method-assign]
        charge.settle(tokens=100)
        await till.settle()
        with pytest.raises(StorageUnavailable):
            await till.charge(path[10:], (), {"users": BudgetConfig(tokens=1_000)}, 1)
        api.services.database.transaction = transaction  # type: ignore[method-assign]
        assert (await till.spent_today(path[10:]))["users"] == Spending(1, 700)
        await api.services.limits_upkeep.flush()
        assert (await spent(api, path))["users"] == (1, 100)


# --- streams ---


async def test_a_user_follows_4_streams_and_an_address_20(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, door = await chatbot_at(api.services, await api.chatbot(limits=NO_RATES)), api.services.conversations
        begun = {}
        for user_id in ("ann", "late", *(f"u{n}" for n in range(MOST_OF_ADDRESS))):
            begun[user_id] = (await prompt(api.services, chatbot, end_user(chatbot, user_id))).prompt.conversation_id

        async def follow(user_id: str, peer: str = "192.0.2.1") -> Any:
            who = end_user(chatbot, user_id, peer=peer)
            return await door.follow(who, chatbot, begun[user_id], Place(), idle_s=1)

        streams = [await follow("ann") for _ in range(MOST_OF_USER)]
        with pytest.raises(RateLimited) as refused:
            await follow("ann")
        assert refused.value.violated == ("streams",)
        await anext(streams[0])
        await streams[0].aclose()
        streams[0] = await follow("ann")
        streams.pop()  # never begun, and never closed
        gc.collect()
        streams.append(await follow("ann"))
        streams += [await follow(f"u{n}") for n in range(MOST_OF_ADDRESS - MOST_OF_USER)]
        with pytest.raises(RateLimited):
            await follow("late")
        await follow("late", "192.0.2.2")
        while streams:
            await streams.pop().aclose()
        gc.collect()
        assert not door._streams._open


# --- clocks, bounds and leftovers ---


async def test_a_clock_that_was_set_back_locks_out_for_a_window_at_most(tmp_path: Path) -> None:
    clock = Hand()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await chatbot_at(api.services, await api.chatbot(limits={"user": {"quota": 5, "window_s": 60}}))
        ann = end_user(chatbot)
        clock.at += 30 * DAY
        assert (await outcomes(*(prompt(api.services, chatbot, ann) for _ in range(7))))["ok"] == 5
        clock.at -= 30 * DAY
        found = await outcomes(*(prompt(api.services, chatbot, ann) for _ in range(7)))
        assert found["ok"] == 1, "what no clock can have noted counts as a quota used up"
        clock.at += MINUTE
        assert (await outcomes(*(prompt(api.services, chatbot, ann) for _ in range(7))))["ok"] == 5


async def test_a_clock_that_steps_back_and_forth_allows_no_more_than_the_quota(tmp_path: Path) -> None:
    rate, chance = Rate("user", "ann", 10, 60), random.Random(1)
    async with gigachat(tmp_path) as api:
        clock = Hand()
        till, allowed = Till(api.services.database, clock), 0
        for _ in range(300):
            clock.at = NOON + chance.randint(-MOST_SKEW_US // 2, MOST_SKEW_US // 2)
            allowed += (await outcomes(till.charge("bot", (rate,), {}, 0)))["ok"]
        assert allowed <= 10 + 10 * MOST_SKEW_US // 60_000_000, "a quota, and what comes back while the clock moves forward"


@pytest.mark.parametrize("full_at", [2**62, 2**63 - 1, -(2**63), 0])
async def test_any_number_that_may_stand_in_a_row_is_survived(tmp_path: Path, full_at: int) -> None:
    rate = Rate("user", "ann", 3, 60)
    async with gigachat(tmp_path) as api:

        async def put(tx: Tx) -> None:
            await tx.run("INSERT INTO rates VALUES ('bot', 'user', 'ann', :full_at)", full_at=full_at)

        await api.services.database.transaction("put", put)
        till = Till(api.services.database, Hand())
        taken = [await outcomes(till.charge("bot", (rate,), {}, 0)) for _ in range(5)]
        assert [each["ok"] for each in taken] == ([1, 0, 0, 0, 0] if full_at > NOON else [1, 1, 1, 0, 0])


@pytest.mark.parametrize(
    ("quota", "window_s"), [(1, 1), (7, 60), (1_000_000, 1), (1_000_000, 86_400), (999_983, 61), (1, 86_400)]
)
async def test_a_quota_is_exact_whatever_its_window(quota: int, window_s: int, tmp_path: Path) -> None:
    rate = Rate("user", "ann", quota, window_s)
    assert rate.window_us // rate.step_us == quota
    assert rate.window_us >= window_s * 1_000_000
    async with gigachat(tmp_path) as api:
        till = Till(api.services.database, Hand())
        found = await outcomes(*(till.charge("bot", (rate,), {}, 0) for _ in range(10)))
        assert found["ok"] == min(10, quota)


async def test_thousands_of_callers_leave_nothing_behind(tmp_path: Path) -> None:
    clock = Hand()
    async with gigachat(tmp_path, clock=clock) as api:

        async def crowd(tx: Tx) -> None:
            crowd = [("user", f"u{n}") for n in range(3_500)]
            assert len(await rates.lock(tx, "bot", crowd)) == 3_500
            await rates.put(tx, "bot", {each: clock() + 1 for each in crowd})
            await tx.run("INSERT INTO rates VALUES ('bot', 'user', 'of a wrong clock', :full_at)", full_at=2**62)
            await tx.run("INSERT INTO budgets VALUES ('bot', :day, 'users', 1, 1)", day=clock() // DAY)

        await api.services.database.transaction("crowd", crowd)
        await api.services.limits_upkeep.forget()
        (left,) = stores.current().query(tmp_path, "SELECT COUNT(*) AS n FROM rates")
        assert left["n"] == 3_500, "they are still counted, but for the one that is wrong"
        clock.at += 3 * 60 * MINUTE
        await api.services.limits_upkeep.forget()
        assert stores.current().query(tmp_path, "SELECT * FROM rates") == []
        assert len(stores.current().query(tmp_path, "SELECT * FROM budgets")) == 1
        clock.at += 63 * DAY
        await api.services.limits_upkeep.forget()
        assert stores.current().query(tmp_path, "SELECT * FROM budgets") == []


async def test_limits_go_with_their_user_and_their_chatbot(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"turns": 10}}})
        chatbot = await chatbot_at(api.services, path)
        for user_id in ("ann", "bob"):
            await prompt(api.services, chatbot, end_user(chatbot, user_id))
        await api.services.till.settle()
        assert (await api.call("DELETE", f"{path}/users/ann")).status == 204
        rows = stores.current().query(tmp_path, "SELECT subject FROM rates WHERE policy = 'user'")
        assert rows == [{"subject": "bob"}]
        assert (await api.call("DELETE", path)).status == 204
        assert stores.current().query(tmp_path, "SELECT * FROM rates") == []
        assert stores.current().query(tmp_path, "SELECT * FROM budgets") == []


# --- configuration ---


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"user": {"quota": 0}}, "limits.user.quota"),
        ({"user": {"quota": 1_000_001}}, "limits.user.quota"),
        ({"user": {"quota": 2.5}}, "limits.user.quota"),
        ({"user": {"quota": "20"}}, "limits.user.quota"),
        ({"user": {"quota": True}}, "limits.user.quota"),
        ({"address": {"window_s": 0}}, "limits.address.window_s"),
        ({"address": {"window_s": 86_401}}, "limits.address.window_s"),
        ({"sessions": 5}, "limits.sessions"),
        ({"key": {"rate": 5}}, "limits.key"),
        ({"day": {}}, "limits"),
        ({"budgets": {"users": {"turns": -1}}}, "limits.budgets.users.turns"),
        ({"budgets": {"anonymous": {"tokens": 2**63}}}, "limits.budgets.anonymous.tokens"),
        ({"budgets": None}, "limits.budgets"),
        (None, "limits"),
    ],
)
async def test_limits_are_checked_strictly(tmp_path: Path, limits: Any, field: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for reply in (
            await api.post("/chatbots", {"name": "x", "limits": limits}),
            await api.call("PATCH", chatbot, {"limits": limits}),
        ):
            assert (reply.status, reply.code) == (422, "invalid_request")
            assert any(each.startswith(field) for each in reply.fields), reply.text


async def test_a_patch_merges_switches_off_and_on(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()

        async def patched(**limits: Any) -> Any:
            reply = await api.call("PATCH", chatbot, {"limits": limits})
            assert reply.status == 200, reply.text
            return reply.body["limits"]

        assert (await patched(user={"quota": 5}))["user"] == {"quota": 5, "window_s": 60}
        assert (await patched(user={"window_s": 10}))["user"] == {"quota": 5, "window_s": 10}
        assert (await patched(user=None, key={"quota": 9}))["user"] is None
        now = await patched(sessions={"quota": 3}, budgets={"anonymous": {"turns": None}, "users": {"tokens": 0}})
        assert now["key"] == {"quota": 9, "window_s": 60}
        assert now["sessions"] == {"quota": 3, "window_s": 3600}
        assert now["budgets"] == {"users": {"turns": None, "tokens": 0}, "anonymous": {"turns": None, "tokens": None}}
        assert (await patched(user={"window_s": 30}))["user"] == {"quota": 20, "window_s": 30}


async def test_a_budget_of_zero_answers_nobody(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        path = await api.chatbot(limits={"budgets": {"users": {"turns": 0}}})
        chatbot = await chatbot_at(api.services, path)
        assert await outcomes(prompt(api.services, chatbot, end_user(chatbot))) == {"budget_spent": 1}
        await api.say(path, "Hello")
        assert (await spent(api, path))["users"][0] == 0, "API keys do not count"
