"""The schemas of the OpenAPI document, made from the structs: what is sent, what is answered, what is streamed.

Idea: one struct may be both sent and answered, and that is two schemas. As it is sent (`...Input`), what has a default may be
left out, and every rule of `input_rules.py` is told; as it is answered, every field is there, and more may come with a later
version. The body of a PATCH (`...Part`) is what is sent with nothing required.

A default is told as `x-default`: where `default` stands, generators send it along (a PATCH would reset what it does not
mean) or demand it.
"""

from __future__ import annotations

from typing import Any, get_args, get_origin

import msgspec

from gigachat_server.api import end_user_wire, input_rules, learning_wire, site_wire, ui_frames, wire
from gigachat_server.api.openai import wire as openai_wire
from gigachat_server.api.routes import (
    CHATBOT,
    CONVERSATION,
    CONVERSATIONS,
    DOCUMENT,
    MESSAGE,
    ROUTES,
    SITE,
    UI,
    UI_STREAM,
)
from gigachat_server.records import EventType

Schema = dict[str, Any]

_REF = "#/components/schemas/"
_TURN = {"start": wire.StreamStart, "delta": wire.StreamDelta, "message": wire.WireMessage, "done": wire.StreamDone}
_CHAT = {"chunk": openai_wire.OpenAIChunk, "failure": openai_wire.OpenAIError}
_RESPONSE = {"event": openai_wire.OpenAIResponseEvent}
# What end users get in place of what the account gets.
_FOR_END_USERS = {
    wire.WireMessage: end_user_wire.EndUserMessage,
    wire.WireConversation: end_user_wire.EndUserConversation,
    wire.WireEvent: end_user_wire.EndUserEvent,
}
_FEED = dict.fromkeys(get_args(EventType), wire.WireEvent)
UNNAMED = ""  # of the events of a stream that have no `event:` line: their data tells their type, and `error` is one
# The events of each stream, by name, with what their data is; `error` may end any of them. Those of OpenAI's streams (their
# names begin so) are told by their data alone.
STREAMS: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("POST", CONVERSATIONS): ("TurnStream", _TURN),
    ("POST", MESSAGE + "/retry"): ("TurnStream", _TURN),
    **{("POST", mount + "/chat/completions"): ("OpenAIChatStream", _CHAT) for mount in ("/v1", CHATBOT + "/v1")},
    **{("POST", mount + "/responses"): ("OpenAIResponseStream", _RESPONSE) for mount in ("/v1", CHATBOT + "/v1")},
    ("GET", CONVERSATION + "/events"): ("ConversationStream", {**_FEED, "delta": wire.StreamDelta, "typing": wire.StreamTyping}),
    ("GET", CHATBOT + "/events"): ("ChatbotStream", _FEED),
    ("GET", DOCUMENT): ("DocumentStream", {"document": wire.WireDocument, "done": wire.WorkDone}),
    ("GET", SITE): ("SiteStream", {"site": site_wire.WireSite, "done": wire.WorkDone}),
    ("POST", CHATBOT + "/replay"): (
        "ReplayStream",
        {"turn": learning_wire.WireReplayedTurn, "done": learning_wire.WireReplaySummary},
    ),
    ("POST", UI): ("UIStream", {UNNAMED: ui_frames.UIFrame}),
    ("GET", UI_STREAM): ("UIStream", {UNNAMED: ui_frames.UIFrame}),
}


def seen_by_end_users(kind: Any) -> Any:
    """What an end user gets in its place: the same, but for what is said in conversations."""
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        seen = seen_by_end_users(item)
        return kind if seen is item else list[seen]  # type: ignore[valid-type]
    return _FOR_END_USERS.get(kind, kind)


class Schemas:
    """The components, and where in them each type is."""

    def __init__(self) -> None:
        sent = [kind for route in ROUTES for kind in (route.request, route.end_user_request) if kind is not None]
        answered = [kind for route in ROUTES for kind in (route.response, route.accepted) if kind is not None]
        streamed = [kind for _, events in STREAMS.values() for kind in events.values()]
        answered += [*streamed, *(seen_by_end_users(kind) for kind in answered), wire.Problem]
        requests, inputs = msgspec.json.schema_components(sent, ref_template=_REF + "{name}")
        responses, outputs = msgspec.json.schema_components(answered, ref_template=_REF + "{name}")
        renamed = {name: name if name.endswith("Input") or name not in outputs else f"{name}Input" for name in inputs}
        self.components: dict[str, Schema] = {name: _as_answered(schema) for name, schema in outputs.items()}
        for name, schema in inputs.items():
            self.components[renamed[name]] = _renamed({**_as_sent(name, schema), "title": renamed[name]}, renamed)
        self._sent = {repr(kind): _renamed(schema, renamed) for kind, schema in zip(sent, requests, strict=True)}
        self._answered = dict(zip(map(repr, answered), responses, strict=True))
        for route in ROUTES:
            if route.is_merge and route.request is not None:
                self._add_part(renamed[route.request.__name__])
        config = self.components["ReplayInput"]["properties"]["config"]
        self.components["ReplayInput"]["properties"]["config"] = {
            "$ref": _REF + "ChatbotInputPart",
            "description": config["description"],
        }
        for name, events in dict(STREAMS.values()).items():
            self.components[name] = self._openai_stream(name, events) if name.startswith("OpenAI") else self._stream(name, events)

    def sent(self, kind: Any, *, is_merge: bool) -> Schema:
        """The body of a request."""
        schema = self._sent[repr(kind)]
        return {"$ref": schema["$ref"] + "Part"} if is_merge else schema

    def answered(self, kind: Any, *, end_user: bool = False) -> Schema:
        """The body of an answer; `end_user`: or what an end user gets instead."""
        seen = seen_by_end_users(kind) if end_user else kind
        schema = self._answered[repr(kind)]
        return schema if seen is kind else {"anyOf": [schema, self._answered[repr(seen)]]}

    def _add_part(self, name: str) -> None:
        whole = {key: value for key, value in self.components[name].items() if key != "required"}
        description = f"Any part of a {name}; what is left out stays as it is."
        self.components[f"{name}Part"] = {**whole, "title": f"{name}Part", "description": description}

    def _stream(self, name: str, events: dict[str, Any]) -> Schema:
        """One event of a stream as an object of its lines. Events of one form stand together."""
        if UNNAMED in events:
            reference = self.answered(events[UNNAMED])["$ref"]
            return {**_unnamed_event(reference), "title": name, "description": "One line `data:` of the stream."}
        by_data: dict[str, list[str]] = {}
        for event, kind in {**events, "error": wire.Problem}.items():
            by_data.setdefault(self.answered(kind)["$ref"], []).append(event)
        return {
            "title": name,
            "description": "One event of the stream: its lines `id:`, `event:` and `data:`, which is one line of JSON.",
            "oneOf": [_event(names, reference) for reference, names in by_data.items()],
        }

    def _openai_stream(self, name: str, events: dict[str, Any]) -> Schema:
        return {
            "title": name,
            "description": "What stands behind `data:` in one event. A chat completion ends with `data: [DONE]`.",
            "oneOf" if len(events) > 1 else "allOf": [self.answered(kind) for kind in events.values()],
        }


