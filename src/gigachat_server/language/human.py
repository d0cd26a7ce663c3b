"""Does somebody ask for a person? In eight languages, by rule: for models that cannot decide it themselves.

Idea: whoever wants a person says so in a clause of its own, so whole clauses are matched, word by word: what merely
mentions staff ("What does the support team do?") says more than a request does. Invariant: linear in the prompt's length,
and only short prompts are looked at. In all patterns a space is one space, a line break is nothing, and accents, case and
apostrophes are gone on both sides.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple


class _Request(NamedTuple):
    """How a language asks for a person: `opening` any number of times, then what is asked, then how it ends."""

    opening: str
    person: str  # asks for one by itself: "a human, please"
    anyone: str  # also who is a person only where one is talked to or sent for: "someone", "support"
    talk: str  # before `anyone`, after an opening: "talk to"
    order: str  # before `anyone`: "connect me with"
    talk_last: str = "(?!)"  # after `anyone`, in languages that put the verb last
    whole: str = "(?!)"  # asks all by itself; may hold `{person}`
    manner: str = ""  # endings of anything: "please"
    topic: str = ""  # endings of what asks to talk: "about my order"


_ENGLISH = _Request(
    opening="""hi|hello|hey|hi there|hey there|ok|okay|yes|no|well|so|sorry|please|pls|plz|just|now|actually|thanks
|thank you|stop
|(?:i|we) (?:really |just |still |only |also |now )*(?:want|need|wish|prefer|demand|insist on)(?: you)?(?: to)?
|(?:i|we) (?:would|d)(?: really| just| much)*(?: like| love| prefer| want| rather)(?: to)?|(?:want|need|wanna)(?: to)?
|would (?:like|love)(?: to)?|i (?:wanna|gotta|must|have to|said)|(?:i )?ask(?:ed)? (?:for|to)
|i (?:am|m) (?:trying to|asking for|asking to|waiting for)|let (?:me|us)|lemme|allow me to
|(?:can|could|may|might) (?:i|we|you)(?: please| just| maybe| possibly| at least)*|(?:will|would) you(?: please| just)*
|(?:would it be|is it) possible(?: for me)? to|is there (?:a|any) way (?:to|i can|for me to)""",
    person="""(?:(?:a|an|the|your|some|any|another|one of your) )?(?:(?:real|live|living|actual|human|genuine|physical
|proper) )*(?:human|human being|person|operator|rep|representative|advis[eo]r|member of (?:the |your )?(?:staff|team
|support team)|(?:(?:support|service|customer service|customer care|customer support|sales|help desk|call cent(?:er
|re)) )?(?:agent|rep|representative)|(?<=human )(?:support|help|assistance|chat)|(?<=live )(?:support|chat)
|(?<=real )someone)
|some(?:one|body) (?:real|human|to (?:talk|speak|chat) (?:to|with)|(?:from|in|at) (?:the |your )?(?:support|sales|billing
|customer service|customer care|company|team)(?: team| department)?)""",
    anyone="""(?:some|any)(?:one|body)(?: else)?
|(?:(?:a|an|the|your|some|one of your|another) )?(?:(?:real|live|actual|human|customer|tech|technical
|senior) )*(?:support|service|help desk|employee|staff|staff member|manager|supervisor|specialist|expert|technician
|colleague|(?:(?:support|sales|billing|service) )?(?:team|department)|support person)
|(?:real|actual|live) (?:people|humans)|humans""",
    talk="""(?:how (?:can|could|do) (?:i|we) )?(?:talk|speak|chat|talking|speaking|chatting)(?: directly| live)? (?:to
|with)|(?:be|get) (?:connected|transferred|forwarded|put through|through)(?: directly)? (?:to|with)
|escalate(?: this| it)? to""",
    order="""(?:connect|transfer|forward|put|redirect|pass|hand|route|switch|patch|escalate)(?: me| us| this| it)(?: chat
| conversation)?(?: over| through| on| directly)* (?:to|with)|(?:get|give|send|bring|find|call|fetch|assign) (?:me|us)""",
    whole="""(?:how (?:can|could|do) (?:i|we) )?(?:reach|get|have|contact|get to|get hold of) {person}
