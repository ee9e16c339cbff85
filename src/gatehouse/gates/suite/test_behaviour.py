"""What behaviour.yaml says of the model, a test an entry (after CheckList, Ribeiro et al. 2020)."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gatehouse.core.config.schema import NUMBERS, label_text
from gatehouse.core.errors import InputError
from gatehouse.serving.skops_model import Model
from gatehouse.training.explain import one_row

from .fixtures import Beyond, Tested

FILE = Path("tests/behaviour.yaml")
ROWS = 1000

Array = npt.NDArray[Any]


class Behaviour(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    where: dict[str, Any] = {}
    share: float = Field(1.0, gt=0, le=1)


class Invariance(Behaviour):
    """Another value in this column moves no answer."""

    kind: Literal["invariance"]
    column: str
    values: list[Any] | None = Field(None, min_length=1)
    tolerance: float = Field(ge=0)


class Direction(Behaviour):
    """The answer follows this column, up or down."""

    kind: Literal["direction"]
    column: str
    goes: Literal["up", "down"]
    of: Any = Field(None, alias="class")
    add: float | None = None
    to: Any = Field(None, alias="set")
    tolerance: float = Field(0.0, ge=0)


class Minimum(Behaviour):
    """These rows get this answer."""

    kind: Literal["minimum"]
    rows: list[dict[str, Any]] = Field(min_length=1)
    of: Any = Field(None, alias="class")
    min: float | None = None
    max: float | None = None


Any_kind = Annotated[Invariance | Direction | Minimum, Field(discriminator="kind")]


class Asked:
    """The model and the test rows that an entry asks about."""

    def __init__(self, entry: Behaviour, model: Model, tested: Tested) -> None:
        self.model, self.name, self.truth = model, f"behaviour.yaml, {entry.name!r}", tested[1]
        self.rows = tested[0]
        for column, value in entry.where.items():
            cell = self.cells(column, value, 1)[0]
            same = self.rows[column].isna() if pd.isna(cell) else self.rows[column] == cell
            self.rows = self.rows[same.to_numpy(dtype=bool, na_value=False)]
        if not len(self.rows):
            raise InputError(
                "behaviour-no-row", f"{self.name}: no test row is as `where` says: choose others"
            )
        chosen = np.linspace(0, len(self.rows) - 1, min(ROWS, len(self.rows))).astype(int)
        self.rows = self.rows.iloc[chosen]
        self.before = model.predict(self.rows)

    def column(self, name: str) -> pd.Series:
        if name not in self.model.columns:
            raise InputError(
                "behaviour-column", f"{self.name}: the model has no column {name!r}: correct it"
            )
        return self.rows[name]

    def cells(self, name: str, value: Any, count: int) -> Any:
        """A column that holds ``value`` only, with the type that schema.yaml gives it."""
        self.column(name)
        table = one_row({name: value}, {name: self.model.columns[name]}, self.name)
        return table.to_pandas()[name].array.take(np.zeros(count, dtype=int))

    def position(self, label: Any) -> int | None:
        """Which output a class is; None where the model predicts numbers."""
        if self.model.task == "regression":
            if label is not None:
                raise InputError(
                    "behaviour-class", f"{self.name}: the model predicts numbers: leave out class"
                )
            return None
        labels = [label_text(known) for known in self.model.classes]
        if label is None or label_text(label) not in labels:
            raise InputError(
                "behaviour-class",
                f"{self.name}: class must be one of {', '.join(labels)}: correct it",
            )
        return labels.index(label_text(label))

    def typical(self, name: str) -> Any:
        """The median of numbers and dates, the most frequent of others."""
        known = self.rows[name].dropna()
        if known.empty:
            return self.rows[name].array[:1]
        if self.model.columns[name].type in (*NUMBERS, "datetime"):
            return known.sort_values().array[[len(known) // 2]]
        return known.mode().array[:1]


def invariance(entry: Invariance, asked: Asked) -> None:
    values, count = asked.column(entry.column), len(asked.rows)
    if entry.values:
        others = [asked.cells(entry.column, value, count) for value in entry.values]
    else:
        others = [values.array.take(np.random.default_rng(0).permutation(count))]
    after = [asked.model.predict(asked.rows.assign(**{entry.column: cells})) for cells in others]
    moved = np.abs(np.stack(after) - asked.before).reshape(len(after), count, -1).max(axis=(0, 2))
    scale = asked.truth.std() if asked.model.task == "regression" else 1.0
    holds(moved <= entry.tolerance * scale, entry, f"moves by more than {entry.tolerance:g}")


def direction(entry: Direction, asked: Asked) -> None:
    values, output = asked.column(entry.column), asked.position(entry.of)
    if ("add" in entry.model_fields_set) == ("to" in entry.model_fields_set):
        raise InputError("behaviour-change", f"{asked.name}: give either add or set: correct it")
    if entry.add is None:
        cells = asked.cells(entry.column, entry.to, len(asked.rows))
    elif asked.model.columns[entry.column].type in NUMBERS:
        cells = values + entry.add
    else:
        raise InputError(
            "behaviour-change", f"{asked.name}: {entry.column!r} is no number to add to: give set"
        )
    moved = asked.model.predict(asked.rows.assign(**{entry.column: cells})) - asked.before
    moved = (moved if output is None else moved[:, output]) * (1 if entry.goes == "up" else -1)
    scale = asked.truth.std() if output is None else 1.0
    holds(moved >= -entry.tolerance * scale, entry, f"does not go {entry.goes}")
    if not moved.mean() > 0:
        raise AssertionError(f"on average over {len(moved)} rows it does not go {entry.goes}")


def minimum(entry: Minimum, asked: Asked) -> None:
    for name in {name for row in entry.rows for name in row}:
        asked.column(name)
    made = [
        {
            name: asked.cells(name, row[name], 1) if name in row else asked.typical(name)
            for name in asked.model.columns
        }
        for row in entry.rows
    ]
    answers = np.stack([asked.model.predict(pd.DataFrame(row))[0] for row in made])
    low, high = entry.min, entry.max
    if (low is None and high is None) == (asked.model.task == "regression"):
        raise InputError(
            "behaviour-expectation",
            f"{asked.name}: give class, or min and max for numbers: correct it",
        )
    output = asked.position(entry.of)
    if output is not None:
        holds(answers.argmax(axis=1) == output, entry, "gets another class")
    else:
        inside = (answers >= (-np.inf if low is None else low)) & (
            answers <= (np.inf if high is None else high)
        )
        holds(inside, entry, "gets a value outside")


def holds(good: Array, entry: Behaviour, otherwise: str) -> None:
    value, most = 1 - float(good.mean()), 1 - entry.share
    if good.mean() < entry.share:
        said = f"{value:.1%} of {len(good)} rows: the answer {otherwise}; at most {most:.1%} may"
        raise Beyond(said, value, most)


def declared() -> list[Any]:
    """The entries as they stand; a file that cannot be read is one entry that fails."""
    try:
        entries = yaml.safe_load(FILE.read_text(encoding="utf-8"))["behaviours"]
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError):
        entries = None
    if entries == []:
        skip = pytest.mark.skip("no behaviour is declared in tests/behaviour.yaml")
        return [pytest.param(None, id="none", marks=skip)]
    return entries if isinstance(entries, list) else [None]


def label(entry: Any) -> str:
    return str(entry["name"]) if isinstance(entry, dict) and "name" in entry else "not readable"


@pytest.mark.parametrize("entry", declared(), ids=label)
def test_behaviour(entry: Any, model: Model, tested: Tested) -> None:
    if not isinstance(entry, dict):
        raise InputError(
            "behaviour-form",
            "behaviour.yaml must be a list of entries under `behaviours`: correct it",
        )
    try:
        behaviour: Behaviour = TypeAdapter[Any](Any_kind).validate_python(entry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        fault = ": ".join([*map(str, first["loc"][1:]), first["msg"]])
        raise InputError(
            "behaviour-form", f"behaviour.yaml, {label(entry)!r}: {fault}: correct it"
        ) from None
    asked = Asked(behaviour, model, tested)
    match behaviour:
        case Invariance():
            invariance(behaviour, asked)
        case Direction():
            direction(behaviour, asked)
        case Minimum():
            minimum(behaviour, asked)
