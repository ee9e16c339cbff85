import numpy as np
import pandas as pd

from gatehouse.core.config.params import Features
from gatehouse.core.config.schema import Column
from gatehouse.serving.features import build_features
from gatehouse.training.preprocessing import preprocessor

COLUMNS = {
    "size": Column(type="number"),
    "sold": Column(type="boolean"),
    "town": Column(type="string"),
    "day": Column(type="datetime"),
}
RAW = pd.DataFrame(
    {
        "size": [1.5, None, 3.0],
        "sold": [True, None, False],
        "town": ["Bern", None, "Basel"],
        "day": pd.Series(["2026-03-02 10:00", None, "2026-03-08 23:00"], dtype="datetime64[us]"),
    }
)


def test_every_type_becomes_numbers_or_text() -> None:
    features = build_features(RAW, COLUMNS)
    assert features["size"].tolist()[::2] == [1.5, 3.0]
    assert features["sold"].tolist()[::2] == [1.0, 0.0]
    assert features["town"].tolist()[::2] == ["Bern", "Basel"]
    assert features["day (weekday)"].tolist()[::2] == [0.0, 6.0]
    assert features["day (hour)"].tolist()[::2] == [10.0, 23.0]
    assert features.iloc[1].isna().all()


def test_an_unseen_category_has_a_code_of_its_own() -> None:
    features = build_features(RAW, COLUMNS)
    fitted = preprocessor(features, Features()).fit(features)
    unseen = features.assign(town="Zug")
    position = list(fitted.get_feature_names_out()).index("categorical__town")
    assert np.unique(fitted.transform(unseen)[:, position]).tolist() == [-1.0]
