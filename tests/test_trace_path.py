"""The way of a prompt through the code stays short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_prompt_passes_few_functions() -> None:
    command = [sys.executable, str(ROOT / "tools" / "trace_path.py"), "--check"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for name in "Turns.start", "Intake.store_prompt", "Answerer.answer", "Events.store_message":
        assert name in ended.stdout, "the tracer watches what it is to watch"
