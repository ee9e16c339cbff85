"""A stage runs again when what can change its result does: its modules and its versions."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject

# What a stage starts as a process of its own, which no import tells.
STARTS = {
    "ops.run_checks": ["ops/checks/__main__.py"],
    "ops.model_tests": ["tests/conftest.py", "tests/model"],
}
LOCKS = {"ops.checks": "requirements/checks.txt"}  # all other modules: train.txt
# These read settings, and every version of them reads the same.
READERS = {"yaml"}


class Modules:
    """The Python files of a project, and what they import."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, Path] = {}
        for base, folder in ((root, "ops"), (root, "tests"), (root / "src", "flight_delays")):
            for path in (base / folder).rglob("*.py"):
                name = ".".join(path.relative_to(base).with_suffix("").parts)
                self.files[name.removesuffix(".__init__")] = path

    def imports(self, name: str, tree: ast.AST | None = None) -> Iterator[str]:
        """Dotted names, wherever the import stands: each could be a module or what is in one."""
        path = self.files[name]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(tree or ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                parts = [*(above if node.level else []), *([node.module] if node.module else [])]
                yield ".".join(parts)
                yield from (".".join([*parts, alias.name]) for alias in node.names)

    def closure(self, names: Iterable[str]) -> tuple[set[str], set[str]]:
        """Our modules that these lead to, and packages of others -> which of our locks."""
        ours: set[str] = set()
        locks: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name in ours:
                continue
            ours.add(name)
            for path in STARTS.get(name, []):
                todo += [n for n, f in self.files.items() if f.is_relative_to(self.root / path)]
            # Importing a package runs its __init__.py.
            found = [*self.imports(name), *parents(name)]
            todo += [one for one in found if one in self.files]
            foreign = {one.partition(".")[0] for one in found} - sys.stdlib_module_names
            if foreign - READERS - {"ops", "flight_delays", "tests", ""}:
                locks.add(
                    next(
                        (lock for m, lock in LOCKS.items() if name.startswith(m)),
                        "requirements/train.txt",
                    )
                )
        return ours, locks

    def silent(self, name: str) -> bool:
        """Nothing but words: such an ``__init__.py`` changes no result."""
        body = ast.parse(self.files[name].read_text(encoding="utf-8")).body
        return all(
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body
        )

    def of_verb(self, verb: str) -> list[str]:
        """What ``python -m ops VERB`` imports, as ops/__main__.py says."""
        tree = ast.parse(self.files["ops.__main__"].read_text(encoding="utf-8"))
        for case in (node for node in ast.walk(tree) if isinstance(node, ast.match_case)):
            value = getattr(case.pattern, "value", None)
            named = getattr(value, "value", "catalogue")  # the last case is all that is left
            if named == verb:
                block = ast.Module(body=case.body, type_ignores=[])
                return [n for n in self.imports("ops.__main__", block) if n in self.files]
        raise AssertionError(f"ops/__main__.py knows no verb {verb}")


def parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts))]


def lacking(project: BakedProject, stages: dict[str, Any]) -> list[str]:
    """The lines that dvc.yaml lacks."""
    modules, found = Modules(project.path), []
    for stage, about in stages.items():
        if about.get("always_changed"):
            continue
        words = re.fullmatch(r"python -m (\S+)(?: (\S+))?.*", about["cmd"])
        assert words, about["cmd"]
        start = modules.of_verb(words[2]) if words[1] == "ops" else [words[1]]
        ours, locks = modules.closure(start)
        needed = {
            str(modules.files[n].relative_to(project.path)) for n in ours if not modules.silent(n)
        }
        for path in sorted(needed | locks):
            covered = any(Path(path).is_relative_to(dep) for dep in about["deps"])
            if not covered:
                found.append(f"stage {stage}: add `- {path}` to its deps in dvc.yaml")
    return found


def test_every_stage_names_the_modules_and_locks_that_it_runs_on(example: BakedProject) -> None:
    assert lacking(example, example.yaml("dvc.yaml")["stages"]) == []


@pytest.mark.parametrize(
    ("stage", "path"),
    [
        ("train", "src/flight_delays/params.py"),  # imported
        ("train", "src/flight_delays/schema.py"),  # imported by what is imported
        ("evaluate", "src/flight_delays/search.py"),
        ("data_checks", "ops/personal.py"),  # imported late, inside a function
        ("model_checks", "ops/checks"),  # a process of its own
        ("data_checks", "requirements/checks.txt"),
        ("train", "requirements/train.txt"),
    ],
)
def test_a_line_that_is_missing_is_named(example: BakedProject, stage: str, path: str) -> None:
    stages = example.yaml("dvc.yaml")["stages"]
    stages[stage]["deps"].remove(path)
    found = lacking(example, stages)
    assert found
    assert all(one.startswith(f"stage {stage}: add `- {path}") for one in found)


def test_the_service_and_its_page_train_nothing(example: BakedProject) -> None:
    deps = example.yaml("dvc.yaml")["stages"]["train"]["deps"]
    assert not [dep for dep in deps if "service" in dep or Path(example.path, dep).is_dir()]


def test_what_stages_name_is_there(example: BakedProject) -> None:
    made = (
        "data/",
        "reports/",
        "model",
        "champion",
        "predictions",
        "blessing.json",
        "metrics.json",
    )
    stages = example.yaml("dvc.yaml")["stages"].values()
    deps = {dep for about in stages for dep in about["deps"] if not dep.startswith(("${", *made))}
    assert sorted(dep for dep in deps if not (example.path / dep).exists()) == []
