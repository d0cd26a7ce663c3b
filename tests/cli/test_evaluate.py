"""`gigachat eval`, and its scores against figures worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gigachat_server import evaluation
from gigachat_server.evaluation import Question, Result, Retrieved
from tests.cli.commands import Gigachat

FOLDER = Path(__file__).parents[1] / "fixtures" / "eval"


def test_a_run_scores_every_collection_and_can_be_scored_again(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    scores = gigachat.json("eval", FOLDER, "--out", tmp_path / "results.jsonl")
    shop, garden = scores["shop"], scores["garden"]
    assert (shop["questions"], shop["missing"], shop["hit@1"], shop["answer_contains"]) == (3, 0, 1.0, 1.0)
    assert (shop["abstain_out_of_corpus"], shop["false_abstain_rate"], shop["citation_precision"]) == (1.0, 0.0, 1.0)
    assert (garden["followup_hit@5"], garden["recall@1"]) == (1.0, 1.0)
    assert garden["rougeL_ref"] > 0.3
    results = evaluation.read_lines(tmp_path / "results.jsonl", Result)
    questions = evaluation.read_lines(FOLDER / "questions.jsonl", Question)
    assert evaluation.score(questions, {result.id: result for result in results}) == scores


def test_the_chatbot_is_kept_with_its_usual_settings_and_the_history_in_its_conversation(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = gigachat.output("keys", "create", "--name", "k").strip()
        for _ in range(2):
            gigachat.output("eval", FOLDER, "--collection", "garden", "--url", server.url, "--key", key, "--measure", "answers")
        (chatbot,) = server.call("/chatbots", key).body
        assert chatbot["name"] == "eval: garden"
        assert chatbot["documents"]["results"]["match_threshold"] == 0.78
        conversations = server.call(f"/chatbots/{chatbot['id']}/conversations", key).body
        assert len(conversations) == 2
        path = f"/chatbots/{chatbot['id']}/conversations/{conversations[0]['conversation_id'].replace(' ', '%20')}/messages"
        said = [(message["role"], message["content"]) for message in server.call(path, key).body]
    roles = [role for role, _ in said]
    assert roles == ["user", "assistant", "operator", "user", "assistant", "operator", "user", "assistant"]
    assert said[2] == ("operator", "Hello, what would you like to grow?")


def test_an_unknown_collection_or_a_broken_line_is_told(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    unknown = gigachat.run("eval", FOLDER, "--collection", "zoo")
    assert (unknown.returncode, unknown.stderr) == (1, "gigachat: There is no collection 'zoo': there are shop, garden.\n")
    (tmp_path / "documents.jsonl").write_text('{"collection": "a", "name": "b", "content": "c"}\n{"name": 1}\n')
    (tmp_path / "questions.jsonl").write_text("")
    broken = gigachat.run("eval", tmp_path)
    assert (broken.returncode, "documents.jsonl, line 2: " in broken.stderr) == (1, True)


def test_it_stops_where_the_key_is_refused(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        ended = gigachat.run("eval", FOLDER, "--url", server.url, "--key", "gca_wrong")
    assert (ended.returncode, "API key" in ended.stderr, "Traceback" in ended.stderr) == (1, True, False)


def question(**fields: Any) -> Question:
    defaults = {"id": "q", "collection": "c", "question": "?", "answerable": True, "kind": "single"}
    return msgspec.convert({**defaults, **fields}, Question)


def passages(*names: str) -> tuple[Retrieved, ...]:
    return tuple(Retrieved(name, "text", 0.9 - place / 10) for place, name in enumerate(names))


@pytest.mark.parametrize(
    ("relevant", "wanted", "gain"),
    [
        ([True], 1, 1.0),
        ([False, True], 1, 1 / math.log2(3)),
        ([True, False, True], 2, (1 + 0.5) / (1 + 1 / math.log2(3))),
        ([True, True], 1, 1.0),  # overlapping chunks that both hold the answer
        ([], 0, 0.0),
    ],
)
def test_ndcg(relevant: list[bool], wanted: int, gain: float) -> None:
    assert evaluation.ndcg(relevant, wanted, cutoff=5) == pytest.approx(gain)


def test_passages_collapse_to_documents_where_documents_are_judged() -> None:
    asked = question(document_names=["b", "z"])
    assert evaluation.relevance(asked, passages("a", "a", "b", "a")) == ([False, True], 2)


def test_where_the_gold_sentence_is_known_the_passage_must_hold_it() -> None:
    asked = question(document_name="a", answers=["nine euros"], evidence=["Express parcels cost nine euros."])
    wrong_document = Retrieved("b", "Express parcels cost nine euros.", 1)
    wrong_sentence = Retrieved("a", "He paid nine euros for lunch at the station.", 1)
    right = Retrieved("a", "As of May, express parcels cost nine euros. Others are free.", 1)
    assert evaluation.relevance(asked, (wrong_document, wrong_sentence, right)) == ([False, False, True], 1)


def test_auroc_counts_ties_half() -> None:
    assert evaluation.auroc([0.9, 0.5], [0.5, 0.1]) == pytest.approx(3.5 / 4)
    assert evaluation.auroc([], [0.5]) is None


def test_rouge_l_is_of_the_longest_common_subsequence() -> None:
    assert evaluation.rouge_l("the cat sat on the mat", "the cat on a mat") == pytest.approx(8 / 11)
    assert evaluation.rouge_l("", "words") == 0.0


def test_abstaining_on_an_answerable_question_is_a_wrong_answer_and_a_missing_result_no_abstention() -> None:
    questions = [question(id="1", answers=["x"], document_name="a"), question(id="2", answers=["x"], document_name="a")]
    results = {"1": Result(id="1", answer="x", abstained=True)}
    scores = evaluation.score(questions, results)["c"]
    assert (scores["answer_contains"], scores["false_abstain_rate"], scores["missing"]) == (0.0, 0.5, 1)


def test_a_run_of_retrieval_alone_abstains_below_the_threshold() -> None:
    questions = [question(id="1", answerable=False, kind="out_of_corpus"), question(id="2", document_name="a")]
    results = {"1": Result(id="1", retrieved=passages("a")[:0]), "2": Result(id="2", retrieved=passages("a"))}
    scores = evaluation.score(questions, results, threshold=0.78)["c"]
    assert (scores["abstain_recall"], scores["abstain_precision"], "answer_f1" in scores) == (1.0, 1.0, False)


def test_spans_that_do_not_hold_are_counted_whatever_was_asked() -> None:
    questions = [question(id="1", document_name="a"), question(id="2", answerable=False), question(id="3", document_name="a")]
    results = {
        "1": Result(id="1", answer="x", citations=("a",), cited_spans=(True, True)),
        "2": Result(id="2", answer="x", citations=("a",), cited_spans=(True, False)),
        "3": Result(id="3", answer="x", citations=("a",)),
    }
    scores = evaluation.score(questions, results)["c"]
    assert (scores["citations_hold"], scores["cites_a_span"]) == (0.75, 0.6667)


def test_underspecified_questions_are_reported_apart() -> None:
    scores = evaluation.score([question(kind="underspecified")], {"q": Result(id="q", answer="", abstained=True)})["c"]
    assert (scores["abstain_underspecified"], scores["abstain_precision"], scores["false_abstain_rate"]) == (1.0, None, None)


def test_the_results_file_has_no_answer_where_none_was_asked_for() -> None:
    line = json.loads(msgspec.json.encode(Result(id="q", retrieved=passages("a"))))
    assert line.keys() == {"id", "retrieved"}
