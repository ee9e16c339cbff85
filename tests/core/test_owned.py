"""Whose a file is: one list, in GitHub's own rules; and what a change of files means to a reader."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from projects import rendered

from gatehouse.core import owned
from gatehouse.core.owned import Change


def of(texts: dict[str, str]) -> owned.Read:
    """A side of a change that holds these texts."""
    return lambda path: texts.get(path)


RELEASED = [
    *("params.yaml", "dvc.lock", "README.md", "SECURITY.md", "docs/why.md", "docs/a/plan.svg"),
    *("src/flights/features.py", "src/flights/deep/er.py", "src/flights/words.json"),
    *("tests/test_features.py", "data/source.csv.dvc", "data/2026/11/more.dvc", "docs/ä b\n.txt"),
]
OWNED = [
    *owned.WITNESSES,
    *("data/fetch.py", "data/source.csv", "src.py", "docs.md/dvc.yaml", "tests/deep/test_x.py"),
    *("data/x.dvc/conftest.py", "src/x.md/ruff.toml", "src/a.egg-info/entry_points.txt", ".env"),
    *(
        "tests/test_x.py/conftest.py",
        "src/f.cpython-311-x86_64-linux-gnu.so",
        "docs/.gitattributes",
    ),
    *(
        ".venv/bin/python",
        ".uv/bin/uv",
        "src/f/__pycache__/features.cpython-311.pyc",
        "Params.yaml",
    ),
    *("docs/GNUmakefile", "makefile", "src/usercustomize.py", "requirements/train.txt/x.py"),
]


def test_the_file_of_the_template_is_the_list() -> None:
    rules = owned.rules(rendered(".github/CODEOWNERS", github_owner="ada"))
    assert [(pattern, bool(owners)) for pattern, owners in rules] == [*owned.RULES]
    assert {owner for _, owners in rules for owner in owners} == {"@ada"}


def test_patterns_mean_what_they_mean_to_git(tmp_path: Path) -> None:
    """GitHub documents gitignore's rules, less escapes, ranges and negation, and ``folder/*``."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    names = [*RELEASED, *OWNED, "a/b.md/c", "x/params.yaml", "data/data/x.dvc", "a/src/b", "src"]
    for pattern in dict(owned.RULES):
        assert not pattern.endswith("/*") and not set(pattern) & {"!", "[", "\\", "#"}
        (tmp_path / ".gitignore").write_text(pattern + "\n", encoding="utf-8")
        words = ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "-z", "--stdin"]
        done = subprocess.run(
            words, input="\0".join(names).encode(), capture_output=True, cwd=tmp_path, check=False
        )
        ignored = set(done.stdout.decode().split("\0")) - {""}
        assert ignored == {name for name in names if owned.matches(pattern, name)}, pattern


@pytest.mark.parametrize("path", RELEASED)
def test_the_science_is_released(path: str) -> None:
    assert not owned.owned(path)


@pytest.mark.parametrize("path", OWNED)
def test_attack_a_file_that_a_tool_reads_by_itself(path: str) -> None:
    """ATTACK: a `GNUmakefile`, `conftest.py`, `uv.toml`, root module, `dvc.yaml` in `docs/` … that a tool reads by itself | all but the released science is the owner's in CODEOWNERS, and named in the first lines of the report"""
    assert owned.owned(path)
    assert owned.told([Change(path, status="added")], of({}), of({}))
    assert owned.told([Change("docs/new.txt", path, "renamed")], of({}), of({}))