|(?:customer (?:service|support)|live chat)|(?:is|are) there {person} (?:here|there|online|available|around)
|(?:is|are) there (?:{person}|{anyone})(?: here| available)?(?: that| who| whom)? (?:i|we|to) (?:(?:can|could
|may) )?(?:talk|speak|chat)(?: to| with)?(?: about .*)?
|(?:can|could|would|will) {person} (?:please )?(?:help|call|contact|assist|talk to|speak to|speak with|join) (?:me
|us)(?: back)?|(?:can|could|would|will) some(?:one|body) (?:please )?(?:call|phone|ring) (?:me|us)(?: back)?
|i (?:do not|don t|dont) (?:want|wanna)(?: to)?(?: talk| speak| chat)?(?: to| with)?(?: a| an| the| this)?(?: stupid
| dumb)? (?:bot|robot|machine|chatbot|computer|ai)""",
    manner="""please|pls|plz|now|right now|here|there|asap|immediately|today|instead|again|directly|at once|first|thanks
|thank you|for (?:help|once|me|assistance)|on the (?:phone|line)|over the phone|by phone|(?:not|instead of|rather than) .*
|to (?:help|assist|call|talk|speak).*""",
    topic="""(?:about|regarding|concerning|because|since|to) .*
|(?:that|who) (?:can|could|knows|understands|speaks|is|actually|really) .*
|(?:from|in|at) (?:the |your )?(?:team|company|staff|shop|store|charge|person|support|sales|billing|customer).*""",
)
_GERMAN = _Request(
    opening="""hallo|hi|hey|guten (?:tag|morgen|abend)|moin|bitte|ja|nein|ok|danke|jetzt|sofort|einfach|dann|endlich
|lieber|gerne?
|ich (?:möchte|moechte|will|würde|wuerde|muss|wollte|brauche|benötige|verlange|hätte)(?: gerne?| jetzt| bitte| lieber
| nur| sofort| endlich)*
|(?:kann|könnte|darf|dürfte) (?:ich|man)(?: bitte| mal| hier| jetzt| auch| nicht| irgendwie| direkt)*|wie kann ich
|(?:können|könnten|würden) sie(?: mich| mir)?(?: bitte)?|(?:kannst|könntest) du(?: mich| mir)?(?: bitte)?""",
    person="""(?:(?:ein|eine[mnr]?|de[nrm]|die|ihre[mn]|eure[mn]) )?(?:(?:echt|richtig|real|lebend|lebendig|menschlich
|wirklich)(?:e[mnrs]?)? )*(?:mensch|menschen|person|operator|agent|agenten|(?:(?:support|service|kundendienst
|kundenservice) ?)?mitarbeiter(?:in|n)?|(?:kunden)?berater(?:in)?|kundenbetreuer(?:in)?|ansprechpartner(?:in)?
|sachbearbeiter(?:in)?)""",
    anyone="""jemand(?:em|en)?(?: (?:anderem|anderen|echtem|echten|vom|von|aus) .*)?
|(?:(?:dem|der|den|ihrem|eurem|einem) )?(?:support|kundenservice|kundendienst|kundensupport|service|kundenbetreuung
|support team|service team|team|personal|vorgesetzten|chef|vertrieb|techniker)""",
    talk="(?:sprechen|reden|chatten|schreiben|telefonieren) mit",
    order="""(?:verbinden|verbinde|verbindet|leiten|leite|stellen|stelle)(?: sie)? (?:mich|uns)(?: bitte| jetzt| sofort
| direkt)*(?: mit| zu| an| weiter an)
|(?:geben|gib|gebt|holen|hol|schicken|schick)(?: sie)? (?:mir|uns)(?: bitte| mal| jetzt)*""",
    talk_last="""(?:(?:über|wegen|zu|zum|zur|bezüglich) .* )?(?:direkt |persönlich |am telefon )*(?:sprechen|reden
|chatten|schreiben|telefonieren|verbinden|verbunden werden|weitergeleitet werden|durchgestellt werden|haben|bekommen)""",
    whole="""gibt es (?:hier |da )?(?:{person}|{anyone}) mit (?:dem|der) (?:ich|man) (?:sprechen|reden|chatten) kann
