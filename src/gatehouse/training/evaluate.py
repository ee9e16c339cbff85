"""Stage evaluate: predictions and metrics on both sides of the split."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.core.config.params import load_params
from gatehouse.core.config.results import Champion, Metrics, read_result, write_result
from gatehouse.core.config.schema import Column, Schema, Task, load_schema
from gatehouse.core.console import say
from gatehouse.core.digests import CARD, MODEL, ONNX
from gatehouse.core.errors import InputError
from gatehouse.core.layout import CHAMPION as RECORD
from gatehouse.core.layout import METRICS as OUT
from gatehouse.core.project import Project
from gatehouse.data.tables import to_frame, write_table
from gatehouse.metrics.table import METRICS, Rows
from gatehouse.serving.derived import Derived, again
from gatehouse.serving.onnx_model import OnnxModel, plain
from gatehouse.serving.skops_model import Model, OtherVersion, read_card
from gatehouse.serving.skops_model import load as load_model

from .baseline import linear_baseline
from .choose import STRENGTH
from .explain import write_importance
from .golden import write_golden
from .parity import write_parity
from .round_trip import write_round_trip
from .split import ROW_ID, TEST, TRAIN
from .train import encode_target

CHAMPION = Path("champion")
PREDICTIONS = Path("predictions")
_CLASSES = ("accuracy", "balanced_accuracy", "log_loss", "skill")
_BINARY = ("roc_auc", "average_precision", "brier", "precision", "recall", "f1")
MEASURED = {  # by task, in the order of metrics.json; the blessing measures what gates.yaml names
    "binary": (*_CLASSES, *_BINARY),
    "multiclass": (*_CLASSES, "f1_macro"),
    "regression": ("r2", "skill", "rmse", "mae"),
}


def predictions(model: "Model | _Onnx", path: Path, schema: Schema) -> tuple[pa.Table, Any, Any]:
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


def champion_predictions(project: Project, schema: Schema) -> pa.Table:
    """What the champion says of the candidate's test rows.

    No rows where there is no champion, or where it cannot be asked: then the file's metadata gives
    the reason, and the blessing decides what that means.
    """
    if not (project / CHAMPION / CARD).exists():
        return _nothing()
    say("evaluate: predicting the test rows with the champion")
    try:
        champion = _champion(project)
        if champion.task != schema.task or champion.classes != schema.classes:
            raise InputError(
                "champion-of-other-task",
                "the champion has another task or other classes than schema.yaml",
            )
        return predictions(champion, project / TEST, schema)[0]
    except (InputError, pa.ArrowInvalid, KeyError, ValueError, TypeError) as error:
        known = isinstance(error, InputError)
        return _nothing(str(error) if known else "its columns are not those of now")


class _Onnx:
    """A model by its ONNX form, which no version of scikit-learn reads."""

    def __init__(self, directory: Path) -> None:
        card = read_card(directory)
        self.task, self.classes, self.columns = card["task"], card["classes"], card["columns"]
        columns = {name: Column(**column) for name, column in self.columns.items()}
        derive = again(directory, card, columns)
        self._model = OnnxModel(directory / ONNX, derive=derive)

    def predict(self, raw: pd.DataFrame) -> npt.NDArray[np.float64]:
        """As ``Model.predict``."""
        arrays = self._model.encoder.columns(plain(raw, self.columns))
        return self._model.run(arrays).astype(np.float64)


def _champion(project: Project) -> Model | _Onnx:
    """The champion; made with another scikit-learn, by its ONNX form where that is what served."""
    try:
        return load_model(project / CHAMPION, root=project / CHAMPION)
    except OtherVersion as error:
        if read_result(project / RECORD, Champion, old=True).serving != "onnx":
            raise InputError(
                "champion-no-onnx", f"{error}; it has no ONNX form that served in its place"
            ) from None
    say("evaluate: the champion was made with another scikit-learn: asking its ONNX form")
    return _Onnx(project / CHAMPION)


def linear_predictions(
    project: Project,
    columns: dict[str, Column],
    schema: Schema,
    strength: float = STRENGTH,
    derive: Derived | None = None,
) -> pa.Table:
    """What the linear baseline says of the test rows; as the champion, it may have no answer."""
    say("evaluate: predicting the test rows with the linear baseline")
    try:
        # Whether it converged quite, or met an unknown category, is of no concern to anybody.
        with warnings.catch_warnings(action="ignore"):
            return predictions(
                linear_baseline(project, schema, columns, strength, derive), project / TEST, schema
            )[0]
    except (ValueError, TypeError) as error:
        return _nothing(f"it cannot be fitted ({type(error).__name__})")


def _nothing(reason: str = "") -> pa.Table:
    return pa.table({"row_id": pa.array([], pa.int64())}).replace_schema_metadata(
        {"reason": reason} if reason else None
    )


def evaluate(project: Project) -> str:
    """Write ``predictions/{train,test,linear,champion}.parquet`` and three JSON files beside
    them, and ``metrics.json``.
    """
    schema, model = load_schema(project), load_model(project / MODEL)
    if foreign := sorted(set(model.columns) - set(schema.features)):
        raise InputError(
            "model-of-other-columns",
            f"the model reads {foreign[0]!r}, which is no feature of schema.yaml: train it again",
        )
    results: dict[str, Any] = {}
    baseline: Any = None
    for side, path in (("train", project / TRAIN), ("test", project / TEST)):
        say(f"evaluate: predicting the {side} rows")
        table, truth, raw = predictions(model, path, schema)
        write_table(table, project / PREDICTIONS / f"{side}.parquet")
        if baseline is None:
            regression = schema.task == "regression"
            baseline = float(truth.mean()) if regression else _prior(truth, len(schema.classes))
        results[side] = {"rows": len(truth), **measured(schema.decided_task, truth, raw, baseline)}
    strength = model.facts.get("choice", {}).get("strength", STRENGTH)
    write_table(
        linear_predictions(project, model.columns, schema, strength, model.derive),
        project / PREDICTIONS / "linear.parquet",
    )
    write_golden(project, model)
    serves = write_parity(project, model)
    say("evaluate: asking rows of the source on every way")
    write_round_trip(project, model, schema, load_params(project).ingest, serves)
    say("evaluate: shuffling the test rows column by column")
    write_importance(project, model, schema, baseline)
    write_table(champion_predictions(project, schema), project / PREDICTIONS / "champion.parquet")
    write_result(project / OUT, Metrics(**results))
    shown = {name: value for name, value in results["test"].items() if value is not None}
    text = ", ".join(f"{name} {value:.4g}" for name, value in shown.items() if name != "rows")
    return f"{results['test']['rows']:,} test rows: {text}"


def measured(task: Task, truth: Any, raw: Any, baseline: Any) -> dict[str, float | None]:
    """Metrics of predictions by name; one that is undefined on these rows is None.

    ``truth`` holds class positions or values (n,), ``raw`` probabilities (n, k) or values (n,),
    ``baseline`` the class shares (k,) or the mean target of the training rows.
    """
    rows = Rows(truth, raw, baseline)
    found = {name: METRICS[name].measure(rows) for name in MEASURED[task]}
    values = {name: None if one is None else one[0] for name, one in found.items()}
    if task == "regression":
        values["median_absolute_error"] = float(np.median(np.abs(rows.error)))
    return {n: v if v is not None and np.isfinite(v) else None for n, v in values.items()}


def _prior(truth: Any, classes: int) -> Any:
    # One pseudo-row a class: a class that training never saw must not cost an infinite loss.
    counts = np.bincount(truth, minlength=classes) + 1.0
    return counts / counts.sum()
