"""A change as data: what of it reaches the judge, and what never does."""

import subprocess
from pathlib import Path

import pytest
from repositories import git

from gatehouse.core.errors import CLOSED, Stop
from gatehouse.core.project import Project
from gatehouse.judge import change

POINTER = (
    "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: 0\n  hash: md5\n  path: source.csv\n"
)
BASE = {
    "params.yaml": "seed: 0\n",
    "gates.yaml": "model: {}\n",
    "dvc.yaml": "stages: {}\n",
    "gatehouse": "#!/bin/sh\n",
    "data/source.csv.dvc": POINTER,
    "src/widget/model.py": "",
    "tests/test_model.py": "",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout of the base branch."""
    monkeypatch.chdir(tmp_path)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a person")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "person@example.org")
    git("init", "--quiet", "--initial-branch=main")
    _write(BASE)
    git("add", "--all")
    git("commit", "--quiet", "--message", "base")
    return Project(tmp_path)


def _write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def _change(files: dict[str, str] | None = None, *, remove: tuple[str, ...] = ()) -> str:
    """A commit on a branch with these files; the base is checked out again. Gives the commit."""
    git("switch", "--quiet", "--create", "change")
    _write(files or {})
    for name in remove:
        git("rm", "--quiet", name)
    git("add", "--all", "--force")
    git("commit", "--quiet", "--message", "change")
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    git("switch", "--quiet", "main")
    return head


def _taken(project: Project, head: str) -> tuple[set[str], list[str]]:
    """The files that the judge's folder then has otherwise, and those that were left out."""
    left = change.take(project, change.merged(project, head))
    said = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], capture_output=True, text=True, check=True
    ).stdout
    return {line[3:] for line in said.splitlines()}, left


def test_what_the_judge_reads_is_taken_as_it_would_be_merged(here: Project) -> None:
    head = _change(
        {"params.yaml": "seed: 1\n", "src/widget/features.py": "x\n", "README.md": "new\n"}
    )
    _write({"gates.yaml": "model: {rows_min: 1}\n"})
    git("commit", "--quiet", "--all", "--message", "meanwhile")
    taken, left = _taken(here, head)
    assert taken == {"params.yaml", "src/widget/features.py"}
    assert left == ["README.md"]
    assert Path("gates.yaml").read_text() == "model: {rows_min: 1}\n"


STEERS = (
    *("GNUmakefile", "Makefile", "conftest.py", "tests/conftest.py", "json.py", "gatehouse.py"),
    *("sitecustomize.py", "uv.toml", "pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg"),
    *("dvc.yaml", "dvc.lock", "data/dvc.yaml", "src/dvc.yaml", "src/a/dvc.yaml", ".dvc/config"),
    *(".dvc/config.local", "src/evil.dvc", "data/deep/source.dvc", "gatehouse", ".env"),
    *("requirements/train.txt", "vendor/gatehouse_ml-9-py3-none-any.whl", ".gitattributes"),
    *(".github/workflows/ci.yml", "tests/test_model.py", "blessing.json", "reports/model.json"),
    *("predictions/test.parquet", "metrics.json", "model/model.skops", "handed/model/model.json"),
    *("champion/champion.json", "data/fetch.py", "pip.conf", ".python-version"),
)


@pytest.mark.parametrize("name", STEERS)
def test_attack_a_file_that_a_tool_reads_by_itself(here: Project, name: str) -> None:
    """ATTACK: `GNUmakefile`, `conftest.py`, a root module, `uv.toml`, a pipeline or a verdict comes with the change | the judge's folder is the base branch's: what is on no list never gets there"""
    taken, left = _taken(here, _change({name: "anything\n"}))
    assert (taken, left) == (set(), [name])


@pytest.mark.parametrize("name", ["params.yaml", "src/widget/features.py", "data/other.csv.dvc"])
def test_attack_a_link_leads_out_of_the_tree(here: Project, name: str) -> None:
    """ATTACK: parameters, a pointer or a module is a symbolic link to a secret of the runner | refused: the judge takes plain files alone"""
    git("switch", "--quiet", "--create", "change")
    Path(name).unlink(missing_ok=True)
    Path(name).symlink_to("/etc/passwd")
    git("add", "--all")
    git("commit", "--quiet", "--message", "a link")
    git("switch", "--quiet", "main")
    with pytest.raises(Stop) as said:
        _taken(here, "change")
    assert (said.value.code, said.value.exit_code) == ("judge-odd-file", CLOSED)


