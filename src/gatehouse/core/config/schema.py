"""``schema.yaml``: what the data must look like."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from gatehouse.core.errors import InputError
from gatehouse.core.project import Project

from .reader import File, Section, read

PATH = Path("schema.yaml")

Task = Literal["binary", "multiclass", "regression"]
ColumnType = Literal["integer", "number", "boolean", "string", "datetime"]
Role = Literal["feature", "text", "target", "id", "time", "ignore"]
Label = bool | int | str
NUMBERS = ("integer", "number")


class Column(Section):
    """One column: its type, what it is for, and which values are allowed."""

    type: ColumnType
    role: Role = "feature"
    nullable: bool = True
    min: int | float | None = None
    max: int | float | None = None
    categories: list[str] | None = None
    ordered: bool = Field(False, description="the categories stand in their order, least first")
    unique: bool = False
    pii: bool = Field(False, description="personal: a person decided that it may be kept here")
    log: Literal["keep", "drop", "hash"] | None = Field(
        None, description="in the inference log; else what is personal is dropped"
    )
    sensitive: bool = Field(False, description="groups that the model must treat alike")
    format: str | None = Field(None, description="strptime format of dates that are not ISO 8601")
    decimal: Literal[".", ","] | None = Field(None, description="of numbers written as text")
    thousands: Literal[",", ".", " ", "'"] | None = Field(None, description="what groups digits")
    unit: str | None = Field(None, description="what stands beside each number: $, %, kg")
    null_values: list[str] = Field(
        default_factory=list, description="words of a string column that mean missing, everywhere"
    )
    note: str | None = Field(
        None, description="a remark that `gatehouse doctor` repeats until it is gone"
    )

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        if self.thousands and self.thousands == self.decimal:
            raise ValueError("decimal and thousands cannot be the same mark")
        return self


class Schema(File):
    """The whole file. ``columns`` is empty until ``gatehouse schema`` has filled it."""

    task: Literal["auto"] | Task
    target: str
    time_column: str | None = None
    id_column: str | None = None
    ignore: list[str] = Field(default_factory=list, description="columns that are no features")
    identity: Literal["id", "content", "occurrence"] | None = None
    classes: list[Label] = Field(default_factory=list)
    columns: dict[str, Column] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """What is said twice must agree; a target among the features would be a perfect model."""
        if not self.columns:
            return self
        named = {"target": self.target, "time": self.time_column, "id": self.id_column}
        for role, name in named.items():
            if name is not None and name not in self.columns:
                raise ValueError(f"{name!r}, named as {role}, is not among columns")
            for other, column in self.columns.items():
                if (column.role == role) != (other == name):
                    want = f"must be {role}" if other == name else f"cannot be {role}"
                    raise ValueError(f"the role of column {other!r} {want}")
        if self.task == "regression" and self.columns[self.target].type not in NUMBERS:
            raise ValueError(f"a regression needs a target of numbers, and {self.target!r} is none")
        if self.task in ("binary", "multiclass"):
            if len(set(self.labels)) != len(self.classes) or len(self.classes) < 2:
                raise ValueError("classes must be two or more, each once")
            if self.task == "binary" and len(self.classes) != 2:
                raise ValueError(f"a binary task has two classes, not {len(self.classes)}")
        return self

    @property
    def decided_task(self) -> Task:
        """The task; only a schema that was never filled has none."""
        if self.task == "auto":
            raise InputError("schema-no-task", f"{PATH} has no task yet: run `gatehouse schema`")
        return self.task

    @property
    def features(self) -> dict[str, Column]:
        """The columns a prediction is made from; the time column gives calendar features."""
        return {n: c for n, c in self.columns.items() if c.role in ("feature", "text", "time")}

    @property
    def labels(self) -> list[str]:
        """The classes as text, in order; empty for regression."""
        return [label_text(c) for c in self.classes]


def label_text(label: Label) -> str:
    """A class as text, the same in predictions, reports and answers."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def load_schema(project: Project, *, filled: bool = True) -> Schema:
    """Read ``schema.yaml``; with ``filled``, refuse one whose columns were never inferred."""
    schema = read(project / PATH, Schema)
    if filled and (not schema.columns or schema.task == "auto"):
        raise InputError(
            "schema-no-columns",
            f"{PATH} describes no columns yet: run `gatehouse schema`, review it, commit it",
        )
    return schema
