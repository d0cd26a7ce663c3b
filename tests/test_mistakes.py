"""Each typical mistake is answered with what is wrong and what to do, and an outsider learns nothing by it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gigachat_server.edge.field_faults import plain
from gigachat_server.edge.signposts import other_address, why_no_key, why_refused
from tests.harness import Reply, gigachat
from tests.mistakes import ID, MISTAKES
from tests.pages.pages import Page, pages


def told(reply: Reply) -> str:
    """What the answer says, its fields first."""
    fields = [f"{error['field']}: {error['message']}" for error in reply.body.get("errors", ())]
    return "\n".join([*fields, reply.body["detail"]])


def test_there_are_forty_mistakes_and_each_is_another() -> None:
    assert len({mistake.what for mistake in MISTAKES}) == len(MISTAKES) >= 40


@pytest.mark.sqlite_only  # what is said depends on the request alone
async def test_each_mistake_is_answered_with_what_to_do(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        wrong = []
        for mistake in MISTAKES:
            reply = await api.call(
                mistake.method,
                mistake.path.replace("$BOT", chatbot),
                mistake.body,
                raw=mistake.raw,
                headers=mistake.headers,
                key=mistake.key,
            )
            if (reply.status, reply.code) != (mistake.status, mistake.code) or mistake.told not in told(reply):
                wrong.append((mistake.what, reply.status, told(reply)))
            assert not re.search(r"`(str|int|float|object|array)`|msgspec|Traceback", reply.text), mistake.what
        assert not wrong, "\n".join(map(str, wrong))
        assert (await api.say(chatbot, "Hello"))[-1]["content"] == "Hi."


@pytest.mark.sqlite_only
async def test_without_a_key_nothing_is_told_of_what_is_stored(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        for key in (None, "gca_" + "0" * 46):
            for rest in ("", "/conversations/c1", "/nonsense", "/conversations/c1/messages?page=2", "/conversations/"):
                seen = set()
                for path in (chatbot, f"/chatbots/{ID}", "/chatbots/nonsense"):
                    reply = await api.get(path + rest, key=key, headers={"X-Request-Id": "r"})
                    assert reply.status in (401, 404)
                    seen.add(json.dumps({**reply.body, "instance": ""}))
                assert len(seen) == 1, (rest, seen)


@pytest.mark.sqlite_only
async def test_what_the_contract_says_of_all_lists_is_no_mistake(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for path in (
            "/chatbots?limit=5",
            "/queue?limit=5",
            f"{chatbot}?embedding=false",
            f"{chatbot}/documents?embedding=false&limit=5",
            f"{chatbot}/conversations?embedding=true",
            "/livez?at=1",
        ):
            assert (await api.get(path)).status == 200, path


@pytest.mark.sqlite_only
async def test_an_unknown_page_is_a_page_in_a_browser(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        for path, hint in (
            ("/keyss", "Did you mean /keys?"),
            ("/login/", "Leave out the slash at the end; it is /login."),
            ("/x/y", ""),
        ):
            reply = await site.visitor.get(path, Accept="text/html,application/xhtml+xml,*/*;q=0.8")
            assert (reply.status, reply.headers["Content-Type"]) == (404, "text/html; charset=utf-8"), path
            assert hint in Page(reply.text).text
            assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
            assert (await site.visitor.get(path, Accept="application/json")).code == "not_found"
        listed = await site.visitor.get("/chatbots", Accept="text/html")
        assert (listed.status, listed.code) == (401, "unauthenticated"), "a documented address is the API's whoever asks"


@pytest.mark.parametrize(
    ("said", "plainly"),
    [
        ("Expected `str`, got `int`", "Must be a string, not a whole number."),
        ("Expected `int | null`, got `str`", "Must be a whole number or null, not a string."),
        ("Expected `str` of length >= 1", "Must not be empty."),
        ("Expected `str` of length >= 2", "Must have at least 2 characters."),
        ("Expected `array` of length <= 1", "Must have at most 1 entry."),
        ("Expected `array` of length <= 9", "Must have at most 9 entries."),
        ("Expected `float` >= 0.0", "Must be at least 0."),
        ("Expected `float` <= 1.5", "Must be at most 1.5."),
        ("Invalid enum value 'x'", "Is none of the words that are allowed here."),
    ],
)
def test_the_words_of_the_library_are_put_plainly(said: str, plainly: str) -> None:
    assert plain(said) == plainly


def test_what_is_said_of_keys_and_addresses_never_breaks() -> None:
    for text in ("x", "\x00", "é" * 300, "' OR 1=1 --", "gca_", '"', "bearer x", "/" * 2000):
        assert (
            why_refused(text)
            and why_no_key({"authorization": text}, text.encode())
            and other_address(text.split("/"), ["/a"], root="")
        )
