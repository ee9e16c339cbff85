"""Verb ``batch``: the blessed model scores a whole table, and leaves predictions and a log.

The science predicts, in a process of its own; files alone pass between the two. The same source
and the same model are the same run: scored once, it is not scored again.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..console import BROKEN, CLOSED, GOOD, INFRASTRUCTURE, Stop, read_json, read_yaml, say
from ..digests import file_digest, model_digest
from ..explain import package


@dataclass(frozen=True)
class Run:
    """One scoring of one source by one model; the same two give the same ``name``."""

    name: str
    source_digest: str
    model_digest: str
    when: datetime
    key: str | None
    labels: tuple[str, ...]

    @property
    def moment(self) -> str:
        """When, as the inference log writes it."""
        return self.when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def run(
    source: str | None,
    out: str | None,
    table: str | None,
    key: str | None,
    *,
    force: bool,
    as_json: bool,
) -> int:
    """The verb: what is not said comes from the environment, else from ``monitor.yaml``."""
    from ..monitor.settings import load

    settings = load()
    usual = settings.batch
    source = source or os.environ.get("BATCH_SOURCE") or usual.source
    if not source:
        raise Stop("no table is named: `make batch SOURCE=FILE`, or batch.source in monitor.yaml")
    return batch(
        source,
        out or os.environ.get("BATCH_OUT") or usual.out,
        table=table or usual.table,
        key=key or usual.key,
        log=settings.log.url,
        force=force,
        as_json=as_json,
    )


def batch(
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
    from . import log as inference_log
    from .answers import Answers
    from .sinks import sink_of
    from .source import fetch, shown

    start, blessed = time.monotonic(), _blessed()
    schema = read_yaml(Path("schema.yaml"))
    key = key or schema.get("id_column")
    said: dict[str, Any] = {"source": shown(source), "out": shown(out), "done": "written"}
    with tempfile.TemporaryDirectory(prefix="batch-") as name:
        folder = Path(name)
        file = fetch(source, folder, schema)
        current = _run(file, blessed, key, schema)
        said |= {"run": current.name, "model_digest": blessed}
        sink = sink_of(out, table, current)
        if not force and (rows := sink.has()):
            said |= {"rows": rows, "done": "nothing"}
            return _tell(said, as_json)
        predicted = folder / "predicted.parquet"
        began = time.monotonic()
        if not _predict(
            file, predicted, {file: shown(source), predicted: f"a draft of {shown(out)}"}
        ):
            return BROKEN
        answers = Answers(predicted, current, shown(source))
        answers.check()
        lines = folder / "lines.jsonl"
        if log:
            seconds = time.monotonic() - began
            inference_log.write(lines, answers, schema, seconds)
        sink.write(answers)
        if log:
            inference_log.publish(lines, log, current)
        said |= {"rows": answers.rows, "seconds": round(time.monotonic() - start, 1)}
    return _tell(said, as_json)


def _blessed() -> str:
    """The digest of the model in model/, which ``blessing.json`` must bless."""
    digest = model_digest()
    blessing = read_json(Path("blessing.json"))
    if blessing.get("blessed") is not True or blessing.get("model_digest") != digest:
        raise Stop("the model is not blessed, or not the one that was: see `make gate`", CLOSED)
    return digest


def _run(file: Path, blessed: str, key: str | None, schema: dict[str, Any]) -> Run:
    from ..gates.rules import value_text

    source = file_digest(file)
    name = hashlib.sha256(f"{source} {blessed} {key or ''}".encode()).hexdigest()[:12]
    labels = tuple(value_text(value) for value in schema.get("classes") or [])
    return Run(name, source, blessed, datetime.now(UTC).replace(tzinfo=None), key, labels)


def _predict(file: Path, predicted: Path, names: dict[Path, str]) -> bool:
    """Let the science predict; False where it refused, in its own words."""
    command = [sys.executable, "-m", f"{package()}.predict", str(file), str(predicted)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            for line in process.stderr or ():
                for path, name in names.items():
                    line = line.replace(str(path), name)
                say(line.rstrip())
            code = process.wait()
        except BaseException:
            with suppress(OSError):
                process.kill()
            raise
    if code not in (GOOD, BROKEN):
        raise Stop(f"the prediction ended with {code}: see above", INFRASTRUCTURE)
    return code == GOOD


def _tell(said: dict[str, Any], as_json: bool) -> int:
    if as_json:
        text = json.dumps(said, indent=2, ensure_ascii=False)
    elif said["done"] == "nothing":
        text = (
            f"{said['out']} holds this already: {said['rows']:,} predictions by "
            f"{said['model_digest'][:19]} (run {said['run']}); FORCE=1 scores again"
        )
    else:
        text = (
            f"{said['rows']:,} predictions by {said['model_digest'][:19]} in {said['out']} "
            f"(run {said['run']}, {said['seconds']:.1f} s)"
        )
    sys.stdout.write(f"{text}\n")
    return GOOD
