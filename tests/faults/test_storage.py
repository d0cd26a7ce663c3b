"""The store under a disk that fails and a process that is killed, at the system calls themselves."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from gigachat_server.store.engines.damage import refuse_damage
from gigachat_server.store.engines.folder import read_note
from gigachat_server.store.engines.sqlite import open_sqlite
from tests.cli.commands import PATIENCE_S, Server
from tests.faults import trace
from tests.faults.processes import KEY, ROOT, Serve, call, ended, listening, make_chatbot, needs_strace, say

_log = logging.getLogger(__name__)

CHATBOT = {"name": "Superbot"}
PROMPT = {"conversation_id": "c", "user_id": "ann", "prompt": "Hello"}
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "300"))
WEAK = ROOT / "tests" / "faults" / "weak_server.py"

pytestmark = [pytest.mark.slow, needs_strace, pytest.mark.sqlite_only]


def acknowledged(server: Server, chatbot: str, conversation: str, count: int, *, at_once: int = 1) -> list[str]:
    """The ids of the messages that so many prompts were answered with."""
    with ThreadPoolExecutor(at_once) as pool:
        names = [f"{conversation}-{number}" for number in range(count)]
        answers = list(pool.map(lambda name: say(server, chatbot, name, f"This is {name}."), names))
    assert all(answer is not None and answer.status == 201 for answer in answers)
    return [message["id"] for answer in answers if answer for message in answer.body]


def unconfirmed(serve: Serve, *, sequential: int, concurrent: int) -> tuple[list[str], list[str]]:
    """The acknowledged messages of a server, and those of them that the disk had not confirmed by then."""
    with serve.serving(*trace.OPTIONS) as server:
        chatbot = make_chatbot(server)
        message_ids = acknowledged(server, chatbot, "one", sequential)
        message_ids += acknowledged(server, chatbot, "many", concurrent, at_once=16)
        assert server.stop()[0] == 0
    return message_ids, trace.unconfirmed(serve.trace, message_ids)


def test_no_answer_leaves_before_the_disk_has_its_rows(tmp_path: Path) -> None:
    message_ids, wrong = unconfirmed(Serve(tmp_path / "data"), sequential=15, concurrent=60)
    assert (len(message_ids), wrong) == (75, [])


def test_a_store_that_does_not_wait_for_the_disk_is_found_out(tmp_path: Path) -> None:
    message_ids, wrong = unconfirmed(Serve(tmp_path / "data", program=WEAK), sequential=10, concurrent=20)
    assert len(wrong) > 0.9 * len(message_ids)


def test_a_write_that_the_disk_does_not_confirm_ends_the_server(tmp_path: Path) -> None:
    serve = Serve(tmp_path / "data")
    with serve.serving("-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=25+") as server:
        chatbot = make_chatbot(server)
        answers = [say(server, chatbot, "c", "Hello") for _ in range(20)]
        status, log = ended(server.process)
    assert status == 1
    assert [line for line in log.splitlines() if "CRITICAL" in line] and "Traceback" not in log
    statuses = [answer.status if answer else 0 for answer in answers]
    assert statuses == sorted(statuses, key=[201, 503, 0].index), "nothing is acknowledged after the first failure"
    assert {201, 503} <= set(statuses)
    assert serve.injected() > 0
    with serve.serving() as server:
        stored = server.call(f"{chatbot}/conversations/c/messages?limit=100", KEY).body
        told = {message["id"] for answer in answers if answer and answer.status == 201 for message in answer.body}
        assert told <= {message["id"] for message in stored}


def test_a_full_disk_is_told_and_forgotten(tmp_path: Path) -> None:
    serve = Serve(tmp_path / "data")
    with serve.serving() as server:
        server.stop()  # a first start writes more than a full disk would let it
    with serve.serving("-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC:when=60..270") as server:
        chatbot = make_chatbot(server)
        while (answer := server.call(f"{chatbot}/conversations", KEY, PROMPT)).status == 201:
            pass
        assert (answer.status, answer.body["code"]) == (503, "storage_unavailable")
        assert server.call("/readyz", KEY).status == 503
        assert server.call(chatbot, KEY).status == 200, "reads go on"
        while server.call("/readyz", KEY).status == 503:
            pass
        assert server.call(f"{chatbot}/conversations", KEY, PROMPT).status == 201
        status, _, log = server.stop()
    assert status == 0
    assert "Traceback" not in log
    assert serve.injected() > 50


@pytest.mark.parametrize("when", [1, 12, 40])  # as the folder is locked, the file is made, and its tables are
def test_a_start_on_a_full_disk_says_so(tmp_path: Path, when: int) -> None:
    serve = Serve(tmp_path / "data")
    with serve.running("-e", "trace=pwrite64", "-e", f"inject=pwrite64:error=ENOSPC:when={when}+") as process:
        status, log = ended(process)
    assert status == 1
    assert re.fullmatch(r"(.* store cannot write.*\n)?gigachat: Cannot write .*\n", log), log


# --- at length ---


class Ledger:
    """What clients were told is stored, over many lives of a server on one folder."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.acknowledged: list[str] = []
        self.prompts = 0
        self.faults = 0
        self.chatbot = ""

    def talk(self, server: Server, prompts: int) -> set[int]:
        """Say so much, some of it at once, each time something else; the statuses, 0 where the server went away."""
        if not self.chatbot:
            made = call(server, "/chatbots", CHATBOT)
            if made is None or made.status != 201:
                return {made.status if made else 0}
            self.chatbot = f"/chatbots/{made.body['id']}"
        numbers = range(self.prompts, self.prompts + prompts)
        self.prompts += prompts
        with ThreadPoolExecutor(4) as pool:
            return set(pool.map(lambda number: self._say(server, number), numbers))

    def _say(self, server: Server, number: int) -> int:
        answer = say(server, self.chatbot, f"c{number % 7}", f"prompt {number}")
        if answer is not None and answer.status == 201:
            self.acknowledged += [message["id"] for message in answer.body]
        return answer.status if answer else 0

    def check(self) -> None:
        """The store is whole by its own account and by SQLite's; every acknowledged message is there, and nothing twice."""
        file = self.serve.file
        if not file.exists():
            assert not self.acknowledged
            return
        refuse_damage(file, read_note(self.serve.data), is_full=True)
        with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
            assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if not reader.execute("SELECT 1 FROM sqlite_schema WHERE name = 'messages'").fetchall():
                assert not self.acknowledged
                return
            stored = Counter(row[0] for row in reader.execute("SELECT id FROM messages"))
            prompts = Counter(row[0] for row in reader.execute("SELECT content FROM messages WHERE role = 'user'"))
            replies = Counter(row[0] for row in reader.execute("SELECT in_reply_to FROM messages WHERE role = 'assistant'"))
        assert [message_id for message_id in self.acknowledged if stored[message_id] != 1] == []
        assert max(*prompts.values(), *replies.values(), 0, 0) <= 1, "nothing is there twice"


