"""Replies from any OpenAI-compatible endpoint, which is trusted with the prompt and with nothing else.

Invariant: a call ends within `Timeouts.total_s` in a complete reply or in one named `ModelError`, whatever the endpoint does;
it is made at most twice (not counting repeats without a refused parameter) and never again once anything was shown; and no
error or log line holds the URL, the key or the endpoint's words.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import zlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from gigachat_server.errors import (
    ModelContextTooLong,
    ModelEmpty,
    ModelError,
    ModelInterrupted,
    ModelMalformed,
    ModelRateLimited,
    ModelTimeout,
    ModelUnreachable,
)
from gigachat_server.models.base import CallOptions, ChatMessage, LeftOut, ModelEvent, ModelInput, UsageReport
from gigachat_server.models.endpoints.completion_stream import CompletionParser, Limits, joined
from gigachat_server.models.endpoints.connection import Access, Inflater, inflated, open_session
from gigachat_server.models.endpoints.errors import failure_said
from gigachat_server.models.endpoints.handoff_call import handoff_tool
from gigachat_server.models.endpoints.knowledge import Knowledge, context_tokens_in
from gigachat_server.models.endpoints.messages import shaped
from gigachat_server.models.endpoints.refusals import PARAMETERS, SYSTEM, Adjustment, Value, adjustment
from gigachat_server.models.endpoints.said import ErrorContent, said
from gigachat_server.models.endpoints.url import endpoint_url

log = logging.getLogger("gigachat.models")

ERROR_BODY_BYTES = 64 << 10  # enough to learn which parameter was refused
_COUNTED_TOKENS = 100  # of a prompt: fewer tell nothing of how long a token is
_MOST_REFUSALS = 8  # of one prompt: an endpoint that always finds something else is given up
_NO_OPTIONS = CallOptions()
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is waited for, in seconds of the event loop's clock. A keep-alive is life, but no end of it."""

    connect_s: float = 5.0
    first_token_s: float = 120.0  # a model may have to be loaded first, or to think
    idle_s: float = 60.0  # without a byte that means anything, keep-alives included
    total_s: float = 600.0  # everything: connecting, retries and their pauses
    usage_s: float = 2.0  # for the usage and [DONE], once every reply is complete
    drain_s: float = 0.05  # for the end of the body after [DONE], so that the connection can serve the next call
    retry_after_s: float = 10.0  # a longer Retry-After is handed to the caller
    retry_pause_s: float = 0.2

    def of(self, model_input: ModelInput) -> Timeouts:
        """With what the chatbot wants otherwise."""
        options = model_input.options
        if options == _NO_OPTIONS:
            return self
        wanted = {name: getattr(options, name) for name in ("first_token_s", "idle_s", "total_s")}
        changed = {name: value for name, value in wanted.items() if value is not None}
        return msgspec.structs.replace(self, **changed) if changed else self


class _StreamOptions(msgspec.Struct):
    include_usage: bool = True


class _Request(msgspec.Struct, kw_only=True, omit_defaults=True):
    model: str
    messages: tuple[ChatMessage, ...]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int = 1
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    reasoning_effort: str | None = None
    tools: tuple[msgspec.Raw, ...] | None = None

    def sent(self) -> dict[str, Value]:
        """What of it can be refused, with the values of numbers."""
        held = {name: getattr(self, name) for name in PARAMETERS}
        sent: dict[str, Value] = {
            name: value if isinstance(value, int | float) else None for name, value in held.items() if value is not None
        }
        if self.n == 1:
            del sent["n"]
        if self.messages[0].role == "system":
            sent[SYSTEM] = None
        return sent


