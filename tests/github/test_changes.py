"""Which part of CI a pull request wants: a candidate, but where every path surely is prose."""

import os
from pathlib import Path

import pytest
from repositories import git

from gatehouse.core.project import Project

ALL = "candidate"
KEEP = {
    "README.md": "# Widget\n",
    "docs/use.md": "Use it.\n",
    "params.yaml": "seed: 0\n",
    "dvc.lock": "schema: '2.0'\n",
    "data/source.csv.dvc": "outs:\n- md5: 1\n  path: source.csv\n",
    "src/widget/model.py": "import sys\n",
    "run.sh": "#!/bin/sh\n",
}


@pytest.fixture
def wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Wants":
    """On a branch of a repository that holds ``KEEP``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path.parent / "output"))
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a person")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "person@example.org")
    git("init", "--quiet", "--initial-branch=main")
    for name, text in KEEP.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    git("add", "--all")
    git("commit", "--quiet", "--message", "base")
    git("switch", "--quiet", "--create", "change")
    return Wants()


class Wants:
    """The jobs that a pull request wants."""

    def __call__(self) -> str:
        """What lies in the work tree, committed and merged as GitHub does it."""
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", "change")
        git("switch", "--quiet", "--detach", "main")
        git("merge", "--quiet", "--no-ff", "--message", "merge", "change")
        return self.here()

    def here(self) -> str:
        """What is checked out."""
        from gatehouse.github.changes import changes

        written = Path(os.environ["GITHUB_OUTPUT"])
        written.unlink(missing_ok=True)
        assert changes(Project()) == 0
        name, _, value = written.read_text().partition("<<")
        assert name == "part"
        return value.split("\n")[1]


def put(name: str | bytes, text: str = "x\n") -> None:
    path = Path(os.fsdecode(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "name", ["README.md", "docs/use.md", "docs/more/a page.md", "docs/plot.svg", "LICENSE"]
)
def test_prose_wants_no_model(wants: Wants, name: str) -> None:
    put(name, "Other words.\n")
    assert wants() == "code"


def test_prose_that_goes_or_moves_is_prose(wants: Wants) -> None:
    git("mv", "docs/use.md", "docs/how.md")
    Path("README.md").unlink()
    assert wants() == "code"


@pytest.mark.parametrize("name", ["params.yaml", "data/source.csv.dvc", "dvc.lock"])
def test_attack_what_is_judged_moved_into_docs(wants: Wants, name: str) -> None:
    """ATTACK: `git mv params.yaml data/*.dvc dvc.lock docs/` counts as prose | a moved file is both its names, and only plain words are prose"""
    Path("docs/data").mkdir()
    git("mv", name, f"docs/{name}" if name.startswith("data/") else "docs/")
    assert wants() == ALL


def test_attack_what_is_judged_moved_to_a_name_of_prose(wants: Wants) -> None:
    """ATTACK: params.yaml renamed to docs/params.md | a moved file is both its names"""
    git("mv", "params.yaml", "docs/params.md")
    assert wants() == ALL


@pytest.mark.parametrize("name", ["params.yaml", "data/source.csv.dvc", "src/widget/model.py"])
def test_attack_what_is_judged_deleted(wants: Wants, name: str) -> None:
    """ATTACK: a file that is judged is deleted | a deletion counts as any change"""
    Path(name).unlink()
    assert wants() == ALL


@pytest.mark.parametrize("name", ["x.md", "docs/x.md", "docs/x.png", "LICENSE"])
def test_attack_a_link_with_a_name_of_prose(wants: Wants, name: str) -> None:
    """ATTACK: a symbolic link called x.md | prose is a plain file before and after"""
    Path(name).unlink(missing_ok=True)
    Path(name).symlink_to("/etc/passwd")
    assert wants() == ALL


def test_attack_prose_that_becomes_a_link_or_was_one(wants: Wants) -> None:
    """ATTACK: README.md becomes a symbolic link | prose is a plain file before and after"""
    Path("README.md").unlink()
    Path("README.md").symlink_to("params.yaml")
    assert wants() == ALL
    git("branch", "--quiet", "--force", "main", "HEAD")
    git("switch", "--quiet", "--force-create", "change", "main")
    Path("README.md").unlink()
    put("README.md")
    assert wants() == ALL


def test_attack_a_program_with_a_name_of_prose(wants: Wants) -> None:
    """ATTACK: an executable called x.md, or only its mode | prose has mode 100644 before and after"""
    Path("README.md").chmod(0o755)
    assert wants() == ALL


def test_attack_only_the_mode_changes(wants: Wants) -> None:
    """ATTACK: a script's mode alone changes | modes are compared, not contents"""
    Path("run.sh").chmod(0o755)
    assert wants() == ALL


