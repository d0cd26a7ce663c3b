"""What is read out of DOCX, PPTX and XLSX: all that a person sees, and nothing that was deleted or is hidden."""

# ruff: noqa: E501 - tables of cases, a line each

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence

import openpyxl
import pptx
import pytest
from tests import formats

from gigachat_server.errors import FileDamaged, FileUnknown
from gigachat_server.knowledge.extraction.child import read
from gigachat_server.knowledge.extraction.extracted import FileText
from gigachat_server.knowledge.extraction.number_formats import shown

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"


def text_of(data: bytes, name: str = "file") -> FileText:
    return read(data, name=name, media_type=None, most_characters=100_000)


def codes(extracted: FileText) -> dict[str, str]:
    return {warning.code: warning.where for warning in extracted.warnings}


def docx(
    body: str, *, parts: dict[str, str] | None = None, main: str = "word/document.xml", kind: str = "", space: str = WORD
) -> bytes:
    """A document of this body; `parts` are further ones, related to it by the names of their files."""
    kind = kind or "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    spaces = (
        f'xmlns:w="{space}" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" xmlns:v="urn:schemas-microsoft-com:vml" '
        'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
        'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
        'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    )
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    related = "".join(
        f'<Relationship Id="{name}" Type="{office}/{re.sub("[0-9]*[.].*", "", name)}" Target="{name}"/>' for name in parts or {}
    )
    frame = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
    folder, _, file = main.rpartition("/")
    return formats.archive(
        {
            "[Content_Types].xml": f'<Types><Override PartName="/{main}" ContentType="{kind}.main+xml"/></Types>'.encode(),
            "_rels/.rels": frame.format(f'<Relationship Id="a" Type="{office}/officeDocument" Target="{main}"/>').encode(),
            main: f"<w:document {spaces}><w:body>{body}</w:body></w:document>".encode(),
            f"{folder}/_rels/{file}.rels": frame.format(related).encode(),
        }
        | {f"{folder}/{name}": part.replace("SPACES", spaces).encode() for name, part in (parts or {}).items()}
    )


def p(*runs: str, properties: str = "") -> str:
    return f"<w:p>{properties}{''.join(runs)}</w:p>"


