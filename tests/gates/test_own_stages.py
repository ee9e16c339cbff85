"""A stage of one's own: what it must leave, and what the verdict says of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gate_files import GOOD, put

from gatehouse.core.errors import Stop
from gatehouse.core.project import Project
from gatehouse.gates.own_stages import JUDGES, LEAVES, check, replaced

SCHEMA = {
    "task": "binary",
    "target": "y",
    "classes": ["no", "yes"],
    "columns": {"x": {"type": "number"}, "y": {"type": "string", "role": "target"}},
}
ROWS = 20


def table(name: str, **columns: Any) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), name)


@pytest.fixture
def left(here: Path) -> Path:
    """What the library's stages leave, but for the model."""
    put("schema.yaml", SCHEMA)
    x, y = np.arange(ROWS, dtype=float), np.array(["no", "yes"] * (ROWS // 2))
    table("data/dataset.parquet", x=x, y=y)
    for side, ids in (("train", range(15)), ("test", range(15, 20))):
        rows = np.array(ids)
        table(f"data/{side}.parquet", x=x[rows], y=y[rows], **{"__row_id": rows})
        odds = np.full(len(rows), 0.5)
        said = {"truth": y[rows], "prediction": y[rows], "p_0": odds, "p_1": odds}
        table(f"predictions/{side}.parquet", row_id=rows, **said)
    table("data/reference.parquet", x=x[:5], y=y[:5])
    for name in ("golden", "parity", "round_trip", "importance"):
        put(f"predictions/{name}.json", {})
    put("metrics.json", {})
    for name in ("data", "model", "model_tests"):
        put(f"reports/{name}.json", {"findings": [GOOD]})
    put("reports/data_gate.json", dict.fromkeys(("open", "rows", "reasons", "findings")))
    Path("champion").mkdir()
    put("champion/champion.json", {"found": False})
    keys = ("blessed", "model_digest", "reasons", "rules", "serving")
    put("blessing.json", dict.fromkeys(keys))
    put("reports/catalogue.json", {"model_digest": ""})
    return here


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - {"train"}))
def test_what_the_library_leaves_is_enough(left: Path, name: str) -> None:
    assert check(Project(), name)


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "ingest": (lambda: table("data/dataset.parquet", x=[1.0]), "lacks the columns 'y'"),
    "split": (
        lambda: table("data/test.parquet", x=[1.0], y=["no"], **{"__row_id": [0]}),
        "stands twice",
    ),
    "evaluate": (
        lambda: table(
            "predictions/test.parquet",
            row_id=[1],
            truth=["no"],
            prediction=["no"],
            p_0=[1.0],
            p_1=[0.0],
        ),
        "has 1 rows",
    ),
    "train": (lambda: None, r"model\.json is not there"),
    "data_checks": (lambda: put("reports/data.json", {"findings": []}), "nothing was checked"),
    "model_checks": (lambda: Path("reports/model.json").unlink(), "is not there"),
    "model_tests": (lambda: put("reports/model_tests.json", {"findings": [1]}), "is damaged"),
    "data_gate": (lambda: put("reports/data_gate.json", {"open": True}), "lacks rows"),
    "champion": (lambda: put("champion/champion.json", {}), "lacks found"),
    "blessing": (lambda: put("blessing.json", {"blessed": True}), "lacks model_digest"),
    "catalogue": (lambda: put("reports/catalogue.json", {}), "lacks model_digest"),
}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_what_is_missing_or_wrong_is_said(left: Path, name: str) -> None:
    breaks, said = BROKEN[name]
    breaks()
    with pytest.raises(Stop, match=said):
        check(Project(), name)


def test_an_unknown_stage_is_named(left: Path) -> None:
    with pytest.raises(Stop, match="there is no stage 'trian'"):
        check(Project(), "trian")


def test_a_stage_that_judges_by_own_code_is_named(here: Path, template_dir: Path) -> None:
    stages = {name: {"cmd": f"gatehouse stage {name}"} for name in JUDGES}
    put("dvc.yaml", {"stages": stages})
    assert replaced(Project()) == []
    stages["evaluate"]["cmd"] = "python mine.py"
    del stages["split"]
    put("dvc.yaml", {"stages": stages})
    assert replaced(Project()) == ["split", "evaluate"]