def _unnamed_event(reference: str) -> Schema:
    frame = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"$ref": reference}}
    last = {"type": "string", "const": "[DONE]", "description": "The last one."}
    return {"type": "object", "required": ["data"], "properties": {"data": {"anyOf": [last, frame]}}}


def _event(names: list[str], reference: str) -> Schema:
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"$ref": reference}}
    return {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "id": {"type": "string", "description": "The place to go on from, as `Last-Event-ID`."},
            "event": {"type": "string", "enum": names},
            "data": {**data, "description": f"JSON: a {reference.rpartition('/')[2]}."},
        },
    }


def _as_answered(schema: Schema) -> Schema:
    """Fields with a default are there, too; only those that may be unset are not."""
    answered = _open(schema)
    properties = schema.get("properties", {})
    answered.pop("additionalProperties", None)
    if properties:
        always = {*schema.get("required", ()), *(name for name, each in properties.items() if "default" in each)}
        answered["required"] = [name for name in properties if name in always]
        answered["properties"] = {name: _open(_without(each, "default")) for name, each in properties.items()}
    return answered


def _as_sent(struct: str, schema: Schema) -> Schema:
    properties = {name: _field_as_sent(struct, name, described) for name, described in schema["properties"].items()}
    return {**schema, "properties": properties, **input_rules.WHOLE.get(struct, {})}


def _field_as_sent(struct: str, name: str, described: Schema) -> Schema:
    rule = input_rules.FIELDS.get((struct, name), {})
    field = _ruled(_open(_without(described, "default")), rule)
    if taken := input_rules.TAKEN.get((struct, name)):
        told = {key: value for key, value in field.items() if key == "description"}
        field = {**told, **taken}
    if note := input_rules.NOTES.get((struct, name)):
        field["description"] = f"{field.get('description', '')} {note}".strip()
    if "default" in described:
        field["x-default"] = described["default"]
    return field


def _ruled(schema: Schema, rule: Schema) -> Schema:
    """A rule is about texts: each that a list holds, and the one that may be null."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_ruled(choice, rule) for choice in schema["anyOf"]]}
    if "items" in schema:
        return {**schema, "items": _ruled(schema["items"], rule)}
    return schema if schema.get("type") == "null" else {**_text(schema), **rule}


def _text(schema: Schema) -> Schema:
    """A string that is free otherwise holds no NUL."""
    if schema.get("type") == "string" and not {"enum", "pattern"} & schema.keys():
        return {**schema, "pattern": input_rules.TEXT}
    return schema


def _open(schema: Schema) -> Schema:
    """An object of which no field is told may have any, and so may those of a list."""
    if schema.get("type") == "object" and not {"properties", "additionalProperties"} & schema.keys():
        return {**schema, "additionalProperties": True}
    opened = dict(schema)
    if schema.get("items"):
        opened["items"] = _open(schema["items"])
    if "anyOf" in schema:
        opened["anyOf"] = [_open(choice) for choice in schema["anyOf"]]
    return opened


def _without(schema: Schema, *names: str) -> Schema:
    return {name: value for name, value in schema.items() if name not in names}


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    """The same with the components that it refers to under their new names."""
    if isinstance(schema, dict):
        return {
            key: _REF + names[value.removeprefix(_REF)] if key == "$ref" else _renamed(value, names)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_renamed(item, names) for item in schema]
    return schema


def prune(document: Schema) -> None:
    """Leaves out the components that nothing refers to."""
    components = document["components"]["schemas"]
    reached = _references(document["paths"])
    waiting = list(reached)
    while waiting:
        deeper = _references(components[waiting.pop()]) - reached
        reached |= deeper
        waiting += deeper
    for name in components.keys() - reached:
        del components[name]


def _references(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        named = {value.removeprefix(_REF) for key, value in schema.items() if key == "$ref"}
        return named.union(*map(_references, schema.values()))
    if isinstance(schema, list):
        return set().union(*map(_references, schema))
    return set()
