"""The blessed model, ready to predict: ONNX where it says the same as the pipeline, else skops."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatehouse.core.config.results import Blessed, blessed
from gatehouse.core.config.schema import Schema, load_schema
from gatehouse.core.digests import CARD, MODEL, ONNX
from gatehouse.core.errors import InputError
from gatehouse.core.inference_log import schema_version
from gatehouse.core.project import Project

from .arrays import Encoder, utc
from .derived import again
from .inputs import Unusual
from .onnx_model import OnnxModel

Rows = Sequence[Collection[Any]]
Columns = Mapping[str, Sequence[Any]]
Raw = npt.NDArray[np.floating[Any]]


class Found(NamedTuple):
    """(n, k) probabilities or (n,) values, and the columns with unusual values."""

    raw: Raw
    unusual: list[str]


class Predictor:
    """What ``blessing.json`` blesses, ready to predict; ``load`` makes it."""

    schema_version = ""  # eight characters of the digest of schema.yaml
    slow = False  # a prediction is so short that waiting for others would cost more

    def __init__(self, about: Blessed, schema: Schema, encoder: Encoder) -> None:
        self.digest, self.format = about
        self.schema, self.encoder = schema, encoder
        self.labels, self.classes = schema.labels, schema.classes
        self._unusual = Unusual(schema, encoder)

    def rows(self, rows: Rows) -> Found:
        """Predict rows, each the values of all features in order."""
        raise NotImplementedError

    def columns(self, columns: Columns) -> Found:
        """Predict columns of equal length, by name."""
        raise NotImplementedError

    def answers(self, raw: Raw) -> list[dict[str, Any]]:
        """An answer a row, as a client gets it."""
        digest = self.digest
        if raw.ndim == 1:
            return [{"prediction": v, "model_digest": digest} for v in raw.tolist()]
        labels, classes = self.labels, self.classes
        return [
            {
                "prediction": classes[best],
                "probabilities": dict(zip(labels, values, strict=True)),
                "model_digest": digest,
            }
            for best, values in zip(raw.argmax(axis=1).tolist(), raw.tolist(), strict=True)
        ]

    def answer_columns(self, raw: Raw) -> dict[str, Any]:
        """All answers, column by column."""
        if raw.ndim == 1:
            return {"prediction": raw.tolist(), "model_digest": self.digest}
        return {
            "prediction": [self.classes[best] for best in raw.argmax(axis=1).tolist()],
            "probabilities": dict(zip(self.labels, raw.T.tolist(), strict=True)),
            "model_digest": self.digest,
        }


class OnnxPredictor(Predictor):
    """NumPy and onnxruntime alone."""

    def __init__(self, about: Blessed, schema: Schema, model: OnnxModel) -> None:
        super().__init__(about, schema, model.encoder)
        self._model = model

    def rows(self, rows: Rows) -> Found:
        """As in ``Predictor``."""
        arrays = self.encoder.rows(rows)
        return Found(self._model.run(arrays), self._unusual.find(arrays))

    def columns(self, columns: Columns) -> Found:
        """As in ``Predictor``."""
        arrays = self.encoder.columns(columns)
        return Found(self._model.run(arrays), self._unusual.find(arrays))


class SkopsPredictor(Predictor):
    """The pipeline itself; a call costs nearly the same for one row as for a hundred."""

    slow = True

    def __init__(self, about: Blessed, schema: Schema, root: Path) -> None:
        try:
            from .skops_model import load as load_model
        except ImportError:
            raise InputError(
                "format-not-installed",
                "this model is not served as ONNX, and what its own format needs is not installed: "
                "`gatehouse serve` installs it",
            ) from None
        columns = schema.features
        text = [name for name, column in columns.items() if column.type == "string"]
        numbers = [n for n, c in columns.items() if c.type not in ("string", "datetime")]
        fill = dict.fromkeys(text, "")
        words = {name: columns[name].null_values for name in text}
        read = [(name, "value") for name in numbers]
        super().__init__(about, schema, Encoder(list(columns), read, text, fill, words=words))
        self._model = load_model(root / MODEL)

    def rows(self, rows: Rows) -> Found:
        """As in ``Predictor``."""
        return self.columns(self.encoder.by_column(rows))

    def columns(self, columns: Columns) -> Found:
        """As in ``Predictor``."""
        import pandas as pd

        frame = pd.DataFrame({name: list(values) for name, values in columns.items()})
        for name, column in self.schema.features.items():
            if column.type == "datetime":
                moments = [utc(moment) for moment in columns[name]]
                frame[name] = np.array(moments, dtype="datetime64[us]")
        raw = self._model.predict(frame)
        return Found(raw, self._unusual.find(self.encoder.columns(columns)))


def load(root: Path, threads: int = 1, about: Blessed | None = None) -> Predictor:
    """Raises ``InputError`` where the model is missing, damaged or not the blessed one.

    ``about`` says what to load before anything is blessed.
    """
    about = about or blessed(root)
    schema = load_schema(Project(root))
    try:
        card = json.loads((root / MODEL / CARD).read_text(encoding="utf-8"))
        same = list(card["columns"]) == list(schema.features)
        same &= card["classes"] == schema.classes and card["task"] == schema.task
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            "model-damaged", f"{MODEL / CARD} is damaged: run `make pipeline`"
        ) from None
    if not same:
        raise InputError(
            "model-of-other-schema",
            "schema.yaml has other features, classes or task than the model: run `make pipeline`",
        )
    found: Predictor
    if about.format == "onnx":
        derive = again(root, card, schema.features)
        found = OnnxPredictor(about, schema, OnnxModel(root / MODEL / ONNX, threads, derive))
    else:
        found = SkopsPredictor(about, schema, root)
    found.schema_version = schema_version(root / "schema.yaml")
    return found
