"""A store that cannot hold what a model said: the turn fails, and nothing waits for it any longer.

The store is made to refuse by a trigger of its own: on a database that is not in UTF-8, for one, an emoji is refused so.
Time stands still for gigachat, so a lease that is not given back is held for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest

from gigachat_server.errors import ModelUnreachable
from gigachat_server.models.fake import Pause, Step
from tests import stores
from tests.faults.cluster import until
from tests.harness import gigachat
from tests.turns import Clock, answering, ask, asking

EMOJI = "\N{SLIGHTLY SMILING FACE}"
HOLDS_EMOJI = f"NEW.content LIKE '%{EMOJI}%'"
IS_FAILURE = "NEW.type = 'turn.failed'"


def refuse(folder: Path, table: str, condition: str) -> None:
    """From now on the store takes no such row."""
    if url := stores.current().settings(folder).get("database_url"):
        _beside(
            _execute(
                url,
                f"""CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN
                RAISE EXCEPTION USING ERRCODE = '22P05', MESSAGE = 'has no equivalent'; END IF; RETURN NEW; END $$;
                CREATE TRIGGER refusing BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_{table}()""",
            )
        )
        return
    with closing(apsw.Connection(str(folder / "gigachat.sqlite3"))) as connection:
        connection.set_busy_timeout(5_000)
        connection.execute(
            f"CREATE TRIGGER refusing_{table} BEFORE INSERT ON {table} WHEN {condition} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )


def allow(folder: Path, table: str) -> None:
    if url := stores.current().settings(folder).get("database_url"):
        _beside(_execute(url, f"DROP TRIGGER refusing ON {table}"))
        return
    with closing(apsw.Connection(str(folder / "gigachat.sqlite3"))) as connection:
        connection.set_busy_timeout(5_000)
        connection.execute(f"DROP TRIGGER refusing_{table}")


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


def _beside(work: Coroutine[Any, Any, None]) -> None:
    thread = threading.Thread(target=asyncio.run, args=[work])
    thread.start()
    thread.join()


def turns(folder: Path) -> list[str]:
    sql = "SELECT turn FROM messages WHERE role = 'user' ORDER BY seq"
    return [row["turn"] for row in stores.current().query(folder, sql)]


async def test_a_reply_that_cannot_be_stored_fails_its_turn_and_no_other(tmp_path: Path) -> None:
    model = answering({"smile": [f"all is well {EMOJI}"]})
    async with gigachat(tmp_path, model=model, clock=Clock()) as api:
        chatbot = await api.chatbot()
        refuse(tmp_path, "messages", HOLDS_EMOJI)
        told = await ask(api, chatbot, "smile")
        assert told.status >= 400
        assert (await api.say(chatbot, "and now?"))[-1]["content"] == "re: and now?"
    assert turns(tmp_path) == ["failed", "done"]


async def test_a_part_of_a_reply_that_cannot_be_stored_is_left_out(tmp_path: Path) -> None:
    """The model breaks off: the failure is stored all the same, and the caller is told of it and of nothing else."""
    model = answering({"smile": [f"all is well {EMOJI}", ModelUnreachable()]})
    async with gigachat(tmp_path, model=model, clock=Clock()) as api:
        chatbot = await api.chatbot()
        refuse(tmp_path, "messages", HOLDS_EMOJI)
        assert (await ask(api, chatbot, "smile")).code == "upstream_unreachable"
        assert (await api.say(chatbot, "and now?"))[-1]["content"] == "re: and now?"
    assert turns(tmp_path) == ["failed", "done"]


async def test_a_failure_that_cannot_be_stored_gives_the_lease_back(tmp_path: Path) -> None:
    again = Pause()
    scripts: dict[str, list[Step]] = {"smile": [ModelUnreachable()]}
    async with gigachat(tmp_path, model=answering(scripts), clock=Clock()) as api:
        chatbot = await api.chatbot()
        refuse(tmp_path, "events", IS_FAILURE)
        assert (await ask(api, chatbot, "smile")).code == "upstream_unreachable"
        scripts["smile"] = [again, "yes"]  # what is not settled is answered once more
        await again.reached.wait()
        allow(tmp_path, "events")
        following = asking(api, chatbot, "and now?")
        again.resume()
        assert (await following).body[-1]["content"] == "re: and now?"
    assert turns(tmp_path) == ["done", "done"]


async def test_a_failure_that_can_never_be_stored_does_not_hold_up_the_next_prompt(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({"smile": [ModelUnreachable()]}), clock=Clock()) as api:
        chatbot = await api.chatbot()
        refuse(tmp_path, "events", IS_FAILURE)
        assert (await ask(api, chatbot, "smile")).code == "upstream_unreachable"
        assert (await api.say(chatbot, "and now?"))[-1]["content"] == "re: and now?"
        assert (await api.say(chatbot, "and then?"))[-1]["content"] == "re: and then?"
    assert turns(tmp_path)[1:] == ["done", "done"]


async def test_a_prompt_that_cannot_be_stored_is_refused_at_once(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({}), clock=Clock()) as api:
        chatbot = await api.chatbot()
        refuse(tmp_path, "messages", HOLDS_EMOJI)
        assert (await ask(api, chatbot, EMOJI)).status in (422, 500)
        assert (await api.say(chatbot, "and now?"))[-1]["content"] == "re: and now?"


@pytest.mark.postgres_only  # SQLite takes any text
async def test_a_draft_that_cannot_be_stored_keeps_no_other_from_being(tmp_path: Path) -> None:
    smiling, talking = Pause(), Pause()
    model = answering({"smile": [f"all is well {EMOJI}", smiling], "talk": ["well, well", talking]})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        refuse(tmp_path, "drafts", HOLDS_EMOJI)
        both = [asking(api, chatbot, "smile", conversation="a"), asking(api, chatbot, "talk", conversation="b")]
        await asyncio.gather(smiling.reached.wait(), talking.reached.wait())
        await until(lambda: bool(stores.current().query(tmp_path, "SELECT content FROM drafts")))
        assert [row["content"] for row in stores.current().query(tmp_path, "SELECT content FROM drafts")] == ["well, well"]
        smiling.resume()
        talking.resume()
        assert [reply.status for reply in await asyncio.gather(*both)] == [201, 201]
