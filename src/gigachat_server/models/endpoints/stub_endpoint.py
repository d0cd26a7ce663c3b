"""An OpenAI-compatible endpoint that always gives the same reply, as fast as a socket allows.

`gigachat bench` and the tests run it as "the model endpoint": `uvicorn gigachat_server.models.stub_endpoint:app`.
Invariant: without a delay an answer is prepared bytes sent in one piece, so a measurement never measures the endpoint. It is a
raw ASGI application, and ignores keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from gigachat_server.models.endpoints.stub_templates import refusal_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DELTAS = ("Parcels ", "are ", "sent ", "on ", "the ", "day ", "of ", "the ", "order.")
_EVENT_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
_JSON = [(b"content-type", b"application/json")]
_CREATED = 1_700_000_000


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct, frozen=True):
    model: str = "stub"
    stream: bool = False
    n: int = 1
    stream_options: _StreamOptions | None = None
    messages: msgspec.Raw = msgspec.Raw(b"[]")  # looked into only where a template is to be kept


class StubEndpoint:
    """The ASGI application. `first_delta_s` and `between_s` delay a stream; a plain answer comes after their sum.

    `template`: a name of `stub_templates.TEMPLATES`; messages that it raises an error for are refused, and counted in
    `refused`, as `answered` counts the others. `context_tokens`: the most that it takes, a token every 2.5 characters and one
    for each that is not ASCII; `most_tokens` is the most that it took.
    """

    def __init__(
        self,
        deltas: Sequence[str] = DELTAS,
        *,
        first_delta_s: float = 0.0,
        between_s: float = 0.0,
        template: str = "chatml",
        context_tokens: int = 0,
        tells_context: bool = True,
    ) -> None:
        self.template = template
        self.context_tokens = context_tokens
        self.tells_context = tells_context
        self.refused = self.answered = self.most_tokens = 0
        self._deltas = tuple(deltas)
        self._first_delta_s = first_delta_s
        self._between_s = between_s
        self._decoder = msgspec.json.Decoder(_Request)
        self._stream_parts = lru_cache(maxsize=64)(self._make_stream_parts)
        self._completion = lru_cache(maxsize=64)(self._make_completion)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        match scope["method"], scope["path"]:
            case "POST", "/v1/chat/completions":
                await self._complete(receive, send)
            case "POST", "/v1/rerank":
                await self._rerank(receive, send)
            case "GET", "/v1/models":
                models = {"object": "list", "data": [{"id": "stub", "object": "model", "created": _CREATED}]}
                await _answer(send, 200, _JSON, msgspec.json.encode(models))
            case _:
                await _refuse(send, 404, "There is nothing here.")

    async def _complete(self, receive: Receive, send: Send) -> None:
        body = await _body_of(receive)
        if body is None:
            return
        try:
            request = self._decoder.decode(body)
        except ValueError:
            await _refuse(send, 400, "This is not a chat completion request.")
            return
        tokens, refusal = self._looked_at(request)
        if refusal is not None:
            self.refused += 1
            await _refuse(send, 400, refusal)
            return
        self.answered += 1
        n = min(max(request.n, 1), 16)
        if not request.stream:
            pause_s = self._first_delta_s + self._between_s * (len(self._deltas) - 1)
            if pause_s:
                await asyncio.sleep(pause_s)
            await _answer(send, 200, _JSON, self._completion(request.model, n, tokens))
            return
        has_usage = request.stream_options is not None and request.stream_options.include_usage
        parts = self._stream_parts(request.model, n, has_usage, tokens)
        if not (self._first_delta_s or self._between_s):
            await _answer(send, 200, _EVENT_STREAM, b"".join(parts))
            return
        await send({"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM})
        for position, part in enumerate(parts):
            if position < len(self._deltas):
                await asyncio.sleep(self._between_s if position else self._first_delta_s)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _rerank(self, receive: Receive, send: Send) -> None:
        """Scores documents by how many of the query's words they hold."""
        body = await _body_of(receive)
        if body is None:
            return
        asked = msgspec.json.decode(body)
        if "documents" not in asked:
            await _refuse(send, 422, "documents: Field required")
            return
        words = set(asked["query"].lower().split())
        scores = [len(words & set(document.lower().split())) / max(1, len(words)) for document in asked["documents"]]
        results = [{"index": place, "relevance_score": score} for place, score in enumerate(scores)]
        await _answer(
            send, 200, _JSON, msgspec.json.encode({"results": sorted(results, key=lambda each: -each["relevance_score"])})
        )

    def _looked_at(self, request: _Request) -> tuple[int, str | None]:
        """The number of tokens of its messages (1 if they are not counted), and why they are refused, if they are."""
        if self.template == "chatml" and not self.context_tokens:
            return 1, None
        messages = msgspec.json.decode(request.messages)
        if not self.context_tokens:
            return 1, refusal_of(self.template, messages)
        texts = [str(message["content"]) for message in messages]
        dense = sum(not letter.isascii() for text in texts for letter in text)
        tokens = int((sum(map(len, texts)) - dense) / 2.5) + dense
        if tokens <= self.context_tokens:
            self.most_tokens = max(self.most_tokens, tokens)
            return tokens, None
        if not self.tells_context:
            return tokens, "The prompt is too long."
        most = self.context_tokens
        return tokens, f"This model's maximum context length is {most} tokens. However, your messages have {tokens} tokens."

    def _make_stream_parts(self, model: str, n: int, has_usage: bool, tokens: int) -> tuple[bytes, ...]:
        """The body: one part for each delta of all alternatives, then the ends, the usage and [DONE]."""
        head = {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "created": _CREATED, "model": model}
        parts = []
        for position, text in enumerate(self._deltas):
            delta = {"content": text} if position else {"role": "assistant", "content": text}
            choices = [{"index": index, "delta": delta, "finish_reason": None} for index in range(n)]
            parts.append(b"".join(_data(head | {"choices": [choice]}) for choice in choices))
        ends = [{"index": index, "delta": {}, "finish_reason": "stop"} for index in range(n)]
        last = b"".join(_data(head | {"choices": [end]}) for end in ends)
        if has_usage:
            last += _data(head | {"choices": [], "usage": self._usage(n, tokens)})
        return (*parts, last + b"data: [DONE]\n\n")

    def _make_completion(self, model: str, n: int, tokens: int) -> bytes:
        message = {"role": "assistant", "content": "".join(self._deltas)}
        choices = [{"index": index, "message": message, "finish_reason": "stop"} for index in range(n)]
        head = {"id": "chatcmpl-stub", "object": "chat.completion", "created": _CREATED, "model": model}
        return msgspec.json.encode(head | {"choices": choices, "usage": self._usage(n, tokens)})

    def _usage(self, n: int, tokens: int) -> dict[str, int]:
        completion_tokens = n * len(self._deltas)
        return {"prompt_tokens": tokens, "completion_tokens": completion_tokens, "total_tokens": tokens + completion_tokens}


async def _body_of(receive: Receive) -> bytes | None:
    """None if the caller is gone."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _data(chunk: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


async def _refuse(send: Send, status: int, message: str) -> None:
    error = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    await _answer(send, status, _JSON, msgspec.json.encode(error))


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


app = StubEndpoint()
