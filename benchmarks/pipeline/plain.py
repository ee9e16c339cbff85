"""What a user would write by hand: read, split, fit, score, in one script without any gate.

``python plain.py FILE TARGET [TIME_COLUMN] [DERIVED_FROM]``: the same model, features and split as
the generated pipeline.
"""

import sys
import time

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

path, target, when, source = (*sys.argv[1:], "", "")[:4]
start = time.perf_counter()
frame = pd.read_csv(path)
if source:
    frame = frame[frame[source].notna()]
    frame[target] = frame[source] > 15
    frame = frame.drop(columns=["arr_delay", "arr_time", "air_time"])
if when:
    at = pd.to_datetime(frame.pop(when))
    test = at > at.quantile(0.8)
    frame["month of it"], frame["weekday of it"], frame["hour of it"] = (
        at.dt.month,
        at.dt.day_of_week,
        at.dt.hour,
    )
else:
    test = pd.Series(np.random.default_rng(0).random(len(frame)) < 0.2, index=frame.index)
truth = frame.pop(target).astype(int)
text = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
numbers = [name for name in frame if name not in text]
encode = make_pipeline(
    SimpleImputer(strategy="constant", fill_value="(missing)"),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
)
frame[text] = frame[text].astype(object)
branches = [("numbers", "passthrough", numbers)]
if text:
    branches.append(("text", encode, text))
model = make_pipeline(
    ColumnTransformer(branches),
    HistGradientBoostingClassifier(random_state=0, early_stopping=False),
)
model.fit(frame[~test], truth[~test])
for name, rows in (("train", ~test), ("test", test)):
    guess = model.predict_proba(frame[rows])[:, 1]
    print(
        f"{name}: {rows.sum()} rows, roc_auc {roc_auc_score(truth[rows], guess):.4f}, "
        f"log_loss {log_loss(truth[rows], guess):.4f}, "
        f"accuracy {accuracy_score(truth[rows], guess > 0.5):.4f}"
    )
print(f"{time.perf_counter() - start:.1f} s after the imports")
