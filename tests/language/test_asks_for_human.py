"""Who asks for a person is heard in eight languages; who only speaks of people is not."""

from __future__ import annotations

import time

import pytest

from gigachat_server.language.words import asks_for_human

ASKING = """
can I talk to a human
Can I talk to a human?
Could I speak with a real person, please?
real person please
agent!
Agent
AGENT!!!
human
a human please
speak to someone from support
I want a representative
I want to speak to a representative about my invoice
representative
operator
Operator, please.
talk to a human
let me talk to a human
Let me speak to a manager
I'd like to chat with a live agent
I would like to talk to someone in customer service
connect me to an agent
Please connect me with a human agent
transfer me to a person
Put me through to someone in billing
get me a human
Can you get me a real human?
I need a human
I need to talk to a person right now
Hi, can I speak to somebody?
Is there a human I can talk to?
is there someone i can speak to about my order
Is there a real person here?
Can a human help me?
can someone call me back?
How do I reach a human?
How can I talk to a real person?
I don't want to talk to a bot
I don’t want to talk to a machine
This is useless, I want to talk to a human.
That did not help. Agent!
I tried that already and I want to speak to a person
you don't understand me, connect me to an agent
human agent please
live agent
customer service representative
Talk to support
hand me over to a human
I want a human not a bot
I'd rather talk to a human
ok thanks, now let me speak with someone
Would it be possible to speak with an advisor?
I asked for a human
I need someone to talk to
May I speak to your supervisor?
escalate this to a human
Mitarbeiter sprechen
Ich möchte mit einem Menschen sprechen
Kann ich mit einem Mitarbeiter sprechen?
Bitte verbinden Sie mich mit einem Mitarbeiter
Verbinde mich mit einem echten Menschen!
Ich will einen echten Menschen
Ich brauche einen Ansprechpartner
Mitarbeiter bitte
Kann ich bitte jemanden vom Support sprechen?
Gibt es hier einen Menschen, mit dem ich sprechen kann?
Ich würde gerne mit einem Kundenberater über meine Rechnung reden
Echter Mensch
Je voudrais parler à un humain
Puis-je parler à un conseiller ?
parler à quelqu'un
Je veux parler avec une vraie personne
Passez-moi un conseiller s'il vous plaît
Mettez-moi en relation avec un agent
un humain svp
Est-ce que je peux parler au service client ?
J'aimerais parler à quelqu'un du support
Quiero hablar con una persona
¿Puedo hablar con un humano?
hablar con un agente
Necesito hablar con alguien de soporte
Páseme con un representante
Un agente humano, por favor
Quisiera hablar con un asesor
Me gustaría hablar con una persona real
Vorrei parlare con un operatore
Posso parlare con una persona reale?
Mi passi un operatore
operatore umano per favore
Voglio parlare con qualcuno
C'è qualcuno con cui posso parlare?
Quero falar com um atendente
Posso falar com uma pessoa?
Falar com atendente
Preciso falar com alguém do suporte
Gostaria de falar com um ser humano
Me transfere para um atendente
Atendente, por favor
Ik wil een medewerker spreken
Kan ik met een mens praten?
Graag een medewerker
Verbind mij door met een medewerker
Mag ik iemand van de klantenservice spreken?
Ik wil met een echt persoon praten
Хочу поговорить с человеком
Позовите оператора
Соедините меня с оператором
Оператор
Живой человек
Можно поговорить с оператором?
Мне нужен оператор
Нужен живой человек, а не бот
Хочу поговорить с кем-нибудь из поддержки
переключите на оператора, пожалуйста
"""
NOT_ASKING = """
What does the support team do?
Is human error covered?
How do I add an agent?
hello
Thanks!
What is an agent?
How many agents can I have?
Are you a human?
Am I talking to a human?
Is this a bot or a real person?
I am a human
I'm a real person
I don't want to talk to a human
I do not need an agent
Do I need an agent?
Do I need to talk to an agent to cancel?
What are your opening hours?
When can I talk to an agent?
Can customers talk to an agent?
Can I talk to my doctor about this medication?
Can I transfer my account to another person?
Can I transfer a ticket to someone else?
Can I chat with other users in the app?
How do I connect my agent to the API?
How do I delete a person from my team?
How can I contact customer support?
What is the phone number of customer service?
How do I contact support?
Is customer service open on Sunday?
Where is the human resources office?
human resources
human error
human rights policy
user agent
What is the user agent string?
agent 007
agent commission
real estate agent
How do I become an agent?
I want to become a representative
I want to hire an agent
How do I write an agent in Python?
Which plan includes human support?
Does the price include a support agent?
Who is the representative in Canada?
I talked to an agent yesterday and the refund never came
Your agent told me that my order was shipped
A human told me to ask here
The operator did not answer
What does the + operator do?
Which operator is used for equality?
operator precedence
How does the Kubernetes operator work?
What roles exist: admin, agent, operator?
Which is better, a bot or a human?
Can a person have two accounts?
Can an agent call the API?
Can two people share a licence?
How many people work at your company?
Tell me about your team
Who works in support?
Can I talk about prices?
I want to talk about my order
Can I speak Spanish to you?
Do you speak German?
I need help with my order
Please help me
Help
Can someone help me with my order?
someone stole my phone
What happens when a user asks for a human?
How does the handoff to a human work?
Can I send money to a person abroad?
Get me the price of the red lamp
Connect me to the wifi
Transfer me 50 euros
Give me an example of an agent
I have an agent
I like the agent
Does it help to talk to someone?
Wie viele Mitarbeiter hat die Firma?
Was macht das Support-Team?
Wie füge ich einen Mitarbeiter hinzu?
Kann ein Mitarbeiter mehrere Konten haben?
Ist menschliches Versagen versichert?
Sind Sie ein Mensch?
Ich bin ein Mitarbeiter
Wann ist der Kundenservice erreichbar?
Ich möchte nicht mit einem Menschen sprechen
Combien d'agents puis-je avoir ?
Comment ajouter un agent ?
Êtes-vous un humain ?
L'erreur humaine est-elle couverte ?
Je ne veux pas parler à un humain
personne ne répond
¿Cuántos agentes hay?
¿Cómo agrego un agente?
¿Eres humano?
No quiero hablar con un humano
Derechos humanos
Quanti operatori ci sono?
Come aggiungo un operatore?
Sei umano?
Non voglio parlare con un operatore
Quantos atendentes existem?
Como adiciono um agente?
Não quero falar com um atendente
Você é humano?
Hoeveel medewerkers hebben jullie?
Hoe voeg ik een medewerker toe?
Ben je een mens?
Ik wil niet met een mens praten
Сколько у вас сотрудников?
Как добавить оператора?
Вы человек?
Я не хочу говорить с человеком
Какой оператор связи лучше?
права человека
return {text: params.person.name}
How do I escalate a ticket?
Does the widget work without an operator?
"""
UNITS = [
    "a", "please ", "can i just ", "i want to want to ", "a real live human ", "get me ", "mit mensch über ", "connect me over ",
    "speak to someone about ", "(", "\ufdfa", "\u0301", "и ", "just, and ", "you ", ". agent", "?!",
]  # fmt: skip


def lines(table: str) -> list[str]:
    return table.strip().split("\n")


@pytest.mark.parametrize("text", lines(ASKING))
def test_who_asks_for_a_person_is_heard(text: str) -> None:
    assert asks_for_human(text)
    assert asks_for_human(f"  {text.upper()}\n")


@pytest.mark.parametrize("text", lines(NOT_ASKING))
def test_who_speaks_of_people_asks_for_none(text: str) -> None:
    assert not asks_for_human(text)


def test_only_a_short_prompt_asks() -> None:
    assert not asks_for_human("")
    assert asks_for_human("The parcel is broken. " * 5 + "I want to talk to a human.")
    assert not asks_for_human("The parcel is broken. " * 50 + "I want to talk to a human.")


@pytest.mark.parametrize("unit", UNITS)
def test_no_prompt_takes_long(unit: str) -> None:
    asks_for_human("warm")
    for text in ((unit * 200)[:200], (unit * 200)[:190] + " a human", unit * 1_000_000):
        started_at = time.process_time()
        asks_for_human(text)
        assert time.process_time() - started_at < 0.5
