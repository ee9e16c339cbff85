"""Reading a CSV or Parquet file into typed columns.

A CSV file has no types. Where ``schema.yaml`` names a type, the column is read as that; a column
that does not fit stays text, so that the data gate can say so. Without a schema every column is
read as text and ``infer`` decides from *all* its values, so that neither the first thousand rows
nor the size of a block does; why it decided so goes with the field, as its metadata.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from gatehouse.core.config.params import Ingest
from gatehouse.core.config.schema import Column, ColumnType
from gatehouse.core.errors import InputError
from gatehouse.core.files import whole_file

from .cells import ARROW_TYPES, MARKS, WORDS, convert, finite
from .infer import TOO_LONG, Decision, infer

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")
DELIMITERS = (",", ";", "\t", "|")
CHUNK_ROWS, CHUNK_BYTES = 100_000, 16 * 2**20


def read_table(
    path: Path,
    options: Ingest,
    columns: Mapping[str, Column] | None = None,
    target: str | None = None,
) -> pa.Table:
    """Read ``path``; ``columns`` are the types to read as, from ``schema.yaml``.

    Raises ``InputError`` when the file is missing, truncated, ragged or in another encoding.
    """
    _refuse_no_file(path, options)
    columns = columns or {}
    decided: dict[str, Decision] = {}
    try:
        if path.suffix.lower() in PARQUET:
            table = _normalise(path, pq.read_table(path, partitioning=None), decided)
        else:
            table = _Csv(path, options).table(columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError("table-unreadable", _explain(path, options, error)) from None
    if table.num_rows == 0:
        raise InputError("table-empty", f"{path} has no rows: put a table with data in its place")
    values = dict(zip(table.column_names, table.columns, strict=True))
    del table  # so that the text of a column can go as soon as its values are there
    unknown = {
        name: values[name]
        for name in values
        if name not in columns and name not in decided and pa.types.is_string(values[name].type)
    }
    for name in values:
        if name in columns:
            values[name] = _typed(values[name], columns[name], options)
        elif name in unknown:
            values[name] = None
        else:
            values[name] = finite(values[name])
    found = infer(unknown, decimal=options.decimal, null_values=options.null_values, target=target)
    decided = {name: about for name, about in (found | decided).items() if name not in columns}
    values |= unknown
    return pa.table(
        list(values.values()),
        pa.schema(
            pa.field(
                name, array.type, metadata=decided[name].metadata() if name in decided else None
            )
            for name, array in values.items()
        ),
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
                _normalise(path, pa.Table.from_batches([batch]), {}) for batch in batches
            )
        else:
            pieces = _Csv(path, options).chunks()
        other = Column(type="string")
        for table in pieces:
            rows += table.num_rows
            yield pa.table(
                {
                    name: _typed(table[name], columns.get(name, other), options)
                    if name in columns or pa.types.is_string(table[name].type)
                    else finite(table[name])
                    for name in table.column_names
                }
            )
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError("table-unreadable", _explain(path, options, error)) from None
    if not rows:
        raise InputError("table-empty", f"{path} has no rows: put a table with data in its place")


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
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    return frame


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
        raise InputError("table-unreadable", _explain(path, options, error)) from None
    if not names:
        raise InputError(
            "table-no-header", f"{path} is empty or starts with a blank line: give it a header line"
        )
    return clean_names(path, names), best


def clean_names(path: Path, names: Sequence[str]) -> list[str]:
    """Column names without surrounding space; the empty one is called by its position."""
    clean = [name.strip() or f"unnamed_{position}" for position, name in enumerate(names)]
    for position, name in enumerate(clean):
        if name in clean[:position]:
            raise InputError(
                "column-twice", f"{path}: column {name!r} stands twice in the header: rename one"
            )
    return clean


def _codec(options: Ingest) -> str:
    # The byte order mark that spreadsheets write must not become part of the first name.
    return "utf-8-sig" if options.encoding.lower() in ("utf-8", "utf8") else options.encoding


class _Csv:
    """A CSV file, whose columns its header names."""

    def __init__(self, path: Path, options: Ingest) -> None:
        self.path, self.options = path, options
        self.names, self.delimiter = header(path, options)
        self.text = dict.fromkeys(self.names, pa.string())

    def table(self, columns: Mapping[str, Column]) -> pa.Table:
        """All of it: what can be is read at once as what ``columns`` say, the rest as text."""
        direct = {
            name: ARROW_TYPES[column.type]
            for name in self.names
            if (column := columns.get(name)) and _is_plain(column, self.options)
        }
        table = self._read(direct)
        _refuse_header(self.path, table, 0)
        return table

    def chunks(self) -> Iterator[pa.Table]:
        """All of it as text, piece by piece."""
        rows = 0
        for batch in pacsv.open_csv(self.path, **self._how(self.text, block_size=CHUNK_BYTES)):
            for start in range(0, batch.num_rows, CHUNK_ROWS):
                table = pa.Table.from_batches([batch.slice(start, CHUNK_ROWS)])
                _refuse_header(self.path, table, rows)
                rows += table.num_rows
                yield table

    def _read(self, direct: dict[str, pa.DataType]) -> pa.Table:
        if direct:
            with suppress(pa.ArrowInvalid):  # a value that does not fit, or a broken line
                return pacsv.read_csv(self.path, **self._how(self.text | direct))
        try:
            return pacsv.read_csv(self.path, **self._how(self.text))
        except pa.ArrowInvalid:
            # Only one thread at a time can count rows, and a person needs the number.
            return pacsv.read_csv(self.path, **self._how(self.text, use_threads=False))

    def _how(self, types: dict[str, pa.DataType], **reading: Any) -> dict[str, Any]:
        reading |= {"column_names": self.names, "skip_rows_after_names": 1}
        return {
            "read_options": pacsv.ReadOptions(encoding=self.options.encoding, **reading),
            "parse_options": pacsv.ParseOptions(
                # Only quoted values can hold line breaks, and looking for them costs a second core.
                delimiter=self.delimiter,
                newlines_in_values=_has_quotes(self.path),
            ),
            "convert_options": pacsv.ConvertOptions(
                column_types=types,
                # Of text a word is a value, until its column says that it means missing.
                null_values=["", *WORDS, *MARKS, *(self.options.null_values or [])],
                strings_can_be_null=False,
            ),
        }


def _refuse_no_file(path: Path, options: Ingest) -> None:
    if not path.is_file():
        ours = path == options.source
        remedy = (
            "run `gatehouse data`, or put the file in its place" if ours else "give another path"
        )
        raise InputError(
            "source-missing", f"{path} is {'no file' if path.exists() else 'not there'}: {remedy}"
        )


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
        raise InputError(
            "header-repeated", f"{path} repeats its header in row {row}: remove that line"
        )


def _is_plain(column: Column, options: Ingest) -> bool:
    """Whether the reader itself can make values of the text: faster, and less memory."""
    if column.type == "datetime" or column.unit or column.thousands or column.null_values:
        return False
    return column.type != "number" or (column.decimal or options.decimal or ".") == "."


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b'"' in chunk for chunk in iter(lambda: file.read(1 << 20), b""))


def _typed(values: pa.ChunkedArray, column: Column, options: Ingest) -> pa.ChunkedArray:
    """``values`` as ``column`` says; as they are where one does not fit, and never an error."""
    want = ARROW_TYPES[column.type]
    if not pa.types.is_string(values.type):
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            values = values if values.type == want else values.cast(want)
        return finite(values)
    if column.decimal is None and column.thousands != options.decimal:
        column = column.model_copy(update={"decimal": options.decimal})
    with suppress(pa.ArrowInvalid):
        return convert(values, column, options.null_values)
    return convert(values, Column(type="string"), options.null_values)


def _normalise(path: Path, table: pa.Table, decided: dict[str, Decision]) -> pa.Table:
    """The many types of a Parquet file, as the five of ``schema.yaml``; ``decided``: what of them
    the five cannot say.
    """
    columns = {}
    for name, values in zip(clean_names(path, table.column_names), table.columns, strict=True):
        kind = values.type
        if pa.types.is_dictionary(kind):
            if kind.ordered and _is_text(kind.value_type) and values.num_chunks:
                order = values.unify_dictionaries().chunk(0).dictionary.to_pylist()
                column = Column(type="string", ordered=True, categories=order)
                decided[name] = Decision(column, "categories in their order")
            values, kind = values.cast(kind.value_type), kind.value_type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            with suppress(pa.ArrowInvalid):  # text that its writer did not call so
                values, kind = values.cast(pa.large_string()), pa.large_string()
        if pa.types.is_time(kind) or pa.types.is_duration(kind):
            values, kind = _seconds(values), pa.float64()
            decided[name] = Decision(Column(type="number", unit="s"), "in seconds")
        target = _kind(kind)
        if target is None:
            raise pa.ArrowInvalid(f"column {name!r} holds {kind}; make it a number, text or date")
        if target == "integer" and _too_long(values):
            target = "string"
            decided[name] = Decision(Column(type="string"), doubt=TOO_LONG)
        if getattr(kind, "tz", None):  # its values are UTC already
            values = values.cast(pa.timestamp("us", kind.tz), safe=False)
        if target == "string" and not _is_utf8(values):
            raise pa.ArrowInvalid(f"column {name!r} holds bytes that are no UTF-8 text; mend them")
        # Digits beyond microseconds, or beyond what a float holds, are no reason to stop.
        columns[name] = values.cast(ARROW_TYPES[target], safe=target not in ("datetime", "number"))
    return pa.table(columns)


def _kind(kind: pa.DataType) -> ColumnType | None:
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= 0):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "datetime"
    return "string" if pa.types.is_null(kind) or _is_text(kind) else None


def _too_long(values: pa.ChunkedArray) -> bool:
    """Whether a whole number is beyond 64 bits; a float would round it."""
    if not (values.type == pa.uint64() or pa.types.is_decimal(values.type)):
        return False
    limits = pc.min_max(values).as_py()
    return limits["min"] is not None and not -(2**63) <= limits["min"] <= limits["max"] < 2**63


def _seconds(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times of day as seconds after midnight, durations as seconds."""
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[values.type.unit]
    whole = pa.int32() if values.type.bit_width == 32 else pa.int64()
    return pc.divide(values.cast(whole).cast(pa.float64(), safe=False), float(per))


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
        with path.open("rb") as file:
            hint = " (utf-16)" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else ""
        return (
            f"{path} is not {options.encoding} text: set ingest.encoding in params.yaml{hint}, "
            f"or convert it with iconv"
        )
    if "holds" in text and text.startswith("column"):
        return f"{path}: {text}"
    if path.suffix.lower() in PARQUET:
        return f"{path} is no readable Parquet file (damaged or cut short): fetch it again"
    reason = text.splitlines()[0].split(":")[0]
    return f"{path} cannot be read as CSV ({reason}): correct the file or ingest in params.yaml"
