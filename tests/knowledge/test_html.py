"""What is read out of pages: what a person sees of them, also after a click, and nothing of what is around them."""

# ruff: noqa: E501 - pages, a line each

from __future__ import annotations

import contextlib
import time

import pytest
from tests import formats

from gigachat_server.errors import DocumentFailed
from gigachat_server.knowledge.extraction.child import read
from gigachat_server.knowledge.extraction.extracted import FileText

ANSWER = "You can return a parcel within 30 days of delivery."


def text_of(data: str | bytes) -> FileText:
    return read(
        data if isinstance(data, bytes) else data.encode(), name="a.html", media_type="text/html", most_characters=100_000
    )


def page(main: str) -> str:
    """In a page with menus and footers around it."""
    return text_of(formats.page(main)).text


@pytest.mark.parametrize(
    "panel",
    [
        "<h3><button aria-expanded='false' aria-controls='p1'>When can I return it?</button></h3><div id='p1' hidden>{}</div>",
        "<button class='accordion'>When can I return it?</button><div class='panel' style='display:none'>{}</div>",
        "<button data-bs-target='#c1' aria-expanded='false'>When can I return it?</button><div id='c1' class='collapse' style='display: none'>{}</div>",
        "<h3>When can I return it?</h3><div hidden='until-found'>{}</div>",
        "<details><summary>When can I return it?</summary>{}</details>",
        "<h3><button>When can I return it?</button></h3><div role='tabpanel' aria-hidden='true' hidden>{}</div>",
        "<a role='tab' href='#x1'>When can I return it?</a><section id='x1' style='visibility:hidden'>{}</section>",
        "<dl><dt><button aria-expanded=false>When can I return it?</button></dt><dd aria-hidden=true>{}</dd></dl>",
        "<h3 class='faq-question'>When can I return it?</h3><div class='faq-answer' style='display:none'><p>{}</p></div>",
    ],
)
@pytest.mark.parametrize("where", ["<main>{}</main>", "<div>{}</div>", "<article>{}</article>"])
def test_questions_and_the_answers_that_a_click_shows_are_read(panel: str, where: str) -> None:
    text = page(where.format("<h1>Questions</h1>" + panel.format(ANSWER)))
    assert "When can I return it?" in text
    assert ANSWER in text


@pytest.mark.parametrize(
    ("main", "text"),
    [
        (f"<main><h1>Returns</h1><aside class='note'>{ANSWER}</aside></main>", f"# Returns\n\n{ANSWER}"),
        ("<main><h1>Food</h1><div class='menu-item'><h3>Pizza</h3><p>Margherita 9 euros.</p></div></main>", "# Food\n\n### Pizza\n\nMargherita 9 euros."),
        ("<main><h1>Food</h1><div id='menu'><p>Soup of the day: 5 euros</p></div></main>", "# Food\n\nSoup of the day: 5 euros"),
        (f"<main><h1>Benefits</h1><section class='social security'>{ANSWER}</section></main>", f"# Benefits\n\n{ANSWER}"),
        ("<main><h1>Stocks</h1><p class='share price'>The share costs 12 euros.</p></main>", "# Stocks\n\nThe share costs 12 euros."),
        ("<main><h1>Prints</h1><div class='banner'><p>A banner of 2 m costs 40 euros.</p></div></main>", "# Prints\n\nA banner of 2 m costs 40 euros."),
        ("<main><h1>Baking</h1><div class='cookie-recipe'><p>Bake the cookies for 12 minutes.</p></div></main>", "# Baking\n\nBake the cookies for 12 minutes."),
        (f"<main><section><header><h2>Returns</h2></header><p>{ANSWER}</p></section></main>", f"## Returns\n\n{ANSWER}"),
        (f"<article><header><h2>One</h2></header><p>{ANSWER}</p></article><article><h2>Two</h2><p>Parcels ship on Monday.</p></article>", f"## One\n\n{ANSWER}\n\n## Two\n\nParcels ship on Monday."),
        (f"<main><x-card><template shadowrootmode='open'><h2>Returns</h2><slot></slot></template><p>{ANSWER}</p></x-card></main>", f"## Returns\n\n{ANSWER}"),
        (f"<main><noscript><p>{ANSWER}</p></noscript></main>", ANSWER),
        (f"<main><p>{ANSWER}</p><label>Colour <select><option>Red<option>Blue</select></label></main>", f"{ANSWER}\n\nColour Red, Blue"),
        (f"<main><p>{ANSWER}</p><figure><img src=a.png alt='A parcel with a green label'><figcaption>The label</figcaption></figure></main>", f"{ANSWER}\n\nA parcel with a green label\n\nThe label"),
        (f"<main><p>{ANSWER}</p><footer>Valid from 5 May 2024.</footer></main>", f"{ANSWER}\n\nValid from 5 May 2024."),
    ],
)  # fmt: skip
def test_what_only_looks_like_navigation_is_read(main: str, text: str) -> None:
    assert page(main) == text


