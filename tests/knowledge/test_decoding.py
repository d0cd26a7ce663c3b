"""From bytes to characters: what was guessed or means nothing is said, and nothing else turns into something else."""

from __future__ import annotations

import pytest

from gigachat_server.knowledge.extraction.child import read
from gigachat_server.knowledge.extraction.decoding import decode
from gigachat_server.knowledge.extraction.extracted import FileText, Warnings

LONG = "Die Rückgabe ist für Kunden möglich. Größe und Gewicht prüfen wir später.\n" * 20


def text_of(data: bytes, name: str = "a.txt") -> FileText:
    return read(data, name=name, media_type=None, most_characters=100_000)


def codes(extracted: FileText) -> dict[str, int]:
    return {warning.code: warning.count for warning in extracted.warnings}


@pytest.mark.parametrize("at", [0, 10, -1])
@pytest.mark.parametrize("wrong", [b"\xfc", b"\xff", b"\xc3", b"\xe2\x82"])
def test_one_wrong_byte_leaves_the_rest_as_it_was(at: int, wrong: bytes) -> None:
    lines = LONG.encode().split(b"\n")
    lines[at] += wrong + b" x"
    extracted = text_of(b"\n".join(lines))
    assert extracted.text.replace("\ufffd x", "") == LONG
    assert codes(extracted) == {"characters_replaced": 1}
    assert extracted.warnings[0].where == f"line {len(lines) if at == -1 else at + 1}"


def test_a_text_that_says_the_replacement_character_itself_is_whole() -> None:
    assert text_of(f"A \ufffd is shown. {LONG}".encode()).warnings == ()


def test_a_few_errors_count_more_than_what_somebody_declared() -> None:
    assert "möglich" in decode(LONG.encode() + b"\xfc", declared="windows-1252")
    assert decode("für 9 €".encode("cp1252"), declared="utf-8") == "für 9 €"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Dodání do 3 dnů", "cp1250"),
        ("Zwrot w ciągu 14 dni, koszt 9 zł", "cp1250"),
        ("A csomag két hét múlva érkezik, őszintén", "cp1250"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy", "cp1250"),
        ("İade süresi otuz gün, kargo ücreti değişir", "cp1254"),
        ("Ürünü şu adrese gönderin: ağaç sokağı", "cp1254"),
        ("Grüße – 9 € für Größe 40", "cp1252"),
        ("Le délai où l'été", "cp1252"),
        ("¿Cuánto tarda la devolución?", "cp1252"),
        ("Доставка бесплатна", "cp1251"),
        ("Доставка бесплатна", "koi8-r"),
        ("Η παράδοση είναι δωρεάν", "cp1253"),
    ],
)
def test_a_short_text_in_an_old_encoding_is_read_as_its_language_has_it(text: str, encoding: str) -> None:
    extracted = text_of(text.encode(encoding))
    assert extracted.text == text
    assert codes(extracted) == {"encoding_guessed": 1}


@pytest.mark.parametrize(
    "text",
    [
        "Parcels are sent on Monday.",
        "Посылку можно вернуть в течение 30 дней.",
        "包裹可以在送达后三十天内退回。",
        "荷物は三十日以内に返品できます。",
        "소포는 30일 이내에 반품할 수 있습니다.",
        "Η παράδοση είναι δωρεάν.",
        "يمكن إرجاع الطرود",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_told_in_every_script(text: str, encoding: str) -> None:
    extracted = text_of(text.encode(encoding))
    assert extracted.text == text
    assert extracted.warnings == ()


@pytest.mark.parametrize("hidden", ["\u00ad", "\u200b", "\u2060", "\ufeff"])
@pytest.mark.parametrize(("name", "frame"), [("a.txt", "{}"), ("a.md", "{}"), ("a.html", "<html><body><p>{}</p></body></html>")])
def test_what_nobody_sees_does_not_split_a_word(hidden: str, name: str, frame: str) -> None:
    data = frame.format(f"Rück{hidden}gabe in 30 Tagen ab Liefer{hidden}ung").encode()
    assert text_of(data, name).text == "Rückgabe in 30 Tagen ab Lieferung"
    joined = "👩\u200d👧 می\u200cخواهم"
    assert joined in text_of(frame.format(joined + " is what it says of the family").encode(), name).text


def test_every_byte_has_a_text_in_little_time() -> None:
    for data in (bytes(range(128, 256)) * 8_000, b"\xc3\xbc\xff" * 300_000, b"\x04 " * 400_000):
        assert decode(data, warnings=Warnings())
