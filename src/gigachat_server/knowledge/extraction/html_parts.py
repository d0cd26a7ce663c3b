"""Tells the content of a page from what surrounds it: menus, banners, footers, invisible text.

Idea: an element's name, role or class only makes it suspect. Its contents decide: links and a few words are navigation,
sentences and figures are content, a question about cookies with a button is a banner. Text that a click on a tab or a question
reveals is content too. Invariant: if a page is all navigation, nothing is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SILENT = _names(
    """script style svg object embed canvas audio video map head title meta link base datalist input textarea frame frameset
    iframe param source track area"""
)
_AROUND = _names("nav footer aside menu header dialog")
_AROUND_ROLES = _names("navigation banner contentinfo search complementary dialog alertdialog menu menubar toolbar")
_AROUND_WORDS = _names(
    """nav navbar navigation menu sidebar breadcrumb breadcrumbs footer cookie cookies toc pagination pager skip share sharing
    social newsletter advert advertisement ads banner"""
)
_HOLDERS = _names("div section ul ol p span a table form aside nav header footer")
_UNSEEN = re.compile(
    r"(?:^|\s)(?:sr-only|visually-?hidden|screen-reader(?:-text|-only)?|skip-(?:link|to-content)|skiplink)(?:\s|$)"
)
_LINE_NUMBERS = re.compile(
    r"\b(?:lineno|linenos|linenums?|line-?numbers?(?:-rows)?|gutter|blob-num|hljs-ln-numbers|ln-num)\b", re.I
)
_ICONS = re.compile(r"\b(?:icon|icons|material-icons|material-symbols\S*|fa|fas|far|fab|glyphicon|bi)\b")
_PANELS = re.compile(r"accordion|collaps|tab|panel|answer|faq|toggle|expand|details|read-?more|spoiler|drawer-content", re.I)
_TOGGLES = re.compile(r"accordion|collaps|toggle|faq|question|expand|tab", re.I)
_WORDS = re.compile(r"[a-z]+")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_CONSENT_TOOLS = re.compile(
    r"onetrust|cookiebot|usercentrics|cmplz|didomi|osano|iubenda-cs|cc-window|cookie-?(?:notice|law|consent|banner|bar|popup|modal)"
    r"|truste|qc-cmp|borlabs|klaro|tarteaucitron|consent-?(?:banner|bar|modal|popup|manager|dialog)|gdpr",
    re.I,
)
_CONSENT = re.compile(r"cookie|consent|gdpr|einwillig|datenschutz|traceurs|privacidad", re.I)
_ACCEPT = re.compile(
    r"\b(?:accept|agree|allow|reject|decline|deny|got it|understand|manage|ok|okay|akzeptier|zustimm|ablehn|einverstanden|"
    r"refuser|autoriser|aceptar|rechazar|accett|rifiut|aceitar|recusar|akcept|odrzu|souhlas|přijm|accepteer|weiger|godkän|accepter|"
    r"hyväksy|приня|соглас|kabul|同意|接受|동의)",
    re.I,
)
_SENTENCE = re.compile(r"[.!?。！？](?:\s|$)|\d")
_LONGEST_CONSENT = 2_500
_LONGEST_LABEL = 60
_MOST_LINKS = 0.45  # of the characters of what is around a page, and not a part of it
_LINKS_ALONE = 0.9
_FEWEST_LINKS = 4
_LONGEST_LINK = 30  # characters, of a menu on the average
_FEW = 25  # characters: a page that has no more left was robbed
_LARGEST_PART = 0.7
_SMALLEST_MAIN = 0.25


class PageFilter:
    """Which elements belong to what the page says. `is_all`: all of them that can be seen."""

    def __init__(self, root: Any, controlled: frozenset[str], *, is_all: bool = False) -> None:
        self._root = root
        self._controlled = controlled
        self._is_all = is_all
        self._known: dict[Any, bool] = {}

    def __contains__(self, element: Any) -> bool:
        tag = element.tag
        if not isinstance(tag, str) or tag in SILENT:
            return False
        if element is self._root:
            return True
        if tag == "template":
            return "shadowrootmode" in element.attrib or "shadowroot" in element.attrib
        attributes = element.attrib
        if not attributes and tag not in _AROUND and tag != "button":
            return self._is_all or tag not in ("div", "ul", "ol") or not self._is_bare_menu(element)
        if (known := self._known.get(element)) is None:
            known = self._known[element] = self._is_kept(element, tag)
        return known

    def _is_kept(self, element: Any, tag: str) -> bool:
        if tag == "button":
            return _opens_something(element)
        said = f"{element.get('class', '')} {element.get('id', '')}"
        if are_line_numbers(element):
            return False
        if self._is_hidden(element, said) or _UNSEEN.search(said):
            return False
        if _is_consent(element, said):
            return False
        if self._is_all:
            return True
        if tag in ("nav", "menu") or element.get("role", "") in _AROUND_ROLES:
            return _holds_title(element)
        if tag in ("header", "footer", "aside"):
            return self._is_part(element, tag)
        if tag == "dialog":
            return "open" in element.attrib and not _is_around(element)
        if tag in _HOLDERS and not _AROUND_WORDS.isdisjoint(_WORDS.findall(said.lower())):
            return _holds_title(element) or not _is_around(element)
        return tag not in ("div", "ul", "ol") or not self._is_bare_menu(element)

    def _is_part(self, element: Any, tag: str) -> bool:
        """Of what stands around pages as well as around parts of them: whether it is of a part, or is one."""
        is_inner = any(above.tag in ("main", "article", "section", "blockquote") for above in element.iterancestors())
        if tag == "header":
            return is_inner or _holds_title(element)
        if tag == "footer" and not is_inner:
            return False
        return not _is_around(element)

    def _is_hidden(self, element: Any, said: str) -> bool:
        if element.get("aria-hidden") == "true" and (element.tag in ("i", "a", "svg") or _ICONS.search(said)):
            return True
        hidden = element.get("hidden")
        is_hidden = (hidden is not None and hidden != "until-found") or _HIDDEN.search(element.get("style", "")) is not None
        if not is_hidden:
            return False
        is_panel = element.get("role") == "tabpanel" or "aria-labelledby" in element.attrib or _PANELS.search(said) is not None
        return not is_panel and element.get("id", "") not in self._controlled

    def _is_bare_menu(self, element: Any) -> bool:
        """Whether it is links and nothing else, many and short, and in no part of the page that says something."""
        if self._root.tag in ("main", "article") or any(above.tag in ("main", "article") for above in element.iterancestors()):
            return False
        links = [link for link in element if link.tag == "a"] if element.tag == "div" else [
            link for item in element if item.tag == "li" for link in item if link.tag == "a"
        ]  # fmt: skip
        if len(links) < _FEWEST_LINKS or any(heading in _HEADINGS for heading in (each.tag for each in element)):
            return False
        total, linked = _weights(element)
        return linked >= _LINKS_ALONE * total and total <= _LONGEST_LINK * len(links) and not _SENTENCE.search(_text(element))


_HEADINGS = frozenset(f"h{level}" for level in range(1, 7))


def controlled_ids(body: Any) -> frozenset[str]:
    """The ids of what a click shows."""
    found: set[str] = set()
    for element in body.iter("button", "a", "div", "span", "li", "h2", "h3", "h4", "label", "dt"):
        attributes = element.attrib
        if not attributes:
            continue
        for name in ("aria-controls", "data-target", "data-bs-target", "data-tab", "for"):
            found.update(part.lstrip("#") for part in attributes.get(name, "").split())
        if element.tag == "a" and attributes.get("href", "").startswith("#"):
            found.add(attributes["href"][1:])
    found.discard("")
    return frozenset(found)


def main_part(body: Any, kept_of: Any) -> Any:
    """The part of the page that its text is in: `main`, or its one large `article`, or all of it."""
    mains = [each for each in body.iter("main", "div", "section") if each.tag == "main" or each.get("role") == "main"]
    mains = [each for each in mains if not any(above in mains for above in each.iterancestors())]
    articles = list(body.iter("article"))
    candidate, least = None, 0.0
    if len(mains) == 1:
        candidate, least = mains[0], _SMALLEST_MAIN
    elif not mains and len(articles) == 1:
        candidate, least = articles[0], _LARGEST_PART
    if candidate is None:
        return body
    size = sum(len(part.strip()) for part in candidate.itertext())
    if size >= least * sum(len(part.strip()) for part in body.itertext()) and size:
        return candidate  # the most usual: no more has to be known
    size = sum(map(len, texts(candidate, kept_of(candidate))))
    return candidate if size >= least * sum(map(len, texts(body, kept_of(body)))) and size else body


def is_robbed(root: Any, kept: PageFilter) -> bool:
    """Whether too much was left out: nothing is left, or next to nothing of a page that does not say what its text is."""
    size = 0
    for part in texts(root, kept):
        size += len(part)
        if size >= _FEW:
            return False
    return not size or (size < _FEW and root.tag in ("body", "html"))


def texts(root: Any, kept: PageFilter) -> Iterator[str]:
    """What would be read, without its form."""
    if root in kept:
        yield (root.text or "").strip()
        for child in root:
            yield from texts(child, kept)
            yield (child.tail or "").strip()


def are_line_numbers(element: Any) -> bool:
    """Whether it counts the lines of the code beside it."""
    if element.tag not in ("td", "span", "div", "pre", "a") or not _LINE_NUMBERS.search(element.get("class", "")):
        return False
    return re.search(r"[^\d\s.:]", _text(element)) is None


def _text(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())


def _holds_title(element: Any) -> bool:
    return any(True for _ in element.iter("h1", "main", "article"))


def _weights(element: Any) -> tuple[int, int]:
    """How many characters it has, and how many of them are to be clicked on."""
    total = sum(len(part.strip()) for part in element.itertext())
    linked = sum(len(part.strip()) for link in element.iter("a", "button") for part in link.itertext())
    return max(total, 1), linked


def _is_around(element: Any) -> bool:
    """Whether what it holds is navigation: links, or a few words that are no sentence and tell no figure."""
    total, linked = _weights(element)
    if linked >= _MOST_LINKS * total:
        return True
    if any(True for _ in element.iter("input")) and total < 5 * _LONGEST_LABEL:
        return True  # a search, or a newsletter
    text = _text(element)
    return len(text) < _LONGEST_LABEL and not _SENTENCE.search(text)


def _is_consent(element: Any, said: str) -> bool:
    """Whether it asks to be allowed cookies."""
    if element.tag not in ("div", "section", "aside", "dialog", "form", "p", "footer", "header"):
        return False
    is_tool = _CONSENT_TOOLS.search(said) is not None
    if not is_tool and element.get("role") not in ("dialog", "alertdialog", "region") and not _CONSENT.search(said):
        return False
    text = _text(element)
    if len(text) > _LONGEST_CONSENT or not (is_tool or _CONSENT.search(text)):
        return False
    return any(_ACCEPT.search(_text(each)) for each in element.iter("button", "a", "input"))


def _opens_something(button: Any) -> bool:
    """Whether it is the head of what is shown on a click, such as a question, rather than something to do."""
    attributes = button.attrib
    above = button.getparent()
    if above is not None and (above.tag in _HEADINGS or above.tag in ("summary", "dt", "legend")):
        return True
    if attributes.get("role") == "tab":
        return True
    said = f"{attributes.get('class', '')} {attributes.get('id', '')}"
    is_toggle = "aria-expanded" in attributes or "aria-controls" in attributes or "data-bs-target" in attributes
    is_menu = any(each.tag in ("nav", "header", "form") for each in button.iterancestors()) or "menu" in said.lower()
    return (is_toggle or _TOGGLES.search(said) is not None) and not is_menu