|gibt es (?:hier|da) {person}|(?:kann|könnte) (?:mir|mich) (?:bitte )?{person} (?:helfen|anrufen)
|(?:mit (?:der|dem) )?menschliche[rn]? (?:support|hilfe|unterstützung)""",
    manner="bitte|jetzt|sofort|danke|hier|heute|dringend|(?:statt|anstatt|keinen?|und nicht|nicht) .*",
    topic="(?:wegen|über|bezüglich|zu|zum|zur|weil|der|die|vom|von|aus|im) .*",
)
_FRENCH = _Request(
    opening="""bonjour|salut|bonsoir|merci|oui|non|ok|s il (?:vous|te) plaît|svp|stp|maintenant|laissez moi|il me faut
|je (?:veux|voudrais|souhaite|souhaiterais|aimerais|préfère|préférerais|dois|désire|demande)(?: bien| juste| vraiment
| plutôt| à)*|j (?:aimerais|ai besoin de|ai besoin d|exige)(?: bien| juste| vraiment)*
|(?:est ce que |est ce qu )?(?:je peux|je pourrais|on peut|il est possible de)|puis je|peut on|pourrais je
|est il possible de|serait il possible de|pouvez vous|pourriez vous|peux tu|pourrais tu|comment (?:puis je|faire pour)""",
    person="""(?:(?:un|une|le|la|l|votre) )?(?:(?:vrai|vraie|véritable|réel) )*(?:humain|humaine|être humain
|personne (?:réelle|humaine|physique)|(?<=une )personne|(?<=vraie )personne|agent(?: humain| réel| du support
| du service client)?|conseill(?:er|ère)(?: client| clientèle| humain)?|opérateur(?: humain)?|opératrice|représentant
|téléconseiller)""",
    anyone="""quelqu un(?: d autre| de réel)?
|(?:(?:le|la|l|votre|un|une) )?(?:service client(?:s|èle)?|support(?: client| technique)?|assistance|équipe|responsable
|superviseur|technicien|employé|collaborateur|sav)""",
    talk="""(?:parler|discuter|échanger|communiquer|dialoguer|chatter)(?: directement| en direct)? (?:à|avec|au|aux)
|être (?:mis|mise|transférée?|redirigée?)(?: en (?:relation|contact))? (?:à|avec|vers|au)""",
    order="""(?:passez|mettez|transférez|connectez|redirigez|donnez|passe|mets|transfère|connecte)(?: moi
| nous)(?: en (?:relation|contact|communication))?(?: à| avec| vers| au)?
|(?:me|m|nous) (?:mettre|passer|transférer|connecter|rediriger)(?: en (?:relation|contact|communication))?(?: à| avec
| vers| au)?""",
    whole="""y a t il (?:{person}|{anyone})(?: ici)? (?:à|avec) qui (?:je|on) (?:peux|puisse|peut|pourrais) (?:parler
|discuter)""",
    manner="""s il (?:vous|te) plaît|svp|stp|merci|maintenant|ici|immédiatement|tout de suite|directement
|(?:et non|pas|plutôt|au lieu) .*""",
    topic="(?:au sujet|à propos|concernant|pour|de|du|d|qui|car|parce|sur) .*",
)
_SPANISH = _Request(
    opening="""hola|buenas|buenos días|buenas tardes|gracias|sí|por ?favor|ya|ahora|déjame|déjeme
|me (?:gustaría|encantaría)|es posible
|(?:yo )?(?:quiero|quisiera|necesito|deseo|prefiero|exijo|querría|puedo|podría|tengo que)
|(?:puede|puedes|pueden|podría|podrías|podrían)|cómo (?:puedo|hago para|podría)|hay (?:alguna|una) (?:forma|manera) de
|se puede""",
    person="""(?:(?:un|una|el|la|algún|alguna|su|otro|otra) )?(?:(?:verdader[oa]|auténtic[oa]) )*(?:humano|humana
|ser humano|persona(?: real| humana| de verdad| física)?|agente(?: humano| real| en vivo| de soporte)?
|representante(?: humano| real)?|asesora?(?: humano)?|operadora?(?: humano)?|ejecutiv[oa])""",
    anyone="""alguien(?: más| real| de .*)?
