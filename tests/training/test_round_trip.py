"""One meaning of a value: CSV, Parquet, batch, JSON, the typed client, the catalogue's model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from serving import CLASSES, COLUMNS, bless, fitted, frame, schema_of

from gatehouse.core.digests import MODEL
from gatehouse.core.project import Project


@pytest.fixture
def trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Save a model, write a source, and ask on every way."""
    monkeypatch.chdir(tmp_path)

    def trip(task: str, raw: pd.DataFrame, suffix: str = ".csv", serves: Any = "onnx") -> Any:
        from gatehouse.core.config.params import Ingest
        from gatehouse.core.config.schema import Schema
        from gatehouse.serving.skops_model import load
        from gatehouse.training.round_trip import round_trip

        bless(tmp_path, task)
        source = Path("source").with_suffix(suffix)
        if suffix == ".csv":
            raw.to_csv(source, index=False)
        else:
            raw.to_parquet(source)
        schema = Schema(**schema_of(task))
        return round_trip(Project(), load(MODEL), schema, Ingest(source=source), serves)

    return trip


@pytest.mark.parametrize(("task", "serves"), [("binary", "onnx"), ("regression", "skops")])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_way_gives_the_same(trip: Any, task: str, serves: str, suffix: str) -> None:
    found = trip(task, frame(300, seed=4), suffix, serves)
    assert found["differ"] == []
    assert found["ways"] == ["parquet", "batch", "json", "client", "catalogue"]
    assert found["rows"] > 100


@pytest.mark.parametrize("serves", ["onnx", "skops"])
def test_a_word_for_missing_is_one_on_every_way(
    trip: Any, monkeypatch: pytest.MonkeyPatch, serves: str
) -> None:
    from gatehouse.serving.skops_model import load

    town = COLUMNS["town"] | {"null_values": ["north"], "categories": ["south", "west"]}
    monkeypatch.setitem(COLUMNS, "town", town)
    raw = frame(300, seed=4)
    assert trip("binary", raw, serves=serves)["differ"] == []
    model, north = load(MODEL), raw[raw["town"] == "north"]
    said = [model.predict(north.assign(town=word)) for word in ("north", None, "", "south")]
    np.testing.assert_array_equal(said[0], said[1])
    np.testing.assert_array_equal(said[0], said[2])
    assert abs(said[0] - said[3]).max() > 0.1


def test_a_way_that_differs_is_named(trip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.serving.arrays import Encoder

    whole = Encoder.columns

    def deaf(self: Any, columns: Any) -> Any:
        return whole(self, {**columns, "town": [None] * len(columns["town"])})

    monkeypatch.setattr(Encoder, "columns", deaf)
    found = trip("binary", frame(300, seed=4))
    assert [one["way"] for one in found["differ"]] == ["json", "client"]
    assert all(one["columns"] == ["town"] for one in found["differ"])
    assert all("rows get another answer" in one["reason"] for one in found["differ"])


def test_a_way_that_fails_is_named(trip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.training import catalogued

    def fail(*_: Any) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(catalogued, "typed", fail)
    [one] = trip("binary", frame(300, seed=4))["differ"]
    assert one == {
        "way": "catalogue",
        "reason": "it refuses rows of the source (ValueError)",
        "columns": [],
    }


@pytest.mark.parametrize("task", CLASSES)
def test_the_catalogue_takes_raw_rows_and_answers_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    import mlflow

    from gatehouse.registry import catalogue

    monkeypatch.chdir(bless(tmp_path, task))
    (tmp_path / "src/own").mkdir(parents=True)
    (tmp_path / "src/own/__init__.py").touch()
    model = fitted(task)
    card = json.loads(Path("model/model.json").read_text())
    card["packages"] = {}
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.create_experiment("e", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment("e")
    with mlflow.start_run() as run:
        catalogue._log_model(Project(), mlflow, card)
    raw = frame(50, seed=7)
    loaded = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    expected = model.answers(model.predict(raw))
    as_float = raw.assign(rooms=raw["rooms"].astype("float64"), lift=raw["lift"].astype(object))
    for given in (raw, as_float, raw.assign(built=raw["built"].astype(str).replace("NaT", None))):
        found = loaded.predict(given)
        assert found["prediction"].tolist() == expected["prediction"].tolist()
        np.testing.assert_allclose(found.iloc[:, 1:], expected.iloc[:, 1:])
    with pytest.raises(Exception, match="rooms"):
        loaded.predict(raw.assign(rooms=1.5))
    assert not list((tmp_path / "artifacts").rglob("*.pkl"))
    [code] = (tmp_path / "artifacts").rglob("code")
    assert {path.name for path in code.iterdir()} == {"gatehouse", "own"}
    assert yaml.safe_load(Path("schema.yaml").read_text())["task"] == task
