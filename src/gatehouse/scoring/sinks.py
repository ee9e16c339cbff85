"""Where predictions go: a Parquet file, or a table of a database; whole, or not at all."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.core import doors, places
from gatehouse.core.console import say
from gatehouse.core.errors import Stop

from .answers import Answers
from .databases import connected, database, shown, sqlite_file
from .run import Run

if TYPE_CHECKING:
    from sqlalchemy import URL

AT_ONCE = 5_000  # keys of one DELETE: a driver takes only so many parameters
FACTS = ("run", "source_digest", "model_digest", "predicted_at")


class Sink(Protocol):
    """A place for predictions."""

    def has(self) -> int:
        """How many rows of this run stand there already; 0 unless all of them do."""

    def write(self, answers: Answers) -> None:
        """Put them there; until it is done, what was there before stands."""


def sink_of(out: str, table: str, run: Run) -> Sink:
    """The place that ``out`` names: a database's URL, or a path or URL that ends in .parquet."""
    url = database(out)
    if url is not None:
        return DatabaseSink(url, table, run)
    if (scheme := out.partition("://")[0]) in doors.offered("sinks"):
        made: Sink = doors.load("sinks", scheme)(out, table, run)
        return made
    if Path(out.partition("?")[0]).suffix.lower() not in (".parquet", ".pq"):
        raise Stop(
            "suffix-unknown",
            f"{shown(out)} is neither a .parquet file nor a database's URL: give one",
        )
    return ParquetSink(out, run)


class ParquetSink:
    """The source's columns, the answers, and the columns run, model_digest and predicted_at."""

    def __init__(self, out: str, run: Run) -> None:
        self._folder, self._name = places.split(out)
        self._run = run

    def has(self) -> int:
        """As in ``Sink``; who made the file stands in its metadata."""
        if not self._folder.names(self._name):
            return 0
        with self._folder.open(self._name) as file:
            try:
                about = pq.read_metadata(file)
            except pa.ArrowInvalid:
                return 0  # no file of ours, or a damaged one
        same = (about.metadata or {}).get(b"run", b"").decode() == self._run.name
        return int(about.num_rows) if same else 0

    def write(self, answers: Answers) -> None:
        """As in ``Sink``."""
        run = self._run
        facts = (run.name, run.source_digest, run.model_digest, run.moment)
        added = {"run": run.name, "model_digest": run.model_digest, "predicted_at": run.when}
        kinds = {"predicted_at": pa.timestamp("us")}
        schema = answers.schema.with_metadata(dict(zip(FACTS, facts, strict=True)))
        names = {name: _free(name, schema.names) for name in added}
        for name in added:
            schema = schema.append(pa.field(names[name], kinds.get(name, pa.string())))
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder, "predictions.parquet")
            with pq.ParquetWriter(draft, schema) as writer:
                for table, _, _ in answers.pieces(100_000):
                    for name, value in added.items():
                        scalar = pa.scalar(value, kinds.get(name, pa.string()))
                        table = table.append_column(names[name], pa.repeat(scalar, table.num_rows))
                    writer.write_table(table.cast(schema))
            self._folder.put(draft, self._name)


def _free(name: str, taken: list[str]) -> str:
    while name in taken:
        name += " (batch)"
    return name


class DatabaseSink:
    """A row a key: prediction, probabilities, run, model digest, time; and a table of the runs."""

    def __init__(self, url: "URL", table: str, run: Run) -> None:
        import sqlalchemy as sa

        self._url, self._run = url, run
        what = sa.String(255) if run.labels else sa.Double()
        labels = [f"probability {label}" for label in run.labels]
        self._all = sa.MetaData()
        self._table = sa.Table(
            table,
            self._all,
            sa.Column("key", sa.String(200), primary_key=True),
            sa.Column("prediction", what, nullable=False),
            *(sa.Column(label, sa.Double(), nullable=False) for label in labels),
            sa.Column("run", sa.String(12), nullable=False, index=True),
            sa.Column("model_digest", sa.String(71), nullable=False),
            sa.Column("predicted_at", sa.DateTime(), nullable=False),
        )
        self._runs = sa.Table(
            f"{table}_runs",
            self._all,
            sa.Column("run", sa.String(12), primary_key=True),
            sa.Column("source_digest", sa.String(71), nullable=False),
            sa.Column("model_digest", sa.String(71), nullable=False),
            sa.Column("rows", sa.BigInteger(), nullable=False),
            sa.Column("predicted_at", sa.DateTime(), nullable=False),
        )

    def has(self) -> int:
        """As in ``Sink``; also refuses a table of this name that is not of this shape."""
        import sqlalchemy as sa

        file = sqlite_file(self._url)
        if file is not None and not file.exists():
            return 0
        with connected(self._url, write=False) as connection:
            looked = sa.inspect(connection)
            for table in (self._table, self._runs):
                if not looked.has_table(table.name):
                    return 0
                found = {column["name"] for column in looked.get_columns(table.name)}
                if found != set(table.columns.keys()):
                    raise Stop(
                        "database-columns",
                        f"the table {table.name!r} has other columns than predictions of this "
                        "model: give another name, with --table",
                    )
            count, run = sa.func.count(), self._run.name
            there = sa.select(count).select_from(self._table).where(self._table.c.run == run)
            said = sa.select(self._runs.c.rows).where(self._runs.c.run == run)
            rows, wanted = connection.scalar(there), connection.scalar(said)
        return int(rows) if rows and rows == wanted else 0

    def write(self, answers: Answers) -> None:
        """As in ``Sink``: one transaction; a key that was scored before gives up its row."""
        import sqlalchemy as sa

        run, table, done = self._run, self._table, 0
        own = {"run": run.name, "model_digest": run.model_digest, "predicted_at": run.when}
        with connected(self._url, write=True) as connection:
            self._all.create_all(connection)
            first = connection.scalar(sa.select(table.c.key).limit(1)) is None
            for piece in answers.pieces():
                keys = piece.keys.to_pylist()
                columns = [keys]
                for values in piece.answers.values():
                    text = bool(run.labels) and len(columns) == 1
                    columns.append((values.cast("string") if text else values).to_pylist())
                names = ["key", *piece.answers]
                for start in range(0, 0 if first else len(keys), AT_ONCE):
                    part = keys[start : start + AT_ONCE]
                    connection.execute(sa.delete(table).where(table.c.key.in_(part)))
                rows = [
                    dict(zip(names, row, strict=True)) | own for row in zip(*columns, strict=True)
                ]
                connection.execute(sa.insert(table), rows)
                done += len(rows)
                if done % 100_000 == 0:
                    say(f"batch: {done:,} rows written")
            connection.execute(sa.delete(self._runs).where(self._runs.c.run == run.name))
            about = own | {"source_digest": run.source_digest, "rows": answers.rows}
            connection.execute(sa.insert(self._runs), [about])
