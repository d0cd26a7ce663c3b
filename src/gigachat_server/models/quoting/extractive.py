"""A model that needs no model: it quotes what answers best in the passages, and cites each quotation.

The idea: the passages become statements (sentences, items of lists, rows of tables); each is scored by its vector, the prompt's
words and the kind of answer it holds; and the best are said as a person would copy them out (`quoting/`).

Invariant: every word of an answer stands in a passage, but for a label in the passage's language before the sources' names; what
is quoted is followed by a marker for exactly the spans it was quoted from; without a passage the reply is the refusal, and a
suggestion of what is near. What was read of a passage is kept while memory allows, with its vectors, so a chunk quoted again
costs no embedding.

Whether to hand off is a rule, too: after as many unanswered prompts as the offer says.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Sequence

import msgspec
import numpy as np

from gigachat_server.language.detect import language
from gigachat_server.language.phrases import farewell, greeting, thanks
from gigachat_server.language.words import small_talk
from gigachat_server.models.base import (
    Embedder,
    HandoffOffer,
    HandoffRequest,
    ModelEvent,
    ModelInput,
    Passage,
    ReplyEnd,
    SourcesChosen,
    TextDelta,
    UsageReport,
)
from gigachat_server.models.quoting.asked import asked
from gigachat_server.models.quoting.compose import Place, Reply, compose
from gigachat_server.models.quoting.render import events
from gigachat_server.models.quoting.score import (
    MOST_EMBEDDED,
    Candidate,
    Numbers,
    ReadPassage,
    asked_words,
    candidates,
    features,
    weights_of,
)

MOST_PASSAGES = 5  # that are read for one prompt
NEARBY_SHARE = 0.5  # of the best passage's relevance that one nearby needs to be read
UNSURE = 0.1  # of what is not surer than this to be the answer, .38 were: it is a guess, and refused
CHARACTERS_PER_TOKEN = 4
CACHE_BYTES = 16 * 1024 * 1024

_COURTESIES = {"greeting": greeting, "thanks": thanks, "farewell": farewell}


class ReadPassages:
    """What was read of chunks, the least recently used forgotten first. For the event loop alone."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._held: OrderedDict[str, tuple[ReadPassage, int]] = OrderedDict()

    @property
    def memory_bytes(self) -> int:
        return self._bytes

    def read(self, passage: Passage) -> ReadPassage:
        """A chunk never changes under its id, so what was read of it stays right."""
        held = self._held.get(passage.chunk_id)
        if held is None:
            return ReadPassage(passage.text)
        self._held.move_to_end(passage.chunk_id)
        return held[0]

    def keep(self, passage: Passage, read: ReadPassage) -> None:
        """From now on, or as it has grown since."""
        size = read.memory_bytes
        self._bytes += size - self._held.pop(passage.chunk_id, (read, 0))[1]
        self._held[passage.chunk_id] = (read, size)
        while self._bytes > self._most_bytes and self._held:
            self._bytes -= self._held.popitem(last=False)[1][1]


class _RankedPassage(msgspec.Struct, frozen=True):
    """The passages of a prompt as read, best first, and their statements with their scores."""

    passages: tuple[Passage, ...]
    read: tuple[ReadPassage, ...]
    found: tuple[Candidate, ...]
    scores: Numbers


