"""The mutants of `make test-mutants` are about the sources and the tests that there are: it takes too long to run each time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mutants import MUTANTS, ROOT, Mutant, mutated, texts

SOURCES = texts(ROOT / "src")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_switches_off_is_there_once(mutant: Mutant) -> None:
    assert mutated(SOURCES, mutant) != SOURCES


def test_the_tests_that_have_to_notice_are_there() -> None:
    wanted = sorted({test for mutant in MUTANTS for test in mutant.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *wanted]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