@pytest.mark.faults
def test_kills_at_any_write(tmp_path: Path) -> None:
    ledger, dice = Ledger(Serve(tmp_path / "data")), random.Random(2)
    for number in range(ROUNDS):
        syscall = dice.choice(["pwrite64", "pwrite64", "pwrite64", "fdatasync"])
        when = dice.randint(1, 25 if syscall == "fdatasync" else 400)
        with ledger.serve.running("-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=KILL:when={when}") as process:
            server = listening(process)
            if isinstance(server, str) or 0 in ledger.talk(server, 30):
                assert process.wait(PATIENCE_S) == -signal.SIGKILL, server
                ledger.faults += 1
        if number % 3:  # so that recoveries are killed too
            ledger.check()
    ledger.check()
    _log.info("%d kills in %d rounds, %d messages acknowledged", ledger.faults, ROUNDS, len(ledger.acknowledged))
    assert ledger.faults > 0.9 * ROUNDS
    asyncio.run(open_sqlite(ledger.serve.data).aclose())


@pytest.mark.faults
def test_a_full_disk_at_any_write(tmp_path: Path) -> None:
    ledger, dice, rounds = Ledger(Serve(tmp_path / "data")), random.Random(4), min(ROUNDS, 100)
    longest_s = 0.0
    for _ in range(rounds):
        first = dice.randint(1, 150)
        syscall = dice.choice(["pwrite64", "pwrite64", "pwrite64,ftruncate,fallocate"])
        fault = f"inject={syscall}:error=ENOSPC:when={first}..{first + dice.randint(0, 40)}"
        with ledger.serve.running("-e", f"trace={syscall}", "-e", fault) as process:
            server = listening(process)
            if isinstance(server, str):
                assert (process.wait(PATIENCE_S), "Traceback" in server) == (1, False), server
            else:
                assert ledger.talk(server, 40) <= {201, 503}
                longest_s = max(longest_s, _writes_again(server))
                status, _, log = server.stop()
                assert (status, "Traceback" in log) == (0, False), log
        ledger.faults += ledger.serve.injected() > 0
        ledger.check()
    _log.info(
        "%d of %d rounds had faults, %d messages acknowledged; wrote again after %.2f s at most",
        ledger.faults, rounds, len(ledger.acknowledged), longest_s,
    )  # fmt: skip
    assert ledger.faults > 0.9 * rounds
    assert longest_s < 5


