"""What schemathesis has to know of this API that no JSON Schema can say. Loaded by `st` with each run.

`before_call` changes requests that follow the schema alone; those that are made to break it go out as they are.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
import schemathesis

from gigachat_server.api.routes import CONVERSATIONS, SESSIONS
from gigachat_server.edge import cursors
from gigachat_server.errors import InvalidRequest

_MOST_BYTES = 1_000_000
_MESSAGES: dict[str, dict[str, bool]] = {}  # by id: which calls take the message


def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # One key stands for one request: used again with another body, it is refused (`idempotency_key_reused`).
    if "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    _name_what_takes_it(case)
    # Items are listed from one of the conversation's own on, which no schema knows.
    if case.operation.path.endswith("/items") and case.query:
        case.query.pop("after", None)
    if case.media_type == "application/json" and isinstance(case.body, dict):
        case.body = _as_written(case.body)
        _keep_what_is_compared(case.operation.path, case.body)
        _say_what_takes_this_caller(case.operation.path, case.body)


def after_call(context: Any, case: Any, response: Any) -> None:
    """Remember which messages there are, and what may be done with each."""
    if response.headers.get("content-type") != ["application/json"]:
        return
    told = response.json()
    for each in told if isinstance(told, list) else [told]:
        if isinstance(each, dict) and "in_reply_to" in each:
            is_reply = each["role"] == "assistant" and each["in_reply_to"] is not None
            _MESSAGES[each["id"]] = {"feedback": is_reply, "retry": is_reply or each["role"] == "user"}


def _name_what_takes_it(case: Any) -> None:
    """Feedback is for replies, a retry for prompts and replies: of another message it is refused, of none there is (404)."""
    does = case.operation.path.rpartition("/")[2]
    if does == "rating":  # which is for the closing of a conversation, once
        case.path_parameters["conversation_id"] = "none"
    takes = _MESSAGES.get((case.path_parameters or {}).get("message_id", ""))
    if takes is not None and not takes.get(does, True):
        case.path_parameters["message_id"] = str(uuid.uuid4())


def filter_case(context: Any, case: Any) -> bool:
    """Left out is what breaks the schema and may still be accepted."""
    # `Last-Event-ID` counts before `after`, and for nothing where a list is asked for: then the other may say anything.
    if case.operation.path.endswith("/events") and "Last-Event-ID" in (case.headers or {}):
        return False
    is_negative = case.meta is not None and not case.meta.generation.mode.is_positive
    # A cursor of conversations ends in an id in UTF-8, which no pattern can see through its base64.
    if not is_negative and case.operation.path.endswith("/conversations") and not _is_cursor((case.query or {}).get("after")):
        return False
    # How many bytes a body may have no schema tells: a larger one is refused whatever it says (413). Files of forms are no JSON.
    if isinstance(case.body, dict | list) and len(msgspec.json.encode(case.body, enc_hook=repr)) > _MOST_BYTES:
        return False
    # A shortcut has letters of any script, which no pattern in ASCII can say.
    shortcut = case.body.get("shortcut") if is_negative and isinstance(case.body, dict) else None
    if isinstance(shortcut, str) and not shortcut.isascii() and re.fullmatch(r"/?[^\W_][\w-]{0,63}", shortcut):
        return False
    # A form is nothing but texts: a name of the wrong type is a right one once it is sent.
    return not (is_negative and case.media_type == "multipart/form-data")


def _is_cursor(text: Any) -> bool:
    try:
        return cursors.load(text) is not None or text is None
    except InvalidRequest:
        return False


def _as_written(value: Any) -> Any:
    """What a schema leaves open as a client would write it: without NUL, which no text holds, and 1.0, an integer, as 1."""
    if isinstance(value, dict):
        return {name.replace("\0", ""): _as_written(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_written(each) for each in value]
    if isinstance(value, str):
        return value.replace("\0", "")
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _keep_what_is_compared(path: str, body: dict[str, Any]) -> None:
    # Two fields are compared, and either has a default.
    splitter = (body.get("documents") or {}).get("text_splitter")
    if splitter:
        splitter["chunk_overlap"] = min(splitter.get("chunk_overlap", 0), splitter.get("chunk_size", 1000) - 1)
    # A replay does not cut documents anew.
    if path.endswith("/replay"):
        (body.get("config", {}).get("documents") or {}).pop("text_splitter", None)
    # Of many messages the last one is the prompt, and no schema tells which one is the last.
    if path.endswith("/ui"):
        body.pop("messages", None)
        body["message"] = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hello?"}]}
    if path.endswith(("/v1/chat/completions", "/v1/responses")):
        _end_with_the_prompt(body)
    # These have to be what the chatbot and its embedding model are set to, or the newest reply of a conversation.
    if "/v1/" in path:
        for name in ("n", "dimensions", "previous_response_id"):
            body.pop(name, None)
    # What is to be crawled is fetched: this name never exists (RFC 6761).
    if path.endswith("/sites") and "url" in body:
        parts = urlsplit(body["url"])
        body["url"] = f"{parts.scheme}://gigachat.invalid{parts.path[:100]}"


def _end_with_the_prompt(body: dict[str, Any]) -> None:
    for name in ("messages", "input"):
        if isinstance(body.get(name), list):
            body[name] = [*body[name], {"role": "user", "content": "Hello?"}]
    # Of several names of the user the first one counts, and the others may say anything.
    body.pop("safety_identifier", None)


def _say_what_takes_this_caller(path: str, body: dict[str, Any]) -> None:
    # With an API key a prompt and a session are those of a user who is named, and only users claim.
    if path == CONVERSATIONS:
        body.setdefault("user_id", "ann")
        body.setdefault("conversation_id", "c1")
    if path == SESSIONS:
        body.setdefault("user_id", "ann")
        body.pop("claim", None)
    # Public keys are more than texts.
    if path.endswith("/identity-keys"):
        body["algorithm"] = "HS256"
        body.pop("public_key", None)
    if "snoozed_until" in body and body["snoozed_until"] is not None:
        body["snoozed_until"] = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


schemathesis.hook(before_call)
schemathesis.hook(after_call)
schemathesis.hook(filter_case)
