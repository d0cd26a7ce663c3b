"""Every sample payload of the contract, sent as it is written there, and every promise about the answers."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

from gigachat_server.models.fake import Pause, ScriptedModel
from tests.harness import gigachat

SAMPLE_CHATBOT = """{
  "name": "first test",
  "response": {
    "n": 1, "top_p": 1, "stream": true, "max_tokens": 200, "memory_size": 0, "temperature": 0.7,
    "system_persona": "You are a friendly chatbot to help answer questions! Given the following sections from a website, answer the question using only that information. If you are unsure and the answer and it is not explicitly written in the context sections, say \\"Sorry, I don't know how to help with that.\\"",
    "presence_penalty": 0, "frequency_penalty": 0
  },
  "restrictions": { "hostnames": [], "ip_addresses": [] },
  "documents": {
    "results": { "match_count": 3, "match_threshold": 0.78 },
    "text_splitter": { "chunk_size": 1000, "chunk_overlap": 200 }
  }
}"""  # noqa: E501 - as the contract writes it
KV_NAME = "https://developers.cloudflare.com/workers/learning/how-kv-works/"
KV = (
    "How KV works Workers KV is a global, low-latency, key-value data store. It stores data in a small number of "
    "centralized data centers, then caches that data in Cloudflare’s data centers after access."
)
SAMPLE_PROMPT = b'{"conversation_id": "12345", "user_id": "[email protected]", "prompt": "Hello"}'
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


async def test_a_fresh_key_lists_no_chatbots(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.get("/chatbots")
        assert (reply.status, reply.body) == (200, [])


async def test_a_name_alone_makes_a_chatbot_with_the_documented_defaults(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.post("/chatbots", raw=b'{"name": "Superbot"}')
        assert reply.status == 201
        chatbot = reply.body
        assert chatbot["name"] == "Superbot"
        persona = chatbot["response"].pop("system_persona")
        assert persona.endswith('say "Sorry, I don\'t know how to help with that."')
        assert chatbot["response"] == {
            "n": 1,
            "top_p": 1,
            "stream": True,
            "max_tokens": 200,
            "memory_size": 10,
            "temperature": 0.7,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "model": None,
            "fallback_models": [],
            "reasoning_effort": None,
            "omit": [],
            "first_token_timeout_s": None,
            "idle_timeout_s": None,
            "timeout_s": None,
            "overlap": "queue",
            "coalesce_ms": 1500,
        }
        assert chatbot["interception"]["mode"] == "inject"
        assert chatbot["restrictions"] == {"hostnames": [], "ip_addresses": []}
        assert chatbot["documents"]["results"]["match_count"] == 3
        assert chatbot["documents"]["results"]["match_threshold"] == 0.78
        assert chatbot["documents"]["text_splitter"] == {"chunk_size": 1000, "chunk_overlap": 200}
        assert UUID(chatbot["id"]).version == 7
        assert UUID(chatbot["user_id"]).version == 7
        assert TIME.fullmatch(chatbot["created_at"])
        assert TIME.fullmatch(chatbot["updated_at"])


async def test_the_sample_chatbot_is_created_read_listed_changed_and_deleted(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.post("/chatbots", raw=SAMPLE_CHATBOT.encode())
        created = reply.body
        assert created["response"]["memory_size"] == 0, "0 is honoured"
        path = f"/chatbots/{created['id']}"
        assert reply.headers["Location"] == path
        assert (await api.get(path)).body == created
        other = (await api.post("/chatbots", {"name": "newer"})).body
        assert [c["id"] for c in (await api.get("/chatbots")).body] == [other["id"], created["id"]], "newest first"
        changed = await api.call("PATCH", path, {"response": {"n": 2}})
        assert changed.status == 200
        assert changed.body["response"] == {**created["response"], "n": 2}, "PATCH merges"
        assert changed.body["updated_at"] > created["updated_at"]
        assert (await api.call("DELETE", path)).status == 204
        assert (await api.get(path)).status == 404


async def test_pushing_the_sample_document_answers_with_its_chunks(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        reply = await api.post(f"{chatbot}/documents", {"name": KV_NAME, "content": KV})
        assert reply.status == 201
        (chunk,) = reply.body
        assert set(chunk) == {
            "id", "chatbot_id", "user_id", "document_id", "name", "content", "metadata", "embedding", "created_at", "updated_at",
        }  # fmt: skip
        assert chunk["chatbot_id"] == chatbot.removeprefix("/chatbots/")
        assert chunk["name"] == KV_NAME + "-0"
        assert chunk["content"] == f"DOCUMENT NAME: {KV_NAME}\n\n---\n\n{KV}"
        assert chunk["metadata"] == {"loc": {"lines": {"from": 1, "to": 1}}}
        assert re.fullmatch(r"\[-?[\d.e-]+(,-?[\d.e-]+){383}\]", chunk["embedding"]), "pgvector's text form"
        assert TIME.fullmatch(chunk["created_at"])
        without = await api.post(f"{chatbot}/documents?embedding=false", {"name": KV_NAME, "content": KV})
        assert without.status == 201, "pushing again is 201 too"
        assert without.body == [{**chunk, "embedding": None}], "identical content is a no-op"


async def test_the_sample_prompt_is_answered_with_an_array_of_messages(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Hello, ", "you."])) as api:
        chatbot = await api.chatbot(name="first test")
        reply = await api.post(f"{chatbot}/conversations", raw=SAMPLE_PROMPT)
        assert reply.status == 201
        assert reply.headers["Content-Type"] == "application/json", "a plain POST sees JSON although streaming is on"
        (message,) = reply.body
        stored = await api.messages(chatbot, "12345")
        assert [m["role"] for m in stored] == ["user", "assistant"], "every prompt and reply is stored individually"
        assert stored[1] == message
        assert {name: message[name] for name in ("conversation_id", "user_id", "role", "name", "content", "status")} == {
            "conversation_id": "12345",
            "user_id": "[email protected]",
            "role": "assistant",
            "name": "first test",
            "content": "Hello, you.",
            "status": "completed",
        }
        assert message["metadata"].keys() >= {"model", "usage", "finish_reason"}
        assert message["embedding"] is None
        assert message["in_reply_to"] == stored[0]["id"]
        assert message["seq"] == 2
        assert stored[0]["created_at"] < message["created_at"], "the hierarchy is by timestamp"


async def test_sources_are_chunks_in_the_form_that_pushing_showed(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0}})
        (chunk,) = await api.push(chatbot, KV_NAME, KV)
        (reply,) = await api.say(chatbot, "How does Workers KV store data?")
        (source,) = reply["sources"]
        assert source == {**chunk, "score": source["score"]}
        assert 0 <= source["score"] <= 1
        history = f"{chatbot}/conversations/c1/messages"
        told = (await api.get(f"{history}?embedding=true")).body[1]["sources"]
        assert told == reply["sources"], "history carries the same evidence"
        assert (await api.get(history)).body[1]["sources"] == [{**source, "embedding": None}], "but for vectors nobody asked for"
        events = (await api.get(f"{chatbot}/conversations/c1/events")).body
        (listed,) = [event["message"] for event in events if event["message"] and event["message"]["sources"]]
        assert listed["sources"] == [{**source, "embedding": None}]
        path = f"{chatbot}/conversations?embedding=false"
        body = {"conversation_id": "c2", "user_id": "u", "prompt": "How does KV work?"}
        assert (await api.post(path, body)).body[0]["sources"][0]["embedding"] is None


async def test_sources_come_best_first(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0, "match_count": 3}})
        for name, text in (
            ("a", "Bicycles have wheels."),
            ("b", "Parcels ship on Monday."),
            ("c", "Ships carry parcels, Monday or not."),
        ):
            await api.push(chatbot, name, text)
        (reply,) = await api.say(chatbot, "When do parcels ship, on Monday?")
        assert reply["sources"][0]["name"] == "b-0"
        assert len(reply["sources"]) == 3


async def test_a_client_message_is_stored_and_prompts_no_reply(tmp_path: Path) -> None:
    model = ScriptedModel(["Hi."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        (message,) = await api.say(chatbot, "I will help you.", user="client:support_staff_01")
        assert (message["role"], message["name"], message["user_id"]) == (
            "operator",
            "support_staff_01",
            "client:support_staff_01",
        )
        assert len(model.calls) == 1
        await api.say(chatbot, "Thanks")
        told = [m.content for m in model.calls[1].messages]
        assert any("I will help you." in text for text in told), "later replies see it"
        assert [m["role"] for m in await api.messages(chatbot)] == ["user", "assistant", "operator", "user", "assistant"]


async def test_n_replies_are_all_stored_and_answered(tmp_path: Path) -> None:
    model = ScriptedModel(["Same."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"n": 3})
        replies = await api.say(chatbot, "Hello")
        assert [r["alternative"] for r in replies] == [0, 1, 2]
        assert len({r["id"] for r in replies}) == 3
        await api.say(chatbot, "Again")
        assert [m.content for m in model.calls[1].messages[1:]] == ["Hello", "Same.", "Again"], "one of them is remembered"


async def test_memory_size_is_how_many_earlier_messages_the_model_sees(tmp_path: Path) -> None:
    for memory_size, seen in ((0, 0), (3, 3), (100, 4)):
        model = ScriptedModel(["Yes."])
        async with gigachat(tmp_path / str(memory_size), model=model) as api:
            chatbot = await api.chatbot(response={"memory_size": memory_size})
            for prompt in ("one", "two", "three"):
                await api.say(chatbot, prompt)
            assert len(model.calls[-1].messages) == 1 + seen + 1


async def test_a_stream_starts_when_the_prompt_is_durable_and_ends_once(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        pause.resume()
        reply = await api.post(
            f"{chatbot}/conversations",
            {"conversation_id": "c1", "user_id": "u", "prompt": "Hello"},
            headers={"Accept": "text/event-stream"},
        )
        assert reply.status == 201
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Accel-Buffering"] == "no"
        events = reply.events
        names = [name for name, _ in events]
        assert names[0] == "start"
        assert names[-2:] == ["message", "done"]
        assert set(names[1:-2]) == {"delta"}
        stored = await api.messages(chatbot)
        asked = {**events[0][1]["prompt"], "turn": "done", "updated_at": stored[0]["updated_at"]}
        assert (asked, events[0][1]["message_ids"]) == (stored[0], [stored[1]["id"]])
        assert events[0][1]["prompt"]["turn"] == "running"
        assert events[-2][1] == stored[1]
        assert events[-1][1] == {"conversation_id": "c1", "seq": 2}
        text = ""
        for _, delta in events[1:-2]:
            assert delta["offset"] == len(text)
            assert delta["message_id"] == stored[1]["id"]
            text += delta["text"]
        assert text == stored[1]["content"] == "Hello"


async def test_stream_in_the_body_streams_and_the_chatbot_can_turn_it_off(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        on, off = await api.chatbot(), await api.chatbot(response={"stream": False})
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello", "stream": True}
        assert (await api.post(f"{on}/conversations", body)).headers["Content-Type"].startswith("text/event-stream")
        assert (await api.post(f"{off}/conversations", body)).headers["Content-Type"] == "application/json"
        injected = await api.post(f"{on}/conversations", {**body, "user_id": "client:bob"})
        assert [name for name, _ in injected.events] == ["start", "message", "done"]


async def test_lists_are_arrays_with_a_link_to_the_next_page(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        ids = [(await api.chatbot(name=f"bot {i}")).removeprefix("/chatbots/") for i in range(5)]
        seen, path, pages = [], "/chatbots?limit=2", 0
        while path:
            reply = await api.get(path)
            seen += [chatbot["id"] for chatbot in reply.body]
            link = re.fullmatch(r"<(.*)>; rel=\"next\"", reply.headers.get("Link", ""))
            path, pages = link[1] if link else "", pages + 1
        assert (seen, pages) == (ids[::-1], 3)


async def test_openapi_is_public_and_knows_every_route(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        document = (await api.get("/openapi.json", key=None)).body
        assert document["openapi"].startswith("3.1")
        assert set(document["paths"]) >= {
            "/chatbots",
            "/chatbots/{chatbot_id}/documents/{document_id}",
            "/chatbots/{chatbot_id}/conversations/{conversation_id}/messages",
        }
        assert document["paths"]["/livez"]["get"]["security"] == []


async def test_openapi_tells_which_headers_are_understood_and_what_is_a_stream(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        paths = (await api.get("/openapi.json", key=None)).body["paths"]
    operations = {f"{method.upper()} {path}": each for path, by_method in paths.items() for method, each in by_method.items()}
    headers = {name: {p["name"] for p in each["parameters"] if p["in"] == "header"} for name, each in operations.items()}
    secret = (
        "POST /api-keys",
        "POST /chatbots/{chatbot_id}/identity-keys",
        "POST /chatbots/{chatbot_id}/sessions",
        "POST /operators",
        "POST /operators/{operator_id}/invite",
    )
    unstored = (
        "POST /chatbots/{chatbot_id}/replay",
        "POST /chatbots/{chatbot_id}/conversations/{conversation_id}/typing",
    )
    without = (*secret, *unstored)  # those are not kept, and these do nothing twice
    nothing_twice = ("/v1/embeddings", "/v1/responses/{response_id}/cancel")
    assert {name for name, understood in headers.items() if "Idempotency-Key" in understood} == {
        name for name in operations if name.startswith("POST ") and name not in without and not name.endswith(nothing_twice)
    }
    follow = "GET /chatbots/{chatbot_id}/events"
    one = "GET /chatbots/{chatbot_id}/conversations/{conversation_id}/events"
    assert {name for name, understood in headers.items() if "Last-Event-ID" in understood} == {
        follow,
        one,
        "POST /chatbots/{chatbot_id}/conversations",
        "POST /chatbots/{chatbot_id}/conversations/{conversation_id}/messages/{message_id}/retry",
        "POST /chatbots/{chatbot_id}/ui",
    }
    assert set(operations[follow]["responses"]["200"]["content"]) == {"text/event-stream"}
    assert set(operations[one]["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    (after,) = (p["description"] for p in operations[follow]["parameters"] if p["name"] == "after")
    assert "`id:`" in after and "Link" not in after, "it is no cursor of a list"
    assert "Location" in operations["POST /chatbots"]["responses"]["201"]["headers"]
