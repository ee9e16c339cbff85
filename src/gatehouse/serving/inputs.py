"""What a request may hold, from ``schema.yaml``: strict types, known columns, nothing else."""

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
)

from gatehouse.core.config.schema import NUMBERS, Column, Schema

from .arrays import Arrays, Encoder

# Strict: "1" is no number, and NaN would turn into an answer that means nothing.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
PROBLEMS = 20  # as many are named


def _iso_text(value: object) -> object:
    # Pydantic alone would read a number in quotes as seconds since 1970.
    if isinstance(value, datetime) or (isinstance(value, str) and value[4:5] == "-"):
        return value
    raise ValueError("must be ISO 8601 text")


_TYPES: dict[str, Any] = {
    "integer": Annotated[int, Field(ge=-(2**63), lt=2**63)],
    "number": float,
    "boolean": bool,
    "string": Annotated[str, Field(max_length=10_000)],
    # JSON has no dates, so this one type is parsed, from ISO 8601 text and nothing else.
    "datetime": Annotated[datetime, BeforeValidator(_iso_text), Field(strict=False)],
}


def row_model(schema: Schema, *, refuse: bool) -> type[BaseModel]:
    """The input of one prediction: a field per feature, by its real name, in order.

    ``refuse``: values beyond min, max and categories are refused, not only flagged.
    """
    fields: dict[str, Any] = {}
    for position, (name, column) in enumerate(schema.features.items()):
        kind = _kind(column, refuse=refuse)
        default = None if column.nullable else ...
        # Python names are made up: the real ones may hold blanks or be keywords.
        about = Field(default, alias=name, description=describe(column))
        fields[f"field_{position}"] = (kind, about)
    return create_model("Row", __config__=STRICT, **fields)


def columns_model(schema: Schema, most: int, *, refuse: bool) -> type[BaseModel]:
    """The same, column by column: lists of equal length."""
    fields: dict[str, Any] = {}
    for position, (name, column) in enumerate(schema.features.items()):
        kind: Any = list[_kind(column, refuse=refuse)]  # type: ignore[misc]
        default = None if column.nullable else ...
        about = Field(
            default, alias=name, min_length=1, max_length=most, description=describe(column)
        )
        fields[f"field_{position}"] = (kind, about)
    return create_model("Columns", __config__=STRICT, **fields)


def batch_model(row: type[BaseModel], columns: type[BaseModel], most: int) -> type[BaseModel]:
    """A batch: ``rows`` or ``columns``, one of them."""
    rows: Any = list[row]  # type: ignore[valid-type]
    one_of: Any = {"oneOf": [{"required": ["rows"]}, {"required": ["columns"]}]}
    return create_model(
        "Batch",
        __config__=ConfigDict(**STRICT, json_schema_extra=one_of),
        rows=(rows, Field(None, min_length=1, max_length=most)),
        columns=(columns, Field(None)),
    )


def answer_model(schema: Schema, *, explained: bool) -> type[BaseModel]:
    """The output of one prediction; built for the page, answers are written without it."""
    fields: dict[str, Any] = {}
    if schema.task == "regression":
        fields["prediction"] = (float, ...)
    else:
        label: Any = Literal[tuple(schema.classes)]
        fields["prediction"] = (label, Field(description="the most probable class"))
        about = Field(description="probability of each class")
        fields["probabilities"] = (dict[str, float], about)
    fields["model_digest"] = (str, Field(description="digest of the model that answered"))
    if explained:
        fields["explanation"] = (Any, Field(None, description="asked for by ?explain=1"))
    return create_model("Prediction", **fields)


def answers_model(schema: Schema) -> type[BaseModel]:
    """The output of a batch that was given as columns."""
    fields: dict[str, Any] = {}
    if schema.task == "regression":
        fields["prediction"] = (list[float], ...)
    else:
        label: Any = Literal[tuple(schema.classes)]
        fields["prediction"] = (list[label], ...)
        fields["probabilities"] = (dict[str, list[float]], ...)
    return create_model("Predictions", **fields, model_digest=(str, ...))


def describe(column: Column) -> str:
    """One line about a column, for people."""
    parts: list[str] = [column.type]
    if column.min is not None or column.max is not None:
        parts.append(f"usually from {column.min} to {column.max}")
    if column.categories:
        more = ", …" if len(column.categories) > 20 else ""
        parts.append("usually one of " + ", ".join(column.categories[:20]) + more)
    return "; ".join(parts)


def problems(error: ValidationError) -> tuple[str, list[dict[str, str]]]:
    """One sentence, and the fields by name, without what they held."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    fields = [
        {"field": ".".join(str(part)[:200] for part in one["loc"]), "problem": one["msg"][:200]}
        for one in found[:PROBLEMS]
    ]
    first = fields[0]["field"] or "the body"
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{first}: {fields[0]['problem']}{more}", fields


def _kind(column: Column, *, refuse: bool) -> Any:
    kind: Any = _TYPES[column.type]
    if refuse and column.categories and column.type == "string":
        kind = Literal[tuple(column.categories)]
    if refuse and column.type in NUMBERS:
        kind = Annotated[kind, Field(ge=column.min, le=column.max)]
    return kind | None if column.nullable else kind


class Unusual:
    """Which columns hold values beyond what ``schema.yaml`` says; for the log, not to refuse."""

    def __init__(self, schema: Schema, encoder: Encoder) -> None:
        """``encoder`` makes the arrays that are looked at."""
        columns = [name for name, _ in encoder.numbers]
        filled = set(encoder.fill.values())
        bounds = [
            (column.min, column.max) if column and column.type in NUMBERS else (None, None)
            for column in map(schema.features.get, columns)
        ]
        self._columns = columns
        shift = 0.0 if encoder.shift is None else encoder.shift
        low = np.array([-np.inf if least is None else least for least, _ in bounds]) - shift
        high = np.array([np.inf if most is None else most for _, most in bounds]) - shift
        # One step of float32 outwards: a rounded bound must not flag itself.
        with np.errstate(over="ignore"):
            self._low = np.nextafter(low.astype(np.float32), np.float32(-np.inf))
            self._high = np.nextafter(high.astype(np.float32), np.float32(np.inf))
        self._known = [
            (name, filled.union(schema.features[name].categories or ()), position)
            for position, name in enumerate(encoder.text)
            if schema.features[name].categories
        ]

    def find(self, arrays: Arrays) -> list[str]:
        """The names of the columns with an unusual value; a missing one is none."""
        found: list[str] = []
        numbers: npt.NDArray[np.float32] | None = arrays.get("numbers")
        if numbers is not None and numbers.size:
            beyond = (numbers < self._low) | (numbers > self._high)
            if np.count_nonzero(beyond):  # a third of what `any` costs
                found += [self._columns[k] for k in np.flatnonzero(beyond.any(axis=0)).tolist()]
        if self._known:
            text = arrays["text"]
            for name, known, position in self._known:
                if not known.issuperset(text[:, position].tolist()):
                    found.append(name)
        return found
