"""Units in memory: whatever leads, a cosine is that of a whole unit, and no chunk that is near goes unseen."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from gigachat_server.knowledge.search.directions import Directions, inverse_norms, quantised
from gigachat_server.knowledge.search.members import Members
from gigachat_server.knowledge.search.vectors import LEADING, Vectors
from gigachat_server.models.base import Matrix, Vector

DIMENSION = 384
BLOCK = 500


def unit(matrix: np.ndarray) -> Matrix:
    made: Matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    return made


def some(count: int, seed: int = 0, *, directions: int = DIMENSION, common: float = 0.0) -> Matrix:
    """Rows that differ most in few directions, as embeddings do; which ones the seed says. `common`: they all share one."""
    draw = np.random.default_rng(seed)
    weight = 1 / (1 + np.arange(directions))
    rows = unit((draw.normal(size=(count, directions)) * weight) @ draw.normal(size=(directions, DIMENSION)))
    return unit(rows + common * np.eye(DIMENSION)[0])


class Chunks:
    """Chunks of one to four units around a vector. `shares`: the last unit of every third belongs to the next chunk, too."""

    def __init__(self, firsts: Matrix, seed: int = 0, *, spread: float = 0.3, shares: bool = True) -> None:
        draw = np.random.default_rng(seed)
        own = draw.integers(1, 5, len(firsts))
        owner = np.repeat(np.arange(len(firsts)), own)
        away = unit(draw.normal(size=(len(owner), DIMENSION))) * spread
        self.directions: Directions = quantised(unit(firsts[owner] + away))
        last = owner.copy()
        last[np.cumsum(own)[:-1:3] - 1] += shares
        self.members = Members.of(owner, last, len(firsts))
        self.first, self.last = owner, last

    def __len__(self) -> int:
        return len(self.members.starts) - 1

    def best(self, vector: Vector) -> Vector:
        """Straight from the definitions."""
        wide = self.directions.astype(np.float64)
        cosines = wide @ vector / np.linalg.norm(wide, axis=1)
        found = np.full(len(self), -np.inf)
        for cosine, first, last in zip(cosines, self.first, self.last, strict=True):
            found[first : last + 1] = np.maximum(found[first : last + 1], cosine)
        return found.astype(np.float32)


def filled(chunks: Chunks, *, leads: bool = True, block_rows: int = BLOCK) -> Vectors:
    vectors = Vectors(DIMENSION, block_rows=block_rows)
    vectors.append(chunks.directions, chunks.members)
    while leads and vectors.lead_next():
        pass
    return vectors


def test_a_chunk_is_as_near_as_the_best_of_its_units() -> None:
    chunks = Chunks(some(BLOCK))
    vectors = filled(chunks)
    assert vectors.are_few and not vectors.lead_next()
    for prompt in some(5, 1):
        assert np.allclose(vectors.compare_all(prompt).best, chunks.best(prompt), atol=1e-6)
        rows = np.arange(3, BLOCK, 7)
        assert np.allclose(vectors.compare(rows, prompt).best, chunks.best(prompt)[rows], atol=1e-6)


def test_documents_one_after_the_other_are_as_all_at_once() -> None:
    parts = [Chunks(some(70, seed), seed) for seed in range(9)]
    vectors = Vectors(DIMENSION, block_rows=10_000, capacity=1)
    for part in parts:
        vectors.append(part.directions, part.members)
    prompt = some(1, 1)[0]
    assert np.allclose(vectors.compare_all(prompt).best, np.concatenate([part.best(prompt) for part in parts]), atol=1e-6)


@functools.cache
def many(common: float) -> tuple[Chunks, Matrix, Matrix]:
    """More than four blocks of chunks, some prompts, and how near each chunk is to each of them."""
    chunks = Chunks(some(4 * BLOCK + 130, common=common), spread=0.3 / (1 + common), shares=False)
    prompts = some(20, 1, common=common)
    return chunks, prompts, np.stack([chunks.best(prompt) for prompt in prompts])


@pytest.mark.slow
@pytest.mark.parametrize("common", [0.0, 2.0])
@pytest.mark.parametrize("blocks_made", range(6))
def test_while_what_leads_is_being_made_no_chunk_is_missed_and_no_cosine_is_another(blocks_made: int, common: float) -> None:
    chunks, prompts, nearness = many(common)
    vectors = filled(chunks, leads=False)
    made = [vectors.lead_next() for _ in range(blocks_made)]
    assert made == [True, True, True, True, False, False][:blocks_made]
    for prompt, expected in zip(prompts, nearness, strict=True):
        estimated = vectors.estimates(prompt)
        exact = np.ones(len(chunks), bool)
        exact[: min(blocks_made, 4) * BLOCK] = False
        assert np.allclose(estimated[exact], expected[exact], atol=1e-6)
        rows = np.sort(np.argpartition(estimated, -500)[-500:])
        found = vectors.compare(rows, prompt).best
        assert np.allclose(found, expected[rows], atol=1e-6)
        assert len(set(rows[np.argsort(-found)[:10]]) & set(np.argsort(-expected)[:10])) >= 9


def test_the_estimate_is_of_the_mean_by_its_leading_numbers_and_not_by_more() -> None:
    firsts = some(2 * BLOCK, directions=LEADING // 2)  # all that they are lies in fewer directions than lead
    vectors = filled(Chunks(firsts, spread=0.0, shares=False))
    assert np.allclose(vectors.estimates(firsts[3]), firsts @ firsts[3], atol=1e-2)
    spread = unit(np.random.default_rng(0).normal(size=(2 * BLOCK, DIMENSION)))
    assert not np.allclose(filled(Chunks(spread, spread=0.0, shares=False)).estimates(spread[3]), spread @ spread[3], atol=1e-1)


def test_the_axes_follow_chunks_that_lie_elsewhere() -> None:
    first, later = (
        Chunks(some(count, seed, directions=20), spread=0.0, shares=False) for count, seed in ((2 * BLOCK, 1), (6 * BLOCK, 2))
    )
    vectors = filled(first)
    prompt = some(8, 2, directions=20)[7]
    vectors.append(later.directions, later.members)
    while vectors.lead_next():
        assert len(vectors.estimates(prompt)) == len(vectors)  # blocks of two ages, side by side
    expected = np.concatenate([first.best(prompt), later.best(prompt)])
    assert np.quantile(np.abs(vectors.estimates(prompt) - expected), 0.9) < 2e-2


def test_kept_chunks_are_those_chunks() -> None:
    chunks, prompt = Chunks(some(5 * BLOCK + 20)), some(1, 1)[0]
    vectors = filled(chunks)
    rows = np.flatnonzero(np.random.default_rng(0).random(len(chunks)) < 0.6)
    kept = vectors.kept(rows)
    assert len(kept) == len(rows)
    assert np.allclose(kept.compare_all(prompt).best, chunks.best(prompt)[rows], atol=1e-6)
    more = Chunks(some(30, 3), 3)
    kept.append(more.directions, more.members)
    assert np.allclose(kept.compare_all(prompt).best[-30:], more.best(prompt), atol=1e-6)
    assert len(vectors.kept(rows[:0])) == 0


def test_an_embedding_is_the_mean_of_the_units() -> None:
    chunks = Chunks(some(40))
    wanted = [17, 3, 39, 3]
    wide = unit(chunks.directions.astype(np.float64))
    for embedding, number in zip(filled(chunks).of(wanted), wanted, strict=True):
        own = wide[(chunks.first <= number) & (number <= chunks.last)]
        assert np.allclose(embedding, unit(own.mean(axis=0, keepdims=True))[0], atol=1e-6)


def test_a_unit_of_several_chunks_counts_once_among_the_best() -> None:
    directions = quantised(np.eye(8, dtype=np.float32)[:4] + 0.1)
    vectors = Vectors(8)
    vectors.append(directions, Members.of(np.array([0, 0, 1, 2]), np.array([2, 0, 1, 2]), 3))
    prompt = unit(np.array([[4.0, 3, 2, 1, 0, 0, 0, 0]]))[0]
    compared = vectors.compare_all(prompt)
    cosines = sorted((float(row / np.linalg.norm(row) @ prompt) for row in directions.astype(np.float64)), reverse=True)
    found = [compared.nth_best_unit(n) for n in (1, 2, 3, 4, 5)]
    assert found == pytest.approx([*cosines, cosines[-1]], abs=1e-6)
    last = vectors.compare_all(prompt, dead=np.array([0, 1]))  # the unit of all three chunks is of a document that is gone
    assert last.nth_best_unit(5) == pytest.approx(float(directions[3] / np.linalg.norm(directions[3].astype(float)) @ prompt))


def test_a_direction_of_zeros_is_near_nothing() -> None:
    directions = quantised(np.array([[0, 0, 0], [0, -3, 0]], np.float32))
    assert directions.tolist() == [[0, 0, 0], [0, -127, 0]]
    vectors = Vectors(3)
    vectors.append(directions, Members.of(np.array([0, 1]), np.array([0, 1]), 2))
    assert vectors.compare_all(np.array([0, -1, 0], np.float32)).best == pytest.approx([0, 1])
    assert vectors.of([0, 1]) == pytest.approx(np.array([[0, 0, 0], [0, -1, 0]]))


@pytest.mark.parametrize("seed", range(5))
def test_rounding_to_bytes_moves_a_cosine_by_less_than_a_hundredth(seed: int) -> None:
    rows, prompts = some(300, seed, common=seed / 2), some(20, seed + 10, common=seed / 2)
    directions = quantised(rows * 7)  # of any length
    wide = directions * inverse_norms(directions)[:, None]
    assert np.abs(wide @ prompts.T - rows @ prompts.T).max() < 0.01


def test_many_chunks_take_little_more_memory_than_their_units() -> None:
    chunks = Chunks(some(8 * BLOCK))
    vectors = filled(chunks)
    of_units = len(chunks.directions) * (DIMENSION + 4)
    assert of_units < vectors.nbytes < 2.2 * of_units + len(chunks) * (LEADING + 100)
