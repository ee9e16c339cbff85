"""Does the ONNX model say what the model says? What decides which of the two serves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from . import model as store
from .blessed import ONNX
from .onnx_model import OnnxModel
from .schema import Column
from .split import TEST
from .stage import InputError, whole_file
from .table import to_frame

PARITY = Path("predictions/parity.json")
ROWS, EDGES, TOLERANCE = 5_000, 20, 1e-5


def write_parity(model: store.Model) -> None:
    """Write ``predictions/parity.json``: the format that serves, and why."""
    with whole_file(PARITY) as draft:
        draft.write_text(json.dumps(parity(model), indent=1) + "\n", encoding="utf-8")


def parity(model: store.Model) -> dict[str, Any]:
    """Hold both against each other on test rows and on odd ones made from them.

    ONNX serves only if every label is equal and every probability within 1e-5; a regression's
    values within 1e-5 of themselves and of their standard deviation.
    """
    why_not = model.facts.get("onnx")
    if not isinstance(why_not, str) or why_not != "converted":
        return {"format": "skops", "reason": why_not or "it was never converted to ONNX"}
    batch = next(pq.ParquetFile(TEST).iter_batches(ROWS, columns=list(model.columns)))
    usual = to_frame(batch)
    frame = pd.concat([usual, *edges(usual.head(EDGES), model.columns)], ignore_index=True)
    try:
        onnx = OnnxModel(store.DIRECTORY / ONNX)
        columns = {name: _plain(frame[name]) for name in frame}
        theirs = onnx.run(onnx.encoder.columns(columns)).astype(np.float64)
    except InputError as error:
        return {"format": "skops", "reason": str(error)}
    except Exception as error:  # whatever a converted graph may fail with, it does not serve
        return {"format": "skops", "reason": f"ONNX fails on test rows ({type(error).__name__})"}
    return compare(model.predict(frame), theirs)


def compare(ours: Any, theirs: Any) -> dict[str, Any]:
    """The verdict on two arrays of predictions, (n, k) probabilities or (n,) values."""
    rows = len(ours)
    if ours.shape != theirs.shape or not rows:
        return {"format": "skops", "reason": f"ONNX gives {theirs.shape}, and not {ours.shape}"}
    difference = np.abs(ours - theirs)
    if ours.ndim == 2:
        labels = int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum())
        largest, allowed = float(difference.max()), TOLERANCE
    else:
        labels = 0
        scale = np.maximum(np.abs(ours), ours.std()) + np.finfo(float).tiny
        largest, allowed = float((difference / scale).max()), TOLERANCE
    found = {"rows": rows, "labels_differ": labels, "max_difference": largest}
    text = f"{rows:,} rows: {labels:,} labels differ, largest difference {largest:.1e}"
    # Not `largest > allowed`: NaN must not pass.
    if labels or not largest <= allowed:
        return {"format": "skops", "reason": f"ONNX says something else on {text}", **found}
    return {"format": "onnx", "reason": f"ONNX says the same on {text}", **found}


def edges(frame: pd.DataFrame, columns: dict[str, Column]) -> list[pd.DataFrame]:
    """Odd rows that a service may be asked: nothing known, unknown text, numbers far off."""
    empty, strange, large = frame.copy(), frame.copy(), frame.copy()
    for name, column in columns.items():
        if column.nullable:
            empty[name] = pd.Series([None] * len(frame), dtype=frame[name].dtype)
        if column.type == "string":
            strange[name] = "no such category ✓"
        elif column.type in ("integer", "number"):
            large[name] = (frame[name] * 1000).astype(frame[name].dtype)
    return [empty, strange, large]


def _plain(values: pd.Series) -> list[Any]:
    return [None if pd.isna(value) else _moment(value) for value in values.tolist()]


def _moment(value: Any) -> Any:
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
