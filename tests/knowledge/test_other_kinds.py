"""Files of further kinds: which kind a file is, and what mail, data, subtitles, RTF and Markdown tables say."""

# ruff: noqa: E501 - files, a line each

from __future__ import annotations

import base64
import contextlib
import json
import time
from email.message import EmailMessage

import pytest
from tests import formats

from gigachat_server.errors import FileUnknown
from gigachat_server.knowledge.extraction.child import read
from gigachat_server.knowledge.extraction.extracted import FileText

SENTENCE = "Parcels come back within 30 days."


def text_of(data: bytes | str, name: str = "file") -> FileText:
    content = data.encode() if isinstance(data, str) else data
    return read(content, name=name, media_type=None, most_characters=1_000_000)


def codes(extracted: FileText) -> dict[str, str]:
    return {warning.code: warning.where for warning in extracted.warnings}


@pytest.mark.parametrize(
    "start",
    [
        "%PDF-1.7 is how a PDF begins.",
        "ID3 tags are in music.",
        "RIFF and WAVE",
        "Rar! he said.",
        "BZh is compressed",
        "GIF8 pictures",
        "OggS too",
        "BM is a car?",
        "PK is a name, too.",
    ],
)
@pytest.mark.parametrize("name", ["a.md", "a.txt", "a"])
def test_a_text_that_begins_like_another_kind_is_a_text(start: str, name: str) -> None:
    assert text_of(f"{start}\n\n{SENTENCE}\n", name).text == f"{start}\n\n{SENTENCE}\n"
    within = f"# Signatures\n\nA file is told by `{start}`.\n"
    assert text_of(within, name).text == within


@pytest.mark.parametrize(
    "data", [b"ID3\x03\0\0\0" + bytes(50), b"RIFF\x24\0\0\0WAVEfmt ", b"Rar!\x1a\x07\0" + bytes(9), b"\x1f\x8b\x08" + bytes(9)]
)
def test_what_is_another_kind_is_still_refused(data: bytes) -> None:
    with pytest.raises(FileUnknown):
        text_of(data, "a.txt")


def test_something_may_stand_before_a_pdf() -> None:
    assert SENTENCE in text_of(b"HTTP/1.1 200 OK\r\n\r\n" + formats.pdf([[SENTENCE]])).text


def test_a_table_in_markdown_names_its_columns_in_each_row() -> None:
    text = "# Fees\n\n| Country | Fee |\n|:--|--:|\n| Norway | 9 |\n| Chile \\| Peru | `12` |\n\nEnd | of it\n\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n```\n"
    extracted = text_of(text, "a.md")
    assert (
        extracted.text
        == "# Fees\n\nCountry: Norway | Fee: 9\nCountry: Chile | Peru | Fee: `12`\n\nEnd | of it\n\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n```\n"
    )
    for same in ("a | b\n---\n", "| a | b |\n|---|---|\n", "a | b\n- | - | -\n1 | 2\n", "x\n| - |\n"):
        assert text_of(same, "a.md").text == same
    began = time.process_time()
    assert text_of("|" * 200_000 + "\n" + "-|" * 100_000 + "\n" + "|\n" * 1_000, "a.md").text
    assert time.process_time() - began < 5


# --- mail ---


def mail(*, html: str = "", attachments: tuple[tuple[str, bytes, str], ...] = ()) -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["Date"] = "Rückgabe", "Ann <ann@example.com>", "Mon, 06 May 2024 10:00:00 +0000"
    message["To"], message["Message-ID"] = "help@example.com", "<1@example.com>"
    message.set_content(f"Guten Tag, {SENTENCE}", cte="base64")
    if html:
        message.add_alternative(html, subtype="html")
    for name, data, kind in attachments:
        message.add_attachment(data, maintype=kind.split("/")[0], subtype=kind.split("/")[1], filename=name)
    return message.as_bytes()


@pytest.mark.parametrize("name", ["a.eml", "a", "a.bin"])
def test_mail_is_what_it_says(name: str) -> None:
    extracted = text_of(mail(), name)
    assert extracted.title == "Rückgabe"
    assert extracted.text == (
        "# Rückgabe\n\nFrom: Ann <ann@example.com>\nTo: help@example.com\nDate: Mon, 06 May 2024 10:00:00 +0000\n\n"
        f"Guten Tag, {SENTENCE}"
    )


def test_what_is_attached_to_mail_is_read_or_named() -> None:
    attachments = (
        ("fees.csv", b"Country,Fee\nNorway,9\n", "text/csv"),
        ("logo.png", b"\x89PNG\r\n", "image/png"),
        ("inner.eml", mail(), "application/octet-stream"),
    )
    extracted = text_of(mail(html=f"<p>Hello, <b>{SENTENCE}</b></p>", attachments=attachments))
    assert f"Hello, {SENTENCE}\n\n## fees.csv\n\nCountry: Norway | Fee: 9\n\n## inner.eml\n\n## Rückgabe" in extracted.text
    assert "Guten Tag" not in extracted.text.partition("## inner")[0]
    assert codes(extracted) == {"attachments_skipped": "logo.png"}


def test_a_saved_page_is_a_page() -> None:
    page = base64.encodebytes(formats.page(f"<main><h1>Returns</h1><p>{SENTENCE}</p></main>")).decode()
    data = (
        "From: <Saved by a browser>\nSnapshot-Content-Location: https://example.com/\nSubject: Returns\nMIME-Version: 1.0\n"
        'Content-Type: multipart/related; type="text/html"; boundary="xx"\n\n--xx\nContent-Type: text/html\nContent-Transfer-Encoding: '
        f"base64\nContent-Location: https://example.com/\n\n{page}\n--xx\nContent-Type: image/png\nContent-Location: cid:1\n\nx\n--xx--\n"
    )
    for name in ("a.mht", "a"):
        assert text_of(data, name).text == f"# Returns\n\n{SENTENCE}"


