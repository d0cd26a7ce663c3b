"""JSON columns: how every noun reads what is in one, whichever version wrote it, and writes it back unharmed.

Idea: nodes of two versions share a store during an upgrade, and a roll-back finds rows of the later version. So a record is
read leniently, where a request is read strictly by the same types (`api/`). A usual row takes one pass of msgspec; only one
that does not fit is looked at field by field. The later version's fields never enter a record: they stay in the row.

Invariants: reading never fails, so one row cannot take down a list of others; and a rewrite changes what this version was
told to change and nothing else, byte for byte.

What is read, where a row does not fit (docs/decisions/0031-records-are-lenient.md has the reasons):

    an unknown field                                not read
    a missing field                                 its default
    a number or a length above today's maximum      as it is: limits guard requests, the code has none of its own
    a number below today's minimum                  the minimum
    an unknown choice, another form                 the field's default; in a list, all but this element
    a struct of which a required field is missing   as another form
    anything else                                   what the column says stands for it
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")

_log = logging.getLogger("gigachat.store")

_Fields = dict[str, msgspec.Raw]
_decode_fields = msgspec.json.Decoder(_Fields).decode


class AsStored(tuple[T, ...]):
    """A list together with the JSON it was read from, for records that are written into another row: `json` goes there."""

    json: str

    @classmethod
    def of(cls, items: Iterable[T], json: str) -> AsStored[T]:
        made = cls(items)
        made.json = json
        return made


class JsonColumn(Generic[T]):
    """A column that holds a `kind`, such as `chatbots.config`; `otherwise` makes what stands for one that tells nothing.

    `is_numbered`: a list to whose places something else refers, so that it ends before the first element that cannot be read.
    """

    def __init__(self, name: str, kind: type[T], *, otherwise: Callable[[], T], is_numbered: bool = False) -> None:
        self._name = name
        self._decode = msgspec.json.Decoder(kind).decode
        self._kind = inspect.type_info(kind)
        self._otherwise = otherwise
        self._is_numbered = is_numbered

    def read(self, stored: str, row: str) -> T:
        """What this version understands of it. `row` names the row in the log."""
        try:
            return self._decode(stored)
        except (msgspec.DecodeError, RecursionError):  # a ValidationError is one, too
            return self._read_leniently(stored, row)

    def write(self, value: T) -> str:
        return value.json if isinstance(value, AsStored) else msgspec.json.encode(value).decode()

    def rewrite(self, stored: str, value: T, row: str) -> str:
        """The column with that value. What this version does not know of it, or leaves as it reads it, stays as it is."""
        return bytes(_rewritten(msgspec.Raw(stored.encode()), self.read(stored, row), value)).decode()

    def _read_leniently(self, stored: str, row: str) -> T:
        misread = _Misread()
        try:
            data = msgspec.json.decode(stored)
            if self._is_numbered and isinstance(self._kind, inspect.VarTupleType | inspect.ListType):
                found = _items(data, self._kind, "", misread, is_numbered=True)
            else:
                found = _read(data, self._kind, "", misread)
        except (msgspec.DecodeError, RecursionError, _Unreadable):
            misread.note("")
            found = self._otherwise()
        if misread.places:
            _report(self._name, row, misread.places)
        return found  # type: ignore[no-any-return]


class _Unreadable(Exception):
    """A value has no form that this version knows."""


class _Misread:
    """Where in a column something was read as something else. No values: they may be anybody's words."""

    def __init__(self) -> None:
        self.places: tuple[str, ...] = ()

    def note(self, place: str) -> None:
        self.places = (*self.places, place or "all of it")


@functools.lru_cache(maxsize=1024)
def _report(column: str, row: str, places: tuple[str, ...]) -> None:
    """Log it once, not at every read: the cache remembers what was reported."""
    _log.warning(
        "%s of %s holds what this version does not understand, perhaps of a later one; it is kept, and defaults are used for: %s",
        column,
        row,
        ", ".join(places),
    )


