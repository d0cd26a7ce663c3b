"""What DOCX, PPTX and XLSX have in common: parts in a zip file that name each other, charts and diagrams among them.

Idea: elements are recognised only by their local names, because namespaces differ between programs and editions of the
standard. References to missing parts are ignored, as office programs do. Invariant: an unreadable part gives a warning;
entities and document types are refused before parsing.
"""

from __future__ import annotations

import itertools
import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import msgspec

from gigachat_server.errors import FileDamaged
from gigachat_server.knowledge.extraction import archive
from gigachat_server.knowledge.extraction.extracted import TextWriter, Warnings
from gigachat_server.knowledge.extraction.rows import write_table

_MOST_POINTS = 10_000  # of a chart
_OFF = frozenset(("0", "false", "off", "none"))


class Relationship(msgspec.Struct, frozen=True):
    """`target` is the name of a part, or, of what is outside the file, an address."""

    id: str
    kind: str
    target: str
    is_external: bool


class Package:
    """An office document as its parts; a context manager."""

    def __init__(self, data: bytes, warnings: Warnings) -> None:
        self._archive = archive.opened(data)
        archive.refuse_type_declarations(self._archive)
        self._names = {name.lower(): name for name in self._archive.namelist()}
        self._warnings = warnings
        self._related: dict[str, dict[str, Relationship]] = {}

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def __contains__(self, part: str) -> bool:
        return part.lower() in self._names

    def main(self, *usual: str) -> str:
        """The part with the document itself. Raises `FileDamaged`."""
        for related in self.related("").values():
            if related.kind == "officeDocument" and related.target in self:
                return related.target
        found = next((name for name in usual if name in self), None)
        if found is None:
            raise FileDamaged("It lacks the part with its text: save it again, and push that.")
        return found

    def related(self, part: str) -> dict[str, Relationship]:
        """What the part names, by the ids under which it does; kinds without what stands before their last slash."""
        if part not in self._related:
            folder, name = posixpath.split(part)
            root = self._parsed(posixpath.join(folder, "_rels", f"{name}.rels"))
            found = {}
            for each in [] if root is None else root:
                target, is_external = each.get("Target", ""), each.get("TargetMode") == "External"
                if not is_external:
                    target = posixpath.normpath(posixpath.join("/", folder, unquote(target))).lstrip("/")
                kind = each.get("Type", "").rpartition("/")[2]
                found[each.get("Id", "")] = Relationship(each.get("Id", ""), kind, target, is_external)
            self._related[part] = found
        return self._related[part]

    def first(self, part: str, kind: str) -> str | None:
        """The first part of that kind that the part names and that is there."""
        return next((each.target for each in self.related(part).values() if each.kind == kind and each.target in self), None)

    def bytes_of(self, part: str) -> bytes | None:
        name = self._names.get(part.lower())
        return None if name is None else self._archive.read(name)

    def xml(self, part: str | None) -> Any:
        """The root element of a part; None, with a warning, if it cannot be read; None if the part does not exist."""
        if part is None or part not in self:
            return None
        root = self._parsed(part)
        if root is None:
            self._warnings.add("parts_skipped", part)
        return root

    def stream(self, part: str) -> Any:
        return self._archive.open(self._names[part.lower()])

    @property
    def title(self) -> str | None:
        """As its properties have it."""
        root = self._parsed(self.first("", "core-properties") or "docProps/core.xml")
        return None if root is None else next((each.text for each in root if local(each) == "title" and each.text), None)

    def _parsed(self, part: str) -> Any:
        from lxml import etree

        name = self._names.get(part.lower())
        if name is None:
            return None
        try:
            return etree.fromstring(self._archive.read(name), parser())
        except (etree.XMLSyntaxError, zipfile.BadZipFile, ValueError):
            return None


def parser() -> Any:
    from lxml import etree

    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True,
                           huge_tree=True)  # fmt: skip


def local(element: Any) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def attribute(element: Any, name: str, default: str = "") -> str:
    """An attribute, whatever its namespace."""
    if (value := element.get(name)) is not None:
        return str(value)
    return next((str(value) for key, value in element.attrib.items() if key.rpartition("}")[2] == name), default)


def child(element: Any, *path: str) -> Any:
    """The first child of that name, and of it the first of the next one, and so on."""
    for name in path:
        element = None if element is None else next((each for each in element if local(each) == name), None)
    return element


def descendants(element: Any, *names: str) -> Iterator[Any]:
    return (each for each in element.iter() if local(each) in names)


def is_on(properties: Any, name: str) -> bool:
    """Whether a switch such as `<w:b/>` is there, and not turned off."""
    found = child(properties, name) if properties is not None else None
    return found is not None and attribute(found, "val", "1").lower() not in _OFF


def chosen(element: Any) -> Any:
    """Of `mc:AlternateContent`, which says the same in two ways, the one; None if it says nothing."""
    return next((each for each in element if local(each) in ("Choice", "Fallback") and len(each)), None)


def write_chart(package: Package, part: str, writer: TextWriter) -> None:
    """Its title, and what it shows as a table."""
    root = package.xml(part)
    if root is None:
        return
    title = child(root, "chart", "title")
    if title is not None:
        writer.block("".join(each.text or "" for each in descendants(title, "t", "v")))
    names, columns = [""], list[list[str]]()
    for series in descendants(root, "ser"):
        categories = _points(child(series, "cat") if child(series, "cat") is not None else child(series, "xVal"))
        values = _points(child(series, "val") if child(series, "val") is not None else child(series, "yVal"))
        if not columns:
            columns.append(categories)
        names.append(" ".join(_points(child(series, "tx"))))
        columns.append(values)
    rows = [list(cells) for cells in itertools.zip_longest(*columns, fillvalue="")]
    write_table(writer, [names, *rows], header_rows=1)


def _points(element: Any) -> list[str]:
    if element is None:
        return []
    return [each.text or "" for each in itertools.islice(descendants(element, "v"), _MOST_POINTS)]


def write_diagram(package: Package, part: str, writer: TextWriter) -> None:
    """The words of a diagram (SmartArt), in the order in which they were written."""
    root = package.xml(part)
    if root is None:
        return
    writer.end_items()
    for point in descendants(root, "pt"):
        for paragraph in descendants(point, "p"):
            writer.item("".join(each.text or "" for each in descendants(paragraph, "t")))
    writer.end_items()
