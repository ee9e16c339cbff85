"""Verb ``schema init``: describe every column of the dataset once; from then on people own it."""

import io
import json
import re
import subprocess
import sys
import textwrap
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import read_yaml, write_text
from gatehouse.core.project import Project

from .personal import personal

SCHEMA = Path("schema.yaml")
DATASET = Path("data/dataset.parquet")

MAX_CATEGORIES = 100  # a longer list helps nobody who reads schema.yaml
MAX_CLASSES = 1000
MAX_INTEGER_CLASSES = 10  # more different whole numbers than this are a quantity
FEW = 20  # so few different values are categories, whatever they look like
FREE_TEXT, WORDS = 50, 2  # mean number of characters, and of gaps between words
NEARLY = 0.95  # of an index that was glued together from two tables
WIDTH = 100  # of the table on the console
# As pandas, R, polars and people call the column of row names.
INDEX_NAMES = (
    r"|unnamed[:_ ]*\d+(_level_\d+)?|level_0|row[._ ]?(names?|numbers?|nr|no|num|id|index)?"
    r"|(__)?index(_level_\d+)?(__)?|\.\.\.1|_c0|idx|obs|observation|#"
)
ID_NAMES = (
    r"(?i:(^|[^a-z])(ids?|uuid|guid|key|pk|no\.?|nr\.?|number|code)$)"
    r"|(?i:^id[^a-z])|[a-z](ID|Id|Key|No|Nr)$"
)
# Written by the science beside each column of the dataset.
DECIDED = b"decided"


def init(project: Project, *, force: bool) -> int:
    """Fill task, classes, identity and columns of ``schema.yaml`` from the data."""
    schema = read_yaml(project / SCHEMA)
    if not isinstance(schema.get("columns") or {}, dict):
        raise Stop(
            "config-section",
            f"{SCHEMA}: columns is no mapping: restore it with `git checkout {SCHEMA}`",
        )
    if schema.get("columns") and not force:
        count = len(schema["columns"])
        again = "`gatehouse schema --force` infers them again"
        say(f"schema: {SCHEMA} describes {count} columns already ({again})")
        _refuse_no_feature(schema["columns"], {})
        return GOOD
    _ingest(project, schema)
    table = pq.read_table(project / DATASET)
    described, reasons = describe(table, schema, read_yaml(project / "params.yaml"))
    _write(project, described, reasons)
    roles = [column["role"] for column in described["columns"].values()]
    say(
        f"schema: {described['task']} on {schema['target']!r}, {roles.count('feature')} features, "
        f"{roles.count('ignore')} ignored: review {SCHEMA} and commit it"
    )
    for line in console_table(described["columns"], reasons):
        say(line)
    for warning in variants(table[schema["target"]], schema["target"], described["classes"]):
        say(f"schema: {warning}")
    for finding in personal(table, described):
        name = finding.check.removeprefix("personal: ")
        say(f"schema: {name!r} looks personal: {finding.message}. {finding.fix}")
    _refuse_no_feature(described["columns"], reasons)
    return GOOD


def _ingest(project: Project, schema: dict[str, Any]) -> None:
    # The science reads the source, not we; without columns it infers the types.
    before = (project / SCHEMA).read_text(encoding="utf-8")
    if schema.get("columns"):
        _write(project, schema | {"columns": {}}, {})
    code = subprocess.run(
        [sys.executable, "-P", "-m", "dvc", "repro", "--quiet", "--single-item", "ingest"],
        check=False,
        cwd=project.root,
    ).returncode
    if code:
        if schema.get("columns"):
            write_text(project / SCHEMA, before)
        raise Stop(
            "source-unreadable",
            "the source could not be read: mend what is said above, then `gatehouse schema`",
        )


def _refuse_no_feature(columns: dict[str, Any], reasons: dict[str, str]) -> None:
    """Nothing is taken back in silence: what no model can use is a person's to decide."""
    if any(
        column.get("role", "feature") in ("feature", "text", "time") for column in columns.values()
    ):
        return
    left = [name for name, column in columns.items() if column.get("role") == "ignore"]
    named = [f"{name!r}" + (f" ({reasons[name]})" if name in reasons else "") for name in left[:5]]
    more = f" and {len(left) - 5:,} more" if left[5:] else ""
    what = f"no column is left as a feature: {', '.join(named)}{more}" if left else "no feature"
    raise Stop(
        "no-feature-left",
        f"{what}; write `role: feature` or, for free text, `role: text` for one in {SCHEMA}, or "
        "add columns to the source",
    )


