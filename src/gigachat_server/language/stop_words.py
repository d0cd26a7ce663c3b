"""The words of each language that say too little to be searched for: grammar, and what questions are filled with.

In a small knowledge base hardly any chunk holds "much", "mean" or "hoch", so they would weigh more than what is
asked about. The lists are ours. A word counts with and without its accents, since people leave them out.
"""

from __future__ import annotations

from functools import cache

from gigachat_server.language.characters import folded, word_set
from gigachat_server.language.codes import Language

_LISTS: dict[Language, str] = {
    "en": """a about above after again against all also am an and any are aren't as at be because been before being
        below between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during
        each few for from further had hadn't has hasn't have haven't having he he'd he'll he's her here here's hers
        herself him himself his how how's i i'd i'll i'm i've if in into is isn't it it's its itself just let's ll
        me more most mustn't my myself no nor not now of off on once only or other ought our ours ourselves out over
        own please re s same shan't she she'd she'll she's should shouldn't so some such t than that that's the
        their theirs them themselves then there there's these they they'd they'll they're they've this those through
        to too under until up ve very was wasn't we we'd we'll we're we've were weren't what what's when when's
        where where's which while who who's whom whose why why's will with won't would wouldn't you you'd you'll
        you're you've your yours yourself yourselves""",
    "de": """ab aber alle allem allen aller alles als also am an ander andere anderem anderen anderer anderes auch
        auf aus bei beim bin bis bist bitte bräuchte brauche brauchen braucht da dabei dafür damit danach danke
        dann daran darauf daraus darf darfst darin darüber das dass dazu dein deine deinem deinen deiner dem den
        denn der des dich die dies diese diesem diesen dieser dieses dir doch dort du durch dürfen ein eine einem
        einen einer eines einige er es etwas euch euer eure eurem euren eurer für ganz geben geht gern gerne
        gewesen gibt gibts gleich guten hab habe haben habt hallo hast hat hatte hatten hätte hätten hätten her hi
        hier hin hoch ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im immer in ins irgendwo ist ists ja jede jedem
        jeden jeder jedes jemand jetzt kann kannst kein keine keinem keinen keiner kommt können könnt könnte könnten
        könntet lang lange läuft machen mache macht mal man manche mehr mein meine meinem meinen meiner meines mich
        mir mit möchte möchten mögen muss müssen musst müsst nach nein nicht nichts noch nun nur ob oder ohne sag
        sagen sehr sein seine seinem seinen seiner seit sich sie sind so soll sollen sollte sonst tun über um und
        uns unser unsere unserem unseren unserer unter viel viele vielen vom von vor wann war waren warum was weg
        wegen weil weiß welche welchem welchen welcher welches wem wen wenn wer werde werden weshalb wessen wie
        wieder wieso wieviel wieviele will willst wir wird wirst wo woher wohin wollen worden wurde wurden würde
        würden zu zum zur zwischen""",
    "fr": """a à afin ai aide aider aie ailleurs ainsi alors après as au aucun aucune aura aurais aurait aussi
        autre autres aux avaient avais avait avant avec avez avoir avons ayant beaucoup besoin bien bonjour bonsoir
        c ça car ce ceci cela celle celles celui ces cet cette ceux chaque chez ci combien comme comment d dans de
        déjà depuis des deux dire dis dites doit doivent dois donc donne donner dont du elle elles en encore entre
        es est et étaient étais était été êtes être eu eux faire fais fait faites faudrait faut font fut hein
        ici il ils j jamais je jusqu jusque l la là laquelle le lequel les lesquelles lesquels leur leurs lorsque
        lui m ma mais me même merci mes mettre moi moins mon n ne ni non nos notre nous on ont or ou où oui par
        parce parmi pas pendant peu peut peut-être peuvent peux plait plaît plus pour pourquoi pourrais pourrait
        pouvez pouvoir prend près puis puisque qu quand que quel quelle quelles quelqu quelque quelques quels qui
        quoi s sa salut sans savoir se sera serait ses si sinon soit sommes son sont souhaite souhaiterais sous suis
        sur svp t ta te tes toi ton toujours tous tout toute toutes très trouve trouver tu un une va vais vas vers
        veut veux voici voir voudrais voulez vont vos votre vous voulais y""",
    "es": """a acá acerca ahí ahora al algo alguien algún alguna algunas alguno algunos allá allí ante antes
        aquel aquella aquí así aún aunque ayuda ayudar bajo bien buenas buenos cada casi como cómo con conocer
        contra cosa cuál cuales cuáles cualquier cuando cuándo cuánta cuántas cuanto cuánto cuántos dan dar
        de deber debo debe deben decir del desde después di dice dime donde dónde dos durante e él el ella ellas
        ellos en entonces entre era eran eres es esa esas ese eso esos esta está estaba están estar estas este
        esto estos estoy favor fue fueron gracias gustaría ha haber había hace hacen hacer hacia hago han has
        hasta hay he hola ir la las le les lo los más me mi mí mientras mis mismo mucha muchas mucho muchos muy
        nada necesita necesito ni no nos nosotros nuestra nuestras nuestro nuestros nunca o os otra otras otro otros
        para pero poco podemos poder podéis podría por porque pues puede pueden puedes puedo que qué querer
        quería quien quién quienes quiénes quiere quiero quisiera saber se sé sea según ser será si sí sido
        siempre sin sino sobre sois solo sólo son soy su sus también tampoco tan tanto te tener tengo tenemos
        tiene tienen tienes toda todas todo todos tu tú tus un una unas uno unos usted ustedes va vais vamos van
        vas ver vez voy vosotros y ya yo""",
    "it": """a abbia abbiamo ad ai aiuto al alcuni all alla alle allo altri altra altre altro anche ancora avere
        avete aveva avevo avrei bene bisogno buongiorno buonasera c cerca che chi ci c'è ciao ciò cioè circa coi
        col come con cosa cosi così cui d da dagli dai dal dall dalla dalle dallo davvero degli dei del dell della
        delle dello dentro deve devo devono di dici dimmi dire dopo dove dov dovrei due durante e è ecco ed era
        erano essere fa faccio fai fanno far fare fra fu gli grazie ha hai hanno ho i il in io l la le lei li lo
        loro ma me mediante mentre mi mia mie miei mio molta molte molti molto ne negli nei nel nell nella nelle
        nello nessun nessuna niente no noi non nostra nostre nostri nostro o ogni ok oppure ora per perché
        perfavore piacerebbe più piu poco poi posso possiamo possono potrei può puoi pure qua qual quale quali
        qualche qualcosa qualcuno quando quanta quante quanti quanto quegli quei quel quella quelle quello questa
        queste questi questo qui quindi sa salve sapere sarà se sei sempre senza serve si sì sia siamo siete solo
        sono sopra sotto sta stanno stata stato su sua sue sugli sui sul sulla sulle suo suoi tra tramite troppo tu
        tua tue tuo tuoi tutta tutte tutti tutto un una uno vi vedere vengono verso voi voglio vorrei vostra vostre
        vostri vostro""",
    "pt": """a à acerca agora ah ai aí ainda ajuda ajudar algo alguém algum alguma algumas alguns ali alguma ante
        antes ao aos apenas após aquela aquele aqui aquilo as às até bem boa bom cada coisa com como contra cuja
        cujo d da dá dar das de dela dele deles dentro depois desde dessa desse desta deste deve devem devo dia
        disse dizer do dois dos duas durante e é ela elas ele eles em embora entre era eram és essa essas esse
        esses esta está estão estar estas estava este estes estou eu faça faço fala favor faz fazem fazer ficar
        fica foi for foram fosse gostaria há haver isso isto já la lá lhe lhes lo mais mas me mesmo meu meus mim
        minha minhas muita muitas muito muitos na nada não nas nem nenhum nessa nesse nesta neste ninguém no nos
        nós nossa nossas nosso nossos num numa nunca o obrigada obrigado oi olá onde os ou outra outras outro
        outros ouço para pela pelas pelo pelos per perante pode podem podemos poder podia pois por porque pôr
        porquê pouco posso pra precisa precisar preciso próprio qual quais qualquer quando quanta quantas quanto
        quantos quais que quê quem quer querem queria quero saber são se seja sem sempre sendo ser será seu seus
        si sim so só sob sobre sou sua suas também tanto tão te tem têm temos tenho ter teu teus ti tinha toda
        todas todo todos tu tua tuas tudo um uma umas uns vai vamos vão vem ver vez você vocês voces vos vou""",
    "nl": """aan af al alle alleen alles als alstublieft alsjeblieft altijd andere ander anders aub bedankt ben bent
        bij bijna boven dan dank daar daarna dag dat de deze der die dit doe doen doet door dus een eens elk elke en
        enkele er erg even gaan gaat geef geen geven gaat graag haar had hadden hallo heb hebben hebt heeft heel hem
        hen het hier hij hoe hoelang hoeveel hoi hun iemand iets ik in indien is ja je jij jou jouw jullie kan komen
        komt krijg krijgen kun kunnen kunt lang laten later maak maar maken me meer men mensen met mij mijn
        misschien mits moet moeten mocht mogelijk mogen mag na naar nee niemand niet niets nodig nog nooit nu of om
        omdat ons onder onze ook op over per probeer reeds samen sinds te tegen terwijl toch toe toen tot tussen u
        uit uw vaak van vanaf veel vertel via vinden voor vraag waar waarom wanneer want waren was wat we wel welk
        welke wie wij wil willen wilt word worden wordt worden zal ze zeer zeg zei zelf zich zie zien zij zijn zit
        zo zodat zonder zou zouden zoek zoals zullen zult""",
    "sv": """aldrig all alla allt alltid än andra är att av bara behöver bli blir blev bör då där därför de dem den
        denna deras dess dessa det detta dig din dina ditt du eftersom efter eller en er era ert ett få får finns
        för från funkar ganska ge genom gör göra går ha hade han hans har hej henne hennes hjälp honom hos hur i
        ibland icke in ingen inget inte ja jag just kan kanske kommer kosta kunde kunna längre man många med mellan
        men mer mig min mina mitt mot mycket måste någon något några när nej ni nog nu nån nåt och också om oss på
        per sedan säga se ser ska skall skulle sig sin sina sitt själv så sådan snälla som ta tack tar till under
        upp ut utan vad vår vara våra vart var varför varje vart vars vem vet vi vid vilja vilka vilken vilket vill
        via åt över""",
    "da": """af al alle allerede alt altid anden andre andet at bare behøver blev bliver både da de dem den denne
        der deres derfor det dette dig din dine disse dit dog du efter ej eller en end endnu er et få får fandtes
        find finder findes for fordi fra før gennem gerne gik gør gøre gå går ham han hans har have havde hej
        hende hendes her hjælp hos hun hvad hvem hver hvilke hvilken hvilket hvis hvor hvordan hvorfor hvornår hvor
        i ikke ind ingen intet ja jeg jer jeres kan kommer kunne lad lige længe man mange måske med meget mellem
        men mere mig min mindre mine mit må måtte nej ned nogen noget nogle nok nu når ny og også om op os over på
        sådan se selv ses si sig siger sin sine sit skal skulle snart som så tag tager tak til ud uden under var
        venligst vi via vil ville vor vores være været ved ønsker""",
    "no": """alle allerede alltid alt andre annen annet at av bare begge ble blei bli blir da de deg dei deim deira
        dem den denne der deres derfor det dette di din disse ditt dra du eller en enn er ei et etter ett finnes for
        fordi fra få får før gi gir gjennom gjør gjøre går gå ha hadde ham han hans har hei henne hennes her
        hjelp hjelpe hos hun hva hvem hver hvilke hvilken hvilket hvis hvor hvordan hvorfor i ikke ingen inn ja jeg
        kan kanskje kommer kun kunne kva kvar kven lang lenge man mange med meg meget mellom men mer min mine mitt
        mot mye må måtte nei noe noen nok nå når og også om opp oss over på se selv seg si sier sin sine sitt skal
        skulle slik snill som så ta takk tar til trenger ut uten under vær være vært vennligst var ved vet vi via
        vil ville vår våre ønsker""",
    "fi": """aina ei eikä eivät ehkä emme en ennen et että ette haluan haluaisin hän häntä he hei heidän heitä hyvää
        ilman itse ja joka jonka jos joissa jossa jota jotka jotta joten juuri jälkeen kaikki kanssa kautta keitä
        ken kenelle kenen ketkä kiitos koska kuin kuinka kuka kun kyllä kaksi lisäksi löytyy me meidän meille mikä
        mihin miksi millainen millä milloin missä mistä mitä mitkä miten moni monta mukaan mutta muu muut myös mä
        niiden niin niitä ne noin nuo nyt näitä nämä näin oi ole olemme olen olet olette oli olisi olivat olla on
        onko ovat paljon paljonko pitkä pitää pitäisi pois saa saada saako saan sanoa se sekä sen siellä siihen siis
        siitä silloin sillä sinä sinun sitten sitä sä tai tarvitsen tarvitsee te teidän teillä teiltä tehdä tiedä
        tiedän tämä tämän tätä tuo voi voiko voin voinko voivat vain vaan vai vielä yksi ystävällisesti yli""",
    "hu": """a abban ahhoz ahogy ahol aki akik akkor által általában amely amelyek ami amit amíg annak arra
        arról azok az azon azt aztán azzal azért be bele benne csak de e ebben egy egyes egyik egyéb el előtt
        én ennek erre és ez ezek ezen ezt ezzel fel felé hogy hogyan hol hol honnan hova ha hány hello hanem
        hiszen ide igen illetve ilyen is itt jó kell kellene kérem köszönöm kap kaphatok kapok keresek kér
        keresztül ki kicsoda kik kit kívül le lehet lehetséges lenne lenni lesz ma maga már más még meg mely
        melyik mennyi mennyibe mert mi miatt mikor milyen mind minden mindig mint mit miért mivel mond most mondja
        nagyon ne néha nekem neki nem nélkül nincs ok olyan on ott ő ők össze pedig persze rá s saját se segít
        segítség sem semmi só sok szeretnék szerint szia számára szükséges tehát tessék tudok tud tudom
        tudni te ti tőle több üdv utána után vagy vagyok vajon valaki valami van vannak való viszont volt voltak
        volna üdvözlöm úgy új""",
    "ro": """a acea aceasta această aceea acel acela acele acest acesta aceste acestui acești acolo acum ai aia aici
        al ale alt alta altă alte am ar are as aș asta astea asupra așa ați atunci au aveți avea avem aș bine bună
        ca că când cam care cât câtă câți ce cel cele cei cere chiar cine cineva cu cui cum cumva dă da dacă dar
        dați de deci decât deja despre din după e ea ei el ele era este eu eți există fac face fără fi fie fiecare
        fost i iar îi îl îmi in în încă între îți la le li lor lui mă mai mea meu mei mele mi mult multă multe mulți
        mulțumesc ne nevoie ni nici nimic niște noi nostru noștri nu o ori oricare pe pentru peste poate pot puteți
        poți prea prin putem rog s să sale salut sau se si și spune sub sunt sunteți suntem ta te toate toată tot
        toți tu tău un una unde unei unele unor unui unul vă va voastră voi vom vor vreau vreo vrea z zi""",
    "pl": """a aby ale albo ani aż bardzo bez bo był była było były być bym by chcę chce chciałbym chciałabym
        ci co coś cześć czego czemu czy dla dlaczego do dobry dzień dziękuję gdy gdyby gdzie go i ich ile im inne
        inny innych iż ja jak jaka jaki jakie jakiś jako je jego jej jest jestem jeśli jeszcze jeżeli już każdy
        kiedy kilka kim kto która które którego której który których którzy lub ma mają mam mamy mi mieć mnie
        moge mogę moja moje mój może można mi musi muszę my na nad nam nas nasz nasze nie nic niej nich nim niż no
        o od ode on ona one oni ono oraz pan pani po pod podać pomoc pomóc ponieważ potrzebuję powiedz poza proszę
        przed przez przy raz robić są się sobie sposób swoje ta tak takie także tam te tego tej ten też to tobie
        trzeba tu twój tych tylko tym u w was we wiedzieć więc witam wszystko wy z za zawsze ze że żeby znaleźć""",
    "cs": """a aby ahoj ale ani ano asi až bez bude budou by byl byla byli bylo být chci chtěl co což či dál
        další dát dá děkuji dělat do dobrý den docela dnes ho i já jak jaká jaké jaký jako je jeho její
        jejich jen jestli ještě ji jiné již jsem jsi jsme jsou jste k kam každý kde kdo kdy když která které
        kteří který ke kolik kvůli lze má mají mám máme máte mě mezi mi mít mně moc mohou mohu moje můj
        může můžu můžete musí musím my mým na nad nám nás náš naše ne nebo nebyl nechť něco nějaký někdo
        není než nic nich o od on ona oni ono pak po pod podle pokud pomoc pomoct potřebuji pouze prosím proč
        proto protože pro před přes při s se si svůj ta tady tak také takže tam te tedy ten tento této tím to
        toho tohle tom tu tuto tvůj ty u už v vám vás váš vaše ve vědět více však všechno vy z za zda zde ze
        že""",
    "tr": """acaba ama ancak artık aslında az bana başka bazı belki ben bende benden beni benim bile bilgi bir
        biraz biri birkaç birçok biz bize bizi bizim bu buna bunda bundan bunlar bunu bunun burada çok çoğu çünkü
        da daha dahi de defa değil diye diğer durumda edebilir edebilirim ederim eder en eğer fakat gerek gerekir
        gerekiyor gibi göre hakkında hala hangi hangisi hani hatta hem hep hepsi her herhangi herkes hiç hiçbir
        için içinde ile ilgili ise işte istiyorum ister iyi ki kaç kadar karşı kendi kendine kez kim kime kimi
        kimin kimse lazım lütfen madem merhaba mi mı mu mü mıdır midir mudur müdür musunuz misiniz
        mısınız nasıl ne neden nedir neler nelerdir nerede nereden nereye nesi niçin niye olan olarak oldu
        olduğu olduğunu olması olmak olur olsa ona ondan onlar onu onun orada oysa öyle pek peki rağmen sadece sana
        sanki sen senin şey siz size sizi sizin sonra şöyle şu şunu tarafından teşekkürler tüm var vardır ve
        veya ya yani yapabilirim yapılır yapmak yardım yok yoksa yine zaten zaman""",
    "id": """ada adalah agar akan aku anda apa apakah atau bagaimana bagi bahwa banyak bantu beberapa begitu belum
        berapa bisa bisakah boleh bukan dalam dan dapat dari daripada dengan di dia harus hanya halo hai hingga ia
        ini itu jadi jangan jika juga kah kalau kalian kami kamu kan kapan karena kata ke kepada ketika kita lagi
        lah lain lalu lebih mana masih mau maka melalui mereka mengapa mohon namun nya oleh pada para per perlu
        pernah pula saat saja sampai sangat saya sebagai sebelum sebuah secara sedang selama semua seperti sering
        serta sesudah setelah setiap siapa silakan sini sudah supaya tanpa telah tentang terima terhadap tersebut
        tetapi tidak tolong untuk yaitu yang ya""",
    "vi": """à ạ ai anh ấy bạn bao bằng bị bởi các cái cần cảm cách cho chỉ chị chưa chúng có còn cũng của
        cùng đã đang đâu để đến đi điều đó do được em gì giờ giúp hãy hay hỏi họ hoặc không khi là lại
        làm lên lúc mà mấy mình một muốn nào này nên nếu nhé nhiêu nhiều như nhưng những ở ông phải qua ra
        rằng rất rồi sao sau sẽ sự ta tại thế thì thể theo tôi tới trên trong trước từ và vào vẫn vậy về vì
        việc với vui lòng xin ơn""",
    "ru": """а без бы был была были было быть в вам вами вас ваш ваша
        ваше ваши весь во вот все всё всего всех вы где да даже для
        до добрый день его ее её если есть еще ещё ж же за
        здравствуйте здесь зачем и из или им ими их к каждый как
        какая какие каким каких какого какое какой каком какую кем
        ко когда кого кому который которая которое которые которых
        кто куда ли либо лишь мне много может можете можно мной мои
        моего моей мое моё моем мой мочь моя мою мы на над надо нам
        нас наш наша наше наши не него нее неё нельзя нет ни них но
        ну нужен нужна нужно нужны о об один одна он она они оно от
        откуда очень по под подскажите пожалуйста получить
        помогите потому почему при привет про просто расскажите
        раз с сам сами себе себя скажите сколько со спасибо стоит
        стоят ли так также такая такие такое такой там те тебе тебя
        тем то тогда того тоже той только том тот ту тут ты у уже
        узнать хочу хотел хотела хотят что чтобы чего чей чем через
        чья эта эти этих это этого этой этом этот эту я являются""",
    "uk": """а або але без би бо був була були було бути в вам вас ваш
        ваша ваше ваші весь ви від вона вони воно він все всі го да де
        дай для до добрий день дякую же з за зі знати і із й його її їм їх
        й коли куди кого кому котрий крім ледь лише ми мені мене мій
        моя моє можна може можу має мають на навіщо над нам нас наш
        наша не неї немає ні ним них ну о об один ось отже перед під по
        потім потрібно при про привіт прошу просто скільки скажіть с
        своє свої себе собі та так також такий там те теж ти тим тих
        то тобі того той тому треба тут у уже усе хоча хочу хто це
        цей ця ці через чи чим чого чому що щоб щодо я як яка яке який
        які якій яких якщо будь ласка""",
    "el": """α αλλά αλλο αν ανά από αυτά αυτές αυτή αυτό αυτοί αυτός αυτού
        για γιατί δεν δε δηλαδή εάν εγώ είμαι είναι είστε είχα είχε εκεί
        ένα έναν ένας εμένα εμείς επίσης επειδή εσείς εσύ ευχαριστώ έχει
        έχετε έχω έχουν ή η ήταν θα θέλω και κάθε κάποια κάποιο κάποιος
        κατά κάνω κάνει κι λοιπόν μα μας με μέχρι μετά μη μην μια μία μου
        μόνο μπορεί μπορείτε μπορώ να ναι ξέρω ο οι όμως όπως όπου όταν
        ότι ούτε παρά παρακαλώ πάρα περί πια ποια ποιες ποιο ποιοι
        ποιος ποιον πολύ πολλά πόσα πόσες πόση πόσο πόσοι που πού πριν
        προς πως πώς πότε σαν σας σε σου στα στη στην στις στο στον στους
        τα τες τη την της τι τις το τον του τους των τότε τώρα υπάρχει
        υπάρχουν υπό χρειάζομαι χωρίς ως γεια""",
    "ar": """أحتاج أخرى أريد إذا إذ إلى إلا إن أن أنا أنت أنتم أو أي أية أيضا أين ال الآن التي الذي الذين الى اليوم
        اما ان او اي اين بأن بعد بعض بل بما بين بها به تحت تكون تم ثم جدا حتى حول حيث حين خلال دون ذات ذلك سوف شكرا
        ضد عبر عدة عدم على عن عند عندما غير فإن فقط في فيه فيها قبل قد كافة كان كانت كل كلا كم كما كيف لا لأن لدى
        لدي لديك لديكم لذلك لك لكم لكن لم لماذا لن له لها لهم لو لي ليس ليست ما ماذا ماهو ماهي متى مثل مرحبا مع من
        منذ منه منها مني مهما نحن نعم هذا هذه هل هم هنا هناك هو هي و وقد وكان ولا ولم وما وهل وهو وهي يتم يكون يمكن
        يمكنك يمكنني أستطيع السلام عليكم فضلك لو سمحت يجب""",
    "fa": """آن آنها آیا از است اگر اما ام اند او ای این اینکه ایا با باز باشد باشم باید بر برای بسیار بعد بود بوده
        به بی بین پس پیش تا توان توانم تو چرا چطور چقدر چگونه چند چندتا چه چی چیست چیزی خواهد خواهم خود خیلی دارد
        دارم دارند دارید داریم در درباره دو دیگر را روی زیر سلام سپس شد شده شما شود شوید شوند فقط کجا کجاست کدام کرد
        کردن کرده کنم کند کنند کنید که کی کیست گفت لطفا ما مانند مثل مرا من مورد می میتوان میتوانم میخواهم میشود
        میکنم میکند میکنید نه نیز نیست ها هر هستند هستم هست هستید هم همه همین همچنین هنوز هیچ و وقتی ولی یا یک کمک
        متشکرم ممنون""",
    "he": """אבל או אולי אותה אותו אותי אז אחר אחרי אחת איזה איזו אין איך איפה אך אל אם אני אנחנו אנא אפשר אשמח את
        אתה אתם בבקשה בו בה בגלל בין בלי בעד גם די האם הוא היא היה היו הייתי הם הן הזה הזאת היי הנה זה זאת זו חייב
        יהיה יודע יותר יכול יכולה יש כאן כאשר כבר כדי כי כל כמה כמו כן כך לא לאן לאחר לגבי לדעת להיות להם לו לי לכם
        לך לנו למה לפני לקבל מאוד מאיפה מה מהו מהי מול מי מישהו מן מספיק מצאתי מתוך מתי נא עד עדיין עוד על עם עכשיו
        פה צריך צריכה רוצה רק של שלו שלה שלום שלי שלך שלכם שלנו שם תודה תחת""",
    "hi": """अगर अपना अपनी अपने अब अभी आ आप आपका आपकी आपके आपको इन इस इसका इसकी इसके इसमें इसे उन उनका उनकी उनके
        उन्हें उस उसका उसकी उसके उसे एक एवं और कब कभी कम कर करता करती करते करना करने करें करूँ करूं का काफी कि कितना
        कितनी कितने किन किया किस किसका किसी किसे की कुछ के केवल को कोई कौन कौनसा कौनसी क्या क्यों क्योंकि गई गए गया
        चाहता चाहती चाहिए चाहते जब जहाँ जहां जा जाए जाता जाती जाते जाना जाने जैसे जो तक तब तरह तो था थी थे दिया दें
        दो द्वारा धन्यवाद न नमस्ते नहीं ना ने पर पता पास फिर बताइए बताएं बता बहुत बाद बारे भी मदद मिल मिलता मिलती
        मिलेगा मिलेगी मुझे में मेरा मेरी मेरे मैं यदि यह यहाँ यहां या ये रहा रही रहे लगता लिए लिये ले वह वहाँ वहां
        वाला वाली वाले वे सकता सकती सकते सब सभी साथ से हम हमारा हमारी हमारे हमें हाँ ही हुआ हुई हुए हूँ हूं है हैं
        हो होगा होगी होता होती होते होना होने""",
    "zh": "",
    "ja": "",
    "ko": "",
    "th": "",
}


# What English questions are filled with, beside its grammar.
_FILLERS = """anybody anyone anything ask come else ever get gets getting give go goes going gonna got happen
    happens hello help hey hi kind know let like look looking lot many may maybe mean means might mine much must
    need needed needs oh ok okay pls possible put really said say says see shall somebody someone something sure
    take takes tell thank thanks thing things thx try trying u us use wanna want wanted wants well whatever yes yet"""

GRAMMAR = word_set(_LISTS["en"])  # the English words that say nothing even of a question
_LISTS["en"] += " " + _FILLERS


@cache
def spelled(language: Language) -> frozenset[str]:
    """Those of the language with all their accents."""
    return frozenset(_LISTS[language].split())


@cache
def stop_words(language: Language) -> frozenset[str]:
    """Those of the language; none of languages that write no spaces, whose fillers `terms` cuts out."""
    return frozenset(form for word in _LISTS[language].split() for form in (word, folded(word)))
