"""``schema.yaml`` against a dataset, by pandera: what is broken and what has moved."""

from typing import Any

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

from ..console import Stop
from ..findings import Finding
from .rules import is_number

TYPES = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "datetime": pa.timestamp("us"),
}
_BROKEN = {
    "column_in_dataframe": "the column is missing",
    "dtype": "the values are no {type} but {found}",
    "not_nullable": "{count:,} values are missing where none may be",
    "field_uniqueness": "{count:,} values stand more than once where each must be unique",
}

_LIMITS = {
    "greater_than_or_equal_to": "below the minimum {min}",
    "less_than_or_equal_to": "above the maximum {max}",
    "isin": "none of the listed categories",
}


def broken(table: pa.Table, schema: dict[str, Any]) -> list[Finding]:
    """Faults of form: missing columns, other types, missing or repeated values, unknown classes."""
    columns = schema["columns"]
    checked = pandera.DataFrameSchema(
        {
            name: pandera.Column(
                pd.ArrowDtype(TYPES[column["type"]]),
                nullable=column.get("nullable", True),
                unique=column.get("unique", False),
                required=column.get("role") != "ignore",
            )
            for name, column in columns.items()
        }
    )
    findings = []
    for (name, check), count in _failures(checked, _frame(table, columns)).items():
        found = _type_name(table, name)
        message = _BROKEN.get(check, check).format(
            type=columns[name]["type"], found=found, count=count
        )
        fix = f"Look at the source of {name!r}; if this is meant, change it in schema.yaml."
        findings.append(
            Finding(f"schema: {name}", "fail", message, fix, found, columns[name]["type"])
        )
    findings += _unknown_classes(table, schema)
    return findings


def moved(table: pa.Table, schema: dict[str, Any]) -> list[Finding]:
    """Values outside the range or categories of the schema, and columns it does not know."""
    columns = {n: c for n, c in schema["columns"].items() if n in table.column_names}
    rules: dict[str, Any] = {}
    for name, column in columns.items():
        checks = []
        if column["type"] in ("integer", "number"):
            if column.get("min") is not None:
                checks.append(pandera.Check.ge(column["min"]))
            if column.get("max") is not None:
                checks.append(pandera.Check.le(column["max"]))
        if column.get("categories"):
            checks.append(pandera.Check.isin(column["categories"]))
        if checks and column.get("role") != "ignore":
            rules[name] = pandera.Column(checks=checks, nullable=True)
    for name, column in columns.items():
        if not all(column.get(k) is None or is_number(column[k]) for k in ("min", "max")):
            raise Stop(f"schema.yaml: min and max of {name!r} must be numbers: correct them")
    findings = []
    frame = _frame(table.select(list(rules)), columns)
    for (name, check), count in _failures(pandera.DataFrameSchema(rules), frame).items():
        limit = _LIMITS[check].format_map(columns[name])
        message = f"{count:,} of {table.num_rows:,} values are {limit}"
        fix = f"Retrain on this data if it is right, and widen {name!r} in schema.yaml."
        share = round(count / table.num_rows, 6)
        findings.append(Finding(f"values: {name}", "warn", message, fix, share, 0.0))
    unknown = [name for name in table.column_names if name not in schema["columns"]]
    if unknown:
        names = ", ".join(map(repr, unknown[:5]))
        findings.append(
            Finding(
                "unknown columns",
                "warn",
                f"{len(unknown)} columns are not in schema.yaml and not used: {names}",
                "Add them to schema.yaml, with role ignore if they are no features.",
                len(unknown),
                0,
            )
        )
    return findings


def _frame(table: pa.Table, columns: dict[str, Any]) -> pd.DataFrame:
    # Whole numbers are numbers: 3 where 3.0 was seen before is no fault.
    fields = []
    for name in table.column_names:
        values = table[name]
        if columns.get(name, {}).get("type") == "number" and pa.types.is_integer(values.type):
            values = values.cast(pa.float64())
        fields.append(values)
    frame: pd.DataFrame = pa.table(fields, names=table.column_names).to_pandas(
        types_mapper=pd.ArrowDtype
    )
    return frame


def _failures(checked: pandera.DataFrameSchema, frame: pd.DataFrame) -> dict[tuple[str, str], int]:
    """(column, check) -> number of failing values; never the values themselves."""
    try:
        checked.validate(frame, lazy=True)
    except SchemaErrors as errors:
        found: dict[tuple[str, str], int] = {}
        for case in errors.failure_cases.to_dict("records"):
            check = str(case["check"]).split("(")[0]
            name = case["failure_case"] if check == "column_in_dataframe" else case["column"]
            found[(str(name), check)] = found.get((str(name), check), 0) + 1
        return found
    return {}


def _type_name(table: pa.Table, name: str) -> str:
    if name not in table.column_names:
        return "missing"
    kinds = {str(kind): text for text, kind in TYPES.items()}
    found = str(table.schema.field(name).type)
    return kinds.get(found, found)


def _unknown_classes(table: pa.Table, schema: dict[str, Any]) -> list[Finding]:
    target = schema["target"]
    if schema["task"] == "regression" or target not in table.column_names:
        return []
    values = table[target]
    try:
        known = pa.array(schema["classes"]).cast(values.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return []  # the type itself is wrong, and that finding stands already
    count = values.length() - pc.sum(pc.is_in(values, value_set=known)).as_py()
    if not count:
        return []
    return [
        Finding(
            f"schema: {target}",
            "fail",
            f"{count:,} rows have a class that is not among classes",
            "Correct the rows, or add the class to classes in schema.yaml.",
            count,
            0,
        )
    ]
