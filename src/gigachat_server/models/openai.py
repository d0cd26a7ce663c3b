"""Replies from any OpenAI-compatible endpoint, which is trusted with the prompt and with nothing else.

Invariant: a call ends within `Timeouts.total_s` in a complete reply or in one named `ModelError`, whatever the endpoint
does; it is made at most twice (parameters that the endpoint refuses aside) and never again once anything was shown; and no
error or log line holds the URL, the key or a word of what the endpoint said.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import AsyncGenerator

import aiohttp
import msgspec
from yarl import URL

from gigachat_server.errors import (
    ModelEmpty,
    ModelError,
    ModelInterrupted,
    ModelMalformed,
    ModelRateLimited,
    ModelTimeout,
    ModelUnreachable,
    SetupError,
)
from gigachat_server.models.base import ChatMessage, ModelEvent, ModelInput
from gigachat_server.models.completion_stream import CompletionParser, Limits, joined
from gigachat_server.models.endpoint_errors import error_in, failure_of_status, refused_parameter
from gigachat_server.models.endpoint_url import endpoint_url
from gigachat_server.models.handoff_call import handoff_tool

log = logging.getLogger("gigachat.models")

ERROR_BODY_BYTES = 64 << 10  # enough to learn which parameter was refused
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is waited for, in seconds of the event loop's clock. A keep-alive is not progress."""

    connect_s: float = 5.0
    first_token_s: float = 30.0
    idle_s: float = 20.0
    total_s: float = 120.0  # everything: connecting, retries and their pauses
    usage_s: float = 2.0  # for the usage and [DONE], once every reply is complete
    drain_s: float = 0.05  # for the end of the body after [DONE], so that the connection can serve the next call
    retry_after_s: float = 10.0  # a longer Retry-After is handed to the caller
    retry_pause_s: float = 0.2


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
    tools: tuple[msgspec.Raw, ...] | None = None


class OpenAIModel:
    """A `ChatModel` behind an OpenAI-compatible API.

    `url` is the API's base, what the vendors' SDKs call base_url: `https://host/v1` (a bare `http://host:port` means
    its `/v1`; the full `.../chat/completions` is understood, too; a query is kept). `model` is used unless the chatbot
    names its own. A handoff is offered as a tool; with an endpoint that knows no tools there is none. Raises `SetupError`
    when the URL or the key cannot be used.
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
    ) -> None:
        self._url = completions_url(url)
        self._model = model
        self._key = (key or "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise SetupError("The model endpoint's key holds characters that no key has: set it again.")
        self.timeouts = timeouts or Timeouts()
        self.limits = limits or Limits()
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self._refused: dict[str, frozenset[str]] = {}  # by model: those of OPTIONAL_PARAMETERS it was seen to refuse
        self._encoder = msgspec.json.Encoder()

    @property
    def name(self) -> str:
        return self._model

    async def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        """Deltas as they arrive, a `ReplyEnd` per alternative, one `UsageReport`. Closing it ends the call at once."""
        deadline = asyncio.get_running_loop().time() + self.timeouts.total_s
        is_retry = False
        while True:
            call = _Call(self, model_input, deadline)
            try:
                await call.open()
                while (events := await call.next_events()) is not None:
                    for event in joined(events) if len(events) > 1 else events:
                        yield event
                return
            except ModelError as error:
                pause_s = None if is_retry else call.pause_before_retry_s(error)
                log.warning("model call failed: %s (%s)%s", error.code, call.reason, "" if pause_s is None else "; tried again")
                if pause_s is None:
                    raise
            finally:
                call.close()
            is_retry = True
            await asyncio.sleep(pause_s)

    async def aclose(self) -> None:
        """Ends all calls for good: those that run are interrupted, those that come find nothing to reach."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    def refused_by(self, model_input: ModelInput) -> frozenset[str]:
        """The parameters that this model was seen to refuse."""
        return self._refused.get(model_input.model or self._model, frozenset())

    async def post(self, model_input: ModelInput, without: frozenset[str]) -> aiohttp.ClientResponse:
        """Sends the prompt, `without` the parameters named."""
        if self._is_closed:
            raise ModelUnreachable
        if self._session is None:
            self._session = self._open_session()
        body = self._encoder.encode(self._request(model_input, without))
        return await self._session.post(self._url, data=body, allow_redirects=False)

    def learn_refusal(self, model_input: ModelInput, name: str) -> None:
        """From now on, this model is called without that parameter."""
        self._refused[model_input.model or self._model] = self.refused_by(model_input) | {name}
        log.warning("the model endpoint refuses the parameter %s: it is not sent any more", name)

    def log_reason(self, body: bytes) -> str:
        """The error's code as the endpoint gives it, if it is an identifier and not the key."""
        error = error_in(body)
        for word in (error.code, error.type):
            text = str(word) if word is not None else ""
            if _IDENTIFIER.fullmatch(text) and not (self._key and (self._key in text or text in self._key)):
                return f", {text}"
        return ""

    def _request(self, model_input: ModelInput, without: frozenset[str]) -> _Request:
        sampling = model_input.sampling
        request = _Request(
            model=model_input.model or self._model,
            messages=model_input.messages,
            stream=True,
            stream_options=_StreamOptions(),
            n=sampling.n,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=None if sampling.top_p == 1.0 else sampling.top_p,  # what need not be sent cannot be refused
            presence_penalty=sampling.presence_penalty or None,
            frequency_penalty=sampling.frequency_penalty or None,
            tools=None if model_input.handoff is None else (handoff_tool(model_input.handoff),),
        )
        for name in without:
            setattr(request, name, None)
            if name == "max_tokens":
                request.max_completion_tokens = sampling.max_tokens
        return request

    def _open_session(self) -> aiohttp.ClientSession:
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",  # nothing is inflated: what arrives is what was sent
            "User-Agent": "gigachat",
        }
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, connect=self.timeouts.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )


