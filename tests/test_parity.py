"""Which of the two formats serves: ONNX only where it says what the pipeline says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from baked import BakedProject
from serving import CLASSES, COLUMNS, fitted, frame

Check = Callable[[Any], dict[str, Any]]
PREPROCESSING: list[dict[str, Any]] = [
    {},
    {"encode": "onehot", "impute_numeric": "median", "scale": "standard"},
    {"impute_categorical": "most_frequent", "impute_numeric": "mean"},
    {"encode": "onehot", "max_categories": 2, "impute_numeric": "zero"},
    {"encode": "ordinal", "max_categories": 2},
]
LINEAR = {"impute_numeric": "median", "scale": "standard", "encode": "onehot"}


@pytest.fixture
def check(science: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Save a model as stage train does, and hold both formats against each other."""
    del science
    monkeypatch.chdir(tmp_path)
    Path("gates.yaml").write_text(
        json.dumps(
            {
                "trusted_types": [
                    "numpy.dtype",
                    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
                    "sklearn._loss.loss.HalfTweedieLossIdentity",
                    "sklearn.calibration._CalibratedClassifier",
                    "sklearn.calibration._SigmoidCalibration",
                    "sklearn.tree._tree.Tree",
                    "functools.partial",
                    "sklearn.utils.validation.check_array",
                ]
            }
        )
    )
    Path("data").mkdir()
    pq.write_table(pa.Table.from_pandas(frame(600, seed=9)), "data/test.parquet")

    def check(model: Any) -> dict[str, Any]:
        from flight_delays import model as store
        from flight_delays.parity import PARITY, write_parity

        store.save(model)
        write_parity(store.load())
        found: dict[str, Any] = json.loads(PARITY.read_text(encoding="utf-8"))
        return found

    return check


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "open")
@pytest.mark.parametrize("features", PREPROCESSING, ids=str)
@pytest.mark.parametrize("task", CLASSES)
def test_trees_with_any_preprocessing_are_served_as_onnx(
    check: Check, task: str, features: dict[str, Any]
) -> None:
    found = check(fitted(task, features=features))
    assert found["format"] == "onnx", found["reason"]
    assert found["rows"] == 660
    assert (found["labels_differ"], found["max_difference"] <= 1e-5) == (0, True)


def estimators() -> dict[str, tuple[str, Any]]:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.tree import DecisionTreeClassifier

    return {
        "logistic": ("binary", LogisticRegression()),
        "logistic of three": ("multiclass", LogisticRegression()),
        "ridge": ("regression", Ridge()),
        "tree": ("binary", DecisionTreeClassifier(max_depth=4, random_state=0)),
        "forest": ("multiclass", RandomForestClassifier(20, random_state=0)),
        "forest of values": ("regression", RandomForestRegressor(20, random_state=0)),
    }


# A tree that was trained on scaled doubles asks for a precision that float32 has not.
UNSCALED = {"impute_numeric": "median"}


@pytest.mark.parametrize("name", estimators())
def test_other_estimators_that_convert(check: Check, name: str) -> None:
    task, estimator = estimators()[name]
    found = check(fitted(task, estimator, UNSCALED if "forest" in name else LINEAR))
    assert found["format"] == "onnx", found["reason"]


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "closed")
def test_a_forest_on_scaled_numbers_needs_more_than_float32_and_is_caught(check: Check) -> None:
    found = check(fitted(*estimators()["forest"], LINEAR))
    assert found["format"] == "skops"
    assert "ONNX says something else on 660 rows" in found["reason"]


class Odd:
    """An estimator that nobody has a converter for."""

    classes_ = np.array([0, 1])

    def fit(self, features: Any, target: Any) -> "Odd":
        del features, target
        return self

    def predict_proba(self, features: Any) -> Any:
        return np.full((len(features), 2), 0.5)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        target, about = TargetTags(required=True), ClassifierTags()
        return Tags("classifier", target, None, about, None, False, True, InputTags())


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "closed")
def test_what_does_not_convert_is_served_as_it_is(check: Check) -> None:
    from flight_delays.model import _onnx

    onnx, said = _onnx(fitted("binary", Odd()))
    assert onnx is None
    assert "does not convert to ONNX" in said


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "closed")
def test_native_categories_convert_to_something_else_and_are_caught(check: Check) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # The numbers reach the model first (3, and 4 parts of the date), then the town's code.
    trees = HistGradientBoostingClassifier(max_iter=20, categorical_features=[7], random_state=0)
    found = check(fitted("multiclass", trees))
    assert found["format"] == "skops"
    assert "something else" in found["reason"] or "does not convert" in found["reason"]


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "closed")
@pytest.mark.parametrize("spoil", ["weights", "damaged", "gone", "never"])
def test_an_onnx_file_that_says_something_else_does_not_serve(check: Check, spoil: str) -> None:
    from flight_delays import model as store
    from flight_delays.parity import parity

    check(fitted("binary"))
    path = Path("model/model.onnx")
    if spoil == "weights":
        import onnx

        graph = onnx.load(path)
        for node in graph.graph.node:
            for attribute in node.attribute:
                if attribute.name == "base_values":
                    attribute.floats[0] += 0.5
        path.write_bytes(graph.SerializeToString())
    elif spoil == "damaged":
        path.write_bytes(path.read_bytes()[:500])
    elif spoil == "gone":
        path.unlink()
    model = store.load()
    if spoil == "never":
        model.facts.pop("onnx")
    found = parity(model)
    assert found["format"] == "skops"
    assert found["reason"]