def r(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def control(content: str) -> str:
    return f'<w:sdt><w:sdtPr><w:alias w:val="x"/></w:sdtPr><w:sdtContent>{content}</w:sdtContent></w:sdt>'


def tbl(*rows: Sequence[str]) -> str:
    made = ("".join(f"<w:tc>{p(r(cell))}</w:tc>" for cell in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{cells}</w:tr>' for cells in made)}</w:tbl>"


def box(text: str) -> str:
    inner = f"<w:txbxContent>{p(r(text))}</w:txbxContent>"
    return (
        "<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wp:inline><wps:wsp><wps:txbx>"
        f"{inner}</wps:txbx></wps:wsp></wp:inline></w:drawing></mc:Choice><mc:Fallback><w:pict><v:shape><v:textbox>{inner}"
        "</v:textbox></v:shape></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
    )


SENTENCE = "The warranty period for the drill is 24 months."
BEFORE, AFTER = r("The warranty period for the drill is "), r(" months.")


@pytest.mark.parametrize(
    "middle",
    [
        f"<w:ins w:id='1'>{r('24')}</w:ins>",
        f"<w:moveTo w:id='1'>{r('24')}</w:moveTo>",
        control(r("24")),
        control(control(r("24"))),
        f"<w:ins>{control(r('24'))}</w:ins>",
        f"<w:fldSimple w:instr='DOCPROPERTY months'>{r('24')}</w:fldSimple>",
        f"<w:smartTag w:element='n'>{r('24')}</w:smartTag>",
        f"<w:customXml w:element='n'>{r('24')}</w:customXml>",
        f"<w:hyperlink r:id='gone'>{r('24')}</w:hyperlink>",
        f"<w:bdo w:val='ltr'>{r('24')}</w:bdo>",
        f"{r('24')}<w:del>{r('36').replace('w:t', 'w:delText')}</w:del>",
        f"<w:moveFrom>{r('36')}</w:moveFrom>{r('24')}",
        f"{r('24')}{r('36', '<w:vanish/>')}",
        "<w:r><w:fldChar w:fldCharType='begin'/></w:r><w:r><w:instrText>REF months</w:instrText></w:r>"
        f"<w:r><w:fldChar w:fldCharType='separate'/></w:r>{r('24')}<w:r><w:fldChar w:fldCharType='end'/></w:r>",
        "<w:r><w:fldChar w:fldCharType='begin'><w:ffData><w:ddList><w:result w:val='1'/><w:listEntry w:val='12'/>"
        "<w:listEntry w:val='24'/></w:ddList></w:ffData></w:fldChar></w:r><w:r><w:fldChar w:fldCharType='end'/></w:r>",
        f"<mc:AlternateContent><mc:Choice Requires='x'>{r('24')}</mc:Choice><mc:Fallback>{r('24')}</mc:Fallback></mc:AlternateContent>",
        "<m:oMath><m:r><m:t>24</m:t></m:r></m:oMath>",
    ],
)  # fmt: skip
def test_a_sentence_is_whole_whatever_wraps_its_parts(middle: str) -> None:
    assert text_of(docx(p(BEFORE, middle, AFTER))).text == SENTENCE


@pytest.mark.parametrize(
    "body",
    [
        control(p(r(SENTENCE))),
        control(control(p(r(SENTENCE)))),
        f"<w:customXml>{p(r(SENTENCE))}</w:customXml>",
        f"<w:ins>{p(r(SENTENCE))}</w:ins>",
        f"<w:tbl><w:tr><w:tc>{p(r(SENTENCE))}</w:tc></w:tr></w:tbl>",
        f"<w:tbl>{control(f'<w:tr><w:tc>{p(r(SENTENCE))}</w:tc></w:tr>')}</w:tbl>",
        p(box(SENTENCE)),
        f"<mc:AlternateContent><mc:Fallback>{p(r(SENTENCE))}</mc:Fallback></mc:AlternateContent>",
    ],
)
def test_blocks_are_read_whatever_wraps_them(body: str) -> None:
    assert text_of(docx(body)).text == SENTENCE


def test_a_row_and_a_cell_within_controls_keep_their_place() -> None:
    cells = [f"<w:tc>{p(r(text))}</w:tc>" for text in ("Norway", "9 EUR", "2 days")]
    row = f"<w:tr>{control(cells[0])}{cells[1]}{cells[2]}</w:tr>"
    table = tbl(("Country", "Fee", "Time")).replace("</w:tbl>", control(row) + "</w:tbl>")
    assert text_of(docx(table)).text == "Country: Norway | Fee: 9 EUR | Time: 2 days"


def test_notes_stand_behind_what_refers_to_them() -> None:
    def note(kind: str, number: int, text: str) -> str:
        return f"<w:{kind} w:id='{number}'>{p(r(text))}</w:{kind}>"

    footnotes = "<w:footnotes SPACES>" + note("footnote", 2, "But not for batteries.") + "</w:footnotes>"
    footnotes = footnotes.replace("<w:footnote w:id", "<w:footnote w:type='separator' w:id='-1'></w:footnote><w:footnote w:id", 1)
    endnotes = "<w:endnotes SPACES>" + note("endnote", 2, "As of May.") + "</w:endnotes>"
    refer = "<w:r><w:footnoteReference w:id='2'/></w:r>"
    body = p(r("It costs 9"), refer, r(" euros.")) + p(r("It is new."), refer.replace("foot", "end")) + p(r("The end."))
    data = docx(body, parts={"footnotes.xml": footnotes, "endnotes.xml": endnotes})
    assert text_of(data).text == "It costs 9¹ euros.\n\n¹ But not for batteries.\n\nIt is new.²\n\n² As of May.\n\nThe end."


def test_headers_and_footers_are_read_once_without_page_numbers() -> None:
    page = "<w:fldSimple w:instr=' PAGE '>" + r("1") + "</w:fldSimple>"
    header = f"<w:hdr SPACES>{p(r('Valid from May 2024'))}</w:hdr>"
    footer = f"<w:ftr SPACES>{p(r('Page '), page, r(' of 3'))}{p(r('Call 0800 123'))}</w:ftr>"
    data = docx(p(r(SENTENCE)), parts={"header1.xml": header, "header2.xml": header, "footer1.xml": footer})
    assert text_of(data).text == f"Valid from May 2024\n\n{SENTENCE}\n\nCall 0800 123"


def test_lists_and_headings_are_counted_as_they_are_seen() -> None:
    def level(number: int, kind: str, text: str) -> str:
        return f"<w:lvl w:ilvl='{number}'><w:start w:val='1'/><w:numFmt w:val='{kind}'/><w:lvlText w:val='{text}'/></w:lvl>"

    numbering = (
        f"<w:numbering SPACES><w:abstractNum w:abstractNumId='0'>{level(0, 'decimal', '%1.')}{level(1, 'lowerLetter', '%1.%2)')}"
        f"</w:abstractNum><w:abstractNum w:abstractNumId='1'>{level(0, 'bullet', '')}</w:abstractNum>"
        "<w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num><w:num w:numId='2'><w:abstractNumId w:val='1'/></w:num></w:numbering>"
    )

    def entry(text: str, number: int, depth: int = 0) -> str:
        return p(r(text), properties=f"<w:pPr><w:numPr><w:ilvl w:val='{depth}'/><w:numId w:val='{number}'/></w:numPr></w:pPr>")

    body = (
        entry("Unpack", 1)
        + entry("Charge", 1)
        + entry("slowly", 1, 1)
        + entry("wholly", 1, 1)
        + entry("Drill", 1)
        + entry("Dot", 2)
    )
    assert text_of(docx(body, parts={"numbering.xml": numbering})).text == (
        "1. Unpack\n2. Charge\n2.a) slowly\n2.b) wholly\n3. Drill\n- Dot"
    )


def test_what_is_raised_or_struck_does_not_run_into_the_rest() -> None:
    raised = r("1", "<w:vertAlign w:val='superscript'/>")
    body = p(
        r("9"),
        raised,
        r(" euros instead of "),
        r("19.90", "<w:strike/>"),
        r(" on the 5"),
        r("th", "<w:vertAlign w:val='superscript'/>"),
    )
    assert text_of(docx(body)).text == "9¹ euros instead of ~~19.90~~ on the 5th"


def test_merged_cells_are_said_in_each_row() -> None:
    def cell(text: str, merged: str = "") -> str:
        return f"<w:tc><w:tcPr>{merged}</w:tcPr>{p(r(text))}</w:tc>"

    down, on = "<w:vMerge w:val='restart'/>", "<w:vMerge/>"
    table = (
        f"<w:tbl><w:tr><w:trPr><w:tblHeader/></w:trPr>{cell('Zone')}{cell('Country')}{cell('Fee')}</w:tr>"
        f"<w:tr>{cell('Europe', down)}{cell('Norway')}{cell('9')}</w:tr><w:tr>{cell('', on)}{cell('Sweden')}{cell('8')}</w:tr>"
        f"<w:tr>{cell('Free of charge', '<w:gridSpan w:val=' + chr(39) + '3' + chr(39) + '/>')}</w:tr></w:tbl>"
    )
    assert text_of(docx(table)).text == (
        "Zone: Europe | Country: Norway | Fee: 9\nZone: Europe | Country: Sweden | Fee: 8\nFree of charge"
    )


def test_each_row_of_a_long_table_names_its_columns() -> None:
    rows = [(f"Drill {n}", f"88-{n}", f"{n}.90 EUR") for n in range(100)]
    text = text_of(docx(tbl(("Model", "Order number", "Price"), *rows))).text
    assert text.split("\n")[99] == "Model: Drill 99 | Order number: 88-99 | Price: 99.90 EUR"
    assert len(text.split("\n")) == 100


@pytest.mark.parametrize(
    "kind",
    ["application/vnd.ms-word.document.macroEnabled", "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
     "application/vnd.ms-word.template.macroEnabledTemplate"],
)  # fmt: skip
@pytest.mark.parametrize(("main", "space"), [("word/document2.xml", WORD), ("doc/x.xml", STRICT)])
def test_documents_of_other_programs_and_editions_are_read(kind: str, main: str, space: str) -> None:
    assert text_of(docx(p(r(SENTENCE)), kind=kind, main=main, space=space), "a.docm").text == SENTENCE


def test_what_names_parts_that_are_not_there_is_read_without() -> None:
    data = formats.docx()
    core = b'<?xml version="1.0"?><x><created>yesterday</created><title>Returns</title></x>'
    for broken in (formats.replaced(data, "docProps/core.xml", core), formats.replaced(data, "docProps/core.xml", b"<broken")):
        assert "You can return a parcel within 30 days." in text_of(broken).text
    related = b'<Relationships><Relationship Id="rId1" Type="x/image" Target="NULL"/><Relationship Id="rId2" Type="x/styles"/></Relationships>'
    assert "You can return" in text_of(formats.replaced(data, "word/_rels/document.xml.rels", related)).text


def test_pictures_say_what_they_show_or_are_warned_of() -> None:
    picture = "<w:r><w:drawing><wp:inline><wp:docPr id='1' {}/><a:blip xmlns:a='a' r:embed='x'/></wp:inline></w:drawing></w:r>"
    extracted = text_of(docx(p(r("See: "), picture.format("descr='Press the green button'")) + p(picture.format(""))))
    assert extracted.text == "See:  Press the green button"
    assert codes(extracted) == {"images_without_text": ""}


def test_a_document_without_a_body_is_damaged() -> None:
    with pytest.raises((FileDamaged, FileUnknown)):
        text_of(formats.archive({"[Content_Types].xml": b"<Types/>", "word/x.xml": b"<x/>"}))


def test_a_hostile_document_takes_no_longer_than_any() -> None:
    began = time.process_time()
    numbers = [str(n * 7919 % 100_003) for n in range(15_000)]
    assert text_of(docx(p(*map(r, numbers)))).text == "".join(numbers)
    assert text_of(docx("".join(control(f"<w:n{number}/>") for number in numbers) + p(r("x")))).text == "x"
    deep = "<w:ins>" * 1_000 + p(r("x")) + "</w:ins>" * 1_000
    assert codes(text_of(docx(deep + p(r("y"))))) == {"parts_skipped": "elements nested too deep"}
    assert time.process_time() - began < 5


# --- slides ---


def slides(fill: object = None) -> bytes:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "Prices"
    table = slide.shapes.add_table(4, 3, 0, 2_000_000, 5_000_000, 1_000_000).table
    rows = (("Model", "Number", "Price"), ("Drill A", "88-1", "9 EUR"), ("Drill B", "88-2", "12 EUR"), ("", "88-3", "15 EUR"))
    for y, row in enumerate(rows):
        for x, text in enumerate(row):
            table.cell(y, x).text = text
    table.cell(2, 0).merge(table.cell(3, 0))
    below = slide.shapes.add_textbox(0, 5_000_000, 1_000_000, 500_000)
    below.text_frame.text = "All prices are net."
    above = slide.shapes.add_textbox(0, 1_000_000, 1_000_000, 500_000)
    above.text_frame.text = "As of May"
    if fill is not None:
        fill(presentation, slide)  # type: ignore[operator]
    file = io.BytesIO()
    presentation.save(file)
    return file.getvalue()


def test_rows_of_a_table_on_a_slide_say_what_their_columns_are() -> None:
    assert text_of(slides()).text == (
        "## Prices\n\nAs of May\n\nModel: Drill A | Number: 88-1 | Price: 9 EUR\nModel: Drill B | Number: 88-2 | Price: 12 EUR\n"
        "Model: Drill B | Number: 88-3 | Price: 15 EUR\n\nAll prices are net."
    )


def test_charts_groups_and_hidden_slides_are_read() -> None:
    def fill(presentation: object, slide: object) -> None:
        from pptx.chart.data import CategoryChartData
        from pptx.enum.chart import XL_CHART_TYPE

        data = CategoryChartData()  # type: ignore[no-untyped-call]
        data.categories = ["2023", "2024"]
        data.add_series("Sales", (19.5, 21))  # type: ignore[no-untyped-call]
        slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 6_000_000, 100, 100, data)  # type: ignore[attr-defined]
        group = slide.shapes.add_group_shape()  # type: ignore[attr-defined]
        group.shapes.add_textbox(0, 7_000_000, 10, 10).text_frame.text = "Within a group"
        slide._element.set("show", "0")  # type: ignore[attr-defined]

    extracted = text_of(slides(fill))
    assert "2023 | Sales: 19.5\n2024 | Sales: 21" in extracted.text
    assert extracted.text.endswith("Within a group")
    assert codes(extracted) == {"hidden_sheets": "slide 1"}


@pytest.mark.parametrize("kind", ["slideshow", "template"])
def test_shows_and_templates_are_presentations(kind: str) -> None:
    data = slides()
    types = formats.part(data, "[Content_Types].xml").replace(b"presentationml.presentation", f"presentationml.{kind}".encode())
    assert "Drill A" in text_of(formats.replaced(data, "[Content_Types].xml", types), "a.ppsx").text


# --- workbooks ---


def workbook(*sheets: Sequence[Sequence[object]], change: object = None) -> bytes:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for number, rows in enumerate(sheets):
        sheet = made.create_sheet(f"Sheet {number}")
        for row in rows:
            sheet.append(row)
    if change is not None:
        change(made)  # type: ignore[operator]
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([("Price list 2024",), (), ("Country", "Fee"), ("Norway", 9)], "Price list 2024\nCountry: Norway | Fee: 9"),
        ([("Country", 2023, 2024), ("Norway", 9, 10)], "Country: Norway | 2023: 9 | 2024: 10"),
        ([("Country", "2023", "2024"), ("Norway", 9, 10)], "Country: Norway | 2023: 9 | 2024: 10"),
        ([("Name", "Price", "Price"), ("Drill", 9, 12)], "Name: Drill | Price: 9 | Price: 12"),
        ([("Norway", 9), ("Chile", 12)], "Norway | 9\nChile | 12"),
        (
            [("Norway", "Oslo", "Europe"), ("Sweden", "Stockholm", "Europe")],
            "Norway | Oslo | Europe\nSweden | Stockholm | Europe",
        ),
        ([("ann@example.com", "Ann"), ("bob@example.com", "Bob")], "ann@example.com | Ann\nbob@example.com | Bob"),
        ([("Code", "CO2 in g"), ("A-100", 95), ("A-101", 120)], "Code: A-100 | CO2 in g: 95\nCode: A-101 | CO2 in g: 120"),
        ([("A-100", 95), ("A-101", 120)], "A-100 | 95\nA-101 | 120"),
    ],
)
def test_which_row_names_the_columns(rows: Sequence[Sequence[object]], text: str) -> None:
    assert text_of(workbook(rows)).text == text


