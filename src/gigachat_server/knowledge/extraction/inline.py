"""What a text looks like that is raised, struck out, a sign of a font, or a formula, in plain characters, pure."""

from __future__ import annotations

from typing import Any

_RAISED = str.maketrans("0123456789+-=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ")
_SYMBOLS = {"F0B7": "•", "F0A7": "▪", "F0FC": "✓", "F0FE": "☒", "F0A8": "☐", "F0E0": "→", "F0DF": "←", "F0D8": "➢", "F02D": "-"}
_FIRST_OF_FONT, _LAST_OF_FONT = 0xF000, 0xF0FF  # where fonts of signs have theirs


def raised(text: str) -> str:
    """`9` with a raised `1` is no `91`. What is not a number, such as the `th` of `5th`, stays as it is."""
    return text.translate(_RAISED) if text.strip().strip("+-=()").isdecimal() else text


def struck(text: str) -> str:
    """As Markdown has it: what is struck out is not what holds, and yet it is there to be seen."""
    inner = text.strip()
    return text.replace(inner, f"~~{inner}~~", 1) if inner else text


def symbol(code: str) -> str:
    """A sign of a font of signs."""
    code = code.upper()
    if code in _SYMBOLS:
        return _SYMBOLS[code]
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    if _FIRST_OF_FONT <= number <= _LAST_OF_FONT:
        return "" if number < _FIRST_OF_FONT + 0x20 or number > _FIRST_OF_FONT + 0x7E else chr(number - _FIRST_OF_FONT)
    return chr(number) if 0x20 <= number < 0xD800 else ""


def formula(element: Any) -> str:
    """A formula (OMML, or MathML) on one line."""
    name = str(element.tag).rpartition("}")[2]
    parts = [formula(each) for each in element]
    match name:
        case "t" | "mi" | "mn" | "mo" | "mtext":
            return "".join(element.itertext()).strip()
        case "f" | "mfrac" if len(parts) >= 2:
            above, below = [part for part in parts if part][:2] if sum(map(bool, parts)) >= 2 else (*parts, "")[:2]
            return f"{_grouped(above)}/{_grouped(below)}"
        case "sSup" | "msup" if len(parts) >= 2:
            return f"{parts[-2]}{raised(parts[-1]) if parts[-1].isdecimal() else '^' + _grouped(parts[-1])}"
        case "rad" | "msqrt":
            return f"√{_grouped(''.join(parts))}"
        case "annotation" | "annotation-xml" | "rPr" | "ctrlPr":
            return ""
        case _:
            return "".join(parts) if len(element) else ("".join(element.itertext()).strip() if name.startswith("m") else "")


def _grouped(text: str) -> str:
    return text if len(text) < 2 or text.isalnum() else f"({text})"
