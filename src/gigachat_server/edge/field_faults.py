"""What is wrong with a field, in the words of the API rather than those of the library that found it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Any

import msgspec

LONGEST_FIELD = 200  # characters of a field's path that an error repeats
BODY = "body"  # the field that is named where the body as a whole is wrong

_TYPES = {
    "str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false", "object": "an object",
    "array": "an array", "null": "null",
}  # fmt: skip
_LENGTHS = {"str": "character", "array": "entry", "object": "field"}
_MANY = {"entry": "entries"}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_WRONG_LENGTH = re.compile(r"Expected `(str|array|object)` of length (>=|<=) (\d+)")
_OUT_OF_BOUNDS = re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (-?[\d.e+]+)")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_REQUIRED = re.compile(r"Object missing required field `(.*)`", re.DOTALL)


def located(error: msgspec.ValidationError, field: str, wanted: Any = None) -> tuple[str, str]:
    """The field at fault, below `field`, and the sentence about it. `wanted`: the type that was asked for, where it is known."""
    said, _, path = str(error).partition(" - at `$")
    where = (field + path.rstrip("`")).lstrip(".")[:LONGEST_FIELD]
    for pattern, message in ((_UNKNOWN, "Unknown field."), (_REQUIRED, "Required.")):
        if found := pattern.match(said):
            return f"{where}.{found[1]}".lstrip(".")[:LONGEST_FIELD], message
    return where or BODY, plain(said, () if path else choices(wanted))


def plain(said: str, words: Collection[str] = ()) -> str:
    """msgspec's sentence as one that says what to send."""
    if found := _WRONG_TYPE.match(said):
        return f"Must be {_kinds(found[1])}, not {_kinds(found[2])}."
    if found := _WRONG_LENGTH.match(said):
        if (found[2], found[3]) == (">=", "1"):
            return "Must not be empty."
        unit = _LENGTHS[found[1]]
        return f"Must have {_BOUNDS[found[2]]} {found[3]} {unit if found[3] == '1' else _MANY.get(unit, unit + 's')}."
    if found := _OUT_OF_BOUNDS.match(said):
        return f"Must be {_BOUNDS[found[1]]} {found[2].removesuffix('.0')}."
    if said.startswith("Invalid enum value"):
        return f"Must be {' or '.join(words)}." if words else "Is none of the words that are allowed here."
    if said.startswith(("Integer value out of range", "Number out of range")):
        return "Is out of the range of numbers."
    return said.rstrip(".") + "."


def unknown_field(name: str, known: Collection[str]) -> str:
    """What to send instead of a field that there is not."""
    near = difflib.get_close_matches(name[:64].casefold(), known, 1, 0.6)
    return f"Unknown field. Did you mean {near[0]}?" if near else f"Unknown field. There are {', '.join(known)}."


def choices(wanted: Any) -> list[str]:
    """The words that a type allows."""
    if wanted is None:
        return []
    kinds = [msgspec.inspect.type_info(wanted)]
    words: list[str] = []
    for kind in kinds:
        if isinstance(kind, msgspec.inspect.Metadata):
            kinds.append(kind.type)
        elif isinstance(kind, msgspec.inspect.UnionType):
            kinds += kind.types
        elif isinstance(kind, msgspec.inspect.LiteralType):
            words += [str(value) for value in kind.values if value is not None]
        elif isinstance(kind, msgspec.inspect.NoneType):
            words.append("null")
    return words


def example(wanted: Any) -> str:
    """A body of that type with what it requires."""
    fields = msgspec.structs.fields(wanted) if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct) else ()
    named = [field.encode_name for field in fields if field.required] or [field.encode_name for field in fields][:1]
    return "{" + ", ".join(f'"{name}": ...' for name in named) + "}"


def _kinds(said: str) -> str:
    return " or ".join(_TYPES.get(each.strip(), each.strip()) for each in said.split("|"))
