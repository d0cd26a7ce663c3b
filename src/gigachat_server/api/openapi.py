"""The OpenAPI 3.1 document, made from the route table and the structs it names."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from gigachat_server import __version__
from gigachat_server.api.routes import DOCUMENTS, ROUTES, ApiRoute
from gigachat_server.edge.routes import PUBLIC
from gigachat_server.errors import GigachatError

_QUERY: dict[str, tuple[dict[str, Any], str]] = {
    "limit": ({"type": "integer", "minimum": 1, "maximum": 100, "default": 50}, "How many entries a page has."),
    "after": ({"type": "string"}, "Where the page starts: take it from the `Link` header of the page before."),
    "embedding": ({"type": "boolean", "default": True}, "false leaves the embeddings of chunks null."),
    "warned": ({"type": "boolean"}, "true: only documents with `warnings`; false: only those without."),
    "query": ({"type": "string", "minLength": 1, "maxLength": 32_000}, "What a user would say. Required."),
    "conversation_id": (
        {"type": "string"},
        "In which conversation it would be said. Needs the scope `conversations:read` too.",
    ),
    "for": (
        {"enum": ["configured", "generating", "quoting"], "default": "configured"},
        "For which model passages are judged: one that generates judges for itself, so a lower relevance is enough for it.",
    ),
    "controlled_by": ({"enum": ["human", "bot"]}, "Only those in which an operator has control, or the chatbot."),
    "state": ({"enum": ["open", "answered", "dismissed"], "default": "open"}, "What became of them."),
    "handoff_requested": ({"type": "boolean"}, "true: only those in which a human was asked for and none has come yet."),
}
# Where one name means something else on one route.
_QUERY_OF: dict[tuple[str, str], tuple[dict[str, Any], str]] = {
    (DOCUMENTS, "state"): ({"enum": ["pending", "extracting", "embedding", "ready", "failed"]}, "Only documents in that state."),
}
_KEY: tuple[dict[str, Any], str] = (
    {"type": "string", "minLength": 1, "maxLength": 255},
    "A header: your name for this write, kept for 24 hours. Sent again with it, it is not done again, and answered as before.",
)
_LAST_EVENT_ID: tuple[dict[str, Any], str] = (
    {"type": "string"},
    "A header, for an event stream: the `id:` of what came last, to go on behind it. It counts before `after`.",
)
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "Text, Markdown, HTML, PDF, DOCX, PPTX, XLSX, CSV or EPUB.",
        },
        "name": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "The document's name; else the file's."},
    },
}
_LOCATION = {"description": "The path of what was made.", "schema": {"type": "string"}}


class FieldProblem(msgspec.Struct):
    field: str
    message: str


class Problem(msgspec.Struct):
    """Every error (RFC 9457). Programs act on `code`; the texts are for people."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FieldProblem] = []


@functools.cache
def openapi_json() -> bytes:
    return msgspec.json.format(msgspec.json.encode(openapi()), indent=1)


def openapi() -> dict[str, Any]:
    """The document. Every route of the table is in it, and nothing else."""
    types = [kind for route in ROUTES for kind in (route.request, route.response, route.accepted) if kind is not None]
    schemas, components = msgspec.json.schema_components([*types, Problem], ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(repr, [*types, Problem]), schemas, strict=True))
    for route in ROUTES:
        if route.is_merge and route.request is not None:
            name = route.request.__name__
            components[f"{name}Part"] = _optional(components[name], f"Any part of a {name}; what is left out stays as it is.")
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gigachat",
            "version": __version__,
            "description": "Push documents, get a chatbot that answers from them; every prompt and reply is stored, in order.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, gca_..."}},
        },
    }


def error_codes() -> list[tuple[str, int, str]]:
    """Every code of the error tree: code, status, meaning."""

    def below(kind: type[GigachatError]) -> list[type[GigachatError]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    return sorted({(kind.code, kind.status, kind.message) for kind in below(GigachatError)}, key=lambda row: row[1::-1])


def _operation(route: ApiRoute, by_type: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "summary": route.summary,
        "tags": [route.handler.__module__.rpartition(".")[2]],
        "parameters": _parameters(route),
        "responses": _responses(route, by_type),
    }
    if route.scope == PUBLIC:
        operation["security"] = []
    else:
        operation["description"] = f"Needs a key with the scope `{route.scope}`."
    if route.request is not None:
        schema = by_type[repr(route.request)]
        if route.is_merge:
            schema = {"$ref": schema["$ref"] + "Part"}
        content: dict[str, Any] = {"application/json": {"schema": schema}}
        if route.takes_file:
            content["multipart/form-data"] = {"schema": _FORM}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _optional(schema: dict[str, Any], description: str) -> dict[str, Any]:
    """The same object with every property optional and without a default."""
    properties = {
        name: {key: value for key, value in described.items() if key != "default"}
        for name, described in schema["properties"].items()
    }
    rest = {key: value for key, value in schema.items() if key != "required"}
    return {**rest, "description": description, "properties": properties}


def _parameters(route: ApiRoute) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    in_query = [_parameter("query", name, *(_QUERY_OF.get((route.path, name)) or _QUERY[name])) for name in route.query]
    for each in in_query:
        if each["name"] in route.query_defaults:
            each["schema"] = {**each["schema"], "default": route.query_defaults[each["name"]]}
    if route.after:
        in_query = [{**each, "description": route.after} if each["name"] == "after" else each for each in in_query]
    in_header = [_parameter("header", "Idempotency-Key", *_KEY)] if route.is_idempotent else []
    in_header += [_parameter("header", "Last-Event-ID", *_LAST_EVENT_ID)] if route.is_followed else []
    return in_path + in_query + in_header


def _parameter(place: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": schema, "description": description}


def _responses(route: ApiRoute, by_type: dict[str, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Success"}
    content: dict[str, Any] = {}
    if route.response is not None:
        content["application/json"] = {"schema": by_type[repr(route.response)]}
    if route.is_streamed:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    if content:
        success["content"] = content
    if route.has_location:
        success["headers"] = {"Location": _LOCATION}
    responses = {str(route.status): success}
    if route.accepted is not None:
        responses["202"] = {
            "description": "Stored, and searchable later: a file, or on `Prefer: respond-async`",
            "headers": {"Location": _LOCATION},
            "content": {"application/json": {"schema": by_type[repr(route.accepted)]}},
        }
    failure = {"application/problem+json": {"schema": by_type[repr(Problem)]}}
    return {**responses, "default": {"description": "A problem", "content": failure}}
