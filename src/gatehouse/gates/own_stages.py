"""A stage of one's own: whether it leaves what the library's leaves, and that the verdict says so.

The command of a stage in ``dvc.yaml`` may be anybody's. ``check`` holds what it left against what
the stages after it read, and ``replaced`` names the stages that ran other code.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gatehouse.core.config import results
from gatehouse.core.config.schema import Schema, load_schema
from gatehouse.core.digests import MODEL
from gatehouse.core.errors import InputError, Stop
from gatehouse.core.files import read_json, read_yaml
from gatehouse.core.layout import BLESSING, CATALOGUE, CHAMPION, GOLDEN, METRICS, PARITY, ROUND_TRIP
from gatehouse.core.project import Project

from . import data_gate

PIPELINE = Path("dvc.yaml")
EVALUATED: dict[Path, type[results.Result]] = {
    METRICS: results.Metrics,
    GOLDEN: results.Golden,
    PARITY: results.Parity,
    ROUND_TRIP: results.RoundTrip,
}
# Who runs these in code of her own decides what the gate believes.
JUDGES = (
    "data_checks",
    "data_gate",
    "split",
    "evaluate",
    "model_checks",
    "model_tests",
    "blessing",
)


def replaced(project: Project) -> list[str]:
    """The stages that judge and run other code than the library's, or do not stand there."""
    stages = read_yaml(project / PIPELINE).get("stages") or {}
    commands = {name: (stages.get(name) or {}).get("cmd") for name in JUDGES}
    return [name for name, command in commands.items() if command != f"gatehouse stage {name}"]


def check(project: Project, name: str) -> str:
    """Say that what stage ``name`` left is what it must leave; raises ``Stop`` where it is not."""
    if name not in LEAVES:
        raise Stop("stage-unknown", f"there is no stage {name!r}: it is one of {', '.join(LEAVES)}")
    LEAVES[name](project)
    return "it left what it must"


def _dataset(project: Project) -> None:
    schema = load_schema(project, filled=False)
    _table(project, "data/dataset.parquet", [schema.target, *schema.columns])


def _sides(project: Project) -> None:
    import numpy as np
    import pyarrow.parquet as pq

    from gatehouse.training.split import ROW_ID

    schema = load_schema(project)
    ids = []
    for side in ("train", "test"):
        path = _table(project, f"data/{side}.parquet", [ROW_ID, *_used(schema)])
        ids.append(pq.read_table(path, columns=[ROW_ID])[ROW_ID].to_numpy())
    _table(project, "data/reference.parquet", _used(schema))
    if len(np.unique(np.concatenate(ids))) != sum(map(len, ids)):
        raise InputError(
            "own-stage-row-id",
            f"a {ROW_ID} stands twice in data/train.parquet and data/test.parquet",
        )


def _model(project: Project) -> None:
    from gatehouse.serving.skops_model import load

    load(project / MODEL)


def _predictions(project: Project) -> None:
    import pyarrow.parquet as pq

    schema = load_schema(project)
    columns = ["row_id", "truth", "prediction", *(f"p_{k}" for k in range(len(schema.classes)))]
    for side in ("train", "test"):
        path = _table(project, f"predictions/{side}.parquet", columns)
        rows, asked = pq.read_metadata(path).num_rows, project / f"data/{side}.parquet"
        if asked.exists() and rows != pq.read_metadata(asked).num_rows:
            raise InputError(
                "own-stage-rows",
                f"{path} has {rows:,} rows, and {asked} another number: predict each",
            )
    for name, model in EVALUATED.items():
        results.read_result(project / name, model)
    read_json(project / "predictions/importance.json")


def _findings(name: str, project: Project) -> None:
    results.read_findings(project / f"reports/{name}.json")


def _file(path: Path, model: type[results.Result], project: Project) -> None:
    results.read_result(project / path, model, "write what the next stages read")


LEAVES: dict[str, Callable[[Project], None]] = {
    "ingest": _dataset,
    "data_checks": partial(_findings, "data"),
    "data_gate": partial(_file, data_gate.REPORT, results.DataGate),
    "split": _sides,
    "train": _model,
    "champion": partial(_file, CHAMPION, results.Champion),
    "evaluate": _predictions,
    "model_checks": partial(_findings, "model"),
    "model_tests": partial(_findings, "model_tests"),
    "blessing": partial(_file, BLESSING, results.Blessing),
    "catalogue": partial(_file, CATALOGUE, results.Catalogue),
}


def _used(schema: Schema) -> list[str]:
    return [*schema.features, schema.target]


def _table(project: Project, name: str, columns: list[str]) -> Path:
    """A Parquet file with rows, and with these columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = project / name
    try:
        about: Any = pq.read_metadata(path)
        names = pq.read_schema(path).names
    except FileNotFoundError:
        raise InputError("own-stage-missing", f"{path} is not there: write it") from None
    except (OSError, pa.ArrowInvalid):
        raise InputError(
            "own-stage-no-parquet", f"{path} is no Parquet file: write it as one"
        ) from None
    if not about.num_rows:
        raise InputError("own-stage-empty", f"{path} has no row: write some")
    if missing := [column for column in dict.fromkeys(columns) if column not in names]:
        said = ", ".join(map(repr, missing[:5]))
        raise InputError(
            "own-stage-columns", f"{path} lacks the columns {said}: write them, by these names"
        )
    return path
