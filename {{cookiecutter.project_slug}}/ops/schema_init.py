"""Verb ``schema init``: describe every column of the dataset once; from then on people own it."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from .console import GOOD, Stop, read_yaml, say, write_text
from .personal import personal

SCHEMA = Path("schema.yaml")
DATASET = Path("data/dataset.parquet")

MAX_CATEGORIES = 100  # a longer list helps nobody who reads schema.yaml
MAX_CLASSES = 1000
MAX_INTEGER_CLASSES = 10  # more different whole numbers than this are a quantity
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
FREE_TEXT = 50  # mean number of characters


def init(*, force: bool) -> int:
    """Fill task, classes, identity and columns of ``schema.yaml`` from the data."""
    schema = read_yaml(SCHEMA)
    if not isinstance(schema.get("columns") or {}, dict):
        raise Stop(f"{SCHEMA}: columns is no mapping: restore it with `git checkout {SCHEMA}`")
    if schema.get("columns") and not force:
        count = len(schema["columns"])
        say(f"schema: {SCHEMA} describes {count} columns already (--force infers them again)")
        return GOOD
    _ingest(schema)
    table = pq.read_table(DATASET)
    described = describe(table, schema, read_yaml(Path("params.yaml")))
    _write(described)
    roles = [column["role"] for column in described["columns"].values()]
    say(
        f"schema: {described['task']} on {schema['target']!r}, {roles.count('feature')} features, "
        f"{roles.count('ignore')} ignored: review {SCHEMA} and commit it"
    )
    for name, column in described["columns"].items():
        if column["role"] == "ignore":
            say(f"schema: {name!r} is no feature: {column['note']}")
    for finding in personal(table, described):
        name = finding.check.removeprefix("personal: ")
        say(f"schema: {name!r} looks personal: {finding.message}. {finding.fix}")
    return GOOD


def _ingest(schema: dict[str, Any]) -> None:
    # The science reads the source, not we; without columns it infers the types.
    if schema.get("columns"):
        _write(schema | {"columns": {}})
    code = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--quiet", "--single-item", "ingest"], check=False
    ).returncode
    if code:
        if schema.get("columns"):
            _write(schema)
        raise Stop("the source could not be read: mend what is said above, then `make schema`")


def describe(table: pa.Table, schema: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """The content of ``schema.yaml`` for this table; reads only, and never keeps a value but
    ranges, categories and classes.
    """
    target, time, key = schema["target"], schema.get("time_column"), schema.get("id_column")
    for role, name in (("time_column", time), ("id_column", key)):
        if name and name not in table.column_names:
            raise Stop(f"schema.yaml: {role} {name!r} is no column of the data: correct it")
    if time and not (
        pa.types.is_timestamp(table.schema.field(time).type)
        or pa.types.is_integer(table.schema.field(time).type)
        or pa.types.is_floating(table.schema.field(time).type)
    ):
        raise Stop(
            f"time_column {time!r} holds text that is no date in one known format: convert it to "
            "ISO 8601, or name no time_column in schema.yaml"
        )
    told = set(schema.get("ignore") or [])
    derived = ((params.get("ingest") or {}).get("derive_target") or {}).get("source")
    columns = {}
    for name in table.column_names:
        column = _column(table[name])
        if name == target:
            column |= {"role": "target", "nullable": False}
        elif name == time:
            column |= {"role": "time"}
        elif name == key:
            column |= {"role": "id"}
        elif name == derived:
            column |= {"role": "ignore", "note": "the target is made from it"}
        elif name in told:
            column |= {"role": "ignore", "note": "named under ignore"}
        elif note := _no_feature(table[name]):
            column |= {"role": "ignore", "note": note}
        columns[name] = column
    _keep_one(columns)
    task, classes = _task(table[target], schema)
    identity = "id" if key else _identity(table)
    return schema | {"task": task, "classes": classes, "identity": identity, "columns": columns}


def _column(values: pa.ChunkedArray) -> dict[str, Any]:
    kind = values.type
    column: dict[str, Any] = {
        "type": "string",
        "role": "feature",
        "nullable": values.null_count > 0,
    }
    if pa.types.is_boolean(kind):
        column["type"] = "boolean"
    elif pa.types.is_timestamp(kind):
        column["type"] = "datetime"
    elif not pa.types.is_string(kind):
        column["type"] = "integer" if pa.types.is_integer(kind) else "number"
        limits = pc.min_max(values).as_py()
        if limits["min"] is not None:
            column |= {"min": limits["min"], "max": limits["max"]}
    else:
        distinct = pc.count_distinct(values).as_py()
        if 0 < distinct <= MAX_CATEGORIES and not _no_feature(values):
            column["categories"] = sorted(pc.unique(values.drop_null()).to_pylist())
    if pc.count_distinct(values, mode="all").as_py() == 1:
        column["note"] = "one value only"
    return column


def _no_feature(values: pa.ChunkedArray) -> str | None:
    """Why a column cannot help a model, or None."""
    known = len(values) - values.null_count
    if known == 0:
        return "all values are missing"
    distinct = pc.count_distinct(values).as_py()
    if _decimal_comma(values):
        return "numbers with a decimal comma: set ingest.decimal in params.yaml"
    if pa.types.is_string(values.type) and distinct > 20:
        numbers = pc.sum(pc.match_substring_regex(values, _NUMBER).cast(pa.int64())).as_py()
        if known / 2 < numbers < known:
            return (
                f"numbers mixed with other text in {known - numbers:,} rows: mend them, or add "
                "what means missing to ingest.null_values in params.yaml"
            )
        if distinct > known / 2:
            return f"text-like identifier: {distinct:,} different values in {known:,} rows"
        if pc.mean(pc.utf8_length(values)).as_py() > FREE_TEXT:
            return "free text"
    if pa.types.is_integer(values.type) and distinct == known > 20:
        # Rows without a target are gone by now, so a row number may have gaps.
        limits, steps = pc.min_max(values).as_py(), np.diff(values.drop_null().to_numpy())
        if limits["max"] - limits["min"] < 1.5 * known and (steps > 0).all():
            return "row number: it only counts up"
    return None


def _decimal_comma(values: pa.ChunkedArray) -> bool:
    if not pa.types.is_string(values.type):
        return False
    pattern = r"^\s*[+-]?\d{1,3}(\.?\d{3})*,\d+\s*$"
    share = pc.mean(pc.match_substring_regex(values, pattern).cast(pa.int8())).as_py()
    return bool(share and share > 0.5)


def _keep_one(columns: dict[str, dict[str, Any]]) -> None:
    """A table of which nothing would be left gets its guessed-away columns back."""
    if any(column["role"] in ("feature", "time") for column in columns.values()):
        return
    for column in columns.values():
        if column["role"] == "ignore" and not column["note"].startswith(("named", "the target")):
            column |= {"role": "feature"}
    if not any(column["role"] == "feature" for column in columns.values()):
        raise Stop("no column is left as a feature: add columns to the source")


def _task(values: pa.ChunkedArray, schema: dict[str, Any]) -> tuple[str, list[Any]]:
    """The task and its classes; ``auto`` is decided by type and number of different values."""
    target, asked = schema["target"], schema.get("task", "auto")
    if pa.types.is_timestamp(values.type):
        raise Stop(f"target {target!r} is a date: derive a number or a class from it")
    if _decimal_comma(values):
        raise Stop(
            f"target {target!r} is a number with a decimal comma: set ingest.decimal in params.yaml"
        )
    distinct = pc.unique(values.drop_null()).to_pylist()
    numeric = not (pa.types.is_string(values.type) or pa.types.is_boolean(values.type))
    whole = numeric and all(float(value).is_integer() for value in distinct[: MAX_CLASSES + 1])
    if len(distinct) < 2:
        raise Stop(f"target {target!r} has one value only: add rows of another class or value")
    if asked == "auto":
        if len(distinct) == 2 and (not numeric or whole):
            asked = "binary"
        elif numeric and (not whole or len(distinct) > MAX_INTEGER_CLASSES):
            asked = "regression"
        else:
            asked = "multiclass"
        say(f"schema: task {asked}, from {len(distinct):,} different values of {target!r}")
    if asked == "regression":
        if not numeric:
            raise Stop(f"target {target!r} is no number: correct task or target in schema.yaml")
        return asked, []
    if numeric and not whole:
        raise Stop(f"target {target!r} has fractions, so it is no class: set task: regression")
    if asked == "binary" and len(distinct) != 2:
        raise Stop(
            f"target {target!r} has {len(distinct):,} values, not two: set task: multiclass in "
            "schema.yaml"
        )
    if len(distinct) > min(MAX_CLASSES, max(2, len(values) / 2)):
        raise Stop(
            f"target {target!r} has {len(distinct):,} classes in {len(values):,} rows, too many to "
            "learn: group them, or name another target"
        )
    return asked, sorted(int(value) if numeric else value for value in distinct)


def _identity(table: pa.Table) -> str:
    """``content``, unless so many rows are equal that hashing them cannot split the table."""
    counts = table.group_by(table.column_names).aggregate([([], "count_all")])["count_all"]
    largest = pc.max(counts).as_py()
    return "occurrence" if largest > 1 and largest > 0.05 * table.num_rows else "content"


def _write(schema: dict[str, Any]) -> None:
    """Replace the values of ``schema.yaml`` and keep its comments."""
    dumper = YAML()
    dumper.width = 10_000
    dumper.preserve_quotes = True
    dumper.representer.add_representer(float, _float)
    document = dumper.load(SCHEMA.read_text(encoding="utf-8"))
    for key in ("task", "identity"):
        document[key] = schema.get(key)
    document["classes"] = _flow(schema.get("classes") or [])
    columns = {_quoted(name): _flow(column) for name, column in schema["columns"].items()}
    document["columns"] = CommentedMap(columns)
    buffer = io.StringIO()
    dumper.dump(document, buffer)
    write_text(SCHEMA, buffer.getvalue())


def _flow(value: Any) -> Any:
    """Mappings and lists on one line, text quoted where a YAML reader would take it for more."""
    if isinstance(value, dict):
        value = CommentedMap({key: _flow(inner) for key, inner in value.items()})
        value.fa.set_flow_style()
    elif isinstance(value, list):
        value = CommentedSeq([_flow(inner) for inner in value])
        value.fa.set_flow_style()
    return _quoted(value)


def _quoted(value: Any) -> Any:
    # `no` is text to YAML 1.2, which writes it bare, and false to YAML 1.1, which most readers are.
    if isinstance(value, str) and not value.isprintable():
        return DoubleQuotedScalarString(value)
    if isinstance(value, str) and _read_by_11(value) != value:
        return SingleQuotedScalarString(value)
    return value


def _float(representer: Any, value: float) -> Any:
    # 1e-05 is text to YAML 1.1, which wants a point: 1.0e-05.
    text = repr(float(value))
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


def _read_by_11(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
