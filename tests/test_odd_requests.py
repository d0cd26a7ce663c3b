"""What is unusual, and right or nearly so: weights in Accept, marks before a body, prompts that show nothing."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from gigachat_server.edge.request import prefers_events
from gigachat_server.language.words import is_blank
from tests.harness import gigachat

# --- Accept ---


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/event-stream", True),
        ("TEXT/Event-Stream", True),
        ("text/event-stream;q=0.1", True),
        ("text/event-stream; charset=utf-8 ; q=1.000", True),
        ("application/json, text/event-stream", True),  # as much: the one that has to be named
        ("text/event-stream, application/json;q=0.9", True),
        ("text/event-stream, */*;q=0.1", True),
        ("text/*, application/json;q=0.5", True),
        ("text/event-stream;q=0, text/event-stream", True),
        ("text/event-stream;q=high", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0.000, */*", False),
        ("application/json, text/event-stream;q=0.5", False),
        ("*/*, text/event-stream;q=0.5", False),
        ("*/*", False),
        ("text/*", True),
        ("application/json", False),
        ("text/event-streams", False),
        ("x-text/event-stream", False),
        ("a/b;x=text/event-stream", False),
        ("", False),
        (",;=, ;q=1,", False),
    ],
)
def test_a_stream_is_for_those_who_want_it_as_much_as_json(accept: str, expected: bool) -> None:
    assert prefers_events(accept) is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/event-stream;q=0", "application/json"),
        ("application/json, text/event-stream;q=0.5", "application/json"),
        ("*/*", "application/json"),
        ("Text/Event-Stream", "text/event-stream; charset=utf-8"),
    ],
)
async def test_what_is_accepted_decides_how_a_prompt_is_answered(tmp_path: Path, accept: str, expected: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        prompt = {"conversation_id": "c1", "user_id": "ann", "prompt": "Hello"}
        reply = await api.post(f"{chatbot}/conversations", prompt, headers={"Accept": accept})
        assert (reply.status, reply.headers["Content-Type"]) == (201, expected)


# --- bodies ---


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
async def test_a_byte_order_mark_before_utf8_is_no_part_of_the_json(tmp_path: Path, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    async with gigachat(tmp_path) as api:
        made = await api.call("POST", "/chatbots", raw=codecs.BOM_UTF8 + b'{"name":"Superbot"}', headers=headers)
        assert (made.status, made.body["name"]) == (201, "Superbot")
        path = f"/chatbots/{made.body['id']}"
        changed = await api.call("PATCH", path, raw=codecs.BOM_UTF8 + b'{"name":"Other"}', headers=headers)
        assert (changed.status, changed.body["name"]) == (200, "Other")
        wrong = await api.call("POST", "/chatbots", raw=codecs.BOM_UTF8 + b'{"name":1}', headers=headers)
        assert (wrong.status, wrong.fields) == (422, {"name"})
        twice = await api.call("POST", "/chatbots", raw=codecs.BOM_UTF8 * 2 + b'{"name":"Superbot"}', headers=headers)
        assert (twice.status, twice.code) == (400, "malformed_body")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
async def test_json_in_another_encoding_is_refused_by_its_name(tmp_path: Path, encoding: str) -> None:
    raw = json.dumps({"name": "Superbot"}).encode(encoding)
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for method, path in (("POST", "/chatbots"), ("PATCH", chatbot)):
            refused = await api.call(method, path, raw=raw)
            assert (refused.status, refused.code) == (400, "malformed_body")
            assert encoding[:6].upper() in refused.body["detail"]
            assert "UTF-8" in refused.body["detail"]


# --- prompts that show nothing ---

BLANK = {
    "nothing": "",
    "a space": " ",
    "line ends": "\n\r\n\t",
    "no-break spaces": "\u00a0\u202f\u2007",
    "zero-width space": "\u200b",
    "word joiner": "\u2060\u2063",
    "Hangul fillers": "\u3164\u115f\u1160\uffa0",
    "variation selectors": "\ufe0f\ufe0e\U000e0100",
    "tag characters": "\U000e0001\U000e0068\U000e0069\U000e007f",
    "bidi controls": "\u200e\u202e\u2066\u2069\u061c",
    "joiners": "\u200d\u200c\u034f",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "ideographic space": "\u3000",
    "separators": "\u2028\u2029\x85\x1c",
    "Braille without dots": "\u2800",
    "Khmer and Mongolian": "\u17b4\u180e\u180b",
    "musical": "\U0001d173",
    "all of them": " \u200b\u3164\ufe0f\U000e0041\n",
}
VISIBLE = {
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a heart": "\u2764\ufe0f",
    "a flag": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "a letter among blanks": "\u200b\u3164 a \ufe0f",
    "a mark": "?",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Korean": "\ud55c",
    "a sign of Arabic numbers": "\u0600",
    "a dot of Braille": "\u2801",
    "an accent": "\u0301",
}


@pytest.mark.parametrize("name", BLANK)
def test_what_shows_nothing_is_blank(name: str) -> None:
    assert is_blank(BLANK[name])


@pytest.mark.parametrize("name", VISIBLE)
def test_what_shows_something_is_not_blank(name: str) -> None:
    assert not is_blank(VISIBLE[name])


async def test_a_blank_prompt_is_refused_like_an_empty_one_and_stored_nowhere(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for user in ("ann", "client:support"):
            for prompt in BLANK.values():
                body = {"conversation_id": "c1", "user_id": user, "prompt": prompt}
                for headers in ({}, {"Accept": "text/event-stream"}, {"Idempotency-Key": "k"}):
                    refused = await api.post(f"{chatbot}/conversations", body, headers=headers)
                    assert (refused.status, refused.code, refused.fields) == (422, "invalid_request", {"prompt"}), ascii(prompt)
        assert (await api.get(f"{chatbot}/conversations/c1")).status == 404
        for number, prompt in enumerate(VISIBLE.values()):
            await api.say(chatbot, prompt, conversation=f"v{number}")
            assert (await api.messages(chatbot, f"v{number}"))[0]["content"] == prompt
