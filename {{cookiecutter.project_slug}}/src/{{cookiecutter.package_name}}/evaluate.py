"""Stage evaluate: predictions and metrics on both sides of the split."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from . import metrics
from . import model as store
from .baseline import linear_baseline
from .choose import STRENGTH
from .explain import write_importance
from .golden import write_golden
from .onnx_model import OnnxModel, plain
from .params import load_params
from .parity import write_parity
from .round_trip import write_round_trip
from .schema import Column, Schema, load_schema
from .split import ROW_ID, TEST, TRAIN
from .stage import InputError, run_stage, say, whole_file
from .table import to_frame, write_table
from .train import encode_target

CHAMPION = Path("champion")
PREDICTIONS = Path("predictions")
METRICS = Path("metrics.json")


def predictions(
    model: "store.Model | _Onnx", path: Path, schema: Schema
) -> tuple[pa.Table, Any, Any]:
    """Predict every row of ``path``; returns the predictions table, truth and raw prediction."""
    names = [ROW_ID, *model.columns, schema.target]
    frame = to_frame(pq.read_table(path, columns=list(dict.fromkeys(names))))
    truth, raw = encode_target(frame[schema.target], schema), model.predict(frame)
    columns: dict[str, Any] = {"row_id": frame[ROW_ID].to_numpy()}
    if schema.task == "regression":
        columns |= {"truth": truth, "prediction": raw}
    else:
        labels = pa.array(schema.labels)
        columns |= {"truth": labels.take(truth), "prediction": labels.take(raw.argmax(axis=1))}
        columns |= {f"p_{k}": raw[:, k] for k in range(raw.shape[1])}
    return pa.table(columns), truth, raw


def champion_predictions(schema: Schema) -> pa.Table:
    """What the champion says of the candidate's test rows.

    No rows where there is no champion, or where it cannot be asked: then the file's metadata gives
    the reason, and the blessing decides what that means.
    """
    if not (CHAMPION / store.CARD).exists():
        return _nothing()
    say("evaluate: predicting the test rows with the champion")
    try:
        champion = _champion()
        if champion.task != schema.task or champion.classes != schema.classes:
            raise InputError("the champion has another task or other classes than schema.yaml")
        return predictions(champion, TEST, schema)[0]
    except (InputError, pa.ArrowInvalid, KeyError, ValueError, TypeError) as error:
        known = isinstance(error, InputError)
        return _nothing(str(error) if known else "its columns are not those of now")


class _Onnx:
    """A model by its ONNX form, which no version of scikit-learn reads."""

    def __init__(self, directory: Path) -> None:
        card = store.read_card(directory)
        self.task, self.classes, self.columns = card["task"], card["classes"], card["columns"]
        self._model = OnnxModel(directory / store.ONNX)

    def predict(self, raw: pd.DataFrame) -> npt.NDArray[np.float64]:
        """As ``Model.predict``."""
        arrays = self._model.encoder.columns(plain(raw, self.columns))
        return self._model.run(arrays).astype(np.float64)


def _champion() -> store.Model | _Onnx:
    """The champion; made with another scikit-learn, by its ONNX form where that is what served."""
    try:
        return store.load(CHAMPION)
    except store.OtherVersion as error:
        record = json.loads((CHAMPION / "champion.json").read_text(encoding="utf-8"))
        if record.get("serving") != "onnx":
            raise InputError(f"{error}; it has no ONNX form that served in its place") from None
    say("evaluate: the champion was made with another scikit-learn: asking its ONNX form")
    return _Onnx(CHAMPION)


def linear_predictions(
    columns: dict[str, Column], schema: Schema, strength: float = STRENGTH
) -> pa.Table:
    """What the linear baseline says of the test rows; as the champion, it may have no answer."""
    say("evaluate: predicting the test rows with the linear baseline")
    try:
        # Whether it converged quite, or met an unknown category, is of no concern to anybody.
        with warnings.catch_warnings(action="ignore"):
            return predictions(linear_baseline(schema, columns, strength), TEST, schema)[0]
    except (ValueError, TypeError) as error:
        return _nothing(f"it cannot be fitted ({type(error).__name__})")


def _nothing(reason: str = "") -> pa.Table:
    return pa.table({"row_id": pa.array([], pa.int64())}).replace_schema_metadata(
        {"reason": reason} if reason else None
    )


def evaluate() -> str:
    """Write ``predictions/{train,test,linear,champion}.parquet`` and three JSON files beside
    them, and ``metrics.json``.
    """
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
    strength = model.facts.get("choice", {}).get("strength", STRENGTH)
    write_table(linear_predictions(model.columns, schema, strength), PREDICTIONS / "linear.parquet")
    write_golden(model)
    serves = write_parity(model)
    say("evaluate: asking rows of the source on every way")
    write_round_trip(model, schema, load_params().ingest, serves)
    say("evaluate: shuffling the test rows column by column")
    write_importance(model, schema, baseline)
    write_table(champion_predictions(schema), PREDICTIONS / "champion.parquet")
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