@pytest.mark.parametrize(
    ("number", "form", "text"),
    [
        ("0.19", "0%", "19 %"),
        ("0.075", "0.0%", "7.5 %"),
        ("1234", "00000", "01234"),
        ("9.9", "0.00", "9.90"),
        ("1234567.5", "#,##0.00", "1234567.50"),
        ("9.9", '#,##0.00 "EUR"', "9.90 EUR"),
        ("9.9", "[$€-407] 0.00", "€ 9.90"),
        ("9.9", r"\$0.00", "$9.90"),
        ("-5", "0;(0)", "(5)"),
        ("-5.5", "0.0", "-5.5"),
        ("0", '0;-0;"none"', "none"),
        ("45423", "yyyy-mm-dd", "2024-05-11"),
        ("45423.5", "dd.mm.yyyy hh:mm", "2024-05-11 12:00"),
        ("0.5", "hh:mm", "12:00"),
        ("1.5", "[h]:mm", "36:00"),
        ("0.00104166666666667", "[mm]:ss", "1:30"),
        ("45423", "mmm yy", "2024-05"),
        ("0.5", "# ?/?", "0.5"),
        ("7", "General", "7"),
        ("0.1", "General", "0.1"),
        ("3", '0 "pieces"', "3 pieces"),
        ("12", "@", "12"),
        ("x", "0", "x"),
        ("nan", "0", "nan"),
        ("1e400", "0", "1e400"),
        ("3", ";;;", "3"),
    ],
)
def test_a_number_is_shown_as_its_format_has_it(number: str, form: str, text: str) -> None:
    assert shown(number, (form, False)) == text