class OpenAIModel:
    """A `ChatModel` behind an OpenAI-compatible API.

    `url` is the API's base, what the vendors' SDKs call base_url: `https://host/v1` (a bare `http://host:port` means
    its `/v1`; the full `.../chat/completions` is understood, too; a query is kept). `model` is used unless the chatbot
    names its own. A handoff is offered as a tool; with an endpoint that knows no tools there is none. `omit` names parameters
    that are never sent, `context_tokens` how long input and reply may be together (0: unknown). Raises `SetupError` when the
    URL, the key or something else of `access` cannot be used.
    """

    is_generating = True

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        access: Access | None = None,
        omit: tuple[str, ...] = (),
        context_tokens: int = 0,
    ) -> None:
        self.url = self.make_url(url)
        self._model = model
        self.access = self.make_access(msgspec.structs.replace(access or Access(), key=(key or "").strip()))
        self.access.check("model")
        self.timeouts = timeouts or Timeouts()
        self.limits = limits or Limits()
        self._omit = frozenset(omit)
        self._context_tokens = context_tokens
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self._known: dict[str, Knowledge] = {}  # by model
        self._encoder = msgspec.json.Encoder()

    @property
    def name(self) -> str:
        return self._model

    # What differs from one API to another.

    def make_url(self, url: str) -> URL:
        return completions_url(url)

    def make_access(self, access: Access) -> Access:
        return access

    def make_parser(self, model_input: ModelInput, model: str) -> CompletionParser:
        return CompletionParser(
            n=model_input.sampling.n,
            max_tokens=model_input.sampling.max_tokens,
            model=model,
            limits=self.limits,
            may_hand_off=model_input.handoff is not None,
            begins_thinking=self.knowledge(model_input.model).begins_thinking,
            sent=tuple(message.content for message in model_input.messages if message.role == "user"),
        )

    def omitted(self, model_input: ModelInput, adjusted: Adjustment) -> frozenset[str]:
        """The parameters that are not sent. Omitting `max_tokens` also omits it under its newer name."""
        wanted = self._omit | frozenset(model_input.options.omit)
        return adjusted.omitted | wanted | ({"max_completion_tokens"} if "max_tokens" in wanted else frozenset())

    def knowledge(self, model: str | None = None) -> Knowledge:
        """What was learnt of that model, or of the default one."""
        name = model or self._model
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = Knowledge(context_tokens=self._context_tokens)
        return known

    async def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        """Deltas as they arrive, a `ReplyEnd` per alternative, one `UsageReport`. Closing it ends the call at once."""
        deadline = asyncio.get_running_loop().time() + self.timeouts.of(model_input).total_s
        attempts = _Attempts(self, model_input)
        while True:
            call = _Call(self, model_input, attempts.adjusted, attempts.left_out, deadline)
            try:
                await call.open()
                while (events := await call.next_events()) is not None:
                    if events and not attempts.is_accepted:
                        attempts.accept()
                        if attempts.left_out != LeftOut():
                            yield attempts.left_out
                    for event in joined(events) if len(events) > 1 else events:
                        yield event
                attempts.end(call)
                return
            except ModelError as error:
                pause_s = attempts.pause_before_next_s(call, error)
                if pause_s is None:
                    raise
            finally:
                call.close()
            if pause_s:
                await asyncio.sleep(pause_s)

    async def aclose(self) -> None:
        """Ends all calls for good: those that run are interrupted, those that come find nothing to reach."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def post(self, request: Any) -> aiohttp.ClientResponse:
        return await self.session().post(self.url, data=self._encoder.encode(request), allow_redirects=False)

    def session(self) -> aiohttp.ClientSession:
        """What requests to the endpoint go through."""
        if self._is_closed:
            raise ModelUnreachable
        if self._session is None:
            self._session = open_session(
                self.access, accept="text/event-stream, application/json", connect_s=self.timeouts.connect_s
            )
        return self._session

    def failure(self, status: int, body: bytes, headers: Mapping[str, str]) -> ModelError:
        """What an answer other than success means."""
        return failure_said(said(body), status, headers)

    def log_reason(self, error: ErrorContent) -> str:
        """The error's code as the endpoint gives it, if it is an identifier and not the key; and our parameters it names."""
        key = self.access.key.lower()
        codes = (code for code in error.codes if _IDENTIFIER.fullmatch(code) and not (key and (key in code or code in key)))
        named = [name for name, pattern in PARAMETERS.items() if any(pattern.search(each) for each in error.parameters)]
        return "".join(f", {word}" for word in [*list(codes)[:1], *named])

    def request(self, model_input: ModelInput, adjusted: Adjustment, left_out: LeftOut) -> Any:
        """The request for a prompt, less what the endpoint does not take."""
        sampling, options = model_input.sampling, model_input.options
        omitted = self.omitted(model_input, adjusted)
        request = _Request(
            model=model_input.model or self._model,
            messages=shaped(model_input, has_system_role=SYSTEM not in omitted, left_out=left_out),
            stream=True,
            stream_options=_StreamOptions(),
            n=sampling.n,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=None if sampling.top_p == 1.0 else sampling.top_p,  # what need not be sent cannot be refused
            presence_penalty=sampling.presence_penalty or None,
            frequency_penalty=sampling.frequency_penalty or None,
            reasoning_effort=options.reasoning_effort,
            tools=None if model_input.handoff is None else (handoff_tool(model_input.handoff),),
        )
        for name, most in adjusted.most.items():
            name = "max_tokens" if name == "max_completion_tokens" else name
            value = getattr(request, name)
            if value is not None and value > most:
                setattr(request, name, type(value)(most))
        if "max_tokens" in omitted and "max_completion_tokens" not in omitted:
            request.max_completion_tokens = request.max_tokens
        for name in omitted - {SYSTEM}:
            setattr(request, name, 1 if name == "n" else None)
        if request.stream is None:
            request.stream_options = None
        return request


