"""The extractive model: what it quotes, when it does not, and what it embeds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.language.terms import terms
from gigachat_server.language.words import words
from gigachat_server.models.base import (
    Cited,
    Matrix,
    ModelEvent,
    ModelInput,
    Passage,
    Query,
    RelevanceScale,
    ReplyEnd,
    Sampling,
    TextDelta,
    UsageReport,
    Vector,
)
from gigachat_server.models.extractive import ExtractiveModel, SentenceVectors, is_statement
from gigachat_server.models.hashing_embedder import HashingEmbedder

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


def test_quotes_the_two_best_sentences_in_document_order_with_their_source() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("A lamp that lasts ten years, a red lamp?", LAMPS))
    assert texts(events) == ["The red lamp costs nine euros. [1] A lamp lasts ten years. [1]\n\nSource: guide"]
    assert [type(event) for event in events] == [Cited, TextDelta, Cited, TextDelta, TextDelta, ReplyEnd, UsageReport]
    assert events[-2] == ReplyEnd(0, abstained=False)
    assert events[-1] == UsageReport(model="extractive")


def test_names_every_document_it_quotes_once() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("euros red lamp costs chair", LAMPS, CHAIRS))
    assert texts(events) == [
        "The red lamp costs nine euros. [1] A red chair costs forty euros. [2]\n\nSources: [1] guide, [2] chairs.md"
    ]


def test_chunks_of_one_document_are_quoted_in_its_order_and_nothing_twice() -> None:
    later = passage("b", "The red lamp costs nine euros. The blue lamp costs eight euros.", number=1)
    earlier = passage("a", "Prices follow. The red lamp costs\nnine euros.", number=0)
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red or blue lamp costs euros?", later, earlier))
    assert texts(events) == ["The red lamp costs nine euros. [1] The blue lamp costs eight euros. [1]\n\nSource: guide"]


@pytest.mark.parametrize(
    "text, passages, expected, abstained",
    [
        ("What is love?", (), "No idea.", True),
        ("Hello!", (), "Hello! How can I help you?", False),
        ("Hello!", (LAMPS,), "Hello! How can I help you?", False),
        ("Thanks a lot", (), "You're welcome!", False),
        ("Bye", (), "Goodbye!", False),
    ],
)
def test_what_needs_no_passage(text: str, passages: tuple[Passage, ...], expected: str, abstained: bool) -> None:
    embedder = WordEmbedder()
    [events] = replies(ExtractiveModel(embedder), prompt(text, *passages, n=2))
    assert texts(events) == [expected, expected]
    assert [event.abstained for event in events if isinstance(event, ReplyEnd)] == [abstained, abstained]
    assert embedder.calls == []


def test_alternatives_quote_the_next_best_sentences_and_then_the_best_again() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", LAMPS, n=4))
    quoted = [text.removesuffix("\n\nSource: guide") for text in texts(events)]
    assert len(set(quoted)) == 3
    assert quoted[3] == quoted[0]
    assert [event.index for event in events if isinstance(event, ReplyEnd)] == [0, 1, 2, 3]


def test_max_tokens_leaves_at_least_one_whole_sentence() -> None:
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", LAMPS, max_tokens=1))
    assert texts(events) == ["The red lamp costs nine euros. [1]\n\nSource: guide"]


def test_embeds_missing_sentences_alone_and_in_one_call() -> None:
    embedder = WordEmbedder()
    first, second = prompt("red lamp", LAMPS), prompt("red chair", CHAIRS, LAMPS)
    both = prompt("oak", LAMPS, CHAIRS)
    replies(ExtractiveModel(embedder), first, second, both)
    assert [len(call) for call in embedder.calls] == [5, 2]


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


def test_passages_of_other_scripts_or_hardly_any_text_are_quoted() -> None:
    odd = passage("odd", "東京の天気は晴れです。明日は雨です。")
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("東京の天気", odd), prompt("x", passage("x", ".")))[:1]
    assert texts(events) == ["東京の天気は晴れです。[1]明日は雨です。[1]\n\n出典：guide"]


def test_the_least_recently_used_sentence_vectors_are_forgotten_first() -> None:
    row = np.zeros((2, 4), dtype=np.float32)
    held = SentenceVectors(most_bytes=3 * row.nbytes)
    for chunk_id in ("a", "b", "c"):
        held.keep(chunk_id, row)
    assert held.find("a", 2) is row
    held.keep("d", row)
    assert [chunk_id for chunk_id in "abcd" if held.find(chunk_id, 2) is not None] == ["a", "c", "d"]
    assert held.find("a", 3) is None  # a chunk cut anew has other sentences
    held.keep("huge", np.zeros((100, 4), dtype=np.float32))
    assert held.memory_bytes <= 3 * row.nbytes


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Push a text with a POST.", True),
        ("- It refuses instead of guessing.", True),
        ("See [the guide](docs/guide.md) for what each of these settings does.", True),
        ("# Connect a model", False),
        ("## How do I connect a model?", False),
        ("How do I connect a model?", False),
        ("| name | meaning |", False),
        ("```sh", False),
        ("---", False),
        ("Contact us", False),
        ("Home | Products | Contact", False),
        ("Open 9 to 5", True),
        ("Closed on Sundays", True),
        ("東京の天気は晴れです", True),
        ("- [Try it](docs/try-it.md), [push documents](docs/push-documents.md)", False),
    ],
)
def test_headings_questions_and_lists_of_links_are_no_statements(text: str, *, is_one: bool) -> None:
    assert is_statement(text) == is_one


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
    assert "".join(said) == "They leave on Monday. [1] The courier comes at nine. [1]\n\nSource: doc"


def cited(events: Sequence[ModelEvent], *passages: Passage) -> list[str]:
    """What the markers stand for; asserts that each stands where it is said to, for what its passage holds there."""
    found = []
    for event in events:
        if isinstance(event, Cited):
            assert texts(events)[event.index].startswith(f"[{event.number}]", event.marker_start)
            assert passages[event.number - 1].text[event.start : event.end] == event.text
            found.append(event.text)
    return found


def test_each_sentence_cites_exactly_what_it_was_quoted_from() -> None:
    wrapped = passage(
        "w",
        "Of all that is sold here today, the red lamp costs\n  nine euros.\n\n"
        "- A red chair costs forty euros.\n2. Red is sold out.",
    )
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", wrapped, CHAIRS, n=2))
    assert cited(events, wrapped, CHAIRS) == [
        "Of all that is sold here today, the red lamp costs\n  nine euros.",
        "A red chair costs forty euros.",
        "Red is sold out.",
        "Chairs are made of oak.",
    ]
    assert texts(events)[0] == (
        "Of all that is sold here today, the red lamp costs nine euros. [1] A red chair costs forty euros. [1]\n\nSource: guide"
    )


def test_of_a_sentence_that_is_there_twice_the_whole_one_is_said() -> None:
    cut = passage("a", "Lamps are red. The red lamp costs nine", number=0, rank=0.9)
    whole = passage("b", "red. The red lamp costs nine euros. It is new.", number=1, rank=0.1)
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("the red lamp costs nine?", cut, whole, max_tokens=1))
    assert texts(events) == ["The red lamp costs nine euros. [2]\n\nSource: guide"]


def test_code_is_said_only_if_there_is_nothing_else() -> None:
    code = "```sh\nred lamp costs euros --all the red lamps.\n```"
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", passage("c", f"{code}\nIt is oak.")))
    assert texts(events)[0].startswith("red lamp costs euros --all the red lamps. [1] It is oak. [1]")
    more = passage("d", f"{code}\nIt is oak. It is old.")
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp costs euros", more))
    assert texts(events) == ["It is oak. [1] It is old. [1]\n\nSource: guide"]


def test_the_second_sentence_is_one_that_adds_to_the_first() -> None:
    text = "The red lamp is sold here. The red lamp is sold now. Shipping takes many days."
    [events] = replies(ExtractiveModel(WordEmbedder()), prompt("red lamp, shipping days?", passage("c", text)))
    assert texts(events) == ["The red lamp is sold here. [1] Shipping takes many days. [1]\n\nSource: guide"]


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
