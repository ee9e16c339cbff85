"""What the checks read: `schema.yaml`, `gates.yaml` and Parquet files in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.core.errors import InputError
from gatehouse.core.files import read_yaml

BATCH_ROWS = 65_536
ROW_ID = "__row_id"


@dataclass(frozen=True)
class Schema:
    """What `schema.yaml` says about the columns; `classes` as text, empty for regression.

    `words` are the features of free text: no values to count or compare, but parts of a row.
    """

    task: str
    target: str
    classes: list[str]
    features: list[str]
    time: str | None
    id: str | None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One file: facts about all `rows`, and `sample`, at most as many rows as asked for.

    `row_hash` is of features and target, `feature_hash` of the features alone; `positions`
    are the row numbers of the sample, ascending.
    """

    path: Path
    rows: int
    row_hash: npt.NDArray[np.uint64]
    feature_hash: npt.NDArray[np.uint64]
    missing: dict[str, int]
    positions: npt.NDArray[np.int64]
    sample: pd.DataFrame


@dataclass(frozen=True)
class Inputs:
    """What one run looks at: the table "train" (all there is to the data stage) and "test".

    `predictions` holds, for the sampled rows of each, truth, prediction and p_0, p_1, ...;
    `answers` the files where those of all rows stand, `gates` the one with the rules;
    `left_out` are features that cannot be compared.
    """

    schema: Schema
    tables: dict[str, Table]
    predictions: dict[str, pd.DataFrame]
    left_out: list[str] = field(default_factory=list)
    answers: dict[str, Path] = field(default_factory=dict)
    gates: Path = Path("gates.yaml")

    @property
    def held_out(self) -> Table:
        """The rows that judge."""
        return self.tables["test"]


def text(value: object) -> str:
    """A class as text, as the predictions files write it."""
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


def read_schema(path: Path) -> Schema:
    """The columns to check. Raises `InputError` if the schema names none."""
    content = read_yaml(path)
    columns, target = content.get("columns"), content.get("target")
    if not isinstance(columns, dict) or not isinstance(target, str) or target not in columns:
        raise InputError(
            "schema-no-columns", f"{path} must list its columns, the target among them"
        )
    classes = [text(value) for value in content.get("classes") or []]
    task = content.get("task", "auto")
    if task == "auto":
        task = {0: "regression", 2: "binary"}.get(len(classes), "multiclass")
    if task not in ("binary", "multiclass", "regression"):
        raise InputError(
            "schema-task", f"{path}: task is not auto, binary, multiclass or regression"
        )
    if task != "regression" and len(classes) < 2:
        raise InputError("schema-classes", f"{path}: a {task} task needs at least two classes")
    roles = {
        name: column.get("role")
        for name, column in columns.items()
        if name != target and isinstance(column, dict)
    }
    features = [name for name, role in roles.items() if role in ("feature", "text")]
    words = tuple(name for name in features if roles[name] == "text")
    if not features:
        raise InputError(
            "schema-no-feature",
            f"{path} has no column with `role: feature` or text: there is nothing to check",
        )
    classes = [] if task == "regression" else classes
    time, key = content.get("time_column"), content.get("id_column")
    return Schema(task, target, classes, features, time, key, words)


def scan(path: Path, schema: Schema, rows: int, seed: int) -> Table:
    """Read a dataset once, batch by batch, and keep a random sample of `rows` rows.

    Raises `InputError` if the file or one of its columns is missing, or it has no rows.
    """
    columns = [*schema.features, schema.target]
    extra = [name for name in (schema.time, schema.id) if name and name not in columns]
    file = _open(path, [*columns, *extra])
    total = file.metadata.num_rows
    positions = np.arange(total)
    if total > rows:
        positions = np.sort(np.random.default_rng(seed).choice(total, rows, replace=False))
    hashes, features = np.empty((2, total), dtype=np.uint64)
    missing, parts, start = np.zeros(len(columns), dtype=int), [], 0
    for frame, inner in _batches(file, [*columns, *extra], positions):
        parts.append(frame.iloc[inner])
        missing += frame[columns].isna().sum().to_numpy()
        here = slice(start, start := start + len(frame))
        features[here] = pd.util.hash_pandas_object(frame[schema.features], index=False)
        label = pd.util.hash_pandas_object(frame[schema.target], index=False).to_numpy()
        hashes[here] = pd.util.hash_array(features[here] ^ (label * np.uint64(1_000_003)))
    counts = dict(zip(columns, missing.tolist(), strict=True))
    sample = pd.concat(parts, ignore_index=True)
    return Table(path, total, hashes, features, counts, positions, sample)


def read_rows(path: Path, columns: list[str], positions: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Some columns of the rows at `positions` (ascending). Raises `InputError`."""
    batches = _batches(_open(path, columns), columns, positions)
    return pd.concat([frame.iloc[inner] for frame, inner in batches], ignore_index=True)


def read_column(path: Path, name: str) -> pa.ChunkedArray:
    """One whole column, its type made plain. Raises `InputError`."""
    column = _open(path, [name]).read(columns=[name]).column(name)
    return column.cast(_plain(column.type), safe=False)


def is_text(values: pd.Series) -> bool:
    """True for what is compared and not measured: text and booleans."""
    return pd.api.types.is_bool_dtype(values) or not (
        pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values)
    )


def moments(values: pd.Series) -> pd.Series:
    """Dates and times as floating point days, numbers as they are; NaN where unknown."""
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64")
    # Microseconds, since nanoseconds end in 2262 and people write 9999-12-31.
    stamps = values.astype("datetime64[us]")
    days = stamps.to_numpy().astype("int64") / 86_400_000_000
    return pd.Series(np.where(stamps.isna(), np.nan, days), values.index)


def _open(path: Path, columns: list[str]) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise InputError(
            "file-missing", f"{path} does not exist: run `dvc repro`, or `dvc pull`"
        ) from None
    except (OSError, pa.ArrowException):
        raise InputError(
            "parquet-damaged", f"{path} is no readable Parquet file: make it again"
        ) from None
    absent = [name for name in columns if name not in file.schema_arrow.names]
    if absent:
        names = ", ".join(repr(name) for name in absent[:5])
        raise InputError(
            "column-missing", f"{path} lacks {len(absent)} expected column(s), such as {names}"
        )
    if file.metadata.num_rows == 0:
        raise InputError(
            "table-empty", f"{path} has no rows: make it again from data that has some"
        )
    return file


def _batches(
    file: pq.ParquetFile, columns: list[str], positions: npt.NDArray[np.int64]
) -> Iterator[tuple[pd.DataFrame, npt.NDArray[np.int64]]]:
    """Each batch, and which of its rows are at `positions`."""
    kinds = {name: _plain(file.schema_arrow.field(name).type) for name in columns}
    # Nullable types: a batch with a missing value must hash its other values as the rest does.
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    start = 0
    for batch in file.iter_batches(BATCH_ROWS, columns=columns):
        table = pa.table({name: batch.column(name).cast(kinds[name], safe=False) for name in kinds})
        first, last = np.searchsorted(positions, [start, start + batch.num_rows])
        yield table.to_pandas(types_mapper=nullable.get), positions[first:last] - start
        start += batch.num_rows


def _plain(kind: pa.DataType) -> pa.DataType:
    """One type for each kind of value, so that equal values of two files compare equal."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    return pa.string() if pa.types.is_large_string(kind) else kind
