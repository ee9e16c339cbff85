"""A generated project, and sentences about it."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ENVIRONMENTS = (".venv", ".venv-checks", ".venv-serve")


AUTO = "\nmodel: auto\n"


def trees(rounds: int, kind: str = "Classifier") -> str:
    """What stands in params.yaml for gradient boosting of so many trees, for ``AUTO``."""
    path = f"sklearn.ensemble.HistGradientBoosting{kind}"
    return f"\nmodel: {{class: {path}, params: {{max_iter: {rounds}}}}}\n"


@dataclass(frozen=True)
class BakedProject:
    """What cookiecutter made; every method looks at or works in ``path``."""

    path: Path

    def has_file(self, name: str) -> bool:
        return (self.path / name).is_file()

    def read(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def yaml(self, name: str) -> Any:
        return yaml.safe_load(self.read(name))

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        """Change one passage of a file; it must be there."""
        text = self.read(name)
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new))

    def be_patient(self) -> "BakedProject":
        """Wait longer for the model than a user would: the machine may be many times slower."""
        self.replace("gates.yaml", "latency_ms: 1000", "latency_ms: 60000")
        self.replace("gates.yaml", "timeout_minutes: 10", "timeout_minutes: 120")
        return self

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def files(self) -> set[str]:
        """Every file but git's own, as relative POSIX paths."""
        return {
            path.relative_to(self.path).as_posix()
            for path in self.path.rglob("*")
            if path.is_file() and ".git" not in path.relative_to(self.path).parts
        }

    def run(self, *command: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command here; it must end with ``code`` (None: with any)."""
        environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "MAKEFLAGS")}
        environment["BENTOML_HOME"] = str(self.path.parent / "bentoml")
        done = subprocess.run(
            command, cwd=self.path, env=environment, capture_output=True, text=True, check=False
        )
        said = f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, said
        return done

    def activated(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command as after ``source .venv/bin/activate``."""
        return self.run("env", f"PATH={self.path}/.venv/bin:{os.environ['PATH']}", *command)

    def make(self, *targets: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """``make TARGETS``; make itself ends with 2 whatever a command ended with."""
        return self.run("make", *targets, code=code)

    def gatehouse(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """``gatehouse WORDS`` in the environment, which must be there."""
        return self.run(".venv/bin/gatehouse", *words, code=code)

    def borrow_environments(self, owner: "BakedProject") -> "BakedProject":
        """Use the environments of another project, which has the same locks."""
        for name in ENVIRONMENTS:
            theirs, mine = owner.path / name, self.path / name
            if mine.is_symlink():
                mine.unlink()
            elif mine.exists():
                shutil.rmtree(mine)
            mine.symlink_to(theirs)
        return self
