"""A model that needs no model: it quotes the sentences of the passages that answer best, and cites each.

The idea: of the three best passages, each sentence scores .6 cosine to the prompt + .15 of the prompt's idf it
holds + .25 of its passage's rank - .05 of how far down its passage it stands. The best is quoted, and the one that is best with
.2 of the idf added that the first leaves out, in the order of their document. (On the development set's answerable SQuAD
questions the reply then holds the gold answer in .870, with 52 words on average.)

Invariant: every word of an answer stands in a passage, but for a label in the passage's language before the sources'
names; each sentence is followed by a marker for exactly the span it was quoted from; without a passage the reply is the
refusal. Sentence vectors are kept while memory allows, so a chunk quoted again costs no embedding.

Whether to hand off is a rule, too: to who asks for a person, and after as many unanswered prompts as the offer says.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

import msgspec
import numpy as np

from gigachat_server.language.detect import language
from gigachat_server.language.phrases import source_label
from gigachat_server.language.terms import terms
from gigachat_server.language.words import asks_for_human, sentences, small_talk
from gigachat_server.markers import code_spans
from gigachat_server.models.base import (
    HANDED_OFF,
    Cited,
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

PASSAGES = 3
SENTENCES = 2
COSINE_SHARE, COVERAGE_SHARE, PASSAGE_SHARE = 0.6, 0.15, 0.25
DEPTH_SHARE = 0.05  # a passage often says what it is about first
ADDED_SHARE = 0.2  # of what a further sentence covers that the one before it leaves out
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
_ITEM = re.compile(r"(?:[-*+•‣–>]|[0-9]{1,3}[.)])[ \t]+(?=\S)")  # what a list puts before a sentence
_RULE = re.compile(r"[-=*_~#|:+ \t]+")
_MENU = re.compile(r"[ \t]*[|»›·•→][ \t]*")
_ENDS = (".", "!", "…", "。", "！", "।", "۔", ":", "：")
_CLOSING = "\"'”’)]」』）*_`"
_UNSPACED_ENDS = ("。", "！", "？", "。」", "。』", "！」")


class Sentence(msgspec.Struct, frozen=True):
    """A sentence of a passage: which passage (by rank), where in it, and how well it answers."""

    passage: int
    start: int
    end: int
    text: str  # with single spaces
    score: float
    covered: frozenset[str] = frozenset()  # the prompt's stems that it holds
    is_whole: bool = True  # rather than cut by the edge of its chunk
    answers: bool = True  # rather than being a heading, code, ...

    @property
    def standing(self) -> tuple[bool, bool]:
        """A heading or a question often matches best, and answers nothing: it is said only if there is nothing else."""
        return self.answers, self.is_whole


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
    is_generating = False

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
        n = model_input.sampling.n
        alternatives: list[list[Cited | TextDelta]]
        if talk is not None or abstained:
            said = SMALL_TALK_REPLIES[talk] if talk is not None else model_input.refusal
            alternatives = [[TextDelta(index, said)] for index in range(n)]
        else:
            passages = model_input.passages[:PASSAGES]
            ranked = await self._rank(model_input.query, passages)
            ranked = select(ranked, SENTENCES * n, model_input.query.stem_weights)
            most = model_input.sampling.max_tokens * CHARACTERS_PER_TOKEN
            alternatives = [compose(choose(ranked, index, most), passages, index) for index in range(n)]
        for index, events in enumerate(alternatives):
            for event in events:
                yield event
            yield ReplyEnd(index, abstained=abstained)
        if offer is not None and abstained and is_unanswered_too_often(offer):
            yield HandoffRequest("unanswered")
        yield UsageReport(model=self.name)

    async def aclose(self) -> None:
        """Nothing to end: the embedder belongs to the caller."""

    async def _rank(self, query: Query, passages: Sequence[Passage]) -> list[Sentence]:
        """The passages' sentences, best first."""
        spans = [quotable(passage.text[:_LONGEST_LOOK])[:MOST_SENTENCES] for passage in passages]
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
            ranked += _weighed(passage, rank, of_passage, cosines.tolist(), query.stem_weights)
        ranked.sort(key=lambda s: (not s.answers, not s.is_whole, -s.score, s.passage, s.start))
        return ranked


def is_unanswered_too_often(offer: HandoffOffer) -> bool:
    """Whether one more prompt without an answer, this one, is as many in a row as the offer bears."""
    return 0 < offer.after_unanswered <= offer.unanswered_before + 1


def is_statement(text: str) -> bool:
    """Whether the sentence can answer anything: no heading, question, table row, menu, code fence or bare list of links."""
    if text.startswith(("#", "|", "```", "~~~")) or text.endswith(("?", "？", "؟")) or _RULE.fullmatch(text):
        return False
    parts = _MENU.split(text)
    if len(parts) > 2 and len(text) < 30 * len(parts):
        return False
    is_title = text[0].isupper() and text.count(" ") < 2 and not _is_ended(text) and not any(map(str.isdigit, text))
    return not is_title and len(_LINK.sub("", text)) > len(text) / 3


def quotable(text: str) -> list[tuple[int, int]]:
    """The spans of a passage's sentences, without what makes them items of a list."""
    return [(item.end() if (item := _ITEM.match(text, start, end)) else start, end) for start, end in sentences(text)]


