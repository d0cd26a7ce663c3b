"""Chat completions over HTTP: what goes in, and what comes out as JSON and as a stream."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gigachat_server.errors import ModelFiltered, ModelInterrupted, ModelUnreachable
from gigachat_server.models.base import ReplyEnd, TakenBack, TextDelta, UsageReport
from gigachat_server.models.fake import Pause, ScriptedModel, Step
from tests.harness import Api, Reply, gigachat
from tests.openai.calls import (
    assistant,
    chat,
    chatting,
    conversation_of,
    count,
    error,
    frames,
    spoken,
    stored,
    text_of,
    user,
)

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


async def test_a_chat_completion_is_a_turn(tmp_path: Path) -> None:
    model = ScriptedModel(["Hel", "lo", UsageReport("big", 7, 2)])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        reply = await chat(api, chatbot, "Hi", metadata={"user_id": "ann", "page": "/help"})
        prompt, answer = await api.messages(chatbot, conversation_of(reply))
    assert reply.status == 200
    body = reply.body
    assert body["id"] == f"chatcmpl-{answer['id']}"
    assert (body["object"], body["model"]) == ("chat.completion", chatbot.rpartition("/")[2])
    [choice] = body["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert (choice["message"]["role"], choice["message"]["content"]) == ("assistant", "Hello")
    assert body["usage"] == USAGE
    assert body["gigachat"]["conversation_id"] == conversation_of(reply)
    assert conversation_of(reply).startswith("conv_")
    assert (prompt["user_id"], prompt["content"], prompt["metadata"]["page"]) == ("ann", "Hi", "/help")
    assert (answer["content"], answer["in_reply_to"]) == ("Hello", prompt["id"])


async def test_the_root_finds_the_chatbot_by_its_id_or_its_only_name(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(name="Shop – Österreich")
        for _ in range(2):
            await api.chatbot(name="Twin")
        for model in ("Shop – Österreich", chatbot.rpartition("/")[2]):
            assert (await api.post("/v1/chat/completions", {"model": model, "messages": [user("Hi")]})).status == 200
        for wrong in ("Twin", "gpt-4o", "", "x" * 300, None, "01890a5d-ac96-774b-bcce-b302099a8057"):
            sent = {"model": wrong, "messages": [user("Hi")]}
            found = error(await api.post("/v1/chat/completions", sent))
            assert (found[0], found[1]) in {(404, "model_not_found"), (404, "not_found")}, wrong
        _, secret = await api.services.key_ring.create((await api.services.key_ring.ensure_account("other")).id, "x")
        await api.post("/chatbots", {"name": "None"})
        assert error(await api.post("/v1/chat/completions", {"model": None, "messages": [user("Hi")]}))[1] == "model_not_found"
        foreign = await api.post("/v1/chat/completions", {"model": "Shop – Österreich", "messages": [user("Hi")]}, key=secret)
        assert error(foreign) == (404, "model_not_found", "model")
        assert await count(api, "user") == 2


@pytest.mark.parametrize("script", [["Hel", "lo"], ["Grüße, ", "日本 🙂", "!"]])
async def test_a_stream_a_json_answer_and_the_history_say_the_same(tmp_path: Path, script: list[str]) -> None:
    async with gigachat(tmp_path, model=ScriptedModel([*script, UsageReport("big", 7, 2)])) as api:
        chatbot = await api.chatbot()
        whole = await chat(api, chatbot, "Hi")
        streamed = await chat(api, chatbot, "Hi", stream=True, stream_options={"include_usage": True})
        _, answer = await api.messages(chatbot, conversation_of(streamed))
    found = frames(streamed)
    assert text_of(whole) == spoken(streamed) == answer["content"] == "".join(script)
    assert found[-1] == ("", "[DONE]")
    *chunks, usage = [data for _, data in found[:-1]]
    assert (usage["choices"], usage["usage"]) == ([], USAGE)
    assert {chunk["id"] for chunk in chunks} == {f"chatcmpl-{answer['id']}"}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_without_being_asked_for_usage_a_stream_has_none(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chunks = [data for _, data in frames(await chat(api, await api.chatbot(), "Hi", stream=True))[:-1]]
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)


async def test_words_leave_as_they_are_said(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        url = f"{api.url}{await api.chatbot()}/v1/chat/completions"
        headers = {"Authorization": f"Bearer {api.key}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"messages": [user("Hi")], "stream": True}, headers=headers) as response,
        ):
            arrived = b""
            while b'"Hel"' not in arrived:
                arrived += await response.content.readany()
            assert b'"stop"' not in arrived
            pause.resume()
            assert b'"lo"' in await response.content.read()


async def test_each_alternative_is_a_choice(tmp_path: Path) -> None:
    script: list[Step] = [TextDelta(0, "A"), TextDelta(1, "B"), TextDelta(0, "a"), ReplyEnd(0), ReplyEnd(1, "length")]
    async with gigachat(tmp_path, model=ScriptedModel(script)) as api:
        chatbot = await api.chatbot(response={"n": 2})
        whole, streamed = await chat(api, chatbot, "Hi", n=2), await chat(api, chatbot, "Hi", stream=True)
        assert error(await chat(api, chatbot, "Hi", n=1)) == (400, "unsupported_parameter", "n")
    told = [(each["message"]["content"], each["finish_reason"]) for each in whole.body["choices"]]
    assert told == [("Aa", "stop"), ("B", "length")]
    assert (spoken(streamed, 0), spoken(streamed, 1)) == ("Aa", "B")
    ends = [choice for _, data in frames(streamed)[:-1] for choice in data["choices"] if choice["finish_reason"]]
    assert [(each["index"], each["finish_reason"]) for each in ends] == [(0, "stop"), (1, "length")]


async def test_a_stream_begins_anew_where_the_model_took_back_what_it_said(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hm.", TakenBack(0), pause, "Yes."])) as api:
        chatbot = await api.chatbot()
        asked = chatting(api, chatbot, "Hi", stream=True)
        await pause.reached.wait()
        pause.resume()
        assert spoken(await asked).endswith("Yes.")


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_turn_that_fails(tmp_path: Path, is_streamed: bool) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", ModelInterrupted()])) as api:
        chatbot = await api.chatbot()
        reply = await chat(api, chatbot, "Hi", stream=is_streamed)
        if not is_streamed:
            assert error(reply) == (502, "upstream_interrupted", None)
            assert reply.body["error"]["type"] == "server_error"
            return
        *_, (_, said), (_, last) = frames(reply)
        assert said["choices"][0]["delta"] == {"content": "Hel"}
        assert last["error"]["code"] == "upstream_interrupted"


async def test_a_client_is_told_whether_to_try_again(tmp_path: Path) -> None:
    model = ScriptedModel([ModelUnreachable()], [ModelFiltered()])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"overlap": "reject"})
        down, filtered = await chat(api, chatbot, "Hi"), await chat(api, chatbot, "Ho")
        assert error(down) == (502, "upstream_unreachable", None)
        assert "X-Should-Retry" not in down.headers
        assert error(filtered) == (400, "upstream_filtered", None)
        assert filtered.headers["X-Should-Retry"] == "false"


async def test_a_busy_conversation_is_not_tried_again(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel([pause, "Hi"])) as api:
        chatbot = await api.chatbot(response={"overlap": "reject"})
        named = {"X-Conversation-Id": "c1"}
        asked = chatting(api, chatbot, "One", headers=named)
        await pause.reached.wait()
        refused = await chat(api, chatbot, "Two", headers=named)
        pause.resume()
        assert (await asked).status == 200
    assert error(refused) == (409, "conversation_busy", None)
    assert (refused.headers["X-Should-Retry"], refused.headers["Retry-After"]) == ("false", "1")


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_what_an_operator_answers_is_answered_with_nothing(tmp_path: Path, is_streamed: bool) -> None:
    """A prompt that was intercepted comes back to native callers as itself: here that would put it into the chatbot's mouth."""
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hi")
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "bob"})
        reply = await chat(api, chatbot, "Are you there?", headers={"X-Conversation-Id": "c1"}, stream=is_streamed)
        prompt = (await api.messages(chatbot))[-1]
    assert reply.headers["X-Gigachat-Turn"] == "intercepted"
    assert prompt["content"] == "Are you there?"
    if is_streamed:
        assert spoken(reply) == ""
        first, end, done = frames(reply)
        assert first[1]["id"] == f"chatcmpl-{prompt['id']}"
        assert end[1]["choices"][0]["finish_reason"] == "stop"
        assert done[1] == "[DONE]"
    else:
        assert (text_of(reply), reply.body["id"]) == ("", f"chatcmpl-{prompt['id']}")
        assert reply.body["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_takeover_in_the_middle_ends_with_what_was_stored(tmp_path: Path, is_streamed: bool) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        asked = chatting(api, chatbot, "Hi", headers={"X-Conversation-Id": "c1"}, stream=is_streamed)
        await pause.reached.wait()
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "bob"})
        reply = await asked
        said = await stored(api, chatbot, "c1")
    assert said == [("user", "Hi"), ("assistant", "Hel")]
    assert (spoken(reply) if is_streamed else text_of(reply)) == "Hel"


