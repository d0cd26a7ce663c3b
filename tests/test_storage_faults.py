"""A store whose files are damaged, locked or not ours, and a disk that is full: refused or told, never a loss in silence."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from gigachat_server.clock import system_clock
from gigachat_server.errors import SetupError, StorageUnavailable
from gigachat_server.store.database import Reader, Tx
from gigachat_server.store.engines import connections, sqlite
from gigachat_server.store.engines.damage import refuse_damage
from gigachat_server.store.engines.folder import Note, read_note
from gigachat_server.store.engines.migrate import migrate
from gigachat_server.store.engines.sqlite import FILE_NAME, SQLiteDatabase, open_sqlite
from tests.cli.commands import Gigachat
from tests.harness import gigachat

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]

NOBODY = 65534
PAGE = 4096

# --- what a crash leaves ---


async def write_some(database: SQLiteDatabase, transactions: int) -> None:
    await migrate(database, system_clock)
    for number in range(transactions):

        async def body(tx: Tx, number: int = number) -> None:
            await tx.run(
                "INSERT INTO accounts (id, name, created_at) VALUES (:id, :name, 0)",
                id=f"a{number}",
                name="x" * 500 + str(number),
            )

        await database.transaction("write", body)


def crash_in(folder: Path, transactions: int, *, folds: bool) -> None:
    """Ends this process as `kill -9` does, after so many transactions; `folds`: the file holds some of them by then."""

    async def main() -> None:
        database = open_sqlite(folder)
        await write_some(database, transactions)
        if folds:
            folding = apsw.Connection(str(folder / FILE_NAME))
            folding.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            await write_some(database, 0)
            for number in range(40):

                async def body(tx: Tx, number: int = number) -> None:
                    await tx.run("UPDATE accounts SET created_at = :number WHERE id = 'a1'", number=number)

                await database.transaction("write", body)
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main())


def crashed(folder: Path, *, transactions: int, folds: bool) -> Path:
    program = (
        "import sys; from pathlib import Path; from tests.test_storage_faults import crash_in; "
        "crash_in(Path(sys.argv[1]), int(sys.argv[2]), folds=sys.argv[3] == 'True')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(transactions), str(folds)], cwd=Path(__file__).parents[1]
    )
    assert ended.returncode == -signal.SIGKILL
    return folder


def cleanly_closed(folder: Path) -> Path:
    async def main() -> None:
        database = open_sqlite(folder)
        await write_some(database, 300)
        await database.aclose()

    asyncio.run(main())
    return folder


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`closed`: it ended well. `young`: killed with all in its log. `old`: killed, with rows in the file and in the log."""
    folder = tmp_path_factory.mktemp("stores")
    return {
        "closed": cleanly_closed(folder / "closed"),
        "young": crashed(folder / "young", transactions=40, folds=False),
        "old": crashed(folder / "old", transactions=300, folds=True),
    }


async def count_accounts(folder: Path) -> int:
    database = open_sqlite(folder)

    async def count(reader: Reader) -> int:
        row = await reader.one("SELECT count(*) FROM accounts")
        return int(row[0]) if row else 0

    try:
        return await database.read(count)
    finally:
        await database.aclose()


@pytest.mark.parametrize("kind, accounts", [("closed", 300), ("young", 40), ("old", 300)])
async def test_what_ended_well_or_by_kill_9_is_all_there(
    stores: dict[str, Path], tmp_path: Path, kind: str, accounts: int
) -> None:
    folder = shutil.copytree(stores[kind], tmp_path / "data")
    assert await count_accounts(folder) == accounts
    assert sorted(path.name for path in folder.iterdir()) == [FILE_NAME, "lock"]
    assert read_note(folder) is Note.CLOSED
    assert await count_accounts(folder) == accounts


# --- damage ---

Damage = Callable[[Path, Path], None]  # to the file and its log


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset if offset >= 0 else path.stat().st_size + offset)
        stream.write(content)


