"""A model made with another scikit-learn: refused by name; as a champion, asked by its ONNX form."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from serving import bless, fitted, frame, schema_of

from gatehouse.core.digests import MODEL
from gatehouse.core.project import Project


def made_with(version: str, folder: Path) -> None:
    path = folder / "model.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"packages": {"scikit-learn": version}}))


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model of an older scikit-learn, and test rows."""
    monkeypatch.chdir(bless(tmp_path, "multiclass"))
    made_with("1.2.3", tmp_path / "model")
    Path("data").mkdir()
    rows = frame(300, seed=3).assign(good="low", __row_id__=range(300))
    from gatehouse.training.split import ROW_ID

    rows = rows.rename(columns={"__row_id__": ROW_ID})
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), "data/test.parquet")
    return tmp_path


def test_it_is_refused_in_one_sentence(other: Path) -> None:
    from importlib.metadata import version

    from gatehouse.core.errors import InputError
    from gatehouse.serving import skops_model

    with pytest.raises(InputError) as refusal:
        skops_model.load(MODEL)
    said = str(refusal.value)
    assert "\n" not in said
    assert "scikit-learn 1.2.3" in said
    assert version("scikit-learn") in said
    assert "make pipeline" in said
    made_with(version("scikit-learn"), other / "model")
    assert skops_model.load(MODEL).task == "multiclass"


@pytest.mark.parametrize("serving", ["onnx", "skops"])
def test_a_champion_is_asked_by_the_form_that_served(other: Path, serving: str) -> None:
    from gatehouse.core.config.schema import Schema
    from gatehouse.training.evaluate import champion_predictions

    shutil.copytree("model", "champion")
    Path("champion/champion.json").write_text(json.dumps({"found": True, "serving": serving}))
    found: Any = champion_predictions(Project(), Schema(**schema_of("multiclass")))
    if serving == "skops":
        assert found.num_rows == 0
        reason = found.schema.metadata[b"reason"].decode()
        assert "scikit-learn 1.2.3" in reason
        assert "no ONNX form" in reason
        return
    expected = fitted("multiclass").predict(frame(300, seed=3))
    for k in range(3):
        np.testing.assert_allclose(found[f"p_{k}"].to_numpy(), expected[:, k], atol=1e-6)


def test_the_champion_brings_its_onnx_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.registry import champion
    from gatehouse.vcs import dvc

    monkeypatch.chdir(bless(tmp_path, "binary"))

    def get(_: Any, path: str, made_by: str, out: Path) -> None:
        del made_by
        (shutil.copytree if Path(path).is_dir() else shutil.copyfile)(path, out)

    monkeypatch.setattr(champion, "dvc_get", get)
    made = {path: str(dvc.md5_of(Path(path))) for path in ("model", "blessing.json")}
    assert champion._bring(Project(), "c0ffee", made, None)
    record = json.loads(Path("champion/champion.json").read_text())
    assert record["serving"] == "onnx"
    assert Path("champion/model.onnx").read_bytes() == Path("model/model.onnx").read_bytes()
    assert yaml.safe_load(Path("schema.yaml").read_text())["task"] == "binary"
