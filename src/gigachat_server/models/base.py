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


class RankWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What orders the passages of a prompt: the weights of a sum (`knowledge/search/relevance.py`)."""

    cosine: float = 0.7
    coverage: float = 0.0
    lexical: float = 0.3
    identified: float = 0.0


class RelevanceScale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Maps what a search knows of a passage onto the contract's relevance in [0, 1], and says how passages are ordered.

    The relevance is the sigmoid of a weighted sum of features (`knowledge/search/relevance.py` names them). Each embedder brings
    its own weights, so that 0.78 means "the documents can answer this" with whichever is configured. `leniency` is added where
    the chatbot's model generates. `general`: the scale for chatbots whose prompts are of any kind, fitted without the prior;
    None: this one does.

    `same_prompt` is the cosine from which two prompts ask the same, `similar_prompt` that from which they are worth an
    operator's look together, `same_text` that from which two chunks of one document say the same.
    """

    cosine: float
    coverage: float
    bias: float
    foreign: float = 0.0
    prior: float = 0.0
    margin: float = 0.0
    size: float = 0.0
    identified: float = 0.0
    unidentified: float = 0.0
    leniency: float = 0.0
    rank: RankWeights = RankWeights()
    follow_up_rank: RankWeights = RankWeights()
    same_prompt: float = 0.9
    similar_prompt: float = 0.8
    same_text: float = 0.95
    general: RelevanceScale | None = None


class Embedder(Protocol):
    """Turns text into unit vectors. All ways to embed are safe to call concurrently and never block the event loop."""

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

    async def embed_prompts(self, texts: Sequence[str]) -> Matrix:
        """Embeddings of many prompts in the background, to compare others with. Raises `EmbedderUnavailable`."""

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        """The vectors of many texts, in the order given, at the best throughput. Raises `EmbedderUnavailable`.

        They compare with prompts' vectors: a model may embed a text differently as one or the other.
        """

    async def aclose(self) -> None: ...


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk as retrieved for one prompt. `score` is its relevance; `rank_score` orders passages of one retrieval.

    `knowledge/search/relevance.py` says what the features mean, from `cosine` to `units`; `lexical` is for the order alone.
    """

    chunk_id: str
    document_id: str
    document_name: str
    number: int
    text: str  # as pushed, without the DOCUMENT NAME header
    line_from: int
    line_to: int
    cosine: float  # of its best unit to what was searched for
    lexical: float  # BM25 divided by the best of this retrieval
    coverage: float  # share of the prompt's idf found in the passage, words that are alike counting in part
    is_foreign: bool = False  # the prompt is in another language than the document
    prior: float = 0.0  # what the prompt alone says; the same for all passages of one retrieval
    margin: float = 0.0  # the cosine less that of the chatbot's fifth best unit
    identified: float = 0.0  # 1: it holds an identifier of the prompt; -1: the prompt has some, and no chunk holds any; else 0
    units: int = 1  # that the chatbot has, or more than a relevance counts
    rank_score: float
    score: float


class SearchedWord(msgspec.Struct, frozen=True):
    """A word of a prompt. Any of the `alternatives` in a chunk's terms means that the chunk holds it; `idf`: how rare that is."""

    word: str  # casefolded, without diacritics
    alternatives: tuple[str, ...]
    is_identifier: bool
    idf: float


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What was searched for: the prompt's own text, vector and words, and its language, where that can be told.

    `vector` is what was searched with: of a prompt that leans on the conversation, together with what was said before.
    `stem_weights` has the idf of each word of the prompt under its first term.
    """

    text: str
    vector: Any  # Vector | None; None when the chatbot has no documents
    stem_weights: Mapping[str, float]
    words: tuple[SearchedWord, ...] = ()
    language: str | None = None


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
    """Everything a model gets for one prompt: `messages` for those that generate, the others for those that quote.

    `messages` are what was told and by whom: what the model is, what it remembers, and last the prompt. Only `sections` and
    the prompt change with each prompt: what comes before them providers can cache.

    `nearby` are the passages found beside `passages`: where the best passage is relevant, what was asked often stands in a
    neighbour of it. A model that quotes of them says so (`SourcesChosen`), and makes its reply of `most_sources` passages at
    most. `suggestion` may be said behind the refusal; it is no answer.
    """

    messages: tuple[ChatMessage, ...]
    sections: Sections | None = None
    sampling: Sampling
    query: Query
    passages: tuple[Passage, ...] = ()  # above the chatbot's match_threshold, best first
    nearby: tuple[Passage, ...] = ()  # best first
    most_sources: int = 3
    suggestion: str = ""
    refusal: str = "Sorry, I don't know how to help with that."
    model: str | None = None  # the chatbot's own choice; None: the server's default
    handoff: HandoffOffer | None = None  # None: it may not ask for a human
    options: CallOptions = CallOptions()


class TextDelta(msgspec.Struct, frozen=True):
    """More text of alternative `index` (0 to n - 1): the increment, never the whole so far."""

    index: int
    text: str


class SourcesChosen(msgspec.Struct, frozen=True):
    """The reply's sources are these, best first: places, from 0, in `passages` and `nearby` of the `ModelInput` in a row.

    Said before any text, and at most once, by models that quote: from then on `ModelCitation.number` and markers count in these.
    """

    places: tuple[int, ...]


class ModelAttempt(msgspec.Struct, frozen=True):
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


class ModelCitation(msgspec.Struct, frozen=True):
    """The marker at character `marker_start` of alternative `index` stands for `text`: `start` to `end` of a passage's text.

    `number` is the passage's place in `ModelInput.passages`, or in the sources chosen, from 1, which the marker `[number]` tells.
    For models that quote,
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


ModelEvent = (
    TextDelta | SourcesChosen | TakenBack | LeftOut | ModelAttempt | ModelCitation | ReplyEnd | HandoffRequest | UsageReport
)


class ChatModel(Protocol):
    """Makes the replies to one prompt."""

    @property
    def name(self) -> str: ...

    @property
    def is_generating(self) -> bool:
        """Whether it judges for itself if passages answer a prompt, rather than quote whatever it is handed."""

    def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        """Yields deltas, then one `ReplyEnd` for each alternative. Raises a `ModelError`; closing the iterator ends the call.

        A `HandoffRequest` may come anywhere before the end. A stream with one may hold no text at all: an alternative
        that hands off still has its `ReplyEnd`, and an error can still follow, as it can follow text.
        """

    async def aclose(self) -> None: ...
