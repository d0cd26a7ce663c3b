"""The model endpoint of a measurement: instant, slow, or one whose only word is the time it was sent.

Invariant: the time is of the machine's one monotonic clock, which all processes share, and is read as the last thing
before the word goes out.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import msgspec
import uvicorn

from gigachat_server.models.endpoints.stub_endpoint import Message, Receive, Send, StubEndpoint

_HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
_PAUSE_S = 0.005  # before the first word and after it: whatever happens meanwhile is not on the measured way


async def stamped(scope: Message, receive: Receive, send: Send) -> None:
    """Says what time it is, in nanoseconds, then ends."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await asyncio.sleep(_PAUSE_S)
    now = str(time.monotonic_ns())
    await send({"type": "http.response.body", "body": _chunk({"content": now}, None), "more_body": True})
    await asyncio.sleep(_PAUSE_S)
    await send({"type": "http.response.body", "body": _chunk({}, "stop") + b"data: [DONE]\n\n"})


def _chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + msgspec.json.encode({"object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="The model endpoint that gigachat is measured with.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first-delta-s", type=float, default=0.0)
    parser.add_argument("--between-s", type=float, default=0.0)
    parser.add_argument("--stamped", action="store_true")
    chosen = parser.parse_args()
    app = StubEndpoint(first_delta_s=chosen.first_delta_s, between_s=chosen.between_s)
    uvicorn.run(
        stamped if chosen.stamped else app, port=chosen.port, loop="uvloop", http="httptools", ws="none",
        lifespan="off", log_level="warning", access_log=False, backlog=2048,
    )  # fmt: skip


if __name__ == "__main__":
    main()
