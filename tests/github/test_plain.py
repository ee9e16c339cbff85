"""What GitHub's runners start at once: a bare Python and the wheel are enough."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

# What `github.plain` imports once it knows the verb.
MODULES = (
    *(
        "alerts",
        "comment",
        "handover",
        "issues",
        "keys",
        "oidc",
        "pulls",
        "release",
        "setup",
        "training",
        "trust",
    ),
    "webhook",
)


@pytest.fixture(scope="module")
def wheel(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, content = runpy.run_path(str(template_dir / "scripts/build_wheel.py"))["build"]()
    path = tmp_path_factory.mktemp("vendor") / str(name)
    path.write_bytes(content)
    return path


def bare(wheel: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A Python without a single package."""
    command = [sys._base_executable, "-S", *words]  # type: ignore[attr-defined]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(wheel)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_they_import_the_standard_library_alone(wheel: Path, tmp_path: Path) -> None:
    script = "import gatehouse.github.plain\n" + "".join(
        f"import gatehouse.github.{name}\n" for name in MODULES
    )
    done = bare(wheel, tmp_path, "-c", script)
    assert done.returncode == 0, done.stderr


def test_the_wheel_runs_them(wheel: Path, tmp_path: Path) -> None:
    done = bare(wheel, tmp_path, "-m", "gatehouse", "github", "oidc")
    assert (done.returncode, done.stderr) == (
        0,
        "oidc: the data remote needs no token of a cloud\n",
    )
    done = bare(wheel, tmp_path, "-m", "gatehouse", "github", "setup", "--help")
    assert "--dry-run" in done.stdout
    done = bare(wheel, tmp_path, "-m", "gatehouse", "github", "keys", "github", "oidc")
    assert (done.returncode, done.stdout) == (
        0,
        "oidc: the data remote needs no token of a cloud\n",
    )