def console_table(columns: dict[str, dict[str, Any]], reasons: dict[str, str]) -> list[str]:
    """What was decided about each column, and why: a line each, like neighbours in one."""
    rows = [("column", "type", "role", "why")]
    for (type_, role, why, _), names in groupby(
        columns,
        key=lambda n: (columns[n]["type"], columns[n]["role"], reasons.get(n, ""), _stem(n)),
    ):
        run = list(names)
        shown = [f"{run[0]} … {run[-1]}"] if run[2:] else run
        rows += [(name, type_, role, why) for name in shown]
    widths = [min(max(len(row[k]) for row in rows), 32) for k in range(3)]
    lines = []
    for row in rows:
        start = "  ".join(_cut(row[k], widths[k]).ljust(widths[k]) for k in range(3))
        said = textwrap.wrap(row[3], max(WIDTH - len(start) - 2, 30)) or [""]
        lines += [f"{start}  {said[0]}".rstrip()]
        lines += [" " * (len(start) + 2) + line for line in said[1:]]
    return lines


def _stem(name: str) -> str:
    """``sensor`` for ``sensor 12``; the name itself where it ends in no number."""
    return re.sub(r"\d+$", "", name) or name


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def variants(values: pa.ChunkedArray, target: str, classes: list[Any]) -> list[str]:
    """A warning where classes differ in case or blanks alone."""
    alike: dict[str, list[str]] = {}
    for label in classes:
        if isinstance(label, str):
            alike.setdefault(label.strip().casefold(), []).append(label)
    pairs = [labels for labels in alike.values() if len(labels) > 1]
    if not pairs:
        return []
    counts = {str(pair["values"]): pair["counts"] for pair in pc.value_counts(values).to_pylist()}
    said = "; ".join(
        ", ".join(f"{label!r} ({counts.get(label, 0):,} rows)" for label in labels)
        for labels in pairs[:5]
    )
    return [
        f"WARNING: {sum(map(len, pairs)):,} of {len(classes):,} classes of {target!r} differ in "
        f"case or blanks alone: {said}. If they are the same, set `join_variants: true` under "
        "ingest in params.yaml, then `gatehouse schema --force`"
    ]


