"""Programs of others, run by these tests, and the packages they need.

Packages are installed once, by the first test that wants just these, and kept below `build/clients` for the next run, until
`make clean`. So a run on a fresh checkout has the newest that the ranges let in.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

PATIENCE_S = 150
_KEPT = Path(__file__).parents[2] / "build" / "clients"


async def output(folder: Path, *command: str | Path, **variables: str) -> str:
    """What it prints. Asserts that it succeeds."""
    printed, _ = await outputs(folder, *command, **variables)
    return printed


async def outputs(folder: Path, *command: str | Path, **variables: str) -> tuple[str, str]:
    """What it prints, and what it tells beside that. Asserts that it succeeds."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "CI": "true", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            printed, told = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, (command, printed.decode(), told.decode())
    return printed.decode(), told.decode()


async def with_packages(folder: Path, wanted: Mapping[str, str]) -> None:
    """Have the programs of this folder find these packages of npm."""
    async with _kept("npm", wanted) as (kept, is_there):
        if not is_there:
            (kept / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
            await output(kept, "npm", "install", "--no-audit", "--no-fund", "--silent", "--prefer-offline")
    (folder / "node_modules").symlink_to(kept / "node_modules")
    if not (package := folder / "package.json").exists():
        package.write_text('{"private": true, "type": "module"}')


async def python_with(package: str) -> Path:
    """A Python with that package, which gigachat's own does not need."""
    uv = Path(sys.executable).with_name("uv")
    async with _kept("python", {package: ""}) as (kept, is_there):
        python = kept / "bin" / "python"
        if not is_there:
            await output(kept, uv, "venv", "--quiet", "--clear", "--python", sys.executable, kept)
            await output(kept, uv, "pip", "install", "--quiet", "--python", python, package)
    return python


@asynccontextmanager
async def _kept(kind: str, wanted: Mapping[str, str]) -> AsyncIterator[tuple[Path, bool]]:
    """A folder for these packages, and whether they are in it; one test at a time, of all that run, fills it."""
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    kept, whole = _KEPT / f"{kind}-{digest}", _KEPT / f"{kind}-{digest}.whole"
    _KEPT.mkdir(parents=True, exist_ok=True)
    with (_KEPT / f"{kind}-{digest}.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if is_there := whole.exists():
            yield kept, is_there
            return
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        yield kept, is_there
        whole.touch()
