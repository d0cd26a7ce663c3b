"""schemathesis against a real server: does it do what its OpenAPI document says? `python -m tests.schema.conformance`

Runs for SCHEMA_SECONDS=300 with SCHEMA_SEED=1, on the routes that SCHEMA_PATHS (a regular expression) finds, and ends with the
status of schemathesis: 0 where nothing was found.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests import stores
from tests.faults.processes import KEY, ROOT, Serve

COMMAND = Path(sys.executable).with_name("st")


def check(data: Path, *options: str, patience_s: float) -> subprocess.CompletedProcess[str]:
    """What schemathesis says of a server on a fresh data folder."""
    with Serve(data).serving() as server:
        arguments: Sequence[str] = (
            f"{server.url}/openapi.json",
            f"--header=Authorization: Bearer {KEY}",
            "--phases=examples,coverage,fuzzing",
            "--continue-on-failure",
            "--no-shrink",
            "--generation-database=none",
            "--warnings=off",
            "--no-color",
            *options,
        )
        return subprocess.run(
            [COMMAND, "run", *arguments],
            capture_output=True,
            text=True,
            timeout=patience_s,
            cwd=data.parent,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.schema.hooks", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        )


def main() -> int:
    seconds, seed = int(os.environ.get("SCHEMA_SECONDS", "300")), os.environ.get("SCHEMA_SEED", "1")
    with tempfile.TemporaryDirectory() as folder, stores.using(stores.SQLiteStores()):
        which = [f"--include-path-regex={paths}"] if (paths := os.environ.get("SCHEMA_PATHS")) else []
        ended = check(Path(folder) / "data", f"--seed={seed}", f"--max-time={seconds}", *which, patience_s=4 * seconds)
    sys.stdout.write(ended.stdout + ended.stderr)
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
