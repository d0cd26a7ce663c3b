"""A `gigachat restore` that is killed before it changes the data folder for the Nth time: killed_restore.py N FILE FOLDER."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from gigachat_server import cli

steps = int(sys.argv[1])
_pwrite = os.pwrite


def step() -> None:
    global steps
    steps -= 1
    if not steps:
        os.kill(os.getpid(), signal.SIGKILL)


def note(*arguments: Any) -> int:
    """What the lock says of the store is written with this call, of which Python tells no auditor."""
    step()
    return _pwrite(*arguments)


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("os.rename", "os.mkdir", "os.remove") and str(arguments[0]).startswith(sys.argv[3]):
        step()


os.pwrite = note
sys.addaudithook(audit)
sys.exit(cli.run(["restore", sys.argv[2], "--force", "--quiet", "--data", sys.argv[3]]))
