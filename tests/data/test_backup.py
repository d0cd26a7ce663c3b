"""`gigachat backup` and `gigachat restore`: whole and in order under load, on either database, and never a mix of two."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gigachat_server import cli
from gigachat_server.cli.locations import Location, opened
from gigachat_server.errors import SetupError
from gigachat_server.store.database import Reader
from tests.cli.commands import Gigachat, Server
from tests.data.dumps import dump
from tests.data.test_move import filled, refused
from tests.test_upgrade import first_schema

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]  # it names its stores itself
BOTH = pytest.mark.parametrize("kind", ["folder", "database"])


class Kept(Gigachat):
    """`gigachat` on a store, whichever database that is on."""

    def __init__(self, data: Path, url: str = "") -> None:
        super().__init__(data, **({"database_url": url} if url else {}))
        self._url = url

    def dump(self) -> list[str]:
        return dump(self._url or self.data)


Making = Callable[[str], Kept]


@pytest.fixture
def of_kind(tmp_path: Path, request: pytest.FixtureRequest) -> Making:
    """Makes the command on a store of that kind, of which there is nothing yet."""
    made: list[str] = []

    def make(kind: str) -> Kept:
        made.append(kind)
        url = request.getfixturevalue("fresh_database")() if kind == "database" else ""
        return Kept(tmp_path / f"{kind}-{len(made)}", url)

    return make


# --- under load ---


class Load:
    """Clients that say one thing after the other, each in conversations of its own."""

    def __init__(self, server: Server, key: str) -> None:
        self._server = server
        self._key = key
        self._is_over = threading.Event()
        self.acknowledged: list[str] = []  # ids of what a client was told is stored
        self.failed: list[str] = []
        self.chatbot = f"/chatbots/{server.call('/chatbots', key, {'name': 'Superbot'}).body['id']}"

    @contextmanager
    def running(self, clients: int) -> Iterator[None]:
        with ThreadPoolExecutor(clients) as pool:
            for client in range(clients):
                pool.submit(self._talk, client)
            try:
                yield
            finally:
                self._is_over.set()

    def _talk(self, client: int) -> None:
        number = 0
        while not self._is_over.is_set():
            body = {"conversation_id": f"{client}-{number // 5}", "user_id": "ann", "prompt": f"{number}"}
            answer = self._server.call(f"{self.chatbot}/conversations?embedding=false", self._key, body)
            if answer.status == 201:
                self.acknowledged += [message["id"] for message in answer.body]
            else:
                self.failed.append(answer.text)
            number += 1

    def wait_for(self, count: int) -> None:
        """Until so many more messages were acknowledged."""
        wanted = len(self.acknowledged) + count
        while len(self.acknowledged) < wanted and not self.failed:
            self._is_over.wait(0.01)


def disorder(backup: Path) -> list[str]:
    """What cannot have been so at any moment."""
    with closing(sqlite3.connect(backup)) as store:  # another SQLite than gigachat's own
        store.row_factory = sqlite3.Row
        found = [f"integrity: {row[0]}" for row in store.execute("PRAGMA integrity_check") if row[0] != "ok"]
        messages = list(store.execute("SELECT * FROM messages ORDER BY chatbot_id, conversation_id, seq"))
        events = list(store.execute("SELECT * FROM events ORDER BY chatbot_id, conversation_id, seq"))
        conversations = {row["conversation_id"]: row for row in store.execute("SELECT * FROM conversations")}
        chatbots = {row["id"] for row in store.execute("SELECT id FROM chatbots")}
    ids = {message["id"] for message in messages}
    seqs: dict[str, list[int]] = {}
    for event in events:
        seqs.setdefault(event["conversation_id"], []).append(event["seq"])
    for message in messages:
        conversation = conversations.get(message["conversation_id"])
        if conversation is None or message["chatbot_id"] not in chatbots:
            found.append(f"{message['id']} has no parent")
        elif message["seq"] > conversation["last_seq"]:
            found.append(f"{message['id']} is behind the end")
        if message["in_reply_to"] and message["in_reply_to"] not in ids:
            found.append(f"{message['id']} replies to nothing")
        if message["turn"] == "done" and not any(other["in_reply_to"] == message["id"] for other in messages):
            found.append(f"{message['id']} was answered by nothing")
    for name, conversation in conversations.items():
        if seqs.get(name) != list(range(1, conversation["last_seq"] + 1)):
            found.append(f"{name}: events {seqs.get(name)} of {conversation['last_seq']}")
    of_conversations: dict[str, list[Any]] = {}
    for message in messages:
        of_conversations.setdefault(message["conversation_id"], []).append(message)
    found += [
        f"{name}: out of order"
        for name, said in of_conversations.items()
        if any(later["created_at"] <= earlier["created_at"] for earlier, later in pairwise(said))
    ]
    return found


@BOTH
@pytest.mark.parametrize("rounds", [2, pytest.param(5, marks=pytest.mark.faults)])
def test_backups_under_load_are_whole_and_in_order(tmp_path: Path, of_kind: Making, kind: str, rounds: int) -> None:
    gigachat = of_kind(kind)
    backups = [tmp_path / f"{number}.sqlite3" for number in range(rounds)]
    with gigachat.serving() as server:
        load = Load(server, server.first_key())
        before = []
        with load.running(clients=4):
            for backup in backups:
                load.wait_for(40)
                before.append(set(load.acknowledged))
                told = gigachat.json("backup", backup)
                assert told["rows"]["messages"] >= len(before[-1])
        assert load.failed == []
        assert server.stop()[0] == 0
    for backup, acknowledged in zip(backups, before, strict=True):
        assert disorder(backup) == []
        with closing(sqlite3.connect(backup)) as store:
            assert acknowledged <= {row[0] for row in store.execute("SELECT id FROM messages")}
    for number, backup in enumerate(backups):
        restored = of_kind(kind if number % 2 else "folder")
        restored.output("restore", backup)
        assert restored.dump() == dump(backup)
    with restored.serving() as server:  # and goes on
        assert server.call("/readyz", "").status == 200
        assert restored.json("conversations", "list", "--chatbot", "Superbot")


# --- what it prints and refuses ---


@BOTH
def test_a_backup_is_one_private_file_that_says_what_it_is(of_kind: Making, tmp_path: Path, kind: str) -> None:
    gigachat = of_kind(kind)
    gigachat.output("chatbots", "create", "Superbot")
    told = gigachat.output("backup", tmp_path / "b.sqlite3")
    assert "verified" in told
    digest = subprocess.run(["sha256sum", tmp_path / "b.sqlite3"], capture_output=True, text=True, check=True).stdout.split()[0]
    assert digest in told
    assert (tmp_path / "b.sqlite3").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "b.sqlite3")) as store:
        assert store.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("b.")] == ["b.sqlite3"]
    assert "exists already" in refused(gigachat, "backup", tmp_path / "b.sqlite3")
    assert gigachat.run("backup", tmp_path / "b.sqlite3", "--force", "--quiet").stdout == ""
    assert "does not exist" in refused(gigachat, "backup", tmp_path / "none" / "b.sqlite3")


def test_a_backup_goes_into_either_database(tmp_path: Path, of_kind: Making) -> None:
    folder, database, third = of_kind("folder"), of_kind("database"), of_kind("folder")
    filled(folder.data)
    folder.output("backup", tmp_path / "1.sqlite3")
    database.output("restore", tmp_path / "1.sqlite3")
    database.output("backup", tmp_path / "2.sqlite3")
    third.output("restore", tmp_path / "2.sqlite3")
    assert folder.dump() == database.dump() == third.dump()


@BOTH
def test_what_is_stored_is_replaced_only_by_force(tmp_path: Path, of_kind: Making, kind: str) -> None:
    gigachat, other = of_kind(kind), of_kind("folder")
    filled(other.data)
    other.output("backup", tmp_path / "b.sqlite3")
    gigachat.output("chatbots", "create", "Superbot")
    before = gigachat.dump()
    assert "--force" in refused(gigachat, "restore", tmp_path / "b.sqlite3")
    assert gigachat.dump() == before
    with gigachat.serving():
        line = refused(gigachat, "restore", tmp_path / "b.sqlite3", "--force")
        assert "Another gigachat" in line if kind == "folder" else "stop every node first" in line
    ended = gigachat.run("restore", tmp_path / "b.sqlite3", "--force")
    assert ended.returncode == 0, ended.stderr
    assert gigachat.dump() == dump(tmp_path / "b.sqlite3")
    if kind == "folder":
        (aside,) = gigachat.data.glob("replaced-*")
        assert set(before) <= set(dump(aside))  # and the first key of the server meanwhile
        assert str(aside) in ended.stderr


def test_an_older_backup_is_migrated(tmp_path: Path, of_kind: Making) -> None:
    first_schema(tmp_path / "old")
    shutil.copy(tmp_path / "old" / "gigachat.sqlite3", tmp_path / "old.sqlite3")
    folder, database = of_kind("folder"), of_kind("database")
    folder.output("restore", tmp_path / "old.sqlite3")
    database.output("restore", tmp_path / "old.sqlite3")
    assert folder.dump() == database.dump()
    assert len([line for line in folder.dump() if line.startswith('["messages"')]) == 6


def test_what_is_no_sound_backup_is_refused(tmp_path: Path) -> None:
    gigachat, target = Gigachat(filled(tmp_path / "store")), Gigachat(tmp_path / "target")
    gigachat.output("backup", tmp_path / "b.sqlite3")
    whole = (tmp_path / "b.sqlite3").read_bytes()
    bad = tmp_path / "bad.sqlite3"
    for content, says in (
        (b"hello" * 1000, "not a SQLite database"),
        (b"", "empty"),
        (whole[: len(whole) // 2], "cut off"),
        (whole[:20_000] + bytes(8_000) + whole[28_000:], "damaged"),
    ):
        bad.write_bytes(content)
        assert says in refused(target, "restore", bad)
    assert "does not exist" in refused(target, "restore", tmp_path / "none.sqlite3")
    bad.write_bytes(whole)
    (tmp_path / "bad.sqlite3-wal").write_bytes(b"x" * 1000)
    assert "-wal beside it" in refused(target, "restore", bad)
    (tmp_path / "bad.sqlite3-wal").unlink()
    with closing(sqlite3.connect(bad)) as store:
        store.execute("INSERT INTO schema_migrations VALUES (9999, 'later', 1)")
        store.commit()
    assert "newer gigachat" in refused(target, "restore", bad)
    assert not target.data.exists(), "nothing was touched"


def test_a_store_that_is_not_there_has_no_backup(tmp_path: Path) -> None:
    assert "There is no message store" in refused(Gigachat(tmp_path / "data"), "backup", tmp_path / "b.sqlite3")
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "b.sqlite3").exists()


def test_a_full_disk_leaves_no_half_backup(tmp_path: Path) -> None:
    gigachat = Gigachat(filled(tmp_path / "store", messages=1000))
    limited = ["bash", "-c", 'ulimit -f 300; exec "$@"', "bash"]
    process = gigachat.start("backup", tmp_path / "b.sqlite3", under=limited)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and said.splitlines()[-1].startswith("gigachat: Cannot write"), said
    assert list(tmp_path.glob("b.sqlite3*")) == []


# --- killed ---


@pytest.mark.parametrize("had_a_log", [True, pytest.param(False, marks=pytest.mark.faults)])
def test_a_restore_that_is_killed_leaves_one_store_or_a_refusal(tmp_path: Path, had_a_log: bool) -> None:
    gigachat, new = Gigachat(tmp_path / "data"), filled(tmp_path / "new")
    Gigachat(new).output("backup", tmp_path / "b.sqlite3")
    with gigachat.serving() as server:
        server.call("/chatbots", server.first_key(), {"name": "Superbot"})
        server.stop(signal.SIGKILL if had_a_log else signal.SIGTERM)
    shutil.copytree(gigachat.data, tmp_path / "kept", ignore=shutil.ignore_patterns("*.sock"))
    outcomes = []
    for step in range(1, 30):
        shutil.rmtree(gigachat.data)
        shutil.copytree(tmp_path / "kept", gigachat.data)
        killed = _killed_restore(step, tmp_path / "b.sqlite3", gigachat.data)
        if killed == 0:
            break
        names = asyncio.run(_names(gigachat.data))
        assert names is None or names == ["Superbot"] or len(names) == 11, names
        outcomes.append("refused" if names is None else "old" if len(names) == 1 else "new")
        assert cli.run(["restore", str(tmp_path / "b.sqlite3"), "--force", "--quiet", "--data", str(gigachat.data)]) == 0
        assert len(asyncio.run(_names(gigachat.data)) or []) == 11
    assert killed == 0
    assert outcomes[0] == "old" and outcomes[-1] == "new"
    assert outcomes == sorted(outcomes, key=["old", "refused", "new"].index), "it goes one way"


def _killed_restore(step: int, file: Path, folder: Path) -> int:
    """Its status; 0 if it had ended before."""
    command = [sys.executable, "-m", "tests.data.killed_restore", str(step), str(file), str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode


async def _names(folder: Path) -> list[str] | None:
    """Of all chatbots; None if the store is refused."""

    async def read(reader: Reader) -> list[str]:
        return [row[0] for row in await reader.all("SELECT name FROM chatbots")]

    try:
        async with opened(Location(folder=folder), "test") as database:
            return await database.read(read)
    except SetupError:
        return None