class ExtractiveModel:
    """Answers with statements of the passages. Implements `ChatModel`."""

    name = "extractive"
    is_generating = False

    def __init__(self, embedder: Embedder, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._embedder = embedder
        self._weights = weights_of(embedder.name)
        self._kept = ReadPassages(cache_bytes)

    async def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        """Yields a delta for each stretch quoted. Raises `EmbedderUnavailable` before the first."""
        talk = small_talk(model_input.query.text)
        abstained = False
        n = model_input.sampling.n
        if talk is not None:
            said: Iterator[ModelEvent] = (
                TextDelta(index, _COURTESIES[talk](language(model_input.query.text))) for index in range(n)
            )
        else:
            ranked = await self._rank(model_input) if model_input.passages else None
            replies = [] if ranked is None else _alternatives(model_input, ranked)
            abstained = not replies or replies[0].confidence < UNSURE
            said = _refused(model_input) if ranked is None or abstained else _quoted(model_input, ranked, replies)
        for event in said:
            yield event
        for index in range(n):
            yield ReplyEnd(index, abstained=abstained)
        offer = model_input.handoff
        if offer is not None and abstained and is_unanswered_too_often(offer):
            yield HandoffRequest("unanswered")
        yield UsageReport(model=self.name)

    async def aclose(self) -> None:
        """Nothing to end: the embedder belongs to the caller."""

    async def _rank(self, model_input: ModelInput) -> _RankedPassage:
        """The statements of the best passages. Only likely quotes are embedded, in one call."""
        query = model_input.query
        passages = _worth_reading(model_input)
        read = tuple(map(self._kept.read, passages))
        found = candidates(read, passages)
        wanted, words = asked(query.text), asked_words(query)
        table = features(wanted, words, found, read, passages, np.zeros(len(found)))
        worth = np.argsort(-(table @ self._weights.before), kind="stable")[:MOST_EMBEDDED]
        worth.sort()
        found, table = [found[row] for row in worth], table[worth]
        if query.vector is not None:
            await self._embed(found, read)
            table[:, 0] = [float(read[each.passage].vectors[each.place] @ query.vector) for each in found]
        for passage, of_passage in zip(passages, read, strict=True):
            self._kept.keep(passage, of_passage)
        return _RankedPassage(passages, read, tuple(found), table @ self._weights.after)

    async def _embed(self, found: Sequence[Candidate], read: Sequence[ReadPassage]) -> None:
        missing = [each for each in found if each.place not in read[each.passage].vectors]
        if missing:
            texts = [read[each.passage].embedded_text(each.place) for each in missing]
            vectors = np.array(await self._embedder.embed_passages(texts))
            for each, vector in zip(missing, vectors, strict=True):
                read[each.passage].vectors[each.place] = vector.copy()


def _worth_reading(model_input: ModelInput) -> tuple[Passage, ...]:
    """The best passages, matched or nearby, without those much less relevant than the best of them."""
    least = NEARBY_SHARE * max(passage.score for passage in model_input.passages)
    near = (passage for passage in model_input.nearby if passage.score >= least)
    return tuple(sorted((*model_input.passages, *near), key=lambda passage: -passage.rank_score)[:MOST_PASSAGES])


def is_unanswered_too_often(offer: HandoffOffer) -> bool:
    """Whether one more prompt without an answer, this one, is as many in a row as the offer bears."""
    return 0 < offer.after_unanswered <= offer.unanswered_before + 1


def refused_text(model_input: ModelInput) -> str:
    """That there is no answer, and what may help instead."""
    return "\n\n".join(filter(None, (model_input.refusal, model_input.suggestion)))


def _refused(model_input: ModelInput) -> Iterator[ModelEvent]:
    text = refused_text(model_input)
    return (TextDelta(index, text) for index in range(model_input.sampling.n))


def _quoted(model_input: ModelInput, ranked: _RankedPassage, replies: Sequence[Reply]) -> Iterator[ModelEvent]:
    """All alternatives, the passages they are made of first."""
    quoted = sorted({place.passage for reply in replies for place in reply.places})
    handed = [*model_input.passages, *model_input.nearby]
    chosen = [handed.index(ranked.passages[passage]) for passage in quoted]
    others = (place for place in range(len(model_input.passages)) if place not in chosen)
    chosen += list(others)[: max(model_input.most_sources - len(chosen), 0)]
    chosen.sort(key=lambda place: -handed[place].rank_score)
    yield SourcesChosen(tuple(chosen))
    number_of = {passage: chosen.index(handed.index(ranked.passages[passage])) for passage in quoted}
    numbered = [handed[place] for place in chosen]
    read = {number_of[passage]: ranked.read[passage] for passage in quoted}
    for index, reply in enumerate(replies):
        places = [Place(number_of[place.passage], place.number) for place in reply.places]
        yield from events(index, places, read, numbered)


def _alternatives(model_input: ModelInput, ranked: _RankedPassage) -> list[Reply]:
    """Each says what none before it has, as long as anything is left; then the first again. None where nothing can be said."""
    wanted = asked(model_input.query.text)
    document_ids = [passage.document_id for passage in ranked.passages]
    replies: list[Reply] = []
    said: list[Place] = []
    for _ in range(model_input.sampling.n):
        reply = compose(
            ranked.found,
            ranked.scores,
            ranked.read,
            document_ids,
            wanted,
            most_characters=model_input.sampling.max_tokens * CHARACTERS_PER_TOKEN,
            most_passages=model_input.most_sources,
            left_out=said,
        )
        if not reply.places and not replies:
            break
        replies.append(reply if reply.places else replies[0])
        said += reply.places
    return replies
