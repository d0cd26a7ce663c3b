"""A model that needs no model: it quotes the sentences of the passages that answer best, and names their source.

The idea: of the three best passages, each sentence scores .4 cosine to the prompt + .3 of the prompt's idf it holds
+ .3 of its passage's rank; the two best are quoted in the order of the document. (On the development set's answerable
SQuAD questions the reply then holds the gold answer in .856, with 54 words on average.)

Invariant: every word of an answer stands in a passage; without a passage the reply is the refusal. Sentence
vectors are kept while memory allows, so a chunk quoted again costs no embedding.

Whether to hand off is a rule, too: to who asks for a person, and after as many unanswered prompts as the offer says.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence

import msgspec
import numpy as np

from gigachat_server.human_wanted import asks_for_human
from gigachat_server.models.base import (
    HANDED_OFF,
    Embedder,
    HandoffOffer,
    HandoffRequest,
    Matrix,
    ModelEvent,
    ModelInput,
    Passage,
    Query,
    ReplyEnd,
    TextDelta,
    UsageReport,
)
from gigachat_server.text import sentences, small_talk, stems

PASSAGES = 3
SENTENCES = 2
COSINE_SHARE, COVERAGE_SHARE, PASSAGE_SHARE = 0.4, 0.3, 0.3
MOST_SENTENCES = 40  # of one passage that are weighed: bounds what one prompt may embed
CHARACTERS_PER_TOKEN = 4
CACHE_BYTES = 16 * 1024 * 1024  # some 1,300 chunks of eight sentences at 384 dimensions

SMALL_TALK_REPLIES = {
    "greeting": "Hello! How can I help you?",
    "thanks": "You're welcome!",
    "farewell": "Goodbye!",
}

_LONGEST_LOOK = 20_000  # characters of a passage
_LINK = re.compile(r"\[[^\]]{1,300}\]\([^)]{1,300}\)")  # Markdown's


class Sentence(msgspec.Struct, frozen=True):
    """A sentence of a passage: which passage (by rank), where in it, and how well it answers."""

    passage: int
    start: int
    text: str
    score: float


class SentenceVectors:
    """The sentence vectors of chunks, the least recently used ones forgotten first. For the event loop alone."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._held: OrderedDict[str, Matrix] = OrderedDict()

    @property
    def memory_bytes(self) -> int:
        return self._bytes

    def find(self, chunk_id: str, sentence_count: int) -> Matrix | None:
        vectors = self._held.get(chunk_id)
        if vectors is None or len(vectors) != sentence_count:
            return None
        self._held.move_to_end(chunk_id)
        return vectors

    def keep(self, chunk_id: str, vectors: Matrix) -> None:
        replaced = self._held.pop(chunk_id, None)
        self._bytes += vectors.nbytes - (0 if replaced is None else replaced.nbytes)
        self._held[chunk_id] = vectors
        while self._bytes > self._most_bytes and self._held:
            self._bytes -= self._held.popitem(last=False)[1].nbytes