class _Attempts:
    """How often a prompt was sent, and how otherwise each time. `is_accepted`: something came of it."""

    def __init__(self, model: OpenAIModel, model_input: ModelInput) -> None:
        self._model = model
        self._input = model_input
        self._known = model.knowledge(model_input.model)
        self._doubted = Adjustment()  # proven to be refused once the endpoint accepts a request without it
        self._is_retry = False
        self._has_shortened = False
        self._refusals = 0
        self.left_out = self._known.left_out(model_input)
        self.is_accepted = False

    @property
    def adjusted(self) -> Adjustment:
        known = self._known.adjustment
        return known if self._doubted.is_nothing else known.also(self._doubted)

    def accept(self) -> None:
        self.is_accepted = True
        if not self._doubted.is_nothing and self._doubted.is_of_model:
            self._known.adjustment = self._known.adjustment.also(self._doubted)
            log.warning("the model endpoint refuses the parameter %s: it will no longer be sent", self._doubted)

    def end(self, call: _Call) -> None:
        """What the call tells of the model, now that it is over."""
        if not self.is_accepted:
            self.accept()
        self._known.begins_thinking = call.parser.closed_only
        if call.usage is not None and call.usage.prompt_tokens >= _COUNTED_TOKENS:
            self._known.note(call.usage.prompt_tokens, shaped(self._input, left_out=self.left_out))
        if call.parser.unknown_ending:
            word = call.parser.unknown_ending
            log.warning("a reply ended for an unknown reason%s", f": {word}" if _IDENTIFIER.fullmatch(word) else "")

    def pause_before_next_s(self, call: _Call, error: ModelError) -> float | None:
        """How long until it is sent again, otherwise or as it was; None if it is not."""
        if self._asks_otherwise(call, error):
            return 0.0
        pause_s = None if self._is_retry else call.pause_before_retry_s(error)
        log.warning("model call failed: %s (%s)%s", error.code, call.reason, "" if pause_s is None else "; tried again")
        self._is_retry = True
        return pause_s

    def _asks_otherwise(self, call: _Call, error: ModelError) -> bool:
        told = call.told
        if told is None or call.parser.has_output or self._refusals == _MOST_REFUSALS:
            return False
        self._refusals += 1
        sent, so_far = call.request.sent(), self.adjusted
        found = adjustment(call.status if call.status >= 300 else 400, told, sent, so_far)
        if found is not None and not (found.omitted <= so_far.omitted and found.most.keys() <= so_far.most.keys()):
            self._doubted = self._doubted.also(found)
            return True
        return isinstance(error, ModelContextTooLong) and self._shortens(told)

    def _shortens(self, told: ErrorContent) -> bool:
        """Once: as much as fits what the endpoint says it takes, or half of the memory."""
        if self._has_shortened:
            return False
        self._has_shortened = True
        before = self.left_out
        self._known.learn_context(context_tokens_in(told.prose))
        self.left_out = self._known.left_out(self._input)
        if self.left_out == before:
            self.left_out = self._known.half_left_out(self._input, before)
        return self.left_out != before


