"""The languages that gigachat knows by name."""

from __future__ import annotations

from typing import Literal, get_args

Language = Literal[
    "en", "de", "fr", "es", "it", "pt", "nl", "ru", "zh", "ja", "ko", "ar", "he", "fa", "hi", "tr", "pl", "sv", "da", "no",
    "fi", "hu", "ro", "el", "id", "vi", "th", "uk", "cs",
]  # fmt: skip
LANGUAGES: tuple[Language, ...] = get_args(Language)
