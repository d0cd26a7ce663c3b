"""Deleted text that SQLite leaves in its file, found and overwritten with zeros.

Idea: `PRAGMA secure_delete` zeroes what a statement deletes. It does not zero the copies that stay behind when SQLite moves rows
from one page to another: those lie in the gap between a page's cell pointers and its cells. (Of 20,246 texts deleted from a
file of 127 MB it left 121 there.) A file written without that pragma also has them in free blocks and in free pages. All of
these can be found from the pages' headers alone; see https://www.sqlite.org/fileformat2.html#b_tree_pages.

Invariant: a byte is overwritten only if no page counts it as content, so the database is the same before and after, at
every moment of a crash. The caller makes sure that the file is the whole database (an empty log) and that nothing writes to it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

_BLOCK_PAGES = 64
_ZEROS = bytes(65536)
_BTREE_PAGES = (2, 5, 10, 13)
_INTERIOR_PAGES = (2, 5)
# The first byte of an overflow page is that of a page number: from here on it could be taken for the type of a B-tree page.
_TOO_MANY_PAGES = 0x02000000

_HEADER = struct.Struct(">HHH")  # the first free block, the number of cells, where they begin
_BLOCK = struct.Struct(">HH")  # of a free block: the next one, and its own size

# The bytes of a page from the first number up to the second.
Range = tuple[int, int]


class Layout(NamedTuple):
    """What the header of the file says about its pages. `usable`: the bytes of each that SQLite uses."""

    page_size: int
    usable: int
    pages: int
    first_trunk: int


def scan(descriptor: int, *, is_stopped: Callable[[], bool] = lambda: False) -> list[int]:
    """The numbers, from 1, of pages that hold remnants: of all pages, or of those looked at until it was stopped.

    While others write to the file it may name pages that hold none.
    """
    layout = read_layout(descriptor)
    if layout is None:
        return []
    free = _free_pages(descriptor, layout)
    found = []
    for first in range(1, layout.pages + 1, _BLOCK_PAGES):  # reading a block lets other threads run
        if is_stopped():
            break
        data = os.pread(descriptor, _BLOCK_PAGES * layout.page_size, (first - 1) * layout.page_size)
        for place in range(len(data) // layout.page_size):
            page = data[place * layout.page_size : (place + 1) * layout.page_size]
            if _remnants(page, first + place, free, layout):
                found.append(first + place)
    return found


def overwrite(descriptor: int, pages: Iterable[int]) -> int:
    """Zero the remnants in these pages, durably; the number of pages that held some."""
    layout = read_layout(descriptor)
    if layout is None:
        return 0
    free = _free_pages(descriptor, layout)
    changed = 0
    for number in pages:
        offset = (number - 1) * layout.page_size
        page = os.pread(descriptor, layout.page_size, offset)
        if len(page) < layout.page_size:
            continue  # the file has become shorter
        found = _remnants(page, number, free, layout)
        for start, end in found:
            os.pwrite(descriptor, bytes(end - start), offset + start)
        changed += bool(found)
    if changed:
        os.fdatasync(descriptor)
    return changed


def read_layout(descriptor: int) -> Layout | None:
    """None for a file that is empty, or whose kinds of pages do not differ in their first byte."""
    header = os.pread(descriptor, 100, 0)
    if len(header) < 100:
        return None
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    pages = os.fstat(descriptor).st_size // page_size
    is_vacuumed = any(header[52:56])  # then some pages are maps of pointers
    if pages >= _TOO_MANY_PAGES or is_vacuumed:
        return None
    return Layout(page_size, page_size - header[20], pages, int.from_bytes(header[32:36], "big"))


def _free_pages(descriptor: int, layout: Layout) -> dict[int, int]:
    """The pages of the free list, each with how many of its bytes SQLite still reads."""
    pages: dict[int, int] = {}
    trunk = layout.first_trunk
    while 0 < trunk <= layout.pages and trunk not in pages:
        page = os.pread(descriptor, layout.page_size, (trunk - 1) * layout.page_size)
        following, count = struct.unpack(">II", page[:8])
        count = min(count, layout.usable // 4 - 2)
        pages[trunk] = 8 + 4 * count
        pages.update(dict.fromkeys(struct.unpack(f">{count}I", page[8 : 8 + 4 * count]), 0))
        trunk = following
    return pages


def _remnants(page: bytes, number: int, free: dict[int, int], layout: Layout) -> list[Range]:
    """Where bytes that do not count are not zero."""
    if (content := free.get(number)) is not None:
        unused: Iterable[Range] = ((content, layout.page_size),)
    else:
        unused = _unused(page, layout.usable, header=100 if number == 1 else 0)
    return [(start, end) for start, end in unused if page[start:end] != _ZEROS[: end - start]]


def _unused(page: bytes, usable: int, *, header: int) -> Iterator[Range]:
    """The gap and the bodies of the free blocks of a B-tree page."""
    kind = page[header]
    if kind not in _BTREE_PAGES:
        return
    block, cells, end = _HEADER.unpack_from(page, header + 1)
    start = header + (12 if kind in _INTERIOR_PAGES else 8) + 2 * cells
    end = end or 65536
    if not start <= end <= usable:
        return  # it was being written
    yield start, end
    while block:
        following, size = _BLOCK.unpack_from(page, block)
        if size < 4 or block + size > usable:
            return
        yield block + 4, block + size
        if following <= block:
            return  # the list goes up
        block = following
