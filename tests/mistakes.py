"""What people get wrong when they first call the API, and what they are told: the test and a page of the docs are made of it."""

# ruff: noqa: E501 - a table, read by its rows
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

ID = "01a204e3-15f7-77b1-9db6-d193b16a5979"
PROMPT = {"conversation_id": "c1", "user_id": "ann", "prompt": "Hello"}


class Mistake(NamedTuple):
    """A request and its answer. `$BOT` stands for the path of a chatbot; `told` is in `detail`, or in `errors`."""

    what: str
    method: str
    path: str
    body: Any = None
    raw: bytes | None = None
    headers: Mapping[str, str] = {}
    key: Any = ""
    status: int = 404
    code: str = "not_found"
    told: str = ""


def wrong_address(what: str, method: str, path: str, told: str, **more: Any) -> Mistake:
    return Mistake(what, method, path, told=told, **more)


def wrong_key(what: str, told: str, *, path: str = "/chatbots", **more: Any) -> Mistake:
    return Mistake(what, "GET", path, status=401, code="unauthenticated", told=told, **{"key": None, **more})


def wrong_json(what: str, raw: bytes, told: str, **more: Any) -> Mistake:
    return Mistake(what, "POST", "/chatbots", raw=raw, status=400, code="malformed_body", told=told, **more)


def wrong_field(what: str, path: str, body: Any, told: str, **more: Any) -> Mistake:
    return Mistake(what, "POST", path, body=body, status=422, code="invalid_request", told=told, **more)


def wrong_query(what: str, path: str, told: str) -> Mistake:
    return Mistake(what, "GET", path, status=422, code="invalid_request", told=told)


