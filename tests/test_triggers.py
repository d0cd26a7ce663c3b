"""`GIGACHAT_FAILPOINT`: what it understands, and what then happens at a step of a turn."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gigachat_server import triggers
from gigachat_server.errors import SetupError
from gigachat_server.settings import Settings
from gigachat_server.triggers import FailpointReached, acting, failpoint, trigger
from tests.harness import gigachat
from tests.turns import ask, contents, history


@pytest.mark.parametrize("text", ["S0:kill", "S9:raise", "S5:sleep:0", "S5:sleep:999999", "S8@3:kill", "S2@9999999:raise"])
def test_what_a_failpoint_can_be(text: str) -> None:
    triggers.check(text)


@pytest.mark.parametrize(
    "text",
    ["S5", "S10:kill", "S:kill", "s5:kill", "S5:", "S5:die", "S5:kill ", " S5:kill", "S5:sleep", "S5:sleep:-1",
     "S5:sleep:1000000", "S5@0:kill", "S5@:kill", "S5@1.5:kill", "S5:kill:1", "S5:kill,S6:kill", "S٣:kill", "S5:kill\n", "x"],
)  # fmt: skip
async def test_what_it_cannot_be_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(SetupError) as raised:
        triggers.check(text)
    told = str(raised.value)
    assert repr(text) in told
    assert "GIGACHAT_FAILPOINT" in told and "S5:kill" in told and "\n" not in told
    with pytest.raises(SetupError), failpoint(text):
        pass


async def test_without_a_failpoint_nothing_happens_anywhere() -> None:
    triggers.check("")
    assert Settings().failpoint == ""
    with failpoint(""):
        for step in triggers.STEPS:
            await trigger(step)


async def test_raise_raises_at_that_step_alone_and_within_the_block_alone() -> None:
    with failpoint("S5:raise"):
        await trigger("S4")
        for _ in range(2):
            with pytest.raises(FailpointReached, match="S5:raise"):
                await trigger("S5")
    await trigger("S5")


async def test_a_number_waits_for_that_pass() -> None:
    with failpoint("S5@3:raise"):
        await trigger("S5")
        await trigger("S5")
        with pytest.raises(FailpointReached):
            await trigger("S5")
        await trigger("S5")


async def test_a_step_has_one_action_at_a_time() -> None:
    async def nothing() -> None: ...

    with acting("S5", nothing):
        with pytest.raises(ValueError, match="S5"), acting("S5", nothing):
            pass
        with pytest.raises(ValueError, match="S5"), failpoint("S5:kill"):
            pass
        await trigger("S5")


def test_kill_ends_the_process_as_a_power_cut_would() -> None:
    code = (
        "import asyncio\nfrom gigachat_server.triggers import failpoint, trigger\n"
        "async def main():\n  with failpoint('S6@2:kill'):\n    await trigger('S6'); print('once', flush=True)\n"
        "    await trigger('S6'); print('never')\nasyncio.run(main())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "once\n")


async def test_every_step_is_passed_and_may_be_slow_or_broken(tmp_path: Path) -> None:
    """S2 and S8 sleep in the writer's thread, as a slow disk would; the others on the event loop."""
    stored = {
        **dict.fromkeys(("S0", "S1", "S2"), None),
        **{step: [("a", "completed", "failed"), ("Hi.", "incomplete", "assistant")] for step in ("S7", "S8")},
        "S9": [("a", "completed", "done"), ("Hi.", "completed", "assistant")],
    }
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for step in triggers.STEPS:
            with failpoint(f"{step}:sleep:1"):
                assert contents(await ask(api, chatbot, "a", conversation=f"slow {step}")) == ["Hi."]
            with failpoint(f"{step}:raise"):
                assert (await ask(api, chatbot, "a", conversation=step)).code == "internal_error"
            if (expected := stored.get(step, [("a", "failed", "failed")])) is None:
                assert (await api.get(f"{chatbot}/conversations/{step}")).status == 404
            else:
                assert await history(api, chatbot, step) == expected


async def test_the_setting_acts_for_as_long_as_the_server_runs(tmp_path: Path) -> None:
    async with gigachat(tmp_path, failpoint="S5:raise") as api:
        chatbot = await api.chatbot()
        assert (await ask(api, chatbot, "a")).code == "internal_error"
    await trigger("S5")