async def test_a_chatbot_that_does_not_stream_sends_its_reply_in_one_piece(tmp_path: Path) -> None:
    """A client that asked for a stream can read nothing else."""
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", "lo"])) as api:
        reply = await chat(api, await api.chatbot(response={"stream": False}), "Hi", stream=True)
    pieces = [data["choices"][0]["delta"].get("content") for _, data in frames(reply)[:-1]]
    assert pieces == ["", "Hello", None]


async def test_pages_and_documents_are_cited(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Parcels ship on Monday [1][2]."])) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0}})
        await api.push(chatbot, "https://example.com/parcels", "Parcels ship on Monday.")
        await api.push(chatbot, "handbook", "Parcels ship on Monday, says the handbook.")
        whole, streamed = await chat(api, chatbot, "When do parcels ship?"), await chat(api, chatbot, "Parcels?", stream=True)
        response = (await api.post(f"{chatbot}/v1/responses", {"input": "When do parcels ship?"})).body
    message = whole.body["choices"][0]["message"]
    all_cited = message["gigachat"]["citations"]
    assert {each["document_name"] for each in all_cited} == {"https://example.com/parcels", "handbook"}
    for each in all_cited:
        assert message["content"][each["marker_start"] : each["marker_end"]] == f"[{each['number']}]"
    [page] = message["annotations"]
    place = page["url_citation"]
    assert (page["type"], place["url"]) == ("url_citation", "https://example.com/parcels")
    assert message["content"][place["start_index"] : place["end_index"]] in ("[1]", "[2]")
    last = frames(streamed)[-2][1]["choices"][0]["delta"]
    assert len(last["annotations"]) == 1
    assert len(last["gigachat"]["citations"]) == 2
    by_type = {each["type"]: each for each in response["output"][0]["content"][0]["annotations"]}
    assert by_type["url_citation"]["url"] == "https://example.com/parcels"
    assert by_type["file_citation"]["filename"] == "handbook"
    assert by_type["file_citation"]["file_id"].startswith("file-")


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "alloy"}}, "audio"),
    ({"n": 3}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"store": False}, "store"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}]}, "messages[0].content[1]"),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "x"}}]}]}, "messages[0].content[0]"),
]