|(?:(?:el|la|su|un) )?(?:soporte(?: técnico)?|servicio al cliente|atención al cliente|equipo(?: de .*)?|encargado
|supervisor|gerente|empleado|técnico|responsable)""",
    talk="(?:hablar|conversar|chatear|platicar)(?: directamente)? con",
    order="""(?:páseme|pásame|comuníqueme|comunícame|conécteme|conéctame|transfiérame|transfiéreme|transferirme|pasarme
|comunicarme|conectarme|derivarme|póngame|ponme|ponerme|me (?:pasas?|comunicas?|transfieres?|conectas?))(?: directamente
| en contacto)?(?: con| a)?|deme|dame""",
    whole="hay (?:{person}|{anyone}) con quien (?:pueda|puedo|se pueda) hablar",
    manner="por ?favor|ya|ahora|gracias|ahora mismo|aquí|inmediatamente|urgente|(?:y no|no|en vez|en lugar) .*",
    topic="(?:sobre|acerca|por|para|de|del|que|porque|en) .*",
)
_PORTUGUESE = _Request(
    opening="""olá|oi|bom dia|boa tarde|obrigad[oa]|sim|por favor|agora|dá (?:pra|para)|é possível|tem como|me deixa
|deixe me|(?:eu )?(?:quero|queria|gostaria de|preciso de|preciso|desejo|prefiro|posso|poderia|exijo|tenho que)
|(?:você )?(?:pode|poderia|podem)|como (?:posso|eu posso|faço para|consigo)""",
    person="""(?:(?:um|uma|o|a|algum|alguma|outro) )?(?:(?:verdadeir[oa]|real) )*(?:humano|humana|ser humano
|pessoa(?: real| humana| de verdade)?|atendente(?: humano| real| de verdade)?|agente(?: humano| real)?|representante
|operadora?|consultora?|atendimento humano)""",
    anyone="""alguém(?: real| de verdade| d[oae] .*)?
|(?:(?:o|a) )?(?:suporte(?: técnico)?|atendimento(?: ao cliente)?|equip[ea](?: de .*)?|gerente|supervisor|funcionário
|técnico|responsável)""",
    talk="(?:falar|conversar|dialogar)(?: diretamente)? com",
    order="""(?:me (?:passe|passa|passar|transfira|transfere|transferir|conecte|conecta|conectar|encaminhe|encaminhar
|coloque|ligue)|(?:passe|transfira|transferir|conecte|encaminhe|ligue) me)(?: em conta(?:c)?to| diretamente)?(?: com
| para| pra| a| ao)?|me (?:dá|dê|chama|chame)|chame|chama""",
    whole="tem (?:{person}|{anyone}) com quem eu (?:possa|posso) falar",
    manner="por favor|agora|já|obrigad[oa]|aqui|imediatamente|urgente|(?:e não|não|em vez) .*",
    topic="(?:sobre|acerca|por|para|de|do|da|que|porque) .*",
)
_ITALIAN = _Request(
    opening="""ciao|salve|buongiorno|buonasera|grazie|sì|no|per ?favore|per piacere|ora|adesso|mi piacerebbe|fammi
|mi faccia|fatemi|è possibile|si può
|(?:io )?(?:vorrei|voglio|posso|potrei|desidero|preferisco|preferirei|devo|esigo|ho bisogno di|avrei bisogno di|mi serve)
|(?:può|puoi|potete|potrebbe|potresti)|come (?:posso|faccio a)""",
    person="""(?:(?:un|una|l|il|la|qualche|altro) )*(?:(?:ver[oa]|reale) )*(?:umano|umana|essere umano|persona(?: reale
| vera| umana| fisica)?|persona in carne e ossa|operatore(?: umano| reale)?|operatrice(?: umana)?|agente(?: umano
| reale)?|rappresentante|consulente(?: umano)?|addetto)""",
    anyone="""qualcuno(?: di reale| di vero| d[ei].*)?
