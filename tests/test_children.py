"""The processes that read files: forked from one that is ready, told nothing, and gone in every case."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from gigachat_server.errors import FileTooComplex
from gigachat_server.knowledge.extraction import children, extract
from gigachat_server.knowledge.extraction.children import Children
from gigachat_server.knowledge.extraction.extract import Extractor
from tests import formats
from tests.harness import gigachat, until
from tests.test_files import uploaded

pytestmark = pytest.mark.sqlite_only


def _parent_of(pid: int) -> int | None:
    """None if there is no such process, or no more than its number."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(parent)


def _running(parent: int) -> list[int]:
    return [pid for folder in Path("/proc").glob("[0-9]*") if _parent_of(pid := int(folder.name)) == parent]


async def _are_gone(pids: Iterable[int]) -> bool:
    return {_parent_of(pid) for pid in pids} == {None}


def _forkers() -> list[int]:
    return [pid for pid in _running(os.getpid()) if b"forker" in _command_of(pid)]


def _command_of(pid: int) -> bytes:
    """Empty if it has ended since."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def _do_instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have children do that, whatever file they are given."""
    script = "import os, time\nfrom gigachat_server.knowledge.extraction import child, forker\n"
    script += f"def main(parent):\n    {code}\nchild.main = main\nforker.main()"
    monkeypatch.setattr(children, "_FORKER", ("-S", "-c", script))


async def _pages(*pages: bytes) -> AsyncIterator[bytes]:
    for page in pages:
        yield page


