"""Requests as nobody should write them: what they may hold, how long they may take, and what counts as their headers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gigachat_server.serving.connection import MOST_HEAD_BYTES
from tests.serving.callers import Address, Caller, calling, echo, serving

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_READ_BYTES = 256 * 1024  # at once, from a socket
_KERNEL_BYTES = 16 * 1024 * 1024  # what both ends' buffers may take before the caller notices anything


async def echoed(caller: Caller) -> dict[str, Any]:
    status, _, body = await caller.answer()
    assert status == 200
    told: dict[str, Any] = json.loads(body)
    return told


# --- what is no header ---


@pytest.mark.parametrize("path", [b"/", b"/early"])
@pytest.mark.parametrize("apart", [True, False])
async def test_what_comes_after_the_body_is_no_header(path: bytes, apart: bool) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-First: 1\r\n\r\n" % path
    trailers = b"X-Forwarded-For: 10.0.0.1\r\nAuthorization: Bearer stolen\r\nX-First: 2\r\n\r\n"
    async with serving() as (_, address), calling(address) as caller:
        for _ in range(3):
            if apart:
                await caller.send(head + b"3\r\nabc\r\n0\r\n")
                await caller.send(trailers)
            else:
                await caller.send(head + b"3\r\nabc\r\n0\r\n" + trailers)
            told = await echoed(caller)
            assert told["headers"] == [["host", "x"], ["transfer-encoding", "chunked"], ["x-first", "1"]]
            assert told["size"] == (3 if path == b"/" else 0)
        await caller.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await echoed(caller))["headers"] == [["host", "x"]], "nor of the request behind it"


# --- how much ---

WITHOUT_END = {
    "a header": (HEAD + b"X-Long: ", b"x" * 4096),
    "headers": (HEAD, b"X-More: 1\r\n" * 400),
    "folded lines": (HEAD + b"X-Folded: 1\r\n", b" and more\r\n" * 400),
    "an address": (b"GET /", b"x" * 4096),
    "a method": (b"", b"X" * 4096),
    "blank lines": (b"", b"\r\n" * 2048),
    "bare line feeds": (b"", b"\n" * 4096),
    "trailers": (CHUNKED + b"0\r\n", b"X-More: 1\r\n" * 400),
    "a trailer's name": (CHUNKED + b"0\r\n", b"X" * 4096),
    "a trailer's value": (CHUNKED + b"0\r\nX-Long: ", b"x" * 4096),
    "folded trailers": (CHUNKED + b"0\r\nX-Folded: 1\r\n", b" and more\r\n" * 400),
    "a chunk's extension": (CHUNKED + b"1;x=", b"x" * 4096),
    "chunks' extensions": (CHUNKED, b"1;x=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\na\r\n" * 100),
    "a chunk's size": (CHUNKED, b"0" * 4096),
    "spaces behind a chunk's size": (CHUNKED + b"1", b" " * 4096),
    "tiny chunks": (CHUNKED, b"1\r\na\r\n" * 700),
}


@pytest.mark.parametrize("path", ["/", "/early"])
@pytest.mark.parametrize("kind", WITHOUT_END)
async def test_what_has_no_end_is_refused_before_it_is_much(kind: str, path: str) -> None:
    """Both while somebody waits for the body, and once it was answered without it."""
    start, more = WITHOUT_END[kind]
    async with serving(receive_timeout_s=60) as (_, address), calling(address) as caller:
        await caller.send(start.replace(b" / ", b" %b " % path.encode()))
        sent = await asyncio.wait_for(caller.send_until_closed(more, 64 * 1024 * 1024), 20)
        assert sent < MOST_HEAD_BYTES + _READ_BYTES + _KERNEL_BYTES


@pytest.mark.parametrize("kind", ["headers", "trailers", "a trailer's value", "tiny chunks", "blank lines"])
async def test_who_sends_too_much_is_told_so(kind: str) -> None:
    start, more = WITHOUT_END[kind]
    async with serving(receive_timeout_s=60) as (_, address), calling(address) as caller:
        await caller.send(start + more * (1 + 2 * MOST_HEAD_BYTES // len(more)))
        status, headers, body = await caller.answer()
        assert (status, headers["content-type"], headers["connection"]) == (431, "application/problem+json", "close")
        assert json.loads(body)["code"] == "head_too_large"


async def test_bodies_in_chunks_of_a_few_bytes_are_no_attack() -> None:
    async with serving() as (_, address), calling(address) as caller:
        await caller.send(CHUNKED + b"8\r\nabcdefgh\r\n" * 40_000 + b"0\r\n\r\n")
        assert (await echoed(caller))["size"] == 320_000
        await caller.send(CHUNKED + b"1\r\na\r\n" * 8_000 + b"0\r\nX-Sum: 1\r\n\r\n")
        assert (await echoed(caller))["size"] == 8_000


async def test_a_large_body_is_no_head() -> None:
    async with serving() as (_, address), calling(address) as caller:
        for path in (b"/", b"/early"):
            await caller.send(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" % path + b"x" * 3_000_000)
            assert (await echoed(caller))["path"] == path.decode()


# --- how long ---


async def is_closed_in_time(caller: Caller, trickle: bytes) -> bytes:
    """What it answers until it closes, however it is kept awake."""

    async def keep_awake() -> None:
        for byte in trickle * 200:
            await caller.send(bytes([byte]))
            await asyncio.sleep(0.02)  # slower than anything that counts as progress

    awake = asyncio.create_task(keep_awake())
    try:
        async with asyncio.timeout(3):
            return await caller.rest()
    finally:
        awake.cancel()
        await asyncio.wait({awake})


@pytest.mark.parametrize(
    "start, trickle",
    [
        pytest.param(b"", b"\r\n", id="blank lines"),
        pytest.param(b"GET / HTTP/1.1\r\nX-Slow: ", b"x", id="a head"),
        pytest.param(b"POST /early HTTP/1.1\r\nContent-Length: 9000\r\n\r\n", b"x", id="the rest of a body"),
        pytest.param(b"POST /early HTTP/1.1\r\nContent-Length: 9\r\n\r\n", b"", id="no body at all"),
        pytest.param(b"POST /early HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Slow: ", b"x", id="trailers"),
        pytest.param(b"POST /early HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="chunks"),
        pytest.param(b"POST /early HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x", id="an extension"),
        pytest.param(b"GET /early HTTP/1.1\r\n\r\n", b"\r\n", id="blank lines behind an answer"),
        pytest.param(b"GET /early HTTP/1.1\r\n\r\nGET /", b"x", id="a head behind an answer"),
    ],
)
async def test_no_byte_puts_the_end_off(start: bytes, trickle: bytes) -> None:
    async with serving() as (server, address), calling(address) as caller:
        await caller.send(start)
        said = await is_closed_in_time(caller, trickle)
        assert said.count(b"HTTP/1.1 200") == (b"/early" in start)
        assert server.server_state.connections == set()


async def test_the_rest_of_a_body_may_come_after_its_answer() -> None:
    async with serving() as (_, address), calling(address) as caller:
        await caller.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        assert (await echoed(caller))["path"] == "/early"
        await caller.send(b"x" * 200_000 + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await echoed(caller))["path"] == "/"


async def test_who_is_answered_before_sending_all_and_must_leave_reads_the_answer() -> None:
    """Closing at once would have the network throw the answer away."""
    async with serving(receive_timeout_s=30) as (_, address), calling(address) as caller:
        await caller.send(b"POST /early HTTP/1.1\r\nConnection: close\r\nContent-Length: 30000000\r\n\r\n")
        await caller.send(b"x" * 29_000_000)
        assert (await echoed(caller))["path"] == "/early"


async def test_a_body_that_was_not_invited_ends_the_connection() -> None:
    """Who waits for 100 Continue and is answered may go on with a request or with the body: nobody can tell."""
    async with serving() as (_, address), calling(address) as caller:
        await caller.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (200, "close")
        await caller.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await caller.rest() == b""
    async with serving() as (_, address), calling(address) as caller:
        await caller.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (await caller.answer())[0] == 100
        await caller.send(b"abc")
        assert (await echoed(caller))["size"] == 3


# --- one behind the other ---


async def test_requests_in_one_go_are_answered_in_their_order_up_to_a_number() -> None:
    async with serving() as (_, address), calling(address) as caller:
        await caller.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)))
        assert [(await echoed(caller))["path"] for _ in range(5)] == [f"/{number}" for number in range(5)]
        await caller.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5000)))
        answers = [await caller.answer() for _ in range(9)]
        assert [json.loads(body)["path"] for _, _, body in answers] == [f"/{number}" for number in range(9)]
        assert [headers.get("connection") for _, headers, _ in answers] == [None] * 8 + ["close"]
        assert await caller.rest() == b""


async def test_a_body_behind_another_request_waits_its_turn() -> None:
    async with serving() as (_, address), calling(address) as caller:
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
        sending = asyncio.create_task(caller.send(request * 3))
        assert [(await echoed(caller))["size"] for _ in range(3)] == [1_000_000] * 3
        await sending


@pytest.mark.parametrize("rest", [b"3\r\nabc\r\nnonsense", b"3\r\nabc\r\n0\r\nX-Long: " + b"x" * 300_000])
async def test_half_a_request_behind_another_is_never_taken_for_a_whole_one(rest: bytes) -> None:
    """Its body would be cut short without anybody knowing."""
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        is_asked.set()
        await may_answer.wait()
        await echo(scope, receive, send)

    async with serving(slow) as (_, address), calling(address) as caller:
        await caller.send(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n" + CHUNKED.replace(b" / ", b" /half ") + rest)
        await is_asked.wait()
        may_answer.set()
        assert (await echoed(caller))["path"] == "/first"
        assert b" 200 OK" not in await caller.rest()


async def test_what_is_wrong_behind_a_request_takes_nothing_from_its_answer() -> None:
    async with serving() as (_, address), calling(address) as caller:
        await caller.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\x00\x01 nonsense\r\n\r\n")
        assert (await echoed(caller))["size"] == 3
        assert await caller.rest() == b""


# --- old and wrong ---


@pytest.mark.parametrize("line", [b"GET /stream HTTP/1.0\r\n", b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n"])
@pytest.mark.parametrize("half_closed", [True, False])
async def test_a_caller_of_http_1_0_gets_what_it_understands(line: bytes, half_closed: bool) -> None:
    async with serving() as (_, address), calling(address) as caller:
        await caller.send(line + b"Host: x\r\n\r\n")
        if half_closed:
            caller.end()
        head, _, body = (await caller.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"transfer-encoding" not in head
        assert json.loads(body)["path"] == "/stream"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKED + b"nonsense\r\n",
    ],
)
async def test_what_is_no_request_is_told_so_and_closed(request_bytes: bytes) -> None:
    async with serving() as (_, address), calling(address) as caller:
        await caller.send(request_bytes)
        status, headers, body = await caller.answer()
        assert (status, headers["content-type"]) == (400, "application/problem+json")
        assert json.loads(body)["code"] == "malformed_request"
        assert await caller.rest() == b""


async def test_a_head_request_and_an_answer_without_body_have_none() -> None:
    async with serving() as (_, address), calling(address) as caller:
        await caller.send(b"HEAD /early HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = (await caller.rest()).partition(b"\r\n\r\n")
        assert (b"content-length: " in head, body) == (True, b"")


# --- how many ---


async def test_there_is_room_for_so_many_connections() -> None:
    async with serving(max_connections=8, max_connections_per_address=8, receive_timeout_s=60) as (_, address):
        callers = [await _greeted(address) for _ in range(8)]
        async with calling(address) as more:
            status, headers, body = await more.answer()
            assert (status, headers["connection"]) == (503, "close")
            assert int(headers["retry-after"]) > 0
            assert json.loads(body)["code"] == "too_many_connections"
            await more.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await more.rest() == b""
        await callers.pop().close()
        callers.append(await _greeted(address))
        for caller in callers:
            await caller.close()


@pytest.mark.parametrize("proxies, expected", [("", 503), ("127.0.0.0/8", 200)])
async def test_one_address_does_not_get_all_of_it_unless_it_is_a_trusted_proxy(proxies: str, expected: int) -> None:
    async with serving(max_connections=12, trusted_proxies=proxies, receive_timeout_s=60) as (_, address):
        callers = [await _greeted(address) for _ in range(9)]
        async with calling(address) as more:
            await more.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await more.answer())[0] == expected
        for caller in callers:
            await caller.close()


async def _greeted(address: Address) -> Caller:
    """One that is in. A connection that just closed may still be counted for a moment."""
    while True:
        caller = Caller(*await asyncio.open_connection(*address))
        await caller.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        if (await caller.answer())[0] == 200:
            return caller
        await caller.close()
