"""Reading a CSV or Parquet file into typed columns.

A CSV file has no types. Where ``schema.yaml`` names a type, the column is read as that; a column
that does not fit stays text, so that the data gate can say so. Without a schema every column is
read as text and gets the narrowest type that *all* its values fit, so that neither the first
thousand rows nor the size of a block decides.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from .params import Ingest
from .schema import Column, ColumnType
from .stage import InputError, whole_file

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")
DELIMITERS = (",", ";", "\t", "|")
ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "datetime": pa.timestamp("us"),
}
# Tried after ISO 8601; a column that fits more than one (01/02/2013) stays text.
DATE_FORMATS = tuple(
    date + time
    for date in ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d")
    for time in ("", " %H:%M", " %H:%M:%S")
    if date + time != "%Y%m%d"
)
_LEADING_ZERO = r"^\s*[+-]?0[0-9]"
CHUNK_ROWS, CHUNK_BYTES = 100_000, 16 * 2**20


def read_table(
    path: Path, options: Ingest, columns: Mapping[str, Column] | None = None
) -> pa.Table:
    """Read ``path``; ``columns`` are the types to read as, from ``schema.yaml``.

    Raises ``InputError`` when the file is missing, truncated, ragged or in another encoding.
    """
    _refuse_no_file(path, options)
    columns = columns or {}
    try:
        if path.suffix.lower() in PARQUET:
            table = _normalise(path, pq.read_table(path, partitioning=None))
        else:
            table = _read_csv(path, options, columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(_explain(path, options, error)) from None
    if table.num_rows == 0:
        raise InputError(f"{path} has no rows: put a table with data in its place")
    return pa.table(
        {
            name: _typed(table[name], columns.get(name), options.decimal)
            for name in table.column_names
        }
    )


def read_chunks(path: Path, options: Ingest, columns: Mapping[str, Column]) -> Iterator[pa.Table]:
    """Read ``path`` piece by piece, so that memory does not grow with it.

    What is in ``columns`` is read as that type. Of a CSV file all else stays text, since only the
    whole column could say what it is. Raises ``InputError`` as ``read_table`` does.
    """
    _refuse_no_file(path, options)
    rows = 0
    try:
        if path.suffix.lower() in PARQUET:
            batches = pq.ParquetFile(path).iter_batches(CHUNK_ROWS)
            pieces: Iterator[pa.Table] = (
                _normalise(path, pa.Table.from_batches([batch])) for batch in batches
            )
        else:
            pieces = _csv_chunks(path, options)
        for table in pieces:
            rows += table.num_rows
            yield pa.table(
                {
                    name: _typed(table[name], columns[name], options.decimal)
                    if name in columns
                    else _finite(table[name])
                    for name in table.column_names
                }
            )
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(_explain(path, options, error)) from None
    if not rows:
        raise InputError(f"{path} has no rows: put a table with data in its place")


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet, whole or not at all; the same table gives the same bytes.

    Dictionaries help text only: looking for repeats among floats costs more than all the rest.
    """
    text = [field.name for field in table.schema if pa.types.is_string(field.type)]
    with whole_file(path) as draft:
        pq.write_table(table, draft, compression="snappy", use_dictionary=text or False)


def to_frame(table: pa.Table | pa.RecordBatch) -> "pd.DataFrame":
    """``table`` for pandas, in dtypes that do not depend on whether a value is missing here."""
    import pandas as pd

    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return table.to_pandas(types_mapper=nullable.get)


def header(path: Path, options: Ingest) -> tuple[list[str], str]:
    """The column names of a CSV file, cleaned, and its delimiter."""
    try:
        with path.open(encoding=_codec(options), newline="") as lines:
            first = next(iter(csv.reader(lines, delimiter=options.delimiter or ",")), [])
            if options.delimiter:
                return clean_names(path, first), options.delimiter
            best, names = ",", first
            for delimiter in DELIMITERS[1:]:
                lines.seek(0)
                record = next(iter(csv.reader(lines, delimiter=delimiter)), [])
                if len(record) > len(names):
                    best, names = delimiter, record
    except (UnicodeDecodeError, LookupError, csv.Error) as error:
        raise InputError(_explain(path, options, error)) from None
    if not names:
        raise InputError(f"{path} is empty or starts with a blank line: give it a header line")
    return clean_names(path, names), best


def clean_names(path: Path, names: Sequence[str]) -> list[str]:
    """Column names without surrounding space; the empty one is called by its position."""
    clean = [name.strip() or f"unnamed_{position}" for position, name in enumerate(names)]
    for position, name in enumerate(clean):
        if name in clean[:position]:
            raise InputError(f"{path}: column {name!r} stands twice in the header: rename one")
    return clean


