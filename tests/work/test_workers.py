"""All background work of a server: nothing that goes wrong in it ends it, makes it spin, or goes unsaid."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gigachat_server import triggers
from gigachat_server.errors import EmbedderUnavailable, StorageUnavailable
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.store.database import Tx
from gigachat_server.work.loop import Loop
from tests.harness import Api, gigachat, until
from tests.turns import rows
from tests.work.breaking import Breaking
from tests.work.manual_time import ManualTime

ERRORS = [ValueError, StorageUnavailable, asyncio.CancelledError]


@asynccontextmanager
async def at_rest(folder: Path, *, with_turns: bool = False, **options: Any) -> AsyncIterator[tuple[Api, ManualTime]]:
    """A server on which time stands still. Without turns, nothing is done several times a second."""
    time = ManualTime()
    async with gigachat(folder, clock=time.clock, pace=time, **options) as api:
        time.background = api.services.background
        if not with_turns:
            await api.services.lifecycle.aclose()
            await api.services.nodes.aclose()
        await time.settled()
        yield api, time


async def execute(api: Api, sql: str, **parameters: Any) -> None:
    async def body(tx: Tx) -> None:
        await tx.run(sql, **parameters)

    await api.services.database.transaction("test", body)


# --- every loop ---


@pytest.mark.parametrize("error", ERRORS)
async def test_every_loop_survives_a_failure_at_each_place_where_it_waits(
    tmp_path: Path, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    hold, say = Pause(), Pause()
    async with (
        at_rest(tmp_path, with_turns=True, model=ScriptedModel(["Hel", say, "lo"])) as (api, time),
        held_document(api, time, hold),
    ):
        asking = asyncio.create_task(api.say(await api.chatbot(), "Hello"))
        await say.reached.wait()
        loops = [loop for loop in api.services.background.loops if loop.is_running]
        assert {loop.name for loop in loops} >= {"ingest", "crawls", "fixed-answers", "recovery", "drafts", "releases"}
        waits: dict[str, int] = {}
        for loop in loops:
            for at in itertools.count():
                caplog.clear()
                if not await breaks(time, loop, at, error):
                    break
                waits[loop.name] = at
                assert loop.is_running, f"{loop.name} ended at its wait {at}"
                assert f"{loop.name} failed (1 in a row)" in caplog.text, f"{loop.name} says nothing at its wait {at}"
                for _ in range(31):
                    if loop.failures:
                        await time.advance(1)
                assert loop.failures == 0, f"{loop.name} does not go on after its wait {at}"
        assert {name for name, number in waits.items() if not number} <= {
            "drafts",
            "crawls-leases",
            "suggestions-leases",
            "figures-leases",
            "mails-leases",
            "heartbeat",
            "limits-till",
        }
        say.resume()
        await asking


@asynccontextmanager
async def held_document(api: Api, time: ManualTime, hold: Pause) -> AsyncIterator[None]:
    """A document is being worked on within the block."""
    await api.push(await api.chatbot(), "prices", "Parcels are nine euros.")
    await execute(api, "UPDATE documents SET state = 'pending', chunks_sha256 = NULL")
    with triggers.acting("I2", hold.hold):
        api.services.ingest_worker.wake_up()
        await hold.reached.wait()
        time.held = 1
        await time.settled()
        yield
        time.held = 0
        hold.resume()
        await time.settled()


async def breaks(time: ManualTime, loop: Loop, at: int, error: type[BaseException]) -> bool:
    """Whether the loop's next pass has a place to break at."""
    work = loop.body
    loop.body = breaking = Breaking(work, at=at, error=error())
    loop.wake_up()
    try:
        await time.settled()
    finally:
        loop.body = work
    assert breaking.calls == 1, f"{loop.name} spins"
    return breaking.has_broken


async def test_no_loop_spins_however_often_it_fails_and_is_woken(tmp_path: Path) -> None:
    async with at_rest(tmp_path, with_turns=True) as (api, time):
        for loop in [loop for loop in api.services.background.loops if loop.is_running]:
            passes = 0
            work = loop.body

            async def fail() -> None:
                nonlocal passes
                passes += 1
                raise ValueError("a bug")

            loop.body = fail
            for _ in range(10):
                for _ in range(10):
                    loop.wake_up()
                    await time.settled()
                await time.advance(1)
            assert 1 <= passes <= 20, f"{loop.name} tried {passes} times within ten seconds"
            loop.body = work


async def test_closing_ends_every_loop_while_it_backs_off(tmp_path: Path) -> None:
    async with at_rest(tmp_path, with_turns=True) as (api, time):
        loops = [loop for loop in api.services.background.loops if loop.is_running]
        for loop in loops:
            assert await breaks(time, loop, 0, ValueError)
        for loop in loops:
            await loop.aclose()
            loop.wake_up()
            loop.start()
        assert [loop.name for loop in loops if loop.is_running] == []


