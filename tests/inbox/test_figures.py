"""Figures: what a chatbot did by day, against a count of our own, whatever befalls those who count."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.inbox.figures import FigureQueue
from gigachat_server.models.base import TextDelta, UsageReport
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.store.database import Database, Tx
from tests import stores
from tests.harness import Api, gigachat
from tests.inbox.clocks import SteppedClock
from tests.inbox.made_days import DAY_US, PRICES, MadeDays

DAYS = 12


class Killed(Exception):
    """The process is gone."""


class Mortal:
    """A database whose process is killed at its next transaction but `left`: before it is stored, or after."""

    def __init__(self, database: Database, left: int, *, is_late: bool) -> None:
        self._database = database
        self._left = left
        self._is_late = is_late

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def transaction(self, name: str, body: Callable[[Tx], Awaitable[Any]], **options: Any) -> Any:
        self._left -= 1
        if self._left < 0 and not self._is_late:
            raise Killed
        result = await self._database.transaction(name, body, **options)
        if self._left < 0:
            raise Killed
        return result


def by_day(answer: dict[str, Any]) -> dict[str, dict[tuple[str, str], float]]:
    """The wire's figures as the made days have theirs: without what is 0."""
    found = {}
    for day in answer["days"]:
        figures: dict[tuple[str, str], float] = {}
        for name, value in day.items():
            for dimension, each in value.items() if isinstance(value, dict) else [("", value)]:
                if name != "day" and each:
                    figures[name, dimension] = round(each * 1_000_000) if name == "cost" else each
        found[day["day"]] = figures
    return found


async def count_all(database: Any, clock: SteppedClock) -> None:
    """As a worker does it, but for its lease's upkeep."""
    queue = FigureQueue(database, clock)
    for number in range(100):
        entry = await queue.find_next((), ())
        if entry is None:
            return
        if await queue.claim(entry, f"lease {number}", now_us=clock(), until_us=clock() + 30_000_000) is not None:
            await queue.work_off(entry, f"lease {number}")
    raise AssertionError("there is always one more")


async def read_figures(api: Api, chatbot: str, first: date, days: int) -> dict[str, Any]:
    reply = await api.get(f"{chatbot}/figures?from={first}&to={first + timedelta(days=days - 1)}")
    assert reply.status == 200, reply.text
    body: dict[str, Any] = reply.body
    return body


async def made_days(api: Api, conversations: int, *, days: int = DAYS, seed: int = 1) -> tuple[str, MadeDays, date]:
    """A chatbot with that many conversations in the days before today, and the first day."""
    chatbot = await api.chatbot(prices=PRICES)
    first_day = api.services.clock() // DAY_US - days - 2
    made = MadeDays(chatbot.rpartition("/")[2], first_day=first_day, days=days, seed=seed)
    await made.write(api.services.database, conversations)
    return chatbot, made, date(1970, 1, 1) + timedelta(days=first_day)


def expected_of(made: MadeDays, first: date, days: int) -> dict[str, dict[tuple[str, str], int]]:
    start = (first - date(1970, 1, 1)).days
    return {str(first + timedelta(days=n)): made.expected.get(start + n, {}) for n in range(days)}