def _codec(options: Ingest) -> str:
    # The byte order mark that spreadsheets write must not become part of the first name.
    return "utf-8-sig" if options.encoding.lower() in ("utf-8", "utf8") else options.encoding


def _read_csv(path: Path, options: Ingest, columns: Mapping[str, Column]) -> pa.Table:
    names, delimiter = header(path, options)
    table = _parse_csv(path, options, columns, names, delimiter)
    _refuse_header(path, table, 0)
    return table


def _csv_chunks(path: Path, options: Ingest) -> Iterator[pa.Table]:
    names, delimiter = header(path, options)
    how = _csv_options(path, options, names, delimiter, dict.fromkeys(names, pa.string()))
    how["read_options"].block_size = CHUNK_BYTES
    rows = 0
    for batch in pacsv.open_csv(path, **how):
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            table = pa.Table.from_batches([batch.slice(start, CHUNK_ROWS)])
            _refuse_header(path, table, rows)
            rows += table.num_rows
            yield table


def _refuse_no_file(path: Path, options: Ingest) -> None:
    if not path.is_file():
        ours = path == options.source
        remedy = "run `make data`, or put the file in its place" if ours else "give another path"
        raise InputError(f"{path} is {'no file' if path.exists() else 'not there'}: {remedy}")


def _refuse_header(path: Path, table: pa.Table, before: int) -> None:
    """Where the header stands once more; ``before`` is the number of rows above ``table``."""
    again = np.arange(table.num_rows)
    # Every name must stand there: names may be numbers, and be values too.
    for name in table.column_names:
        if not again.size or not pa.types.is_string(table[name].type):
            return
        again = again[pc.equal(table[name].take(again), name).fill_null(False).to_numpy()]
    if again.size:
        row = before + again[0] + 2
        raise InputError(f"{path} repeats its header in row {row}: remove that line")


def _parse_csv(
    path: Path,
    options: Ingest,
    columns: Mapping[str, Column],
    names: list[str],
    delimiter: str,
) -> pa.Table:
    direct = {  # read at once as what they are; the rest goes through text
        name: ARROW_TYPES[column.type]
        for name in names
        if (column := columns.get(name)) and column.type != "datetime"
    }
    text = dict.fromkeys(names, pa.string())
    if direct:
        with suppress(pa.ArrowInvalid):  # a value that does not fit, or a broken line
            return _csv(path, options, names, delimiter, text | direct)
    try:
        return _csv(path, options, names, delimiter, text)
    except pa.ArrowInvalid:
        # Only one thread at a time can count rows, and a person needs the number.
        return _csv(path, options, names, delimiter, text, threads=False)


def _csv(
    path: Path,
    options: Ingest,
    names: list[str],
    delimiter: str,
    types: dict[str, pa.DataType],
    threads: bool = True,
) -> pa.Table:
    how = _csv_options(path, options, names, delimiter, types)
    how["read_options"].use_threads = threads
    return pacsv.read_csv(path, **how)


def _csv_options(
    path: Path, options: Ingest, names: list[str], delimiter: str, types: dict[str, pa.DataType]
) -> dict[str, Any]:
    return {
        "read_options": pacsv.ReadOptions(
            column_names=names, skip_rows_after_names=1, encoding=options.encoding
        ),
        "parse_options": pacsv.ParseOptions(
            # Only quoted values can hold line breaks, and looking for them costs a second core.
            delimiter=delimiter,
            newlines_in_values=_has_quotes(path),
        ),
        "convert_options": pacsv.ConvertOptions(
            column_types=types,
            null_values=options.null_values,
            strings_can_be_null=True,
            decimal_point=options.decimal,
        ),
    }


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b'"' in chunk for chunk in iter(lambda: file.read(1 << 20), b""))


def _typed(values: pa.ChunkedArray, column: Column | None, decimal: str) -> pa.ChunkedArray:
    """``values`` as ``column`` says, or as what they look like; never an error."""
    values = _finite(values)
    if column is None:
        values = _inferred(values, decimal) if pa.types.is_string(values.type) else values
    elif values.type != ARROW_TYPES[column.type]:
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            values = _cast(values, column.type, decimal, column.format)
        if column.type == "integer" and pa.types.is_string(values.type):
            with suppress(pa.ArrowInvalid):  # 5.0 is whole, 5.5 stays text
                values = _cast(values, "number", decimal).cast(ARROW_TYPES["integer"])
    return _finite(values)