# --- rows ---


class Refusing(HashingEmbedder):
    """It breaks where a text holds this word."""

    word = "poison"

    async def embed_passages(self, texts: Any) -> Any:
        if any(self.word in text for text in texts):
            raise ValueError("a bug")
        return await super().embed_passages(texts)


# Whatever makes one document fail each time, and what ends that.
POISONS = {
    "its text": ("UPDATE documents SET content = 'poison', content_sha256 = :sha256 WHERE name = 'a'", ""),
}


@pytest.mark.parametrize("poison", POISONS)
async def test_a_document_that_always_fails_is_parked_and_no_other_waits(
    tmp_path: Path, poison: str, caplog: pytest.LogCaptureFixture
) -> None:
    claims = 0

    async def count() -> None:
        nonlocal claims
        claims += 1

    async with at_rest(tmp_path, embedder=Refusing()) as (api, time):
        chatbot, other = await api.chatbot(name="a"), await api.chatbot(name="b")
        for each, name in ((chatbot, "a"), (other, "b")):
            await api.push(each, name, "Parcels are nine euros.")
        await execute(api, "UPDATE documents SET state = 'pending', chunks_sha256 = NULL")
        break_it, mend_it = POISONS[poison]
        await execute(api, break_it.replace(":sha256", f"'{_sha256('poison')}'"))
        with triggers.acting("I2", count):
            api.services.ingest_worker.wake_up()
            await time.settled()
            assert claims == 2
            assert await states(api) == {"a": ("pending", 1), "b": ("ready", 0)}
            await time.advance(2)
            assert claims <= 4, "it is tried again after a pause, and after a longer one"
            await time.advance(600)
            assert claims == 9, "and not for ever"
        assert await states(api) == {"a": ("failed", 0), "b": ("ready", 0)}
        assert "failed 8 times" in caplog.text
        ((why,),) = await rows(api, "SELECT parked_reason FROM documents WHERE parked_at IS NOT NULL")
        assert why
        if mend_it:
            await execute(api, mend_it)
        (shown,) = (await api.get(f"{chatbot}/documents")).body
        assert (shown["state"], shown["error"]) == ("failed", "document_failed")
        assert "Push it again" in shown["reason"] and "gigachat doctor" in shown["reason"]
        await api.push(chatbot, "a", "Parcels are ten euros.")
        assert (await api.get(f"{chatbot}/documents")).body[0]["state"] == "ready"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def states(api: Api) -> dict[str, tuple[str, int]]:
    return {row[0]: (row[1], row[2]) for row in await rows(api, "SELECT name, state, tries FROM documents")}


async def test_a_parked_document_is_tried_again_at_the_next_start_but_not_one_that_ended_the_process(tmp_path: Path) -> None:
    async with at_rest(tmp_path) as (api, _time):
        chatbot, key = await api.chatbot(), api.key
        for name in ("fails", "kills", "refused"):
            await api.push(chatbot, name, f"Parcels {name}.")
        await api.services.ingest_worker.aclose()
        await execute(api, "UPDATE documents SET state = 'pending', chunks_sha256 = NULL")
        await execute(
            api, "UPDATE documents SET state = 'failed', error = 'document_failed', parked_at = 1, parked_reason = 'ValueError'"
            " WHERE name = 'fails'",
        )  # fmt: skip
        await execute(api, "UPDATE documents SET state = 'failed', error = 'file_empty' WHERE name = 'refused'")
        await execute(api, "UPDATE documents SET tries = 8 WHERE name = 'kills'")
    async with at_rest(tmp_path) as (api, _time):
        api.key = key
        expected = {"fails": ("ready", 0), "kills": ("failed", 0), "refused": ("failed", 0)}
        assert await states(api) == expected, "as many claims were never given back as a row may fail"
        (kills,) = [each for each in (await api.get(f"{chatbot}/documents")).body if each["name"] == "kills"]
        assert "broke down" in kills["reason"]
    async with at_rest(tmp_path) as (api, _time):
        assert await states(api) == expected


async def test_what_waits_for_an_embedder_is_not_parked(tmp_path: Path) -> None:
    class Away(HashingEmbedder):
        is_away = False

        async def embed_passages(self, texts: Any) -> Any:
            if self.is_away:
                raise EmbedderUnavailable
            return await super().embed_passages(texts)

    embedder = Away()
    async with at_rest(tmp_path, embedder=embedder) as (api, time):
        chatbot = await api.chatbot()
        embedder.is_away = True
        pushed = await api.post(f"{chatbot}/documents", {"name": "a", "content": "Parcels are nine euros."})
        assert pushed.status == 202
        await time.advance(600)
        assert await states(api) == {"a": ("pending", 0)}
        embedder.is_away = False
        await time.advance(30)
        assert await states(api) == {"a": ("ready", 0)}


