"""How further languages ask for a person; in those that write no spaces, with all blanks gone."""

from __future__ import annotations

from gigachat_server.language.human_requests import Request

_NEVER = "(?!)"

_POLISH = Request(
    opening="""dzień dobry|cześć|witam|hej|proszę|poproszę|prosze|tak|teraz|po prostu|o|ja|chcę|chce|chciałbym
|chciałabym|wolę
|wolałbym|wolałabym|muszę|potrzebuję|czy mogę|czy można|czy mógłbym|czy mogłabym|mogę|natychmiast|wreszcie""",
    person="""(?:(?:prawdziw(?:ym|ego|y|ą|a)|żyw(?:ym|ego|y|ą|a)|jakimś|jakiegoś) )*(?:człowiek(?:iem|a)?
|osob(?:ą|ę|a)|konsultant(?:em
|a|ką|kę|ka)?|pracownik(?:iem|a)?|doradc(?:ą|ę|a)|operator(?:em|a)?|agent(?:em|a)?|przedstawiciel(?:em|a)?)""",
    anyone="""kimś(?: z .*| innym| prawdziwym)?|(?:kierownik|menedżer)(?:iem|em|a)|przełożonym|obsług(?:ą
|i)(?: klienta)?|biurem obsługi(?: klienta)?
|dział(?:em|u) .*|pomocą techniczną""",
    talk="""(?:po)?rozmawiać (?:z|ze)|pogadać (?:z|ze)|rozmow(?:ę|y|a) (?:z|ze)|mówić (?:z|ze)
|skontaktować się (?:z|ze)|kontakt(?:u)? (?:z|ze)
|połączenie (?:z|ze)|czatować (?:z|ze)""",
    order="""(?:połącz|połączcie|połączyć|przełącz|przełączcie|przełączyć|przekieruj|przekierować
|przekażcie|daj|dajcie)(?: mnie| mi| nas)?
(?: proszę)?(?: z| ze| do| na)?""",
    manner="proszę|teraz|natychmiast|dziękuję|pilnie|od razu|(?:a nie|nie|zamiast) .*",
    topic="(?:w sprawie|o|na temat|z powodu|bo|ponieważ|który|która) .*",
)
_UKRAINIAN = Request(
    opening="""вітаю|привіт|добрий день|будь ласка|так|ні|терміново
|зараз|просто|(?:я )?(?:хочу|прошу|вимагаю)|(?:я )?хоті(?:в|ла) би?
|(?:мені )?(?:потрібен|потрібна|потрібно|треба)|(?:чи )?можна(?: мені)?
|чи можу я|можете""",
    person="""(?:(?:жив(?:ий|ого|им|ою|а|у)|справжн(?:ій|ього|ім|я)
|реальн(?:ий|ого|им)) )*(?:людин(?:а|и|у|ою)|оператор(?:а|ом|у)?
|співробітник(?:а|ом)?|спеціаліст(?:а|ом)?|консультант(?:а|ом)?
|менеджер(?:а|ом)?|представник(?:а|ом)?)""",
    anyone="кимось(?: з .*)?|підтримкою|службою підтримки|керівником",
    talk="""(?:поговорити|поспілкуватися|говорити|спілкуватися
|розмовляти|зв язатися) (?:з|із|зі)""",
    order="""(?:з єднайте|з єднай|переведіть|перемкніть|переключіть
|покличте|поклич|дайте)(?: мене| мені)?(?: будь ласка)?(?: з| із| на
| до)?""",
    manner="""будь ласка|терміново|зараз|дякую|негайно|(?:а не
|замість|не) .*""",
    topic="(?:про|щодо|з приводу|бо|який|яка) .*",
)
_CZECH = Request(
    opening="""dobrý den|ahoj|prosím|ano|ne|teď|hned|raději|já|chci|chtěl bych|chtěla bych|potřebuji
|potřebuju|můžu|mohu|mohl bych
|mohla bych|je možné|lze|rád bych|ráda bych|dejte mi""",
    person="""(?:(?:skutečn(?:ým|ého|ý|ou)|živ(?:ým|ého|ý|ou)|opravdov(?:ým|ého|ý)) )*(?:člověk(?:em|a)?
|osob(?:ou|u|a)|operátor(?:em|a|ku)?
|pracovník(?:em|a)?|zástupc(?:em|e)|agent(?:em|a)?|poradc(?:em|e))""",
    anyone="někým(?: z .*| jiným| skutečným)?|podporou|zákaznick(?:ou podporou|ým servisem)|vedoucím|manažerem",
    talk="(?:mluvit|promluvit si|hovořit|si promluvit|popovídat si|chatovat|se spojit|spojit se) (?:s|se)",
    order="""(?:spojte|přepojte|přepoj|spoj|předejte|přepnout|přepojit)(?: mě| mne| nás)?(?: prosím)?(?: s
| se| na| k)?""",
    manner="prosím|teď|hned|ihned|děkuji|(?:a ne|ne|místo) .*",
    topic="(?:o|ohledně|kvůli|protože|který|která) .*",
)
_SWEDISH = Request(
    opening="""hej|hallå|snälla|ja|nej|tack|nu|bara|jag (?:vill|skulle vilja|behöver|måste|önskar
|föredrar)(?: gärna| bara| nu| ha)*
|(?:kan|får|kunde|skulle) (?:jag|man|du|ni)(?: få| snälla)*|låt mig|är det möjligt att|vill|finns det""",
    person="""(?:(?:en|den) )?(?:(?:riktig|verklig|levande|mänsklig) )*(?:människa|person|medarbetare
|handläggare|kundtjänstmedarbetare
|operatör|agent|representant|rådgivare)""",
    anyone="""någon(?: annan| riktig| på .*| från .*)?|(?:er )?(?:kundtjänst|kundservice|support(?:en)?
|chef(?:en)?)|(?:en |er )?chef""",
    talk="(?:prata|tala|snacka|chatta|få prata|få tala|komma i kontakt|bli kopplad)(?: direkt)? (?:med|till)",
    order="(?:koppla|flytta|skicka|ge|hämta|anslut)(?: mig| oss)?(?: till| vidare till| med| över till)?",
    manner="tack|snälla|nu|direkt|genast|här|(?:inte|i stället för|och inte) .*",
    topic="(?:om|angående|för|eftersom|som) .*",
)
_DANISH_NORWEGIAN = Request(
    opening="""hej|hei|hallo|venligst|vennligst|ja|nej|nei|tak|takk|nu|nå|bare|jeg (?:vil|ville|vil gerne
|vil gjerne|ønsker|skal|må|har brug for
|trenger|foretrækker|foretrekker)(?: gerne| gjerne| bare| nu| nå| at| å| ha)*|(?:kan|må|får|kunne) (?:jeg|man
|du|i)(?: få| lige)*|lad mig|la meg
|er det muligt at|er det mulig å""",
    person="""(?:(?:en|et|den) )?(?:(?:rigtigt?|ekte|levende|virkelig|menneskelig|ordentlig) )*(?:menneske
|person|medarbejder|medarbeider
|kundebehandler|operatør|agent|repræsentant|representant|rådgiver|kundekonsulent|kundeservicemedarbejder)""",
    anyone="""(?:nogen|noen)(?: anden| annen| fra .*| i .*| på .*)?|(?:jeres |din )?(?:kundeservice|kundesenter
|support(?:en)?|chef(?:en)?|sjef(?:en)?)""",
    talk="(?:tale|snakke|chatte|prate|blive stillet om|snakke direkte|få snakke|få tale)(?: direkte)? (?:med|til)",
    order="""(?:stil|sett|sæt|viderestil|forbind|send|giv|gi|koble|hent|overfør)(?: mig| meg| os| oss)?(?: om
| over| videre)?(?: til| med)?""",
    manner="tak|takk|nu|nå|straks|her|venligst|vennligst|(?:ikke|i stedet for|og ikke) .*",
    topic="(?:om|angående|for|fordi|som|vedrørende) .*",
)
_FINNISH = Request(
    opening="""hei|moi|terve|kiitos|kyllä|ei|nyt|haluan|haluaisin|tahdon|voinko|voisinko|saanko|saisinko
|minun täytyy|minun pitää|onko mahdollista
|pyydän|päästä""",
    person="""(?:(?:oikea(?:n|lle)?|elävä(?:n|lle)?|todellise(?:n|lle)) )*(?:ihmi(?:nen|sen|selle|stä)
|henkilö(?:n|lle)?|asiakaspalvelija(?:n|lle|a)?
|virkailija(?:n|lle)?|työntekijä(?:n|lle)?|edustaja(?:n|lle)?|operaattori(?:n|lle)?)""",
    anyone="jonkun|jollekin|asiakaspalvelu(?:un|n)|esimiehe(?:n|lle)|tuke(?:en)|tuen",
    talk="(?:puhua|jutella|keskustella|chatata|ottaa yhteyttä)",
    order="(?:yhdistä|yhdistäkää|siirrä|siirtäkää|ohjaa|yhdistäisitkö|voitko yhdistää|pyydä)(?: minut| minulle)?",
    talk_last="""(?:kanssa )?(?:puhua|puhumaan|jutella|keskustella|chatata|kiitos|puheille
|asiakaspalvelijan kanssa)(?: kanssa)?""",
    whole="""(?:puhua|jutella|keskustella|puhumaan) {anyone} kanssa|{anyone} kanssa (?:puhua|jutella|keskustella
|puhumaan)""",
    manner="kiitos|nyt|heti|kanssa|(?:eikä|en|ei) .*",
    topic="(?:koskien|liittyen|jotta|joka) .*",
)
_HUNGARIAN = Request(
    opening="""szia|helló|jó napot|kérem|kérek|igen|most|szeretnék|szeretnem|akarok|muszáj|lehet|lehetne
|lehetséges|tudnék|tudok|egy|csak
|azonnal|inkább""",
    person="""(?:(?:egy|valódi|igazi|élő|hús vér) )*(?:ember(?:rel|t|hez)?|személ(?:lyel|yt|y)
|ügyintéző(?:vel|t|höz)?|operátor(?:ral|t|hoz)?
|munkatárs(?:sal|at|hoz)?|ügynök(?:kel|öt)?|kolléga|kollégával|képviselő(?:vel|t)?
|ügyfélszolgálatos(?:sal)?)""",
    anyone="""valaki(?:vel|t|hez)(?: .*)?|(?:az )?ügyfélszolgálat(?:tal|hoz|ot)|(?:a )?(?:főnök|vezető
|felettes)(?:kel|vel|sel|ével)?""",
    talk="(?:beszélni|beszélnék|csevegni|chatelni)",
    order="(?:kapcsoljon|kapcsolj|kapcsolják|adjon|adj|kérek|hívjon|irányítson)(?: át)?(?: engem| nekem)?",
    talk_last="""(?:szeretnék |akarok |lehet |tudnék )?(?:beszélni|beszélnék|beszélhetek|beszélhetnék
|kapcsolni|kérek|kérem|chatelni|csevegni)(?: szeretnék| akarok)?""",
    manner="kérem|most|azonnal|köszönöm|legyen szíves|(?:nem|és nem) .*",
    topic="(?:a|az|mert|aki|ügyében) .*",
)
_ROMANIAN = Request(
    opening="""bună|bună ziua|salut|vă rog|te rog|da|acum|vreau|aș vrea|aș dori|doresc|prefer|trebuie
|am nevoie de|am nevoie|pot|aș putea|se poate
|este posibil|puteți|poți|să""",
    person="""(?:(?:un|o|unui|vreun) )?(?:(?:adevărat|real) )*(?:om|persoană|operator|agent|reprezentant|angajat
|consultant|consilier|coleg
|ființă umană)(?: real[ăa]?| adevărat[ăa]?| uman[ăa]?)?""",
    anyone="""cineva(?: real| de la .*| din .*)?|serviciul (?:clienți|de relații cu clienții)
|suportul(?: tehnic)?|(?:un )?(?:manager|șef|supervizor)|asistența""",
    talk="(?:vorbi|vorbesc|discuta|discut|conversa|comunica|lua legătura)(?: direct)? cu",
    order="""(?:conectați|conectează|transferați|transferă|puneți|dați|faceți legătura|face legătura|pune)(?: mă
| mi)?(?: în legătură)?(?: cu| la)?|(?:mă|îmi) (?:conectați|transferați|puteți transfera)(?: cu| la)?""",
    manner="vă rog|te rog|acum|imediat|mulțumesc|direct|(?:nu|și nu|în loc) .*",
    topic="(?:despre|în legătură|pentru|de|care|legat) .*",
)
_GREEK = Request(
    opening="""γεια|γεια σας|γεια σου|καλημέρα|καλησπέρα|παρακαλώ|ναι
|όχι|τώρα|θέλω|θα ήθελα|χρειάζομαι|μπορώ|θα μπορούσα|μπορείτε
|γίνεται|πρέπει|να
|προτιμώ""",
    person="""(?:(?:έναν|ένα|κάποιον|κάποιο|μια|τον|την) )?(?:(?:πραγματικ(?:ό
|ή)|ζωνταν(?:ό|ή)|αληθιν(?:ό|ή)) )*(?:άνθρωπο|άνθρωπος|άτομο
|εκπρόσωπο|εκπρόσωπος|υπάλληλο|υπάλληλος|χειριστή|σύμβουλο
|πράκτορα|συνεργάτη)""",
    anyone="""κάποιον(?: .*)?|(?:την )?(?:εξυπηρέτηση(?: πελατών)?|υποστήριξη)
|(?:τον )?(?:υπεύθυνο|διευθυντή|προϊστάμενο)""",
    talk="""(?:μιλήσω|συνομιλήσω|επικοινωνήσω|συνδεθώ|μιλάω
|κουβεντιάσω)(?: απευθείας)? (?:με|σε)""",
    order="""(?:συνδέστε|σύνδεσε|συνδέσετε|δώστε|δώσε|μεταφέρετε)(?: με
| μου)?(?: με| σε)?|(?:με )(?:συνδέσετε|συνδέστε)(?: με| σε)?""",
    manner="παρακαλώ|τώρα|αμέσως|ευχαριστώ|(?:και όχι|όχι|αντί) .*",
    topic="(?:για|σχετικά|γιατί|που|από) .*",
)
_INDONESIAN = Request(
    opening="""halo|hai|tolong|mohon|ya|sekarang|langsung|permisi|min|kak|(?:saya|aku) (?:ingin|mau|perlu|butuh
|minta|pengen|lebih suka)
|(?:bisa|boleh|bisakah|bolehkah|dapatkah|apakah)(?: saya| aku| kah)*|ingin|mau|minta|butuh|perlu""",
    person="""(?:seorang )?(?:manusia|orang|orang asli|orang sungguhan|agen|operator|petugas|staf|pegawai
|perwakilan|admin|cs|customer service
|layanan pelanggan)(?: asli| manusia| sungguhan| langsung| beneran)?""",
    anyone="seseorang(?: .*)?|bagian .*|manajer|atasan|supervisor|dukungan|tim .*",
    talk="""(?:bicara|berbicara|ngobrol|chat|chatting|berkomunikasi|terhubung|bercakap)(?: langsung)? (?:dengan
|sama|ke)""",
    order="""(?:hubungkan|sambungkan|alihkan|pindahkan|panggilkan|panggil|berikan|kasih)(?: saya| aku
| ke saya)?(?: dengan| ke| kepada)?""",
    manner="tolong|sekarang|segera|dong|ya|terima kasih|saja|(?:bukan|jangan) .*",
    topic="(?:tentang|soal|mengenai|untuk|karena|yang) .*",
)
_VIETNAMESE = Request(
    opening="""xin chào|chào|vui lòng|làm ơn|xin|hãy|dạ|vâng|bây giờ|(?:tôi|mình|em|anh|chị) (?:muốn|cần
|cần được|muốn được|xin)|cho (?:tôi|mình|em)
|(?:tôi|mình|em) có thể|có thể|muốn|cần""",
    person="""(?:một )?(?:người thật|con người|nhân viên|tư vấn viên|tổng đài viên|nhân viên tư vấn
|nhân viên hỗ trợ|nhân viên thật|người tư vấn|điện thoại viên
|chăm sóc khách hàng|nhân viên chăm sóc khách hàng)""",
    anyone="ai đó(?: .*)?|người|quản lý|bộ phận .*|hỗ trợ",
    talk="""(?:nói chuyện|trò chuyện|nói|chat|gặp|liên hệ|trao đổi|kết nối
|gặp trực tiếp)(?: trực tiếp)?(?: với| cùng)?""",
    order="(?:kết nối|chuyển|nối máy|gọi|cho)(?: tôi| mình| em| cuộc gọi)*(?: với| tới| đến| cho| sang| gặp)?",
    manner="đi|ạ|ngay|nhé|được không|không|được không ạ|giúp|cảm ơn|bây giờ|(?:chứ không|thay vì) .*",
    topic="(?:về|để|vì) .*",
)
_TURKISH = Request(
    opening="""merhaba|selam|iyi günler|lütfen|evet|hayır|artık|hemen|ben|beni|bana|bir|sadece|acilen|direkt
|mümkünse|robot değil|bot değil""",
    person="""(?:(?:gerçek|canlı|bir|insan|yetkili) )*(?:insan|insana|insanla|kişiyle|temsilci|temsilciye
|temsilciyle|(?:müşteri|destek|çağrı merkezi
|satış) temsilcisi(?:ne|yle)?|operatör|operatöre|operatörle|yetkili|yetkiliye|yetkiliyle|görevli|görevliyle
|görevliye|danışman|danışmanla
|canlı destek|canlı desteğe|müşteri hizmetleri(?:yle|ne)?)""",
    anyone="""(?:(?:yetkili|gerçek|canlı) )?(?:birisi|biri|birisiyle|biriyle|birine|birileriyle)(?: .*)?
|(?:bir )?(?:çalışan|çalışanla|çalışanınızla|müdür|müdürle|yöneticiyle|yönetici)
|destek (?:ekibi(?:yle|ne)?|birimiyle)""",
    talk=_NEVER,
    order="(?:bağla|bağlayın|aktar|aktarın)(?: beni)?",
    talk_last="""(?:(?:direkt|hemen|doğrudan|ile|telefonda|canlı|lütfen) )*(?:konuşmak|görüşmek|yazışmak
|bağlanmak|konuşmam|görüşmem|konuşabilir|görüşebilir
|bağlanabilir|bağlar|aktarır|bağlayabilir|aktarabilir|bağlayın|bağla|bağlan|bağlanayım|aktarın|aktar
|istiyorum|konuşayım|görüşeyim|lazım|verin|ver)
(?: istiyorum| isterim| istedim| lazım| gerek| gerekiyor| miyim| misiniz| mısınız| musunuz| mümkün mü)?""",
    manner="lütfen|hemen|acil|acilen|şimdi|var mı|teşekkürler|(?:değil) .*",
    topic="(?:hakkında|için) .*",
)
_ARABIC = Request(
    opening="""مرحبا|السلام عليكم|اهلا|من فضلك|لو سمحت|رجاء|رجاءا|نعم|الان|فقط|انا|ان|اريد|اريد ان|ارغب|ارغب في
|اود|اود ان|احتاج|احتاج الى|احتاج ان|ابغى|ابي|بدي
|عايز|عاوز|ممكن|هل ممكن|هل يمكن|هل يمكنني|هل استطيع|يمكنني|استطيع|افضل|هل يمكنني ان|ممكن ان""",
    person="""(?:ب|ل|لل|ال)?(?:شخص|انسان|موظف|موظفة|ممثل|وكيل|مندوب|بشري?|مسؤول)(?: حقيقي[ةه]?| بشري[ةه]?| حي
| الدعم| دعم| خدمة العملاء| من خدمة العملاء
| خدمة عملاء| الاستقبال| مختص)*|احد (?:الموظفين|موظفيكم|ممثليكم|الاشخاص)""",
    anyone="""(?:ب|ل)?(?:احد|احدهم|شخص ما)(?: .*)?|(?:ب|ل|ال|بال|لل)?(?:خدمة العملاء|خدمة الزبائن|دعم(?: الفني)?
|مدير|مشرف|فريق الدعم)""",
    talk="""(?:التحدث|اتحدث|تحدث|التكلم|اتكلم|الكلام|الحديث|التواصل|اتواصل|محادثة|الدردشة|دردشة|احكي|اكلم|اتكلم
|مكالمة|التحدث مباشرة|اتحدث مباشرة)(?: مع| الى)?""",
    order="""(?:حولني|حولوني|حولونى|وصلني|وصلوني|اوصلني|اوصلوني|حول المحادثة|تحويلي|تحويل المحادثة|اعطني|اعطوني
|نادي)(?: الى| مع| على)?""",
    manner="من فضلك|لو سمحت|الان|فورا|رجاء|شكرا|حالا|مباشرة|(?:وليس|لا|بدل|بدلا) .*",
    topic="(?:بخصوص|عن|حول|بشان|لان|من) .*",
)
_HEBREW = Request(
    opening="""שלום|היי|בבקשה|כן|עכשיו|פשוט|אני|(?:אני )?(?:רוצה|צריך|צריכה|מעדיף|מעדיפה|מבקש|מבקשת|חייב|חייבת
|אשמח)|(?:האם )?(?:אפשר|ניתן|אוכל)|תן לי|תנו לי""",
    person="""(?:ל|ה|עם )?(?:נציג|נציגה|בן אדם|אדם|בנאדם|אנושי|עובד|מענה אנושי|מישהו אמיתי|איש)(?: אנושי[ת]?
| אמיתי[ת]?| שירות(?: לקוחות)?| שירות הלקוחות| תמיכה| מכירות| חי)*""",
    anyone="(?:ל)?(?:מישהו|מישהי)(?: .*)?|(?:ל|ה)?(?:שירות (?:ה)?לקוחות|תמיכה|מנהל|מנהלת|צוות התמיכה|אחראי)",
    talk="(?:לדבר|לשוחח|להתכתב|דיבור|שיחה|לשיחה|לצ אט|לדבר ישירות)(?: עם)?",
    order="(?:תעביר|תעבירו|העבר|העבירו|תחבר|תחברו|חבר|חברו|להעביר|לקבל|תביא|תביאו)(?: אותי| לי)?(?: אל| עם)?",
    manner="בבקשה|עכשיו|מיד|דחוף|תודה|(?:ולא|לא|במקום) .*",
    topic="(?:לגבי|בנוגע|על|בקשר|כי|ש).*",
)
_PERSIAN = Request(
    opening="""سلام|لطفا|بله|نه|الان|فقط|من|مرا|منو|من را|میخواهم|می خواهم|میخوام|می خوام|ممکن است|ممکنه|میتوانم
|می توانم|میتونم|میشود|می شود|میشه|باید|دوست دارم|ترجیح میدهم""",
    person="""(?:با |به )?(?:یک |یه )?(?:انسان|آدم|شخص|کارشناس|اپراتور|پشتیبان|نماینده|مسئول|کارمند|فرد
|اپراتور انسانی)(?: واقعی| انسانی| زنده| پشتیبانی| فروش| شما)*""",
    anyone="(?:با |به )?(?:کسی|یک نفر|یه نفر|یکی|پشتیبانی|خدمات مشتریان|مدیر|سرپرست)(?: .*)?",
    talk=_NEVER,
    order="(?:وصل کنید|وصل کن|وصلم کن|وصلم کنید)(?: به)?",
    talk_last="""(?:مستقیم |مستقیما )?(?:صحبت کنم|صحبت کردن|صحبت|حرف بزنم|حرف زدن|گفتگو کنم|گفت و گو کنم|گفتگو
|چت کنم|تماس بگیرم|ارتباط بگیرم|وصل کنید|وصل کن|وصلم کنید
|وصلم کن|وصل شوم|وصل بشم|میخواهم|میخوام)(?: صحبت کنم)?""",
    manner="لطفا|الان|فورا|ممنون|(?:نه|به جای) .*",
    topic="(?:درباره|در مورد|برای|چون|راجع) .*",
)
_HINDI = Request(
    opening="""नमस्ते|नमस्कार|कृपया|प्लीज|हाँ|हां|नहीं|अभी|बस|मुझे|मैं|मेरी|हमें|क्या|क्या मैं|सीधे|mujhe|mujhko
|main|please|kya|kya main|meri|abhi""",
    person="""(?:किसी |एक |kisi |ek )?(?:असली |वास्तविक |जीवित |asli |real )?(?:इंसान|व्यक्ति|एजेंट|प्रतिनिधि
|ऑपरेटर|आदमी|मनुष्य|कर्मचारी|अधिकारी|ग्राहक सेवा|कस्टमर केयर
|insaan|insan|agent|aadmi|customer care|executive|vyakti|operator)(?: प्रतिनिधि| एजेंट| अधिकारी| executive)?""",
    anyone="(?:किसी|मैनेजर|मैनेजमेंट|सपोर्ट|सपोर्ट टीम|kisi|manager|support)",
    talk=_NEVER,
    order=_NEVER,
    talk_last="""(?:से |के साथ |को |se |ke saath |ko )?(?:सीधे )?(?:बात|बातचीत|चैट|संपर्क|जोड़|जोड़ें|कनेक्ट
|चाहिए|बुलाओ|बुलाइए|बुलाएं|baat|chat|chahiye|connect)
(?: करनी| करना| करने| करवा| करवाओ| करवाइए| कराओ| कराइए| करा| कर| है| हैं| दो| दें| दीजिए| चाहता| चाहती| हूं| हूँ
| सकता| सकती| सकते| करें| कीजिए
| karni| karna| karao| karwao| kara| karwa| kar| hai| do| dijiye| sakta| sakti| hu| hoon| chahta| chahti| karo
| karaye)*""",
    manner="कृपया|अभी|प्लीज|धन्यवाद|please|abhi",
    topic="के बारे में",
)
MORE = (
    _POLISH, _UKRAINIAN, _CZECH, _SWEDISH, _DANISH_NORWEGIAN, _FINNISH, _HUNGARIAN, _ROMANIAN, _GREEK, _INDONESIAN, _VIETNAMESE,
    _TURKISH, _ARABIC, _HEBREW, _PERSIAN, _HINDI,
)  # fmt: skip