|(?:(?:il|l|la|vostro|un) )*(?:assistenza(?: clienti| tecnica)?|servizio clienti|supporto(?: tecnico| clienti)?
|team(?: di .*)?|responsabile|tecnico|supervisore|impiegato)""",
    talk="(?:parlare|chattare|conversare|comunicare)(?: direttamente)? con",
    order="""(?:passami|passatemi|mi passi|mi passa|mi metta|mettetemi|mettimi|mi trasferisca|trasferiscimi|trasferitemi
|collegami|mi colleghi|collegatemi|mettermi|passarmi|trasferirmi|collegarmi|datemi|dammi|mi dia)(?: in contatto
| in comunicazione| direttamente)?(?: con| a)?""",
    whole="c è (?:{person}|{anyone}) con cui (?:posso|possa|potrei) parlare",
    manner="per ?favore|per piacere|ora|adesso|subito|grazie|qui|immediatamente|(?:e non|non|invece) .*",
    topic="(?:del|della|di|su|sul|sulla|per|riguardo|circa|che|perché) .*",
)
_DUTCH = _Request(
    opening="""hallo|hoi|dag|goede(?:morgen|middag|navond)|bedankt|ja|nee|alstublieft|alsjeblieft|aub|graag|nu|gewoon|even
|laat me|is het mogelijk om|ik (?:wil|zou|moet|wens|wilde)(?: graag| nu| liever| gewoon| alleen| even)*
|(?:kan|mag|zou|kunnen) (?:ik|we)(?: alstublieft| misschien| even| hier| nu| graag)*
|(?:kunt|kan|kun|wilt|wil|zou) (?:u|je|jij)(?: mij| me)?(?: alstublieft| even)*|hoe kan ik""",
    person="""(?:(?:een|de) )?(?:(?:echte?|levende?|menselijke?) )*(?:mens|persoon|medewerk(?:er|ster)
|klantenservicemedewerker|agent|operator|vertegenwoordiger|adviseur)""",
    anyone="""iemand(?: anders| echts| van .*)?
|(?:(?:de|jullie|uw|een) )?(?:klantenservice|klantendienst|helpdesk|support|team|manager|leidinggevende)""",
    talk="(?:praten|spreken|chatten) met",
    order="""(?:verbind|verbindt|zet|geef|stuur|schakel)(?: u)? (?:mij|me|ons)(?: alstublieft| even| door| nu)*(?: met
| naar| aan)?""",
    talk_last="""(?:over .* )?(?:te |willen )?(?:spreken|praten|chatten|bellen|doorverbinden|verbinden
|(?:door)?verbonden worden)""",
    whole="ik heb {person} nodig|is er (?:{person}|{anyone}) met wie ik kan (?:praten|spreken|chatten)",
    manner="alstublieft|alsjeblieft|aub|nu|graag|bedankt|hier|meteen|direct|(?:in plaats van|geen|niet) .*",
    topic="(?:over|van|voor|die|omdat|bij) .*",
)
_RUSSIAN = _Request(
    opening="""здравствуйте|привет|добрый день|пожалуйста|да|нет|спасибо|срочно|сейчас|просто|лучше
|(?:я )?(?:хочу|требую|прошу)|(?:я )?хотела? бы|(?:мне )?(?:нужен|нужна|нужно|надо|бы|требуется)
|а? ?можно(?: ли)?(?: мне)?|могу(?: ли)? я|(?:вы )?(?:можете|могли бы)""",
    person="""(?:(?:жив(?:ой|ого|ым|ому)|настоящ(?:ий|его|им)|реальн(?:ый|ого|ым)|ваш(?:его|им)|люб(?:ой|ого
|ым)) )*(?:человек(?:а|ом)?|оператор(?:а|ом|у)?|сотрудник(?:а|ом)?|специалист(?:а|ом)?|консультант(?:а|ом)?
|представител(?:ь|я|ем)|агент(?:а|ом)?|менеджер(?:а|ом)?)""",
    anyone="""кем (?:то|нибудь|либо)(?: живым| другим| из .*)?|(?:вашей )?(?:тех)?поддержк(?:ой|у)
