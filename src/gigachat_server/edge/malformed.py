"""Why a body is not JSON: what the caller probably did, and what to write instead. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

_FORM = re.compile(r"[\w.\[\]%+-]{1,100}=[^{}\"]*")
_MULTIPART = re.compile(r"--\S+\r?\ncontent-disposition:", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_WORDS = {"True": "true", "False": "false", "None": "null", "undefined": "null", "NULL": "null", "TRUE": "true", "FALSE": "false"}
_QUOTES = "\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb`"
_FAULTS = {
    "Unterminated string": "a text has no closing quote",
    "Invalid control character": "a line break or a tab within a text is written \\n or \\t",
    "Invalid \\": "a backslash within a text is written twice, \\\\",
    "Expecting ':'": "a colon is missing between a name and its value",
    "Expecting ','": "a comma, or a closing bracket, is missing",
    "Extra data": "something stands behind the end of the JSON; send one object",
}


def why_malformed(raw: bytes, example: str) -> str:
    """One sentence or two. `example` is a body that this call takes."""
    if not raw.strip():
        return f"The body is empty; send a JSON object such as {example}."
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return f"The body is not UTF-8 from byte {error.start + 1} on; send JSON in UTF-8."
    start = text.lstrip()
    if _MULTIPART.match(start) or _FORM.fullmatch(start.strip()):
        return f"The body is a form, but this call takes JSON, such as {example}."
    if start.startswith("<"):
        return f"The body is XML or HTML, but this call takes JSON, such as {example}."
    try:
        json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return f"The body is not valid JSON: {_fault(error)} (line {error.lineno}, column {error.colno})."
    except ValueError as error:
        return f"The body is not valid JSON: {error} is not a JSON number; send a number or null."
    except RecursionError:
        return "The body is nested too deeply."
    return "The body is not valid JSON."


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _fault(error: json.JSONDecodeError) -> str:
    for message, fault in _FAULTS.items():
        if error.msg.startswith(message):
            is_cut = message == "Expecting ','" and error.pos >= len(error.doc.rstrip())
            return "it ends before its last bracket is closed" if is_cut else fault
    found, before = error.doc[error.pos : error.pos + 1], error.doc[: error.pos].rstrip()[-1:]
    word = _WORD.match(error.doc, error.pos)
    if not found.strip():
        return "it ends too early"
    if found == "'" or found in _QUOTES:
        return 'names and texts stand in straight double quotes, "'
    if (found in "]}" and before == ",") or (before == "{" and found == ","):
        return "there is a comma too many before it"
    if found in "/#":
        return "JSON has no comments"
    if word and word[0] in _WORDS:
        return f"write {_WORDS[word[0]]}, not {word[0]}"
    if word and "property name" in error.msg:
        return "names stand in double quotes"
    if word:
        return "texts stand in double quotes"
    return "a value is missing or not written as JSON"
