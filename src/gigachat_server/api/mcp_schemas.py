"""Tools as MCP lists them: their schemas, made from the structs that they take and give, and what they do as text.

Invariant: a schema stands alone. What it refers to is in its own `$defs`, since clients check each by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec

from gigachat_server.api import wire
from gigachat_server.api.mcp_tools import AskOutput, Tool

_CHATBOT = {
    "type": "string",
    "description": "The id of the chatbot. It may be left out where the account has one alone.",
}


@functools.cache
def listed(tool: Tool[Any], *, names_chatbot: bool) -> dict[str, Any]:
    """A tool in `tools/list`. `names_chatbot`: it takes a `chatbot_id` too."""
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": _input(tool.takes, names_chatbot=names_chatbot),
        "outputSchema": _schema(tool.gives),
        "annotations": {
            "title": tool.title,
            "readOnlyHint": tool.is_read_only,
            "destructiveHint": False,
            "idempotentHint": tool.is_read_only or tool.is_repeatable,
            "openWorldHint": False,
        },
    }


def _input(kind: type[Any], *, names_chatbot: bool) -> dict[str, Any]:
    schema = _schema(kind)
    if names_chatbot:
        schema["properties"] = {"chatbot_id": _CHATBOT, **schema["properties"]}
    return schema


def _schema(kind: type[Any]) -> dict[str, Any]:
    (root,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = root["$ref"].rpartition("/")[2]
    schema = dict(components.pop(name))
    return {**schema, "$defs": components} if components else schema


# --- what tools gave, for models that read it as text ---

_SILENT = "The chatbot said nothing: its reply was ended."
_UNANSWERED = {
    "intercepted": "The chatbot does not answer: an operator has this conversation.",
    "proposed": "An operator looks at the reply first; read the conversation later.",
}


def text_of(given: msgspec.Struct) -> str:
    if isinstance(given, AskOutput):
        return _replies(given)
    if isinstance(given, wire.WireRetrieval):
        return _passages(given.passages)
    return msgspec.json.encode(given).decode()


def _replies(given: AskOutput) -> str:
    replies = [each for each in given.messages if each.in_reply_to is not None]
    parts = [each.content for each in replies] or [_UNANSWERED.get(given.messages[-1].turn or "", _SILENT)]
    sources = replies[0].sources if replies else []
    if sources:
        named = "\n".join(f"[{number}] {each.name}" for number, each in enumerate(sources, start=1))
        parts.append(f"Sources:\n{named}")
    return "\n\n".join((*parts, f"conversation_id: {given.conversation_id}"))


def _passages(found: Sequence[wire.WirePassage]) -> str:
    if not found:
        return "Nothing was found."
    return "\n\n".join(f"{each.name} (relevance {each.score:.2f})\n{each.content}" for each in found)
