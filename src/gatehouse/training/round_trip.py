"""Does a row mean the same on every way? Rows of the source through all of them, held together.

The ways: the file as it is and as Parquet, the batch, JSON to the service, the typed client, and
the model of the catalogue. What answers is the form that serves.
"""

import csv
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from gatehouse.core.config.params import Ingest
from gatehouse.core.config.results import Blessed, RoundTrip, write_result
from gatehouse.core.config.schema import Schema, label_text
from gatehouse.core.digests import MODEL, ONNX, Format, model_digest
from gatehouse.core.layout import ROUND_TRIP
from gatehouse.core.project import Project
from gatehouse.data.tables import PARQUET, header, read_table, to_frame
from gatehouse.serving.client import client
from gatehouse.serving.direct import Direct
from gatehouse.serving.onnx_model import OnnxModel
from gatehouse.serving.predictor import OnnxPredictor, Predictor, SkopsPredictor
from gatehouse.serving.skops_model import Model

from .catalogued import answering
from .golden import plain_row
from .ingest import prepare
from .predict import predicted

ROWS, LOOK, TOLERANCE = 200, 20_000, 1e-6
ROWS_ONNX = 1e-5  # what parity lets a form that serves differ by

Rows = list[dict[str, Any]]


def write_round_trip(
    project: Project, model: Model, schema: Schema, source: Ingest, serves: Format
) -> None:
    """Write ``predictions/round_trip.json``: the ways, and columns and ways that differ."""
    found = RoundTrip(**round_trip(project, model, schema, source, serves))
    write_result(project / ROUND_TRIP, found)


def round_trip(
    project: Project, model: Model, schema: Schema, options: Ingest, serves: Format
) -> dict[str, Any]:
    """Ask on every way; ``differ`` names a way, and the columns that alone make it differ."""
    with tempfile.TemporaryDirectory() as name:
        sample, said = _sample(options, Path(name))
        direct = Direct(_predictor(project, model, schema, serves))
        table = read_table(sample, options, schema.columns)
        if list(prepare(project, table).column_names) != table.column_names or set(
            model.columns
        ) - set(table.column_names):
            return {"rows": 0, "ways": [], "differ": [], "note": "columns are made by `prepare`"}
        rows = [plain_row(row) for row in table.select(list(model.columns)).to_pylist()]
        for row, words in zip(rows, said, strict=True):  # text as it stands in the file
            row |= {n: words[n] for n, c in model.columns.items() if c.type == "string" and words}
        # What is refused by name gets no wrong answer; that nothing is taken would be a fault.
        taken = [k for k, row in enumerate(rows) if _taken(direct, row)]
        if taken and len(taken) < len(rows):
            rows, table = [rows[k] for k in taken], table.take(taken)
            _keep(sample, options, taken)
        ways = _ways(model, schema, options, direct, table, sample)
        expected = model.predict(to_frame(table))
        differ = []
        for way, ask in ways.items():
            try:
                reason = _unlike(expected, ask(rows), serves if way in SERVED else "skops")
            except Exception as error:  # whatever a way may raise, it gives no answer
                reason = f"it refuses rows of the source ({type(error).__name__})"
            if reason:
                differ.append({"way": way, "reason": reason, "columns": _guilty(model, rows, ask)})
    return {"rows": len(rows), "ways": list(ways), "differ": differ}


SERVED = ("json", "client")


def _ways(
    model: Model,
    schema: Schema,
    options: Ingest,
    direct: Direct,
    table: pa.Table,
    sample: Path,
) -> dict[str, Callable[[Rows], Any]]:
    labels = [label_text(label) for label in model.classes]

    def as_parquet(_: Rows) -> Any:
        path = sample.with_suffix(".other.parquet")
        pq.write_table(table, path)
        return model.predict(to_frame(read_table(path, options, schema.columns)))

    def batch(_: Rows) -> Any:
        pieces = [piece.to_pandas() for piece in predicted(sample, model, options)]
        return _raw(pd.concat(pieces).iloc[:, table.num_columns :], labels)

    def served(body: bytes) -> list[dict[str, Any]]:
        read = [direct.row.model_validate_json(json.dumps(row)) for row in json.loads(body)["rows"]]
        return direct.answers(read)

    def as_json(rows: Rows) -> Any:
        return _answers(served(json.dumps({"rows": rows}).encode()), labels)

    def by_client(rows: Rows) -> Any:
        module: dict[str, Any] = {"__name__": "client"}
        exec(compile(client(schema, "client"), "client", "exec"), module)
        asked = module["Client"]("http://localhost")
        asked._open = lambda request, timeout: io.BytesIO(
            json.dumps(served(request.data)).encode() if timeout else b""
        )
        return _answers(asked.predict_batch(rows), labels)

    def catalogue(rows: Rows) -> Any:
        return _raw(answering(model)(pd.DataFrame(rows, columns=list(model.columns))), labels)

    return {
        "parquet": as_parquet,
        "batch": batch,
        "json": as_json,
        "client": by_client,
        "catalogue": catalogue,
    }