class ExtractiveModel:
    """Answers with sentences of the passages. Implements `ChatModel`."""

    name = "extractive"

    def __init__(self, embedder: Embedder, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._embedder = embedder
        self._vectors = SentenceVectors(cache_bytes)

    async def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        """Yields a delta for each sentence. Raises `EmbedderUnavailable` before the first."""
        offer = model_input.handoff
        if offer is not None and asks_for_human(model_input.query.text):
            yield HandoffRequest("asked")
            for index in range(model_input.sampling.n):
                yield ReplyEnd(index, HANDED_OFF, abstained=False)
            yield UsageReport(model=self.name)
            return
        talk = small_talk(model_input.query.text)
        abstained = talk is None and not model_input.passages
        if talk is not None:
            alternatives = [[SMALL_TALK_REPLIES[talk]]] * model_input.sampling.n
        elif abstained:
            alternatives = [[model_input.refusal]] * model_input.sampling.n
        else:
            passages = model_input.passages[:PASSAGES]
            ranked = await self._rank(model_input.query, passages)
            ranked = _without_repetitions(ranked, SENTENCES * model_input.sampling.n)
            most = model_input.sampling.max_tokens * CHARACTERS_PER_TOKEN
            alternatives = [compose(choose(ranked, number, most), passages) for number in range(model_input.sampling.n)]
        for index, deltas in enumerate(alternatives):
            for text in deltas:
                yield TextDelta(index, text)
            yield ReplyEnd(index, abstained=abstained)
        if offer is not None and abstained and is_unanswered_too_often(offer):
            yield HandoffRequest("unanswered")
        yield UsageReport(model=self.name)

    async def aclose(self) -> None:
        """Nothing to end: the embedder belongs to the caller."""

    async def _rank(self, query: Query, passages: Sequence[Passage]) -> list[Sentence]:
        """The passages' sentences, best first."""
        spans = [sentences(passage.text[:_LONGEST_LOOK])[:MOST_SENTENCES] for passage in passages]
        matrices = [
            self._vectors.find(passage.chunk_id, len(of_passage)) for passage, of_passage in zip(passages, spans, strict=True)
        ]
        missing = [place for place, vectors in enumerate(matrices) if vectors is None and spans[place]]
        if missing and query.vector is not None:
            texts = [passages[place].text[start:end] for place in missing for start, end in spans[place]]
            embedded = await self._embedder.embed_passages(texts)
            at = 0
            for place in missing:
                own = np.array(embedded[at : at + len(spans[place])])
                at += len(spans[place])
                matrices[place] = own
                self._vectors.keep(passages[place].chunk_id, own)
        ranked: list[Sentence] = []
        for rank, (passage, of_passage, vectors) in enumerate(zip(passages, spans, matrices, strict=True)):
            cosines = np.zeros(len(of_passage)) if vectors is None or query.vector is None else vectors @ query.vector
            for (start, end), cosine in zip(of_passage, cosines, strict=True):
                text = " ".join(passage.text[start:end].split())
                score = (
                    COSINE_SHARE * float(cosine)
                    + COVERAGE_SHARE * coverage(query.stem_weights, text)
                    + PASSAGE_SHARE * passage.rank_score
                )
                ranked.append(Sentence(rank, start, text, score))
        # A heading or a question often matches best, and answers nothing: it is said only if there is nothing else.
        ranked.sort(key=lambda s: (not is_statement(s.text), -s.score, s.passage, s.start))
        return ranked


def is_unanswered_too_often(offer: HandoffOffer) -> bool:
    """Whether one more prompt without an answer, this one, is as many in a row as the offer bears."""
    return 0 < offer.after_unanswered <= offer.unanswered_before + 1


def is_statement(text: str) -> bool:
    """Whether the sentence can answer anything: no heading, question, table row, code fence or bare list of links."""
    if text.startswith(("#", "|", "```")) or text.endswith(("?", "？", "؟")):
        return False
    return len(_LINK.sub("", text)) > len(text) / 3


def coverage(stem_weights: Mapping[str, float], text: str) -> float:
    """The share of the stems' weight that the text holds."""
    total = sum(stem_weights.values())
    if total <= 0:
        return 0.0
    return sum(stem_weights.get(stem, 0.0) for stem in set(stems(text))) / total


def _without_repetitions(ranked: Sequence[Sentence], wanted: int) -> list[Sentence]:
    """The best sentences, up to `wanted`, that no better one already says: overlapping chunks share theirs."""
    kept: list[Sentence] = []
    said: list[str] = []
    for sentence in ranked:
        text = sentence.text.casefold()
        if not any(text in other or other in text for other in said):
            kept.append(sentence)
            said.append(text)
            if len(kept) == wanted:
                break
    return kept


def choose(ranked: Sequence[Sentence], alternative: int, most_characters: int) -> list[Sentence]:
    """The sentences of one alternative: the best two, then the next two, ...; the best again when none are left.

    At least one, and as many as fit into `most_characters`; in the order of the passages' documents.
    """
    first = alternative * SENTENCES
    candidates = ranked[first : first + SENTENCES] or ranked[:SENTENCES]
    chosen: list[Sentence] = []
    left = most_characters
    for sentence in candidates:
        left -= len(sentence.text)
        if left >= 0 or not chosen:
            chosen.append(sentence)
    return chosen


def compose(chosen: Sequence[Sentence], passages: Sequence[Passage]) -> list[str]:
    """The deltas of one reply: its sentences in the order of their documents, then the names of these."""
    documents: dict[str, str] = {}
    for sentence in sorted(chosen, key=lambda sentence: sentence.passage):
        passage = passages[sentence.passage]
        documents.setdefault(passage.document_id, passage.document_name)
    order = list(documents)
    in_order = sorted(
        chosen,
        key=lambda s: (order.index(passages[s.passage].document_id), passages[s.passage].number, s.start),
    )
    deltas: list[str] = []
    for sentence in in_order:
        is_spaced = bool(deltas) and not deltas[-1].endswith(("。", "！", "？"))
        deltas.append(" " * is_spaced + sentence.text)
    deltas.append(f"\n\n{'Source' if len(documents) == 1 else 'Sources'}: {', '.join(documents.values())}")
    return deltas
