"""What is chosen to be said, in which order, and how it is put: by scores given, over passages of any kind."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence

import numpy as np
import pytest
from tests.models.quoting.test_parse import HOSTILE
from tests.models.test_extractive import passage

from gigachat_server.language.markup import plain
from gigachat_server.models.base import ModelCitation, Passage, TextDelta
from gigachat_server.models.quoting.asked import asked
from gigachat_server.models.quoting.compose import MOST_WORDS_OF_TWO, Reply, compose, length
from gigachat_server.models.quoting.parse import statements
from gigachat_server.models.quoting.render import events
from gigachat_server.models.quoting.score import AskedWord, ReadPassage, candidates, features, weights_of

pytestmark = pytest.mark.sqlite_only


def made(
    passages: Sequence[Passage], best: Sequence[str], *, prompt: str = "", most_characters: int = 800, most_passages: int = 3
) -> Reply:
    """The reply if what contains the `best` words scores best, the first of them highest."""
    read = [ReadPassage(each.text) for each in passages]
    found = candidates(read, passages)
    scores = np.full(len(found), -20.0)
    for rank, words in enumerate(best):
        for row, each in enumerate(found):
            if words in each.statement.text:
                scores[row] = 3 - rank
    return compose(
        found,
        scores,
        read,
        [each.document_id for each in passages],
        asked(prompt),
        most_characters=most_characters,
        most_passages=most_passages,
    )


def said(passages: Sequence[Passage], best: Sequence[str], *, prompt: str = "", **bounds: int) -> str:
    """Its text, without the sources' names; asserts that its markers stand for what they say."""
    reply = made(passages, best, prompt=prompt, **bounds)
    read = {number: ReadPassage(each.text) for number, each in enumerate(passages)}
    stream = list(events(0, reply.places, read, passages))
    text = "".join(event.text for event in stream if isinstance(event, TextDelta))
    for event in stream:
        if isinstance(event, ModelCitation):
            assert passages[event.number - 1].text[event.start : event.end] == event.text
            assert text.startswith(f"[{event.number}]", event.marker_start)
    return text.rpartition("\n\n")[0]


def of(text: str, *best: str, prompt: str = "", **bounds: int) -> str:
    return said([passage("p", text)], best, prompt=prompt, **bounds)


@pytest.mark.parametrize(
    ("text", "best", "expected"),
    [
        # the best first, whatever the document's order; but what follows something said stands behind it
        ("One is red.\n\nTwo is blue.\n\nThree is old.", ("Three", "One"), "Three is old. [1] One is red. [1]"),
        ("One is red. Two is blue. Three is old.", ("Two", "Three"), "Two is blue. Three is old. [1]"),
        # a statement brings what it cannot do without
        ("It is new. Dogs may enter. They stay on a lead.", ("They stay",), "Dogs may enter. They stay on a lead. [1]"),
        ("Dogs may enter. They stay on a lead.", ("Dogs",), "Dogs may enter. They stay on a lead. [1]"),
        ("Do you ship?\n\nNo. We are too small.", ("We are too",), "No. We are too small. [1]"),
        ("Do you ship?\n\nNo. We are too small.", ("No.",), "No. We are too small. [1]"),
        ("Bring these:\n\n- a pass\n- a photo", ("Bring",), "Bring these: a pass; a photo [1]"),
        ("Bring these:\n\n- a pass\n- a photo", ("a photo",), "Bring these: a photo [1]"),
        ("1. Press start.\n2. Then, wait.", ("Then",), "Press start. Then, wait. [1]"),
        # a fragment stands behind its heading, a sentence does not
        ("# Prices\n\n| Room | May | July |\n|---|---|---|\n| A | 9 € | 12 € |", ("A:",), "Prices: A: May 9 €; July 12 € [1]"),
        ("# Hours\n\nMonday: closed\nSunday: 9 to 5", ("Sunday",), "Hours: Sunday: 9 to 5 [1]"),
        ("# Hours\n\nWe close on Monday.", ("We close",), "We close on Monday. [1]"),
        ("# 营业时间\n\n- 周一：闭馆", ("周一",), "营业时间：周一：闭馆 [1]"),
        # rows of one table are one stretch with one marker
        ("| A | B |\n|---|---|\n| x | one 1 |\n| y | two 2 |\n| z | three 3 |", ("z:", "x:"), "z: three 3; x: one 1 [1]"),
        ("No end here\n\nWe wait.", ("No end", "We wait"), "No end here. We wait. [1]"),
    ],
)  # fmt: skip
def test_it_reads_as_a_person_would_have_put_it(text: str, best: tuple[str, ...], expected: str) -> None:
    assert of(text, *best) == expected


def test_who_asks_how_gets_the_whole_list() -> None:
    text = "To apply:\n\n1. Fill in the form.\n2. Sign it.\n3. Send it to us."
    assert of(text, "Sign", prompt="How do I apply?") == "To apply: Fill in the form. Sign it. Send it to us. [1]"
    assert of(text, "Send", prompt="Where to?") == "To apply: Send it to us. [1]"


def test_it_stays_within_its_bounds() -> None:
    long = "\n\n".join(f"Sentence {number} " + "word " * 30 + "ends." for number in range(6))
    text = of(long, *(f"Sentence {number} " for number in range(6)))
    assert length(text) <= MOST_WORDS_OF_TWO
    short = of(long, "Sentence 0 ", "Sentence 1 ", most_characters=10)
    assert short.startswith("Sentence 0") and "Sentence 1" not in short  # at least one, whole
    three = [passage(name, f"Passage {name} is here.", document=name) for name in "abc"]
    assert said(three, ("a is", "b is", "c is"), most_passages=2) == "Passage a is here. [1] Passage b is here. [2]"


