"""``model: auto``: linear where that is better, boosting where trees are, bounded and repeatable."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import yaml

from gatehouse.core.digests import MODEL
from gatehouse.core.project import Project

ROWS = 600
Choose = Callable[..., Any]


def noise(width: int = 6, rows: int = ROWS) -> pd.DataFrame:
    values = np.random.default_rng(1).normal(size=(rows, width))
    return pd.DataFrame(values, columns=[f"x{k}" for k in range(width)])


def straight(x: pd.DataFrame) -> Any:
    return (x @ np.linspace(1, 2, x.shape[1])).to_numpy()


def crossed(x: pd.DataFrame) -> Any:
    """What no sum of columns tells."""
    return np.where((x["x0"] > 0) ^ (x["x1"] > 0), 4.0, -4.0)


@pytest.fixture
def choose() -> Choose:
    """What is chosen for these features and answers."""
    from gatehouse.core.config.params import Features
    from gatehouse.core.config.schema import Schema
    from gatehouse.training.choose import choose

    def choose_(x: pd.DataFrame, y: Any, kind: str = "auto", **more: Any) -> Any:
        count = 0 if np.asarray(y).dtype.kind == "f" else max(2, int(np.max(y)) + 1)
        task = {0: "regression", 2: "binary"}.get(count, "multiclass")
        columns: dict[str, Any] = {
            str(name): {"type": "string" if values.dtype == object else "number"}
            for name, values in x.items()
        }
        columns["y"] = {"type": "string" if count else "number", "role": "target"}
        columns |= more.get("columns", {})
        schema = Schema(
            task=task,
            target="y",
            classes=[str(k) for k in range(count)],
            time_column=more.get("time"),
            columns=columns,
        )
        return choose(cast(Any, kind), x, np.asarray(y), schema, Features(), seed=0)

    return choose_


@pytest.mark.parametrize(
    ("signal", "taken", "task"),
    [
        (straight, "linear", "binary"),
        (straight, "linear", "regression"),
        (crossed, "boosting", "multiclass"),
        (crossed, "boosting", "regression"),
    ],
)
def test_it_takes_what_is_better(choose: Choose, signal: Any, taken: str, task: str) -> None:
    x = noise()
    y = signal(x) + np.random.default_rng(2).normal(size=ROWS)
    cuts = {"binary": [0.0], "multiclass": [-2.0, 2.0]}
    estimator, facts = choose(x, np.digitize(y, cuts[task]) if task in cuts else y)
    assert facts["taken"] == taken, facts
    assert facts["by"] == "5-fold cross-validation"
    assert facts["metric"] == ("rmse" if task == "regression" else "log_loss")
    assert min(facts["best"], key=facts["best"].get) == taken
    assert ("HistGradientBoosting" in estimator.path) == (taken == "boosting")
    assert len(facts["tried"]["linear"]) == 5
    assert facts["strength"] > 0


def test_better_by_chance_is_not_better(choose: Choose) -> None:
    """Of two that lose the same but for noise, the simpler one stays."""
    del choose
    from gatehouse.training.choose import _surely_less

    rng = np.random.default_rng(3)
    lost = rng.exponential(size=200)
    noise = [_surely_less(lost + rng.normal(size=200), lost) for _ in range(300)]
    assert 0.03 < np.mean(noise) < 0.12
    assert _surely_less(lost - 0.3 + rng.normal(size=200), lost)


def test_rare_positives_and_the_same_twice(choose: Choose) -> None:
    x = noise(30, 2000)
    odds = straight(x) / 8 - 4 + np.random.default_rng(4).logistic(size=2000)
    first = choose(x, (odds > 0) * 1)
    assert first[1]["taken"] == "linear"
    assert first == choose(x, (odds > 0) * 1)


@pytest.mark.parametrize("time", [None, "x0"])
def test_many_rows_are_sampled_and_judged_by_some_held_out(
    choose: Choose, monkeypatch: pytest.MonkeyPatch, time: str | None
) -> None:
    from gatehouse.training import choose as module

    monkeypatch.setattr(module, "FEW", 500)
    monkeypatch.setattr(module, "MOST", 1_500)
    x = noise(4, 3_000)
    y = (crossed(x) > 0) * 1
    columns = {"x0": {"type": "datetime", "role": "time"}} if time else {}
    estimator, facts = choose(x, y, time=time, columns=columns)
    assert facts["by"] == f"300 held-out {'later ' if time else ''}rows"
    assert facts["taken"] == "boosting"
    assert estimator.params["max_iter"] > 1


def test_in_time_order_later_rows_judge(choose: Choose) -> None:
    columns = {"x0": {"type": "datetime", "role": "time"}}
    found = choose(noise(), (straight(noise()) > 0) * 1, time="x0", columns=columns)
    assert found[1]["by"] == "5-fold cross-validation in time order"


WIDE = np.random.default_rng(5)
ODD: dict[str, tuple[pd.DataFrame, Any]] = {
    "few rows": (noise(3, 32), np.arange(32) % 2),
    "too few rows": (noise(3, 12), np.arange(12) % 2),
    "classes of one row": (noise(3, 60), np.r_[np.arange(58) % 2, 2, 3]),
    "classes of two rows each": (noise(3, 60), np.arange(60) // 2),
    "one positive": (noise(3, 100), np.r_[np.zeros(99, int), 1]),
    "more columns than rows": (noise(150, 100), np.arange(100) % 3),
    "heavy tails": (noise(3), WIDE.standard_cauchy(ROWS) ** 3),
    "nothing known": (noise(2).assign(gone=np.nan, none=np.full(ROWS, np.nan, object)), np.arange(ROWS) % 2),
    "constant": (noise(1) * 0, np.arange(ROWS) % 2),
    "constant target": (noise(2), np.ones(ROWS)),
    "huge": (noise(2) * 1e38, np.arange(ROWS) % 2),
    "many categories": (pd.DataFrame({"t": [f"t{k}" for k in range(ROWS)]}, dtype=object), np.arange(ROWS) % 2),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["auto", "linear", "boosting"])
@pytest.mark.parametrize("name", ODD)
def test_there_is_a_choice_whatever_the_rows_hold(choose: Choose, name: str, kind: str) -> None:
    x, y = ODD[name]
    estimator, facts = choose(x, y, kind)
    assert facts["taken"] in ("linear", "boosting")
    assert kind in ("auto", facts["taken"])
    assert estimator.path.startswith("sklearn.")
    assert all(np.isfinite(list(facts.get("best", {}).values())))
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize(
    ("path", "numeric", "encode", "sparse"),
    [
        ("ensemble.HistGradientBoostingClassifier", "passthrough", "OrdinalEncoder", False),
        ("ensemble.RandomForestClassifier", "passthrough", "OrdinalEncoder", True),
        ("linear_model.LogisticRegression", ["impute", "scale", "bound"], "OneHotEncoder", True),
        ("neural_network.MLPClassifier", ["impute", "scale", "bound"], "OneHotEncoder", True),
        ("naive_bayes.GaussianNB", ["impute", "scale", "bound"], "OneHotEncoder", False),
    ],
)
def test_features_are_as_the_estimator_wants_them(
    path: str, numeric: Any, encode: str, sparse: bool
) -> None:
    from gatehouse.core.config.params import Estimator, Features
    from gatehouse.training.choose import make_estimator
    from gatehouse.training.preprocessing import preprocessor

    x = noise(2).assign(t="a", words="some words")
    x[["t", "words"]] = x[["t", "words"]].astype(object)
    made = make_estimator(Estimator(**{"class": f"sklearn.{path}"}), 0)
    first, second, third = preprocessor(x, Features(), made, ["words"]).transformers
    steps = first[1] if isinstance(first[1], str) else list(first[1].named_steps)
    assert steps == numeric
    assert type(second[1].named_steps["encode"]).__name__ == encode
    assert second[2] == ["t"]
    assert ("condense" not in third[1].named_steps) == sparse
    assert third[2] == "words"

    said = Features(scale="standard", encode="ordinal", impute_numeric="zero", max_categories=3)
    first, second, _ = preprocessor(x, said, made, ["words"]).transformers
    assert list(first[1].named_steps) == ["impute", "scale"]
    assert second[1].named_steps["encode"].max_categories == 3


PARAMS: dict[str, Any] = {"experiment": "x", "ingest": {"source": "a.csv"}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "lineal"}, "params.yaml: model: must be auto, linear, boosting, or {class"),
        ({"model": {"classifier": {"class": "a.B"}}}, "params.yaml: model: must be auto, linear"),
        ({"search": {"space": {"C": [1]}}}, "search.space tunes one model, and model: auto"),
        ({"features": {"text": {"lengths": [2, 1]}}}, "features.text.lengths: must be the least"),
        ({"features": {"max_categories": 1}}, "params.yaml: features.max_categories"),
    ],
)
def test_a_slip_is_one_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    from gatehouse.core.config.params import load_params
    from gatehouse.core.errors import InputError

    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(PARAMS | change), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_params(Project(tmp_path))
    assert sentence in str(caught.value).replace(str(path), "params.yaml")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_text_is_learned_from_kept_and_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """By each model; the file is the same bytes twice, and says the same when read back."""
    from sklearn.pipeline import Pipeline

    from gatehouse.core.config.params import Features
    from gatehouse.core.config.schema import Column
    from gatehouse.core.digests import model_digest
    from gatehouse.serving import skops_model
    from gatehouse.serving.features import build_features
    from gatehouse.training.choose import boosting, linear, make_estimator
    from gatehouse.training.preprocessing import preprocessor
    from gatehouse.training.store import save

    monkeypatch.chdir(tmp_path)
    trusted = [
        "numpy.dtype",
        "numpy.clip",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
    ]
    Path("gates.yaml").write_text(yaml.safe_dump({"trusted_types": trusted}))
    rng = np.random.default_rng(6)
    score = rng.normal(size=300)
    words = [
        ("good fine " if value > 0 else "bad poor ") + f"thing{k % 9}"
        for k, value in enumerate(score)
    ]
    raw = pd.DataFrame(
        {"said": pd.Series([*words[:-1], None], dtype=object), "x": rng.normal(size=300)}
    )
    columns = {"said": Column(type="string", role="text"), "x": Column(type="number")}
    classes = {"binary": [0, 1], "multiclass": [0, 1, 2], "regression": []}[task]
    target = score if not classes else np.digitize(score, np.arange(len(classes) - 1) * 0.5)
    features = build_features(raw, columns)
    for made in (linear(task, 300, 2**15), boosting(task, 300, 4, 30)):
        estimator = make_estimator(made, 0)
        steps = preprocessor(features, Features(), estimator, ["said"])
        pipeline = Pipeline([("features", steps), ("model", estimator)]).fit(features, target)
        model = skops_model.Model(pipeline, cast(Any, task), "y", [*classes], columns, {})
        digests = []
        for _ in range(2):
            save(model, MODEL)
            digests.append(model_digest(MODEL))
        assert digests[0] == digests[1]
        read = skops_model.load(MODEL)
        assert read.facts["onnx"] == "ONNX has no form of `role: text` that is surely the same"
        assert (read.predict(raw) == model.predict(raw)).all()
        asked = pd.DataFrame({"said": ["good fine thing1", "bad poor thing1", ""], "x": [0.0] * 3})
        answers = read.predict(asked)
        good = answers if not classes else answers @ np.arange(len(classes))
        assert good[0] > good[1]
