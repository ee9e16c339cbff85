"""Batch predictions in the inference log, so that what watches the service watches them, too."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.core.inference_log import SECOND, Line, day_folder, file_name, schema_version
from gatehouse.core.places import Folder
from gatehouse.core.project import Project
from gatehouse.data.personal import impersonal

from .answers import Answers
from .run import Run


def write(
    project: Project, lines: Path, answers: Answers, schema: dict[str, Any], seconds: float
) -> None:
    """One line a piece, in the format of the service, and ``ids``: how its rows are called.

    ``seconds``: what predicting took as a whole. Personal columns are left out.
    """
    from pydantic_core import to_json

    run = answers.run
    kept = impersonal(schema)
    with lines.open("wb") as file:
        for number, (table, keys, found) in enumerate(answers.pieces()):
            prediction, *probabilities = [values.to_pylist() for values in found.values()]
            answer: dict[str, Any] = {"prediction": prediction}
            if run.labels:
                answer["probabilities"] = dict(zip(run.labels, probabilities, strict=True))
            line: Line = {
                "id": f"batch-{run.name}-{number}",
                "ids": keys.to_pylist(),
                "time": run.moment,
                "seconds": round(seconds * len(keys) / answers.rows, 6),
                "schema": schema_version(project / "schema.yaml"),
                "model": run.model_digest,
                "request": {"columns": {name: _plain(table[name]) for name in kept}},
                "answer": answer | {"model_digest": run.model_digest},
                "unusual": [],
            }
            file.write(to_json(line, inf_nan_mode="null") + b"\n")


def publish(lines: Path, log: str, run: Run) -> None:
    """Put the lines into the log's folder or URL, where those of this moment's service lie."""
    name = file_name(run.when, "batch", run.name)
    Folder(log).put(lines, f"{day_folder(run.when)}/{name}")


def _plain(values: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(values.type):
        values = pc.strftime(values, SECOND)
    plain: list[Any] = values.to_pylist()
    return plain
