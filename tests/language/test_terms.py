"""What texts are indexed by and what prompts ask for: the same thing is the same term, however either writes it."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gigachat_server.language import terms as of_terms
from gigachat_server.language.codes import Language
from gigachat_server.language.terms import query_words, terms


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        ("The cats were running", ["cat", "run"]),
        ("Don't the dogs' owners' understand?", ["dog", "owner", "understand"]),
        ("1.1.1.1 is pay-as-you-go: set max_tokens.", ["1.1.1.1", "pay", "payasyougo", "set", "max", "token", "maxtoken"]),
        ("https://example.com/faq", ["https", "exampl", "com", "examplecom", "faq"]),
        ("東京都の天気", ["東京", "京都", "都の", "の天", "天気"]),
        ("水", ["水"]),
        ("Привет, миры!", ["мир"]),
        ("हिन्दी भाषा", ["हिन्द", "भाष"]),
        ("ｃａｔｓ ﬁnds", ["cat", "find"]),
        ("parcels returning", ["parcel", "return"]),
        ("generously skies dying", ["generous", "sky", "die"]),
        ("consolidating relational hopefulness", ["consolid", "relat", "hope"]),
        ("dog’s cats'", ["dog", "cat"]),
        ("bad\ud800word", ["bad", "word"]),  # half a character of UTF-16, which is no character
        ("a" * 70, ["a" * 64]),
        ("Who are you?", ["who", "are", "you"]),  # nothing else is said
    ],
)
def test_terms_are_those_that_stores_hold(text: str, expected: list[str]) -> None:
    """Another stemmer, or another version of it, would no longer find what is indexed."""
    assert terms(text, None) == expected


def test_threads_do_not_mix_their_words() -> None:
    texts = [" ".join(f"{chr(97 + n)}{chr(97 + m)}runnings" for n in range(26)) for m in range(26)]
    alone = [terms(text, "en") for text in texts]
    of_terms._tables.clear()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda text: terms(text, "en"), texts)) == alone


def covered(prompt: str, text: str, language: Language | None = "en") -> float:
    """The share of the prompt's words that the text holds."""
    held = set(terms(text, language))
    asked = query_words(prompt, [language])
    return sum(not held.isdisjoint(word.alternatives) for word in asked) / len(asked)


