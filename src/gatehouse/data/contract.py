"""``schema.yaml`` against a dataset, by pandera: what is broken and what has moved."""

from typing import Any

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

from gatehouse.core.config.rules import is_number
from gatehouse.core.errors import Stop
from gatehouse.core.findings import Finding

from .cells import ARROW_TYPES

TYPES: dict[str, pa.DataType] = dict(ARROW_TYPES.items())  # by what a plain mapping says
# What is wrong, what the data have, what schema.yaml says.
_BROKEN = {
    "dtype": ("the values are no {type} but {found}", "{found}", "{type}"),
    "not_nullable": (
        "{count:,} values are missing where none may be",
        "{percent:.3g} % missing",
        "none missing",
    ),
    "field_uniqueness": (
        "{count:,} values stand more than once where each must be unique",
        "{count:,} repeated",
        "all unique",
    ),
}
_LIMITS = {
    "greater_than_or_equal_to": "below the minimum {min}",
    "less_than_or_equal_to": "above the maximum {max}",
    "isin": "none of the listed categories",
}
ANOTHER_UNIT = 100  # times the middle of the range
MAX_GUESSES = 200  # pairs of a lost and a new name that are tried


def broken(table: pa.Table, schema: dict[str, Any]) -> list[Finding]:
    """Faults of form: no rows, missing columns, other types, missing or repeated values, unknown
    classes.
    """
    columns = schema["columns"]
    if table.num_rows == 0:
        fix = "Put a table with rows in the place of the source."
        return [Finding("schema", "fail", "the dataset has no rows", fix, 0, "rows")]
    used = {name: column for name, column in columns.items() if column.get("role") != "ignore"}
    findings = _missing(table, schema, [name for name in used if name not in table.column_names])
    empty = [n for n in used if n in table.column_names and table[n].null_count == table.num_rows]
    for name in empty:
        message, fix = "all values are missing", _look(name)
        findings.append(Finding(f"schema: {name}", "fail", message, fix, "all missing", "values"))
    checked = pandera.DataFrameSchema(
        {
            name: pandera.Column(
                pd.ArrowDtype(TYPES[column["type"]]),
                nullable=column.get("nullable", True),
                unique=column.get("unique", False),
                required=False,
            )
            for name, column in columns.items()
            if name not in empty
        }
    )
    for (name, check), count in _failures(checked, _frame(table, columns)).items():
        said = {
            "type": columns[name]["type"],
            "found": _type_name(table, name),
            "count": count,
            "percent": 100 * count / table.num_rows,
        }
        message, value, threshold = (
            text.format_map(said) for text in _BROKEN.get(check, (check, "{found}", "{type}"))
        )
        findings.append(Finding(f"schema: {name}", "fail", message, _look(name), value, threshold))
    return findings + _unknown_classes(table, schema)


def moved(table: pa.Table, schema: dict[str, Any]) -> list[Finding]:
    """Values outside the range or categories of the schema, and columns it does not know."""
    columns = {n: c for n, c in schema["columns"].items() if n in table.column_names}
    for name, column in columns.items():
        if not all(column.get(k) is None or is_number(column[k]) for k in ("min", "max")):
            raise Stop(
                "schema-bounds",
                f"schema.yaml: min and max of {name!r} must be numbers: correct them",
            )
    rules = {
        name: pandera.Column(checks=checks, nullable=True)
        for name, column in columns.items()
        if (checks := _checks(column)) and column.get("role") != "ignore"
    }
    findings = []
    frame = _frame(table.select(list(rules)), columns)
    for (name, check), count in _failures(pandera.DataFrameSchema(rules), frame).items():
        limit = _LIMITS[check].format_map(columns[name])
        message = f"{count:,} of {table.num_rows:,} values are {limit}"
        if check == "less_than_or_equal_to":
            message += _unit(table[name], columns[name])
        fix = f"Retrain on this data if it is right, and widen {name!r} in schema.yaml."
        share = round(count / table.num_rows, 6)
        value, threshold = _difference(table[name], columns[name], share)
        findings.append(Finding(f"values: {name}", "warn", message, fix, value, threshold))
    return findings + unknown_columns(table, schema)


