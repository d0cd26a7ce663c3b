"""Which language a text is in, and whether a prompt is in another one than a document. Pure.

Idea: the script decides, and among the languages that share one, their commonest words and the letters that only some of them
have. Invariant: what cannot be told is None, never a guess; a prompt counts as foreign only where that is clear, since a
false alarm costs more than a miss.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache, lru_cache
from typing import Literal

from gigachat_server.language.codes import Language
from gigachat_server.language.stop_words import spelled, stop_words

Script = Literal["latin", "cyrillic", "greek", "hebrew", "arabic", "devanagari", "thai", "han", "kana", "hangul"]

_LOOKED_AT = 2_000  # characters

_BY_WORDS: tuple[Language, ...] = (
    "en", "de", "fr", "es", "it", "pt", "nl", "tr", "pl", "sv", "da", "no", "fi", "hu", "ro", "id", "vi", "cs",
)  # fmt: skip
# Words that customers' questions often hold. They say too much to be stop words, and tell the language of a short prompt.
_ASKED: dict[Language, str] = {
    "en": "cost costs price open opening order ship shipping refund return cancel pay",
    "de": "kostet kosten preis geöffnet öffnungszeiten bestellung bestellen lieferung rückgabe kündigen stornieren bezahlen",
    "fr": "coûte coûtent prix ouvert horaires commande livraison remboursement annuler payer rendre",
    "es": "cuesta cuestan precio abierto horario pedido envío devolución cancelar pagar abren",
    "it": "costa costano prezzo aperto aperti orari ordine spedizione rimborso annullare pagare disdire",
    "pt": "custa custam preço aberto horário pedido envio entrega reembolso devolução cancelar pagar abrem",
    "nl": "kost kosten prijs geopend openingstijden bestelling bestellen verzending retour annuleren betalen",
    "sv": "kostar pris öppet öppettider beställning frakt frakten retur avboka betala",
    "da": "koster pris åbent åbningstider bestilling ordre fragt fragten retur annullere betale",
    "no": "koster pris åpent åpningstider bestilling ordre frakt frakten retur avbestille betale",
    "fi": "maksaa hinta auki aukioloajat tilaus toimitus palautus peruuttaa peruuttaa maksan",
    "pl": "kosztuje kosztują cena otwarte godziny zamówienie wysyłka dostawa zwrot anulować zapłacić",
    "cs": "stojí cena otevřeno objednávka doprava doručení vrácení zrušit zaplatit",
    "hu": "kerül ár nyitva rendelés szállítás visszaküldés lemondani fizetni",
    "ro": "costă preț deschis comandă comanda livrare livrarea retur anula plăti",
    "tr": "ücreti ücret fiyat fiyatı açık sipariş siparişim kargo iade iptal ödeme saat",
    "id": "biaya harga buka pesanan pengiriman pengembalian batalkan bayar",
    "vi": "phí giá mở cửa đơn hàng vận chuyển hoàn tiền hủy thanh toán",
}
_LETTERS: tuple[tuple[Script, str], ...] = (
    ("latin", "a-zA-Z\u00aa-\u024f\u1e00-\u1eff"),
    ("cyrillic", "\u0400-\u052f"),
    ("greek", "\u0370-\u03ff\u1f00-\u1fff"),
    ("hebrew", "\u05d0-\u05ff"),
    ("arabic", "\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc"),
    ("devanagari", "\u0900-\u0963\u0970-\u097f"),
    ("thai", "\u0e01-\u0e30\u0e32-\u0e33\u0e40-\u0e46"),
    ("han", "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"),
    ("kana", "\u3041-\u30fa\u30fc-\u30ff\uff66-\uff9d"),
    ("hangul", "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3"),
)
_RUNS = {script: re.compile(f"[{letters}]+") for script, letters in _LETTERS}
_DENSE: frozenset[Script] = frozenset(("han", "kana", "hangul"))  # one sign says as much as three letters
_OF_SCRIPT: dict[Script, Language] = {"greek": "el", "hebrew": "he", "thai": "th", "kana": "ja", "hangul": "ko", "han": "zh"}
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# One that belongs to no address, path or code, whose pieces are words of some language by chance.
_PLAIN_WORD = re.compile(r"(?<![\w./:@#=&?+'’\"<$\\-])[^\W\d_]++(?:['’-][^\W\d_]++)*+(?![\w/:@#=&_\"<>(\\-]|\.\w)")
_FEW_WORDS = 12  # in more, the language has to have several of its own
_LEAST_SHARE = 0.1
# Letters that one language has and the others with words like its do not, or hardly ever.
_OWN_LETTERS: tuple[tuple[str, tuple[Language, ...]], ...] = (
    ("ß", ("de",)),
    ("ñ¿¡", ("es",)),
    ("ãõ", ("pt",)),
    ("ğış", ("tr",)),
    ("łęąśźżń", ("pl",)),
    ("ěřů", ("cs",)),
    ("őű", ("hu",)),
    ("țșă", ("ro",)),
    ("ơưđạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ", ("vi",)),
    ("æø", ("da", "no")),
    ("å", ("sv", "da", "no")),
    ("äö", ("de", "sv", "fi")),
    ("ü", ("de", "tr")),
    ("œêèùâîû", ("fr",)),
    ("ç", ("fr", "pt", "tr")),
)
_UKRAINIAN = re.compile("[іїєґ]")
_RUSSIAN = re.compile("[ыэёъ]")
_OTHER_CYRILLIC = re.compile("[ўјљњћђџѓќ]")
_PERSIAN = re.compile("[\u067e\u0686\u0698\u06af\u06a9\u06cc]")
_OTHER_ARABIC = re.compile("[\u0679\u0688\u0691\u06ba\u06d2\u06be\u06c1]")  # of Urdu
_ARABIC = re.compile("[\u0629\u0649\u0623\u0625]|\\bال")


def language(text: str) -> Language | None:
    """The language of a text, by its first 2,000 characters."""
    return _language_of(text[:_LOOKED_AT])


@lru_cache(maxsize=4_096)  # of what is looked at alone: it keeps what it is asked about, and documents are long
def _language_of(text: str) -> Language | None:
    script = _script(text)
    if script is None:
        return None
    if script == "latin":
        return _by_words(text)
    text = text.lower()
    if script == "han":
        return "ja" if len("".join(_RUNS["kana"].findall(text))) > 0 else "zh"
    if script == "cyrillic":
        return _cyrillic(text)
    if script == "arabic":
        return _arabic(text)
    if script == "devanagari":
        return "hi"
    return _OF_SCRIPT[script]


def is_foreign(prompt: str, document_language: Language | None) -> bool:
    """Whether a prompt is clearly in another language than a document in that one. False when in doubt.

    It is, where its script is another's, or where it has two more of the commonest words of some other language than of that
    one.
    """
    if document_language is None:
        return False
    prompt = prompt[:_LOOKED_AT]
    script = _script(prompt)
    if script is None:
        return False
    of_document = _script_of(document_language)
    if script not in of_document:
        return script != "latin" or _says_something(prompt)
    if script == "latin":
        scores = _scores(prompt)
        own = scores[document_language]
        return max(scores.values()) >= own + 2
    told = language(prompt)
    return told is not None and told != document_language and script not in ("han", "hangul")


def _script_of(language: Language) -> tuple[Script, ...]:
    if language in _BY_WORDS:
        return ("latin",)
    if language == "ja":
        return ("kana", "han")
    if language in ("ru", "uk"):
        return ("cyrillic",)
    if language in ("ar", "fa"):
        return ("arabic",)
    if language == "hi":
        return ("devanagari",)
    return next((script,) for script, of in _OF_SCRIPT.items() if of == language)


def _says_something(prompt: str) -> bool:
    """Whether Latin words are more than names and abbreviations, which every language has."""
    return any(len(word) > 2 and word.islower() for word in _WORD.findall(prompt))


def _script(text: str) -> Script | None:
    """The script of most of the letters; None where there are none."""
    if text.isascii():
        return "latin" if _RUNS["latin"].search(text) else None
    counts: dict[Script, int] = {}
    for script, runs in _RUNS.items():
        count = sum(map(len, runs.findall(text)))
        if count:
            counts[script] = 3 * count if script in _DENSE else count
    if not counts:
        return None
    return max(counts, key=counts.__getitem__)


@cache
def _languages_of_words() -> dict[str, tuple[Language, ...]]:
    """Without its accents a word counts, too, unless it is then a word of another language ("thế" is no "the")."""
    found: dict[str, list[Language]] = {}
    for each in _BY_WORDS:
        for word in spelled(each).union(_ASKED[each].split()):
            found.setdefault(word, []).append(each)
    known = set(found)
    for each in _BY_WORDS:
        for word in stop_words(each) - known:
            found.setdefault(word, []).append(each)
    return {word: tuple(languages) for word, languages in found.items()}


@lru_cache(maxsize=512)  # both functions ask for those of a prompt
def _scores(text: str) -> dict[Language, float]:
    """How many of a text's words are among the commonest of each language that is written in Latin letters."""
    known = _languages_of_words()
    scores: dict[Language, float] = dict.fromkeys(_BY_WORDS, 0.0)
    text = text.lower()
    for word in dict.fromkeys(_PLAIN_WORD.findall(text)):
        for each in known.get(word.replace("’", "'"), ()):
            scores[each] += 1
    if not text.isascii():
        said = set(text)
        for letters, languages in _OWN_LETTERS:
            if not said.isdisjoint(letters):
                for each in languages:
                    scores[each] += 1.0
    return scores


def _by_words(text: str) -> Language | None:
    (best, most), (_, second) = Counter(_scores(text)).most_common(2)
    said = len(set(_PLAIN_WORD.findall(text.lower())))
    is_much = said <= _FEW_WORDS or most >= _LEAST_SHARE * said
    return best if most > second and most >= 1 and is_much else None


def _cyrillic(text: str) -> Language | None:
    if _OTHER_CYRILLIC.search(text):
        return None
    if _UKRAINIAN.search(text):
        return None if _RUSSIAN.search(text) else "uk"
    if _RUSSIAN.search(text):
        return "ru"
    said = set(_WORD.findall(text))
    russian, ukrainian = (len(said & stop_words(each)) for each in ("ru", "uk"))
    return "ru" if russian > ukrainian else "uk" if ukrainian > russian else None


def _arabic(text: str) -> Language | None:
    if _OTHER_ARABIC.search(text):
        return None
    if _PERSIAN.search(text):
        return "fa"
    said = set(_WORD.findall(text))
    arabic, persian = len(said & stop_words("ar")) + bool(_ARABIC.search(text)), len(said & stop_words("fa"))
    return "ar" if arabic > persian else "fa" if persian > arabic else None
