"""Where sentences end, in many languages: each text is given as its sentences, joined by one space or as said."""

from __future__ import annotations

import time

import pytest

from gigachat_server.language.sentences import LONGEST_SENTENCE, sentences

JOINED_BY_A_SPACE = [
    ["Open the lid.", "Press the button!", "Does it work?", "Fine"],
    ["Dr. Smith paid 3.50 dollars, e.g. for tea.", "He left."],
    ["The U.S. Army uses it.", "It works."],
    ["We ship to the U.S. and the U.K.", "The fee is 5 euros."],
    ["We ship within the U.S.", "The fee is 5 euros."],
    ["Warner Bros. Pictures made it.", "Acme Inc. sells it."],
    ["It is sold by Acme Inc.", "The price is low."],
    ["See No. 5 of the list.", "No.", "You must call us."],
    ["Is it free?", "No.", "It costs 5 euros."],
    ["We open at 9 a.m. on Mondays.", "We close at 5 p.m.", "You can call before."],
    ["Bring pens, paper, etc.", "We have chairs."],
    ["J. R. Smith founded it with A. B. Jones.", "He retired."],
    ["Take vitamin C.", "It helps."],
    ["He lives on Main St.", "The shop is near."],
    ["St. John came on Jan. 5 with Mr. Brown.", "Good."],
    ["Version 3.10 is out.", "See fig. 3 and p. 12 for more."],
    ["Das gilt z.B. für Bücher, d.h. für alle.", "Es kostet ca. 5 Euro inkl. MwSt.", "Gut."],
    ["Das gilt z. B. für Bücher bzw. Hefte.", "Nr. 5 ist frei."],
    ["Wir öffnen am 14. März.", "Der 2. Weltkrieg endete.", "Es waren 14.", "Mehr nicht."],
    ["Wir haben Stifte, Hefte usw.", "Wir liefern."],
    ["Il coûte env. 5 euros.", "M. Dupont et Mme. Durand viennent.", "Voir p. 5."],
    ["Puede pagar, p. ej. con tarjeta.", "El Sr. Pérez y la Sra. López atienden.", "¿Cuánto cuesta?", "¡Nada!"],
    ["Il dott. Rossi riceve alle 9.", "La sig.ra Bianchi no."],
    ["O Sr. Silva atende na Av. Paulista.", "É grátis."],
    ["Dat kan bijv. met iDEAL.", "Dhr. Jansen helpt u."],
    ["Мы находимся на ул. Ленина, д. 5, т.е. в центре.", "Это бесплатно."],
    ["Есть чай, кофе и т.д.", "Мы открыты."],
    ["Mieszka przy ul. Długiej 5, tj. w centrum.", "To np. dobry adres."],
    ["Det gäller t.ex. böcker, bl.a. romaner.", "Kl. 5 stänger vi."],
    ["Πόσο κοστίζει;", "Δεν ξέρω, π.χ. πέντε ευρώ.", "Εντάξει."],
    ["ما هو السعر؟", "السعر خمسة.", "هذا كل شيء."],
    ["قیمت کیا ہے۔", "یہ پانچ ہے۔"],
    ["यह दुकान खुली है।", "कीमत पाँच रुपये है॥", "क्या यह ठीक है?"],
    ["Wait…", "What?", "He said … nothing."],
    ['He said "Stop!" and left.', "(Really.)", "“Yes.”", "No."],
    ["Bu Dr. Yılmaz'ın kitabı, vb.", "Güzel."],
]
JOINED_BY_NOTHING = [
    ["今日は晴れ。", "明日は雨！", "本当？", "はい"],
    ["营业时间是九点。", "周末休息！"],
    ["यह खुला है।", "वह बंद है।"],
    ["متى؟", "الآن"],
]


@pytest.mark.parametrize("expected", JOINED_BY_A_SPACE, ids=lambda said: said[0])
def test_sentences_between_spaces(expected: list[str]) -> None:
    text = " ".join(expected)
    assert [text[start:end] for start, end in sentences(text)] == expected


@pytest.mark.parametrize("expected", JOINED_BY_NOTHING, ids=lambda said: said[0])
def test_sentences_that_nothing_divides(expected: list[str]) -> None:
    text = "".join(expected)
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_thai_is_divided_at_blanks_behind_much() -> None:
    first = "ร้านของเราเปิดให้บริการทุกวันตั้งแต่เวลาเก้าโมงเช้าถึงหกโมงเย็นยกเว้นวันหยุดนักขัตฤกษ์"
    second = "ลูกค้าสามารถคืนสินค้าได้ภายในสามสิบวันนับจากวันที่ได้รับสินค้า"
    text = f"{first} {second}"
    assert [text[start:end] for start, end in sentences(text)] == [first, second]
    assert len(sentences("เปิด จันทร์ ถึง ศุกร์")) == 1
    text = "สวัสดีค่ะยินดีต้อนรับค่ะ มีอะไรให้ช่วยไหม"
    assert len(sentences(text)) == 2


def test_a_wrapped_line_goes_on_in_scripts_without_capitals() -> None:
    first = "نحن نفتح أبوابنا كل يوم من الساعة التاسعة صباحا حتى الساعة السادسة"
    assert len(sentences(f"{first}\nمساء في جميع الفروع.")) == 1
    assert len(sentences(f"{first}.\nمساء في جميع الفروع.")) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", [".", ". ", "A. ", "No. ", "ก ", "ก", "।", "; ", "α; ", "1. ", "etc. ", "…", "\u0301", "a\n", "…\n"]
)
def test_no_text_takes_long(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    started_at = time.process_time()
    spans = sentences(text)
    assert time.process_time() - started_at < 10, "quadratic work would take minutes"
    assert all(0 < end - start <= LONGEST_SENTENCE for start, end in spans)
