"""What is nothing but courtesy, in many languages, and what leans on what was said before."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from gigachat_server.language.codes import LANGUAGES
from gigachat_server.language.courtesies import COURTESIES
from gigachat_server.language.turns import is_dependent, points_back, small_talk

GREETING = """
Hello
hi there!
Good morning
Hey, how are you doing today?
Guten Tag
Hallo zusammen
Moin
Grüß Gott
Bonjour à tous
Salut, ça va ?
Hola, buenos días
¿Qué tal?
Ciao, come stai?
Buongiorno
Olá, tudo bem?
Bom dia!
Goedemorgen
Hoi
Привет!
Здравствуйте
Добрый день
你好
您好！
こんにちは
おはようございます
안녕하세요
مرحبا
السلام عليكم
שלום
היי
سلام
नमस्ते
สวัสดีครับ
สวัสดีค่ะ
Merhaba
İyi günler
Cześć
Dzień dobry
Hej
Hei
Moi
Szia
Jó napot!
Bună ziua
Γεια σας
Καλημέρα
Xin chào
Selamat pagi
Halo kak
Dobrý den
Вітаю
hi there 👋
👋
Hi Anna
Hello Mr. Brown
Hallo Frau Müller!
Bonjour Madame
Hi, I'm Bob
namaste
Good day to you all
Hey team
"""
THANKS = """
Thanks!
Thank you, Bob!
ok great, thank you so much
thx bye
merci beaucoup
ok danke dir
Danke schön, Anna!
谢谢
谢谢你的帮助
ありがとうございます
どうもありがとうございました
شكرا
شكرا جزيلا لك
👍 thanks
👍
🙏🙏
😊
ok
great!
Perfect, thanks a lot for your help
Vielen Dank für die schnelle Antwort!
Herzlichen Dank
Muchas gracias por su ayuda
mil gracias
Grazie mille!
Obrigada pela ajuda
valeu
Dank je wel
Hartelijk bedankt
Спасибо большое за помощь!
благодарю вас
감사합니다
정말 고마워요
תודה רבה
خیلی ممنون
متشکرم
धन्यवाद
बहुत बहुत धन्यवाद
ขอบคุณค่ะ
ขอบคุณมากครับ
Teşekkür ederim
çok teşekkürler
Dziękuję bardzo
Tack så mycket
Mange tak
Tusen takk
Kiitos paljon
Köszönöm szépen
Mulțumesc mult
Ευχαριστώ πολύ
Cảm ơn bạn nhiều
Terima kasih banyak
Děkuji moc
Дякую за допомогу
That was very helpful, thank you
no thanks, that's all
Thanks :)
好的，谢谢
明白了
了解です
알겠습니다
C'est parfait, merci !
Alles klar, danke
Thank you for your quick reply
thank you very much indeed, Maria
Merci Sophie
Gracias, Carlos
Спасибо, Иван!
"""
FAREWELL = """
Bye
ok, goodbye then
see you later
Good night!
Tschüss
Auf Wiedersehen
Schönen Tag noch!
Au revoir
Bonne journée
Adiós
Hasta luego
Arrivederci
Tchau
Tot ziens
До свидания
再见
さようなら
안녕히 계세요
مع السلامة
להתראות
خداحافظ
अलविदा
ลาก่อน
Hoşça kalın
Do widzenia
Hej då
Farvel
Ha det bra
Näkemiin
Viszlát
La revedere
Αντίο
Tạm biệt
Sampai jumpa
Na shledanou
До побачення
Have a nice day!
Bye Anna
"""
ASKING = """
?!
Hello, what is the return policy?
Is it good?
How are refunds made?
What are the opening hours on Good Friday?
the day after tomorrow
one day
how much is it?
no
yes
Hi, where is my parcel?
Danke, und was kostet der Versand?
thanks for the refund policy?
Thanks, but what about shipping
Hallo, Öffnungszeiten?
Bonjour, vos horaires
gracias, ¿y el envío?
Hola, precio
спасибо, а доставка?
你好，退货政策
你好，请问几点开门？
ありがとう。送料は？
こんにちは、営業時間を教えてください
안녕하세요 배송비 얼마예요
شكرا، ما هو السعر؟
مرحبا أريد استرجاع طلبي
שלום, מה שעות הפתיחה?
سلام، قیمت چند است
नमस्ते, कीमत क्या है?
สวัสดี ราคาเท่าไหร่
Merhaba, kargo ücreti ne kadar?
Hi, E-1042
hello 5
What is a good day to visit?
thanks, I need a refund
good
help
Help me
how to say thank you
Can I get a thank you card?
what is ciao
Is there a welcome drink?
welcome pack
thank you card
greetings cards
Do you sell Hallo Kitty
❓
How do you do returns
what's up with my order
good price
morning hours
night service
Good night tea price
great value pack
ok but how
super bowl
Perfect gift ideas
And in the evening?
And the morning?
Super?
in advance
the team
Danke Geschenk Ideen
When
Contact
Address
Öffnungszeiten
Tag der offenen Tür
perfekte Größe
bon de réduction
buenas ofertas
Top 10
please call me
is it cool
are you there?
who are you
Hello World program
"""


def lines(table: str) -> list[str]:
    return table.strip().split("\n")


@pytest.mark.parametrize(
    "text, expected",
    [
        (text, kind)
        for kind, table in (("greeting", GREETING), ("thanks", THANKS), ("farewell", FAREWELL))
        for text in lines(table)
    ],
)
def test_courtesies_are_small_talk(text: str, expected: str) -> None:
    assert small_talk(text) == expected


@pytest.mark.parametrize("text", ["", " ", "hello " * 50, *lines(ASKING)])
def test_whoever_asks_makes_no_small_talk(text: str) -> None:
    assert small_talk(text) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_courtesies(language: str) -> None:
    own = COURTESIES[language]  # type: ignore[index]
    for kind in ("greeting", "thanks", "farewell"):
        for phrase in getattr(own, kind).split():
            assert small_talk(phrase.replace("_", " ")) is not None, phrase
    for phrase in own.agreed.split():
        assert small_talk(phrase.replace("_", " ")) in ("thanks", "greeting", "farewell"), phrase
    # What stands beside is not small talk by itself.
    assert not any(phrase in f"{own.greeting} {own.thanks} {own.farewell}".split() for phrase in own.beside.split())


@pytest.mark.parametrize("unit", ["hi ", "拜", "谢谢", "bye ", "👋", "ok ", "ありがとう", "a", "\u0301", ":) ", "Bob "])
@pytest.mark.parametrize("function", [small_talk, is_dependent, points_back])
def test_no_text_takes_long(function: Callable[[str], object], unit: str) -> None:
    function("warm")
    for text in ((unit * 100)[:100], (unit * 100)[:98] + " x", unit * (200_000 // len(unit))):
        started_at = time.process_time()
        function(text)
        assert time.process_time() - started_at < 2


@pytest.mark.parametrize(
    "text, expected",
    [
        ("How old is it?", True),
        ("And in the winter months along the northern coast?", True),
        ("What about the larger models of the previous series?", True),
        ("Why?", True),
        ("Any cheaper plans for students and teachers abroad", True),
        ("opening hours", True),
        ("Which countries export the most coffee every year?", True),
        ("When did Beyonce release her first solo album?", True),
        ("Und wenn ich es später zurückgebe als vereinbart war?", True),
        ("Et si je change d'avis après la livraison du colis ?", True),
        ("¿Y cuánto cuesta enviarlo a otra ciudad del país?", True),
        ("E se eu quiser mudar a data da entrega marcada?", True),
        ("А если посылка потеряется по дороге на склад?", True),
        ("那要提前多久申请？", True),
        ("じゃあ、返品はいつまでにすればいいですか", True),
        ("Wie lange dauert die Lieferung nach Österreich normalerweise?", False),
        ("Welche Unterlagen brauche ich für den Antrag auf Elternzeit?", False),
        ("Combien coûte la livraison express vers la Belgique ?", False),
        ("¿Cuál es el plazo de devolución de los productos?", False),
        ("Какой график работы у музея в праздники?", False),
        ("退货需要提前多久申请？", False),
        ("Where in Normandy did the Duke build castles first?", False),
        ("How many passengers travelled through Heathrow airport yearly?", False),
    ],
)
def test_is_dependent(text: str, expected: bool) -> None:
    assert is_dependent(text) is expected
