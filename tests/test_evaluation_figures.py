"""The figures of `evaluation` on a run in four scripts, against figures worked out by another program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gigachat_server.evaluation import measures
from gigachat_server.evaluation.compared_texts import holds, normalised, overlap
from gigachat_server.evaluation.measures import GROUPINGS, UNTOLD, Grouping, Question, Result, RetrievedPassage

FOLDER = Path(__file__).parent / "fixtures" / "eval-figures"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
QUESTIONS = measures.read_lines(FOLDER / "questions.jsonl", Question)
RESULTS = {result.id: result for result in measures.read_lines(FOLDER / "results.jsonl", Result)}


@pytest.mark.parametrize("by", EXPECTED)
def test_the_figures_are_those_of_another_program(by: Grouping) -> None:
    scores = measures.score(QUESTIONS, RESULTS, by=by)
    assert scores.keys() == EXPECTED[by].keys()
    for group, figures in EXPECTED[by].items():
        assert {figure: scores[group][figure] for figure in figures} == pytest.approx(figures, abs=1e-4), group


def test_every_prompt_that_is_handled_rightly_is_right() -> None:
    scores = measures.score(QUESTIONS, RESULTS, by="all")["all"]
    # 1, 2, 3 and 8 hold the answer, 5 and 7 are refused; 4 is refused wrongly, 6 answered wrongly, 11 was not asked.
    assert scores["right"] == pytest.approx(6 / 9, abs=1e-4)
    # Of 1, 2, 3 and 8, which have an answer, 2 begins with something else.
    assert scores["answer_leads"] == 0.75
    assert scores["answer_words_p50"] == 4


def test_refusals_are_counted_by_kind_on_both_sides() -> None:
    scores = measures.score(QUESTIONS, RESULTS, by="all")["all"]
    refused = {name: value for name, value in scores.items() if name.startswith(("abstain_", "false_abstain_"))}
    assert (refused["false_abstain_cross_language"], refused["false_abstain_paraphrase"]) == (1.0, 0.0)
    assert (refused["abstain_off_topic"], refused["abstain_near_miss"], refused["false_abstain_rate"]) == (0.5, 1.0, 0.1429)


@pytest.mark.parametrize("by", GROUPINGS)
def test_each_question_is_in_one_group(by: Grouping) -> None:
    scores = measures.score(QUESTIONS, RESULTS, by=by)
    assert sum(group["questions"] or 0 for group in scores.values()) == len(QUESTIONS)
    assert (UNTOLD in scores) == (by in ("lang", "doc_lang"))


def test_a_generating_model_is_handed_the_gold_passage_or_is_not() -> None:
    first, gold = RetrievedPassage("faq.md", "Horaires.", 0.9), RESULTS["1"].retrieved[1]
    cases = {"1": (first, gold), "2": (first,), "6": (first,), "7": ()}
    results = {id: Result(id=id, handed=handed) for id, handed in cases.items()}
    scores = measures.score([question for question in QUESTIONS if question.collection == "café"], results)["café"]
    assert (scores["gold_handed"], scores["handed_nothing_off_topic"], scores["handed_nothing_near_miss"]) == (0.5, 0.0, 1.0)
    assert "gold_handed" not in measures.score(QUESTIONS, RESULTS, by="all")["all"], "nobody asked"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Jusqu’à 18 h, la VEILLE!", "jusqu à 18 h la veille"),
        ("Straße ＡＢＣ ½", "strasse abc 1 2"),
        ("定休日は3火曜", "定 休 日 は 3 火 曜"),
        ("ราคา ๓๔๕", "ร า ค า ๓ ๔ ๕"),
        ("टेरेस पर कुत्ते", "टेरेस पर कुत्ते"),  # vowel signs are marks, and part of the word
        ("Цена: 20 €", "цена 20"),
        ("مَتى؟", "مَتى"),
        ("_a_b-c", "a b c"),
        ("\n\t—", ""),
        ("", ""),
    ],
)
def test_texts_are_compared_in_any_script(text: str, words: str) -> None:
    assert normalised(text) == words
    assert normalised(normalised(text)) == words


def test_an_answer_stands_in_a_text_as_whole_words() -> None:
    assert holds("Wir öffnen um 10 Uhr.", ["10 uhr"])
    assert not holds("Wir öffnen um 110 Uhr.", ["10 Uhr"])
    assert holds("定休日は毎週水曜日です", ["毎週水曜日"])
    assert not holds("anything", ["—", ""])
    assert overlap("", "") == 1.0
    assert overlap("a b", "a b c d") == 0.0
