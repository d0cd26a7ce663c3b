"""How people greet, give thanks, agree and take their leave in each language, and what they say beside it.

A phrase of several words is joined by "_". `beside` says nothing by itself: alone it is no greeting.
"""

from __future__ import annotations

from typing import NamedTuple

from gigachat_server.language.codes import Language


class Courtesies(NamedTuple):
    greeting: str
    thanks: str
    agreed: str
    farewell: str
    beside: str


# Understood in every language.
EVERYWHERE = Courtesies(
    greeting="hi hello hey hallo hola",
    thanks="""thanks thank_you thx ty tnx merci""",
    agreed="""ok okay oki okey k super top perfect great cool""",
    farewell="bye bye_bye ciao goodbye adieu",
    beside="""bot chatbot team sir madam mr mrs ms dr please pls so and then now""",
)
COURTESIES: dict[Language, Courtesies] = {
    "en": Courtesies(
        greeting="""hi hello hey hiya heya howdy yo greetings good_morning good_afternoon good_evening good_day
        morning afternoon hi_there hey_there hello_there how_are_you how_are_you_doing how_is_it_going
        how's_it_going what's_up whats_up sup nice_to_meet_you pleased_to_meet_you how_do_you_do welcome
        happy_new_year merry_christmas""",
        thanks="""thanks thank no_thanks no_thank_you thank_you thankyou thx thnx ty tysm cheers much_appreciated
        appreciated appreciate_it appreciate_that i_appreciate ta""",
        agreed="""ok okay k kk alright all_right great perfect awesome cool nice excellent wonderful brilliant
        amazing fantastic lovely got_it understood i_see makes_sense that_helps that_helped good_to_know sounds_good
        will_do no_problem no_worries well_done good_job great_job good_bot you_rock you_are_the_best
        you're_the_best""",
        farewell="""bye goodbye good_bye bye_bye cya ciao farewell see_you see_ya see_you_later see_you_soon
        see_you_tomorrow cu talk_to_you_later talk_soon ttyl later take_care good_night have_a_good_day
        have_a_nice_day have_a_great_day have_a_good_one have_a_good_evening have_a_nice_evening have_a_nice_weekend
        have_a_great_weekend have_a_good_weekend until_next_time so_long""",
        beside="""there you your all everyone everybody guys folks team bot so very very_much a_lot a_bunch a_ton
        a_million many again for help helping the and ok okay great perfect nice awesome cool it that this i is are
        doing to have now then soon today sir madam was super really helpful very_helpful good it's that's i'm im my
        friend dear mr mrs ms miss dr in_advance quick fast reply response answer answers info
        information everything time kind kindly patience assistance support advice explanation explaining
        clarification clarifying me much just_what_i_needed all_i_needed indeed no yes yep yeah oh ah wow well fine
        im_fine anyway bro mate man dude lol haha that_is that's_all nothing_else quickly friendly useful""",
    ),
    "de": Courtesies(
        greeting="""hallo hallöchen hi hey guten_tag guten_morgen guten_abend gute_tag morgen moin moin_moin servus
        grüezi grüß_gott grüß_dich grüße tach na wie_geht's wie_geht_es wie_geht_es_dir wie_geht_es_ihnen
        wie_gehts wie_geht's_dir schönen_guten_tag frohes_neues freut_mich""",
        thanks="""danke dankeschön danke_schön danke_sehr vielen_dank herzlichen_dank besten_dank tausend_dank
        lieben_dank dank merci""",
        agreed="""ok okay alles_klar super perfekt prima toll klasse top cool wunderbar großartig ausgezeichnet
        verstanden verstehe passt gut sehr_gut gut_zu_wissen das_hilft ich_danke ich_bedanke_mich""",
        farewell="""tschüss tschüß tschau tschö ciao auf_wiedersehen auf_wiederhören wiedersehen bis_bald
        bis_dann bis_später bis_morgen bis_zum_nächsten_mal gute_nacht schönen_tag schönen_tag_noch
        einen_schönen_tag einen_schönen_tag_noch schönen_abend schönen_abend_noch schönes_wochenende mach's_gut
        machs_gut bis_demnächst""",
        beside="""dir ihnen euch dich du sie alle zusammen allerseits für die ihre deine eure schnelle antwort
        hilfe auskunft info infos information informationen ja nein dann noch sehr vielmals schon mal und das war
        hilfreich hat geholfen mir uns ist es im_voraus nochmals nochmal liebe lieber frau herr wünsche ich ihr
        team einen wieder alles auch heute aber so bitte gern gerne geht gut erstmal soweit nett freundlich
        freundliche echt wirklich den der support rückmeldung""",
    ),
    "fr": Courtesies(
        greeting="""bonjour bonsoir salut coucou allo bonne_journée_à_vous ça_va comment_ça_va comment_allez-vous
        comment_allez_vous comment_vas-tu comment_vas_tu enchanté enchantée bonne_année hey hello""",
        thanks="""merci mille_mercis merci_beaucoup merci_bien grand_merci je_vous_remercie je_te_remercie
        remerciements""",
        agreed="""ok d'accord dac super parfait génial très_bien top cool excellent formidable impeccable nickel
        compris je_vois bien_reçu c'est_noté ça_marche c'est_bon entendu""",
        farewell="""au_revoir à_bientôt à_plus à_demain à_tout_à_l'heure à_la_prochaine adieu salut
        bonne_journée bonne_soirée bonne_nuit bon_week-end bon_weekend bonne_fin_de_journée ciao bye
        bonne_continuation""",
        beside="""à tous toutes vous toi et pour votre ton ta aide réponse rapide tout infos info information
        informations oui non alors beaucoup encore infiniment d'avance par_avance c'est c'était très utile ça m'a
        aidé bien le la les l'aide l'équipe équipe madame monsieur mademoiselle cher chère ami je tu super
        gentil sympa vraiment oh ah bon explications""",
    ),
    "es": Courtesies(
        greeting="""hola holi buenas buenos_días buen_día buenas_tardes buenas_noches qué_tal cómo_estás
        cómo_está cómo_va qué_onda saludos mucho_gusto encantado encantada feliz_año hey""",
        thanks="""gracias muchas_gracias mil_gracias muchísimas_gracias te_agradezco le_agradezco se_agradece
        agradecido agradecida""",
        agreed="""ok vale perfecto genial estupendo excelente entendido de_acuerdo muy_bien súper bueno claro listo
        fantástico qué_bien guay comprendido""",
        farewell="""adiós chao chau hasta_luego hasta_pronto hasta_mañana hasta_la_vista hasta_la_próxima
        nos_vemos buenas_noches buen_día que_tengas_un_buen_día que_tenga_un_buen_día buen_fin_de_semana cuídate
        cuídese bye""",
        beside="""a todos todas por su tu la el ayuda respuesta información todo rápida y muy amable de nuevo
        otra_vez me ha sido útil sirvió sirve es eso era lo que necesitaba sí no pues entonces señor señora
        señorita amigo amiga por_adelantado de_antemano de_verdad usted ti equipo atención tan mucho bueno ya
        estimado estimada don doña""",
    ),
    "it": Courtesies(
        greeting="""ciao salve buongiorno buon_giorno buonasera buona_sera buon_pomeriggio come_stai come_sta
        come_va piacere ehilà hey buon_anno""",
        thanks="""grazie grazie_mille molte_grazie tante_grazie mille_grazie ti_ringrazio la_ringrazio vi_ringrazio
        ringrazio""",
        agreed="""ok va_bene perfetto ottimo fantastico benissimo bene molto_bene capito ho_capito chiaro d'accordo
        eccellente magnifico""",
        farewell="""arrivederci arrivederla addio a_presto a_dopo a_domani ci_vediamo buonanotte buona_notte
        buona_giornata buona_serata buon_weekend buon_fine_settimana alla_prossima ciao_ciao""",
        beside="""a tutti tutte per il la l'aiuto aiuto la_risposta risposta informazioni informazione tutto e
        gentile molto gentilissimo gentilissima di_nuovo ancora in_anticipo è stato utile sì no allora signore
        signora signor dottore amico davvero veramente te voi lei mi hai ha aiutato rapida disponibilità così""",
    ),
    "pt": Courtesies(
        greeting="""olá oi oie bom_dia boa_tarde boa_noite tudo_bem tudo_bom como_vai como_está como_estás e_aí
        opa saudações prazer muito_prazer feliz_ano_novo alô""",
        thanks="""obrigado obrigada muito_obrigado muito_obrigada obrigadão obrigadinho brigado brigada valeu
        agradeço agradecido agradecida""",
        agreed="""ok tá_bom está_bem perfeito ótimo excelente entendi percebi certo beleza legal fantástico
        maravilha muito_bem bom show fixe""",
        farewell="""tchau adeus até_logo até_breve até_mais até_amanhã até_já até_a_próxima até_à_próxima
        boa_noite bom_fim_de_semana tenha_um_bom_dia bom_descanso xau""",
        beside="""a todos todas pela pelo sua tua ajuda resposta informação informações atenção tudo e muito mesmo
        de_novo novamente me ajudou foi é útil muito_útil sim não então senhor senhora amigo amiga você vocês
        desde_já por isso era o que precisava com_você contigo rápida equipe equipa enquanto só bom""",
    ),
    "nl": Courtesies(
        greeting="""hallo hoi hey hoihoi dag goedendag goedemorgen goede_morgen goedemiddag goede_middag goedenavond
        goedeavond hoe_gaat_het hoe_gaat_het_met_je hoe_gaat_het_met_u alles_goed aangenaam beste moi""",
        thanks="""bedankt dank dank_je dankjewel dank_je_wel dank_u dank_u_wel dankuwel hartelijk_dank
        heel_erg_bedankt hartelijk_bedankt hartstikke_bedankt""",
        agreed="""ok oke oké prima perfect top super mooi fijn geweldig duidelijk begrepen snap_ik goed_om_te_weten
        helder uitstekend""",
        farewell="""doei dag tot_ziens tot_later tot_snel tot_morgen tot_straks fijne_dag fijne_dag_nog prettige_dag
        prettige_avond fijne_avond goed_weekend fijn_weekend welterusten goedenacht een_fijne_dag nog_een_fijne_dag
        doeg groetjes""",
        beside="""allemaal iedereen voor je uw de het hulp antwoord snelle reactie info informatie alles en wel erg
        heel nogmaals alvast dat was is heeft geholpen mij nuttig ja nee dan nog meneer mevrouw u jou jullie weer
        zeer vriendelijk""",
    ),
    "ru": Courtesies(
        greeting="""привет приветик здравствуйте здравствуй здрасте
        добрый_день доброе_утро добрый_вечер доброго_дня
        доброго_времени_суток приветствую салют хай как_дела
        как_вы как_жизнь рад_знакомству с_новым_годом доброй_ночи""",
        thanks="""спасибо большое_спасибо спасибо_большое спс
        благодарю благодарен благодарна спасибочки сенкс мерси""",
        agreed="""ок окей хорошо отлично понятно понял поняла ясно
        супер класс здорово прекрасно замечательно круто ладно
        принято""",
        farewell="""пока до_свидания до_встречи до_скорого до_завтра
        прощайте всего_доброго всего_хорошего хорошего_дня
        хорошего_вечера удачи спокойной_ночи удачного_дня
        увидимся хороших_выходных""",
        beside="""вам вас тебя тебе всем за помощь ответ быстрый
        информацию консультацию разъяснение и очень огромное
        большое еще раз вы ты мне помогли помог помогло да нет
        тогда уже заранее это все что было нужно полезно уважаемый
        уважаемая дорогой друг друзья оперативность внимание
        подробный пояснение объяснение""",
    ),
    "uk": Courtesies(
        greeting="""привіт вітаю здрастуйте добрий_день доброго_дня
        доброго_ранку добрий_вечір добрий_ранок як_справи
        доброго_вечора""",
        thanks="""дякую щиро_дякую красно_дякую спасибі дуже_дякую""",
        agreed="""ок добре чудово зрозуміло зрозумів зрозуміла супер
        клас ясно гаразд""",
        farewell="""бувай до_побачення до_зустрічі на_все_добре
        всього_найкращого гарного_дня гарного_вечора на_добраніч
        папа""",
        beside="""вам тобі всім за допомогу відповідь швидку інформацію і
        та дуже ще раз велике так ні тоді це все було корисно""",
    ),
    "pl": Courtesies(
        greeting="""cześć hej siema siemka witam witaj witajcie dzień_dobry dobry_wieczór dobry jak_się_masz
        co_słychać halo miło_poznać""",
        thanks="""dziękuję dzięki dziękuje dzieki dziękujemy wielkie_dzięki stokrotne_dzięki""",
        agreed="""ok okej dobrze super świetnie doskonale rozumiem jasne spoko fajnie idealnie w_porządku""",
        farewell="""do_widzenia do_zobaczenia na_razie pa papa żegnam trzymaj_się miłego_dnia miłego_wieczoru
        dobranoc do_jutra do_usłyszenia miłego_weekendu""",
        beside="""wam panu pani za pomoc odpowiedź szybką informację informacje i bardzo wielkie jeszcze raz
        wszystkim wszystko to było jest pomocne tak nie z_góry serdecznie państwu ci mi pomogło""",
    ),
    "cs": Courtesies(
        greeting="""ahoj čau čus nazdar dobrý_den dobré_ráno dobrý_večer dobré_odpoledne zdravím jak_se_máš
        jak_se_máte těší_mě""",
        thanks="""děkuji děkuju díky díky_moc mockrát_děkuji moc_děkuji děkujeme dík""",
        agreed="""ok dobře super skvělé výborně perfektní rozumím jasně chápu prima paráda""",
        farewell="""na_shledanou nashledanou sbohem čau ahoj měj_se mějte_se hezký_den pěkný_den hezký_večer
        dobrou_noc zatím na_viděnou hezký_víkend""",
        beside="""vám ti všem za pomoc odpověď rychlou informace informaci a moc velmi ještě jednou to bylo je
        užitečné ano ne pěkně předem mi pomohlo všechno""",
    ),
    "tr": Courtesies(
        greeting="""merhaba merhabalar selam selamlar günaydın iyi_günler iyi_akşamlar tünaydın nasılsın
        nasılsınız naber selamün_aleyküm hoş_bulduk memnun_oldum kolay_gelsin""",
        thanks="""teşekkürler teşekkür_ederim teşekkür_ederiz teşekkür çok_teşekkürler sağ_ol sağol sağ_olun
        sağolun eyvallah tşk""",
        agreed="""tamam tamamdır ok harika süper mükemmel anladım güzel peki çok_iyi""",
        farewell="""hoşça_kal hoşça_kalın hoşçakal hoşçakalın güle_güle görüşürüz görüşmek_üzere
        iyi_geceler bay_bay kendine_iyi_bak iyi_günler_dilerim iyi_hafta_sonları allaha_ısmarladık""",
        beside="""size sana herkese için yardımınız yardımın yardım cevap cevabınız bilgi bilgiler ve çok
        tekrar yine evet hayır bey hanım hocam arkadaşım dostum gerçekten şimdiden her_şey hızlı""",
    ),
    "sv": Courtesies(
        greeting="""hej hejsan tjena tjenare tja hallå god_morgon godmorgon god_dag god_kväll god_middag hur_mår_du
        hur_är_det läget trevligt_att_träffas""",
        thanks="""tack tackar tack_så_mycket tusen_tack stort_tack tack_tack""",
        agreed="""ok okej bra perfekt toppen super jättebra förstår jag_förstår fint utmärkt kanon""",
        farewell="""hej_då hejdå adjö vi_ses vi_hörs ha_det_bra ha_en_bra_dag ha_en_fin_dag god_natt trevlig_helg
        på_återseende farväl""",
        beside="""dig er alla för hjälpen svaret snabba svar din hjälp info informationen och så mycket igen det var
        är till nytta ja nej då nu vänligen på_förhand den snabbt allt""",
    ),
    "da": Courtesies(
        greeting="""hej hejsa hallo goddag god_dag godmorgen god_morgen god_aften godaften hvordan_går_det
        hvordan_har_du_det davs""",
        thanks="""tak mange_tak tusind_tak tak_skal_du_have tak_for_det""",
        agreed="""ok okay fint super perfekt godt forstået jeg_forstår rigtig_godt fedt dejligt""",
        farewell="""farvel hej_hej vi_ses på_gensyn hav_en_god_dag ha'_en_god_dag god_dag godnat god_nat ha_det_godt
        god_weekend""",
        beside="""dig jer alle for hjælpen svaret hurtige svar din hjælp info og så meget igen det var er nyttigt
        ja nej da nu på_forhånd""",
    ),
    "no": Courtesies(
        greeting="""hei heisann hallo god_dag god_morgen god_kveld hvordan_går_det hvordan_har_du_det morn""",
        thanks="""takk tusen_takk mange_takk takk_skal_du_ha takk_for_det""",
        agreed="""ok okei fint supert perfekt flott bra skjønner forstår topp""",
        farewell="""ha_det ha_det_bra hadet farvel vi_ses vi_snakkes god_natt ha_en_fin_dag ha_en_god_dag på_gjensyn
        god_helg""",
        beside="""deg dere alle for hjelpen svaret raske svar din hjelp info og så mye igjen det var er nyttig ja
        nei da nå på_forhånd""",
    ),
    "fi": Courtesies(
        greeting="""hei moi terve moikka huomenta hyvää_huomenta hyvää_päivää päivää hyvää_iltaa iltaa mitä_kuuluu
        miten_menee tervehdys""",
        thanks="""kiitos kiitti kiitoksia paljon_kiitoksia kiitos_paljon suuret_kiitokset""",
        agreed="""ok okei hyvä selvä hienoa mahtavaa loistavaa ymmärrän""",
        farewell="""näkemiin hei_hei moi_moi moikka heippa nähdään hyvää_yötä hyvää_päivänjatkoa hyvää_viikonloppua
        kuulemiin""",
        beside="""sinulle teille kaikille avusta avustasi vastauksesta tiedosta ja oikein todella vielä kerran kyllä
        ei nyt se oli etukäteen""",
    ),
    "hu": Courtesies(
        greeting="""szia sziasztok helló hello üdv üdvözlöm jó_napot jó_napot_kívánok jó_reggelt jó_estét
        hogy_vagy hogy_van szervusz csá""",
        thanks="""köszönöm köszi kösz köszönjük nagyon_köszönöm köszönöm_szépen hálás_köszönet""",
        agreed="""ok rendben szuper remek értem tökéletes kiváló jó oké""",
        farewell="""viszlát viszontlátásra jó_éjszakát szép_napot szép_estét további_szép_napot viszhall
        minden_jót szia pá""",
        beside="""neked önnek mindenkinek a az segítséget segítségét választ válaszát gyors információt
        és nagyon szépen még egyszer igen nem előre is""",
    ),
    "ro": Courtesies(
        greeting="""bună salut bună_ziua bună_dimineața bună_seara ce_mai_faci ce_mai_faceți noroc alo încântat
        salutare""",
        thanks="""mulțumesc mersi mulțumim mulțumesc_mult vă_mulțumesc îți_mulțumesc merci""",
        agreed="""ok bine perfect super excelent grozav am_înțeles înțeleg minunat foarte_bine""",
        farewell="""la_revedere pa pe_curând pe_mâine o_zi_bună o_zi_frumoasă noapte_bună o_seară_bună pa_pa
        numai_bine""",
        beside="""tuturor pentru ajutor ajutorul răspuns răspunsul informații informațiile tot și foarte mult încă o
        dată da nu domnule doamnă anticipat""",
    ),
    "el": Courtesies(
        greeting="""γεια γεια_σου γεια_σας καλημέρα καλησπέρα χαίρετε
        τι_κάνεις τι_κάνετε πώς_είσαι πώς_είστε χάρηκα καλή_χρονιά""",
        thanks="""ευχαριστώ ευχαριστούμε σας_ευχαριστώ σ'_ευχαριστώ
        ευχαριστώ_πολύ χίλια_ευχαριστώ""",
        agreed="""οκ εντάξει τέλεια ωραία κατάλαβα υπέροχα μπράβο""",
        farewell="""αντίο καληνύχτα τα_λέμε καλή_συνέχεια καλό_βράδυ
        στο_καλό γεια_χαρά καλή_σας_μέρα καλή_μέρα εις_το_επανιδείν""",
        beside="""για τη την το βοήθεια βοήθειά απάντηση σας σου πολύ και
        ξανά ναι όχι πληροφορίες όλα εκ_των_προτέρων θερμά πάρα""",
    ),
    "id": Courtesies(
        greeting="""halo hai hallo selamat_pagi selamat_siang selamat_sore selamat_malam apa_kabar assalamualaikum
        permisi salam pagi siang sore malam""",
        thanks="""terima_kasih makasih terimakasih trims thanks matur_nuwun""",
        agreed="""ok oke baik sip bagus mantap mengerti paham baiklah siap""",
        farewell="""sampai_jumpa selamat_tinggal sampai_nanti dadah dah sampai_ketemu_lagi selamat_jalan
        selamat_tidur""",
        beside="""banyak semua atas bantuan bantuannya jawaban jawabannya informasi informasinya dan ya tidak kak
        pak bu mas mbak sekali lagi min sangat""",
    ),
    "vi": Courtesies(
        greeting="""xin_chào chào chào_bạn chào_anh chào_chị chào_em chào_buổi_sáng chào_buổi_chiều
        chào_buổi_tối alo bạn_khỏe_không hello""",
        thanks="""cảm_ơn cám_ơn xin_cảm_ơn cảm_ơn_bạn cảm_ơn_nhiều""",
        agreed="""ok vâng được_rồi tốt tuyệt tuyệt_vời hiểu_rồi rồi""",
        farewell="""tạm_biệt hẹn_gặp_lại chúc_ngủ_ngon bai chúc_một_ngày_tốt_lành bye""",
        beside="""bạn anh chị em ạ nhé nha rất nhiều vì đã giúp đỡ tôi mình câu_trả_lời thông_tin mọi người
        và dạ lắm shop ad""",
    ),
    "zh": Courtesies(
        greeting="""你好 您好 哈喽 嗨 早上好 上午好 下午好 晚上好 早安 你好吗 您好吗 大家好 在吗 在么 嘿 早 新年好
        新年快乐 哈啰 午安""",
        thanks="""谢谢 谢谢你 谢谢您 多谢 感谢 非常感谢 谢了 谢啦 辛苦了 谢谢啦 十分感谢 太感谢了 谢谢大家 麻烦了
        麻烦你了 麻烦您了 謝謝 謝謝你 謝謝您 多謝 感謝 非常感謝""",
        agreed="""好的 好 明白了 知道了 了解 懂了 收到 太好了 没问题 行 棒 很好 非常好 太棒了 完美 不错 明白 不用了""",
        farewell="再见 拜拜 拜 晚安 回头见 明天见 下次见 祝你愉快 祝您愉快 祝好 周末愉快 再會 再見 掰掰 回见 先这样",
        beside="""你 您 的 帮助 帮忙 解答 回复 耐心 了 啊 啦 呀 哦 嗯 非常 真 很 也 朋友 客服 亲 你们 对 是 回答
        支持 我 先生 女士 那""",
    ),
    "ja": Courtesies(
        greeting="""こんにちは こんにちわ こんばんは おはよう おはようございます はじめまして やあ どうも もしもし
        お元気ですか 元気ですか ハロー よろしく よろしくお願いします よろしくおねがいします お疲れ様です
        お疲れさまです お世話になります お世話になっております""",
        thanks="""ありがとう ありがとうございます ありがとうございました 有難う 有難うございます どうもありがとう
        どうもありがとうございます 感謝します 感謝 助かります 助かりました サンキュー""",
        agreed="""了解 了解です 了解しました 承知しました わかりました 分かりました わかった なるほど オッケー OK ok
        いいね すごい 完璧 完璧です よかった 大丈夫です 結構です""",
        farewell="""さようなら さよなら またね また明日 では失礼します 失礼します 失礼いたします バイバイ じゃあね
        じゃあまた おやすみ おやすみなさい それでは また""",
        beside="""とても 大変 本当に ほんとうに はい いいえ です ね よ 皆さん みなさん では じゃあ お返事 ご回答
        回答 を は に さん 様 いろいろ 色々 ご丁寧に 早速 の""",
    ),
    "ko": Courtesies(
        greeting="""안녕 안녕하세요 안녕하십니까 반갑습니다 반가워요 여보세요 하이 헬로 좋은_아침 좋은_아침입니다
        잘_지내세요 처음_뵙겠습니다""",
        thanks="""감사 감사합니다 감사해요 고맙습니다 고마워 고마워요 정말_감사합니다 대단히_감사합니다 땡큐
        네_감사합니다 수고하셨습니다 수고하세요 수고 ㄱㅅ""",
        agreed="""알겠습니다 알겠어요 네 좋아요 좋습니다 오케이 최고예요 이해했습니다 ㅇㅋ 완벽해요 훌륭해요""",
        farewell="""안녕히_가세요 안녕히_계세요 잘_가 잘_있어 다음에_봐요 또_봐요 좋은_하루_되세요
        좋은_하루_보내세요 안녕히_주무세요 바이 즐거운_하루_되세요""",
        beside="""정말 너무 매우 진짜 도와주셔서 답변 빠른 친절한 주셔서 많이 네 아니요 여러분 님 도움 도움이 됐어요
        되었습니다 설명 다시 한번 아 오""",
    ),
    "ar": Courtesies(
        greeting="""مرحبا مرحبًا أهلا أهلاً أهلا_وسهلا السلام_عليكم السلام_عليكم_ورحمة_الله
        السلام_عليكم_ورحمة_الله_وبركاته وعليكم_السلام سلام صباح_الخير مساء_الخير صباح_النور مساء_النور هاي كيف_حالك
        كيف_الحال هلا تحياتي تشرفنا""",
        thanks="""شكرا شكرًا شكراً شكرا_جزيلا شكرا_لك شكرا_لكم ألف_شكر مشكور مشكورين أشكرك أشكركم جزاك_الله_خيرا
        تسلم ممتن يعطيك_العافية""",
        agreed="""حسنا تمام ممتاز رائع جيد فهمت مفهوم أوكي طيب جميل عظيم""",
        farewell="""مع_السلامة وداعا إلى_اللقاء باي تصبح_على_خير في_أمان_الله أراك_لاحقا نهارك_سعيد يوم_سعيد
        أتمنى_لك_يوما_سعيدا""",
        beside="""لك لكم جزيلا جزيلاً جدا على مساعدتك المساعدة مساعدتكم الرد ردك السريع المعلومات كثيرا يا أخي أستاذ
        أستاذة سيدي سيدتي نعم لا و كل الجميع مرة أخرى كان مفيدا""",
    ),
    "he": Courtesies(
        greeting="""שלום היי הי אהלן בוקר_טוב צהריים_טובים ערב_טוב מה_נשמע מה_שלומך מה_קורה נעים_מאוד שבת_שלום
        חג_שמח""",
        thanks="""תודה תודה_רבה המון_תודה תודות מודה""",
        agreed="""אוקיי אוקי בסדר מעולה מצוין סבבה הבנתי אחלה יופי נהדר מושלם ברור""",
        farewell="""להתראות ביי שלום לילה_טוב יום_טוב שיהיה_יום_טוב נתראה המשך_יום_נעים יום_נעים ערב_נעים""",
        beside="""לך לכם על העזרה עזרתך התשובה המידע מאוד רבה שוב כולם כן לא גם ו זה היה עזר לי מועיל מראש הכל""",
    ),
    "fa": Courtesies(
        greeting="""سلام درود سلام_علیکم صبح_بخیر عصر_بخیر شب_بخیر روز_بخیر وقت_بخیر وقتتون_بخیر خوبی خوبید چطوری
        حال_شما_چطور_است خسته_نباشید""",
        thanks="""ممنون ممنونم مرسی متشکرم سپاس سپاسگزارم تشکر دستت_درد_نکنه دست_شما_درد_نکند خیلی_ممنون دمت_گرم
        سپاسگذارم""",
        agreed="""باشه عالی عالیه خوب خوبه فهمیدم متوجه_شدم اوکی حله""",
        farewell="""خداحافظ خدانگهدار خدا_حافظ بای به_امید_دیدار فعلا روز_خوبی_داشته_باشید""",
        beside="""از شما تو خیلی بسیار بابت کمک کمکتون کمک_شما پاسخ اطلاعات و بله نه دوباره همه آقا خانم عزیز دوست
        راهنمایی راهنماییتون واقعا لطف لطفتون""",
    ),
    "hi": Courtesies(
        greeting="""नमस्ते नमस्कार हैलो हेलो हाय प्रणाम राम_राम सुप्रभात शुभ_प्रभात शुभ_संध्या कैसे_हैं कैसे_हो
        आप_कैसे_हैं क्या_हाल_है namaste namaskar kaise_ho""",
        thanks="""धन्यवाद शुक्रिया बहुत_धन्यवाद बहुत_बहुत_धन्यवाद आभार आभारी थैंक्यू थैंक्स dhanyavad shukriya
        dhanyawad theek_hai""",
        agreed="""ठीक_है ठीक अच्छा बढ़िया बहुत_अच्छा समझ_गया समझ_गई ओके""",
        farewell="अलविदा फिर_मिलेंगे बाय शुभ_रात्रि शुभ_दिन टाटा चलता_हूँ",
        beside="""आपका आपको आप का के लिए मदद सहायता जवाब उत्तर जानकारी बहुत और जी हाँ हां नहीं सर मैडम भाई दोस्त सब
        को फिर से की बताने सहयोग""",
    ),
    "th": Courtesies(
        greeting="""สวัสดี สวัสดีครับ สวัสดีค่ะ หวัดดี ดีครับ ดีค่ะ
        อรุณสวัสดิ์ สบายดีไหม ฮัลโหล ดีจ้า""",
        thanks="""ขอบคุณ ขอบคุณครับ ขอบคุณค่ะ ขอบใจ ขอบคุณมาก""",
        agreed="""โอเค ตกลง เข้าใจแล้ว รับทราบ ดีมาก เยี่ยม เยี่ยมเลย
        สุดยอด ได้เลย""",
        farewell="ลาก่อน บาย บ๊ายบาย แล้วเจอกัน ราตรีสวัสดิ์ ฝันดี ไว้เจอกัน",
        beside="""ครับ ค่ะ คะ นะ นะคะ นะครับ มาก มากๆ จ้า จ้ะ ที่
        ช่วยเหลือ ช่วย คุณ ทุกคน สำหรับ คำตอบ ข้อมูล แล้ว เลย
        จริงๆ""",
    ),
}
