"""Does the ONNX model say what the model says? What decides which of the two serves."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from gatehouse.core.config.results import Parity, write_result
from gatehouse.core.digests import MODEL, ONNX, Format
from gatehouse.core.errors import InputError
from gatehouse.core.layout import PARITY
from gatehouse.core.project import Project
from gatehouse.data.tables import to_frame
from gatehouse.serving.arrays import Arrays
from gatehouse.serving.onnx_model import OnnxModel, plain
from gatehouse.serving.skops_model import Model

from .edges import edges
from .split import TEST
from .split_points import edge_rows, split_rows

ROWS, BASE, TOLERANCE = 5_000, 1_000, 1e-5


def write_parity(project: Project, model: Model) -> Format:
    """Write ``predictions/parity.json``: the format that serves, which is returned, and why."""
    said = parity(project, model)
    if not np.isfinite(said.get("max_difference", 0)):
        said["max_difference"] = None  # JSON has no such number
    found = Parity(**said)
    write_result(project / PARITY, found)
    return found.format


def parity(project: Project, model: Model) -> dict[str, Any]:
    """Hold both against each other: on test rows, on odd ones made from them, at every split point.

    ONNX serves only if every label is equal and every probability within 1e-5; a regression's
    values within 1e-5 of themselves and of the standard deviation of those of the test rows.
    """
    why_not = model.facts.get("onnx")
    if not isinstance(why_not, str) or why_not != "converted":
        return {"format": "skops", "reason": why_not or "it was never converted to ONNX"}
    batch = next(pq.ParquetFile(project / TEST).iter_batches(ROWS, columns=list(model.columns)))
    usual = to_frame(batch)
    try:
        return _asked(project, model, OnnxModel(project / MODEL / ONNX, derive=model.derive), usual)
    except InputError as error:
        return {"format": "skops", "reason": str(error)}
    except Exception as error:  # whatever a converted graph may fail with, it does not serve
        return {"format": "skops", "reason": f"ONNX fails on test rows ({type(error).__name__})"}


def _asked(project: Project, model: Model, onnx: OnnxModel, usual: pd.DataFrame) -> dict[str, Any]:
    frame = pd.concat([usual, edges(usual, model.columns)], ignore_index=True)
    features = model.features(frame)
    arrays = onnx.encoder.columns(plain(frame, model.columns))
    if wrong := _unlike(features, arrays, onnx):
        return {"format": "skops", "reason": f"ONNX is fed another {wrong} than the pipeline"}
    ours = model.predict_features(features)
    spread = float(ours[: len(usual)].std()) if ours.ndim == 1 else None
    found = compare(ours, onnx.run(arrays).astype(np.float64), spread=spread)
    found["asked"] = asked = {"test_rows": len(usual), "odd_rows": len(frame) - len(usual)}
    base = features.iloc[: min(BASE, len(usual))].reset_index(drop=True)
    points, asked["split_points"], asked["of"] = split_rows(
        model.pipeline, project / MODEL / ONNX, base
    )
    rows = {"at split points": points, "at the edges": edge_rows(base, model.pipeline)}
    for where, made in rows.items():
        asked[f"rows {where}"] = len(made)
        if found["format"] == "onnx" and len(made):
            theirs = onnx.run(_as_arrays(made, onnx)).astype(np.float64)
            ours = model.predict_features(made)
            one = compare(ours, theirs, spread=spread, what=f"rows {where}")
            one["max_difference"] = max(one["max_difference"], found["max_difference"])
            one["rows"], one["asked"] = one["rows"] + found["rows"], asked
            if one["format"] == "onnx":
                one["reason"] = _same(one["rows"], 0, one["max_difference"])
            found = one
    if asked["of"]:
        some = f"{asked['split_points']:,} of " if asked["split_points"] < asked["of"] else "all "
        found["reason"] += f"; asked at {some}{asked['of']:,} split points"
    return found


def compare(
    ours: Any, theirs: Any, *, spread: float | None = None, what: str = "rows"
) -> dict[str, Any]:
    """The verdict on two arrays of predictions, (n, k) probabilities or (n,) values.

    ``spread`` is what small differences of values are measured by, if not their own deviation;
    ``what`` calls the rows by a name.
    """
    rows = len(ours)
    if ours.shape != theirs.shape or not rows:
        return {"format": "skops", "reason": f"ONNX gives {theirs.shape}, and not {ours.shape}"}
    difference = np.abs(ours - theirs)
    if ours.ndim == 2:
        labels = int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum())
        largest, allowed = float(difference.max()), TOLERANCE
    else:
        labels = 0
        spread = ours.std() if spread is None else spread
        scale = np.maximum(np.abs(ours), spread) + np.finfo(float).tiny
        largest, allowed = float((difference / scale).max()), TOLERANCE
    found = {"rows": rows, "labels_differ": labels, "max_difference": largest}
    text = f"{rows:,} {what}: {labels:,} labels differ, largest difference {largest:.1e}"
    # Not `largest > allowed`: NaN must not pass.
    if labels or not largest <= allowed:
        return {"format": "skops", "reason": f"ONNX says something else on {text}", **found}
    return {"format": "onnx", "reason": _same(rows, labels, largest), **found}


def _same(rows: int, labels: int, largest: float) -> str:
    text = f"{rows:,} rows: {labels:,} labels differ, largest difference {largest:.1e}"
    return f"ONNX says the same on {text}"


def _as_arrays(features: pd.DataFrame, onnx: OnnxModel) -> Arrays:
    """Features as ONNX is fed them."""
    found: Arrays = {}
    if onnx.labels["numbers"]:
        found["numbers"] = features[onnx.labels["numbers"]].to_numpy(dtype=np.float32)
    if onnx.labels["text"]:
        fill = onnx.encoder.fill
        text = [features[name].fillna(fill[name]) for name in onnx.labels["text"]]
        found["text"] = np.array(text, dtype=object).T
    return found


def _unlike(features: pd.DataFrame, arrays: Arrays, onnx: OnnxModel) -> str:
    """The feature that is not the same, to the last bit, in the arrays; nothing where all are."""
    for kind, expected in _as_arrays(features, onnx).items():
        for k, label in enumerate(onnx.labels[kind]):
            same: npt.NDArray[np.bool_] = expected[:, k] == arrays[kind][:, k]
            if kind == "numbers":
                same |= np.isnan(expected[:, k]) & np.isnan(arrays[kind][:, k])
            if not same.all():
                return repr(label)
    return ""
