"""The programs of the guide "Let your users in": each signs a token that the server takes, as printed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.access.people import people
from tests.docs.test_docs import PAGES, blocks
from tests.harness import gigachat

GUIDE = "docs/guides/let-your-users-in.md"
# By the language of the block: the command that runs it, with the name of the file.
COMMANDS = {
    "python": (sys.executable, "token.py"),
    "javascript": ("node", "token.js"),
    "php": ("php", "token.php"),
    "ruby": ("ruby", "token.rb"),
}


@pytest.mark.slow
@pytest.mark.parametrize("language", COMMANDS)
async def test_a_program_of_the_guide_signs_a_token_that_is_taken(language: str, tmp_path: Path) -> None:
    command, name = COMMANDS[language]
    if shutil.which(command) is None and os.environ.get("REQUIRE_ALL") != "1":
        pytest.skip(f"{command} is not installed")
    (program,) = blocks(PAGES[GUIDE], language)
    file = tmp_path / f"my_{name}"
    file.write_text(program)
    async with gigachat(tmp_path / "data") as api:
        shop = await people(api)
        process = await asyncio.create_subprocess_exec(
            command, str(file), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "CHATBOT": shop.chatbot_id, "KID": shop.kid, "SECRET": shop.secret},
        )  # fmt: skip
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        token = output.decode().strip()
        said = await shop.post("/conversations", {"prompt": "Where is my parcel?"}, bearer=token)
        assert said.status == 201, said.text
        below = f"/conversations/{said.body[-1]['conversation_id']}"
        assert (await shop.get(below)).body["user_id"] == "alice@example.com"


def test_the_guide_has_a_program_in_six_languages() -> None:
    for language in (*COMMANDS, "go", "csharp"):
        assert len(blocks(PAGES[GUIDE], language)) == 1, language
