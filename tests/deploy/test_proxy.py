"""F43: what callers get through nginx is what gigachat says: at once, whole, once, and from the nodes that are alive."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import os
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from gigachat_server.api import sse
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.serving.server import KEEP_ALIVE_S
from gigachat_server.settings import Settings
from tests.deploy import proxy
from tests.deploy.proxy import (
    Config,
    as_it_comes,
    client_at,
    needs_nginx,
    nginx,
    one_node,
    session_at,
    shipped,
    shipped_but,
    two_nodes,
)
from tests.faults.serving import KEY, Answered, Ask, Client, events, read_store
from tests.harness import gigachat
from tests.pages.pages import Visitor

pytestmark = [pytest.mark.slow, needs_nginx, pytest.mark.sqlite_only]  # what nginx does is the same before any store

FIRST_EVENT_S = 1.0
SILENCE_S = 70  # more than nginx waits by default, which is 60 s
STREAMS = 100
REPLY = "Parcels are sent on Mondays."
MIB = 1024 * 1024
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.77"  # both are this machine, and nginx calls the nodes from the first
WITH_SHORT_PATIENCE = shipped_but("proxy_read_timeout 150s", "proxy_read_timeout 1s")
CONFIGS = pytest.mark.parametrize("config", [shipped, as_it_comes])

Record = Callable[[str, object], None]


def prompt(text: str, conversation: str = "c1") -> dict[str, str]:
    return {"conversation_id": conversation, "user_id": "ann", "prompt": text}


def stream_of(session: aiohttp.ClientSession, chatbot: str, text: str, conversation: str = "c1") -> Any:
    """A prompt whose reply is streamed."""
    url = f"{chatbot}/conversations?embedding=false"
    return session.post(url, json=prompt(text, conversation), headers={"Accept": "text/event-stream"})


async def blocks(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """Events and signs of life, as they come."""
    while block := await response.content.readuntil(b"\n\n"):
        yield block.decode()


class Stayed(msgspec.Struct):
    """What one stream was like."""

    first_event_s: float = 0.0
    pings: int = 0
    shown: str = ""
    ends: list[str] = []


async def stay(stayed: Stayed, session: aiohttp.ClientSession, chatbot: str, text: str, conversation: str = "c1") -> None:
    """Have a reply streamed, to whatever end; `stayed` tells how far it is."""
    began = time.monotonic()
    with suppress(aiohttp.ClientPayloadError):
        async with stream_of(session, chatbot, text, conversation) as response:
            async for block in blocks(response):
                stayed.first_event_s = stayed.first_event_s or time.monotonic() - began
                lines = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
                if not lines:
                    stayed.pings += 1
                elif lines["event"] == "delta":
                    stayed.shown += json.loads(lines["data"])["text"]
                elif lines["event"] in ("done", "error"):
                    stayed.ends.append(lines["event"])


async def stay_all(session: aiohttp.ClientSession, chatbot: str, text: str, go_on: Callable[[], object]) -> list[Stayed]:
    """`STREAMS` at once, each begun when the one before has; when all have, the model may go on."""
    everyone = [Stayed() for _ in range(STREAMS)]
    staying = []
    for number, stayed in enumerate(everyone):
        staying.append(asyncio.create_task(stay(stayed, session, chatbot, f"{text} {number}", f"c{number}")))
        await _until(lambda stayed=stayed: stayed.first_event_s > 0)  # type: ignore[misc]
    go_on()
    await asyncio.gather(*staying)
    return everyone


def figures_of(config: Config, stayed: Sequence[Stayed]) -> dict[str, Any]:
    return {
        "config": config.__name__,
        "streams": len(stayed),
        "finished": sum(each.ends == ["done"] for each in stayed),
        "median_first_event_s": statistics.median(each.first_event_s for each in stayed),
        "slowest_first_event_s": max(each.first_event_s for each in stayed),
        "fewest_pings": min(each.pings for each in stayed),
    }


async def ask(client: Client, chatbot: str, text: str) -> tuple[int, str]:
    """What came of a prompt without a key: its status and the problem's code, if any."""
    told = Answered()
    with suppress(aiohttp.ContentTypeError):  # nginx speaks HTML
        await client.ask(Ask(chatbot=chatbot, conversation=text, text=text, streams=False), told)
    return told.status, told.error or ""


# --- the file ---


def test_nginx_accepts_the_shipped_file() -> None:
    """With the names of its nodes, if this nginx looks them up only when it needs them."""
    nodes = ["gigachat1:8000", "gigachat2:8000"] if proxy.version() >= proxy.KNOWS_RESOLVE else ["127.0.0.1:8000"]
    with proxy.folder_of_nobody() as folder:
        process = proxy.start(folder, shipped(folder, f"{proxy.own_address()}:8080", nodes), "-t")
        said = process.communicate()[1]
        assert process.returncode == 0, said
        assert [line for line in said.splitlines() if not line.endswith(("syntax is ok", "test is successful"))] == []


