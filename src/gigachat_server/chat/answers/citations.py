"""What a reply cites: its markers, such as `[1]`, and the spans of its sources that they stand for. Pure.

Idea: a marker names a source by its place, and supports what stands before it. A model that quotes says itself which span it
means; of any other the span is looked for: the sentence of that source which shares most with the sentence of the reply.
Where they share no word, as where both are in different languages, the marker points to the source as a whole.

Invariant: what is not so is no citation. A number that no source has, a marker in code or of a link, and a span that does
not stand in its source word for word are none; and the text of a reply is never changed for its citations' sake.

What one reply costs is bounded, whatever a model says: so many citations, and so many characters of sources looked at.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from gigachat_server.chat.answers.markers import Marker, markers
from gigachat_server.language.terms import terms
from gigachat_server.language.words import LONGEST_SENTENCE, sentences
from gigachat_server.models.base import ModelCitation
from gigachat_server.records import Citation, Source

MOST_CITATIONS = 100  # of one reply
_MOST_LOOKED_AT = 60_000  # characters of sources; what is cited beyond has no span
_FEWEST_STEMS = 3  # a claim of fewer says too little to be found again: its whole sentence is looked for


class _Sentence(msgspec.Struct, frozen=True):
    start: int
    end: int
    folded: str
    stems: frozenset[str]


def look_up(text: str, sources: Sequence[Source]) -> tuple[Citation, ...]:
    """The citations of a reply whose model does not say what it cites."""
    if not sources or "[" not in text:
        return ()
    pointing = (marker for marker in markers(text) if any(1 <= number <= len(sources) for number in marker.numbers))
    found = list(islice(pointing, MOST_CITATIONS))
    if not found:
        return ()
    claims = _claims(text, found)
    known: dict[int, list[_Sentence]] = {}
    left = _MOST_LOOKED_AT
    citations: list[Citation] = []
    for marker, claim in zip(found, claims, strict=True):
        for number in marker.numbers:
            if not 1 <= number <= len(sources):
                continue
            if number not in known:
                content = sources[number - 1].content[:left]
                left -= len(content)
                known[number] = [_sentence(content, *span) for span in sentences(content)]
            start, end = _support(claim, known[number]) or (None, None)
            citations.append(Citation(number, start, end, marker.start, marker.end))
    return tuple(citations[:MOST_CITATIONS])


def checked(said: Iterable[ModelCitation], text: str, sources: Sequence[Source]) -> tuple[Citation, ...]:
    """Of what a model says it cites, what holds: its marker stands in the text, and its words at their place in the source."""
    found = []
    for each in said:
        marker = f"[{each.number}]"
        if (
            text.startswith(marker, each.marker_start)
            and 1 <= each.number <= len(sources)
            and 0 <= each.start < each.end
            and sources[each.number - 1].content[each.start : each.end] == each.text
        ):
            marker_end = each.marker_start + len(marker)
            found.append(Citation(each.number, each.start, each.end, each.marker_start, marker_end))
    return tuple(found[:MOST_CITATIONS])


def _claims(text: str, found: Sequence[Marker]) -> list[_Sentence]:
    """For each marker, of one at least, what it supports: what its sentence says before it, from the marker before it on."""
    blank = list(text[: found[-1].end + LONGEST_SENTENCE])
    for marker in found:
        blank[marker.start : marker.end] = " " * (marker.end - marker.start)
    plain = "".join(blank)
    spans = sentences(plain)
    starts = [start for start, _ in spans]
    claims: list[_Sentence] = []
    behind = 0  # the end of the last marker that has words after it
    for place, marker in enumerate(found):
        if place and plain[found[place - 1].end : marker.start].strip(" .,;:"):
            behind = found[place - 1].end
        start, end = _sentence_of(marker, plain, spans, starts)
        claim = _sentence(plain, max(start, behind), min(end, marker.start))
        if len(claim.stems) < _FEWEST_STEMS:
            claim = _sentence(plain, start, end)
        claims.append(claim)
    return claims


def _sentence_of(marker: Marker, plain: str, spans: Sequence[tuple[int, int]], starts: Sequence[int]) -> tuple[int, int]:
    """The sentence in which the marker stands, or the one before it; at the start of a line, the one after."""
    following = bisect_left(starts, marker.start)
    if following == 0:
        return spans[0] if spans else (0, 0)
    before = spans[following - 1]
    begins_line = plain.find("\n", before[1], marker.start) >= 0
    if begins_line and following < len(spans) and plain.find("\n", marker.end, starts[following]) < 0:
        return spans[following]
    return before


def _sentence(text: str, start: int, end: int) -> _Sentence:
    words = text[start:end]
    return _Sentence(start, end, " ".join(words.split()).casefold().strip(" .!?"), frozenset(terms(words, None)))


def _support(claim: _Sentence, candidates: Sequence[_Sentence]) -> tuple[int, int] | None:
    """The sentence that shares most with the claim, by the Dice coefficient of their stems; what is quoted is found as such."""
    best, greatest = None, 0.0
    for candidate in candidates:
        shared = len(claim.stems & candidate.stems)
        score = 2 * shared / (len(claim.stems) + len(candidate.stems)) if shared else 0.0
        if claim.folded and (claim.folded == candidate.folded or (shared and claim.folded in candidate.folded)):
            score += 1
        if score > greatest:
            best, greatest = (candidate.start, candidate.end), score
    return best