def _taken(direct: Direct, row: dict[str, Any]) -> bool:
    try:
        direct.row.model_validate_json(json.dumps(row))
    except ValidationError:
        return False
    return True


def _predictor(project: Project, model: Model, schema: Schema, serves: Format) -> Predictor:
    about = Blessed(model_digest(project / MODEL), serves)
    if serves == "onnx":
        onnx = OnnxModel(project / MODEL / ONNX, derive=model.derive)
        return OnnxPredictor(about, schema, onnx)
    return SkopsPredictor(about, schema, project.root)


def _answers(answers: list[dict[str, Any]], labels: list[str]) -> Any:
    if not labels:
        return np.array([answer["prediction"] for answer in answers])
    return np.array([[answer["probabilities"][label] for label in labels] for answer in answers])


def _raw(answers: pd.DataFrame, labels: list[str]) -> Any:
    # By position: a column of the table may have the name of an answer.
    values = answers.iloc[:, 1:] if labels else answers.iloc[:, :1]
    return values.to_numpy(dtype=np.float64).reshape((-1, len(labels)) if labels else -1)


def _unlike(ours: Any, theirs: Any, form: Format) -> str:
    if ours.shape != theirs.shape:
        return f"it gives {len(theirs)} answers for {len(ours)} rows"
    allowed = ROWS_ONNX if form == "onnx" else TOLERANCE
    scale = 1.0 if ours.ndim == 2 else np.maximum(np.abs(ours), ours.std() + TOLERANCE)
    # Not `>`: NaN must not pass.
    far = ~(np.abs(ours - theirs) / scale <= allowed)
    wrong = far.any(axis=1) | (ours.argmax(1) != theirs.argmax(1)) if ours.ndim == 2 else far
    return f"{wrong.sum()} of {len(ours)} rows get another answer" if wrong.any() else ""


def _guilty(model: Model, rows: Rows, ask: Callable[[Rows], Any]) -> list[str]:
    """Columns of text that this way reads otherwise: with them as missing, the answers are equal.

    Nothing where the rows themselves do not reach this way (a file), or another type is at fault.
    """
    found = []
    for name, column in model.columns.items():
        if column.type != "string" or not column.nullable:
            continue
        blank = [row | {name: None} for row in rows]
        try:
            one = ask(blank)
            frame = pd.DataFrame(blank, columns=list(model.columns))
            if not _unlike(answering_raw(model, frame), one, "onnx"):
                found.append(name)
        except Exception:
            continue
    return found


def answering_raw(model: Model, frame: pd.DataFrame) -> Any:
    """As ``Model.predict``, from rows of JSON."""
    labels = [label_text(label) for label in model.classes]
    return _raw(answering(model)(frame), labels)


def _sample(options: Ingest, folder: Path) -> tuple[Path, list[dict[str, str]]]:
    """A small file like the source, and the text of its cells where the source has such.

    The first rows, and of those after them the ones with a blank or a word for missing.
    """
    source = options.source
    if source.suffix.lower() in PARQUET:
        batch = next(pq.ParquetFile(source).iter_batches(ROWS))
        path = folder / "sample.parquet"
        pq.write_table(pa.Table.from_batches([batch]), path)
        return path, [{}] * batch.num_rows
    names, delimiter = header(source, options)
    words = {"", *(word.lower() for word in options.null_values or ()), "na", "none", "null", "nan"}
    kept: list[list[str]] = []
    with source.open(encoding=options.encoding, newline="") as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        next(reader)
        for k, record in enumerate(reader):
            odd = any(cell.strip().lower() in words for cell in record)
            if len(record) == len(names) and (k < ROWS // 2 or odd):
                kept.append(record)
            if len(kept) == ROWS or k == LOOK:
                break
    path = folder / "sample.csv"
    _write(path, options, delimiter, [names, *kept])
    return path, [dict(zip(names, record, strict=True)) for record in kept]


def _keep(sample: Path, options: Ingest, rows: list[int]) -> None:
    """Leave these rows alone in the sample."""
    if sample.suffix.lower() in PARQUET:
        pq.write_table(pq.read_table(sample).take(rows), sample)
        return
    _, delimiter = header(sample, options)
    with sample.open(encoding=options.encoding, newline="") as lines:
        first, *records = csv.reader(lines, delimiter=delimiter)
    _write(sample, options, delimiter, [first, *(records[k] for k in rows)])


def _write(path: Path, options: Ingest, delimiter: str, records: list[list[str]]) -> None:
    with path.open("w", encoding=options.encoding, newline="") as lines:
        csv.writer(lines, delimiter=delimiter).writerows(records)
