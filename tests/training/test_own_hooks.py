"""The user's ``prepare`` and ``build`` stand where the pipeline asks them, and fail in one sentence."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from projects import PROJECT, small_project

from gatehouse.core import hooks
from gatehouse.core.digests import MODEL
from gatehouse.core.errors import InputError
from gatehouse.core.project import Project
from gatehouse.serving.skops_model import load
from gatehouse.training.ingest import DATASET, ingest
from gatehouse.training.train import train

Write = Callable[[str, str], None]
ROWS = 120


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A module of the package ``mine`` in a project with a small table, in which ``y`` follows ``x``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(hooks, "_added", [])
    small_project(tmp_path, "params.yaml", "gates.yaml", data="own.csv", target="y")
    x = np.random.default_rng(2).normal(size=ROWS).round(3)
    lines = "".join(f"{value},{int(value > 0)}\n" for value in x)
    Path("data").mkdir()
    Path("data/source.csv").write_text(f"x,y\n{lines}", encoding="utf-8")
    columns = {"x": {"type": "number"}, "y": {"type": "integer", "role": "target"}}
    schema = {"task": "binary", "target": "y", "classes": [0, 1], "columns": columns}
    Path("schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
    Path("src/mine").mkdir(parents=True)
    Path("src/mine/__init__.py").touch()

    def write(name: str, code: str) -> None:
        Path(f"src/mine/{name}.py").write_text(code, encoding="utf-8")

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def fit() -> dict[str, object]:
    """Train on all rows; what model.json says."""
    ingest(Project())
    pq.write_table(pq.read_table(DATASET), "data/train.parquet")
    train(Project())
    return dict(json.loads(Path("model/model.json").read_text(encoding="utf-8")))


def test_prepare_cleans_the_raw_table(write: Write) -> None:
    ingest(Project())
    assert pq.read_metadata(DATASET).num_rows == ROWS
    write("data", "def prepare(table): return table.slice(20)")
    ingest(Project())
    assert pq.read_metadata(DATASET).num_rows == ROWS - 20


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def prepare(table): pass", "prepare of data.py gives a NoneType: let it return a"),
        ("def prepare(table): return table['z']", "src/mine/data.py, line 1: prepare ended with KeyError"),
    ],
)  # fmt: skip
def test_a_prepare_that_fails_is_told_in_one_sentence(
    write: Write, code: str, sentence: str
) -> None:
    write("data", code)
    with pytest.raises(InputError) as refusal:
        ingest(Project())
    assert sentence in str(refusal.value)


def test_build_stands_in_place_of_params(write: Write) -> None:
    write(
        "model",
        "from sklearn.ensemble import RandomForestClassifier\n"
        "def build(params, schema):\n"
        "    return RandomForestClassifier(len(schema.classes) + 5, class_weight='balanced')",
    )
    card = fit()
    assert card["estimator"] == "sklearn.ensemble._forest.RandomForestClassifier"
    assert card["params"]["n_estimators"] == 7  # type: ignore[index]
    assert card["params"]["random_state"] == 0, "it has the seed of params.yaml"  # type: ignore[index]
    assert "choice" not in card
    digest = Path("model/model.skops").read_bytes()
    fit()
    assert Path("model/model.skops").read_bytes() == digest
    answers = load(MODEL).predict(pq.read_table("data/train.parquet").to_pandas())
    assert answers.shape == (ROWS, 2)


def test_a_build_that_gives_none_leaves_it_to_params(write: Write) -> None:
    write("model", (PROJECT / "src/{{cookiecutter.package_name}}/model.py").read_text("utf-8"))
    write("data", (PROJECT / "src/{{cookiecutter.package_name}}/data.py").read_text("utf-8"))
    assert fit()["choice"]["asked"] == "auto"  # type: ignore[index]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def build(params, schema): return 3", "build of model.py gives a int: let it return an estimator"),
        ("def build(params): return None", "build ended with TypeError"),
    ],
)  # fmt: skip
def test_a_build_that_fails_is_told_in_one_sentence(write: Write, code: str, sentence: str) -> None:
    write("model", code)
    with pytest.raises(InputError) as refusal:
        fit()
    assert sentence in str(refusal.value)


def test_prepare_as_it_is_generated_changes_nothing() -> None:
    space: dict[str, object] = {}
    text = (PROJECT / "src/{{cookiecutter.package_name}}/data.py").read_text(encoding="utf-8")
    exec(text, space)
    table = pa.table({"x": [1]})
    assert space["prepare"](table) is table  # type: ignore[operator]


# --- confined, as the judge asks ----------------------------------------------------------------

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux'")
OWN_TYPE = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

class Mine(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = 1.0
        return self

    def predict_proba(self, X):
        yes = 1 / (1 + np.exp(-np.asarray(X, dtype=float)[:, 0]))
        return np.stack([1 - yes, yes], axis=1)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

def build(params, schema):
    return Mine()
"""


def own_modules() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "mine"]


def forget() -> None:
    for name in own_modules():
        del sys.modules[name]
    sys.path[:] = [path for path in sys.path if not path.endswith("/src") or "gatehouse" in path]


@LINUX
def test_attack_prepare_runs_in_the_judge(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """ATTACK: `prepare` writes a verdict, or reads what the judge knows | the judge asks own code in a process that can only compute (Landlock, seccomp)"""
    write("data", "def prepare(table): return table.slice(20)")
    monkeypatch.setenv(hooks.CONFINED, "1")
    ingest(Project())
    assert pq.read_metadata(DATASET).num_rows == ROWS - 20
    assert own_modules() == []
    write(
        "data", "def prepare(table):\n    open('blessing.json', 'w').write('{}')\n    return table"
    )
    with pytest.raises(InputError) as refusal:
        ingest(Project())
    assert refusal.value.code == "confined-raised"
    assert not Path("blessing.json").exists()


@LINUX
def test_attack_a_type_of_src_is_loaded_in_the_judge(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ATTACK: the model is of a class of src/, whose code the change rewrites | such a model is asked in a process that can only compute, and given features alone"""
    write("model", OWN_TYPE)
    gates = yaml.safe_load(Path("gates.yaml").read_text("utf-8"))
    gates["trusted_types"] = [*(gates.get("trusted_types") or []), "mine.model.Mine"]
    Path("gates.yaml").write_text(yaml.safe_dump(gates), encoding="utf-8")
    assert fit()["estimator"] == "mine.model.Mine"
    rows = pq.read_table("data/train.parquet").to_pandas()
    expected = load(MODEL).predict(rows)
    forget()
    write("model", "open('/tmp/owned', 'w')\n" + OWN_TYPE)
    monkeypatch.setenv(hooks.CONFINED, "1")
    with pytest.raises(InputError):
        load(MODEL)
    write("model", OWN_TYPE)
    assert np.array_equal(load(MODEL).predict(rows), expected)
    assert own_modules() == []
    Path("src/mine").rename("src/other")
    with pytest.raises(InputError) as refusal:
        load(MODEL)
    assert refusal.value.code == "judge-lacks-package"
