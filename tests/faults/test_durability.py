"""F3: what is confirmed was on the disk before, by the system calls that the server makes."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.commands import Gigachat, Server
from tests.faults.serving import KEY, ModelEndpoint, client_of

_REQUESTS = 20
_WATCHED = "pwrite64,fdatasync,write,writev,sendto,sendmsg"
_CREATED = '"HTTP/1.1 201 '
_SYNCED = re.compile(r"fdatasync(\(\d+<[^>]*-wal>| resumed>).*\) += 0$")


@pytest.mark.sqlite_only
@pytest.mark.skipif(not shutil.which("strace") and not os.environ.get("REQUIRE_ALL"), reason="strace is not installed")
async def test_every_201_follows_an_fdatasync_of_its_prompt_and_one_of_its_reply(tmp_path: Path) -> None:
    """Requests come one after the other, so every write between two answers belongs to the later one."""
    trace = tmp_path / "trace"
    with ModelEndpoint().serving() as endpoint:
        gigachat = Gigachat(tmp_path / "data", api_key=KEY, model_url=endpoint.url, model="stub")
        # -D: the server is our child, and strace its grandchild.
        tracing = ("strace", "-D", "-f", "-qq", "-y", "-s", "32", "-o", str(trace), "-e", f"trace={_WATCHED}", "--seccomp-bpf")
        process = gigachat.start("serve", "--port", "0", under=tracing)
        try:
            async with client_of(Server(process)) as client:
                chatbot = await client.new_chatbot()
                for number in range(_REQUESTS):
                    assert (await client.say(chatbot, f"Prompt {number}?")) == 201
            while trace.read_text(errors="replace").count(_CREATED) <= _REQUESTS:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # strace writes a line when the call has returned, which may be after us
        finally:
            process.kill()
            process.communicate()
    unsynced, syncs, confirmed = False, 0, []
    for line in trace.read_text(errors="replace").splitlines():
        if "pwrite64(" in line and "-wal>" in line:
            unsynced = True
        elif _SYNCED.search(line):
            unsynced, syncs = False, syncs + 1
        elif _CREATED in line:
            confirmed.append((unsynced, syncs))
            syncs = 0
    chatbot_confirmed, *prompts_confirmed = confirmed
    assert not chatbot_confirmed[0]
    assert len(prompts_confirmed) == _REQUESTS
    assert [each for each in prompts_confirmed if each[0] or each[1] < 2] == []
