"""``python mlflow_log.py FOLDER``: the pipeline as an MLflow model in FOLDER.

``mlflow models serve`` validates no values; a time is parsed by a step before the pipeline.
"""

import sys
from pathlib import Path

import mlflow.sklearn
import pandas as pd
from pandas_model import load
from project import COLUMNS, TIMES
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer


def calendar(frame: pd.DataFrame) -> pd.DataFrame:
    """Parts of each time in its place; pickled whole, since it is a function of ``__main__``."""
    parts = {}
    for name in COLUMNS:
        if name in TIMES:
            moments = pd.to_datetime(frame[name])
            parts[f"{name} (month)"] = moments.dt.month.astype(float)
            parts[f"{name} (weekday)"] = moments.dt.day_of_week.astype(float)
            parts[f"{name} (hour)"] = moments.dt.hour.astype(float)
        else:
            parts[name] = frame[name]
    return pd.DataFrame(parts)


def log(folder: Path) -> None:
    """Save the model; it answers probabilities, so that answers can be compared."""
    pipeline = load()
    if TIMES:
        pipeline = Pipeline([("calendar", FunctionTransformer(calendar)), *pipeline.steps])
    mlflow.sklearn.save_model(
        pipeline,
        folder,
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        pip_requirements=["mlflow", "scikit-learn", "pandas"],
    )


if __name__ == "__main__":
    log(Path(sys.argv[1]))