@pytest.mark.parametrize(
    ("ours", "theirs", "serves"),
    [
        ([[0.4, 0.6]], [[0.4, 0.6]], "onnx"),
        ([[0.4, 0.6]], [[0.400009, 0.599991]], "onnx"),
        ([[0.4, 0.6]], [[0.40002, 0.59998]], "skops"),
        ([[0.500001, 0.499999]], [[0.499999, 0.500001]], "skops"),
        ([[0.4, 0.6]], [[np.nan, 0.6]], "skops"),
        ([[0.4, 0.6]], [[0.4, 0.6], [0.4, 0.6]], "skops"),
        ([[0.4, 0.6]], [0.4], "skops"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "skops"),
        ([1000.0, -1000.0], [1000.009, -1000.0], "onnx"),
        ([1000.0, -1000.0], [1000.02, -1000.0], "skops"),
        ([0.0, 0.0], [0.0, 0.0], "onnx"),
        ([0.0, 0.0], [0.0, 1e-9], "skops"),
        ([1.0, 2.0], [1.0, np.inf], "skops"),
    ],
)
def test_the_rule(science: BakedProject, ours: Any, theirs: Any, serves: str) -> None:
    del science
    from flight_delays.parity import compare

    found = compare(np.asarray(ours, float), np.asarray(theirs, float))
    assert found["format"] == serves, found


CONVERT = """
import sys
sys.path[:0] = sys.argv[1:3]
from hashlib import sha256
from serving import fitted
from sklearn.linear_model import LogisticRegression
from flight_delays.onnx_model import convert
linear = {"impute_numeric": "median", "scale": "standard", "encode": "onehot", "max_categories": 2}
for model in (fitted("binary"), fitted("multiclass", LogisticRegression(), linear)):
    print(sha256(convert(model)).hexdigest())
"""


def test_the_same_model_gives_the_same_file_in_every_process(science: BakedProject) -> None:
    command = [sys.executable, "-W", "ignore", "-c", CONVERT]
    command += [str(Path(__file__).parent), str(science.path / "src")]
    found = set()
    for seed in ("0", "1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        found.add(done.stdout)
    assert len(found) == 1
    [both] = found
    assert len(set(both.split())) == 2


def test_a_model_that_no_longer_converts_leaves_no_old_file(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flight_delays import model as store

    check(fitted("binary"))
    assert Path("model/model.onnx").exists()
    before = store.digest()

    def no(_: Any) -> bytes:
        raise NotImplementedError("no converter")

    monkeypatch.setattr(store, "convert", no)
    found = check(fitted("binary"))
    assert (found["format"], Path("model/model.onnx").exists()) == ("skops", False)
    assert "NotImplementedError: no converter" in found["reason"]
    assert store.digest() != before


def test_arrays_are_what_features_are(science: BakedProject) -> None:
    """The service's NumPy and the pipeline's pandas read a row alike, dates and all."""
    del science
    from flight_delays.arrays import Encoder, parts
    from flight_delays.features import build_features
    from flight_delays.schema import Column

    raw = frame(300, seed=5)
    raw.loc[0, "built"] = pd.Timestamp("0001-01-01")
    raw.loc[1, "built"] = pd.Timestamp("9999-12-31 23:59:59")
    for role in ("feature", "time"):
        columns = {name: Column(**about) for name, about in COLUMNS.items()}
        columns["built"] = Column(type="datetime", role=role)
        made = build_features(raw, columns)
        found = [part for part in parts(columns) if part.column != "town"]
        assert [part.label for part in parts(columns)] == list(made)
        pairs = [(part.column, part.part) for part in found]
        encoder = Encoder(list(columns), pairs, ["town"], {"town": "?"})
        rows = [
            [None if pd.isna(v) else getattr(v, "to_pydatetime", lambda v=v: v)() for v in row]
            for row in raw.itertuples(index=False)
        ]
        arrays = encoder.rows(rows)
        expected = made[[part.label for part in found]].to_numpy(np.float32)
        np.testing.assert_allclose(arrays["numbers"], expected, rtol=1e-6)
        assert arrays["text"][:, 0].tolist() == made["town"].fillna("?").tolist()
