"""Golden requests: a few test rows and what the model says of them, to hold a service against."""

import math
from typing import Any

import pyarrow.parquet as pq

from gatehouse.core.config.results import Golden, write_result
from gatehouse.core.config.schema import label_text
from gatehouse.core.digests import MODEL, model_digest
from gatehouse.core.layout import GOLDEN
from gatehouse.core.project import Project
from gatehouse.data.tables import to_frame
from gatehouse.serving.skops_model import Model

from .split import TEST

ROWS = 20


def write_golden(project: Project, model: Model) -> None:
    """Write rows as a client sends them, and answers as the service must give them."""
    batch = next(pq.ParquetFile(project / TEST).iter_batches(ROWS, columns=list(model.columns)))
    raw = model.predict(to_frame(batch))
    rows = [plain_row(row) for row in batch.to_pylist()]
    if model.task == "regression":
        answers: list[dict[str, Any]] = [{"prediction": float(value)} for value in raw]
    else:
        labels = [label_text(label) for label in model.classes]
        answers = [
            {
                "prediction": model.classes[int(row.argmax())],
                "probabilities": dict(zip(labels, row.tolist(), strict=True)),
            }
            for row in raw
        ]
    golden = Golden(model_digest=model_digest(project / MODEL), rows=rows, answers=answers)
    write_result(project / GOLDEN, golden)


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON has it."""
    return {name: plain_cell(value) for name, value in row.items()}


def plain_cell(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
