"""Run by the gate, too: a test that fails here closes it."""

from gatehouse import Project
from gatehouse.core.config.params import load_params
from gatehouse.core.config.schema import load_schema

from {{ cookiecutter.package_name }}.model import build


def test_build_gives_an_estimator_that_can_be_cloned() -> None:
    project = Project.here()
    made = build(load_params(project), load_schema(project, filled=False))
    if made is not None:
        from sklearn.base import clone  # takes seconds, and the gate runs this each time

        assert clone(made) is not made
