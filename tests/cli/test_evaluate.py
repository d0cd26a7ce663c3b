"""`gigachat eval`, and its scores against figures worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gigachat_server.cli import evaluation_report
from gigachat_server.errors import SetupError
from gigachat_server.evaluation import compared_texts, measures, question_sets, thresholds
from gigachat_server.evaluation.measures import Question, Result, RetrievedPassage
from gigachat_server.evaluation.thresholds import ScoredQuestion
from tests.cli.commands import Gigachat

pytestmark = pytest.mark.sqlite_only  # a client of the API; test_keys, test_serve and test_commands open both

FOLDER = Path(__file__).parents[1] / "fixtures" / "eval"


def test_a_run_scores_every_collection_and_can_be_scored_again(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    scores = gigachat.json("eval", FOLDER, "--out", tmp_path / "results.jsonl")
    shop, garden = scores["shop"], scores["garden"]
    assert (shop["questions"], shop["missing"], shop["hit@1"], shop["answer_contains"]) == (3, 0, 1.0, 1.0)
    assert (shop["abstain_out_of_corpus"], shop["false_abstain_rate"], shop["citation_precision"]) == (1.0, 0.0, 1.0)
    assert (garden["followup_hit@5"], garden["recall@1"]) == (1.0, 1.0)
    assert garden["rougeL_ref"] > 0.3
    results = measures.read_lines(tmp_path / "results.jsonl", Result)
    questions = measures.read_lines(FOLDER / "questions.jsonl", Question)
    assert measures.score(questions, {result.id: result for result in results}) == scores


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


def test_a_courtesy_that_is_returned_counts_as_refused(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text('{"collection": "a", "name": "b", "content": "Parcels are sent on Monday."}\n')
    asked = '{"collection": "a", "question": "Hello there", "answerable": false, "kind": "off_topic"}\n'
    (tmp_path / "questions.jsonl").write_text(asked)
    scores = Gigachat(tmp_path / "data").json("eval", tmp_path, "--measure", "answers")
    assert (scores["a"]["abstain_off_topic"], scores["a"]["right"]) == (1.0, 1.0)


def test_an_unknown_collection_or_a_broken_line_is_told(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    unknown = gigachat.run("eval", FOLDER, "--collection", "zoo")
    assert (unknown.returncode, unknown.stderr) == (1, "gigachat: There is no collection 'zoo': there are shop, garden.\n")
    (tmp_path / "documents.jsonl").write_text('{"collection": "a", "name": "b", "content": "c"}\n{"name": 1}\n')
    (tmp_path / "questions.jsonl").write_text('{"collection": "a", "question": "Why?", "answers": ["b"]}\n')
    broken = gigachat.run("eval", tmp_path)
    assert (broken.returncode, "documents.jsonl, line 2: " in broken.stderr) == (1, True)


def test_it_stops_where_the_key_is_refused(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        ended = gigachat.run("eval", FOLDER, "--url", server.url, "--key", "gca_wrong")
    assert (ended.returncode, "API key" in ended.stderr, "Traceback" in ended.stderr) == (1, True, False)


def shop_table(folder: Path, *more: str) -> Path:
    """A customer's own questions, as a spreadsheet saves them."""
    lines = (
        "question;answer;document;answerable",
        "What do express parcels cost?;nine euros | 9 euros;shipping;",
        "Who composed the opera Fidelio?;;;no",
        *more,
    )
    path = folder / "own questions.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def test_an_existing_chatbot_is_asked_a_table_of_questions_and_not_changed(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = gigachat.output("keys", "create", "--name", "k").strip()
        chatbot = server.call("/chatbots", key, {"name": "Shop", "documents": {"results": {"match_threshold": 0.3}}}).body
        path = f"/chatbots/{chatbot['id']}"
        for name, content in (("shipping", "Express parcels cost nine euros."), ("=1+1", "Fidelio is not for sale.")):
            server.call(path + "/documents", key, {"name": name, "content": content})
        before = (server.call(path, key).body, server.call(path + "/documents", key).body)
        table = shop_table(tmp_path, "=HYPERLINK(1);x;=1+1;")
        out, answers = tmp_path / "out.csv", tmp_path / "results.jsonl"
        scores = gigachat.json("eval", table, "--chatbot", "Shop", "--csv", out, "--out", answers)["own questions"]
        assert (server.call(path, key).body, server.call(path + "/documents", key).body) == before
        assert len(server.call("/chatbots", key).body) == 1
    assert (scores["questions"], scores["missing"], scores["false_abstain_rate"]) == (3, 0, 0.5)
    assert 0 < scores["retrieval_p50_ms"] <= scores["retrieval_p95_ms"]
    assert 0 < scores["reply_p50_ms"] <= scores["reply_p95_ms"]
    first, second, third = read_table(out)
    assert (first["id"], first["answerable"], first["abstained"], first["first_relevant"]) == ("2", "yes", "no", "1")
    assert (first["contains_answer"], first["sources"], first["kind"]) == ("yes", "shipping", "answerable")
    assert float(first["top_score"]) > 0.3
    assert (second["answerable"], second["abstained"], second["contains_answer"]) == ("no", "yes", "")
    assert third["question"] == "'=HYPERLINK(1)", "a spreadsheet would have run it"
    assert third["first_relevant"].isdigit()
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in read_table(out) for cell in row.values())


