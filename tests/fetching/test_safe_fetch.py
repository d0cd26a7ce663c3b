"""T23: whatever a URL looks like, nothing inside is reached; and what is public, or allowed, is fetched within bounds."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import os
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gigachat_server.fetching import web_urls
from gigachat_server.fetching.address_rule import Address, is_public, may_be_reached
from gigachat_server.fetching.safe_fetch import FetchFailed, SafeFetch
from gigachat_server.fetching.web_urls import UrlRefused
from tests.fetching.canaries import SITE, Request, Response, Site, canaries, serving

ANY_PORT = (range(1, 65536),)
ALLOWED = ipaddress.ip_network(f"{SITE}/32")

# `P` is the port that canaries listen on. Some of these are one address in other clothes, some no URL at all.
_PLAIN_SHAPES = """
http://127.0.0.1:P/ http://127.0.0.2:P/ http://127.255.255.254:P/ http://0.0.0.0:P/ http://0:P/ http://127.1:P/
http://127.0.1:P/ http://2130706433:P/ http://017700000001:P/ http://0177.0.0.1:P/ http://0x7f.0.0.1:P/ http://0x7f000001:P/
http://0x7F.1:P/ http://127.0.0.1.:P/ http://127.0.0.01:P/ http://127.0.0.0x1:P/ http://00000177.1:P/ http://4294967297:P/
http://127.0.0.1.nip:P/ http://localhost:P/ http://LOCALHOST:P/ http://localhost.:P/ http://localhost..:P/
http://ip6-localhost:P/ http://[::1]:P/ http://[0:0:0:0:0:0:0:1]:P/ http://[::]:P/ http://[::127.0.0.1]:P/ http://[::7f00:1]:P/
http://[::ffff:127.0.0.1]:P/ http://[::ffff:7f00:1]:P/ http://[0:0:0:0:0:ffff:127.0.0.1]:P/ http://[::ffff:0:127.0.0.1]:P/
http://[64:ff9b::7f00:1]:P/ http://[64:ff9b::127.0.0.1]:P/ http://[64:ff9b:1::7f00:1]:P/ http://[2002:7f00:1::]:P/
http://[2002:7f00:0001::1]:P/ http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:P/ http://[fe80::1]:P/ http://[fe80::1%25lo]:P/
http://[fe80::1%lo]:P/ http://[fec0::1]:P/ http://[fc00::1]:P/ http://[fd00:ec2::254]:P/ http://[ff02::1]:P/
http://[2001:db8::1]:P/ http://[::1:P/ http://[::1]x:P/ http://::1:P/ http://[127.0.0.1]:P/ http://[v1.127]:P/
http://user@127.0.0.1:P/ http://user:pass@localhost:P/ http://example.com@127.0.0.1:P/ http://127.0.0.1:P@example.com/
http://example.com:80@127.0.0.1:P/ http://127.0.0.1:P#@example.com/ http://127.0.0.1:P?@example.com/
http://example.com%40127.0.0.1:P/ http://%31%32%37.0.0.1:P/ http://127.0.0.1%00.example.com:P/ http://127%2e0%2e0%2e1:P/
http://localhost%2f@example.com:P/ http://127.0.0.1:P:80/ http://127.0.0.1:00P/ http://127.0.0.1:-P/ http://127.0.0.1:P,80/
http:/127.0.0.1:P/ http:127.0.0.1:P/ http:///127.0.0.1:P/ http:////127.0.0.1:P/ //127.0.0.1:P/ 127.0.0.1:P https:127.0.0.1:P
file:///etc/passwd file://127.0.0.1:P/x ftp://127.0.0.1:P/ gopher://127.0.0.1:P/_x dict://127.0.0.1:P/ data:text/html,x
javascript:alert(1) jar:http://127.0.0.1:P/ http+unix://%2ftmp%2fx/ ws://127.0.0.1:P/ HTTP://127.0.0.1:P/ hTTp://LocalHost:P/
http://10.0.0.1:P/ http://172.16.0.1:P/ http://192.168.0.1:P/ http://169.254.169.254:P/ http://100.100.100.200:P/
http://168.63.129.16:P/ http://192.0.0.192:P/ http://198.18.0.1:P/ http://224.0.0.1:P/ http://255.255.255.255:P/ http://240.0.0.1:P/
http://１２７.０.０.１:P/ http://127。0。0。1:P/ http://127．0．0．1:P/ http://ｌｏｃａｌｈｏｓｔ:P/ http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:P/ http://①②⑦.⓪.⓪.①:P/
http://0xⓐ:P/ http://locaſhost:P/ http://lo\u00adcalhost:P/ http://localhost\u200b:P/ http://-a-.example:P/ http://a..b:P/ http://.:P/
"""
# What cannot be written between spaces.
ODD_SHAPES = [
    "http://127.0.0.1:P\\@example.com/",
    "http://example.com\\@127.0.0.1:P/",
    "http:\\\\127.0.0.1:P/",
    "http://127.0.0.1\t:P/",
    "ht\ntp://127.0.0.1:P/",
    "http://127.0.0.1:P/\r\nHost: x",
    " http://127.0.0.1:P/",
    "http://127.0.0.1 :P/",
    "http://127.0.0.1\x00:P/",
    "http://exa mple.com@127.0.0.1:P/",
    "http://127.0.0.1:P /",
    "",
    "http://",
    "http://" + "a." * 200 + "example:P/",
    "http://127.0.0.1:P/" + "x" * 3000,
    "http://\ud800:P/",
]
ALL_SHAPES = _PLAIN_SHAPES.split() + ODD_SHAPES


class Names:
    """A resolver that answers as it is told, each time the next thing."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ipaddress.ip_address(text) for text in answer]


