"""Stage evaluate: predictions and metrics on both sides of the split."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import metrics
from . import model as store
from .schema import Schema, load_schema
from .split import ROW_ID, TEST, TRAIN
from .stage import run_stage, say, whole_file
from .table import write_table
from .train import encode_target

PREDICTIONS = Path("predictions")
METRICS = Path("metrics.json")


def predictions(model: store.Model, path: Path, schema: Schema) -> tuple[pa.Table, Any, Any]:
    """Predict every row of ``path``; returns the predictions table, truth and raw prediction."""
    names = [ROW_ID, *model.columns, schema.target]
    frame = pq.read_table(path, columns=list(dict.fromkeys(names))).to_pandas()
    truth, raw = encode_target(frame[schema.target], schema), model.predict(frame)
    columns: dict[str, Any] = {"row_id": frame[ROW_ID].to_numpy()}
    if schema.task == "regression":
        columns |= {"truth": truth, "prediction": raw}
    else:
        labels = pa.array(schema.labels)
        columns |= {"truth": labels.take(truth), "prediction": labels.take(raw.argmax(axis=1))}
        columns |= {f"p_{k}": raw[:, k] for k in range(raw.shape[1])}
    return pa.table(columns), truth, raw


def evaluate() -> str:
    """Write ``predictions/{train,test}.parquet`` and ``metrics.json``."""
    schema, model = load_schema(), store.load()
    results: dict[str, Any] = {}
    baseline: Any = None
    for side, path in (("train", TRAIN), ("test", TEST)):
        say(f"evaluate: predicting the {side} rows")
        table, truth, raw = predictions(model, path, schema)
        write_table(table, PREDICTIONS / f"{side}.parquet")
        if schema.task == "regression":
            baseline = float(truth.mean()) if baseline is None else baseline
            values = metrics.regression(truth, raw, baseline)
        else:
            if baseline is None:
                baseline = _prior(truth, len(schema.classes))
            values = metrics.classification(truth, raw, baseline)
        results[side] = {"rows": len(truth), **values}
    with whole_file(METRICS) as draft:
        draft.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    shown = {name: value for name, value in results["test"].items() if value is not None}
    text = ", ".join(f"{name} {value:.4g}" for name, value in shown.items() if name != "rows")
    return f"{results['test']['rows']:,} test rows: {text}"


def _prior(truth: Any, classes: int) -> Any:
    # One pseudo-row a class: a class that training never saw must not cost an infinite loss.
    counts = np.bincount(truth, minlength=classes) + 1.0
    return counts / counts.sum()


if __name__ == "__main__":
    run_stage("evaluate", evaluate)
