"""JSON, JSON lines, notebooks, XML and subtitles: what they say, in the order in which they say it.

Idea: a list of like objects is a table, and anything else lines of names and values, as deep as they are indented. Invariant:
what is not well-formed is read as the plain text that it is, and warned of; nothing is lost for being odd.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gigachat_server.knowledge.extraction.decoding import charset_of, decode
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter
from gigachat_server.knowledge.extraction.ooxml import local, parser
from gigachat_server.knowledge.extraction.rows import write_table

_DEEPEST = 50
_TIME = re.compile(r"^\s*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*-->")
_CUE_TAG = re.compile(r"</?(?:[cibuv]|ruby|rt|lang|font)\b[^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”»)]?$")


def read_json(data: bytes, media_type: str | None, most: int) -> FileText:
    writer = TextWriter(most)
    text = decode(data, declared=charset_of(media_type), warnings=writer.warnings)
    values = _values(text)
    if values is None:
        writer.warnings.add("not_as_declared", "JSON")
        writer.block(text)
    elif (
        len(values) == 1 and isinstance(values[0], dict) and isinstance(values[0].get("cells"), list) and "nbformat" in values[0]
    ):
        _write_notebook(writer, values[0])
    else:
        _write_value(writer, values[0] if len(values) == 1 else values)
    return writer.done(None)


def _values(text: str) -> list[Any] | None:
    """Of one document, or of one on each line; None if it is neither."""
    try:
        return [msgspec.json.decode(text)]
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        pass
    try:
        return [msgspec.json.decode(line) for line in text.split("\n") if line.strip()]
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None


def _write_value(writer: TextWriter, value: Any) -> None:
    if _is_table(value):
        names = list(dict.fromkeys(name for each in value for name in each))
        write_table(writer, [names, *([_scalar(each.get(name)) for name in names] for each in value)], header_rows=1)
        return
    if isinstance(value, list) and value and all(isinstance(each, (dict, list)) for each in value):
        for each in value:
            writer.block("\n".join(_lines(each, 0)))
        return
    if isinstance(value, dict):
        for name, each in value.items():
            if _is_table(each):
                writer.block(f"{name}:")
                _write_value(writer, each)
            else:
                writer.item("\n".join(_lines({name: each}, 0)))
        return
    writer.block("\n".join(_lines(value, 0)))


def _is_table(value: Any) -> bool:
    """A list of objects whose values are neither lists nor objects."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(each, dict) and not any(isinstance(part, (dict, list)) for part in each.values()) for each in value)
    )


def _lines(value: Any, depth: int) -> Iterator[str]:
    indent = "  " * depth
    if depth > _DEEPEST:
        yield indent + msgspec.json.encode(value).decode()
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, (dict, list)) and each:
                yield f"{indent}{name}:"
                yield from _lines(each, depth + 1)
            else:
                yield f"{indent}{name}: {_scalar(each)}"
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, (dict, list)) and each:
                lines = list(_lines(each, depth + 1))
                yield f"{indent}- {lines[0].strip()}"
                yield from lines[1:]
            else:
                yield f"{indent}- {_scalar(each)}"
    else:
        yield indent + _scalar(value)


def _scalar(value: Any) -> str:
    match value:
        case None | [] | {}:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case _:
            return msgspec.json.encode(value).decode()


def _write_notebook(writer: TextWriter, notebook: dict[str, Any]) -> None:
    """What is written and run, and what came of it as text."""
    from gigachat_server.knowledge.extraction.plain import write_markdown

    for cell in notebook["cells"]:
        if not isinstance(cell, dict):
            continue
        source = _joined(cell.get("source"))
        if cell.get("cell_type") == "code":
            writer.block(f"```\n{source}\n```" if source.strip() else "")
            for output in cell.get("outputs") or ():
                data = output.get("data") or {} if isinstance(output, dict) else {}
                text = _joined(output.get("text") or data.get("text/plain")) if isinstance(output, dict) else ""
                writer.block(text)
                if any(str(kind).startswith("image/") for kind in data):
                    writer.warnings.add("images_without_text")
        else:
            write_markdown(writer, source)


def _joined(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else ""


def read_xml(data: bytes, media_type: str | None, most: int) -> FileText:
    from lxml import etree

    writer = TextWriter(most)
    try:
        root = etree.fromstring(data, parser())
    except (etree.XMLSyntaxError, ValueError):
        writer.warnings.add("not_as_declared", "XML")
        writer.block(decode(data, declared=charset_of(media_type), warnings=writer.warnings))
        return writer.done(None)
    for line in _element(root, 0):
        writer.item(line)
    return writer.done(None)


def _element(element: Any, depth: int) -> Iterator[str]:
    """A line for each element that has its own text, with its name and its attributes."""
    indent = "  " * min(depth, _DEEPEST)
    attributes = ", ".join(f"{key.rpartition('}')[2]} {value}" for key, value in element.attrib.items())
    said = " ".join(part for part in [element.text or "", *(each.tail or "" for each in element)] if part.strip())
    is_mixed = bool(said.strip()) and len(element) > 0
    text = " ".join("".join(element.itertext()).split()) if is_mixed else " ".join(said.split())
    name = f"{local(element)} ({attributes})" if attributes else local(element)
    if text or attributes:
        yield f"{indent}{name}: {text}" if text else f"{indent}{name}"
    elif len(element):
        yield f"{indent}{name}:"
    if not is_mixed:
        for each in element:
            if isinstance(each.tag, str):
                yield from _element(each, depth + 1)


def read_subtitles(data: bytes, media_type: str | None, most: int) -> FileText:
    """What is said, in paragraphs, without when."""
    writer = TextWriter(most)
    text = decode(data, declared=charset_of(media_type), warnings=writer.warnings)
    paragraph: list[str] = []
    for cue in _cues(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")):
        paragraph.append(cue)
        if _SENTENCE_END.search(cue) and sum(map(len, paragraph)) > 300:
            writer.block(" ".join(paragraph))
            paragraph = []
    writer.block(" ".join(paragraph))
    return writer.done(None)


def _cues(lines: Iterable[str]) -> Iterator[str]:
    cue: list[str] | None = None
    last = ""
    for line in [*lines, ""]:
        if _TIME.match(line):
            cue = []
        elif not line.strip():
            text = " ".join(cue or ())
            if text and text != last:
                yield text
            last, cue = text or last, None
        elif cue is not None:
            said = _CUE_TAG.sub("", _VOICE.sub(r"\1: ", line)).strip()
            if said:
                cue.append(said)