def _finite(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(values.type):
        # No model can use an infinite value, and JSON cannot carry one: it counts as missing.
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    return values


def _inferred(values: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    if values.null_count == len(values):
        return values
    zeros = pc.any(pc.match_substring_regex(values, _LEADING_ZERO)).as_py()
    candidates: list[ColumnType] = ["boolean", "datetime"]
    if not zeros or _all_decimal(values):  # 007 and 01234 are codes, 0.5 is a number
        candidates = ["integer", "number", *candidates]
    for kind in candidates:
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return _cast(values, kind, decimal)
    return values


def _all_decimal(values: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, r"^\s*[+-]?[0-9]*[.,][0-9]+")).as_py())


def _cast(
    values: pa.ChunkedArray, kind: ColumnType, decimal: str, fmt: str | None = None
) -> pa.ChunkedArray:
    if not pa.types.is_string(values.type):
        return values.cast(ARROW_TYPES[kind])
    values = pc.utf8_trim_whitespace(values)
    # A cell of nothing but blanks is missing.
    values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    if kind == "datetime":
        return _datetime(values, fmt)
    if kind == "number" and decimal != ".":
        values = _with_point(values, decimal)
    return values.cast(ARROW_TYPES[kind])


def _with_point(values: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """1.234,5 as 1234.5; a point that does not group thousands is no number then."""
    pointed = values.filter(pc.match_substring(values, "."))
    grouped = r"^[+-]?\d{1,3}(\.\d{3})+(" + re.escape(decimal) + r"\d*)?$"
    if len(pointed) and not pc.all(pc.match_substring_regex(pointed, grouped)).as_py():
        raise pa.ArrowInvalid("a point that groups no thousands")
    return pc.replace_substring(pc.replace_substring(values, ".", ""), decimal, ".")


def _datetime(values: pa.ChunkedArray, fmt: str | None) -> pa.ChunkedArray:
    """Text to UTC without a zone: by ``fmt``, ISO 8601, or the only other format that fits."""
    naive = ARROW_TYPES["datetime"]
    if fmt:
        return pc.strptime(values, format=fmt, unit="us")
    with suppress(pa.ArrowInvalid):
        return values.cast(naive)
    with suppress(pa.ArrowInvalid):
        return values.cast(pa.timestamp("us", "UTC")).cast(naive)
    fits = []
    for candidate in DATE_FORMATS:
        with suppress(pa.ArrowInvalid):
            fits.append(pc.strptime(values, format=candidate, unit="us"))
    if len(fits) != 1:
        raise pa.ArrowInvalid("no date format, or more than one")
    return fits[0]


def _normalise(path: Path, table: pa.Table) -> pa.Table:
    """The many types of a Parquet file, as the five of ``schema.yaml``."""
    columns = {}
    for name, values in zip(clean_names(path, table.column_names), table.columns, strict=True):
        kind = values.type
        if pa.types.is_dictionary(kind):
            values, kind = values.cast(kind.value_type), kind.value_type
        if pa.types.is_integer(kind):
            target: ColumnType = "integer"
            if kind == pa.uint64() and (pc.max(values).as_py() or 0) >= 2**63:
                target = "number"
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            target = "number"
        elif pa.types.is_boolean(kind):
            target = "boolean"
        elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            target = "datetime"
            if getattr(kind, "tz", None):  # its values are UTC already
                values = values.cast(pa.timestamp("us", kind.tz), safe=False)
        elif pa.types.is_null(kind) or _is_text(kind):
            target = "string"
        else:
            raise pa.ArrowInvalid(f"column {name!r} holds {kind}; make it a number, text or date")
        if target == "string" and not _is_utf8(values):
            raise pa.ArrowInvalid(f"column {name!r} holds bytes that are no UTF-8 text; mend them")
        # Digits beyond microseconds, or beyond what a float holds, are no reason to stop.
        columns[name] = values.cast(ARROW_TYPES[target], safe=target not in ("datetime", "number"))
    return pa.table(columns)


def _is_utf8(values: pa.ChunkedArray) -> bool:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _explain(path: Path, options: Ingest, error: Exception) -> str:
    """One sentence for what a parser says, without the values it may quote."""
    text = str(error)
    if "Expected" in text and "columns, got" in text:
        where = text.split("Row #")[-1].split(":")[0] if "Row #" in text else ""
        row = f", row {where}" if where.isdigit() else ""
        return f"{path}{row} has another number of fields than the header: mend or cut that line"
    if isinstance(error, (UnicodeDecodeError, LookupError)) or "UTF8" in text or "codec" in text:
        return (
            f"{path} is not {options.encoding} text: set ingest.encoding in params.yaml, "
            f"or convert it with iconv"
        )
    if "holds" in text and text.startswith("column"):
        return f"{path}: {text}"
    if path.suffix.lower() in PARQUET:
        return f"{path} is no readable Parquet file (damaged or cut short): fetch it again"
    reason = text.splitlines()[0].split(":")[0]
    return f"{path} cannot be read as CSV ({reason}): correct the file or ingest in params.yaml"
