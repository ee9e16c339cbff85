"""The BentoML service. Its input model and OpenAPI page are built from ``schema.yaml``.

It serves the model in ``model/`` only if ``blessing.json`` blesses exactly that model.
"""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import bentoml
import numpy as np
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from . import model as store
from .schema import Column, Schema, load_schema
from .stage import InputError, say

ROOT = Path(__file__).resolve().parents[2]
MAX_ROWS = 1000

# Strict: "1" is no number, and NaN would turn into an answer that means nothing.
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _iso_text(value: object) -> object:
    if not isinstance(value, (str, datetime)):
        raise ValueError("must be ISO 8601 text")
    return value


def utc(moment: datetime | None) -> datetime | None:
    """A moment as the dataset has it: UTC, without a zone."""
    if moment is None or moment.tzinfo is None:
        return moment
    with suppress(OverflowError):  # the first and the last day there is
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None)


_TYPES: dict[str, Any] = {
    "integer": Annotated[int, Field(ge=-(2**63), lt=2**63)],
    "number": float,
    "boolean": bool,
    "string": str,
    # JSON has no dates, so this one type is parsed, from ISO 8601 text and nothing else.
    "datetime": Annotated[datetime, BeforeValidator(_iso_text), Field(strict=False)],
}


def row_model(schema: Schema) -> type[BaseModel]:
    """The input of one prediction: a field per feature, by its real name."""
    fields: dict[str, Any] = {}
    for position, (name, column) in enumerate(schema.features.items()):
        # Python names are made up: the real ones may hold spaces or be keywords.
        kind: Any = _TYPES[column.type]
        default: Any = ...
        if column.nullable:
            kind, default = kind | None, None
        about = Field(default, alias=name, description=_describe(column))
        fields[f"field_{position}"] = (kind, about)
    return create_model("Row", __config__=_STRICT, **fields)


def answer_model(schema: Schema) -> type[BaseModel]:
    """The output of one prediction."""
    digest = (str, Field(description="digest of the model that answered"))
    if schema.task == "regression":
        return create_model("Prediction", prediction=(float, ...), model_digest=digest)
    label: Any = Literal[tuple(schema.classes)]
    return create_model(
        "Prediction",
        prediction=(label, Field(description="the most probable class")),
        probabilities=(dict[str, float], Field(description="probability of each class")),
        model_digest=digest,
    )


def _describe(column: Column) -> str:
    parts: list[str] = [column.type]
    if column.min is not None or column.max is not None:
        parts.append(f"seen from {column.min} to {column.max}")
    if column.categories:
        parts.append("one of " + ", ".join(column.categories[:20]))
    return "; ".join(parts)


def blessed_digest(root: Path) -> str:
    """The digest of ``model/`` if ``blessing.json`` blesses it; ``InputError`` otherwise."""
    digest = store.digest(root / store.DIRECTORY)
    try:
        blessing = json.loads((root / "blessing.json").read_text(encoding="utf-8"))
        blessed = blessing["blessed"] is True and blessing["model_digest"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError("blessing.json is missing or damaged: run `make pipeline`") from None
    if blessed != digest:
        reason = "is not blessed" if not blessed else "is not the one that was blessed"
        raise InputError(f"the model in {store.DIRECTORY}/ {reason}: see `make gate`")
    return digest


try:
    DIGEST = blessed_digest(ROOT)
    SCHEMA = load_schema(ROOT / "schema.yaml")
except InputError as refusal:
    say(f"service: {refusal}")
    raise SystemExit(2) from None

Row: Any = row_model(SCHEMA)
Prediction: Any = answer_model(SCHEMA)
Rows = Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)]


@bentoml.service(name=__package__.rpartition(".")[2], traffic={"timeout": 10})
class Service:
    """Predictions of the blessed model."""

    def __init__(self) -> None:
        self._model = store.load(ROOT / store.DIRECTORY)

    def _answer(self, rows: list[Any]) -> list[Any]:
        frame = pd.DataFrame.from_records([row.model_dump(by_alias=True) for row in rows])
        for name, column in self._model.columns.items():
            if column.type == "datetime":
                moments = [utc(moment) for moment in frame[name].tolist()]
                frame[name] = np.array(moments, dtype="datetime64[us]")
        raw = self._model.predict(frame)
        if self._model.task == "regression":
            return [Prediction(prediction=float(v), model_digest=DIGEST) for v in raw]
        labels, classes = SCHEMA.labels, self._model.classes
        return [
            Prediction(
                prediction=classes[int(p.argmax())],
                probabilities=dict(zip(labels, p.tolist(), strict=True)),
                model_digest=DIGEST,
            )
            for p in raw
        ]

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, row: Row, /) -> Prediction:
        """Predict one row; the body is the row itself."""
        return self._answer([row])[0]

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict_batch(self, rows: Rows) -> list[Prediction]:
        """Predict up to 1,000 rows at once; answers keep their order."""
        return self._answer(rows)
