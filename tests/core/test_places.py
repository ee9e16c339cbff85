"""A folder, a bucket or a URL is opened in one way, and says in one sentence why it is not."""

from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from stops import stops

from gatehouse.core.errors import BROKEN, INFRASTRUCTURE, Stop
from gatehouse.core.places import File, Folder, Missing, download, shown, split


@pytest.fixture(params=["path", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A folder that is not there yet."""
    place = {
        "path": str(tmp_path / "far"),
        "file": f"file://{tmp_path}/far",
        "memory": "memory://far",
    }
    yield place[request.param]
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()


def draft(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "draft"
    path.write_text(text)
    return path


def test_what_is_put_there_is_listed_and_read(url: str, tmp_path: Path) -> None:
    folder = Folder(url)
    assert (folder.files(), folder.names("*")) == ([], []), "a folder that is not there is empty"
    folder.put(draft(tmp_path, "one"), "b.csv")
    folder.put(draft(tmp_path, "four"), "2026-11-27/a.jsonl")
    folder.put(draft(tmp_path, "three"), "b.csv")
    assert folder.files() == [File("b.csv", 5)], "once, and no draft beside it"
    assert folder.files("2026-11-27") == [File("2026-11-27/a.jsonl", 4)]
    assert folder.names("*/*.jsonl") == ["2026-11-27/a.jsonl"]
    assert folder.read("b.csv", 5) == b"three"
    with folder.open("2026-11-27/a.jsonl") as file:
        assert file.read() == b"four"
    with stops("too-large", "b.csv") as stop:
        folder.read("b.csv", 4)
    assert stop.value.exit_code == BROKEN
    with pytest.raises(Missing, match=r"far/c\.csv is not there"):
        folder.read("c.csv", 4)


def test_one_file_may_be_the_address(url: str, tmp_path: Path) -> None:
    Folder(url).put(draft(tmp_path, "one"), "b.csv")
    folder, name = split(f"{url}/b.csv")
    assert folder.read(name, 3) == b"one"
    [file] = Folder(f"{url}/b.csv").files()
    assert file == File("", 3)
    with Folder(f"{url}/b.csv").open(file.name) as content:
        assert content.read() == b"one"
    download(f"{url}/b.csv", tmp_path / "here")
    assert (tmp_path / "here").read_text() == "one"
    with pytest.raises(Missing):
        download(f"{url}/c.csv", tmp_path / "here")


def test_what_is_not_written_whole_leaves_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(url)
    folder.put(draft(tmp_path, "one"), "b.csv")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(folder._fs, "mv", fail)
    with stops("place-unreachable", "OSError") as stop:
        folder.put(draft(tmp_path, "two"), "b.csv")
    assert stop.value.exit_code == INFRASTRUCTURE
    assert folder.files() == [File("b.csv", 3)]
    assert folder.read("b.csv", 3) == b"one"


def test_a_store_that_refuses_is_no_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("a secret")

    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    with stops("place-unreachable", "PermissionError") as stop:
        Folder("memory://far").files()
    assert stop.value.exit_code == INFRASTRUCTURE
    assert "secret" not in str(stop.value)


@pytest.mark.parametrize("url", ["nowhere://jo:secret@host/x?key=secret", "oci://jo:secret@host/x"])
def test_an_address_that_nothing_reaches(url: str) -> None:
    with pytest.raises(Stop, match="…@host/x") as stop:
        Folder(url)
    assert stop.value.exit_code == BROKEN
    assert "secret" not in str(stop.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("a/b?c@d", "a/b?c@d"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("https://jo:pass@host/a?sig=b", "https://…@host/a"),
        ("sftp://jo:pa/ss@host/a", "sftp://…@host/a"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, said: str) -> None:
    assert shown(url) == said


def test_a_name_without_a_folder_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, name = split("made.parquet")
    folder.put(draft(tmp_path, "one"), name)
    assert Path("made.parquet").read_text() == "one"
    assert split("/made.parquet")[0].url == "/"
