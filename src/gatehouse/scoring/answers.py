"""What the science wrote, piece by piece: rows, their keys, their answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.core.errors import CLOSED, Stop
from gatehouse.core.inference_log import LONGEST  # of a key, which becomes an id there

from .run import Run

PIECE = 10_000  # rows at once


class Piece(NamedTuple):
    """Some rows: ``table`` as it was written, their keys, their answers by name."""

    table: pa.Table
    keys: pa.Array
    answers: dict[str, pa.ChunkedArray]


class Answers:
    """The file of predictions: the source's columns, the prediction, a column a probability."""

    def __init__(self, file: Path, run: Run, source: str) -> None:
        self.run, self._source = run, source
        self._file = pq.ParquetFile(file)
        self.rows: int = self._file.metadata.num_rows
        self.schema: pa.Schema = self._file.schema_arrow
        count = 1 + len(run.labels)
        self._answers = self.schema.names[-count:]
        self.names = ["prediction", *(f"probability {label}" for label in run.labels)]

    def check(self) -> None:
        """Refuse predictions of another model, and keys that are missing, long or not unique."""
        made = (self.schema.metadata or {}).get(b"model_digest", b"").decode()
        if made != self.run.model_digest:
            raise Stop(
                "model-changed", "the model changed while it predicted: run the same again", CLOSED
            )
        key = self.run.key
        if key is None:
            return
        if key not in self.schema.names[: -len(self.names)]:
            raise Stop(
                "key-column-unknown",
                f"{self._source} has no column {key!r} to name its rows: give another key",
            )
        hashes = []
        for batch in self._file.iter_batches(columns=[key]):
            keys = _text(batch.column(0))
            if keys.null_count or (pc.min(pc.utf8_length(keys)).as_py() or 0) == 0:
                raise Stop(
                    "key-column-missing",
                    f"{self._source}: {key!r} is missing in some rows: it names each row",
                )
            if pc.max(pc.utf8_length(keys)).as_py() > LONGEST:
                raise Stop(
                    "key-column-long",
                    f"{self._source}: {key!r} has values over {LONGEST} characters",
                )
            hashes.append(pd.util.hash_array(keys.to_numpy(zero_copy_only=False)))
        found = np.concatenate(hashes)
        found.sort()
        if again := int((found[1:] == found[:-1]).sum()):
            raise Stop(
                "key-column-twice",
                f"{self._source}: {again:,} values of {key!r} stand more than once: name a "
                "column whose values are unique",
            )

    def pieces(self, rows: int = PIECE) -> Iterator[Piece]:
        """All rows, in order; without a key a row is called by run and position."""
        start = 0
        for batch in self._file.iter_batches(rows):
            table = pa.Table.from_batches([batch])
            if self.run.key:
                keys = _text(table[self.run.key].combine_chunks())
            else:
                names = [f"batch-{self.run.name}-{start + k}" for k in range(table.num_rows)]
                keys = pa.array(names, pa.string())
            start += table.num_rows
            found = [table[name] for name in self._answers]
            yield Piece(table, keys, dict(zip(self.names, found, strict=True)))


def _text(values: pa.Array) -> pa.Array:
    return values if pa.types.is_string(values.type) else values.cast(pa.string())