async def test_figures_are_those_of_our_own_count_however_often_the_worker_is_killed(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        await api.services.figures_worker.aclose()  # the test counts
        chatbot, made, first = await made_days(api, 300)
        expected = expected_of(made, first, DAYS + 3)
        assert by_day(await read_figures(api, chatbot, first, DAYS + 3)) == expected, "counted while they are asked for"
        chance = random.Random(2)
        killed = 0
        for _ in range(20):
            mortal = Mortal(api.services.database, chance.randint(0, 4), is_late=chance.random() < 0.5)
            try:
                await count_all(mortal, clock)
            except Killed:
                killed += 1
                assert by_day(await read_figures(api, chatbot, first, DAYS + 3)) == expected
            clock.step(seconds=31)  # its lease has ended
        assert killed >= 5
        await count_all(api.services.database, clock)
        assert by_day(await read_figures(api, chatbot, first, DAYS + 3)) == expected
        async with asyncio.TaskGroup() as group:  # several workers count the same
            for _ in range(3):
                group.create_task(count_all(api.services.database, clock))
        assert by_day(await read_figures(api, chatbot, first, DAYS + 3)) == expected


@pytest.mark.faults
async def test_figures_of_ten_thousand_conversations_stand_though_their_worker_is_killed_twenty_times(tmp_path: Path) -> None:
    days, data = 60, tmp_path / "data"
    async with gigachat(data) as api:
        await api.services.figures_worker.aclose()
        chatbot, made, first = await made_days(api, 10_000, days=days, seed=3)
    expected = expected_of(made, first, days + 3)
    settings = json.dumps({"data": str(data), **stores.current().settings(data)})
    chance = random.Random(4)
    for number in range(1, 22):
        steps = chance.randint(2, 5) if number < 21 else 0
        command = [sys.executable, "-m", "tests.inbox.killed_count", settings, str(number * 31_000_000), str(steps)]
        ended = await asyncio.to_thread(subprocess.run, command, check=False)
        assert ended.returncode == (-signal.SIGKILL if steps else 0)
        if number % 5 == 0:
            async with gigachat(data) as api:
                await api.services.figures_worker.aclose()
                assert by_day(await read_figures(api, chatbot, first, days + 3)) == expected
    async with gigachat(data) as api:
        stored = stores.current().query(data, "SELECT DISTINCT day FROM figures")
        assert len(stored) >= days, "all of it was counted by those who were killed, and the last one"
        assert by_day(await read_figures(api, chatbot, first, days + 3)) == expected


async def test_a_day_that_is_over_stays_when_its_conversations_are_deleted(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        await api.services.figures_worker.aclose()
        chatbot, made, first = await made_days(api, 20)
        await count_all(api.services.database, clock)

        async def forget(tx: Tx) -> None:
            await tx.run("DELETE FROM events")
            await tx.run("DELETE FROM messages")

        await api.services.database.transaction("test.forget", forget)
        assert by_day(await read_figures(api, chatbot, first, DAYS + 3)) == expected_of(made, first, DAYS + 3)
        assert (await api.call("DELETE", chatbot)).status == 204
        row = await api.services.database.read(
            lambda reader: reader.one("SELECT (SELECT count(*) FROM figures) + (SELECT count(*) FROM figure_days)")
        )
        assert row == (0,), "figures go with their chatbot"


async def test_what_happens_today_is_counted_at_once(tmp_path: Path) -> None:
    clock = SteppedClock()
    model = ScriptedModel([TextDelta(0, "Hi."), UsageReport("m", 100, 20)])
    async with gigachat(tmp_path, clock=clock, model=model) as api:
        chatbot = await api.chatbot(prices={"input": 3, "output": 15})
        (reply,) = await api.say(chatbot, "Hello")
        await api.call("PUT", f"{chatbot}/conversations/c1/messages/{reply['id']}/feedback", {"rating": "down"})
        await api.say(chatbot, "I want to talk to a human", conversation="c2")
        await api.post(f"{chatbot}/conversations/c2/takeover", {"operator": "eve"})
        clock.step(seconds=20)
        await api.say(chatbot, "Hello Ann", user="client:eve", conversation="c2")
        await api.say(chatbot, "How are you?", user="client:eve", conversation="c2")
        (today,) = (await api.get(f"{chatbot}/figures?from={_today(api)}")).body["days"]
        assert today["first_word_ms"].pop("count") == 2
        assert 20_000 <= today["first_human_reply_ms"]["p50"] < 60_000
        assert today["first_human_reply_ms"]["count"] == 1
        assert {name: today[name] for name in ("conversations", "prompts", "answered", "takeovers", "cost")} == {
            "conversations": 2, "prompts": 2, "answered": 1, "takeovers": 1, "cost": 0.0006,
        }  # fmt: skip
        assert (today["handoffs"], today["thumbs"], today["input_tokens"]) == ({"asked": 1}, {"down": 1}, 100)
        total = (await api.get(f"{chatbot}/figures")).body
        assert len(total["days"]) == 30
        assert total["total"]["prompts"] == 2


async def test_a_spreadsheet_has_the_same_columns_each_time(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, made, first = await made_days(api, 30)
        empty = await api.chatbot()
        query = f"from={first}&to={first + timedelta(days=DAYS)}"
        full = await api.get(f"{chatbot}/figures?{query}&format=csv")
        assert full.headers["Content-Type"] == "text/csv; charset=utf-8"
        accepted = await api.get(f"{chatbot}/figures?{query}", headers={"Accept": "text/csv"})
        assert accepted.text == full.text
        assert isinstance((await api.get(f"{chatbot}/figures?{query}&format=json", headers={"Accept": "text/csv"})).body, dict)
        lines, none = (
            list(csv.DictReader(io.StringIO(each.text))) for each in (full, await api.get(f"{empty}/figures?format=csv"))
        )
        assert list(lines[0]) == list(none[0])
        assert sum(int(line["prompts"]) for line in lines) == sum(day[("prompts", "")] for day in made.expected.values())
        assert {value for line in none for name, value in line.items() if name != "day"} == {"0", "", "0.000000"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2027-02-30", "from"),
        ("from=2027-1-1", "from"),
        ("from=2027-W01-1", "from"),
        ("from=1969-12-31", "from"),
        ("to=tomorrow", "to"),
        ("from=2026-01-02&to=2026-01-01", "from"),
        ("from=2020-01-01&to=2026-01-01", "from"),
        ("format=xml", "format"),
    ],
)
async def test_odd_days_are_refused(tmp_path: Path, query: str, field: str) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.get(f"{await api.chatbot()}/figures?{query}")
        assert (reply.status, reply.fields) == (422, {field})


async def test_days_to_come_are_left_out(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        today = _today(api)
        reply = await api.get(f"{await api.chatbot()}/figures?from={today}&to={today + timedelta(days=300)}")
        assert [each["day"] for each in reply.body["days"]] == [str(today)]


def _today(api: Api) -> date:
    return date(1970, 1, 1) + timedelta(days=api.services.clock() // DAY_US)