_CHINESE = """(?:你好|您好|喂|请问|请|請|麻烦你?|麻煩|帮我|幫我|给我|給我|现在|現在|马上|立即|立刻|直接|可以
|可不可以|能不能|能否|可否|能|我想要?|我要|我需要|我希望|我|想要?|要|需要|就)*+
(?:(?:转接?|轉接?|接|换|換|找|叫|联系|聯繫|呼叫|连接|切换|轉到|转到|接通|安排|派|来个?|來個?|有|让|讓)?(?:到|个
|個|一个|一個|一下|你们的|你們的)?
(?:人工(?:客服|服务|服務|坐席)?|真人(?:客服|服务|服務)?|真正的人|活人|客服(?:人员|人員|专员)?|工作人员|工作人員
|专员|人类|人類)|
(?:跟|和|与|與|同)(?:一个|一個|个|個|你们的|你們的)?(?:真人|真正的人|人工|人工客服|真人客服|活人|人类|客服
|客服人员|工作人员|工作人員|经理|你们经理|人)(?:直接)?
(?:说话|說話|说|聊天?|聊聊|谈谈?|談談?|沟通|溝通|对话|對話|交流|讲话|講話|讲|通话|通話|联系)|不要机器人
|不想(?:跟|和)机器人(?:说话|聊天?))
(?:一下|吧|吗|嗎|呢|好吗|可以吗|行吗|谢谢|謝謝|来|處理|处理|回答|回复|帮忙|帮我|聊|说话|不要机器人|，)*"""
_JAPANESE = """(?:すみません|すいません|あの|至急|今すぐ|直接|できれば|はい|いいえ|お願いです|ロボットではなく
|ボットではなく|早く|もう|ちょっと)*+
(?:(?:本物の|生身の|実際の|人間の|担当の|サポートの)*(?:人間|担当者?|オペレーター?|スタッフ|係員|係の(?:人|方)
|人|方|カスタマーサポート|サポート|責任者|上司|有人(?:対応|チャット|サポート)?)(?:の(?:人|方|オペレーター?
|担当者|スタッフ))?
(?:と|に|へ)(?:直接|今すぐ|電話で)?(?:お?話(?:し|しを|を|がし|をし|せ|す)?|話せ|喋り|しゃべり|チャットし
|チャット|相談し|つない|繋い|つなげ|繋げ|つなが|繋が|代わっ|変わっ|替わっ|接続し|転送し|取り次い|問い合わせ)
(?:がしたい|したい|させて|して|せ|せる|す|りたい|たい|で|て|で|てもらえ|でもらえ|ますか|もらえますか
|いただけますか|もらえ|いただけ|ください|下さい|ほしい|欲しい|です|ます|のですが|んですが|ん|だけど|けど|か
|お願いします|お願い|できますか|でき|こと|ことは|ことが|可能|可能です|ね|よ|り|し)*|
(?:人間|担当者|オペレーター?|スタッフ|係員|係の人|責任者|有人(?:対応|チャット|サポート)?|人間の(?:オペレーター?
|対応|担当者?))(?:を|による対応を|に|の対応を|での対応を)?
(?:お願いします|お願いできますか|お願い|呼んで|呼んでください|出して|出してください|出せ|希望|希望します
|希望です|要求します|必要です|対応|対応してください|代わって|代わってください|してください|求めます)+|
オペレーター?|人間|有人対応|有人チャット|有人サポート|担当者)"""
_KOREAN = """(?:안녕하세요|저는|저|나|지금|바로|당장|좀|그냥|제발|네|아니요|빨리|직접|혹시|저기요|로봇말고|봇말고)*+
(?:(?:실제|진짜|고객센터|고객|담당|전문)*(?:상담원|상담사|사람|직원|담당자|인간|매니저|관리자|상담직원)(?:분)?
(?:과|와|이랑|랑|하고|에게|한테|으로|로|을|를|이|에)?(?:직접|바로|좀|전화로)*(?:통화|얘기|이야기|대화|상담|말
|말씀|채팅|연결|불러|바꿔|보내|연락|부탁|원|필요|불러서)
(?:을|를)?(?:하고싶|하고|싶|할래|할수|있|있나|있을까|해주|해줘|해|시켜|주|줘|드리|드립|드려|가능|되|될까|원|합
|어요|습니다|어|요|세요|니다|나요|까요|시겠어요|한가요|싶어|싶어요|좀|시|부탁|할|수|하|해요|바라|주시|줄|래|려|면)*|
(?:상담원|상담사|실제사람|진짜사람|사람상담|상담원연결|상담사연결|직원연결|사람상담원))"""
_THAI = """(?:สวัสดี|ครับ|ค่ะ|คะ|ขอ|อยาก|ต้องการ|ช่วย|กรุณา|โปรด
|รบกวน|ผม|ฉัน|ดิฉัน|หนู|เรา|จะ|ให้|สามารถ|แค่|ตอนนี้)*+
(?:(?:คุย|พูด|พูดคุย|สนทนา|ติดต่อ|แชท|แชต|โอนสาย|โอน|ต่อสาย
|เรียก|สอบถาม)(?:โดยตรง|สาย)?(?:กับ|หา|ไปที่|ไปยัง|ไปหา|ให้
|ถึง)?(?:ผม|ฉัน)?
(?:เจ้าหน้าที่|พนักงาน|แอดมิน|คนจริง|คน|มนุษย์|โอเปอเรเตอร์
|ตัวแทน|ฝ่ายบริการลูกค้า|ฝ่ายลูกค้าสัมพันธ์|ผู้จัดการ
|คอลเซ็นเตอร์)|(?:เจ้าหน้าที่|แอดมิน|พนักงาน|คนจริง
|โอเปอเรเตอร์))
(?:จริงๆ|จริง|ๆ|ที่เป็นคน|หน่อย|ได้ไหม|ได้มั้ย|ได้หรือไม่
|ได้ไหม|โดยตรง|ครับ|ค่ะ|คะ|นะ|ด้วย|เลย|ตอนนี้|ที|ไม่ใช่บอท)*"""
UNSPACED_CALLS = (_CHINESE, _JAPANESE, _KOREAN, _THAI)