def test_a_workbook_as_people_have_them() -> None:
    def change(made: openpyxl.Workbook) -> None:
        fees, old = made.worksheets
        fees["B2"].number_format = "0%"
        fees["C2"].number_format = "00000"
        fees.merge_cells("A2:A3")
        fees["B4"] = "=B2*2"
        old.sheet_state = "hidden"

    rows = [("Zone", "Tax", "Postcode"), ("Europe", 0.19, 1234), (None, 0.07, 99), ("Asia", None, None)]
    extracted = text_of(workbook(rows, [("Old", "Prices"), ("x", 1)], change=change))
    assert extracted.text == (
        "## Sheet 0\n\nZone: Europe | Tax: 19 % | Postcode: 01234\nZone: Europe | Tax: 0.07 | Postcode: 99\nZone: Asia\n\n"
        "## Sheet 1\n\nOld: x | Prices: 1"
    )
    assert codes(extracted) == {"hidden_sheets": "Sheet 1", "formulas_without_value": "Sheet 0 B4"}


def test_names_of_columns_do_not_count_toward_the_most() -> None:
    names = [f"A name of a column that is rather long {n}" for n in range(5)]
    data = workbook([names, *[["x"] * 5] * 600])
    assert len(text_of(data).text) > 120_000
    assert read(data, name="a", media_type=None, most_characters=60_000).text.count(names[4]) == 600


