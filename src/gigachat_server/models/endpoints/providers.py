"""Several endpoints as one model: resolves model names to endpoints, and falls back when one fails.

A TOML file has a table for each provider, whose name stands before a slash in model names. Invariants: another model is asked
only while nothing of a reply was shown and no action was sent, within the first one's time limit; a refusal of the prompt
itself never causes a fallback; and messages repeat nothing from the file except the names of its tables.
"""

from __future__ import annotations

import asyncio
import logging
import tomllib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Literal

import msgspec

from gigachat_server.errors import (
    ModelEmpty,
    ModelError,
    ModelInterrupted,
    ModelMalformed,
    ModelNotFound,
    ModelPaymentRequired,
    ModelRateLimited,
    ModelTimeout,
    ModelUnauthorised,
    ModelUnreachable,
    SetupError,
)
from gigachat_server.models.base import HandoffRequest, LeftOut, ModelAttempt, ModelEvent, ModelInput, TextDelta
from gigachat_server.models.endpoints.anthropic import AnthropicModel
from gigachat_server.models.endpoints.chat_completions import OpenAIModel, Timeouts
from gigachat_server.models.endpoints.connection import Access
from gigachat_server.records import Omittable
from gigachat_server.settings import expanded

log = logging.getLogger("gigachat.models")

_FAILURES = 5
_WITHIN_S = 30.0
_SKIPPED_S = 15.0
_ELSEWHERE = (
    ModelUnreachable,
    ModelTimeout,
    ModelRateLimited,
    ModelEmpty,
    ModelInterrupted,
    ModelMalformed,
    ModelUnauthorised,
    ModelPaymentRequired,
    ModelNotFound,
)


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. `models` are its models, the first of them the one that its bare name means."""

    url: str
    models: list[str] = []
    kind: Literal["openai", "anthropic"] = "openai"
    key_env: str = ""
    key_header: str = "Authorization"
    headers: dict[str, str] = {}
    omit: list[Omittable] = []
    context_tokens: int = 0
    first_token_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    timeout_s: float | None = None
    price_in: float = 0.0  # of a million tokens, for readers of the file
    price_out: float = 0.0


def read_providers(path: str) -> dict[str, Provider]:
    """The file's tables. Raises `SetupError`."""
    try:
        tables = tomllib.loads(expanded(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise SetupError(f"GIGACHAT_MODEL_PROVIDERS {path} cannot be read as TOML: {error}.") from None
    try:
        providers = msgspec.convert(tables, dict[str, Provider])
    except msgspec.ValidationError as error:
        raise SetupError(f"GIGACHAT_MODEL_PROVIDERS {path}: {error}.") from None
    if not providers:
        raise SetupError(f"GIGACHAT_MODEL_PROVIDERS {path} names no provider: it needs a table such as [openai] for each.")
    for name in providers:
        if not name or "/" in name:
            raise SetupError(f"GIGACHAT_MODEL_PROVIDERS {path}: a provider's name must not contain a slash.")
    return providers


def open_provider(provider: Provider, *, access: Access, timeouts: Timeouts, secret: Callable[[str], str]) -> OpenAIModel:
    """The model behind a table. `secret` has what the variable holds that it names."""
    own = {"first_token_s": provider.first_token_timeout_s, "idle_s": provider.idle_timeout_s, "total_s": provider.timeout_s}
    made = AnthropicModel if provider.kind == "anthropic" else OpenAIModel
    return made(
        provider.url,
        provider.models[0] if provider.models else "",
        secret(provider.key_env) if provider.key_env else "",
        timeouts=msgspec.structs.replace(timeouts, **{name: value for name, value in own.items() if value is not None}),
        access=msgspec.structs.replace(access, key_header=provider.key_header, headers=provider.headers),
        omit=tuple(provider.omit),
        context_tokens=provider.context_tokens,
    )


class Providers:
    """A `ChatModel` over several endpoints. `default` has the models whose names begin with no provider's."""

    is_generating = True

    def __init__(self, default: OpenAIModel, others: Mapping[str, OpenAIModel] | None = None, *, default_name: str = "") -> None:
        self.default = default
        self.others = dict(others or {})
        self._default_name = default_name
        self._breakers: dict[str, _Breaker] = {}

    @property
    def name(self) -> str:
        return self._default_name or self.default.name

    def find(self, name: str | None) -> tuple[OpenAIModel, str | None]:
        """Whose model that is, and what it is called there."""
        prefix, slash, rest = (name or self._default_name).partition("/")
        if prefix in self.others:
            return self.others[prefix], (rest if slash and rest else None)
        return self.default, name

    def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        if not model_input.options.fallback_models:
            model, name = self.find(model_input.model)
            return model.stream(msgspec.structs.replace(model_input, model=name))
        return self._stream(model_input)

    async def aclose(self) -> None:
        for model in {id(each): each for each in (self.default, *self.others.values())}.values():
            await model.aclose()

    async def _stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        loop = asyncio.get_running_loop()
        names = [model_input.model or self.name, *model_input.options.fallback_models]
        names = [name for name in names if not self._breaker(name).is_open(loop.time())] or names
        deadline: float | None = None
        for position, name in enumerate(names):
            model, own_name = self.find(name)
            own_input = msgspec.structs.replace(model_input, model=own_name)
            if deadline is None:
                deadline = loop.time() + model.timeouts.of(own_input).total_s
            left_s = max(0.001, deadline - loop.time())
            options = msgspec.structs.replace(model_input.options, total_s=min(left_s, model.timeouts.of(own_input).total_s))
            is_shown = False
            try:
                async with aclosing(model.stream(msgspec.structs.replace(own_input, options=options))) as events:
                    async for event in events:
                        is_shown = is_shown or isinstance(event, TextDelta | HandoffRequest)
                        yield event
                self._breaker(name).succeeded()
                return
            except ModelError as error:
                if not _is_of_endpoint(error):
                    raise
                self._breaker(name).failed(loop.time())
                if is_shown or position == len(names) - 1 or loop.time() >= deadline:
                    raise
                log.warning("a model failed (%s): the next one is asked", error.code)
                yield LeftOut()  # what was left out for this one is nothing to the next
                yield ModelAttempt(name, error.code)

    def _breaker(self, name: str) -> _Breaker:
        model, own_name = self.find(name)
        key = f"{id(model)}/{own_name}"
        return self._breakers.setdefault(key, _Breaker())


def _is_of_endpoint(error: ModelError) -> bool:
    """Whether another endpoint may succeed where this one did not."""
    return isinstance(error, _ELSEWHERE) or type(error) is ModelError


class _Breaker:
    """Skips providers that keep failing."""

    def __init__(self) -> None:
        self._failed_at: deque[float] = deque(maxlen=_FAILURES)
        self._open_until = 0.0

    def is_open(self, now: float) -> bool:
        return now < self._open_until

    def succeeded(self) -> None:
        self._failed_at.clear()

    def failed(self, now: float) -> None:
        self._failed_at.append(now)
        if len(self._failed_at) == _FAILURES and now - self._failed_at[0] <= _WITHIN_S:
            self._open_until = now + _SKIPPED_S
            self._failed_at.clear()