class _Call:
    """One request and its answer. Every failure leaves it as a `ModelError`; `reason` tells the log what happened."""

    def __init__(self, model: OpenAIModel, model_input: ModelInput, deadline: float) -> None:
        self._model = model
        self._input = model_input
        self._timeouts = model.timeouts
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._waits_until = min(deadline, self._loop.time() + self._timeouts.first_token_s)
        self._progress = 0
        self._response: aiohttp.ClientResponse | None = None
        self._is_over = False
        self._was_dropped = False
        self._parser = CompletionParser(
            n=model_input.sampling.n,
            max_tokens=model_input.sampling.max_tokens,
            model=model_input.model or model.name,
            limits=model.limits,
            may_hand_off=model_input.handoff is not None,
        )
        self.reason = "no answer"

    async def open(self) -> None:
        """Returns when the endpoint has accepted the request, less what it turned out to refuse."""
        doubted: frozenset[str] = frozenset()  # proven to be refused once the endpoint accepts a request without it
        while True:
            without = self._model.refused_by(self._input) | doubted
            response = self._response = await self._post(without)
            if 200 <= response.status < 300:
                self.reason = f"status {response.status}"
                for parameter in doubted:
                    self._model.learn_refusal(self._input, parameter)
                return
            body = await self._error_body(response)
            self.close()
            self.reason = f"status {response.status}{self._model.log_reason(body)}"
            has_tools = self._input.handoff is not None and "tools" not in without
            name = refused_parameter(response.status, body, self._sent_text(), has_tools=has_tools)
            if name is None or name in without:
                raise failure_of_status(response.status, response.headers)
            doubted |= {name}

    def _sent_text(self) -> str:
        return "\n".join(message.content for message in self._input.messages)

    async def next_events(self) -> list[ModelEvent] | None:
        """The events of the next piece of the body; None when the reply is complete."""
        parser = self._parser
        if parser.failure is not None:
            raise parser.failure
        if self._is_over:
            return None
        if parser.is_finished:
            self._is_over = True
            events = parser.finish()
            if parser.is_done_seen:
                await self._drain()
            return events
        data = await self._read()
        if not data:
            self._is_over = True
            return parser.break_off() if data is None else parser.finish()
        return parser.feed(data)

    def pause_before_retry_s(self, error: ModelError) -> float | None:
        """How long to wait before the one retry; None if there is none: something was shown, or it would not help."""
        if self._parser.has_output:
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

    async def _post(self, without: frozenset[str]) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout_at(self._waits_until):
                return await self._model.post(self._input, without)
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
        if self._parser.progress != self._progress:
            # Counted from here, not from the last delta: a caller that takes its time over one is not the endpoint's.
            self._progress = self._parser.progress
            patience_s = self._timeouts.usage_s if self._parser.are_all_ended else self._timeouts.idle_s
            self._waits_until = min(self._deadline, now + patience_s)
        if now < self._waits_until:  # an endless body that is always ready would never time out below
            try:
                async with asyncio.timeout_at(self._waits_until):
                    return await self._response.content.readany()
            except TimeoutError:
                pass
            except (aiohttp.ClientError, OSError) as error:
                self.reason += f", then {type(error).__name__}"
                return None
        if self._parser.are_all_ended or self._parser.is_complete:
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
        return bytes(body[:ERROR_BODY_BYTES])

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
