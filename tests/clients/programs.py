"""Programs of others, run by these tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

PATIENCE_S = 150


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
