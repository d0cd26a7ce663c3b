"""`gigachat documents` and `gigachat chatbots`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Gigachat

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]  # a client of the API; test_keys, test_serve and test_commands open both


@pytest.fixture
def gigachat(tmp_path: Path) -> Iterator[Gigachat]:
    """The commands beside a running server, which is quicker."""
    gigachat = Gigachat(tmp_path / "data", max_document_characters="100")
    with gigachat.serving():
        yield gigachat


def site(folder: Path) -> Path:
    """A folder as people have them."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a.md").write_text("Parcels are sent on Monday.")
    (folder / "deep" / "er" / "ü b.TXT").write_text("\ufeffRefunds take a week.", encoding="utf-8")
    (folder / "deep" / "logo.png").write_bytes(b"\x89PNG")
    (folder / ".hidden" / "secret.txt").write_text("hidden")
    (folder / "empty.txt").write_text(" \n")
    return folder


def test_push_takes_folders_and_files_and_is_idempotent(gigachat: Gigachat, tmp_path: Path) -> None:
    gigachat.output("chatbots", "create", "shop")
    folder = site(tmp_path / "site")
    for _ in range(2):
        ended = gigachat.run("documents", "push", folder, folder / "a.md", "--chatbot", "shop", "--name-prefix", "x/")
        assert ended.returncode == 0, ended.stderr
        assert "Skipped 1 files of other formats (.png)." in ended.stderr
        assert "3 documents pushed (3 chunks), 1 empty files skipped." in ended.stderr
    listed = gigachat.json("documents", "list", "--chatbot", "shop")
    assert {document["name"] for document in listed} == {"x/a.md", "x/deep/er/ü b.TXT"}
    assert {document["characters"] for document in listed} == {27, 20}  # without the byte order mark


def test_what_was_not_read_whole_is_named(gigachat: Gigachat, tmp_path: Path) -> None:
    gigachat.output("chatbots", "create", "shop")
    (tmp_path / "a.txt").write_bytes("Grüße aus Köln".encode("cp1252"))
    (tmp_path / "b.txt").write_text("All of it.")
    ended = gigachat.run("documents", "push", tmp_path / "a.txt", tmp_path / "b.txt", "--chatbot", "shop")
    assert ended.returncode == 0, ended.stderr
    assert "2 documents pushed (2 chunks), 1 with warnings." in ended.stderr
    assert "a.txt: not fully read: encoding_guessed (1: cp1252)" in ended.stderr
    lines = gigachat.output("documents", "list", "--chatbot", "shop").splitlines()
    assert [line.split("\t")[-1] for line in lines] in (
        ["", "encoding_guessed (1: cp1252)"],
        ["encoding_guessed (1: cp1252)", ""],
    )
    assert [each["name"] for each in gigachat.json("documents", "list", "--warned", "--chatbot", "shop")] == ["a.txt"]


def test_what_cannot_be_pushed_is_named_and_the_rest_goes_on(gigachat: Gigachat, tmp_path: Path) -> None:
    gigachat.output("chatbots", "create", "shop")
    folder = site(tmp_path / "site")
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    (folder / "long.txt").write_text("word " * 30)  # longer than a document may be
    (folder / "sound.md").write_bytes(b"ID3" + bytes(50))
    ended = gigachat.run("documents", "push", folder, folder / "deep" / "logo.png", "--chatbot", "shop")
    assert ended.returncode == 1
    failed = {Path(line.split("\t")[0]).name: line.split("\t")[1:] for line in ended.stdout.splitlines()}
    assert {name: code for name, (code, _) in failed.items()} == {
        "long.txt": "text_too_long", "sound.md": "file_unknown", "logo.png": "file_unknown",
    }  # fmt: skip
    assert all(reason.endswith(".") for _, reason in failed.values())
    assert "3 documents pushed (3 chunks), 1 empty files skipped, 1 with warnings." in ended.stderr
    assert "3 of 7 files were not pushed." in ended.stderr
    assert "Traceback" not in ended.stderr
    listed = gigachat.json("documents", "list", "--chatbot", "shop")
    assert {document["name"] for document in listed if document["state"] == "failed"} == set(failed)
    (line,) = [line for line in gigachat.output("documents", "list", "--chatbot", "shop").splitlines() if "long.txt" in line]
    assert line.split("\t")[2:4] == ["failed", "0 %"]
    assert line.endswith(failed["long.txt"][1] + "\t")


def test_patterns_choose_what_is_pushed(gigachat: Gigachat, tmp_path: Path) -> None:
    gigachat.output("chatbots", "create", "shop")
    folder = site(tmp_path / "site")
    (folder / "deep" / "page.html").write_bytes(b"<h1>Page</h1>")
    (folder / "deep" / "notes.text").write_text("Notes.")
    for arguments, names in (
        (["--include", "*.md"], {"a.md"}),
        (["--include", "deep/*", "--exclude", "*.png", "--exclude", "deep/er/*"], {"deep/page.html", "deep/notes.text"}),
    ):
        before = {document["name"] for document in gigachat.json("documents", "list", "--chatbot", "shop")}
        ended = gigachat.run("documents", "push", folder, "--chatbot", "shop", *arguments)
        assert ended.returncode == 0, ended.stderr
        after = {document["name"] for document in gigachat.json("documents", "list", "--chatbot", "shop")}
        assert after - before == names