def test_nothing_is_said_twice() -> None:
    first = passage("a", "The red lamp costs nine euros. It is new.", number=0)
    second = passage("b", "The red lamp costs nine euros.\n\nlamp costs nine", number=1)
    assert said([first, second], ("red lamp", "lamp costs nine", "It is new")) == "The red lamp costs nine euros. It is new. [1]"


def test_confidence_is_the_share_of_the_best() -> None:
    assert made([passage("p", "One is red.\n\nTwo is blue.")], ("One",)).confidence > 0.99
    even = made([passage("p", "\n\n".join(f"Number {number} is red." for number in range(20)))], ())
    assert even.confidence == pytest.approx(0.05)
    nothing = made([passage("p", "# Heading")], ())
    assert (nothing.places, nothing.confidence) == ((), 0.0)


@pytest.mark.parametrize("name", ["multilingual-e5-small-int8", "intfloat/multilingual-e5-large", "e5"])
def test_cosines_of_the_e5_family_have_weights_of_their_own(name: str) -> None:
    assert weights_of(name) != weights_of("all-MiniLM-L6-v2")
    assert weights_of("text-embedding-3-small") == weights_of("all-MiniLM-L6-v2") == weights_of("tree5")


PARTS = (
    "# Prices of *lamps*", "## What does it cost?", "**Is it new?** Yes. It is.", "| Room | Low [season](x) | High |",
    "|---|:--|---|", "| Suite | 175 € | **315 €** |", "| Attic | – | 9 |", "You need:", "- a passport, signed",
    "- a photo", "* Then, wait", "", "", "", "The red lamp costs nine euros. They are sold out.", "No.",
    "Monday: closed", "Q: why so?", "A: because.", "CAPITALS HERE", "```", "code --with [1] marks",
    "东京很大。天气很好。", "هذا نص قصير.", "See [the guide][2] or `run it`.", "> quoted words", "[3] is no marker",
    "Title\n=====",
)  # fmt: skip


def test_every_word_of_any_reply_stands_in_a_passage_it_cites() -> None:
    rng = random.Random(25)
    for _ in range(600):
        passages = [
            passage(str(number), "\n".join(rng.choices(PARTS, k=rng.randrange(1, 20))), document=f"d{number % 2}", number=number)
            for number in range(rng.randrange(1, 4))
        ]
        read = dict(enumerate(ReadPassage(each.text) for each in passages))
        found = candidates(list(read.values()), passages)
        scores = np.array([rng.uniform(-3, 3) for _ in found])
        ids = [each.document_id for each in passages]
        wanted = asked(rng.choice(("how do I do it?", "may I?", "prices")))
        reply = compose(
            found, scores, list(read.values()), ids, wanted, most_characters=rng.choice((1, 100, 800)), most_passages=3
        )
        assert bool(reply.places) == bool(found)
        assert len(set(reply.places)) == len(reply.places)
        at, text = 0, ""
        held: set[str] = set()
        for event in events(0, reply.places, read, passages):
            if isinstance(event, ModelCitation):
                source = passages[event.number - 1].text
                assert source[event.start : event.end] == event.text
                held |= _words(plain(source.replace("\n", " "))) | _words(source)
                at = event.marker_start
            elif isinstance(event, TextDelta) and not event.text.startswith("\n\n"):
                text += event.text
                marker = re.match(r"\[\d+\]\Z", text[at:])
                assert marker, text
                assert _words(event.text[: -len(marker.group())]) <= held, (event.text, passages)
                held = set()


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_a_passage_holds_is_quoted_in_bounds(text: str) -> None:
    passages = [passage("p", text)]
    read = [ReadPassage(text)]
    found = candidates(read, passages)
    reply = compose(found, np.zeros(len(found)), read, ["d"], asked("how?"), most_characters=800, most_passages=3)
    stream = list(events(0, reply.places, dict(enumerate(read)), passages)) if reply.places else []
    assert sum(len(event.text) for event in stream if isinstance(event, TextDelta)) < 3_000
    assert len(statements(text)) == len(read[0].statements)
    assert "\0" not in "".join(event.text for event in stream if isinstance(event, TextDelta))


def test_a_long_prompt_is_compared_with_long_passages_in_little_time() -> None:
    """An end user pastes a letter, and the chatbot's chunks are large: nothing else is answered meanwhile."""
    chance = random.Random(5)
    syllables = ["ba", "ko", "ri", "ten", "mas", "lo", "ver", "quin", "stra", "pel", "dor", "ami", "ne", "sch"]
    known = ["".join(chance.choices(syllables, k=chance.randint(2, 5))) for _ in range(8_000)]
    texts = [". ".join(" ".join(chance.choices(known, k=12)).capitalize() for _ in range(200)) + "." for _ in range(5)]
    passages = [passage(str(number), text) for number, text in enumerate(texts)]
    read = [ReadPassage(text) for text in texts]
    found = candidates(read, passages)
    words = [AskedWord(word, (word,), 1.0) for word in dict.fromkeys(chance.choices(known, k=500))]
    began = time.process_time()
    table = features(asked("When do you open?"), words, found, read, passages, np.zeros(len(found)))
    assert time.process_time() - began < 1.5
    assert table[:, 2].max() > 0


def test_a_short_statement_is_not_said_because_its_letters_are() -> None:
    assert "Steak" in of("- Tea\n- Steak and chips, served all day\n", "Tea", "Steak")