def test_a_folder_of_texts_and_a_table_is_enough(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    (folder / "documents" / "help").mkdir(parents=True)
    (folder / "documents" / "help" / "shipping.md").write_text("Express parcels cost nine euros.")
    (folder / "questions.csv").write_text("question,document\nWhat do express parcels cost?,help/shipping.md\nParcels?,gone.md\n")
    ended = Gigachat(tmp_path / "data").run("eval", folder, "--measure", "retrieval", "--json")
    scores = json.loads(ended.stdout)["shop"]
    assert (scores["hit@1"], scores["abstain_recall"], "answer_contains" in scores) == (0.5, None, False)
    assert "1 documents that are not there: gone.md" in ended.stderr


def test_the_picture_and_the_advice_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = [tmp_path / "home", tmp_path / "temporary"]
    for variable, folder in zip(("HOME", "TMPDIR"), elsewhere, strict=True):
        folder.mkdir()
        monkeypatch.setenv(variable, str(folder))
    for variable in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    gigachat = Gigachat(tmp_path / "data")
    picture = tmp_path / "scores.svg"
    told = gigachat.output("eval", FOLDER, "--collection", "shop", "--plot", picture, "--suggest-threshold")
    drawn = picture.read_text()
    assert drawn.startswith("<?xml")
    for text in ("shop: score of the best passage", "answerable (2)", "unanswerable (1)", "present threshold 0.78"):
        assert f">{text}<" in drawn
    assert "shop: 2 answerable and 1 unanswerable questions are too few to suggest a threshold" in told
    assert [list(folder.iterdir()) for folder in elsewhere] == [[], []], "the picture is all that is written"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--plot", "picture.pdf"), "--plot writes .svg or .png"),
        (("--plot", "picture.png", "--measure", "answers"), "need retrieval scores"),
        (("--chatbot", "Shop", "--match-count", "3"), "which is asked as it is"),
    ],
)
def test_what_cannot_be_done_together_is_told_before_anything_is_asked(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    ended = Gigachat(tmp_path / "data").run("eval", FOLDER, *arguments)
    assert (ended.returncode, told in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("q.csv", b"", "line 1: no column is named question"),
        ("q.csv", b"question,anwser\nWhy?,x\n", "line 1: the column 'anwser' is unknown"),
        ("q.csv", b"question,question\nWhy?,x\n", "line 1: the column 'question' appears twice"),
        ("q.csv", b"question,answer\n\nWhy?,\n", "line 3: name an answer or a document"),
        ("q.csv", b"question,answer\n,x\n", "line 2: the question is empty"),
        ("q.csv", b"question,answer\nWhy, really?,x\n", "line 2: more cells than the heading"),
        ("q.csv", b"question,answerable\nWhy?,maybe\n", "line 2: answerable is yes or no, or left empty, not 'maybe'"),
        ("q.csv", b'question,answer\nWhy?,"x\n', "line 2: unexpected end of data"),
        ("q.csv", b"question,answer\nWhy?,\xfc\n", "line 2: is not UTF-8; save it as CSV UTF-8"),
        ("q.csv", b"question,answer,id\nWhy?,x,1\nHow?,y,1\n", "line 3: another question has the id '1' too"),
        ("q.csv", b"question,answer\n", "holds no question"),
        ("q.jsonl", b'{"question": "Why?", "answer": "x"}\n{"question": 1}\n', "line 2: Expected `str`"),
        ("q.jsonl", b'{"question": "Why?"}\n', "line 1: name an answer or a document"),
    ],
)
def test_a_mistake_in_a_set_of_questions_is_told_with_its_line(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SetupError) as raised:
        question_sets.read(path)
    assert told in str(raised.value)
    assert str(raised.value).startswith(str(path))


