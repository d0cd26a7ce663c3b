"""The index against a naive reference, and that its history leaves no trace in what it answers."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from gigachat_server.knowledge.index import ChatbotIndex, IndexRow
from gigachat_server.knowledge.scoring import COSINE_SHARE, K1, B, Candidate, dump_stems, load_stems
from gigachat_server.knowledge.vectors import BLOCK_ROWS
from gigachat_server.models.base import RelevanceScale, Vector

DIMENSION = 8
SCALE = RelevanceScale(cosine=3.0, coverage=2.0, bias=-1.0)
VOCABULARY = [f"stem{number}" for number in range(40)]


def unit_vector(dice: random.Random) -> Vector:
    vector = np.array([dice.gauss(0, 1) for _ in range(DIMENSION)], dtype=np.float32)
    return vector / np.linalg.norm(vector)


def some_rows(dice: random.Random, document_id: str, count: int) -> list[IndexRow]:
    return [
        IndexRow(
            f"{document_id}-{number}",
            dump_stems(dice.choices(VOCABULARY, weights=range(1, 41), k=dice.randint(0, 60))),
            unit_vector(dice),
        )
        for number in range(count)
    ]


def search(
    index: ChatbotIndex, vector: Vector, bag: dict[str, float], own: tuple[str, ...] = (), limit: int = 10
) -> list[Candidate]:
    return index.search(vector, bag, own_stems=own or tuple(bag), scale=SCALE, limit=limit)


def naive(
    documents: dict[str, list[IndexRow]], vector: Vector, bag: dict[str, float], own: tuple[str, ...]
) -> dict[str, tuple[float, float, float, float, float]]:
    """Cosine, BM25 / best, coverage, rank score and relevance of each chunk, straight from the definitions."""
    rows = [row for rows in documents.values() for row in rows]
    counts = {row.chunk_id: load_stems(row.stems) for row in rows}
    average = sum(sum(count.values()) for count in counts.values()) / len(rows)

    def idf(stem: str) -> float:
        frequency = sum(stem in count for count in counts.values())
        return math.log(1 + (len(rows) - frequency + 0.5) / (frequency + 0.5))

    def bm25(count: dict[str, int]) -> float:
        norm = K1 * (1 - B + B * sum(count.values()) / average)
        return sum(w * idf(s) * (K1 + 1) * count[s] / (count[s] + norm) for s, w in bag.items() if s in count)

    best = max(map(bm25, counts.values()))
    answers = {}
    for row in rows:
        count = counts[row.chunk_id]
        cosine = float(np.dot(row.vector, vector))
        lexical = bm25(count) / best if best else 0.0
        coverage = sum(idf(s) for s in own if s in count) / sum(map(idf, own))
        rank = COSINE_SHARE * cosine + (1 - COSINE_SHARE) * lexical
        relevance = 1 / (1 + math.exp(-(3 * cosine + 2 * coverage - 1)))
        answers[row.chunk_id] = (cosine, lexical, coverage, rank, relevance)
    return answers


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_the_definitions_whatever_happened_before(seed: int) -> None:
    dice = random.Random(seed)
    index = ChatbotIndex(DIMENSION, capacity=2)
    documents: dict[str, list[IndexRow]] = {}
    for _ in range(dice.randint(1, 60)):
        document_id = f"document{dice.randint(0, 15)}"
        if dice.random() < 0.3:
            documents.pop(document_id, None)
            index.remove(document_id)
        else:
            documents[document_id] = some_rows(dice, document_id, dice.randint(1, 30))
            index.add(document_id, documents[document_id])
    if not documents:
        documents["last"] = some_rows(dice, "last", 3)
        index.add("last", documents["last"])
    assert len(index) == sum(map(len, documents.values()))
    own = (*dice.sample(VOCABULARY, 3), "unknown")
    bag = {stem: dice.random() for stem in (*own, *dice.sample(VOCABULARY, 5))}
    vector = unit_vector(dice)
    expected = naive(documents, vector, bag, own)
    found = search(index, vector, bag, own, limit=len(index))
    assert {candidate.chunk_id for candidate in found} == set(expected)
    for candidate in found:
        got = (candidate.cosine, candidate.lexical, candidate.coverage, candidate.rank_score, candidate.score)
        assert got == pytest.approx(expected[candidate.chunk_id], abs=1e-5)
        assert candidate.chunk_id.startswith(candidate.document_id + "-")
    ranks = [round(candidate.rank_score, 5) for candidate in found]
    assert ranks == sorted(ranks, reverse=True)
    rebuilt = ChatbotIndex(DIMENSION)
    for document_id in dice.sample(sorted(documents), len(documents)):
        rebuilt.add(document_id, documents[document_id])
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
            index.add(document_id, rows)
        if number % 10 == 0:
            blocks.lead_next()
        if number % 20 or not len(single):
            continue
        own = (*dice.sample(VOCABULARY, 3), "unknown")
        bag = {stem: dice.random() for stem in (*own, *dice.sample(VOCABULARY, 5))}
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
    index, exact = ChatbotIndex(96, block_rows=2_048), ChatbotIndex(96)
    for number in range(120):
        rows = [
            IndexRow(f"{number}-{place}", f"w{draw.integers(50)} w{draw.integers(50)} x", vectors[100 * number + place])
            for place in range(100)
        ]
        for each in (index, exact):
            each.add(str(number), rows)
    far = IndexRow("needle", "needle", -vectors[0])
    for each in (index, exact):
        each.add("needle", [far])
    while index.lead_next():
        pass
    for number in range(30):
        vector = vectors[400 * number]
        bag = {f"w{number}": 1.0, f"w{number + 7}": 1.0, "x": 1.0}
        found, expected = (search(each, vector, bag, limit=10) for each in (index, exact))
        assert len({c.chunk_id for c in found} & {c.chunk_id for c in expected}) >= 9
        assert [c.rank_score for c in found] == pytest.approx([c.rank_score for c in expected], abs=1e-3)
        nearest = {exact_id for exact_id, _ in exact.nearest(vector, 10)}
        assert len(nearest & {chunk_id for chunk_id, _ in index.nearest(vector, 10)}) >= 9
    # The farthest chunk of all holds the one rare word: what weighs most among the words is known by it.
    found, expected = (search(each, vectors[0], {"needle": 1.0, "x": 1.0}, limit=10) for each in (index, exact))
    assert "needle" not in {c.chunk_id for c in found}
    assert [c.lexical for c in found] == pytest.approx([c.lexical for c in expected], abs=1e-6)


def test_tombstones_are_packed_away() -> None:
    dice = random.Random(1)
    index = ChatbotIndex(DIMENSION)
    kept = some_rows(dice, "kept", 5)
    index.add("kept", kept)
    for _ in range(200):
        index.add("replaced", some_rows(dice, "replaced", 20))
    small = ChatbotIndex(DIMENSION)
    small.add("kept", kept)
    small.add("replaced", some_rows(dice, "replaced", 20))
    assert len(index) == 25
    assert index.memory_bytes < 40 * small.memory_bytes
    index.remove("replaced")
    assert [c.chunk_id for c in search(index, kept[2].vector, {}, ("stem1",), limit=1)] == ["kept-2"]


def test_equal_chunks_come_in_the_order_of_their_ids() -> None:
    vector = unit_vector(random.Random(0))
    ids = ["c", "a", "d", "b"]
    index = ChatbotIndex(DIMENSION)
    for chunk_id in ids:
        index.add(chunk_id, [IndexRow(chunk_id, "same", vector)])
    assert [c.chunk_id for c in search(index, vector, {"same": 1.0}, limit=3)] == ["a", "b", "c"]


def test_an_empty_index_finds_nothing() -> None:
    index = ChatbotIndex(DIMENSION)
    vector = unit_vector(random.Random(0))
    assert search(index, vector, {"stem": 1.0}) == []
    index.add("document", some_rows(random.Random(0), "document", 3))
    index.remove("document")
    index.remove("document")
    assert search(index, vector, {"stem": 1.0}) == []
    assert "document" not in index


def test_a_vector_of_another_dimension_is_refused_and_changes_nothing() -> None:
    index = ChatbotIndex(DIMENSION)
    index.add("document", some_rows(random.Random(0), "document", 3))
    with pytest.raises(ValueError):
        index.add("document", [IndexRow("a", "stem", np.zeros(DIMENSION + 1, dtype=np.float32))])
    assert len(index) == 3


def test_what_the_history_adds_to_the_bag_moves_the_order_but_not_the_coverage() -> None:
    index = ChatbotIndex(DIMENSION)
    zero = np.zeros(DIMENSION, dtype=np.float32)
    index.add("document", [IndexRow("early", "lamp", zero), IndexRow("late", "lamp oak", zero)])
    own, expanded = {"lamp": 1.0}, {"lamp": 1.0, "oak": 0.3}
    assert [c.chunk_id for c in search(index, zero, own, ("lamp",))] == ["early", "late"]
    found = search(index, zero, expanded, ("lamp",))
    assert [(c.chunk_id, c.coverage) for c in found] == [("late", 1.0), ("early", 1.0)]


def test_a_huge_bag_is_searched_by_its_heaviest_stems() -> None:
    index = ChatbotIndex(DIMENSION)
    zero = np.zeros(DIMENSION, dtype=np.float32)
    index.add("document", [IndexRow("heavy", "needle", zero), IndexRow("light", "straw7", zero)])
    bag = {f"straw{number}": 0.1 for number in range(5000)} | {"needle": 1.0}
    assert search(index, zero, bag, ("needle",), limit=1)[0].chunk_id == "heavy"


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
    index.add("document", [IndexRow("often", dump_stems(["a"] * 1000), zero), IndexRow("once", "a b", zero)])
    assert [c.chunk_id for c in search(index, zero, {"a": 1.0})] == ["often", "once"]


# --- a document that repeats itself ---


def flood(dice: random.Random, count: int) -> list[IndexRow]:
    """Chunks that say the same, some word for word and some nearly."""
    vector = unit_vector(random.Random(0))
    rows = []
    for number in range(count):
        near = vector + np.array([dice.gauss(0, 0.03) for _ in range(DIMENSION)], dtype=np.float32) * (number % 2)
        rows.append(IndexRow(f"flood-{number}", f"lamp price word{number % 2 * number}", near / np.linalg.norm(near)))
    return rows


@pytest.mark.parametrize("block_rows", [BLOCK_ROWS, 1_024])
def test_ten_thousand_chunks_that_say_the_same_fill_two_places(block_rows: int) -> None:
    dice = random.Random(3)
    index = ChatbotIndex(DIMENSION, block_rows=block_rows)
    index.add("flood", flood(dice, 10_000))
    for number in range(5):
        index.add(f"honest{number}", [IndexRow(f"honest{number}", "lamp price", unit_vector(random.Random(number + 1)))])
    while index.lead_next():
        pass
    prompt, bag = unit_vector(random.Random(0)), {"lamp": 1.0, "price": 1.0}
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
        same = [IndexRow(f"{document_id}{number:05}", "lamp price", prompt) for number in range(count)]
        index.add(document_id, [*same, IndexRow(f"{document_id}-other", "lamp price", others[0])])
    index.add("honest", [IndexRow("honest", "lamp price", others[1])])
    while index.lead_next():
        pass
    bag = {"lamp": 1.0, "price": 1.0}
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
    rows = [IndexRow(f"same-{number}", "lamp", vector) for number, vector in enumerate(np.eye(DIMENSION, dtype=np.float32))]
    index.add("same", rows)
    index.add("other", [IndexRow("other", "", np.full(DIMENSION, -0.3, dtype=np.float32))])
    found = search(index, np.ones(DIMENSION, dtype=np.float32), {"lamp": 1.0}, limit=DIMENSION)
    assert [candidate.document_id for candidate in found] == ["same"] * DIMENSION


def test_documents_that_say_the_same_as_one_another_are_not_capped() -> None:
    index = ChatbotIndex(DIMENSION)
    vector = unit_vector(random.Random(0))
    for number in range(5):
        index.add(f"{number}", [IndexRow(f"{number}-{chunk}", "lamp", vector) for chunk in range(3)])
    found = [candidate.chunk_id for candidate in search(index, vector, {"lamp": 1.0}, limit=20)]
    assert found == [f"{number}-{chunk}" for number in range(5) for chunk in range(2)]
