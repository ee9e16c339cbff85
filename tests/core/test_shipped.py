"""Files that come with the package: the project's own wins, names are filled in, a zip will do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stops import stops

from gatehouse.core.project import Project

BASE = "deploy/kubernetes/base/kustomization.yaml"
SOURCES = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "flight-delays"\n')
    return tmp_path


def test_what_is_shipped_is_named() -> None:
    from gatehouse.core.shipped import names

    expected = {"deploy/stack.yaml", ".github/ruleset.json", ".github/workflows/batch.yml", BASE}
    assert expected <= set(names())
    assert list(names()) == sorted(names())


def test_the_names_of_the_project_are_filled_in(here: Path) -> None:
    from gatehouse.core.shipped import names, text

    assert '/name: "flight-delays"\n' in text(Project(), BASE)
    for name in names():
        assert "cookiecutter." not in text(Project(), name)


def test_the_projects_own_file_wins(here: Path) -> None:
    from gatehouse.core.shipped import path, text

    (own := here / "deploy/haproxy.cfg").parent.mkdir()
    assert text(Project(), "deploy/haproxy.cfg").startswith("# What stands before")
    own.write_text("# @PACKAGE@\n")
    (here / "src/science").mkdir(parents=True)
    (here / "src/science/__init__.py").touch()
    assert text(Project(), "deploy/haproxy.cfg") == "# science\n"
    assert path(Project(), "deploy/haproxy.cfg") == Path("deploy/haproxy.cfg")


def test_a_folder_is_laid_out_with_what_the_project_has_there(here: Path) -> None:
    from gatehouse.core.shipped import laid_out, names

    (here / "deploy/kubernetes/base").mkdir(parents=True)
    (here / BASE).write_text("resources: [own.yaml]\n")
    (here / "deploy/kubernetes/base/own.yaml").write_text("kind: Own\n")
    with laid_out(Project(), "deploy/kubernetes") as folder:
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")}
        shipped = {n.removeprefix("deploy/kubernetes/") for n in names() if "/kubernetes/" in n}
        assert there == shipped | {"base/own.yaml"}
        assert (folder / "base/kustomization.yaml").read_text() == "resources: [own.yaml]\n"
    assert not folder.exists()


def test_what_is_not_there_is_said(here: Path) -> None:
    from gatehouse.core.shipped import package, text

    with stops("shipped-unknown", "deploy/nothing.yaml"):
        text(Project(), "deploy/nothing.yaml")
    with stops("no-package"):
        package(Project())
    for name in ("one", "two"):
        (here / "src" / name).mkdir(parents=True)
        (here / "src" / name / "__init__.py").touch()
    with stops("packages-several", "one, two"):
        package(Project())


def test_a_zip_and_pythons_own_library_will_do(here: Path) -> None:
    shutil.make_archive(str(here / "wheel"), "zip", SOURCES, "gatehouse")
    code = (
        "from gatehouse.core.project import Project\n"
        "from gatehouse.core.shipped import lay_out, names, text\n"
        "from pathlib import Path\n"
        f"lay_out(Project(), 'deploy/trial', Path('out')); print(len(names())); print(text(Project(), {BASE!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(here / "wheel.zip")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "flight-delays" in done.stdout
    assert (here / "out/deploy/trial/champion/kustomization.yaml").is_file()


def test_a_folder_becomes_ones_own_and_what_is_there_stays(here: Path) -> None:
    from gatehouse.cli.project import eject
    from gatehouse.core.errors import GOOD, Stop
    from gatehouse.core.shipped import names

    (here / BASE).parent.mkdir(parents=True)
    (here / BASE).write_text("resources: []\n")
    assert eject("deploy/kubernetes/") == GOOD
    shipped = [name for name in names() if name.startswith("deploy/kubernetes/")]
    there = [path.relative_to(here).as_posix() for path in here.rglob("deploy/**/*.*")]
    assert sorted(there) == shipped
    assert (here / BASE).read_text() == "resources: []\n"
    (here / BASE).unlink()
    assert eject("deploy/kubernetes") == GOOD
    assert "flight-delays" in (here / BASE).read_text()
    for asked, code in (("deploy/kubernetes", "eject-exists"), ("deploy/kube", "shipped-unknown")):
        with pytest.raises(Stop) as stop:
            eject(asked)
        assert stop.value.code == code
