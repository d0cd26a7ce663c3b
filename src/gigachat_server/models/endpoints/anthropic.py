"""Replies from Anthropic's own API; its OpenAI-compatible one caches nothing and drops unknown parameters.

Only the request and the events differ from `openai.py`: everything else (timeouts, retries, learning from
refusals, errors) is the same. Persona, rules and memory are marked for caching: the second prompt of a conversation pays a
tenth for them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from yarl import URL

from gigachat_server.models.base import ChatMessage, LeftOut, ModelInput
from gigachat_server.models.endpoints.anthropic_events import EventReader
from gigachat_server.models.endpoints.chat_completions import OpenAIModel
from gigachat_server.models.endpoints.completion_stream import CompletionParser
from gigachat_server.models.endpoints.connection import Access
from gigachat_server.models.endpoints.handoff_call import handoff_tool
from gigachat_server.models.endpoints.messages import shaped
from gigachat_server.models.endpoints.refusals import Adjustment, Value
from gigachat_server.models.endpoints.url import endpoint_url

_VERSION = "2023-06-01"
_CACHED = {"type": "ephemeral"}
# How long it may reason, in tokens: the least that is taken is 1,024.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16_384}


class MessagesRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    model: str
    max_tokens: int
    messages: list[dict[str, Any]]
    system: list[dict[str, Any]] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    thinking: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None

    def sent(self) -> dict[str, Value]:
        """What of it can be refused, with the values of numbers."""
        held: dict[str, Value] = {"max_tokens": self.max_tokens, "temperature": self.temperature, "top_p": self.top_p}
        sent: dict[str, Value] = {name: value for name, value in held.items() if value is not None}
        for name, value in (("tools", self.tools), ("reasoning_effort", self.thinking)):
            if value is not None:
                sent[name] = None
        return sent


class AnthropicModel(OpenAIModel):
    """A `ChatModel` behind Anthropic's API. One alternative a prompt: it makes no more."""

    def make_url(self, url: str) -> URL:
        return endpoint_url(url, "/messages", whose="model")

    def make_access(self, access: Access) -> Access:
        is_key = access.key_header.lower() == "authorization" and not access.key.lower().startswith("bearer ")
        return msgspec.structs.replace(
            access,
            key_header="x-api-key" if is_key else access.key_header,
            headers={"anthropic-version": _VERSION, **access.headers},
        )

    def make_parser(self, model_input: ModelInput, model: str) -> CompletionParser:
        return CompletionParser(
            n=1,
            max_tokens=model_input.sampling.max_tokens,
            model=model,
            limits=self.limits,
            may_hand_off=model_input.handoff is not None,
            sent=tuple(message.content for message in model_input.messages if message.role == "user"),
            read=EventReader().read,
        )

    def request(self, model_input: ModelInput, adjusted: Adjustment, left_out: LeftOut) -> Any:
        sampling, omitted = model_input.sampling, self.omitted(model_input, adjusted)
        messages = list(shaped(model_input, left_out=left_out))
        system = messages.pop(0).content if messages[0].role == "system" else ""
        max_tokens = int(min([sampling.max_tokens, *(most for name, most in adjusted.most.items() if "tokens" in name)]))
        request = MessagesRequest(
            model=model_input.model or self.name,
            max_tokens=max_tokens,
            system=[{"type": "text", "text": system, "cache_control": _CACHED}] if system else None,
            messages=_cached(messages),
            stream=True,
            temperature=min(sampling.temperature, 1.0, adjusted.most.get("temperature", 1.0)),
            top_p=None if sampling.top_p == 1.0 else sampling.top_p,
            tools=None if model_input.handoff is None else [_tool(handoff_tool(model_input.handoff))],
        )
        budget = _BUDGETS.get(model_input.options.reasoning_effort or "")
        if budget is not None and "reasoning_effort" not in omitted:
            request.thinking = {"type": "enabled", "budget_tokens": budget}
            request.max_tokens += budget
            request.temperature = request.top_p = None  # neither goes with reasoning
        for name in omitted & {"temperature", "top_p", "tools", "stream"}:
            setattr(request, name, None)
        return request


def _cached(messages: list[ChatMessage]) -> list[dict[str, Any]]:
    """The messages, with a mark behind the memory."""
    told: list[dict[str, Any]] = [{"role": message.role, "content": message.content} for message in messages]
    if len(told) > 1:
        told[-2]["content"] = [{"type": "text", "text": told[-2]["content"], "cache_control": _CACHED}]
    return told


def _tool(tool: msgspec.Raw) -> dict[str, Any]:
    function = msgspec.json.decode(tool)["function"]
    return {"name": function["name"], "description": function["description"], "input_schema": function["parameters"]}
