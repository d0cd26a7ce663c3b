"""Vectors in blocks: whatever leads, a cosine is that of the whole vectors, and nothing near goes unseen."""

from __future__ import annotations

import numpy as np
import pytest

from gigachat_server.knowledge.vectors import LEADING, Vectors
from gigachat_server.models.base import Matrix

DIMENSION = 128
BLOCK = 500


def unit(matrix: np.ndarray) -> Matrix:
    made: Matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    return made


def some(count: int, seed: int = 0, *, directions: int = DIMENSION) -> Matrix:
    """Rows that differ most in few directions, as embeddings do; which ones the seed says."""
    draw = np.random.default_rng(seed)
    weight = 1 / (1 + np.arange(directions))
    return unit((draw.normal(size=(count, directions)) * weight) @ draw.normal(size=(directions, DIMENSION)))


def filled(matrix: Matrix, *, leads: bool = True) -> Vectors:
    vectors = Vectors(DIMENSION, block_rows=BLOCK)
    for start in range(0, len(matrix), 70):
        vectors.append(matrix[start : start + 70])
    while leads and vectors.lead_next():
        pass
    return vectors


def test_one_block_is_the_plain_product_to_the_last_bit() -> None:
    matrix, prompt = some(BLOCK), some(1, 1)[0]
    vectors = filled(matrix)
    assert vectors.are_few and not vectors.lead_next()
    assert np.array_equal(vectors.cosines(prompt), matrix @ prompt)


@pytest.mark.parametrize("blocks_made", range(6))
def test_while_what_leads_is_being_made_no_row_is_missed_and_no_cosine_is_another(blocks_made: int) -> None:
    matrix, prompts = some(4 * BLOCK + 130), some(20, 1)
    vectors = filled(matrix, leads=False)
    made = [vectors.lead_next() for _ in range(blocks_made)]
    assert made == [True, True, True, True, False, False][:blocks_made]
    for prompt in prompts:
        expected = matrix @ prompt
        estimated = vectors.estimates(prompt)
        exact = np.ones(len(matrix), bool)
        exact[: min(blocks_made, 4) * BLOCK] = False
        assert np.allclose(estimated[exact], expected[exact], atol=1e-6)
        rows = np.sort(np.argpartition(estimated, -200)[-200:])
        found = vectors.cosines_of(rows, prompt)
        assert np.allclose(found, expected[rows], atol=1e-4)
        assert set(rows[np.argsort(-found)[:10]]) == set(np.argsort(-expected)[:10])


def test_the_estimate_is_the_product_with_the_leading_numbers_and_not_with_more() -> None:
    matrix = some(2 * BLOCK, directions=LEADING)  # all that they are lies in as many directions as lead
    vectors = filled(matrix)
    prompt = matrix[3]
    assert np.allclose(vectors.estimates(prompt), matrix @ prompt, atol=1e-4)
    spread = unit(np.random.default_rng(0).normal(size=(2 * BLOCK, DIMENSION)))
    assert not np.allclose(filled(spread).estimates(prompt), spread @ prompt, atol=1e-2)


def test_the_axes_follow_rows_that_lie_elsewhere() -> None:
    first, later = some(2 * BLOCK, 1, directions=20), some(6 * BLOCK, 2, directions=20)
    vectors = filled(first)
    prompt = later[7]
    vectors.append(later)
    before = vectors.estimates(prompt)
    while vectors.lead_next():
        before = vectors.estimates(prompt)  # blocks of two ages, side by side
        assert len(before) == len(vectors)
    expected = np.concatenate([first, later]) @ prompt
    assert np.allclose(vectors.estimates(prompt), expected, atol=2e-2)


def test_kept_rows_are_those_rows() -> None:
    matrix, prompt = some(5 * BLOCK + 20), some(1, 1)[0]
    vectors = filled(matrix)
    rows = np.flatnonzero(np.random.default_rng(0).random(len(matrix)) < 0.6)
    kept = vectors.kept(rows)
    assert len(kept) == len(rows)
    assert np.allclose(kept.cosines(prompt), matrix[rows] @ prompt, atol=1e-4)
    kept.append(matrix[:30])
    assert np.allclose(kept.cosines(prompt)[-30:], matrix[:30] @ prompt, atol=1e-4)
    assert len(vectors.kept(rows[:0])) == 0


def test_many_rows_take_less_memory_than_their_numbers() -> None:
    matrix = np.tile(some(BLOCK), (8, 3))  # 384 numbers, as the built-in embedder's
    vectors = Vectors(matrix.shape[1], block_rows=BLOCK)
    vectors.append(matrix)
    while vectors.lead_next():
        pass
    assert vectors.nbytes == pytest.approx(matrix.nbytes * (1 / 2 + LEADING / matrix.shape[1]))
