"""What the tests of a model share: a plugin, since pytest reads no conftest.py there."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest

from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.rules import is_number
from gatehouse.core.config.schema import load_schema
from gatehouse.core.hooks import on_path
from gatehouse.core.project import Project
from gatehouse.serving import skops_model as store
from gatehouse.training.train import encode_target

ROWS = 10_000
Tested = tuple[pd.DataFrame, npt.NDArray[Any]]


class Beyond(AssertionError):
    """What was measured is beyond what is allowed; both go into the finding."""

    def __init__(self, said: str, value: float, threshold: float) -> None:
        super().__init__(said)
        self.measured = {"value": value, "threshold": threshold}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a failing test measured stands in its finding, as `record_property` would put it."""
    if call.excinfo:
        item.user_properties += getattr(call.excinfo.value, "measured", {}).items()
    return (yield)


@pytest.fixture(scope="session")
def built() -> Path:
    """The repository, once the pipeline has made a model."""
    if not Path("metrics.json").exists():
        pytest.skip("the pipeline has not run: `make pipeline` first")
    return Path.cwd()


@pytest.fixture(scope="session")
def model(built: Path) -> store.Model:
    """The candidate, which may be of a class of the user's own."""
    on_path(Project())
    return store.load(built / "model")


@pytest.fixture(scope="session")
def tested(built: Path, model: store.Model) -> Tested:
    """At most 10,000 test rows, evenly from first to last, and their class positions or values."""
    schema = load_schema(Project(built))
    names = list(dict.fromkeys([*model.columns, schema.target]))
    table = pq.read_table(built / "data/test.parquet", columns=names)
    chosen = np.linspace(0, table.num_rows - 1, min(ROWS, table.num_rows)).astype(int)
    frame = table.take(chosen).to_pandas()
    return frame[list(model.columns)], encode_target(frame[schema.target], schema)


@pytest.fixture(scope="session")
def limit(built: Path) -> Callable[[str, str], float]:
    """A number of `model_tests` in gates.yaml: a gate without numbers is no gate."""
    rules = gates_section(Project(built), "model_tests")

    def number(section: str, name: str) -> float:
        found = (rules.get(section) or {}).get(name)
        said = f"gates.yaml needs a number above 0 as model_tests.{section}.{name}"
        assert is_number(found), said
        assert found > 0, said
        return float(found)

    return number
