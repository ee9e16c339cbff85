"""Files of the folder do not steer the tools that a run starts."""

import ast
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from projects import PROJECT, TEMPLATE, rendered

from gatehouse.core import environments
from gatehouse.core.errors import Stop
from gatehouse.core.project import Project
from gatehouse.vcs import dvc

SHIPPED = TEMPLATE / "src/gatehouse/files"
# What `python -m` of a module, of the library or of a package would find first.
MODULES = ("json", "argparse", "subprocess", "venv", "compileall", "yaml", "sitecustomize")
EVIL = (
    "from pathlib import Path\nPath(__file__).with_name('STEERED').touch()\nraise SystemExit(0)\n"
)


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder with a module for whatever might be imported from it."""
    for name in (*MODULES, "usercustomize", "_pytest", "conftest"):
        (tmp_path / f"{name}.py").write_text(EVIL)
    for name in ("gatehouse", "dvc", "uv", "pip", "pytest"):
        (tmp_path / "package" / name).mkdir(parents=True)
        (tmp_path / "package" / name).rename(tmp_path / name)
        for module in ("__init__", "__main__"):
            (tmp_path / name / f"{module}.py").write_text(
                EVIL.replace("(__file__)", "(__file__).parent")
            )
    return tmp_path


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | variables
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_attack_a_module_in_the_root(planted: Path) -> None:
    """ATTACK: a module in the root (`json.py`, a folder `gatehouse/`, `sitecustomize.py`) that Python imports in place of its own | the script starts Python isolated (`-I`) with the wheel of `vendor/` first"""
    (planted / "gatehouse").rename(planted / "gatehouse.old")
    (planted / "gatehouse.py").write_text(EVIL)
    (planted / "gatehouse").write_text(rendered("gatehouse"))
    name, content = runpy.run_path(str(TEMPLATE / "scripts/build_wheel.py"))["build"]()
    (planted / "vendor").mkdir()
    (planted / "vendor" / name).write_bytes(content)
    for words in (("github", "oidc"), ("github", "keys", "github", "oidc")):
        done = run(planted, "sh", "./gatehouse", *words, PYTHONPATH=".", PYTHONSTARTUP="json.py")
        said = done.stdout + done.stderr
        assert (done.returncode, said) == (0, "oidc: the data remote needs no token of a cloud\n")
    assert not list(planted.rglob("STEERED"))


def test_attack_a_module_beside_python_m(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ATTACK: a root module that every `python -m` imports first | each Python is started with `-P`, and all that these start with `PYTHONSAFEPATH=1`"""
    from gatehouse.cli import main
    from gatehouse.cli.run import own

    done = run(planted, *own("--version"), PYTHONPATH=str(TEMPLATE / "src"))
    assert (done.returncode, done.stdout[:10]) == (0, "gatehouse "), done.stderr
    for name in ("PYTHONSAFEPATH", "UV_NO_CONFIG", "UV_CONFIG_FILE"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
    monkeypatch.setattr(sys, "path", [*sys.path])
    main.prepare()
    (planted / "json.py").unlink()
    (planted / "json").mkdir()
    (planted / "json/tool.py").write_text(EVIL)
    words = [sys.executable, "-m", "json.tool", "--help"]
    shown = subprocess.run(words, cwd=planted, capture_output=True, text=True, check=True)
    assert "usage" in shown.stdout
    assert not list(planted.rglob("STEERED"))


def starts() -> Iterator[tuple[str, object]]:
    """Each list of words with ``-m`` before a name: its place, and the word before."""
    template = PROJECT / "data/{{cookiecutter.__fetch_file}}"
    for path in (*TEMPLATE.joinpath("src/gatehouse").rglob("*.py"), template):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.List, ast.Tuple)):
                words = [e.value if isinstance(e, ast.Constant) else None for e in node.elts]
                for k in (k for k, word in enumerate(words[:-1]) if word == "-m" and words[k + 1]):
                    yield f"{path}:{node.lineno}", words[k - 1] if k else None


def test_attack_no_python_has_the_folder_first() -> None:
    """ATTACK: the same, by a Python that some verb of the library starts | a test reads every call in the sources"""
    found = [*starts()]
    assert len(found) > 8
    assert [place for place, before in found if before not in ("-P", "-I")] == []


