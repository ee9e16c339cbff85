"""Manifests as a project has them: what is shipped, filled in, and held against Kubernetes' schemas."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from brokers import program

from gatehouse.core.project import Project

OLDEST, NEWEST = "1.27", "1.37"  # the oldest that knows every field


class Invalid(Exception):
    """No cluster would take it."""


def name_project(folder: Path, name: str = "flight-delays") -> None:
    """All that what is shipped asks of a project."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "0.1.0"\n')


def eject(name: str) -> Path:
    """The shipped file as the project's own, to be changed."""
    from gatehouse.core.shipped import text

    (path := Path(name)).parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(Project(), name), encoding="utf-8")
    return path


def built(overlay: Path) -> list[Any]:
    """What ``kubectl apply -k`` would send."""
    command = [program("kubectl"), "kustomize", str(overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Invalid(done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def valid(documents: list[Any]) -> list[Any]:
    """The same, each held against Kubernetes' schemas."""
    for document in documents:
        if flaw := _flaw(json.dumps(document, sort_keys=True)):
            raise Invalid(f"{document['kind']}: {flaw}")
    return documents


@cache
def _flaw(document: str) -> str:
    """Most manifests are those of the test before."""
    from kubernetes_validate import SchemaNotFoundError, ValidationError, validate

    for version in (OLDEST, NEWEST):
        try:
            validate(json.loads(document), version, strict=True)
        except (SchemaNotFoundError, ValidationError) as error:
            return str(error.message)
    return ""