def describe(
    table: pa.Table, schema: dict[str, Any], params: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The content of ``schema.yaml`` for this table, and for columns why it is so.

    Reads only, and never keeps a value but ranges, categories and classes.
    """
    target, time, key = schema["target"], schema.get("time_column"), schema.get("id_column")
    for role, name in (("time_column", time), ("id_column", key)):
        if name and name not in table.column_names:
            raise Stop(
                "column-unknown",
                f"schema.yaml: {role} {name!r} is no column of the data: correct it",
            )
    seen = {name: _seen(table.schema.field(name)) for name in table.column_names}
    if time and pa.types.is_string(table.schema.field(time).type):
        reason = _what(seen[time]["doubt"]) or "text that is no date in one known format"
        raise Stop(
            "time-unreadable",
            f"time_column {time!r} holds {reason}: convert it to ISO 8601 in the source or in "
            "`prepare` of data.py, or name no time_column in schema.yaml",
        )
    told = set(schema.get("ignore") or [])
    derived = ((params.get("ingest") or {}).get("derive_target") or {}).get("source")
    columns, reasons = {}, {}
    for name in table.column_names:
        settings, doubt = seen[name]["settings"], seen[name]["doubt"]
        column = _column(table[name]) | settings
        role, why = "feature", ""
        if name == target:
            role, column["nullable"] = "target", False
        elif name == time:
            role = "time"
        elif name == key:
            role = "id"
        elif name == derived:
            role, why = "ignore", "the target is made from it"
        elif name in told:
            role, why = "ignore", "named under ignore"
        elif useless := _no_feature(name, table[name], doubt):
            role, why = "ignore", useless
            column.pop("categories", None)
        else:
            why = doubt
        if role != "feature":
            column.pop("ordered", None)
        if not why and _constant(table[name]):
            why = "one value only"
        column["role"] = role
        columns[name] = column
        reasons[name] = "; ".join(dict.fromkeys(filter(None, (why, seen[name]["why"]))))
    task, classes = _task(table[target], schema, seen[target]["doubt"])
    identity = "id" if key else _identity(table)
    filled = schema | {"task": task, "classes": classes, "identity": identity, "columns": columns}
    return filled, {name: why for name, why in reasons.items() if why}


def _seen(field: pa.Field) -> dict[str, Any]:
    """What reading the source decided about a column, as ingest left it with the field."""
    said = (field.metadata or {}).get(DECIDED)
    found: dict[str, Any] = json.loads(said) if said else {}
    return {"settings": {}, "why": "", "doubt": "", **found}


def _what(doubt: str) -> str:
    """What a column holds, without what its line of schema.yaml could do: it has none yet."""
    return doubt.partition(": ")[0]


def _constant(values: pa.ChunkedArray) -> bool:
    limits = pc.min_max(values).as_py()
    return bool(values.null_count == 0 and limits["min"] == limits["max"])


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
        if 0 < distinct <= MAX_CATEGORIES:
            column["categories"] = sorted(pc.unique(values.drop_null()).to_pylist())
    return column


def _no_feature(name: str, values: pa.ChunkedArray, doubt: str) -> str | None:
    """Why a column cannot help a model, or None."""
    known = len(values) - values.null_count
    if known == 0:
        return "all values are missing"
    if pa.types.is_integer(values.type):
        return _index(name, values)
    if not pa.types.is_string(values.type):
        return None
    distinct = pc.count_distinct(values).as_py()
    if distinct <= FEW:
        return None
    if doubt:
        return doubt
    if pc.mean(pc.utf8_length(values)).as_py() > FREE_TEXT or (
        distinct > known / 2 and pc.mean(pc.count_substring_regex(values, r"\s+")).as_py() >= WORDS
    ):
        return "free text: `role: text` uses it"
    if distinct > known / 2:
        return f"text-like identifier: {distinct:,} different values in {known:,} rows"
    return None


def _index(name: str, values: pa.ChunkedArray) -> str | None:
    """Why whole numbers only name the rows, or None: income may be unique, too."""
    known = len(values) - values.null_count
    distinct = pc.count_distinct(values).as_py()
    if distinct <= FEW or distinct < NEARLY * known:
        return None
    if re.fullmatch(INDEX_NAMES, name, re.IGNORECASE):
        return "row number: a saved index"
    if distinct < known:
        return None
    # Rows without a target are gone by now, so a row number may have gaps.
    limits = pc.min_max(values).as_py()
    if limits["max"] - limits["min"] < 1.5 * known:
        return "row number: each whole number of a range once"
    if re.search(ID_NAMES, name):
        return f"identifier: {distinct:,} different whole numbers in {known:,} rows"
    return None


def _task(values: pa.ChunkedArray, schema: dict[str, Any], doubt: str) -> tuple[str, list[Any]]:
    """The task and its classes; ``auto`` is decided by type and number of different values."""
    target, asked = schema["target"], schema.get("task", "auto")
    if pa.types.is_timestamp(values.type):
        raise Stop(
            "target-date", f"target {target!r} is a date: derive a number or a class from it"
        )
    distinct = pc.unique(values.drop_null()).to_pylist()
    numeric = not (pa.types.is_string(values.type) or pa.types.is_boolean(values.type))
    if doubt and len(distinct) > FEW:
        raise Stop(
            "target-ambiguous",
            f"target {target!r} holds {_what(doubt)}: set ingest.decimal in params.yaml, or make "
            "it plain in the source or in `prepare` of data.py",
        )
    whole = numeric and all(float(value).is_integer() for value in distinct[: MAX_CLASSES + 1])
    if len(distinct) < 2:
        raise Stop(
            "target-constant",
            f"target {target!r} has one value only: add rows of another class or value",
        )
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
            raise Stop(
                "target-no-number",
                f"target {target!r} is no number: correct task or target in schema.yaml",
            )
        return asked, []
    if numeric and not whole:
        raise Stop(
            "target-fractions",
            f"target {target!r} has fractions, so it is no class: set task: regression",
        )
    if asked == "binary" and len(distinct) != 2:
        raise Stop(
            "target-not-two",
            f"target {target!r} has {len(distinct):,} values, not two: set task: multiclass in "
            "schema.yaml",
        )
    if len(distinct) > min(MAX_CLASSES, max(2, len(values) / 2)):
        raise Stop(
            "target-many-classes",
            f"target {target!r} has {len(distinct):,} classes in {len(values):,} rows, too many to "
            "learn: group them, or name another target",
        )
    return asked, sorted(int(value) if numeric else value for value in distinct)


def _identity(table: pa.Table) -> str:
    """``content``, unless so many rows are equal that hashing them cannot split the table."""
    counts = table.group_by(table.column_names).aggregate([([], "count_all")])["count_all"]
    largest = pc.max(counts).as_py()
    return "occurrence" if largest > 1 and largest > 0.05 * table.num_rows else "content"


def _write(project: Project, schema: dict[str, Any], reasons: dict[str, str]) -> None:
    """Replace the values of ``schema.yaml`` and keep its comments; a reason stands beside."""
    dumper = YAML()
    dumper.width = 10_000
    dumper.preserve_quotes = True
    dumper.representer.add_representer(float, _float)
    document = dumper.load((project / SCHEMA).read_text(encoding="utf-8"))
    for key in ("task", "identity"):
        document[key] = schema.get(key)
    document["classes"] = _flow(schema.get("classes") or [])
    columns = {_quoted(name): _flow(column) for name, column in schema["columns"].items()}
    document["columns"] = CommentedMap(columns)
    for name in columns:
        if why := reasons.get(name):
            line = "".join(sign if sign.isprintable() else " " for sign in why)
            document["columns"].yaml_add_eol_comment(line, name, column=0)
    buffer = io.StringIO()
    dumper.dump(document, buffer)
    write_text(project / SCHEMA, buffer.getvalue())


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
