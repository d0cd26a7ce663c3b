"""What is read out of PDFs, as programs write them: nothing is taken for a running head that is none, and nothing is lost."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence

import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from tests import formats

from gigachat_server.errors import FileWithoutText
from gigachat_server.knowledge.extraction.child import read
from gigachat_server.knowledge.extraction.extracted import FileText
from gigachat_server.knowledge.extraction.hyphens import Hyphens

STEP = 14


def text_of(data: bytes) -> FileText:
    return read(data, name="a.pdf", media_type=None, most_characters=100_000)


def pdf(*pages: Callable[[Canvas], None]) -> bytes:
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4)
    for page in pages:
        page(canvas)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def lines(*texts: str, left: float = 60, top: float = 700) -> Callable[[Canvas], None]:
    def draw(canvas: Canvas) -> None:
        for place, text in enumerate(texts):
            canvas.drawString(left, top - STEP * place, text)

    return draw


def table(rows: Sequence[Sequence[str]], *, lefts: Sequence[float] = (60, 220, 400)) -> Callable[[Canvas], None]:
    def draw(canvas: Canvas) -> None:
        for place, row in enumerate(rows):
            for left, text in zip(lefts, row, strict=False):
                if text:
                    canvas.drawString(left, 700 - STEP * place, text)

    return draw


def together(*drawn: Callable[[Canvas], None]) -> Callable[[Canvas], None]:
    def draw(canvas: Canvas) -> None:
        for each in drawn:
            each(canvas)

    return draw


# --- running heads ---


@pytest.mark.parametrize("make", [lambda page: pdf(*[lines(*each) for each in page]), formats.pdf])
def test_lines_that_differ_in_their_numbers_stay(make: Callable[[list[list[str]]], bytes]) -> None:
    pages = [
        [f"Model {n}000", f"Order number {n * 37}-1", "It works at all times of the day.", f"Weight {n} kg", f"Price {n}9.90 EUR"]
        for n in range(1, 7)
    ]
    assert text_of(make(pages)).text.split() == " ".join(line for page in pages for line in page).split()


def test_a_price_list_loses_nothing() -> None:
    pages = [[f"Screw {n}{place} costs {place}.{n} EUR" for place in range(1, 4)] for n in range(1, 6)]
    text = text_of(formats.pdf(pages)).text
    assert [line for page in pages for line in page] == text.split("\n\n")[0].split("\n") or all(
        line in text for page in pages for line in page
    )


@pytest.mark.parametrize("first", ["Step {n}", "Question {n}", "Chapter {n}", "Item {n} of the list"])
def test_headings_that_count_are_no_page_numbers(first: str) -> None:
    words = ("doors", "keys", "locks", "bolts")
    pages = [[first.format(n=n), f"What is told here is about {word}."] for n, word in enumerate(words, 1)]
    text = text_of(formats.pdf(pages)).text
    assert all(line in text for page in pages for line in page)


def test_the_same_page_time_and_again_is_still_there() -> None:
    assert text_of(formats.pdf([["Parcels ship on Monday."]] * 4)).text.count("Parcels ship on Monday.") == 4


@pytest.mark.parametrize(
    "foot", ["Page {n}", "Seite {n} von 9", "{n}", "- {n} -", "{n} / 9", "Handbook {n}", "ACME manual, p. {n}", "© ACME Ltd"]
)
@pytest.mark.parametrize("preface", [0, 4])
def test_running_heads_stay_out(foot: str, preface: int) -> None:
    def page(number: int) -> Callable[[Canvas], None]:
        words = " ".join(f"{word} number {number}" for word in ("alpha", "beta", "gamma"))
        body = lines(*[f"Line {place} of this tells of {words}." for place in range(20)])
        at_foot = lines(foot.format(n=number + preface), top=30)
        return together(lines("The ACME handbook", top=810), body, at_foot)

    text = text_of(pdf(*[page(number) for number in range(1, 10)])).text
    assert "The ACME handbook" not in text
    assert {line[:4] for line in text.split("\n") if line} == {"Line"}
    assert text.count("Line 7 of this") == 9


def test_left_and_right_pages_may_have_titles_of_their_own() -> None:
    def page(number: int) -> Callable[[Canvas], None]:
        head = lines("The ACME handbook" if number % 2 else "All about drills", top=810)
        return together(head, lines(*[f"Line {place} of text {number}, which is told once." for place in range(20)]))

    text = text_of(pdf(*[page(number) for number in range(8)])).text
    assert {line[:4] for line in text.split("\n") if line} == {"Line"}


def test_the_head_of_a_table_on_each_page_is_no_running_head() -> None:
    pages = [[("Model", "Order number", "Price"), *[(f"A{n}{i}", f"88-{n}{i}", f"{i}.90") for i in range(30)]] for n in range(4)]
    text = text_of(pdf(*[table(page) for page in pages])).text
    assert text.count("Model: A") == 120
    assert "Model: A312 | Order number: 88-312 | Price: 12.90" in text


# --- hyphens ---


def test_a_hyphen_at_the_end_of_a_line_stays_where_it_belongs_to_the_word() -> None:
    drawn = lines("The error E-", "1042 is well-", "known. In deliv-", "ery it has been seen. The Anglo-", "Saxon model has it.")
    assert " ".join(text_of(pdf(drawn)).text.split()) == (
        "The error E-1042 is well-known. In delivery it has been seen. The Anglo-Saxon model has it."
    )


@pytest.mark.parametrize(
    ("given", "words", "joined"),
    [
        (["a pass-", "word"], "password", "a password"),
        (["a user-", "friendly"], "user friendly", "a user-friendly"),
        (["the cost-", "benefit"], "cost-benefit", "the cost-benefit"),
        (["SKU 88-", "1 is"], "", "SKU 88-1 is"),
        (["Liefer-", "bedingungen"], "", "Lieferbedingungen"),
        (["Kunden-", "Service"], "", "Kunden-Service"),
        (["Rück\u00ad", "gabe"], "", "Rückgabe"),
        (["this -", "that"], "", "this - that"),
        (["1990-", "2000"], "", "1990-2000"),
        (["-", "x"], "", "- x"),
    ],
)
def test_what_decides_on_a_hyphen(given: list[str], words: str, joined: str) -> None:
    assert " ".join(Hyphens(words.split()).joined(given)) == joined


# --- columns and tables ---

LEFT = (
    "Every parcel can be sent back to",
    "us within thirty days, and letters",
    "can never be sent back at all by",
    "whoever has got one.",
)
RIGHT = (
    "Shipping to Norway takes four days",
    "while Chile takes two weeks, since",
    "customs offices there look into all",
    "parcels from abroad.",
)


@pytest.mark.parametrize("order", ["row by row", "column by column"])
def test_columns_are_read_one_after_the_other(order: str) -> None:
    if order == "row by row":
        drawn = table(list(zip(LEFT, RIGHT, strict=True)), lefts=(50, 320))
    else:
        drawn = together(lines(*LEFT, left=50), lines(*RIGHT, left=320))
    head, foot = lines("What you have to know of parcels", top=740), lines("Ask us for more, whenever you want to.", top=600)
    text = text_of(pdf(together(head, drawn, foot))).text
    assert " ".join(text.split()) == " ".join(
        ("What you have to know of parcels", *LEFT, *RIGHT, "Ask us for more, whenever you want to.")
    )


def test_three_columns_with_a_word_cut_in_each() -> None:
    rows = [("The warranty of this drill is", "It has to be sent to the work-", "All others are repaired at the"),
            ("two years, and of its bat-", "shop in the box it came in, or", "cost of whoever has bro-"),
            ("tery one year alone.", "in one that is as good.", "ken them by himself.")]  # fmt: skip
    text = text_of(pdf(table(rows, lefts=(40, 220, 400)))).text
    assert "its battery one year" in " ".join(text.split())
    assert "to the workshop in the box" in " ".join(text.split())
    assert "whoever has broken them" in " ".join(text.split())


def test_rows_of_a_table_say_what_their_columns_are() -> None:
    rows = [("Model", "Order number", "Price"), ("Drill A", "88-1", "9.90 EUR"), ("Drill B", "", "12.50 EUR")]
    text = text_of(pdf(together(lines("Our drills", top=740), table(rows), lines("All prices are net.", top=600)))).text
    assert text == (
        "Our drills\n\nModel: Drill A | Order number: 88-1 | Price: 9.90 EUR\nModel: Drill B | Price: 12.50 EUR\n\n"
        "All prices are net."
    )


def test_names_in_the_middle_of_their_columns_are_of_these() -> None:
    names = table([("Model", "Number", "Price")], lefts=(110, 270, 450))
    rows = table([("", "", ""), ("Drill A", "88-1", "9.90 EUR"), ("Drill B", "88-2", "12.50 EUR")])
    assert text_of(pdf(together(names, rows))).text == (
        "Model: Drill A | Number: 88-1 | Price: 9.90 EUR\nModel: Drill B | Number: 88-2 | Price: 12.50 EUR"
    )


def test_labels_and_values_are_lines() -> None:
    assert text_of(pdf(table([("Weight", "2 kg"), ("Colour", "blue"), ("Price", "9.90")]))).text == (
        "Weight | 2 kg\nColour | blue\nPrice | 9.90"
    )


@pytest.mark.parametrize("markers", [("1.", "2.", "3."), ("•", "•", "•"), ("a)", "b)", "c)")])
def test_what_marks_an_entry_is_no_column(markers: Sequence[str]) -> None:
    told = ("Unpack it first.", "Charge the battery.", "Press the green button.")
    text = text_of(pdf(table(list(zip(markers, told, strict=True)), lefts=(60, 90)))).text
    assert text == "\n".join(f"{marker} {line}" for marker, line in zip(markers, told, strict=True))


# --- what is not in the text of the page ---


def form(canvas: Canvas) -> None:
    lines("Name of the applicant:", "", "Colour:")(canvas)
    fields = canvas.acroForm
    fields.textfield(name="applicant", value="Ada Lovelace", x=220, y=696, width=150, height=16)
    fields.choice(name="colour", value="blue", options=["red", "blue"], x=220, y=668, width=150, height=16)
    fields.checkbox(name="newsletter", checked=True, x=60, y=500, size=12)
    fields.checkbox(name="calls", checked=False, x=60, y=480, size=12)


def test_what_was_filled_into_a_form_is_read() -> None:
    text = text_of(pdf(form)).text
    assert "Name of the applicant: Ada Lovelace" in text
    assert "Colour: blue" in text
    assert "newsletter: Yes" in text
    assert "calls" not in text


def test_what_was_written_upon_a_page_is_read() -> None:
    def page(canvas: Canvas) -> None:
        lines("The office is closed.")(canvas)
        canvas.freeTextAnnotation("But on Monday it is open", "/Helv 12 Tf", Rect=[60, 300, 300, 330])

    assert text_of(pdf(page)).text == "The office is closed.\n\nBut on Monday it is open"


def scan(canvas: Canvas) -> None:
    canvas.drawInlineImage(_picture(), 0, 0, width=A4[0], height=A4[1])


def outlines(canvas: Canvas) -> None:
    canvas.rect(50, 50, 300, 300, fill=1)


def blank(_: Canvas) -> None:
    pass


def _picture() -> object:
    from PIL import Image

    return Image.new("RGB", (40, 60), "grey")


def test_pages_without_text_are_warned_of() -> None:
    text = lines("Parcels come back within thirty days of delivery, as everybody knows by now.")
    extracted = text_of(pdf(text, scan, together(scan, lines("7", top=30)), outlines, blank, together(scan, *[text] * 2)))
    (warning,) = extracted.warnings
    assert (warning.code, warning.count, warning.where) == ("pages_without_text", 3, "pages 2-4")
    with pytest.raises(FileWithoutText):
        text_of(pdf(scan, scan))


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("written", ["along", "across"])
def test_a_page_reads_the_same_whichever_way_it_is_turned(turned: int, written: str) -> None:
    def page(canvas: Canvas) -> None:
        canvas.setPageRotation(turned)
        if written == "across":
            canvas.translate(550, 100)
            canvas.rotate(90)
        lines(*told, top=500, left=50)(canvas)

    told = ["The first line is read first.", "The second line is read next.", "The third line is the last."]
    assert text_of(pdf(page)).text == "\n".join(told)


def test_a_hostile_page_takes_no_longer_than_any() -> None:
    def page(canvas: Canvas) -> None:
        text = canvas.beginText(10, 800)
        text.setFont("Helvetica", 1)
        for n in range(9_000):
            text.setTextOrigin((n * 37) % 590, 800 - (n * 91) % 780)
            text.textOut(f"w{n}")
        canvas.drawText(text)

    began = time.process_time()
    assert "w8999" in text_of(pdf(page)).text
    assert time.process_time() - began < 10  # a third of what a child has
