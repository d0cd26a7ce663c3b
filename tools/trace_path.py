"""Count the functions a prompt passes on its way to a stored reply: trace_path.py [--check].

It sends one `POST /chatbots/{id}/conversations` through the ASGI application, on SQLite with the hashing embedder, a scripted
model and a chatbot with one document, and watches every call.

What counts is each distinct function of ours that stands *on the way*: it belongs to a room that a turn passes through
(`app.py`, `api/`, `pages/`, `edge/`, `services.py`, `access/`, `chat/`), and it is on the call stack when the turn crosses into
another room. The turn crosses when it asks for a transaction or a read, when a statement of a noun in `store/` runs, when it
calls `knowledge/`, `learning/` or `models/`, and when it creates the task that carries on. A coroutine or generator that is
resumed counts once. Helpers, properties and constructors, under which nothing is crossed, do not count, and neither does what
the other rooms do inside. How many functions of these rooms ran in all, helpers included, is printed beside it.

Two stretches are counted. *Route to stored prompt*: all that leads from the ASGI application to the transaction that stores
the prompt, and all that leads to a statement within it; who is calling is looked up beside this way, and returns before it.
*Prompt to stored reply*: from that commit until the transaction that stores the reply has run. With `--check` it exits with 1 if
either has more functions than it may have.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import msgspec

import gigachat_server
from gigachat_server import app
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.settings import Settings

MOST_TO_PROMPT, MOST_TO_REPLY = 10, 13

ROOT = Path(gigachat_server.__file__).parent
ROOMS = ("app.py", "api/", "pages/", "edge/", "services.py", "access/", "chat/")
OTHER_ROOMS = ("knowledge/", "learning/", "models/", "store/")
ENGINES = "store/engines/"
JOBS = ("transaction", "read")  # what of an engine is a crossing
CREATE_TASK = asyncio.create_task.__code__
KEY = "trace-path-0123456789"


class Call(msgspec.Struct, frozen=True):
    """A function that was entered, in one of the rooms or, with a `way` there, in another."""

    code: CodeType
    thread: int
    transaction: str  # its name, if that is what is asked for
    way: tuple[CodeType, ...]  # of a crossing: the functions on the way, outermost first


class Tracer:
    """Notes calls while it is `on`."""

    def __init__(self) -> None:
        self.on = False
        self.calls: list[Call] = []

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        if not self.on or event != "call":
            return
        code = frame.f_code
        way = tuple(_way(frame)) if _is_crossing(code) else ()
        if way or _place_of(code).startswith(ROOMS):
            name = str(frame.f_locals.get("name", "")) if way and code.co_name == "transaction" else ""
            self.calls.append(Call(code, threading.get_ident(), name, way))


def _place_of(code: CodeType) -> str:
    """Below the package; empty if it is not ours."""
    path = Path(code.co_filename)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""


def _is_crossing(code: CodeType) -> bool:
    place = _place_of(code)
    if place.startswith(ENGINES):
        return code.co_name in JOBS
    return code is CREATE_TASK or (place.startswith(OTHER_ROOMS) and code.co_name != "<module>")


def _way(frame: FrameType) -> list[CodeType]:
    """Our functions on the stack up to the first other room; what that calls back (an after-commit callback) begins anew."""
    way: list[CodeType] = []
    outer = frame.f_back
    while outer is not None and not _place_of(outer.f_code).startswith(OTHER_ROOMS):
        if _place_of(outer.f_code).startswith(ROOMS):
            way.append(outer.f_code)
        outer = outer.f_back
    return way[::-1]


async def post(application: app.PublicApp, path: str, body: Any) -> Any:
    """The answer to one POST, decoded. Raises `SystemExit` if it is none that made anything."""
    sent, raw = [], msgspec.json.encode(body)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "content-length": str(len(raw))}
    scope = {
        "type": "http",
        "scheme": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent)
    if sent[0]["status"] != 201:
        sys.exit(f"POST {path} was answered {sent[0]['status']}: {answer.decode()}")
    return msgspec.json.decode(answer)


async def trace(folder: str, tracer: Tracer) -> None:
    """One prompt of a chatbot with a document, traced."""
    model = ScriptedModel(["You can return it ", "within 30 days [1]."])
    settings = Settings(data=folder, api_key=KEY)
    # No node: what nodes do in the background is no part of the way.
    async with app.running(settings, embedder=HashingEmbedder(), model=model, is_node=False) as services:
        application = app.PublicApp(services)
        made = await post(application, "/chatbots", {"name": "traced", "documents": {"results": {"match_threshold": 0}}})
        path = f"/chatbots/{made['id']}"
        await post(application, f"{path}/documents", {"name": "returns", "content": "You can return it within 30 days."})
        for conversation in "warm", "traced":  # what is looked up once for all turns is no part of one
            tracer.on = conversation == "traced"
            prompt = {"conversation_id": conversation, "user_id": "ann", "prompt": "How long is the return period?"}
            await post(application, f"{path}/conversations", prompt)
        tracer.on = False


def split(calls: list[Call]) -> tuple[list[Call], list[Call]]:
    """Those that lead to the stored prompt, and those from then on that lead to the stored reply."""
    asked = next(i for i, call in enumerate(calls) if call.transaction == "turn.start")
    finishing = next(i for i, call in enumerate(calls) if call.transaction == "turn.finish")
    writer = next(call.thread for call in calls[asked:] if call.thread != calls[asked].thread)
    stored = max(i for i, call in enumerate(calls[:finishing]) if call.thread == writer) + 1
    storing = [call for call in calls[finishing + 1 :] if call.thread == writer]
    # Who is calling was looked up before, beside the way.
    return [*_without_ways(calls[:asked]), *calls[asked:stored]], [*calls[stored : finishing + 1], *storing]


def _without_ways(calls: Iterable[Call]) -> list[Call]:
    return [msgspec.structs.replace(call, way=()) for call in calls]


def on_the_way(calls: Iterable[Call]) -> list[CodeType]:
    """Each function once, in the order they were passed."""
    return list(dict.fromkeys(code for call in calls for code in call.way))


def entered(calls: Iterable[Call]) -> int:
    """How many functions of the rooms ran."""
    return len({call.code for call in calls if _place_of(call.code).startswith(ROOMS)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a stretch has more functions than it may have")
    checks = parser.parse_args().check
    tracer = Tracer()
    threading.setprofile(tracer)  # the store's threads are started later
    sys.setprofile(tracer)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(trace(folder, tracer))
    sys.setprofile(None)
    is_too_long = False
    stretches = zip(("route to stored prompt", "prompt to stored reply"), split(tracer.calls), strict=True)
    for (name, calls), most in zip(stretches, (MOST_TO_PROMPT, MOST_TO_REPLY), strict=True):
        found = on_the_way(calls)
        is_too_long |= len(found) > most
        print(f"{name}: {len(found)} functions on the way, at most {most} ({entered(calls)} ran, helpers included)")
        for code in found:
            print(f"  {_place_of(code)}:{code.co_firstlineno} {code.co_qualname}")
    sys.exit(1 if checks and is_too_long else 0)


if __name__ == "__main__":
    main()
