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
from baked import BakedProject
from serving import bless, fitted, frame, schema_of


def made_with(version: str, folder: Path) -> None:
    path = folder / "model.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"packages": {"scikit-learn": version}}))


@pytest.fixture
def other(science: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model of an older scikit-learn, and test rows."""
    monkeypatch.chdir(bless(tmp_path, "multiclass"))
    made_with("1.2.3", tmp_path / "model")
    Path("data").mkdir()
    rows = frame(300, seed=3).assign(good="low", __row_id__=range(300))
    from flight_delays.split import ROW_ID

    rows = rows.rename(columns={"__row_id__": ROW_ID})
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), "data/test.parquet")
    return tmp_path


def test_it_is_refused_in_one_sentence(other: Path) -> None:
    from importlib.metadata import version

    from flight_delays import model as store
    from flight_delays.stage import InputError

    with pytest.raises(InputError) as refusal:
        store.load()
    said = str(refusal.value)
    assert "\n" not in said
    assert "scikit-learn 1.2.3" in said
    assert version("scikit-learn") in said
    assert "make pipeline" in said
    made_with(version("scikit-learn"), other / "model")
    assert store.load().task == "multiclass"


@pytest.mark.parametrize("serving", ["onnx", "skops"])
def test_a_champion_is_asked_by_the_form_that_served(other: Path, serving: str) -> None:
    from flight_delays.evaluate import champion_predictions
    from flight_delays.schema import Schema

    shutil.copytree("model", "champion")
    Path("champion/champion.json").write_text(json.dumps({"found": True, "serving": serving}))
    found: Any = champion_predictions(Schema(**schema_of("multiclass")))
    if serving == "skops":
        assert found.num_rows == 0
        reason = found.schema.metadata[b"reason"].decode()
        assert "scikit-learn 1.2.3" in reason
        assert "no ONNX form" in reason
        return
    expected = fitted("multiclass").predict(frame(300, seed=3))
    for k in range(3):
        np.testing.assert_allclose(found[f"p_{k}"].to_numpy(), expected[:, k], atol=1e-6)


def test_the_champion_brings_its_onnx_form(
    science: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ops import champion

    monkeypatch.chdir(bless(tmp_path, "binary"))

    def get(path: str, made_by: str, out: Path) -> None:
        del made_by
        (shutil.copytree if Path(path).is_dir() else shutil.copyfile)(path, out)

    monkeypatch.setattr(champion, "dvc_get", get)
    assert champion._bring("c0ffee", "md5", reference=False)
    record = json.loads(Path("champion/champion.json").read_text())
    assert record["serving"] == "onnx"
    assert Path("champion/model.onnx").read_bytes() == Path("model/model.onnx").read_bytes()
    assert yaml.safe_load(Path("schema.yaml").read_text())["task"] == "binary"
