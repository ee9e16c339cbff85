"""Importance and explanations, held against models whose columns are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from gatehouse.core.project import Project

ROWS = 400
COLUMNS: dict[str, dict[str, Any]] = {
    "size": {"type": "number", "nullable": True},
    "idle": {"type": "number", "nullable": False},
    "town": {"type": "string", "nullable": False},
    "count": {"type": "integer", "nullable": False},
    "day": {"type": "datetime", "nullable": False},
    "open": {"type": "boolean", "nullable": False},
}
ROW: dict[str, Any] = {
    "size": 1.5,
    "idle": 2.0,
    "town": "b",
    "count": 3,
    "day": "2026-01-02T03:04:05",
    "open": True,
}


def table(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=rows),
            "idle": rng.normal(size=rows),
            "town": rng.choice(["a", "b", "c"], rows),
            "count": rng.integers(0, 5, rows),
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 99, rows), "D"),
            "open": rng.random(rows) < 0.5,
        }
    )
    frame["day"] = frame["day"].astype("datetime64[us]")
    return frame


class Known:
    """A pipeline whose answer is a known function of its features."""

    def __init__(self, formula: Any, classes: int = 0) -> None:
        self.formula, self.classes_ = formula, np.arange(classes)

    def predict(self, features: pd.DataFrame) -> Any:
        return self.formula(features)

    def predict_proba(self, features: pd.DataFrame) -> Any:
        positive = self.formula(features)
        return np.column_stack([1 - positive, positive])


def linear(x: pd.DataFrame) -> Any:
    return 2 * x["size"] - 3 * x["count"] + 5 * (x["town"] == "b")


def risk(x: pd.DataFrame) -> Any:
    return 1 / (1 + np.exp(-3 * x["size"] * (x["town"] == "b") - x["count"] + 2))


def make(formula: Any = linear, classes: Any = (), columns: Any = None) -> Any:
    from gatehouse.core.config.schema import Column
    from gatehouse.serving.skops_model import Model

    described = {name: Column(**column) for name, column in (columns or COLUMNS).items()}
    task: Any = "binary" if classes else "regression"
    return Model(Known(formula, len(classes)), task, "y", list(classes), described, {})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with test rows, a reference and a schema; the model comes from ``make``."""
    from gatehouse.training import explain

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explain, "load_model", lambda _: make())
    (tmp_path / "data").mkdir()
    frame = table()
    for name in ("test", "train", "reference"):
        frame.assign(y=linear(frame)).to_parquet(f"data/{name}.parquet")
    columns = {name: {"role": "feature", **column} for name, column in COLUMNS.items()}
    columns["y"] = {"type": "number", "role": "target"}
    schema = {"task": "regression", "target": "y", "columns": columns}
    Path("schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
    return tmp_path


# --- importance -----------------------------------------------------------------------------


def test_importance_of_columns_follows_what_they_do() -> None:
    from gatehouse.training.explain import importance

    frame = table()
    truth = linear(frame).to_numpy()
    found = importance(make(), frame, truth, truth.mean())
    columns = found["columns"]
    assert (found["metric"], found["rows"], found["repeats"]) == ("skill", ROWS, 5)
    assert list(columns)[:3] == ["count", "town", "size"]
    for name in ("idle", "day", "open"):
        assert columns[name] == {"mean": 0, "std": 0}
    # Shuffling a column of a perfect linear model costs twice its share of the variance.
    shares = {"count": 9 * frame["count"].var(), "size": 4 * frame["size"].var()}
    for name, share in shares.items():
        assert columns[name]["mean"] == pytest.approx(2 * share / truth.var(), rel=0.15)
        assert 0 < columns[name]["std"] < 0.2 * columns[name]["mean"]


def test_importance_of_probabilities_is_log_loss() -> None:
    from gatehouse.training.explain import importance

    frame = table()
    truth = (np.random.default_rng(0).random(ROWS) < risk(frame)).to_numpy().astype(int)
    share = truth.mean()
    model = make(risk, ["no", "yes"])
    found = importance(model, frame, truth, np.array([1 - share, share]))
    columns = found["columns"]
    assert columns["count"]["mean"] > columns["idle"]["mean"] == 0
    assert all(0 <= column["mean"] < 3 for column in columns.values())
    assert importance(model, frame, truth, np.array([1 - share, share])) == found


@pytest.mark.parametrize(
    ("width", "rows", "repeats"), [(6, 2000, 5), (60, 2000, 2), (100, 1000, 2), (500, 100, 2)]
)
def test_many_columns_get_fewer_rows_and_the_file_says_so(
    width: int, rows: int, repeats: int
) -> None:
    from gatehouse.training.explain import importance

    cells = np.random.default_rng(0).normal(size=(3000, width))
    frame = pd.DataFrame(cells, columns=[f"x{k}" for k in range(width)])
    asked = []

    def first(x: pd.DataFrame) -> Any:
        asked.append(x.size)
        return x["x0"]

    model = make(first, columns={name: {"type": "number"} for name in frame})
    found = importance(model, frame, cells[:, 0], 0.0)
    assert (found["rows"], found["repeats"]) == (rows, repeats)
    assert next(iter(found["columns"])) == "x0"
    assert max(asked) <= 2_100_000
    assert sum(asked) <= 51_000_000


def test_evaluate_writes_it_from_the_test_rows(here: Path) -> None:
    from gatehouse.core.config.schema import load_schema
    from gatehouse.training.explain import write_importance

    write_importance(Project(), make(), load_schema(Project()), 0.0)
    found = json.loads(Path("predictions/importance.json").read_text(encoding="utf-8"))
    assert found["columns"].keys() == COLUMNS.keys()
    assert found["rows"] == ROWS


# --- one prediction --------------------------------------------------------------------------


def test_contributions_of_a_linear_model_are_the_known_ones() -> None:
    from gatehouse.training.explain import shapley

    frame = table(60)
    start, moved = shapley(make(), frame)
    x, others = frame.iloc[0], frame.iloc[1:]
    known = {
        "size": 2 * (x["size"] - others["size"].mean()),
        "count": -3 * (x["count"] - others["count"].mean()),
        "town": 5 * ((x["town"] == "b") - (others["town"] == "b").mean()),
    }
    assert start == pytest.approx(linear(others).mean())
    for name, value in zip(COLUMNS, moved, strict=True):
        # Features are rounded to what float32 holds.
        assert value == pytest.approx(known.get(name, 0), abs=1e-6)


@pytest.mark.parametrize("output", [0, 1])
def test_contributions_go_from_the_average_to_the_answer(output: int) -> None:
    from gatehouse.training.explain import log_odds, shapley

    frame, model = table(40), make(risk, ["no", "yes"])
    start, moved = shapley(model, frame, output)
    asked = model.predict(frame)[:, output]
    assert start == pytest.approx(log_odds(asked[1:].mean()), abs=1e-12)
    assert start + moved.sum() == pytest.approx(log_odds(asked[0]), abs=1e-12)
    assert [moved[list(COLUMNS).index(name)] for name in ("idle", "day", "open")] == [0, 0, 0]
    assert (shapley(model, frame, output)[1] == moved).all()


def test_the_difference_of_a_value_is_shared_exactly() -> None:
    from gatehouse.training.explain import shapley

    frame, model = table(40), make(risk)
    start, moved = shapley(model, frame)
    asked = model.predict(frame)
    assert start == pytest.approx(asked[1:].mean(), abs=1e-12)
    assert start + moved.sum() == pytest.approx(asked[0], abs=1e-12)


FORMULAS = {
    "smooth": risk,
    "steep": lambda x: 1 / (1 + np.exp(-40 * x["size"] - 30 * x["idle"] + 9 * x["count"])),
    "sure": lambda x: ((x["size"] > 0) & (x["town"] == "b") | (x["count"] > 3)).astype(float),
    "either or": lambda x: ((x["size"] > 0) ^ (x["idle"] > 0)).astype(float),
    "nothing": lambda x: x["size"] * 0,
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_every_step_of_a_probability_is_a_probability(
    here: Path, monkeypatch: pytest.MonkeyPatch, formula: str
) -> None:
    """Where columns work together, moves on the scale of the answer add up to more than 1."""
    from gatehouse.training import explain

    model = make(FORMULAS[formula], [False, True])
    monkeypatch.setattr(explain, "load_model", lambda _: model)
    for row in range(25):
        found = explain.explain(Project(), str(row))
        assert found["contributions"] == "log-odds"
        passed = [found["start"], *(step["to"] for step in found["steps"])]
        assert all(0 <= probability <= 1 for probability in passed)
        [output] = [k for k, label in enumerate(model.classes) if label == found["answer"]]
        assert found["end"] == passed[-1] == model.predict(table()[row : row + 1])[0, output]
        total = explain.log_odds(found["start"]) + sum(s["contribution"] for s in found["steps"])
        assert total == pytest.approx(explain.log_odds(found["end"]), abs=1e-6)
        others = table().iloc[np.linspace(0, ROWS - 1, 200).astype(int)]
        average = model.predict(others)[:, output].mean()
        assert found["start"] == pytest.approx(average, abs=1.1e-6)


def test_a_product_is_shared_by_its_two_columns() -> None:
    from gatehouse.training.explain import shapley

    frame = table(2).assign(size=[3.0, 1.0], idle=[5.0, 1.0])
    start, moved = shapley(make(lambda x: x["size"] * x["idle"]), frame)
    # From 1 to 15: half of each order, (15 - 5) and (3 - 1) for size, (5 - 1) and (15 - 3).
    assert (start, moved[0], moved[1]) == (1, 6, 8)


def test_a_test_row_is_explained_from_its_position(here: Path) -> None:
    from gatehouse.training.explain import explain

    found = explain(Project(), "7")
    row = table().iloc[7]
    assert found["row"] == "row 7 of data/test.parquet"
    assert (found["of"], found["background"]) == ("value", 200)
    assert found["answer"] == found["end"] == pytest.approx(linear(table()).iloc[7])
    assert found["contributions"] == "value"
    total = found["start"]
    for step in found["steps"]:
        total += step["contribution"]
        assert step["to"] == pytest.approx(total)
    steps = {step["column"]: step for step in found["steps"]}
    assert steps.keys() == COLUMNS.keys()
    assert steps["town"]["value"] == row["town"]
    assert steps["day"]["value"] == row["day"].isoformat()
    sizes = [abs(step["contribution"]) for step in found["steps"]]
    assert sizes == sorted(sizes, reverse=True)
    json.dumps(found, allow_nan=False)


def test_a_class_is_explained_by_its_probability(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.training import explain

    monkeypatch.setattr(explain, "load_model", lambda _: make(risk, [False, True]))
    found = explain.explain(Project(), "0")
    likely = bool(risk(table()).iloc[0] > 0.5)
    assert (found["answer"], found["of"]) == (likely, f"probability of {str(likely).lower()}")
    sizes = [abs(step["contribution"]) for step in found["steps"]]
    assert sizes == sorted(sizes, reverse=True)


def test_a_row_of_a_file_is_explained(here: Path) -> None:
    from gatehouse.training.explain import explain

    Path("row.json").write_text(json.dumps({k: v for k, v in ROW.items() if k != "size"}))
    Path("full.json").write_text(json.dumps(ROW | {"y": 3}))
    steps = {step["column"]: step["value"] for step in explain(Project(), "row.json")["steps"]}
    assert steps == ROW | {"size": None}
    assert explain(Project(), "full.json")["answer"] == pytest.approx(2 * 1.5 - 3 * 3 + 5)


def test_a_reference_without_what_is_personal_gives_way_to_the_training_rows(here: Path) -> None:
    from gatehouse.training.explain import explain

    before = explain(Project(), "3")
    table().drop(columns="town").to_parquet("data/reference.parquet")
    assert explain(Project(), "3") == before
    Path("data/reference.parquet").unlink()
    assert explain(Project(), "3") == before


BAD_ROWS = [
    ("-1", None, "data/test.parquet has no row -1: give a position from 0 to 399"),
    ("400", None, "has no row 400"),
    ("1.5", None, "neither a position in data/test.parquet nor a JSON file"),
    ("gone.json", None, "neither a position"),
    ("row.json", "{", "is no JSON object of column: value"),
    ("row.json", "[1]", "is no JSON object"),
    (
        "row.json",
        json.dumps({k: v for k, v in ROW.items() if k != "town"}),
        "row.json has no 'town'",
    ),
    ("row.json", json.dumps(ROW | {"town": None}), "has no 'town', which cannot be missing"),
    ("row.json", json.dumps(ROW | {"twon": "a"}), "schema.yaml has no column 'twon'"),
    ("row.json", json.dumps(ROW | {"count": 1.5}), "'count' is no integer"),
    ("row.json", json.dumps(ROW | {"count": True}), "'count' is no integer"),
    ("row.json", json.dumps(ROW | {"size": "1"}), "'size' is no number"),
    ("row.json", json.dumps(ROW | {"size": float("nan")}), "'size' is no number"),
    ("row.json", json.dumps(ROW | {"town": 5}), "'town' is no string"),
    ("row.json", json.dumps(ROW | {"open": 1}), "'open' is no boolean"),
    ("row.json", json.dumps(ROW | {"day": "yesterday"}), "'day' is no datetime"),
]


@pytest.mark.parametrize(("asked", "text", "sentence"), BAD_ROWS)
def test_a_bad_row_is_one_sentence(here: Path, asked: str, text: str | None, sentence: str) -> None:
    from gatehouse.core.errors import InputError
    from gatehouse.training.explain import explain

    if text is not None:
        Path("row.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refusal:
        explain(Project(), asked)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


# --- the words of it -------------------------------------------------------------------------

FOUND: dict[str, Any] = {
    "row": "row 3 of data/test.parquet",
    "target": "late",
    "answer": True,
    "of": "probability of true",
    "contributions": "log-odds",
    "background": 200,
    "start": 0.25,
    "end": 0.75,
    "steps": [
        {"column": "delay", "value": 40, "contribution": 2.0, "to": 0.7112},
        {"column": "town\x1b[2J", "value": "x" * 80, "contribution": 0.2, "to": 0.7505},
        {"column": "hour", "value": None, "contribution": 0.003, "to": 0.7511},
        {"column": "wind", "value": 1.23456789, "contribution": -0.0058, "to": 0.75},
    ],
}


def test_the_text_goes_from_the_average_to_the_answer() -> None:
    from gatehouse.training.explain_verb import lines

    said = lines(FOUND)
    assert said[0] == "row 3 of data/test.parquet: late = true (probability of true)"
    words = [line.split() for line in said[2:]]
    assert words[1] == ["average", "of", "200", "rows", "0.2500"]
    assert words[0] == ["column", "value", "log-odds", "to"]
    assert words[2] == ["delay", "40", "+2.0000", "0.7112"]
    assert words[3][-2:] == ["+0.2000", "0.7505"]
    assert words[4] == ["2", "others", "-0.0028", "0.7500"]
    assert len({len(line) for line in said[2:]}) == 1, "aligned"
    assert "\x1b" not in "".join(said)
    assert "x" * 41 not in "".join(said)


def test_at_most_twelve_columns_have_a_line() -> None:
    from gatehouse.training.explain_verb import lines

    steps = [
        {"column": f"c{k}", "value": k, "contribution": 100.0, "to": 100.0 * (k + 1)}
        for k in range(30)
    ]
    of = {"contributions": "value", "start": 0.0, "end": 3000.0, "steps": steps}
    said = lines(FOUND | of)
    assert said[2].split() == ["column", "value", "moves", "by", "to"]
    assert len(said) == 2 + 1 + 1 + 12 + 1
    assert said[-1].split() == ["18", "others", "+1800", "3000"]


def test_the_verb_prints_text_or_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gatehouse.training import explain, explain_verb

    assert explain_verb.explain(Project(), "3", as_json=False) == 0
    assert "average of 200 rows" in capsys.readouterr().out
    assert explain_verb.explain(Project(), "3", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == explain.explain(Project(), "3")


def test_the_verb_refuses_a_row_that_is_not_there(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gatehouse.core.errors import InputError
    from gatehouse.training.explain_verb import explain

    with pytest.raises(InputError, match="has no row -1: give a position from 0") as refusal:
        explain(Project(), "-1", as_json=True)
    assert refusal.value.exit_code == 2
    assert capsys.readouterr().out == ""
