"""The API's reference as a page, from the same document that /openapi.json gives to programs.

It needs no login, no network and no script: everyone who can reach the server can read it.
"""

from __future__ import annotations

import asyncio
import functools
import html
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.responses import Response

from gigachat_server.api.openapi import openapi
from gigachat_server.api.problem_schemas import error_codes
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest

_REFERENCE = "reference.html"
_TITLES = {
    "chatbots": "Chatbots",
    "documents": "Documents",
    "conversations": "Conversations",
    "keys": "API keys",
    "identity_keys": "Identity keys",
    "widget_keys": "Widget keys",
    "sessions": "Sessions of end users",
    "users": "End users",
    "openai": "OpenAI clients",
    "health": "Health",
}
# What an example says for a field or a part of a path; others are told by their type.
_EXAMPLES: dict[str, Any] = {
    "url": "https://www.example.com/help/",
    "kind": "site",
    "as": "fixed_answer",
    "prompts": ["When do you open?"],
    "answer": "We open at nine.",
    "name": "Superbot",
    "content": "How KV works. Workers KV is a global, low-latency, key-value data store.",
    "conversation_id": "12345",
    "user_id": "someone@example.com",
    "prompt": "How does KV work?",
    "operator": "support_staff_01",
    "algorithm": "HS256",
    "shortcut": "refund-status",
    "hostnames": ["www.example.com"],
    "rating": "up",
    "input": "How does KV work?",
    "messages": [{"role": "user", "content": "How does KV work?"}],
    "email": "ann@example.com",
}
_PATCHES: dict[str, dict[str, Any]] = {
    "/operators": {"role": "admin"},
    "/sites": {"recrawl_hours": 24},
    "/widget-keys": {"is_enabled": False},
    "/users": {"name": "Ann"},
    "/conversations": {"status": "closed"},
}
_IN_PATH = {"conversation_id": "12345", "user_id": "someone%40example.com"}
_NAMES = {"document_id": "DOCUMENT_ID", "chatbot_id": "CHATBOT_ID", "key_id": "KEY_ID"}


class Field(msgspec.Struct, frozen=True):
    """One row of a table of parameters or fields; nested ones are named by their path: `response.n`."""

    name: str
    type: str
    is_required: bool
    default: str
    description: str


class Shape(msgspec.Struct, frozen=True):
    """What an end user sends or gets in place of what the account does."""

    type: str
    fields: list[Field]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    anchor: str
    method: str
    path: str
    summary: str
    access: str
    parameters: list[Field]
    fields: list[Field]
    body_note: str
    status: str
    response: str
    response_fields: list[Field]
    end_user_body: Shape | None
    end_user_response: Shape | None
    is_streamed: bool
    is_stream_alone: bool
    curl: str  # with $BASE for the server's address


class Group(msgspec.Struct, frozen=True):
    title: str
    anchor: str
    operations: list[Operation]


async def show(request: PageRequest[None], context: PageContext) -> Response:
    """All but who asks, and for what address, is the same for everybody, and made once."""
    reference = context.rendered.get(_REFERENCE)
    if reference is None:
        described = await asyncio.to_thread(groups)
        reference = context.rendered[_REFERENCE] = await context.render(_REFERENCE, groups=described, codes=error_codes())
    shown = reference.replace("$BASE", html.escape(request.address))
    return await context.page(request, "docs.html", reference=shown)