def test_a_cut_sheet_gives_what_is_there() -> None:
    data = workbook([("Country", "Fee"), ("Norway", 9), ("Chile", 12)])
    sheet = formats.part(data, "xl/worksheets/sheet1.xml")
    extracted = text_of(formats.replaced(data, "xl/worksheets/sheet1.xml", sheet[: sheet.index(b'<row r="3"')]))
    assert extracted.text == "Country: Norway | Fee: 9"
    assert codes(extracted) == {"truncated": "Sheet 0"}


# --- CSV ---


@pytest.mark.parametrize(
    ("data", "text", "warned"),
    [
        ("sep=;\nCountry;Fee\nNorway;9,50\n", "Country: Norway | Fee: 9,50", ""),
        ('Country,Note\nNorway,"open\nChile,x\nPeru,y\n', "Country: Norway | Note: open\nCountry: Chile | Note: x\nCountry: Peru | Note: y", "line 2"),
        ('Size,Note\n5" pipe,ok\n6" pipe,"a, b"\n', 'Size: 5" pipe | Note: ok\nSize: 6" pipe | Note: a, b', ""),
        ('Name,Text\nA,"two\nlines ""here"""\nB,one\n', 'Name: A | Text: two lines "here"\nName: B | Text: one', ""),
        ("a@b.c;1\nc@d.e;2\n", "a@b.c | 1\nc@d.e | 2", ""),
        ("Title of it all\nCountry;Fee\nNorway;9\nChile;12\n", "Title of it all\nCountry: Norway | Fee: 9\nCountry: Chile | Fee: 12", ""),
        ('Name,"Fee, net"\nA,1\n', "Name: A | Fee, net: 1", ""),
        ("Country\tFee\r\nNorway\t9\r\n", "Country: Norway | Fee: 9", ""),
        ('"a\n' * 3, "a\na\na", "line 1; line 2; line 3"),
    ],
)  # fmt: skip
def test_rows_of_a_csv_file(data: str, text: str, warned: str) -> None:
    extracted = text_of(data.encode(), "a.csv")
    assert extracted.text == text
    assert codes(extracted).get("rows_mended", "") == warned


def test_open_quotation_marks_take_no_time() -> None:
    began = time.process_time()
    extracted = read(b"Name,Text\n" + b'x,"y\n' * 100_000, name="a.csv", media_type=None, most_characters=10_000_000)
    assert extracted.text.count("Name: x | Text: y") >= 99_000
    assert time.process_time() - began < 20