def unknown_columns(table: pa.Table, schema: dict[str, Any]) -> list[Finding]:
    """A finding that names the columns which ``schema.yaml`` does not know, if there are any."""
    unknown = _unknown(table, schema)
    if not unknown:
        return []
    names = ", ".join(map(repr, unknown[:5]))
    message = f"{len(unknown)} columns are not in schema.yaml and not used: {names}"
    fix = "Add them to schema.yaml, with role ignore if they are no features."
    return [Finding("unknown columns", "warn", message, fix, len(unknown), 0)]


def _look(name: str) -> str:
    return f"Look at the source of {name!r}; if this is meant, change it in schema.yaml."


def _unknown(table: pa.Table, schema: dict[str, Any]) -> list[str]:
    return [name for name in table.column_names if name not in schema["columns"]]


def _missing(table: pa.Table, schema: dict[str, Any], missing: list[str]) -> list[Finding]:
    """Columns that are missing; an unknown one that could be it, and nothing else, is named."""
    unknown = _unknown(table, schema)
    if len(missing) * len(unknown) > MAX_GUESSES:
        unknown = []
    fits = {
        name: [other for other in unknown if _fits(table[other], schema["columns"][name])]
        for name in missing
    }
    findings = []
    for name in missing:
        fix = _look(name)
        if len(fits[name]) == 1 and sum(fits[name][0] in names for names in fits.values()) == 1:
            fix = f"Was it renamed to {fits[name][0]!r}? {fix}"
        kind = schema["columns"][name]["type"]
        message = "the column is missing"
        findings.append(Finding(f"schema: {name}", "fail", message, fix, "missing", kind))
    return findings


def _fits(values: pa.ChunkedArray, column: dict[str, Any]) -> bool:
    """Whether these could be the values of that column."""
    frame = _frame(pa.table({"x": values}), {"x": column})
    kind = pd.ArrowDtype(TYPES[column["type"]])
    rules = pandera.Column(kind, _checks(column), nullable=column.get("nullable", True))
    return not _failures(pandera.DataFrameSchema({"x": rules}), frame)


def _checks(column: dict[str, Any]) -> list[pandera.Check]:
    """What ``schema.yaml`` says about the values of a column."""
    checks = []
    if column["type"] in ("integer", "number"):
        if column.get("min") is not None:
            checks.append(pandera.Check.ge(column["min"]))
        if column.get("max") is not None:
            checks.append(pandera.Check.le(column["max"]))
    if column.get("categories"):
        checks.append(pandera.Check.isin(column["categories"]))
    return checks


def _difference(
    values: pa.ChunkedArray, column: dict[str, Any], share: float
) -> tuple[str | float, str | float]:
    """What the data have and what the schema says, as short text; no category, nothing personal."""
    if column.get("pii"):
        return share, 0.0
    if column.get("categories"):
        known = column["categories"]
        found = set(pc.unique(values.drop_null()).to_pylist())
        unknown = len(found.difference(known))
        return f"{len(found):,} categories, {unknown:,} unknown", f"{len(known):,} categories"
    limits = pc.min_max(values).as_py()
    return _range(limits["min"], limits["max"]), _range(column.get("min"), column.get("max"))


def _range(least: float | None, most: float | None) -> str:
    if most is None:
        return f"from {_number(least)}"
    return f"up to {_number(most)}" if least is None else f"{_number(least)} to {_number(most)}"


def _number(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _unit(values: pa.ChunkedArray, column: dict[str, Any]) -> str:
    """Values in another unit lie far off as a whole; a few outliers do not move the median."""
    middle = ((column.get("min") or 0) + column["max"]) / 2
    median = pc.quantile(values, 0.5)[0].as_py()
    if column.get("pii") or middle <= 0 or median <= ANOTHER_UNIT * middle:
        return ""
    return f"; the median is {median / middle:,.0f} times the middle of the range: another unit?"


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
            key = (str(case["column"]), str(case["check"]).split("(")[0])
            found[key] = found.get(key, 0) + 1
        return found
    return {}


def _type_name(table: pa.Table, name: str) -> str:
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
    found = pc.unique(values.drop_null())
    new = len(found) - (pc.sum(pc.is_in(found, value_set=known)).as_py() or 0)
    return [
        Finding(
            f"schema: {target}",
            "fail",
            f"{count:,} rows have a class that is not among classes",
            "Correct the rows, or add the class to classes in schema.yaml.",
            f"{len(found):,} classes, {new:,} unknown",
            f"{len(known):,} classes",
        )
    ]
