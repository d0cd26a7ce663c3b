"""Is this a customer's question? What a prompt's vector says by itself."""

from __future__ import annotations

import numpy as np
import pytest

from gigachat_server.knowledge.search import prior
from gigachat_server.models.embedders import weights
from gigachat_server.models.embedders.built_in import BUILT_IN, E5
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder, embed

pytestmark = pytest.mark.sqlite_only


def test_no_example_stands_in_both_lists_or_twice() -> None:
    examples = [*prior.customers(), *prior.elsewhere()]
    assert len(set(examples)) == len(examples) > 400


@pytest.mark.parametrize("built_in", BUILT_IN.values(), ids=lambda built_in: built_in.name)
def test_every_built_in_embedder_has_the_vectors_of_all_examples(built_in: object) -> None:
    assert prior.shipped(getattr(built_in, "name")) is not None  # noqa: B009


def test_another_embedder_has_none() -> None:
    assert prior.shipped(HashingEmbedder.name) is None


def test_examples_are_told_apart_by_the_vectors_of_any_embedder() -> None:
    vectors = [embed(text) for text in (*prior.customers(), *prior.elsewhere())]
    made = prior.of_vectors(vectors)
    assert made.of(embed("How do I turn off the weekly newsletter?")) > made.of(embed("Do you know a good pun?"))


def test_vectors_of_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="not the vectors"):
        prior.of_vectors([embed("one")])


def test_a_vector_of_another_length_has_no_prior() -> None:
    made = prior.of_vectors([embed(text) for text in (*prior.customers(), *prior.elsewhere())])
    assert made.of(np.ones(3, np.float32)) == 0


@pytest.mark.weights
@pytest.mark.parametrize(
    "asked, trivia",
    [
        ("Do you sharpen skates bought elsewhere?", "Who was the first man on the moon?"),
        ("Kann ich die Kaffeemühle reklamieren?", "Erzähl mir etwas Lustiges"),
        ("能开电子发票吗", "唱首歌吧"),
        ("هل يمكنني استرداد أموالي؟", "من هو أطول رجل في العالم؟"),
    ],
)
def test_the_default_embedder_tells_customers_questions_from_trivia(asked: str, trivia: str) -> None:
    made = prior.shipped(E5.name)
    assert made is not None
    of_asked, of_trivia = E5.load(weights.find(E5.published)).embed_prompts([asked, trivia])
    assert made.of(of_asked) > made.of(of_trivia) + 0.01


@pytest.mark.weights
def test_the_shipped_vectors_are_those_of_the_lists() -> None:
    made = prior.shipped(E5.name)
    assert made is not None
    vectors = E5.load(weights.find(E5.published)).embed_prompts([*prior.customers()[:2], *prior.elsewhere()[-2:]])
    shipped = np.load(prior.file_of(E5.name)).astype(np.float32)[[0, 1, -2, -1]]
    cosines = (vectors * shipped).sum(axis=1) / np.linalg.norm(shipped, axis=1)
    assert cosines.min() > 0.999
