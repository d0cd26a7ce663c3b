"""Forms for what can be set of a chatbot, made from the types that say what may be set.

Idea: a field of a form names a field of `ChatbotConfig` (or of another struct) by its path. Its kind, bounds, choices and hint
are those of the type, which the API's reference has too, so a form never says anything else. What was typed becomes the same
patch that PATCH takes, and is checked by the same code. Pure.

Invariant: a form changes the fields that it shows and no others; text that was refused is shown again as it was typed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import inspect

from gigachat_server import records
from gigachat_server.errors import FieldError, InvalidRequest

Kind = Literal["text", "area", "number", "choice", "switch", "lines", "spans", "gate"]

_LONG_PROSE = 5_000
_LONG_TEXT = 300  # characters, from which on a text gets an area of several lines
_NUMBER = "Must be a number."
_SPANS = "Must be times such as 09:00–17:00, and commas between them."
_SPAN = re.compile(r"(\d{1,2})(?::(\d\d))?\s*[-–—]\s*(\d{1,2})(?::(\d\d))?")


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One control. A `gate` switches the fields below its path on; off, all of them are null. `spans` are parts of a day."""

    path: str
    label: str
    kind: Kind
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    least: float | None = None
    most: float | None = None
    is_whole: bool = False
    is_optional: bool = False  # empty stands for null
    longest: int | None = None
    placeholder: str = ""
    rows: int = 4  # of an area, before somebody makes it larger
    otherwise: str = ""  # what it holds where nothing is stored, behind a gate that is closed

    @property
    def id(self) -> str:
        return self.path.replace(".", "-")


class Control(msgspec.Struct, frozen=True):
    """A field with what it holds, as text, and what is wrong with that."""

    field: Field
    value: str
    problem: str = ""


Controls = Mapping[str, Control]


def field(of: type[msgspec.Struct], path: str, label: str, *, choices: Mapping[str, str] | None = None, **more: Any) -> Field:
    """The control for that path of the struct. `choices`: what its literals are called."""
    kind_of, hint, otherwise = _resolve(of, path)
    hint = hint.replace("null:", "empty:")  # as it is in a form
    given: dict[str, Any] = {"path": path, "label": label, "hint": hint, "otherwise": otherwise, **_facts(kind_of)}
    if given["kind"] == "choice":
        names = choices or {}
        given["choices"] = tuple((value, names.get(value, _words(value))) for value, _ in given["choices"])
        if given.get("is_optional"):
            given["choices"] = (("", names.get("", "default")), *given["choices"])
    return Field(**{**given, **more})


def fields_of(of: type[msgspec.Struct], labels: Mapping[str, str] = {}, *, but: Sequence[str] = ()) -> tuple[Field, ...]:
    """A control for each field of a flat struct, in its order."""
    return tuple(
        field(of, each.encode_name, labels.get(each.encode_name, _words(each.encode_name)))
        for each in msgspec.structs.fields(of)
        if each.encode_name not in but
    )


def show(fields: Sequence[Field], held: Any) -> dict[str, Control]:
    """The controls as they are for what is stored."""
    closed = tuple(f"{each.path}." for each in fields if each.kind == "gate" and _value(held, each.path) is None)
    return {
        each.path: Control(each, each.otherwise if each.path.startswith(closed) else _text(each, _value(held, each.path)))
        for each in fields
    }


def show_again(fields: Sequence[Field], form: Mapping[str, str], errors: Sequence[FieldError]) -> dict[str, Control]:
    """The controls with what was typed, each with its problem."""
    found: dict[str, str] = {}
    for error in errors:
        name = _owner(fields, error.field)
        if name is not None:
            found.setdefault(name, error.message)
    return {each.path: Control(each, form.get(each.path, ""), found.get(each.path, "")) for each in fields}


def elsewhere(fields: Sequence[Field], errors: Sequence[FieldError]) -> list[str]:
    """Problems that none of the controls can show."""
    return [f"{error.field}: {error.message}" for error in errors if _owner(fields, error.field) is None]


def patch_of(fields: Sequence[Field], form: Mapping[str, str]) -> dict[str, Any]:
    """What was typed, as a patch. Raises `InvalidRequest` for what is no value of its kind."""
    patch: dict[str, Any] = {}
    errors: list[FieldError] = []
    closed = tuple(f"{each.path}." for each in fields if each.kind == "gate" and each.path not in form)
    for each in fields:
        if each.path.startswith(closed):
            continue
        if each.kind == "gate":
            if each.path not in form:
                _put(patch, each.path, None)
            continue
        try:
            _put(patch, each.path, _parsed(each, form.get(each.path, "")))
        except ValueError as error:
            errors.append(FieldError(each.path, str(error)))
    if errors:
        raise InvalidRequest(errors=tuple(errors))
    return patch


# --- from a type to a control ---


