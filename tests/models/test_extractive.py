"""The extractive model: what it quotes, when it does not, and what it embeds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.language.terms import terms
from gigachat_server.language.words import words
from gigachat_server.models.base import (
    Matrix,
    ModelCitation,
    ModelEvent,
    ModelInput,
    Passage,
    Query,
    RelevanceScale,
    ReplyEnd,
    Sampling,
    SourcesChosen,
    TextDelta,
    UsageReport,
    Vector,
)
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.quoting.extractive import ExtractiveModel, ReadPassages
from gigachat_server.models.quoting.score import MOST_EMBEDDED

DIMENSION = 64


def embed(text: str) -> Vector:
    vector = np.full(DIMENSION, 1e-6, dtype=np.float32)
    for word in words(text):
        vector[sum(map(ord, word)) % DIMENSION] += 1
    return vector / np.linalg.norm(vector)


class WordEmbedder:
    """Texts that share words are near each other. Notes each call's texts; fails when told to."""

    name = "words"
    dimension = DIMENSION
    scale = RelevanceScale(cosine=10, coverage=5, bias=-5)

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.is_down = False

    async def embed_prompt(self, text: str) -> Vector:
        return embed(text)

    async def embed_prompts(self, texts: Sequence[str]) -> Matrix:
        return await self.embed_passages(texts)

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        if self.is_down:
            raise EmbedderUnavailable
        self.calls.append(list(texts))
        return np.array([embed(text) for text in texts])

    def start(self) -> None:
        """Nothing takes long."""

    async def aclose(self) -> None: ...


def passage(chunk_id: str, text: str, *, document: str = "guide", number: int = 0, rank: float = 0.5) -> Passage:
    return Passage(
        chunk_id=chunk_id,
        document_id=f"id of {document}",
        document_name=document,
        number=number,
        text=text,
        line_from=1,
        line_to=1,
        cosine=0.5,
        lexical=0.5,
        coverage=0.5,
        rank_score=rank,
        score=0.9,
    )


def prompt(text: str, *passages: Passage, n: int = 1, max_tokens: int = 200) -> ModelInput:
    return ModelInput(
        messages=(),
        sampling=Sampling(n=n, max_tokens=max_tokens),
        query=Query(text=text, vector=embed(text), stem_weights=dict.fromkeys(terms(text, None), 1.0)),
        passages=passages,
        refusal="No idea.",
    )


def replies(model: ExtractiveModel, *inputs: ModelInput) -> list[list[ModelEvent]]:
    async def all_events() -> list[list[ModelEvent]]:
        return [[event async for event in model.stream(model_input)] for model_input in inputs]

    return asyncio.run(all_events())


def texts(events: Sequence[ModelEvent]) -> list[str]:
    """The text of each alternative."""
    found: dict[int, str] = {}
    for event in events:
        if isinstance(event, TextDelta):
            found[event.index] = found.get(event.index, "") + event.text
    return [found[index] for index in sorted(found)]


LAMPS = passage(
    "lamps",
    "Lamps come in three colours. The red lamp costs nine euros. Shipping takes two days.\n\n"
    "A lamp lasts ten years. Batteries are not included.",
)
CHAIRS = passage("chairs", "Chairs are made of oak. A red chair costs forty euros.", document="chairs.md", rank=0.3)


def test_quotes_what_answers_best_with_its_source() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("what does the red lamp cost?", LAMPS))
    assert texts(events) == ["The red lamp costs nine euros. [1]\n\nSource: guide"]
    assert [type(event) for event in events] == [SourcesChosen, ModelCitation, TextDelta, TextDelta, ReplyEnd, UsageReport]
    assert events[-2] == ReplyEnd(0, abstained=False)
    assert events[-1] == UsageReport(model="extractive")


def test_says_more_where_it_is_not_sure_and_names_every_document_it_quotes_once() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("euros red lamp costs chair", LAMPS, CHAIRS))
    assert texts(events) == [
        "The red lamp costs nine euros. [1] A red chair costs forty euros. [2]\n\nSources: [1] guide, [2] chairs.md"
    ]


def test_what_overlapping_chunks_share_is_said_once_and_neighbours_have_one_marker() -> None:
    later = passage("b", "The red lamp costs nine euros. The blue lamp costs eight euros.", number=1)
    earlier = passage("a", "Prices follow. The red lamp costs\nnine euros.", number=0)
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red or blue lamp costs euros?", later, earlier))
    assert texts(events) == ["The red lamp costs nine euros. The blue lamp costs eight euros. [1]\n\nSource: guide"]
    assert cited(events, later, earlier) == [later.text]


