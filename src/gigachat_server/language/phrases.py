"""What gigachat says itself, in the language of whom it answers: refusals, greetings, thanks, labels.

English where that is unknown.
"""

from __future__ import annotations

from typing import NamedTuple

from gigachat_server.language.codes import Language


class _Phrases(NamedTuple):
    refusal: str
    greeting: str
    thanks: str
    farewell: str
    handed_off: str  # somebody will be there
    away: str  # nobody is, but somebody will answer
    near_offer: str  # before what is near the question, but no answer
    source: str
    sources: str


_PHRASES: dict[Language, _Phrases] = {
    "en": _Phrases(
        "Sorry, I don't know how to help with that.",
        "Hello! How can I help you?",
        "You're welcome!",
        "Goodbye!",
        "I'll pass you on to a colleague. Somebody will be with you soon.",
        "My colleagues are away at the moment. Please leave your question and an e-mail address here, and one of them "
        "will get back to you.",
        "This may help:",
        "Source: ",
        "Sources: ",
    ),
    "de": _Phrases(
        "Dabei kann ich leider nicht helfen.",
        "Hallo! Wie kann ich helfen?",
        "Gern geschehen!",
        "Auf Wiedersehen!",
        "Ich gebe das an eine Kollegin oder einen Kollegen weiter. Es meldet sich gleich jemand.",
        "Zurzeit ist leider niemand da. Bitte hinterlassen Sie hier Ihre Frage und eine E-Mail-Adresse, dann melden wir "
        "uns bei Ihnen.",
        "Das könnte weiterhelfen:",
        "Quelle: ",
        "Quellen: ",
    ),
    "fr": _Phrases(
        "Malheureusement, je ne peux pas vous aider sur ce point.",
        "Bonjour ! Comment puis-je vous aider ?",
        "Je vous en prie !",
        "Au revoir !",
        "Je transmets votre demande à un conseiller. Quelqu'un va vous répondre sous peu.",
        "Personne n'est disponible pour le moment. Laissez ici votre question et une adresse e-mail, et nous vous "
        "répondrons dès que possible.",
        "Ceci peut vous aider :",
        "Source : ",
        "Sources : ",
    ),
    "es": _Phrases(
        "Lo siento, no puedo ayudarle con eso.",
        "¡Hola! ¿En qué puedo ayudarle?",
        "¡De nada!",
        "¡Hasta luego!",
        "Le paso con un compañero. Alguien le atenderá en breve.",
        "En este momento no hay nadie disponible. Deje aquí su pregunta y una dirección de correo electrónico, y le "
        "responderemos lo antes posible.",
        "Quizás esto le ayude:",
        "Fuente: ",
        "Fuentes: ",
    ),
    "it": _Phrases(
        "Mi dispiace, non posso aiutarla su questo.",
        "Buongiorno! Come posso aiutarla?",
        "Prego!",
        "Arrivederci!",
        "La metto in contatto con un operatore. Qualcuno le risponderà a breve.",
        "Al momento non è disponibile nessuno. Lasci qui la sua domanda e un indirizzo e-mail, e le risponderemo appena "
        "possibile.",
        "Questo potrebbe esserle utile:",
        "Fonte: ",
        "Fonti: ",
    ),
    "pt": _Phrases(
        "Desculpe, não consigo ajudar com isso.",
        "Olá! Como posso ajudar?",
        "De nada!",
        "Até logo!",
        "Vou encaminhar a conversa para um atendente. Alguém responderá em breve.",
        "No momento não há ninguém disponível. Deixe aqui a sua pergunta e um endereço de e-mail, e responderemos assim "
        "que possível.",
        "Talvez isto ajude:",
        "Fonte: ",
        "Fontes: ",
    ),
    "nl": _Phrases(
        "Sorry, daar kan ik u niet mee helpen.",
        "Hallo! Waarmee kan ik u helpen?",
        "Graag gedaan!",
        "Tot ziens!",
        "Ik verbind u door met een collega. Er komt zo iemand bij u.",
        "Op dit moment is er niemand aanwezig. Laat hier uw vraag en een e-mailadres achter, dan nemen we contact met u op.",
        "Misschien helpt dit:",
        "Bron: ",
        "Bronnen: ",
    ),
    "ru": _Phrases(
        "К сожалению, я не могу с этим помочь.",
        "Здравствуйте! Чем могу помочь?",
        "Пожалуйста!",
        "До свидания!",
        "Передаю ваш вопрос сотруднику. Вам скоро ответят.",
        "Сейчас никого нет на месте. Оставьте здесь свой вопрос и адрес электронной почты, и мы вам ответим.",
        "Возможно, это поможет:",
        "Источник: ",
        "Источники: ",
    ),
    "zh": _Phrases(
        "抱歉，这个问题我暂时无法解答。",
        "您好！请问有什么可以帮您？",
        "不客气！",
        "再见！",
        "我已为您转接人工客服，请稍候。",
        "目前没有客服人员在线。请在此留下您的问题和电子邮箱，我们会尽快回复您。",
        "以下内容可能对您有帮助：",
        "来源：",
        "来源：",
    ),
    "ja": _Phrases(
        "申し訳ございませんが、その件についてはお答えできません。",
        "こんにちは。どのようなご用件でしょうか。",
        "どういたしまして。",
        "ご利用ありがとうございました。",
        "担当者におつなぎします。少々お待ちください。",
        "ただいま担当者が不在です。ご質問とメールアドレスをこちらにお残しください。後ほどご連絡いたします。",
        "こちらがご参考になるかもしれません：",
        "出典：",
        "出典：",
    ),
    "ko": _Phrases(
        "죄송합니다. 그 문의에는 도움을 드리기 어렵습니다.",
        "안녕하세요! 무엇을 도와드릴까요?",
        "천만에요!",
        "안녕히 가세요!",
        "상담원에게 연결해 드리겠습니다. 잠시만 기다려 주세요.",
        "지금은 상담원이 자리에 없습니다. 문의 내용과 이메일 주소를 남겨 주시면 답변드리겠습니다.",
        "다음 내용이 도움이 될 수 있습니다:",
        "출처: ",
        "출처: ",
    ),
    "ar": _Phrases(
        "عذرًا، لا أستطيع المساعدة في هذا الأمر.",
        "مرحبًا! كيف يمكنني مساعدتك؟",
        "على الرحب والسعة!",
        "مع السلامة!",
        "سأحوّلك إلى أحد الزملاء، وسيرد عليك أحدهم قريبًا.",
        "لا يوجد أحد من الزملاء متاحًا الآن. يرجى ترك سؤالك وعنوان بريدك الإلكتروني هنا، وسنرد عليك في أقرب وقت.",
        "قد يفيدك هذا:",
        "المصدر: ",
        "المصادر: ",
    ),
    "he": _Phrases(
        "מצטערים, אין לי אפשרות לעזור בנושא הזה.",
        "שלום! איך אפשר לעזור?",
        "בשמחה!",
        "להתראות!",
        "אעביר את הפנייה לנציג אנושי. מישהו יענה לך בקרוב.",
        "כרגע אין נציג זמין. אפשר להשאיר כאן את השאלה וכתובת דוא״ל, ונחזור אליך בהקדם.",
        "אולי זה יעזור:",
        "מקור: ",
        "מקורות: ",
    ),
    "fa": _Phrases(
        "متأسفم، در این مورد نمی‌توانم کمک کنم.",
        "سلام! چطور می‌توانم کمکتان کنم؟",
        "خواهش می‌کنم!",
        "خدانگهدار!",
        "شما را به یکی از همکاران وصل می‌کنم. به‌زودی پاسخ می‌گیرید.",
        "در حال حاضر کسی از همکاران در دسترس نیست. لطفاً پرسش و نشانی ایمیل خود را اینجا بگذارید تا به شما پاسخ دهیم.",
        "شاید این کمک کند:",
        "منبع: ",
        "منابع: ",
    ),
    "hi": _Phrases(
        "क्षमा करें, इस विषय में मदद नहीं हो पाएगी।",
        "नमस्ते! आपकी क्या सहायता की जा सकती है?",
        "आपका स्वागत है!",
        "नमस्ते, फिर मिलेंगे!",
        "आपकी बात हमारे सहकर्मी तक पहुँचाई जा रही है। जल्द ही आपको उत्तर मिलेगा।",
        "इस समय कोई सहकर्मी उपलब्ध नहीं है। कृपया अपना प्रश्न और ईमेल पता यहाँ छोड़ दें, हम आपको उत्तर देंगे।",
        "शायद इससे मदद मिले:",
        "स्रोत: ",
        "स्रोत: ",
    ),
    "tr": _Phrases(
        "Üzgünüm, bu konuda yardımcı olamıyorum.",
        "Merhaba! Size nasıl yardımcı olabilirim?",
        "Rica ederim!",
        "Hoşça kalın!",
        "Sizi bir yetkiliye aktarıyorum. Birazdan size yardımcı olacaklar.",
        "Şu anda yetkililerimizden kimse yok. Lütfen sorunuzu ve e-posta adresinizi buraya bırakın, size geri dönelim.",
        "Şunlar işinize yarayabilir:",
        "Kaynak: ",
        "Kaynaklar: ",
    ),
    "pl": _Phrases(
        "Przepraszam, nie potrafię w tym pomóc.",
        "Dzień dobry! W czym mogę pomóc?",
        "Proszę bardzo!",
        "Do widzenia!",
        "Przekazuję rozmowę konsultantowi. Ktoś wkrótce odpowie.",
        "W tej chwili nikogo nie ma. Proszę zostawić tutaj pytanie i adres e-mail, a odpowiemy najszybciej, jak to możliwe.",
        "To może pomóc:",
        "Źródło: ",
        "Źródła: ",
    ),
    "sv": _Phrases(
        "Tyvärr kan jag inte hjälpa till med det.",
        "Hej! Hur kan jag hjälpa dig?",
        "Varsågod!",
        "Hej då!",
        "Jag kopplar dig till en kollega. Någon hör av sig strax.",
        "Just nu är ingen på plats. Lämna din fråga och en e-postadress här, så hör vi av oss.",
        "Det här kanske hjälper:",
        "Källa: ",
        "Källor: ",
    ),
    "da": _Phrases(
        "Det kan jeg desværre ikke hjælpe med.",
        "Hej! Hvad kan jeg hjælpe med?",
        "Det var så lidt!",
        "Farvel!",
        "Jeg stiller dig videre til en kollega. Der kommer snart nogen.",
        "Der er ingen til stede lige nu. Skriv dit spørgsmål og en e-mailadresse her, så vender vi tilbage.",
        "Måske hjælper dette:",
        "Kilde: ",
        "Kilder: ",
    ),
    "no": _Phrases(
        "Det kan jeg dessverre ikke hjelpe med.",
        "Hei! Hva kan jeg hjelpe deg med?",
        "Bare hyggelig!",
        "Ha det bra!",
        "Jeg setter deg over til en kollega. Noen svarer deg snart.",
        "Det er ingen til stede akkurat nå. Legg igjen spørsmålet ditt og en e-postadresse her, så tar vi kontakt.",
        "Kanskje dette hjelper:",
        "Kilde: ",
        "Kilder: ",
    ),
    "fi": _Phrases(
        "Valitettavasti en osaa auttaa tässä asiassa.",
        "Hei! Miten voin auttaa?",
        "Ole hyvä!",
        "Näkemiin!",
        "Siirrän sinut asiakaspalvelijalle. Sinulle vastataan pian.",
        "Kukaan ei ole juuri nyt paikalla. Jätä kysymyksesi ja sähköpostiosoitteesi tähän, niin palaamme asiaan.",
        "Tästä voi olla apua:",
        "Lähde: ",
        "Lähteet: ",
    ),
    "hu": _Phrases(
        "Sajnos ebben nem tudok segíteni.",
        "Üdvözlöm! Miben segíthetek?",
        "Szívesen!",
        "Viszontlátásra!",
        "Átadom a beszélgetést egy kollégának. Hamarosan jelentkezik valaki.",
        "Jelenleg egyik kollégánk sem elérhető. Kérjük, hagyja itt a kérdését és az e-mail-címét, és válaszolni fogunk.",
        "Talán ez segít:",
        "Forrás: ",
        "Források: ",
    ),
    "ro": _Phrases(
        "Îmi pare rău, nu vă pot ajuta cu asta.",
        "Bună ziua! Cu ce vă pot ajuta?",
        "Cu plăcere!",
        "La revedere!",
        "Vă pun în legătură cu un coleg. Vă va răspunde cineva în curând.",
        "Momentan nu este nimeni disponibil. Vă rugăm să lăsați aici întrebarea și o adresă de e-mail, iar noi vă vom răspunde.",
        "Poate vă ajută:",
        "Sursă: ",
        "Surse: ",
    ),
    "el": _Phrases(
        "Λυπάμαι, δεν μπορώ να βοηθήσω με αυτό.",
        "Γεια σας! Πώς μπορώ να βοηθήσω;",
        "Παρακαλώ!",
        "Αντίο σας!",
        "Σας συνδέω με έναν συνάδελφο. Κάποιος θα σας απαντήσει σύντομα.",
        "Αυτή τη στιγμή δεν είναι κανείς διαθέσιμος. Αφήστε εδώ την ερώτησή σας και μια διεύθυνση email και θα σας απαντήσουμε.",
        "Ίσως σας βοηθήσει αυτό:",
        "Πηγή: ",
        "Πηγές: ",
    ),
    "id": _Phrases(
        "Maaf, saya tidak bisa membantu untuk hal itu.",
        "Halo! Ada yang bisa saya bantu?",
        "Sama-sama!",
        "Sampai jumpa!",
        "Saya akan menghubungkan Anda dengan rekan kami. Mohon tunggu sebentar.",
        "Saat ini rekan kami sedang tidak tersedia. Silakan tinggalkan pertanyaan dan alamat email Anda di sini, kami "
        "akan menghubungi Anda.",
        "Mungkin ini membantu:",
        "Sumber: ",
        "Sumber: ",
    ),
    "vi": _Phrases(
        "Xin lỗi, tôi không thể giúp về vấn đề này.",
        "Xin chào! Tôi có thể giúp gì cho bạn?",
        "Không có gì ạ!",
        "Tạm biệt!",
        "Tôi sẽ chuyển bạn đến nhân viên hỗ trợ. Sẽ có người trả lời bạn ngay.",
        "Hiện không có nhân viên nào trực. Vui lòng để lại câu hỏi và địa chỉ email tại đây, chúng tôi sẽ trả lời bạn.",
        "Thông tin này có thể hữu ích:",
        "Nguồn: ",
        "Nguồn: ",
    ),
    "th": _Phrases(
        "ขออภัย ไม่สามารถช่วยเรื่องนี้ได้",
        "สวัสดี มีอะไรให้ช่วยไหม",
        "ด้วยความยินดี",
        "ลาก่อน",
        "กำลังส่งต่อให้เจ้าหน้าที่ กรุณารอสักครู่",
        "ขณะนี้ไม่มีเจ้าหน้าที่อยู่ กรุณาฝากคำถามและอีเมลไว้ที่นี่ แล้วเราจะติดต่อกลับ",
        "ข้อมูลนี้อาจเป็นประโยชน์:",
        "ที่มา: ",
        "ที่มา: ",
    ),
    "uk": _Phrases(
        "На жаль, я не можу з цим допомогти.",
        "Вітаю! Чим можу допомогти?",
        "Будь ласка!",
        "До побачення!",
        "Передаю ваше запитання співробітнику. Вам скоро дадуть відповідь.",
        "Зараз нікого немає на місці. Залиште тут своє запитання й адресу електронної пошти, і ми вам відповімо.",
        "Можливо, це допоможе:",
        "Джерело: ",
        "Джерела: ",
    ),
    "cs": _Phrases(
        "Bohužel s tím neumím pomoci.",
        "Dobrý den! S čím mohu pomoci?",
        "Rádo se stalo!",
        "Na shledanou!",
        "Předám vás kolegovi. Brzy se vám někdo ozve.",
        "Momentálně tu nikdo není. Zanechte zde prosím svůj dotaz a e-mailovou adresu a my se vám ozveme.",
        "Toto by mohlo pomoci:",
        "Zdroj: ",
        "Zdroje: ",
    ),
}


def _of(language: Language | None) -> _Phrases:
    return _PHRASES[language or "en"]


def refusal(language: Language | None) -> str:
    """That there is no answer."""
    return _of(language).refusal


def greeting(language: Language | None) -> str:
    """The reply to a greeting."""
    return _of(language).greeting


def thanks(language: Language | None) -> str:
    """The reply to thanks."""
    return _of(language).thanks


def farewell(language: Language | None) -> str:
    """The reply to a goodbye."""
    return _of(language).farewell


def handed_off(language: Language | None) -> str:
    """That a person will answer."""
    return _of(language).handed_off


def away(language: Language | None) -> str:
    """That a person will answer, but none is there now; it asks how to reach the one who asked."""
    return _of(language).away


def near_offer(language: Language | None) -> str:
    """Before what is near the question without answering it."""
    return _of(language).near_offer


def source_label(language: Language | None, count: int) -> str:
    """Before the names of so many sources; nothing where the language is not known."""
    if language is None:
        return ""
    return _of(language).sources if count > 1 else _of(language).source