def truncate(path: Path, share: float, *, to_page: bool = False) -> None:
    size = int(path.stat().st_size * share)
    os.truncate(path, size // PAGE * PAGE if to_page else size)


def make_foreign(file: Path, *statements: str) -> None:
    file.unlink()
    with sqlite3.connect(file) as other:
        for statement in statements:
            other.execute(statement)
    other.close()


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def swap_frames(log: Path) -> None:
    frame = 24 + PAGE
    content = log.read_bytes()
    first, second = (content[32 + n * frame :][:frame] for n in (3, 4))
    overwrite(log, 32 + 3 * frame, second + first)


def last_frame(log: Path) -> int:
    """Where it starts: behind it are frames of an earlier run of the log, with other salts."""
    content = log.read_bytes()
    starts = range(32, len(content), 24 + PAGE)
    return max(start for start in starts if content[start + 8 : start + 16] == content[16:24])


def garble_middle(log: Path) -> None:
    overwrite(log, 32 + 12 * (24 + PAGE) + 9, GARBAGE[:300])
    remove(log.with_name(FILE_NAME + "-shm"))


def remove(*paths: Path) -> None:
    for path in paths:
        path.unlink()


GARBAGE = bytes(range(1, 256)) * 64
IN_ANY: dict[str, Damage] = {
    "cut to 3 bytes": lambda file, log: os.truncate(file, 3),
    "header zeroed": lambda file, log: overwrite(file, 0, bytes(100)),
    "emptied": lambda file, log: os.truncate(file, 0),
    "text": lambda file, log: overwrite(file, 0, b"Dear diary,\n" * 1000),
    "a folder": lambda file, log: replace_by_folder(file),
    "missing": lambda file, log: file.unlink(),
}
IN_CLOSED: dict[str, Damage] = {
    "header garbled behind its magic": lambda file, log: overwrite(file, 16, GARBAGE[:84]),
    "cut to 50 bytes": lambda file, log: os.truncate(file, 50),
    "cut to 512 bytes": lambda file, log: os.truncate(file, 512),
    "cut to one page": lambda file, log: os.truncate(file, PAGE),
    "cut to half": lambda file, log: truncate(file, 0.5),
    "cut to half, at a page": lambda file, log: truncate(file, 0.5, to_page=True),
    "last page gone": lambda file, log: os.truncate(file, file.stat().st_size - PAGE),
    "last byte gone": lambda file, log: os.truncate(file, file.stat().st_size - 1),
    "second page zeroed": lambda file, log: overwrite(file, PAGE, bytes(PAGE)),
    "middle zeroed": lambda file, log: overwrite(file, 10 * PAGE, bytes(8 * PAGE)),
    "middle garbled": lambda file, log: overwrite(file, 10 * PAGE, GARBAGE[: 3 * PAGE]),
    "end garbled": lambda file, log: overwrite(file, -2 * PAGE, GARBAGE[: 2 * PAGE]),
    "another program's": lambda file, log: make_foreign(file, "CREATE TABLE bookmarks (url)"),
    "another program's, with migrations": lambda file, log: make_foreign(file, "CREATE TABLE schema_migrations (version)"),
    "an empty database": lambda file, log: make_foreign(file, "PRAGMA user_version = 1"),
}
IN_CRASHED: dict[str, Damage] = {
    "log missing": lambda file, log: log.unlink(),
    "log and its index missing": lambda file, log: remove(log, log.with_name(FILE_NAME + "-shm")),
    "log emptied": lambda file, log: os.truncate(log, 0),
    "log cut to its header": lambda file, log: os.truncate(log, 32),
    "log cut within its header": lambda file, log: os.truncate(log, 20),
    "log cut to half": lambda file, log: truncate(log, 0.5),
    "header of the log zeroed": lambda file, log: overwrite(log, 0, bytes(32)),
    "header of the log garbled": lambda file, log: overwrite(log, 12, b"\xff"),
    "first frame garbled": lambda file, log: overwrite(log, 100, GARBAGE[:16]),
    "frame in the middle garbled": lambda file, log: overwrite(log, 32 + 12 * (24 + PAGE) + 9, GARBAGE[:300]),
    "commit in the middle zeroed": lambda file, log: overwrite(log, 32 + 11 * (24 + PAGE), bytes(2 * (24 + PAGE))),
    "frames swapped": lambda file, log: swap_frames(log),
    "last frame garbled": lambda file, log: overwrite(log, last_frame(log) + 500, GARBAGE[:300]),
    "frame in the middle garbled, index missing": lambda file, log: garble_middle(log),
}
CASES = [
    *(pytest.param(kind, damage, id=f"{kind}: {name}") for kind in ("closed", "young", "old") for name, damage in IN_ANY.items()),
    *(pytest.param("closed", damage, id=f"closed: {name}") for name, damage in IN_CLOSED.items()),
    *(pytest.param(kind, damage, id=f"{kind}: {name}") for kind in ("young", "old") for name, damage in IN_CRASHED.items()),
]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "lock"}