@functools.cache
def _resolve(of: type[msgspec.Struct], path: str) -> tuple[inspect.Type, str, str]:
    """The type of what the path names, its description, and its default as text, if that is a number or a text."""
    kind_of: inspect.Type = inspect.type_info(of)
    hint = otherwise = ""
    for step in path.split("."):
        struct = _struct(kind_of)
        found = next(each for each in struct.fields if each.encode_name == step)
        kind_of, hint = found.type, ""
        otherwise = str(found.default) if isinstance(found.default, int | float | str) else ""
        while isinstance(kind_of, inspect.Metadata):
            hint = hint or (kind_of.extra_json_schema or {}).get("description", "")
            kind_of = kind_of.type
    return kind_of, hint, otherwise


def _struct(kind_of: inspect.Type) -> inspect.StructType:
    bare = _bare(kind_of)
    assert isinstance(bare, inspect.StructType), kind_of
    return bare


def _bare(kind_of: inspect.Type) -> inspect.Type:
    """Without what describes it, and without null."""
    while isinstance(kind_of, inspect.Metadata):
        kind_of = kind_of.type
    if isinstance(kind_of, inspect.UnionType):
        return _bare(next(each for each in kind_of.types if not isinstance(each, inspect.NoneType)))
    return kind_of


def _facts(kind_of: inspect.Type) -> dict[str, Any]:
    is_optional = isinstance(kind_of, inspect.UnionType)
    match _bare(kind_of):
        case inspect.BoolType():
            return {"kind": "switch"}
        case inspect.IntType(ge=least, le=most):
            return {"kind": "number", "least": least, "most": most, "is_whole": True, "is_optional": is_optional}
        case inspect.FloatType(ge=least, le=most):
            return {"kind": "number", "least": least, "most": most, "is_optional": is_optional}
        case inspect.LiteralType(values=values):
            return {"kind": "choice", "choices": tuple((str(value), "") for value in values), "is_optional": is_optional}
        case inspect.VarTupleType(item_type=inspect.StructType(cls=records.OpenSpan)):
            return {"kind": "spans", "placeholder": "closed"}
        case inspect.VarTupleType():
            return {"kind": "lines"}
        case inspect.StructType():
            return {"kind": "gate", "is_optional": True}
        case inspect.StrType(max_length=longest):
            kind = "area" if longest is not None and longest >= _LONG_TEXT else "text"
            rows = 12 if longest is not None and longest > _LONG_PROSE else 4
            return {"kind": kind, "longest": longest, "is_optional": is_optional, "rows": rows}
        case other:
            raise TypeError(f"No control for {other}.")


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


# --- from a value to a text and back ---


def _value(held: Any, path: str) -> Any:
    for step in path.split("."):
        if held is None:
            return None
        held = getattr(held, step)
    return held


def _text(of: Field, value: Any) -> str:
    if of.kind == "gate":
        return "" if value is None else "true"
    if value is None:
        return ""
    if of.kind == "switch":
        return "true" if value else ""
    if of.kind == "lines":
        return "\n".join(str(each) for each in value)
    if of.kind == "spans":
        return ", ".join(f"{each.from_}–{each.until}" for each in value)
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _parsed(of: Field, text: str) -> Any:
    """Raises `ValueError`, with what is wrong."""
    if of.kind == "switch":
        return text == "true"
    if of.kind == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if of.kind == "spans":
        return [_span(each.strip()) for each in text.split(",") if each.strip()]
    if of.kind in ("text", "area"):
        text = text.replace("\r\n", "\n")  # as browsers send the ends of lines
        return None if of.is_optional and not text.strip() else text
    if not text.strip():
        if of.is_optional:
            return None
        raise ValueError("Required.")
    return _number(text.strip(), is_whole=of.is_whole) if of.kind == "number" else text


def _span(text: str) -> dict[str, str]:
    """`9-17` as well as `09:00–17:00`."""
    found = _SPAN.fullmatch(text) if text.isascii() or not text.strip("0123456789: -–—") else None
    if found is None:
        raise ValueError(_SPANS)
    return {"from": f"{found[1]:0>2}:{found[2] or '00'}", "until": f"{found[3]:0>2}:{found[4] or '00'}"}


def _number(text: str, *, is_whole: bool) -> float:
    if not text.isascii() or len(text) > 40:
        raise ValueError(_NUMBER)
    try:
        number = float(text)
    except ValueError:
        raise ValueError(_NUMBER) from None
    if not -1e15 < number < 1e15:
        raise ValueError(_NUMBER)
    if not is_whole:
        return number
    if number != int(number):
        raise ValueError("Must be a whole number.")
    return int(number)


def _put(patch: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for step in above:
        patch = patch.setdefault(step, {})
    patch[last] = value


def _owner(fields: Sequence[Field], name: str) -> str | None:
    """The control that a problem is shown beside: it may be about a part of what the control holds."""
    paths = sorted((each.path for each in fields), key=len, reverse=True)
    return next((path for path in paths if name == path or name.startswith((f"{path}.", f"{path}["))), None)