@asynccontextmanager
async def fetching(**options: Any) -> AsyncIterator[SafeFetch]:
    safe_fetch = SafeFetch(**({"ports": ANY_PORT} | options))
    try:
        yield safe_fetch
    finally:
        await safe_fetch.aclose()


async def refusal(safe_fetch: SafeFetch, text: str) -> str:
    """Why this URL is not fetched; '' if it is."""
    try:
        await safe_fetch.fetch(web_urls.parse(text))
    except UrlRefused:
        return "url_refused"
    except FetchFailed as error:
        return error.reason
    return ""


def test_there_are_enough_shapes() -> None:
    assert len(set(ALL_SHAPES)) >= 110


async def test_no_shape_of_a_url_reaches_a_canary() -> None:
    async with canaries() as (canary, port), fetching(resolve=Names(["127.0.0.1"])) as safe_fetch:
        got = {shape: await refusal(safe_fetch, shape.replace("P", str(port), 1)) for shape in ALL_SHAPES}
    assert canary.connections == 0
    assert {shape: reason for shape, reason in got.items() if reason not in ("url_refused", "address_refused")} == {}


async def test_no_shape_reaches_a_canary_through_a_redirect() -> None:
    """Behind an allowed site that sends on to each shape, as it stands."""
    async with canaries() as (canary, port):
        shapes = [shape.replace("P", str(port), 1) for shape in ALL_SHAPES if shape.isascii() and shape.isprintable()]

        def answer(request: Request) -> Response:
            number, _, status = request.path.removeprefix("/jump/").partition("/")
            if not status.isdigit():
                return Response("a path of the site itself")
            return Response(status=int(status), headers={"Location": shapes[int(number)]})

        async with serving(answer) as site, fetching(allowed=[ALLOWED], resolve=Names(["127.0.0.1"])) as safe_fetch:
            got = {
                (shape, status): await refusal(safe_fetch, f"{site.url}/jump/{number}/{status}")
                for number, shape in enumerate(shapes)
                for status in (302, 307)
            }
    assert canary.connections == 0
    assert len(got) > 2 * 80
    fetched = {shape for (shape, _), reason in got.items() if reason not in ("url_refused", "address_refused")}
    assert {shape for shape in fetched if "//" in shape} == set(), "the others name a path of the site itself"


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "//127.0.0.2:P/", "http://[::1]:P/", "http://127.0.0.1:P\\@a/", "gopher://x"]
)
async def test_a_chain_of_redirects_is_looked_at_to_its_end(target: str) -> None:
    async with canaries() as (canary, port), fetching(allowed=[ALLOWED]) as safe_fetch:

        def answer(request: Request) -> Response:
            step = int(request.path[1:])
            place = f"/{step + 1}" if step < 2 else target.replace("P", str(port))
            return Response(status=307 if step else 302, headers={"Location": place})

        async with serving(answer) as site:
            assert await refusal(safe_fetch, f"{site.url}/0") in ("url_refused", "address_refused")
            assert site.paths == ["/0", "/1", "/2"]
    assert canary.connections == 0


async def test_three_redirects_are_followed_and_no_more() -> None:
    def answer(request: Request) -> Response:
        step = int(request.path[1:])
        return Response("there") if step == 9 else Response(status=301, headers={"Location": f"/{step + 1}"})

    async with serving(answer) as site, fetching(allowed=[ALLOWED]) as safe_fetch:
        fetched = await safe_fetch.fetch(web_urls.parse(f"{site.url}/6"))
        assert (fetched.body, fetched.url.path) == (b"there", "/9")
        assert await refusal(safe_fetch, f"{site.url}/5") == "too_many_redirects"
        first = await safe_fetch.fetch(web_urls.parse(f"{site.url}/5"), most_redirects=0)
        assert (first.status, first.headers["location"]) == (301, "/6")