def test_mail_in_mail_in_mail_ends_somewhere() -> None:
    data = mail()
    for _ in range(6):
        data = mail(attachments=(("inner.eml", data, "application/octet-stream"),))
    assert "attachments_skipped" in codes(text_of(data))


# --- data ---


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.json", json.dumps([{"country": "Norway", "fee": 9}, {"country": "Chile", "fee": 12.5, "free": True}]), "country: Norway | fee: 9\ncountry: Chile | fee: 12.5 | free: yes"),
        ("a.json", json.dumps({"shop": {"open": ["Mon", "Tue"], "phone": None}, "é": "ü"}), "shop:\n  open:\n    - Mon\n    - Tue\n  phone: \né: ü"),
        ("a.json", json.dumps({"fees": [{"c": "Norway", "f": 9}, {"c": "Chile", "f": 1}], "x": 1}), "fees:\n\nc: Norway | f: 9\nc: Chile | f: 1\n\nx: 1"),
        ("a.jsonl", '{"q": "How long?", "a": "30 days"}\n{"q": "How much?", "a": "9"}\n', "q: How long? | a: 30 days\nq: How much? | a: 9"),
        ("a.json", '"just this"', "just this"),
        ("a.xml", f"<?xml version='1.0'?><faq><item id='1'><q>How long?</q><a>{SENTENCE} <b>Really</b>.</a></item></faq>", f"faq:\n  item (id 1)\n    q: How long?\n    a: {SENTENCE} Really."),
        ("a", "<?xml version='1.0' encoding='windows-1252'?><a>x</a>", "a: x"),
        ("a.vtt", "WEBVTT\n\n1\n00:00:01.000 --> 00:00:04.000 align:start\n<v Ann>Parcels <i>come</i> back\n\n00:04.000 --> 00:05.000\nwithin 30 days.\n", "Ann: Parcels come back within 30 days."),
        ("a", "1\r\n00:00:01,000 --> 00:00:04,000\r\nParcels come back\r\n\r\n2\r\n00:00:04,000 --> 00:00:05,000\r\nwithin 30 days.\r\n", SENTENCE),
        ("a.ipynb", json.dumps({"nbformat": 4, "cells": [{"cell_type": "markdown", "source": ["# Returns\n", "\n", "In 30 days."]}, {"cell_type": "code", "source": "print(1)", "outputs": [{"text": ["1\n"]}]}]}), "# Returns\n\nIn 30 days.\n\n```\nprint(1)\n```\n\n1"),
        ("a.yaml", "shop:\n  open: Mon\n", "shop:\n  open: Mon\n"),
    ],
)  # fmt: skip
def test_data_is_read_as_text(name: str, data: str, text: str) -> None:
    assert text_of(data, name).text == text


@pytest.mark.parametrize(("name", "where"), [("a.json", "JSON"), ("a.xml", "XML")])
def test_what_is_not_well_formed_is_read_as_it_is(name: str, where: str) -> None:
    extracted = text_of('{"a": "Parcels come back within 30 days."', name)
    assert (extracted.text, codes(extracted)) == ('{"a": "Parcels come back within 30 days."', {"not_as_declared": where})


def test_deep_data_ends() -> None:
    for data, name in (
        ("[" * 100_000 + "]" * 100_000, "a.json"),
        ('{"a":' * 900 + "1" + "}" * 900, "a.json"),
        ("<a>" * 50_000 + "x" + "</a>" * 50_000, "a.xml"),
    ):
        began = time.process_time()
        with contextlib.suppress(RecursionError):  # which the child says to be too complex
            text_of(data, name)
        assert time.process_time() - began < 10


# --- RTF ---


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"{\fonttbl{\f0 Arial;}{\f1\fcharset204 Times;}}\f0 Returns\par 30 days\par", "Returns\n\n30 days"),
        (r"{\fonttbl{\f1\fcharset204 Times;}}\f1 \'cf\'ee\'f7\'f2\'e0\par", "Почта"),
        (r"Gr\'f6\'dfe \u8211? f\u252\'fcr 9\~\u8364?\par", "Größe – für 9 €"),
        (r"\u-10179?\u-8704? ok\par", "😀 ok"),
        (r"It costs 9{\super 1} euros, not {\strike 19} or {\v hidden}10\par", "It costs 9¹ euros, not ~~19~~ or 10"),
        (r"See{\super\chftn}{\footnote\pard {\super\chftn} As of May.} below\par", "See¹ below\n\n¹ As of May."),
        (r"{\*\generator X;}{\info{\title T}}\{braces\} and \\ slash\par", "{braces} and \\ slash"),
        (r"{\field{\*\fldinst HYPERLINK x}{\fldrslt here}} it is\par", "here it is"),
        (
            r"\trowd\trhdr\intbl Country\cell Fee\cell\row\trowd\intbl Norway\cell 9\cell\row\pard End\par",
            "Country: Norway | Fee: 9\n\nEnd",
        ),
        (r"\outlinelevel0 Returns\par\pard Text\bin4 \}{x more\par", "# Returns\n\nText more"),
    ],
)
def test_rtf(body: str, text: str) -> None:
    assert text_of("{\\rtf1\\ansi\\ansicpg1252 " + body + "}").text == text


def test_rtf_that_breaks_off_or_nests_is_no_trouble() -> None:
    assert codes(text_of("{\\rtf1 {\\b Parcels come back")) == {"truncated": ""}
    began = time.process_time()
    assert text_of("{\\rtf1 " + "{\\b x}" * 100_000 + "}").text == "x" * 100_000
    assert time.process_time() - began < 5
