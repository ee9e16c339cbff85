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
from projects import TEMPLATE
from serving import CLASSES, COLUMNS, fitted, frame

from gatehouse.core.digests import MODEL
from gatehouse.core.project import Project

Check = Callable[[Any], dict[str, Any]]
PREPROCESSING: list[dict[str, Any]] = [
    {},
    {"encode": "onehot", "impute_numeric": "median"},
    {"impute_categorical": "most_frequent", "impute_numeric": "mean"},
    {"encode": "onehot", "max_categories": 2, "impute_numeric": "zero"},
    {"encode": "ordinal", "max_categories": 2},
]
LINEAR = {"impute_numeric": "median", "scale": "standard", "encode": "onehot"}


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Save a model as stage train does, and hold both formats against each other."""
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
        from gatehouse.core.layout import PARITY
        from gatehouse.serving.skops_model import load
        from gatehouse.training.parity import write_parity
        from gatehouse.training.store import save

        save(model, MODEL)
        write_parity(Project(), load(MODEL))
        found: dict[str, Any] = json.loads(PARITY.read_text(encoding="utf-8"))
        return found

    return check


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "open")
@pytest.mark.parametrize(
    ("task", "features"),
    [(task, PREPROCESSING[0]) for task in CLASSES]
    + [(task, PREPROCESSING[k]) for k, task in enumerate(("regression", "binary") * 2, 1)],
    ids=str,
)
def test_trees_with_any_preprocessing_are_served_as_onnx(
    check: Check, task: str, features: dict[str, Any]
) -> None:
    found = check(fitted(task, features=features))
    assert found["format"] == "onnx", found["reason"]
    assert found["rows"] > 660
    assert found["asked"]["split_points"] == found["asked"]["of"] > 30
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
    trees = "tree" in name or "forest" in name
    found = check(fitted(task, estimator, UNSCALED if trees else LINEAR))
    assert found["format"] == "onnx", found["reason"]
    assert found["asked"]["rows at the edges"] > 100
    assert bool(found["asked"]["of"]) is trees


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "closed")
@pytest.mark.parametrize("task", CLASSES)
def test_trees_on_scaled_numbers_are_caught_at_their_split_points(check: Check, task: str) -> None:
    found = check(fitted(task, features=LINEAR))
    assert found["format"] == "skops"
    assert "rows at split points" in found["reason"]


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "closed")
def test_a_threshold_that_is_rounded_up_is_caught(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What skl2onnx does by itself: to the nearest float32, and no test row says so."""
    from gatehouse.training import to_onnx

    monkeypatch.setattr(to_onnx, "rounded_down", lambda estimator: estimator)
    found = check(unix_seconds_model(465))
    assert found["format"] == "skops"
    assert "at split points" in found["reason"]


def unix_seconds(rows: int, seed: int = 0) -> pd.DataFrame:
    """Rows of the kind of cases/unix_seconds.csv: an id of seconds, a moment, a number."""
    rng = np.random.default_rng(seed)
    opened = rng.integers(1_700_000_000, 1_705_000_000, rows)
    moved = rng.integers(1_660_000_000, 1_690_000_000, rows)
    seen = pd.Series(moved.astype("datetime64[s]")).astype("datetime64[us]")
    return pd.DataFrame({"opened": opened, "seen": seen, "x": rng.normal(size=rows).round(3)})


