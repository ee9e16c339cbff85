import math
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from {{ cookiecutter.package_name }} import model as store
from {{ cookiecutter.package_name }}.schema import load_schema
from {{ cookiecutter.package_name }}.train import encode_target

ROWS = 10_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a failing test measured stands in its finding, as `record_property` would put it."""
    if call.excinfo:
        item.user_properties += getattr(call.excinfo.value, "measured", {}).items()
    return (yield)


@pytest.fixture(scope="session")
def model(built: Path) -> store.Model:
    return store.load(built / "model")


@pytest.fixture(scope="session")
def tested(built: Path, model: store.Model) -> tuple[pd.DataFrame, np.ndarray]:
    """At most 10,000 test rows, evenly from first to last, and their class positions or values."""
    schema = load_schema(built / "schema.yaml")
    names = list(dict.fromkeys([*model.columns, schema.target]))
    table = pq.read_table(built / "data/test.parquet", columns=names)
    chosen = np.linspace(0, table.num_rows - 1, min(ROWS, table.num_rows)).astype(int)
    frame = table.take(chosen).to_pandas()
    return frame[list(model.columns)], encode_target(frame[schema.target], schema)


@pytest.fixture(scope="session")
def limit(built: Path) -> Callable[[str, str], float]:
    """A number of `model_tests` in gates.yaml: a gate without numbers is no gate."""
    gates = yaml.safe_load((built / "gates.yaml").read_text(encoding="utf-8")) or {}

    def number(section: str, name: str) -> float:
        found = ((gates.get("model_tests") or {}).get(section) or {}).get(name)
        good = type(found) in (int, float) and math.isfinite(found) and found > 0
        assert good, f"gates.yaml needs a number above 0 as model_tests.{section}.{name}"
        return float(found)

    return number