async def test_what_it_would_be_a_lie_to_ignore_is_refused(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for more, param in UNSUPPORTED:
            for is_streamed in (False, True):
                body = {"messages": [user("Hi")], "stream": is_streamed, **more}
                reply = await api.post(f"{chatbot}/v1/chat/completions", body)
                assert error(reply) == (400, "unsupported_parameter", param), more
        assert await count(api) == 0


async def test_what_has_no_effect_is_named_and_the_unknown_passes(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        quiet = await chat(
            api, chatbot, "Hi", n=1, tools=[], tool_choice="auto", response_format={"type": "text"}, store=None, logprobs=False,
            modalities=["text"], parallel_tool_calls=True, brand_new={"deep": [1]}, temperature=None,
        )  # fmt: skip
        named = await chat(
            api, chatbot, {"role": "developer", "content": "Be rude."}, user("Hi"), temperature=0, top_p=1, max_tokens=5,
            max_completion_tokens=5, presence_penalty=1, frequency_penalty=1,
        )  # fmt: skip
    assert quiet.status == named.status == 200
    assert "X-Gigachat-Ignored" not in quiet.headers
    assert set(named.headers["X-Gigachat-Ignored"].split(", ")) == {
        "temperature", "top_p", "max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty", "system",
    }  # fmt: skip


BAD: list[tuple[Any, str | None]] = [
    ({"messages": []}, "messages"),
    ({}, "messages"),
    ({"messages": "Hi"}, "messages"),
    ({"messages": [assistant("Hi")]}, "messages[0].role"),
    ({"messages": [user("Hi"), {"role": "tool", "content": "x"}]}, "messages[1].role"),
    ({"messages": [user("Hi"), {"role": "system", "content": "x"}]}, "messages[1].role"),
    ({"messages": [user("Hi"), {"type": "item_reference", "id": "msg_x"}]}, "messages[1].role"),
    ({"messages": ["Hi"]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0]"),
    ({"messages": [{"role": "user"}]}, "messages[0]"),
    ({"messages": [user("")]}, "messages[0]"),
    ({"messages": [user(" \n\u200b")]}, "messages[0]"),
    ({"messages": [user("a\0b")]}, "messages[0]"),
    ({"messages": [user("x" * 32_001)]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0]"),
    ({"messages": [user("Hi")], "user": 5}, "user"),
    ({"messages": [user("Hi")], "metadata": []}, "metadata"),
    ({"messages": [user("Hi")], "metadata": {"x": "y" * 20_000}}, "metadata"),
    ({"messages": [user("Hi")], "metadata": {"x": "a\0b"}}, "metadata.x"),
    ([], None),
    (7, None),
]


async def test_bad_bodies_are_400_and_say_where(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for body, param in BAD:
            reply = await api.post(f"{chatbot}/v1/chat/completions", body)
            assert error(reply) == (400, "invalid_request", param), body
            assert reply.body["error"]["type"] == "invalid_request_error"
        for raw in (b"", b"{", b'{"messages": [{"role": "user", "content": "\\ud800 x"}]}', b"\xff\xfe", b'{"messages":[' * 500):
            reply = await api.call("POST", f"{chatbot}/v1/chat/completions", raw=raw)
            assert (reply.status, error(reply)[1] in ("malformed_body", "invalid_request")) == (400, True), raw
        assert await count(api) == 0


async def test_texts_may_come_in_parts(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        parts = [{"type": "text", "text": "When do"}, {"type": "input_text", "text": "parcels ship?"}]
        reply = await chat(api, chatbot, {"role": "user", "name": "ann", "content": parts})
        assert (await stored(api, chatbot, conversation_of(reply)))[0] == ("user", "When do\nparcels ship?")


async def test_a_long_history_is_read_from_its_end(tmp_path: Path) -> None:
    """Ten megabytes of it, with what nobody can read in between."""
    model = ScriptedModel(["Hi."])
    async with gigachat(tmp_path, model=model, max_body_bytes=16 * 1024 * 1024) as api:
        chatbot = await api.chatbot(response={"memory_size": 3})
        odd: list[Any] = [
            7,
            None,
            [],
            {"role": 3},
            {"role": "tool", "content": [{"type": "image"}]},
            {"type": "reasoning", "id": "rs_1"},
        ]
        long = [user("x" * 10_000), assistant("y" * 10_000)] * 500
        reply = await chat(api, chatbot, *long, *odd, user("A?"), assistant("B."), user("C?"))
        assert reply.status == 200, reply.text
        too_large = await chat(api, chatbot, *(long * 2), user("C?"))
    assert error(too_large) == (413, "payload_too_large", None)
    [call] = model.calls
    [quoted] = [each.content for each in call.messages if each.content.startswith("The application")]
    assert quoted.count("y" * 100) == 100, "of the long ones the last, and all of it"
    assert "A?" in quoted and "B." in quoted
    assert call.messages[-1].content == "C?"


async def test_explicit_idempotency_keys_are_honoured(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        headers = {"Idempotency-Key": "k1"}
        first, again = await chat(api, chatbot, "Yes", headers=headers), await chat(api, chatbot, "Yes", headers=headers)
        other = await chat(api, chatbot, "No", headers=headers)
        streamed = await chat(api, chatbot, "Yes", headers=headers, stream=True)
        unfilled = await chat(api, chatbot, "Yes", headers={"Idempotency-Key": "{{USER_MESSAGE_ID}}"})
        assert await count(api, "user") == 2
    assert first.body == again.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert error(other) == (400, "idempotency_key_reused", None)
    assert spoken(streamed) == text_of(first)
    assert unfilled.status == 200


async def test_a_front_ends_own_tasks_are_no_prompts(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        headers = {"X-OpenWebUI-Task": "title_generation", "X-OpenWebUI-Chat-Id": "c1"}
        for is_streamed in (False, True):
            assert error(await chat(api, chatbot, "Make a title", headers=headers, stream=is_streamed))[:2] == (
                400,
                "task_not_answered",
            )
        made = await api.post(f"{chatbot}/v1/responses", {"input": "Make a title"}, headers=headers)
        assert error(made)[:2] == (400, "task_not_answered")
        assert await count(api) == 0
        for nothing in ("", " ", "{{TASK}}"):
            assert (await chat(api, chatbot, "Hi", headers={**headers, "X-OpenWebUI-Task": nothing})).status == 200


async def many(api: Api, chatbot: str, how_many: int) -> list[Reply]:
    return list(await asyncio.gather(*(chat(api, chatbot, f"Hi {number}") for number in range(how_many))))


async def test_many_at_once_are_as_many_conversations(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        replies = await many(api, chatbot, 20)
    assert len({conversation_of(reply) for reply in replies}) == 20
