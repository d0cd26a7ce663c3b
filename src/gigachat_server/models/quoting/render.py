"""A reply as text with its markers, and what each marker stands for. Pure.

Invariants: every word stands in the passage that the marker behind it names, but for a label before the sources' names; each
marker stands for exactly the stretches that were quoted; and brackets in what is quoted are no markers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gigachat_server.language.detect import language
from gigachat_server.language.phrases import source_label
from gigachat_server.models.base import ModelCitation, Passage, TextDelta
from gigachat_server.models.quoting.compose import Place
from gigachat_server.models.quoting.lines import SENTENCE_ENDS, is_ended, is_question, leads_in
from gigachat_server.models.quoting.parse import Statement
from gigachat_server.models.quoting.score import ReadPassage

_UNSPACED = ("。", "！", "？", "」", "』")
_PAUSE_ENDS = (";", "；", "؛", ",", "，")


class Piece(NamedTuple):
    """A stretch of a reply with one marker: its text, the passage's number from 0, and the spans it was quoted from."""

    text: str
    passage: int
    spans: tuple[tuple[int, int], ...]


def events(
    index: int, places: Sequence[Place], read: Mapping[int, ReadPassage], passages: Sequence[Passage]
) -> Iterator[ModelCitation | TextDelta]:
    """Alternative `index`: its pieces, each with its marker, then the documents' names. `read`: by the passage's number."""
    said = pieces(places, read)
    length, space = 0, ""
    for piece in said:
        number, text = piece.passage + 1, space + piece.text
        space = "" if piece.text.endswith(_UNSPACED) else " "
        marker_start = length + len(text) + len(space)
        for start, end in piece.spans:
            yield ModelCitation(index, number, start, end, passages[piece.passage].text[start:end], marker_start)
        yield TextDelta(index, f"{text}{space}[{number}]")
        length = marker_start + len(f"[{number}]")
    yield TextDelta(index, "\n\n" + names([piece.passage for piece in said], passages))


def pieces(places: Sequence[Place], read: Mapping[int, ReadPassage]) -> list[Piece]:
    """What is said, in order: statements that stand together in their passage are one piece."""
    runs: list[list[Place]] = []
    for place in places:
        if runs and runs[-1][-1].passage == place.passage and _goes_on(runs[-1][-1], place, read[place.passage].statements):
            runs[-1].append(place)
        else:
            runs.append([place])
    found = []
    headed: set[tuple[int, int]] = set()  # sections whose heading was said
    for number, run in enumerate(runs):
        of_passage = read[run[0].passage].statements
        statements = [of_passage[place.number] for place in run]
        section = (run[0].passage, statements[0].section)
        text = _joined(statements)
        if section not in headed and (heading := _needed_heading(statements[0])):
            text = _headed(heading, text)
            headed.add(section)
        is_last = number + 1 == len(runs)
        found.append(Piece(text if is_last else _ended(text), run[0].passage, _spans(statements)))
    return found


def _goes_on(before: Place, place: Place, of_passage: Sequence[Statement]) -> bool:
    """Whether both are said with one marker: neighbours, an item and what announces its list, items of one list."""
    first, second = of_passage[before.number], of_passage[place.number]
    if second.lead_in == before.number or (second.kind in ("item", "row") and second.block == first.block):
        return True
    return place.number == before.number + 1 and first.section == second.section


def _joined(statements: Sequence[Statement]) -> str:
    text = statements[0].text
    for statement in statements[1:]:
        is_listed = statement.kind in ("item", "row") and not leads_in(text)
        if is_listed and not is_ended(text):
            text = text.rstrip(",;，；") + "; " + statement.text
        else:
            text = _ended(text)
            text += ("" if text.endswith(_UNSPACED) else " ") + statement.text
    return text


def _ended(text: str) -> str:
    """With the end of a sentence, if it has none."""
    if is_ended(text) or leads_in(text) or text.endswith(_PAUSE_ENDS):
        return text
    return text + ("。" if _is_unspaced(text[-1]) else ".")


def _needed_heading(statement: Statement) -> str:
    """The heading without which a row, an item or a fragment says too little; else nothing."""
    is_fragment = statement.kind in ("item", "row") or not (is_ended(statement.text) or leads_in(statement.text))
    if not is_fragment or (statement.lead_in is not None and statement.kind == "item"):
        return ""
    heading = statement.heading
    return "" if heading.casefold() in statement.text.casefold() else heading


def _headed(heading: str, text: str) -> str:
    if is_question(heading) or heading.endswith(tuple(SENTENCE_ENDS)):
        return f"{heading} {text}"
    return heading.rstrip(":：") + ("：" if _is_unspaced(heading[-1]) else ": ") + text


def _is_unspaced(sign: str) -> bool:
    """Whether it is of a script that parts words, and sentences, by no blanks: Chinese or Japanese."""
    return "\u3040" <= sign <= "\u9fff"


def _spans(statements: Sequence[Statement]) -> tuple[tuple[int, int], ...]:
    """Where they stand, neighbours as one span."""
    spans: list[tuple[int, int]] = []
    before: Statement | None = None
    for statement in statements:
        is_next = before is not None and before.kind == statement.kind == "sentence" and before.block == statement.block
        if is_next:
            spans[-1] = (spans[-1][0], statement.end)
        else:
            spans.append((statement.start, statement.end))
        before = statement
    return tuple(spans)


def names(quoted: Sequence[int], passages: Sequence[Passage]) -> str:
    """The names of the documents quoted, the best first, of several with the numbers that stand for them."""
    numbers: dict[str, list[int]] = {}
    for passage in sorted(set(quoted)):
        numbers.setdefault(passages[passage].document_id, []).append(passage + 1)
    documents = [passages[of_document[0] - 1].document_name for of_document in numbers.values()]
    label = source_label(language("\n".join(passages[passage].text for passage in dict.fromkeys(quoted))), len(documents))
    if len(documents) == 1:
        return label + documents[0]
    marked = ("".join(f"[{number}]" for number in of_document) for of_document in numbers.values())
    return label + ", ".join(f"{marks} {name}" for marks, name in zip(marked, documents, strict=True))