TALK = "$BOT/conversations"
# fmt: off
MISTAKES = (
    wrong_address("a slash at the end", "GET", "/chatbots/", "Leave out the slash at the end; it is /chatbots."),
    wrong_address("a version in front", "GET", "/v1/chatbots", "Leave out the /v1 in front; it is /chatbots."),
    wrong_address("`/api` in front", "POST", f"/api/chatbots/{ID}/conversations", "Leave out the /api in front; it is /chatbots/{chatbot_id}/conversations."),
    wrong_address("a singular", "GET", "/chatbot", "Did you mean /chatbots?"),
    wrong_address("a typing error", "GET", "$BOT/converstions", "Did you mean /chatbots/{chatbot_id}/conversations?"),
    wrong_address("capitals", "GET", "/Chatbots", "Did you mean /chatbots?"),
    wrong_address("an underscore", "GET", "/api_keys", "Did you mean /api-keys?"),
    wrong_address("an id left out", "GET", "/chatbots//documents", "Between two slashes something is missing, perhaps an id; it is /chatbots/{chatbot_id}/documents."),
    wrong_address("a base URL for OpenAI that lacks its version", "POST", "/responses", "OpenAI's clients need /v1 at the end of their base URL: /v1/responses."),
    wrong_address("the same below a chatbot", "POST", f"/chatbots/{ID}/responses", "OpenAI's clients need /v1 at the end of their base URL: /chatbots/{chatbot_id}/v1/responses."),
    wrong_address("an address that is nothing like ours", "GET", "/foo/bar", "This is none of the documented addresses; /docs lists them."),
    wrong_address("the same without a key", "GET", "/foo/bar", "This is none of the documented addresses; /docs lists them.", key=None),
    wrong_address("the id of no chatbot", "GET", f"/chatbots/{ID}", "The account of this key has no chatbot with this id; GET /chatbots lists those that it has."),
    wrong_address("a name instead of an id", "GET", "/chatbots/Superbot/documents", "The account of this key has no chatbot with this id"),
    wrong_address("the id of no document", "GET", f"$BOT/documents/{ID}", "This chatbot has no document with this id."),
    wrong_address("no such conversation", "GET", f"{TALK}/nobody/messages", "This chatbot has no conversation with this id."),
    wrong_address("no such message", "POST", f"{TALK}/nobody/messages/{ID}/retry", "This chatbot has no conversation with this id, or that has no message with this id."),

    Mistake("the wrong method", "PUT", "/chatbots", status=405, code="method_not_allowed", told="PUT is not supported here; use GET or POST."),
    Mistake("PUT instead of PATCH", "PUT", "$BOT", {"name": "x"}, status=405, code="method_not_allowed", told="PUT is not supported here; use GET or PATCH or DELETE."),

    wrong_key("no key", "No API key was sent. Send it as 'Authorization: Bearer <API_KEY>'."),
    wrong_key("the key in another header", "The header x-api-key is not read.", headers={"X-API-Key": "gca_x"}),
    wrong_key("`Bearer` left out", "the word Bearer is missing before the key.", headers={"Authorization": "gca_x"}),
    wrong_key("another scheme", "The header Authorization has another scheme than Bearer.", headers={"Authorization": "Basic dTpw"}),
    wrong_key("`Bearer` without a key", "and no key follows.", headers={"Authorization": "Bearer"}),
    wrong_key("`Bearer` twice", "The word Bearer was sent twice.", headers={"Authorization": "Bearer Bearer gca_x"}),
    wrong_key("the key in the address", "A key in the address is not read, and ends up in logs.", path="/chatbots?api_key=x"),
    wrong_key("the key in quotes", "The API key stands in quotes; send it without them.", key='"gca_x"'),
    wrong_key("a key cut short", "a key has 50 characters, and this has 12.", key="gca_Ab3dEf6h"),
    wrong_key("a key with a typing error", "This API key has a typing error", key="gca_" + "0" * 46),
    wrong_key("a variable that was not filled in", "This looks like a placeholder", key="$GIGACHAT_API_KEY"),
    wrong_key("another service's key", "This server knows no such API key; those that `gigachat keys create` makes begin with gca_", key="sk-proj-abc"),
    wrong_key("a key that does not hold", "This API key was revoked, has expired, or was made by another server", key="gca_00000000000000000000000000000000000000002ueLsy"),

    wrong_json("no body", b"", 'The body is empty; send a JSON object such as {"name": ...}.'),
    wrong_json("a form", b"name=Superbot&x=1", 'The body is a form, but this call takes JSON, such as {"name": ...}.'),
    wrong_json("single quotes", b"{'name': 'Superbot'}", 'names and texts stand in straight double quotes, " (line 1, column 2).'),
    wrong_json("typographic quotes", '{“name”: 1}'.encode(), 'names and texts stand in straight double quotes, "'),
    wrong_json("names without quotes", b"{name: 1}", "names stand in double quotes (line 1, column 2)."),
    wrong_json("a comma at the end", b'{"name": "x",}', "there is a comma too many before it (line 1, column 14)."),
    wrong_json("a bracket left out", b'{"name": "x"', "it ends before its last bracket is closed"),
    wrong_json("a line break in a text", b'{"name": "a\nb"}', "a line break or a tab within a text is written \\n or \\t"),
    wrong_json("a path of Windows", b'{"name": "C:\\Users"}', "a backslash within a text is written twice"),
    wrong_json("words of Python", b'{"name": None}', "write null, not None"),
    wrong_json("NaN", b'{"name": NaN}', "NaN is not a JSON number; send a number or null."),
    wrong_json("a comment", b'{"name": "x" // the name\n}', "a comma, or a closing bracket, is missing (line 1, column 14)."),
    wrong_json("two objects", b'{"name": "x"}{"name": "y"}', "something stands behind the end of the JSON; send one object"),
    wrong_json("XML", b"<name>x</name>", "The body is XML or HTML, but this call takes JSON"),
    wrong_json("Latin-1", '{"name": "Zoë"}'.encode("latin-1"), "The body is not UTF-8 from byte 13 on; send JSON in UTF-8."),
    wrong_json("UTF-16", '{"name": "x"}'.encode("utf-16"), "The body is UTF-16; send JSON in UTF-8."),
    Mistake("XML, and said so", "POST", "/chatbots", raw=b"<a/>", headers={"Content-Type": "text/xml"}, status=415, code="unsupported_media_type", told="Send application/json, not text/xml."),

    wrong_field("an array", "/chatbots", [{"name": "x"}], "body: Must be an object, not an array."),
    wrong_field("a required field left out", "/chatbots", {}, "name: Required."),
    wrong_field("a field of another name", TALK, {**PROMPT, "promt": "Hi"}, "promt: Unknown field. Did you mean prompt?"),
    wrong_field("a field of another API", "/chatbots", {"name": "x", "model": "gpt"}, "model: Unknown field. There are name, response, restrictions, documents, interception, limits, prices."),
    wrong_field("a number as a text", "/chatbots", {"name": "x", "response": {"n": "2"}}, "response.n: Must be a whole number, not a string."),
    wrong_field("null for a text", "/chatbots", {"name": None}, "name: Must be a string, not null."),
    wrong_field("a number out of bounds", "/chatbots", {"name": "x", "response": {"n": 9}}, "response.n: Must be at most 4."),
    wrong_field("a prompt too long", TALK, {**PROMPT, "prompt": "x" * 32_001}, "prompt: Must have at most 32000 characters."),
    wrong_field("an empty prompt", TALK, {**PROMPT, "prompt": ""}, "prompt: Must not be empty."),
    wrong_field("a word that is none of the choices", "/chatbots", {"name": "x", "response": {"overlap": "wait"}}, "response.overlap: Must be coalesce or interrupt or queue or reject."),
    wrong_field("what looks like the prefix of staff", TALK, {**PROMPT, "user_id": "Client:bob"}, "user_id: Looks like the prefix client: but is not it."),
    Mistake("an array for a change", "PATCH", "$BOT", [], status=422, code="invalid_request", told="body: Must be an object."),

    wrong_query("pages by number", "/chatbots?page=2", "page: Unknown query parameter. Use limit, and follow the header Link"),
    wrong_query("a typing error in a parameter", "$BOT/documents?limt=5", "limt: Unknown query parameter. Did you mean limit?"),
    wrong_query("a parameter of nothing", "$BOT?verbose=1", "verbose: Unknown query parameter. This call takes embedding."),
    wrong_query("a limit too large", "/chatbots?limit=1000", "limit: Must be a whole number from 1 to 100."),
    wrong_query("a cursor of one's own", TALK + "?after=2", "after: Must be a cursor from a Link header."),
    wrong_query("yes for true", "$BOT/retrieve?query=x&embedding=yes", "embedding: Must be true or false."),
)
# fmt: on