@pytest.mark.parametrize(
    "text, passages, expected, abstained",
    [
        ("What is love?", (), "No idea.", True),
        ("Hello!", (), "Hello! How can I help you?", False),
        ("Hello!", (LAMPS,), "Hello! How can I help you?", False),
        ("Thanks a lot", (), "You're welcome!", False),
        ("Bye", (), "Goodbye!", False),
        ("Danke", (), "Gern geschehen!", False),
    ],
)
def test_what_needs_no_passage(text: str, passages: tuple[Passage, ...], expected: str, abstained: bool) -> None:
    embedder = WordEmbedder()
    [events] = replies(ExtractiveModel(embedder), prompt(text, *passages, n=2))
    assert texts(events) == [expected, expected]
    assert [event.abstained for event in events if isinstance(event, ReplyEnd)] == [abstained, abstained]
    assert embedder.calls == []


def test_alternatives_say_what_none_before_has_said_and_then_the_first_again() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red chair costs euros", CHAIRS, n=4))
    quoted = [text.removesuffix("\n\nSource: chairs.md") for text in texts(events)]
    assert quoted[0] == quoted[2] == quoted[3] == "A red chair costs forty euros. [1]"
    assert quoted[1] == "Chairs are made of oak. [1]"
    assert [event.index for event in events if isinstance(event, ReplyEnd)] == [0, 1, 2, 3]


def test_max_tokens_leaves_at_least_one_whole_sentence() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", LAMPS, max_tokens=1))
    assert texts(events) == ["The red lamp costs nine euros. [1]\n\nSource: guide"]


def test_embeds_only_what_was_not_embedded_before_and_in_one_call() -> None:
    embedder = WordEmbedder()
    first, second = prompt("red lamp", LAMPS), prompt("red chair", CHAIRS, LAMPS)
    both = prompt("oak", LAMPS, CHAIRS)
    replies(ExtractiveModel(embedder), first, second, both)
    assert [len(call) for call in embedder.calls] == [5, 2]


def test_what_is_embedded_stands_under_its_heading() -> None:
    embedder = WordEmbedder()
    replies(ExtractiveModel(embedder), prompt("lamp", passage("a", "# Lamps\n\nNine euros.\n\n## Do you ship?\n\nWe do.")))
    assert embedder.calls == [["Lamps. Nine euros.", "Do you ship? We do."]]


def test_of_many_statements_few_are_embedded() -> None:
    embedder = WordEmbedder()
    long = passage("long", "\n".join(f"- lamp {number} costs {number} euros" for number in range(150)))
    [events] = replies(ExtractiveModel(embedder), prompt("what does lamp 77 cost?", long))
    assert [len(call) for call in embedder.calls] == [MOST_EMBEDDED]
    assert texts(events)[0].startswith("lamp 77 costs 77 euros")


def test_a_failing_embedder_fails_the_reply_before_its_first_word() -> None:
    embedder = WordEmbedder()
    model = ExtractiveModel(embedder)
    embedder.is_down = True

    async def first_event() -> ModelEvent:
        return await anext(model.stream(prompt("red lamp", LAMPS)))

    with pytest.raises(EmbedderUnavailable):
        asyncio.run(first_event())
    embedder.is_down = False
    [events] = replies(model, prompt("red lamp", LAMPS))
    assert "red lamp" in texts(events)[0]


def test_passages_of_other_scripts_are_quoted_and_such_without_a_statement_are_refused() -> None:
    odd = passage("odd", "東京の天気は晴れです。明日は雨です。")
    [first, second] = replies(ExtractiveModel(WordEmbedder()), prompt("東京の天気", odd), prompt("x", passage("x", ".")))
    assert texts(first) == ["東京の天気は晴れです。[1]\n\n出典：guide"]
    assert texts(second) == ["No idea."]
    assert second[-2] == ReplyEnd(0, abstained=True)


def test_the_least_recently_read_passages_are_forgotten_first() -> None:
    known = [passage(each, f"Passage {each} is one. It is short.") for each in "abcd"]
    size = ReadPassages().read(known[0]).memory_bytes
    held = ReadPassages(most_bytes=3 * size)
    first = [held.read(each) for each in known]
    for each, read in zip(known[:3], first, strict=False):
        held.keep(each, read)
    assert held.read(known[0]) is first[0]
    held.keep(known[3], first[3])
    assert [held.read(each) is read for each, read in zip(known, first, strict=True)] == [True, False, True, True]
    held.keep(known[0], held.read(known[0]))  # again, and no larger
    assert held.memory_bytes == 3 * size
    held.keep(passage("e", "x"), ReadPassages().read(passage("e", "It is very long. " * 100)))
    assert held.memory_bytes <= 3 * size


