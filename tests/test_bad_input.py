"""Whatever is sent gets a problem+json with a code, and the next request works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gigachat_server.access.bearers import API_KEY
from gigachat_server.knowledge.documents.chunk import split
from tests.harness import Api, Reply, gigachat

FOREIGN = "01a204e3-15f7-77b1-9db6-d193b16a5979"


async def still_works(api: Api, chatbot: str) -> None:
    assert (await api.say(chatbot, "Hello", conversation="afterwards"))[0]["content"] == "Hi."


def without_ids(reply: Reply) -> dict[str, Any]:
    return {name: value for name, value in reply.body.items() if name not in ("request_id", "instance")}


async def test_unknown_revoked_and_expired_keys_get_the_same_401(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        revoked, secret = await api.services.key_ring.create(api.services.account.id, "revoked")
        _, expired = await api.services.key_ring.create(api.services.account.id, "old", expires_at=1)
        assert (await api.get("/chatbots", key=secret)).status == 200
        await api.services.key_ring.revoke(api.services.account.id, revoked.id)
        alike = [await api.get("/chatbots", key=key) for key in (secret, expired, API_KEY.mint())]
        assert len({json.dumps(without_ids(reply), sort_keys=True) for reply in alike}) == 1
        replies = [*alike, *[await api.get("/chatbots", key=key) for key in ("garbage", "gca_" + "x" * 46)]]
        replies.append(await api.get("/chatbots", key=None))
        replies.append(await api.get("/chatbots", headers={"Authorization": "Basic dTpw"}))
        replies.append(await api.get("/chatbots", headers={"Authorization": "Bearer"}))
        replies.append(await api.get("/chatbots", headers={"Authorization": f"Bearer {secret[:-1]}é"}))
        replies.append(await api.get("/chatbots", key=None, headers={"Cookie": "gigachat_session=" + api.key}))
        for reply in replies:
            assert (reply.status, reply.code) == (401, "unauthenticated")
            assert "Bearer" in reply.headers["Www-Authenticate"]
        assert (await api.get("/chatbots")).status == 200


async def test_foreign_and_missing_ids_get_the_same_404(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        mine = await api.chatbot()
        other = await api.services.key_ring.ensure_account("other")
        _, other_key = await api.services.key_ring.create(other.id, "other")
        theirs = (await api.post("/chatbots", {"name": "theirs"}, key=other_key)).body["id"]
        document = (await api.post(f"/chatbots/{theirs}/documents", {"name": "d", "content": "text"}, key=other_key)).body[0]
        prompt = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello"}
        await api.post(f"/chatbots/{theirs}/conversations", prompt, key=other_key)
        seen = set()
        for chatbot in (theirs, FOREIGN, "nonsense", "%00", quote("🦄"), theirs.upper()):
            for method, path, body in (
                ("GET", "", None),
                ("PATCH", "", {"name": "x"}),
                ("DELETE", "", None),
                ("GET", "/documents", None),
                ("POST", "/documents", {"name": "d", "content": "x"}),
                ("GET", "/documents/" + document["document_id"], None),
                ("PUT", "/documents/" + document["document_id"], {"name": "d", "content": "x"}),
                ("DELETE", "/documents/" + document["document_id"], None),
                ("GET", "/conversations", None),
                ("POST", "/conversations", prompt),
                ("GET", "/conversations/c1", None),
                ("GET", "/conversations/c1/messages", None),
                ("DELETE", "/conversations/c1", None),
                ("DELETE", "/users/u", None),
            ):
                reply = await api.call(method, f"/chatbots/{chatbot}{path}", body)
                assert (reply.status, reply.code) == (404, "not_found"), (method, path)
                seen.add(json.dumps(without_ids(reply), sort_keys=True))
        assert len(seen) == 1
        seen = set()
        for named in (document["document_id"], FOREIGN, "nonsense"):
            reply = await api.get(f"{mine}/documents/{named}")
            assert (reply.status, reply.code) == (404, "not_found")
            seen.add(json.dumps(without_ids(reply), sort_keys=True))
        assert len(seen) == 1
        assert len((await api.get(f"/chatbots/{theirs}/conversations/c1/messages", key=other_key)).body) == 2, "untouched"
        await still_works(api, mine)


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 400, "malformed_body"),
        (b"{", 400, "malformed_body"),
        (b'{"conversation_id": "c", }', 400, "malformed_body"),
        (b"\xff\xfe", 400, "malformed_body"),
        (b'{"prompt": "\xff"}', 400, "malformed_body"),
        (b'{"a": NaN}', 400, "malformed_body"),
        (b"[" * 100_000, 400, "malformed_body"),
        (b"null", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b'"text"', 422, "invalid_request"),
        (b"{}", 422, "invalid_request"),
    ],
)
async def test_bodies_that_are_no_prompt(tmp_path: Path, raw: bytes, status: int, code: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        reply = await api.post(f"{chatbot}/conversations", raw=raw)
        assert (reply.status, reply.code) == (status, code)
        await still_works(api, chatbot)


PROMPT = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello"}
DEEP: Any = {}
for _ in range(40):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": 5}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 32_001}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "a\x00b"}, "prompt"),
        ({"prompt": "a\ud800b"}, "prompt"),
        ({"conversation_id": 12345}, "conversation_id"),
        ({"conversation_id": ""}, "conversation_id"),
        ({"conversation_id": "x" * 256}, "conversation_id"),
        ({"conversation_id": "."}, "conversation_id"),
        ({"conversation_id": ".."}, "conversation_id"),
        ({"conversation_id": "a\nb"}, "conversation_id"),
        ({"conversation_id": "a\x00"}, "conversation_id"),
        ({"user_id": "x" * 256}, "user_id"),
        ({"user_id": "client:"}, "user_id"),
        ({"user_id": "Client:bob"}, "user_id"),
        ({"user_id": " client:bob"}, "user_id"),
        ({"user_id": "client：bob"}, "user_id"),
        ({"user_id": "cl\u200bient:bob"}, "user_id"),
        ({"user_id": ["client:bob"]}, "user_id"),
        ({"chatbot_id": FOREIGN}, "chatbot_id"),
        ({"role": "operator"}, "role"),
        ({"id": FOREIGN}, "id"),
        ({"created_at": "2020-01-01"}, "created_at"),
        ({"stream": "yes"}, "stream"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": "x" * 17_000}}, "metadata"),
        ({"metadata": {"a\x00": 1}}, "metadata.<name>"),
        ({"metadata": {"a": {"b": "\x00"}}}, "metadata.a.b"),
        ({"metadata": DEEP}, "metadata"),
    ],
)
async def test_a_bad_field_of_a_prompt_is_named(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        reply = await api.post(f"{chatbot}/conversations", {**PROMPT, **change})
        assert (reply.status, reply.code) == (422, "invalid_request"), reply.text
        assert reply.fields == {field}
        assert (await api.get(f"{chatbot}/conversations")).body == [], "nothing was stored"
        await still_works(api, chatbot)


async def test_every_bad_field_is_named_at_once(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        reply = await api.post(f"{chatbot}/conversations", {"conversation_id": 5, "prompt": "", "extra": 1})
        assert reply.fields == {"conversation_id", "prompt", "extra", "user_id"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"name": ""}', "name"),
        ('{"name": 7}', "name"),
        ('{"name": "x", "id": "y"}', "id"),
        ('{"name": "x", "user_id": "y"}', "user_id"),
        ('{"name": "x", "response": {"n": 5}}', "response.n"),
        ('{"name": "x", "response": {"n": 1.5}}', "response.n"),
        ('{"name": "x", "response": {"n": true}}', "response.n"),
        ('{"name": "x", "response": {"temperature": 1e999}}', "response.temperature"),
        ('{"name": "x", "response": {"temperature": -1e999}}', "response.temperature"),
        ('{"name": "x", "response": {"temperature": "hot"}}', "response.temperature"),
        ('{"name": "x", "response": {"memory_size": 101}}', "response.memory_size"),
        ('{"name": "x", "response": {"max_tokens": 0}}', "response.max_tokens"),
        ('{"name": "x", "response": {"colour": 1}}', "response.colour"),
        ('{"name": "x", "response": null}', "response"),
        ('{"name": "x", "documents": {"results": {"match_threshold": 1.1}}}', "documents.results.match_threshold"),
        (
            '{"name": "x", "documents": {"text_splitter": {"chunk_size": 200, "chunk_overlap": 200}}}',
            "documents.text_splitter.chunk_overlap",
        ),
        ('{"name": "x", "restrictions": {"ip_addresses": ["10.0.0.0/33"]}}', "restrictions.ip_addresses[0]"),
        ('{"name": "x", "restrictions": {"hostnames": ["https://example.com"]}}', "restrictions.hostnames[0]"),
        ('{"name": "x", "restrictions": {"hostnames": ["*"]}}', "restrictions.hostnames[0]"),
    ],
)
async def test_a_bad_field_of_a_chatbot_is_named(tmp_path: Path, body: str, field: str) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.post("/chatbots", raw=body.encode())
        assert (reply.status, reply.code) == (422, "invalid_request"), reply.text
        assert reply.fields == {field}
        chatbot = await api.chatbot()
        patch = {name: value for name, value in json.loads(body.replace("1e999", "5e3")).items() if name != "name"}
        if patch:
            changed = await api.call("PATCH", chatbot, patch)
            assert (changed.status, changed.fields) == (422, {field})
        await still_works(api, chatbot)


async def test_bodies_over_the_limit_are_413_however_they_are_sent(tmp_path: Path) -> None:
    async with gigachat(tmp_path, max_body_bytes=2048) as api:
        chatbot = await api.chatbot()
        raw = json.dumps({**PROMPT, "prompt": "x" * 4000}).encode()
        assert (await api.post(f"{chatbot}/conversations", raw=raw)).code == "payload_too_large"

        async def dripping() -> Any:
            for start in range(0, len(raw), 500):
                yield raw[start : start + 500]

        url = f"{api.url}{chatbot}/conversations"
        async with api._session.post(url, data=dripping(), headers={"Authorization": f"Bearer {api.key}"}) as response:
            assert response.status == 413
        await still_works(api, chatbot)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Encoding": "gzip"}, "unsupported_media_type"),
        ({"Content-Type": "application/xml"}, "unsupported_media_type"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "unsupported_media_type"),
    ],
)
async def test_bodies_of_another_type_are_415(tmp_path: Path, headers: dict[str, str], code: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        reply = await api.post(f"{chatbot}/conversations", PROMPT, headers=headers)
        assert (reply.status, reply.code) == (415, code)
        await still_works(api, chatbot)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "d", "content": ""}, "content"),
        ({"name": "d", "content": " \n\t "}, "content"),
        ({"name": "", "content": "x"}, "name"),
        ({"name": "d"}, "content"),
        ({"name": "d", "content": "a\x00b"}, "content"),
        ({"name": "d", "content": "x" * 3001}, "content"),
        ({"name": "d", "content": "x", "embedding": "[1]"}, "embedding"),
    ],
)
async def test_a_bad_field_of_a_document_is_named(tmp_path: Path, body: dict[str, Any], field: str) -> None:
    async with gigachat(tmp_path, max_document_characters=3000) as api:
        chatbot = await api.chatbot()
        reply = await api.post(f"{chatbot}/documents", body)
        assert (reply.status, reply.code, reply.fields) == (422, "invalid_request", {field})
        await still_works(api, chatbot)


async def test_a_document_of_2_mib_on_one_line_works(tmp_path: Path) -> None:
    text = ("x" * 2_000 + " ") * 1_048
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        reply = await api.post(f"{chatbot}/documents?embedding=false", {"name": "long", "content": text[: 2 * 1024 * 1024]})
        assert reply.status == 201
        assert len(reply.body) == len(split(text[: 2 * 1024 * 1024], size=1000, overlap=200))
        await still_works(api, chatbot)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=%00"])
async def test_a_bad_limit_is_422(tmp_path: Path, query: str) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.get(f"/chatbots?{query}")
        assert (reply.status, reply.code, reply.fields) == (422, "invalid_request", {"limit"})


@pytest.mark.parametrize("after", ["x", "%F0%9F", "AAAA", "%00", "9" * 40, "MTIz"])
async def test_a_made_up_cursor_never_breaks(tmp_path: Path, after: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for path in ("/chatbots", f"{chatbot}/documents", f"{chatbot}/conversations"):
            assert (await api.get(f"{path}?after={after}")).status in (200, 422)
        await still_works(api, chatbot)


async def test_wrong_methods_are_405_and_say_what_is_allowed(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.call("PUT", "/chatbots")
        assert (reply.status, reply.code) == (405, "method_not_allowed")
        assert reply.headers["Allow"] == "GET, OPTIONS, POST"
        assert (await api.call("HEAD", "/livez")).text == ""


async def test_paths_that_are_not_utf8_or_hold_dots_are_refused(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        assert (await api.get(f"{chatbot}/conversations/%FF")).status == 422
        assert (await api.get(f"{chatbot}/conversations/%2E%2E")).status == 422
        assert (await api.get(f"{chatbot}/conversations/%00")).status == 422
        await still_works(api, chatbot)


async def test_request_ids_are_given_back_or_made(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        assert (await api.get("/livez", headers={"X-Request-Id": "trace-1"})).headers["X-Request-Id"] == "trace-1"
        made = (await api.get("/nowhere", headers={"X-Request-Id": "x" * 500})).body["request_id"]
        assert len(made) == 16


@pytest.mark.parametrize("group", ["response", "interception"])
async def test_a_bad_field_of_how_prompts_and_humans_meet_is_named(tmp_path: Path, group: str) -> None:
    wrong: dict[str, list[Any]] = {
        "response": [
            ("overlap", "QUEUE"),
            ("overlap", None),
            ("overlap", ["queue"]),
            ("coalesce_ms", -1),
            ("coalesce_ms", 60_001),
            ("coalesce_ms", 1.5),
            ("coalesce_ms", "1500"),
            ("coalesce_ms", 10**30),
        ],
        "interception": [
            ("mode", "both"),
            ("mode", 1),
            ("release_after_minutes", 0),
            ("release_after_minutes", 525_601),
            ("release_after_minutes", "5"),
            ("handoff", 1),
            ("handoff_message", ""),
            ("handoff_message", "x" * 2001),
            ("handoff_message", "a\x00b"),
            ("handoff_message", "\ud800"),
            ("handoff_after_unanswered", 11),
            ("handoff_after_unanswered", -1),
            ("controlled_by", "eve"),
        ],
    }
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        before = (await api.get(chatbot)).body
        for name, value in wrong[group]:
            for method, path, named in (("POST", "/chatbots", {"name": "x"}), ("PATCH", chatbot, {})):
                reply = await api.call(method, path, {**named, group: {name: value}})
                assert (reply.status, reply.fields) == (422, {f"{group}.{name}"}), (name, value, reply.text)
        assert (await api.get(chatbot)).body == before
        await still_works(api, chatbot)


async def test_bad_bodies_and_places_of_the_routes_of_a_turn_are_never_a_5xx(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "Hello")
        conversation = f"{chatbot}/conversations/c1"
        message = f"{conversation}/messages/{reply['id']}"
        for method, path in (
            ("POST", f"{conversation}/takeover"),
            ("POST", f"{conversation}/handoff"),
            ("POST", f"{message}/retry"),
            ("PUT", f"{message}/feedback"),
        ):
            for raw in (
                b"{",
                b"\xff",
                b"null",
                b"[]",
                b'"x"',
                b"5",
                b"[" * 50_000,
                b'{"a": NaN}',
                b'{"x": {}}',
                b'{"\\u0000": 1}',
            ):
                refused = await api.call(method, path, raw=raw)
                assert refused.status in (400, 422), (path, raw[:20], refused.text)
            assert (await api.call(method, path, {}, headers={"Content-Encoding": "gzip"})).status == 415
            assert (await api.call(method, path, {}, headers={"Content-Type": "text/csv"})).status == 415
            assert (await api.call(method, path, {"x": "y" * 2_000_000})).status == 413
            assert (await api.get(path)).status == 405
        for after in ("x", "-1", "9" * 19, "%00", "%D9%A3", ""):
            assert (await api.get(f"{conversation}/events?after={after}")).status == 422
        for place in ("x", "1.x", "1.2.3", "-1", "9" * 19, "1." + "9" * 19):
            stream = {"Accept": "text/event-stream", "Last-Event-ID": place}
            assert (await api.get(f"{conversation}/events", headers=stream)).status == 422
        for place in ("x", "AAAA", "%00"):
            assert (await api.get(f"{chatbot}/events", headers={"Last-Event-ID": place})).status == 422
        unknown = {"Accept": "text/event-stream"}
        assert (await api.get(f"{chatbot}/conversations/none/events", headers=unknown)).code == "not_found"
        assert await api.messages(chatbot) == [(await api.messages(chatbot))[0], reply]
        await still_works(api, chatbot)


async def test_numbers_of_any_size_in_metadata_come_back_as_they_were(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        raw = b'{"conversation_id":"c1","user_id":"u","prompt":"p","metadata":{"a":123456789012345678901234567890,"b":-1e308}}'
        for _ in range(2):
            reply = await api.post(f"{chatbot}/conversations", raw=raw, headers={"Idempotency-Key": "k"})
            assert reply.status == 201
        assert (await api.messages(chatbot))[0]["metadata"] == {"a": 123456789012345678901234567890, "b": -1e308}


async def test_no_text_of_a_list_holds_nul_either(tmp_path: Path) -> None:
    """Lists are decoded into tuples."""
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for method, path, body in (
            ("POST", f"{chatbot}/fixed-answers", {"answer": "At nine.", "prompts": ["When?", "a\0b"]}),
            ("POST", f"{chatbot}/sites", {"url": "https://example.com/", "kind": "page", "include": ["a\0b"]}),
            ("POST", f"{chatbot}/replay", {"conversation_ids": ["a\0b"]}),
            ("POST", "/chatbots", {"name": "x", "response": {"fallback_models": ["a\0b"]}}),
        ):
            refused = await api.call(method, path, body)
            assert refused.status == 422, (path, refused.text)
            assert any("NUL" in error["message"] for error in refused.body["errors"]), refused.text


async def test_a_wrong_query_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "Hello?")
        conversation = f"{chatbot}/conversations/c1"
        message, wrong = f"{conversation}/messages/{reply['id']}", "?embedding=maybe"
        prompt = {"conversation_id": "c1", "user_id": "ann@example.com", "prompt": "Again?"}
        document = {"name": "a.txt", "content": "We open at nine."}
        before = await api.messages(chatbot)
        for method, path, body, headers in (
            ("POST", f"{chatbot}/conversations", prompt, {}),
            ("POST", f"{chatbot}/conversations", prompt, {"Accept": "text/event-stream"}),
            ("POST", f"{message}/retry", {}, {}),
            ("POST", f"{conversation}/stop", None, {}),
            ("PUT", f"{message}/feedback", {"rating": "up"}, {}),
            ("POST", f"{chatbot}/documents", document, {}),
            ("POST", f"{chatbot}/documents", document, {"Prefer": "respond-async"}),
        ):
            refused = await api.call(method, path + wrong, body, headers=headers)
            assert (refused.status, refused.fields) == (422, {"embedding"}), (path, refused.text)
        assert await api.messages(chatbot) == before
        assert (await api.get(f"{chatbot}/documents")).body == []
