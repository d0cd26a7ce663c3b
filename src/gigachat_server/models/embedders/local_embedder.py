"""A network on this machine's processor, for many callers at once: onnxruntime and numpy, no more.

Invariant: the event loop only puts texts into two queues. Tokenising and running happen in a few worker threads over
one session, and a worker that becomes free takes waiting prompts before waiting passages.

Jobs are small, about 256 tokens: bigger ones are no faster (see `minilm.py`), and a prompt that arrives while all
workers are busy waits for the end of one. Texts of all concurrent calls stand in the same queues, so many small
documents go as fast as one big.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import msgspec
import numpy as np

from gigachat_server.errors import EmbedderUnavailable, SetupError
from gigachat_server.models.base import Matrix, Vector
from gigachat_server.models.embedders.built_in import BuiltIn, Network
from gigachat_server.models.embedders.weights import Weights

JOB_TEXTS = 16
JOB_CHARACTERS = 1000  # about 256 tokens
PROMPT_JOBS_IN_A_ROW = 15  # then one of passages, so that prompts at full load do not stop all ingesting
NOT_LOADED = "The built-in embedding model could not be loaded; the server's log says why."
FAILED = "The built-in embedding model failed on this text; the server's log says why."
CLOSED = "The built-in embedding model is shutting down."

log = logging.getLogger(__name__)


class _Request:
    """One call of embed_*: workers fill its rows in any order, and its future ends when none is missing."""

    def __init__(self, texts: Sequence[str], dimension: int, *, is_of_prompts: bool) -> None:
        self.texts = texts
        self.is_of_prompts = is_of_prompts
        self.matrix: Matrix = np.empty((len(texts), dimension), np.float32)
        self.missing = len(texts)
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def settle(self, problem: str | None) -> None:
        """End the call: with its matrix, or with `EmbedderUnavailable`. Callable from any thread, and twice."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, problem)

    def _settle(self, problem: str | None) -> None:
        if self.future.done():
            return
        if problem is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(EmbedderUnavailable(problem))


class _Text(msgspec.Struct, frozen=True, gc=False):
    """One row of a request, waiting."""

    request: _Request
    row: int

    @property
    def content(self) -> str:
        return self.request.texts[self.row]


class LocalEmbedder:
    """Implements `Embedder`. Constructing is instant; `start()`, or the first text, begins to load the model."""

    def __init__(self, built_in: BuiltIn, weights: Weights, *, threads: int | None = None) -> None:
        self.name = built_in.name
        self.dimension = built_in.dimension
        self.scale = built_in.scale
        self._load = built_in.load
        self._weights = weights
        self._threads = threads or min(4, len(os.sched_getaffinity(0)))
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="embedder")
        self._loading: Future[Network] | None = None
        self._lock = threading.Lock()  # guards all below
        self._prompts: deque[_Text] = deque()
        self._others: deque[_Text] = deque()
        self._running = 0
        self._prompt_jobs_in_a_row = 0
        self._is_closed = False

    @property
    def ready(self) -> bool:
        """Is the model loaded, and not closed?"""
        loading = self._loading
        return loading is not None and loading.done() and loading.exception() is None and not self._is_closed

    @property
    def failure(self) -> str | None:
        """Why the model cannot be loaded, in one line for the operator; None while it loads and when it is ready."""
        loading = self._loading
        if loading is None or not loading.done() or (error := loading.exception()) is None:
            return None
        return str(error) if isinstance(error, SetupError) else f"The embedding model cannot be loaded: {error!r}"

    def start(self) -> None:
        """Begin to load in the background. A second call does nothing."""
        with self._lock:
            if self._loading is not None or self._is_closed:
                return
            self._loading = loading = self._executor.submit(self._load, self._weights)
        loading.add_done_callback(self._on_loaded)

    async def embed_prompt(self, text: str) -> Vector:
        matrix = await self._embed([text], self._prompts, is_of_prompts=True)
        return matrix.reshape(self.dimension)

    async def embed_prompts(self, texts: Sequence[str]) -> Matrix:
        return await self._embed(texts, self._others, is_of_prompts=True)

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        return await self._embed(texts, self._others, is_of_prompts=False)

    async def aclose(self) -> None:
        """End after the jobs under way; callers that still wait get `EmbedderUnavailable`."""
        with self._lock:
            self._is_closed = True
        self._settle_waiting(CLOSED)
        await asyncio.to_thread(self._executor.shutdown)
        self._loading = None  # lets go of the session and its memory

    async def _embed(self, texts: Sequence[str], queue: deque[_Text], *, is_of_prompts: bool) -> Matrix:
        request = _Request(texts, self.dimension, is_of_prompts=is_of_prompts)
        if not texts:
            return request.matrix
        self.start()
        rows = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # texts of like length can share a run
        with self._lock:
            if self._is_closed:
                raise EmbedderUnavailable(CLOSED)
            queue.extend(_Text(request, row) for row in rows)
        if self.failure is not None:
            self._settle_waiting(NOT_LOADED)
        self._hand_out()
        await request.future
        return request.matrix

    def _on_loaded(self, loading: Future[Network]) -> None:
        if (error := loading.exception()) is not None:
            log.error("%s", self.failure, exc_info=None if isinstance(error, SetupError) else error)
            self._settle_waiting(NOT_LOADED)
        self._hand_out()

    def _settle_waiting(self, problem: str) -> None:
        with self._lock:
            waiting = {id(text.request): text.request for text in (*self._prompts, *self._others)}
            self._prompts.clear()
            self._others.clear()
        for request in waiting.values():
            request.settle(problem)

    def _hand_out(self) -> None:
        """Give work to every idle worker. Called whenever texts were added, and by each worker that becomes free."""
        while True:
            with self._lock:
                if not self.ready or self._running >= self._threads or not (texts := self._take()):
                    return
                assert self._loading is not None
                network = self._loading.result()
                embed = network.embed_prompts if texts[0].request.is_of_prompts else network.embed_passages
                job = self._executor.submit(embed, [text.content for text in texts])
                self._running += 1
            # Outside the lock: it calls back at once if the job is already done.
            job.add_done_callback(partial(self._on_done, texts))

    def _take(self) -> list[_Text]:
        """The texts of the next job, alike and none of them cancelled; at most this worker's fair share of what waits."""
        others_turn = self._prompt_jobs_in_a_row >= PROMPT_JOBS_IN_A_ROW
        for queue in (self._others, self._prompts) if others_turn else (self._prompts, self._others):
            share = min(JOB_TEXTS, -(-len(queue) // self._threads))
            texts: list[_Text] = []
            characters = 0
            while queue and len(texts) < share:
                characters += len(queue[0].content)
                if texts and (characters > JOB_CHARACTERS or queue[0].request.is_of_prompts != texts[0].request.is_of_prompts):
                    break
                text = queue.popleft()
                if not text.request.future.done():
                    texts.append(text)
            if texts:
                self._prompt_jobs_in_a_row = self._prompt_jobs_in_a_row + 1 if queue is self._prompts else 0
                return texts
        return []

    def _on_done(self, texts: list[_Text], job: Future[Matrix]) -> None:
        # A future keeps whatever was raised, so no caller is left waiting, be it an error nobody thought of.
        error = job.exception()
        if error is not None:
            log.error("The embedding model failed.", exc_info=error)
        for number, text in enumerate(texts):
            if error is None:
                text.request.matrix[text.row] = job.result()[number]
        with self._lock:
            self._running -= 1
            for text in texts:
                text.request.missing -= 1
        for text in texts:
            if error is not None or text.request.missing == 0:
                text.request.settle(None if error is None else FAILED)
        self._hand_out()