# --- names ---


async def test_a_name_that_is_rebound_leads_nowhere_else() -> None:
    """It is asked for once, and what it was checked as is what is connected to; asked again, the other answer is refused."""
    names = Names([SITE], ["127.0.0.2"])
    async with serving(lambda _: Response("mine", headers={"Connection": "close"})) as site, canaries() as (canary, port):
        async with fetching(allowed=[ALLOWED], resolve=names) as safe_fetch:
            fetched = await safe_fetch.fetch(web_urls.parse(f"http://rebound.example:{site.port}/"))
            assert (fetched.body, names.asked) == (b"mine", ["rebound.example"])
            assert site.requests[0].host == f"rebound.example:{site.port}"
            assert await refusal(safe_fetch, f"http://rebound.example:{port}/") == "address_refused"
        assert canary.connections == 0


@pytest.mark.parametrize(
    "answer",
    [["93.184.215.14", "127.0.0.1"], ["::1"], ["1.1.1.1", "::ffff:10.0.0.1"], ["10.0.0.1"], ["64:ff9b::7f00:1"], ["0.0.0.0"]],
)
async def test_a_name_with_one_address_inside_is_refused_whole(answer: list[str]) -> None:
    async with canaries() as (canary, port), fetching(resolve=Names(answer)) as safe_fetch:
        assert await refusal(safe_fetch, f"http://mixed.example:{port}/") == "address_refused"
    assert canary.connections == 0


async def test_of_a_name_that_also_leads_inside_nothing_is_asked(tmp_path: Any) -> None:
    async with serving() as site, fetching(allowed=[ALLOWED], resolve=Names([SITE, "127.0.0.2"])) as safe_fetch:
        assert await refusal(safe_fetch, f"http://mixed.example:{site.port}/") == "address_refused"
        assert site.connections == 0


