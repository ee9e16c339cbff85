"""Truths that arrive later: files with the columns ``id`` and the target, joined to records."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from gatehouse.core.config.rules import value_text
from gatehouse.core.console import say
from gatehouse.core.errors import Stop
from gatehouse.core.places import File, Folder

MOST_BYTES = 2**30  # of one file
ID, TIME = "id", "time"
MISSING = {"", "nan", "null", "none", "na", "n/a"}


class Joined(NamedTuple):
    """The table with ``__truth``, and what was read.

    labels: rows of all files; unknown: of no record that is here (labels of other times, too);
    classes: with no class of schema.yaml, or no number; again: later said otherwise, or once more;
    unreadable: files that were passed over.
    """

    table: pa.Table
    counts: dict[str, int]


class _Rows(NamedTuple):
    """Positions of ids, what is true of them as text or number, and when it was said."""

    position: Any
    truth: Any
    moment: Any


def join(table: pa.Table, url: str, schema: Mapping[str, Any]) -> Joined:
    """Add ``__truth``; of several for one id the one with the latest ``time`` counts, else that of
    the last file by name. Raises ``Stop`` (3) where the folder cannot be reached.
    """
    counts: Counter[str] = Counter()
    numeric = schema["task"] == "regression"
    # In a trial two models may have answered one request, and the truth is that of both.
    codes, known = pd.factorize(table["__id"].to_numpy())
    ids = pd.Index(known)
    folder = Folder(url)
    read = [
        rows
        for file in _files(folder, counts)
        if (rows := _read(folder, file, ids, schema, counts)) is not None
    ]
    truth = np.full(len(ids), np.nan if numeric else None, float if numeric else object)
    if read:
        position = np.concatenate([rows.position for rows in read])
        said = np.concatenate([rows.truth for rows in read])
        # Stable: among equal times, and where there are none, the last file wins.
        order = np.argsort(np.concatenate([rows.moment for rows in read]), kind="stable")
        last = ~pd.Series(position[order]).duplicated(keep="last").to_numpy()
        counts["again"] = int((~last).sum())
        truth[position[order][last]] = said[order][last]
    kind = pa.float64() if numeric else pa.string()
    column = pa.array(truth[codes], type=kind, from_pandas=True)
    names = ("labels", "unknown", "classes", "again", "unreadable")
    return Joined(table.append_column("__truth", column), {name: counts[name] for name in names})


def _files(folder: Folder, counts: Counter[str]) -> list[File]:
    found = []
    for file in folder.files():
        name = _called(folder, file)
        if name.startswith(".") or not name.endswith((".csv", ".parquet")):
            continue
        if file.size > MOST_BYTES:
            _pass_over(name, "more than 1 GiB", counts)
            continue
        found.append(file)
    return found


def _called(folder: Folder, file: File) -> str:
    """The name of a file; one file may be the address itself instead of a folder."""
    return (file.name or folder.url).rpartition("/")[2]


def _pass_over(name: str, reason: str, counts: Counter[str]) -> None:
    counts["unreadable"] += 1
    say(f"labels: {name[:100]!r} is passed over: {reason}")


def _read(
    folder: Folder, file: File, ids: pd.Index, schema: Mapping[str, Any], counts: Counter[str]
) -> _Rows | None:
    target, name = schema["target"], _called(folder, file)
    found = _table(folder, file, name, target)
    if isinstance(found, str):
        _pass_over(name, found, counts)
        return None
    counts["labels"] += found.num_rows
    position = ids.get_indexer(found[ID].to_numpy())
    known = position >= 0
    counts["unknown"] += int((~known).sum())
    found, position = found.filter(pa.array(known)), position[known]
    truth = _truth(found[target], schema)
    good = np.array([value is not None for value in truth.to_pylist()], dtype=bool)
    counts["classes"] += int((~good).sum())
    moment = np.full(len(truth), np.iinfo(np.int64).min)
    if TIME in found.column_names:
        said = pd.to_datetime(found[TIME].to_pandas(), format="ISO8601", utc=True, errors="coerce")
        moment = said.to_numpy("datetime64[us]").astype(np.int64)  # not a time: the smallest
    values = truth.to_numpy(zero_copy_only=False)
    return _Rows(position[good], values[good], moment[good])


def _table(folder: Folder, file: File, name: str, target: str) -> pa.Table | str:
    """What stands in a file, or why it cannot be read."""
    try:
        with folder.open(file.name) as content:
            try:
                return _columns(content, name, target)
            except KeyError as error:
                return f"it has no column {error.args[0]!r}"
            except Exception as error:  # it may be broken in as many ways as there are readers
                return f"it cannot be read ({type(error).__name__})"
    except Stop as stop:
        return str(stop)


def _columns(file: Any, name: str, target: str) -> pa.Table:
    """``id``, the target and perhaps ``time``, ids as text; KeyError for a missing column."""
    from csv import reader as csv_reader

    from pyarrow import csv
    from pyarrow import parquet as pq

    if name.endswith(".parquet"):
        there = pq.ParquetFile(file)
        table = there.read(_wanted(there.schema_arrow.names, target))
    else:
        # Text as it stands: a class may be called 01 or true.
        first = file.read(2**20).partition(b"\n")[0].decode("utf-8-sig")
        file.seek(0)
        names = _wanted(next(csv_reader([first]), []), target)
        table = csv.read_csv(
            file,
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=names
            ),
        )
    return table.set_column(table.column_names.index(ID), ID, table[ID].cast(pa.string()))


def _wanted(names: list[str], target: str) -> list[str]:
    for name in (ID, target):
        if name not in names:
            raise KeyError(name)
    return [ID, target] + ([TIME] if TIME in names and target != TIME else [])


def _truth(values: pa.ChunkedArray, schema: Mapping[str, Any]) -> pa.Array:
    """As numbers, or as classes in the words of schema.yaml; null for what is neither."""
    if schema["task"] == "regression":
        numbers = pd.to_numeric(values.to_pandas(), errors="coerce").astype(float)
        return pa.array(numbers.where(np.isfinite(numbers)), from_pandas=True)
    classes = [value_text(label) for label in schema["classes"]]
    if not pa.types.is_string(values.type):
        return pa.array([_known(value_text(v), classes) for v in values.to_pylist()], pa.string())
    plain = values.combine_chunks()
    unique = plain.dictionary_encode()
    names = [_known(text, classes) for text in unique.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(unique.indices)


def _known(text: str, classes: list[str]) -> str | None:
    """The class that a text means: True is true, and 1.0 is 1."""
    if text in classes:
        return text
    if text.lower() in classes and text.lower() in ("true", "false"):
        return text.lower()
    try:
        whole = value_text(float(text))
    except ValueError:
        return None
    return whole if whole in classes else None
