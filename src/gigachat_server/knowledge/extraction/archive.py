"""Opens the zip files that office documents and e-books are made of, once their table of contents is harmless.

Invariant: unpacking never exceeds that table, which may declare at most `MOST_BYTES` and `MOST_RATIO` times the file's size:
Python reads of each entry what is declared, and not a byte more. Nothing is unpacked to disk, and an archive within an archive
is never opened, so one that holds itself is harmless.
"""

from __future__ import annotations

import io
import zipfile

from gigachat_server.errors import FileDamaged, FileEncrypted, FileTooComplex

MOST_ENTRIES = 2_000
MOST_BYTES = 100 * 1024 * 1024
MOST_RATIO = 100
_SMALL = 1024 * 1024  # so much may come out of anything
_TYPES = [mark.encode(encoding) for mark in ("<!DOCTYPE", "<!ENTITY") for encoding in ("utf-8", "utf-16-le", "utf-16-be")]


def opened(data: bytes) -> zipfile.ZipFile:
    """The archive. Raises `FileDamaged`, `FileEncrypted`, `FileTooComplex`."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise FileDamaged("It is a zip file whose table of contents cannot be read: save it again, and push that.") from error
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_ENTRIES:
        raise FileTooComplex(f"It is a zip file with {len(entries)} entries, and may have {MOST_ENTRIES}.")
    if unpacked > MOST_BYTES:
        raise FileTooComplex(f"Unpacked it would have {unpacked} bytes, and may have {MOST_BYTES}: split the file.")
    if unpacked > _SMALL and unpacked > MOST_RATIO * len(data):
        raise FileTooComplex(f"Unpacked it would be more than {MOST_RATIO} times as large, which no document is.")
    if any(entry.flag_bits & 1 for entry in entries):
        raise FileEncrypted("Its entries are encrypted: remove the password, and push it again.")
    return archive


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """What is stored under that name. Raises `FileDamaged`."""
    try:
        return archive.read(name)
    except KeyError:
        raise FileDamaged(f"It lacks its part {name[:100]!r}: save it again, and push that.") from None


def refuse_type_declarations(archive: zipfile.ZipFile) -> None:
    """Office documents declare no types and no entities, and those that do mean harm. Raises `FileDamaged`."""
    for entry in archive.infolist():
        if entry.filename.lower().endswith((".xml", ".rels", ".vml")):
            start = archive.read(entry)
            if any(mark in start for mark in _TYPES):
                raise FileDamaged(
                    f"Its part {entry.filename[:100]!r} declares types or entities, which no office program writes."
                )