def unix_seconds_model(rows: int, features: dict[str, Any] | None = None) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline

    from gatehouse.core.config.params import Features
    from gatehouse.core.config.schema import Column
    from gatehouse.serving.features import build_features, shifts
    from gatehouse.serving.skops_model import Model
    from gatehouse.training.preprocessing import preprocessor

    raw = unix_seconds(rows)
    kinds = {"opened": "integer", "seen": "datetime", "x": "number"}
    columns = {name: Column(type=kind) for name, kind in kinds.items()}
    shift = shifts(raw, columns)
    made = build_features(raw, columns, shift)
    score = raw["x"] + (raw["opened"] // 500_000) % 2 + raw["seen"].dt.month % 2
    good = (score + np.random.default_rng(1).normal(size=rows) > 1).astype(int)
    steps = [
        ("features", preprocessor(made, Features(**(features or {})))),
        ("model", HistGradientBoostingClassifier(max_iter=100, random_state=0)),
    ]
    pipeline = Pipeline(steps).fit(made, good)
    pq.write_table(pa.Table.from_pandas(unix_seconds(200, seed=2)), "data/test.parquet")
    return Model(pipeline, "binary", "y", [False, True], columns, {}, shift)


@pytest.mark.parametrize("rows", [465, 20_000])
def test_of_200_000_fresh_rows_none_differs_from_what_serves(check: Check, rows: int) -> None:
    from gatehouse.serving.onnx_model import OnnxModel
    from gatehouse.training.parity import compare

    model = unix_seconds_model(rows)
    assert check(model)["format"] == "onnx"
    fresh = unix_seconds(200_000, seed=3)
    columns = {name: fresh[name].tolist() for name in ("opened", "x")}
    columns["seen"] = fresh["seen"].dt.to_pydatetime().tolist()
    onnx = OnnxModel(Path("model/model.onnx"))
    found = compare(model.predict(fresh), onnx.run(onnx.encoder.columns(columns)).astype(float))
    assert found["format"] == "onnx", found["reason"]


def test_who_says_the_name_of_rare_categories_gets_no_other_answer(check: Check) -> None:
    from gatehouse.serving.onnx_model import OnnxModel, plain

    model = fitted("binary", features={"encode": "ordinal", "max_categories": 2})
    assert check(model)["format"] == "onnx"
    raw = frame(50).assign(town="infrequent_sklearn")
    onnx = OnnxModel(Path("model/model.onnx"))
    arrays = onnx.encoder.columns(plain(raw, map(str, raw)))
    np.testing.assert_allclose(onnx.run(arrays), model.predict(raw), atol=1e-6)


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "closed")
def test_an_encoder_that_feeds_something_else_is_caught(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.serving import features

    def late(values: pd.Series, part: str) -> Any:
        found = calendar(values, part)
        return found + 1 if part == "hour" else found

    calendar = features._calendar
    model = fitted("binary")
    monkeypatch.setattr(features, "_calendar", late)
    found = check(model)
    assert found["format"] == "skops"
    assert found["reason"] == "ONNX is fed another 'built (hour)' than the pipeline"


def test_bounded_work_is_said(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.training import split_points as splits

    monkeypatch.setattr(splits, "WORK", 0)
    found = check(unix_seconds_model(20_000))
    asked = found["asked"]
    assert 0 < asked["split_points"] < asked["of"]
    assert f"asked at {asked['split_points']} of {asked['of']} split points" in found["reason"]


@pytest.mark.gate("ONNX", "says something else than the pipeline, or nothing", "closed")
def test_a_forest_on_scaled_numbers_needs_more_than_float32_and_is_caught(check: Check) -> None:
    found = check(fitted(*estimators()["forest"], LINEAR))
    assert found["format"] == "skops"
    assert "ONNX says something else on" in found["reason"]


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
    from gatehouse.training.store import _onnx

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
    from gatehouse.serving.skops_model import load
    from gatehouse.training.parity import parity

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
    model = load(MODEL)
    if spoil == "never":
        model.facts.pop("onnx")
    found = parity(Project(), model)
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
def test_the_rule(ours: Any, theirs: Any, serves: str) -> None:
    from gatehouse.training.parity import compare

    found = compare(np.asarray(ours, float), np.asarray(theirs, float))
    assert found["format"] == serves, found


CONVERT = """
import sys
sys.path[:0] = sys.argv[1:3]
from hashlib import sha256
from serving import fitted
from sklearn.linear_model import LogisticRegression
from gatehouse.training.to_onnx import convert
linear = {"impute_numeric": "median", "scale": "standard", "encode": "onehot", "max_categories": 2}
for model in (fitted("binary"), fitted("multiclass", LogisticRegression(), linear)):
    print(sha256(convert(model)).hexdigest())
"""


def test_the_same_model_gives_the_same_file_in_every_process() -> None:
    command = [sys.executable, "-W", "ignore", "-c", CONVERT]
    command += [str(folder) for folder in (TEMPLATE / "tests", TEMPLATE / "src")]
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
    from gatehouse.core.digests import MODEL, model_digest
    from gatehouse.training import store

    check(fitted("binary"))
    assert Path("model/model.onnx").exists()
    before = model_digest(MODEL)

    def no(_: Any) -> bytes:
        raise NotImplementedError("no converter")

    monkeypatch.setattr(store, "convert", no)
    found = check(fitted("binary"))
    assert (found["format"], Path("model/model.onnx").exists()) == ("skops", False)
    assert "NotImplementedError: no converter" in found["reason"]
    assert model_digest(MODEL) != before


def test_arrays_are_what_features_are() -> None:
    """The service's NumPy and the pipeline's pandas read a row alike, dates and all."""
    from gatehouse.core.config.schema import Column
    from gatehouse.serving.arrays import Encoder, parts
    from gatehouse.serving.features import build_features

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


ODD = [0.0, -0.0, 1e-50, 1e-40, -1e300, 3.5e38, 3.4028234e38, 1.7e9 + 1, 0.1, np.inf, -np.inf]
WHOLE = [0, -1, 2**24 + 1, 2**53 + 1, 2**62 + 129, 2**63 - 1, -(2**63), 1_701_738_687]
WORDS = ["low", "high", "-", "NA", "", "   ", "\u00a0\t", "None", " low", "(missing)", "日本"]
MOMENTS = [
    *("0001-01-01", "1066-10-14T00:00:00.000001", "1683-01-01T01:02:03.999999", "9999-12-31"),
    *("1969-12-31T23:59:59.999999", "2024-02-29T12:00:00.123457", "2255-06-06T06:06:06.666667"),
]
ODD_COLUMNS: dict[str, dict[str, Any]] = {
    "value": {"type": "number"},
    "id": {"type": "integer"},
    "yes": {"type": "boolean"},
    "word": {"type": "string", "null_values": ["-", "NA"]},
    "prose": {"type": "string", "role": "text", "null_values": ["None"]},
    "grade": {"type": "string", "ordered": True, "categories": ["low", "-", "high"]}
    | {"null_values": ["-"]},
    "seen": {"type": "datetime"},
    "at": {"type": "datetime", "role": "time"},
}


def odd_rows() -> pd.DataFrame:
    """Every odd value at least once, missing ones among them, in the types of the dataset."""
    from datetime import datetime

    def column(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([values[k % len(values)] for k in range(60)], kind)

    moments = [None, *map(datetime.fromisoformat, MOMENTS)]
    table = pa.table(
        {
            "value": column([None, *ODD], pa.float64()),
            "id": column([None, *WHOLE], pa.int64()),
            "yes": column([None, True, False], pa.bool_()),
            "word": column([None, *WORDS], pa.string()),
            "prose": column([*WORDS, None], pa.string()),
            "grade": column([WORDS[1], None, *WORDS], pa.string()),
            "seen": column(moments, pa.timestamp("us")),
            "at": column(moments[::-1], pa.timestamp("us")),
        }
    )
    from gatehouse.data.tables import to_frame

    frame: pd.DataFrame = to_frame(table)
    return frame


@pytest.mark.parametrize("shifted", [{}, {"id": 1.7e9, "value": -0.3, "seen (days)": 19_723.5}])
def test_the_two_ways_to_numbers_are_one(shifted: dict[str, float]) -> None:
    from gatehouse.core.config.schema import Column
    from gatehouse.serving.arrays import Encoder, parts, ranks
    from gatehouse.serving.features import build_features

    raw, columns = odd_rows(), {name: Column(**about) for name, about in ODD_COLUMNS.items()}
    made = build_features(raw, columns, shifted)
    text = [str(name) for name in made if made[name].dtype == object]
    assert text == ["word", "prose"]
    numbers = [part for part in parts(columns) if part.label not in text]
    assert {part.part for part in numbers} == {"value", "rank", "month", "weekday", "hour", "days"}
    encoder = Encoder(
        list(columns),
        [(part.column, part.part) for part in numbers],
        text,
        {"word": "?", "prose": ""},
        words={name: columns[name].null_values for name in text},
        ranks={"grade": ranks(columns["grade"])},
        shift=[shifted.get(part.label, 0.0) for part in numbers],
    )
    rows = [
        [None if pd.isna(v) else getattr(v, "to_pydatetime", lambda v=v: v)() for v in row]
        for row in raw.itertuples(index=False)
    ]
    arrays = encoder.rows(rows)
    expected = made[[part.label for part in numbers]].to_numpy()
    np.testing.assert_array_equal(arrays["numbers"].astype(np.float64), expected)
    np.testing.assert_array_equal(arrays["text"], made[text].fillna("?").to_numpy())
    # What means missing is missing, and what does not is not.
    assert made["value"].isna().sum() == raw["value"].isin(
        [np.inf, -np.inf, -1e300, 3.5e38]
    ).sum() + (raw["value"].isna().sum())
    assert set(made["word"].dropna()) == {"low", "high", "None", " low", "(missing)", "日本"}
    assert set(made["prose"]) == {"", "low", "high", "-", "NA", " low", "(missing)", "日本"}
    assert made["grade"].groupby(raw["grade"]).first().dropna().to_dict() == {"low": 0, "high": 1}


def test_plain_rows_of_numbers_are_features_too() -> None:
    """The short way of ``Encoder.rows``, with a missing value and without."""
    from gatehouse.core.config.schema import Column
    from gatehouse.serving.arrays import Encoder
    from gatehouse.serving.features import build_features

    raw = odd_rows()[["value", "id"]]
    columns = {str(name): Column(**ODD_COLUMNS[str(name)]) for name in raw}
    encoder = Encoder(list(columns), [(name, "value") for name in columns], [], {})
    for some in (raw, raw.dropna()):
        rows = [[None if pd.isna(v) else v for v in row] for row in some.itertuples(index=False)]
        with np.errstate(over="ignore"):
            found = encoder.rows(rows)["numbers"].astype(np.float64)
        np.testing.assert_array_equal(found, build_features(some, columns).to_numpy())


@pytest.mark.parametrize(
    ("values", "moved"),
    [
        (np.arange(1_701_738_687, 1_701_742_287, 7), True),  # an hour in seconds since 1970
        (np.random.default_rng(0).uniform(1000, 1001, 100_000), True),
        (np.random.default_rng(0).normal(size=100_000), False),
        (np.random.default_rng(0).lognormal(3, 2, 100_000).round(2), False),
        (np.arange(100_000), False),
        (np.random.default_rng(0).integers(-(2**62), 2**62, 10_000), False),
        (np.array([np.nan, np.inf]), False),
    ],
)
def test_a_shift_only_where_float32_cannot_tell_values_apart(values: Any, moved: bool) -> None:
    from gatehouse.core.config.schema import Column
    from gatehouse.serving.features import build_features, shifts

    raw, columns = pd.DataFrame({"x": values}), {"x": Column(type="number")}
    found = shifts(raw, columns)
    assert bool(found) is moved
    made = build_features(raw, columns, found)["x"]
    if moved:
        assert made.nunique() > 0.99 * raw["x"].nunique()
