"""How well text can be read on a colour (WCAG 2.2): the colours of a widget key are the customer's, its readers are not."""

from __future__ import annotations

from typing import Final

LEAST_CONTRAST: Final = 4.5


def contrast_with_white(colour: str) -> float:
    """Of `#rrggbb`, from 1 to 21."""
    red, green, blue = (_linear(int(colour[place : place + 2], 16) / 255) for place in (1, 3, 5))
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
