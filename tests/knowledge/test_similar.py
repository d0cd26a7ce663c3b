"""Prompts that ask the same are one group, however they are compared; and many take time in proportion."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gigachat_server.language.words import may_ask_the_same, normalised, points_back
from gigachat_server.learning.fixed_answers import Phrasings
from gigachat_server.learning.similar import Grouping, PromptVector, group
from gigachat_server.models.embedders.hashing_embedder import embed
from gigachat_server.store.fixed_answers import FixedPrompt


def grouped(*texts: str, with_vectors: bool = True, least: float = 0.8) -> list[list[str]]:
    said = [PromptVector(str(number), text, embed(text) if with_vectors else None) for number, text in enumerate(texts)]
    return [[prompt.text for prompt in members] for members in group(said, least_cosine=least)]


@pytest.mark.parametrize("with_vectors", [True, False])
@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), []),
        (("one",), [["one"]]),
        (("Is it OPEN?", "is it open"), [["Is it OPEN?", "is it open"]]),
        (
            ("parcel refund delay", "office opening hours", "delay refund parcel", "hours opening office"),
            [["parcel refund delay", "delay refund parcel"], ["office opening hours", "hours opening office"]],
        ),
        (("parcel version 3 refund", "refund parcel version 4"), [["parcel version 3 refund"], ["refund parcel version 4"]]),
        (("is the shop open", "is open not the shop"), [["is the shop open"], ["is open not the shop"]]),
        (("???", "!!!", "a"), [["???", "!!!"], ["a"]]),
    ],
)
def test_prompts_are_grouped_in_the_order_of_their_first(
    texts: tuple[str, ...], expected: list[list[str]], with_vectors: bool
) -> None:
    assert grouped(*texts, with_vectors=with_vectors) == expected


def test_one_that_comes_later_moves_none_that_was_there() -> None:
    texts = [f"word{n % 7} word{n % 5} word{n % 3} thing" for n in range(60)]
    before = grouped(*texts[:40])
    after = grouped(*texts)
    assert [members[: len(old)] for members, old in zip(after, before, strict=False)] == before


@pytest.mark.parametrize("with_vectors", [True, False])
@pytest.mark.parametrize("batch", [1, 7, 60])
def test_prompts_that_are_added_in_batches_are_grouped_as_if_at_once(batch: int, with_vectors: bool) -> None:
    texts = [f"word{n % 7} word{n % 5} word{n % 3} thing" for n in range(60)]
    said = [PromptVector(str(n), text, embed(text) if with_vectors else None) for n, text in enumerate(texts)]
    grouping = Grouping(least_cosine=0.8)
    for start in range(0, len(said), batch):
        grouping.add(said[start : start + batch])
    at_once = [[each.id for each in members] for members in group(said, least_cosine=0.8)]
    assert [[each.id for each in members] for members in grouping.groups] == at_once


@pytest.mark.parametrize("with_vectors", [True, False])
def test_whole_groups_can_be_removed_and_nothing_less(with_vectors: bool) -> None:
    texts = ("parcel refund delay", "office opening hours", "delay refund parcel", "Parcel refund delay!", "tents poles pegs")
    said = [PromptVector(str(n), text, embed(text) if with_vectors else None) for n, text in enumerate(texts)]
    grouping = Grouping(least_cosine=0.8)
    grouping.add(said)
    assert not grouping.remove({"0"})
    assert not grouping.remove({"0", "2", "4"})
    assert [[each.id for each in members] for members in grouping.groups] == [["0", "2", "3"], ["1"], ["4"]]
    assert grouping.remove({"0", "2", "3", "unknown"})
    grouping.add([PromptVector("5", texts[2], said[2].vector), PromptVector("6", texts[0], said[0].vector)])
    grouping.add([PromptVector("7", texts[1], said[1].vector)])
    assert [[each.id for each in members] for members in grouping.groups] == [["1", "7"], ["4"], ["5", "6"]]


def test_vectors_of_two_lengths_and_none_are_grouped_among_their_own() -> None:
    said = [
        PromptVector("1", "alpha beta gamma", embed("alpha beta gamma")),
        PromptVector("2", "gamma beta alpha", np.ones(3, np.float32)),
        PromptVector("3", "beta gamma alpha", embed("alpha beta gamma")),
        PromptVector("4", "beta alpha gamma"),
        PromptVector("5", "ALPHA beta gamma?"),
    ]
    assert [[each.id for each in members] for members in group(said, least_cosine=0.8)] == [["1", "3", "5"], ["2"], ["4"]]


@pytest.mark.parametrize("with_vectors", [True, False])
def test_thousands_that_are_all_different_take_seconds_at_most(with_vectors: bool) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((3_000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    said = [
        PromptVector(str(n), f"shared words about thing{n} and item{n * 7}", vectors[n] if with_vectors else None)
        for n in range(3_000)
    ]
    began_s = time.process_time()
    assert len(group(said, least_cosine=0.8)) == 3_000
    assert time.process_time() - began_s < 10, "quadratic work in Python would take minutes"


def test_long_prompts_that_are_nearly_the_same_take_a_moment() -> None:
    vector = embed("number shop opening")
    long = [f"number {number} " + "shop opening hours " * 1_700 for number in range(199)]
    began_s = time.process_time()
    assert len(group([PromptVector(text, text, vector) for text in long], least_cosine=0.8)) == 199
    found = Phrasings([FixedPrompt("a", text, vector.tobytes()) for text in long])
    assert found.find_nearest(f"no {long[0]}", vector, least_cosine=0.8, is_follow_up=False) is None
    assert time.process_time() - began_s < 2, "reading each text anew for each comparison takes half a minute"


# --- what fixed answers match ---


def known(*prompts: tuple[str, str]) -> Phrasings:
    return Phrasings([FixedPrompt(answer, text, embed(text).tobytes()) for answer, text in prompts])


@pytest.mark.parametrize(
    ("text", "is_follow_up", "expected"),
    [
        ("parcel my is where", False, "a"),
        ("Is my parcel where", True, "a"),
        ("where is the office", False, None),
        ("where is my parcel not", False, None),
        ("and where is my parcel", True, None),
    ],
)
def test_a_prompt_is_matched_by_meaning(text: str, is_follow_up: bool, expected: str | None) -> None:
    found = known(("a", "Where is my parcel?"), ("b", "When do you open?"))
    assert found.find_nearest(text, embed(text), least_cosine=0.8, is_follow_up=is_follow_up) == expected


def test_what_is_not_alike_enough_or_of_another_length_is_not_matched() -> None:
    found = known(("a", "Where is my parcel?"))
    assert found.find_nearest("parcel where", embed("parcel where"), least_cosine=0.99, is_follow_up=False) is None
    assert found.find_nearest("x", np.ones(3, np.float32), least_cosine=0.0, is_follow_up=False) is None
    assert Phrasings([]).find_exact("x") is None


@pytest.mark.parametrize(
    "text", ["where is my parcel", "  WHERE  is my\nparcel?! ", "“Where is my parcel?”", "Ｗhere is my parcel"]
)
def test_the_same_words_are_the_same_prompt(text: str) -> None:
    assert known(("a", "Where is my parcel?")).find_exact(text) == "a"


@pytest.mark.parametrize(
    ("text", "other", "may"),
    [
        ("Is it open?", "Is it not open?", False),
        ("Can I pay?", "Can't I pay?", False),
        ("version 3", "version 4", False),
        ("Who founded it?", "When was it founded?", False),
        ("What time does it open?", "When does it open?", True),
        ("How long is the wall?", "What is the length of the wall?", True),
        # negations of other languages
        ("Ist das Produkt lieferbar?", "Ist das Produkt nicht lieferbar?", False),
        ("Habe ich ein Recht auf Umtausch?", "Habe ich kein Recht auf Umtausch?", False),
        ("Est-ce que c'est remboursé ?", "Est-ce que ce n’est pas remboursé ?", False),
        ("Pourquoi il est ouvert ?", "Pourquoi il n'est jamais ouvert ?", False),
        ("O pedido foi enviado?", "O pedido não foi enviado?", False),
        ("Is het pakket verzonden?", "Is het pakket niet verzonden?", False),
        ("Мой заказ отправлен в город?", "Мой заказ не отправлен в город?", False),
        ("我可以退货退款吗", "我不可以退货退款吗", False),
        ("ฉันคืนสินค้าได้ไหม", "ฉันคืนสินค้าไม่ได้ไหม", False),
        ("Ist das Produkt lieferbar?", "Kann das Produkt geliefert werden?", True),
        # words that exclude each other
        ("Can I cancel before delivery?", "Can I cancel after delivery?", False),
        ("What is the maximum order?", "What is the minimum order?", False),
        ("Are you open on Sunday?", "Are you open on Monday?", False),
        ("Are you open on Sundays?", "Do you open on a Sunday?", True),
        ("Are you open on Sunday?", "Are you open at the weekend?", True),
        ("Are you open on Sunday?", "Are you open on Sunday and Monday?", False),
        ("How do I turn on alerts on my phone?", "How do I turn off alerts on my phone?", False),
        ("How do I turn off alerts on my phone?", "How do I turn alerts off?", True),
        ("How do I enable alerts?", "How do I disable alerts?", False),
        ("Enabling alerts?", "How are alerts enabled?", True),
        ("Is it shut in May?", "Is it shut in June?", False),
        ("May I return it in March?", "Can I return it in March?", True),
        ("Habt ihr am Montag offen?", "Habt ihr am Dienstag offen?", False),
        # scripts that an embedding model may not know
        ("运费多少？", "如何退货？", False),
        ("如何申请退货退款？", "如何申请退货退款呢", True),
        ("ค่าจัดส่งเท่าไหร่", "คืนสินค้าอย่างไร", False),
        ("Сколько стоит доставка?", "Как вернуть товар?", False),
        ("Сколько стоит доставка заказа?", "сколько доставка заказа стоит", True),
        ("送料はいくらですか", "How much is shipping?", False),
    ],
)
def test_what_vectors_do_not_see_is_looked_at(text: str, other: str, may: bool) -> None:
    assert may_ask_the_same(text, other) == may_ask_the_same(other, text) == may


def test_what_is_alike_only_to_the_embedding_model_is_not_matched_and_not_grouped() -> None:
    vector = embed("the same to the model")
    texts = ["运费多少？", "如何退货？", "ค่าจัดส่งเท่าไหร่"]
    found = Phrasings([FixedPrompt("a", texts[0], vector.tobytes())])
    assert found.find_nearest(texts[1], vector, least_cosine=0.9, is_follow_up=False) is None
    assert len(group([PromptVector(text, text, vector) for text in texts], least_cosine=0.8)) == 3


def test_normalised_keeps_what_matters() -> None:
    assert normalised("What is C++?") != normalised("What is C?")
    assert normalised("Don’t?") == "don't"
    assert normalised("...") == ""


def test_a_short_prompt_does_not_point_back() -> None:
    assert not points_back("Opening hours?")
    assert points_back("And in winter?")
    assert points_back("How much does it cost?")
