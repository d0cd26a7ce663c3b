"""What a crawler has to know of a page: what it links to, which address it calls its own, and whether it may be kept.

Idea: one pass over the tags, without a tree: the page's author may want to hurt its reader, so time is in
proportion to its length and nothing nests. Its text is another module's business, in a process of its own.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator

import msgspec

from gigachat_server.fetching import web_urls
from gigachat_server.fetching.web_urls import UrlRefused, WebUrl
from gigachat_server.knowledge.extraction.decoding import known_charset

MOST_LINKS = 1_000
_MOST_LOOKED_AT = 5 * MOST_LINKS  # however many of them lead nowhere
_MOST_CHARACTERS = 2 * 1024 * 1024
_LONGEST_TAG = 4_000

_NAME = re.compile(r"<([a-zA-Z][a-zA-Z0-9]{0,30})")
_REST = re.compile(r"(?>[^>\"']+|\"[^\"]*\"|'[^']*')*+>")
_ATTRIBUTE = re.compile(r"([^\s=\"'>/]+)\s*(?:=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([a-zA-Z0-9_:.-]{1,40})")
# What is between these and their ends is no markup.
_RAW = {
    name: re.compile(rf"</{name}", re.IGNORECASE) for name in ("script", "style", "textarea", "title", "noscript", "template")
}
# A comment, a style or a script that is none of data; data; a tag; text. None is looked at twice.
_SAID = re.compile(
    r"<!--(?:[^-]|-(?!->))*+(?:-->|\Z)"
    r"|<style\b(?:[^<]|<(?!/style))*+|<script\b(?![^>]{0,500}ld\+json)(?:[^<]|<(?!/script))*+"
    r"|(<img\b[^>]*+>?)|<script\b[^>]*+>((?:[^<]|<(?!/script))*+)|<[^>]*+>?|([^<]++)",
    re.I,
)
_ALT = re.compile(r"\balt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.I)
_SESSION = 16  # characters
_IS_SESSION = re.compile(r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_=.-]+")
_TOLD = frozenset({"a", "area", "base", "link", "meta"})
_ROBOTS = ("robots", "gigachat")


class HtmlFacts(msgspec.Struct, frozen=True):
    links: tuple[WebUrl, ...]
    canonical: WebUrl | None
    is_kept_out: bool  # it asks not to be kept
    is_followed: bool


def decoded(body: bytes, content_type: str) -> str:
    """The text, in the encoding that its header or itself names, UTF-8 otherwise; no more of it than is looked at."""
    body = body[: 2 * _MOST_CHARACTERS]
    named = re.search(r"charset=[\"']?([\w:.-]{1,40})", content_type, re.ASCII)
    found = named[1] if named else match[1].decode("ascii") if (match := _CHARSET.search(body, 0, 2048)) else "utf-8"
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        found = "utf-16"
    try:
        text = body.decode(known_charset(found) or "utf-8", "replace")
    except (UnicodeError, ValueError):
        text = body.decode("utf-8", "replace")
    return text[:_MOST_CHARACTERS]


def read(text: str, url: WebUrl, *, robots_header: str = "") -> HtmlFacts:
    """The facts of a page at that address. `robots_header` is what `X-Robots-Tag` says."""
    base, canonical = url, None
    met: set[str] = set()  # of a page's addresses the first counts: https://html.spec.whatwg.org/#frozen-base-url
    links: dict[WebUrl, None] = {}
    looked_at: set[tuple[WebUrl, str]] = set()  # resolving one takes a while, and a page may say it a hundred thousand times
    directives = _directives(robots_header)
    for name, attributes in _tags(text):
        match name:
            case "base" if "href" in attributes and name not in met:
                met.add(name)
                base = _joined(url, attributes["href"]) or base
            case "meta" if attributes.get("name", "").lower() in _ROBOTS:
                directives |= _directives(attributes.get("content", ""))
            case "link" if name not in met and "canonical" in attributes.get("rel", "").lower().split():
                met.add(name)
                canonical = _joined(base, attributes.get("href", ""))
            case "a" | "area" if len(links) < MOST_LINKS and "nofollow" not in attributes.get("rel", "").lower().split():
                reference = base, attributes.get("href", "").strip()
                if not reference[1] or reference in looked_at or len(looked_at) == _MOST_LOOKED_AT:
                    continue
                looked_at.add(reference)
                if (target := _joined(*reference)) is not None:
                    links[target] = None
    is_followed = directives.isdisjoint(("nofollow", "none"))
    return HtmlFacts(
        links=tuple(links) if is_followed else (),
        canonical=canonical,
        is_kept_out=not directives.isdisjoint(("noindex", "none")),
        is_followed=is_followed,
    )


def said(text: str) -> str:
    """What a page says, its blanks made one: its text and its title, what pictures are said to show, and what it tells search
    engines; without what only sessions differ in. Of a page of which nothing is left, the page itself."""
    parts: list[str] = []
    for part in _SAID.finditer(text):
        if part[1] is not None:
            parts += (match[1] or match[2] for match in _ALT.finditer(part[1]))
        elif part[2] is not None:
            parts.append(part[2])
        elif part[3] is not None:
            parts.append(part[3])
    words = " ".join(parts).split()
    kept = [word for word in words if not (len(word) >= _SESSION and _IS_SESSION.fullmatch(word))]
    return " ".join(kept) or text


def _directives(text: str) -> set[str]:
    """Of a header those that are for everybody or for us: `otherbot: noindex` is not."""
    found, is_ours = set(), True
    for part in text.lower().split(","):
        agent, colon, rest = part.partition(":")
        if colon and agent.strip() not in ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"):
            is_ours, part = agent.strip() == "gigachat", rest
        if is_ours:
            found.add(part.strip())
    return found


def _joined(base: WebUrl, reference: str) -> WebUrl | None:
    try:
        return web_urls.join(base, html.unescape(reference))
    except UrlRefused:
        return None


def _tags(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The tags that tell something, with their attributes."""
    position = 0
    while (start := text.find("<", position)) >= 0:
        if text.startswith("<!--", start):
            if (end := text.find("-->", start + 4)) < 0:
                return
            position = end + 3
            continue
        opened = _NAME.match(text, start)
        if opened is None:
            position = start + 1
            continue
        name = opened[1].lower()
        rest = _REST.match(text, opened.end(), opened.end() + _LONGEST_TAG)
        if rest is None:  # longer than any tag, or never closed
            position = opened.end() + _LONGEST_TAG
            continue
        if name in _TOLD:
            yield name, _attributes(rest[0])
        position = rest.end()
        if name in _RAW:
            closed = _RAW[name].search(text, position)
            if closed is None:
                return
            position = closed.end()


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(text):
        found.setdefault(match[1].lower(), match[2] or match[3] or match[4] or "")
    return found
