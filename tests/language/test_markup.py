"""Markdown as people read it, and what was cited of it, wherever that has moved."""

from __future__ import annotations

import random
import re
import time

import pytest
from tests.models.quoting.test_parse import HOSTILE

from gigachat_server.language.markup import plain, readable

pytestmark = pytest.mark.sqlite_only


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[`keys create`](cli.md) makes one", "`keys create` makes one"),
        ("Read [a\nlong label](b.md) too", "Read a long label too"),
        ("[Nested [brackets] here](x.md)", "Nested [brackets] here"),
        ("Empty [](x.md) label", "Empty label"),
        ("label](guide.md) is the start", "label is the start"),
        ("the end is [label](http", "the end is label"),
        ("as said[^1].", "as said."),
        ("[[Page|The page]] and [[Other]]", "The page and Other"),
        ("cites [1] and [2](x)", "cites [1] and [2](x)"),
        ("press <kbd>Ctrl</kbd>, H<sub>2</sub>O", "press Ctrl, H2O"),
        ("one<br/>two<p class='a'>three", "one two three"),
        ("<details><summary>Open</summary>it</details>", "Open it"),
        ("run it <name> with a < b > c", "run it <name> with a < b > c"),
        ("<ann@example.com> or <https://example.com/>", "ann@example.com or https://example.com/"),
        ("said <!-- not this --> here", "said here"),
        ("a&nbsp;b &amp; c", "a b & c"),
        ("`[a](b)` and `<br>`", "`[a](b)` and `<br>`"),
        ("2**3 is 8", "2**3 is 8"),
        ("a line\\\nbroken", "a line broken"),
    ],
)
def test_links_tags_and_emphasis_are_read_as_their_text(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_a_document_is_read_line_by_line() -> None:
    text = (
        "## Sizes ##\n\nSee [the guide](guide.md).\n\n| Size | [Price](p.md) |\n|:---|---:|\n| **S** | 5 \\| 6 |\n\n"
        "- [ ] one\n  * two\n1. three\n\n> said\n\nTitle\n=====\n\n```sh\n# a | b\nrun **it**\n```\n\n[ref]: https://x.test/\n"
        ":::note\n`code` stays\n:::\n"
    )
    assert readable(text)[0].split("\n") == [
        *("Sizes ##", "", "See the guide.", "", "Size · Price", "S · 5 | 6", "", "• one", "  • two", "1. three", "", "said", ""),
        *("Title", "", "# a | b", "run **it**", "", "code stays", ""),
    ]


def test_what_is_cited_is_found_again_where_it_went() -> None:
    text = "**A** [guide](u.md), `x|y`.\n\n| S | **5** |\n|---|---|\n| M | [six](e.md) |\n\n```\nrun it\n```\nEnd."
    cited = {"[guide](u.md)": "guide", "`x|y`": "x|y", "| M | [six](e.md) |": "M · six", "run it": "run it", "End.": "End."}
    places = [place for each in cited for place in (text.index(each), text.index(each) + len(each))]
    shown, moved = readable(text, places)
    assert [shown[start:end] for start, end in zip(moved[::2], moved[1::2], strict=True)] == list(cited.values())


PARTS = (
    "# Head", "**Bold** words", "| A | B |", "|---|---|", "| 1 | [two](x) |", "- item", "", "> said", "```", "`a|b`", "[x](y) z",
    "[x][y]", "![i](j)", "<br>", "<!-- c -->", "&nbsp;", "\\*", "[^1]", "[r]: http://x/y", "a | b | c", "===", "~~~", "*",
    "[", "](",
)  # fmt: skip


def test_no_word_is_added_and_places_stay_in_order() -> None:
    rng = random.Random(17)
    for _ in range(2_000):
        text = "\n".join(rng.choices(PARTS, k=rng.randrange(1, 20)))
        places = sorted(rng.randrange(len(text) + 1) for _ in range(6))
        shown, moved = readable(text, [0, *places, len(text)])
        assert moved == sorted(moved), text
        assert 0 <= moved[0] <= moved[-1] <= len(shown), text
        for word in _words(shown) | _words(plain(text)):
            assert word in text, text


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_reading_takes_time_that_grows_with_the_text_alone(text: str) -> None:
    took = []
    for part in (text[: len(text) // 4], text):
        began = time.process_time()
        readable(part, (0, len(part)))
        plain(part)
        took.append(time.process_time() - began)
    assert took[1] < 40 * took[0] + 0.05
