"""What kind of answer a prompt wants, and whether a text holds one: a time, a price, how long, how many, where, whom to reach.

The idea: "When do you open?" is answered by what holds a time, however few words it shares with the prompt. Each kind has
words that ask for it and words that answer, in the languages of most customers. They are hints among other features, so a
word too many costs little.

Invariants: pure; only the start of a text is looked at; the time is linear in it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

LONGEST_PROMPT = 1_000
LONGEST_STATEMENT = 800

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")

# In the lists below `open*` is the beginning of a word, `how_much` are words in a row, and what follows `~` may stand anywhere
# in the text, as scripts without blanks need it.
_DAYS = """monday* tuesday* wednesday* thursday* friday* saturday* sunday* weekend* weekday* mon tue wed
    thu fri sat sun montag* dienstag* mittwoch* donnerstag* freitag* samstag* sonntag* werktag* lundi mardi mercredi jeudi
    vendredi samedi dimanche lunes martes miércoles jueves viernes sábado* domingo* segunda terça quarta quinta sexta
    lunedì martedì mercoledì giovedì venerdì sabato domenica maandag dinsdag woensdag donderdag vrijdag zaterdag zondag
    pazartesi salı çarşamba perşembe cuma cumartesi pazar понедельник* вторник* сред четверг* пятниц* суббот* воскресен*
    ~周一 ~周二 ~周三 ~周四 ~周五 ~周六 ~周日 ~周末 ~星期 ~月曜 ~火曜 ~水曜 ~木曜 ~金曜 ~土曜 ~日曜 ~सोमवार ~मंगलवार
    ~बुधवार ~गुरुवार ~शुक्रवार ~शनिवार ~रविवार ~السبت ~الأحد ~الاثنين ~الثلاثاء ~الأربعاء ~الخميس ~الجمعة"""
_MONTHS = """january february march april june july august september october november december januar februar
    märz juni juli oktober dezember janvier février mars avril mai juin juillet août septembre octobre novembre décembre
    enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre janeiro fevereiro março maio
    junho julho setembro outubro novembro dezembro gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre
    januari februari maart ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık январ* феврал* марта
    апрел* мая июн* июл* август* сентябр* октябр* ноябр* декабр*"""
_NUMERALS = """one two three four five six seven eight nine ten twelve fourteen thirty half ein eine einen
    einem einer zwei drei vier fünf sechs sieben acht zehn vierzehn un une deux trois quatre cinq sept dix quinze dos tres
    cuatro cinco siete diez quince dois duas três quatro sete dez due tre quattro cinque dieci twee drie vijf tien один
    одну два две двух трёх трех три четыре пять десять bir iki üç"""
_SPANS = """second* minute min mins minutes hour* hrs day days week weeks month* year* night nights sekunde*
    minuten stunde* tag tage tagen werktag* arbeitstag* woche* monat* jahr* nächte* heure* jour* semaine* mois an ans
    année* minuto* hora horas día días dia dias semana* mes meses mês año* ano anos minuti ora ore giorn* settiman* mese
    mesi anno anni uur uren dag dagen weken maand* jaar минут* час часа часов дня дней день дни недел* месяц* лет год года
    суток сутки dakika saat gün hafta ay yıl ~天 ~小时 ~小時 ~分钟 ~分鐘 ~个月 ~個月 ~時間 ~週間 ~か月 ~ヶ月 ~日以内 ~日前
    ~営業日 ~일 ~시간 ~दिन ~घंट ~मिनट ~महीन ~साल ~يوم ~أيام ~دقيقة ~دقائق ~ساعة ~ساعات ~شهر ~أشهر ~أسبوع ~سنة"""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


class _Words:
    """Words, beginnings of words, words in a row and parts of texts, of which a text may hold one."""

    def __init__(self, listed: str) -> None:
        entries = listed.split()
        self._words = frozenset(entry for entry in entries if entry[0] != "~" and "_" not in entry and "*" not in entry)
        self._beginnings = tuple(entry[:-1] for entry in entries if entry[-1] == "*" and "_" not in entry)
        self._rows = tuple(
            f" {entry.replace('_', ' ')} ".removesuffix("* ") for entry in entries if "_" in entry and entry[0] != "~"
        )
        self._parts = tuple(entry[1:].replace("_", " ") for entry in entries if entry[0] == "~")

    def are_in(self, text: _Text) -> bool:
        return (
            not self._words.isdisjoint(text.words)
            or any(word.startswith(self._beginnings) for word in text.words)
            or any(row in text.row for row in self._rows)
            or (not text.whole.isascii() and any(part in text.whole for part in self._parts))
        )


class _Text:
    """A text as these lists are looked for in it."""

    __slots__ = ("row", "whole", "words")

    def __init__(self, text: str) -> None:
        self.whole = text.casefold()
        said = _WORD.findall(self.whole)
        self.words = frozenset(said)
        self.row = f" {' '.join(said)} "


class _Kind(NamedTuple):
    """What asks for it, and what answers: one of the words, or the marks."""

    asking: str
    answering: str
    marks: str = r"(?!)"
    needs_both: bool = False


_KINDS = {
    "time": _Kind(
        """when what_time how_late how_early hours open opens opening opened close closes closed closing
    deadline what_day which_day what_date until wann uhrzeit öffnungszeit* sprechzeit* geöffnet offen schließ*
    bis_wie_viel_uhr quand horaire* heure* ouvert* ouvre* ouverture* ferme fermé* fermeture* cuándo cuando horario*
    qué_hora abre* abren abierto cierr* quando horas que_horas aberto abrem fecha fecham orari orario aperto apre chiude
    chiuso wanneer hoe_laat openingstijden gesloten ne_zaman saat_kaç* açık kapalı когда во_сколько до_скольки час*
    открыт* работает* закры* график* ~几点 ~什么时候 ~何时 ~开放 ~营业 ~时间 ~いつ ~何時 ~営業 ~定休 ~कब ~बजे ~متى ~الساعة
    ~مواعيد ~أوقات ~เมื่อไหร่ ~กี่โมง ~언제 ~몇_시""",
        f"""{_DAYS} {_MONTHS} noon midnight midday mittag* mitternacht midi minuit mediodía medianoche
    meio-dia полдень полноч* uhr o'clock uur a_m p_m ~الساعة ~बजे""",
        r"\b\d{1,2}[:.h]\d{2}\b|\b\d{1,2}\s?(?:am|pm|h)\b|\d\s?(?:点|點|時|시|час|月|日)|\b(?:1[5-9]|20)\d\d\b",
    ),
    "price": _Kind(
        """how_much cost costs price* fee fees charge charged charges charging pay paid paying expensive
    cheap cheaper refund* discount* free rate rates deposit fine penalty kostet kosten preis* gebühr* teuer billig wieviel
    wie_viel rabatt* kostenlos gratis bezahl* zahle* zahlen combien coûte* coût* tarif* prix payer paie payez gratuit*
    cher frais remise cuánto precio* cuesta* vale cuota* pago pagar paga descuento quanto preço* custa* desconto grátis
    taxa costa prezz* gratuit* sconto hoeveel kost prijs* ne_kadar ücret* fiyat* сколько_стоит цена цены стоимост* почём
    почем штраф* бесплатн* платн* скидк* dollar* euro euros ~$ ~€ ~£ ~多少钱 ~价格 ~收费 ~票价 ~要钱 ~费用 ~免费 ~押金
    ~いくら ~料金 ~値段 ~無料 ~कितने_का ~कितना_पैसा ~शुल्क ~किराय ~कीमत ~दाम ~بكم ~سعر ~رسوم ~تكلف ~مجان ~الغرام ~ราคา
    ~เท่าไหร่ ~얼마 ~가격""",
        """free no_charge percent kostenlos* kostenfrei* gebührenfrei umsonst prozent gratuit* gratis
    gratuito* gratuita* grátis pour_cent por_ciento por_cento bedava ücretsiz бесплатн* процент* euro euros eur dollar*
    usd cents pence crown* kr franc* chf pounds reais pesos руб* ~元 ~円 ~원 ~रुपय ~ريال ~درهم ~บาท ~免费 ~免費 ~無料
    ~半额 ~半額 ~मुफ़्त ~निःशुल्क ~مجان ~ฟรี ~무료""",
        r"[$€£¥₹₽₩₺]\s?\d|\d\s?[$€£¥₹₽₩₺%]",
    ),
    "duration": _Kind(
        """how_long how_soon how_quick* how_fast how_often how_many_days how_many_weeks how_many_months
    how_many_years how_many_hours how_many_minutes warranty guarantee wait valid notice within wie_lange wie_schnell
    wie_bald wie_oft dauer* frist* gültig garantie combien_de_temps combien_de_jours durée délai* valable cuánto_tiempo
    cuánto_tarda* tarda* cuánto_dura dura demora* plazo* garantía quanto_tempo prazo* quantos_dias garantia hoe_lang
    hoe_snel ne_kadar_sür* kaç_gün kaç_saat как_долго сколько_времени сколько_дней через_сколько срок* как_быстро гаранти*
    ~多久 ~多长时间 ~几天 ~多少天 ~有效期 ~どのくらい ~どれくらい ~何日 ~何時間 ~期限 ~कितने_दिन ~कितने_समय ~कितनी_देर
    ~कितने_घंटे ~كم_يوم ~كم_مدة ~كم_من_الوقت ~كم_يستغرق ~مدة ~ضمان ~นานแค่ไหน ~며칠""",
        _SPANS,
        rf"[\d一二三四五六七八九十两]|\b(?:{'|'.join(_NUMERALS.split())})\b",
        needs_both=True,
    ),
    "number": _Kind(
        """how_many how_big how_heavy how_tall how_wide how_large how_far how_old how_thick how_deep
    how_high maximum max minimum min limit age weigh weighs weight size number wie_viele wie_groß wie_schwer wie_alt
    wie_hoch wie_weit höchst* mindest* gewicht größe combien taille poids âge cuántos cuántas peso tamaño edad quantos
    quantas tamanho idade quanti quante hoeveel kaç сколько размер* вес возраст* номер* ~几 ~多少 ~多大 ~多重 ~何歳 ~何人
    ~何個 ~何枚 ~何本 ~何回 ~いくつ ~कितन ~كم ~กี่ ~몇""",
        _NUMERALS,
        r"\d",
    ),
    "place": _Kind(
        """where address located location directions wo wohin woher adresse anschrift où dónde donde
    dirección ubicación onde morada endereço dove indirizzo waar adres nerede где куда откуда адрес* ~哪里 ~在哪 ~哪儿
    ~地址 ~怎么走 ~どこ ~住所 ~場所 ~कहाँ ~कहां ~पता ~أين ~وين ~عنوان ~ที่ไหน ~어디""",
        """street road avenue square lane floor building hall room rooms desk counter reception entrance
    lobby settings menu next_to opposite behind near at_the under straße strasse weg platz gasse stock erdgeschoss eingang
    empfang einstellungen rue place étage accueil entrée rez calle avenida plaza piso planta recepción entrada rua praça
    andar receção recepção via piazza piano straat plein verdieping sokak cadde kat ул улиц* площад* этаж* вход* ~straße
    ~strasse ~platz ~层 ~楼 ~号 ~街 ~路 ~階 ~丁目 ~मंज़िल ~सड़क ~شارع ~الطابق ~مدخل ~→""",
        r" > ",
    ),
    "contact": _Kind(
        """phone* call ring email* mail contact reach telephone hotline write_to telefon* anruf* nummer
    erreich* téléphone* appeler joindre contacter courriel teléfono llamar correo contacto contactar telefone ligar
    contato telefono chiamare contattare bellen telefoon* телефон* позвонить почт* связаться ~电话 ~联系 ~邮箱 ~客服 ~電話
    ~連絡 ~メール ~फोन ~फ़ोन ~नंबर ~संपर्क ~ईमेल ~هاتف ~رقم ~اتصل ~بريد ~تواصل ~โทร ~전화 ~연락""",
        "",
        r"[\w.+-]{1,64}+@\w|\b\d{2,5}[ /-]\d{2,5}\b|\b\d{6,15}\b|https?://",
    ),
}
_MAY_OPENINGS = _set("""can could do does did is are am will would may must should has have any kann können darf dürfen
    muss müssen gibt ist sind seid habt haben hat nehmt nehmen bekomme bekomm bekommt zahlt werden wird brauche braucht
    est_ce peut_on puis_je avez_vous y_a faut_il dois_je peux_tu on_peut puedo pueden hay se_puede tengo_que es son tienen
    tenéis aceptan posso podem há dá_para têm tem é è c'è ci_sono si_può avete kan mag is_er hebben можно есть_ли нужно
    надо могу может""")
