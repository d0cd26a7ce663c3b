"""Texts that an embedder must take, from empty to huge, and some that it should tell apart."""

TEXTS = [
    "",
    " \n\t ",
    "a",
    "Where is my parcel?",
    "WHERE IS MY PARCEL?!",
    "The warranty lasts 24 months from the date of purchase; keep the receipt.",
    "Où puis-je retirer mon colis après 18 h ?",
    "Wie kündige ich mein Abonnement, ohne Gebühren zu zahlen?",
    "Как изменить адрес доставки?",
    "返品はどうすればいいですか。",
    "如何更改我的送货地址？",
    "كيف أغير عنوان التوصيل؟",
    "मैं अपना पता कैसे बदलूँ?",
    "ฉันจะเปลี่ยนที่อยู่จัดส่งได้อย่างไร",
    "👍🏽🎉 great 👨‍👩‍👧 thanks!!",
    "e\u0301 \u00e9 \ufb01 \u200b\u00ad zero width and combining",
    "[CLS] [SEP] [PAD] [MASK] <s> </s> <pad> <unk> <mask> are tokens of models",
    "line\r\nbreaks\x00and\x07controls\ud800 lone surrogate",
    "https://example.com/a?b=c&d=%20 error 0x80070057 user@example.com",
    "antidisestablishmentarianism" * 5,
    "x" * 150,
    "| name | price |\n|---|---|\n| plan A | $12.50 |\n| plan B | $99.00 |",
    "Our shop ships to forty countries and refunds within thirty days. " * 25,
    "日本語の長い文章です。" * 8,
]
LONG = "Refunds are paid within thirty days of the return, to the card that was charged. " * 12
HUGE = "All parcels are insured up to a value of 500 euros. " * 20_000
LANGUAGES = {
    "en": "Where can I send it back, and who pays for that? Don't use e-mail: call +1 (555) 010-9999 before 5 p.m.",
    "de": "Wie kündige ich mein Abonnement? Die Straßenbahnhaltestelle ist fünf Gehminuten entfernt, ÖPNV inklusive.",
    "fr": "Où puis-je retirer mon colis après 18 h ? L'œuvre coûte 25 € — c'est « gratuit » dès l'an prochain…",
    "ru": "Как изменить адрес доставки? Ёлка, подъезд №5, объявление; срок — 14 дней.",
    "ar": "كيف أغير عنوان التوصيل؟ يُرجى الاتصال بنا قبل ٥ مساءً، الطلب رقم ١٢٣٤.",
    "hi": "मैं अपना पता कैसे बदलूँ? कृपया ऑर्डर क्रमांक १२३४ साथ रखें। फ़ोन ज़रूर करें।",
    "th": "ฉันจะเปลี่ยนที่อยู่จัดส่งได้อย่างไร กรุณาติดต่อเราก่อน ๕ โมงเย็น น้ำหนักไม่เกิน ๑๐ กก.",
    "zh": "如何更改我的送货地址？退货须在三十天内办理，运费由买方承担。ＡＢＣ１２３",
    "ja": "返品はどうすればいいですか。ﾊﾝｶｸのカタカナ、㈱会社、①番、３０日以内です。",
    "ko": "배송지를 어떻게 변경하나요? 반품은 30일 이내에 가능합니다. ㈜회사",
    "tr": "Teslimat adresimi nasıl değiştirebilirim? İADE şartları: ığüşöç, 30 gün.",
    "vi": "Làm thế nào để thay đổi địa chỉ giao hàng? Đổi trả trong vòng 30 ngày.",
}
