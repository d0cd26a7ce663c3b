"""What is read of pages, sitemaps and patterns: with tables, and in linear time whatever they are."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable

import pytest

from gigachat_server.fetching import web_urls
from gigachat_server.knowledge.sites import html_facts, sitemap
from gigachat_server.knowledge.sites.patterns import is_wanted, matches
from gigachat_server.knowledge.sites.sitemap import SitemapRefused

PAGE = web_urls.parse("https://shop.example/help/index.html")


def facts(text: str, robots_header: str = "") -> html_facts.HtmlFacts:
    return html_facts.read(text, PAGE, robots_header=robots_header)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("<a href=\"a.html\">x</a> <A HREF=/b>y</A> <area href='c'>", ["/help/a.html", "/b", "/help/c"]),
        ('<a href="?x=1&amp;y=2#z">', ["/help/index.html?x=1&y=2"]),
        ('<a class="b > c" data-x=\'"\' href="ok">', ["/help/ok"]),
        ('<!-- <a href="commented"> --><a href=real>', ["/help/real"]),
        ('<script>"<a href=no>"</script><style><a href=no></style><a href=yes>', ["/help/yes"]),
        ('<a rel="nofollow noopener" href="no"><a rel=next href="yes">', ["/help/yes"]),
        ('<base href="/other/"><a href="x">', ["/other/x"]),
        ('<base target="_top"><base href="/one/"><base href="/two/"><a href="x">', ["/one/x"]),
        ('<a href="mailto:a@b"><a href="javascript:x()"><a href=""><a href><a href="http://u@x/">', []),
        ('<meta name="robots" content="index, nofollow"><a href="x">', []),
        ("<a href='same'><a href='same#part'>", ["/help/same"]),
        ("<a href='x' <b <a href='y'>", ["/help/x"]),
        ("<a href='unclosed", []),
    ],
)
def test_links_are_what_a_browser_would_follow(text: str, links: list[str]) -> None:
    assert [link.target for link in facts(text).links] == links


@pytest.mark.parametrize(
    ("text", "header", "is_kept_out"),
    [
        ('<meta name=robots content="noindex">', "", True),
        ('<META NAME="Robots" CONTENT="NoIndex, follow">', "", True),
        ('<meta name="gigachat" content="none">', "", True),
        ('<meta name="googlebot" content="noindex">', "", False),
        ("", "noindex", True),
        ("", "googlebot: noindex", False),
        ("", "googlebot: nofollow, gigachat: noindex", True),
        ("", "max-snippet: 10, noindex", True),
        ('<meta name="description" content="noindex">', "", False),
    ],
)
def test_a_page_may_ask_not_to_be_kept(text: str, header: str, is_kept_out: bool) -> None:
    assert facts(text, header).is_kept_out == is_kept_out


def test_a_page_says_which_address_is_its_own() -> None:
    canonical = facts(
        '<link rel="stylesheet" href="s"><link rel="canonical" href="/help/"><link rel=canonical href=/no>'
    ).canonical
    assert canonical is not None
    assert canonical.text == "https://shop.example/help/"
    assert facts('<link rel=canonical href="//["><link rel=canonical href=/no>').canonical is None


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("ü".encode(), "text/html"),
        ("ü".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ('<meta charset="windows-1252">ü'.encode("cp1252"), "text/html"),
        ("\ufeffü".encode("utf-16"), "text/html"),
        ("ü".encode(), "text/html; charset=no-such"),
        ("ü".encode(), "text/html; charset=base64"),
    ],
)
def test_a_page_is_read_in_its_own_encoding(body: bytes, content_type: str) -> None:
    assert html_facts.decoded(body, content_type).endswith("ü")


HOSTILE: list[Callable[[int], str]] = [
    lambda size: "<a " * (size // 3),
    lambda size: '<a "' * (size // 4),
    lambda size: "<a href='" + "x" * size,
    lambda size: "<!--" * (size // 4),
    lambda size: "<script>" * (size // 8),
    lambda size: "<div>" * (size // 5),
    lambda size: ("<a href=x" + " " * 3900 + ">") * (size // 3910),
    lambda size: ("<a " + "a=" * 1900 + ">") * (size // 3810),
    lambda size: ("<a " + '"a=\'" ' * 600 + ">") * (size // 3610),
    lambda size: "<" * size,
    lambda size: "<a href=" + "../" * (size // 3) + ">",
    lambda size: "".join(f"<base href=/{number}>" for number in range(size // 19)),
    lambda size: "<link rel=canonical href=//[>" * (size // 29),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_page_takes_longer_than_its_length(number: int) -> None:
    """A page of 1 MiB is read in well under the 2 s that any input may take (T28)."""
    text = HOSTILE[number](1024 * 1024)
    began = time.process_time()
    facts(text)
    assert time.process_time() - began < 2


# --- sitemaps ---

URLSET = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">%s</urlset>'


def test_a_sitemap_is_read_in_each_of_its_forms() -> None:
    pages = URLSET % "<url><loc> https://a.example/x?a=1&amp;b=2 </loc><image><loc>no</loc></image></url><url><loc>b</loc></url>"
    assert sitemap.read(pages.encode()).pages == ["https://a.example/x?a=1&b=2", "b"]
    assert sitemap.read(gzip.compress(pages.encode())).pages == ["https://a.example/x?a=1&b=2", "b"]
    index = "<sitemapindex><sitemap><loc>one</loc></sitemap><sitemap><loc>two</loc></sitemap></sitemapindex>"
    assert sitemap.read(index.encode()) == sitemap.Sitemap(["one", "two"], [])
    assert sitemap.read(b"https://a.example/1\r\nhttps://a.example/2\n").pages == ["https://a.example/1", "https://a.example/2"]


LAUGHS = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "&a;" * 10}">' for n in range(9)
)


HARMFUL = [
    (LAUGHS + "]><urlset><url><loc>&a8;</loc></url></urlset>").encode(),
    b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><urlset/>',
    b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><urlset><url><loc>&e;</loc></url></urlset>',
    gzip.compress(bytes(50_000_000), 1),
    gzip.compress(b"<urlset>" * 1000)[:40],
    b"\x1f\x8bnot gzip",
    b"<urlset><url>",
    b"<html><body>Not found</body></html>",
    b"<urlset>" + b"<url>" * 100_000,
    b"<urlset><url><loc>" + b"x" * 5_000_000,
    b"just words",
    b"",
    b"\x00\xff\xfe",
    b'<?xml version="1.0" encoding="no-such"?><urlset/>',
]


@pytest.mark.parametrize("number", range(len(HARMFUL)))
def test_a_sitemap_that_means_harm_is_refused(number: int) -> None:
    body = HARMFUL[number]
    began = time.process_time()
    with pytest.raises(SitemapRefused):
        sitemap.read(body)
    assert time.process_time() - began < 2


def test_no_more_addresses_are_kept_than_a_sitemap_may_have() -> None:
    many = URLSET % ("<url><loc>https://a.example/</loc></url>" * 60_000)
    assert len(sitemap.read(many.encode()).pages) == sitemap.MOST_ADDRESSES
    long = sitemap.read((URLSET % f"<url><loc>{'x' * 3_000_000}</loc></url>").encode())
    assert len(long.pages[0]) <= 4_000


# --- patterns ---


@pytest.mark.parametrize(
    ("pattern", "url", "is_match"),
    [
        ("/help/*", "https://a.example/help/x/y?z", True),
        ("/help/*", "https://a.example/helpless", False),
        ("/help*", "https://a.example/helpless", True),
        ("*/help/*", "https://a.example/de/help/x", True),
        ("*.pdf", "https://a.example/x.pdf", True),
        ("*.pdf", "https://a.example/x.pdf?y", False),
        ("/*?page=*", "https://a.example/list?page=3", True),
        ("https://a.example/*", "https://a.example/", True),
        ("https://a.example/", "https://a.example/", True),
        ("/a*b*c", "https://a.example/axxbxxc", True),
        ("/a*b*c", "https://a.example/acb", False),
        ("/ab*ba", "https://a.example/aba", False),
        ("/.*", "https://a.example/x", False),
        ("*", "https://a.example/x", True),
    ],
)
def test_a_star_is_any_run_and_all_else_is_itself(pattern: str, url: str, is_match: bool) -> None:
    assert matches(pattern, web_urls.parse(url)) == is_match


def test_exclusion_counts_before_inclusion() -> None:
    url = web_urls.parse("https://a.example/help/old/x")
    assert is_wanted(url, (), ())
    assert is_wanted(url, ("/no/*", "/help/*"), ())
    assert not is_wanted(url, ("/help/*",), ("*/old/*",))
    assert not is_wanted(url, ("/no/*",), ())


def test_a_pattern_of_stars_takes_no_time() -> None:
    url = web_urls.parse("https://a.example/" + "a" * 1900)
    began = time.process_time()
    assert not matches("/" + "*a" * 200 + "*b", url)
    assert time.process_time() - began < 0.2


def test_a_link_said_again_is_looked_at_once_and_those_that_lead_nowhere_so_often() -> None:
    assert [link.path for link in facts("<a href=/x>" * 10_000 + "<a href=/y>").links] == ["/x", "/y"]
    nowhere = "".join(f"<a href=mailto:{number}@a.example>" for number in range(10_000))
    assert facts(nowhere + "<a href=/x>").links == ()
