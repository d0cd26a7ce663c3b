"""Writes `tests/fixtures/documents`: small files of every kind, many by LibreOffice, each beside the text that a person sees.

Beside `a.docx` stands `a.docx.txt`: a line for each paragraph, heading, entry and row, in the order in which they are read; what
begins with `! ` must not be found. Run it only to add files (`soffice` has to be installed): what is there is kept as it is.
"""

# ruff: noqa: E501 - contents, a line each

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent.parent / "tests" / "fixtures" / "documents"


class Content(msgspec.Struct, frozen=True):
    """What a file says."""

    key: str
    title: str
    paragraphs: tuple[str, ...]
    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    steps: tuple[str, ...]
    encoding: str = "cp1252"

    @property
    def named_rows(self) -> list[str]:
        return [" | ".join(f"{name}: {cell}" for name, cell in zip(self.columns, row, strict=True)) for row in self.rows]


CONTENTS = (
    Content("drill", "Manual of the drill E-1042", ("The warranty period for the drill is 24 months.", "It does not cover batteries, which are well-known to wear out."), "Spare parts", ("Model", "Order number", "Price"), (("Drill A", "88-1", "9.90 EUR"), ("Drill B", "88-2", "12.50 EUR"), ("Drill C", "88-3", "19.00 EUR")), ("Unpack the drill.", "Charge the battery for 3 hours.", "Press the green button.")),
    Content("returns", "Returns and refunds", ("You can return a parcel within 30 days of delivery.", "Refunds take 5 to 7 working days, whatever you paid with."), "What it costs", ("Country", "Fee", "Time"), (("Norway", "9 EUR", "4 days"), ("Chile", "12 EUR", "14 days"), ("Japan", "15 EUR", "9 days")), ("Print the label.", "Put it on the parcel.", "Bring it to a shop.")),
    Content("rueckgabe", "Rückgabe und Erstattung", ("Sie können ein Paket innerhalb von 14 Tagen zurückgeben.", "Größere Pakete holen wir für 9 € bei Ihnen ab – außer sonntags."), "Gebühren", ("Land", "Gebühr", "Dauer"), (("Österreich", "4,90 €", "3 Tage"), ("Schweiz", "9,90 €", "5 Tage"), ("Dänemark", "7,50 €", "4 Tage")), ("Formular ausfüllen.", "Paket schließen.", "Zur Post bringen.")),
    Content("retours", "Retours et remboursements", ("Vous pouvez renvoyer un colis dans les 30 jours après sa réception.", "Le remboursement est effectué en 5 à 7 jours, à l’exception des fêtes."), "Tarifs", ("Pays", "Prix", "Délai"), (("Norvège", "9 €", "4 jours"), ("Brésil", "12 €", "14 jours"), ("Côte d’Ivoire", "15 €", "9 jours")), ("Imprimez l’étiquette.", "Collez-la.", "Déposez le colis.")),
    Content("zwroty", "Zwroty i reklamacje", ("Paczkę można zwrócić w ciągu 14 dni od dostawy.", "Zwrot pieniędzy trwa od 5 do 7 dni roboczych."), "Opłaty", ("Kraj", "Opłata", "Czas"), (("Norwegia", "39 zł", "4 dni"), ("Łotwa", "25 zł", "3 dni"), ("Węgry", "29 zł", "5 dni")), ("Wydrukuj etykietę.", "Naklej ją.", "Zanieś paczkę."), "cp1250"),
    Content("vozvrat", "Возврат и обмен", ("Посылку можно вернуть в течение 30 дней после доставки.", "Деньги возвращаются за 5 рабочих дней, кроме праздников."), "Стоимость", ("Страна", "Цена", "Срок"), (("Норвегия", "900 ₽", "4 дня"), ("Чили", "1200 ₽", "14 дней"), ("Япония", "1500 ₽", "9 дней")), ("Распечатайте этикетку.", "Наклейте её.", "Отнесите посылку."), "cp1251"),
    Content("iade", "İade ve değişim", ("Bir paketi teslimattan sonra 30 gün içinde iade edebilirsiniz.", "Ücret iadesi 5 iş günü sürer, tatil günleri hariç."), "Ücretler", ("Ülke", "Ücret", "Süre"), (("Norveç", "90 TL", "4 gün"), ("Şili", "120 TL", "14 gün"), ("İsviçre", "150 TL", "9 gün")), ("Etiketi yazdırın.", "Yapıştırın.", "Paketi bırakın."), "cp1254"),
    Content("hotel", "House rules of the hotel", ("Breakfast is served from 7:00 to 10:30 in the blue room.", "Dogs up to 8 kg are welcome for 15 euros a night."), "Rooms", ("Room", "Beds", "Price a night"), (("Blue", "2", "120 EUR"), ("Green", "3", "150 EUR"), ("Attic", "1", "80 EUR")), ("Ring the bell.", "Sign the form.", "Take the key.")),
)  # fmt: skip


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    count = 0
    with tempfile.TemporaryDirectory() as work:
        for content in CONTENTS:
            for name, data, lines in (*_pages(content), *_texts(content), *_office(content, Path(work))):
                if not (FOLDER / name).exists():
                    (FOLDER / name).write_bytes(data)
                    (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
                    count += 1
    print(f"{count} files were added to {FOLDER}.", file=sys.stderr)


Files = Iterator[tuple[str, bytes, Sequence[str]]]


def _pages(content: Content) -> Files:
    said = [content.title, *content.paragraphs, content.heading, *content.named_rows, *content.steps]
    around = ["! Imprint and privacy", "! We use cookies", "! Subscribe to our news"]
    paragraphs = "".join(f"<p>{text}</p>" for text in content.paragraphs)
    head = "".join(f"<th>{name}</th>" for name in content.columns)
    rows = "".join("<tr>" + "".join(f"<td><p>{cell}</p></td>" for cell in row) + "</tr>" for row in content.rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    steps = f"<ol>{''.join(f'<li>{step}</li>' for step in content.steps)}</ol>"
    frame = (
        '<!doctype html><html><head><meta charset="{}"><title>x</title></head><body><header><nav><a href="/">Shop</a> <a href="/a">'
        'All offers</a></nav></header><div id="cookie-banner"><p>We use cookies on this site.</p><button>Accept all</button></div>{}'
        '<div class="newsletter"><p>Subscribe to our news</p><form><input type="email"></form></div><footer><p>Imprint and privacy'
        "</p></footer></body></html>"
    )
    body = f"<h1>{content.title}</h1>{paragraphs}<h2>{content.heading}</h2>{table}{steps}"
    hidden = (
        f"<h1>{content.title}</h1><h3><button aria-expanded='false' aria-controls='p'>{content.heading}</button></h3>"
        f"<div id='p' hidden>{paragraphs}</div>"
    )
    articles = (
        f"<article><header><h2>{content.title}</h2></header>{paragraphs}</article>"
        f"<article><h2>{content.heading}</h2>{table}<footer>{content.steps[1]}</footer></article>"
    )
    split = f"<section class='menu content'><h1><b>{content.title[:1]}</b>{content.title[1:]}</h1>{paragraphs}{steps}</section>"
    for kind, inner, lines in (
        ("main", f"<main>{body}</main>", said),
        ("div", f"<div>{body}</div>", said),
        ("tabs", f"<main>{hidden}</main>", [content.title, content.heading, *content.paragraphs]),
        ("articles", articles, [content.title, *content.paragraphs, content.heading, *content.named_rows, content.steps[1]]),
        ("split", f"<main>{split}</main>", [content.title, *content.paragraphs, *content.steps]),
    ):
        yield f"page-{kind}-{content.key}.html", frame.format("utf-8", inner).encode(), [*lines, *around]
    yield (
        f"page-old-{content.key}.html",
        frame.format(content.encoding, f"<main>{body}</main>").encode(content.encoding, "xmlcharrefreplace"),
        [*said, *around],
    )


def _texts(content: Content) -> Files:
    table = [" | ".join(content.columns), "|".join("---" for _ in content.columns), *(" | ".join(row) for row in content.rows)]
    markdown = "\n".join((f"# {content.title}", "", *content.paragraphs, "", f"## {content.heading}", "", *table, ""))
    said = [content.title, *content.paragraphs, content.heading, *content.named_rows]
    yield f"text-{content.key}.md", markdown.encode(), said
    plain = "\n".join((content.title, *content.paragraphs))
    yield f"text-{content.key}.txt", plain.encode("utf-16-le"), [content.title, *content.paragraphs]
    old = plain.replace("₽", "руб.")
    yield f"text-old-{content.key}.txt", old.encode(content.encoding), old.split("\n")
    rows = io.StringIO()
    writer = csv.writer(rows, delimiter=";")
    writer.writerows((content.columns, *content.rows))
    yield f"rows-{content.key}.csv", f"sep=;\n{rows.getvalue()}".encode(), content.named_rows
    data = [dict(zip(content.columns, row, strict=True)) for row in content.rows]
    yield f"rows-{content.key}.json", json.dumps(data, ensure_ascii=False).encode(), content.named_rows
    cues = "".join(f"00:00:0{n}.000 --> 00:00:0{n + 1}.000\n{text}\n\n" for n, text in enumerate(content.paragraphs))
    yield f"talk-{content.key}.vtt", f"WEBVTT\n\n{cues}".encode(), [*content.paragraphs, "! 00:00"]
    message = EmailMessage()
    message["Subject"], message["From"], message["MIME-Version"] = content.title, "shop@example.com", "1.0"
    message.set_content("\n\n".join(content.paragraphs), cte="base64")
    message.add_attachment(rows.getvalue().encode(), maintype="text", subtype="csv", filename="rows.csv")
    yield f"mail-{content.key}.eml", message.as_bytes(), [content.title, *content.paragraphs, *content.named_rows]


def _office(content: Content, work: Path) -> Files:
    said = [content.title, *content.paragraphs, content.heading, *content.named_rows, *content.steps]
    page = work / "text.html"
    cells = "".join(f"<th>{name}</th>" for name in content.columns)
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in content.rows)
    page.write_text(
        f'<html><head><meta charset="utf-8"></head><body><h1>{content.title}</h1>'
        f"{''.join(f'<p>{text}</p>' for text in content.paragraphs)}<h2>{content.heading}</h2>"
        f'<table border="1" width="100%"><thead><tr>{cells}</tr></thead>{rows}</table>'
        f"<ol>{''.join(f'<li>{step}</li>' for step in content.steps)}</ol></body></html>",
        encoding="utf-8",
    )
    for kind in ("docx", "odt", "rtf", "pdf"):
        yield f"office-{content.key}.{kind}", _converted(page, kind, "--infilter=HTML (StarWriter)"), said
    table = work / "table.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((content.columns, *content.rows))
    for kind in ("xlsx", "ods"):
        yield f"sheet-{content.key}.{kind}", _converted(table, kind, "--infilter=CSV:44,34,76,1,,0,true"), content.named_rows
    slides = _slides(content)
    (work / "slides.pptx").write_bytes(slides)
    shown = [content.title, *content.paragraphs, content.heading, *content.named_rows]
    yield f"slides-{content.key}.pptx", slides, shown
    for kind in ("odp", "pdf"):
        yield f"slides-{content.key}.{kind}", _converted(work / "slides.pptx", kind), shown


def _slides(content: Content) -> bytes:
    import pptx
    from pptx.util import Inches

    presentation = pptx.Presentation()
    first = presentation.slides.add_slide(presentation.slide_layouts[1])
    first.shapes.title.text = content.title
    first.placeholders[1].text = "\n".join(content.paragraphs)
    second = presentation.slides.add_slide(presentation.slide_layouts[5])
    second.shapes.title.text = content.heading
    size = len(content.rows) + 1, len(content.columns)
    table = second.shapes.add_table(*size, Inches(1), Inches(2), Inches(8), Inches(2)).table
    for y, row in enumerate((content.columns, *content.rows)):
        for x, text in enumerate(row):
            table.cell(y, x).text = text
    file = io.BytesIO()
    presentation.save(file)
    return file.getvalue()


def _converted(path: Path, kind: str, *more: str) -> bytes:
    """By LibreOffice."""
    command = ["soffice", "--headless", *more, "--convert-to", kind, "--outdir", str(path.parent), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return path.with_suffix(f".{kind}").read_bytes()


if __name__ == "__main__":
    main()
