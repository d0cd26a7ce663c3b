"""`gigachat eval --fit`, and the server that is told to use what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cli.commands import Gigachat

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]  # a client of the API; test_keys, test_serve and test_commands open both

COLLECTIONS = ("north", "south", "west")


def lines(path: Path, objects: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in objects))


def folder(path: Path) -> Path:
    """Three collections of made-up words: prompts that share some with a document, and others that share none."""
    chance = Random(1)
    documents: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    for collection in COLLECTIONS:
        for number in range(9):
            words = ["".join(chance.choices("abcdefghiklmnoprstu", k=7)) for _ in range(10)]
            sentence = " ".join(words).capitalize() + "."
            name = f"{collection}-{number}"
            documents.append({"collection": collection, "name": name, "content": sentence})
            asked = {"collection": collection, "question": " ".join(chance.sample(words, 4)), "evidence": [sentence]}
            questions.append(
                asked | {"id": name, "kind": "known", "answerable": True, "document_name": name, "answers": [words[0]]}
            )
            strange = " ".join("".join(chance.choices("vwxyz", k=7)) for _ in range(4))
            questions.append(
                {"id": f"{name} not", "collection": collection, "question": strange, "kind": "strange", "answerable": False}
            )
    path.mkdir()
    lines(path / "documents.jsonl", documents)
    lines(path / "questions.jsonl", questions)
    return path


def test_a_scale_is_fitted_over_the_api_and_a_server_uses_it(tmp_path: Path) -> None:
    gigachat, scale, plot = Gigachat(tmp_path / "data"), tmp_path / "scale.json", tmp_path / "reliability.svg"
    shop = folder(tmp_path / "shop")
    fitted = gigachat.json("eval", shop, "--fit", scale, "--plot", plot, "--refuse", "strange=0.9")
    rates = fitted["figures"]["rates"]["shop"]
    assert rates["false refusals"]["share"] < 0.1
    assert rates["right refusals, strange"]["share"] >= 0.9
    assert "right refusals, removed" in rates
    written = json.loads(scale.read_text())
    assert (written["embedder"], written["fitted_on"]["prompts"]) == ("hashing-384", 54)
    assert written["fitted_on"]["collections"] == list(COLLECTIONS)
    assert "relevance" in plot.read_text()

    told = Gigachat(tmp_path / "data", relevance=str(scale))
    found = told.json("documents", "find", "nothing of the kind", "--chatbot", "eval: north", "--limit", "1")
    assert found["passages"][0]["parts"]["bias"] == pytest.approx(written["weights"]["bias"])
    generating = told.json(
        "documents", "find", "nothing of the kind", "--chatbot", "eval: north", "--limit", "1", "--for", "generating"
    )
    more = generating["passages"][0]["parts"]["bias"] - found["passages"][0]["parts"]["bias"]
    assert more == pytest.approx(written["weights"]["leniency"])


def test_the_table_names_its_columns_in_a_pipe_and_says_how_to_use_the_scale(tmp_path: Path) -> None:
    scale = tmp_path / "scale.json"
    ended = Gigachat(tmp_path / "data").run("eval", folder(tmp_path / "shop"), "--fit", scale)
    assert ended.returncode == 0, ended.stderr
    heading, first, *_ = ended.stdout.splitlines()
    assert heading.split("\t") == ["of prompts that the scale did not see", "shop"]
    assert first.startswith("false refusals\t0.")
    assert "RELEVANCE\tPROMPTS\tMEAN\tANSWERABLE" in ended.stdout
    assert f"GIGACHAT_RELEVANCE={scale}" in ended.stderr


def test_scores_are_those_that_a_threshold_is_compared_with_whatever_leniency_makes_of_them(tmp_path: Path) -> None:
    shop, scale = folder(tmp_path / "shop"), tmp_path / "scale.json"
    gigachat = Gigachat(tmp_path / "data")
    gigachat.output("eval", shop, "--fit", scale, "--refuse", "strange=0.9")
    written = json.loads(scale.read_text())
    scores = {}
    for leniency in (0.0, 3.0):
        scale.write_text(json.dumps(written | {"weights": written["weights"] | {"leniency": leniency}}))
        out = tmp_path / f"{leniency}.jsonl"
        told = Gigachat(tmp_path / "data", relevance=str(scale))
        told.output("eval", shop, "--measure", "retrieval", "--out", out, "--limit", "6")
        results = [json.loads(line) for line in out.read_text().splitlines()]
        scores[leniency] = [[passage["score"] for passage in result["retrieved"]] for result in results]
    assert scores[0.0] == [pytest.approx(each, abs=2e-6) for each in scores[3.0]]


WEIGHTS = dict.fromkeys(("cosine", "coverage", "foreign", "prior", "margin", "size", "bias", "leniency"), 1.0)
FITTED_ON = {"prompts": 100, "collections": ["a"], "fitted_at": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot read"),
        ("[]", "is not a file from `gigachat eval --fit`"),
        ("\x00", "is not a file from `gigachat eval --fit`"),
        (json.dumps({"embedder": "hashing-384", "weights": {"cosine": 1}, "fitted_on": FITTED_ON}), "missing required field"),
        (
            json.dumps({"embedder": "hashing-384", "weights": {**WEIGHTS, "cosign": 1}, "fitted_on": FITTED_ON}),
            "unknown field `cosign`",
        ),
        (
            json.dumps({"embedder": "another", "weights": WEIGHTS, "fitted_on": FITTED_ON}),
            "was fitted for the embedder another, and this server uses hashing-384",
        ),
    ],
)
def test_a_server_does_not_start_with_a_scale_that_is_none_or_another_embedders(
    tmp_path: Path, content: str | None, told: str
) -> None:
    scale = tmp_path / "scale.json"
    if content is not None:
        scale.write_text(content)
    ended = Gigachat(tmp_path / "data", relevance=str(scale)).run("serve", "--port", "0")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1, "one line"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--refuse", "strange=0.9"), "go with --fit"),
        (("--fit", "scale.json", "--refuse", "strange"), "is not NAME=NUMBER with a number from 0 to 1"),
        (("--fit", "scale.json", "--weight", "a=-1"), "is not NAME=NUMBER"),
        (("--fit", "scale.json", "--chatbot", "Shop"), "--fit asks for no replies"),
    ],
)
def test_what_does_not_go_with_a_fit_is_told(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    shop = folder(tmp_path / "shop")
    ended = Gigachat(tmp_path / "data").run("eval", shop, *arguments)
    assert (ended.returncode, told in ended.stderr) == (2, True), ended.stderr


def test_folders_are_measured_together_unless_they_share_a_collection(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "first"), folder(tmp_path / "second")
    gigachat = Gigachat(tmp_path / "data")
    clashing = gigachat.run("eval", first, second, "--fit", tmp_path / "scale.json")
    assert (clashing.returncode, "the collection 'north'" in clashing.stderr) == (1, True)
    for name in ("documents", "questions"):
        objects = [json.loads(line) for line in (second / f"{name}.jsonl").read_text().splitlines()]
        renamed = [
            {**each, "collection": each["collection"] + "2"} | ({"id": each["id"] + "2"} if "id" in each else {})
            for each in objects
        ]
        lines(second / f"{name}.jsonl", renamed)
    scores = gigachat.json("eval", first, second, "--by", "all", "--measure", "retrieval", "--limit", "4")["all"]
    assert scores["questions"] == 24
    left_out = gigachat.json("eval", first, second, "--fit", tmp_path / "scale.json", "--weight", "second=0")
    assert left_out["file"]["fitted_on"]["collections"] == list(COLLECTIONS)
