"""gigachat speaks to nobody by itself, and writes nowhere but in its data folder: its libraries neither.

What happened is read from the system calls of a real server, its children included, that answered a prompt from a file.
"""

from __future__ import annotations

import ast
import json
import re
import urllib.request
from pathlib import Path

import pytest

import gigachat_server
from tests.cli.commands import Server
from tests.faults.processes import KEY, Serve, make_chatbot, needs_strace

CALLS = "trace=connect,sendto,sendmsg,sendmmsg,bind,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink"
_WRITING = re.compile(r"O_(WRONLY|RDWR|CREAT)|^\d+ +(creat|mkdir|rename|link|symlink)")
_NAMES = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FOLDER = re.compile(r"\((?:AT_FDCWD|\d+)<([^>]*)>")
_LOOKUP = re.compile(r"resolv\.conf|nscd|/etc/hosts|nsswitch|htons\(53\)")
_NOWHERE = ("/dev/", "/proc/")  # what is written there is no file


def upload(server: Server, chatbot: str, name: str, content: bytes) -> None:
    """The file is pushed, and can be found."""
    body = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n--x--\r\n"
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{server.url}{chatbot}/documents", body, headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        document = json.load(response)
    while (document := server.call(f"{chatbot}/documents/{document['id']}", KEY).body)["state"] != "ready":
        assert document["state"] != "failed", document


def written(line: str) -> list[str]:
    """The files that a system call made, or opened to write."""
    if " = -1 " in line or not _WRITING.search(line):
        return []
    folder = _FOLDER.search(line)
    return [str(Path(folder[1] if folder else "/", name)) for name in _NAMES.findall(line)]


def test_what_counts_as_written() -> None:
    assert written('12 openat(AT_FDCWD</srv>, "a/b", O_WRONLY|O_CREAT, 0600) = 3</srv/a/b>') == ["/srv/a/b"]
    assert written('12 openat(7</home/.cache>, "id.tmp", O_WRONLY|O_CREAT|O_EXCL, 0600) = 8</home/.cache/id.tmp>') == [
        "/home/.cache/id.tmp"
    ]
    assert written('12 mkdir("/home/.cache", 0700) = 0') == ["/home/.cache"]
    assert written('12 openat(AT_FDCWD</srv>, "/etc/x", O_RDONLY|O_CLOEXEC) = 3</etc/x>') == []
    assert written('12 mkdir("/home/.cache", 0700) = -1 EEXIST (File exists)') == []


@needs_strace
@pytest.mark.weights
@pytest.mark.sqlite_only
def test_a_server_calls_nobody_and_writes_in_its_data_folder_alone(tmp_path: Path) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    environment = {
        "HOME": str(home), "CI": None, "ORT_DISABLE_TELEMETRY": "0", "XDG_CACHE_HOME": None, "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    serve = Serve(data, environment=environment, embedder="local")
    with serve.serving("-y", "-e", CALLS) as server:
        chatbot = make_chatbot(server)
        upload(server, chatbot, "parcels.html", b"<h1>Parcels</h1><p>Parcels are sent on Mondays and on Thursdays.</p>")
        body = {"conversation_id": "c1", "user_id": "ann", "prompt": "When are parcels sent?"}
        answer = server.call(f"{chatbot}/conversations", KEY, body)
        assert answer.status == 201
        assert "Mondays" in answer.body[0]["content"]
        assert server.stop()[0] == 0
    lines = serve.trace.read_text(errors="replace").splitlines()
    files = {name for line in lines for name in written(line) if not name.startswith(_NOWHERE)}
    assert any(name.startswith(str(data)) for name in files)
    assert sorted(name for name in files if not Path(name).is_relative_to(data)) == []
    assert [line for line in lines if _LOOKUP.search(line)] == []
    assert [line for line in lines if "connect(" in line and "AF_INET" in line] == []
    assert list(home.iterdir()) == []


def test_onnxruntime_is_imported_in_one_place_where_it_was_told_to_be_silent() -> None:
    """Telemetry begins with the import, so no other module may be the first to have it."""
    root = Path(gigachat_server.__file__).parent
    importing = []
    for path in [*root.rglob("*.py"), *(root.parents[1] / "tools").rglob("*.py"), *(root.parents[1] / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importing += [path.name for name in names if name.split(".")[0] == "onnxruntime"]
    assert importing == ["session.py"]