@pytest.mark.faults
def test_an_unconfirmed_write_anywhere(tmp_path: Path) -> None:
    ledger, rounds = Ledger(Serve(tmp_path / "data")), min(ROUNDS, 20)
    for when in range(1, rounds + 1):
        with ledger.serve.running("-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={when}+") as process:
            server = listening(process)
            if not isinstance(server, str):
                assert ledger.talk(server, 30) <= {201, 503, 0}
            assert process.wait(PATIENCE_S) == 1
        ledger.faults += ledger.serve.injected() > 0
        ledger.check()
    _log.info("%d of %d rounds had faults, %d messages acknowledged", ledger.faults, rounds, len(ledger.acknowledged))
    assert ledger.faults == rounds


def _writes_again(server: Server) -> float:
    """Seconds until it does."""
    started = time.monotonic()
    while (answer := call(server, "/chatbots", CHATBOT)) is None or answer.status != 201:
        assert answer is not None and answer.status == 503
        time.sleep(0.05)
    return time.monotonic() - started


@pytest.mark.faults
@pytest.mark.parametrize("held_s", [3, 12])
def test_a_lock_of_the_sqlite_shell(tmp_path: Path, held_s: int) -> None:
    serve = Serve(tmp_path / "data")
    with serve.serving() as server:
        chatbot = make_chatbot(server)
        with closing(apsw.Connection(str(serve.file))) as other, ThreadPoolExecutor(8) as pool:
            other.execute("BEGIN EXCLUSIVE")
            started = time.monotonic()

            def say_and_wait(number: int) -> tuple[int, float]:
                asked = time.monotonic()
                answer = say(server, chatbot, f"c{number}", "Hello")
                return (answer.status if answer else 0), time.monotonic() - asked

            waiting = [pool.submit(say_and_wait, number) for number in range(8)]
            while (left := started + held_s - time.monotonic()) > 0:
                time.sleep(min(left, 1))
                assert server.call(f"{chatbot}/conversations", KEY).status == 200
            other.execute("ROLLBACK")
            assert _writes_again(server) < 1
        outcomes = [done.result() for done in waiting]
        assert {status for status, _ in outcomes} == ({201} if held_s < 5 else {503})
        assert max(took for _, took in outcomes) < 6
        _log.info("lock of %d s: longest answer %.1f s", held_s, max(took for _, took in outcomes))
