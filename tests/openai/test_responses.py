"""Responses over HTTP: created, streamed, fetched again, cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.errors import ModelInterrupted
from gigachat_server.models.base import ReplyEnd, TextDelta, UsageReport
from gigachat_server.models.fake import Pause, ScriptedModel
from tests.harness import Reply, gigachat, until
from tests.openai.calls import conversation_of, count, error, frames, respond, stored, user
from tests.turns import told

TYPES = [
    "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
    "output_text.done", "content_part.done", "output_item.done", "completed",
]  # fmt: skip


def text_of(body: Any) -> str:
    [item] = body["output"]
    [content] = item["content"]
    text: str = content["text"]
    return text


def by_type(reply: Reply) -> dict[str, Any]:
    """The data of the last event of each type; asserts what holds of each."""
    found = frames(reply)
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert all(name == data["type"] for name, data in found)
    return {name.removeprefix("response."): data for name, data in found}


async def test_a_response_is_a_turn_and_can_be_had_again(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Hello", UsageReport("big", 7, 2)])) as api:
        chatbot = await api.chatbot()
        reply = await respond(api, chatbot, "Hi", user="ann", metadata={"page": "/help"})
        prompt, answer = await api.messages(chatbot, conversation_of(reply))
        for mount in (chatbot, ""):
            again = await api.get(f"{mount}/v1/responses/{reply.body['id']}")
            assert again.status == 200
            assert again.body == reply.body
    body = reply.body
    assert (reply.status, body["object"], body["status"]) == (200, "response", "completed")
    assert (body["id"], body["output"][0]["id"]) == (f"resp_{answer['id']}", f"msg_{answer['id']}")
    assert text_of(body) == answer["content"] == "Hello"
    assert body["conversation"] == {"id": conversation_of(reply)}
    assert body["metadata"] == {"page": "/help"}
    assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"], body["usage"]["total_tokens"]) == (7, 2, 9)
    assert (body["error"], body["incomplete_details"], body["tools"]) == (None, None, [])
    assert prompt["user_id"] == "ann"


async def test_a_streamed_response_says_what_is_stored(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", "lo"])) as api:
        chatbot = await api.chatbot(response={"n": 2})
        reply = await respond(api, chatbot, "Hi", stream=True)
        _, answer, _ = await api.messages(chatbot, conversation_of(reply))
        again = (await api.get(f"{chatbot}/v1/responses/resp_{answer['id']}")).body
    events = by_type(reply)
    found = [name.removeprefix("response.") for name, _ in frames(reply)]
    assert [each for number, each in enumerate(found) if each != "output_text.delta" or found[number - 1] != each] == [
        each for number, each in enumerate(TYPES) if each != "output_text.delta" or TYPES[number - 1] != each
    ]
    deltas = [data["delta"] for name, data in frames(reply) if name == "response.output_text.delta"]
    assert "".join(deltas) == events["output_text.done"]["text"] == text_of(events["completed"]["response"]) == "Hello"
    assert events["completed"]["response"] == again
    assert events["created"]["response"]["id"] == again["id"]
    assert (events["created"]["response"]["status"], events["created"]["response"]["output"]) == ("in_progress", [])
    assert {data["item_id"] for _, data in frames(reply) if "item_id" in data} == {f"msg_{answer['id']}"}
    assert events["output_item.done"]["item"] == again["output"][0]


async def test_a_conversation_goes_on_from_the_previous_response(tmp_path: Path) -> None:
    model = ScriptedModel(["Re."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        first = await respond(api, chatbot, "One")
        second = await respond(api, chatbot, "Two", previous_response_id=first.body["id"])
        assert conversation_of(second) == conversation_of(first)
        assert second.body["previous_response_id"] == first.body["id"]
        assert told(model.calls[-1]) == ["One", "Re.", "Two"]
        branch = await respond(api, chatbot, "Three", previous_response_id=first.body["id"])
        assert error(branch) == (400, "previous_response_superseded", None)
        both = await respond(api, chatbot, "x", previous_response_id=second.body["id"], conversation="c")
        assert error(both) == (400, "invalid_request", "previous_response_id")
        third = await respond(api, chatbot, "Three", previous_response_id=second.body["id"])
        assert third.status == 200
        assert len(await stored(api, chatbot, conversation_of(first))) == 6


async def test_of_two_that_go_on_from_one_response_at_once_the_second_waits_or_is_refused(tmp_path: Path) -> None:
    """Neither is a branch: what is stored stays one line."""
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        first = await respond(api, chatbot, "One")
        replies = await asyncio.gather(
            *(respond(api, chatbot, f"Two {number}", previous_response_id=first.body["id"]) for number in range(4))
        )
        assert {each.status for each in replies} <= {200, 400}
        roles = [role for role, _ in await stored(api, chatbot, conversation_of(first))]
        assert roles.count("user") == roles.count("assistant") == 1 + sum(each.status == 200 for each in replies)


async def test_unknown_and_foreign_previous_responses_look_the_same(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, other = await api.chatbot(), await api.chatbot()
        anns = (await respond(api, chatbot, "One", user="ann")).body["id"]
        elsewhere = (await respond(api, other, "One", user="ann")).body["id"]
        for previous, whose in (
            ("resp_01890a5d-ac96-774b-bcce-b302099a8057", "ann"),
            ("resp_x", "ann"),
            ("", "ann"),
            (elsewhere, "ann"),
            (anns, "bob"),
        ):
            reply = await respond(api, chatbot, "Two", previous_response_id=previous, user=whose)
            assert error(reply) == (400, "previous_response_not_found", "previous_response_id")
        assert await count(api, "user") == 2


async def test_an_intercepted_response_has_no_output_and_goes_on(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        first = await respond(api, chatbot, "Hi")
        conversation = f"{chatbot}/conversations/{conversation_of(first)}"
        await api.post(f"{conversation}/takeover", {"operator": "bob"})
        silent = await respond(api, chatbot, "There?", previous_response_id=first.body["id"])
        streamed = await respond(api, chatbot, "Hello?", previous_response_id=silent.body["id"], stream=True)
        prompts = [each for each in await api.messages(chatbot, conversation_of(first)) if each["role"] == "user"]
        await api.post(f"{conversation}/release")
        last = await respond(api, chatbot, "At last?", previous_response_id=f"resp_{prompts[-1]['id']}")
        again = await api.get(f"{chatbot}/v1/responses/{silent.body['id']}")
    assert (silent.body["output"], silent.body["status"]) == ([], "completed")
    assert silent.headers["X-Gigachat-Turn"] == "intercepted"
    assert silent.body["id"] == f"resp_{prompts[1]['id']}"
    assert (again.body["output"], again.body["id"]) == ([], silent.body["id"])
    assert [name for name, _ in frames(streamed)] == ["response.created", "response.in_progress", "response.completed"]
    assert by_type(streamed)["completed"]["response"]["output"] == []
    assert text_of(last.body) == "Hi."


async def test_a_reply_that_was_cut_short_is_incomplete(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel([TextDelta(0, "Hel"), ReplyEnd(0, "length")])) as api:
        chatbot = await api.chatbot()
        whole, streamed = await respond(api, chatbot, "Hi"), await respond(api, chatbot, "Hi", stream=True)
    assert (whole.body["status"], whole.body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert by_type(streamed)["incomplete"]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_a_stream_that_fails_ends_with_failed(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", ModelInterrupted()])) as api:
        chatbot = await api.chatbot()
        streamed, whole = await respond(api, chatbot, "Hi", stream=True), await respond(api, chatbot, "Ho")
    name, last = frames(streamed)[-1]
    assert (name, last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"]["code"] == "upstream_interrupted"
    assert error(whole) == (502, "upstream_interrupted", None)


async def test_a_response_can_be_cancelled(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        asked = asyncio.create_task(respond(api, chatbot, "Hi", conversation={"id": "c1"}, stream=True))
        await pause.reached.wait()
        [turn] = list(api.services.turns._live)
        response = f"resp_{turn.speech.message_ids[0]}"
        for mount in (chatbot, ""):
            running = await api.get(f"{mount}/v1/responses/{response}")
            assert (running.body["status"], running.body["id"], running.body["output"]) == ("in_progress", response, [])
        cancelled = await api.post(f"{chatbot}/v1/responses/{response}/cancel")
        streamed = await asked
        again = await api.post(f"/v1/responses/{response}/cancel")
    assert (cancelled.status, cancelled.body["status"], text_of(cancelled.body)) == (200, "cancelled", "Hel")
    assert cancelled.body["id"] == response
    assert again.body == cancelled.body
    assert by_type(streamed)["incomplete"]["response"]["status"] == "cancelled"


async def test_what_is_no_response_is_not_found(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, other = await api.chatbot(), await api.chatbot()
        foreign = (await respond(api, other, "Hi")).body["id"]
        for response in ("resp_x", "x", "resp_01890a5d-ac96-774b-bcce-b302099a8057", foreign, foreign.removeprefix("resp_")):
            assert error(await api.get(f"{chatbot}/v1/responses/{response}"))[:2] == (404, "not_found")
            assert error(await api.post(f"{chatbot}/v1/responses/{response}/cancel"))[:2] == (404, "not_found")
        assert error(await api.get("/v1/responses/resp_01890a5d-ac96-774b-bcce-b302099a8057"))[:2] == (404, "not_found")
        other_account = await api.services.key_ring.ensure_account("other")
        _, secret = await api.services.key_ring.create(other_account.id, "x")
        assert error(await api.get(f"/v1/responses/{foreign}", key=secret))[:2] == (404, "not_found")
        assert (await api.get(f"/v1/responses/{foreign}")).status == 200


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "web_search"}]}, "tools"),
    ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}, "text.format"),
    ({"background": True}, "background"),
    ({"store": False}, "store"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content[0]"),
]


async def test_what_it_would_be_a_lie_to_ignore_is_refused(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for more, param in UNSUPPORTED:
            reply = await api.post(f"{chatbot}/v1/responses", {"input": "Hi", **more})
            assert error(reply) == (400, "unsupported_parameter", param), more
        assert await count(api) == 0
        fine = await respond(
            api, chatbot, [user("Hi")], instructions="Be rude.", temperature=1, max_output_tokens=5, tools=[], store=True,
            background=False, text={"format": {"type": "text"}}, include=[], truncation="auto", prompt_cache_key="x",
        )  # fmt: skip
    assert set(fine.headers["X-Gigachat-Ignored"].split(", ")) == {"instructions", "temperature", "max_output_tokens"}


@pytest.mark.parametrize("given", [[], "", " ", [{"type": "item_reference", "id": "msg_x"}], {"role": "user"}, 7, None])
async def test_bad_input_is_400(tmp_path: Path, given: Any) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.post(f"{await api.chatbot()}/v1/responses", {"input": given})
        assert error(reply)[:2] == (400, "invalid_request")
        assert await count(api) == 0


async def test_a_reader_who_goes_away_changes_nothing(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        asked = asyncio.create_task(respond(api, chatbot, "Hi", conversation="c1", stream=True))
        await pause.reached.wait()
        asked.cancel()
        pause.resume()

        async def is_stored() -> bool:
            return len(await stored(api, chatbot, "c1")) == 2

        await until(is_stored)
        assert (await stored(api, chatbot, "c1"))[-1] == ("assistant", "Hello")