def _read(data: Any, kind: inspect.Type, place: str, misread: _Misread) -> Any:
    """The value, read leniently. Raises `_Unreadable`."""
    match kind:
        case inspect.Metadata():
            return _read(data, kind.type, place, misread)
        case inspect.StructType():
            return _struct(data, kind, place, misread)
        case inspect.UnionType():
            return _one_of(data, kind, place, misread)
        case inspect.VarTupleType() | inspect.ListType():
            return _items(data, kind, place, misread)
        case inspect.IntType() if _is_whole(data):
            return _at_least_minimum(int(data), kind)
        case inspect.FloatType() if isinstance(data, int | float) and not isinstance(data, bool):
            return _at_least_minimum(float(data), kind)
        case inspect.StrType() if isinstance(data, str) and len(data) >= (kind.min_length or 0):
            return data
        case inspect.LiteralType() if isinstance(data, str) and data in kind.values:
            return data
        case inspect.BoolType() if isinstance(data, bool):
            return data
        case inspect.NoneType() if data is None:
            return None
        case inspect.DictType() if isinstance(data, dict):
            return data
    raise _Unreadable


def _struct(data: Any, kind: inspect.StructType, place: str, misread: _Misread) -> Any:
    try:
        return kind.cls(**_fields(data, kind, place, misread))
    except _Unreadable:
        if not hasattr(kind.cls, "unreadable"):
            raise
        misread.note(place)
        return kind.cls.unreadable()


def _fields(data: Any, kind: inspect.StructType, place: str, misread: _Misread) -> dict[str, Any]:
    if kind.array_like and isinstance(data, list):
        data = dict(zip((field.encode_name for field in kind.fields), data))  # noqa: B905 - of either there may be more
    elif kind.array_like or not isinstance(data, dict):
        raise _Unreadable
    found = {}
    for field in kind.fields:
        inner = f"{place}.{field.encode_name}".lstrip(".")
        if field.encode_name not in data:
            if field.required:
                raise _Unreadable
            continue
        try:
            found[field.name] = _read(data[field.encode_name], field.type, inner, misread)
        except _Unreadable:
            # What must not be taken for its default, such as a restriction, says what stands for it instead.
            if field.required or hasattr(kind.cls, "unreadable"):
                raise
            misread.note(inner)
    return found


def _one_of(data: Any, kind: inspect.UnionType, place: str, misread: _Misread) -> Any:
    for each in kind.types:
        try:
            return _read(data, each, place, misread)
        except _Unreadable:
            continue
    raise _Unreadable


def _items(
    data: Any, kind: inspect.VarTupleType | inspect.ListType, place: str, misread: _Misread, *, is_numbered: bool = False
) -> Any:
    """Those that can be read. A list of which none can be is not taken for an empty one."""
    if not isinstance(data, list):
        raise _Unreadable
    found = []
    for number, each in enumerate(data):
        try:
            found.append(_read(each, kind.item_type, f"{place}[{number}]", misread))
        except _Unreadable:
            misread.note(f"{place}[{number}]")
            if is_numbered:
                break
    if data and not found:
        raise _Unreadable
    return found if isinstance(kind, inspect.ListType) else tuple(found)


def _is_whole(data: Any) -> bool:
    return (isinstance(data, int) and not isinstance(data, bool)) or (isinstance(data, float) and data.is_integer())


def _at_least_minimum(number: float, kind: inspect.IntType | inspect.FloatType) -> float:
    if kind.gt is not None and number <= kind.gt:
        raise _Unreadable  # there is no least number above it
    return number if kind.ge is None else max(number, kind.ge)


def _rewritten(stored: msgspec.Raw, was: Any, value: Any) -> msgspec.Raw:
    """`was`: what is read of the stored value."""
    if not isinstance(value, msgspec.Struct) or value.__struct_config__.array_like:
        return stored if value == was else _raw(value)
    try:
        held = _decode_fields(stored)
    except msgspec.DecodeError:  # no object
        return stored if value == was else _raw(value)
    for name, stored_as in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
        new = getattr(value, name)
        held[stored_as] = _rewritten(held[stored_as], getattr(was, name), new) if stored_as in held else _raw(new)
    return _raw(held)


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
