"""A `gigachat migrate` that is killed before the Nth statement on the store: killed_migrate.py N FOLDER."""

from __future__ import annotations

import os
import signal
import sys

import apsw

from gigachat_server import cli

statements = int(sys.argv[1])


def trace(cursor: apsw.Cursor, sql: str, bindings: object) -> bool:
    global statements
    statements -= 1
    if not statements:
        os.kill(os.getpid(), signal.SIGKILL)
    return True


def hook(connection: apsw.Connection) -> None:
    connection.exec_trace = trace


apsw.connection_hooks.append(hook)
sys.exit(cli.run(["migrate", "--data", sys.argv[2]]))