@functools.cache
def groups() -> list[Group]:
    """Every route of the API, by what it is about."""
    document = openapi()
    by_tag: dict[str, list[Operation]] = {}
    for path, by_method in document["paths"].items():
        for method, operation in by_method.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(method.upper(), path, operation, document))
    return [Group(_TITLES.get(tag, tag.capitalize()), tag, operations) for tag, operations in by_tag.items()]


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> Operation:
    schemas = document["components"]["schemas"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    fields = list(_fields(_of_account(body), schemas)) if body else []
    if method == "PATCH":  # whatever is left out stays as it is: nothing is required, and no default comes in
        fields = [msgspec.structs.replace(field, is_required=False, default="") for field in fields]
    status, success = next(iter(operation["responses"].items()))
    content = success.get("content", {})
    answer = content.get("application/json", {}).get("schema")
    is_streamed = "text/event-stream" in content
    return Operation(
        anchor=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        access=operation.get("description", "Public: needs no key."),
        parameters=[_parameter(parameter) for parameter in operation["parameters"]],
        fields=fields,
        body_note=body.get("description", "") if body else "",
        status=status,
        response=_type(_of_account(answer)) if answer else "no body",
        response_fields=list(_fields(_item(_of_account(answer)), schemas)) if answer else [],
        end_user_body=_of_end_user(body, schemas),
        end_user_response=_of_end_user(answer, schemas),
        is_streamed=is_streamed,
        is_stream_alone=is_streamed and answer is None,
        curl=_curl(method, path, fields, is_public=operation.get("security") == []),
    )


def _parameter(parameter: dict[str, Any]) -> Field:
    schema = parameter["schema"]
    description = parameter.get("description") or "In the path, percent-encoded."
    return Field(parameter["name"], _type(schema), parameter.get("required", False), _default(schema), description)


def _fields(schema: dict[str, Any], schemas: dict[str, Any], prefix: str = "") -> Iterator[Field]:
    """The fields of an object, and those of the objects in it."""
    target = _resolve(schema, schemas)
    required = target.get("required", [])
    for name, field in target.get("properties", {}).items():
        inner = _resolve(field, schemas)
        if "properties" not in inner:
            inner = _resolve(inner.get("items", {}), schemas) if "items" in inner else {}
        nested = f"{prefix}{name}[]" if field.get("type") == "array" else f"{prefix}{name}"
        description = field.get("description", "")
        if "properties" not in inner:
            yield Field(prefix + name, _type(field), name in required, _default(field), description)
        else:
            if name in required:
                yield Field(prefix + name, _type(field), True, "", description)
            yield from _fields(inner, schemas, f"{nested}.")


def _of_account(schema: dict[str, Any]) -> dict[str, Any]:
    """Of what an API key and an end user send or get, the former's."""
    first: dict[str, Any] = schema["anyOf"][0] if "anyOf" in schema else schema
    return first


def _of_end_user(schema: dict[str, Any] | None, schemas: dict[str, Any]) -> Shape | None:
    if schema is None or "anyOf" not in schema:
        return None
    theirs = schema["anyOf"][1]
    return Shape(_type(theirs), list(_fields(_item(theirs), schemas)))


def _item(schema: dict[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = schema.get("items", schema)
    return item


def _resolve(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return schemas[reference.rpartition("/")[2]] if reference else schema


def _type(schema: dict[str, Any]) -> str:
    """A type as a person writes it: `string, 1–255`, `integer, 1–4 or null`."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2]).removeprefix("Wire")
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(choice) for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'])}" if schema.get("items") else "array"
    name = str(schema.get("type", "any"))
    for least, most in (("minimum", "maximum"), ("minLength", "maxLength")):
        if least in schema or most in schema:
            name += f", {schema.get(least, 0)}–{schema.get(most, '')}"
    return name


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default", schema.get("x-default", msgspec.UNSET))
    return "" if default is msgspec.UNSET else json.dumps(default, ensure_ascii=False)


def _curl(method: str, path: str, fields: list[Field], *, is_public: bool) -> str:
    """A command that can be pasted, given GIGACHAT_API_KEY and the ids it names."""

    def in_path(match: re.Match[str]) -> str:
        name = match[1]
        return _IN_PATH.get(name) or f"${_NAMES.get(name, name.upper())}"

    needed = [field.name for field in fields if field.is_required and "[" not in field.name]  # not only within a list
    body = {name: _EXAMPLES.get(name, "...") for name in needed}
    if "/documents" in path and "name" in body:
        body["name"] = "https://developers.cloudflare.com/workers/learning/how-kv-works/"
    if method == "PATCH":
        body = next((example for part, example in _PATCHES.items() if part in path), {"response": {"temperature": 0}})
    if path.startswith("/v1/") and body:
        body = {"model": _NAMES["chatbot_id"], **body}
    if "/api-keys" in path and body:
        body["name"] = "my server"
    is_told = method == "GET" or (method == "POST" and body)  # to curl, by whether there is a body
    command = "curl" if is_told else f"curl -X {method}"
    parts = [command + ' "$BASE' + re.sub(r"{(\w+)}", in_path, path) + '"']
    if not is_public:
        parts.append('-H "Authorization: Bearer $GIGACHAT_API_KEY"')
    if body:
        parts += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(body)}'"]
    return " \\\n  ".join(parts)
