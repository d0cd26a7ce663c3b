"""What the widget says by itself, in each of its languages: one file of JSON a language, all with the same keys."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent / "locales"
DEFAULT = "en"
RIGHT_TO_LEFT = frozenset({"ar", "he", "fa"})
_MOST_WANTED = 20  # of an Accept-Language that are looked at


class Strings(msgspec.Struct, frozen=True):
    locale: str
    words: Mapping[str, str]

    @property
    def direction(self) -> str:
        return "rtl" if self.locale in RIGHT_TO_LEFT else "ltr"


@functools.cache
def locales() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


@functools.cache
def _load(locale: str) -> Strings:
    return Strings(locale, msgspec.json.decode((FOLDER / f"{locale}.json").read_bytes(), type=dict[str, str]))


def strings(*wanted: str) -> Strings:
    """In the first of these languages that there is: tags such as `de-AT`, or the value of an `Accept-Language`."""
    for header in wanted:
        for tag in header.split(",", _MOST_WANTED)[:_MOST_WANTED]:
            locale = tag.partition(";")[0].strip().partition("-")[0].lower()
            locale = {"iw": "he"}.get(locale, locale)
            if locale in locales():
                return _load(locale)
    return _load(DEFAULT)