@pytest.mark.parametrize(
    "open_", ["/gates.yaml @x\n", "* @x\n/src/\nconftest.py\n", "# * @x\n", ""]
)
def test_attack_a_codeowners_that_leaves_something_open(open_: str) -> None:
    """ATTACK: a CODEOWNERS that names a few files, so that new ones are nobody's | closed by default; the doctor says *lacking* for what is open once there is an origin"""
    assert owned.unguarded(open_)
    assert owned.unguarded("* @acme/ml # all\n/src/   \nsrc/conftest.py a@b.org\n") == []


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def test_attack_files_that_move_or_become_links(tmp_path: Path) -> None:
    """ATTACK: `git mv params.yaml data/*.dvc dvc.lock docs/`, a file that becomes a link or a submodule | both names of what moves and its mode are read, and said"""
    git(tmp_path, "init", "-q")
    for name in ("params.yaml", "data/source.csv.dvc", "src/a.py", "gates.yaml", "docs/q"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n" * 9)
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@y.z", "commit", "-qm", "x")
    git(tmp_path, "mv", "params.yaml", "docs/params.yaml")
    git(tmp_path, "mv", "data/source.csv.dvc", "docs/a\tb.dvc")
    git(tmp_path, "mv", "gates.yaml", "docs/gates.md")
    (tmp_path / "src/a.py").unlink()
    (tmp_path / "src/a.py").symlink_to("../x")
    (tmp_path / "docs/q").chmod(0o755)
    git(tmp_path, "add", ".")
    git(tmp_path, "update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},docs/sub")
    said = git(tmp_path, "diff", "--cached", "--raw", "-z", "-M", "HEAD")
    assert owned.told(owned.by_git(said), of({}), of({})) == [
        "of the owner: docs/a\tb.dvc, gates.yaml",
        "no longer in its place: data/source.csv.dvc (now docs/a\tb.dvc), params.yaml (now docs/params.yaml)",
        "no ordinary file: docs/q (a program), docs/sub (a submodule), src/a.py (a link)",
    ]
    listed: list[dict[str, Any]] = [
        {"filename": "docs/p.md", "previous_filename": "params.yaml", "status": "renamed"},
        {"filename": "dvc.lock", "status": "removed"},
    ]
    [line] = owned.told(owned.by_github(listed), of({}), of({}))
    assert line == "no longer in its place: params.yaml (now docs/p.md), dvc.lock"


def pinned(version: str, digit: str) -> str:
    line = f"gatehouse-ml=={version} \\\n    --hash=sha256:{digit * 64}\n    # via -r train.in\n"
    return f"dvc==3 \\\n    --hash=sha256:{'0' * 64}\n{line}yaml==1\n"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (pinned("2.1.0", "b"), "gatehouse-ml, 2.0.0, is now 2.1.0 in requirements/train.txt"),
        (pinned("2.0.0", "b"), "another wheel, sha256:aaaaaaaaaaaa is now sha256:bbbbbbbbbbbb, in"),
        ("dvc==3\n", "2.0.0, is now gone in requirements/train.txt"),
        (None, "2.0.0, is now gone"),
    ],
)
def test_attack_another_judge(now: str | None, said: str) -> None:
    """ATTACK: the pin of the library, or the wheel behind it, is another in the change | the base branch's pin judges; old and new version or digest stand in the first lines"""
    lock, was = "requirements/train.txt", pinned("2.0.0", "a")
    before, after = {lock: was}, {lock: now} if now else {}
    assert said in owned.told([Change(lock)], of(before), of(after))[0]
    with_science = owned.told([Change(lock), Change("src/a.py")], of(before), of(after))
    assert "better changed alone" in with_science[1]
    same = owned.told([Change(lock)], of(before), of({lock: was + "more==1\n"}))
    assert same == [f"of the owner: {lock}"]


TESTS = "def test_a():\n    pass\n\n\nclass TestB:\n    def test_b(self):\n        pass\n"


@pytest.mark.parametrize(
    ("now", "gone"),
    [
        (TESTS.replace("test_a", "check_a"), "test_a"),
        ('"""' + TESTS + '"""\n', "test_a, test_b"),
        (TESTS.replace("def test_a", "@pytest.mark.skip\ndef test_a"), "test_a"),
        (TESTS.replace("    def", "    @unittest.skipIf(True, '')\n    def"), "test_b"),
        ("pytestmark = pytest.mark.skip\n" + TESTS, "test_a, test_b"),
        ("pytest.skip('', allow_module_level=True)\n" + TESTS, "test_a, test_b"),
        ("if False:\n" + "".join(f"    {line}\n" for line in TESTS.splitlines()), "test_a, test_b"),
        ("(" * 50_000, "test_a, test_b"),
        (TESTS + "\0", "test_a, test_b"),
        (None, "test_a, test_b"),
    ],
)
def test_attack_tests_that_vanish(now: str | None, gone: str) -> None:
    """ATTACK: tests of the code are deleted, renamed, skipped, or turned into a text | said by name in the first lines"""
    path, texts = "tests/test_x.py", {"tests/test_x.py": now} if now else {}
    line = owned.told([Change(path)], of({path: TESTS}), of(texts))[0]
    assert line == f"tests are gone or skipped: {gone}"


def test_tests_that_move_or_come_are_no_loss() -> None:
    old, new = "tests/test_x.py", "tests/test_y.py"
    moved = [Change(new, old, "renamed")]
    assert owned.told(moved, of({old: TESTS}), of({new: "import x\n" + TESTS})) == []
    parted = [Change(old), Change(new, status="added")]
    first, _, last = TESTS.partition("\n\n\n")
    assert owned.told(parted, of({old: TESTS}), of({old: first, new: last})) == []
    many = [Change(f"tests/test_{k}.py") for k in range(30)]
    assert "10 files more were not read" in owned.told(many, of({}), of({}))[0]
