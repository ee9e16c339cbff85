"""The scikit-learn pipeline fed with a DataFrame, as most people serve it."""

from typing import Any

import numpy as np
import pandas as pd
import skops.io
from project import COLUMNS, PROJECT, TIMES, utc

WEIGHTS = PROJECT / "model/model.skops"


def load() -> Any:
    """The fitted pipeline; this file is our own, so what it asks for is trusted."""
    return skops.io.load(WEIGHTS, trusted=skops.io.get_untrusted_types(file=WEIGHTS))


def features(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that the pipeline was fitted on: numbers, text, and parts of the time."""
    parts: dict[str, Any] = {}
    for name, column in COLUMNS.items():
        if name in TIMES:
            moments = pd.to_datetime(frame[name])
            parts[f"{name} (month)"] = moments.dt.month.astype(float)
            parts[f"{name} (weekday)"] = moments.dt.day_of_week.astype(float)
            parts[f"{name} (hour)"] = moments.dt.hour.astype(float)
        elif column["type"] == "string":
            parts[name] = pd.Series(frame[name].to_numpy(object), frame.index, dtype=object)
            parts[name] = parts[name].where(parts[name].notna(), np.nan)
        else:
            parts[name] = frame[name].astype(float)
    return pd.DataFrame(parts, index=frame.index)


def table(rows: list[Any]) -> pd.DataFrame:
    """Validated rows as a DataFrame."""
    frame = pd.DataFrame([row.model_dump() for row in rows])
    for name in TIMES:
        frame[name] = pd.Series([utc(moment) for moment in frame[name]], dtype="datetime64[us]")
    return frame


def probabilities(pipeline: Any, rows: list[Any]) -> Any:
    """Probabilities (n, k)."""
    return pipeline.predict_proba(features(table(rows)))
