"""gigachat with a store that does not wait for the disk: what the checker of traces has to find out."""

from __future__ import annotations

import sys
from typing import Any

import apsw

from gigachat_server import cli


class WeakConnection(apsw.Connection):
    def execute(self, statements: str, *arguments: Any, **named: Any) -> apsw.Cursor:
        return super().execute(statements.replace("synchronous = FULL", "synchronous = NORMAL"), *arguments, **named)


apsw.Connection = WeakConnection  # type: ignore[misc]
sys.exit(cli.run(sys.argv[1:]))