@pytest.mark.parametrize("kind, damage", CASES)
def test_damage_is_refused_in_one_line_and_left_as_it_is(
    stores: dict[str, Path], tmp_path: Path, kind: str, damage: Damage
) -> None:
    folder = shutil.copytree(stores[kind], tmp_path / "data")
    damage(folder / FILE_NAME, folder / f"{FILE_NAME}-wal")
    before = contents(folder)
    for _ in range(2):  # a supervisor tries again
        with pytest.raises(SetupError) as refusal:
            open_sqlite(folder)
        assert str(folder / FILE_NAME) in str(refusal.value)
        assert re.search(r"backup", str(refusal.value))
        assert "\n" not in str(refusal.value)
    assert contents(folder) == before


@pytest.mark.parametrize("kind", ["young", "old"])
async def test_a_first_page_that_the_log_holds_too_is_no_loss(stores: dict[str, Path], tmp_path: Path, kind: str) -> None:
    folder = shutil.copytree(stores[kind], tmp_path / "data")
    overwrite(folder / FILE_NAME, 16, GARBAGE[:84])
    assert await count_accounts(folder) == (40 if kind == "young" else 300)


@pytest.mark.parametrize("lost", [["gigachat.sqlite3-wal"], ["gigachat.sqlite3"], ["gigachat.sqlite3", "gigachat.sqlite3-wal"]])
def test_the_way_out_that_a_refusal_names_is_one(stores: dict[str, Path], tmp_path: Path, lost: list[str]) -> None:
    folder = shutil.copytree(stores["old"], tmp_path / "data")
    for name in lost:
        (folder / name).unlink()
    with pytest.raises(SetupError) as refusal:
        open_sqlite(folder)
    if lost == ["gigachat.sqlite3"]:
        assert "Restore both" in str(refusal.value)
        return
    named = re.search(r"remove (\S+lock)", str(refusal.value))
    assert named
    Path(named[1]).unlink()
    database = open_sqlite(folder)
    asyncio.run(database.aclose())


def test_a_file_copied_without_its_log_is_not_taken_for_a_new_store(stores: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(stores["young"] / FILE_NAME, tmp_path)
    with pytest.raises(SetupError, match="is not a message store"):
        open_sqlite(tmp_path)


async def test_a_backup_in_an_empty_folder_is_a_store(stores: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(stores["closed"] / FILE_NAME, tmp_path)
    assert await count_accounts(tmp_path) == 300


async def test_a_transaction_that_a_crash_left_unfinished_is_no_damage(stores: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(stores["young"], tmp_path / "data")
    log = folder / f"{FILE_NAME}-wal"
    frames = log.read_bytes()[32:]
    with log.open("ab") as stream:  # as a power cut may leave it: some pages of a group that nobody was answered
        stream.write(frames[: 24 + PAGE] + bytes(24 + PAGE) + frames[:5000])
    (folder / f"{FILE_NAME}-shm").unlink()
    assert await count_accounts(folder) == 40


@pytest.mark.parametrize("at", [1, 3, 6, 8, 9])
def test_a_first_start_that_was_killed_can_be_repeated(tmp_path: Path, at: int) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from gigachat_server.store.engines import folder, connections, sqlite\n"
        "calls = [int(sys.argv[2])]\n"
        "def count(*_):\n"
        "    calls[0] -= 1\n"
        "    if calls[0] == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return 0\n"
        "import apsw; apsw.connection_hooks.append(lambda c: c.trace_v2(apsw.SQLITE_TRACE_STMT, count))\n"
        "sqlite.open_sqlite(Path(sys.argv[1]))"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "data"), str(at)])
    assert ended.returncode in (-signal.SIGKILL, 0)
    database = open_sqlite(tmp_path / "data")
    asyncio.run(migrate(database, system_clock))
    asyncio.run(database.aclose())


