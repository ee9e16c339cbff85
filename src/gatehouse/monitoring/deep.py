"""Deepchecks' own page of the labelled records against the test rows: an artifact, no gate."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.core.console import say
from gatehouse.core.files import read_yaml
from gatehouse.core.project import Project
from gatehouse.gates.run_checks import deepchecks

FOLDER, PAGE = Path(".monitor/checks"), Path("reports/monitor-checks.html")
LEAST = 200


def draw(project: Project, folder: Path, labelled: pa.Table) -> None:
    """Write reports/monitor-checks.html; without enough labels say so and write none."""
    (project / PAGE).unlink(missing_ok=True)
    if labelled.num_rows < LEAST:
        say(f"monitor: {labelled.num_rows:,} labels are too few for Deepchecks, {LEAST} are wanted")
        return
    columns = read_yaml(project / "schema.yaml")["columns"]
    test = pq.read_table(folder / "data/test.parquet")
    target = next(name for name, one in columns.items() if one.get("role") == "target")
    shared = [n for n in test.column_names if n in labelled.column_names and n in columns]
    truth, kind = labelled["__truth"], test.schema.field(target).type
    ids = pa.array(np.arange(labelled.num_rows, dtype=np.int64))
    live = labelled.select(shared).append_column(
        target, pc.equal(truth, "true") if pa.types.is_boolean(kind) else truth.cast(kind)
    )
    live = live.append_column("__row_id", ids)
    probabilities = [n for n in labelled.column_names if n.startswith("__p_")]
    said = {"row_id": ids, "truth": truth, "prediction": labelled["__prediction"]}
    said |= {name.removeprefix("__"): labelled[name] for name in probabilities}
    (project / FOLDER).mkdir(parents=True, exist_ok=True)
    asked = {"--train-predictions": folder / "predictions/test.parquet"}
    names = [*shared, target, "__row_id"]
    written = {
        "train": test.select(names),
        "test": live.select(names),
        "test-predictions": pa.table(said),
    }
    for name, table in written.items():
        asked[f"--{name}"] = project / FOLDER / f"{name}.parquet"
        pq.write_table(table, asked[f"--{name}"])
    options = [str(part) for option in asked.items() for part in option]
    deepchecks(project, "model", project / PAGE, *options, "--html")