def test_attack_a_submodule_in_the_place_of_prose(wants: Wants) -> None:
    """ATTACK: a submodule at docs/x.md, which .gitmodules has git ignore | modules are never ignored, and are no prose"""
    put(".gitmodules", '[submodule "x"]\n\tpath = docs/x.md\n\turl = ./x\n\tignore = all\n')
    git("add", ".gitmodules")
    git("commit", "--quiet", "--message", "modules")
    git("branch", "--quiet", "--force", "main", "HEAD")
    git("update-index", "--add", "--cacheinfo", f"160000,{git('rev-parse', 'main')},docs/x.md")
    git("commit", "--quiet", "--message", "module")
    git("switch", "--quiet", "--detach", "main")
    git("merge", "--quiet", "--no-ff", "--message", "merge", "change")
    assert wants.here() == ALL


@pytest.mark.parametrize(
    "name",
    [
        *("-x.md", "--output=x.md", 'docs/a".md', "docs/a\n.md", "docs/a\tb.md", "docs/ä.md"),
        *(b"docs/\xff.md", "docs/.hidden.md", ".github/x.md", "src/widget/x.md", "docs/x.txt"),
        *("docs/x.MD", "docs/x.md.py", "docs/conftest.py", "docs/requirements.txt", "x.md/y.py"),
        *("GNUmakefile", "uv.toml", "sitecustomize.py", "docs/model.onnx", "docs/sub.md/x.yaml"),
    ],
)
def test_attack_a_name_that_nobody_expects(wants: Wants, name: str | bytes) -> None:
    """ATTACK: names with quotes, line ends, other bytes, leading dashes; files that tools read by themselves | prose has a plain name, anything else counts as everything"""
    put(name)
    assert wants() == ALL


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("params.yaml", "ingest: {source: docs/table.md}\n"),
        ("src/widget/data.py", "TABLE = 'docs/table.md'\n"),
        ("data/other.dvc", "outs: [{path: ../docs/table.md}]\n"),
    ],
)
def test_attack_prose_that_is_an_input(wants: Wants, name: str, text: str) -> None:
    """ATTACK: data in docs/table.md, which params.yaml names | what is judged must not name it"""
    put(name, text)
    put("docs/table.md")
    git("add", "--all")
    git("commit", "--quiet", "--message", "as it was")
    git("branch", "--quiet", "--force", "main", "HEAD")
    put("docs/table.md", "other rows\n")
    assert wants() == ALL


def test_attack_a_last_commit_of_prose_hides_no_earlier_one(wants: Wants) -> None:
    """ATTACK: a run on something that is no merge commit, whose last commit is prose | without a base all jobs run"""
    put("params.yaml", "seed: 1\n")
    git("commit", "--quiet", "--all", "--message", "first")
    put("README.md")
    git("commit", "--quiet", "--all", "--message", "words")
    assert wants.here() == ALL
    assert wants() == ALL


def test_nothing_that_differs_is_no_prose(wants: Wants) -> None:
    assert wants() == ALL


def test_a_base_that_is_no_ancestor_is_compared_as_it_is(wants: Wants) -> None:
    git("switch", "--quiet", "main")
    put("params.yaml", "seed: 2\n")
    git("commit", "--quiet", "--all", "--message", "meanwhile")
    git("switch", "--quiet", "change")
    put("README.md", "More.\n")
    assert wants() == "code", "what the base has got meanwhile is no change of this one"
    git("switch", "--quiet", "--orphan", "other")
    put("README.md")
    git("add", "--all")
    git("commit", "--quiet", "--message", "shares nothing")
    git("switch", "--quiet", "--detach", "main")
    git("merge", "--quiet", "--allow-unrelated-histories", "-sours", "-mmerge", "other")
    assert wants.here() == ALL


def test_a_clone_that_is_too_shallow_wants_all(
    wants: Wants, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("README.md", "Other words.\n")
    assert wants() == "code"
    git("branch", "merged", "HEAD")
    for depth, expected in ((2, "code"), (1, ALL)):
        there = tmp_path.parent / f"shallow{depth}"
        words = ("--quiet", f"--depth={depth}", "--branch=merged", f"file://{tmp_path}")
        git("clone", *words, str(there))
        monkeypatch.chdir(there)
        assert wants.here() == expected


def test_only_a_pull_request_may_want_less(wants: Wants, monkeypatch: pytest.MonkeyPatch) -> None:
    put("README.md", "Other words.\n")
    assert wants() == "code"
    for event in ("push", "merge_group", "workflow_dispatch", ""):
        monkeypatch.setenv("GITHUB_EVENT_NAME", event)
        assert wants.here() == ALL