# Each line: what is written in many ways and means one thing.
SAME = [
    ["E-1042", "E1042", "E 1042", "e–1042", "e-1042", "E_1042", "Ｅ－１０４２", "E.1042", "E/1042", "E#1042"],
    ["FR-10311", "FR10311", "FR 10311", "fr-10311", "FR–10311"],
    ["SKU 88-1", "SKU-88-1", "sku88-1"],
    ["AB12-CD34", "ab12cd34", "AB12–CD34"],
    ["INV/2024/0031", "INV-2024-0031", "inv-2024/0031"],
    ["1,000,000", "1.000.000", "1 000 000", "1\u00a0000\u00a0000", "1'000'000", "1’000’000", "1000000", "１００００００"],
    ["2,500", "2.500", "2 500", "2500", "٢٥٠٠", "२५००"],
    ["1.5", "1,5", "01.5"],
    ["1,234.56", "1.234,56", "1 234,56", "1234.56", "1'234.56"],
    ["25.00", "25,00", "25"],
    [
        "2025-03-14",
        "14.03.2025",
        "14/03/2025",
        "14-03-2025",
        "2025/03/14",
        "2025.03.14",
        "2025年3月14日",
        "2025年03月14日",
        "14.3.2025",
    ],
    ["14 March 2025", "March 14, 2025", "14. März 2025", "14 mars 2025", "2025-03-14", "14 de marzo de 2025", "14 marzo 2025"],
    ["14th of March 2025", "March 14th, 2025", "14 Mar 2025", "14-Mar-2025", "Mar. 14, 2025", "14 марта 2025", "14 Mart 2025"],
    ["14 de março de 2025", "14 maart 2025", "14 marca 2025", "14 मार्च 2025", "14 مارس 2025", "2025년 3월 14일", "14.03.2025"],
    ["1er mars 2025", "1. März 2025", "1 March 2025", "March 1, 2025"],
    ["March 14", "14 March", "14th March", "14. März", "3月14日"],
    ["March 2025", "März 2025", "2025年3月", "Mar 2025"],
    ["17:00", "5 pm", "5pm", "5 p.m.", "5:00 PM", "17h", "17h00", "17 Uhr", "17:00 Uhr"],
    ["9:30", "9:30 am", "9h30", "09:30", "9.30 Uhr"],
    ["10kg", "10 kg", "10 KG", "10-kg"],
    ["€25", "25 EUR", "25€", "25 €", "EUR 25", "€ 25", "€25.00"],
    ["$1,50", "$1.50", "1.50 USD", "USD 1.50"],
    ["£1,200", "1200 GBP", "£1200.00"],
    ["v2.1", "V2.1", "2.1"],
    ["+49 30 1234567", "+49 (30) 123-4567", "+49-30-1234567", "0049 30 1234567", "030 1234567", "(030) 1234567"],
    ["555-123-4567", "555 123 4567", "(555) 123-4567", "5551234567"],
    ["pre-order", "preorder", "pre order", "Pre-Order", "pre‑order"],
    ["e-mail", "email", "E-Mail"],
    ["check-in", "check in", "checkin"],
    ["wi-fi", "wifi", "Wi‑Fi", "WI-FI"],
    ["Café", "Cafe", "CAFÉ", "cafe\u0301"],
    ["naïve", "naive"],
    ["U.S.", "u.s."],
    ["iPhone 15", "iphone15", "iPhone-15"],
    ["COVID-19", "covid19", "Covid 19"],
]
# Where the one joined by a blank stands in the document, it may be two words as well.
ONLY_ASKED = {"E#1042", "pre order", "check in", "Covid 19", "iPhone 15", "covid19", "iphone15", "e_1042"}


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (prompt, text)
        for same in SAME
        for prompt in same
        for text in same
        if text not in ("pre order", "check in", "Covid 19", "iPhone 15", "5551234567") or prompt == text
    ],
)
def test_the_same_is_found_however_it_is_written(prompt: str, text: str) -> None:
    assert covered(prompt, f"We say {text} here.") == 1
    assert covered(f"what does {prompt} mean?", text) == 1


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("E-1042", "E-1043"),
        ("E-1042", "F-1042"),
        ("1.5", "15"),
        ("1,5", "15"),
        ("15", "1.5"),
        ("1,000", "1.0"),
        ("3.10", "3.1"),
        ("v2.1", "v2.10"),
        ("2025-03-14", "2025-03-15"),
        ("2025-03-14", "2024-03-14"),
        ("14.03.2025", "14.04.2025"),
        ("3 April 2025", "03/04/2025 is it"),  # the third of April, or the fourth of March
        ("March 4, 2025", "03/04/2025 is it"),
        ("5pm", "5am"),
        ("17:00", "5:00"),
        ("große", "grose"),
        ("10 kg", "100 kg"),
        ("030 1234567", "030 1234568"),
    ],
)
def test_what_differs_is_not_the_same(prompt: str, text: str) -> None:
    assert covered(prompt, f"We say {text} here.") < 1


def test_an_ambiguous_date_is_only_itself_in_english_and_has_its_day_first_elsewhere() -> None:
    assert covered("03/04/2025", "on 03/04/2025", "en") == 1
    assert covered("3. April 2025", "am 03/04/2025", "de") == covered("3 avril 2025", "le 03/04/2025", "fr") == 1
    assert covered("4 mars 2025", "le 03/04/2025", "fr") < 1
    assert covered("3.4.2025", "on 3 April 2025", "en") == 1


IDENTIFIERS = ["E-1042", "E1042", "E 1042", "SKU 88-1", "FR-10311", "4711-0815-22", "AB12CD", "12345678", "#4821", "error 404"]
NO_IDENTIFIERS = [
    "section 5", "of 3", "page 12", "room 101", "May 2025", "2025", "10kg", "10 kg", "€25", "EUR 250", "5pm",
    "17:00", "1,000,000",
    "100000", "3-5 days", "10-day", "24/7", "1.5", "v2", "2nd", "mp3", "A 500 gram pack", "top 10",
    "covid-19", "mid-2025", "14.03.2025",
]  # fmt: skip


