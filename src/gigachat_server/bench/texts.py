"""Documents and prompts to measure with: made up, but with the word lengths and the repetition of prose.

Half of the words join, the others carry meaning, common ones often and rare ones seldom (Zipf's law): a search then meets
lists as long as it does in real documents of this size. Four prompts of five stand alone, the fifth leans on the one before.
Invariant: the same seed gives the same texts, on every machine.
"""

from __future__ import annotations

import itertools
import random

from gigachat_server.knowledge.documents.chunk import split

_JOINING = "the of to and in for a with on from is are when after before by at or under within".split()  # noqa: SIM905
_COMMON = """
account address apply bank basket bill branch button cancel card change charge choose click colour company contact copy
country coupon create customer damage date delete delivery desk device discount domain download email error exchange
expire export file form gift guide import insurance invoice item key label language limit line link list locker login mail
map member message meter method minute missing mobile month network newsletter note notice number office online open order
outlet package page paper parcel partner password pay payment permit phone photo place plan point policy postcode price
print privacy product profile program project proof public quality quantity question rate receipt record recycle refund
region register remove renew rental repair replace report request reserve return review route safety sale save schedule
screen seal search seat security select sender server service settings share shelf shipment shop sign size software spare
staff stamp standard station status stock store street subscribe summary supplier support switch table tariff tax team terms
ticket tool track trade traffic transfer travel type update upgrade upload vehicle vendor verify version visit voucher
warehouse warranty website weight window worker zone
""".split()  # noqa: SIM905 - a text of words, to be read as one
_SYLLABLES = "ba de fi ko la mer nu ost pra rin sal ta ul ver wex yon zi gro har jen".split()  # noqa: SIM905
_RARE = 8_000
_FOLLOW_UP_EVERY = 5


class Author:
    """Writes texts without end."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable is what is wanted
        words = _COMMON + [self.name() for _ in range(_RARE)]
        self._words = words
        self._weights = list(itertools.accumulate(1 / (rank + 20) for rank in range(len(words))))

    def name(self) -> str:
        return "".join(self._random.choices(_SYLLABLES, k=3))

    def sentence(self, subject: str = "") -> str:
        count = self._random.randint(4, 9)
        pairs = zip(self._random.choices(_JOINING, k=count), self._meaning(count), strict=True)
        words = [word for pair in pairs for word in pair]
        if subject:
            words[2 * self._random.randrange(count) + 1] = subject
        return " ".join(words).capitalize() + "."

    def document(self, chunks: int, subject: str = "") -> str:
        """A text that the default settings split into that many chunks."""
        paragraphs: list[str] = []
        # A chunk is 1000 characters, 200 of them the last one's: this begins a little short of the count.
        while sum(map(len, paragraphs)) < 720 * (chunks - 1):
            paragraphs.append(self._paragraph(subject))
        while len(pieces := split("\n\n".join(paragraphs), size=1000, overlap=200)) < chunks:
            paragraphs.append(self._paragraph(subject))
        while len(pieces) > chunks:
            paragraphs.pop()
            pieces = split("\n\n".join(paragraphs), size=1000, overlap=200)
        return "\n\n".join(paragraphs)

    def prompts(self, count: int) -> list[str]:
        return [self._prompt(is_follow_up=(number + 1) % _FOLLOW_UP_EVERY == 0) for number in range(count)]

    def _prompt(self, *, is_follow_up: bool) -> str:
        words = self._meaning(6)
        if is_follow_up:
            return f"And what about the {words[0]}?"
        return "How do I {} the {} of a {} {} to the {} before the {}?".format(*words)

    def _paragraph(self, subject: str) -> str:
        return " ".join(self.sentence(subject) for _ in range(self._random.randint(3, 6)))

    def _meaning(self, count: int) -> list[str]:
        return self._random.choices(self._words, cum_weights=self._weights, k=count)