def test_two_files_of_one_name_are_refused(gigachat: Gigachat, tmp_path: Path) -> None:
    gigachat.output("chatbots", "create", "shop")
    first, second = site(tmp_path / "first"), site(tmp_path / "second")
    ended = gigachat.run("documents", "push", first, second, "--chatbot", "shop")
    assert (ended.returncode, "would both be the document 'a.md'" in ended.stderr) == (1, True)
    assert gigachat.json("documents", "list", "--chatbot", "shop") == []


def test_delete_takes_names_and_ids_or_nothing(gigachat: Gigachat, tmp_path: Path) -> None:
    gigachat.output("chatbots", "create", "shop")
    gigachat.output("documents", "push", site(tmp_path / "site"), "--chatbot", "shop")
    ended = gigachat.run("documents", "delete", "a.md", "missing", "--chatbot", "shop")
    assert (ended.returncode, "'missing'" in ended.stderr) == (1, True)
    listed = gigachat.json("documents", "list", "--chatbot", "shop")
    assert len(listed) == 2
    gigachat.output("documents", "delete", "a.md", listed[0]["id"], "--chatbot", "shop")
    left = {document["id"] for document in listed[1:] if document["name"] != "a.md"}
    assert {document["id"] for document in gigachat.json("documents", "list", "--chatbot", "shop")} == left


def test_chatbots_are_made_shown_and_deleted_by_name_or_id(gigachat: Gigachat) -> None:
    chatbot_id = gigachat.output("chatbots", "create", "shop", "--persona", "Be brief.").strip()
    shown = gigachat.output("chatbots", "show", "shop")
    assert chatbot_id in shown
    assert "Be brief." in shown
    assert [chatbot["id"] for chatbot in gigachat.json("chatbots", "list")] == [chatbot_id]
    unsure = gigachat.run("chatbots", "delete", "shop")
    assert (unsure.returncode, "--yes" in unsure.stderr) == (2, True)
    gigachat.output("chatbots", "delete", chatbot_id, "--yes")
    missing = gigachat.run("chatbots", "show", "shop")
    assert (missing.returncode, missing.stderr) == (1, "gigachat: There is no chatbot 'shop' (there are none yet).\n")


def test_lists_follow_every_page(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(101):
        (folder / f"{number}.txt").write_text(f"Page {number}.")
    gigachat = Gigachat(tmp_path / "data")
    gigachat.output("chatbots", "create", "shop")
    gigachat.output("documents", "push", folder, "--chatbot", "shop")
    assert len(gigachat.json("documents", "list", "--chatbot", "shop")) == 101


def test_names_cannot_steer_the_terminal(gigachat: Gigachat) -> None:
    gigachat.output("chatbots", "create", "red\x1b[31m bot")
    assert "\x1b" not in gigachat.output("chatbots", "list")


def test_find_shows_what_a_prompt_would_find_and_why(gigachat: Gigachat, tmp_path: Path) -> None:
    gigachat.output("chatbots", "create", "shop")
    (tmp_path / "a.md").write_text("Parcels are sent on Monday.")
    (tmp_path / "b.md").write_text("Refunds take a week.")
    gigachat.output("documents", "push", tmp_path / "a.md", tmp_path / "b.md", "--chatbot", "shop")
    ended = gigachat.run("documents", "find", "When are parcels sent on Monday?", "--chatbot", "shop")
    assert ended.returncode == 0, ended.stderr
    first, second = (line.split("\t") for line in ended.stdout.splitlines())
    assert (first[1], first[4], first[-2:]) == ("yes", "1.000", ["a.md-0", "Parcels are sent on Monday."])
    assert (second[1], second[-2]) == ("no", "b.md-0")
    assert "2 chunks searched for a model that quotes. Used are the first 3, if their score is 0.78." in ended.stderr
    assert re.search(
        r"b.md-0: cosine and bias -\d.*make -\d.\d\d, which is a score of 0.\d+; it lacks \d+.\d\d to 0.78.", ended.stderr
    )
    assert "Stems and how rare each is: parcel 0.69" in ended.stderr
    found = gigachat.json("documents", "find", "When are parcels sent?", "--chatbot", "shop", "--limit", "1")
    assert [passage["name"] for passage in found["passages"]] == ["a.md-0"]
    assert "small talk" in gigachat.run("documents", "find", "Thank you!", "--chatbot", "shop").stderr
    unknown = gigachat.run("documents", "find", "Parcels?", "--chatbot", "shop", "--conversation", "c9")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
