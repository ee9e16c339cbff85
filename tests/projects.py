"""A folder with files of the template, rendered as cookiecutter does, but no generated project.

It takes milliseconds, and no hook runs: what is asked for is there, and nothing else.
"""

import contextlib
import json
import os
import shutil
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from baked import BakedProject
from cookiecutter.environment import StrictEnvironment
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from serving import write_blessing

from gatehouse.core.project import Project

TEMPLATE = Path(__file__).resolve().parents[1]
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
SETTINGS = (
    *("params.yaml", "schema.yaml", "gates.yaml", "monitor.yaml", "ml-canvas.yaml"),
    *("dvc.yaml", "pyproject.toml"),
)


def small_project(folder: Path, *names: str, **answers: str) -> BakedProject:
    """Write these files of a project, or the ``SETTINGS``, into ``folder``.

    ``answers`` are those to cookiecutter's questions; the rest has its default, the example.
    """
    for name in names or SETTINGS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered(name, **answers), encoding="utf-8")
    return BakedProject(folder)


def shared(factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of all workers of a run."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def described(folder: Path, data: Path, **answers: str) -> BakedProject:
    """A small project with these data, whose schema.yaml was inferred from them."""
    from gatehouse.data import describe
    from gatehouse.training.ingest import ingest

    project = small_project(folder, data=str(data), **answers)
    source = folder / project.yaml("params.yaml")["ingest"]["source"]
    source.parent.mkdir()
    shutil.copyfile(data, source)
    with (
        contextlib.chdir(folder),
        mock.patch.object(describe, "_ingest", lambda *_: ingest(Project())),
    ):
        describe.init(Project(), force=False)
    return project


def trained(project: BakedProject) -> BakedProject:
    """The stages that make and measure a model ran in it, and it is blessed without a gate."""
    from gatehouse.training.evaluate import evaluate
    from gatehouse.training.ingest import ingest
    from gatehouse.training.split import split
    from gatehouse.training.train import train

    with contextlib.chdir(project.path):
        for stage in (ingest, split, train, evaluate):
            stage(Project())
    parity = json.loads(project.read("predictions/parity.json"))
    write_blessing(project.path, parity["format"])
    return project


def rendered(name: str, **answers: str) -> str:
    """The text of one file of a project, which is called so in the template, too."""
    text, context = (PROJECT / name).read_text(encoding="utf-8"), _context(**answers)
    if any(fnmatch(name, pattern) for pattern in context["cookiecutter"]["_copy_without_render"]):
        return text
    environment = StrictEnvironment(context=context, keep_trailing_newline=True)
    return str(environment.from_string(text).render(**context))


@cache
def _context(**answers: str) -> dict[str, Any]:
    asked = generate_context(str(TEMPLATE / "cookiecutter.json"), extra_context=answers)
    return {"cookiecutter": prompt_for_config(asked, no_input=True)}
