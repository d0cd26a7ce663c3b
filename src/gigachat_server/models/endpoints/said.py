"""Reads what an endpoint says in an error, in any form; no I/O.

An error comes as an object, an object in a list (Gemini), a text (xAI), a text that is JSON again (gateways that pass on what
another endpoint said), a list of fields (FastAPI, Mistral), or not as JSON. `said` reads them all into one form. The
result is only compared with known words, never passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gigachat_server.models.endpoints.mended_json import decode_anything

_DEEPEST = 8
_LONGEST_PROSE = 16_384
_SHORTEST_ECHO = 20  # characters: a shorter line of a prompt may as well be the endpoint's own word
# Keys under which some servers send back what they were sent, or what has nothing to do with the error.
_ECHOES = frozenset(
    {"input", "received", "prompt", "messages", "request", "body", "url", "help", "documentation", "ctx", "request_id"}
)
_PARAMETERS = frozenset(
    {"param", "params", "parameter", "parameters", "field", "fields", "argument", "property", "path", "instancepath", "loc"}
)
_CODES = frozenset({"code", "type", "status", "error_code", "errorcode", "error_type", "reason", "__type", "status_code"})


class ErrorContent(msgspec.Struct, frozen=True):
    """`codes`: its codes and types, in lower case; `parameters`: what it names as a field; `prose`: all that is for people.

    `own_prose` is the same without what it repeats of the prompt.
    """

    codes: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    prose: str = ""
    own_prose: str = ""

    @property
    def is_nothing(self) -> bool:
        return not (self.codes or self.parameters or self.prose)

    @property
    def status(self) -> int | None:
        """The HTTP status that it tells as a code."""
        for code in self.codes:
            if len(code) == 3 and code.isdecimal() and code.isascii() and code[0] in "45":
                return int(code)
        return None


def said(body: bytes | str, sent: Sequence[str] = ()) -> ErrorContent:
    """What the body of an error says. `sent`: texts that it may repeat."""
    reader = _Reader()
    decoded = decode_anything(body.encode("utf-8", "replace") if isinstance(body, str) else body)
    if isinstance(decoded, dict | list):
        reader.read(decoded, 0)
    else:
        reader.prose.append(body.decode("utf-8", "replace") if isinstance(body, bytes) else body)
    return reader.result(sent)


def said_in(error: Any, sent: Sequence[str] = ()) -> ErrorContent:
    """The same of an error that was decoded already."""
    reader = _Reader()
    reader.read(error, 0)
    return reader.result(sent)


class _Reader:
    def __init__(self) -> None:
        self.codes: list[str] = []
        self.parameters: list[str] = []
        self.prose: list[str] = []

    def read(self, value: Any, depth: int, key: str = "") -> None:
        if depth > _DEEPEST or value is None or isinstance(value, bool):
            return
        if isinstance(value, dict):
            for name, each in list(value.items())[:100]:
                if name.lower() not in _ECHOES:
                    self.read(each, depth + 1, name.lower())
        elif isinstance(value, list):
            if key == "loc" or (key in _PARAMETERS and all(isinstance(each, str | int) for each in value)):
                self._read_path(value)
                return
            for each in value[:100]:
                self.read(each, depth + 1, key)
        elif isinstance(value, str):
            self._read_text(value.strip(), depth, key)
        elif isinstance(value, int | float) and key in _CODES and value:
            self.codes.append(str(int(value)) if value == value and abs(value) < 1e9 else "")

    def _read_path(self, path: list[Any]) -> None:
        """Where a validator found it: `["body", "stream_options"]`, or `["body", "messages", 0, "user", "name"]`."""
        names = [str(each) for each in path if isinstance(each, str) and each not in ("body", "query")]
        self.parameters += names[:1] if names[:1] != ["messages"] else [".".join(str(each) for each in path if each != "body")]

    def _read_text(self, text: str, depth: int, key: str) -> None:
        if not text:
            return
        if text[0] in "{[" and isinstance(inner := decode_anything(text.encode("utf-8", "replace")), dict | list):
            self.read(inner, depth + 1, key)
            return
        if key in _PARAMETERS:
            self.parameters.append(text.strip("/$.").replace("/", ".").removeprefix("body."))
            return
        if key in _CODES and len(text) <= 100:
            self.codes.append(text.lower())
        self.prose.append(text)
        brace = text.find("{")
        if brace > 0 and isinstance(inner := decode_anything(text[brace : text.rfind("}") + 1].encode("utf-8", "replace")), dict):
            self.read(inner, depth + 1, key)

    def result(self, sent: Sequence[str]) -> ErrorContent:
        prose = own_prose = "\n".join(self.prose)[:_LONGEST_PROSE]
        for text in sent:
            for line in text.splitlines():
                if len(line := line.strip()) >= _SHORTEST_ECHO:
                    own_prose = own_prose.replace(line, " ")
        return ErrorContent(tuple(code for code in self.codes if code), tuple(self.parameters), prose, own_prose)