def test_its_limits_fit_those_of_gigachat() -> None:
    file = proxy.SHIPPED.read_text()

    def number(name: str, unit: str) -> int:
        (found,) = re.findall(rf"^\s*{name} (\d+){unit};", file, re.MULTILINE)
        return int(found)

    assert number("client_max_body_size", "m") * MIB > max(Settings().max_document_body_bytes, Settings().max_upload_bytes)
    upstream = file[file.index("upstream gigachat {") :]
    assert int(re.findall(r"keepalive_timeout (\d+)s;", upstream)[0]) < KEEP_ALIVE_S
    assert number("proxy_read_timeout", "s") >= 120, "a model may take that long"
    assert number("proxy_read_timeout", "s") > 3 * sse.PING_S


def test_nobody_is_tied_to_a_node() -> None:
    """Who is signed in is in the store: `tests/pages/test_people.py` has a session of one node hold on another."""
    told = proxy.SHIPPED.read_text()
    assert [word for word in ("ip_hash", "sticky", "hash $", "map $uri", '$remote_addr;\n        "') if word in told] == []


# --- streams ---


@CONFIGS
async def test_words_arrive_while_the_model_goes_on(config: Config, tmp_path: Path) -> None:
    with one_node(tmp_path, config) as node:
        async with client_at(node.front.url) as client, session_at() as session:
            chatbot = await client.new_chatbot()
            async with stream_of(session, node.front.url + chatbot, "held") as response:
                said, shown = events(response), ""
                assert (await anext(said))[0] == "start"
                while shown != "Parcels are ":
                    name, data = await anext(said)
                    assert name == "delta", data
                    shown += data["text"]
                node.endpoint.release("held")
                names = [name async for name, _ in said]
    assert names[-2:] == ["message", "done"]


async def test_100_streams_each_end_once(tmp_path: Path, record_property: Record) -> None:
    async with two_nodes(tmp_path) as nodes, session_at() as session:
        release = functools.partial(nodes.endpoint.release, "held")
        stayed = await stay_all(session, nodes.front.url + nodes.chatbot, "held", release)
    figures = figures_of(shipped, stayed)
    record_property("proxy", figures)
    assert (figures["finished"], figures["median_first_event_s"] <= FIRST_EVENT_S) == (STREAMS, True), figures
    assert {each.shown for each in stayed} == {REPLY}
    stored = [len(read_store(data).prompts) for data in nodes.data]
    assert sum(stored) == nodes.endpoint.calls.total() == STREAMS
    assert min(stored) > STREAMS // 5, "both nodes take part"


