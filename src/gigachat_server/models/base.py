"""The two protocols through which gigachat reaches AI models, and the types that cross them.

Invariant: nothing behind these protocols touches the store, and nothing in front of them knows which provider answers.
Implementations: `openai.py` and `openai_embedder.py` (any compatible endpoint), `extractive.py` and `local_embedder.py`
(this machine alone), `fake.py` and `hashing_embedder.py` (scripted or instant, for tests and load).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]  # shape (dimension,), unit length
Matrix = npt.NDArray[np.float32]  # shape (texts, dimension), rows of unit length

# Why a human is asked for: the end user wants a person, the documents do not hold what was asked, anything else.
HandoffReason = Literal["asked", "unanswered", "other"]
LONGEST_NOTE = 500
HANDED_OFF = "handoff"  # the finish_reason of an alternative that ended in a handoff


class RelevanceScale(msgspec.Struct, frozen=True):
    """Maps an embedder's own cosine, and the lexical coverage, onto the contract's relevance in [0, 1].

    relevance = sigmoid(cosine_weight * cosine + coverage_weight * coverage + bias). Each embedder brings its own
    weights, so that 0.78 means "the documents can answer this" with whichever is configured.

    `same_prompt` is the cosine from which two prompts ask the same, `similar_prompt` that from which they are worth an
    operator's look together; measured for all-MiniLM-L6-v2 (docs/decisions/0019), careful for any other.
    """

    cosine_weight: float
    coverage_weight: float
    bias: float
    same_prompt: float = 0.9
    similar_prompt: float = 0.8


class Embedder(Protocol):
    """Turns text into unit vectors. Both ways to embed are safe to call concurrently and never block the event loop."""

    @property
    def name(self) -> str:
        """Names the vector space: vectors compare only under equal names."""

    @property
    def dimension(self) -> int: ...

    @property
    def scale(self) -> RelevanceScale: ...

    def start(self) -> None:
        """What takes long to get ready begins now, in the background, rather than with the first text."""

    async def embed_prompt(self, text: str) -> Vector:
        """The vector of one prompt, soon: it goes before waiting passages. Raises `EmbedderUnavailable`."""

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        """The vectors of many texts, in the order given, at the best throughput. Raises `EmbedderUnavailable`."""

    async def aclose(self) -> None: ...


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk as retrieved for one prompt. `score` is its relevance; `rank_score` orders passages of one retrieval."""

    chunk_id: str
    document_id: str
    document_name: str
    number: int
    text: str  # as pushed, without the DOCUMENT NAME header
    line_from: int
    line_to: int
    cosine: float
    lexical: float  # BM25 divided by the best of this retrieval
    coverage: float  # share of the prompt's idf found in the passage
    rank_score: float
    score: float


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What was searched for: the prompt's own text, vector and stems (each with its idf in this chatbot)."""

    text: str
    vector: Any  # Vector | None; None when the chatbot has no documents
    stem_weights: Mapping[str, float]


class ChatMessage(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    n: int = 1
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 200
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


class HandoffOffer(msgspec.Struct, frozen=True, kw_only=True):
    """The model may ask that a human answers this conversation.

    `message` is what the end user is told then, by the caller and never by the model; it may be empty. The other two are
    the rule of models that cannot decide: they hand off when `after_unanswered` prompts in a row went unanswered (0:
    never), of which `unanswered_before` went before this one.
    """

    message: str = ""
    after_unanswered: int = 0
    unanswered_before: int = 0  # how many of the newest replies in a row abstained


class Sections(msgspec.Struct, frozen=True):
    """What stands right before the prompt: `head`, the passages, best first, and `foot`. It changes with each prompt."""

    head: str
    passages: tuple[str, ...] = ()
    foot: str = ""

    def __str__(self) -> str:
        return self.text(len(self.passages))

    def text(self, count: int) -> str:
        """With the best `count` passages."""
        return "\n".join(part for part in (self.head, *self.passages[:count], self.foot) if part)


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint is called for one chatbot. None and nothing: as the server's settings say."""

    omit: tuple[str, ...] = ()  # parameters that are not sent
    fallback_models: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    first_token_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None


class ModelInput(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a model gets for one prompt: `messages` for those that generate, `query` and `passages` for those that quote.

    `messages` are what was told and by whom: what the model is, what it remembers, and last the prompt. Only `sections` and
    the prompt change with each prompt: what comes before them providers can cache.
    """

    messages: tuple[ChatMessage, ...]
    sections: Sections | None = None
    sampling: Sampling
    query: Query
    passages: tuple[Passage, ...] = ()  # above the chatbot's match_threshold, best first
    refusal: str = "Sorry, I don't know how to help with that."
    model: str | None = None  # the chatbot's own choice; None: the server's default
    handoff: HandoffOffer | None = None  # None: it may not ask for a human
    options: CallOptions = CallOptions()


class TextDelta(msgspec.Struct, frozen=True):
    """More text of alternative `index` (0 to n - 1): the increment, never the whole so far."""

    index: int
    text: str


class Attempted(msgspec.Struct, frozen=True):
    """A model was asked and failed, under the code of a `ModelError`, before anything was shown; another is asked."""

    model: str
    code: str


class LeftOut(msgspec.Struct, frozen=True):
    """So many of the oldest messages and of the worst passages were not told, for the model takes no more."""

    messages: int = 0
    passages: int = 0


class TakenBack(msgspec.Struct, frozen=True):
    """All text of alternative `index` until now was no reply, but reasoning that only later turned out to be that."""

    index: int


class Cited(msgspec.Struct, frozen=True):
    """The marker at character `marker_start` of alternative `index` stands for `text`: `start` to `end` of a passage's text.

    `number` is the passage's place in `ModelInput.passages`, from 1, which the marker `[number]` tells. For models that quote,
    and know what: it is said before the marker is. Of a reply of which nothing such is said, the markers are looked up.
    """

    index: int
    number: int
    start: int
    end: int
    text: str
    marker_start: int


class ReplyEnd(msgspec.Struct, frozen=True):
    """Alternative `index` is complete. `abstained`: the model says that the documents hold no answer (None: unknown)."""

    index: int
    finish_reason: str = "stop"
    abstained: bool | None = None


class HandoffRequest(msgspec.Struct, frozen=True):
    """The model asks that a human answers. Only where `ModelInput.handoff` offers it, and once a stream at most.

    `note` is the model's own words for staff, never for the end user: at most `LONGEST_NOTE` characters, without NUL.
    """

    reason: HandoffReason
    note: str = ""


class UsageReport(msgspec.Struct, frozen=True):
    """What the call cost, as the provider counts it; `model` is the name the provider answered under."""

    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0  # of the completion's: those that were thought and not said


ModelEvent = TextDelta | TakenBack | LeftOut | Attempted | Cited | ReplyEnd | HandoffRequest | UsageReport


class ChatModel(Protocol):
    """Makes the replies to one prompt."""

    @property
    def name(self) -> str: ...

    def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        """Yields deltas, then one `ReplyEnd` for each alternative. Raises a `ModelError`; closing the iterator ends the call.

        A `HandoffRequest` may come anywhere before the end. A stream with one may hold no text at all: an alternative
        that hands off has its `ReplyEnd` all the same, and an error can still follow, as it can follow text.
        """

    async def aclose(self) -> None: ...
