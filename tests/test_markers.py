"""What looks like a citation and what does not; what a marker stands for; and that neither takes long, whatever is said."""

from __future__ import annotations

import pytest

from gigachat_server.chat.answers.citations import MOST_CITATIONS, look_up
from gigachat_server.chat.answers.markers import markers, without_markers
from gigachat_server.language.detect import language
from gigachat_server.language.phrases import source_label
from gigachat_server.records import Source


def source(content: str) -> Source:
    return Source("id", "document", "name", 0, content, 1, 1, 0.9, 0, 0)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("So it is [1].", [(1,)]),
        ("So it is.[1][2]", [(1,), (2,)]),
        ("So it is [1, 2; 3] and [1,1].", [(1, 2, 3), (1,)]),
        ("see https://a.test/x[1]", [(1,)]),
        ("- [12] an item", [(12,)]),
        ("[1](https://a.test/) [x](https://a.test/[1]) <https://a.test/[1]>", []),
        ("[1]: https://a.test/\n[2]: b", []),
        ("\\[1] [one] [^1] [1a] [1234] [1.5] []", []),
        ("`[1]` and ``a ` [1]`` but ` [2]", [(2,)]),
        ("a ` b\n\nc ` [1]", [(1,)]),
        ("```py\nx[1] = [2]\n``` \n[3]\n~~~\n[4]", [(3,)]),
        ("> ```\n> [1]\n> ```\n\n[2]", [(2,)]),
        ("[١] [１]", []),  # digits of other scripts number no source
    ],
)
def test_what_is_a_marker(text: str, numbers: list[tuple[int, ...]]) -> None:
    found = list(markers(text))
    assert [marker.numbers for marker in found] == numbers
    assert all(text[marker.start] == "[" and text[marker.end - 1] == "]" for marker in found)


def test_a_text_without_its_markers_reads_as_if_there_were_none() -> None:
    assert without_markers("So it is [1][2]. And `x[1]` so [3], too.[1] [2]\nEnd") == "So it is. And `x[1]` so, too.\nEnd"


RED, BLUE = "The red lamp costs nine euros.", "The blue lamp costs ten euros."
SHOP = source(f"Lamps are sold here. {RED} {BLUE}\nPrices\nAll include tax.")


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("Nine euros for the red lamp [1].", ["The red lamp costs nine euros."]),
        ("The red lamp: nine euros [1], the blue lamp: ten euros [1].", [RED, BLUE]),
        ("According to [1], the blue lamp costs ten euros.", ["The blue lamp costs ten euros."]),
        ("Buy it!\n[1] All include tax", ["All include tax."]),
        ("- the blue lamp: ten euros [1]\n- the tax: included in all [1]", [BLUE, "All include tax."]),
        ("Prices [1]", ["Prices"]),
        ("Это лампа [1].", [None]),
        ("[1]", [None]),
    ],
)  # fmt: skip
def test_a_marker_stands_for_the_sentence_that_shares_most(text: str, cited: list[str | None]) -> None:
    assert [citation.text([SHOP]) for citation in look_up(text, [SHOP])] == cited


@pytest.mark.parametrize("part", ["[1] a ", "[1]", "`", "` `` ", "[1,", "```\n", "<[1] ", "<a://[1]"])
def test_what_one_reply_costs_is_bounded(part: str) -> None:
    text = part * (200_001 // len(part))
    found = look_up(text, [source("word " * 60_000), SHOP])
    assert len(found) <= MOST_CITATIONS
    without_markers(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The lamp is red.", "en"),
        ("Die Lampe ist rot.", "de"),
        ("La lámpara es roja y está en el mercado.", "es"),
        ("De lamp is niet van ons.", "nl"),
        ("A lâmpada não é uma vela.", "pt"),
        ("La lampada è nel negozio, più avanti.", "it"),
        ("ランプは赤いです。", "ja"),
        ("این چراغ قرمز است", "fa"),
        ("Лампата е червена.", None),
        ("lamp", None),
        ("", None),
    ],
)
def test_a_language_is_told_or_not_guessed(text: str, expected: str | None) -> None:
    assert language(text) == expected


def test_several_sources_have_a_label_of_their_own() -> None:
    assert [source_label("en", count) for count in (1, 2)] == ["Source: ", "Sources: "]
    assert source_label(None, 2) == ""
