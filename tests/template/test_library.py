"""The library reaches a project as one file, the same bytes whoever builds it and wherever from."""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import build_wheel
import pytest
from baked import BakedProject
from cookiecutter.generate import generate_context, generate_files
from cookiecutter.main import cookiecutter
from cookiecutter.prompt import prompt_for_config

import gatehouse

NAME = f"gatehouse_ml-{gatehouse.__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def wheel() -> bytes:
    name, content = build_wheel.build()
    assert name == NAME
    return content


@pytest.fixture(scope="module")
def copied(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template's files as git has them, in a folder of their own."""
    folder = tmp_path_factory.mktemp("copied") / "gatehouse"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=template_dir, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (template_dir / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(template_dir / name, folder / name)
    return folder


def test_a_build_front_end_makes_the_same_file(
    wheel: bytes, template_dir: Path, tmp_path: Path
) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "build", "--wheel", "--quiet", "--offline", "--out-dir", str(tmp_path)]
    subprocess.run([*command, str(template_dir)], check=True)
    assert (tmp_path / NAME).read_bytes() == wheel


def test_other_line_ends_times_and_rights_are_the_same_wheel(
    wheel: bytes, copied: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(copied, folder)
    for path in (folder / "src").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
            path.chmod(0o700)
            os.utime(path, (1, 1))
    (folder / "src/gatehouse/__pycache__").mkdir(exist_ok=True)
    (folder / "src/gatehouse/__pycache__/x.pyc").write_bytes(b"x")
    code = "import build_wheel, hashlib; print(hashlib.sha256(build_wheel.build()[1]).hexdigest())"
    environment = os.environ | {"PYTHONPATH": str(folder / "scripts")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(wheel).hexdigest()


def test_the_wheel_is_one(wheel: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(wheel)
    with zipfile.ZipFile(tmp_path / NAME) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        info = f"gatehouse_ml-{gatehouse.__version__}.dist-info"
        record = archive.read(f"{info}/RECORD").decode().splitlines()
        assert [line.split(",")[0] for line in record] == names
        assert names[-1] == f"{info}/RECORD"
    uv = str(Path(sys.executable).with_name("uv"))
    target = tmp_path / "site"
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--offline", "--target", str(target)]
    subprocess.run([*command, str(tmp_path / NAME)], check=True)
    assert (target / "gatehouse/__init__.py").exists()


def test_the_metadata_are_those_of_pyproject() -> None:
    for name, text in build_wheel.metadata().items():
        path = Path(build_wheel.SOURCES) / build_wheel.INFO / name
        assert path.read_text("utf-8") == text, "run `python scripts/build_wheel.py`"
    assert f"Version: {gatehouse.__version__}\n" in build_wheel.metadata()["METADATA"]


@pytest.mark.parametrize(
    "name",
    [
        "scripts/build_wheel.py",
        *(f"src/gatehouse/{n}.py" for n in ("__main__", "core/environments", "core/errors")),
        "src/gatehouse/core/console.py",
    ],
)
def test_what_makes_the_first_environment_is_read_by_an_older_python(
    template_dir: Path, name: str
) -> None:
    ast.parse((template_dir / name).read_text("utf-8"), feature_version=(3, 9))


def vendored(folder: Path, wheel: bytes) -> None:
    assert (folder / "vendor" / NAME).read_bytes() == wheel
    digest = hashlib.sha256(wheel).hexdigest()
    for lock in ("train", "serve", "checks"):
        text = (folder / f"requirements/{lock}.txt").read_text("utf-8")
        assert text.count(digest) == 1
        assert 64 * "0" not in text
    tracked = subprocess.run(
        ["git", "ls-files", "vendor"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert tracked.stdout.split() == [f"vendor/{NAME}"]


def test_from_a_folder(wheel: bytes, example: BakedProject) -> None:
    vendored(example.path, wheel)


def test_from_a_relative_folder(
    wheel: bytes, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied.parent)
    monkeypatch.setenv("PWD", str(copied.parent))
    vendored(Path(cookiecutter("gatehouse", no_input=True, output_dir=str(tmp_path))), wheel)


def test_from_a_zip(
    wheel: bytes, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    archive = shutil.make_archive(str(tmp_path / "t"), "zip", copied.parent, copied.name)
    vendored(Path(cookiecutter(archive, no_input=True, output_dir=str(tmp_path / "o"))), wheel)


def test_from_a_git_address(
    wheel: bytes, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    bare = tmp_path / "gatehouse.git"
    for command in (
        ["init", "--quiet", "-b", "main", "."],
        ["add", "--all"],
        ["-c", "user.name=x", "-c", "user.email=x@example.invalid", "commit", "--quiet", "-m", "x"],
        ["clone", "--quiet", "--bare", ".", str(bare)],
    ):
        subprocess.run(["git", *command], cwd=copied, check=True)
    shutil.rmtree(copied / ".git")
    made = cookiecutter(bare.as_uri(), no_input=True, output_dir=str(tmp_path / "o"))
    vendored(Path(made), wheel)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no one where a program stands")
def test_by_a_tool_that_does_not_name_the_template(
    wheel: bytes, copied: Path, tmp_path: Path
) -> None:
    """As cruft does, which generates with a context of its own."""
    context = generate_context(str(copied / "cookiecutter.json"))
    context["cookiecutter"].update(prompt_for_config(context, no_input=True))
    context["cookiecutter"]["_template"] = "https://example.invalid/gatehouse.git"
    made = generate_files(str(copied), context, output_dir=str(tmp_path))
    vendored(Path(made), wheel)
