"""Where the rows come from: a file, a URL of fsspec, a table or query of a database."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.core import places
from gatehouse.core.console import say
from gatehouse.core.errors import BROKEN, Stop
from gatehouse.data.contract import TYPES

from .databases import connected, database, refuse_no_file, shown

if TYPE_CHECKING:
    from sqlalchemy import URL

ROWS = 50_000  # fetched from a database at once
SUFFIXES = (".csv", ".parquet", ".pq")
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)?")


def fetch(source: str, folder: Path, schema: dict[str, Any]) -> Path:
    """A local file of the rows: a path as it is; anything else comes into ``folder``."""
    address, _, query = source.partition("#")
    url = database(address)
    if url is not None:
        return _select(url, query.strip(), folder / "source.parquet", schema)
    if "://" not in source:
        path = Path(source)
        if not path.is_file():
            what = "no file" if path.exists() else "not there"
            raise Stop("batch-no-source", f"{source} is {what}: say which table, with --source")
        return path
    suffix = Path(source.partition("?")[0]).suffix.lower()
    if suffix not in SUFFIXES:
        raise Stop(
            "suffix-unknown",
            f"{shown(source)} ends in none of {', '.join(SUFFIXES)}: name such a file",
        )
    say(f"batch: fetching {shown(source)}")
    places.download(source, target := folder / f"source{suffix}")
    return target


def _select(url: "URL", query: str, target: Path, schema: dict[str, Any]) -> Path:
    """The rows of a table or query, as Parquet with the types of schema.yaml."""
    where = url.render_as_string(hide_password=True)
    if not query:
        raise Stop(
            "query-missing", f"{where} names no rows: write {where}#TABLE, or {where}#SELECT …"
        )
    refuse_no_file(url)
    say(f"batch: reading {where}")
    columns = schema.get("columns") or {}
    with connected(url, write=False) as connection:
        streamed = connection.execution_options(stream_results=True, yield_per=ROWS)
        quote = connection.dialect.identifier_preparer.quote
        if NAME.fullmatch(query):
            query = f"SELECT * FROM {'.'.join(map(quote, query.split('.')))}"
        result = streamed.exec_driver_sql(query)
        names = list(result.keys())
        if len(set(names)) < len(names):
            raise Stop(
                "column-twice",
                f"{where}: two columns of the query have one name: rename one",
                BROKEN,
            )
        wanted: pa.Schema | None = None
        writer: pq.ParquetWriter | None = None
        for rows in result.partitions():
            values = dict(zip(names, zip(*rows, strict=True), strict=True))
            arrays = {n: _array(n, v, columns.get(n, {}).get("type")) for n, v in values.items()}
            table = pa.table(arrays)
            if writer is None:
                wanted, writer = table.schema, pq.ParquetWriter(target, table.schema)
            writer.write_table(table.cast(wanted))
        if writer is None:
            raise Stop(
                "table-empty",
                f"{where} has no rows for this query: see that it names the right ones",
            )
        writer.close()
    return target


def _array(name: str, values: Sequence[Any], kind: str | None) -> pa.Array:
    """Values of a database, which has types of its own, as a type of schema.yaml; else text."""
    if kind is None:
        return pa.array([None if v is None else str(v) for v in values], pa.string())
    with suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        if kind != "datetime":  # whose zone would be lost
            return pa.array(values, TYPES[kind])
    try:
        read = READ[kind]
        return pa.array([None if v is None else read(v) for v in values], TYPES[kind])
    except (ValueError, TypeError, ArithmeticError, pa.ArrowException):
        raise Stop(
            "column-type", f"column {name!r} has values that are no {kind}: correct them"
        ) from None


def _integer(value: Any) -> int:
    if int(value) != value:
        raise ValueError
    return int(value)


def _boolean(value: Any) -> bool:
    # SQLite and MySQL have no booleans of their own.
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _datetime(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            raise TypeError
        value = datetime(value.year, value.month, value.day)
    moment: datetime = value
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


READ: dict[str, Callable[[Any], Any]] = {
    "integer": _integer,
    "number": float,
    "boolean": _boolean,
    "string": str,
    "datetime": _datetime,
}
