"""Deepchecks' own page of the labelled records against the test rows: an artifact, no gate."""

from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse.core.console import say
from gatehouse.core.files import read_yaml
from gatehouse.core.project import Project

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER, PAGE = Path(".monitor/checks"), Path("reports/monitor-checks.html")
LEAST = 200


def draw(project: Project, folder: Path, labelled: "pa.Table") -> None:
    """Write reports/monitor-checks.html; without enough labels say so and write none."""
    (project / PAGE).unlink(missing_ok=True)
    if labelled.num_rows < LEAST:
        say(f"monitor: {labelled.num_rows:,} labels are too few for Deepchecks, {LEAST} are wanted")
        return
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gatehouse.gates.run_checks import deepchecks

    columns = read_yaml(project / "schema.yaml")["columns"]
    test = pq.read_table(folder / "data/test.parquet")
    target = next(name for name, one in columns.items() if one.get("role") == "target")
    shared = [n for n in test.column_names if n in labelled.column_names and n in columns]
    truth = labelled["__truth"]
    kind = test.schema.field(target).type
    ids = pa.array(np.arange(labelled.num_rows, dtype=np.int64))
    live = labelled.select(shared).append_column(target, _cast(truth, kind))
    live = live.append_column("__row_id", ids)
    probabilities = [n for n in labelled.column_names if n.startswith("__p_")]
    said = {"row_id": ids, "truth": truth, "prediction": labelled["__prediction"]}
    said |= {name.removeprefix("__"): labelled[name] for name in probabilities}
    (project / FOLDER).mkdir(parents=True, exist_ok=True)
    pq.write_table(test.select([*shared, target, "__row_id"]), project / FOLDER / "train.parquet")
    pq.write_table(live.select([*shared, target, "__row_id"]), project / FOLDER / "test.parquet")
    pq.write_table(pa.table(said), project / FOLDER / "test-predictions.parquet")
    deepchecks(
        project,
        "model",
        project / PAGE,
        *(
            "--train",
            str(project / FOLDER / "train.parquet"),
            "--test",
            str(project / FOLDER / "test.parquet"),
        ),
        *("--train-predictions", str(folder / "predictions/test.parquet")),
        *("--test-predictions", str(project / FOLDER / "test-predictions.parquet"), "--html"),
    )


def _cast(truth: "pa.ChunkedArray", kind: "pa.DataType") -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(kind):
        return pc.equal(truth, "true")
    return truth.cast(kind)
