from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from projects import rendered
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline

from gatehouse.core.config.schema import Column
from gatehouse.core.digests import model_digest
from gatehouse.core.errors import InputError
from gatehouse.serving.skops_model import Model, load
from gatehouse.training.store import save

RAW = pd.DataFrame({"x": np.linspace(0, 1, 200)})
TRUTH = (RAW["x"] > 0.5).astype(int)


def small_model() -> Model:
    pipeline = make_pipeline(HistGradientBoostingClassifier(random_state=0)).fit(RAW, TRUTH)
    return Model(pipeline, "binary", "y", ["no", "yes"], {"x": Column(type="number")}, {})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "gates.yaml").write_text(rendered("gates.yaml"), encoding="utf-8")
    return tmp_path / "model"


def test_a_saved_model_answers_as_before(directory: Path) -> None:
    model = small_model()
    save(model, directory)
    assert (load(directory).predict(RAW) == model.predict(RAW)).all()


def test_equal_models_are_equal_bytes(directory: Path) -> None:
    save(small_model(), directory)
    first = model_digest(directory)
    save(small_model(), directory)
    assert model_digest(directory) == first


def test_a_pickle_is_refused_by_name(directory: Path) -> None:
    save(small_model(), directory)
    (directory / "model.skops").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(InputError, match="is a pickle and is not loaded"):
        load(directory)


def test_a_type_that_is_not_trusted_is_refused(directory: Path) -> None:
    save(small_model(), directory)
    (directory.parent / "gates.yaml").write_text("trusted_types: [numpy.dtype]\n", encoding="utf-8")
    with pytest.raises(InputError, match="TreePredictor"):
        load(directory)
