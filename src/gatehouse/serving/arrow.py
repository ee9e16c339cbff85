"""Arrow streams, for large batches; only where ``pyarrow`` is among the serve requirements.

Smaller readers were tried and left: bodies with a few bytes changed end their process.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from gatehouse.core.config.schema import Schema

from .access import Refused

MISSING = "Arrow is not read here: add pyarrow to requirements/serve.in, or send JSON"


def read_stream(body: bytes, schema: Schema, most: int) -> dict[str, Sequence[Any]]:
    """The feature columns of a stream; raises ``Refused`` with 415 or 422."""
    try:
        import pyarrow as pa
    except ImportError:
        raise Refused(415, MISSING) from None
    try:
        table = pa.ipc.open_stream(body).read_all()
        table.validate(full=True)  # offsets that lead outside of their buffers
    except (pa.ArrowException, ValueError, OSError):
        raise Refused(422, "the body is no valid Arrow stream") from None
    if not 1 <= table.num_rows <= most:
        raise Refused(422, f"the stream has {table.num_rows:,} rows: 1 to {most:,} are taken")
    wrong = [name for name in table.column_names if name not in schema.features]
    if wrong or len(set(table.column_names)) != len(table.column_names):
        name = (wrong or table.column_names)[0][:200]
        raise Refused(422, f"{name}: unknown column, or one that is there twice")
    types = {
        "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(),
        "string": pa.string(), "datetime": pa.timestamp("us"),
    }  # fmt: skip
    found: dict[str, Sequence[Any]] = {}
    for name, column in schema.features.items():
        if name not in table.column_names:
            if not column.nullable:
                raise Refused(422, f"{name}: this column is missing")
            found[name] = [None] * table.num_rows
            continue
        values = table[name]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        same = _kind(values.type) == column.type
        if not same and not (column.type == "number" and _kind(values.type) == "integer"):
            raise Refused(422, f"{name}: this column must be {column.type}")
        if values.null_count and not column.nullable:
            raise Refused(422, f"{name}: a value is missing")
        try:
            values = values.cast(types[column.type])
            numeric = column.type == "number"
            if numeric and not pa.compute.all(pa.compute.is_finite(values)).as_py():
                raise Refused(422, f"{name}: every number must be finite")
            found[name] = values.to_pylist()
        except (pa.ArrowException, ValueError, OverflowError):
            raise Refused(422, f"{name}: a value is no {column.type}") from None
    return found


def write_stream(answer: dict[str, Any]) -> bytes:
    """The answers as a stream: ``prediction``, ``probability LABEL``…, the digest as metadata."""
    import pyarrow as pa

    columns = {"prediction": answer["prediction"]}
    for label, values in answer.get("probabilities", {}).items():
        columns[f"probability {label}"] = values
    table = pa.table(columns).replace_schema_metadata({"model_digest": answer["model_digest"]})
    out = BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _kind(kind: Any) -> str:
    from pyarrow import types

    if types.is_integer(kind):
        return "integer"
    if types.is_floating(kind):
        return "number"
    if types.is_boolean(kind):
        return "boolean"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "string"
    return "datetime" if types.is_timestamp(kind) or types.is_date(kind) else "none"
