"""The scikit-learn pipeline fed with a DataFrame, as most people serve it."""

from typing import Any

import pandas as pd
import skops.io
from project import PROJECT, TIMES, utc

WEIGHTS = PROJECT / "model/model.skops"


def load() -> Any:
    """The fitted pipeline; this file is our own, so what it asks for is trusted."""
    return skops.io.load(WEIGHTS, trusted=skops.io.get_untrusted_types(file=WEIGHTS))


def features(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that the pipeline was fitted on: a time becomes parts of it."""
    for name in TIMES:
        moments = pd.to_datetime(frame.pop(name))
        frame[f"{name} (month)"] = moments.dt.month
        frame[f"{name} (weekday)"] = moments.dt.day_of_week
        frame[f"{name} (hour)"] = moments.dt.hour
    return frame


def table(rows: list[Any]) -> pd.DataFrame:
    """Validated rows as a DataFrame."""
    frame = pd.DataFrame([row.model_dump() for row in rows])
    for name in TIMES:
        frame[name] = pd.Series([utc(moment) for moment in frame[name]], dtype="datetime64[us]")
    return frame


def probabilities(pipeline: Any, rows: list[Any]) -> Any:
    """Probabilities (n, k)."""
    return pipeline.predict_proba(features(table(rows)))