@pytest.mark.parametrize("prompt", IDENTIFIERS)
def test_what_names_one_thing_is_an_identifier(prompt: str) -> None:
    assert any(word.is_identifier for word in query_words(prompt, ["en"]))
    assert any(word.is_identifier for word in query_words(f"What does {prompt} mean?", ["en"]))


@pytest.mark.parametrize("prompt", NO_IDENTIFIERS)
def test_ordinary_numbers_are_no_identifiers(prompt: str) -> None:
    assert not any(word.is_identifier for word in query_words(prompt, ["en"]))
    assert not any(word.is_identifier for word in query_words(f"is it {prompt} then?", ["en"]))


def test_a_blank_joins_no_ordinary_words_in_a_text() -> None:
    assert terms("section 5 of 3 rooms costs 80 euros", "en") == ["section", "5", "3", "room", "cost", "80", "euro"]


@pytest.mark.parametrize(
    ("language", "prompt", "text"),
    [
        ("de", "Wie hoch ist die Kaution?", "Kautionen werden erstattet."),
        ("de", "Oeffnungszeiten", "Unsere Öffnungszeiten"),
        ("de", "Öffnungszeiten", "Unsere Oeffnungszeiten"),
        ("de", "grosse Größe", "Große Größen"),
        ("de", "Was muss ich zurückgeben", "Man muss alles zurückgeben."),
        ("de", "Rückgabe Frist", "Die Rückgabefrist"),
        ("fr", "Combien coûtent les assurances ?", "L’assurance: combien elles coûtent"),
        ("fr", "electricite", "L'électricité"),
        ("fr", "j'ai perdu mon code", "un code perdu"),
        ("es", "¿Cuánto cuestan las devoluciones?", "La devolución cuesta"),
        ("es", "devolucion", "devoluciones"),
        ("pt", "Como cancelar a assinatura?", "O cancelamento da assinatura: cancelar"),
        ("it", "Come posso restituire i prodotti?", "Il prodotto si può restituire"),
        ("nl", "Hoeveel kosten de pakketten?", "Een pakket kost vijf euro; kosten"),
        ("ru", "Сколько стоят билеты?", "Билет"),
        ("ru", "ёлка", "елки"),
        ("uk", "Скільки коштують квитки?", "квитки коштують"),
        ("pl", "Ile kosztują bilety?", "Biletów kosztują"),
        ("tr", "Siparişlerim nerede?", "siparişlerim"),
        ("tr", "ISPARTA İstanbul", "ısparta istanbul"),
        ("sv", "Var är paketen?", "paketet"),
        ("hi", "किताबें ज़रूर", "किताब जरूर"),
        ("ar", "أين الطلبات؟", "الطلبات"),
        ("ar", "مكتبه", "المكتبة"),
        ("ar", "اسعار", "الأسعار"),
        ("ar", "كِتَاب", "كتاب"),
        ("fa", "كتاب", "کتاب"),
        ("he", "איפה המשלוח?", "משלוח"),
        ("he", "החזר כספי", "הַחְזָר כספי"),
        ("el", "πόσο κοστίζει η αποστολή", "Η ΑΠΟΣΤΟΛΗ κοστιζει"),
        ("vi", "van chuyen", "vận chuyển"),
        ("zh", "请问运费是多少？", "运费"),
        ("ja", "送料はいくらですか", "送料は"),
        ("ko", "배송비는 얼마인가요?", "배송비는"),
        ("th", "ค่าจัดส่งเท่าไหร่", "ค่าจัดส่ง"),
    ],
)
def test_each_language_has_its_stems_and_stop_words(language: Language, prompt: str, text: str) -> None:
    assert covered(prompt, text, language) == 1


def test_a_prompt_is_looked_up_in_each_language_of_the_documents() -> None:
    [word] = query_words("Versicherungen", ["de", "en", None])
    assert {"versicher", "versicherungen"} <= set(word.alternatives)


def test_capitals_tell_it_from_the_word() -> None:
    assert [word.word for word in query_words("What does IT do?", ["en"])] == ["it"]
    assert covered("the IT department", "Our department for IT is here.") == 1
    assert covered("IT", "Give it back when it is broken") == 0
    assert covered("WHERE IS IT, AND WHAT IS IT", "the lamp") == 0


