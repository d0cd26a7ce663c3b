"""robots.txt says who may read what, in time that its author cannot blow up."""

from __future__ import annotations

import time

import pytest

from gigachat_server.knowledge.sites.robot_rules import read

ALL = "User-agent: *\n"


@pytest.mark.parametrize(
    ("text", "allowed", "refused"),
    [
        ("", "/a", None),
        ("Disallow: /a", "/a", None),  # of nobody
        (ALL + "Disallow:", "/a", None),
        (ALL + "Disallow: /", None, "/a"),
        (ALL + "Disallow: /a", "/b", "/a/b?c"),
        (ALL + "Disallow: /a/", "/a", "/a/b"),
        (ALL + "Disallow: /a\nAllow: /a/b", "/a/b/c", "/a/c"),
        (ALL + "Allow: /a\nDisallow: /a", "/a", None),  # as long: the milder
        (ALL + "Disallow: /*.pdf$", "/a.pdf?x", "/a.pdf"),
        (ALL + "Disallow: /*a*b$", "/ba", "/xaab"),
        (ALL + "Disallow: /a*a$", "/a", "/aa"),
        (ALL + "Disallow: /a$", "/ab", "/a"),
        (ALL + "Disallow: *?x", "/a?y", "/a?x"),
        (ALL + "Disallow: /a***b", "/ab"[:2], "/a-b"),
        (ALL + "Disallow: /a$b", "/a", "/a$b"),
        (ALL + "Disallow: /a%2Ab", "/axb", "/a*b"),
        (ALL + "Disallow: /a%24", "/a", "/a$"),
        (ALL + "Disallow: /ü", "/u", "/%C3%BC"),
        (ALL + "Disallow: /%c3%bc", "/u", "/%C3%BC"),
        (ALL + "Disallow: /%7Eann", "/bob", "/~ann"),
        (ALL + "Disallow: /~ann", "/bob", "/%7Eann"),
        (ALL + "Disallow: /a # a comment", "/b", "/a"),
        ("user-AGENT : *\r\nDISALLOW:/a\r\n", "/b", "/a"),
        (ALL + "Disallow: /a\nUser-agent: gigachat\nDisallow: /b", "/a", "/b"),
        ("User-agent: GigaChat/1.0\nDisallow: /b\n\n" + ALL + "Disallow: /a", "/a", "/b"),
        ("User-agent: gigachat\nAllow: /\n\n" + ALL + "Disallow: /", "/a", None),
        ("User-agent: gigachat\n" + ALL + "Disallow: /a", "/b", "/a"),
        ("User-agent: gigachatter\nDisallow: /\n", "/a", None),
        ("User-agent: other\nUser-agent: gigachat\nDisallow: /a\n", "/b", "/a"),
        ("User-agent: gigachat\nDisallow: /a\nUser-agent: x\nDisallow: /b\nUser-agent: gigachat\nDisallow: /c", "/b", "/c"),
        ("User-agent: gigachat\nSitemap: https://x\nDisallow: /a", "/b", "/a"),
        ("User-agent: gigachat\nDisallow: /a\nUser-agent: other\nDisallow: /b", "/b", "/a"),
    ],
)
def test_the_longest_pattern_decides(text: str, allowed: str | None, refused: str | None) -> None:
    rules = read(text, "gigachat")
    assert allowed is None or rules.allows(allowed)
    assert refused is None or not rules.allows(refused)


@pytest.mark.parametrize(
    ("text", "delay_s"),
    [
        ("", 0.0),
        (ALL + "Crawl-delay: 2.5", 2.5),
        (ALL + "Crawl-delay: nan\nCrawl-delay: -1\nCrawl-delay: 1e9", 0.0),
        (ALL + "Crawl-delay: 9\nUser-agent: gigachat\nCrawl-delay: 1", 1.0),
    ],
)
def test_how_fast_a_site_wants_to_be_read(text: str, delay_s: float) -> None:
    assert read(text, "gigachat").delay_s == delay_s


@pytest.mark.parametrize(
    "text",
    [
        ALL + "Disallow: /*a*%x$\n" * 29_000,
        ALL + "".join(f"Disallow: /*a*%{number}x$\n" for number in range(22_000)),
        ALL + "Disallow: /" + "*a" * 250_000 + "b$",
        ALL + "".join(f"Disallow: /{'*a' * 200}{number}$\n" for number in range(1_200)),
        ALL + "".join(f"Disallow: /*{'a' * 900}b{number}$\n" for number in range(500)),
        ALL + "Disallow: /" + "*" * 500_000 + "$",
        ALL * 35_000,
        "User-agent: gigachat\n" * 12_000 + "Allow: /\n" * 28_000,
        "User-agent: " + "a" * 500_000,
        ALL + "Crawl-delay: " + "1" * 500_000,
        ALL + "Disallow: " + "%41" * 170_000,
    ],
)
def test_half_a_megabyte_of_rules_is_read_and_obeyed_in_moments(text: str) -> None:
    began_s = time.process_time()
    rules = read(text, "gigachat")
    for target in ("/" + "a" * 1_990, "/" + "a%25" * 490, "/" + "%25x" * 490):
        rules.allows(target)
    assert time.process_time() - began_s < 3
