"""A stage of one's own: what it must leave, and what the verdict says of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gate_files import BLESSED, GOOD, put

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
    put("predictions/importance.json", {})
    put("predictions/golden.json", {"model_digest": "sha256:m", "rows": [], "answers": []})
    put("predictions/parity.json", {"format": "onnx", "reason": "the same"})
    put("predictions/round_trip.json", {"rows": 0, "ways": [], "differ": []})
    put("metrics.json", {"train": {}, "test": {}})
    for name in ("data", "model", "model_tests"):
        put(f"reports/{name}.json", {"findings": [GOOD]})
    put("reports/data_gate.json", {"open": True, "rows": ROWS, "reasons": [], "findings": []})
    Path("champion").mkdir()
    put("champion/champion.json", {"found": False})
    put("blessing.json", BLESSED | {"model_digest": "sha256:m"})
    put("reports/catalogue.json", {"model_digest": ""})
    return here


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - {"train"}))
def test_what_the_library_leaves_is_enough(left: Path, name: str) -> None:
    assert check(Project(), name)


BROKEN: dict[str, tuple[Callable[[], Any], str, str]] = {
    "ingest": (
        lambda: table("data/dataset.parquet", x=[1.0]),
        "own-stage-columns",
        "'y'",
    ),
    "split": (
        lambda: table("data/test.parquet", x=[1.0], y=["no"], **{"__row_id": [0]}),
        "own-stage-row-id",
        "data/test.parquet",
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
        "own-stage-rows",
        "has 1 rows",
    ),
    "train": (lambda: None, "model-missing", "model.json"),
    "data_checks": (
        lambda: put("reports/data.json", {"findings": []}),
        "findings-empty",
        "reports/data.json",
    ),
    "model_checks": (
        lambda: Path("reports/model.json").unlink(),
        "file-missing",
        "reports/model.json",
    ),
    "model_tests": (
        lambda: put("reports/model_tests.json", {"findings": [1]}),
        "file-damaged",
        "findings.0",
    ),
    "data_gate": (lambda: put("reports/data_gate.json", {"open": True}), "file-damaged", "rows"),
    "champion": (lambda: put("champion/champion.json", {}), "file-damaged", "found"),
    "blessing": (lambda: put("blessing.json", {"blessed": True}), "file-damaged", "model_digest"),
    "catalogue": (lambda: put("reports/catalogue.json", {}), "file-damaged", "model_digest"),
}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_what_is_missing_or_wrong_is_said(left: Path, name: str) -> None:
    breaks, code, value = BROKEN[name]
    breaks()
    with pytest.raises(Stop, match=value) as stop:
        check(Project(), name)
    assert stop.value.code == code


def test_an_unknown_stage_is_named(left: Path) -> None:
    with pytest.raises(Stop, match="there is no stage 'trian'"):
        check(Project(), "trian")


def test_attack_own_code_in_place_of_a_judging_stage(here: Path, template_dir: Path) -> None:
    """ATTACK: a stage of `dvc.yaml` that judges runs another command, or is gone | `dvc.yaml` is the owner's; the verdict says *judged by own code*"""
    stages = {name: {"cmd": f"gatehouse stage {name}"} for name in JUDGES}
    put("dvc.yaml", {"stages": stages})
    assert replaced(Project()) == []
    stages["evaluate"]["cmd"] = "python mine.py"
    del stages["split"]
    put("dvc.yaml", {"stages": stages})
    assert replaced(Project()) == ["split", "evaluate"]