async def test_signs_of_life_keep_a_silent_stream_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the times of both made short: nginx waits for 1 s."""
    kept, cut = Pause(), Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", kept, "lo"], ["Hel", cut, "lo"])) as api:
        chatbot = await api.chatbot()
        with nginx(WITH_SHORT_PATIENCE, api.url) as front:
            async with session_at(Authorization=f"Bearer {api.key}") as session:
                monkeypatch.setattr(sse, "PING_S", 0.25)
                stayed = Stayed()
                staying = asyncio.create_task(stay(stayed, session, front.url + chatbot, "Hi"))
                await _until(lambda: stayed.pings >= 8)
                kept.resume()
                await staying
                assert (stayed.shown, stayed.ends) == ("Hello", ["done"])
                monkeypatch.setattr(sse, "PING_S", 60.0)
                await stay(silent := Stayed(), session, front.url + chatbot, "Hi")
                assert (silent.shown, silent.ends) == ("Hel", []), "so it is they that kept it open"
        cut.resume()


@pytest.mark.faults
@CONFIGS
async def test_100_streams_survive_a_silence_of_70_s(config: Config, tmp_path: Path, record_property: Record) -> None:
    """Of the model: an endpoint would be given up after 30 s, but a prompt may wait longer for the one before it."""
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        with nginx(config, api.url) as front:
            async with session_at(Authorization=f"Bearer {api.key}") as session:
                go_on = functools.partial(asyncio.get_running_loop().call_later, SILENCE_S, pause.resume)
                figures = figures_of(config, await stay_all(session, front.url + chatbot, "Hi", go_on))
    record_property("proxy", figures)
    assert (figures["finished"], figures["slowest_first_event_s"] <= FIRST_EVENT_S) == (STREAMS, True), figures
    assert figures["fewest_pings"] >= SILENCE_S // sse.PING_S


# --- who is there ---


async def test_the_address_that_counts_is_whose_connection_it_is(tmp_path: Path) -> None:
    with one_node(tmp_path, shipped, trusted_proxies=HERE) as node:
        async with client_at(node.front.url) as client:
            chatbot = await client.new_chatbot(restrictions={"ip_addresses": [ELSEWHERE]})
            assert await ask(client, chatbot, "from here") == (403, "address_refused")
        async with client_at(node.front.url, comes_from=ELSEWHERE) as client:
            assert await ask(client, chatbot, "from elsewhere") == (201, "")
        for claim in (ELSEWHERE, f"{ELSEWHERE}, {HERE}", f"[::ffff:{ELSEWHERE}]"):
            async with client_at(node.front.url, X_Forwarded_For=claim) as client:
                assert await ask(client, chatbot, f"claims {claim}") == (403, "address_refused")
        async with client_at(node.url, comes_from="127.0.0.78", X_Forwarded_For=ELSEWHERE) as client:
            assert await ask(client, chatbot, "past nginx") == (403, "address_refused"), "it is no trusted proxy"


async def test_a_proxy_that_is_not_trusted_is_the_address(tmp_path: Path) -> None:
    with one_node(tmp_path, shipped) as node:
        async with client_at(node.front.url, comes_from=ELSEWHERE) as client:
            chatbot = await client.new_chatbot(restrictions={"ip_addresses": [ELSEWHERE]})
            assert await ask(client, chatbot, "from elsewhere") == (403, "address_refused")


@pytest.mark.skipif(not shutil.which("openssl") and not os.environ.get("REQUIRE_ALL"), reason="openssl is not installed")
async def test_over_tls_a_visitor_stays_signed_in(tmp_path: Path) -> None:
    """On which node, no matter: `tests/test_nodes.py` has a session of one node hold on another."""
    with one_node(tmp_path, over_tls, scheme="https", trusted_proxies=HERE) as node:
        trusting = ssl.create_default_context(cafile=str(node.front.folder / "fullchain.pem"))
        trusting.check_hostname = False
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            visitor = Visitor(node.front.url, session)
            reply = await visitor.sign_in(key=KEY)
            assert "; Secure" in reply.headers["Set-Cookie"]
            assert [(await visitor.get("/keys")).status for _ in range(20)] == [200] * 20


# --- what is asked ---


async def test_large_bodies_pass_and_too_large_ones_are_told_so_by_gigachat(tmp_path: Path) -> None:
    with one_node(tmp_path, shipped) as node:
        async with client_at(node.front.url) as client, session_at() as session:
            chatbot = node.front.url + await client.new_chatbot()

            async def push(path: str, body: dict[str, str], size: int) -> tuple[int, str, str]:
                """What is answered to a body of that size."""
                raw = io.BytesIO(json.dumps(body).encode().ljust(size))
                async with session.post(chatbot + path, data=raw, headers={"Content-Type": "application/json"}) as response:
                    return response.status, response.content_type, await response.text()

            document = {"name": "parcels", "content": "Parcels are sent on Mondays."}
            for _ in range(5):
                assert (await push("/documents", document, 16 * MIB))[0] == 201
                for path, body, size in (("/documents", document, 16 * MIB), ("/conversations", prompt("Hi"), MIB)):
                    status, kind, text = await push(path, body, size + 1)
                    assert (status, kind) == (413, "application/problem+json"), text
                    assert json.loads(text)["code"] == "payload_too_large"
            assert (await push("/documents", document, 21 * MIB))[:2] == (413, "application/problem+json")
            assert (await push("/documents", document, 21 * MIB + 1))[:2] == (413, "text/html"), "that is nginx"


async def test_the_largest_file_passes_and_a_larger_one_is_told_so_by_gigachat(tmp_path: Path) -> None:
    with one_node(tmp_path, shipped) as node:
        async with client_at(node.front.url) as client, session_at() as session:
            chatbot = node.front.url + await client.new_chatbot()

            async def push(size: int) -> tuple[int, str]:
                form = aiohttp.FormData()
                form.add_field("file", io.BytesIO(b"Parcels are sent on Mondays. ".ljust(size)), filename="parcels.txt")
                async with session.post(chatbot + "/documents", data=form) as response:
                    return response.status, response.content_type

            assert await push(20 * MIB) == (202, "application/json")
            assert await push(20 * MIB + 1) == (413, "application/problem+json")


async def test_paths_and_queries_pass_as_they_were_written_and_no_query_is_logged(tmp_path: Path) -> None:
    with one_node(tmp_path, shipped) as node:
        async with client_at(node.front.url) as client, session_at() as session:
            chatbot = node.front.url + await client.new_chatbot()
            for name in ("a/b", "//", "a b?c#d", "../x", "%2F", "ä"):
                async with session.post(f"{chatbot}/conversations", json=prompt("Hi", name)) as response:
                    assert response.status == 201
                written = "".join(f"%{byte:02X}" for byte in name.encode())
                url = URL(f"{chatbot}/conversations/{written}/messages?limit=2&embedding=false", encoded=True)
                async with session.get(url) as response:
                    assert [each["conversation_id"] for each in await response.json()] == [name] * 2
        assert "/messages" in node.front.access_log
        assert "embedding" not in node.front.access_log


# --- nodes that go away ---


async def test_a_node_that_is_killed_is_done_without_and_no_prompt_is_sent_twice(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as nodes, client_at(nodes.front.url) as client:
        held = [f"held {number}" for number in range(20)]
        asking = [asyncio.create_task(ask(client, nodes.chatbot, text)) for text in held]
        await _until(lambda: nodes.endpoint.calls.total() == len(held))
        nodes.processes[0].kill()
        nodes.processes[0].wait()
        assert [(await client.get("/readyz"))["status"] for _ in range(20)] == ["ready"] * 20
        later = [f"later {number}" for number in range(20)]
        assert [await ask(client, nodes.chatbot, text) for text in later] == [(201, "")] * len(later)
        nodes.endpoint.release("held")
        statuses = {status for status, _ in await asyncio.gather(*asking)}
    assert statuses == {201, 502}, "those of the killed node are told, for their callers to send them again"
    assert {text: nodes.endpoint.calls[text] for text in held + later} == dict.fromkeys(held + later, 1)


async def test_a_node_that_hangs_is_left_by_those_who_read_and_no_prompt_is_sent_twice(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, WITH_SHORT_PATIENCE) as nodes, client_at(nodes.front.url) as client:
        nodes.processes[0].send_signal(signal.SIGSTOP)
        texts = [f"prompt {number}" for number in range(12)]
        reading = asyncio.gather(*(client.get("/readyz") for _ in texts))
        answers = await asyncio.gather(*(ask(client, nodes.chatbot, text) for text in texts))
        assert {status for status, _ in answers} == {201, 504}
        assert [each["status"] for each in await reading] == ["ready"] * len(texts)
        nodes.processes[0].send_signal(signal.SIGCONT)
        async with client_at(nodes.urls[0]) as awake:  # what was sent to it before was read before
            assert await awake.say(nodes.chatbot, "awake") == 201
    assert {text: nodes.endpoint.calls[text] for text in texts if nodes.endpoint.calls[text] > 1} == {}


async def test_a_node_that_is_told_to_stop_ends_its_streams_and_nobody_notices(tmp_path: Path) -> None:
    """With one repetition, as callers are told to."""
    async with two_nodes(tmp_path) as nodes, client_at(nodes.front.url) as client:
        asks = [Ask(chatbot=nodes.chatbot, conversation=f"h{n}", text=f"held {n}", streams=True) for n in range(20)]
        told = [Answered() for _ in asks]
        asking = [asyncio.create_task(client.ask(*each)) for each in zip(asks, told, strict=True)]
        await _until(lambda: all(each.shown for each in told))
        nodes.processes[0].send_signal(signal.SIGTERM)
        repeated = 0
        for number in range(100):
            if (await ask(client, nodes.chatbot, f"quick {number}"))[0] != 201:
                repeated += 1
                assert await ask(client, nodes.chatbot, f"quick {number}") == (201, "")
        nodes.endpoint.release("held")
        await asyncio.gather(*asking)
        assert await asyncio.to_thread(nodes.processes[0].wait, 60) == 0
    assert [(each.shown, each.error) for each in told] == [(REPLY, None)] * len(told)
    assert repeated <= 1, "between the signal and its refusing connections"


async def _until(holds: Callable[[], bool]) -> None:
    """What happens over many connections happens in the background. The test's own limit bounds this."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def over_tls(folder: Path, listen: str, nodes: list[str]) -> str:
    """As the shipped file says how, with a certificate that nobody has signed."""
    text = re.sub(r"^(\s*)# (?=listen 8443|ssl_certificate)", r"\1", shipped(folder, listen, nodes), flags=re.MULTILINE)
    text = re.sub(rf"^\s*listen {listen};\n", "", text, flags=re.MULTILINE).replace("8443", listen)
    names = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem"), "-subj", "/CN=gigachat"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "privkey.pem").chmod(0o644)  # nginx is somebody else here
    return text.replace("/etc/nginx/tls/", f"{folder}/")