@pytest.mark.parametrize(
    "around",
    [
        "<nav><a href=a>Returns</a> <a href=b>Fees</a></nav>",
        "<div class='breadcrumb'><a href=a>Home</a> / <a href=b>Help</a></div>",
        "<div class='social-share'><a href=a>Tweet</a><a href=b>Share on Facebook</a></div>",
        "<ul class='menu'><li><a href=a>All of the returns</a></li><li><a href=b>What it costs</a></li></ul>",
        "<aside><h3>Elsewhere</h3><a href=a>Other things to read here</a></aside>",
        "<div class='newsletter'><p>Get our news every week.</p><form><input type=email><button>Send</button></form></div>",
        "<button>Copy</button>",
        "<button class='menu-toggle' aria-expanded='false' aria-controls='m'>Menu</button>",
        "<div role='search'><input><button>Go</button></div>",
        "<p style='display:none'>Secret words</p>",
        "<span class='sr-only'>Opens in a new window</span>",
        "<template><p>Not shown</p></template>",
        "<i class='material-icons' aria-hidden='true'>expand_more</i>",
        "<dialog><p>Are you sure?</p></dialog>",
        "<div id='cookie-banner'><p>We use cookies to improve your visit. You can change that at any time.</p><button>Accept all</button></div>",
        "<div class='cc-window' role='dialog'><span>This site uses cookies, 3 of them for statistics.</span><a>Got it!</a></div>",
        "<section id='onetrust-consent-sdk'><h2>Your privacy</h2><p>Partners of ours store data. Here is why, in 4 points.</p><button>Reject All</button></section>",
        "<div class='cookie-hinweis'><p>Wir verwenden Cookies. Mehr dazu in der Erklärung.</p><button>Alle akzeptieren</button></div>",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["<main><h1>Returns</h1><p>{}</p>{}</main>", "<div><h1>Returns</h1><p>{}</p></div>{}"])
def test_what_is_around_the_text_stays_out(around: str, where: str) -> None:
    assert page(where.format(ANSWER, around)) == f"# Returns\n\n{ANSWER}"


def test_a_list_of_links_around_a_page_without_landmarks_stays_out() -> None:
    links = "".join(f"<li><a href='{n}'>Topic {word}</a></li>" for n, word in enumerate(("one", "two", "three", "four", "five")))
    assert (
        text_of(f"<html><body><div><ul>{links}</ul></div><h1>Returns</h1><p>{ANSWER}</p></body></html>").text
        == f"# Returns\n\n{ANSWER}"
    )
    assert "Topic four" in page(f"<main><h1>Topics</h1><ul>{links}</ul></main>")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>It costs 9<sup>1</sup> euros on the 5<sup>th</sup>, for 3 m<sup>2</sup> of H<sub>2</sub>O</p>", "It costs 9¹ euros on the 5th, for 3 m² of H2O"),
        ("<p><b>E</b>-1042 and <i>un</i>believable<span>!</span></p>", "E-1042 and unbelievable!"),
        ("<h2><b>E</b>-1042</h2><p>What it means.</p>", "## E-1042\n\nWhat it means."),
        ("<p>Now <s>19.90</s> 9.90 euros, <del>not 5</del></p>", "Now ~~19.90~~ 9.90 euros, ~~not 5~~"),
        ("<pre>one<br>two<br/>three of them</pre>", "```\none\ntwo\nthree of them\n```"),
        ("<pre><span class='lineno'>1</span>run one\n<span class='lineno'>2</span>run two</pre>", "```\nrun one\nrun two\n```"),
        ("<table><tr><td class='linenos'><pre>1\n2</pre></td><td class='code'><pre>run one\nrun two</pre></td></tr></table>", "```\nrun one\nrun two\n```"),
        ("<ol><li>Unpack it</li><li>Charge it</li></ol><ol start=5 type=a><li>Press it</li></ol>", "1. Unpack it\n2. Charge it\n\ne. Press it"),
        ("<ol reversed><li>Third of all</li><li>Second of all</li><li value=7>Seventh</li></ol>", "2. ~", ),
        ("<p>donau<wbr>dampf&shy;schiff and zero\u200bwidth blanks</p>", "donaudampfschiff and zerowidth blanks"),
        ("<p>As he said: <q>all of it</q>, in 30 days</p>", "As he said: “all of it”, in 30 days"),
        ("<p>One line<br>and another one</p>", "One line\nand another one"),
        ("<p>a<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math> of all the parcels</p>", "a1/2 of all the parcels"),
    ],
)  # fmt: skip
def test_what_is_on_a_line_stays_together_as_it_is_seen(html: str, text: str) -> None:
    if text == "2. ~":
        text = "3. Third of all\n2. Second of all\n7. Seventh"
    assert page(f"<main>{html}</main>") == text


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("<tr><th>Zone<th>Country<th>Fee<tr><td rowspan=2>Europe<td>Norway<td>9<tr><td>Sweden<td>8", "Zone: Europe | Country: Norway | Fee: 9\nZone: Europe | Country: Sweden | Fee: 8"),
        ("<tr><th>Country<th>Fee<th>Time<tr><td>Norway<td colspan=2>on request", "Country: Norway | Fee: on request | Time: on request"),
        ("<tr><th>Country<th>Fee<tr><td colspan=2>Overseas<tr><td>Chile<td>12", "Overseas\nCountry: Chile | Fee: 12"),
        ("<tr><th>Country<th>Fee<tr><td><p>Norway</p><p>and Sweden</p><td><p>9 EUR</p>", "Country: Norway and Sweden | Fee: 9 EUR"),
        ("<thead><tr><td>Country<td>Fee<tbody><tr><td>Norway<td>9", "Country: Norway | Fee: 9"),
        ("<tr><th colspan=2>Norway<th>Chile<tr><th>2023<th>2024<th>2024<tr><td>9<td>10<td>12", "Norway 2023: 9 | Norway 2024: 10 | Chile 2024: 12"),
        ("<tr><th>Weight<td>2 kg<tr><th>Colour:<td>blue", "Weight: 2 kg\nColour: blue"),
        ("<tr><td>Model<td>Number<td>Price<tr><td>A<td>88-1<td>9.90<tr><td>B<td>88-2<td>12.50", "Model: A | Number: 88-1 | Price: 9.90\nModel: B | Number: 88-2 | Price: 12.50"),
        ("<caption>Our fees</caption><tr><th>Country<th>Fee<tr><td><b>N</b>orway<td>9<sup>1</sup> EUR", "Our fees\n\nCountry: Norway | Fee: 9¹ EUR"),
        ("<tr><th>Plan<th>1 user<th>5 users<tr><td>Basic<td>9<td>40", "Plan: Basic | 1 user: 9 | 5 users: 40"),
    ],
)  # fmt: skip
def test_each_row_of_a_table_says_what_its_columns_are(rows: str, text: str) -> None:
    assert page(f"<main><table>{rows}</table></main>") == text


