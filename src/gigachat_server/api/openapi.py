"""The OpenAPI 3.1 document, made from the route table and the structs it names."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from gigachat_server import __version__
from gigachat_server.access.scopes import Scope
from gigachat_server.api import input_rules
from gigachat_server.api.openai.wire import OpenAIError
from gigachat_server.api.problem_schemas import ProblemSchemas
from gigachat_server.api.routes import DOCUMENTS, ROUTES, ApiRoute
from gigachat_server.api.schemas import STREAMS, Schemas, prune
from gigachat_server.edge.routes import PUBLIC

_QUERY: dict[str, tuple[dict[str, Any], str]] = {
    "limit": ({"type": "integer", "minimum": 1, "maximum": 100, "default": 50}, "How many entries a page has."),
    "after": ({"type": "string"}, "Where the page starts: take it from the `Link` header of the page before."),
    "embedding": ({"type": "boolean", "default": True}, "false leaves the embeddings of chunks null."),
    "warned": ({"type": "boolean"}, "true: only documents with `warnings`; false: only those without."),
    "query": (
        input_rules.QUERY["query"],
        "What a user would say. The whole head of a request may have 64 kB, so send what is longer than that as a prompt.",
    ),
    "conversation_id": (
        input_rules.CLIENT_ID,
        "In which conversation it would be said. Needs the scope `conversations:read` too.",
    ),
    "for": (
        {"enum": ["configured", "generating", "quoting"], "default": "configured"},
        "For which model passages are judged: one that generates judges for itself, so a lower relevance is enough for it.",
    ),
    "controlled_by": ({"enum": ["human", "bot"]}, "Only those in which an operator has control, or the chatbot."),
    "state": ({"enum": ["open", "answered", "dismissed"], "default": "open"}, "What became of them."),
    "chatbot_id": ({"type": "string"}, "Of which chatbot. An account of one chatbot may leave it out."),
    "order": ({"enum": ["asc", "desc"], "default": "desc"}, "`asc`: oldest first."),
    "q": (
        {"type": "string", "minLength": 1, "maxLength": 500},
        'Words that a message holds, ten at most; words in "quotes" stand together.',
    ),
    "role": ({"enum": ["user", "assistant", "operator", "system"]}, "Only messages of that role."),
    "from": ({"type": "string", "format": "date"}, "The first day (UTC). Default: 29 days before `to`."),
    "to": ({"type": "string", "format": "date"}, "The last day (UTC), at most 399 later. Default: today."),
    "format": ({"enum": ["json", "csv"]}, "Default: as the `Accept` header says."),
    "status": ({"enum": ["open", "snoozed", "closed"]}, "Only those of that status."),
    "waiting": ({"type": "boolean"}, "true: only those whose end user waits for a human's answer."),
    "assigned_to": (
        input_rules.OPERATOR_OR_NONE,
        "Only those that this operator looks after; empty: those that belong to none.",
    ),
    "operator": (input_rules.OPERATOR, "Only those in which this operator has control."),
    "user_id": (input_rules.CLIENT_ID, "Only those of this end user."),
    "sort": (
        {"enum": ["last", "waiting"], "default": "last"},
        "`waiting`: only those in which somebody waits for a human, longest waiting first.",
    ),
    "typing": (
        {"type": "boolean", "default": False},
        "true: a stream also has an event `typing` whenever who is writing changes, while a human answers.",
    ),
    "handoff_requested": ({"type": "boolean"}, "true: only those in which a human was asked for and none has come yet."),
}
# Where one name means something else on one route.
_QUERY_OF: dict[tuple[str, str], tuple[dict[str, Any], str]] = {
    (DOCUMENTS, "state"): ({"enum": ["pending", "extracting", "embedding", "ready", "failed"]}, "Only documents in that state."),
}
_REQUIRED = ("query", "chatbot_id", "q")
_KEY: tuple[dict[str, Any], str] = (
    input_rules.IDEMPOTENCY_KEY,
    "A header: your name for this write, kept for 24 hours. Sent again with it, it is not done again, and answered as before.",
)
_LAST_EVENT_ID: tuple[dict[str, Any], str] = (
    {"type": "string"},
    "A header, for an event stream: the `id:` of what came last, to go on behind it. It counts before `after`.",
)
_LEFT_AT: tuple[dict[str, Any], str] = (
    {"type": "string"},
    "A header, for a stream that is sent again with its `Idempotency-Key`: the `id:` of what came last, to go on behind it.",
)
_PREFER: tuple[dict[str, Any], str] = (
    {"type": "string", "examples": ["respond-async"]},
    "A header: with `respond-async` the answer is 202 as soon as the text is stored.",
)
_FORM = {
    "type": "object",
    "additionalProperties": False,
    "required": ["file"],
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "Text, Markdown, HTML, PDF, DOCX, PPTX, XLSX, CSV or EPUB.",
        },
        "name": {**input_rules.DOCUMENT_NAME, "description": "The document's name; else the file's."},
    },
}
_LOCATION = {"description": "The path of what was made.", "schema": {"type": "string"}}
_RATE_LIMITS = {
    "RateLimit-Policy": {
        "description": 'The limits that the prompt was charged to: `"user";q=20;w=60`. Without any there is no such header.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'What is left of each, and in how many seconds it is whole again: `"user";r=13;t=17`.',
        "schema": {"type": "string"},
    },
}
_LINK = {"description": 'Where a further page is: `<...>; rel="next"`. The last page has none.', "schema": {"type": "string"}}


_BEARERS = {
    "apiKey": "An API key, gca_...: of your server.",
    "widgetKey": "A widget key, gcp_...: of a visitor without a name.",
    "userToken": "A token (JWT) that your server signed for one of its users.",
    "session": "A session of an end user, gcu_....",
}


@functools.cache
def openapi_json() -> bytes:
    return msgspec.json.format(msgspec.json.encode(openapi()), indent=1)


def openapi() -> dict[str, Any]:
    """The document. Every route of the table is in it, and nothing else."""
    schemas = Schemas()
    problems = ProblemSchemas(schemas.components)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, problems)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "gigachat",
            "version": __version__,
            "description": "Push documents, get a chatbot that answers from them; every prompt and reply is stored, in order.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this document comes from."}],
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": description} for name, description in _BEARERS.items()
            },
        },
    }
    prune(document)
    return document


def _tag(route: ApiRoute) -> str:
    """What a route is about: its handlers' module, or the protocol that it speaks."""
    return "openai" if route.is_openai else str(route.handler.__module__.rpartition(".")[2])


