"""A server that is killed between the prompt and the browser that comes back for the reply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.commands import Server
from tests.faults.serving import KEY, ModelEndpoint, server
from tests.harness import until
from tests.ui.frames import body, message, reading, text

pytestmark = pytest.mark.slow

REPLY = "Parcels are sent on Mondays."


class At(msgspec.Struct):
    url: str
    key: str = KEY


def chatbot_of(running: Server) -> str:
    return "/chatbots/" + str(running.call("/chatbots", KEY, {"name": "Superbot"}).body["id"])


def stored(running: Server, chatbot: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.call(f"{chatbot}/ui/c1/messages", KEY).body
    return found


async def test_a_browser_joins_the_reply_that_another_process_makes(tmp_path: Path) -> None:
    """Killed before the first word: the prompt was stored, so it is answered, and nothing is asked again."""
    asked = body("mute: when is it sent?")
    with ModelEndpoint().serving() as endpoint:
        with server(tmp_path, endpoint) as first:
            chatbot = chatbot_of(first.server)
            async with reading(At(first.server.url), "POST", f"{chatbot}/ui", asked) as stream:
                assert stream.status == 200, "what is answered so is stored"
                first.server.process.kill()
        with server(tmp_path, endpoint) as second:
            assert [each["id"] for each in stored(second.server, chatbot)] == ["m1"]
            async with reading(At(second.server.url), "GET", f"{chatbot}/ui/c1/stream") as joined:
                assert joined.status == 200
                endpoint.release("mute")
                found = await joined.rest()
            assert text(found) == REPLY
            assert stored(second.server, chatbot)[1] == message(found)


async def test_a_browser_finds_what_was_said_before_the_kill_and_can_ask_again(tmp_path: Path) -> None:
    asked = body("held: when is it sent?")
    with ModelEndpoint().serving() as endpoint:
        with server(tmp_path, endpoint) as first:
            chatbot = chatbot_of(first.server)
            async with reading(At(first.server.url), "POST", f"{chatbot}/ui", asked) as stream:
                await stream.words("Parcels are ")
                first.server.process.kill()
        endpoint.release("held")
        with server(tmp_path, endpoint) as second:
            at = At(second.server.url)

            async def is_at_rest() -> bool:
                async with reading(at, "GET", f"{chatbot}/ui/c1/stream") as joined:
                    await joined.rest()
                    return joined.status == 204

            await until(is_at_rest)
            shown = stored(second.server, chatbot)
            assert shown[0]["id"] == "m1"
            assert all(REPLY.startswith(each["parts"][-1]["text"]) for each in shown[1:]), json.dumps(shown)
            async with reading(at, "POST", f"{chatbot}/ui", asked) as again:
                found = await again.rest()
            assert text(found) == REPLY
            prompt, reply = stored(second.server, chatbot)
            assert (prompt["id"], reply) == ("m1", message(found)), "one prompt, one reply"
