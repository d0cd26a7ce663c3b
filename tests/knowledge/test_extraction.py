"""What is read out of files of each format: their text as people read it, and where pages and headings begin."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests import formats

from gigachat_server.errors import (
    DocumentFailed,
    FileEmpty,
    FileEncrypted,
    FileTooComplex,
    FileUnknown,
    FileWithoutText,
    TextTooLong,
)
from gigachat_server.knowledge.extraction.child import read
from gigachat_server.knowledge.extraction.decoding import known_charset
from gigachat_server.knowledge.extraction.extracted import FileText, Place, locate
from gigachat_server.knowledge.extraction.plain import read_markdown, read_small_text
from gigachat_server.knowledge.sites.html_facts import decoded

MOST = 100_000


def text_of(data: bytes, name: str = "file", media_type: str | None = None) -> FileText:
    return read(data, name=name, media_type=media_type, most_characters=MOST)


def headings(extracted: FileText) -> list[tuple[str, str | None]]:
    """Each with the line of the text at which it is said to begin."""
    return [(extracted.text[place.at :].split("\n")[0], place.heading) for place in extracted.places]


def test_plain_text_stays_as_it_is() -> None:
    text = "First line.\r\n\r\n  # no heading here\n\ttabbed  \n"
    assert text_of(text.encode(), "a.txt") == FileText(None, text, [])


def test_markdown_stays_as_it_is_and_tells_its_headings() -> None:
    text = "# Returns\n\nWithin 30 days.\n\n```sh\n# a comment\n```\n\n  ## Fees ##\nNine.\n"
    extracted = text_of(text.encode(), "a.md")
    assert extracted.text == text
    assert extracted.title == "Returns"
    assert headings(extracted) == [("# Returns", "Returns"), ("  ## Fees ##", "Fees")]


def test_a_page_is_what_it_says_without_menus_and_footers() -> None:
    extracted = text_of(formats.page())
    assert extracted.title == "Returns - Shop"
    assert extracted.text == (
        "# Returns\n\nYou can return a parcel within 30 days of delivery.\n\n## Fees\n\n- Letters are free.\n"
        "- Parcels cost money.\n\nCountry: Norway | Fee: 9 EUR\n\n```\ncurl -X POST \\\n  /returns\n```"
    )
    assert headings(extracted) == [("# Returns", "Returns"), ("## Fees", "Fees")]


@pytest.mark.parametrize(
    "main",
    [
        "<article><h1>Returns</h1><p>Within 30 days of delivery.</p></article>",
        "<div><h1>Returns</h1><div class='menu'>Elsewhere</div><p>Within 30 days of delivery.</p></div>",
        '<div role="main"><h1>Returns</h1><p>Within 30 days of delivery.</p></div>',
        "<table><tr><td><h1>Returns</h1><p>Within 30 days of delivery.</p></td></tr></table>",
        "<h1>Returns <a href='#x'>¶</a></h1>Within 30 <i>days</i> of delivery.<br><p hidden>Secret</p>",
        "<div class='has-sidebar'><main><h1>Returns</h1><p>Within 30 days of delivery.</p></main></div>",
    ],
)
def test_pages_of_other_builds_read_the_same(main: str) -> None:
    assert text_of(formats.page(main)).text == "# Returns\n\nWithin 30 days of delivery."


def test_a_page_that_is_all_navigation_is_not_empty() -> None:
    assert "Home" in text_of(b"<html><body><nav><a href=/>Home</a> <a href=/x>Parcels</a></nav></body></html>").text


def test_a_word_document_in_its_order() -> None:
    extracted = text_of(formats.docx())
    assert extracted.title == "Returns"
    assert extracted.text == (
        "# Returns\n\nYou can return a parcel within 30 days.\n\n- Letters are free.\n\nCountry | Fee\nNorway | 9 EUR\n\n"
        "## Contact\n\nWrite to the desk."
    )
    assert headings(extracted) == [("# Returns", "Returns"), ("## Contact", "Contact")]


def test_slides_are_pages() -> None:
    extracted = text_of(formats.pptx())
    assert extracted.text.startswith("## Returns\n\nParcels come back within 30 days.\nLetters do not.\n\n## Fees")
    assert [(place.page, place.heading) for place in extracted.places] == [(1, "Returns"), (2, "Fees")]


def test_rows_say_what_their_columns_are() -> None:
    extracted = text_of(formats.xlsx())
    assert extracted.text == (
        "## Fees\n\nCountry: Norway | Fee: 9 | Free: no\nCountry: Chile | Fee: 12.5 | Free: yes\n\n## Rooms\n\nBlue room"
    )
    csv = text_of(b'Country;Fee\nNorway;9\n"Chile, the\nlong";12\n', "fees.csv")
    assert csv.text == "Country: Norway | Fee: 9\nCountry: Chile, the long | Fee: 12"
    assert text_of(b"1,2\n3,4\n", "numbers.csv").text == "1 | 2\n3 | 4"


def test_a_heading_ends_before_what_closes_it() -> None:
    extracted = read_markdown(b"# Why C#\n## Fees ## \r\n### ###\n#\tTabs\t#\n", None, 1_000)
    assert [place.heading for place in extracted.places] == ["Why C#", "Fees", "Tabs"]


@pytest.mark.parametrize(
    "text",
    [
        b"<!---->" * 30_000 + b"x",
        b"<!-- -->\n" * 20_000 + b"<",
        b"<?xml ?>" + b" " * 250_000 + b"<",
        b"# a" + b" " * 250_000 + b"b",
        b"# " + b"# " * 120_000,
        b"```" * 80_000,
    ],
)
def test_no_small_text_holds_its_reader_up(text: bytes) -> None:
    """A pattern that looks at anything twice would take hours for these, in the process that answers everybody."""
    for name in ("page.md", "page"):
        assert read_small_text(text, name, None, 1_000_000) is not None


def test_a_link_behind_a_heading_is_no_part_of_it() -> None:
    hostile = "#" * 40_000 + " " * 40_000 + "b"
    page = "".join(f"<h2>{heading}</h2><p>Text.</p>" for heading in ("Fees ¶", "Fees#", "Fees § ", "#1 offers", hostile))
    began = time.process_time()
    found = [place.heading for place in text_of(f"<!doctype html><body>{page}".encode(), "page.html").places]
    assert time.process_time() - began < 2  # as long as any input may take (T28)
    assert found[:4] == ["Fees", "Fees", "Fees", "#1 offers"]
    assert len(found) == 5


@pytest.mark.parametrize("name", ["punycode", "idna", "unicode_escape", "utf_7", "base64", "rot13", "no such"])
def test_what_is_no_charset_is_not_decoded_with(name: str) -> None:
    assert known_charset(name) is None
    assert decoded(b"a-" * 100_000, f"text/html; charset={name}").startswith("a-a-")


def test_a_pdf_has_pages_and_headings_and_no_running_titles() -> None:
    pages = [[f"Part {word}", f"This is what part {word} tells.", f"Handbook, page {n}"] for n, word in enumerate("ABCD", 1)]
    extracted = text_of(formats.pdf(pages, outline=True))
    assert extracted.title == "Handbook"
    assert extracted.text.startswith("## Part A\n\nThis is what part A tells.\n\n## Part B")
    assert "Handbook, page" not in extracted.text
    assert [(place.page, place.heading) for place in extracted.places] == [
        (n, f"Part {word}") for n, word in enumerate("ABCD", 1)
    ]


def test_a_book_is_its_chapters() -> None:
    extracted = text_of(formats.epub())
    assert extracted.title == "The book of parcels"
    assert extracted.text == "# Returns\n\nParcels come back within 30 days.\n\n# Fees\n\nNorway costs 9 EUR."


def test_a_book_that_lacks_a_chapter_gives_the_others() -> None:
    book = formats.epub()
    package = formats.part(book, "OEBPS/content.opf").replace(
        b"<spine>", b'<spine><itemref idref="gone"/><itemref idref="lost"/>'
    )
    item = b'<manifest><item id="lost" href="lost.xhtml" media-type="application/xhtml+xml"/>'
    package = package.replace(b"<manifest>", item).replace(b'<itemref idref="two"/>', b'<itemref idref="two" linear="no"/>')
    extracted = text_of(formats.replaced(book, "OEBPS/content.opf", package))
    assert extracted.text == "# Returns\n\nParcels come back within 30 days.\n\n# Fees\n\nNorway costs 9 EUR."
    assert [(each.code, each.count, each.where) for each in extracted.warnings] == [
        ("parts_skipped", 2, "gone; OEBPS/lost.xhtml")
    ]


@pytest.mark.parametrize(
    "make", [formats.docx, formats.pptx, formats.xlsx, formats.epub, formats.page, lambda: formats.pdf([["x"]])]
)
@pytest.mark.parametrize(("name", "media_type"), [("a.txt", "text/plain"), ("a.pdf", "application/pdf"), ("a.zip", None)])
def test_the_content_tells_what_it_is_whatever_it_is_called(make: Callable[[], bytes], name: str, media_type: str | None) -> None:
    data = make()
    assert text_of(data, name, media_type).text == text_of(data).text


RUSSIAN = "Посылку можно вернуть в течение 30 дней после доставки. Письма вернуть нельзя."
CHINESE = "包裹可以在送达后三十天内退回。信件不能退回。请联系服务台了解更多信息，我们随时为您服务。"
ARABIC = "يمكن إرجاع الطرود خلال ثلاثين يوما من التسليم. لا يمكن إرجاع الرسائل."


@pytest.mark.parametrize("text", [RUSSIAN, CHINESE, ARABIC, "Zurück in 30 Tagen – für 9 €, “gratis” ab März."])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-sig", "utf-32"])
def test_every_unicode_encoding_comes_out_right(text: str, encoding: str) -> None:
    data = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16-be-sig" else text.encode(encoding)
    assert text_of(data, "a.txt").text == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(RUSSIAN, "windows-1251"), (RUSSIAN, "koi8-r"), (CHINESE, "gb18030"), (ARABIC, "windows-1256"),
     ("Zurück – für 9 €, “gratis”", "windows-1252"), ("日本語の返品案内です。", "shift_jis")],
)  # fmt: skip
@pytest.mark.parametrize("where", ["meta", "old meta", "header"])
def test_a_page_is_read_in_the_encoding_that_it_or_its_server_names(text: str, encoding: str, where: str) -> None:
    named = {
        "meta": f'<meta charset="{encoding}">',
        "old meta": f'<meta http-equiv="Content-Type" content="text/html; charset={encoding}">',
    }.get(where, "")
    data = f"<!doctype html><html><head>{named}<title>t</title></head><body><p>{text}</p></body></html>".encode(encoding)
    assert text_of(data, media_type=f"text/html; charset={encoding}" if where == "header" else "text/html").text == text


@pytest.mark.parametrize(("text", "encoding"), [(RUSSIAN, "windows-1251"), (CHINESE, "gb18030"), ("café", "windows-1252")])
def test_a_text_that_names_no_encoding_is_read_as_it_looks(text: str, encoding: str) -> None:
    assert text_of(text.encode(encoding), "a.txt").text == text


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (b"", "a.txt", FileEmpty),
        (b" \r\n\t", "a.pdf", FileEmpty),
        (b"\xef\xbb\xbf", "a.txt", FileEmpty),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "a.txt", FileUnknown),
        (b"\x7fELF" + bytes(range(200)), "a.md", FileUnknown),
        (bytes(range(256)) * 4, "a.txt", FileUnknown),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "a.docx", FileUnknown),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "a.docx", FileEncrypted),
        (formats.archive({"a.txt": b"text"}), "a.docx", FileUnknown),
        (formats.pdf([[]]), "scan.pdf", FileWithoutText),
        (b"<html><body><script>1</script></body></html>", "a.html", FileWithoutText),
        (b"x" * (MOST + 1), "a.txt", TextTooLong),
        (formats.page("<main><p>" + "word " * MOST + "</p></main>"), "a.html", TextTooLong),
        (b"<div>" * 1_000_000, "a.html", FileTooComplex),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None,  # an archive holds the time
)  # fmt: skip
def test_what_has_no_text_fails_with_its_own_code(data: bytes, name: str, kind: type[DocumentFailed]) -> None:
    with pytest.raises(kind) as raised:
        text_of(data, name)
    assert (raised.value.detail or raised.value.message).endswith((".", "!"))


def test_places_hold_until_the_next() -> None:
    places = [Place(0, 1, None), Place(10, None, "A"), Place(20, 2, "B"), Place(30, None, "C")]
    found = [(place.page, place.heading) for place in locate(places, [0, 9, 10, 25, 30, 99])]
    assert found == [(1, None), (1, None), (1, "A"), (2, "B"), (2, "C"), (2, "C")]
    assert [(place.page, place.heading) for place in locate([], [0, 5])] == [(None, None)] * 2
