"""What every hand-written service needs of the project: its columns, classes, and model.

A person would write the row's class out, field by field; here it is made from ``model.json`` so
that one file serves three models. What pydantic compiles is the same.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from typing_extensions import TypedDict

PROJECT = Path(os.environ["PROJECT"])
CARD: dict[str, Any] = json.loads((PROJECT / "model/model.json").read_text(encoding="utf-8"))
COLUMNS: dict[str, dict[str, Any]] = CARD["columns"]
CLASSES: list[Any] = CARD["classes"]
LABELS = [str(c).lower() if isinstance(c, bool) else str(c) for c in CLASSES]
DIGEST = json.loads((PROJECT / "predictions/golden.json").read_text(encoding="utf-8"))[
    "model_digest"
]
TIMES = [name for name, column in COLUMNS.items() if column["type"] == "datetime"]
MAX_ROWS = 1000


def _text_only(value: object) -> object:
    if not isinstance(value, (str, datetime)):
        raise ValueError("must be ISO 8601 text")
    return value


def utc(moment: datetime | None) -> datetime | None:
    """A moment as the training data had it: UTC, no zone."""
    if moment is None or moment.tzinfo is None:
        return moment
    return moment.astimezone(UTC).replace(tzinfo=None)


_KINDS: dict[str, Any] = {
    "integer": Annotated[int, Field(ge=-(2**63), lt=2**63)],
    "number": float,
    "boolean": bool,
    "string": str,
    "datetime": Annotated[datetime, BeforeValidator(_text_only), Field(strict=False)],
}


def row_class(**config: Any) -> type[BaseModel]:
    """The class of one row; a column that may be missing may be left out."""
    fields: dict[str, Any] = {}
    for name, column in COLUMNS.items():
        kind: Any = _KINDS[column["type"]]
        fields[name] = (kind | None, None) if column.get("nullable", True) else (kind, ...)
    return create_model("Row", __config__=ConfigDict(**config), **fields)


STRICT: dict[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
StrictRow: Any = row_class(**STRICT)


class StrictBatch(BaseModel):
    """Many rows."""

    model_config = ConfigDict(**STRICT)
    rows: Annotated[list[StrictRow], Field(min_length=1, max_length=MAX_ROWS)]


# The type of one answer. A TypedDict, since pydantic then need not make an object of each.
Prediction: Any = TypedDict(  # type: ignore[operator]
    "Prediction",
    {
        "prediction": Literal[tuple(CLASSES)],
        "probabilities": dict[str, float],
        "model_digest": str,
    },
)


def answers(probabilities: Any) -> list[dict[str, Any]]:
    """Probabilities (n, k) as answers, one a row."""
    return [
        {
            "prediction": CLASSES[row.index(max(row))],
            "probabilities": dict(zip(LABELS, row, strict=True)),
            "model_digest": DIGEST,
        }
        for row in probabilities.tolist()
    ]
