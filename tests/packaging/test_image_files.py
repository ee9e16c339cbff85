"""What is laid out for the serving image: the same files in the same bytes, wherever it is built."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from gate_files import BLESSED
from manifests import name_project
from stops import stops

from gatehouse.core.project import Project

EPOCH = 1_577_836_800
NEEDED = ("numpy==2.0.0 --hash=sha256:00\n", "pandas==3.0.0 --hash=sha256:11\n")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a model and code, as git has it."""
    name_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "src/flight_delays/__init__.py": "",
        "src/flight_delays/features.py": "ONE = 1\n",
        "model/model.json": "{}",
        "model/model.skops": "x",
        "model/.gitignore": "*",
        "schema.yaml": "a: 1\n",
        "gates.yaml": "b: 1\n",
        ".gitignore": "__pycache__/\n",
        "requirements/serve.txt": NEEDED[0],
    }.items():
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git("init", "-q", "-b", "main")
    git("add", ".")
    (tmp_path / "src/flight_delays/__pycache__").mkdir()
    (tmp_path / "src/flight_delays/__pycache__/features.pyc").touch()
    blessed(tmp_path, "onnx")
    return tmp_path


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True)


def blessed(folder: Path, serves: str) -> None:
    serving = {"format": serves, "reason": "so"}
    (folder / "blessing.json").write_text(
        json.dumps({"version": 1, **BLESSED, "model_digest": "", "serving": serving})
    )


def test_the_model_goes_in_with_what_says_what_it_may_be_asked(here: Path) -> None:
    from gatehouse.packaging.build import _gather

    (here / "out").mkdir()
    _gather(Project(), here / "out")
    found = {p.relative_to(here / "out").as_posix() for p in (here / "out").rglob("*.*")}
    assert found == {
        *("blessing.json", "schema.yaml", "gates.yaml", "model/model.json", "model/model.skops"),
        *("src/flight_delays/__init__.py", "src/flight_delays/features.py"),
    }


@pytest.mark.parametrize("vendor", [True, False])
def test_packages_are_those_of_the_lock(
    here: Path, monkeypatch: pytest.MonkeyPatch, vendor: bool
) -> None:
    from gatehouse.core import environments
    from gatehouse.packaging import build

    said: list[list[str]] = []
    monkeypatch.setattr(build, "_command", lambda _, words: said.append([str(w) for w in words]))
    monkeypatch.setattr(environments, "uv", lambda: "uv")
    monkeypatch.setattr(environments, "skops_part", lambda: NEEDED[1])
    build.FOLDER.mkdir(parents=True)
    if vendor:
        (here / "vendor").mkdir()
    for serves in ("onnx", "skops"):
        blessed(here, serves)
        build._install(Project(), here / "site", "x86_64-unknown-linux-gnu")
    for words in said:
        assert {"--require-hashes", "--no-deps", "x86_64-unknown-linux-gnu"} <= {*words}
        assert ("--find-links" in words) is vendor
    assert [words.count("-r") for words in said] == [1, 2]
    assert said[0][-1] == said[1][-3] == "requirements/serve.txt"
    assert Path(said[1][-1]).read_text() == NEEDED[1]


def test_nothing_of_the_machine_is_laid_out(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.core import environments
    from gatehouse.packaging import build

    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "scripts"))
    from build_wheel import build as library

    name, content = library()
    digest = hashlib.sha256(content).hexdigest()
    lock = f"gatehouse-ml=={name.split('-')[1]} --hash=sha256:{digest}\n"
    (here / "requirements/serve.txt").write_text(lock)
    (here / "vendor").mkdir()
    monkeypatch.setattr(environments, "uv", lambda: str(Path(sys.executable).with_name("uv")))
    monkeypatch.setattr(environments, "python", lambda _: Path(sys.executable))
    found = []
    for folder in (here / "one", here / "two"):
        (here / "vendor" / name).write_bytes(content)  # each time another time stamp
        build._install(Project(), folder, "x86_64-unknown-linux-gnu")
        files = (path for path in folder.rglob("*") if path.is_file())
        found.append({path.relative_to(folder): path.read_bytes() for path in files})
    assert found[0] == found[1]
    assert Path("gatehouse/serving/app.py") in found[0]
    assert not [path for path in found[0] if path.parts[0] == "bin" or path.name == "uv_cache.json"]
    [record] = [text for path, text in found[0].items() if path.name == "RECORD"]
    assert b"bin/gatehouse" not in record


def test_the_archive_has_one_time_and_the_shipped_dockerfile(here: Path) -> None:
    from gatehouse.packaging import build

    digests = set()
    for _ in range(2):
        shutil.rmtree(build.FOLDER, ignore_errors=True)
        for folder in ("packages/app/site", "files/app", build.LOG):
            (build.FOLDER / folder).mkdir(parents=True)
        (build.FOLDER / "files/app/one.txt").write_text("1")
        build._settle(Project(), build.FOLDER)
        digests.add(hashlib.sha256(build.CONTEXT.read_bytes()).hexdigest())
    assert len(digests) == 1
    with tarfile.open(build.CONTEXT) as context:
        entries: dict[str, Any] = {entry.name: entry for entry in context}
        text = context.extractfile("Dockerfile")
        assert text is not None
        assert b'ENTRYPOINT ["python3", "-m", "gatehouse.serving"]' in text.read()
    assert {entry.mtime for entry in entries.values()} == {EPOCH}
    assert entries[build.LOG].mode == 0o1777
    assert entries["files/app/one.txt"].mode == entries["Dockerfile"].mode == 0o644


def test_what_was_not_committed_goes_into_no_image(here: Path) -> None:
    from gatehouse.packaging.build import commit_here

    with stops("no-commit"):
        commit_here(Project())
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    git(*who, "commit", "-qm", "x")
    assert len(commit_here(Project())) == 40
    for name in ("src/flight_delays/more.py", "deploy.yaml", "deploy/Dockerfile", "vendor/a.whl"):
        (path := here / name).parent.mkdir(exist_ok=True)
        path.write_text("x")
        with stops("not-committed"):
            commit_here(Project())
        path.unlink()
