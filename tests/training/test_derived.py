"""Columns of the user's own: ``derive`` stands in training and service, and fails in a sentence."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from serving import COLUMNS, ROW, fitted, frame, schema_of

from gatehouse.core.config.schema import Column
from gatehouse.core.digests import MODEL, ONNX
from gatehouse.core.errors import InputError
from gatehouse.core.project import Project
from gatehouse.serving.derived import Derived, OtherCode, again, derived
from gatehouse.serving.features import build_features, plain_columns
from gatehouse.serving.onnx_model import OnnxModel, plain
from gatehouse.serving.skops_model import Model, load
from gatehouse.training.store import save

MINE = """
import numpy as np

def derive(frame):
    late = frame["built"] > np.datetime64("2000-01-01")
    per = frame["size €"] / np.where(frame["rooms"] > 8, np.nan, frame["rooms"])
    town = np.array([{"north": 1.0, "south": 2.0}.get(t, np.nan) for t in frame["town"]])
    return {"per room": per, "late": late, "town's number": town + (frame["lift"] == 1)}
"""
KNOWN = {name: Column(**about) for name, about in COLUMNS.items()}

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "src/mine"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(Path(__file__).parents[2] / "{{cookiecutter.project_slug}}/gates.yaml", tmp_path)

    def write(code: str) -> Path:
        (package / "features.py").write_text(code, encoding="utf-8")
        return package / "features.py"

    return write


def asked(rows: pd.DataFrame | None = None) -> Derived | None:
    return derived(Project(), plain_columns(frame() if rows is None else rows, KNOWN), KNOWN)


def learned(task: str) -> Model:
    """A model of all columns, those of ``derive`` among them, saved in ``model/``."""
    made: Model = fitted(task, derive=asked())
    save(made, MODEL)
    return made


def test_its_columns_are_features_like_any_other(write: Write) -> None:
    write(MINE)
    made = build_features(frame(), KNOWN, derive=asked())
    plain_ones = build_features(frame(), KNOWN)
    assert [*made] == [*plain_ones, "per room", "late", "town's number"]
    size, rooms = frame()["size €"], frame()["rooms"].astype("float64")
    expected = (size / rooms.where(rooms <= 8)).to_numpy()
    np.testing.assert_allclose(made["per room"], expected, rtol=1e-6)
    assert set(made["late"]) == {0.0, 1.0}
    assert made["town's number"].isna().sum() > frame()["town"].isna().sum()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_model_is_served_as_onnx_with_them(write: Write, task: str) -> None:
    write(MINE)
    made = learned(task)
    read = load(MODEL)
    assert read.derive is not None and read.derive.names == ("per room", "late", "town's number")
    rows = frame(100, seed=5)
    ours = made.predict(rows)
    np.testing.assert_array_equal(read.predict(rows), ours)
    onnx = OnnxModel(MODEL / ONNX, derive=read.derive)
    together = onnx.run(onnx.encoder.columns(plain(rows, KNOWN)))
    np.testing.assert_allclose(together, ours, atol=1e-5)
    row = [v for values in plain(rows[3:4], KNOWN).values() for v in values]
    np.testing.assert_allclose(onnx.run(onnx.encoder.rows([row])), ours[3:4], atol=1e-5)


def test_a_model_is_asked_with_the_text_it_learned_with_and_no_other(write: Write) -> None:
    path = write(MINE)
    learned("binary")
    path.write_bytes(MINE.encode().replace(b"\n", b"\r\n"))
    load(MODEL)
    write(MINE + "# another\n")
    with pytest.raises(OtherCode, match=r"src/mine/features.py is another than the one"):
        load(MODEL)
    Path("champion").mkdir()
    Path("champion/features.py").write_text(MINE, encoding="utf-8")
    assert load(MODEL, root=Path("champion")).derive is not None
    path.unlink()
    with pytest.raises(OtherCode):
        load(MODEL)
    with pytest.raises(InputError, match=r"features\.py: give the one"):
        OnnxModel(MODEL / ONNX)


def test_a_card_names_a_module_of_the_project_or_is_damaged(write: Write) -> None:
    write(MINE)
    learned("binary")
    card = json.loads((MODEL / "model.json").read_text(encoding="utf-8"))
    card["derive"]["module"] = "src/../../features.py"
    with pytest.raises(InputError, match=r"model\.json is damaged"):
        again(Path(), card, KNOWN)


@pytest.mark.parametrize("code", ["", "x = 3\n", "def derive(frame):\n    return {}\n"])
def test_without_columns_nothing_is_said(write: Write, code: str) -> None:
    write(code)
    assert asked() is None
    learned("regression")
    assert "derive" not in json.loads((MODEL / "model.json").read_text(encoding="utf-8"))


def test_as_it_is_generated_it_gives_nothing(write: Write) -> None:
    shipped = Path(__file__).parents[2] / "{{cookiecutter.project_slug}}/src"
    write((shipped / "{{cookiecutter.package_name}}/features.py").read_text(encoding="utf-8"))
    assert asked() is None


REFUSED: dict[str, tuple[str, str]] = {
    "syntax": ("def derive(frame)\n", "features.py, line 1: it cannot be read alone (SyntaxError"),
    "import": ("import numpy\n\nfrom .data import x\n", "line 3: it cannot be read alone (ImportErr"),
    "raises": ("def derive(frame):\n    return {'a': frame['b']}\n", "line 2: derive ended with KeyE"),
    "no dict": ("def derive(frame):\n    return frame['rooms']\n", "gives no dict of columns"),
    "text": ("def derive(frame):\n    return {'a': frame['town']}\n", "gives 'a' as object (400,)"),
    "short": ("def derive(frame):\n    return {'a': frame['rooms'][1:]}\n", "as float64 (399,), and"),
    "one": ("def derive(frame):\n    return {'a': 3}\n", "a number for each of 400 rows"),
    "name": ("def derive(frame):\n    return {3: frame['rooms']}\n", "gives 3 as float64"),
    "taken": ("def derive(frame):\n    return {'rooms': frame['rooms']}\n", "a column of its own"),
    "pandas": (
        "import pandas as pd\ndef derive(frame):\n    return {'a': frame['rooms']}\n",
        "features.py imports pandas: the service has NumPy",
    ),
    "beside": (
        "def derive(frame):\n    return {'a': frame['rooms'] - frame['size €'].mean()}\n",
        "'a' of a row is another when the row is asked alone",
    ),
    "now and then": (
        "def derive(frame):\n    return {'a': frame['rooms']} if len(frame['rooms']) > 9 else {}\n",
        "gives nothing, and gave a in training",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_derive_that_fails_is_told_in_one_sentence(write: Write, case: str) -> None:
    code, sentence = REFUSED[case]
    write(code)
    with pytest.raises(InputError) as refusal:
        asked()
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_it_does_to_its_columns_stays_with_it(write: Write) -> None:
    write("def derive(frame):\n    frame['rooms'] *= 0\n    return {'none': frame['rooms']}\n")
    made = build_features(frame(), KNOWN, derive=asked())
    assert made["rooms"].max() > 0


def test_a_service_answers_with_them(write: Write) -> None:
    import yaml

    from gatehouse.core.config.results import Blessed
    from gatehouse.serving.direct import Direct
    from gatehouse.serving.predictor import load as predictor

    write(MINE)
    made = learned("binary")
    Path("schema.yaml").write_text(
        yaml.safe_dump(schema_of("binary"), sort_keys=False), encoding="utf-8"
    )
    row: dict[str, Any] = dict(ROW)
    typed = frame(1).assign(**{**ROW, "built": pd.Timestamp(ROW["built"])})
    expected = made.predict(typed)[0]
    for form in ("onnx", "skops"):
        direct = Direct(predictor(Path(), about=Blessed("sha256:d", form)))
        said = direct.predict(row)["probabilities"]
        np.testing.assert_allclose(list(said.values()), expected, atol=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux'")
def test_attack_derive_runs_in_the_judge(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """ATTACK: `derive` writes the truth, or reads what the judge knows | the judge asks own code in a process that can only compute (Landlock, seccomp), and gives it no target"""
    write(MINE)
    learned("binary")
    expected = load(MODEL).predict(frame())
    monkeypatch.setenv("GATEHOUSE_CONFINED", "1")
    assert np.array_equal(load(MODEL).predict(frame()), expected)
    evil = "open('owned', 'w')\n" + MINE
    write(evil)
    card = json.loads((MODEL / "model.json").read_text(encoding="utf-8"))
    card["derive"]["digest"] = f"sha256:{hashlib.sha256(evil.encode()).hexdigest()}"
    (MODEL / "model.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError):
        load(MODEL)
    assert not Path("owned").exists()