class _Call:
    """One request and its answer. Every failure leaves it as a `ModelError`; `reason` tells the log what happened.

    `told` is what the endpoint said of the failure, as its answer or inside a stream.
    """

    def __init__(
        self, model: OpenAIModel, model_input: ModelInput, adjusted: Adjustment, left_out: LeftOut, deadline: float
    ) -> None:
        self._model = model
        self._timeouts = model.timeouts.of(model_input)
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._waits_until = min(deadline, self._loop.time() + self._timeouts.first_token_s)
        self._progress = 0
        self._life = 0
        self._response: aiohttp.ClientResponse | None = None
        self._inflater = Inflater("")
        self._is_over = False
        self._was_dropped = False
        self._told: ErrorContent | None = None
        self._sent_texts = tuple(message.content for message in model_input.messages if message.role == "user")
        self.request = model.request(model_input, adjusted, left_out)
        self.usage: UsageReport | None = None
        self.status = 0
        self.parser = model.make_parser(model_input, self.request.model)
        self.reason = "no answer"

    @property
    def told(self) -> ErrorContent | None:
        return self._told or self.parser.told

    async def open(self) -> None:
        """Returns when the endpoint has accepted the request."""
        response = self._response = await self._post()
        self.status = response.status
        self.reason = f"status {response.status}"
        if 200 <= response.status < 300:
            self._inflater = Inflater(response.headers.get("Content-Encoding", ""))
            return
        body = await self._error_body(response)
        self.close()
        self._told = said(body, self._sent_texts)
        self.reason += self._model.log_reason(self._told)
        raise failure_said(self._told, response.status, response.headers)

    async def next_events(self) -> list[ModelEvent] | None:
        """The events of the next piece of the body; None when the reply is complete."""
        parser = self.parser
        if parser.failure is not None:
            if parser.told is not None:
                self.reason += f", then an error{self._model.log_reason(parser.told)}"
            raise parser.failure
        if self._is_over:
            return None
        if parser.is_finished:
            self._is_over = True
            events = self._counted(parser.finish())
            if parser.is_done_seen:
                await self._drain()
            return events
        data = await self._read()
        if not data:
            self._is_over = True
            if data is not None and self._inflater.is_cut:
                if not parser.has_output:
                    raise ModelMalformed
                data = None
            return self._counted(parser.break_off() if data is None else parser.finish())
        events = []
        try:
            for piece in self._inflater.pieces(data):
                events += parser.feed(piece)
        except zlib.error:
            self.reason += ", compressed and broken"
            raise ModelMalformed from None
        return events

    def _counted(self, events: list[ModelEvent]) -> list[ModelEvent]:
        self.usage = next((event for event in events if isinstance(event, UsageReport)), None)
        return events

    def pause_before_retry_s(self, error: ModelError) -> float | None:
        """How long to wait before the one retry; None if there is none: something was shown, or it would not help."""
        if self.parser.has_output:
            return None
        retry_after_s = error.retry_after_s
        if isinstance(error, ModelRateLimited):
            if retry_after_s is None:
                return None
        elif not (self._was_dropped or isinstance(error, ModelEmpty | ModelInterrupted) or type(error) is ModelError):
            return None
        if (retry_after_s or 0) > self._timeouts.retry_after_s:
            return None
        pause_s = max(retry_after_s or 0.0, self._timeouts.retry_pause_s)
        pause_s += random.uniform(0, 0.25 * pause_s)  # noqa: S311 - jitter, so that callers do not come back as one
        return pause_s if self._loop.time() + pause_s < self._deadline else None

    def close(self) -> None:
        """The connection is gone, or back in the pool if the body was read to its end."""
        if self._response is not None:
            self._response.release()
            self._response = None

    async def _post(self) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout_at(self._waits_until):
                return await self._model.post(self.request)
        except TimeoutError:
            self.reason = "no answer in time"
            raise ModelTimeout from None
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL, UnicodeError) as error:
            self.reason = type(error).__name__
            raise ModelUnreachable from None
        except aiohttp.ClientResponseError as error:
            self.reason = type(error).__name__
            raise ModelMalformed from None
        except (aiohttp.ClientError, OSError) as error:
            # Accepted and dropped: also what a kept connection does that the other side closed in this moment.
            self.reason = type(error).__name__
            self._was_dropped = True
            raise ModelUnreachable from None

    async def _read(self) -> bytes | None:
        """The next bytes; empty at the body's end, None when the connection broke or went silent after the replies."""
        assert self._response is not None
        now = self._loop.time()
        parser = self.parser
        # Counted from here, not from the last delta: a caller that takes its time over one is not the endpoint's.
        if parser.progress != self._progress:
            patience_s = self._timeouts.usage_s if parser.are_all_ended else self._timeouts.idle_s
            self._waits_until = min(self._deadline, now + patience_s)
        elif parser.life != self._life and not parser.are_all_ended:
            self._waits_until = min(self._deadline, max(self._waits_until, now + self._timeouts.idle_s))
        self._progress, self._life = parser.progress, parser.life
        if now < self._waits_until:  # an endless body that is always ready would never time out below
            try:
                async with asyncio.timeout_at(self._waits_until):
                    return await self._response.content.readany()
            except TimeoutError:
                pass
            except (aiohttp.ClientError, OSError) as error:
                self.reason += f", then {type(error).__name__}"
                return None
        if self.parser.are_all_ended or self.parser.is_complete:
            return None
        self.reason += ", then nothing in time"
        raise ModelTimeout

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout_at(min(self._waits_until, self._loop.time() + self._timeouts.usage_s)):
                while len(body) < ERROR_BODY_BYTES and (data := await response.content.readany()):
                    body += data
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # the status says enough
        return inflated(bytes(body), response.headers.get("Content-Encoding", ""), most=ERROR_BODY_BYTES)

    async def _drain(self) -> None:
        """Reads the end of the body, if it is at hand: only then can the connection be used again."""
        assert self._response is not None
        if self._response.content.at_eof():
            return
        try:
            async with asyncio.timeout(self._timeouts.drain_s):
                await self._response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass


def completions_url(base: str) -> URL:
    """Where completions are made under a base URL. Raises `SetupError` with one line that does not repeat it."""
    return endpoint_url(base, "/chat/completions", whose="model")