|(?:вашей )?служб(?:ой|у) поддержки|технической поддержкой|(?:живыми|реальными|настоящими) людьми|начальником|руководством""",
    talk="""(?:как )?(?:мне )?(?:поговорить|говорить|пообщаться|общаться|переговорить|разговаривать
|связаться)(?: напрямую)? (?:с|со)""",
    order="""(?:соедините|соедини|свяжите|свяжи|переключите|переключи|переведите|переведи|соединить|переключить|позовите
|позови|пригласите|дайте|дай|подключите)(?: меня| нас| мне| чат)?(?: пожалуйста)?(?: с| со| на| к)?""",
    whole="есть (?:здесь |тут )?(?:{person}|{anyone}) с кем (?:я )?(?:могу|можно) поговорить|есть (?:здесь|тут) {person}",
    manner="пожалуйста|срочно|сейчас|спасибо|немедленно|здесь|(?:а не|вместо|не) .*",
    topic="(?:по|насчет|о|об|из|про|чтобы|который|потому) .*",
)
_LONGEST_CALL = 200
_SENTENCE_ENDS = re.compile(r"[.!?;…。！？]++(?=\s|\Z)|\n")
_CLAUSE_ENDS = re.compile(r"[,:()–—\"]| - | (?:and|but|so|because|und|aber|et|mais|y|pero|e|mas|ma|en|maar|и|но) ", re.IGNORECASE)
_NOT_WORDS = re.compile(r"[\W_]+")


def asks_for_human(text: str) -> bool:
    """Whether an end user asks, in so many words, that a person answers: in eight languages, and in a short prompt only."""
    if len(text) > _LONGEST_CALL:
        return False
    for sentence in _SENTENCE_ENDS.split(text):
        if _is_call(_folded(sentence), is_whole=True):
            return True
        if any(_is_call(_folded(clause), is_whole=False) for clause in _CLAUSE_ENDS.split(sentence)):
            return True
    return False


def _is_call(clause: str, *, is_whole: bool) -> bool:
    """A clause that is only part of a sentence has to be put as a wish or an order: "an agent" may be one of a list."""
    for pattern in _calls_for_human():
        match = pattern.fullmatch(clause)
        if match and (is_whole or match["opening"] or match["order"]):
            return True
    return False


def _folded(text: str) -> str:
    """The words of a text without case and accents, one space between them."""
    text = "".join(sign for sign in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(sign))
    return _NOT_WORDS.sub(" ", text).strip()


@cache  # made when the first offer of a handoff needs them
def _calls_for_human() -> tuple[re.Pattern[str], ...]:
    languages = (_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _PORTUGUESE, _ITALIAN, _DUTCH, _RUSSIAN)
    return tuple(_pattern(request) for request in languages)


def _pattern(request: _Request) -> re.Pattern[str]:
    """Matches a folded clause. What repeats is possessive, so no clause is tried in many ways."""
    parts = {name: _folded_pattern(part) for name, part in request._asdict().items()}
    person, anyone = f"(?:{parts['person']})", f"(?:{parts['person']}|{parts['anyone']})"
    whole = parts["whole"].replace("{person}", person).replace("{anyone}", anyone)
    asked = f"(?:{parts['talk']}) {anyone}|(?P<order>{parts['order']}) {anyone}"
    asked += f"|(?:(?:mit|zu|an|met|naar) )?{anyone} (?:{parts['talk_last']})"
    return re.compile(
        f"(?P<opening>(?:(?:{parts['opening']}) )*+)"
        f"(?:(?:{asked})(?: (?:{parts['topic']}|{parts['manner']}))*+|(?:{person}|{whole})(?: (?:{parts['manner']}))*+)"
    )


def _folded_pattern(pattern: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", pattern.replace("\n", "")) if not unicodedata.combining(sign))