async def test_a_heading_that_repeats_the_prompt_is_not_the_answer() -> None:
    embedder = HashingEmbedder()
    text = "# Parcels\n\n## When do parcels ship?\n\nThey leave on Monday. The courier comes at nine."
    passage = Passage(
        chunk_id="c", document_id="d", document_name="doc", number=0, text=text, line_from=1, line_to=5,
        cosine=1.0, lexical=1.0, coverage=1.0, rank_score=1.0, score=1.0,
    )  # fmt: skip
    query = Query(text="When do parcels ship?", vector=await embedder.embed_prompt("When do parcels ship?"), stem_weights={})
    model_input = ModelInput(messages=(), sampling=Sampling(), query=query, passages=(passage,))
    said = [event.text async for event in ExtractiveModel(embedder).stream(model_input) if isinstance(event, TextDelta)]
    assert "".join(said).startswith("They leave on Monday. ")
    assert "When do" not in "".join(said)


def cited(events: Sequence[ModelEvent], *passages: Passage) -> list[str]:
    """What the markers stand for; asserts that each stands where it is said to, for what its passage holds there."""
    found = []
    for event in events:
        if isinstance(event, ModelCitation):
            assert texts(events)[event.index].startswith(f"[{event.number}]", event.marker_start)
            assert passages[event.number - 1].text[event.start : event.end] == event.text
            found.append(event.text)
    return found


def test_each_stretch_cites_exactly_what_it_was_quoted_from() -> None:
    wrapped = passage(
        "w",
        "Of all that is sold here today, the red lamp costs\n  nine euros.\n\n- A red chair costs forty euros.\n\nIt is oak.",
    )
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", wrapped, n=2))
    first = "Of all that is sold here today, the red lamp costs\n  nine euros."
    assert cited(events, wrapped)[:2] == [first, "A red chair costs forty euros."]
    assert texts(events)[0].startswith(
        "Of all that is sold here today, the red lamp costs nine euros. A red chair costs forty euros. [1]"
    )


def test_code_is_said_with_what_announces_it_or_if_there_is_nothing_else() -> None:
    code = "```sh\nred lamp --costs euros\n```"
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", passage("c", f"{code}\nIt is oak.")))
    assert texts(events) == ["It is oak. [1]\n\nSource: guide"]
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", passage("d", code)))
    assert texts(events) == ["red lamp --costs euros [1]\n\nguide"]
    announced = passage("e", f"For the cost of a red lamp in euros, run:\n\n{code}\n")
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", announced))
    assert texts(events) == ["For the cost of a red lamp in euros, run: red lamp --costs euros [1]\n\nSource: guide"]


def nearby_input(most_sources: int) -> ModelInput:
    best, next_best = passage("best", "Lamps come in red.", rank=0.9), passage("next", "A red lamp costs nine euros.", rank=0.8)
    asked = prompt("what does a red lamp cost in euros?", best, passage("third", "Oak is hard.", document="oak", rank=0.7))
    return msgspec.structs.replace(asked, nearby=(next_best,), most_sources=most_sources)


def test_what_it_quotes_of_a_passage_nearby_becomes_a_source_and_markers_count_in_those() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), nearby_input(3))
    assert events[0] == SourcesChosen((0, 2, 1))  # best first
    assert texts(events) == ["A red lamp costs nine euros. [2]\n\nSource: guide"]
    assert [event.number for event in events if isinstance(event, ModelCitation)] == [2]


def test_it_makes_its_reply_of_no_more_sources_than_it_may() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), nearby_input(1))
    assert events[0] == SourcesChosen((2,))
    assert texts(events) == ["A red lamp costs nine euros. [1]\n\nSource: guide"]


def test_a_refusal_may_suggest_what_is_near_and_cites_nothing() -> None:
    asked = msgspec.structs.replace(prompt("What is love?", n=2), suggestion="This may help: guide")
    [events] = replies(ExtractiveModel(WordEmbedder()), asked)
    assert texts(events) == ["No idea.\n\nThis may help: guide"] * 2
    assert not [event for event in events if isinstance(event, ModelCitation | SourcesChosen)]
    assert [event.abstained for event in events if isinstance(event, ReplyEnd)] == [True, True]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Die rote Lampe kostet neun Euro und ist neu.", "Quelle: guide"),
        ("La lampe rouge coûte neuf euros et elle est dans le magasin.", "Source : guide"),
        ("Красная лампа стоит девять евро, её можно купить.", "Источник: guide"),
        ("红色的灯九欧元。", "来源：guide"),
        ("빨간 램프는 구 유로입니다.", "출처: guide"),
        ("المصباح الأحمر بتسعة يورو.", "المصدر: guide"),
        ("Lampa czerwona kosztuje dziewięć złotych.", "Źródło: guide"),
        ("Червона лампа коштує дев'ять євро.", "Джерело: guide"),
        ("Лампата е червена.", "guide"),
    ],
)
def test_the_label_is_in_the_language_of_the_passage_or_left_out(text: str, named: str) -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt(text, passage("c", text)))
    assert texts(events)[0].rpartition("\n\n")[2] == named