def test_questions_that_only_search_engines_are_told_are_read_once() -> None:
    data = (
        '{"@context": "https://schema.org", "@graph": [{"@type": "FAQPage", "mainEntity": [{"@type": "Question", "name": "How long?", '
        '"acceptedAnswer": {"@type": "Answer", "text": "<p>Thirty days &amp; no more.</p>"}}, {"@type": ["Question"], "name": "Shown?", '
        '"acceptedAnswer": {"@type": "Answer", "text": "You can return a parcel within 30 days of delivery."}}]}]}'
    )
    html = f"<head><script type='application/ld+json'>{data}</script><script type='application/ld+json'>{{broken</script></head><main><p>{ANSWER}</p></main>"
    assert text_of(f"<html>{html}</html>").text == f"{ANSWER}\n\n### How long?\n\nThirty days & no more."


def test_what_cannot_be_read_of_a_page_is_warned_of() -> None:
    frames = "<iframe src='https://maps.example/x' title='The map'></iframe><img src='/a/plan.png?x=1'><img src=p.gif width=1 height=1><img src=b.png alt=''>"
    extracted = text_of(f"<html><body><main><p>{ANSWER}</p>{frames}</main></body></html>")
    assert [(each.code, each.count, each.where) for each in extracted.warnings] == [
        ("objects_skipped", 1, "The map"),
        ("images_without_text", 1, "plan.png"),
    ]


def test_a_hostile_page_takes_no_longer_than_any() -> None:
    for html in (
        "<div class='menu'>" * 240 + "<a>x</a>" * 50_000,
        "<table>" + "<tr><td rowspan=1000 colspan=1000>x" * 30,
        "<ol>" + "<li>x" * 50_000,
        "<b>" * 200 + "word " * 15_000,
        "<table>" + "<tr>" + "<td>a cell" * 8_000,
    ):
        began = time.process_time()
        with contextlib.suppress(DocumentFailed):
            text_of(f"<html><body>{html}</body></html>")
        assert time.process_time() - began < 15