def test_attack_a_module_of_another_repository(here: Project) -> None:
    """ATTACK: src/ is a submodule, whose content nobody reviewed | refused: the judge takes plain files alone"""
    git("switch", "--quiet", "--create", "change")
    head = "0123456789012345678901234567890123456789"
    git("update-index", "--add", "--cacheinfo", f"160000,{head},src/other")
    git("commit", "--quiet", "--message", "a module")
    git("switch", "--quiet", "main")
    with pytest.raises(Stop) as said:
        _taken(here, "change")
    assert said.value.code == "judge-odd-file"


@pytest.mark.parametrize(
    "text",
    [
        "cmd: touch owned\n" + POINTER,
        POINTER + "deps:\n- path: ../x\n",
        POINTER.replace("path: source.csv", "path: source.csv\n  repo: {url: x}"),
        POINTER + "frozen: true\nwdir: /\n",
        POINTER.replace("source.csv", "../../etc/passwd"),
        POINTER.replace("source.csv", "/etc/passwd"),
        POINTER.replace("source.csv", ".."),
        "outs: []\n",
        "outs: 3\n",
        "- 1\n",
        "",
        "outs:\n- path: a\nouts:\n- path: b\n",
        "!!python/object/apply:os.system [x]\n",
    ],
)
def test_attack_a_pointer_that_is_a_command(here: Project, text: str) -> None:
    """ATTACK: a `data/*.dvc` file holds a command, which `dvc repro` would run, or fetches from anywhere | refused: a pointer holds digests of a file beside it"""
    with pytest.raises(Stop) as said:
        _taken(here, _change({"data/source.csv.dvc": text}))
    assert (said.value.code, said.value.exit_code) == ("judge-pointer", CLOSED)


def test_a_pointer_is_taken(here: Project) -> None:
    new = POINTER.replace("d41d", "a41d")
    taken, _ = _taken(here, _change({"data/source.csv.dvc": new}))
    assert taken == {"data/source.csv.dvc"}


IMPORT = "md5: 1\nfrozen: true\ndeps:\n- path: https://example.org/a.csv\n  etag: x\n" + POINTER


def test_attack_an_import_of_elsewhere(here: Project) -> None:
    """ATTACK: an imported table comes from another address | refused: an import keeps the place that it had in the base"""
    _write({"data/source.csv.dvc": IMPORT})
    git("commit", "--quiet", "--all", "--message", "import")
    newer = IMPORT.replace("etag: x", "etag: y").replace("d41d", "a41d")
    head = _change({"data/source.csv.dvc": newer})
    assert _taken(here, head)[0] == {"data/source.csv.dvc"}
    git("checkout", "--quiet", "--", ".")
    git("branch", "--quiet", "--delete", "--force", "change")
    elsewhere = newer.replace("example.org", "169.254.169.254")
    for text in (elsewhere, newer + "cmd: x\n", newer.replace("frozen: true", "frozen: false")):
        with pytest.raises(Stop) as said:
            change.pointer("data/source.csv.dvc", text.encode(), IMPORT.encode())
        assert said.value.code == "judge-pointer"


def test_attack_parameters_move_among_prose(here: Project) -> None:
    """ATTACK: `git mv params.yaml data/*.dvc dvc.lock docs/` | both names of what moved count: they are gone from the judge's folder, too"""
    head = _change({"docs/params.yaml": BASE["params.yaml"]}, remove=("params.yaml",))
    taken, left = _taken(here, head)
    assert (taken, left) == ({"params.yaml"}, ["docs/params.yaml"])


def test_a_file_that_is_too_large(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "FILES", 10)
    with pytest.raises(Stop) as said:
        _taken(here, _change({"src/widget/big.py": "#" * 11}))
    assert said.value.code == "judge-odd-file"


def test_what_conflicts_is_not_judged(here: Project) -> None:
    head = _change({"params.yaml": "seed: 1\n"})
    _write({"params.yaml": "seed: 2\n"})
    git("commit", "--quiet", "--all", "--message", "meanwhile")
    with pytest.raises(Stop) as said:
        change.merged(here, head)
    assert (said.value.code, said.value.exit_code) == ("judge-conflict", CLOSED)


@pytest.mark.parametrize("name", ["main", "--upload-pack=x", "$(id)", "abc"])
def test_a_head_that_is_no_commit(here: Project, name: str) -> None:
    with pytest.raises(Stop) as said:
        change.fetch(here, name)
    assert said.value.code == "judge-no-commit"


def test_it_is_fetched_from_wherever_the_origin_has_it(
    here: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = _change({"params.yaml": "seed: 1\n"})
    there = tmp_path_factory.mktemp("clone") / "clone"
    git("config", "uploadpack.allowAnySHA1InWant", "true")
    git("clone", "--quiet", "--depth=1", "--branch=main", f"file://{here.root}", str(there))
    monkeypatch.chdir(there)
    clone = Project(there)
    change.fetch(clone, head)
    assert _taken(clone, head)[0] == {"params.yaml"}