async def test_no_socket_is_made_for_an_address_that_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the parser and the resolver had let it through."""
    async with canaries() as (canary, port), fetching() as safe_fetch:
        monkeypatch.setattr(SafeFetch, "check", lambda *_: None)
        assert await refusal(safe_fetch, f"http://127.0.0.1:{port}/") in ("address_refused", "unreachable")
        assert await refusal(safe_fetch, f"http://[::1]:{port}/") in ("address_refused", "unreachable")
    assert canary.connections == 0


# --- what does not pass, and what does ---

INSIDE = """0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.8.8.8 168.63.129.16
169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.7
203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:a9fe:a9fe:: 3fff::1
5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 4000::1"""
OUTSIDE = """1.1.1.1 8.8.8.8 93.184.215.14 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1
2606:4700::1111 2a00:1450::1 2001:4860:4860::8888"""


def test_what_is_inside_is_not_public() -> None:
    assert [text for text in INSIDE.split() if may_be_reached(ipaddress.ip_address(text), ())] == []
    assert [text for text in OUTSIDE.split() if not is_public(ipaddress.ip_address(text))] == []
    assert may_be_reached(ipaddress.ip_address("::ffff:1.1.1.1"), ())


def test_what_was_allowed_may_be_reached_and_nothing_beside_it() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/64")]
    reached = ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"]
    assert all(may_be_reached(ipaddress.ip_address(text), allowed) for text in reached)
    assert not any(may_be_reached(ipaddress.ip_address(text), allowed) for text in INSIDE.split())


async def test_other_ports_than_those_of_the_web_are_refused() -> None:
    async with canaries() as (canary, port), fetching(allowed=[ALLOWED], ports=(range(80, 81), range(443, 444))) as safe_fetch:
        assert await refusal(safe_fetch, f"http://{SITE}:{port}/") == "port_refused"
    assert canary.connections == 0


async def test_neither_a_proxy_of_the_environment_nor_cookies_nor_credentials_take_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.9 login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async with canaries() as (canary, port):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.2:{port}")
        async with serving(lambda _: Response("x", headers={"Set-Cookie": "a=b; Path=/"})) as site:
            async with fetching(allowed=[ALLOWED]) as safe_fetch:
                for _ in range(2):
                    await safe_fetch.fetch(web_urls.parse(site.url + "/"))
            assert all({"cookie", "authorization", "proxy-authorization"}.isdisjoint(r.headers) for r in site.requests)
            assert site.connections == 1, "a connection is used again"
        assert canary.connections == 0
    assert os.environ["http_proxy"]


# --- bounds ---


async def of_site(site: Site, **options: Any) -> str:
    async with fetching(allowed=[ALLOWED], **options) as safe_fetch:
        return await refusal(safe_fetch, f"{site.url}/")


async def test_a_body_is_bounded_as_sent_and_as_decompressed() -> None:
    bomb = zlib.compress(bytes(30_000_000), 1)
    for body, encoding in (
        (bytes(11 * 1024 * 1024), "identity"),
        (bomb, "deflate"),
        (gzip.compress(bytes(30_000_000), 1), "gzip"),
    ):
        async with serving(lambda _, b=body, e=encoding: Response(b, headers={"Content-Encoding": e})) as site:  # type: ignore[misc]
            assert await of_site(site) == "too_large"


async def test_no_more_is_held_of_a_bomb_than_may_come_of_it() -> None:
    bomb = Response(gzip.compress(bytes(150_000_000), 1, mtime=0), headers={"Content-Encoding": "gzip"})
    async with serving(lambda _: bomb) as site:
        tracemalloc.start()
        try:
            assert await of_site(site) == "too_large"
            assert tracemalloc.get_traced_memory()[1] < 40_000_000
        finally:
            tracemalloc.stop()


async def test_what_was_compressed_arrives_as_it_was() -> None:
    text = "words and words " * 100_000
    async with serving(lambda _: Response(text, is_gzipped=True)) as site, fetching(allowed=[ALLOWED]) as safe_fetch:
        fetched = await safe_fetch.fetch(web_urls.parse(site.url))
        assert fetched.body.decode() == text
        assert fetched.media_type == "text/html"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Response("x", headers={"Content-Encoding": "br"}), "encoding_refused"),
        (Response("x", headers={"Content-Encoding": "gzip, gzip"}), "encoding_refused"),
        (Response("not gzip at all", headers={"Content-Encoding": "gzip"}), "malformed"),
        (Response(gzip.compress(b"x" * 1000)[:20], headers={"Content-Encoding": "gzip"}), "malformed"),
    ],
)
async def test_a_body_that_cannot_be_decompressed_is_told(response: Response, reason: str) -> None:
    async with serving(lambda _: response) as site:
        assert await of_site(site) == reason


async def test_a_server_that_drips_is_given_up_in_time() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(raw=drip) as site:
        began = asyncio.get_running_loop().time()
        assert await of_site(site, most_seconds=0.3) == "timeout"
        assert asyncio.get_running_loop().time() - began < 2


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, b"\x00\xff\r\n\r\n"])
async def test_what_is_not_http_is_told(answer: bytes) -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with serving(raw=say) as site:
        assert await of_site(site) in ("malformed", "unreachable")


async def test_a_body_that_nobody_wants_is_not_read() -> None:
    video = Response(bytes(5_000_000), headers={"Content-Type": "video/mp4"})
    async with serving(lambda _: video) as site, fetching(allowed=[ALLOWED]) as safe_fetch:
        fetched = await safe_fetch.fetch(web_urls.parse(site.url), wants=lambda _status, kind: kind == "text/html")
    assert (fetched.status, fetched.body, fetched.media_type) == (200, b"", "video/mp4")


async def test_nobody_listening_is_unreachable() -> None:
    async with fetching(allowed=[ALLOWED]) as safe_fetch:
        assert await refusal(safe_fetch, f"http://{SITE}:1/") == "unreachable"


# --- the parser ---


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://example.com:80/a/../b/./c?x=1#frag", "http://example.com/b/c?x=1"),
        ("https://example.com.:443/%7euser/%c3%a4", "https://example.com/%7Euser/%C3%A4"),
        ("https://bücher.example/ä?q=ö", "https://xn--bcher-kva.example/%C3%A4?q=%C3%B6"),
        ("http://example.com:8080?a", "http://example.com:8080/?a"),
        ("http://[2606:4700:0:0::1111]/", "http://[2606:4700::1111]/"),
        ("http://example.com/a%2Fb", "http://example.com/a%2Fb"),
        ("http://example.com/a/..", "http://example.com/"),
        ("http://example.com/%2e%2e/x", "http://example.com/x"),
        ("http://example.com/100%", "http://example.com/100%"),
    ],
)
def test_a_url_has_one_form(given: str, text: str) -> None:
    url = web_urls.parse(given)
    assert url.text == text
    assert web_urls.parse(url.text) == url


def test_a_link_is_understood_from_its_page() -> None:
    base = web_urls.parse("https://www.example.com/docs/a?x=1")
    links = {"b": "/docs/b", "/c": "/c", "?y": "/docs/a?y", "#top": "/docs/a?x=1", "../d e": "/d%20e", "//example.com/f": "/f"}
    assert {reference: web_urls.join(base, reference).target for reference in links} == links
    assert web_urls.join(base, "http://example.com/").site == base.site
    assert web_urls.join(base, "https://blog.example.com/").site != base.site
    for reference in ("mailto:a@example.com", "javascript:void(0)", "data:,x", "http://[", "x" * 5000):
        with pytest.raises(UrlRefused):
            web_urls.join(base, reference)
