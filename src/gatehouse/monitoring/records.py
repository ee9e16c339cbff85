"""Records of the inference log in a window of time, one a prediction; truths join them later."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.core.inference_log import begun, schema_version
from gatehouse.core.places import Folder
from gatehouse.core.project import Project

from .log_files import LogFile, log_files, pieces
from .log_lines import Lines

MOST = 5_000_000  # records in memory; of more a fair share is kept
SLACK = timedelta(minutes=5)  # by which clocks may differ
DAY = timedelta(days=1)
COUNTS = ("torn", "damaged", "foreign", "duplicated", "reused", "skewed", "late", "thinned")


class Records(NamedTuple):
    """The table, and what was mended or left out.

    torn: last lines of files that end in the middle; damaged: lines that are no records;
    foreign: records of another schema.yaml, whose missing columns are null; duplicated: the same
    record again; reused: another request by the same id, of which only the first counts;
    skewed: times that cannot be, left out; late: written more than five minutes after the event;
    thinned: left out because there were too many, by a hash of the id.
    """

    table: pa.Table
    counts: dict[str, int]
    files: int
    bytes: int


def read(
    project: Project,
    url: str,
    since: datetime,
    until: datetime,
    schema: Mapping[str, Any],
    *,
    version: str | None = None,
    most: int = MOST,
    now: datetime | None = None,
) -> Records:
    """The records of ``since <= time < until``; no line of a file can raise.

    ``version``: what the service calls this schema.yaml; by default that of the file that is here.
    Raises ``Stop`` (3) where the log cannot be reached; a folder that is not there has no records.
    """
    version = schema_version(project / "schema.yaml") if version is None else version
    lines = Lines(schema, version)
    window = _Window(since, until, max(until, now or datetime.now(UTC)) + SLACK)
    log = Folder(url)
    files = log_files(log, since, until)
    kept = _Kept(most)
    for file in files:
        for some, torn in pieces(log, file.path):
            lines.counts["torn"] += torn
            for table in lines.tables(some):
                kept.add(window.part(table, file, lines.counts))
    table = kept.table(lines)
    counts = {name: (lines.counts + kept.counts)[name] for name in COUNTS}
    counts["foreign"] = pc.sum(pc.not_equal(table["__schema"], version)).as_py() or 0
    return Records(table, counts, len(files), sum(file.size for file in files))


class _Window:
    """Which times are meant, and which cannot be."""

    def __init__(self, since: datetime, until: datetime, latest: datetime) -> None:
        self._since, self._until, self._latest = map(_naive, (since, until, latest))

    def part(self, table: pa.Table, file: LogFile, counts: Counter[str]) -> pa.Table:
        """The records of the window."""
        time = table["__time"].to_numpy()
        day = np.datetime64(file.day, "us")
        two = np.timedelta64(2 * DAY)
        skewed = (time > self._latest) | (time < day - np.timedelta64(DAY)) | (time >= day + two)
        counts["skewed"] += int(skewed.sum())
        good = (time >= self._since) & (time < self._until) & ~skewed
        if (start := begun(file.day, file.name)) is not None:
            earliest = np.datetime64(start, "us") - np.timedelta64(SLACK)
            counts["late"] += int((good & (time < earliest)).sum())
        return table if good.all() else table.filter(pa.array(good))


class _Kept:
    """Tables so far; where they are too many, a share of them by the hash of the id."""

    def __init__(self, most: int) -> None:
        self.counts: Counter[str] = Counter()
        self._most, self._rows, self._below = most, 0, np.uint64(2**64 - 1)
        self._tables: list[pa.Table] = []
        self._keys: list[Any] = []

    def add(self, table: pa.Table) -> None:
        """Keep them, and perhaps fewer of all."""
        if not table.num_rows:
            return
        self._tables.append(table)
        self._keys.append(_keys(table))
        self._rows += table.num_rows
        self._thin(len(self._tables) - 1)
        while self._rows > self._most:
            self._below //= np.uint64(2)
            self._thin(0)

    def table(self, lines: Lines) -> pa.Table:
        """All of them, each once."""
        if not self._tables:
            return lines.none()
        table, keys = pa.concat_tables(self._tables), np.concatenate(self._keys)
        self._tables, self._keys = [], []
        time = table["__time"].to_numpy()
        order = np.lexsort((time, keys))
        again = np.flatnonzero(keys[order][1:] == keys[order][:-1]) + 1
        if not len(again):
            return table
        first = np.ones(len(order), dtype=bool)
        first[again] = False
        origin = time[order][np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
        same = int((time[order][again] == origin[again]).sum())
        self.counts["duplicated"] += same
        self.counts["reused"] += len(again) - same
        keep = np.ones(len(order), dtype=bool)
        keep[order[again]] = False
        return table.filter(pa.array(keep))

    def _thin(self, start: int) -> None:
        for k in range(start, len(self._tables)):
            good = self._keys[k] <= self._below
            if not good.all():
                gone = int((~good).sum())
                self.counts["thinned"] += gone
                self._rows -= gone
                self._tables[k] = self._tables[k].filter(pa.array(good))
                self._keys[k] = self._keys[k][good]


def _keys(table: pa.Table) -> Any:
    """A number for each id and model: in a trial by shadow two models answer one request."""
    ids = pd.util.hash_array(table["__id"].to_numpy())
    models = table["__model"].combine_chunks().dictionary_encode()
    known = pd.util.hash_array(models.dictionary.to_numpy(zero_copy_only=False))
    of_model = known[models.indices.to_numpy()]
    with np.errstate(over="ignore"):
        # The share that is kept goes by the high bits, which the model must not decide.
        return ids ^ (of_model >> np.uint64(32))


def _naive(moment: datetime) -> Any:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
