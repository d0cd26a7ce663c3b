"""A pgbouncer in front of a test's PostgreSQL. Tests that want one are skipped where the program is not installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.postgres_server import PATIENCE_S, PostgresServer, as_owner, free_port, temporary_folder

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextmanager
def pgbouncer(server: PostgresServer, **config: str | int) -> Iterator[str]:
    """The DSN that leads through it to the database `postgres`. `config` is that of its section `pgbouncer`."""
    assert PROGRAM is not None, "pgbouncer is not installed"
    port = free_port()
    given = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "ignore_startup_parameters": "extra_float_digits",
        **config,
    }
    with temporary_folder() as folder:
        file, log = folder / "pgbouncer.ini", folder / "log"
        database = f"* = host=127.0.0.1 port={server.port} user=postgres"
        file.write_text(
            "\n".join(["[databases]", database, "[pgbouncer]", *(f"{name} = {value}" for name, value in given.items())])
        )
        file.chmod(0o644)
        with log.open("w") as out:
            process = subprocess.Popen([PROGRAM, file], stdout=out, stderr=out, cwd="/", **as_owner())
        try:
            _await_listening(port, process, log)
            yield urlunsplit(urlsplit(server.dsn())._replace(netloc=f"postgres@127.0.0.1:{port}"))
        finally:
            process.kill()
            process.wait(PATIENCE_S)


def _await_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