_COURTESY = _set("""hey hi hello hallo sorry excuse me quick one question so and und bonjour hola oi olá ciao et а ну""")
_MAY_ANYWHERE = _Words("""~吗 ~嗎 ~能不能 ~可不可以 ~ますか ~ですか ~もいい ~क्या ~هل ~나요 ~까요 ~ไหม ли mı mi mu mü""")
_MAY_ANSWERED = _Words(
    """yes no can cannot can't may not must only never without except always allowed possible welcome
    available required included ja nein kann können darf dürfen nicht kein* nur erlaubt möglich muss müssen verboten oui
    non peut peuvent pouvez pas interdit* autorisé* doit doivent seulement sí puede* solo sólo nunca permit* prohib* sim
    pode* não proibid* apenas sì può possono vietat* kunnen niet geen alleen evet hayır değil да нет можно нельзя не
    только запрещ* разреш* ~不 ~可 ~禁止 ~ません ~できます ~ください ~नहीं ~सकते ~केवल ~لا ~يمكن ~فقط ~ไม่ ~ได้ ~없 ~있"""
)
_HOW = _Words(
    """how_do how_can how_to how_should how_would how_does_one steps step what_do_i what_do_we
    which_documents which_papers list_of checklist wie_kann wie_mach* wie_geh* wie_meld* wie_bekomm* wie_komm* wie_lösch*
    wie_änder* wie_stell* wie_setz* wie_bestell* was_muss was_brauch* welche_unterlagen comment quels_documents
    quel_document cómo_puedo cómo_hago cómo_se qué_documentos qué_necesito como_faço como_posso como_se che_documenti
    come_posso come_si hoe_kan hoe_moet hoe_doe как_мне как_можно какие_документы nasıl ~怎么 ~如何 ~哪些 ~どうやって
    ~どうすれば ~कैसे ~كيف ~อย่างไร ~어떻게"""
)


