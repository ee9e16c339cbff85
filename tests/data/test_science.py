"""The science on what people's columns really hold, and the schema that is inferred from them."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from gatehouse.core.project import Project

SNOWFLAKES = [2**60 + k for k in range(200)]


@pytest.fixture
def describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """schema.yaml as `ops schema init` writes it for a table, read back as most readers do."""
    from gatehouse.data import describe as schema_init

    def describe(table: dict[str, Any], **answers: Any) -> dict[str, Any]:
        asked = {"task": "auto", "target": "y", **answers}
        monkeypatch.chdir(tmp_path)
        Path("schema.yaml").write_text("# kept\n" + yaml.safe_dump(asked | {"columns": {}}))
        described, reasons = schema_init.describe(pa.table(table), asked, {})
        schema_init._write(Project(), described, reasons)
        text = Path("schema.yaml").read_text(encoding="utf-8")
        assert text.startswith("# kept")
        found: dict[str, Any] = yaml.safe_load(text)
        assert found["columns"] == described["columns"]
        return found | {"reasons": reasons}

    return describe


Y = [k % 2 for k in range(200)]
WORDS = ["yes", "no", "null", "~", "1.5", "a: b", "# c", "é\x85", "", " lead", "{x}", "on", "1e3"]


def test_every_word_is_read_back_as_it_was(describe: Callable[..., dict[str, Any]]) -> None:
    names = [word for word in WORDS if word]
    table = {name: [WORDS[k % len(WORDS)] for k in range(200)] for name in names}
    columns = describe(table | {"y": Y})["columns"]
    assert list(columns) == [*names, "y"]
    assert all(columns[name]["categories"] == sorted(WORDS) for name in names)


@pytest.mark.parametrize("value", [1e-05, 1e16, 1e308, -1e-300, 0.1, 3.0])
def test_every_number_is_read_back_as_a_number(
    describe: Callable[..., dict[str, Any]], value: float
) -> None:
    columns = describe({"x": [value, 2.0] * 100, "y": Y})["columns"]
    assert sorted([columns["x"]["min"], columns["x"]["max"]]) == sorted([value, 2.0])


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        ([True, False], "binary", [False, True]),
        (["yes", "no"], "binary", ["no", "yes"]),
        ([1, 2], "binary", [1, 2]),
        ([0.0, 1.0], "binary", [0, 1]),
        ([-1, 0, 1], "multiclass", [-1, 0, 1]),
        (list(range(11)), "regression", []),
        ([0.5, 1.0], "regression", []),
        (["a", "b", "c"], "multiclass", ["a", "b", "c"]),
    ],
)
def test_the_task_follows_the_target(
    describe: Callable[..., dict[str, Any]], target: list[Any], task: str, classes: list[Any]
) -> None:
    rows = (target * 200)[:200]
    schema = describe({"x": np.arange(200) / 7, "y": rows})
    assert (schema["task"], schema["classes"]) == (task, classes)


@pytest.mark.parametrize(
    ("values", "answers", "sentence"),
    [
        ([1] * 200, {}, "has one value only"),
        ([f"name {k}" for k in range(200)], {}, "200 classes in 200 rows"),
        (["a", "b"] * 100, {"task": "regression"}, "is no number"),
        ([0.5, 0.25] * 100, {"task": "binary"}, "has fractions"),
        ([1, 2, 3, 4] * 50, {"task": "binary"}, "has 4 values, not two"),
        ([datetime(2024, 1, 1)] * 200, {}, "is a date"),
        (Y, {"time_column": "t"}, "'t' is no column"),
        (Y, {"time_column": "x"}, "holds text that is no date"),
    ],
)
def test_a_target_that_cannot_be_is_refused(
    describe: Callable[..., dict[str, Any]], values: list[Any], answers: Any, sentence: str
) -> None:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop, match=sentence) as refusal:
        describe({"x": ["p", "q"] * 100, "y": values}, **answers)
    assert refusal.value.exit_code == 2


def test_useless_columns_are_no_features_and_say_why(
    describe: Callable[..., dict[str, Any]],
) -> None:
    schema = describe(
        {
            "row": range(200),
            "name": [f"n{k}" for k in range(200)],
            "story": [f"{'long ' * 15}{k % 30}" for k in range(200)],
            "gone": pa.nulls(200, pa.string()),
            "x": [1.0, 2.0] * 100,
            "y": Y,
        }
    )
    columns, notes = schema["columns"], schema["reasons"]
    assert {n for n, c in columns.items() if c["role"] == "ignore"} == set(columns) - {"x", "y"}
    assert "row number" in notes["row"]
    assert "identifier" in notes["name"]
    assert "free text" in notes["story"]
    assert "missing" in notes["gone"]


def schema_of(columns: dict[str, dict[str, Any]], **answers: Any) -> Any:
    from gatehouse.core.config.schema import Schema

    return Schema(task="binary", target="y", identity="content", columns=columns, **answers)


def test_long_numbers_are_told_apart_by_the_split() -> None:
    from gatehouse.core.config.params import Split
    from gatehouse.training.split import held_out, row_ids

    table = pa.table({"key": SNOWFLAKES, "y": Y})
    columns = {"key": {"type": "integer", "role": "id"}, "y": {"type": "integer", "role": "target"}}
    schema = schema_of(columns, id_column="key", classes=[0, 1])
    side, ids = row_ids(table, schema)
    assert np.unique(side).size == np.unique(ids).size == 200
    assert 0.1 < held_out(table, schema, side, Split()).mean() < 0.3


def test_a_column_that_gets_its_first_gap_hashes_as_before() -> None:
    from gatehouse.training.split import content_hash

    whole = pa.table({"n": pa.array([1, 2, 3], pa.int64())})
    gap = pa.table({"n": pa.array([1.0, 2.0, None], pa.float64())})
    assert (content_hash(whole, ["n"])[:2] == content_hash(gap, ["n"])[:2]).all()


COLUMNS: dict[str, dict[str, Any]] = {
    "x": {"type": "number", "role": "feature"},
    "t": {"type": "datetime", "role": "time"},
    "y": {"type": "string", "role": "target"},
}


def test_a_consistent_schema_is_accepted() -> None:
    schema = schema_of(COLUMNS, classes=["a", "b"], time_column="t")
    assert list(schema.features) == ["x", "t"]


@pytest.mark.parametrize(
    ("columns", "answers", "sentence"),
    [
        ({"y": {"type": "string", "role": "feature"}}, {}, "role of column 'y' must be target"),
        ({"x": {"type": "number", "role": "target"}}, {}, "role of column 'x' cannot be target"),
        ({"t": {"type": "datetime", "role": "feature"}}, {}, "role of column 't' must be time"),
        ({}, {"time_column": None}, "role of column 't' cannot be time"),
        ({}, {"id_column": "k"}, "'k', named as id, is not among columns"),
        ({}, {"classes": ["a", "a"]}, "two or more, each once"),
        ({}, {"classes": ["a"]}, "two or more, each once"),
        ({}, {"classes": ["a", "b", "c"]}, "two classes, not 3"),
        ({}, {"task": "regression"}, "needs a target of numbers"),
        ({"x": {"type": "float", "role": "feature"}}, {}, "columns.x.type"),
        ({"x": {"type": "number", "rôle": "feature"}}, {}, "columns.x.rôle"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(
    tmp_path: Path, columns: Any, answers: Any, sentence: str
) -> None:
    from gatehouse.core.config.schema import load_schema
    from gatehouse.core.errors import InputError

    told = {"task": "binary", "target": "y", "time_column": "t", "classes": ["a", "b"]}
    (tmp_path / "schema.yaml").write_text(
        yaml.safe_dump(told | answers | {"columns": COLUMNS | columns}, allow_unicode=True),
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=sentence) as refusal:
        load_schema(Project(tmp_path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"\t- x", b"- 1", b"x"])
def test_a_broken_schema_file_gets_one_sentence(tmp_path: Path, content: bytes) -> None:
    from gatehouse.core.config.schema import load_schema
    from gatehouse.core.errors import InputError

    (tmp_path / "schema.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"schema\.yaml") as refusal:
        load_schema(Project(tmp_path))
    assert "\n" not in str(refusal.value)


def test_a_damaged_model_gets_one_sentence(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from gatehouse.core.config.schema import Column
    from gatehouse.core.digests import model_digest
    from gatehouse.core.errors import InputError
    from gatehouse.serving import skops_model
    from gatehouse.training.store import save

    (tmp_path / "gates.yaml").write_text("trusted_types: [numpy.dtype]\n", encoding="utf-8")
    frame = pd.DataFrame({"x": [0.0, 1.0] * 20})
    pipeline = make_pipeline(LogisticRegression()).fit(frame, frame["x"].astype(int))
    columns = {"x": Column(type="number")}
    folder = tmp_path / "model"
    save(skops_model.Model(pipeline, "binary", "y", ["a", "b"], columns, {}), folder)
    raw = (folder / "model.skops").read_bytes()
    for position in range(0, len(raw), 41):
        flipped = bytes([*raw[:position], raw[position] ^ 0xFF, *raw[position + 1 :]])
        (folder / "model.skops").write_bytes(flipped)
        digest = model_digest(folder)
        try:
            skops_model.load(folder)
        except InputError as refusal:
            assert "\n" not in str(refusal)
        (folder / "model.skops").write_bytes(raw)
        assert model_digest(folder) != digest
    for card in ("[]", "{}", "{", '{"task": 1}'):
        (folder / "model.json").write_text(card, encoding="utf-8")
        with pytest.raises(InputError, match="damaged"):
            skops_model.load(folder)


def test_far_dates_and_names_that_clash() -> None:
    from gatehouse.core.config.schema import Column
    from gatehouse.serving.features import build_features

    days = [datetime(9999, 12, 31), datetime(1066, 10, 14), None]
    raw = pd.DataFrame({"x": pd.Series(days, dtype="datetime64[us]"), "x (month)": [5.0, 6.0, 7.0]})
    columns = {"x": Column(type="datetime"), "x (month)": Column(type="number")}
    features = build_features(raw, columns)
    assert features["x (month)"].tolist() == [5.0, 6.0, 7.0]
    assert features["x (month) of x"].tolist()[:2] == [12.0, 10.0]
    assert features["x (days)"].iloc[0] > 2_900_000
    assert features["x (days)"].iloc[1] < -300_000
    assert features.iloc[2].isna().sum() == 4


def test_classes_with_gaps_become_whole() -> None:
    from gatehouse.training.ingest import whole_classes

    schema = schema_of({}).model_copy(update={"task": "auto"})
    halves = pa.table({"y": [0.5, 1.0]})
    assert whole_classes(pa.table({"y": [0.0, 1.0]}), schema)["y"].to_pylist() == [0, 1]
    assert whole_classes(halves, schema)["y"].to_pylist() == [0.5, 1.0]
    many = pa.table({"y": [float(k) for k in range(50)]})
    assert pa.types.is_floating(whole_classes(many, schema)["y"].type)


# --- the linear baseline and the metrics --------------------------------------------------------

SIDES = {"train": 300, "test": 100}


@pytest.fixture
def linear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pa.Table]:
    """Write both sides of a split with these features, and ask the linear baseline."""
    from gatehouse.core.config.schema import Schema
    from gatehouse.training.evaluate import linear_predictions

    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()

    def linear(
        columns: dict[str, tuple[str, Any]],
        target: Any,
        classes: Any = ("a", "b"),
        order: Any = None,
    ) -> pa.Table:
        rows = sum(SIDES.values())
        table = pa.table({name: values for name, (_, values) in columns.items()})
        table = table.append_column("y", pa.array(target)).append_column(
            "__row_id", [np.arange(rows)]
        )
        train = table.slice(0, SIDES["train"])
        pq.write_table(train if order is None else train.take(order), "data/train.parquet")
        pq.write_table(table.slice(SIDES["train"]), "data/test.parquet")
        task = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
        kind = "string" if classes else "number"
        described = {name: {"type": type_} for name, (type_, _) in columns.items()}
        described["y"] = {"type": kind, "role": "target"}
        schema = Schema(task=task, target="y", classes=list(classes), columns=described)
        return linear_predictions(Project(), schema.features, schema)

    return linear


RNG = np.random.default_rng(0)
HEIGHT = RNG.normal(size=400)
SIDE = np.where(HEIGHT + RNG.normal(size=400) > 0, "b", "a")
ODD: dict[str, dict[str, tuple[str, Any]]] = {
    "numbers": {"x": ("number", HEIGHT)},
    "constant": {"x": ("number", np.ones(400))},
    "constant and huge": {"x": ("number", np.full(400, 1e308))},
    "all missing": {"x": ("number", pa.nulls(400, pa.float64())), "t": ("string", pa.nulls(400, pa.string()))},
    "all missing in train": {"x": ("number", pa.array([None] * 300 + [1.0] * 100))},
    "endless": {"x": ("number", np.where(np.arange(400) % 7, HEIGHT, np.inf)), "z": ("number", HEIGHT * 1e300)},
    "text": {"t": ("string", pa.array([None if k % 9 == 0 else f"t{k % 60}" for k in range(400)]))},
    "text that is new": {"t": ("string", [f"t{k // 300}" for k in range(400)])},
    "dates": {"d": ("datetime", pa.array(np.arange(400) * 10**9, pa.timestamp("us")))},
    "yes and no": {"f": ("boolean", pa.array([k % 3 == 0 if k % 5 else None for k in range(400)]))},
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c"), ()], ids=len)
@pytest.mark.parametrize("columns", ODD.values(), ids=list(ODD))
def test_the_linear_baseline_answers_whatever_the_columns_hold(
    linear: Callable[..., pa.Table],
    columns: Any,
    classes: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    target = HEIGHT * 2 if not classes else np.where(np.arange(400) % 11, SIDE, classes[-1])
    found = linear(columns, target, classes)
    names = ["prediction"] if not classes else [f"p_{k}" for k in range(len(classes))]
    guess = np.stack([found[name].to_numpy() for name in names])
    assert found["row_id"].to_pylist() == list(range(300, 400))
    assert np.isfinite(guess).all()
    if classes:
        assert guess.sum(axis=0) == pytest.approx(1)
    assert capfd.readouterr().err == "evaluate: predicting the test rows with the linear baseline\n"


def test_the_linear_baseline_learns(linear: Callable[..., pa.Table]) -> None:
    side = linear(ODD["numbers"], SIDE)
    assert np.mean(side["prediction"].to_numpy() == SIDE[300:]) > 0.7
    value = linear(ODD["numbers"], HEIGHT * 2, ())["prediction"].to_numpy()
    assert value == pytest.approx(HEIGHT[300:] * 2, abs=0.1)
    level = {"t": ("string", np.array([None, "high"])[(HEIGHT > 0) * 1])}
    assert linear(level, HEIGHT, ())["prediction"].to_numpy().std() > 0.5


def test_one_row_far_out_does_not_decide_the_baseline(linear: Callable[..., pa.Table]) -> None:
    far = HEIGHT.copy()
    far[399] *= 1e6
    value = linear({"x": ("number", far)}, HEIGHT, ())["prediction"].to_numpy()
    assert np.abs(value).max() < 10


@pytest.mark.parametrize("seen", [["a", "b"], ["b"]])
def test_a_class_that_the_baseline_never_saw_has_probability_0(
    linear: Callable[..., pa.Table], seen: list[str]
) -> None:
    target = np.r_[np.resize(seen, 300), np.resize(["a", "b", "c"], 100)]
    found = linear(ODD["numbers"], target, ("a", "b", "c"))
    for k, label in enumerate("abc"):
        assert (found[f"p_{k}"].to_numpy() > 0).any() == (label in seen)


def test_the_first_rows_by_their_id_make_the_baseline_in_any_order(
    linear: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.training import baseline

    monkeypatch.setattr(baseline, "ROWS", 100)
    moved = SIDE.copy()
    moved[100:300] = moved[100:300][::-1]
    found = linear(ODD["numbers"], SIDE)
    assert found == linear(ODD["numbers"], moved, order=np.arange(300)[::-1])
    moved[:100] = moved[:100][::-1]
    assert found != linear(ODD["numbers"], moved)


def test_many_columns_or_classes_mean_fewer_rows(
    linear: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.training import baseline

    seen: list[int] = []
    build: Any = vars(baseline)["build_features"]

    def counted(frame: Any, *rest: Any) -> Any:
        seen.append(len(frame))
        return build(frame, *rest)

    monkeypatch.setattr(baseline, "build_features", counted)
    monkeypatch.setattr(baseline, "LEAST", 20)
    monkeypatch.setattr(baseline, "WORK", 240)
    columns = {f"x{k}": ("number", HEIGHT) for k in range(3)}
    for classes in (("a", "b"), ()):
        linear(columns, SIDE if classes else HEIGHT, classes)
        linear(
            columns | {f"z{k}": ("number", HEIGHT) for k in range(9)},
            HEIGHT if not classes else SIDE,
            classes,
        )
    assert seen == [40, 20, 80, 20]


def test_a_baseline_that_cannot_be_fitted_says_so(
    linear: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.training import baseline

    def fail(*_: Any) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(baseline, "build_features", fail)
    found = linear(ODD["numbers"], SIDE)
    assert found.num_rows == 0
    assert found.schema.metadata == {b"reason": b"it cannot be fitted (ValueError)"}


@pytest.mark.parametrize(
    ("truth", "undefined"),
    [
        ([0, 0, 0], {"roc_auc", "skill", "average_precision", "recall", "f1"}),
        ([1, 1, 1], {"roc_auc", "skill"}),
        ([0, 1, 1], set()),
    ],
)
def test_what_is_undefined_is_no_number(truth: list[int], undefined: set[str]) -> None:
    from gatehouse.training.evaluate import measured

    guess = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]])
    found = measured("binary", np.array(truth), guess, np.array([0.5, 0.5]))
    assert {name for name, value in found.items() if value is None} == undefined
    assert found["precision"] == 0