@pytest.mark.parametrize("does", ["while True: os.write(1, b'x' * 65536)", "while True: time.sleep(9)", "os._exit(3)"])
async def test_a_child_that_a_file_has_taken_over_ends_and_gives_its_place_back(
    does: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _do_instead(monkeypatch, f"os.close(os.open({str(tmp_path)!r} + f'/{{os.getpid()}}', os.O_CREAT))\n    {does}")
    async with aclosing(Extractor(most_characters=1_000, patience_s=1.0)) as extractor:
        for _ in range(extract.AT_ONCE + 1):
            with pytest.raises(FileTooComplex):
                await extractor.extract(_pages(b"text " * 600_000), name="a.txt", media_type=None)
        pids = _names(tmp_path)
        assert len(pids) == extract.AT_ONCE + 1
        assert [_parent_of(int(pid)) for pid in pids] == [None] * len(pids)


async def test_the_time_that_a_file_may_take_begins_when_it_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However long the process that children are forked from takes to import what they need."""
    began, go_on = tmp_path / "began", tmp_path / "go-on"
    script = "import os, time\nfrom gigachat_server.knowledge.extraction import child, forker\nimport_all = forker.import_all\n"
    script += f"def late():\n    open({str(began)!r}, 'w').close()\n    while not os.path.exists({str(go_on)!r}):\n"
    script += "        time.sleep(0.01)\n    import_all()\nforker.import_all = late\nforker.main()"
    monkeypatch.setattr(children, "_FORKER", ("-S", "-c", script))

    async def has_begun() -> bool:
        return began.exists()

    async with aclosing(Children()) as forked, AsyncExitStack() as stack:
        entering = asyncio.create_task(stack.enter_async_context(forked.one()))
        await until(has_begun)
        assert not entering.done()
        go_on.touch()
        child = await entering
        child.writer.write_eof()
        assert await child.reader.read() == b""


async def test_the_process_that_children_are_forked_from_may_end_at_any_moment() -> None:
    more, is_read = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"text " * 60_000
        yield b"and"
        is_read.set()
        await more.wait()
        yield b"more"

    async with aclosing(Extractor(most_characters=1_000_000)) as extractor:
        reading = asyncio.create_task(extractor.extract(slowly(), name="a.txt", media_type=None))
        await is_read.wait()
        (forker,) = _forkers()
        (child,) = _running(forker)
        os.kill(forker, signal.SIGKILL)
        more.set()
        with pytest.raises(OSError, match="no process"):
            await reading
        await until(lambda: _are_gone({child}))
        assert (await extractor.extract(_pages(formats.page()), name="a.html", media_type=None)).text
        assert len(_forkers()) == 1
    assert _forkers() == []


async def test_a_file_that_was_being_read_when_they_ended_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = str(tmp_path / "ended-once")
    script = "import os, signal\nfrom gigachat_server.knowledge.extraction import child, forker\nread = child.main\n"
    script += f"def main(parent):\n    if not os.path.exists({mark!r}):\n        os.close(os.open({mark!r}, os.O_CREAT))\n"
    script += "        os.kill(parent, signal.SIGKILL)\n    read(parent=parent)\nchild.main = main\nforker.main()"
    monkeypatch.setattr(children, "_FORKER", ("-S", "-c", script))
    async with gigachat(tmp_path / "data") as api:
        document = await uploaded(api, await api.chatbot(), "page.html", formats.page())
    assert (document["state"], _names(tmp_path)) == ("ready", ["data", "ended-once"])


async def test_what_reads_files_does_not_outlive_a_server_that_is_killed() -> None:
    script = (
        "import asyncio, os\nfrom gigachat_server.knowledge.extraction.children import Children\n"
        "async def main():\n    async with Children().one():\n        print(flush=True)\n        await asyncio.sleep(99)\n"
        "asyncio.run(main())"
    )
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=PIPE)
    assert server.stdout is not None
    await server.stdout.readline()
    (forker,) = _running(server.pid)
    pids = {forker}

    async def is_forked() -> bool:
        pids.update(_running(forker))
        return len(pids) == 2

    await until(is_forked)
    server.kill()
    await server.wait()
    await until(lambda: _are_gone(pids))


async def test_children_are_forked_from_one_process_that_leaves_when_no_file_comes() -> None:
    async def has_left() -> bool:
        return _forkers() == []

    async with aclosing(Children(idle_s=0.0)) as forked:
        for _ in range(3):
            async with forked.one() as child, forked.one() as other:
                assert len(_forkers()) == 1
                child.writer.write_eof()
                other.writer.write_eof()
                assert (await child.reader.read(), await other.reader.read()) == (b"", b"")  # no request: nothing to answer
            await until(has_left)


async def test_a_child_knows_no_settings_and_has_no_file_open_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGACHAT_API_KEY", "gc_secret")
    files = "[os.readlink(f'/proc/self/fd/{n}').partition(':')[0] for n in '0123456789' if os.path.exists(f'/proc/self/fd/{n}')]"
    _do_instead(monkeypatch, f"os.write(1, repr(({files}, sorted(os.environ))).encode())")
    async with aclosing(Children()) as forked, forked.one() as child, forked.one() as other:
        told = eval((await child.reader.read()).decode())
        assert told[0] == ["socket", "socket", "/dev/null"], told
        assert set(told[1]) <= {"PYTHONPATH", "PYTHONUTF8", "LC_CTYPE"}
        assert await other.reader.read()


def test_a_child_has_nothing_left_to_import() -> None:
    """It could not: once it has begun to read, it can open no file."""
    script = """
import os, sys
from gigachat_server.errors import DocumentFailed
from gigachat_server.knowledge.extraction import child, forker
forker.import_all()
before, late = set(sys.modules), {}
for path in [f"{folder}/{name}" for folder, _, names in os.walk(sys.argv[1]) for name in names]:
    try:
        child.read(open(path, "rb").read(), name=path, media_type=None, most_characters=10_000_000)
    except DocumentFailed:
        pass
    if new := set(sys.modules) - before:
        late[path] = sorted(new)
        before |= new
print(late)
"""
    # As the forker is started, without what `site` imports.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-S", "-c", script, str(Path(__file__).parent / "fixtures" / "documents")]
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip() == "{}"
