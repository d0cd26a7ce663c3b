"""RTF: the text of a document, with its tables, lists and notes, without formatting.

Idea: one pass over the tokens with a stack of groups. A group says at its start whether it is text, such as a note, or
internal, such as a table of fonts. Invariant: time is linear in the file, and no byte is read twice.
"""

from __future__ import annotations

import re

import msgspec

from gigachat_server.errors import FileTooComplex
from gigachat_server.knowledge.extraction import inline
from gigachat_server.knowledge.extraction.decoding import known_charset
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter
from gigachat_server.knowledge.extraction.rows import write_table

_TOKEN = re.compile(rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.S)
# Internal groups, as are nearly all that begin with `\*`.
_UNSEEN = frozenset(
    ("fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "listtable", "listoverridetable", "revtbl", "rsidtbl",
     "generator", "xmlnstbl", "themedata", "colorschememapping", "latentstyles", "datastore", "filetbl", "fldinst", "nonshppict",
     "bkmkstart", "bkmkend", "pgdsctbl", "mmathPr", "headerl", "headerf", "footerl", "footerf", "atnid", "atnauthor",
     "annotation")
)  # fmt: skip
_SEEN_STARRED = frozenset(("fldrslt", "footnote", "shptxt", "shpinst", "pntext", "pntxtb", "pntxta"))
_SIGNS = {
    "tab": "\t", "line": "\n", "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“",
    "rdblquote": "”", "emspace": " ", "enspace": " ", "qmspace": " ",
}  # fmt: skip
_ESCAPED = {b"~": " ", b"_": "-", b"\\": "\\", b"{": "{", b"}": "}", b"\n": "\n", b"\r": "\n"}
_CHARSETS = {128: "cp932", 129: "cp949", 134: "gb18030", 136: "big5hkscs", 161: "cp1253", 162: "cp1254", 163: "cp1258",
             177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250"}  # fmt: skip
_MOST_GROUPS = 2_000  # within each other
_DEEPEST_HEADING = 6


class _State(msgspec.Struct):
    """What holds in a group, and in those within it."""

    encoding: str = ""
    is_seen: bool = True
    is_hidden: bool = False
    is_raised: bool = False
    is_struck: bool = False
    is_fonts: bool = False
    is_note: bool = False
    skipped: int = 1  # characters behind one in Unicode, which say the same in an old encoding


def read_rtf(data: bytes, most: int) -> FileText:
    return _Reader(TextWriter(most)).read(data)


class _Reader:
    def __init__(self, writer: TextWriter) -> None:
        self._writer = writer
        self._state = _State()
        self._above: list[_State] = []
        self._encoding = "cp1252"
        self._fonts: dict[int, str] = {}
        self._font = 0
        self._bytes = bytearray()  # of characters in an old encoding, which may be of two bytes each
        self._to_skip = 0
        self._is_start = False  # of a group: the next word may say what it is for
        self._is_starred = False
        self._high = 0  # the first half of a character that Unicode has in two
        self._parts: list[str] = []
        self._cells: list[str] = []
        self._rows: list[list[str]] = []
        self._heads = 0
        self._is_in_table = False
        self._level: int | None = None
        self._text_above: list[list[str]] = []  # what a note interrupts
        self._notes: list[str] = []
        self._note_count = 0

    def read(self, data: bytes) -> FileText:
        place = 0
        while (token := _TOKEN.match(data, place)) is not None:
            place = token.end()
            word, argument, code, sign, brace, text = token.groups()
            if code is not None:
                self._add(bytes((int(code, 16),)))
            elif text is not None:
                self._add(text)
            elif word == b"bin" and argument:
                place += max(int(argument), 0)
            else:
                self._control(word, argument, sign, brace)
        self._paragraph()
        self._table()
        if self._above:
            self._writer.warnings.add("truncated")
        return self._writer.done(None)

    def _control(self, word: bytes | None, argument: bytes | None, sign: bytes | None, brace: bytes | None) -> None:
        if word is None and sign is None and brace is None:
            return  # a line of the source
        self._flush()
        if brace == b"{":
            self._open()
        elif brace == b"}":
            self._close()
        elif sign is not None:
            self._is_starred = sign == b"*"
            if sign in _ESCAPED:
                self._say(_ESCAPED[sign])
        elif word is not None:
            self._word(word.decode("ascii"), int(argument) if argument else None)
            self._is_start = self._is_starred = False

    def _add(self, data: bytes) -> None:
        self._is_start = False
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        self._bytes += data

    def _flush(self) -> None:
        if self._bytes:
            text = self._bytes.decode(self._state.encoding or self._encoding, "replace")
            self._bytes.clear()
            self._say(text)

    def _say(self, text: str) -> None:
        self._to_skip = 0
        state = self._state
        if not state.is_seen or state.is_hidden:
            return
        if state.is_raised:
            text = inline.raised(text)
        self._parts.append(inline.struck(text) if state.is_struck and text.strip() else text)

    def _open(self) -> None:
        if len(self._above) > _MOST_GROUPS:
            raise FileTooComplex(f"Its groups are nested more than {_MOST_GROUPS} deep, which no document is.")
        self._above.append(self._state)
        self._state = msgspec.structs.replace(self._state, is_note=False)
        self._is_start = True

    def _close(self) -> None:
        if self._state.is_note:
            self._note_count += 1
            mark = inline.raised(str(self._note_count))
            self._notes.append(f"{mark} {' '.join(''.join(self._parts).split())}")
            self._parts = self._text_above.pop()
            self._parts.append(mark)
        if self._above:
            self._state = self._above.pop()
        self._is_start = False

    def _word(self, word: str, argument: int | None) -> None:
        state = self._state
        if word == "u" and argument is not None:
            self._unicode(argument)
        elif word in _UNSEEN or (self._is_starred and word not in _SEEN_STARRED):
            if self._is_start or self._is_starred:
                state.is_seen = False
                state.is_fonts = word == "fonttbl"
                if word in ("pict", "object") and word == "object":
                    self._writer.warnings.add("objects_skipped")
                elif word == "pict":
                    self._writer.warnings.add("images_without_text")
        elif word == "footnote":
            state.is_note = state.is_seen
            if state.is_note:
                self._text_above.append(self._parts)
                self._parts = []
        elif state.is_fonts:
            self._of_font(word, argument)
        elif state.is_seen:
            self._of_text(word, argument)

    def _unicode(self, number: int) -> None:
        number &= 0xFFFF
        if 0xD800 <= number < 0xDC00:
            self._high = number
        elif 0xDC00 <= number < 0xE000:
            self._say(chr(0x10000 + ((self._high - 0xD800) << 10) + number - 0xDC00) if self._high else "\ufffd")
            self._high = 0
        else:
            self._say(chr(number))
        self._to_skip = self._state.skipped

    def _of_font(self, word: str, argument: int | None) -> None:
        if word == "f":
            self._font = argument or 0
        elif word == "fcharset" and argument in _CHARSETS:
            self._fonts[self._font] = _CHARSETS[argument]

    def _of_text(self, word: str, argument: int | None) -> None:
        state, is_on = self._state, argument != 0
        match word:
            case "par" | "sect" | "page":
                self._paragraph()
            case "pard":
                self._is_in_table, self._level = False, None
            case "intbl":
                self._is_in_table = True
            case "cell" | "nestcell":
                self._cells.append("".join(self._parts))
                self._parts = []
            case "row" | "nestrow":
                self._rows.append(self._cells)
                self._cells = []
            case "trhdr":
                self._heads += 1
            case "outlinelevel":
                self._level = argument
            case "super":
                state.is_raised = is_on
            case "up":
                state.is_raised = bool(argument)
            case "nosupersub" | "sub" | "dn":
                state.is_raised = False
            case "strike" | "striked":
                state.is_struck = is_on
            case "v" | "deleted":
                state.is_hidden = is_on
            case "plain":
                state.is_raised = state.is_struck = state.is_hidden = False
            case "uc":
                state.skipped = max(argument or 0, 0)
            case "f":
                state.encoding = self._fonts.get(argument or 0, "")
            case "ansicpg":
                self._encoding = known_charset(f"cp{argument}") or "cp1252"
            case _ if word in _SIGNS:
                self._say(_SIGNS[word])

    def _paragraph(self) -> None:
        self._flush()
        if self._text_above or self._is_in_table:
            self._parts.append(" ")
            return
        self._table()
        text = "".join(self._parts).strip()
        self._parts = []
        if self._level is not None and 0 <= self._level < _DEEPEST_HEADING:
            self._writer.heading(self._level + 1, text)
        else:
            self._writer.block(text)
        self._write_notes()

    def _table(self) -> None:
        rows, self._rows = self._rows, []
        if self._cells:
            rows.append(self._cells)
            self._cells = []
        if rows:
            write_table(self._writer, rows, header_rows=self._heads or None)
            self._heads = 0
            self._write_notes()

    def _write_notes(self) -> None:
        for note in self._notes:
            self._writer.block(note)
        self._notes = []