FILLED = {
    "en": "please tell me how much is the deposit|hi, I need to know about the deposit thanks|what does deposit mean",
    "de": "Wie hoch ist die Kaution|Hallo, gibt es eine Kaution bitte|Kann ich eine Kaution haben|was ist mit der Kaution",
    "fr": "Quel est le montant de la caution svp|est-ce qu'il y a une caution|bonjour, je voudrais savoir pour la caution",
    "es": "¿Cuánto es la fianza?|hola, quiero saber si hay fianza|¿me puede decir qué es la fianza?",
    "it": "Quanto è la cauzione?|salve, vorrei sapere se c'è una cauzione|mi serve la cauzione?",
    "pt": "Quanto é a caução?|olá, queria saber se há caução|preciso de caução?",
    "nl": "Hoeveel is de borg?|hallo, is er een borg nodig|kan ik de borg krijgen",
    "ru": "Какой залог?|здравствуйте, подскажите есть ли залог|мне нужен залог?",
    "tr": "Depozito ne kadar?|merhaba, depozito var mı|depozito gerekiyor mu",
    "pl": "Ile to kaucja?|dzień dobry, czy jest kaucja|potrzebuję kaucja?",
    "sv": "Hur mycket är depositionen?|hej, finns det någon depositionen|behöver jag depositionen",
    "ar": "كم التأمين؟|مرحبا هل هناك التأمين|أريد التأمين من فضلك",
    "hi": "जमानत कितनी है?|नमस्ते, क्या जमानत चाहिए|मुझे जमानत के बारे में बताइए",
    "he": "כמה הפיקדון?|שלום, האם יש פיקדון|אני צריך פיקדון בבקשה",
    "fa": "ودیعه چقدر است؟|سلام آیا ودیعه هست|لطفا ودیعه را",
}


@pytest.mark.parametrize(("language", "prompt"), [(own, text) for own, texts in FILLED.items() for text in texts.split("|")])
def test_fillers_are_no_words_of_a_prompt(language: Language, prompt: str) -> None:
    assert len(query_words(prompt, [language])) <= 1 + (language == "fr")  # "montant"


@pytest.mark.parametrize("prompt", ["who are you", "the who", "IT", "can", "what is it?", "wie geht es", "¿qué es?", "什么"])
def test_words_that_are_all_there_is_are_kept(prompt: str) -> None:
    assert query_words(prompt, ["en"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    ["-", "1", "1.", "1,", "1 ", "1-", "a", "a-", "a1", "A 1", "\u0301", "\u0301\u0323", "a\u0301", ".", "€1", "March 1",
     "漢", "0 ",
     "'a", "+0", "( 0", "ا", "\ufdfa", "Ａ", "١", "1年", "a_", "#1", "e-1042 ",
     "14 March 2025 ", "'", "l'", "什么", "é-"],
)  # fmt: skip
def test_no_text_takes_long_and_every_term_can_be_stored(unit: str) -> None:
    text = unit * (1_000_000 // len(unit) if unit != "\ufdfa" else 20_000)
    started_at = time.process_time()
    found = terms(text, "en")
    asked = query_words(text[:4_000], ["en", "de"])
    assert time.process_time() - started_at < 15, "quadratic work would take minutes"
    assert not any(" " in term or "|" in term or not term or len(term) > 300 for term in set(found))
    assert not any(" " in term or "|" in term for word in asked for term in word.alternatives)


def test_terms_are_the_same_for_any_text_that_is_its_own_prompt() -> None:
    """Whatever is written: the prompt of the same words asks for terms that the text has."""
    dice = random.Random(11)
    languages: tuple[Language | None, ...] = (None, "en", "de", "fr", "zh")
    pieces = ["E", "1042",
              "-", ".", ",", " ", " ", " ", "März", "14", "2025", "€", "kg", "pre", "order", "Café", "5", "pm", "(", ")",
              "+", "0", "漢字",
              "и", "هل", "’", "'", "/", ":", "#", "No", "v2", "10kg", "the", "年", "月", "\u0301", "\n"]  # fmt: skip
    for _ in range(3_000):
        text = "".join(dice.choices(pieces, k=dice.randint(1, 12)))
        language: Language | None = dice.choice(languages)
        held = set(terms(text, language))
        for word in query_words(text, [language]):
            assert not held or word.alternatives, text
            if word.is_identifier:
                assert not held.isdisjoint(word.alternatives), (text, word, held)
