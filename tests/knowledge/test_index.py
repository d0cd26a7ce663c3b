"""The index against a naive reference, and that its history leaves no trace in what it answers."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest

from gigachat_server.knowledge.search.directions import quantised
from gigachat_server.knowledge.search.index import ChatbotIndex, IndexRow, IndexUnits
from gigachat_server.knowledge.search.relevance import MOST_UNITS
from gigachat_server.knowledge.search.scoring import K1, Alternatives, B, Candidate, Search, dump_stems, load_stems
from gigachat_server.knowledge.search.vectors import BLOCK_ROWS
from gigachat_server.language.likeness import likeness
from gigachat_server.language.terms import QueryWord
from gigachat_server.models.base import RankWeights, RelevanceScale, Vector

DIMENSION = 8
RANK = RankWeights(cosine=0.7, coverage=0.2, lexical=0.3)
SCALE = RelevanceScale(cosine=3.0, coverage=2.0, margin=1.5, size=-0.1, prior=2.0, bias=-1.0, rank=RANK, follow_up_rank=RANK)
# As words are, some are like others: "stemling" and "stemlings".
VOCABULARY = [f"stem{'abcdefghij'[number % 10]}{'ling' * (number // 20)}{'s' * (number // 10 % 2)}" for number in range(40)]


class Row(NamedTuple):
    """A chunk as these tests think of it: with the vectors of its own units."""

    chunk_id: str
    terms: str
    vectors: tuple[Vector, ...]


def one(chunk_id: str, terms: str, vector: Vector) -> Row:
    return Row(chunk_id, terms, (vector,))


def put(index: ChatbotIndex, document_id: str, rows: Sequence[Row], *, is_shared: bool = False) -> None:
    """The document has these chunks; `is_shared`: the last unit of each belongs to the next one, too."""
    vectors = [vector for row in rows for vector in row.vectors]
    owner = [number for number, row in enumerate(rows) for _ in row.vectors]
    ends = np.cumsum([len(row.vectors) for row in rows]) - 1
    last = [min(number + 1, len(rows) - 1) if is_shared and place in ends else number for place, number in enumerate(owner)]
    matrix = np.stack(vectors) if vectors else np.zeros((0, index.dimension), np.float32)
    units = IndexUnits(quantised(matrix), np.array(owner, np.intp), np.array(last, np.intp))
    index.add(document_id, [IndexRow(row.chunk_id, row.terms) for row in rows], units)


def unit_vector(dice: random.Random) -> Vector:
    vector = np.array([dice.gauss(0, 1) for _ in range(DIMENSION)], dtype=np.float32)
    return vector / np.linalg.norm(vector)


def some_rows(dice: random.Random, document_id: str, count: int) -> list[Row]:
    return [
        Row(
            f"{document_id}-{number}",
            dump_stems(dice.choices(VOCABULARY, weights=range(1, 41), k=dice.randint(0, 60))),
            tuple(unit_vector(dice) for _ in range(dice.randint(1, 4))),
        )
        for number in range(count)
    ]


Bag = dict[Alternatives, float]


def words(*said: str) -> tuple[QueryWord, ...]:
    return tuple(QueryWord(word, (word,), False) for word in said)


def bag_of(**weights: float) -> Bag:
    return {(word,): weight for word, weight in weights.items()}


def search(
    index: ChatbotIndex,
    vector: Vector,
    bag: Bag,
    own: tuple[QueryWord, ...] | None = None,
    limit: int = 10,
    scale: RelevanceScale = SCALE,
) -> list[Candidate]:
    asked = words(*(word for (word,) in bag)) if own is None else own
    return index.search(
        Search(text="", vector=vector, bag=bag, words=asked, is_dependent=False, scale=scale, limit=limit, prior=0.25)
    )


def naive(documents: dict[str, list[Row]], vector: Vector, bag: Bag, own: tuple[QueryWord, ...]) -> dict[str, tuple[float, ...]]:
    """Cosine, BM25 / best, coverage, rank score, margin and relevance of each chunk, straight from the definitions."""
    rows = [row for rows in documents.values() for row in rows]
    counts = {row.chunk_id: load_stems(row.terms) for row in rows}
    average = sum(sum(count.values()) for count in counts.values()) / len(rows)

    def direction(unit: Vector) -> Vector:
        numbers = np.rint(127 * unit.astype(np.float64) / np.abs(unit).max())
        made: Vector = numbers / np.linalg.norm(numbers)
        return made

    def idf(word: Alternatives) -> float:
        frequency = sum(any(term in count for term in word) for count in counts.values())
        return math.log(1 + (len(rows) - frequency + 0.5) / (frequency + 0.5))

    def bm25(count: dict[str, int]) -> float:
        norm = K1 * (1 - B + B * sum(count.values()) / average)
        return sum(
            w * idf(word) * max((K1 + 1) * count.get(t, 0) / (count.get(t, 0) + norm) for t in word) for word, w in bag.items()
        )

    def held(word: QueryWord, count: dict[str, int]) -> float:
        return (
            1.0 if any(term in count for term in word.alternatives) else max((likeness(word.word, t) for t in count), default=0.0)
        )

    best = max(map(bm25, counts.values()))
    units = sorted((float(direction(unit) @ vector) for row in rows for unit in row.vectors), reverse=True)
    answers: dict[str, tuple[float, ...]] = {}
    for row in rows:
        count = counts[row.chunk_id]
        cosine = max(float(direction(unit) @ vector) for unit in row.vectors)
        lexical = bm25(count) / best if best else 0.0
        coverage = sum(idf(word.alternatives) * held(word, count) for word in own) / sum(idf(word.alternatives) for word in own)
        rank = RANK.cosine * cosine + RANK.coverage * coverage + RANK.lexical * lexical
        margin = cosine - units[min(4, len(units) - 1)]
        logit = 3 * cosine + 2 * coverage + 1.5 * margin + 2 * 0.25 - 0.1 * math.log(min(len(units), MOST_UNITS)) - 1
        answers[row.chunk_id] = (cosine, lexical, coverage, rank, margin, 1 / (1 + math.exp(-logit)))
    return answers


def some_words(dice: random.Random) -> tuple[QueryWord, ...]:
    """One that nobody says, one that may be said in two ways, and one that is only like some that are."""
    first, second, *others = dice.sample(VOCABULARY, 4)
    return (*words(*others, "unknown"), QueryWord(first, (first, second), False), QueryWord(f"{first}x", (f"{first}x",), False))


def some_bag(dice: random.Random, own: tuple[QueryWord, ...]) -> Bag:
    return {word: dice.random() for word in (*(word.alternatives for word in own), *((w,) for w in dice.sample(VOCABULARY, 5)))}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_equal_to_the_definitions_whatever_happened_before(seed: int) -> None:
    dice = random.Random(seed)
    index = ChatbotIndex(DIMENSION, capacity=2)
    documents: dict[str, list[Row]] = {}
    for _ in range(dice.randint(1, 60)):
        document_id = f"document{dice.randint(0, 15)}"
        if dice.random() < 0.3:
            documents.pop(document_id, None)
            index.remove(document_id)
        else:
            documents[document_id] = some_rows(dice, document_id, dice.randint(1, 30))
            put(index, document_id, documents[document_id])
    if not documents:
        documents["last"] = some_rows(dice, "last", 3)
        put(index, "last", documents["last"])
    assert len(index) == sum(map(len, documents.values()))
    own = some_words(dice)
    bag = some_bag(dice, own)
    vector = unit_vector(dice)
    expected = naive(documents, vector, bag, own)
    found = search(index, vector, bag, own, limit=len(index))
    assert {candidate.chunk_id for candidate in found} == set(expected)
    for candidate in found:
        got = (
            candidate.cosine, candidate.lexical, candidate.coverage, candidate.rank_score, candidate.margin, candidate.score
        )  # fmt: skip
        assert got == pytest.approx(expected[candidate.chunk_id], abs=1e-5)
        assert candidate.chunk_id.startswith(candidate.document_id + "-")
    ranks = [round(candidate.rank_score, 5) for candidate in found]
    assert ranks == sorted(ranks, reverse=True)
    rebuilt = ChatbotIndex(DIMENSION)
    for document_id in dice.sample(sorted(documents), len(documents)):
        put(rebuilt, document_id, documents[document_id])
    again = search(rebuilt, vector, bag, own, limit=7)
    assert [candidate.chunk_id for candidate in again] == [candidate.chunk_id for candidate in found[:7]]


@pytest.mark.parametrize("seed", range(5))
def test_an_index_of_many_blocks_answers_like_one_of_a_single(seed: int) -> None:
    dice = random.Random(seed)
    blocks, single = ChatbotIndex(DIMENSION, block_rows=64), ChatbotIndex(DIMENSION)
    for number in range(60):
        document_id = f"document{dice.randint(0, 30)}"
        rows = some_rows(dice, document_id, dice.randint(1, 60)) if dice.random() < 0.7 else []
        for index in (blocks, single):
            put(index, document_id, rows)
        if number % 10 == 0:
            blocks.lead_next()
        if number % 20 or not len(single):
            continue
        own = some_words(dice)
        bag = some_bag(dice, own)
        vector = unit_vector(dice)
        found, expected = (search(index, vector, bag, own, limit=2_000) for index in (blocks, single))
        assert len(found) == len(expected) == len(single)
        by_id = {candidate.chunk_id: candidate for candidate in expected}
        for candidate in found:
            other = by_id[candidate.chunk_id]
            assert candidate.document_id == other.document_id
            assert (candidate.cosine, candidate.rank_score) == pytest.approx((other.cosine, other.rank_score), abs=1e-3)
            assert (candidate.lexical, candidate.coverage) == pytest.approx((other.lexical, other.coverage), abs=1e-9)
        near = blocks.nearest(vector, 5)
        assert [cosine for _, cosine in near] == pytest.approx(sorted((c.cosine for c in expected), reverse=True)[:5], abs=1e-3)


def test_of_many_the_best_by_words_and_the_best_by_meaning_are_looked_at() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(12_000, 96)).astype(np.float32) / np.arange(1, 97, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index, exact = ChatbotIndex(96, block_rows=2_048), ChatbotIndex(96, few_units=1 << 30)
    for number in range(120):
        rows = [
            one(f"{number}-{place}", f"w{draw.integers(50)} w{draw.integers(50)} x", vectors[100 * number + place])
            for place in range(100)
        ]
        for each in (index, exact):
            put(each, str(number), rows)
    far = one("needle", "needle", -vectors[0])
    for each in (index, exact):
        put(each, "needle", [far])
    while index.lead_next():
        pass
    for number in range(30):
        vector = vectors[400 * number]
        bag = bag_of(**{f"w{number}": 1.0, f"w{number + 7}": 1.0, "x": 1.0})
        found, expected = (search(each, vector, bag, limit=10) for each in (index, exact))
        assert len({c.chunk_id for c in found} & {c.chunk_id for c in expected}) >= 9
        assert [c.rank_score for c in found] == pytest.approx([c.rank_score for c in expected], abs=1e-3)
        nearest = {exact_id for exact_id, _ in exact.nearest(vector, 10)}
        assert len(nearest & {chunk_id for chunk_id, _ in index.nearest(vector, 10)}) >= 9
    # The farthest chunk of all holds the one rare word: what weighs most among the words is known by it.
    found, expected = (search(each, vectors[0], bag_of(needle=1.0, x=1.0), limit=10) for each in (index, exact))
    assert "needle" not in {c.chunk_id for c in found}
    assert [c.lexical for c in found] == pytest.approx([c.lexical for c in expected], abs=1e-6)


def test_what_codes_say_is_worth_a_look_is_what_comparing_all_finds() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(6_000, DIMENSION)).astype(np.float32) + 3 * draw.normal(size=DIMENSION).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    coded, exact = ChatbotIndex(DIMENSION, few_units=1_000), ChatbotIndex(DIMENSION, few_units=1 << 30)
    for number in range(60):
        rows = [one(f"{number}-{place}", f"w{draw.integers(50)} x", vectors[100 * number + place]) for place in range(100)]
        for each in (coded, exact):
            put(each, str(number), rows)
    for round_number in range(2):
        for number in range(20):
            vector = vectors[300 * number] + 0.05 * draw.normal(size=DIMENSION).astype(np.float32) * DIMENSION**-0.5
            bag = bag_of(**{f"w{number}": 1.0, "x": 1.0})
            found, expected = (search(each, vector, bag, limit=10) for each in (coded, exact))
            assert [c.chunk_id for c in found] == [c.chunk_id for c in expected]
            assert [c.score for c in found] == pytest.approx([c.score for c in expected], abs=1e-6)
        for each in (coded, exact):  # with tombstones, and packed
            for number in range(25 + 10 * round_number):
                each.remove(str(2 * number))


def test_tombstones_are_packed_away() -> None:
    dice = random.Random(1)
    index = ChatbotIndex(DIMENSION)
    kept = some_rows(dice, "kept", 5)
    put(index, "kept", kept)
    for _ in range(200):
        put(index, "replaced", some_rows(dice, "replaced", 20))
    small = ChatbotIndex(DIMENSION)
    put(small, "kept", kept)
    put(small, "replaced", some_rows(dice, "replaced", 20))
    assert len(index) == 25
    assert index.memory_bytes < 40 * small.memory_bytes
    index.remove("replaced")
    assert [c.chunk_id for c in search(index, kept[2].vectors[0], {}, words("stema"), limit=1)] == ["kept-2"]


def test_equal_chunks_come_in_the_order_of_their_ids() -> None:
    vector = unit_vector(random.Random(0))
    ids = ["c", "a", "d", "b"]
    index = ChatbotIndex(DIMENSION)
    for chunk_id in ids:
        put(index, chunk_id, [one(chunk_id, "same", vector)])
    assert [c.chunk_id for c in search(index, vector, bag_of(same=1.0), limit=3)] == ["a", "b", "c"]


def test_an_empty_index_finds_nothing() -> None:
    index = ChatbotIndex(DIMENSION)
    vector = unit_vector(random.Random(0))
    assert search(index, vector, bag_of(stem=1.0)) == []
    put(index, "document", some_rows(random.Random(0), "document", 3))
    index.remove("document")
    index.remove("document")
    assert search(index, vector, bag_of(stem=1.0)) == []
    assert "document" not in index


def test_a_vector_of_another_dimension_is_refused_and_changes_nothing() -> None:
    index = ChatbotIndex(DIMENSION)
    put(index, "document", some_rows(random.Random(0), "document", 3))
    with pytest.raises(ValueError):
        put(index, "document", [one("a", "stem", np.ones(DIMENSION + 1, dtype=np.float32))])
    assert len(index) == 3


def test_what_the_history_adds_to_the_bag_moves_the_order_but_not_the_coverage() -> None:
    index = ChatbotIndex(DIMENSION)
    zero = np.zeros(DIMENSION, dtype=np.float32)
    put(index, "document", [one("early", "lamp", zero), one("late", "lamp oak", zero)])
    own, expanded = bag_of(lamp=1.0), bag_of(lamp=1.0, oak=0.3)
    assert [c.chunk_id for c in search(index, zero, own, words("lamp"))] == ["early", "late"]
    found = search(index, zero, expanded, words("lamp"))
    assert [(c.chunk_id, c.coverage) for c in found] == [("late", 1.0), ("early", 1.0)]


def test_a_huge_bag_is_searched_by_its_heaviest_stems() -> None:
    index = ChatbotIndex(DIMENSION)
    zero = np.zeros(DIMENSION, dtype=np.float32)
    put(index, "document", [one("heavy", "needle", zero), one("light", "straw7", zero)])
    bag = {(f"straw{number}",): 0.1 for number in range(5000)} | bag_of(needle=1.0)
    assert search(index, zero, bag, words("needle"), limit=1)[0].chunk_id == "heavy"


@pytest.mark.parametrize(
    "stems, text",
    [([], ""), (["a"], "a"), (["a", "b", "a"], "b|a"), (["a", "a", "a"], "||a"), (["b", "a"], "b a")],
)
def test_stems_as_text(stems: list[str], text: str) -> None:
    assert dump_stems(stems) == text
    assert load_stems(text) == dict(Counter(stems))


def test_a_stem_said_a_thousand_times_counts_as_often_as_the_index_can_tell() -> None:
    index = ChatbotIndex(DIMENSION)
    zero = np.zeros(DIMENSION, dtype=np.float32)
    put(index, "document", [one("often", dump_stems(["a"] * 1000), zero), one("once", "a b", zero)])
    assert [c.chunk_id for c in search(index, zero, bag_of(a=1.0))] == ["often", "once"]


# --- a document that repeats itself ---


def flood(dice: random.Random, count: int) -> list[Row]:
    """Chunks that say the same, some word for word and some nearly."""
    vector = unit_vector(random.Random(0))
    rows = []
    for number in range(count):
        near = vector + np.array([dice.gauss(0, 0.03) for _ in range(DIMENSION)], dtype=np.float32) * (number % 2)
        rows.append(one(f"flood-{number}", f"lamp price word{number % 2 * number}", near / np.linalg.norm(near)))
    return rows


@pytest.mark.parametrize("block_rows", [BLOCK_ROWS, 1_024])
def test_ten_thousand_chunks_that_say_the_same_fill_two_places(block_rows: int) -> None:
    dice = random.Random(3)
    index = ChatbotIndex(DIMENSION, block_rows=block_rows)
    put(index, "flood", flood(dice, 10_000))
    for number in range(5):
        put(index, f"honest{number}", [one(f"honest{number}", "lamp price", unit_vector(random.Random(number + 1)))])
    while index.lead_next():
        pass
    prompt, bag = unit_vector(random.Random(0)), bag_of(lamp=1.0, price=1.0)
    for limit in (1, 2, 3, 5, 7, 50):
        found = [candidate.document_id for candidate in search(index, prompt, bag, limit=limit)]
        assert found.count("flood") == min(limit, 2)
        assert len(set(found) - {"flood"}) == min(max(limit - 2, 0), 5)
    index.remove("flood")
    assert "flood" not in {candidate.document_id for candidate in search(index, prompt, bag, limit=50)}


@pytest.mark.parametrize("block_rows", [BLOCK_ROWS, 1_024])
def test_what_documents_say_over_and_over_is_not_gone_through_row_by_row(block_rows: int) -> None:
    index = ChatbotIndex(DIMENSION, block_rows=block_rows)
    prompt, *others = np.eye(DIMENSION, dtype=np.float32)
    for document_id, count in (("a", 16_000), ("b", 4_000), ("c", 4_000)):
        same = [one(f"{document_id}{number:05}", "lamp price", prompt) for number in range(count)]
        put(index, document_id, [*same, one(f"{document_id}-other", "lamp price", others[0])])
    put(index, "honest", [one("honest", "lamp price", others[1])])
    while index.lead_next():
        pass
    bag = bag_of(lamp=1.0, price=1.0)
    search(index, prompt, bag, limit=1)  # what the stems weigh is kept
    tracemalloc.start()
    try:
        found = search(index, prompt, bag)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Of equal ones among very many not always the first by id are looked at.
    assert [candidate.document_id for candidate in found] == ["a", "a", "b", "b", "c", "c", "a", "b", "c", "honest"]
    assert [candidate.rank_score for candidate in found] == pytest.approx([found[0].rank_score] * 6 + [found[6].rank_score] * 4)
    assert peak < 150 * len(index)  # some numbers a row


def test_chunks_of_one_document_that_differ_are_not_capped() -> None:
    index = ChatbotIndex(DIMENSION)
    rows = [one(f"same-{number}", "lamp", vector) for number, vector in enumerate(np.eye(DIMENSION, dtype=np.float32))]
    put(index, "same", rows)
    put(index, "other", [one("other", "", np.full(DIMENSION, -0.3, dtype=np.float32))])
    found = search(index, np.ones(DIMENSION, dtype=np.float32), bag_of(lamp=1.0), limit=DIMENSION)
    assert [candidate.document_id for candidate in found] == ["same"] * DIMENSION


def test_documents_that_say_the_same_as_one_another_are_not_capped() -> None:
    index = ChatbotIndex(DIMENSION)
    vector = unit_vector(random.Random(0))
    for number in range(5):
        put(index, f"{number}", [one(f"{number}-{chunk}", "lamp", vector) for chunk in range(3)])
    found = [candidate.chunk_id for candidate in search(index, vector, bag_of(lamp=1.0), limit=20)]
    assert found == [f"{number}-{chunk}" for number in range(5) for chunk in range(2)]