def test_questions_without_documents_need_a_chatbot(tmp_path: Path) -> None:
    ended = Gigachat(tmp_path / "data").run("eval", shop_table(tmp_path))
    assert (ended.returncode, "name a --chatbot" in ended.stderr) == (1, True)


def test_json_lines_need_little_more_than_the_question(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "A?", "answer": "a", "document": "d"}\n{"question": "B?", "answerable": false, "id": 7}\n')
    first, second = question_sets.read(path).questions
    assert (first.id, first.collection, first.answerable, first.kind) == ("1", "mine", True, "answerable")
    assert (first.answers, first.document_names) == (("a",), ("d",))
    assert (second.id, second.answerable, second.kind) == ("7", False, "unanswerable")


def test_the_template_of_the_guide_is_understood(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "evaluate.md").read_text()
    (template,) = re.findall(r"```csv\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "questions.csv").write_text(template)
    assert [asked.answerable for asked in question_sets.read(tmp_path).questions] == [True, True, False]


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", " =1", "\n=1", "＝1"])
def test_a_formula_is_made_a_text(text: str) -> None:
    assert evaluation_report.safe_cell(text) == "'" + text


def scored(answerable: Sequence[float], unanswerable: Sequence[float]) -> list[ScoredQuestion]:
    kinds = [*((True, score) for score in answerable), *((False, score) for score in unanswerable)]
    return [ScoredQuestion(str(place), is_answerable, score) for place, (is_answerable, score) in enumerate(kinds)]


def test_a_suggested_threshold_is_the_one_that_tells_the_kinds_apart() -> None:
    questions = scored([0.6 + place / 100 for place in range(30)], [0.1 + place / 100 for place in range(30)])
    found = thresholds.suggest(questions, present=0.78)
    assert found.present == thresholds.Rates(0.78, 0.6, 1.0)
    assert found.suggested == thresholds.Rates(0.5, 0.0, 1.0)  # the middle of .40 to .60
    assert found.checked is not None
    assert (found.checked.false_refusals, found.checked.right_refusals, found.is_better) == (0.0, 1.0, True)
    assert thresholds.suggest(questions[::-1], present=0.78) == found
    assert not thresholds.suggest(questions, present=0.5).is_better


def test_a_threshold_is_not_suggested_for_chance() -> None:
    """Where the scores say nothing, the best threshold of these very questions looks better than it is."""
    chance = random.Random(5)
    questions = scored([chance.random() for _ in range(40)], [chance.random() for _ in range(40)])
    found = thresholds.suggest(questions, present=0.0)
    assert found.suggested is not None and found.checked is not None
    assert found.suggested.balanced_accuracy > 0.55
    assert found.checked.balanced_accuracy < found.suggested.balanced_accuracy
    assert not found.is_better


def test_too_few_questions_of_a_kind_suggest_nothing() -> None:
    few = thresholds.suggest(scored([0.9] * 50, [0.1] * 19), present=0.78)
    assert (few.suggested, few.checked, few.unanswerable) == (None, None, 19)
    assert thresholds.suggest(scored([0.9] * 50, []), present=0.78).present is None


def test_the_score_that_decides_is_of_the_passages_a_reply_is_made_from() -> None:
    retrieved = (RetrievedPassage("a", "", 0.2), RetrievedPassage("b", "", 0.4), RetrievedPassage("c", "", 0.9))
    assert measures.top_score(Result(id="q", retrieved=retrieved), 2) == 0.4
    assert measures.top_score(Result(id="q"), 2) == 0.0


def test_percentiles_are_values_that_were_measured() -> None:
    assert [measures.percentile([4, 1, 3, 2], percent) for percent in (50, 95, 0)] == [2, 4, 1]


def test_where_no_document_is_known_retrieval_is_not_judged() -> None:
    scores = measures.score([question(answers=["x"])], {"q": Result(id="q", answer="x", retrieved=passages("a"))})["c"]
    assert ("recall@5" in scores, scores["answer_contains"]) == (False, 1.0)


def question(**fields: Any) -> Question:
    defaults = {"id": "q", "collection": "c", "question": "?", "answerable": True, "kind": "single"}
    return msgspec.convert({**defaults, **fields}, Question)


def passages(*names: str) -> tuple[RetrievedPassage, ...]:
    return tuple(RetrievedPassage(name, "text", 0.9 - place / 10) for place, name in enumerate(names))


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
    assert measures.ndcg(relevant, wanted, cutoff=5) == pytest.approx(gain)


def test_passages_collapse_to_documents_where_documents_are_judged() -> None:
    asked = question(document_names=["b", "z"])
    assert measures.relevance(asked, passages("a", "a", "b", "a")) == ([False, True], 2)


def test_where_the_gold_sentence_is_known_the_passage_must_hold_it() -> None:
    asked = question(document_name="a", answers=["nine euros"], evidence=["Express parcels cost nine euros."])
    wrong_document = RetrievedPassage("b", "Express parcels cost nine euros.", 1)
    wrong_sentence = RetrievedPassage("a", "He paid nine euros for lunch at the station.", 1)
    right = RetrievedPassage("a", "As of May, express parcels cost nine euros. Others are free.", 1)
    assert measures.relevance(asked, (wrong_document, wrong_sentence, right)) == ([False, False, True], 1)


def test_auroc_counts_ties_half() -> None:
    assert measures.auroc([0.9, 0.5], [0.5, 0.1]) == pytest.approx(3.5 / 4)
    assert measures.auroc([], [0.5]) is None


def test_rouge_l_is_of_the_longest_common_subsequence() -> None:
    assert compared_texts.rouge_l("the cat sat on the mat", "the cat on a mat") == pytest.approx(8 / 11)
    assert compared_texts.rouge_l("", "words") == 0.0


def test_abstaining_on_an_answerable_question_is_a_wrong_answer_and_a_missing_result_no_abstention() -> None:
    questions = [question(id="1", answers=["x"], document_name="a"), question(id="2", answers=["x"], document_name="a")]
    results = {"1": Result(id="1", answer="x", abstained=True)}
    scores = measures.score(questions, results)["c"]
    assert (scores["answer_contains"], scores["false_abstain_rate"], scores["missing"]) == (0.0, 0.5, 1)


def test_a_run_of_retrieval_alone_abstains_below_the_threshold() -> None:
    questions = [question(id="1", answerable=False, kind="out_of_corpus"), question(id="2", document_name="a")]
    results = {"1": Result(id="1", retrieved=passages("a")[:0]), "2": Result(id="2", retrieved=passages("a"))}
    scores = measures.score(questions, results, threshold=0.78)["c"]
    assert (scores["abstain_recall"], scores["abstain_precision"], "answer_f1" in scores) == (1.0, 1.0, False)


def test_spans_that_do_not_hold_are_counted_whatever_was_asked() -> None:
    questions = [question(id="1", document_name="a"), question(id="2", answerable=False), question(id="3", document_name="a")]
    results = {
        "1": Result(id="1", answer="x", citations=("a",), cited_spans=(True, True)),
        "2": Result(id="2", answer="x", citations=("a",), cited_spans=(True, False)),
        "3": Result(id="3", answer="x", citations=("a",)),
    }
    scores = measures.score(questions, results)["c"]
    assert (scores["citations_hold"], scores["cites_a_span"]) == (0.75, 0.6667)


def test_underspecified_questions_are_reported_apart() -> None:
    scores = measures.score([question(kind="underspecified")], {"q": Result(id="q", answer="", abstained=True)})["c"]
    assert (scores["abstain_underspecified"], scores["abstain_precision"], scores["false_abstain_rate"]) == (1.0, None, None)


def test_the_results_file_has_no_answer_where_none_was_asked_for() -> None:
    line = json.loads(msgspec.json.encode(Result(id="q", retrieved=passages("a"))))
    assert line.keys() == {"id", "retrieved"}