def _operation_id(route: ApiRoute) -> str:
    """Below a chatbot's address and at the root the same handlers serve OpenAI's clients."""
    module, name = route.handler.__module__.rpartition(".")[2], route.handler.__name__
    if not route.is_openai:
        return f"{module}_{name}"
    return f"openai_{module}_{name}{'' if route.path.startswith('/v1') else '_of_chatbot'}"


def _operation(route: ApiRoute, schemas: Schemas, problems: ProblemSchemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": _parameters(route),
        "responses": {**_successes(route, schemas), **_failures(route, schemas, problems)},
    }
    if route.scope == PUBLIC:
        operation["security"] = []
    else:
        operation["description"] = _who_may(route)
        if route.end_user == "own":
            operation["security"] = [{"apiKey": []}, *({each: []} for each in _bearers_of_users(route))]
    if route.request is not None:
        schema = schemas.sent(route.request, is_merge=route.is_merge)
        if route.end_user_request is not None:
            schema = {"anyOf": [schema, schemas.sent(route.end_user_request, is_merge=False)]}
        content: dict[str, Any] = {"application/json": {"schema": schema}}
        if route.takes_file:
            content["multipart/form-data"] = {"schema": _FORM}
        operation["requestBody"] = {"required": not route.is_body_optional, "content": content}
    return operation


def _failures(route: ApiRoute, schemas: Schemas, problems: ProblemSchemas) -> dict[str, Any]:
    """OpenAI's clients know one form of error, and no 422."""
    found = problems.responses(route)
    if not route.is_openai:
        return found
    told = {status: response["description"] for status, response in found.items()}
    told["400"] += "\n" + told.pop("422")
    content = {"application/json": {"schema": schemas.answered(OpenAIError)}}
    return {status: {"description": description, "content": content} for status, description in told.items()}


def _who_may(route: ApiRoute) -> str:
    told = f"Needs a key with the scope `{route.scope}`."
    return told if route.end_user == "no" else f"{told} End users reach it too, and of conversations their own alone."


def _bearers_of_users(route: ApiRoute) -> tuple[str, ...]:
    """Of the credentials of end users those that are good for it."""
    return ("widgetKey", "userToken") if route.scope is Scope.TOKENS_WRITE else ("userToken", "session")


def _parameters(route: ApiRoute) -> list[dict[str, Any]]:
    rules = {**input_rules.PATH, **input_rules.PATH_OF.get((route.method, route.path), {})}
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": rules.get(name, {"type": "string"})}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    in_query = [_query_parameter(route, name) for name in route.query]
    in_header = []
    if route.is_idempotent:
        in_header.append(_parameter("header", "Idempotency-Key", *_KEY))
    if route.is_followed:
        schema, description = _LAST_EVENT_ID
        in_header.append(_parameter("header", "Last-Event-ID", input_rules.LAST_EVENT_ID.get(route.path, schema), description))
    elif route.is_prompt and route.is_streamed and not route.is_openai:
        in_header.append(_parameter("header", "Last-Event-ID", *_LEFT_AT))
    if route.accepted is not None:
        in_header.append(_parameter("header", "Prefer", *_PREFER))
    return in_path + in_query + in_header


def _query_parameter(route: ApiRoute, name: str) -> dict[str, Any]:
    schema, description = _QUERY_OF.get((route.path, name)) or _QUERY[name]
    if name == "after":
        schema, description = input_rules.AFTER.get(route.path, schema), route.after or description
    if name in route.query_defaults:
        schema = {**schema, "default": route.query_defaults[name]}
    required = {"required": True} if name in _REQUIRED else {}
    return {**_parameter("query", name, schema, description), **required}


def _parameter(place: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": schema, "description": description}


def _successes(route: ApiRoute, schemas: Schemas) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Success"}
    content: dict[str, Any] = {}
    if route.response is not None:
        content["application/json"] = {"schema": schemas.answered(route.response, end_user=route.end_user == "own")}
    if route.is_streamed:
        stream, _ = STREAMS[route.method, route.path]
        content["text/event-stream"] = {"schema": {"$ref": f"#/components/schemas/{stream}"}}
    if route.is_table:
        content["text/csv"] = {"schema": {"type": "string"}}
    if content:
        success["content"] = content
    headers = {"Location": _LOCATION} if route.has_location else {}
    if "limit" in route.query and "after" in route.query:
        headers = {**headers, "Link": _LINK}
    if route.is_prompt:
        headers = {**headers, **_RATE_LIMITS}
    if headers:
        success["headers"] = headers
    responses = {str(route.status): success}
    if route.at_rest:
        responses["204"] = {"description": route.at_rest}
    if route.accepted is not None:
        responses["202"] = {
            "description": "Stored, and searchable later: a file, or on `Prefer: respond-async`",
            "headers": {"Location": _LOCATION},
            "content": {"application/json": {"schema": schemas.answered(route.accepted)}},
        }
    return responses
