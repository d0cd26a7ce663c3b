"""Tests a new endpoint: its answer to one small prompt, and the models it lists.

Invariant: the test asks exactly as a turn would, so it finds what a turn would find; it repeats nothing that the endpoint says
except the names of its models.
"""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec

from gigachat_server.errors import ModelError, ModelUnreachable
from gigachat_server.models.base import (
    CallOptions,
    ChatMessage,
    HandoffOffer,
    ModelInput,
    Query,
    ReplyEnd,
    Sampling,
    TakenBack,
    TextDelta,
    UsageReport,
)
from gigachat_server.models.endpoints.chat_completions import OpenAIModel
from gigachat_server.models.endpoints.mended_json import decode_anything

_LONGEST_LIST_BYTES = 8 << 20
_MOST_MODELS = 1000


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the prompt. `refused`: what is left out of requests to this model from now on."""

    model: str
    error: ModelError | None = None
    first_token_s: float = 0.0
    total_s: float = 0.0
    pieces: int = 0  # of text: one alone was not streamed, or very short
    finish_reason: str = ""
    refused: tuple[str, ...] = ()
    context_tokens: int = 0  # as it was set or learnt; 0 is unknown
    usage: UsageReport | None = None

    @property
    def takes_tools(self) -> bool:
        return "tools" not in self.refused

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.model}: {self.error.code}"
        parts = [f"first text after {self.first_token_s:.1f} s", f"{self.pieces} pieces", f"ended with {self.finish_reason}"]
        parts.append("takes tools" if self.takes_tools else "takes no tools: it cannot ask for a human")
        others = [name for name in self.refused if name != "tools"]
        if others:
            parts.append(f"refuses {', '.join(others)}")
        if self.context_tokens:
            parts.append(f"{self.context_tokens} tokens of context")
        if self.usage is not None and self.usage.prompt_tokens:
            parts.append(f"counts tokens ({self.usage.prompt_tokens} + {self.usage.completion_tokens})")
        return f"{self.model}: {', '.join(parts)}"


async def probe(model: OpenAIModel, name: str | None = None, *, patience_s: float | None = None) -> Probe:
    """Ask for a few words, with all that a turn would send."""
    loop = asyncio.get_running_loop()
    asked = ModelInput(
        messages=(ChatMessage("system", "You are brief."), ChatMessage("user", "Say hello in five words.")),
        sampling=Sampling(max_tokens=500, top_p=0.9, presence_penalty=0.1, frequency_penalty=0.1),
        query=Query(text="", vector=None, stem_weights={}),
        model=name,
        handoff=HandoffOffer(),
        options=CallOptions(total_s=patience_s),
    )
    started = loop.time()
    first_s, pieces, finish_reason = 0.0, 0, ""
    usage: UsageReport | None = None
    error: ModelError | None = None
    try:
        async for event in model.stream(asked):
            match event:
                case TextDelta():
                    first_s = first_s or loop.time() - started
                    pieces += 1
                case TakenBack():
                    first_s, pieces = 0.0, 0
                case ReplyEnd():
                    finish_reason = event.finish_reason
                case UsageReport():
                    usage = event
    except ModelError as failed:
        error = failed
    known = model.knowledge(name)
    refused = sorted(known.adjustment.omitted) + [f"{key} > {most:g}" for key, most in sorted(known.adjustment.most.items())]
    return Probe(
        model=name or model.name,
        error=error,
        first_token_s=first_s,
        total_s=loop.time() - started,
        pieces=pieces,
        finish_reason=finish_reason,
        refused=tuple(refused),
        context_tokens=known.context_tokens,
        usage=usage,
    )


async def list_models(model: OpenAIModel, *, patience_s: float = 20.0) -> list[str]:
    """The names that the endpoint lists. Raises a `ModelError`; an endpoint without a list has none."""
    session = model.session()
    path = model.url.raw_path.removesuffix("/chat/completions").removesuffix("/messages")
    url = model.url.with_path(f"{path}/models", encoded=True, keep_query=True)
    try:
        async with asyncio.timeout(patience_s), session.get(url, allow_redirects=False) as response:
            status, body = response.status, await response.content.read(_LONGEST_LIST_BYTES)
    except (aiohttp.ClientError, OSError, TimeoutError):
        raise ModelUnreachable from None
    if status in (401, 403):
        raise model.failure(status, body, response.headers)
    listed = decode_anything(body) if status == 200 else None
    if isinstance(listed, dict):
        listed = listed.get("data", listed.get("models"))
    if not isinstance(listed, list):
        return []
    names = [each.get("id", each.get("name")) for each in listed[:_MOST_MODELS] if isinstance(each, dict)]
    return sorted(name for name in names if isinstance(name, str) and name.isprintable())
