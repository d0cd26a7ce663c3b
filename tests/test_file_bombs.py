"""T24: files that are made to do harm end as `failed`, soon and with a code, while the server stays small and quick."""

from __future__ import annotations

import asyncio
import ctypes
import io
import platform
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from gigachat_server.errors import DocumentFailed, FileTooComplex
from gigachat_server.knowledge.extraction.extract import PATIENCE_S, Extractor
from tests import formats
from tests.harness import gigachat
from tests.test_files import ended, field, file_part, send, upload

_MIB = 1024 * 1024
_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha " * 10}">' for n in range(10))
_DOCUMENT = "word/document.xml"


def zip_bomb(name: str = "word/document.xml", mib: int = 50) -> bytes:
    return formats.archive({name: bytes(mib * _MIB)})


def lying_zip() -> bytes:
    """A document that unpacks to 60 MiB and says that it is one byte."""
    data = bytearray(zip_bomb(mib=60))
    place = data.index(b"PK\x01\x02")
    data[place + 24 : place + 28] = (1).to_bytes(4, "little")
    return bytes(data)


def overlapping_zip() -> bytes:
    """Many entries that are all the same few bytes of the file, which unpack to 9 MiB each."""
    data = bytearray(zip_bomb("word/document.xml", 9))
    start = data.index(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    entry = bytes(data[start:end])
    entries = b"".join(entry.replace(b"document.xml", b"docu%04d.xml" % n) for n in range(1000))
    tail = bytearray(data[end:])
    tail[8:12] = (1000).to_bytes(2, "little") * 2
    tail[12:16] = len(entries + entry).to_bytes(4, "little")
    return bytes(data[:start]) + entry + entries + bytes(tail)


def many_entries() -> bytes:
    return formats.archive({_DOCUMENT: b"<x/>"} | {f"part{n}": b"" for n in range(3_000)}, level=zipfile.ZIP_STORED)


def zip_in_zip() -> bytes:
    """As deep as one that holds itself looks to whoever opens it."""
    data = b"text"
    for _ in range(20):
        data = formats.archive({"inner.zip": data})
    return data


def laughing_docx() -> bytes:
    part = f'<?xml version="1.0"?><!DOCTYPE d [{_LAUGHS}]><d>&l9;</d>'
    return formats.replaced(formats.docx(), _DOCUMENT, part.encode())


def laughing_xlsx() -> bytes:
    part = f'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE d [{_LAUGHS}]><d>&l9;</d>'
    return formats.replaced(formats.xlsx(), "xl/worksheets/sheet1.xml", part.encode("utf-16"))


def laughing_epub() -> bytes:
    package = f'<?xml version="1.0"?><!DOCTYPE package [{_LAUGHS}]><package xmlns="http://www.idpf.org/2007/opf">&l9;</package>'
    return formats.replaced(formats.epub(), "OEBPS/content.opf", package.encode())


def fetching_docx() -> bytes:
    part = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d>&x;</d>'
    return formats.replaced(formats.docx(), _DOCUMENT, part.encode())


def deep_docx() -> bytes:
    with zipfile.ZipFile(io.BytesIO(formats.docx())) as source:
        part = source.read(_DOCUMENT)
    nested = b"<w:tbl><w:tr><w:tc>" * 100_000 + b"</w:tc></w:tr></w:tbl>" * 100_000
    return formats.replaced(formats.docx(), _DOCUMENT, part.replace(b"<w:body>", b"<w:body>" + nested))


def endless_sheet() -> bytes:
    """Its one cell is in the last row and column that there can be."""
    part = (
        '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        + "".join(f'<row r="{n}"><c r="XFD{n}"><v>1</v></c></row>' for n in range(1, 200_000))
        + "</sheetData></worksheet>"
    )
    return formats.replaced(formats.xlsx(), "xl/worksheets/sheet1.xml", part.encode())


def pdf_bomb() -> bytes:
    """A page whose contents unpack to many times what they have, twice."""
    packed = zlib.compress(zlib.compress(bytes(64 * _MIB), 1) * 16, 1)
    stream = b"<< /Length %d /Filter [/FlateDecode /FlateDecode] >>\nstream\n%s\nendstream" % (len(packed), packed)
    return _pdf_with(stream)


def pdf_loop() -> bytes:
    """Pages that are their own children."""
    return formats.pdf_of([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 1000000 >>"])


def pdf_forms() -> bytes:
    """Each form draws the next one ten times: a billion drawings of one letter."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"]
    font = b"<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
    draw = b"/X Do " * 10
    objects.append(
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R /Resources << /XObject << /X 5 0 R >> >> >>"
    )
    objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(draw), draw))
    for number in range(5, 14):
        objects.append(
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 99 99] /Resources %s /XObject << /X %d 0 R >> >> /Length %d >>\n"
            b"stream\n%s\nendstream" % (font, number + 1, len(draw), draw)
        )
    text = b"BT /F1 9 Tf (x) Tj ET"
    objects.append(
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 99 99] /Resources %s >> /Length %d >>\nstream\n%s\nendstream"
        % (font, len(text), text)
    )
    return formats.pdf_of(objects)


def encrypted_pdf() -> bytes:
    empty = b"(" + b"x" * 32 + b")"
    secret = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O %s /U %s /P -44 >> /ID [(a) (a)]" % (empty, empty)
    return formats.pdf_of(
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"], trailer=b"/Root 1 0 R " + secret
    )


def _pdf_with(stream: bytes) -> bytes:
    return formats.pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R >>",
            stream,
        ]
    )


COMPLEX, DAMAGED, TEXTLESS = {"file_too_complex"}, {"file_damaged"}, {"file_without_text"}
BOMBS: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "a zip that unpacks to 50 MiB": (zip_bomb, COMPLEX),
    "a zip that unpacks to more than it may": (lambda: zip_bomb(mib=101), COMPLEX),
    "a zip that lies about its size": (lying_zip, DAMAGED),
    "a zip whose entries are all the same": (overlapping_zip, COMPLEX),
    "a zip of many entries": (many_entries, COMPLEX),
    "a zip in a zip in a zip": (zip_in_zip, {"file_unknown"}),
    "a book that is a zip bomb": (lambda: zip_bomb("META-INF/container.xml"), COMPLEX),
    "a zip cut off": (lambda: formats.docx()[:2000], DAMAGED),
    "entities in a Word document": (laughing_docx, DAMAGED),
    "entities in a sheet, in UTF-16": (laughing_xlsx, DAMAGED),
    "entities in a book": (laughing_epub, DAMAGED),
    "a file of the server as an entity": (fetching_docx, DAMAGED),
    "tables within tables": (deep_docx, DAMAGED | COMPLEX | TEXTLESS),
    "a sheet of billions of cells": (endless_sheet, COMPLEX | {"text_too_long"}),
    "a million nested elements": (lambda: b"<html><body>" + b"<div>" * 1_000_000 + b"x", COMPLEX),
    "a million nested tables": (lambda: b"<html><body>" + b"<table><tr><td>" * 350_000 + b"x", COMPLEX),
    "a million nested bold words": (lambda: b"<html><body>" + b"<b>" * 1_000_000 + b"x", COMPLEX),
    "a PDF whose page unpacks twice": (pdf_bomb, COMPLEX | TEXTLESS | DAMAGED),
    "a PDF whose pages hold themselves": (pdf_loop, DAMAGED | TEXTLESS | COMPLEX),
    "a PDF that draws a letter a billion times": (pdf_forms, COMPLEX | {"text_too_long"}),
    "an encrypted PDF": (encrypted_pdf, {"file_encrypted"}),
    "a PDF cut off": (lambda: formats.pdf([["x"]])[:200], DAMAGED),
}
LONG = {"a sheet of billions of cells", "a PDF that draws a letter a billion times", "a PDF whose pages hold themselves"}


async def _pieces(data: bytes):  # type: ignore[no-untyped-def]
    for first in range(0, len(data), _MIB):
        yield data[first : first + _MIB]


@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.faults] if case in LONG else []) for case in BOMBS])
async def test_a_bomb_is_a_failure_with_a_code_in_time(case: str) -> None:
    make, codes = BOMBS[case]
    began = time.monotonic()
    with pytest.raises(DocumentFailed) as raised:
        async with aclosing(Extractor(most_characters=2 * _MIB)) as extractor:
            await extractor.extract(_pieces(make()), name="a.bin", media_type=None)
    assert raised.value.code in codes, raised.value
    assert (raised.value.detail or raised.value.message).endswith(".")
    assert time.monotonic() - began < PATIENCE_S + 3


async def test_a_small_text_needs_no_process_and_anything_else_has_one() -> None:
    async with aclosing(Extractor(most_characters=1_000, patience_s=0.0)) as impatient:
        assert (await impatient.extract(_pieces("# Zurück\n\nText".encode()), name="a.md", media_type=None)).title == "Zurück"
        for data in (formats.page(), "Zurück".encode("latin-1"), formats.docx(), b"text " * 60_000):
            with pytest.raises(FileTooComplex):
                await impatient.extract(_pieces(data), name="a.md", media_type=None)


FORBIDDEN = {
    "read a file": "open('/etc/passwd').read()",
    "read what the server was started with": "open(f'/proc/{parent}/environ', 'rb').read()",
    "read the server's memory": "os.open(f'/proc/{parent}/mem', os.O_RDWR)",
    "read its memory by a call": "call(310, parent, ctypes.byref(vector), 1, ctypes.byref(vector), 1, 0)",
    "trace the server": "call(101, 16, parent, 0, 0)",
    "signal the server": "os.kill(parent, 0)",
    "signal a thread": "call(234, parent, parent, 0)",
    "signal by a descriptor": "os.pidfd_open(parent)",
    "signal itself, to stop": "os.kill(os.getpid(), 19)",
    "list a folder": "os.listdir('/')",
    "ask what is there": "os.stat('/etc/passwd')",
    "write a file": "open(folder + '/x', 'w').write('x' * 100000)",
    "make a folder": "os.mkdir(folder + '/x')",
    "link": "os.symlink('/etc/passwd', folder + '/x')",
    "remove": "os.unlink(folder + '/kept')",
    "rename": "os.rename(folder + '/kept', folder + '/x')",
    "change rights": "os.chmod(folder + '/kept', 0)",
    "change directory": "os.chdir('/')",
    "write to memory that is a file": "os.memfd_create('x')",
    "open a socket": "socket.socket()",
    "open a pair of sockets": "socket.socketpair()",
    "fork": "os.fork()",
    "start a thread": "_thread.start_new_thread(print, ())",
    "execute": "os.execv('/bin/true', ['true'])",
    "raise its limits": "resource.prlimit(0, resource.RLIMIT_AS, (-1, -1))",
    "limit the server": "resource.prlimit(parent, resource.RLIMIT_AS, (1, 1))",
    "queue work for the kernel": "call(425, 8, ctypes.byref(ctypes.create_string_buffer(256)))",
    "map kernel memory by BPF": "call(321, 0, 0, 0)",
    "make a namespace": "call(272, 0x10000000)",
    "mount": "call(165, b'none', folder.encode(), b'tmpfs', 0, 0)",
    "use keys": "call(250, 0, 0, 0)",
}


FROM_INSIDE = """
import _thread, ctypes, os, resource, signal, socket, sys
from gigachat_server.knowledge.extraction import sandbox

class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
parent, folder, libc = os.getppid(), sys.argv[1], ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(8)
vector = Vector(ctypes.addressof(buffer), 8)
sandbox.enter(parent=parent)
try:
    exec(sys.argv[2])
except (OSError, RuntimeError) as error:
    print(type(error).__name__, flush=True)
else:
    print("done", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("forbidden", FORBIDDEN)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the calls are those of x86-64")
def test_what_reads_files_can_reach_nothing(forbidden: str, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    ended = subprocess.run(
        [sys.executable, "-c", FROM_INSIDE, str(tmp_path), FORBIDDEN[forbidden]], capture_output=True, text=True, check=False
    )
    # What Python itself raises where a thread or a limit is refused.
    others = {"start a thread": "RuntimeError", "raise its limits": "PermissionError"}
    assert ended.stdout.strip() == others.get(forbidden, "PermissionError"), ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]


@pytest.mark.parametrize("machine", ["x86_64", "riscv64"])
def test_files_are_out_of_reach_with_and_without_a_list_of_calls(machine: str) -> None:
    """Landlock alone keeps them where no list of calls is known."""
    script = (
        f"import os, platform; platform.machine = lambda: {machine!r}\n"
        "from gigachat_server.knowledge.extraction import sandbox\n"
        "sandbox._limit, kept = lambda what, most: None, sandbox._limit\n"  # or no file could be opened for want of numbers
        "sandbox.enter(parent=os.getppid())\n"
        "try: os.open('/etc/passwd', os.O_RDONLY)\nexcept OSError as error: print(type(error).__name__, flush=True)\n"
        "os._exit(0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if machine != platform.machine() and not _has_landlock():
        pytest.skip("this kernel has no Landlock")
    assert ended.stdout.strip() == "PermissionError", ended.stderr


def _has_landlock() -> bool:
    return bool(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1)) > 0)


@pytest.mark.sqlite_only
async def test_the_server_stays_small_and_answers_while_it_is_bombed(tmp_path: Path) -> None:
    cases = ["a zip that lies about its size", "entities in a sheet, in UTF-16", "a million nested tables", "an encrypted PDF"]
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        before = _resident_mib()
        sent = [await upload(api, chatbot, case, BOMBS[case][0]()) for case in cases]
        sent.append(await upload(api, chatbot, "large.txt", b"Words of a large file. " * 900_000))
        work = asyncio.gather(*(ended(api, chatbot, document) for document in sent))
        most, slowest = before, 0.0
        while not work.done():
            began = time.monotonic()
            assert (await api.get("/readyz")).status == 200
            slowest = max(slowest, time.monotonic() - began)
            most = max(most, _resident_mib())
        assert [document["state"] for document in await work] == ["failed"] * len(sent)
        assert most - before < 100, (before, most)
        assert slowest < 2
        assert (await work)[-1]["error"] == "text_too_long"


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / _MIB


NAMES = [
    "../../etc/passwd", "..\\..\\windows\\system.ini", "/etc/passwd", "//host/share/x.txt", "\\\\host\\share\\x.txt", "C:\\x.txt",
    "....//....//x", "%2e%2e%2fx.txt", "..%c0%af..%c0%afx",
    "~/x.txt", "~root", "a/b/c.txt", "./x", ".", "..", "...", "-rf", "--help",
    "x.txt;rm -rf .", "$(id)", "`id`", "| cat", "&", "x\ty",
    "café.txt", "文件.txt", "ملف.txt",
    "CON", "NUL", "aux.txt", "x" * 255, "x" * 1024, "a" * 300 + "/" + "b" * 300,
    "x.txt ", " x.txt", "'; DROP TABLE documents; --",
    "<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}", "x%00.txt", "x.txt%0d%0aSet-Cookie: a",
    "?x=1", "#x", "*", "😀.txt",
]  # fmt: skip


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.name.startswith("gigachat.sqlite3")}


async def test_a_name_is_only_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    async with gigachat(tmp_path / "data") as api:
        chatbot = await api.chatbot()
        await ended(api, chatbot, await upload(api, chatbot, "../first.txt", b"Letters ship on Friday."))
        known = _files(tmp_path)
        await api.services.ingest_worker.aclose()  # a process for each of them would take its time
        for name in NAMES:
            file = file_part(name, b"Parcels ship on Monday.")
            reply = await send(api, f"{chatbot}/documents", file, field("name", name))
            assert (reply.status, reply.body["name"]) == (202, name)
            await upload(api, chatbot, name, b"Parcels ship on Monday.")
        for name in ("\u202egpj.exe", "\u200b"):
            refused = await send(api, f"{chatbot}/documents", file_part(name, b"Parcels ship on Monday."))
            assert (refused.status, refused.fields) == (422, {"file"}), "it would be shown as another name, or as none"
        assert _files(tmp_path) <= known