def _weighed(
    passage: Passage, rank: int, spans: Sequence[tuple[int, int]], cosines: Sequence[float], stem_weights: Mapping[str, float]
) -> list[Sentence]:
    """The sentences of a passage with their scores."""
    found = []
    code = code_spans(passage.text[:_LONGEST_LOOK])
    for place, ((start, end), cosine) in enumerate(zip(spans, cosines, strict=True)):
        text = " ".join(passage.text[start:end].split())
        covered = frozenset(stem_weights).intersection(terms(text, None))
        score = (
            COSINE_SHARE * cosine
            + COVERAGE_SHARE * coverage(stem_weights, covered)
            + PASSAGE_SHARE * passage.rank_score
            - DEPTH_SHARE * place / len(spans)
        )
        is_whole = not (_starts_amid(passage, place, text) or _ends_amid(passage, spans, place))
        answers = is_statement(text) and not any(first <= start and end <= last for first, last in code)
        found.append(Sentence(rank, start, end, text, score, covered, is_whole, answers))
    return found


def _starts_amid(passage: Passage, place: int, text: str) -> bool:
    return place == 0 and passage.number > 0 and text[0].islower()


def _ends_amid(passage: Passage, spans: Sequence[tuple[int, int]], place: int) -> bool:
    """The last words of a passage, behind a whole sentence on their line, without the end of one themselves."""
    if place == 0 or place + 1 < len(spans):
        return False
    before, here = spans[place - 1], spans[place]
    is_on_its_line = "\n" not in passage.text[before[1] : here[0]]
    return is_on_its_line and _is_ended(passage.text[slice(*before)]) and not _is_ended(passage.text[slice(*here)])


def _is_ended(text: str) -> bool:
    return text.rstrip(_CLOSING).endswith((*_ENDS, "?", "？", "؟"))


def coverage(stem_weights: Mapping[str, float], held: Iterable[str]) -> float:
    """The share of the stems' weight that these have."""
    total = sum(stem_weights.values())
    return sum(stem_weights[stem] for stem in held) / total if total > 0 else 0.0


def select(ranked: Sequence[Sentence], wanted: int, stem_weights: Mapping[str, float]) -> list[Sentence]:
    """The best sentences, up to `wanted`, as alternatives of `SENTENCES` each, none of which says what another does.

    Chunks overlap, so a sentence may be there twice, and once cut: then the whole one is said.
    """
    kept: list[Sentence] = []
    left = list(ranked)
    covered: frozenset[str] = frozenset()

    def worth(sentence: Sentence) -> tuple[bool, bool, float]:
        added = ADDED_SHARE * coverage(stem_weights, sentence.covered - covered) if covered else 0.0
        return *sentence.standing, sentence.score + added

    while left and len(kept) < wanted:
        if len(kept) % SENTENCES == 0:
            covered = frozenset()
        best = max(left, key=worth)
        text = best.text.casefold()
        same = [each for each in left if each.text.casefold() in text or text in each.text.casefold()]
        said = best if best.is_whole else max(same, key=lambda each: (each.is_whole, each.score))
        kept.append(said)
        covered |= said.covered
        text = said.text.casefold()
        left = [each for each in left if each not in same and each.text.casefold() not in text]
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


def compose(chosen: Sequence[Sentence], passages: Sequence[Passage], index: int) -> list[Cited | TextDelta]:
    """Alternative `index`: its sentences in the order of their documents, each with its marker, then the documents' names."""
    numbers: dict[str, list[int]] = {}  # of the passages quoted, by document, the best first
    for rank in sorted({sentence.passage for sentence in chosen}):
        numbers.setdefault(passages[rank].document_id, []).append(rank + 1)
    order = list(numbers)
    in_order = sorted(
        chosen,
        key=lambda s: (order.index(passages[s.passage].document_id), passages[s.passage].number, s.start),
    )
    events: list[Cited | TextDelta] = []
    length, space = 0, ""
    for sentence in in_order:
        number, exact = sentence.passage + 1, passages[sentence.passage].text[sentence.start : sentence.end]
        text, space = space + sentence.text, "" if sentence.text.endswith(_UNSPACED_ENDS) else " "
        marker_start = length + len(text) + len(space)
        events.append(Cited(index, number, sentence.start, sentence.end, exact, marker_start))
        events.append(TextDelta(index, f"{text}{space}[{number}]"))
        length = marker_start + len(f"[{number}]")
    return [*events, TextDelta(index, "\n\n" + _named(numbers, chosen, passages))]


def _named(numbers: Mapping[str, Sequence[int]], chosen: Sequence[Sentence], passages: Sequence[Passage]) -> str:
    """The names of the documents, of several with the numbers that stand for them."""
    names = [passages[of_document[0] - 1].document_name for of_document in numbers.values()]
    label = source_label(language("\n".join(passages[sentence.passage].text for sentence in chosen)), len(names))
    if len(names) == 1:
        return label + names[0]
    marked = ("".join(f"[{number}]" for number in of_document) for of_document in numbers.values())
    return label + ", ".join(f"{marks} {name}" for marks, name in zip(marked, names, strict=True))