def test_attack_uv_toml(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ATTACK: `uv.toml` or `[tool.uv]` in the folder names another index, or where Pythons are fetched | uv is started without configuration of the folder; a person's own stays"""
    monkeypatch.chdir(planted)
    for name in ("UV_CONFIG_FILE", "UV_NO_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(planted / "config"))
    uv = str(Path(sys.executable).with_name("uv"))

    def cache() -> str:
        done = run(planted, uv, "cache", "dir", **environments.steady())
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    for name, table in (("uv.toml", ""), ("pyproject.toml", "[tool.uv]\n")):
        (planted / name).write_text(f'{table}cache-dir = "/steered"\n')
        assert run(planted, uv, "cache", "dir").stdout.strip() == "/steered", "it would be read"
        assert cache() != "/steered"
    (planted / "config/uv").mkdir(parents=True)
    (planted / "config/uv/uv.toml").write_text('cache-dir = "/own"\n')
    assert cache() == "/own"
    (planted / "uv.toml").write_text("no [ toml")
    environments._uv("cache", "dir")


@pytest.mark.parametrize("folder", [".venv", ".venv-checks", ".uv"])
def test_attack_an_environment_in_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """ATTACK: a commit that brings `.venv/` (or `.uv/`) with a program and the stamp of its lock | an environment that git knows is refused by name"""
    monkeypatch.chdir(tmp_path)
    Path("requirements").mkdir()
    Path("requirements/train.txt").write_text("x==1\n")
    program = environments.python("train")
    program.parent.mkdir(parents=True)
    program.write_text("")
    environments._mark("train", "lock", environments._digest("x==1\n", "3.11"))
    subprocess.run(["git", "init", "-q"], check=True)
    assert environments.ensure("train") == program
    Path(folder).mkdir(exist_ok=True)
    Path(folder, "stamp").touch()
    subprocess.run(["git", "add", "-f", f"{folder}/stamp"], check=True)
    with pytest.raises(Stop) as stopped:
        environments.ensure("train")
    assert stopped.value.code == "environment-brought"
    assert f"{folder} is in git" in str(stopped.value)


def commands() -> Iterator[tuple[str, str]]:
    """Every ``run:`` of a workflow that a project may have, by its place."""
    files = [*PROJECT.glob(".github/workflows/*"), *SHIPPED.glob(".github/workflows/*")]
    for path in files:
        for name, job in yaml.safe_load(path.read_text("utf-8"))["jobs"].items():
            for step in job.get("steps", []):
                yield f"{path.name}: {name}", step.get("run", "")


def test_attack_a_gnumakefile() -> None:
    """ATTACK: a `GNUmakefile` of five lines, which `make` reads before the `Makefile` | no workflow calls make, or a Python of its own: each step is `./gatehouse`"""
    found = [*commands()]
    assert len(found) > 20
    asked = re.compile(r"(^|[\s;&|(])(make|python3?|uv|pip|dvc|pytest|source|\.)\s")
    assert [place for place, text in found if asked.search(text)] == []


POINTER = "outs:\n- md5: a\n  size: 1\n  hash: md5\n  path: {}\n"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"docs/dvc.yaml": "stages: {}\n"}, "pipeline-elsewhere"),
        ({".github/dvc.yaml": "stages: {}\n"}, "pipeline-elsewhere"),
        ({"data/a.dvc": "cmd: touch STEERED\n" + POINTER.format("a")}, "pointer-command"),
        ({"docs/a.dvc": "cmd: touch STEERED\n" + POINTER.format("a")}, "pointer-command"),
        ({"data/a.dvc": "wdir: ..\n" + POINTER.format("gates.yaml")}, "pointer-command"),
        ({"data/a.dvc": "deps: [{path: x}]\n" + POINTER.format("a")}, "pointer-command"),
        ({"data/a.dvc": POINTER.format("../gates.yaml")}, "pointer-elsewhere"),
        ({"data/a.dvc": POINTER.format("/etc/x")}, "pointer-elsewhere"),
        ({"data/a.dvc": POINTER.format("s3://x/y")}, "pointer-elsewhere"),
        ({"data/a.dvc": POINTER.format("a") + "- path: fetch.py\n"}, "pointer-elsewhere"),
        ({"data/a.dvc": POINTER.format("link/x")}, "pointer-elsewhere"),
        ({"data/a.dvc": POINTER.format("tools")}, "pointer-elsewhere"),
        ({"data/a.dvc": "[" * 9}, "file-damaged"),
        ({"data/a.dvc": "- outs\n"}, "file-damaged"),
    ],
)
def test_attack_another_pipeline(tmp_path: Path, files: dict[str, str], code: str) -> None:
    """ATTACK: `dvc.yaml` in another folder, or a pointer `*.dvc` with a command, or with a file of git for its data, which `dvc repro` would run or overwrite | refused by name before DVC starts"""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    good = {
        "dvc.yaml": "stages: {}\n",
        "data/fetch.py": "",
        "data/source.csv.dvc": POINTER.format("source.csv"),
    }
    good["data/new.dvc"] = "deps: [{path: s3://b/x}]\nfrozen: true\nmd5: a\n" + POINTER.format(
        "new"
    )
    good["data/tools/x.py"] = ""
    (tmp_path / "data/tools").mkdir(parents=True)
    (tmp_path / "data/link").symlink_to("..")
    (tmp_path / "data/broken.dvc").symlink_to("nowhere")
    for name, text in good.items():
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    dvc.alone(Project(tmp_path))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(Stop) as stopped:
        dvc.alone(Project(tmp_path))
    assert stopped.value.code == code