def test_a_doctor_looks_at_every_row_and_changes_nothing(stores: dict[str, Path], tmp_path: Path) -> None:
    command = Gigachat(shutil.copytree(stores["old"], tmp_path / "data"))
    before = contents(command.data)
    assert "MB, every row checked" in command.run("doctor").stdout
    assert contents(command.data) == before
    overwrite(command.data / f"{FILE_NAME}-wal", 0, bytes(32))
    damaged = command.run("doctor")
    assert (damaged.returncode, "its header is garbled" in damaged.stdout) == (1, True)


# --- who may not, and where there is no room ---


def refusal_of(folder: Path, cwd: Path) -> str:
    """What a process that is not root is told; the empty text if it could open the store."""
    program = (
        "import os, sys; from pathlib import Path; from gigachat_server.errors import SetupError\n"
        "from gigachat_server.store.engines.sqlite import open_sqlite\n"
        f"if os.geteuid() == 0: os.setgroups([]); os.setresgid(*[{NOBODY}] * 3); os.setresuid(*[{NOBODY}] * 3)\n"
        "try: open_sqlite(Path(sys.argv[1]))\n"
        "except SetupError as error: print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(folder)], cwd=cwd, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def own(stores: dict[str, Path]) -> Iterator[Path]:
    """A data folder with a store, owned by whom the children run as; they start in the folder above it."""
    with tempfile.TemporaryDirectory() as above:  # which others may enter, unlike pytest's
        Path(above).chmod(0o755)
        folder = shutil.copytree(stores["closed"], Path(above) / "data")
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        assert refusal_of(Path("data"), folder.parent) == ""
        yield folder
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_written_is_told(own: Path) -> None:
    (own / "lock").unlink()
    own.chmod(0o500)
    assert refusal_of(Path("data"), own.parent).startswith("Cannot write in the data folder data: Permission denied (data/lock).")


def test_a_folder_that_cannot_be_entered_is_told(own: Path) -> None:
    own.chmod(0)
    assert refusal_of(Path("data"), own.parent).startswith("Cannot write in the data folder data: Permission denied")


@pytest.mark.parametrize("name", [FILE_NAME, "lock"])
@pytest.mark.parametrize("mode", [0o400, 0o000])
def test_a_file_that_is_not_ours_is_told(own: Path, name: str, mode: int) -> None:
    (own / name).chmod(mode)
    told = refusal_of(Path("data"), own.parent)
    assert told.startswith("Cannot ") and name in told and "own" in told and told.count("\n") == 1, told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_someone_else_is_told(own: Path) -> None:
    for path in (own, *own.iterdir()):
        os.chown(path, 0, 0)
    assert refusal_of(Path("data"), own.parent).startswith("Cannot write in the data folder data: Permission denied")


def test_a_folder_that_cannot_be_made_is_told(own: Path) -> None:
    own.chmod(0o500)
    assert refusal_of(Path("data/below"), own.parent).startswith("Cannot create the data folder data/below: Permission denied.")


@pytest.mark.parametrize("below, reason", [("", "is a file"), ("/below", "Not a directory")])
def test_a_folder_that_is_a_file_is_told(tmp_path: Path, below: str, reason: str) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(SetupError, match=reason):
        open_sqlite(Path(f"{tmp_path}/data{below}"))


def test_a_second_server_is_refused_within_three_seconds(tmp_path: Path) -> None:
    command = Gigachat(tmp_path / "data")
    with command.serving():
        started = time.monotonic()
        assert command.run("serve", "--port", "0").returncode == 1
        assert time.monotonic() - started < 3


# --- another program's lock, and a full disk ---


async def test_a_lock_of_another_program_is_waited_for_once_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (connections, sqlite):
        monkeypatch.setattr(module, "BUSY_TIMEOUT_MS", 300)
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        other = apsw.Connection(str(tmp_path / FILE_NAME))
        other.execute("BEGIN EXCLUSIVE")

        async def create() -> tuple[int, str, float]:
            started = time.monotonic()
            reply = await api.post("/chatbots", {"name": "x"})
            return reply.status, reply.headers.get("Retry-After", ""), time.monotonic() - started

        answers = await asyncio.gather(*(create() for _ in range(30)))
        assert {answer[:2] for answer in answers} == {(503, "1")}
        assert max(waited for _, _, waited in answers) < 1.5
        assert (await create())[2] < 0.25, "who comes later does not wait again"
        assert (await api.get("/readyz")).code == "storage_unavailable"
        assert len(await api.messages(chatbot)) == 2, "reads go on"
        other.execute("ROLLBACK")
        assert (await create())[0] == 201
        assert (await api.get("/readyz")).status == 200
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(create())
        await asyncio.sleep(0.05)
        other.execute("ROLLBACK")
        assert (await waiting)[0] == 201, "a lock that goes away in time is waited for"


async def test_a_full_store_is_told_and_writes_again_when_there_is_room(tmp_path: Path) -> None:
    """`max_page_count` has SQLite do what it does on a full disk, up to the transaction that it ends by itself."""

    async def limit(tx: Tx, pages: int) -> None:
        await tx.all(f"PRAGMA max_page_count = {pages}")

    async with gigachat(tmp_path) as api:
        database = api.services.database
        chatbot = await api.chatbot()
        await database.transaction("limit", lambda tx: limit(tx, 1))  # no less than there are
        refused = [await api.post("/chatbots", {"name": "x" * 200}) for _ in range(60)]
        assert {reply.status for reply in refused} <= {201, 503}
        refused = [reply for reply in refused if reply.status == 503]
        assert {reply.code for reply in refused} == {"storage_unavailable"}
        assert {reply.headers["Retry-After"] for reply in refused} == {"1"}
        assert (await api.get(chatbot)).status == 200
        await database.transaction("limit", lambda tx: limit(tx, 1_000_000))
        assert (await api.post("/chatbots", {"name": "y"})).status == 201


async def test_readiness_is_something_written_but_not_for_every_probe(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        log = tmp_path / f"{FILE_NAME}-wal"
        database = api.services.database
        assert isinstance(database, SQLiteDatabase)
        await api.chatbot()
        size = log.stat().st_size
        for _ in range(20):
            assert (await api.get("/readyz")).status == 200
        assert log.stat().st_size == size, "a turn a moment ago is proof enough"
        database._wrote_at -= 60
        for _ in range(20):
            assert (await api.get("/readyz")).status == 200
        assert log.stat().st_size == size + 24 + PAGE


async def test_the_log_stays_short(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)
    await migrate(database, system_clock)
    for number in range(60):

        async def body(tx: Tx, number: int = number) -> None:
            await tx.run(
                "INSERT INTO accounts (id, name, created_at) VALUES (:id, :name, 0)", id=str(number), name=str(number) * 80_000
            )

        await database.transaction("write", body)
    assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size < 3 * 1000 * PAGE
    await database.aclose()


async def test_a_body_that_fails_in_a_full_store_does_not_harm_the_next(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)
    await migrate(database, system_clock)

    async def too_much(tx: Tx) -> None:
        await tx.all("PRAGMA max_page_count = 1")
        await tx.run("INSERT INTO accounts (id, name, created_at) VALUES ('a', zeroblob(10000000), 0)")

    with pytest.raises(StorageUnavailable):
        await database.transaction("too much", too_much)
    await write_some(database, 1)
    refuse_damage(tmp_path / FILE_NAME, Note.OPEN)
    await database.aclose()


async def test_a_fold_that_the_disk_does_not_confirm_breaks_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: apsw.Connection) -> bool:
        raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)

    database = open_sqlite(tmp_path)
    monkeypatch.setattr(sqlite, "fold", fail)
    monkeypatch.setattr(sqlite, "_LONG_WAL_PAGES", 1)
    await migrate_first(database)
    await database.broken.wait()
    with pytest.raises(StorageUnavailable):
        await write_some(database, 1)
    with pytest.raises(StorageUnavailable):
        await database.prove_writable()
    await database.read(nothing)
    await database.aclose()
    assert read_note(tmp_path) is Note.OPEN
    monkeypatch.undo()
    await (again := open_sqlite(tmp_path)).aclose()
    assert not again.broken.is_set()


async def migrate_first(database: SQLiteDatabase) -> None:
    async def body(tx: Tx) -> None:
        await tx.run("CREATE TABLE schema_migrations (number BIGINT PRIMARY KEY, name TEXT, applied_at BIGINT)")

    await database.transaction("write", body)


async def nothing(reader: Reader) -> None:
    await reader.one("SELECT 1")
