"""Each rule of `api/input_rules.py` says what the server does: both are asked about the same texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gigachat_server.api import input_rules
from tests.access.people import people
from tests.harness import Api, gigachat

pytestmark = pytest.mark.sqlite_only  # what is asked for is refused before any store sees it

SHARED = [
    "a",
    "0",
    "ä",
    "日本",
    " a ",
    "a\tb",
    "a\nb",
    "a\x00b",
    "\x7f",
    "\x85",
    " ",
    "\u3000",
    "?!",
    "“…”",
    "¿?",
    "-",
    "🙂",
    "a\u2028b",
]
IDS = [*SHARED, ".", "..", "...", "a/b", "client:x", "x" * 255]
SPEAKERS = [
    *IDS,
    "client:",
    "client: ",
    "client:bot",
    "client: bot",
    "client:\u2800",
    "client:\u2800bot",
    "client:\U00013441",
    "client:\U00061f47",
    "client:\u0301",
    "client:\ue000",
    "client:client:",
    "client:client:x",
    "client:botany",
    "client:\u3000",
    "a\u200bb",
    "\u202ebob",
    "a\u3164",
    "سلام\u200cها",
    "x" * 248,
    "client:" + "x" * 248,
]
NAMES = [*SHARED, "\u202ea", "a\u2066b", "a\u200bb", "\u3164", "https://example.com/a-b.html"]
ADDRESSES = [
    "10.0.0.1", "10.0.0.0/8", "10.0.0.0/33", "010.0.0.1", "256.0.0.1", "1.2.3", "::", "::1", "1::", "2001:db8::/32",
    "2001:db8::/129", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1::2::3", "1:2:3:4:5:6:7:8:9",
    "::ffff:10.0.0.1", "::FFFF:10.0.0.1/100", "12345::", "g::", "", "localhost",
]  # fmt: skip
HOSTNAMES = [
    "example.com", "*.example.com", "EXAMPLE.com.", "a_b.example", "xn--bcher-kva.example", "*", "*.", "a.*.b", "https://a",
    "a/b", "a:80", "a b", "a@b", "a?b", "a#b", "localhost",
]  # fmt: skip
URLS = [
    "http://example.com", "https://example.com/a?b=c#d", "HTTPS://example.com", "ftp://example.com", "example.com",
    "//example.com",
    "https://", "https://a b/", "https://u:p@example.com/", "https://a..b/", "https://-a.com/", "https://example.com/\\",
    'https://example.com/"', "https://example.com/%41", "https://example.com/<", "https://127.0.0.1/", "https://10/",
]  # fmt: skip


async def _key_with(api: Api, scope: str) -> str:
    _, key = await api.services.key_ring.create(api.services.account.id, "maker", scopes=(scope,))
    return key


NO_ID = "01a22d97-90fe-707c-ade1-024f7050ccc9"
CONTENTS = [*SHARED, "", "\u200b", "\u200b\u2800", "\U0001d159", "a\u200b", "\u0301"]
SHORTCUTS = [
    "a", "/a", "//a", "A-b_c", "-a", "_a", "a b", "", "/", "a" * 64, "a" * 65, "/" + "a" * 64, "a.b", "a\n", "1", "für", "納期",
]  # fmt: skip


async def asked(api: Api, chatbot: str, struct: str, field: str, text: str) -> int:
    """The status of a request that is right but for this text."""
    conversation = f"{chatbot}/conversations/c1"
    prompt: dict[str, Any] = {"conversation_id": "c1", "user_id": "ann", "prompt": "Hello?"}
    answer = {"answer": "At nine.", "prompts": ["When do you open?"]}
    match struct, field:
        case "PromptInput", _:
            reply = await api.post(f"{chatbot}/conversations", {**prompt, field: text})
        case "UIChatInput", _:
            message = {"role": "user", "parts": [{"type": "text", "text": "Hello?"}]}
            reply = await api.post(f"{chatbot}/ui", {"id": "c1", "message": message, field: text})
        case "ChatInput", _:
            body = {"messages": [{"role": "user", "content": "Hello?"}], field: text}
            reply = await api.post(f"{chatbot}/v1/chat/completions", body)
        case "ResponseInput", _:
            reply = await api.post(f"{chatbot}/v1/responses", {"input": "Hello?", field: text})
        case "ConversationReference", _:
            reply = await api.post(f"{chatbot}/v1/responses", {"input": "Hello?", "conversation": {field: text}})
        case "ConversationChange", _:
            reply = await api.call("PATCH", conversation, {field: text})
        case "NoteInput", _:
            reply = await api.post(f"{conversation}/notes", {"content": "Vip.", field: text})
        case (("SendInput" | "DiscardInput"), _):
            deed = "send" if struct == "SendInput" else "discard"
            reply = await api.post(f"{conversation}/proposals/{NO_ID}/{deed}", {field: text})
        case "CannedReplyInput", _:
            reply = await api.post(f"{chatbot}/canned-replies", {"shortcut": "a", "content": "At nine.", field: text})
        case "SessionInput", _:
            body = {"user_id": "ann", field: text if field == "user_id" else [text]}
            reply = await api.post(f"{chatbot}/sessions", body, key=await _key_with(api, "tokens:write"))
        case "ProfileInput", _:
            reply = await api.call("PATCH", f"{chatbot}/users/ann", {field: text})
        case "IdentityKeyInput", _:
            body = {"name": text, "algorithm": "HS256"}
            reply = await api.post(f"{chatbot}/identity-keys", body, key=await _key_with(api, "access:write"))
        case "WidgetKeyInput", _:
            body = {"name": "shop", "hostnames": ["shop.example"], field: text if field == "name" else [text]}
            reply = await api.post(f"{chatbot}/widget-keys", body, key=await _key_with(api, "access:write"))
        case "TakeoverInput", _:
            reply = await api.post(f"{conversation}/takeover", {"operator": text, "force": True})
        case "ReplayInput", _:
            reply = await api.post(f"{chatbot}/replay", {"conversation_ids": [text]})
        case "DocumentInput", _:
            reply = await api.post(f"{chatbot}/documents", {"name": "n", "content": "c", field: text})
        case "FixedAnswerInput", _:
            reply = await api.post(f"{chatbot}/fixed-answers", {**answer, field: text if field == "answer" else [text]})
        case "AnswerInput", _:
            path = f"{chatbot}/unanswered/{NO_ID}/answer"
            reply = await api.post(path, {**answer, "as": "fixed_answer", field: text if field == "answer" else [text]})
        case "EndUserPrompt", _:
            shop = await people(api)
            reply = await shop.post("/conversations", {"prompt": "Hello?", field: text}, bearer=shop.token())
        case "ChatbotInput", _:
            reply = await api.post("/chatbots", {"name": text})
            assert (await api.call("PATCH", chatbot, {"name": text})).status == (200 if reply.status == 201 else reply.status)
        case "KeyInput", _:
            body = {"name": text, "scopes": ["keys:write"]}
            reply = await api.post("/api-keys", body, key=await _key_with(api, "keys:write"))
        case "SiteInput", _:
            reply = await api.post(f"{chatbot}/sites", {"url": text, "kind": "page"})
        case "RestrictionsConfig", _:
            reply = await api.call("PATCH", chatbot, {"restrictions": {field: [text]}})
            await api.call("PATCH", chatbot, {"restrictions": {field: []}})
        case _:
            raise AssertionError(f"nothing asks about {struct}.{field}")
    return reply.status


TEXTS = {
    ("PromptInput", "conversation_id"): IDS,
    ("PromptInput", "user_id"): SPEAKERS,
    ("EndUserPrompt", "conversation_id"): IDS,
    ("EndUserPrompt", "user_id"): SPEAKERS,
    ("SessionInput", "user_id"): [*SPEAKERS, "anon:x", "Anon:x", "client:ann"],
    ("SessionInput", "conversation_ids"): IDS,
    ("WidgetKeyInput", "hostnames"): HOSTNAMES,
    ("ProfileInput", "name"): SPEAKERS,
    ("ProfileInput", "email"): SPEAKERS,
    ("TakeoverInput", "operator"): [text for text in SPEAKERS if text not in (".", "..")],
    ("ConversationChange", "assigned_to"): [text for text in SPEAKERS if text not in (".", "..")],
    ("NoteInput", "operator"): [text for text in SPEAKERS if text not in (".", "..")],
    ("NoteInput", "content"): CONTENTS,
    ("SendInput", "operator"): [text for text in SPEAKERS if text not in (".", "..")],
    ("SendInput", "content"): CONTENTS,
    ("DiscardInput", "operator"): [text for text in SPEAKERS if text not in (".", "..")],
    ("CannedReplyInput", "shortcut"): SHORTCUTS,
    ("CannedReplyInput", "content"): CONTENTS,
    ("ReplayInput", "conversation_ids"): IDS,
    ("IdentityKeyInput", "name"): NAMES,
    ("WidgetKeyInput", "name"): NAMES,
    ("UIChatInput", "id"): IDS,
    ("UIChatInput", "user_id"): SPEAKERS,
    ("ChatInput", "user"): ["", *SPEAKERS],
    ("ResponseInput", "user"): ["", *SPEAKERS],
    ("ConversationReference", "id"): IDS,
    ("DocumentInput", "name"): NAMES,
    ("DocumentInput", "content"): SHARED,
    ("FixedAnswerInput", "prompts"): SHARED,
    ("FixedAnswerInput", "answer"): SHARED,
    ("AnswerInput", "answer"): SHARED,
    ("AnswerInput", "prompts"): SHARED,
    ("ChatbotInput", "name"): NAMES,
    ("KeyInput", "name"): NAMES,
    ("SiteInput", "url"): URLS,
    ("RestrictionsConfig", "ip_addresses"): ADDRESSES,
    ("RestrictionsConfig", "hostnames"): HOSTNAMES,
}


def test_every_rule_about_texts_is_asked_about() -> None:
    assert set(TEXTS) | {("KeyInput", "scopes"), ("UIChatInput", "messages")} == set(input_rules.FIELDS)


@pytest.mark.parametrize(("struct", "field"), TEXTS)
async def test_a_rule_refuses_what_the_server_refuses(tmp_path: Path, struct: str, field: str) -> None:
    rule = input_rules.FIELDS[struct, field]
    async with gigachat(tmp_path) as api:
        await api.services.site_worker.aclose()  # what an address names is not fetched
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello?")
        for text in TEXTS[struct, field]:
            status = await asked(api, chatbot, struct, field, text)
            is_accepted = status not in (400, 422)
            assert status < 500 and status != 401, text
            assert status != 403 or (struct, field) == ("EndUserPrompt", "user_id"), "the key is good for it"
            assert input_rules.is_full_match(rule, text) == is_accepted or (struct, field, text) in NARROWER, (text, status)


# Where the rule says in words that it is narrower than the server.
NARROWER = {
    ("SiteInput", "url", "HTTPS://example.com"),
    ("CannedReplyInput", "shortcut", "für"),
    ("CannedReplyInput", "shortcut", "納期"),
}


HELLO = {"messages": [{"role": "user", "content": "Hello?"}]}
BARE: dict[str, tuple[str, dict[str, Any]]] = {
    "ChatInput": ("chat/completions", HELLO),
    "ResponseInput": ("responses", {"input": "Hello?"}),
    "ConversationInput": ("conversations", {}),
    "EmbeddingInput": ("embeddings", {"input": "Hello?"}),
}
CHOICES: dict[str, list[Any]] = {
    "tools": [None, [], [{}], [{"type": "function"}]],
    "functions": [None, [], [{}]],
    "items": [None, [], [{}]],
    "response_format": [None, {}, {"type": "text"}, {"type": "json_object"}, {"type": 1}, {"type": None}, []],
    "text": [None, {}, {"format": None}, {"format": {}}, "text",
             {"format": {"type": "text"}}, {"format": {"type": "json_schema"}}],
    "modalities": [None, ["text"], ["text", "text"], [], ["text", "audio"], "text"],
    "audio": [None, {}, False],
    "web_search_options": [None, {}, False],
    "prompt": [None, {}, "x"],
    "logprobs": [None, False, True, 0],
    "background": [None, False, True, 0],
    "store": [None, True, False, 1],
    "top_logprobs": [None, 0, 1, -1, False],
    "input": ["a", "", " ", "\u200b", "a\0b", "x" * 32_000, "x" * 32_001, None, [], ["a"], ["a"] * 65, ["a", ""], [1]],
    "conversation": [None, "c", "", "..", "a\nb", "x" * 256, {"id": "c"}, {"id": ""}, {}, {"id": None}, 1],
}  # fmt: skip


@pytest.mark.parametrize(("struct", "field"), input_rules.TAKEN)
async def test_what_is_taken_is_what_the_server_takes(tmp_path: Path, struct: str, field: str) -> None:
    taken = jsonschema_rs.validator_for(input_rules.TAKEN[struct, field])
    route, body = BARE[struct]
    values = CHOICES[field]
    if (struct, field) == ("ResponseInput", "input"):  # of many items the last one has to be the prompt, as no schema tells
        values = [each for each in values if not each or isinstance(each, str)] + [HELLO["messages"]]
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for value in values:
            status = (await api.post(f"{chatbot}/v1/{route}", {**body, field: value})).status
            assert status in (200, 400), value
            assert taken.is_valid(value) == (status == 200), (value, status)
