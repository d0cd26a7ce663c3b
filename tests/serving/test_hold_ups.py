"""What strangers send is read in no more time than others can wait: the event loop is never held up for long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gigachat_server.access.restrictions import peer_address
from gigachat_server.api.chatbots import ChatbotInput
from gigachat_server.edge.body import parse_object
from gigachat_server.edge.request import plain_headers
from gigachat_server.errors import InvalidRequest
from gigachat_server.pages.request import cookie
from gigachat_server.settings import Settings
from tests.harness import gigachat
from tests.hold_ups import hold_ups

pytestmark = [pytest.mark.sqlite_only]

MOST_S = 0.2  # a few milliseconds where nobody else computes on this machine
_HEADER = 60_000  # bytes: a head may have 64 KiB

HEADERS = {
    "a cookie of quotes": {"Cookie": 'a="' + '\\"' * (_HEADER // 2) + '"'},
    "a cookie of backslashes": {"Cookie": 'gigachat_session="' + "\\\\" * (_HEADER // 2) + '"'},
    "a cookie of semicolons": {"Cookie": ";" * _HEADER},
    "many cookies": {"Cookie": "; ".join(f"a{number}=1" for number in range(6_000))},
    "an origin in letters of other scripts": {"Origin": "http://" + "\xe9" * (_HEADER // 2)},
    "an origin in labels of other scripts": {"Origin": "http://" + "\xe9." * (_HEADER // 4)},
    "a referer in labels of other scripts": {"Referer": "http://" + "\xe9\xe8." * (_HEADER // 6)},
    "a chain of proxies": {"X-Forwarded-For": ",".join(["127.0.0.1"] * (_HEADER // 10))},
    "ranges": {"Accept": ",".join(["a/b;q=0.1"] * (_HEADER // 10))},
    "parameters of a range": {"Accept": "a/b" + ";q=0.1" * (_HEADER // 6)},
    "tags": {"If-None-Match": '"a",' * (_HEADER // 4)},
    "a key": {"Authorization": "Bearer " + "a" * _HEADER},
    "a place in a stream": {"Last-Event-ID": "1" * _HEADER},
    "an idempotency key": {"Idempotency-Key": "\xe9" * (_HEADER // 2)},
    "a content type": {"Content-Type": "application/json" + ";" * _HEADER},
    "a form's content type": {"Content-Type": "multipart/form-data" + ";" * _HEADER},
    "a form's parameters": {"Content-Type": "multipart/form-data" + ";a*0*=b" * (_HEADER // 8)},
    "a form's boundary": {"Content-Type": 'multipart/form-data; boundary="' + '\\"' * (_HEADER // 2)},
}
PATHS = ("/", "/docs", "/static/style.css", "/livez")


@pytest.mark.parametrize("name", HEADERS)
async def test_no_header_holds_up_the_loop(tmp_path: Path, name: str) -> None:
    async with gigachat(tmp_path, trusted_proxies="127.0.0.0/8") as api:
        restrictions = {"hostnames": ["www.example.com"], "ip_addresses": ["127.0.0.0/8", "10.0.0.0/8"]}
        chatbot = await api.chatbot(restrictions=restrictions)
        for path in PATHS:
            await api.get(path)
        await api.post(f"{chatbot}/documents", {})
        async with hold_ups() as met:
            for path in (*PATHS, f"{chatbot}/conversations/c1", f"{chatbot}/conversations/c1/events"):
                assert (await api.get(path, headers=HEADERS[name])).status < 500
            assert (await api.post(f"{chatbot}/documents", {"name": "a"}, headers=HEADERS[name])).status < 500
        assert met.longest_s < MOST_S


@pytest.mark.parametrize("name", [name for name in HEADERS if name.startswith("a form's")])
async def test_a_form_whose_type_is_long_is_refused_unread(tmp_path: Path, name: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        refused = await api.call("POST", f"{chatbot}/documents", raw=b"x", headers=HEADERS[name])
        assert (refused.status, refused.code) == (400, "malformed_form")
        assert "at most 1000 characters" in refused.body["detail"]


def test_a_header_that_comes_thousands_of_times_takes_time_in_proportion() -> None:
    assert plain_headers({"headers": [(b"a", b"x"), (b"b", b"y"), (b"a", b"z")]}) == {"a": "x, z", "b": "y"}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gigachat_session=abc", "abc"),
        ("a=1; gigachat_session=abc; b=2", "abc"),
        ("a=1;gigachat_session = abc ;b", "abc"),
        ("gigachat_session=old; gigachat_session=new", "new"),
        ("a=1, gigachat_session=abc", "abc"),
        ("gigachat_session=a=b", "a=b"),
        ("xgigachat_session=abc", ""),
        ("gigachat_session", ""),
        ("", ""),
    ],
)
def test_our_cookie_is_found_among_others(header: str, expected: str) -> None:
    assert cookie(header, "gigachat_session") == expected


def test_the_address_of_a_caller_is_never_taken_from_the_far_end_of_a_long_chain() -> None:
    trusted = Settings(trusted_proxies="10.0.0.0/8").proxy_networks
    assert peer_address("10.0.0.1", ",".join(["6.6.6.6"] + ["10.0.0.2"] * 20), trusted) == "6.6.6.6"
    assert peer_address("10.0.0.1", ",".join(["6.6.6.6"] + ["10.0.0.2"] * 2_000), trusted) == "10.0.0.2"


# --- bodies and paths ---

_ZEROS = ",".join(["0"] * 100_000)
BODIES: dict[str, tuple[str, str]] = {
    "numbers": ("POST", f'{{"metadata":{{"a":[{_ZEROS}]}}}}'),
    "a long name above many values": ("POST", f'{{"{"k" * 30_000}":[{",".join(["0"] * 16_000)}]}}'),
    "a NUL among a million values": ("POST", f'{{"metadata":{{"a":"\\u0000","b":[{",".join([_ZEROS] * 5)}]}}}}'),
    "a surrogate among many": ("POST", '{"prompt":"' + "\\ud83d\\ude00" * 80_000 + '\\ud83d"}'),
    "brackets": ("POST", "[" * 1_000_000),
    "objects": ("POST", '{"a":' * 200_000),
    "a number": ("POST", f'{{"metadata":{{"a":{"1" * 1_000_000}}}}}'),
    "a small number": ("POST", f'{{"metadata":{{"a":0.{"1" * 60_000}e-5}}}}'),
    "a change of numbers": ("PATCH", f'{{"name":[{_ZEROS}]}}'),
    "a change below a long name": ("PATCH", f'{{"{"k" * 120_000}":[{",".join(["0"] * 60_000)}]}}'),
    "a change of many names": ("PATCH", "{" + ",".join(f'"{number}":0' for number in range(20_000)) + "}"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_no_body_holds_up_the_loop(tmp_path: Path, name: str) -> None:
    method, body = BODIES[name]
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        path = chatbot if method == "PATCH" else f"{chatbot}/conversations"
        await api.call(method, path, raw=b"{}")
        async with hold_ups() as met:
            reply = await api.call(method, path, raw=body.encode())
        assert 400 <= reply.status < 500
        assert len(reply.text) < 20_000, "an error repeats no more of it than helps"
        assert met.longest_s < MOST_S


@pytest.mark.parametrize("path", ["/" * 60_000, "/%41" * 15_000, "/chatbots/" + "%2F" * 20_000, "/docs?" + "&" * 60_000])
async def test_no_path_holds_up_the_loop(tmp_path: Path, path: str) -> None:
    async with gigachat(tmp_path) as api:
        await api.get("/nothing")
        async with hold_ups() as met:
            assert (await api.get(path)).status in (400, 404, 422)
        assert met.longest_s < MOST_S


def test_errors_name_each_field_as_before() -> None:
    raw = b'{"a":[1,{"b":"\\u0000"}],"c\\u0000":"\\u0000","d":1e999}'
    assert _errors(raw) == {
        "a[1].b": "Must not contain NUL characters.",
        "<name>": "Must not contain NUL characters.",
        "c\0": "Must not contain NUL characters.",
        "d": "Must be a finite number.",
    }
    assert _errors(b'"\\u0000"') == {"body": "Must not contain NUL characters."}


def _errors(raw: bytes) -> dict[str, Any]:
    with pytest.raises(InvalidRequest) as caught:
        parse_object(raw, ChatbotInput, Settings())
    return {error.field: error.message for error in caught.value.errors}