class PromptKinds(NamedTuple):
    """`kinds`: those that the prompt asks for; `wants_leave`: it asks whether something may be, or is
    so; `wants_steps`: how."""

    kinds: tuple[str, ...]
    wants_leave: bool
    wants_steps: bool


class _KindPatterns(NamedTuple):
    asking: _Words
    answering: _Words
    marks: re.Pattern[str]
    needs_both: bool


@cache
def _compiled() -> dict[str, _KindPatterns]:
    return {
        name: _KindPatterns(_Words(kind.asking), _Words(kind.answering), re.compile(kind.marks), kind.needs_both)
        for name, kind in _KINDS.items()
    }


def asked(prompt: str) -> PromptKinds:
    """What the prompt asks for."""
    text = _Text(prompt[:LONGEST_PROMPT])
    kinds = tuple(name for name, kind in _compiled().items() if kind.asking.are_in(text))
    said = iter(text.row.split())
    first = next((word for word in said if word not in _COURTESY), "")
    opening = {first, f"{first}_{next(said, '')}"}
    wants_leave = not _MAY_OPENINGS.isdisjoint(opening) or _MAY_ANYWHERE.are_in(text)
    return PromptKinds(kinds, wants_leave, _HOW.are_in(text))


def holds(kind: str, text: str) -> bool:
    """Whether the text could answer what asks for that kind."""
    looked_at = _Text(text[:LONGEST_STATEMENT])
    answer = _compiled()[kind]
    has_marks = answer.marks.search(looked_at.whole) is not None
    if answer.needs_both:
        return has_marks and answer.answering.are_in(looked_at)
    return has_marks or answer.answering.are_in(looked_at)


def gives_leave(text: str) -> bool:
    """Whether it says that something is so, or may be, or is not or may not."""
    return _MAY_ANSWERED.are_in(_Text(text[:LONGEST_STATEMENT]))
