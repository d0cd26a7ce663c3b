"""Embeddings from any OpenAI-compatible endpoint, which is trusted with the texts and with nothing else.

Endpoints limit the number and the length of texts, and each says so in its own words: a refused batch is halved, a refused
text is shortened, and the sizes that worked are remembered. Invariant: a call ends within
`Timeouts.total_s`, in unit vectors of one dimension and in the order of the texts, or in `EmbedderUnavailable`, which is an
`EmbedderRejected` where asking again will not help; and no error or log line holds the URL, the key or a word of what the
endpoint said.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Sequence

import aiohttp
import msgspec
import numpy as np
from yarl import URL

from gigachat_server.errors import EmbedderRejected, EmbedderUnavailable
from gigachat_server.models.base import Matrix, RelevanceScale, Vector
from gigachat_server.models.endpoints.connection import Access, inflated, open_session
from gigachat_server.models.endpoints.embedding_answer import MalformedAnswer, vectors_in
from gigachat_server.models.endpoints.errors import failure_said, retry_after_s
from gigachat_server.models.endpoints.said import ErrorContent, said
from gigachat_server.models.endpoints.url import endpoint_url

BATCH_TEXTS = 64
BATCHES_AT_ONCE = 4  # of passages; prompts need not wait for them
ANSWER_BYTES = 32 << 20  # 64 vectors of 4096 numbers, written out, are 6 MB
# Endpoints refuse a text longer than their model takes, most often 2,000 to 8,000 tokens.
MAX_CHARACTERS = 6000
LEAST_CHARACTERS = 200  # of a text: an endpoint that takes no more than that is of no use
BLANK = "-"  # some endpoints refuse a text without any visible character

# A compromise for an unmeasured model: the relevance is 0.78 at cosine 0.40 when the passage holds 45 % of the
# prompt's words by weight, at 0.56 when it holds none (a paraphrase or a translation), and at 0.22 when it holds all.
# This suits models whose unrelated texts are below 0.3, as those trained with in-batch contrast at a common temperature
# are. Where unrelated texts have 0.7 and more (the E5 family), give a scale of the model's own.
UNMEASURED = RelevanceScale(cosine=12.0, coverage=4.0, bias=-5.4)

log = logging.getLogger("gigachat.models")

_TOO_MUCH = re.compile(r"batch|too (?:long|large|many)|exceed|length|input is too|maximum|limit", re.IGNORECASE)
_FORMAT = re.compile(r"encoding_?format|base64", re.IGNORECASE)
_ADVICE = {
    "upstream_unauthorised": "it refuses the key",
    "upstream_payment_required": "its account has no credit left",
    "upstream_model_not_found": "it has no such model",
    "upstream_context_too_long": "it takes no text of that length",
}


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    connect_s: float = 5.0
    total_s: float = 60.0  # one batch: connecting, the retry and its pause
    retry_after_s: float = 10.0  # a longer Retry-After is not waited for
    retry_pause_s: float = 0.3


class _Body(msgspec.Struct, omit_defaults=True):
    model: str
    input: Sequence[str]
    encoding_format: str | None = None


class _Failure(Exception):
    """One try failed, for the reason the log may show. `pause_s` is None where another would not help."""

    def __init__(
        self, reason: str, *, pause_s: float | None = None, status: int | None = None, told: ErrorContent | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause_s = pause_s
        self.status = status
        self.told = told or ErrorContent()

    @property
    def is_refusal(self) -> bool:
        """The endpoint does not take what it was asked, and will not the next time."""
        return self.status is not None and 400 <= self.status < 500 and self.pause_s is None

    @property
    def may_be_size(self) -> bool:
        """Fewer or shorter texts may be taken. (Some servers fail over too much, instead of refusing it.)"""
        return self.status in (400, 413, 422) or (self.status == 500 and _TOO_MUCH.search(self.told.prose) is not None)


class OpenAIEmbedder:
    """Implements `Embedder`. `url` is the API's base, `https://host/v1`; the full `.../embeddings` is understood, too.

    `name` is the model's: two models of one name at different endpoints are taken for one. The dimension is learnt from
    the first answer (`probe()` gets one) and must stay. Raises `SetupError` when the URL or the key cannot be used.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        scale: RelevanceScale = UNMEASURED,
        timeouts: Timeouts | None = None,
        max_characters: int = MAX_CHARACTERS,
        access: Access | None = None,
    ) -> None:
        self.name = model
        self.scale = scale
        self._url = embeddings_url(url)
        self._access = msgspec.structs.replace(access or Access(), key=(key or "").strip())
        self._access.check("embedding")
        self._timeouts = timeouts or Timeouts()
        self._max_characters = max_characters
        self._batch_texts = BATCH_TEXTS
        self._dimension: int | None = None
        self._wants_base64 = True  # a quarter of the bytes, and decoded without blocking the event loop
        self._passage_slots = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    @property
    def dimension(self) -> int:
        if self._dimension is None:
            raise EmbedderUnavailable("The embedding endpoint has not answered yet, so its dimension is not known.")
        return self._dimension

    async def probe(self) -> None:
        """Learn the dimension from a first answer."""
        await self.embed_prompt("hello")

    async def embed_prompt(self, text: str) -> Vector:
        matrix = await self._embed([text])
        return matrix.reshape(matrix.shape[1])

    async def embed_prompts(self, texts: Sequence[str]) -> Matrix:
        return await self.embed_passages(texts)

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        if not texts:
            return np.empty((0, self._dimension or 0), np.float32)
        size = self._batch_texts
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._embed_in_turn(batch)) for batch in batches]
        except* EmbedderUnavailable as failures:
            failure = _first(failures)
        else:
            return np.concatenate([task.result() for task in tasks])
        raise type(failure)(failure.detail)

    def start(self) -> None:
        """Nothing to begin: the endpoint is asked when there is a text."""

    async def aclose(self) -> None:
        """Ends all calls for good: those that run and those that come raise `EmbedderUnavailable`."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def _embed_in_turn(self, texts: Sequence[str]) -> Matrix:
        async with self._passage_slots:
            return await self._embed(texts)

    async def _embed(self, texts: Sequence[str]) -> Matrix:
        try:
            async with asyncio.timeout(self._timeouts.total_s):
                return await self._embed_fitting(texts)
        except TimeoutError:
            reason, kind = "no answer in time", EmbedderUnavailable
        except _Failure as failure:
            reason, kind = failure.reason, EmbedderRejected if failure.is_refusal else EmbedderUnavailable
        log.warning("embedding call failed: %s", reason)
        raise kind(f"The embedding endpoint failed: {reason}.")

    async def _embed_fitting(self, texts: Sequence[str]) -> Matrix:
        """In as many requests as it takes, and of each text as much as is taken."""
        if len(texts) > self._batch_texts:
            return await self._embed_halves(texts)
        cut = [text[: self._max_characters] if text.strip() else BLANK for text in texts]
        inputs = [text.encode("utf-8", "replace").decode() for text in cut]  # JSON cannot hold a lone surrogate
        try:
            return await self._ask_twice(inputs)
        except _Failure as failure:
            if not failure.may_be_size or _is_about_something_else(failure):
                raise
            if len(texts) > 1:
                matrix = await self._embed_halves(texts)
                self._learn_batch(len(texts), failure)
                return matrix
            shorter = len(inputs[0]) // 2
            if shorter < LEAST_CHARACTERS:
                raise
            matrix = await self._embed_fitting([texts[0][:shorter]])
            if shorter < self._max_characters:
                self._max_characters = max(shorter, LEAST_CHARACTERS)
                log.warning(
                    "the embedding endpoint limits the length of texts: sending at most %d characters of each",
                    self._max_characters,
                )
            return matrix

    async def _embed_halves(self, texts: Sequence[str]) -> Matrix:
        middle = (len(texts) + 1) // 2
        return np.concatenate([await self._embed_fitting(texts[:middle]), await self._embed_fitting(texts[middle:])])

    def _learn_batch(self, refused: int, failure: _Failure) -> None:
        """So many texts were refused and fewer were taken: what the endpoint says it takes, if it does, or half."""
        told = [int(number) for number in re.findall(r"(?<![\w.-])\d{1,4}(?![\w-])", failure.told.own_prose)]
        most = max((number for number in told if 1 <= number < refused), default=(refused + 1) // 2)
        if most < self._batch_texts:
            self._batch_texts = most
            log.warning("the embedding endpoint limits the number of texts: sending at most %d at once", most)

    async def _ask_twice(self, inputs: list[str]) -> Matrix:
        try:
            return await self._ask(inputs, base64=self._wants_base64)
        except _Failure as failure:
            is_of_format = failure.status in (400, 422) or _FORMAT.search(failure.told.prose) is not None
            if self._wants_base64 and is_of_format:
                try:
                    matrix = await self._ask(inputs, base64=False)
                except _Failure as other:
                    raise other if other.told.is_nothing and not failure.told.is_nothing else failure from None
                self._wants_base64 = False  # that was it: the endpoint does not know the format
                return matrix
            if failure.pause_s is None or failure.pause_s > self._timeouts.retry_after_s:
                raise
            pause_s = max(failure.pause_s, self._timeouts.retry_pause_s)
        # Jitter, so that callers do not come back as one.
        await asyncio.sleep(pause_s * random.uniform(1, 1.25))  # noqa: S311
        return await self._ask(inputs, base64=self._wants_base64)

    async def _ask(self, inputs: list[str], *, base64: bool) -> Matrix:
        """One request. Every failure leaves it as a `_Failure`."""
        body = msgspec.json.encode(_Body(self.name, inputs, "base64" if base64 else None))
        try:
            async with self._open().post(self._url, data=body, allow_redirects=False) as response:
                content = await _read(response)
                if response.status != 200:
                    raise _failure_of(response, said(content, inputs))
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError):
            raise _Failure("it cannot be reached", pause_s=0) from None
        except (aiohttp.InvalidURL, UnicodeError):
            raise _Failure("its URL cannot be used") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Failure(f"the connection broke ({type(error).__name__})", pause_s=0) from None
        try:
            # An answer in base64 is small; numbers written out can be megabytes, which take too long for the loop.
            matrix = await asyncio.to_thread(vectors_in, content, len(inputs))
        except MalformedAnswer as error:
            raise _Failure(str(error)) from None
        if self._dimension is None:
            self._dimension = matrix.shape[1]
        if matrix.shape[1] != self._dimension:
            raise _Failure(f"its vectors have {matrix.shape[1]} numbers, those before had {self._dimension}")
        return matrix

    def _open(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise _Failure("it is not used any more, since the server is shutting down")
        if self._session is None:
            self._session = open_session(self._access, accept="application/json", connect_s=self._timeouts.connect_s)
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    while data := await response.content.readany():
        content += data
        if len(content) > ANSWER_BYTES:
            raise _Failure("its answer is too large")
    whole = inflated(bytes(content), response.headers.get("Content-Encoding", ""), most=ANSWER_BYTES + 1)
    if len(whole) > ANSWER_BYTES:
        raise _Failure("its answer is too large")
    return whole


def _failure_of(response: aiohttp.ClientResponse, told: ErrorContent) -> _Failure:
    status = response.status
    advice = _ADVICE.get(failure_said(told, status, response.headers).code) if 400 <= status < 500 else None
    reason = f"it answered with status {status}" + (f": {advice}" if advice else "")
    is_passing = status in (408, 409, 425, 429) or status >= 500
    pause_s = retry_after_s(response.headers) or 0 if is_passing else None
    return _Failure(reason, pause_s=pause_s, status=status, told=told)


def _is_about_something_else(failure: _Failure) -> bool:
    """Whether a refusal that fewer texts might help says itself that they would not."""
    code = failure_said(failure.told, failure.status).code
    return code in ("upstream_unauthorised", "upstream_payment_required", "upstream_model_not_found")


def _first(group: BaseExceptionGroup[EmbedderUnavailable]) -> EmbedderUnavailable:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def embeddings_url(base: str) -> URL:
    """Where embeddings are made under a base URL. Raises `SetupError` with one line that does not repeat it."""
    return endpoint_url(base, "/embeddings", whose="embedding")