async def test_a_site_that_always_fails_is_parked_and_crawled_again_when_asked(tmp_path: Path) -> None:
    async with at_rest(tmp_path, fetch_allow="127.0.0.1") as (api, time):
        sites = await api.chatbot() + "/sites"
        await api.services.site_worker.aclose()
        made = await api.post(sites, {"url": "http://127.0.0.1/", "kind": "page"})
        assert made.status == 202, made.text
        await execute(api, "UPDATE sites SET url = 'no address'")
        key = api.key
    async with at_rest(tmp_path, fetch_allow="127.0.0.1") as (api, time):
        api.key = key
        assert await rows(api, "SELECT tries FROM sites") == [(1,)]
        await time.advance(600)
        ((state, reason, why),) = await rows(api, "SELECT state, reason, parked_reason FROM sites")
        assert (state, reason, bool(why)) == ("failed", "internal_error", True)
        await execute(api, "UPDATE sites SET url = 'http://127.0.0.1/'")
        path = f"{sites}/{made.body['id']}"
        assert (await api.get(path)).body["state"] == "failed"
        assert (await api.post(f"{path}/crawl")).status == 202

        async def is_crawled() -> bool:
            return await rows(api, "SELECT state, reason, tries, parked_at FROM sites") == [("crawling", None, 0, None)]

        await until(is_crawled)


METHODS = ("find_next", "claim", "work_off", "release")


@pytest.mark.parametrize("error", ERRORS)
async def test_a_failure_at_any_place_of_a_claim_or_of_the_work_only_delays_a_document(
    tmp_path: Path, error: type[BaseException]
) -> None:
    async with at_rest(tmp_path) as (api, time):
        chatbot = await api.chatbot()
        await api.push(chatbot, "a", "Parcels are nine euros.")
        (worker,) = [each for each in api.services.background.workers if each.name == "ingest"]
        for method in METHODS:
            work = getattr(worker.queue, method)
            for at in itertools.count():
                await execute(api, "UPDATE documents SET state = 'pending', chunks_sha256 = NULL, updated_at = updated_at + 1")
                breaking = Breaking(work, at=at, error=error())
                setattr(worker.queue, method, breaking)
                worker.wake_up()
                await time.settled()
                setattr(worker.queue, method, work)
                assert breaking.calls <= 3, f"it spins at {method}, wait {at}"
                await time.advance(60)
                assert await states(api) == {"a": ("ready", 0)}, f"after {method}, wait {at}"
                if not breaking.has_broken:
                    break


async def test_closing_gives_back_what_is_being_worked_on_and_does_not_count_it(tmp_path: Path) -> None:
    pause = Pause()
    async with at_rest(tmp_path, model=ScriptedModel([])) as (api, _time):
        chatbot = await api.chatbot()
        await api.push(chatbot, "a", "Parcels are nine euros.")
        await execute(api, "UPDATE documents SET state = 'pending', chunks_sha256 = NULL")
        with triggers.acting("I2", pause.hold):
            api.services.ingest_worker.wake_up()
            await pause.reached.wait()
            assert await states(api) == {"a": ("embedding", 1)}
            await api.services.ingest_worker.aclose()
        assert await states(api) == {"a": ("pending", 0)}
        assert await rows(api, "SELECT lease FROM documents WHERE lease_until <= 0 OR lease IS NOT NULL") == []


async def test_a_lease_is_renewed_while_the_work_goes_on(tmp_path: Path) -> None:
    pause = Pause()
    async with at_rest(tmp_path) as (api, time):
        chatbot = await api.chatbot()
        await api.push(chatbot, "a", "Parcels are nine euros.")
        await execute(api, "UPDATE documents SET state = 'pending', chunks_sha256 = NULL")
        (worker,) = [each for each in api.services.background.workers if each.name == "ingest"]
        (renewing,) = [loop for loop in api.services.background.loops if loop.name == "ingest-leases"]
        with triggers.acting("I2", pause.hold):
            worker.wake_up()
            await pause.reached.wait()
            ((lease, before_us),) = await rows(api, "SELECT lease, lease_until FROM documents")
            time.now_s += 10
            renewing.wake_up()

            async def is_renewed() -> bool:
                return await rows(api, "SELECT lease, lease_until FROM documents") == [(lease, before_us + 10_000_000)]

            await until(is_renewed)
            pause.resume()
            await time.settled()
        assert await states(api) == {"a": ("ready", 0)}
