"""``gatehouse batch``: the blessed model scores a whole table, and leaves predictions and a log.

The same source and the same model are the same run: scored once, it is not scored again.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gatehouse.core.config.monitor import load
from gatehouse.core.config.results import blessing
from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, InputError, Stop
from gatehouse.core.files import read_yaml
from gatehouse.core.project import Project

from . import log as inference_log
from .answers import Answers
from .databases import shown
from .run import run_of
from .sinks import sink_of
from .source import fetch


def run(
    project: Project,
    source: str | None,
    out: str | None,
    table: str | None,
    key: str | None,
    *,
    force: bool,
    as_json: bool,
) -> int:
    """The verb: what is not said comes from the environment, else from ``monitor.yaml``."""
    settings = load(project)
    usual = settings.batch
    source = source or os.environ.get("BATCH_SOURCE") or usual.source
    if not source:
        raise Stop(
            "batch-no-source",
            "no table is named: `gatehouse batch --source FILE`, or batch.source in monitor.yaml",
        )
    return batch(
        project,
        source,
        out or os.environ.get("BATCH_OUT") or usual.out,
        table=table or usual.table,
        key=key or usual.key,
        log=settings.log.url,
        force=force,
        as_json=as_json,
    )


def batch(
    project: Project,
    source: str,
    out: str,
    *,
    table: str = "predictions",
    key: str | None = None,
    log: str | None = "log",
    force: bool = False,
    as_json: bool = False,
) -> int:
    """Score ``source`` into ``out``; exit 1 where the model is not blessed.

    ``key``: the column that names a row, else ``id_column`` of schema.yaml; its values name the
    rows in ``out`` and in the log. ``log``: folder or URL of the inference log; None writes none.
    """
    start, blessed = time.monotonic(), blessing(project.root).model_digest
    schema = read_yaml(project / "schema.yaml")
    key = key or schema.get("id_column")
    said: dict[str, Any] = {"source": shown(source), "out": shown(out), "done": "written"}
    with tempfile.TemporaryDirectory(prefix="batch-") as name:
        folder = Path(name)
        file = fetch(source, folder, schema)
        current = run_of(file, blessed, key, schema)
        said |= {"run": current.name, "model_digest": blessed}
        sink = sink_of(out, table, current)
        if not force and (rows := sink.has()):
            said |= {"rows": rows, "done": "nothing"}
            return _tell(said, as_json)
        predicted = folder / "predicted.parquet"
        began = time.monotonic()
        names = {file: shown(source), predicted: f"a draft of {shown(out)}"}
        _predict(project, file, predicted, names)
        answers = Answers(predicted, current, shown(source))
        answers.check()
        lines = folder / "lines.jsonl"
        if log:
            seconds = time.monotonic() - began
            inference_log.write(project, lines, answers, schema, seconds)
        sink.write(answers)
        if log:
            inference_log.publish(lines, log, current)
        said |= {"rows": answers.rows, "seconds": round(time.monotonic() - start, 1)}
    return _tell(said, as_json)


def _predict(project: Project, file: Path, predicted: Path, names: dict[Path, str]) -> None:
    """Predict each row of a file; what is told calls files by ``names``, as people know them."""
    from gatehouse.training.predict import predict  # late: pandas and scikit-learn take seconds

    def told(text: str) -> str:
        for path, name in names.items():
            text = text.replace(str(path), name)
        return text

    try:
        say(f"predict: {told(predict(project, file, predicted))}")
    except InputError as refusal:
        raise InputError("batch-refused", told(str(refusal))) from None


def _tell(said: dict[str, Any], as_json: bool) -> int:
    if as_json:
        text = json.dumps(said, indent=2, ensure_ascii=False)
    else:
        made = f"{said['rows']:,} predictions by {said['model_digest'][:19]}"
        where, run = said["out"], f"(run {said['run']}"
        text = f"{made} in {where} {run}, {said.get('seconds', 0):.1f} s)"
        if said["done"] == "nothing":
            text = f"{where} holds this already: {made} {run}); --force scores again"
    sys.stdout.write(f"{text}\n")
    return GOOD
