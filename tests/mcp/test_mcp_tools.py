"""The tools and resources of the MCP server, over HTTP: who gets which, and that each does what the native API does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gigachat_server.access.operators import principal_of
from gigachat_server.access.scopes import Scope
from gigachat_server.api.mcp_tools import TOOLS
from gigachat_server.errors import ModelUnreachable
from gigachat_server.models.fake import Pause, ScriptedModel
from tests.harness import Api, gigachat, until
from tests.mcp.messages import call, given, problem, result, send, sent_events
from tests.operators import add_operator, as_principal
from tests.turns import answering, assert_at_rest, state

NAMES = ["ask", "search_documents", "push_document", "list_conversations", "read_conversation", "list_unanswered",
         "answer_unanswered", "reply_as_operator"]  # fmt: skip


async def at(api: Api, **properties: Any) -> tuple[str, str]:
    """The path of a new chatbot, and that of its MCP server."""
    chatbot = await api.chatbot(**properties)
    return chatbot, f"{chatbot}/mcp"


@pytest.mark.parametrize("is_modern", [True, False])
async def test_tools_are_listed_by_scope_in_one_order(tmp_path: Path, is_modern: bool) -> None:
    async with gigachat(tmp_path) as api:
        _, mcp = await at(api)
        ring, account = api.services.key_ring, api.services.account.id
        listed = await result(api, mcp, "tools/list", is_modern=is_modern)
        assert [tool["name"] for tool in listed["tools"]] == NAMES
        expected = {
            "conversations:read": ["list_conversations", "read_conversation", "list_unanswered"],
            "conversations:write": ["ask"],
            "documents:read": ["search_documents"],
            "documents:write": ["push_document", "answer_unanswered"],
            "chatbots:read": [],
            "messages:inject": [],
        }
        for scope, names in expected.items():
            _, key = await ring.create(account, scope, scopes=(scope,))
            found = await result(api, mcp, "tools/list", key=key, is_modern=is_modern)
            assert [tool["name"] for tool in found["tools"]] == names, scope
            for name in set(NAMES) - {*names}:
                refused = await send(api, mcp, "tools/call", {"name": name, "arguments": {}}, key=key, is_modern=is_modern)
                assert refused.body["error"]["code"] == -32602, (scope, name)
                assert refused.status == (400 if is_modern else 200)


async def test_a_member_has_the_tools_of_their_role_in_each_chatbot_of_theirs(tmp_path: Path) -> None:
    """At the account, too: it lists what they may do somewhere, and carries out what they may do there."""
    async with gigachat(tmp_path, model=answering({})) as api:
        paths = {role: await api.chatbot(name=role.title()) for role in ("operator", "viewer", "none")}
        for role, path in paths.items():
            await api.push(path, f"Document of {role}", f"Text of {role}")
            await api.say(path, f"Hello {role}")
        roles = {path: role for role, path in paths.items() if role != "none"}
        who = principal_of(await add_operator(api.services, "ann", chatbots=roles))
        assert who is not None
        async with as_principal(api.services, who) as client:
            may = {
                role: {tool["name"] for tool in (await result(client, f"{paths[role]}/mcp", "tools/list"))["tools"]}
                for role in ("operator", "viewer")
            }
            assert may["operator"] - may["viewer"] == {"ask", "answer_unanswered", "reply_as_operator"}
            assert (await send(client, f"{paths['none']}/mcp", "tools/list")).status == 404
            assert {tool["name"] for tool in (await result(client, "/mcp", "tools/list"))["tools"]} == may["operator"]
            acts = {
                "read_conversation": {"conversation_id": "c1"},
                "reply_as_operator": {"conversation_id": "c1", "operator": "ann", "text": "I look into it."},
                "answer_unanswered": {"prompt_id": "none", "answer": "Yes.", "as": "fixed_answer"},
            }
            for role, wanted in (
                ("operator", (None, None, "not_found")),  # there is no such group
                ("viewer", (None, "forbidden", "forbidden")),
                ("none", ("not_found", "not_found", "not_found")),
            ):
                for (tool, arguments), code in zip(acts.items(), wanted, strict=True):
                    named = {**arguments, "chatbot_id": paths[role].rpartition("/")[2]}
                    found = await call(client, "/mcp", tool, named)
                    assert (problem(found)["code"] if "isError" in found else None) == code, (role, tool)
            listed = (await result(client, "/mcp", "resources/list"))["resources"]
            assert sorted(each["name"] for each in listed) == ["Document of operator", "Document of viewer"]


async def test_every_tool_tells_what_it_takes_and_gives(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        _, mcp = await at(api)
        of_chatbot = {tool["name"]: tool for tool in (await result(api, mcp, "tools/list"))["tools"]}
        of_account = {tool["name"]: tool for tool in (await result(api, "/mcp", "tools/list"))["tools"]}
        for tool in TOOLS:
            listed = of_chatbot[tool.name]
            assert listed["inputSchema"]["type"] == listed["outputSchema"]["type"] == "object"
            assert listed["annotations"]["readOnlyHint"] is tool.is_read_only
            assert "chatbot_id" not in listed["inputSchema"]["properties"]
            assert "chatbot_id" in of_account[tool.name]["inputSchema"]["properties"]
            assert of_account[tool.name]["outputSchema"] == listed["outputSchema"]
        assert {*of_chatbot["ask"]["inputSchema"]["required"]} == {"prompt"}
        references = msgspec.json.encode(of_chatbot).decode().split('"$ref":"')[1:]
        assert all(part.startswith("#/$defs/") for part in references)


@pytest.mark.parametrize("is_modern", [True, False])
async def test_asking(tmp_path: Path, is_modern: bool) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, mcp = await at(api)
        first = await given(api, mcp, "ask", {"prompt": "Hello"}, is_modern=is_modern)
        conversation = first["conversation_id"]
        (reply,) = first["messages"]
        assert (reply["content"], reply["role"]) == ("Hi.", "assistant")
        found = await call(
            api, mcp, "ask", {"prompt": "And?", "conversation_id": conversation, "user_id": "ann"}, is_modern=is_modern
        )
        assert found["content"] == [{"type": "text", "text": f"Hi.\n\nconversation_id: {conversation}"}]
        assert ("resultType" in found) is is_modern
        stored = await api.messages(chatbot, conversation)
        assert [message["content"] for message in stored] == ["Hello", "Hi.", "And?", "Hi."]
        key_id = (await api.services.key_ring.authenticate(api.key)).id
        assert [stored[0]["user_id"], stored[2]["user_id"]] == [f"mcp:{key_id}", "ann"]
        assert stored[3] == found["structuredContent"]["messages"][0]


async def test_asking_again_with_a_key_asks_once(tmp_path: Path) -> None:
    model = ScriptedModel(["Hi."])
    async with gigachat(tmp_path, model=model) as api:
        _, mcp = await at(api)
        meta = {"gigachat/idempotencyKey": "k1"}
        first, again = [await given(api, mcp, "ask", {"prompt": "Hello"}, meta=meta) for _ in range(2)]
        assert first == again, "the same conversation, too"
        assert len(model.calls) == 1
        other = await call(api, mcp, "ask", {"prompt": "Other"}, meta=meta)
        assert problem(other)["code"] == "idempotency_key_reused"
        assert (
            problem(await call(api, mcp, "ask", {"prompt": "x"}, meta={"gigachat/idempotencyKey": 7}))["code"]
            == "invalid_request"
        )


@pytest.mark.parametrize("is_modern", [True, False])
async def test_progress_is_the_words_of_the_reply(tmp_path: Path, is_modern: bool) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", "lo", "."])) as api:
        chatbot, mcp = await at(api)
        params = {"name": "ask", "arguments": {"prompt": "Hi", "conversation_id": "c1"}, "_meta": {"progressToken": "t"}}
        *told, last = sent_events(await send(api, mcp, "tools/call", params, is_modern=is_modern))
        assert all(each["method"] == "notifications/progress" and each["params"]["progressToken"] == "t" for each in told)
        counted = [each["params"]["progress"] for each in told]
        assert counted == sorted(set(counted)) and counted[-1] == 6
        assert "".join(each["params"]["message"] for each in told) == "Hello."
        assert last["id"] == 1
        assert last["result"]["structuredContent"]["messages"] == (await api.messages(chatbot))[1:]


async def test_an_agent_that_leaves_does_not_stop_the_turn(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo."])) as api:
        chatbot, mcp = await at(api)
        asking = asyncio.create_task(
            send(api, mcp, "tools/call", {"name": "ask", "arguments": {"prompt": "Hi", "conversation_id": "c1"}})
        )
        await pause.reached.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        pause.resume()

        async def is_answered() -> bool:
            return len(await api.messages(chatbot)) == 2

        await until(is_answered)
        reply = await api.say(chatbot, "Next")
        assert contents_of(await api.messages(chatbot)) == ["Hi", "Hello.", "Next", "Hello."]
        assert reply[0]["content"] == "Hello."
        await assert_at_rest(api, chatbot)


def contents_of(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages]


async def test_a_problem_is_told_to_the_model(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({"a": [ModelUnreachable()]})) as api:
        chatbot, mcp = await at(api)
        failed = problem(await call(api, mcp, "ask", {"prompt": "a", "conversation_id": "c1"}))
        assert failed["code"] == "upstream_unreachable" and failed["title"]
        params = {"name": "ask", "arguments": {"prompt": "a", "conversation_id": "c2"}, "_meta": {"progressToken": 1}}
        (last,) = sent_events(await send(api, mcp, "tools/call", params))
        assert problem(last["result"])["code"] == "upstream_unreachable"
        wrong: list[tuple[str, dict[str, Any], str]] = [
            ("ask", {}, "prompt"),
            ("ask", {"prompt": " "}, "prompt"),
            ("ask", {"prompt": "x", "system": "y"}, "system"),
            ("ask", {"prompt": "x", "user_id": "client:eve"}, "user_id"),
            ("ask", {"prompt": "x", "user_id": "ｃlient:eve"}, "user_id"),
            ("ask", {"prompt": "x", "conversation_id": ".."}, "conversation_id"),
            ("ask", {"prompt": "x", "chatbot_id": "y"}, "chatbot_id"),
            ("search_documents", {"query": "x", "limit": 1000}, "limit"),
            ("push_document", {"name": "a\nb", "content": "x"}, "name"),
            ("list_conversations", {"after": "!"}, "after"),
            ("reply_as_operator", {"conversation_id": "c1", "operator": "bot", "text": "x"}, "operator"),
        ]
        for tool, arguments, field in wrong:
            told = problem(await call(api, mcp, tool, arguments))
            assert (told["code"], told["errors"][0]["field"]) == ("invalid_request", field), (tool, arguments)
        for tool in ("read_conversation", "reply_as_operator"):
            arguments = {"conversation_id": "none", **({"operator": "eve", "text": "x"} if tool.startswith("reply") else {})}
            assert problem(await call(api, mcp, tool, arguments))["code"] == "not_found"
        assert [each["conversation_id"] for each in (await api.get(f"{chatbot}/conversations")).body] == ["c2", "c1"]


async def test_documents_are_pushed_searched_listed_and_read(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, mcp = await at(api, documents={"results": {"match_threshold": 0}})
        pushed = await given(api, mcp, "push_document", {"name": "hours.md", "content": "The museum opens at nine."})
        assert pushed == (await api.get(f"{chatbot}/documents")).body[0]
        query = "When does the museum open?"
        found = await call(api, mcp, "search_documents", {"query": query, "limit": 3})
        native = (await api.get(f"{chatbot}/retrieve?query={query.replace(' ', '+')}&limit=3")).body
        assert found["structuredContent"] == native
        assert "opens at nine" in found["content"][0]["text"]
        for path in (mcp, "/mcp"):
            (resource,) = (await result(api, path, "resources/list"))["resources"]
            assert (resource["name"], resource["mimeType"]) == ("hours.md", "text/plain")
            assert resource["uri"] == f"gigachat:/{chatbot}/documents/{pushed['id']}"
            read = await result(api, path, "resources/read", {"uri": resource["uri"]})
            assert read["contents"] == [{"uri": resource["uri"], "mimeType": "text/plain", "text": "The museum opens at nine."}]
        other = await at(api)
        assert (await result(api, other[1], "resources/list"))["resources"] == []
        missing = "gigachat:/" + other[0] + "/documents/" + pushed["id"]
        uris: list[Any] = [resource["uri"], missing, "gigachat://chatbots/x/documents/y", "file:///etc/passwd", None, 7]
        for uri in uris:
            eras = ((True, -32602), (False, -32002)) if isinstance(uri, str) else ((False, -32002),)
            for is_modern, code in eras:
                refused = await send(api, other[1], "resources/read", {"uri": uri}, is_modern=is_modern)
                assert refused.body["error"]["code"] == code, (uri, refused.text)
        assert (await result(api, mcp, "resources/templates/list"))["resourceTemplates"][0]["uriTemplate"].startswith(
            "gigachat://"
        )


async def test_resources_come_in_pages_of_this_account_alone(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        first, _ = await at(api)
        second, _ = await at(api)
        names = {f"{number}.txt" for number in range(130)}
        for name in names:
            await api.push(first if name < "5" else second, name, f"Text {name}")
        seen, cursor = [], None
        while True:
            page = await result(api, "/mcp", "resources/list", {} if cursor is None else {"cursor": cursor})
            seen += [each["name"] for each in page["resources"]]
            if (cursor := page.get("nextCursor")) is None:
                break
        assert (len(seen), {*seen}) == (130, names)
        assert (await result(api, "/mcp", "resources/list", {"cursor": "zzz"}))["resources"] == []
        stranger = await api.services.key_ring.ensure_account("stranger")
        _, key = await api.services.key_ring.create(stranger.id, "k")
        assert (await result(api, "/mcp", "resources/list", key=key))["resources"] == []
        _, blind = await api.services.key_ring.create(api.services.account.id, "k", scopes=("conversations:read",))
        assert (await result(api, "/mcp", "resources/list", key=blind))["resources"] == []
        assert "resources" not in (await result(api, "/mcp", "server/discover", key=blind))["capabilities"]


async def test_conversations_are_listed_and_read_in_pages(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, mcp = await at(api)
        for number in range(3):
            await api.say(chatbot, "Hello", conversation=f"c{number}")
        await api.say(chatbot, "Again", conversation="c0")
        native = (await api.get(f"{chatbot}/conversations")).body
        page = await given(api, mcp, "list_conversations", {"limit": 2})
        rest = await given(api, mcp, "list_conversations", {"limit": 2, "after": page["next"]})
        assert page["conversations"] + rest["conversations"] == native and rest["next"] is None
        newest = await given(api, mcp, "read_conversation", {"conversation_id": "c0", "limit": 3})
        older = await given(api, mcp, "read_conversation", {"conversation_id": "c0", "limit": 3, "before": newest["before"]})
        assert older["messages"] + newest["messages"] == await api.messages(chatbot, "c0")
        assert older["before"] is None
        assert newest["conversation"] == await state(api, chatbot, "c0")
        assert (await given(api, mcp, "list_conversations", {"controlled_by": "human"}))["conversations"] == []


async def test_an_operator_replies(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, mcp = await at(api, interception={"mode": "takeover"})
        await api.say(chatbot, "Hello")
        meta = {"gigachat/idempotencyKey": "k1"}
        arguments = {"conversation_id": "c1", "operator": "eve", "text": "A human here."}
        said = [await given(api, mcp, "reply_as_operator", arguments, meta=meta) for _ in range(2)]
        assert said[0] == said[1]
        assert said[0]["message"] == (await api.messages(chatbot))[-1]
        assert (said[0]["message"]["role"], said[0]["message"]["name"]) == ("operator", "eve")
        assert (await state(api, chatbot))["controlled_by"] == "eve"
        asked = await call(api, mcp, "ask", {"prompt": "Anyone?", "conversation_id": "c1"})
        assert "does not answer" in asked["content"][0]["text"]
        assert asked["structuredContent"]["messages"][0]["turn"] == "intercepted"


async def test_unanswered_prompts_are_listed_and_answered(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, mcp = await at(api, documents={"results": {"when_nothing_matches": "refuse"}})
        await api.say(chatbot, "Do you sell llamas?")
        listed = await given(api, mcp, "list_unanswered")
        assert listed["groups"] == (await api.get(f"{chatbot}/unanswered")).body != []
        arguments = {"prompt_id": listed["groups"][0]["id"], "answer": "Yes, on Mondays.", "as": "fixed_answer"}
        settled = await given(api, mcp, "answer_unanswered", arguments)
        assert (settled["state"], settled["fixed_answer"]["answer"]) == ("answered", "Yes, on Mondays.")
        assert problem(await call(api, mcp, "answer_unanswered", arguments))["code"] == "unanswered_settled"
        assert problem(await call(api, mcp, "answer_unanswered", {**arguments, "prompt_id": "x"}))["code"] == "not_found"
        asked = await given(api, mcp, "ask", {"prompt": "Do you sell llamas?"})
        assert asked["messages"][0]["content"] == "Yes, on Mondays."


async def test_at_the_account_the_call_names_its_chatbot(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        assert problem(await call(api, "/mcp", "ask", {"prompt": "Hi"}))["code"] == "chatbot_required", "there is none yet"
        first, _ = await at(api)
        assert (await given(api, "/mcp", "ask", {"prompt": "Hi"}))["messages"][0]["chatbot_id"] == first.rpartition("/")[2]
        second = (await api.chatbot(name="Second")).rpartition("/")[2]
        told = problem(await call(api, "/mcp", "ask", {"prompt": "Hi"}))
        assert told["code"] == "chatbot_required" and f"{second} is Second" in told["detail"]
        found = await given(api, "/mcp", "ask", {"prompt": "Hi", "chatbot_id": second})
        assert found["messages"][0]["chatbot_id"] == second
        _, key = await api.services.key_ring.create(api.services.account.id, "k", scopes=(Scope.CONVERSATIONS_WRITE,))
        hidden = problem(await call(api, "/mcp", "ask", {"prompt": "Hi"}, key=key))
        assert second not in hidden["detail"], "it may not see which there are"
        stranger = await api.services.key_ring.ensure_account("stranger")
        _, foreign = await api.services.key_ring.create(stranger.id, "k")
        for chatbot_id, who in ((second, foreign), ("x", ""), ("01a204e3-15f7-77b1-9db6-d193b16a5979", "")):
            refused = problem(await call(api, "/mcp", "ask", {"prompt": "Hi", "chatbot_id": chatbot_id}, key=who))
            assert refused["code"] == "not_found"
        assert problem(await call(api, "/mcp", "ask", {"prompt": "Hi", "chatbot_id": 7}))["code"] == "invalid_request"
