"""Events of Anthropic's API as the chunks of a chat completion; no I/O.

One reader serves one body: what the first event counts belongs to the counts of the last. A body that is one message, instead
of events, is read as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gigachat_server.models.endpoints.completion_chunk import Choice, Chunk, Content, Read, TokenDetails, Usage, number_of
from gigachat_server.models.endpoints.mended_json import NOTHING, decode_anything

_SILENT = frozenset({"ping", "content_block_stop"})


class EventReader:
    """What `read_chunks` is to chat completions."""

    def __init__(self) -> None:
        self._prompt_tokens: int | None = None
        self._model: str | None = None

    def read(self, payload: bytes) -> Sequence[Read] | None:
        """Its contents; None if it is not JSON."""
        value = decode_anything(payload, keeps_surrogates=True)
        if value is NOTHING:
            return None
        return (self._read(value) if isinstance(value, dict) else Read(),)

    def _read(self, event: dict[str, Any]) -> Read:
        match event.get("type"):
            case "message_start" if isinstance(message := event.get("message"), dict):
                self._model = message.get("model") if isinstance(message.get("model"), str) else None
                usage = self._usage(message.get("usage"))
                self._prompt_tokens = None if usage is None else usage.prompt_tokens
                return Read(Chunk(model=self._model, choices=[], usage=usage))
            case "content_block_start" if isinstance(block := event.get("content_block"), dict):
                return _choice(_block(block, event.get("index")))
            case "content_block_delta" if isinstance(delta := event.get("delta"), dict):
                return _choice(_delta(delta, event.get("index")))
            case "message_delta" if isinstance(delta := event.get("delta"), dict):
                reason = delta.get("stop_reason")
                choice = Choice(index=0, finish_reason=reason if isinstance(reason, str) else None)
                return Read(Chunk(model=self._model, choices=[choice], usage=self._usage(event.get("usage"))))
            case "message_stop":
                return Read(is_done=True)
            case "message":
                return self._whole(event)
            case "error":
                return Read(error=event)
            case kind if kind in _SILENT:
                return Read(Chunk(choices=[]))
            case _:
                return Read(error=event) if event.get("error") else Read(is_keep_alive=isinstance(event.get("type"), str))

    def _whole(self, message: dict[str, Any]) -> Read:
        given = message.get("content")
        blocks = [block for block in given if isinstance(block, dict)] if isinstance(given, list) else []
        contents = [_block(block, index) for index, block in enumerate(blocks)]
        calls = [call for content in contents for call in (content.calls or [])]
        content = Content(
            "".join(each.content for each in contents if each.content) or None,
            tool_calls=msgspec.Raw(msgspec.json.encode(calls)) if calls else msgspec.Raw(),
        )
        reason = message.get("stop_reason")
        choice = Choice(index=0, message=content, finish_reason=reason if isinstance(reason, str) else None)
        model = message.get("model")
        return Read(
            Chunk(model=model if isinstance(model, str) else None, choices=[choice], usage=self._usage(message.get("usage")))
        )

    def _usage(self, given: Any) -> Usage | None:
        if not isinstance(given, dict):
            return None
        parts = [
            number_of(given.get(name)) for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        ]
        counted = sum(part for part in parts if part is not None) if any(part is not None for part in parts) else None
        details = TokenDetails(number_of(given.get("thinking_tokens")))
        return Usage(counted or self._prompt_tokens, number_of(given.get("output_tokens")), details)


def _choice(content: Content) -> Read:
    return Read(Chunk(choices=[Choice(index=0, delta=content)]))


def _block(block: dict[str, Any], index: Any) -> Content:
    match block.get("type"):
        case "text" if isinstance(text := block.get("text"), str):
            return Content(text or None)
        case "tool_use":
            return _call(index, {"name": block.get("name"), "arguments": block.get("input") or ""})
        case "thinking" | "redacted_thinking":
            return Content(reasoning=msgspec.Raw(b'"..."'))
        case _:
            return Content()


def _delta(delta: dict[str, Any], index: Any) -> Content:
    match delta.get("type"):
        case "text_delta" if isinstance(text := delta.get("text"), str):
            return Content(text or None)
        case "input_json_delta":
            return _call(index, {"arguments": delta.get("partial_json")})
        case "thinking_delta" | "signature_delta":
            return Content(reasoning=msgspec.Raw(b'"..."'))
        case _:
            return Content()


def _call(index: Any, function: dict[str, Any]) -> Content:
    return Content(tool_calls=msgspec.Raw(msgspec.json.encode([{"index": index, "function": function}])))
