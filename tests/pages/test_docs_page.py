"""The reference page says all that the OpenAPI document says."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest

from gigachat_server.api.openapi import openapi
from gigachat_server.api.problem_schemas import error_codes
from gigachat_server.pages.docs import groups
from tests.access.people import keeper
from tests.pages.pages import Page, pages

pytestmark = pytest.mark.sqlite_only  # a page sees nothing but the API, which is tested on both


async def test_every_route_and_error_is_described_to_anybody(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        reply = await site.stranger.get("/docs")
    assert reply.status == 200
    page = Page(reply.text)
    assert page.dangers == []
    document = openapi()
    for path, by_method in document["paths"].items():
        for method, operation in by_method.items():
            assert operation["operationId"] in page.ids
            assert f"{method.upper()} {path}" in page.text
            assert operation["summary"] in page.text
            for parameter in operation["parameters"]:
                assert parameter["name"] in page.text
    for code, status, meaning in error_codes():
        assert f"error-{code}" in page.ids
        assert f"{code} {status} {meaning}".replace("`", "") in page.text
    assert len(page.ids) == len(set(page.ids))
    assert 'href="/openapi.json"' in reply.text


async def test_the_page_is_made_once_for_everybody(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        began_s = time.process_time()
        first = await site.stranger.get("/docs")
        making_s, began_s = time.process_time() - began_s, time.process_time()
        replies = [await site.stranger.get("/docs") for _ in range(20)]
        took_s = (time.process_time() - began_s) / 20
        assert {reply.text for reply in replies} == {first.text}
        assert took_s < making_s / 3, "it is made once"
        elsewhere = await site.stranger.get("/docs", Host="chat.example.com")
        assert "http://chat.example.com/chatbots" in elsewhere.text


def test_fields_are_told_down_to_the_nested_ones() -> None:
    operations = {operation.anchor: operation for group in groups() for operation in group.operations}
    fields = {field.name: field for field in operations["chatbots_create"].fields}
    assert fields["name"].is_required
    assert fields["response.n"].default == "1"
    assert fields["response.n"].type == "integer, 1–4"
    assert fields["documents.results.match_threshold"].default == "0.78"
    said = {field.name for field in operations["conversations_say"].response_fields}
    assert {"content", "sources[].score", "sources[].metadata.loc.lines.from"} <= said


def test_every_example_is_a_command() -> None:
    for operation in (operation for group in groups() for operation in group.operations):
        words = shlex.split(operation.curl.replace("\\\n", ""))
        assert words[0] == "curl"
        method = words[words.index("-X") + 1] if "-X" in words else "POST" if "-d" in words else "GET"
        assert method == operation.method
        assert any(word.startswith("$BASE/") and "{" not in word for word in words)
        if "-d" in words:
            body = json.loads(words[words.index("-d") + 1])
            names = {field.name.split(".")[0] for field in operation.fields}
            assert set(body) <= names
            assert {field.name for field in operation.fields if field.is_required and "[" not in field.name} <= set(body)


async def test_the_examples_work(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, site.api.key = await site.api.chatbot(), await keeper(site.api)
        await site.api.services.site_worker.aclose()  # what an example names is not fetched
        for operation in (operation for group in groups() for operation in group.operations):
            words = shlex.split(operation.curl.replace("\\\n", ""))
            if (
                operation.method != "POST"
                or "-d" not in words
                or operation.path in ("/api-keys", "/operators")
                or "{prompt_id}" in operation.path
                or operation.path.endswith("/ui")  # whose messages are those of the AI SDK
            ):
                continue
            path = operation.path.replace("/chatbots/{chatbot_id}", chatbot)
            body = words[words.index("-d") + 1].replace("CHATBOT_ID", chatbot.rpartition("/")[2])
            reply = await site.api.post(path, json.loads(body))
            assert str(reply.status) == operation.status, (operation.curl, reply.text)
